package plan_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
)

func TestEveryReasonForNoTargetIsTold(t *testing.T) {
	t.Parallel()
	w := basic()
	w.credentials["openai"][0].Out = "was rejected by openai"
	w.out = map[string]string{"cred_2": "was refused by openai just now"}
	for _, test := range []struct {
		caller completion.Caller
		model  string
		want   error
		words  []string
	}{
		{app, "", completion.ErrModelRequired, nil},
		{completion.Caller{OrgID: org, PolicyID: "pol_gone", KeyName: "app"}, "", completion.ErrPolicyUnknown, []string{`"app"`}},
		{app, "policy/other", completion.ErrPolicyUnknown, []string{`"other"`}},
		{app, "gpt-4o", completion.ErrModelUnknown, []string{"openai/gpt-4o"}},
		{app, "llama", completion.ErrModelUnknown, []string{"such as \"groq/l\""}},
		{app, "nobody/x", completion.ErrModelUnknown, []string{`"nobody"`}},
		{app, "openai/a\r\nx-evil: 1", completion.ErrModelUnknown, []string{"control characters"}},
		{app, "openai/" + strings.Repeat("m", 300), completion.ErrModelUnknown, []string{"256"}},
		{app, "openai/\xff", completion.ErrModelUnknown, nil},
		{app, "openai/", completion.ErrModelUnknown, nil},
		{app, "openai/o4", completion.ErrNoTarget, []string{`"label-1" was rejected`, `"label-2" was refused`, "only where a policy says so"}},
		{completion.Caller{OrgID: "org_b"}, "openai/o4", completion.ErrNoTarget, []string{"no own credential for openai"}},
	} {
		_, err := planner(w).Make(w, test.caller, &completion.Request{Model: test.model})
		if !errors.Is(err, test.want) {
			t.Errorf("Make(%q) = %v, want %v", test.model, err, test.want)
			continue
		}
		f, _ := fault.Of(err)
		for _, word := range test.words {
			if !strings.Contains(f.Message()+f.Hint(), word) {
				t.Errorf("Make(%q) says %q (%s), want it to tell %s", test.model, f.Message(), f.Hint(), word)
			}
		}
	}
}

func TestNoTargetIsToldLineByLine(t *testing.T) {
	t.Parallel()
	w := basic()
	w.credentials["platform:anthropic"][0].Out = "is disabled"
	w.credentials["groq"][0].Out = "is disabled"
	w.preferences.Ignore = []string{"openai"}
	w.policies = []*plan.Policy{policy("main", group(plan.Fallback, own("openai/m"), shared("anthropic/c")), group(plan.Fallback, own("groq/l")))}
	got := planned(t, w, app, &completion.Request{Model: "policy/main"})
	for _, words := range []string{
		"line 1, openai/m: the organization ignores openai", `line 2, anthropic/c: credential "platform" is disabled`, `line 3, groq/l: credential "label-g" is disabled`,
	} {
		if !strings.Contains(got, words) {
			t.Errorf("Make says %s, want %s", got, words)
		}
	}
	if strings.Contains(got, "label-pa") {
		t.Errorf("the operator's label is told: %s", got)
	}
}

func TestAFaultSaysWhoseItIsToMend(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*world, *completion.Request)
		want   error
		after  time.Duration
	}{
		"the model cannot":          {func(_ *world, r *completion.Request) { r.Operation = completion.Embeddings }, completion.ErrUnsupported, 0},
		"there is no credential":    {func(w *world, _ *completion.Request) { delete(w.credentials, "openai") }, completion.ErrNoTarget, 0},
		"not approved":              {func(w *world, _ *completion.Request) { w.preferences.Approved = plan.Compile([]string{"x/y"}) }, plan.ErrNotAllowed, 0},
		"the request's own wish":    {func(_ *world, r *completion.Request) { r.Routing.Ignore = []string{"openai"} }, plan.ErrNotWished, 0},
		"refused, and nothing more": {func(w *world, _ *completion.Request) { w.out = map[string]string{"cred_1": "x", "cred_2": "x"} }, completion.ErrNoTarget, 0},
		"both rest": {func(w *world, _ *completion.Request) {
			w.out = map[string]string{"cred_1": "x", "cred_2": "x"}
			w.until = map[string]time.Time{"cred_1": now.Add(time.Minute), "cred_2": now.Add(20 * time.Second)}
		}, completion.ErrCoolingDown, 20 * time.Second},
		"one rests for long": {func(w *world, _ *completion.Request) {
			w.credentials["openai"][0].Out = "is disabled"
			w.out, w.until = map[string]string{"cred_2": "x"}, map[string]time.Time{"cred_2": now.Add(24 * time.Hour)}
		}, completion.ErrCoolingDown, 10 * time.Minute},
	} {
		w, req := basic(), &completion.Request{Model: "openai/m"}
		test.change(w, req)
		_, err := planner(w).Make(w, app, req)
		f, ok := fault.Of(err)
		if !ok || !errors.Is(err, test.want) || f.RetryAfter() != test.after || f.Hint() == "" {
			t.Errorf("%s: %v, want %v after %v", name, err, test.want, test.after)
		}
	}
}

func TestManyReasonsAreCut(t *testing.T) {
	t.Parallel()
	w := basic()
	var lines []plan.Line
	for i := range 100 {
		lines = append(lines, own("openai/"+strings.Repeat("x", i+1)))
	}
	w.policies = []*plan.Policy{policy("main", group(plan.Fallback, lines...))}
	w.preferences.Ignore = []string{"openai"}
	if got := planned(t, w, app, &completion.Request{Model: "policy/main"}); !strings.Contains(got, "and 80 more") {
		t.Errorf("Make says %s", got)
	}
	w.policies[0].Groups = nil
	if got := planned(t, w, app, &completion.Request{Model: "policy/main"}); !strings.Contains(got, "has no line") {
		t.Errorf("of an empty policy, Make says %s", got)
	}
}

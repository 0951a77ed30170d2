package plan_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

var known = []string{"anthropic/claude-x", "anthropic/claude-y", "groq/llama", "mistral/large", "openai/gpt-x", "openai/gpt-y"}

// TestModelsAreThoseThatWouldBeServed: what a test found, Azure's deployments, and else what is known; and policies
// of which a line can serve.
func TestModelsAreThoseThatWouldBeServed(t *testing.T) {
	t.Parallel()
	inner := line("policy/own", usage.ClassUnknown)
	onlyOther := group(plan.Fallback, own("openai/m"))
	onlyOther.When = &plan.Condition{APIKeys: []string{"key_other"}}
	onlyLong := group(plan.Fallback, own("openai/m"))
	onlyLong.When = &plan.Condition{MinInput: 1000}
	base := func() *world {
		second, listed, deployed := cred("a2", "anthropic"), cred("o", "openai"), cred("az", "azure")
		second.Models = []string{"claude-z", "claude-x"}
		listed.Models = []string{"gpt-x", "ft:gpt-x:acme", "openai/gpt-z"}
		deployed.Settings.Deployments = []completion.Deployment{{Model: "openai/gpt-4o", Name: "d1"}, {Model: "o3"}}
		deployed.Models = []string{"d1"}
		broken := cred("g", "groq")
		broken.Out = "was rejected"
		return &world{
			credentials: map[string][]*completion.Credential{
				"anthropic": {cred("a", "anthropic"), second}, "azure": {deployed}, "openai": {listed}, "groq": {broken},
				"platform:groq": {platformCred("pg", "groq")},
			},
			policies: []*plan.Policy{
				policy("broken", group(plan.Fallback, own("groq/llama"))), policy("long", onlyLong), policy("nested", group(plan.Weighted, inner)),
				policy("other", onlyOther), policy("own", group(plan.Fallback, own("groq/llama"), own("openai/m"))), policy("platform", group(plan.Sticky, shared("groq/llama"))),
			},
		}
	}
	all := []string{
		"policy/long", "policy/nested", "policy/own", "policy/platform",
		"anthropic/claude-x", "anthropic/claude-y", "anthropic/claude-z", "azure/o3", "azure/openai/gpt-4o", "openai/ft:gpt-x:acme", "openai/gpt-x", "openai/gpt-z",
	}
	for name, test := range map[string]struct {
		change func(*world, *completion.Caller)
		want   []string
	}{
		"all": {func(*world, *completion.Caller) {}, all},
		"all, all resting": {func(w *world, _ *completion.Caller) {
			w.out = map[string]string{"cred_a": "x", "cred_a2": "x", "cred_o": "x"}
		}, all},
		"approved": {
			func(w *world, _ *completion.Caller) {
				w.preferences.Approved = plan.Compile([]string{"openai/gpt-x", "groq/*"})
			},
			[]string{"policy/platform", "openai/gpt-x"},
		},
		"approved by the group": {func(w *world, c *completion.Caller) {
			c.GroupID, w.groups = "grp_1", map[string]*plan.Group{"grp_1": {Approved: plan.Compile([]string{"anthropic/*"})}}
		}, []string{"anthropic/claude-x", "anthropic/claude-y", "anthropic/claude-z"}},
		"ignored": {func(w *world, _ *completion.Caller) { w.preferences.Ignore = []string{"anthropic", "azure", "openai"} }, []string{"policy/platform"}},
		"never the platform": {func(w *world, _ *completion.Caller) {
			w.preferences.Rule, w.preferences.Ignore = plan.Never, []string{"anthropic", "azure"}
		}, []string{"policy/long", "policy/nested", "policy/own", "openai/ft:gpt-x:acme", "openai/gpt-x", "openai/gpt-z"}},
		"the platform after own": {func(w *world, _ *completion.Caller) {
			w.preferences.Rule, w.preferences.Ignore = plan.AfterOwn, []string{"anthropic", "azure", "openai"}
		}, []string{"policy/platform", "groq/llama"}},
		"scope": {func(w *world, _ *completion.Caller) {
			w.preferences.Ignore = []string{"anthropic", "azure"}
			w.credentials["openai"][0].Scope = &completion.Scope{Models: []string{"openai/gpt-*"}}
		}, []string{"policy/platform", "openai/gpt-x", "openai/gpt-z"}},
		"another key's": {func(w *world, _ *completion.Caller) {
			w.preferences.Ignore = []string{"anthropic", "azure"}
			w.credentials["openai"][0].Scope = &completion.Scope{APIKeys: []string{"key_other"}}
		}, []string{"policy/platform"}},
		"enforced":                      {func(w *world, c *completion.Caller) { c.PolicyID, c.EnforcePolicy = "pol_own", true }, []string{"policy/own"}},
		"enforced, and it cannot serve": {func(w *world, c *completion.Caller) { c.PolicyID, c.EnforcePolicy = "pol_broken", true }, nil},
	} {
		w, caller := base(), app
		test.change(w, &caller)
		if diff := cmp.Diff(test.want, planner(w).Models(w, caller, known)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// BenchmarkModels lists 100 policies of 10 lines and 3,000 models.
func BenchmarkModels(b *testing.B) {
	w := basic()
	var names []string
	for i := range 100 {
		var lines []plan.Line
		for j := range 10 {
			lines = append(lines, own(fmt.Sprintf("groq/m%d", j)))
		}
		w.policies = append(w.policies, policy(fmt.Sprintf("p%02d", i), group(plan.Fallback, lines...)))
	}
	for i := range 3000 {
		names = append(names, fmt.Sprintf("openai/m%04d", i))
	}
	p, c := planner(w), stillOf(w)
	b.ReportAllocs()
	for b.Loop() {
		if got := p.Models(c, app, names); len(got) != 3100 {
			b.Fatal(len(got))
		}
	}
}

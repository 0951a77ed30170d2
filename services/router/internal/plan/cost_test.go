package plan_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
)

// five is a policy of five lines, each with one credential.
func five(strategy plan.Strategy) (*world, *completion.Request) {
	w := basic()
	w.credentials["openai"] = w.credentials["openai"][:1]
	w.policies = []*plan.Policy{policy("main", group(strategy, own("openai/m"), own("anthropic/c"), own("groq/l"), shared("openai/dear"), shared("anthropic/c")))}
	w.preferences.Approved = plan.Compile([]string{"openai/*", "anthropic/*", "groq/l"})
	return w, &completion.Request{ID: "req_1", Model: "policy/main", Session: "s", InputBytes: 4000, MaxOutput: 100}
}

var strategies = map[string]plan.Strategy{"fallback": plan.Fallback, "weighted": plan.Weighted, "latency": plan.LowestLatency, "cost": plan.LowestCost, "sticky": plan.Sticky}

// still is a world whose look-ups allocate nothing, as a snapshot's do.
type still struct {
	*world
	platform map[string][]*completion.Credential
}

func (s *still) Credentials(orgID, provider string) []*completion.Credential {
	if orgID == platform {
		return s.platform[provider]
	}
	return s.credentials[provider]
}

func stillOf(w *world) *still {
	s := &still{w, map[string][]*completion.Credential{}}
	for key, list := range w.credentials {
		if slug, ok := strings.CutPrefix(key, "platform:"); ok {
			s.platform[slug] = list
		}
	}
	return s
}

func TestPlanningFiveTargetsTakesFourAllocationsAtMost(t *testing.T) {
	for name, strategy := range strategies {
		w, req := five(strategy)
		p, c := planner(w), stillOf(w)
		if n := testing.AllocsPerRun(200, func() {
			made, err := p.Make(c, app, req)
			if err != nil || len(made.Targets) != 5 {
				t.Fatalf("Make = %s, %v", order(made.Targets), err)
			}
		}); n > 4 {
			t.Errorf("%s: Make allocates %v times", name, n)
		}
	}
}

func TestPlanningWithoutAPolicyAllocatesTheTargetsAlone(t *testing.T) {
	w, req := five(plan.Fallback)
	req.Model = "openai/m"
	p, c := planner(w), stillOf(w)
	if n := testing.AllocsPerRun(200, func() {
		if _, err := p.Make(c, app, req); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("Make allocates %v times", n)
	}
}

func TestAskingOnceMoreAllocatesNothing(t *testing.T) {
	w, req := five(plan.Fallback)
	c := stillOf(w)
	w.credentials["openai"][0].Scope = &completion.Scope{Models: []string{"openai/*"}, APIKeys: []string{app.APIKeyID}}
	made, err := planner(w).Make(c, app, req)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(200, func() {
		for i := range made.Targets {
			if !plan.Allowed(c, app, &made.Targets[i]) {
				t.Fatalf("Allowed(%s) = false", order(made.Targets[i:i+1]))
			}
		}
	}); n > 0 {
		t.Errorf("Allowed allocates %v times for five targets", n)
	}
}

func BenchmarkPlan(b *testing.B) {
	for name, strategy := range strategies {
		b.Run(name, func(b *testing.B) {
			w, req := five(strategy)
			p, c := planner(w), stillOf(w)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Make(c, app, req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("model", func(b *testing.B) {
		w, req := five(plan.Fallback)
		req.Model = "openai/m"
		p, c := planner(w), stillOf(w)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := p.Make(c, app, req); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("large", func(b *testing.B) { // 16 groups of 32 lines, 20 credentials each
		w := &world{credentials: map[string][]*completion.Credential{}}
		for i := range 20 {
			w.credentials["openai"] = append(w.credentials["openai"], cred(fmt.Sprint(i), "openai"))
		}
		var groups []plan.TargetGroup
		for i := range 16 {
			var lines []plan.Line
			for j := range 32 {
				lines = append(lines, own(fmt.Sprintf("openai/m%d-%d", i, j)))
			}
			groups = append(groups, group(plan.Weighted, lines...))
		}
		w.policies = []*plan.Policy{policy("main", groups...)}
		p, c := planner(w), stillOf(w)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := p.Make(c, app, &completion.Request{Model: "policy/main"}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func TestPatternsFit(t *testing.T) {
	t.Parallel()
	for pattern, names := range map[string]map[string]bool{
		"openai/*": {"openai/m": true, "openai/": true, "openai": false, "azure/openai/m": false},
		"*/m":      {"openai/m": true, "a/b/m": true, "m": false, "openai/mm": false},
		"*":        {"": true, "anything": true},
		"a*b*c":    {"abc": true, "a-b-b-c": true, "a-c-b": false, "abcd": false},
		"**":       {"x": true},
		"openai/m": {"openai/m": true, "openai/m2": false},
	} {
		for name, want := range names {
			if got := plan.Compile([]string{pattern}).Fit(name); got != want {
				t.Errorf("Compile(%q).Fit(%q) = %v, want %v", pattern, name, got, want)
			}
		}
	}
	if !plan.Compile(nil).Fit("anything") || !plan.Compile([]string{}).Fit("") {
		t.Error("no pattern does not fit everything")
	}
	if plan.Compile([]string{"a", "b*"}).Fit("c") {
		t.Error("a list fits what none of it does")
	}
}

// FuzzPatterns compares with regular expressions, and must not take long over stars.
func FuzzPatterns(f *testing.F) {
	for _, seed := range [][2]string{{"openai/*", "openai/m"}, {"*a*a*a*b", strings.Repeat("a", 200)}, {"", ""}, {"***", "x"}, {"a**b", "aXb"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 256 || len(name) > 256 {
			return
		}
		quoted := make([]string, 0, 4)
		for part := range strings.SplitSeq(pattern, "*") {
			quoted = append(quoted, regexp.QuoteMeta(part))
		}
		re, err := regexp.Compile(`\A(?s:` + strings.Join(quoted, ".*") + `)\z`)
		if err != nil {
			return // not UTF-8: regular expressions are of text
		}
		if !strings.Contains(strings.ToValidUTF8(name, "*"), "*") || strings.ToValidUTF8(name, "") == name {
			if got, want := plan.Compile([]string{pattern}).Fit(name), re.MatchString(name); got != want {
				t.Errorf("Compile(%q).Fit(%q) = %v, want %v", pattern, name, got, want)
			}
		}
	})
}

package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// TestTheFirstOfAListOfModelsIsTheOneThatWasNamed: its policy bounds the attempts, and conditions look at it where
// another policy is enforced.
func TestTheFirstOfAListOfModelsIsTheOneThatWasNamed(t *testing.T) {
	t.Parallel()
	w := basic()
	bounded := policy("bounded", group(plan.Fallback, own("groq/l")))
	bounded.MaxAttempts, bounded.Hedge = 2, &completion.Hedge{MaxPercent: 5}
	chosen := policy("chosen",
		plan.TargetGroup{Lines: []plan.Line{own("groq/l")}, When: &plan.Condition{Models: []string{"openai/*"}}},
		group(plan.Fallback, own("anthropic/c")))
	w.policies = []*plan.Policy{bounded, chosen}
	list := &completion.Request{Routing: completion.Routing{Models: []string{"policy/bounded", "openai/m"}}}
	p, err := planner(w).Make(w, app, list)
	if err != nil || p.MaxAttempts != 2 || p.Hedge == nil {
		t.Errorf("%d attempts, hedge %v, %v: want those of the first one", p.MaxAttempts, p.Hedge, err)
	}
	list.Routing.Models = []string{"openai/m", "policy/bounded"}
	if p, err = planner(w).Make(w, app, list); err != nil || p.MaxAttempts != 0 || p.Hedge != nil {
		t.Errorf("%d attempts, hedge %v, %v: the policy is only the second", p.MaxAttempts, p.Hedge, err)
	}
	w.preferences.EnforcePolicy, w.preferences.PolicyID = true, "pol_chosen"
	if got := planned(t, w, app, list); !strings.HasPrefix(got, "groq/l@g") {
		t.Errorf("under a policy that is enforced: %s, want the group for openai/*", got)
	}
}

// TestWhatSticksStaysWithOneAccount: a line that sticks to a user would else have the next account's empty prompt
// cache for each request.
func TestWhatSticksStaysWithOneAccount(t *testing.T) {
	t.Parallel()
	w := basic()
	var accounts []*completion.Credential
	for i := range 5 {
		accounts = append(accounts, cred(fmt.Sprint(i), "openai"))
	}
	w.credentials["openai"] = accounts
	sticky := group(plan.Sticky, own("openai/m"))
	sticky.StickyBy = "user"
	w.policies = []*plan.Policy{policy("main", sticky)}
	seen := map[string]bool{}
	for user := range 50 {
		first := ""
		for turn := range 10 {
			req := &completion.Request{ID: fmt.Sprint("req", user, turn), Model: "policy/main", User: fmt.Sprint("u", user), Session: fmt.Sprint("s", turn)}
			got := planned(t, w, app, req)
			if first != "" && got != first {
				t.Fatalf("request %d of user %d: %s, before %s", turn, user, got, first)
			}
			first = got
		}
		seen[strings.Fields(first)[0]] = true
	}
	if len(seen) != 5 {
		t.Errorf("50 users are with %d of 5 accounts", len(seen))
	}
}

// reasons counts what was passed over, by reason.
func reasons(e plan.Explanation) map[plan.Reason]int {
	out := map[plan.Reason]int{}
	for _, x := range e.Exclusions {
		out[x.Reason]++
	}
	return out
}

// TestAPlanIsBounded in lines that it looks at and in targets that it has, and says what stands behind the bound.
func TestAPlanIsBounded(t *testing.T) {
	t.Parallel()
	lines := func(n int, model string) []plan.Line {
		out := make([]plan.Line, n)
		for i := range out {
			out[i] = own(fmt.Sprint(model, i))
		}
		return out
	}
	w := basic()
	w.credentials["openai"] = w.credentials["openai"][:1]
	w.policies = []*plan.Policy{policy("idle", group(plan.Fallback, lines(5000, "azure/m")...)), policy("wide", group(plan.Fallback, lines(1100, "openai/m")...))}
	for model, want := range map[string]map[plan.Reason]int{
		"policy/idle": {plan.NoCredential: 4096, plan.PlanFull: 904},
		"policy/wide": {plan.PlanFull: 76},
	} {
		e, err := planner(w).Explain(w, app, &completion.Request{Model: model})
		if diff := cmp.Diff(want, reasons(e)); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", model, err, diff)
		}
	}
}

// TestWhatThePlatformWouldHaveIsToldWhereItHasIt: which rule keeps its credentials from a model that was named.
func TestWhatThePlatformWouldHaveIsToldWhereItHasIt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rule  plan.PlatformRule
		model string
		want  map[plan.Reason]int
	}{
		"never":                        {plan.Never, "openai/m", map[plan.Reason]int{plan.PlatformNever: 1}},
		"in policies":                  {plan.InPolicies, "openai/m", map[plan.Reason]int{plan.PlatformPolicy: 1}},
		"never, and it has none":       {plan.Never, "groq/l", map[plan.Reason]int{}},
		"in policies, and it has none": {plan.InPolicies, "groq/l", map[plan.Reason]int{}},
		"it serves":                    {plan.AfterOwn, "openai/m", map[plan.Reason]int{}},
	} {
		w := basic()
		w.preferences.Rule = test.rule
		e, err := planner(w).Explain(w, app, &completion.Request{Model: test.model})
		if diff := cmp.Diff(test.want, reasons(e)); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	w := basic()
	w.policies = []*plan.Policy{policy("main", group(plan.Fallback, own("openai/m"), line("policy/gone", usage.ClassUnknown)))}
	e, err := planner(w).Explain(w, app, &completion.Request{Model: "policy/main"})
	if err != nil || len(e.Exclusions) != 1 || e.Exclusions[0].Reason != plan.PolicyUnknown || e.Exclusions[0].Model != "policy/gone" || e.Exclusions[0].Line != 1 {
		t.Errorf("%+v, %v: want the policy that is gone, on its line", e.Exclusions, err)
	}
}

// TestABoundOfThePriceIsThatOfTheRequestsSize: models that cost more for long prompts, and those of which half of the
// price is not known.
func TestABoundOfThePriceIsThatOfTheRequestsSize(t *testing.T) {
	t.Parallel()
	low, high := int64(1000), int64(2000)
	prices := pricing.NewTable([]pricing.Price{
		{ID: "p1", Model: "openai/m", ValidFrom: now.AddDate(-1, 0, 0), Tiers: []pricing.Tier{{Input: &low, Output: &low}, {MinInput: 1000, Input: &high, Output: &high}}},
		{ID: "p2", Model: "groq/l", ValidFrom: now.AddDate(-1, 0, 0), Tiers: []pricing.Tier{{Input: &low}}},
	})
	for name, test := range map[string]struct {
		model         string
		bytes         int
		input, output *int64
		want          plan.Reason
	}{
		"a short prompt at its price":  {"openai/m", 3996, &low, &low, ""},
		"a long one":                   {"openai/m", 4000, &low, nil, plan.PriceTooHigh},
		"a long one, of a wider bound": {"openai/m", 4000, &high, &high, ""},
		"half of it is not known":      {"groq/l", 0, nil, &high, plan.PriceUnknown},
		"the other half is":            {"groq/l", 0, &low, nil, ""},
	} {
		w := basic()
		p := planner(w)
		p.Prices = func() *pricing.Table { return prices }
		e, err := p.Explain(w, app, &completion.Request{Model: test.model, InputBytes: test.bytes, Routing: completion.Routing{MaxInput: test.input, MaxOutput: test.output}})
		if err != nil || (len(e.Candidates) > 0) != (test.want == "") || test.want != "" && reasons(e)[test.want] == 0 {
			t.Errorf("%s: %d candidates, passed over %v, %v", name, len(e.Candidates), reasons(e), err)
		}
	}
}

package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// TestEachCandidateSaysWhyItStandsThere, in words that name the strategy, the request's wish and what is known.
func TestEachCandidateSaysWhyItStandsThere(t *testing.T) {
	t.Parallel()
	rotating := func(w *world) {
		c := w.credentials["openai"][0]
		next := *c
		next.Revision = 2
		c.Next, c.Share = &next, 100
	}
	for name, test := range map[string]struct {
		change func(*world)
		req    completion.Request
		want   []string // of the candidates in order
	}{
		"the order of the lines": {req: completion.Request{Model: "policy/fallback"}, want: []string{"in the order of the lines", "in the order of the lines"}},
		"weights":                {req: completion.Request{ID: "req_1", Model: "policy/weighted"}, want: []string{"drawn with weight 5", "weight 0 comes after all others"}},
		"what sticks":            {req: completion.Request{Model: "policy/sticky", Session: "s"}, want: []string{"the same for what the request sticks to", "the same for what the request sticks to"}},
		"nothing that sticks":    {req: completion.Request{Model: "policy/sticky"}, want: []string{"drawn with weight 1", "drawn with weight 1"}},
		"latency":                {req: completion.Request{ID: "req_2", Model: "policy/latency"}, want: []string{"120ms to the first token", "not measured yet"}},
		"cost":                   {req: completion.Request{Model: "policy/cost", InputBytes: 4000, MaxOutput: 100}, want: []string{"about 120000 nano-USD", "about 4500000 nano-USD"}},
		"an inner policy":        {req: completion.Request{Model: "policy/outer"}, want: []string{"by a policy that the line names; in the order of the lines", "by a policy that the line names"}},
		"alone":                  {change: func(w *world) { w.credentials["groq"] = nil }, req: completion.Request{Model: "policy/weighted"}, want: []string{"the only line of its group that can serve"}},
		"a model":                {req: completion.Request{Model: "groq/l"}, want: []string{"an own credential for the model that was named"}},
		"the platform's rule":    {change: func(w *world) { w.preferences.Rule = plan.BeforeOwn }, req: completion.Request{Model: "anthropic/c"}, want: []string{"as the organization's rule for anthropic says", "an own credential"}},
		"the request's order":    {req: completion.Request{Model: "policy/fallback", Routing: completion.Routing{Order: []string{"anthropic"}}}, want: []string{"in the request's order of providers", "in the request's order of providers"}},
		"the request's sort":     {req: completion.Request{Model: "policy/fallback", Routing: completion.Routing{Sort: "price"}}, want: []string{"sorted by price as the request asks", "sorted by price"}},
		"little left":            {change: func(w *world) { w.low = map[string]bool{"cred_g": true} }, req: completion.Request{Model: "groq/l"}, want: []string{"little is left of the provider's limits"}},
		"two secrets":            {change: rotating, req: completion.Request{Model: "openai/m"}, want: []string{"the second secret, drawn by its share", "the current secret, behind the second one", "an own credential"}},
		"a drill": {
			change: func(w *world) {
				w.drills = []completion.Drill{{OrgID: org, APIKeyID: app.APIKeyID, CredentialID: "cred_g", Until: now.Add(time.Minute)}}
			},
			req: completion.Request{Model: "groq/l"}, want: []string{"a drill makes it fail until 12:01:00 UTC"},
		},
		"broken": {
			change: func(w *world) {
				w.held = map[string]completion.Hold{"cred_g": {Why: completion.Broken, Until: now.Add(30 * time.Second)}}
			},
			req: completion.Request{Model: "groq/l"}, want: []string{"passed over until 12:00:30 UTC if anybody else can serve"},
		},
	} {
		w := basic()
		w.latency = map[string]time.Duration{"groq/l": 120 * time.Millisecond}
		both := []plan.Line{own("groq/l"), own("anthropic/c")}
		w.policies = []*plan.Policy{
			policy("fallback", group(plan.Fallback, both...)), policy("sticky", group(plan.Sticky, both...)),
			policy("weighted", group(plan.Weighted, weighing(own("groq/l"), 0), weighing(own("anthropic/c"), 5))),
			policy("latency", group(plan.LowestLatency, own("anthropic/c"), own("groq/l"))), policy("cost", group(plan.LowestCost, own("anthropic/c"), own("groq/l"))),
			policy("outer", group(plan.Weighted, line("policy/fallback", usage.ClassUnknown))),
		}
		if test.change != nil {
			test.change(w)
		}
		e, err := planner(w).Explain(w, app, &test.req)
		if err != nil || len(e.Candidates) != len(test.want) {
			t.Errorf("%s: %d candidates, %v, want %d", name, len(e.Candidates), err, len(test.want))
			continue
		}
		for i, words := range test.want {
			if got := e.Candidates[i].Reason; !strings.Contains(got, words) {
				t.Errorf("%s: candidate %d stands there since: %s; want: %s", name, i+1, got, words)
			}
		}
	}
}

// TestCostsAreOfTheGivenSizes: what is unknown stays so.
func TestCostsAreOfTheGivenSizes(t *testing.T) {
	t.Parallel()
	w := basic()
	for name, test := range map[string]struct {
		req  completion.Request
		want int64 // negative is unknown
	}{
		"prompt and answer": {completion.Request{Model: "groq/l", InputBytes: 4000, MaxOutput: 100}, 120_000},
		"the prompt alone":  {completion.Request{Model: "groq/l", InputBytes: 4000}, 100_000},
		"no size":           {completion.Request{Model: "groq/l"}, -1},
		"no price":          {completion.Request{Model: "groq/x", InputBytes: 4000, MaxOutput: 100}, -1},
		"pictures":          {completion.Request{Model: "groq/l", Operation: completion.Images, InputBytes: 4000}, -1},
		"a count":           {completion.Request{Model: "groq/l", Operation: completion.CountTokens, InputBytes: 4000}, 0},
	} {
		e, err := planner(w).Explain(w, app, &test.req)
		if err != nil {
			t.Fatal(err)
		}
		c := e.Candidates[0]
		if (c.Cost != nil) != (test.want >= 0) || c.Cost != nil && *c.Cost != test.want {
			t.Errorf("%s: cost %v, want %d", name, c.Cost, test.want)
		}
		if known := test.req.Model == "groq/l"; (c.PriceVersion == "price_groq_l") != known {
			t.Errorf("%s: price version %q", name, c.PriceVersion)
		}
	}
}

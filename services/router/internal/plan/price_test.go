package plan_test

import (
	"testing"

	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
)

// TestAPlanRestsOnOneBook has prices that change whenever somebody looks: a plan and an explanation look once, order
// and estimate by what they saw, and hand the same book to whoever reckons the attempts.
func TestAPlanRestsOnOneBook(t *testing.T) {
	t.Parallel()
	cheap, dear := int64(1_000_000), int64(9_000_000)
	of := func(id string, groq, openai *int64) *pricing.Table {
		return pricing.NewTable([]pricing.Price{
			{ID: "price_groq_" + id, Model: "groq/l", Tiers: []pricing.Tier{{Input: groq, Output: groq}}},
			{ID: "price_openai_" + id, Model: "openai/m", Tiers: []pricing.Tier{{Input: openai, Output: openai}}},
		})
	}
	books := []*pricing.Table{of("0", &cheap, &dear), of("1", &dear, &cheap)}
	orders := []string{"groq/l@g#1 openai/m@1#0 openai/m@2#0", "openai/m@1#0 openai/m@2#0 groq/l@g#1"}
	w := basic()
	w.policies = []*plan.Policy{policy("cost", group(plan.LowestCost, own("openai/m"), own("groq/l")))}
	looks := 0
	p := planner(w)
	p.Prices = func() *pricing.Table { looks++; return books[(looks-1)%2] }
	req := &completion.Request{Model: "policy/cost", InputBytes: 4000, MaxOutput: 100}
	for i := range 4 {
		made, err := p.Make(w, app, req)
		if err != nil || looks != i+1 || made.Prices != books[i%2] || order(made.Targets) != orders[i%2] {
			t.Errorf("plan %d: %s after %d looks, by the right book: %t, %v, want %s", i, order(made.Targets), looks, made.Prices == books[i%2], err, orders[i%2])
		}
	}
	looks = 0
	for i := range 4 {
		told, err := p.Explain(w, app, req)
		if err != nil || looks != i+1 || told.Plan.Prices != books[i%2] || order(told.Plan.Targets) != orders[i%2] {
			t.Fatalf("explanation %d: %s after %d looks, %v, want %s", i, order(told.Plan.Targets), looks, err, orders[i%2])
		}
		want := []int64{1_100, 9_900, 9_900}
		if i%2 == 1 {
			want = []int64{1_100, 1_100, 9_900}
		}
		for j, c := range told.Candidates {
			version, _ := books[i%2].At(c.Target.Model, now)
			if c.Cost == nil || *c.Cost != want[j] || c.PriceVersion != version.ID {
				t.Errorf("explanation %d: candidate %d costs %v by %s, want %d by %s", i, j, c.Cost, c.PriceVersion, want[j], version.ID)
			}
		}
	}
}

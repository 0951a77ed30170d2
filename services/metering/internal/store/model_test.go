package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/metering/internal/spool"
	"github.com/claviger/claviger/services/metering/internal/store"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// model is what the database should hold: the highest revision of each attempt, and all numbers.
type model struct {
	attempts map[string]usage.Attempt
	numbers  map[spool.Key]map[int64]bool
}

func (m *model) apply(b usage.Batch) {
	for _, a := range b.Attempts {
		key := a.OrgID + a.AttemptID
		if old, ok := m.attempts[key]; !ok || a.Revision > old.Revision {
			m.attempts[key] = a
		}
	}
	for key, ranges := range b.Sequences {
		if m.numbers[key] == nil {
			m.numbers[key] = map[int64]bool{}
		}
		for _, r := range ranges {
			for n := r.First; n <= r.Last; n++ {
				m.numbers[key][n] = true
			}
		}
	}
}

func (m *model) totals(org string) map[string]usage.Totals {
	sums := map[string]usage.Totals{}
	for _, a := range m.attempts {
		if a.OrgID != org {
			continue
		}
		key, t := a.Contribution()
		k := fmt.Sprint(key.Bucket, key.Model, key.MemberID, a.Tags["t"])
		sums[k] = sums[k].Plus(t, 1)
	}
	return sums
}

func (m *model) contiguous(key spool.Key) (n int64) {
	for m.numbers[key][n+1] {
		n++
	}
	return n
}

// TestApplyIsTheModel delivers, repeats, reorders, revises and crashes at random, and compares what the
// database says with a plain map after every step.
func TestApplyIsTheModel(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s *store.Store) {
		round := 0
		rapid.Check(t, func(rt *rapid.T) {
			round++ // every check has organizations and a router of its own, in one database
			orgs := []string{fmt.Sprintf("org_%da", round), fmt.Sprintf("org_%db", round)}
			pool := drawPool(rt, orgs)
			m := &model{attempts: map[string]usage.Attempt{}, numbers: map[spool.Key]map[int64]bool{}}
			key := spool.Key{Router: fmt.Sprintf("r%d", round), Epoch: "e", Partition: 1}
			for range rapid.IntRange(1, 6).Draw(rt, "steps") {
				b := drawBatch(rt, pool, key)
				if rapid.IntRange(0, 3).Draw(rt, "crash") == 0 { // before the commit: nothing may stay
					ctx, cancel := context.WithCancel(t.Context())
					cancel()
					if _, err := s.Apply(ctx, b); !errors.Is(err, context.Canceled) {
						rt.Fatalf("Apply with a canceled context = %v", err)
					}
				} else {
					if _, err := s.Apply(t.Context(), b); err != nil {
						rt.Fatalf("Apply: %v", err)
					}
					m.apply(b)
				}
				compare(t, rt, s, m, orgs)
			}
			marks, err := s.Marks(t.Context())
			if err != nil || marks[key].Contiguous != m.contiguous(key) {
				rt.Fatalf("mark = %+v, %v, want contiguous %d", marks[key], err, m.contiguous(key))
			}
		})
		mustVerify(t, s)
	})
}

// drawPool makes attempts with up to three revisions each.
func drawPool(t *rapid.T, orgs []string) []usage.Attempt {
	var pool []usage.Attempt
	for range rapid.IntRange(1, 6).Draw(t, "attempts") {
		first := usage.Event{
			OrgID: rapid.SampledFrom(orgs).Draw(t, "org"), AttemptID: id.New("att"), RequestID: "req_x",
			AttemptNumber: rapid.IntRange(1, 2).Draw(t, "number"), Started: noon,
		}
		for revision := range rapid.IntRange(1, 3).Draw(t, "revisions") {
			a := usage.Attempt{Event: first, AppliedAt: noon}
			a.Revision = revision
			a.Ended = noon.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "quarter")) * usage.Quarter)
			a.Model = rapid.SampledFrom([]string{"p/a", "p/b"}).Draw(t, "model")
			a.MemberID = rapid.SampledFrom([]string{"", "mem_a"}).Draw(t, "member")
			a.Outcome = rapid.SampledFrom([]usage.Outcome{usage.OK, usage.Canceled, usage.Failed}).Draw(t, "outcome")
			a.Source = rapid.SampledFrom([]usage.Source{usage.ProviderFinal, usage.Estimated, usage.NoUsage}).Draw(t, "source")
			if tag := rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "tag"); tag != "" {
				a.Tags = map[string]string{"t": tag}
			}
			if rapid.Bool().Draw(t, "counted") {
				n := rapid.Int64Range(0, 1000).Draw(t, "tokens")
				a.Tokens = &pricing.Counts{InputTotal: n, InputUncached: n, OutputTotal: n / 2, ImageOut: n / 3}
			}
			if rapid.Bool().Draw(t, "priced") {
				cost := rapid.Int64Range(0, 1<<50).Draw(t, "cost")
				a.CostNano, a.CostSource = &cost, usage.CostByPrice
			}
			drawUnits(t, &a)
			pool = append(pool, a)
		}
	}
	return pool
}

// drawUnits gives an attempt units and a cost that the provider reports, or not.
func drawUnits(t *rapid.T, a *usage.Attempt) {
	for _, name := range pricing.UnitNames {
		if rapid.IntRange(0, 3).Draw(t, name) == 0 {
			a.Units = append(a.Units, pricing.Unit{Name: name, Milli: rapid.Int64Range(0, 5000).Draw(t, "milli")})
		}
	}
	if rapid.IntRange(0, 2).Draw(t, "reported") == 0 {
		cost := rapid.Int64Range(0, 1<<50).Draw(t, "reported cost")
		a.ReportedNano = &cost
		if a.CostNano == nil {
			a.CostNano, a.CostSource = &cost, usage.CostByProvider
		}
	}
}

func drawBatch(t *rapid.T, pool []usage.Attempt, key spool.Key) usage.Batch {
	b := usage.Batch{At: noon, Attempts: rapid.SliceOfN(rapid.SampledFrom(pool), 0, 8).Draw(t, "batch")}
	first := rapid.Int64Range(1, 20).Draw(t, "first")
	b.Sequences = map[spool.Key][]spool.Range{key: {{First: first, Last: first + rapid.Int64Range(0, 4).Draw(t, "length")}}}
	return b
}

func compare(t *testing.T, rt *rapid.T, s *store.Store, m *model, orgs []string) {
	for _, org := range orgs {
		page := query(t, s, usage.Query{
			OrgID: org, Bucket: usage.PerQuarter, TagKey: "t",
			GroupBy: []usage.Dimension{usage.ByModel, usage.ByMember, usage.ByTag},
		})
		got, want := map[string]usage.Totals{}, m.totals(org)
		var sum usage.Totals
		for _, r := range page.Rows {
			got[fmt.Sprint(r.Bucket, r.Group[0], r.Group[1], r.Group[2])] = r.Totals
		}
		for _, key := range slices.Sorted(maps.Keys(want)) {
			sum = sum.Plus(want[key], 1)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("rows of %s (-model +database):\n%s", org, diff)
		}
		if diff := cmp.Diff(sum, page.Total); diff != "" {
			rt.Fatalf("total of %s (-model +database):\n%s", org, diff)
		}
	}
}

package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/metering/internal/store"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// mediaJob returns what is told of an attempt in turn: that it was sent, how it ended, what it took, what
// it costs. Each truth differs from the others in everything that sums are kept of.
func mediaJob(org string, n, revisions int) []usage.Attempt {
	submitted := usage.Attempt{
		Event: usage.Event{
			OrgID: org, AttemptID: id.New("att"), RequestID: fmt.Sprintf("req_%s_%d", org, n), AttemptNumber: 1 + n%2,
			APIKeyID: fmt.Sprintf("key_%d", n%3), Model: "fal/clip", Provider: "fal", Operation: "videos",
			Started: noon, Ended: noon.Add(time.Duration(n) * time.Minute), Outcome: usage.OK, Source: usage.Estimated,
		},
		AppliedAt: noon,
	}
	truths := []usage.Attempt{submitted}
	for revision := 1; revision < revisions; revision++ {
		a := submitted
		a.Revision = revision
		a.Ended = submitted.Ended.Add(time.Duration(revision*n%5) * 13 * time.Hour) // maybe on another day
		a.Outcome = []usage.Outcome{usage.Failed, usage.OK, usage.Canceled}[(n+revision)%3]
		a.Source = []usage.Source{usage.ProviderPartial, usage.ProviderFinal, usage.NoUsage}[(n+revision)%3]
		a.Units = []pricing.Unit{{Name: pricing.UnitNames[(n+revision)%len(pricing.UnitNames)], Milli: int64(1000*revision + n)}}
		if n%3 == 0 {
			a.Tokens = &pricing.Counts{InputTotal: int64(revision), InputUncached: int64(revision), OutputTotal: int64(n)}
		}
		cost := int64(1_000_000*revision + n)
		switch (n + revision) % 4 {
		case 0:
			a.CostNano, a.CostSource, a.PriceID = &cost, usage.CostByPrice, "price_a"
		case 1:
			a.CostNano, a.CostSource, a.ReportedNano = &cost, usage.CostByProvider, &cost
		case 2:
			reported := cost + 1
			a.CostNano, a.CostSource, a.PriceID, a.ReportedNano = &cost, usage.CostByPrice, "price_a", &reported
		}
		if revision%2 == 0 {
			a.Tags = map[string]string{"take": fmt.Sprint(revision)}
		}
		truths = append(truths, a)
	}
	return truths
}

// wantNewest compares the sums of an organization with those of the newest truths, and one list with them.
func wantNewest(t *testing.T, s *store.Store, org string, jobs [][]usage.Attempt) error {
	t.Helper()
	var want usage.Totals
	for _, truths := range jobs {
		_, totals := truths[len(truths)-1].Contribution()
		want = want.Plus(totals, 1)
	}
	for _, bucket := range []usage.Bucket{usage.Whole, usage.PerQuarter} { // from the sums per day, and per quarter
		page := query(t, s, usage.Query{OrgID: org, Start: noon.Add(-48 * time.Hour), End: noon.Add(480 * time.Hour), Bucket: bucket})
		if diff := cmp.Diff(want, page.Total); diff != "" {
			return fmt.Errorf("total (-newest truths +database):\n%s", diff)
		}
	}
	return nil
}

// TestLaterTruthsGiveTheSameSumsInAnyOrder delivers what is told of media jobs in any order, some of it more
// than once, in batches of any size, and then all of it again.
func TestLaterTruthsGiveTheSameSumsInAnyOrder(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s *store.Store) {
		round := 0
		rapid.Check(t, func(rt *rapid.T) {
			round++
			org := fmt.Sprintf("org_%d", round)
			var jobs [][]usage.Attempt
			var told []usage.Attempt
			for n := range rapid.IntRange(1, 12).Draw(rt, "jobs") {
				truths := mediaJob(org, n, rapid.IntRange(1, 4).Draw(rt, "truths"))
				jobs = append(jobs, truths)
				for _, a := range truths {
					for range rapid.IntRange(1, 2).Draw(rt, "times") {
						told = append(told, a)
					}
				}
			}
			counted := 0
			for _, a := range slices.Collect(slices.Chunk(rapid.Permutation(told).Draw(rt, "order"), rapid.IntRange(1, 20).Draw(rt, "batch"))) {
				counted += apply(t, s, usage.Batch{Attempts: a, At: noon}).Counted
			}
			if err := wantNewest(t, s, org, jobs); err != nil || counted != len(jobs) {
				rt.Fatalf("%d attempts counted of %d: %v", counted, len(jobs), err)
			}
			again := apply(t, s, usage.Batch{Attempts: rapid.Permutation(told).Draw(rt, "again"), At: noon})
			if err := wantNewest(t, s, org, jobs); err != nil || again.Counted+again.Revised != 0 {
				rt.Fatalf("told again: %+v, %v, want nothing but duplicates", again, err)
			}
		})
		mustVerify(t, s)
	})
}

// TestManyLaterTruthsAreAppliedOnce is the same with thousands, whose last truths are shown.
func TestManyLaterTruthsAreAppliedOnce(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s *store.Store) {
		const n = 1200
		random := rand.New(rand.NewPCG(1, 2))
		var jobs [][]usage.Attempt
		var told []usage.Attempt
		for i := range n {
			truths := mediaJob("org_a", i, 1+i%4)
			jobs = append(jobs, truths)
			told = append(append(told, truths...), truths[random.IntN(len(truths))])
		}
		for range 2 {
			random.Shuffle(len(told), func(i, j int) { told[i], told[j] = told[j], told[i] })
			for part := range slices.Chunk(told, 512) {
				apply(t, s, usage.Batch{Attempts: part, At: noon})
			}
			if err := wantNewest(t, s, "org_a", jobs); err != nil {
				t.Fatal(err)
			}
		}
		mustVerify(t, s)
		for _, truths := range jobs[:40] {
			newest := truths[len(truths)-1]
			got, err := s.AttemptsOfRequest(t.Context(), "org_a", newest.RequestID)
			if err != nil || len(got) != 1 {
				t.Fatalf("AttemptsOfRequest = %d attempts, %v", len(got), err)
			}
			if diff := cmp.Diff(newest, got[0], cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("the request shows (-newest truth +shown):\n%s", diff)
			}
		}
		if err := s.Rebuild(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := wantNewest(t, s, "org_a", jobs); err != nil {
			t.Errorf("after Rebuild: %v", err)
		}
	})
}

// TestALaterTruthOfAnotherOrganizationIsAnotherAttempt has two organizations whose attempts have one id, as
// only a forger's can: neither changes the other.
func TestALaterTruthOfAnotherOrganizationIsAnotherAttempt(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s *store.Store) {
		mine := mediaJob("org_a", 1, 2)
		forged := mine[1]
		forged.OrgID, forged.Revision = "org_b", 7
		apply(t, s, usage.Batch{Attempts: []usage.Attempt{mine[0], mine[1]}, At: noon})
		apply(t, s, usage.Batch{Attempts: []usage.Attempt{forged}, At: noon})
		for _, org := range []string{"org_a", "org_b"} {
			if err := wantNewest(t, s, org, [][]usage.Attempt{mine}); err != nil {
				t.Errorf("%s: %v", org, err)
			}
		}
		if got, err := s.AttemptsOfRequest(t.Context(), "org_a", mine[0].RequestID); err != nil || len(got) != 1 || got[0].Revision != 1 {
			t.Errorf("AttemptsOfRequest = %+v, %v, want revision 1", got, err)
		}
		mustVerify(t, s)
	})
}

package store_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	"github.com/claviger/claviger/services/metering/internal/store"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// TestWhoReadsOnMissesNothing lets several transactions count at once, with redeliveries and revisions,
// while readers follow the numbers. Each must see each attempt, in its last revision, and nothing twice.
func TestWhoReadsOnMissesNothing(t *testing.T) {
	t.Parallel()
	for name, apply := range map[string]func(*store.Store, context.Context, usage.Batch) (usage.Applied, error){
		"as the service does": (*store.Store).Apply, "without the common lock": (*store.Store).ApplyUnlocked,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, func(t *testing.T, s *store.Store) {
				const writers, batches = 5, 12
				orgs := []string{"org_a", "org_b", "org_c"}
				var mu sync.Mutex
				want := map[string]map[string]int{} // organization → attempt → its highest revision
				var writing errgroup.Group
				for w := range writers {
					rng := rand.New(rand.NewPCG(uint64(w), 7))
					writing.Go(func() error {
						var mine []usage.Attempt
						for range batches {
							b := usage.Batch{At: noon}
							for range 1 + rng.IntN(20) {
								if len(mine) > 0 && rng.IntN(4) == 0 {
									old := mine[rng.IntN(len(mine))] // again, or a revision
									old.Revision += rng.IntN(2)
									b.Attempts = append(b.Attempts, old)
									continue
								}
								b.Attempts = append(b.Attempts, attempt(orgs[rng.IntN(len(orgs))], nil))
							}
							if _, err := apply(s, t.Context(), b); err != nil {
								return err
							}
							mine = append(mine, b.Attempts...)
							mu.Lock()
							for _, a := range b.Attempts {
								if want[a.OrgID] == nil {
									want[a.OrgID] = map[string]int{}
								}
								want[a.OrgID][a.AttemptID] = max(want[a.OrgID][a.AttemptID], a.Revision)
							}
							mu.Unlock()
						}
						return nil
					})
				}
				done := make(chan struct{})
				var reading errgroup.Group
				got := make([]map[string]int, len(orgs))
				for i, org := range orgs {
					reading.Go(func() (err error) {
						got[i], err = follow(t.Context(), s, org, done)
						return err
					})
				}
				err := writing.Wait()
				close(done)
				if err != nil {
					t.Fatalf("Apply: %v", err)
				}
				if err := reading.Wait(); err != nil {
					t.Fatal(err)
				}
				for i, org := range orgs {
					if diff := gocmp.Diff(want[org], got[i]); diff != "" {
						t.Errorf("%s (-counted +seen):\n%s", org, diff)
					}
				}
				mustVerify(t, s)
			})
		})
	}
}

// follow reads on until done, and then to the end. It returns the revision seen last of each attempt.
func follow(ctx context.Context, s *store.Store, org string, done <-chan struct{}) (map[string]int, error) {
	seen, at := map[string]int{}, int64(0)
	for last := false; ; {
		select {
		case <-done:
			last = true
		default:
		}
		counters, err := s.Counters(ctx, []string{org})
		if err != nil {
			return nil, err
		}
		through := counters[org]
		for at < through {
			page, err := s.Counted(ctx, org, at, through, 7)
			if err != nil {
				return nil, err
			}
			for _, c := range page {
				if c.Number <= at || c.OrgID != org {
					return nil, fmt.Errorf("number %d of %s after %d", c.Number, c.OrgID, at)
				}
				at = c.Number
				if revision, ok := seen[c.AttemptID]; ok && revision >= c.Revision {
					return nil, fmt.Errorf("revision %d of an attempt after %d", c.Revision, revision)
				}
				seen[c.AttemptID] = c.Revision
			}
			if len(page) < 7 {
				at = through
			}
		}
		if last {
			return seen, nil
		}
	}
}

func TestFilteredListsAreTheWholeFiltered(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s *store.Store) {
		rng := rand.New(rand.NewPCG(1, 2))
		pick := func(values ...string) string { return values[rng.IntN(len(values))] }
		var all []usage.Attempt
		for range 1200 {
			a := attempt(pick("org_a", "org_a", "org_a", "org_b"), func(a *usage.Attempt) {
				a.Ended = noon.Add(-time.Duration(rng.IntN(50*3600)) * time.Second) // some share their second
				a.APIKeyID, a.MemberID = pick("key_a", "key_b", "key_c"), pick("mem_a", "mem_b")
				a.Model, a.CredentialID, a.PolicyID = pick("openai/a", "openai/b"), pick("cred_a", ""), pick("", "pol_a")
				a.Class = usage.Class(pick("", "own", "platform"))
				a.Outcome = usage.Outcome(pick("ok", "ok", "ok", "canceled", "error", "broken", ""))
				a.Tags = []map[string]string{nil, {"team": "x"}, {"team": "y"}, {"env": "prod"}, {"team": ""}}[rng.IntN(5)]
			})
			all = append(all, a)
		}
		all[5].OrgID, all[5].Model, all[5].Ended = "org_a", "openai/rare", noon.Add(-40*time.Hour)
		for part := range slices.Chunk(all, 300) {
			apply(t, s, usage.Batch{Attempts: part})
		}
		filter := func(d usage.Dimension, values ...string) usage.Filter {
			return usage.Filter{Dimension: d, Values: values}
		}
		tag := func(values ...string) usage.Filter {
			return usage.Filter{Dimension: usage.ByTag, TagKey: "team", Values: values}
		}
		for name, l := range map[string]usage.List{
			"errors":               {ErrorsOnly: true},
			"key":                  {Filters: []usage.Filter{filter(usage.ByAPIKey, "key_b")}},
			"two keys, errors":     {Filters: []usage.Filter{filter(usage.ByAPIKey, "key_a", "key_c")}, ErrorsOnly: true},
			"member and model":     {MemberID: "mem_b", Filters: []usage.Filter{filter(usage.ByModel, "openai/b"), filter(usage.ByProvider, "openai")}},
			"no credential":        {Filters: []usage.Filter{filter(usage.ByCredential, "")}},
			"class and policy":     {Filters: []usage.Filter{filter(usage.ByClass, "own"), filter(usage.ByPolicy, "", "pol_x")}},
			"team x or none":       {Filters: []usage.Filter{tag("x", "")}, ErrorsOnly: true},
			"team y of a member":   {MemberID: "mem_a", Filters: []usage.Filter{tag("y")}},
			"another member":       {MemberID: "mem_a", Filters: []usage.Filter{filter(usage.ByMember, "mem_b")}},
			"rare":                 {Filters: []usage.Filter{filter(usage.ByModel, "openai/rare")}},
			"nothing":              {Filters: []usage.Filter{filter(usage.ByModel, "x' OR '1'='1")}},
			"everything, filtered": {Filters: []usage.Filter{filter(usage.ByProvider, "openai")}},
		} {
			for _, size := range []int{1, 7, 100} {
				l.OrgID, l.PageSize, l.After = "org_a", size, nil
				l.Start, l.End = noon.Add(-45*time.Hour-7*time.Minute), noon.Add(-20*time.Minute) // cut quarters of an hour
				var want, got []string
				for _, a := range sorted(all) {
					keep := a.OrgID == "org_a" && (l.MemberID == "" || a.MemberID == l.MemberID) && (!l.ErrorsOnly || a.Failed()) &&
						!a.Ended.Before(l.Start) && a.Ended.Before(l.End)
					for _, f := range l.Filters {
						keep = keep && f.Match(&a.Event)
					}
					if keep {
						want = append(want, a.AttemptID)
					}
				}
				for range 20 { // pages of one are not read to the end
					page, more, err := s.ListAttempts(t.Context(), l)
					if err != nil {
						t.Fatalf("%s: ListAttempts: %v", name, err)
					}
					for _, a := range page {
						got = append(got, a.AttemptID)
					}
					if !more {
						break
					}
					last := page[len(page)-1]
					l.After = &usage.AttemptKey{Ended: last.Ended.UnixMicro(), AttemptID: last.AttemptID}
				}
				if diff := gocmp.Diff(want[:min(len(want), 20*size)], got); diff != "" {
					t.Errorf("%s, pages of %d (-want +got):\n%s", name, size, diff)
				}
			}
		}
	})
}

// sorted are the newest first.
func sorted(attempts []usage.Attempt) []usage.Attempt {
	return slices.SortedFunc(slices.Values(attempts), func(a, b usage.Attempt) int {
		return cmp.Or(b.Ended.Compare(a.Ended), cmp.Compare(b.AttemptID, a.AttemptID))
	})
}

func lastUses(t *testing.T, s *store.Store, member string, d usage.Dimension, ids ...string) map[string]time.Time {
	t.Helper()
	uses, err := s.LastUses(t.Context(), usage.Uses{OrgID: "org_a", MemberID: member, Dimension: d, IDs: ids})
	if err != nil {
		t.Fatalf("LastUses: %v", err)
	}
	out := map[string]time.Time{}
	for _, u := range uses {
		out[u.ID] = u.Last
	}
	return out
}

func TestLastUsesMoveForwardOnly(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s *store.Store) {
		at := func(minutes int, key, member, credential string) usage.Attempt {
			return attempt("org_a", func(a *usage.Attempt) {
				a.Ended = noon.Add(time.Duration(minutes) * time.Minute)
				a.APIKeyID, a.MemberID, a.CredentialID = key, member, credential
			})
		}
		first := at(5, "key_a", "mem_a", "cred_a")
		apply(t, s, usage.Batch{Attempts: []usage.Attempt{first, at(3, "key_a", "mem_a", "cred_a"), at(1, "key_b", "mem_b", "cred_a"), at(2, "key_c", "mem_b", "")}})
		apply(t, s, usage.Batch{Attempts: []usage.Attempt{at(4, "key_a", "mem_a", "cred_b"), at(9, "key_b", "mem_b", "cred_a"), first}})
		apply(t, s, usage.Batch{Attempts: []usage.Attempt{attempt("org_b", func(a *usage.Attempt) { a.APIKeyID, a.Ended = "key_a", noon.Add(time.Hour) })}})
		minute := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
		check := func() {
			t.Helper()
			for _, c := range []struct {
				member string
				d      usage.Dimension
				want   map[string]time.Time
			}{
				{"", usage.ByAPIKey, map[string]time.Time{"key_a": minute(5), "key_b": minute(9), "key_c": minute(2)}},
				{"mem_a", usage.ByAPIKey, map[string]time.Time{"key_a": minute(5)}},
				{"", usage.ByCredential, map[string]time.Time{"cred_a": minute(9), "cred_b": minute(4)}},
				{"mem_a", usage.ByCredential, map[string]time.Time{"cred_a": minute(5), "cred_b": minute(4)}}, // not when others used it
				{"mem_b", usage.ByCredential, map[string]time.Time{"cred_a": minute(9)}},
				{"mem_x", usage.ByCredential, map[string]time.Time{}},
			} {
				got := lastUses(t, s, c.member, c.d, "key_a", "key_b", "key_c", "key_never", "cred_a", "cred_b", "")
				if diff := gocmp.Diff(c.want, got); diff != "" {
					t.Errorf("%q of dimension %d (-want +got):\n%s", c.member, c.d, diff)
				}
			}
		}
		check()
		if err := s.Exec(t.Context(), "UPDATE last_use SET last_time = 1"); err != nil {
			t.Fatal(err)
		}
		if err := s.Rebuild(t.Context()); err != nil {
			t.Fatalf("Rebuild: %v", err)
		}
		check()
	})
}

func TestWhatWasCountedBeforeIsFilledIn(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		db := open(t)
		if err := store.MigrateFirst(t.Context(), db); err != nil {
			t.Fatalf("first migration: %v", err)
		}
		s := store.New(db)
		for i, ended := range []time.Time{noon, noon.Add(-time.Hour)} {
			err := s.Exec(t.Context(), fmt.Sprintf(`INSERT INTO usage_event (org_id, day, attempt_id, revision, request_id, attempt_number, api_key_id, member_id,
				credential_id, started_at, ended_at, applied_at) VALUES ('org_a', 1, '%s', 0, 'req_%d', 1, 'key_a', 'mem_a', 'cred_a', 1, %d, 1)`, id.New("att"), i, ended.UnixMicro()))
			if err != nil {
				t.Fatal(err)
			}
		}
		s = migrated(t, db)
		if got := lastUses(t, s, "", usage.ByAPIKey, "key_a")["key_a"]; !got.Equal(noon) {
			t.Errorf("last use of the key = %v, want %v", got, noon)
		}
		if got := lastUses(t, s, "mem_a", usage.ByCredential, "cred_a")["cred_a"]; !got.Equal(noon) {
			t.Errorf("last use of the credential = %v, want %v", got, noon)
		}
		// What is counted from now on has numbers; what was before has none, and is not sent.
		out := apply(t, s, usage.Batch{Attempts: []usage.Attempt{attempt("org_a", nil)}})
		page, err := s.Counted(t.Context(), "org_a", 0, out.Counters["org_a"], 100)
		if err != nil || len(page) != 1 || page[0].Number != 1 {
			t.Errorf("Counted = %d attempts, %v, want the new one", len(page), err)
		}
	})
}

// TestWhatAnOldVersionLeavesOutIsSettled has a version apply that knows neither sums per day nor last uses.
func TestWhatAnOldVersionLeavesOutIsSettled(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s *store.Store) {
		if err := s.Settle(t.Context()); err != nil { // with nothing there
			t.Fatalf("Settle: %v", err)
		}
		apply(t, s, usage.Batch{Attempts: []usage.Attempt{attempt("org_a", nil), attempt("org_b", nil)}})
		for _, left := range []string{"DELETE FROM usage_day WHERE org_id = 'org_a'", "DELETE FROM last_use"} {
			if err := s.Exec(t.Context(), left); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Settle(t.Context()); err != nil {
			t.Fatalf("Settle: %v", err)
		}
		mustVerify(t, s)
		if got := lastUses(t, s, "", usage.ByAPIKey, "key_a"); len(got) != 1 {
			t.Errorf("last uses after Settle = %v", got)
		}
	})
}

// TestRangesOfAnyEndsSumTheSame compares questions that read whole days with those that cannot.
func TestRangesOfAnyEndsSumTheSame(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s *store.Store) {
		var all []usage.Attempt
		for i := range 600 {
			all = append(all, attempt("org_a", func(a *usage.Attempt) {
				a.Ended = noon.Add(-time.Duration(i) * 11 * time.Minute)
				a.Model = fmt.Sprint("openai/", i%3)
				a.Tags = []map[string]string{nil, {"team": "x"}}[i%2]
			}))
		}
		apply(t, s, usage.Batch{Attempts: all})
		midnight := noon.Truncate(24 * time.Hour)
		for _, r := range [][2]time.Time{
			{midnight.Add(-72 * time.Hour), midnight},
			{midnight.Add(-50 * time.Hour), noon},
			{midnight.Add(-24*time.Hour - usage.Quarter), midnight.Add(usage.Quarter)},
			{midnight.Add(-20 * time.Hour), midnight.Add(-2 * time.Hour)},
			{midnight.Add(-20 * time.Hour), midnight.Add(3 * time.Hour)},
			{midnight.Add(-24 * time.Hour), midnight},
		} {
			for name, q := range map[string]usage.Query{
				"all":    {},
				"groups": {GroupBy: []usage.Dimension{usage.ByModel, usage.ByTag}, TagKey: "team", PageSize: 4}, // rows and total by themselves
				"filter": {GroupBy: []usage.Dimension{usage.ByModel}, Filters: []usage.Filter{{Dimension: usage.ByTag, TagKey: "team", Values: []string{""}}}},
			} {
				q.OrgID, q.Start, q.End = "org_a", r[0], r[1]
				q.Bucket = usage.PerHour
				want := query(t, s, q).Total
				for _, b := range []usage.Bucket{usage.Whole, usage.PerDay} {
					q.Bucket = b
					page := query(t, s, q)
					var sum usage.Totals
					for _, row := range page.Rows {
						sum = sum.Plus(row.Totals, 1)
					}
					if page.Total != want || !page.More && sum != want {
						t.Errorf("%s, %v to %v, bucket %d: total %d attempts, rows %d, want %d", name, r[0], r[1], b, page.Total.Attempts, sum.Attempts, want.Attempts)
					}
				}
			}
		}
	})
}

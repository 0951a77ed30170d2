package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	"github.com/claviger/claviger/services/metering/internal/spool"
	"github.com/claviger/claviger/services/metering/internal/store"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// run runs f on both engines with a migrated store.
func run(t *testing.T, f func(t *testing.T, s *store.Store)) {
	t.Helper()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) { f(t, migrated(t, open(t))) })
}

func migrated(tb testing.TB, db *sqldb.DB) *store.Store {
	tb.Helper()
	s := store.New(db)
	if err := s.Migrate(tb.Context()); err != nil {
		tb.Fatalf("Migrate: %v", err)
	}
	return s
}

// attempt returns an attempt with every field set; change alters it.
func attempt(org string, change func(*usage.Attempt)) usage.Attempt {
	cost, reckoned := int64(1_234_567), int64(1_234_568)
	a := usage.Attempt{
		Event: usage.Event{
			OrgID: org, AttemptID: id.New("att"), RequestID: id.New("req"), AttemptNumber: 1,
			APIKeyID: "key_a", MemberID: "mem_a", CredentialID: "cred_a", Class: usage.Own, Provider: "openai", Model: "openai/gpt-4o",
			ResponseModel: "gpt-4o-2024-08-06", RequestedModel: "policy/fast", PolicyID: "pol_a", PolicyVersion: 3, TargetIndex: 1,
			ConfigVersion: 7, Dialect: "openai.chat", Operation: usage.Chat, Streamed: true, Tags: map[string]string{"team": "search", "env": "pröd'?"},
			Session: "s\\1", User: "u'1", Started: noon.Add(-2 * time.Second), Ended: noon, Duration: 2 * time.Second,
			FirstContent: 300 * time.Millisecond, Outcome: usage.OK, HTTPStatus: 200, FinishReason: "stop", Source: usage.ProviderFinal,
			Tokens:            &pricing.Counts{InputTotal: 100, InputUncached: 60, CacheRead: 40, OutputTotal: 20, Reasoning: 5},
			ProviderRequestID: "x-1", TraceID: "0af7651916cd43dd8448eb211c80319c", SpanID: "b7ad6b7169203331",
			CredentialRevision: 4, GroupID: "grp_a", ReckonedNano: &reckoned, RouterPrice: "price_r",
		},
		CostNano: &cost, CostSource: usage.CostByPrice, PriceID: "price_a", Flags: []string{usage.FlagClockSkew, usage.FlagTextCut}, AppliedAt: noon.Add(time.Second),
	}
	if change != nil {
		change(&a)
	}
	return a
}

func apply(t *testing.T, s *store.Store, b usage.Batch) usage.Applied {
	t.Helper()
	if b.At.IsZero() {
		b.At = noon
	}
	out, err := s.Apply(t.Context(), b)
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return out
}

func query(t *testing.T, s *store.Store, q usage.Query) usage.Page {
	t.Helper()
	if q.Start.IsZero() {
		q.Start, q.End = noon.Add(-24*time.Hour), noon.Add(24*time.Hour)
	}
	if q.PageSize == 0 {
		q.PageSize = 1000
	}
	page, err := s.QueryUsage(t.Context(), q)
	if err != nil {
		t.Fatalf("QueryUsage: %v", err)
	}
	return page
}

func total(t *testing.T, s *store.Store, org string) usage.Totals {
	t.Helper()
	return query(t, s, usage.Query{OrgID: org}).Total
}

func mustVerify(t *testing.T, s *store.Store) {
	t.Helper()
	diff, err := s.Verify(t.Context())
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	if len(diff) > 0 {
		t.Fatalf("sums differ from their attempts: %+v", diff[0])
	}
}

func TestAttemptComesBackAsItWas(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s *store.Store) {
		full := attempt("org_a", nil)
		bare := usage.Attempt{
			Event:     usage.Event{OrgID: "org_a", AttemptID: id.New("att"), RequestID: full.RequestID, AttemptNumber: 2, Operation: usage.Chat, Started: noon, Ended: noon},
			AppliedAt: noon,
		}
		said, nothing := int64(0), int64(0)
		media := bare
		media.AttemptID, media.AttemptNumber, media.Operation = id.New("att"), 3, "images"
		media.Units = []pricing.Unit{{Name: "image", Milli: 2000}, {Name: "second", Milli: 0}, {Name: "megapixel", Milli: 1}, {Name: "request", Milli: 2}, {Name: "credit", Milli: 3}, {Name: "character", Milli: 4}}
		media.ReportedNano, media.CostNano, media.CostSource = &said, &said, usage.CostByProvider
		free := bare
		free.AttemptID, free.AttemptNumber, free.Source = id.New("att"), 4, usage.NoUsage
		free.CostNano, free.CostSource = &nothing, usage.CostNothing
		apply(t, s, usage.Batch{Attempts: []usage.Attempt{bare, free}})
		apply(t, s, usage.Batch{Attempts: []usage.Attempt{media, full}})
		got, err := s.AttemptsOfRequest(t.Context(), "org_a", full.RequestID)
		if err != nil {
			t.Fatalf("AttemptsOfRequest: %v", err)
		}
		if diff := cmp.Diff([]usage.Attempt{full, bare, media, free}, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
		if other, err := s.AttemptsOfRequest(t.Context(), "org_b", full.RequestID); err != nil || len(other) > 0 {
			t.Errorf("another organization sees %d attempts, %v", len(other), err)
		}
	})
}

func TestRedeliveredEventCountsOnce(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s *store.Store) {
		a, b := attempt("org_a", nil), attempt("org_a", nil)
		if out := apply(t, s, usage.Batch{Attempts: []usage.Attempt{a, b, a}}); out.Counted != 2 || out.Duplicate != 1 {
			t.Fatalf("Apply = %+v, want 2 counted and 1 duplicate inside the batch", out)
		}
		once := total(t, s, "org_a")
		if once.Attempts != 2 || once.CostNano != 2*1_234_567 {
			t.Fatalf("total = %+v, want two attempts", once)
		}
		if out := apply(t, s, usage.Batch{Attempts: []usage.Attempt{b, a, b}}); out.Counted != 0 || out.Duplicate != 3 {
			t.Fatalf("Apply again = %+v, want 3 duplicates", out)
		}
		if diff := cmp.Diff(once, total(t, s, "org_a")); diff != "" {
			t.Fatalf("redelivery changed the total (-before +after):\n%s", diff)
		}
		mustVerify(t, s)
	})
}

func TestHigherRevisionAppliesTheDifference(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s *store.Store) {
		for n, order := range [][]int{{0, 1, 2}, {2, 0, 1}, {1, 2, 0}, {2, 2, 1}} {
			org := fmt.Sprintf("org_%d", n)
			first := attempt(org, nil)
			revision := func(n int) usage.Attempt {
				r := first
				r.Revision = n
				if n == 0 {
					return r
				}
				cost := int64(1000 * n)
				r.CostNano, r.Tokens = &cost, &pricing.Counts{InputTotal: int64(n), InputUncached: int64(n)}
				r.Ended, r.Model = first.Ended.Add(time.Duration(n)*time.Hour), "openai/gpt-4.1"
				r.Tags = map[string]string{"revision": fmt.Sprint(n)}
				return r
			}
			for _, n := range order {
				apply(t, s, usage.Batch{Attempts: []usage.Attempt{revision(n)}})
			}
			want := usage.Totals{Requests: 1, Attempts: 1, Tokens: pricing.Counts{InputTotal: 2, InputUncached: 2}, CostNano: 2000}
			if diff := cmp.Diff(want, total(t, s, org)); diff != "" {
				t.Errorf("order %v: total (-want +got):\n%s", order, diff)
			}
			rows := query(t, s, usage.Query{OrgID: org, GroupBy: []usage.Dimension{usage.ByModel}, Bucket: usage.PerHour}).Rows
			if len(rows) != 1 || rows[0].Group[0] != "openai/gpt-4.1" {
				t.Errorf("order %v: rows = %+v, want the last revision's alone", order, rows)
			}
		}
		mustVerify(t, s)
	})
}

func TestGroupsFiltersAndPages(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s *store.Store) {
		var attempts []usage.Attempt
		for i := range 60 {
			attempts = append(attempts, attempt("org_a", func(a *usage.Attempt) {
				a.Model = fmt.Sprintf("openai/m%d", i%3)
				a.MemberID = fmt.Sprintf("mem_%d", i%2)
				a.Ended = noon.Add(time.Duration(i) * 20 * time.Minute)
				switch i % 4 {
				case 0:
					a.Tags = map[string]string{"team": "search"}
				case 1:
					a.Tags = map[string]string{"team": "ads", "env": "prod"}
				case 2:
					a.Tags = map[string]string{"env": "prod"}
				default:
					a.Tags = nil
				}
			}))
		}
		attempts = append(attempts, attempt("org_b", nil))
		apply(t, s, usage.Batch{Attempts: attempts})

		byTag := query(t, s, usage.Query{OrgID: "org_a", GroupBy: []usage.Dimension{usage.ByTag}, TagKey: "team"})
		got := map[string]int64{}
		for _, r := range byTag.Rows {
			got[r.Group[0]] = r.Attempts
		}
		if diff := cmp.Diff(map[string]int64{"": 30, "ads": 15, "search": 15}, got); diff != "" {
			t.Errorf("by tag (-want +got):\n%s", diff)
		}
		for name, c := range map[string]struct {
			filters []usage.Filter
			want    int64
		}{
			"tag":           {[]usage.Filter{{Dimension: usage.ByTag, TagKey: "team", Values: []string{"ads"}}}, 15},
			"no tag":        {[]usage.Filter{{Dimension: usage.ByTag, TagKey: "team", Values: []string{""}}}, 30},
			"tag or none":   {[]usage.Filter{{Dimension: usage.ByTag, TagKey: "team", Values: []string{"ads", ""}}}, 45},
			"two":           {[]usage.Filter{{Dimension: usage.ByModel, Values: []string{"openai/m0", "openai/m1"}}, {Dimension: usage.ByMember, Values: []string{"mem_1"}}}, 20},
			"nothing":       {[]usage.Filter{{Dimension: usage.ByClass, Values: []string{"platform"}}}, 0},
			"quoted values": {[]usage.Filter{{Dimension: usage.ByProvider, Values: []string{"' OR 1=1 --", "?"}}}, 0},
		} {
			if got := query(t, s, usage.Query{OrgID: "org_a", Filters: c.filters}).Total.Attempts; got != c.want {
				t.Errorf("filter %s: attempts = %d, want %d", name, got, c.want)
			}
		}
		if own := query(t, s, usage.Query{OrgID: "org_a", MemberID: "mem_1"}); own.Total.Attempts != 30 || len(own.Rows) != 1 {
			t.Errorf("a member's own attempts = %d in %d rows, want 30 in 1", own.Total.Attempts, len(own.Rows))
		}
		for _, bucket := range []usage.Bucket{usage.Whole, usage.PerQuarter, usage.PerHour, usage.PerDay} {
			q := usage.Query{OrgID: "org_a", GroupBy: []usage.Dimension{usage.ByModel, usage.ByTag, usage.ByMember}, TagKey: "env", Bucket: bucket}
			all := query(t, s, q)
			if all.Total.Attempts != 60 {
				t.Errorf("bucket %v: total = %d, want 60", bucket, all.Total.Attempts)
			}
			var paged []usage.Row
			for q.PageSize = 7; ; {
				page := query(t, s, q)
				paged = append(paged, page.Rows...)
				if page.Total.Attempts != 60 {
					t.Fatalf("bucket %v: total of a page = %d, want that of all pages", bucket, page.Total.Attempts)
				}
				if !page.More {
					break
				}
				q.After = &page.Rows[len(page.Rows)-1].RowKey
			}
			if diff := cmp.Diff(all.Rows, paged); diff != "" {
				t.Errorf("bucket %v: pages (-whole +paged):\n%s", bucket, diff)
			}
			var sum int64
			for _, r := range paged {
				sum += r.Attempts
				if width := bucket.Width().Microseconds(); width > 0 && r.Bucket%width != 0 {
					t.Errorf("bucket %v begins at %d", bucket, r.Bucket)
				}
			}
			if sum != 60 {
				t.Errorf("bucket %v: rows sum to %d, want 60", bucket, sum)
			}
		}
	})
}

func TestListIsNewestFirst(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s *store.Store) {
		var attempts []usage.Attempt
		for i := range 25 {
			attempts = append(attempts, attempt("org_a", func(a *usage.Attempt) {
				a.Ended, a.MemberID = noon.Add(time.Duration(i/2)*time.Second), fmt.Sprintf("mem_%d", i%2)
			}))
		}
		rand.Shuffle(len(attempts), func(i, j int) { attempts[i], attempts[j] = attempts[j], attempts[i] })
		apply(t, s, usage.Batch{Attempts: append(attempts, attempt("org_b", nil))})
		for member, want := range map[string]int{"": 25, "mem_1": 12} {
			l := usage.List{OrgID: "org_a", MemberID: member, Start: noon, End: noon.Add(time.Hour), PageSize: 4}
			var all []usage.Attempt
			for {
				page, more, err := s.ListAttempts(t.Context(), l)
				if err != nil {
					t.Fatalf("ListAttempts: %v", err)
				}
				all = append(all, page...)
				if !more {
					break
				}
				last := page[len(page)-1]
				l.After = &usage.AttemptKey{Ended: last.Ended.UnixMicro(), AttemptID: last.AttemptID}
			}
			if len(all) != want {
				t.Fatalf("member %q: listed %d, want %d", member, len(all), want)
			}
			for i := 1; i < len(all); i++ {
				if all[i].Ended.After(all[i-1].Ended) {
					t.Fatal("not the newest first")
				}
			}
		}
	})
}

func TestProgressIsKept(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s *store.Store) {
		key := spool.Key{Router: "r1", Epoch: "e1", Partition: 4}
		out := apply(t, s, usage.Batch{
			Sequences: map[spool.Key][]spool.Range{key: {{First: 1, Last: 3}, {First: 6, Last: 9}}},
			Position:  &usage.Position{StreamCreated: noon, Sequence: 12},
		})
		want := map[spool.Key]spool.Mark{key: {Contiguous: 3, Ranges: []spool.Range{{First: 6, Last: 9}}}}
		if diff := cmp.Diff(want, out.Marks); diff != "" {
			t.Fatalf("marks (-want +got):\n%s", diff)
		}
		apply(t, s, usage.Batch{Sequences: map[spool.Key][]spool.Range{key: {{First: 5, Last: 5}}}})
		want[key] = spool.Mark{Contiguous: 3, Ranges: []spool.Range{{First: 5, Last: 9}}}
		marks, err := s.Marks(t.Context())
		if diff := cmp.Diff(want, marks); diff != "" || err != nil {
			t.Fatalf("Marks: %v (-want +got):\n%s", err, diff)
		}
		position, found, err := s.Position(t.Context())
		if err != nil || !found || position.Sequence != 12 || !position.StreamCreated.Equal(noon) {
			t.Fatalf("Position = %+v, %v, %v", position, found, err)
		}
		router := spool.Router{
			Name: "r1", Head: spool.Head{Router: "r1", Time: noon, Sequences: map[spool.Key]int64{key: 9}, Closing: true},
			HeardAt: noon.Add(time.Second), CompleteAt: noon.Add(-time.Second), Gone: true,
		}
		for range 2 {
			if err := s.SaveRouters(t.Context(), []spool.Router{router}); err != nil {
				t.Fatalf("SaveRouters: %v", err)
			}
		}
		routers, err := s.Routers(t.Context())
		if diff := cmp.Diff([]spool.Router{router}, routers); diff != "" || err != nil {
			t.Fatalf("Routers: %v (-want +got):\n%s", err, diff)
		}
		// What a quiet router still lists stays; what nobody lists goes.
		stale := spool.Key{Router: "r1", Epoch: "e0", Partition: 4}
		apply(t, s, usage.Batch{Sequences: map[spool.Key][]spool.Range{stale: {{First: 1, Last: 1}}}})
		router.HeardAt = noon.Add(100 * 24 * time.Hour)
		if err := s.SaveRouters(t.Context(), []spool.Router{router}); err != nil {
			t.Fatalf("SaveRouters: %v", err)
		}
		if err := s.Clean(t.Context(), router.HeardAt); err != nil {
			t.Fatalf("Clean: %v", err)
		}
		if marks, err = s.Marks(t.Context()); err != nil || len(marks) != 1 || marks[key].Contiguous != 3 {
			t.Fatalf("Marks after Clean = %+v, %v, want the listed one", marks, err)
		}
	})
}

func TestAsideIsKeptOnce(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s *store.Store) {
		w := usage.Waiting{
			WaitingKey: usage.WaitingKey{OrgID: "org_a", AttemptID: "att_a", Revision: 1},
			Origin:     usage.Origin{Key: spool.Key{Router: "r1", Epoch: "e", Partition: 2}, Sequence: 5},
			Entry:      []byte{0, 1, 0xff, '\'', '?'}, Since: noon,
		}
		q := usage.Quarantined{
			ID: "q1", Reason: usage.ReasonForeignKey, Detail: "it's not theirs", Subject: "usage.v1.2.r1", Payload: []byte{0, 0xfe},
			Entry: true, OrgID: "org_a", AttemptID: "att_b", Origin: w.Origin,
		}
		for range 2 {
			apply(t, s, usage.Batch{Waiting: []usage.Waiting{w}, Quarantine: []usage.Quarantined{q, {ID: "q2", Reason: usage.ReasonCRC}}})
		}
		waiting, err := s.Waiting(t.Context(), 10)
		if diff := cmp.Diff([]usage.Waiting{w}, waiting); diff != "" || err != nil {
			t.Fatalf("Waiting: %v (-want +got):\n%s", err, diff)
		}
		kept, err := s.Quarantine(t.Context(), 10)
		if diff := cmp.Diff([]usage.Quarantined{q, {ID: "q2", Reason: usage.ReasonCRC, Payload: []byte{}}}, kept); diff != "" || err != nil {
			t.Fatalf("Quarantine: %v (-want +got):\n%s", err, diff)
		}
		apply(t, s, usage.Batch{Judged: []usage.WaitingKey{w.WaitingKey}})
		if waiting, err = s.Waiting(t.Context(), 10); err != nil || len(waiting) != 0 {
			t.Fatalf("Waiting after it was judged = %v, %v, want none", waiting, err)
		}
	})
}

func TestSumsNeverLeaveTheirBounds(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s *store.Store) {
		huge := func(a *usage.Attempt) {
			cost := int64(1) << 60
			a.CostNano = &cost
		}
		var err error
		for range 5 {
			if _, err = s.Apply(t.Context(), usage.Batch{Attempts: []usage.Attempt{attempt("org_a", huge)}, At: noon}); err != nil {
				break
			}
		}
		if !store.Refused(err) || sqldb.Unavailable(err) {
			t.Fatalf("the fifth huge cost: %v, want that the database refuses it", err)
		}
		mustVerify(t, s)
	})
}

func TestOneWorkerAtATime(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		db := open(t)
		s := migrated(t, db)
		ctx, cancel := context.WithCancel(t.Context())
		held := make(chan struct{})
		done := make(chan error)
		go func() {
			done <- s.HoldWorker(ctx, 10*time.Millisecond, func(ctx context.Context) error {
				close(held)
				<-ctx.Done()
				return ctx.Err()
			})
		}()
		<-held
		err := s.HoldWorker(t.Context(), time.Second, func(context.Context) error { return nil })
		if want := db.Engine() == sqldb.Postgres; (err == store.ErrTaken) != want { //nolint:errorlint // it is returned as it is
			t.Errorf("second HoldWorker = %v", err)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("HoldWorker of a worker that was stopped = %v", err)
		}
		// A connection that was given up with its context is closed in the background: the server frees
		// the lock a moment later.
		err = store.ErrTaken
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.After(20 * time.Second); errors.Is(err, store.ErrTaken); {
			err = s.HoldWorker(t.Context(), time.Second, func(context.Context) error { return nil })
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatal("HoldWorker after the first let go: still taken after 20 s")
			}
		}
		if err != nil {
			t.Errorf("HoldWorker after the first let go: %v", err)
		}
	})
}

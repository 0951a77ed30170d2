package usage_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// counted is a database: attempts of organizations, numbered.
type counted struct {
	mu       sync.Mutex
	rows     map[string][]usage.Counted
	err      error
	counters int // questions that were asked
	pages    int
}

// count adds attempts of an organization and returns the counters after it.
func (c *counted) count(org string, attempts ...usage.Attempt) map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rows == nil {
		c.rows = map[string][]usage.Counted{}
	}
	for _, a := range attempts {
		a.OrgID = org
		c.rows[org] = append(c.rows[org], usage.Counted{Number: int64(len(c.rows[org]) + 1), Attempt: a})
	}
	return map[string]int64{org: int64(len(c.rows[org]))}
}

func (c *counted) Counters(_ context.Context, orgs []string) (map[string]int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counters++
	out := map[string]int64{}
	for _, org := range orgs {
		if n := len(c.rows[org]); n > 0 {
			out[org] = int64(n)
		}
	}
	return out, c.err
}

func (c *counted) Counted(_ context.Context, org string, after, through int64, limit int) ([]usage.Counted, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pages++
	rows := c.rows[org][after:through]
	return slices.Clone(rows[:min(len(rows), limit)]), c.err
}

func named(names ...string) []usage.Attempt {
	attempts := make([]usage.Attempt, len(names))
	for i, name := range names {
		attempts[i].AttemptID, attempts[i].MemberID, attempts[i].Outcome = name, "mem_a", usage.OK
	}
	return attempts
}

// watcher is an open watch with what it was sent.
type watcher struct {
	mu    sync.Mutex
	names []string
	at    int64
	signs int // of life
	when  []time.Duration
	done  chan error
}

func watch(ctx context.Context, f *usage.Feed, w usage.Watch) *watcher {
	got, begin := &watcher{done: make(chan error, 1)}, time.Now()
	go func() {
		got.done <- f.Watch(ctx, w, func(attempts []usage.Attempt, at int64) error {
			got.mu.Lock()
			defer got.mu.Unlock()
			if got.at = at; len(attempts) == 0 {
				got.signs++
			}
			got.when = append(got.when, time.Since(begin))
			for _, a := range attempts {
				got.names = append(got.names, a.AttemptID)
			}
			return nil
		})
	}()
	return got
}

func (w *watcher) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.names)
}

// feed runs f with a feed whose time is the bubble's.
func feed(t *testing.T, f func(t *testing.T, db *counted, feed *usage.Feed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		db := &counted{}
		feed := usage.NewFeed(db, time.Now, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = feed.Run(ctx) }()
		f(t, db, feed)
		feed.Close()
		cancel()
		<-ended
	})
}

func TestAttemptsAreSentAsTheyAreCounted(t *testing.T) {
	t.Parallel()
	feed(t, func(t *testing.T, db *counted, f *usage.Feed) {
		db.count("org_a", named("before")...)
		w := watch(t.Context(), f, usage.Watch{OrgID: "org_a", Who: "mem_a", After: -1})
		synctest.Wait()
		if w.signs != 1 || w.at != 1 {
			t.Fatalf("a new watch got %d signs of life at %d, want one at the newest number", w.signs, w.at)
		}
		f.Advance(db.count("org_a", named("a", "b")...))
		f.Advance(db.count("org_b", named("foreign")...))
		synctest.Wait() // no time has passed: who applies here is not waited for
		if diff := cmp.Diff([]string{"a", "b"}, w.seen()); diff != "" {
			t.Fatalf("sent (-want +got):\n%s", diff)
		}
		db.count("org_a", named("c")...)           // by another process: seen with the next look
		time.Sleep(time.Second + time.Millisecond) //nolint:forbidigo // the time of a synctest bubble
		synctest.Wait()
		if diff := cmp.Diff([]string{"a", "b", "c"}, w.seen()); diff != "" {
			t.Fatalf("sent after a second (-want +got):\n%s", diff)
		}
		// Others go on where they were, and from the beginning, page by page.
		var many []string
		for i := range 1234 {
			many = append(many, fmt.Sprint("m", i))
		}
		f.Advance(db.count("org_a", named(many...)...))
		late := watch(t.Context(), f, usage.Watch{OrgID: "org_a", Who: "mem_b", After: 2})
		time.Sleep(time.Second) //nolint:forbidigo // the time of a synctest bubble
		synctest.Wait()
		if diff := cmp.Diff(append([]string{"b", "c"}, many...), late.seen()); diff != "" {
			t.Errorf("resumed after 2 (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(append([]string{"a", "b", "c"}, many...), w.seen()); diff != "" {
			t.Errorf("followed (-want +got):\n%s", diff)
		}
		// A number that the database does not have is of another one.
		if err := f.Watch(t.Context(), usage.Watch{OrgID: "org_a", After: 99_999}, nil); !errors.Is(err, usage.ErrResume) {
			t.Errorf("Watch after a number of the future = %v", err)
		}
		f.Close()
		for _, w := range []*watcher{w, late} {
			if err := <-w.done; err != nil {
				t.Errorf("a watch ended with %v when the process did", err)
			}
		}
	})
}

func TestOnlyWhatIsAskedForAndAllowedIsSent(t *testing.T) {
	t.Parallel()
	feed(t, func(t *testing.T, db *counted, f *usage.Feed) {
		of := func(name, member, model string, outcome usage.Outcome) usage.Attempt {
			return usage.Attempt{Event: usage.Event{AttemptID: name, MemberID: member, Model: model, Outcome: outcome, Tags: map[string]string{"team": name}}}
		}
		model := usage.Filter{Dimension: usage.ByModel, Values: []string{"p/x"}}
		watches := map[string]*watcher{}
		for name, w := range map[string]usage.Watch{
			"all":              {},
			"member":           {MemberID: "mem_a"},
			"errors":           {ErrorsOnly: true},
			"model":            {Filters: []usage.Filter{model}},
			"tag":              {Filters: []usage.Filter{{Dimension: usage.ByTag, TagKey: "team", Values: []string{"1", "4"}}, model}},
			"member of others": {MemberID: "mem_a", Filters: []usage.Filter{{Dimension: usage.ByMember, Values: []string{"mem_b"}}}},
		} {
			w.OrgID, w.Who, w.After = "org_a", name, -1
			watches[name] = watch(t.Context(), f, w)
		}
		synctest.Wait()
		f.Advance(db.count("org_a", of("1", "mem_a", "p/x", usage.OK), of("2", "mem_b", "p/x", usage.Failed),
			of("3", "mem_a", "p/y", usage.Broken), of("4", "mem_b", "p/x", usage.Canceled)))
		synctest.Wait()
		for name, want := range map[string][]string{
			"all": {"1", "2", "3", "4"}, "member": {"1", "3"}, "errors": {"2", "3"}, "model": {"1", "2", "4"}, "tag": {"1", "4"}, "member of others": nil,
		} {
			if diff := cmp.Diff(want, watches[name].seen()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
		if db.pages != 1 {
			t.Errorf("%d queries for one batch of one organization, want one for all its watches", db.pages)
		}
		// Who is sent nothing goes on behind it all the same.
		time.Sleep(15 * time.Second) //nolint:forbidigo // the time of a synctest bubble
		synctest.Wait()
		if w := watches["member of others"]; w.at != 4 || w.signs != 2 {
			t.Errorf("a watch without matches is at %d after %d signs of life", w.at, w.signs)
		}
		err := f.Watch(t.Context(), usage.Watch{OrgID: "org_a", Filters: []usage.Filter{{Dimension: usage.ByModel, TagKey: "x", Values: []string{"y"}}}}, nil)
		if !errors.Is(err, usage.ErrQuery) {
			t.Errorf("Watch with a filter that is none = %v", err)
		}
	})
}

func TestAWatchLivesAndEndsInTime(t *testing.T) {
	t.Parallel()
	feed(t, func(t *testing.T, _ *counted, f *usage.Feed) {
		begin := time.Now()
		short := watch(t.Context(), f, usage.Watch{OrgID: "org_a", Who: "a", After: -1, Until: begin.Add(35 * time.Second)})
		long := watch(t.Context(), f, usage.Watch{OrgID: "org_a", Who: "b", After: -1, Until: begin.Add(time.Hour)})
		if err := <-short.done; err != nil || time.Since(begin) > 35*time.Second {
			t.Errorf("ended with %v after %v, want in silence before 35 s", err, time.Since(begin))
		}
		if diff := cmp.Diff([]time.Duration{0, 15 * time.Second, 30 * time.Second}, short.when); diff != "" {
			t.Errorf("signs of life (-want +got):\n%s", diff)
		}
		err := <-long.done
		if life := time.Since(begin); err != nil || life > 5*time.Minute || life < 5*time.Minute-20*time.Second {
			t.Errorf("ended with %v after %v, want in silence after some five minutes", err, life)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone := watch(ctx, f, usage.Watch{OrgID: "org_a", Who: "a", After: -1})
		synctest.Wait()
		cancel()
		if err := <-gone.done; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v when the caller went away", err)
		}
	})
}

func TestWatchesAreBounded(t *testing.T) {
	t.Parallel()
	feed(t, func(t *testing.T, db *counted, f *usage.Feed) {
		opened := 0
		open := func(org, who string) error {
			w := watch(t.Context(), f, usage.Watch{OrgID: org, Who: who, After: -1})
			synctest.Wait()
			select {
			case err := <-w.done:
				return err
			default:
				opened++
				return nil
			}
		}
		fill := func(org, who string, limit string) {
			t.Helper()
			for {
				err := open(org, who)
				if err == nil {
					continue
				}
				f, _ := fault.Of(err)
				if !errors.Is(err, usage.ErrWatches) || f.Facts()["limit"] != limit || f.Hint() == "" {
					t.Fatalf("watch %d: %v, limit %q, want %q", opened+1, err, f.Facts()["limit"], limit)
				}
				return
			}
		}
		fill("org_0", "mem_0", "member")
		if opened != usage.MaxWatchesOfMember {
			t.Errorf("a member opened %d watches", opened)
		}
		for i := range 4 {
			fill("org_0", fmt.Sprint("mem_", i+1), "member")
		}
		fill("org_0", "mem_x", "organization")
		if opened != usage.MaxWatchesOfOrg {
			t.Errorf("an organization opened %d watches", opened)
		}
		for i := 1; opened < usage.MaxWatches; i++ {
			if err := open(fmt.Sprint("org_", 1+i/50), fmt.Sprint("mem_", i)); err != nil {
				t.Fatalf("watch %d: %v", opened+1, err)
			}
		}
		fill("org_new", "mem_x", "process")
		asked := db.counters
		time.Sleep(time.Second) //nolint:forbidigo // the time of a synctest bubble
		synctest.Wait()
		if n := db.counters - asked; n != 1 {
			t.Errorf("%d queries in a second without usage, want one", n)
		}
		time.Sleep(6 * time.Minute) //nolint:forbidigo // the time of a synctest bubble
		synctest.Wait()
		if err := open("org_0", "mem_0"); err != nil {
			t.Errorf("Watch after all others have ended: %v", err)
		}
	})
}

func TestADatabaseThatIsAwayEndsAWatchWithItsError(t *testing.T) {
	t.Parallel()
	feed(t, func(t *testing.T, db *counted, f *usage.Feed) {
		w := watch(t.Context(), f, usage.Watch{OrgID: "org_a", Who: "a", After: -1})
		synctest.Wait()
		counters := db.count("org_a", named("a")...)
		db.mu.Lock()
		db.err = errors.New("away")
		db.mu.Unlock()
		f.Advance(counters)
		if err := <-w.done; !errors.Is(err, db.err) {
			t.Errorf("ended with %v, want the database's error", err)
		}
	})
}

// BenchmarkThousandWatches is what a thousand open watches of 20 organizations take in memory, and what it
// takes to send an attempt of one organization to its 50.
func BenchmarkThousandWatches(b *testing.B) {
	db := &counted{}
	f := usage.NewFeed(db, time.Now, slog.New(slog.DiscardHandler))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	sent := make(chan struct{}, 1000)
	var open sync.WaitGroup
	for i := range 1000 {
		w := usage.Watch{OrgID: fmt.Sprint("org_", i%20), Who: fmt.Sprint("mem_", i), After: -1}
		open.Go(func() {
			_ = f.Watch(b.Context(), w, func([]usage.Attempt, int64) error { sent <- struct{}{}; return nil })
		})
	}
	for range 1000 {
		<-sent
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	kib := float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse) / 1024 / 1000
	for n := 0; b.Loop(); n++ {
		f.Advance(db.count(fmt.Sprint("org_", n%20), named("a")...))
		for range 50 {
			<-sent
		}
	}
	b.ReportMetric(kib, "KiB/watch")
	f.Close()
	open.Wait()
}

package routerstate_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claviger/claviger/services/keys/internal/routerstate"
)

// table is a Store in memory that counts.
type table struct {
	mu         sync.Mutex
	version    int64
	routers    map[string]routerstate.Router
	fails      error
	statements int
	rows       int
	saved      []time.Time
}

func (s *table) SaveRouters(_ context.Context, routers []routerstate.Router) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return s.fails
	}
	s.statements, s.rows, s.saved = s.statements+1, s.rows+len(routers), append(s.saved, time.Now())
	for _, r := range routers {
		s.routers[r.Name] = r
	}
	return nil
}

func (s *table) Routers(context.Context, time.Time) (int64, []routerstate.Router, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []routerstate.Router
	for _, r := range s.routers {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b routerstate.Router) int { return slices.Compare([]byte(a.Name), []byte(b.Name)) })
	return s.version, out, s.fails
}

func (s *table) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = err
}

// count returns how many statements and rows there were since the last call.
func (s *table) count() (statements, rows int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	statements, rows = s.statements, s.rows
	s.statements, s.rows = 0, 0
	return statements, rows
}

// registry runs a registry in a bubble until the story is over.
func registry(t *testing.T, story func(t *testing.T, g *routerstate.Registry, s *table)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &table{version: 10, routers: map[string]routerstate.Router{}}
		g := routerstate.New(s, time.Now, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { g.Run(ctx) })
		synctest.Wait()
		story(t, g, s)
		stop()
		running.Wait()
	})
}

func wait(d time.Duration) { <-time.After(d); synctest.Wait() }

func router(n int, applied int64) routerstate.Router {
	return routerstate.Router{Name: fmt.Sprintf("router-%03d", n), Epoch: "e", Applied: applied}
}

func TestAFleetThatIsIdleIsAStatementASecondAndLeasesEveryTenSeconds(t *testing.T) {
	registry(t, func(t *testing.T, g *routerstate.Registry, s *table) {
		const fleet, minutes = 100, 5
		for tick := range minutes * 60 { // each router every five seconds, a fifth of them each second
			for n := tick % 5; n < fleet; n += 5 {
				g.Report(router(n, 10))
			}
			wait(time.Second)
			if tick == 9 {
				s.count() // they are all known
			}
			for name, r := range s.routers {
				if time.Until(r.LeaseUntil) < 8*time.Second {
					t.Fatalf("second %d: the lease of %s ends in %s", tick, name, time.Until(r.LeaseUntil))
				}
			}
		}
		statements, rows := s.count()
		if seconds := minutes*60 - 10; statements > seconds || rows > fleet*seconds/10+fleet {
			t.Errorf("%d statements with %d rows in %d seconds, want one a second and a row for each router every ten", statements, rows, seconds)
		}
	})
}

func TestABusyFleetIsTenStatementsASecond(t *testing.T) {
	registry(t, func(t *testing.T, g *routerstate.Registry, s *table) {
		for v := range int64(500) { // fifty changes a second that a hundred routers apply at once
			for n := range 100 {
				g.Report(router(n, 10+v))
			}
			wait(20 * time.Millisecond)
		}
		if statements, _ := s.count(); statements > 105 || statements < 90 {
			t.Errorf("%d statements in ten seconds, want some ten a second", statements)
		}
		wait(time.Second)
		for name, r := range s.routers {
			if r.Applied != 509 {
				t.Errorf("%s is stored with version %d, want the newest, 509", name, r.Applied)
			}
		}
	})
}

func TestWhatCouldNotBeStoredIsStoredLaterUnlessThereIsNewer(t *testing.T) {
	registry(t, func(t *testing.T, g *routerstate.Registry, s *table) {
		s.fail(errors.New("no database"))
		g.Report(router(1, 5))
		g.Report(router(2, 5))
		wait(3 * time.Second)
		g.Report(router(1, 6))
		s.fail(nil)
		wait(2 * time.Second)
		if a, b := s.routers["router-001"], s.routers["router-002"]; a.Applied != 6 || b.Applied != 5 {
			t.Errorf("stored versions %d and %d, want 6 and 5", a.Applied, b.Applied)
		}
	})
}

func TestAReceiptIsThereAsSoonAsTheLastRouterHasConfirmed(t *testing.T) {
	registry(t, func(t *testing.T, g *routerstate.Registry, s *table) {
		g.Report(router(1, 10))
		g.Report(router(2, 9))
		wait(time.Second)
		go func() {
			wait := time.After(700 * time.Millisecond)
			<-wait
			late := router(2, 10)
			late.Cuts = []routerstate.Cut{{ID: "key_1", Streams: 3}, {ID: "key_2", Streams: 50}}
			g.Report(late)
		}()
		got, err := g.Await(t.Context(), "key_1")
		if err != nil || got.Connected != 2 || got.Confirmed != 2 || got.Version != 10 || got.StreamsCut != 3 || got.Elapsed != 700*time.Millisecond {
			t.Errorf("Await() = %+v, %v; want both routers and three answers after 700 ms", got, err)
		}
	})
}

func TestAReceiptWaitsForFiveSecondsAndNotForRoutersThatAreGone(t *testing.T) {
	registry(t, func(t *testing.T, g *routerstate.Registry, s *table) {
		g.Report(router(1, 10))
		g.Report(router(2, 9))
		wait(time.Second)
		got, err := g.Await(t.Context())
		if err != nil || got.Confirmed != 1 || !slices.Equal(got.Missing, []string{"router-002"}) || got.Elapsed != 5*time.Second {
			t.Errorf("Await() = %+v, %v; want one of two after five seconds", got, err)
		}
		for range 3 {
			g.Report(router(1, 10))
			wait(5 * time.Second)
		}
		got, err = g.Await(t.Context()) // the lease of the second is over
		if err != nil || got.Connected != 1 || got.Unreachable != 1 || got.Elapsed != 0 {
			t.Errorf("Await() = %+v, %v; want the one that is left, at once", got, err)
		}
		bye := router(2, 9)
		bye.Closed = true
		g.Report(bye)
		wait(time.Second)
		if got, err = g.Await(t.Context()); err != nil || got.Unreachable != 0 {
			t.Errorf("Await() = %+v, %v; want no word of a router that said goodbye", got, err)
		}
	})
}

func TestAReceiptOutlastsADatabaseThatIsAwayForAMoment(t *testing.T) {
	registry(t, func(t *testing.T, g *routerstate.Registry, s *table) {
		g.Report(router(1, 10))
		wait(time.Second)
		away := errors.New("no database")
		s.fail(away)
		if got, err := g.Await(t.Context()); !errors.Is(err, away) || got.Elapsed != 5*time.Second {
			t.Errorf("Await() = %+v, %v; want the database's error after five seconds", got, err)
		}
		time.AfterFunc(2*time.Second, func() { s.fail(nil) })
		if got, err := g.Await(t.Context()); err != nil || got.Confirmed != 1 || got.Elapsed < 2*time.Second || got.Elapsed > 3*time.Second {
			t.Errorf("Await() = %+v, %v; want the router soon after the database is back", got, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		g.Report(router(1, 9))
		wait(500 * time.Millisecond)
		if got, err := g.Await(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Await() = %+v, %v; want the end of its caller's patience", got, err)
		}
	})
}

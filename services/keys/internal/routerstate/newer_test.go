package routerstate_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claviger/claviger/services/keys/internal/routerstate"
)

// during is a table in which something happens while the first rows are being written, which fails.
type during struct {
	*table
	once sync.Once
	then func()
}

func (s *during) SaveRouters(ctx context.Context, routers []routerstate.Router) error {
	var err error
	s.once.Do(func() { s.then(); err = errors.New("no database") })
	if err != nil {
		return err
	}
	return s.table.SaveRouters(ctx, routers)
}

// TestWhatARouterSaysWhileItsStateIsBeingStoredIsNotTakenBack by what could not be stored: a receipt would wait for a
// router that has confirmed.
func TestWhatARouterSaysWhileItsStateIsBeingStoredIsNotTakenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &during{table: &table{version: 10, routers: map[string]routerstate.Router{}}}
		g := routerstate.New(s, time.Now, slog.New(slog.DiscardHandler))
		s.then = func() { g.Report(router(1, 6)) }
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { g.Run(ctx) })
		g.Report(router(1, 5))
		wait(5 * time.Second)
		if got := s.routers["router-001"].Applied; got != 6 {
			t.Errorf("stored version %d, want 6", got)
		}
		stop()
		running.Wait()
	})
}

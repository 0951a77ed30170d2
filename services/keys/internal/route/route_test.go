package route_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claviger/claviger/services/keys/internal/route"
)

// desk is a store, a fleet and a dispatcher in one, on which an answer lies from a moment on.
type desk struct {
	at        time.Time // zero is never
	connected bool
	full      bool
	kicks     int
	held      []string
}

func (d *desk) InsertQuestion(_ context.Context, q route.Question) error {
	if d.full {
		return route.ErrTooMany
	}
	d.held = append(d.held, q.ID)
	return nil
}

func (d *desk) Answer(context.Context, string, string) (route.Answer, bool, error) {
	return route.Answer{Router: "r"}, !d.at.IsZero() && !time.Now().Before(d.at), nil
}

func (d *desk) DeleteQuestion(ctx context.Context, _, _ string) error {
	d.held = nil
	return ctx.Err()
}

func (d *desk) Applied(context.Context) (int64, bool, error) { return 1, d.connected, nil }
func (d *desk) Kick()                                        { d.kicks++ }
func (d *desk) Answered() <-chan struct{}                    { return nil }

func TestAQuestionWaitsForFiveSecondsAndLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after    time.Duration // until an answer of another replica; 0 is never
		leaves   time.Duration
		offline  bool
		full     bool
		want     error
		from, to time.Duration
	}{
		"answered":       {after: time.Second, from: time.Second, to: 1500 * time.Millisecond},
		"at the end":     {after: 5 * time.Second, from: 5 * time.Second, to: 5 * time.Second},
		"silence":        {want: route.ErrSilent, from: 5 * time.Second, to: 5 * time.Second},
		"the asker left": {leaves: 2 * time.Second, want: context.Canceled, from: 2 * time.Second, to: 2 * time.Second},
		"no router":      {offline: true, want: route.ErrNoRouter},
		"too many":       {full: true, want: route.ErrTooMany},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				d := &desk{connected: !c.offline, full: c.full}
				if c.after > 0 {
					d.at = began.Add(c.after)
				}
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				if c.leaves > 0 {
					time.AfterFunc(c.leaves, leave)
				}
				s := &route.Service{Store: d, Routers: d, Questions: d, Now: time.Now}
				got, err := s.Ask(ctx, route.Question{OrgID: "org_1", ID: "rq_1"})
				if took := time.Since(began); !errors.Is(err, c.want) || took < c.from || took > c.to {
					t.Errorf("Ask = %v after %v, want %v between %v and %v", err, took, c.want, c.from, c.to)
				}
				if err == nil && got.Router != "r" {
					t.Errorf("Ask = %+v, want what was answered", got)
				}
				if len(d.held) > 0 {
					t.Errorf("questions %v are left", d.held)
				}
			})
		})
	}
}

package completion

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// hedgeWindow is how many requests the share of hedged ones is of.
const hedgeWindow = 10_000

// hedges has the share of each organization: one that hedges every request leaves the others theirs. There are as
// many as organizations with a policy that hedges, of some 100 bytes each.
type hedges struct {
	mu sync.Mutex
	of map[string]*hedged
}

// by is the share of an organization.
func (h *hedges) by(orgID string) *hedged {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of[orgID] == nil {
		if h.of == nil {
			h.of = map[string]*hedged{}
		}
		h.of[orgID] = &hedged{}
	}
	return h.of[orgID]
}

// hedged counts requests that may be hedged, and those for which a second call was sent. Both are halved now and
// then, which leaves their share as it is.
type hedged struct{ requests, sent atomic.Int64 }

func (h *hedged) request() {
	if n := h.requests.Add(1); n >= hedgeWindow {
		h.requests.Add(-n / 2)
		h.sent.Add(-h.sent.Load() / 2)
	}
}

// allow grants a second call if the share stays within percent.
func (h *hedged) allow(percent int) bool {
	if sent := h.sent.Add(1); sent*100 <= h.requests.Load()*int64(percent) {
		return true
	}
	h.sent.Add(-1)
	return false
}

// hedgeAfter says how long to wait for a target's first content before a second call is sent. The usual time is
// that of streams.
func (r *route) hedgeAfter(t *Target) (time.Duration, bool) {
	h := r.plan.Hedge
	if h == nil || r.req.Asks().Once() || r.at+1 >= len(r.plan.Targets) || r.made >= r.plan.MaxAttempts {
		return 0, false
	}
	wait := h.After
	if wait == 0 && r.req.Stream {
		wait = r.s.o.Health.Usual(t)
	}
	return wait, wait > 0
}

// racer is a call of a race, with what came of reaching for its first content.
type racer struct {
	*attempt
	err error
}

// race waits for a call's first content and, if that takes too long, sends a second one. Who has content first
// serves; the other is ended, metered, and waited for before the request is over. Both only reach: the sink and the
// request are touched from here alone.
func (r *route) race(first *attempt, wait time.Duration, out Sink) error {
	results := make(chan racer, 2)
	launch := func(a *attempt) {
		a.start()
		r.losers.Go(func() { results <- racer{a, a.reached()} })
	}
	launch(first)
	running := []*attempt{first}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			if second := r.second(); second != nil {
				launch(second)
				running = append(running, second)
			}
		case came := <-results:
			running = without(running, came.attempt)
			if came.err == nil {
				r.lose(running, results)
				err := came.conclusion(out)
				r.note(came.attempt)
				return err
			}
			err := came.end(came.err, nil)
			r.note(came.attempt)
			if len(running) == 0 {
				if r.target() != first.target { // the failure need not be that of the target that stands now
					r.again = math.MaxInt
				}
				return err
			}
		}
	}
}

// second begins the next target that may be called, nil if there is none or enough requests have two calls.
func (r *route) second() *attempt {
	for at := r.at + 1; at < len(r.plan.Targets); at++ {
		t := &r.plan.Targets[at]
		if r.drilled(t) || r.isOff(at) || r.s.o.Health.Held(t).Why != NotHeld {
			continue
		}
		if !r.s.hedges.by(r.caller.OrgID).allow(r.plan.Hedge.MaxPercent) {
			return nil
		}
		trial, ok := r.s.o.Health.Begin(r.caller.OrgID, t)
		if !ok {
			continue
		}
		trial.Whole = !r.req.Stream
		a, err := r.begin(at, trial)
		if err != nil { // the first call may still serve
			return nil
		}
		r.s.o.Observer.Hedged(r.target(), t)
		r.at = at
		return a
	}
	return nil
}

// lose ends the calls that are still running. Their events are written when they have ended.
func (r *route) lose(running []*attempt, results <-chan racer) {
	for _, a := range running {
		r.attempts[a.number].ErrorClass = hedgedClass
		a.cancel(errHedged)
		r.losers.Go(func() {
			came := <-results
			if came.err == nil {
				came.err = errHedged
			}
			_ = came.end(came.err, nil) // it is on record; the other one serves
		})
	}
}

func without(all []*attempt, one *attempt) []*attempt {
	var out []*attempt
	for _, a := range all {
		if a != one {
			out = append(out, a)
		}
	}
	return out
}

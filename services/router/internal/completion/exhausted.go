package completion

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// minWait is the shortest time after which a caller is told to come back.
const minWait = time.Second

// exhausted is the error of a request that nobody has served: the last failure, with all that was tried; or who has
// to cool down, and how long, if nobody could be called.
func (r *route) exhausted() error {
	if r.failure == nil {
		return r.nobody()
	}
	f, ok := fault.Of(r.failure)
	if !ok {
		return r.failure
	}
	if e, ok := errors.AsType[*ProviderError](r.failure); ok && e.Class == RateLimited {
		// Another one may be ready before this one is, and this one is left alone a little longer than its provider
		// asked for: who comes back when told has to be served.
		if wait := r.coolest(); wait > 0 {
			told := *e
			told.RetryAfter = wait
			f = f.RetryingAfter(wait).Because(&told)
		}
	}
	if len(r.attempts) < 2 {
		return f
	}
	tried := r.tried()
	return f.Saying("%s (tried: %s)", strings.TrimSuffix(f.Message(), "."), tried).With("tried", tried)
}

// nobody is the error of a request for which no target could be called.
func (r *route) nobody() error {
	wait := r.coolest()
	if wait == 0 {
		return errSwitchedOff
	}
	var waiting []string
	for i := range r.plan.Targets {
		t := &r.plan.Targets[i]
		if hold := r.s.o.Health.Held(t); hold.Why == Cooling {
			left := hold.Until.Sub(r.s.o.Now())
			waiting = append(waiting, fmt.Sprintf("%s for %v", called(t), (left+time.Second-1).Truncate(time.Second)))
		}
	}
	return ErrCoolingDown.Saying("%s: %s", ErrCoolingDown.Message(), strings.Join(waiting, "; ")).RetryingAfter(wait)
}

// coolest is how long it takes until the first of the targets that were told to wait may be called, 0 if none was.
func (r *route) coolest() (wait time.Duration) {
	for i := range r.plan.Targets {
		if hold := r.s.o.Health.Held(&r.plan.Targets[i]); hold.Why == Cooling {
			left := max(minWait, hold.Until.Sub(r.s.o.Now()))
			if wait == 0 || left < wait {
				wait = left
			}
		}
	}
	return wait
}

// tried lists the calls, those of one target together.
func (r *route) tried() string {
	var out []string
	last, times := "", 0
	flush := func() {
		if times > 1 {
			last = fmt.Sprintf("%s, %d times", last, times)
		}
		if times > 0 {
			out = append(out, last)
		}
	}
	for i := range r.attempts {
		a := &r.attempts[i]
		text := r.calledBy(a) + ": " + a.ErrorClass
		if a.Drill != "" {
			text += " in a drill"
		}
		if text != last {
			flush()
			last, times = text, 0
		}
		times++
	}
	flush()
	return strings.Join(out, "; ")
}

func (r *route) calledBy(a *Attempted) string {
	for i := range r.plan.Targets {
		if t := &r.plan.Targets[i]; t.Model == a.Model && t.Credential.ID == a.CredentialID && t.Class == a.Class {
			return called(t)
		}
	}
	return a.Model
}

// called names a target to a caller. A platform credential's label is the operator's business.
func called(t *Target) string {
	if t.Class == usage.Own {
		return fmt.Sprintf("%s with credential %q", t.Model, t.Credential.Label)
	}
	return fmt.Sprintf("%s with a %s credential", t.Model, t.Class)
}

package completion

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/router/internal/usage"
)

const (
	// defaultAttempts and defaultRetries hold where a policy does not say otherwise.
	defaultAttempts = 4
	defaultRetries  = 2
	defaultBackoff  = 250 * time.Millisecond
)

// route is the way of one request through its targets.
type route struct {
	s      *Service
	ctx    context.Context //nolint:containedctx // a route is one request, and this is its context
	caller Caller
	req    *Request
	plan   Plan

	at    int // the target that is tried
	made  int // calls of providers so far
	again int // how often the same target was called once more
	pause time.Duration
	trial Trial // of the call to come
	// forced says that a target is called although it is held; strip, that encrypted reasoning is left out, since
	// a provider has refused it; begun, that the caller has something of an answer.
	forced, strip, begun bool
	failure              error // the last one

	attempts []Attempted
	room     [defaultAttempts]Attempted
	first    attempt // the one that most requests have
	losers   sync.WaitGroup
	doubted  *attempt // with a second secret, which lacked a right
	met      []*Drill
	served   *Target
	place    *holders // that the request has at the router

	handle
}

// prepare makes the plan.
func (r *route) prepare() error {
	began := r.s.o.Now()
	p, err := r.s.o.Planner.Plan(r.caller, r.req)
	r.s.o.Observer.Planned(r.ctx, began, p, err)
	if err != nil {
		return err
	}
	p.MaxAttempts = p.Attempts()
	if p.Prices == nil {
		p.Prices = pricing.Book()
	}
	r.settle(p)
	if p.Hedge != nil {
		r.s.hedges.by(r.caller.OrgID).request()
	}
	return nil
}

// target is the one that is tried.
func (r *route) target() *Target { return &r.plan.Targets[r.at] }

// next finds the target to call, after a pause if it failed a moment ago. Its error says why there is none.
func (r *route) next() error {
	if r.pause > 0 && !r.wait(r.pause) {
		if err := r.over(); err != nil {
			return err
		}
		return r.failure // the caller has gone
	}
	r.pause = 0
	for ; r.at < len(r.plan.Targets) && r.made < r.plan.MaxAttempts; r.at++ {
		if r.mayCall(r.at) {
			err := r.over()
			if err != nil {
				r.s.o.Health.Left(r.trial)
			}
			return err
		}
		r.again = 0
	}
	if r.made == 0 && r.failure == nil && r.panics() {
		return r.over()
	}
	return r.exhausted()
}

// mayCall reports whether a target may be called now.
func (r *route) mayCall(i int) bool {
	t := &r.plan.Targets[i]
	r.trial = Trial{} // that of the call before was told
	if r.isOff(i) {
		return false
	}
	if r.drilled(t) {
		return true
	}
	health := r.s.o.Health
	if health.Held(t).Why != NotHeld {
		return false
	}
	if r.failedAt(t) && !health.Again(r.caller.OrgID, t) {
		r.s.o.Observer.Spent(t)
		return false
	}
	trial, ok := health.Begin(r.caller.OrgID, t)
	trial.Whole = !r.req.Stream
	r.trial = trial
	return ok
}

// panics takes the best of those that seem broken, if nobody else may be called: that may be wrong, and an error is
// certain else. One that was told to wait is not called.
func (r *route) panics() bool {
	for i := range r.plan.Targets {
		if t := &r.plan.Targets[i]; !r.isOff(i) && r.s.o.Health.Held(t).Why != Cooling {
			r.at, r.forced, r.trial = i, true, Trial{Whole: !r.req.Stream}
			return true
		}
	}
	return false
}

// failedAt reports whether a target's provider has failed for this request, so that calling it once more would be a
// retry. An address that a credential names is a provider of its own: what fails there uses up nothing of others.
func (r *route) failedAt(t *Target) bool {
	return slices.ContainsFunc(r.attempts, func(a Attempted) bool {
		return a.Provider == t.Provider && a.ErrorClass != "" && a.Drill == "" && Class(a.ErrorClass).Handling().Effect == Breaks &&
			slices.ContainsFunc(r.plan.Targets, func(failed Target) bool {
				return failed.Credential.ID == a.CredentialID && failed.Credential.BaseURL == t.Credential.BaseURL
			})
	})
}

// wait is false if the request is over before d is.
func (r *route) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.ctx.Done():
	case <-r.waking():
	}
	return false
}

// try calls the target. If it fails, goesOn says what comes then.
func (r *route) try(out Sink) error {
	t := r.target()
	if r.drilled(t) {
		return r.rehearse(t)
	}
	a, err := r.begin(r.at, r.trial)
	if err != nil {
		return err
	}
	if wait, ok := r.hedgeAfter(t); ok {
		return r.race(a, wait, out)
	}
	a.start()
	err = a.run(out)
	r.note(a)
	return err
}

// called is how many attempts have left an event: those of drills do not, and metering counts requests by their
// first.
func (r *route) called() (n int) {
	for i := range r.attempts {
		if r.attempts[i].Drill == "" {
			n++
		}
	}
	return n
}

// note keeps how a call ended for what is told of it. Of a second secret that lacks a right it is evidence only if
// the current one has it: anybody who asks for a model that neither may use could undo a rotation else.
func (r *route) note(a *attempt) {
	r.attempts[a.number].ErrorClass = a.event.ErrorClass
	limited := a.failed != nil && a.failed.Class == AuthLimited
	switch d := r.doubted; {
	case limited && r.hasSpare(a.at, AuthLimited):
		r.doubted = a
	case d == nil || a.at != d.at+1:
	case a.begun:
		r.doubted = nil
		r.s.o.Evidence.Refused(d.target.Credential, d.target.Class, d.failed)
	case limited && d.event.Outcome != usage.NotSent:
		r.doubted = nil
		r.s.o.Evidence.Limited(d.target.Credential, d.target.Class, d.failed)
	}
}

// goesOn decides what comes after a failure: the same target again, the next one, or nothing, and then the request
// has failed. Nothing goes on once the caller has something of an answer, has gone, or may have to pay twice.
func (r *route) goesOn(failure error) bool {
	r.failure = failure
	if r.begun || r.ctx.Err() != nil || r.req.Gone != nil && r.req.Gone() {
		return false
	}
	t, e := r.target(), (*ProviderError)(nil)
	class, known := classOf(failure)
	if p, ok := errors.AsType[*ProviderError](failure); ok {
		e = p
	}
	switch {
	case errors.Is(failure, errSwitchedOff), errors.Is(failure, errRuledOut):
	case !known, e != nil && outcomeUnknown(r.req, e):
		return false
	case class == StateRefused && !r.strip:
		r.strip = true
		r.s.o.Observer.Retried(t, failure)
		return true
	case r.mayRepeat(t, class, e):
		r.again++
		r.s.o.Observer.Retried(t, failure)
		return true
	case !t.Rule.movesOn(class) && !r.hasSpare(r.at, class):
		return false
	}
	r.at, r.again = r.at+1, 0
	if r.at < len(r.plan.Targets) {
		r.s.o.Observer.MovedOn(t, failure)
	}
	return true
}

// classOf is the class of a failure after which something else may be tried; false for all others.
func classOf(failure error) (Class, bool) {
	if e, ok := errors.AsType[*ProviderError](failure); ok {
		return e.Class, true
	}
	switch {
	case errors.Is(failure, ErrCredential):
		return CredentialError, true
	case errors.Is(failure, ErrUnsupported):
		return Unsupported, true
	}
	return "", false
}

// mayRepeat reports whether the same target may be called again, and sets the pause before it. Who was silent for
// all of our patience had their time. Who asks for more time than we would leave by ourselves is left for another
// target if there is one. Nobody waits longer than the caller does.
func (r *route) mayRepeat(t *Target, class Class, e *ProviderError) bool {
	if e == nil || e.Ours || r.forced || !class.Handling().Again || r.again >= t.Rule.retries() || r.made >= r.plan.MaxAttempts {
		return false
	}
	full := t.Rule.backoff() << r.again
	pause := full/2 + rand.N(full/2+1) //nolint:gosec // not for secrets
	if e.RetryAfter > pause {
		if r.at+1 < len(r.plan.Targets) {
			return false
		}
		pause = e.RetryAfter
	}
	if deadline, ok := r.ctx.Deadline(); pause > maxPause || ok && time.Until(deadline) <= pause {
		return false
	}
	r.pause = pause
	return true
}

// hasSpare reports whether the target behind is the other secret of a credential whose first was refused: a rotation
// must not fail requests, whatever a policy says.
func (r *route) hasSpare(at int, class Class) bool {
	if class != AuthInvalid && class != AuthLimited || at+1 >= len(r.plan.Targets) {
		return false
	}
	this, next := &r.plan.Targets[at], &r.plan.Targets[at+1]
	return this.Credential.ID == next.Credential.ID && this.Credential.Revision > next.Credential.Revision && this.Model == next.Model
}

// movesOn reports whether another candidate may serve after an error of a class.
func (r *Rule) movesOn(class Class) bool {
	if r == nil || r.MoveOn == nil {
		return class.MayMoveOn()
	}
	return slices.Contains(r.MoveOn, class)
}

func (r *Rule) retries() int {
	if r == nil || r.Retries < 0 {
		return defaultRetries
	}
	return r.Retries
}

func (r *Rule) backoff() time.Duration {
	if r == nil || r.Backoff <= 0 {
		return defaultBackoff
	}
	return r.Backoff
}

// or is d, or the default where a line says nothing.
func or(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// times are the bounds of a call.
func (s *Service) times(t *Target, stream bool) (firstByte, idle, total time.Duration) {
	firstByte, idle, total = s.o.Limits.FirstByte, s.o.Limits.Idle, s.o.Limits.Whole
	if stream {
		total = s.o.Limits.Stream
	}
	if t.Rule != nil {
		firstByte, idle, total = or(t.Rule.FirstByte, firstByte), or(t.Rule.Idle, idle), or(t.Rule.Total, total)
	}
	return firstByte, idle, total
}

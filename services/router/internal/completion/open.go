package completion

import (
	"context"
	"sync"
	"sync/atomic"
)

// crowds is how many locks the open requests have.
const crowds = 64

// open are the requests under way, so that they can be ended from outside. A request joins a crowd without an
// allocation; with 10,000 of them a crowd has some 160, and looking through all takes a millisecond or two.
type open struct {
	next   atomic.Uint64
	crowds [crowds]crowd
}

// crowd guards what Cut and Drain touch of its requests.
type crowd struct {
	mu    sync.Mutex
	first *route
	_     [48]byte // crowds do not share a line of the processor's cache
}

// handle is what an open request can be ended by. Its crowd's lock guards it.
type handle struct {
	crowd          *crowd
	before, behind *route
	// ended is why the request ends; nil while it goes on.
	ended error
	// wake is closed then; nil if nobody waits.
	wake chan struct{}
	// planned says that the targets are known. Until then what is cut waits in cuts: the plan may be made of the
	// configuration before.
	planned bool
	cuts    []func(*Caller, *Credential) bool
	// off are the targets whose credential was switched off, nil if none was.
	off []bool
	// running are the calls under way, two where one is hedged.
	running [2]*attempt
}

func (o *open) join(r *route) {
	c := &o.crowds[o.next.Add(1)%crowds]
	c.mu.Lock()
	defer c.mu.Unlock()
	r.crowd, r.behind = c, c.first
	if c.first != nil {
		c.first.before = r
	}
	c.first = r
}

func (o *open) leave(r *route) {
	c := r.crowd
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.before != nil {
		r.before.behind = r.behind
	} else {
		c.first = r.behind
	}
	if r.behind != nil {
		r.behind.before = r.before
	}
	r.before, r.behind = nil, nil
}

// each visits all open requests, under their crowd's lock.
func (o *open) each(visit func(*route)) {
	for i := range o.crowds {
		c := &o.crowds[i]
		c.mu.Lock()
		for r := c.first; r != nil; r = r.behind {
			visit(r)
		}
		c.mu.Unlock()
	}
}

// Cut ends what was switched off: match is asked of each open request with its caller and no credential, and with
// its caller and each credential that may serve it. A matched caller's request ends with ErrRevoked. A matched
// credential is not called any more: what it is answering ends, and as long as nothing of that has gone out
// another candidate may serve. Usage is recorded as ever. Apply the configuration in which it is off before: a
// request that is being planned meanwhile is matched once its plan is made. Cut returns how many answers it ended,
// and match must not block.
func (s *Service) Cut(match func(caller *Caller, c *Credential) bool) (ended int) {
	s.open.each(func(r *route) {
		switch {
		case r.ended != nil:
		case match(&r.caller, nil):
			r.end(ErrRevoked.Saying("the API key was switched off while the request was served"))
			ended++
		case !r.planned:
			r.cuts = append(r.cuts, match)
		default:
			ended += r.switchOff(match)
		}
	})
	return ended
}

// end ends a request, unless it has ended. The lock is held.
func (r *route) end(why error) {
	if r.ended != nil {
		return
	}
	r.ended = why
	for _, a := range r.running {
		if a != nil {
			a.cancel(why)
		}
	}
	if r.wake != nil {
		close(r.wake)
	}
}

// switchOff marks the targets whose credential matches, and ends calls with them. The lock is held.
func (r *route) switchOff(match func(*Caller, *Credential) bool) (ended int) {
	for i := range r.plan.Targets {
		if !match(&r.caller, r.plan.Targets[i].Credential) {
			continue
		}
		if r.off == nil {
			r.off = make([]bool, len(r.plan.Targets))
		}
		r.off[i] = true
		for _, a := range r.running {
			if a != nil && a.target == &r.plan.Targets[i] {
				a.cancel(errSwitchedOff)
				ended++
			}
		}
	}
	return ended
}

// settle takes the plan, and what was cut while it was made.
func (r *route) settle(p Plan) {
	r.crowd.mu.Lock()
	defer r.crowd.mu.Unlock()
	r.plan, r.planned = p, true
	for _, match := range r.cuts {
		r.switchOff(match)
	}
	r.cuts = nil
}

// attach makes a call one that can be ended; its error says that it must not begin.
func (r *route) attach(a *attempt) error {
	r.crowd.mu.Lock()
	defer r.crowd.mu.Unlock()
	if r.ended != nil {
		return r.ended
	}
	if r.off != nil && r.off[a.at] {
		return errSwitchedOff
	}
	if r.running[0] == nil {
		r.running[0] = a
	} else {
		r.running[1] = a
	}
	return nil
}

func (r *route) detach(a *attempt) {
	r.crowd.mu.Lock()
	defer r.crowd.mu.Unlock()
	for i := range r.running {
		if r.running[i] == a {
			r.running[i] = nil
		}
	}
}

// over is why the request has ended, nil while it goes on.
func (r *route) over() error {
	r.crowd.mu.Lock()
	defer r.crowd.mu.Unlock()
	return r.ended
}

// isOff reports whether a target's credential was switched off.
func (r *route) isOff(i int) bool {
	r.crowd.mu.Lock()
	defer r.crowd.mu.Unlock()
	return r.off != nil && r.off[i]
}

// waking is closed when the request ends.
func (r *route) waking() <-chan struct{} {
	r.crowd.mu.Lock()
	defer r.crowd.mu.Unlock()
	if r.wake == nil {
		r.wake = make(chan struct{})
		if r.ended != nil {
			close(r.wake)
		}
	}
	return r.wake
}

// enter admits a request.
func (s *Service) enter(ctx context.Context, caller Caller, req *Request) (*route, error) {
	place, err := s.admission.enter(caller.OrgID)
	if err != nil {
		return nil, err
	}
	s.requests.Add(1)
	r := &route{s: s, ctx: ctx, caller: caller, req: req, place: place}
	r.attempts = r.room[:0]
	s.open.join(r)
	if s.draining.Load() { // asked once it can be ended: Drain marks first and ends then
		r.leave()
		return nil, ErrDraining
	}
	return r, nil
}

// leave ends a request: calls that lost a race are waited for.
func (r *route) leave() {
	r.losers.Wait()
	r.tellDrills()
	r.s.open.leave(r)
	r.s.admission.leave(r.place, r.caller.OrgID)
	r.s.requests.Done()
}

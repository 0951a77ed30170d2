package completion

import (
	"slices"
	"time"
)

// lookAgain is how often a request that a rehearsal holds looks whether somebody has stopped it. An organization has
// twenty rehearsals at most, so with 10,000 such requests that is a few milliseconds a second.
const lookAgain = time.Second

// Drills hears what comes of rehearsals. It never waits.
type Drills interface {
	// Met comes for each call that a drill fails; first is the first one of its request.
	Met(d *Drill, first bool)
	// Served and Unserved come once for each drill that a request has met, when the request is over: by says who
	// served it.
	Served(d *Drill, by *Target)
	Unserved(d *Drill)
}

// drilled reports whether a target seems to fail.
func (r *route) drilled(t *Target) bool { return t.Drill != nil && r.s.o.Now().Before(t.Drill.Until) }

// rehearse fails a target as its drill says. Nobody is called, nothing is learned, and there is no event; what
// comes then is real.
func (r *route) rehearse(t *Target) error {
	d := t.Drill
	r.made++
	first := !slices.Contains(r.met, d)
	if first {
		r.met = append(r.met, d)
	}
	r.s.o.Drills.Met(d, first)
	r.attempts = append(r.attempts, Attempted{
		Provider: t.Provider, Model: t.Model, CredentialID: t.Credential.ID, Class: t.Class, ErrorClass: string(d.Class), Drill: d.ID,
	})
	e := &ProviderError{Class: d.Class, Message: "a drill rehearses this", Unbilled: true, Ours: true}
	switch d.Class {
	case TimedOut:
		firstByte, _, _ := r.s.times(t, r.req.Stream)
		if !r.silence(d, min(firstByte, d.Until.Sub(r.s.o.Now()))) {
			if err := r.over(); err != nil {
				return err
			}
		}
	case RateLimited:
		e.Status = 429
	default:
		e.Status = 401
	}
	return failed(e, t).With("drill", d.ID)
}

// silence waits as for a provider that says nothing, no longer than the rehearsal goes on. It is false if the request
// has ended.
func (r *route) silence(d *Drill, left time.Duration) bool {
	for ; left > 0 && r.s.o.Rehearsed(d); left -= lookAgain {
		if !r.wait(min(left, lookAgain)) {
			return false
		}
	}
	return true
}

// tellDrills says what came of the drills that the request met.
func (r *route) tellDrills() {
	for _, d := range r.met {
		if r.served != nil {
			r.s.o.Drills.Served(d, r.served)
		} else {
			r.s.o.Drills.Unserved(d)
		}
	}
}

// unrehearsed is Drills that nobody hears.
type unrehearsed struct{}

func (unrehearsed) Met(*Drill, bool)       {}
func (unrehearsed) Served(*Drill, *Target) {}
func (unrehearsed) Unserved(*Drill)        {}

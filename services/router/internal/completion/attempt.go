package completion

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/usage"
)

const (
	// maxHeld bounds what is kept back until the first content; more counts as content.
	maxHeld = 64 << 10
	// A checkpoint is written after so many pieces or so much time, whichever comes first.
	checkpointPieces = 64
	checkpointEvery  = time.Second
)

// The reasons for which we end a call ourselves.
var (
	errFirstByte = errors.New("no answer in time")
	errIdle      = errors.New("a pause that is too long")
	errTotal     = errors.New("the answer takes too long")
	errHedged    = errors.New("another call was quicker")
)

// errPanicked is what is left of a call in which the router itself failed.
var errPanicked = fault.New(fault.Internal, "INTERNAL", "the router failed while it served the request").Hinting("this is a defect; tell the operator")

// What is written of calls that we ended and for which nobody is to blame.
const (
	hedgedClass   = "hedged"
	revokedClass  = "revoked"
	internalClass = "internal"
)

// attempt is one call to one provider with one credential. It reaches for the first content, touching nothing
// that others have, and then serves. In between, and only there, another one may take its place.
type attempt struct {
	r      *route
	s      *Service
	req    *Request
	at     int // its target
	target *Target
	number int // of the request's attempts, from 0
	trial  Trial
	secret secret.Text
	event  usage.Event
	ticket *usage.Ticket
	seen   AttemptObserver
	raw    bool
	strip  bool

	call         context.Context //nolint:containedctx // an attempt is one call, and this is its context
	cancel       context.CancelCauseFunc
	idle         time.Duration
	alarm, limit *time.Timer
	sounded      atomic.Bool // something has come
	answer       Answer
	// chunk is the newest piece: one for all, since its address goes to the sink. whole says that the answer came
	// to its end instead.
	chunk Chunk
	whole bool

	held       []byte // whole events from before the first content
	heldDeltas []Chunk
	called     bool // the adapter was asked to call its provider
	begun      bool // the caller has something of this answer
	credited   bool // the target was told to have answered
	finish     FinishReason
	stopped    string         // the stop sequence
	reported   *Usage         // the provider's last count that can be: lastUsage, told after so many pieces
	job        *Job           // that was submitted; what it takes is known when it ends
	settled    bool           // the event says what it took
	failed     *ProviderError // how it failed; nil if the provider has no part in it
	pieces     int
	pieceBytes int

	lastUsage        Usage
	reportedPieces   int
	checkpointAt     time.Time
	checkpointPieces int
}

// begin opens a target's credential and writes the intent. From here on the attempt leaves an event.
func (r *route) begin(at int, trial Trial) (a *attempt, err error) {
	t, s := &r.plan.Targets[at], r.s
	defer func() {
		if err != nil {
			s.o.Health.Left(trial)
		}
	}()
	if err := s.assert(r, t); err != nil {
		return nil, err
	}
	plain, err := s.o.Keyring.Secret(r.ctx, t.Credential)
	if err != nil {
		return nil, credentialFault(err, t)
	}
	now := s.o.Now()
	a = &r.first
	if r.made > 0 {
		a = &attempt{}
	}
	r.made++
	a.r, a.s, a.req, a.at, a.target, a.trial, a.secret, a.checkpointAt = r, s, r.req, at, t, trial, plain, now
	a.number, a.strip = len(r.attempts), r.strip
	a.raw = r.req.Raw != nil && s.o.Providers[t.Provider].Speaks(r.req.Dialect, t)
	a.event = usage.Event{
		AttemptID: id.New("att"), RequestID: r.req.ID, AttemptNumber: r.called() + 1,
		OrgID: r.caller.OrgID, APIKeyID: r.caller.APIKeyID, MemberID: r.caller.MemberID, GroupID: r.caller.GroupID,
		CredentialID: t.Credential.ID, CredentialRevision: t.Credential.Revision, Class: t.Class,
		Provider: t.Provider, Model: t.Model, RequestedModel: r.req.Named(),
		PolicyID: t.PolicyID, PolicyVersion: t.PolicyVersion, TargetIndex: t.Line, ConfigVersion: r.plan.ConfigVersion,
		Dialect: string(r.req.Dialect), Operation: string(r.req.Asks()), Streamed: r.req.Stream, Tags: r.req.Tags, Session: r.req.Session, User: r.req.User,
		Started: now, Source: usage.Estimated, Tokens: estimate(r.req, 0, 0),
	}
	a.seen = s.o.Observer.Attempt(r.ctx, t, &a.event)
	if a.ticket, err = s.o.Recorder.Begin(&a.event); err != nil {
		a.seen.Recorded(err)
		a.seen.Ended(nil)
		return nil, err
	}
	r.attempts = append(r.attempts, Attempted{
		AttemptID: a.event.AttemptID, Provider: t.Provider, Model: t.Model, CredentialID: t.Credential.ID, Class: t.Class,
	})
	return a, nil
}

// start makes the call one that can be ended, by its timers and from outside.
func (a *attempt) start() {
	a.call, a.cancel = context.WithCancelCause(a.seen.Calling(a.r.ctx, a.baseURL()))
	first, idle, total := a.s.times(a.target, a.req.Stream)
	a.idle = idle
	a.alarm = time.AfterFunc(first, a.silent)
	a.limit = time.AfterFunc(total, a.tooLong)
}

func (a *attempt) silent() {
	if a.sounded.Load() {
		a.cancel(errIdle)
		return
	}
	a.cancel(errFirstByte)
}

func (a *attempt) tooLong() { a.cancel(errTotal) }

// run calls the provider and passes the answer on. Whatever happens, the event is recorded.
func (a *attempt) run(out Sink) (err error) {
	err = errPanicked // unless there is another end
	defer func() { err = a.end(err, out) }()
	if err := a.reach(); err != nil {
		return err
	}
	return a.serve(out)
}

// conclusion passes on the answer of an attempt that has reached. Whatever happens, the event is recorded.
func (a *attempt) conclusion(out Sink) (err error) {
	err = errPanicked
	defer func() { err = a.end(err, out) }()
	return a.serve(out)
}

// reached is reach in a goroutine of its own, where a panic would end the router and all that it serves. Its value
// may hold anything: only its type is told.
func (a *attempt) reached() (err error) {
	defer func() {
		if p := recover(); p != nil {
			a.s.o.Log.Error("panic", "attempt_id", a.event.AttemptID, "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			err = errPanicked
		}
	}()
	return a.reach()
}

// reach calls the provider and reads until the first content, or the end of an answer that has none.
func (a *attempt) reach() (err error) {
	if err := a.r.attach(a); err != nil {
		a.cancel(err)
		return err
	}
	c := Call{
		AttemptID: a.event.AttemptID, Model: a.target.Name, BaseURL: a.baseURL(), Credential: a.target.Credential, Secret: a.secret,
		Request: a.req, Raw: a.raw, StripState: a.strip,
	}
	if a.target.Rule != nil {
		c.Overrides = a.target.Rule.Overrides
	}
	a.called = true
	if a.answer, err = a.s.o.Providers[a.target.Provider].Start(a.call, c); err != nil {
		return c.Overrides.blamed(err, a.target)
	}
	for {
		if err := a.read(); err != nil || a.whole || !a.hold() {
			return err
		}
	}
}

// read takes the next piece. The time that the caller takes over a piece is no silence of the provider's.
func (a *attempt) read() (err error) {
	if a.sounded.Load() {
		a.alarm.Reset(a.idle)
	}
	a.chunk, err = a.answer.Next()
	a.alarm.Stop()
	if errors.Is(err, io.EOF) {
		a.whole = true
		return nil
	}
	if err != nil {
		if a.chunk.Usage != nil { // what failed can have cost something all the same
			a.settled = !a.report(a.chunk.Usage) && a.settled
		}
		a.noteHead(a.answer.Head())
		return err
	}
	a.sounded.Store(true)
	a.note(&a.chunk)
	a.keep(&a.chunk)
	return nil
}

// hold keeps back a piece from before the first content; it is false for a piece that is content.
func (a *attempt) hold() bool {
	if a.chunk.Content || len(a.held)+len(a.chunk.Raw) > maxHeld {
		return false
	}
	switch {
	case a.raw:
		a.held = append(a.held, a.chunk.Raw...)
	case !a.chunk.Delta.Empty() || a.chunk.Finish != "": // the rest are signs of life
		a.heldDeltas = append(a.heldDeltas, a.chunk)
	}
	return true
}

// serve makes this attempt the one that serves, and passes everything on.
func (a *attempt) serve(out Sink) error {
	if err := a.commit(out); err != nil {
		return err
	}
	for !a.whole {
		if err := out.Chunk(&a.chunk); err != nil {
			return err
		}
		if a.req.Stream { // a whole answer goes out at its end
			a.credit()
		}
		if err := a.read(); err != nil {
			return err
		}
	}
	a.noteHead(a.answer.Head())
	if a.req.Stream {
		a.settle()
	}
	e := &a.event
	return out.End(Final{
		Finish: a.finish, StopSequence: a.stopped, Tokens: e.Tokens, Source: e.Source, Cost: e.ReckonedNanoUSD, PriceVersion: e.PriceVersion,
	})
}

// commit begins the answer with what was kept back. From here on there is no other target.
func (a *attempt) commit(out Sink) error {
	a.begun, a.r.begun, a.r.served = true, true, a.target
	a.event.FirstContent = a.s.o.Now().Sub(a.event.Started)
	head := a.answer.Head()
	if a.whole {
		a.noteHead(head)
	}
	served := Served{Target: a.target, Attempts: a.r.attempts, Raw: a.raw, Head: head, ConfigVersion: a.event.ConfigVersion}
	if !a.req.Stream {
		a.settle()
		served.Cost, served.PriceVersion = a.event.ReckonedNanoUSD, a.event.PriceVersion
	}
	if err := out.Begin(served); err != nil {
		return err
	}
	if len(a.held) > 0 {
		if err := out.Chunk(&Chunk{Raw: a.held}); err != nil {
			return err
		}
		a.held = nil
	}
	for i := range a.heldDeltas {
		if err := out.Chunk(&a.heldDeltas[i]); err != nil {
			return err
		}
	}
	a.heldDeltas = nil
	return nil
}

// credit tells, once, that the target has answered. What the caller has of the answer went out before.
func (a *attempt) credit() {
	if !a.begun || a.credited {
		return
	}
	a.credited = true
	var left Headroom
	if limits := a.answer.Head().Limits; limits != nil {
		left = limits.Headroom(a.event.Started.Add(a.event.FirstContent))
	}
	a.s.o.Health.Answered(a.target, a.trial, a.event.FirstContent, left)
	a.trial = Trial{}
}

// end records how the call ended, lets go what waits for that, and then closes the call and tells who learns from
// it. It returns the error for the caller. out is nil for a call that lost a race.
func (a *attempt) end(err error, out Sink) error {
	err = a.conclude(err)
	a.seen.Recorded(a.record())
	if waiting, ok := out.(Flusher); ok && err == nil {
		waiting.Flush()
	}
	a.alarm.Stop()
	a.limit.Stop()
	if a.answer != nil {
		_ = a.answer.Close() // a read side: nothing is lost
	}
	a.r.detach(a)
	a.cancel(nil)
	a.learn()
	a.seen.Ended(&a.event)
	return err
}

// learn tells what the call says of its target. What we ended for reasons of our own says nothing.
func (a *attempt) learn() {
	a.credit()
	e, took := a.failed, a.event.Duration
	if e == nil || e.Ours && e.Class != TimedOut {
		a.s.o.Health.Left(a.trial)
		return
	}
	switch cause := context.Cause(a.call); {
	case !e.Ours: // a provider's own word
	case errors.Is(cause, errTotal) && a.sounded.Load(): // it was answering, for longer than a policy wants
		a.s.o.Health.Left(a.trial)
		return
	case errors.Is(cause, errIdle):
		took = a.idle
	}
	a.s.o.Health.Failed(a.target, a.trial, e, took)
	switch effect := e.Class.Handling().Effect; {
	case effect == PutsOut:
		a.s.o.Evidence.Refused(a.target.Credential, a.target.Class, e)
	case a.r.hasSpare(a.at, e.Class): // see note
	case effect == Tells && a.event.Outcome != usage.NotSent: // what an adapter knows by itself is no provider's word
		a.s.o.Evidence.Limited(a.target.Credential, a.target.Class, e)
	}
}

func (a *attempt) baseURL() string {
	if a.target.Credential.BaseURL != "" {
		return a.target.Credential.BaseURL
	}
	return a.s.o.BaseURLs[a.target.Provider]
}

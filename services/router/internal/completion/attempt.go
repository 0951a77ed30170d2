package completion

import (
	"context"
	"errors"
	"io"
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
)

// attempt is one call to one provider with one credential.
type attempt struct {
	s        *Service
	req      *Request
	target   *Target
	secret   secret.Text
	event    usage.Event
	ticket   *usage.Ticket
	seen     AttemptObserver
	attempts []Attempted
	raw      bool

	held       []byte // whole events from before the first content
	heldDeltas []Chunk
	begun      bool // the caller has something of this answer
	finish     FinishReason
	stopped    string // the stop sequence
	reported   *Usage // the provider's last count
	job        *Job   // that was submitted; what it takes is known when it ends
	settled    bool   // the event says what it took
	pieces     int
	pieceBytes int

	checkpointAt     time.Time
	checkpointPieces int
}

// begin opens the target's credential and writes the intent. From here on the attempt leaves an event.
func (s *Service) begin(ctx context.Context, caller *Caller, req *Request, plan *Plan, i int, attempts []Attempted) (*attempt, error) {
	t := &plan.Targets[i]
	plain, err := s.o.Keyring.Secret(ctx, t.Credential)
	if err != nil {
		return nil, credentialFault(err, t)
	}
	now := s.o.Now()
	a := &attempt{s: s, req: req, target: t, secret: plain, checkpointAt: now}
	a.raw = req.Raw != nil && s.o.Providers[t.Provider].Speaks(req.Dialect, t)
	a.event = usage.Event{
		AttemptID: id.New("att"), RequestID: req.ID, AttemptNumber: len(attempts) + 1,
		OrgID: caller.OrgID, APIKeyID: caller.APIKeyID, MemberID: caller.MemberID,
		CredentialID: t.Credential.ID, CredentialRevision: t.Credential.Revision, GroupID: caller.GroupID, Class: t.Class, Provider: t.Provider, Model: t.Model, RequestedModel: req.Model,
		PolicyID: t.PolicyID, PolicyVersion: t.PolicyVersion, TargetIndex: t.Line, ConfigVersion: plan.ConfigVersion,
		Dialect: string(req.Dialect), Operation: string(req.Asks()), Streamed: req.Stream, Tags: req.Tags, Session: req.Session, User: req.User,
		Started: now, Source: usage.Estimated, Tokens: estimate(req, 0, 0),
	}
	a.seen = s.o.Observer.Attempt(ctx, t, &a.event)
	if a.ticket, err = s.o.Recorder.Begin(&a.event); err != nil {
		a.seen.Ended(err)
		return nil, err
	}
	a.attempts = append(attempts, Attempted{
		AttemptID: a.event.AttemptID, Provider: t.Provider, Model: t.Model, CredentialID: t.Credential.ID, Class: t.Class,
	})
	return a, nil
}

// run makes the call and passes the answer on. Whatever happens, the event is recorded.
func (a *attempt) run(ctx context.Context, out Sink) (err error) {
	callCtx, cancel := context.WithCancelCause(a.seen.Calling(ctx, a.baseURL()))
	defer cancel(nil)
	defer func() {
		err = a.conclude(ctx, callCtx, err)
		a.seen.Answered(&a.event)
		a.seen.Ended(a.record())
	}()
	defer context.AfterFunc(a.s.stopped, func() { cancel(ErrDraining) })() //nolint:contextcheck // the end of the service ends the call, too
	var started atomic.Bool
	alarm := time.AfterFunc(a.s.o.Limits.FirstByte, func() {
		if started.Load() {
			cancel(errIdle)
		} else {
			cancel(errFirstByte)
		}
	})
	defer alarm.Stop()

	answer, err := a.s.o.Providers[a.target.Provider].Start(callCtx, Call{
		AttemptID: a.event.AttemptID, Model: a.target.Name, BaseURL: a.baseURL(), Credential: a.target.Credential, Secret: a.secret, Request: a.req, Raw: a.raw,
	})
	if err != nil {
		return err
	}
	defer func() { _ = answer.Close() }() // a read side: nothing is lost
	// One for all pieces: its address goes to the sink, and so it would be an allocation for each.
	var chunk Chunk
	for {
		chunk, err = answer.Next()
		if errors.Is(err, io.EOF) {
			return a.end(answer.Head(), out)
		}
		if err != nil {
			if chunk.Usage != nil { // what failed can have cost something all the same
				a.reported, a.settled = chunk.Usage, false
			}
			a.noteHead(answer.Head())
			return err
		}
		started.Store(true)
		alarm.Reset(a.s.o.Limits.Idle)
		a.note(&chunk)
		a.keep(&chunk)
		if err := a.pass(&chunk, answer, out); err != nil {
			return err
		}
	}
}

func (a *attempt) baseURL() string {
	if a.target.Credential.BaseURL != "" {
		return a.target.Credential.BaseURL
	}
	return a.s.o.BaseURLs[a.target.Provider]
}

// pass gives a piece to the caller, holding back what comes before the first content.
func (a *attempt) pass(chunk *Chunk, answer Answer, out Sink) error {
	if a.begun {
		return out.Chunk(chunk)
	}
	if !chunk.Content && len(a.held)+len(chunk.Raw) <= maxHeld {
		switch {
		case a.raw:
			a.held = append(a.held, chunk.Raw...)
		case !chunk.Delta.Empty() || chunk.Finish != "": // the rest are signs of life
			a.heldDeltas = append(a.heldDeltas, *chunk)
		}
		return nil
	}
	if err := a.commit(answer.Head(), out); err != nil {
		return err
	}
	return out.Chunk(chunk)
}

// commit makes this target the one that serves.
func (a *attempt) commit(head AnswerHead, out Sink) error {
	a.begun = true
	a.event.FirstContent = a.s.o.Now().Sub(a.event.Started)
	served := Served{Target: a.target, Attempts: a.attempts, Raw: a.raw, Head: head, ConfigVersion: a.event.ConfigVersion}
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

// end closes a complete answer.
func (a *attempt) end(head AnswerHead, out Sink) error {
	a.noteHead(head)
	if !a.begun { // complete, and without any content
		if err := a.commit(head, out); err != nil {
			return err
		}
	}
	if a.req.Stream {
		a.settle()
	}
	e := &a.event
	return out.End(Final{
		Finish: a.finish, StopSequence: a.stopped, Tokens: e.Tokens, Source: e.Source, Cost: e.ReckonedNanoUSD, PriceVersion: e.PriceVersion,
	})
}

// settle fills in what the attempt took and costs, by what is known now. What a caller was told stays.
func (a *attempt) settle() {
	if a.settled {
		return
	}
	a.settled = true
	e := &a.event
	e.Ended = a.s.o.Now()
	e.Tokens, e.Source = a.counted()
	if a.reported != nil {
		e.Units, e.CostNanoUSD = a.reported.Units, a.reported.CostNanoUSD
	}
	e.Reckon(a.s.o.Prices)
}

func (a *attempt) noteHead(head AnswerHead) {
	a.event.HTTPStatus, a.event.ProviderRequestID, a.event.ResponseModel = head.Status, head.RequestID, head.Model
}

// note keeps what a piece says for the accounts, and writes a checkpoint now and then.
func (a *attempt) note(c *Chunk) {
	a.pieces += c.Pieces
	a.pieceBytes += c.PieceBytes
	if c.Usage != nil {
		a.reported = c.Usage
	}
	if c.Finish != "" {
		a.finish = c.Finish
	}
	if c.StopSequence != "" {
		a.stopped = c.StopSequence
	}
	if !a.req.Stream || a.pieces == a.checkpointPieces {
		return
	}
	now := a.s.o.Now()
	if c.Pieces > 0 {
		a.seen.Piece(now)
	}
	if a.pieces-a.checkpointPieces >= checkpointPieces || now.Sub(a.checkpointAt) >= checkpointEvery {
		tokens, source := a.counted()
		if tokens != nil {
			a.s.o.Recorder.Checkpoint(a.event.AttemptID, *tokens, source)
		}
		a.checkpointAt, a.checkpointPieces = now, a.pieces
	}
}

// keep hands over a job that was submitted, before its caller hears of it.
func (a *attempt) keep(c *Chunk) {
	if c.Result == nil || c.Result.Job == nil || a.job != nil {
		return
	}
	a.job = c.Result.Job
	if a.s.o.Jobs != nil {
		a.job.Token = a.s.o.Jobs.Opened(&a.event, a.target, a.job)
	}
}

// counted returns the tokens so far: the provider's count where it gave one, an estimate else.
func (a *attempt) counted() (*usage.Tokens, usage.Source) {
	if a.job != nil {
		return nil, usage.SourceUnknown
	}
	guess := estimate(a.req, a.pieces, a.pieceBytes)
	if a.reported == nil {
		return guess, usage.Estimated
	}
	tokens := a.reported.Tokens
	if a.reported.Final {
		return &tokens, usage.ProviderFinal
	}
	if guess != nil && guess.OutputTotal > tokens.OutputTotal {
		tokens.OutputTotal = guess.OutputTotal
		return &tokens, usage.Estimated
	}
	return &tokens, usage.ProviderPartial
}

// estimate guesses tokens where the provider says nothing: a quarter of the prompt's bytes, and for
// the answer one token per streamed piece, as providers send them, or a quarter of the bytes where
// the pieces are larger than a token can be. What is not paid in tokens cannot be guessed so.
func estimate(req *Request, pieces, pieceBytes int) *usage.Tokens {
	if req.Asks() == CountTokens {
		return &usage.Tokens{} // counting takes none
	}
	if req.Asks().Once() {
		return nil
	}
	input := int64(req.InputBytes+3) / 4
	output := int64(pieces)
	if pieceBytes > 16*pieces {
		output = int64(pieceBytes+3) / 4
	}
	return &usage.Tokens{InputTotal: input, InputUncached: input, OutputTotal: output}
}

// conclude fills in how the attempt ended and returns the error for the caller.
func (a *attempt) conclude(ctx, callCtx context.Context, err error) error {
	e := &a.event
	a.settle()
	e.Ended = a.s.o.Now()
	e.Duration = e.Ended.Sub(e.Started)
	e.FinishReason = string(a.finish)
	if err == nil {
		e.Outcome = usage.OK
		return nil
	}
	provider := providerError(callCtx, err)
	switch {
	case ctx.Err() != nil || (provider == nil && a.begun):
		e.Outcome, e.ErrorClass = usage.Canceled, "canceled"
	case provider == nil: // a prompt that this provider cannot carry: nothing was sent
		e.Outcome = usage.NotSent
		a.tookNothing()
		a.fail("unsupported")
	case a.begun:
		e.Outcome = usage.Broken
	default:
		e.Outcome = usage.Failed
		if provider.Unbilled || !provider.Sent {
			a.tookNothing()
		}
		if !provider.Sent && provider.Status == 0 {
			e.Outcome = usage.NotSent
		}
	}
	if provider == nil {
		return err
	}
	if e.HTTPStatus == 0 {
		e.HTTPStatus, e.ProviderRequestID = provider.Status, provider.RequestID
	}
	if e.Outcome == usage.Canceled {
		return err
	}
	a.fail(string(provider.Class))
	if provider.Class == AuthInvalid || provider.Class == QuotaExhausted {
		a.s.o.Evidence.Refused(a.target.Credential, a.target.Class, provider)
	}
	if errors.Is(context.Cause(callCtx), ErrDraining) {
		return ErrDraining
	}
	if a.begun {
		return named(ErrBrokenOff, a.target).With("error_class", string(provider.Class)).Because(provider)
	}
	f := failed(provider, a.target)
	if outcomeUnknown(a.req, provider) {
		return named(ErrUncertain, a.target).Saying("%s; nobody knows whether it took the call", f.Message()).
			With("error_class", string(provider.Class)).Because(provider)
	}
	return f
}

// tookNothing says that the attempt certainly costs nothing.
func (a *attempt) tookNothing() {
	e := &a.event
	e.Tokens, e.Source, e.Units, e.CostNanoUSD = &usage.Tokens{}, usage.None, nil, nil
	e.Reckon(a.s.o.Prices)
}

func (a *attempt) fail(class string) {
	a.event.ErrorClass = class
	a.attempts[len(a.attempts)-1].ErrorClass = class
}

// providerError finds the provider's failure in err; a call that we ended for its slowness is one too.
func providerError(callCtx context.Context, err error) *ProviderError {
	switch cause := context.Cause(callCtx); {
	case errors.Is(cause, errFirstByte), errors.Is(cause, errIdle):
		return &ProviderError{Class: TimedOut, Message: cause.Error(), Sent: true}
	case errors.Is(cause, ErrDraining):
		return &ProviderError{Class: Network, Message: "the router is shutting down", Sent: true}
	}
	if e, ok := errors.AsType[*ProviderError](err); ok {
		return e
	}
	if _, ok := fault.Of(err); ok {
		return nil
	}
	return nil
}

// record writes the result. It does not use the request's context: a caller that has gone away
// still has to be accounted for.
func (a *attempt) record() error {
	err := a.s.o.Recorder.Done(a.ticket, &a.event)
	if err != nil {
		a.s.o.Log.Error("usage event not written", "attempt_id", a.event.AttemptID, "org_id", a.event.OrgID, "error", err)
	}
	return err
}

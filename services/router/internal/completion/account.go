package completion

import (
	"context"
	"errors"

	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/router/internal/usage"
)

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
	e.Reckon(a.r.plan.Prices)
}

func (a *attempt) noteHead(head AnswerHead) {
	a.event.HTTPStatus, a.event.ProviderRequestID, a.event.ResponseModel = head.Status, head.RequestID, head.Model
}

// note keeps what a piece says for the accounts, and writes a checkpoint now and then.
func (a *attempt) note(c *Chunk) {
	a.pieces += c.Pieces
	a.pieceBytes += c.PieceBytes
	if c.Usage != nil {
		a.report(c.Usage)
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

// report takes over a provider's count, and says whether it can be. One whose numbers are out of bounds, or
// whose parts are more than their whole, is not used: what was told before stays. It is kept by value, since
// whoever read it may reuse it.
func (a *attempt) report(u *Usage) bool {
	if counts := (*pricing.Counts)(&u.Tokens); pricing.Validate(*counts) != nil || !counts.Consistent() {
		return false
	}
	a.lastUsage, a.reportedPieces = *u, a.pieces
	a.reported = &a.lastUsage
	return true
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
	if a.reported.Final && a.pieces == a.reportedPieces { // what came after it is not in it
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
func (a *attempt) conclude(err error) error {
	e := &a.event
	a.settle()
	e.Ended = a.s.o.Now()
	e.Duration = e.Ended.Sub(e.Started)
	e.FinishReason = string(a.finish)
	if err == nil {
		e.Outcome = usage.OK
		return nil
	}
	cause := context.Cause(a.call)
	provider := a.providerError(err, cause)
	if !a.called { // ended before anybody was
		defer func() {
			e.Outcome = usage.NotSent
			a.tookNothing()
		}()
	}
	if provider != nil && !provider.Sent && provider.Status == 0 { // nobody has read it
		a.tookNothing()
	}
	switch {
	case errors.Is(err, errPanicked):
		e.Outcome, e.ErrorClass = usage.Failed, internalClass
		if a.begun {
			e.Outcome = usage.Broken
		}
		return err
	case errors.Is(cause, errHedged):
		e.Outcome, e.ErrorClass = usage.Canceled, hedgedClass
		return err
	case a.r.ctx.Err() != nil || (provider == nil && a.begun):
		e.Outcome, e.ErrorClass = usage.Canceled, "canceled"
	case provider == nil: // a prompt that this provider cannot carry: nothing was sent
		e.Outcome, e.ErrorClass = usage.NotSent, "unsupported"
		a.tookNothing()
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
	e.ErrorClass = string(provider.Class)
	a.failed = provider
	return a.faultOf(provider, cause)
}

// faultOf is what the caller is told of a failure, should nobody else serve.
func (a *attempt) faultOf(provider *ProviderError, cause error) error {
	switch {
	case errors.Is(cause, ErrDraining):
		return ErrDraining
	case errors.Is(cause, ErrRevoked):
		a.event.ErrorClass = revokedClass
		return cause
	case errors.Is(cause, errSwitchedOff):
		a.event.ErrorClass = revokedClass
		if a.begun {
			return named(errSwitchedOff, a.target)
		}
		return errSwitchedOff
	case a.begun:
		return named(ErrBrokenOff, a.target).With("error_class", string(provider.Class)).Because(provider)
	case outcomeUnknown(a.req, provider):
		return named(ErrUncertain, a.target).Saying("%s; nobody knows whether it took the call", failed(provider, a.target).Message()).
			With("error_class", string(provider.Class)).Because(provider)
	}
	return failed(provider, a.target)
}

// tookNothing says that the attempt certainly costs nothing.
func (a *attempt) tookNothing() {
	e := &a.event
	e.Tokens, e.Source, e.Units, e.CostNanoUSD = &usage.Tokens{}, usage.None, nil, nil
	e.Reckon(a.r.plan.Prices)
}

// providerError finds the provider's failure in err; a call that we ended is one too.
func (a *attempt) providerError(err, cause error) *ProviderError {
	e, told := errors.AsType[*ProviderError](err)
	sent := !told || e.Sent || e.Status != 0 // it may have been, unless the adapter knows better
	switch {
	case errors.Is(cause, errFirstByte), errors.Is(cause, errIdle), errors.Is(cause, errTotal):
		return &ProviderError{Class: TimedOut, Message: cause.Error(), Sent: sent, Ours: true}
	case errors.Is(cause, ErrDraining):
		return &ProviderError{Class: Network, Message: "the router is shutting down", Sent: sent, Ours: true}
	case errors.Is(cause, ErrRevoked): // errSwitchedOff is one too
		return &ProviderError{Class: CredentialError, Message: "it was switched off", Sent: sent, Ours: true}
	}
	return e
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

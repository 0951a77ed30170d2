package completion

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// Planner says what to try for what a caller asked for: at least one target, or a fault that says why
// there is none.
type Planner interface {
	Plan(caller Caller, req *Request) (Plan, error)
}

// Keyring gives the plaintext of a credential.
type Keyring interface {
	Secret(ctx context.Context, c *Credential) (secret.Text, error)
}

// Recorder keeps what attempts took, before and after, through a kill.
type Recorder interface {
	Begin(e *usage.Event) (*usage.Ticket, error)
	Checkpoint(attemptID string, tokens usage.Tokens, source usage.Source)
	Done(t *usage.Ticket, e *usage.Event) error
}

// Jobs keeps the media jobs that attempts submit, so that what they take becomes known.
type Jobs interface {
	// Opened is told of a job before its caller is. It returns the name by which callers ask for it. The event
	// is what is known so far and must not be changed.
	Opened(e *usage.Event, t *Target, j *Job) (token string)
}

// Evidence hears what providers say of credentials.
type Evidence interface {
	// Refused is told of credentials that are invalid or out of quota.
	Refused(c *Credential, class usage.Class, e *ProviderError)
}

// Sink takes an answer in the caller's dialect.
type Sink interface {
	// Begin comes before the first piece, once an answer is certain: from here on no other target
	// can serve, and an error that Complete returns has to be told inside the answer.
	Begin(served Served) error
	// Chunk takes a piece. Its bytes are valid during the call only.
	Chunk(c *Chunk) error
	// End comes after the last piece of a complete answer.
	End(final Final) error
}

// Served says what serves a request.
type Served struct {
	Target   *Target
	Attempts []Attempted
	Raw      bool
	Head     AnswerHead
	// ConfigVersion is the configuration that the request is served under.
	ConfigVersion int64
	// Cost and PriceVersion are as in Final, of an answer in one piece: it is known before its first byte.
	Cost         *int64
	PriceVersion string
}

// Attempted is one attempt of a request, as provenance tells it.
type Attempted struct {
	AttemptID, Provider, Model string
	CredentialID               string
	Class                      usage.Class
	ErrorClass                 string // empty for the one that served
}

// Final says how an answer ended.
type Final struct {
	Finish FinishReason
	// StopSequence is as in Chunk.
	StopSequence string
	Tokens       *usage.Tokens // nil is unknown
	Source       usage.Source
	// Cost is what it costs in nano-USD as the usage event says it, by our price book or, where that knows
	// none, by the provider; nil is unknown. PriceVersion names the price, empty for none.
	Cost         *int64
	PriceVersion string
}

// Options configures a Service. All fields are required but Limits' zero values, which take defaults.
type Options struct {
	Planner  Planner
	Keyring  Keyring
	Recorder Recorder
	Evidence Evidence
	// Jobs keeps media jobs; nil where no provider has any.
	Jobs      Jobs
	Providers map[string]Provider
	// BaseURLs are where providers are called, by slug, if a credential names no place of its own.
	BaseURLs map[string]string
	Log      *slog.Logger
	Now      func() time.Time
	Limits   Limits
	// Observer is told of everything; nil is nobody.
	Observer Observer
	// Prices are what callers and events are told that attempts cost; nil is the book that ships.
	Prices *pricing.Table
}

// Limits bound a request.
type Limits struct {
	// Streams is how many requests are served at once; more are refused. Default 10,000.
	Streams int
	// FirstByte is how long a provider may think. Default 300 s.
	FirstByte time.Duration
	// Idle is how long a provider may pause inside an answer. Default 60 s.
	Idle time.Duration
}

// Service answers requests.
type Service struct {
	o        Options
	open     atomic.Int64
	draining atomic.Bool
	stopped  context.Context //nolint:containedctx // not a call's: it ends when what is open must end
	stop     context.CancelFunc
	requests sync.WaitGroup
}

// New returns a service.
func New(o Options) *Service {
	if o.Limits.Streams == 0 {
		o.Limits.Streams = 10_000
	}
	if o.Limits.FirstByte == 0 {
		o.Limits.FirstByte = 300 * time.Second
	}
	if o.Limits.Idle == 0 {
		o.Limits.Idle = 60 * time.Second
	}
	if o.Prices == nil {
		o.Prices = pricing.Book()
	}
	if o.Observer == nil {
		o.Observer = unobserved{}
	}
	stopped, stop := context.WithCancel(context.Background()) //nolint:forbidigo // the service's own life, not a request's
	return &Service{o: o, stopped: stopped, stop: stop}
}

// Complete answers req on behalf of caller. It tries the planned targets in order. Every attempt
// that is begun leaves exactly one usage event, whatever happens to it, to the caller or to this
// process; from the first content byte there is no second target.
func (s *Service) Complete(ctx context.Context, caller Caller, req *Request, out Sink) error {
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	began := s.o.Now()
	plan, err := s.o.Planner.Plan(caller, req)
	s.o.Observer.Planned(ctx, began, plan, err)
	if err != nil {
		return err
	}
	var failure error
	attempts := make([]Attempted, 0, len(plan.Targets))
	for i := range plan.Targets {
		a, err := s.begin(ctx, &caller, req, &plan, i, attempts)
		if err == nil {
			err = a.run(ctx, out) // its defer records the event
			attempts = a.attempts
		}
		failure = err
		if failure == nil || !mayMoveOn(ctx, req, a, failure) {
			return failure
		}
		if i+1 < len(plan.Targets) {
			s.o.Observer.MovedOn(&plan.Targets[i], failure)
		}
	}
	return failure
}

// mayMoveOn reports whether another target may serve after failure: nothing of this answer has gone
// out, the caller is still there, the error is not one that every target would give, and nothing may be
// paid for twice.
func mayMoveOn(ctx context.Context, req *Request, a *attempt, failure error) bool {
	if ctx.Err() != nil || (a != nil && a.begun) || (req.Gone != nil && req.Gone()) {
		return false
	}
	if e, ok := errors.AsType[*ProviderError](failure); ok {
		return e.Class.MayMoveOn() && !outcomeUnknown(req, e)
	}
	return errors.Is(failure, ErrCredential) || errors.Is(failure, ErrUnsupported)
}

// outcomeUnknown reports whether a call that must not be sent twice may have been taken.
func outcomeUnknown(req *Request, e *ProviderError) bool {
	return req.Asks().Once() && e.Sent && !e.Unbilled && e.Class.MayMoveOn()
}

// enter admits a request.
func (s *Service) enter() (leave func(), err error) {
	if s.draining.Load() {
		return nil, ErrDraining
	}
	if s.open.Add(1) > int64(s.o.Limits.Streams) {
		s.open.Add(-1)
		return nil, ErrOverloaded
	}
	s.requests.Add(1)
	return func() { s.open.Add(-1); s.requests.Done() }, nil
}

// Draining reports whether new requests are refused.
func (s *Service) Draining() bool { return s.draining.Load() }

// Open is the number of requests being served.
func (s *Service) Open() int64 { return s.open.Load() }

// Drain refuses new requests and waits for open ones until ctx ends; then it ends them, each with
// an error in its answer and its event recorded.
func (s *Service) Drain(ctx context.Context) {
	s.draining.Store(true)
	done := make(chan struct{})
	go func() { s.requests.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		s.stop()
		<-done
	}
}

// credentialFault says that a target's credential could not be opened, keeping why.
func credentialFault(err error, t *Target) error {
	f := named(ErrCredential, t)
	if cause, ok := fault.Of(err); ok {
		f = f.Saying("the credential could not be opened: %s", cause.Message()).Hinting(cause.Hint())
	}
	return f.Because(err)
}

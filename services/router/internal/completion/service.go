package completion

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claviger/claviger/pkg/fault"
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
	// Refused is told of secrets that had better not be used again: invalid ones, those without quota, and the
	// second one of a rotation if the current one could do what it could not.
	Refused(c *Credential, class usage.Class, e *ProviderError)
	// Limited is told of credentials that lack a right, which others of their requests may not need. Anybody who
	// asks for a model that a credential may not use causes it, as often as they ask.
	Limited(c *Credential, class usage.Class, e *ProviderError)
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

// Flusher is a Sink that keeps back what it was given until its caller may have it: once the attempt that served is
// recorded, so that a kill takes nothing of an answer that somebody has, and before all that the caller need not
// wait for.
type Flusher interface{ Flush() }

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
	// Drill is the rehearsal that made it fail. Nobody was called then, and AttemptID is empty.
	Drill string
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
	// Health learns from calls and says who may be called; nil learns nothing.
	Health Health
	// Drills hears of rehearsals; nil is nobody.
	Drills Drills
	// Rehearsed says whether a rehearsal goes on by the newest configuration. Nil lets it go on until its time.
	Rehearsed func(d *Drill) bool
	// Allowed says whether a target may serve a caller at all, by which version of the configuration. It is asked
	// before a credential is opened, and must not trust who planned. Nil allows everything.
	Allowed func(caller *Caller, t *Target) (ok bool, version int64)
}

// Limits bound a request.
type Limits struct {
	// Streams is how many requests are served at once; more are refused, and those of an organization that has more
	// than its share are refused before. Default 10,000.
	Streams int
	// FirstByte is how long a provider may think. Default 300 s.
	FirstByte time.Duration
	// Idle is how long a provider may pause inside an answer. Default 60 s.
	Idle time.Duration
	// Stream and Whole are how long an answer may take in all, streamed and not. Default 30 and 10 minutes.
	Stream, Whole time.Duration
}

// Service answers requests.
type Service struct {
	o          Options
	open       open
	admission  *admission
	hedges     hedges
	violations atomic.Int64
	draining   atomic.Bool
	requests   sync.WaitGroup
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
	if o.Limits.Stream == 0 {
		o.Limits.Stream = 30 * time.Minute
	}
	if o.Limits.Whole == 0 {
		o.Limits.Whole = 10 * time.Minute
	}
	if o.Observer == nil {
		o.Observer = unobserved{}
	}
	if o.Health == nil {
		o.Health = unlearned{}
	}
	if o.Drills == nil {
		o.Drills = unrehearsed{}
	}
	if o.Rehearsed == nil {
		o.Rehearsed = func(*Drill) bool { return true }
	}
	return &Service{o: o, admission: newAdmission(o.Limits.Streams)}
}

// Complete answers req on behalf of caller. It tries the planned targets in order, each as often as its line says.
// Every attempt that is begun leaves exactly one usage event, whatever happens to it, to the caller or to this
// process; from the first content byte there is no second target.
func (s *Service) Complete(ctx context.Context, caller Caller, req *Request, out Sink) error {
	return Discreet(s.complete(ctx, caller, req, out), caller.Provenance)
}

func (s *Service) complete(ctx context.Context, caller Caller, req *Request, out Sink) error {
	r, err := s.enter(ctx, caller, req)
	if err != nil {
		return err
	}
	defer r.leave()
	if err := r.prepare(); err != nil {
		return err
	}
	for {
		if err := r.next(); err != nil { // all were tried, or nobody may be called
			return err
		}
		if err := r.try(out); err == nil || !r.goesOn(err) {
			return err
		}
	}
}

// outcomeUnknown reports whether a call that must not be sent twice may have been taken.
func outcomeUnknown(req *Request, e *ProviderError) bool {
	return req.Asks().Once() && e.Sent && !e.Unbilled && e.Class.MayMoveOn()
}

// assert is the last look before a credential is opened: may it serve this caller at all? That is asked of rules
// and not of the planner, which may be wrong. What a newer configuration forbids is no mistake: another target may
// serve.
func (s *Service) assert(r *route, t *Target) error {
	if s.o.Allowed == nil {
		return nil
	}
	ok, version := s.o.Allowed(&r.caller, t)
	switch {
	case ok:
		return nil
	case version != r.plan.ConfigVersion:
		return errRuledOut
	}
	s.violations.Add(1)
	s.o.Log.Error("a target was planned that the organization does not allow; nothing was sent", "request_id", r.req.ID,
		"org_id", r.caller.OrgID, "credential_id", t.Credential.ID, "credential_class", t.Class.String(), "model", t.Model, "policy_id", t.PolicyID)
	return ErrNotAllowed
}

// Violations is how often a target was planned that was not allowed. It must stay 0.
func (s *Service) Violations() int64 { return s.violations.Load() }

// Draining reports whether new requests are refused.
func (s *Service) Draining() bool { return s.draining.Load() }

// Open is the number of requests being served.
func (s *Service) Open() int64 { return s.admission.taken.Load() }

// Drain refuses new requests and waits for open ones until ctx ends; then it ends them, each with
// an error in its answer and its event recorded.
func (s *Service) Drain(ctx context.Context) {
	s.draining.Store(true)
	done := make(chan struct{})
	go func() { s.requests.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		s.open.each(func(r *route) { r.end(ErrDraining) })
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

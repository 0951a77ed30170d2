package media

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// Reviser writes later truths of attempts.
type Reviser interface {
	Revise(e *usage.Event) error
}

// Completer is the attempt loop that submits go through.
type Completer interface {
	Complete(ctx context.Context, caller completion.Caller, req *completion.Request, out completion.Sink) error
}

// Options configures a Service. All fields are required but Limits' zero values, which take defaults.
type Options struct {
	// Environment names the installation: tokens of another one are no tokens here.
	Environment string
	// Dir keeps open jobs.
	Dir string
	// Credential finds a credential in the newest configuration.
	Credential func(orgID, credentialID string) (*completion.Credential, bool)
	Keyring    completion.Keyring
	Recorder   Reviser
	Evidence   completion.Evidence
	// Providers are the adapters that have jobs, BaseURLs where they are called, by slug.
	Providers map[string]Provider
	BaseURLs  map[string]string
	Fetcher   Fetcher
	Log       *slog.Logger
	Now       func() time.Time
	Limits    Limits
}

// Limits bound how jobs are followed.
type Limits struct {
	// Jobs is how many open jobs this router follows; more submits are refused. Default 10,000.
	Jobs int
	// First is how long after its submit a job is asked for, Longest the pause that this grows to. Default 5 s
	// and 60 s.
	First, Longest time.Duration
	// MaxAge is how long a job is followed. What has not ended by then is accounted as an estimate, until
	// somebody who asks sees its end. Default 24 h.
	MaxAge time.Duration
}

const (
	// fresh is how long an answer of a provider's serves all who ask for the job.
	fresh = time.Second
	// kept is how long a final answer does: addresses of files change little, but do expire.
	kept = 5 * time.Minute
	// maxCached bounds the answers that are kept.
	maxCached = 4096
	// unknownAfter is how old a job must be for a provider's "there is none" to be believed.
	unknownAfter = 2 * time.Minute
	// pollTime bounds one question.
	pollTime = 30 * time.Second
)

// Service submits jobs and asks for them.
type Service struct {
	o       Options
	sealer  atomic.Pointer[sealer]
	spool   *spool
	flights singleflight.Group
	wake    chan struct{}

	mu     sync.Mutex
	open   map[string]*job   // by attempt
	byName map[string]*job   // by provider and its name of the job
	cache  map[string]cached // by attempt
	// settled are attempts whose revision this process has written.
	settled map[string]settlement
}

// job is an open job of this router's.
type job struct {
	record *record
	next   time.Time
	pause  time.Duration
	asked  time.Time // when it was asked for last
	busy   bool
	// settled is when its revision was written. It leaves the disk a moment later, when that is on it.
	settled time.Time
}

// settlement is a revision that was written, and the end of the job that it says.
type settlement struct {
	revision int
	at       time.Time
}

type cached struct {
	state State
	at    time.Time
}

// New returns a service that follows the jobs an earlier process left in o.Dir.
func New(o Options) (*Service, error) {
	if o.Limits.Jobs == 0 {
		o.Limits.Jobs = 10_000
	}
	if o.Limits.First == 0 {
		o.Limits.First = 5 * time.Second
	}
	if o.Limits.Longest == 0 {
		o.Limits.Longest = time.Minute
	}
	if o.Limits.MaxAge == 0 {
		o.Limits.MaxAge = 24 * time.Hour
	}
	s := &Service{
		o: o, wake: make(chan struct{}, 1), open: map[string]*job{}, byName: map[string]*job{},
		cache: map[string]cached{}, settled: map[string]settlement{},
	}
	var err error
	if s.spool, err = openSpool(o.Dir); err != nil {
		return nil, err
	}
	records, err := s.spool.load(func(name string, err error) { o.Log.Error("job not read", "file", name, "error", err) })
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		s.follow(r)
	}
	if len(records) > 0 {
		o.Log.Info("jobs taken up again", "jobs", len(records))
	}
	return s, nil
}

// UsePepper gives the pepper of API keys, from which the key of tokens is derived. Before it comes there
// are no submits and no tokens.
func (s *Service) UsePepper(pepper secret.Text) error {
	sealer, err := newSealer(pepper, s.o.Environment)
	if err != nil {
		return err
	}
	s.sealer.Store(sealer)
	return nil
}

// Open is the number of jobs that this router follows.
func (s *Service) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Submit submits a job. It goes on if the caller leaves in the middle: what became of the submit must be
// known. A job that nobody has heard of by then is canceled, where that can be.
func (s *Service) Submit(ctx context.Context, through Completer, caller completion.Caller, req *completion.Request) (View, completion.Served, error) {
	if err := s.admit(req); err != nil {
		return View{}, completion.Served{}, err
	}
	req.Gone = func() bool { return ctx.Err() != nil }
	out := &submission{}
	if err := through.Complete(context.WithoutCancel(ctx), caller, req, out); err != nil {
		return View{}, completion.Served{}, err
	}
	if out.job == nil || out.job.Token == "" {
		return View{}, completion.Served{}, ErrNoJobs.With("provider", out.served.Target.Provider)
	}
	r, err := s.recordOf(caller, out.job.Token)
	if err != nil {
		return View{}, completion.Served{}, err
	}
	if ctx.Err() != nil {
		if err := s.cancel(context.WithoutCancel(ctx), r); err != nil {
			s.o.Log.InfoContext(ctx, "job of a caller that left goes on", "attempt_id", r.Attempt, "org_id", r.Org, "error", err)
		}
		return View{}, out.served, ctx.Err()
	}
	return s.view(r, out.job.Token, State{Status: Status(out.job.Status), Progress: out.job.Progress}), out.served, nil
}

// admit refuses what could not be followed, before anything is sent.
func (s *Service) admit(req *completion.Request) error {
	if s.sealer.Load() == nil {
		return ErrSealing
	}
	if text, err := json.Marshal(labels{req.Tags, req.Session, req.User}); err != nil || len(text) > maxLabels {
		return ErrLabels
	}
	if s.Open() >= s.o.Limits.Jobs {
		return ErrTooMany
	}
	return nil
}

// submission takes the answer of a submit.
type submission struct {
	served completion.Served
	job    *completion.Job
}

func (s *submission) Begin(served completion.Served) error { s.served = served; return nil }

func (s *submission) Chunk(c *completion.Chunk) error {
	if c.Result != nil && c.Result.Job != nil {
		s.job = c.Result.Job
	}
	return nil
}

func (s *submission) End(completion.Final) error { return nil }

// Opened implements completion.Jobs.
func (s *Service) Opened(e *usage.Event, t *completion.Target, j *completion.Job) string {
	r := newRecord(e, t, j, s.o.Now())
	if err := s.spool.keep(r); err != nil {
		// The job runs. As long as this process does it is followed all the same.
		s.o.Log.Error("job not kept on disk", "attempt_id", r.Attempt, "org_id", r.Org, "error", err)
	}
	s.follow(r)
	if sealer := s.sealer.Load(); sealer != nil {
		return sealer.seal(r)
	}
	return ""
}

// follow adds an open job.
func (s *Service) follow(r *record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := &job{record: r, pause: s.o.Limits.First, next: s.o.Now().Add(s.o.Limits.First)}
	s.open[r.Attempt], s.byName[r.Provider+"/"+r.JobID] = j, j
}

// recordOf opens a token for a caller. Another organization's does not exist.
func (s *Service) recordOf(caller completion.Caller, token string) (*record, error) {
	sealer := s.sealer.Load()
	if sealer == nil {
		return nil, ErrSealing
	}
	r, err := sealer.open(token)
	if err != nil {
		return nil, err
	}
	if caller.OrgID == "" || r.Org != caller.OrgID {
		return nil, ErrNotFound
	}
	return r, nil
}

// Get says how far a job is.
func (s *Service) Get(ctx context.Context, caller completion.Caller, token string) (View, error) {
	r, err := s.recordOf(caller, token)
	if err != nil {
		return View{}, err
	}
	state, err := s.look(ctx, r)
	if err != nil {
		return View{}, err
	}
	return s.view(r, token, state), nil
}

// Cancel asks for the end of a job.
func (s *Service) Cancel(ctx context.Context, caller completion.Caller, token string) (View, error) {
	r, err := s.recordOf(caller, token)
	if err != nil {
		return View{}, err
	}
	// Who goes away now still wants it canceled.
	if err := s.cancel(context.WithoutCancel(ctx), r); err != nil {
		return View{}, err
	}
	s.mu.Lock()
	delete(s.cache, r.Attempt)
	s.mu.Unlock()
	state, err := s.look(ctx, r)
	if err != nil { // it is canceled, and how that went can be asked for
		state = State{Status: InProgress}
	}
	return s.view(r, token, state), nil
}

func (s *Service) cancel(ctx context.Context, r *record) error {
	canceler, ok := s.o.Providers[r.Provider].(Canceler)
	if !ok {
		return ErrNoCancel.Saying("%s has no call that cancels a job", r.Provider).With("provider", r.Provider)
	}
	ctx, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	at, err := s.at(ctx, r)
	if err != nil {
		return err
	}
	if err := canceler.Cancel(ctx, at); err != nil {
		return s.failed(r, at.Credential, err)
	}
	s.hint(r.Provider, r.JobID)
	return nil
}

// Content gets one of the files that a job made, counted from 0.
func (s *Service) Content(ctx context.Context, caller completion.Caller, token string, index int) (Content, error) {
	r, err := s.recordOf(caller, token)
	if err != nil {
		return Content{}, err
	}
	state, err := s.look(ctx, r)
	switch {
	case err != nil:
		return Content{}, err
	case !state.Status.Final():
		return Content{}, ErrNotDone
	case state.Status != Completed:
		return Content{}, ErrFailed
	case index < 0 || index >= len(state.Outputs):
		return Content{}, ErrNoContent
	}
	out := state.Outputs[index]
	content, err := s.o.Fetcher.Fetch(ctx, out.URL)
	if err != nil {
		return Content{}, ErrContentFetch.Because(err)
	}
	if kind, _, _ := strings.Cut(out.MediaType, "/"); slices.Contains([]string{"video", "image", "audio"}, kind) && out.MediaType != "image/svg+xml" {
		content.MediaType = out.MediaType // storage often says nothing better than "bytes"
	}
	return content, nil
}

// at is where to ask for a job: with the credential that it was submitted with, as it is now, and at that
// credential's address, whatever the token or an answer says.
func (s *Service) at(ctx context.Context, r *record) (At, error) {
	credential, ok := s.o.Credential(r.CredOrg, r.Cred)
	if !ok || credential.Provider != r.Provider || s.o.Providers[r.Provider] == nil {
		return At{}, ErrCredential
	}
	plain, err := s.o.Keyring.Secret(ctx, credential)
	if err != nil {
		return At{}, completion.ErrCredential.Because(err)
	}
	base := credential.BaseURL
	if base == "" {
		base = s.o.BaseURLs[r.Provider]
	}
	return At{BaseURL: base, Credential: credential, Secret: plain, ID: r.JobID, Ref: r.Ref, Model: r.Name}, nil
}

// failed is the fault of a call about a job.
func (s *Service) failed(r *record, c *completion.Credential, err error) error {
	failure, ok := errors.AsType[*completion.ProviderError](err)
	if !ok {
		return err
	}
	if failure.Class == completion.AuthInvalid && s.o.Evidence != nil {
		s.o.Evidence.Refused(c, r.Class, failure)
	}
	return completion.Fault(failure, &completion.Target{Provider: r.Provider, Model: r.Model, Class: r.Class, Credential: c})
}

// view is what a caller sees of a state.
func (s *Service) view(r *record, token string, state State) View {
	v := View{
		Token: token, RequestID: r.Request, Model: r.Model, Status: state.Status, Progress: state.Progress,
		Created: r.created(), Seconds: r.Seconds, Size: r.Size, Outputs: state.Outputs, Failure: state.Failure,
	}
	if !state.Status.Final() {
		return v
	}
	v.Ended = s.endSeen(r)
	e := r.revision(state, v.Ended)
	v.Units, v.CostNanoUSD, v.Estimated = e.Units, e.CostNanoUSD, e.Source == usage.Estimated
	return v
}

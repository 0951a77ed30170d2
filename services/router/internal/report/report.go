// Package report tells keys what a router has learned: the configuration it serves and the answers that it
// cut under it, verdicts of key tests, what providers said of credentials and of their limits, and what came of
// drills. While keys is away the newest of it is kept, within bounds.
package report

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
	"github.com/claviger/claviger/services/router/internal/uses"
)

const (
	maxKept     = 1000
	maxAnswers  = 100
	testTimeout = 20 * time.Second
	testsAtOnce = 8
	// limitedEvery is how often the same lack of a right is told of: requests that meet it come as fast as
	// callers send them.
	limitedEvery = time.Minute
)

// Options configures a Reporter.
type Options struct {
	Router    string
	Client    keysv1connect.ConfigServiceClient
	Providers map[string]completion.Provider
	BaseURLs  map[string]string
	// Credential finds a credential in the newest configuration.
	Credential func(orgID, credentialID string) (*completion.Credential, bool)
	Secret     func(ctx context.Context, c *completion.Credential) (secret.Text, error)
	// Out keeps a refused credential from being tried again at once.
	Out func(c *completion.Credential, reason string)
	// Uses are the last uses of secrets; nil is none.
	Uses *uses.Log
	// Learned is what was learned of providers' limits; nil is nothing.
	Learned Learned
	Log     *slog.Logger
	Now     func() time.Time
}

// Reporter gathers and sends.
type Reporter struct {
	o      Options
	epoch  string
	drills *Drills
	jobs   chan *keysv1.ProbeJob
	wake   chan struct{}
	tests  sync.WaitGroup

	mu       sync.Mutex
	results  []*keysv1.ProbeResult
	evidence map[evidenceKey]*keysv1.CredentialEvidence // the last word on each
	limited  map[evidenceKey]time.Time                  // when each lack of a right was noted last, within limitedEvery
	applied  int64
	cuts     []Cut
	answers  []*keysv1.RouteAnswer
	left     headroom
}

type evidenceKey struct {
	credentialID string
	revision     int32
	class        string
}

// New returns a reporter.
func New(o Options) *Reporter {
	return &Reporter{
		o: o, epoch: rand.Text(), drills: newDrills(o.Now), jobs: make(chan *keysv1.ProbeJob, maxKept), wake: make(chan struct{}, 1),
		evidence: map[evidenceKey]*keysv1.CredentialEvidence{}, limited: map[evidenceKey]time.Time{}, left: newHeadroom(),
	}
}

// Drills counts what comes of rehearsals, for the reports.
func (r *Reporter) Drills() *Drills { return r.drills }

// Probe takes a key test to do. It never blocks; keys asks again for what it hears nothing of.
func (r *Reporter) Probe(job *keysv1.ProbeJob) {
	select {
	case r.jobs <- job:
	default:
	}
}

// Answer tells keys what came of a question. It never blocks; keys asks again for what it hears nothing of, so
// an answer that has no room, or cannot be sent, is let go.
func (r *Reporter) Answer(a *keysv1.RouteAnswer) {
	r.mu.Lock()
	if len(r.answers) < maxAnswers {
		r.answers = append(r.answers, a)
	}
	r.mu.Unlock()
	r.wakeUp()
}

// Refused implements completion.Evidence.
func (r *Reporter) Refused(c *completion.Credential, class usage.Class, e *completion.ProviderError) {
	r.o.Out(c, fmt.Sprintf("was refused by %s just now (%s)", c.Provider, e.Class))
	r.mu.Lock()
	r.keep(c, class, e)
	r.mu.Unlock()
	r.wakeUp()
}

// Limited implements completion.Evidence.
func (r *Reporter) Limited(c *completion.Credential, class usage.Class, e *completion.ProviderError) {
	now, key := r.o.Now(), keyOf(c, e)
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, known := r.limited[key]; known && now.Sub(at) < limitedEvery {
		return
	}
	if len(r.limited) >= maxKept {
		maps.DeleteFunc(r.limited, func(_ evidenceKey, at time.Time) bool { return now.Sub(at) >= limitedEvery })
	}
	if len(r.limited) >= maxKept {
		return // told of when there is room again
	}
	r.limited[key] = now
	r.keep(c, class, e)
	r.wakeUp()
}

func keyOf(c *completion.Credential, e *completion.ProviderError) evidenceKey {
	return evidenceKey{c.ID, int32(c.Revision), string(e.Class)}
}

// keep notes what a provider said, for the next report. The lock is held.
func (r *Reporter) keep(c *completion.Credential, class usage.Class, e *completion.ProviderError) {
	if key := keyOf(c, e); len(r.evidence) < maxKept || r.evidence[key] != nil {
		r.evidence[key] = &keysv1.CredentialEvidence{
			OrgId: c.OrgID, CredentialId: c.ID, Revision: key.revision, CredentialClass: eventsv1.CredentialClass(class),
			ErrorClass: key.class, Reason: shorten(e.Message), Time: timestamppb.New(r.o.Now()),
		}
	}
}

func (r *Reporter) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// shorten keeps a reason within the contract's bound of 1,024 characters.
func shorten(s string) string {
	s = strings.ToValidUTF8(s, "�")
	if runes := []rune(s); len(runes) > 1000 {
		return string(runes[:1000]) + "…"
	}
	return s
}

func (r *Reporter) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case job := <-r.jobs:
			if result := r.test(ctx, job); result != nil {
				r.mu.Lock()
				r.results = append(r.results, result)
				r.mu.Unlock()
				r.wakeUp()
			}
		}
	}
}

var states = map[string]keysv1.CredentialState{
	"active":          keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE,
	"degraded":        keysv1.CredentialState_CREDENTIAL_STATE_DEGRADED,
	"quota_exhausted": keysv1.CredentialState_CREDENTIAL_STATE_QUOTA_EXHAUSTED,
	"rejected":        keysv1.CredentialState_CREDENTIAL_STATE_REJECTED,
}

// test does one key test. It returns nil for a credential that this router does not know in that
// revision: the configuration and the job travel together, so another router or a later turn will.
func (r *Reporter) test(ctx context.Context, job *keysv1.ProbeJob) *keysv1.ProbeResult {
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	c, ok := r.await(ctx, job)
	if !ok {
		return nil
	}
	result := &keysv1.ProbeResult{ProbeId: job.GetId(), OrgId: job.GetOrgId(), CredentialId: job.GetCredentialId(), Revision: job.GetRevision()}
	verdict := completion.Verdict{Reason: "this provider has no key test"}
	if provider := r.o.Providers[c.Provider]; provider != nil {
		verdict = r.verdict(ctx, provider, c)
	}
	result.State, result.Reason, result.Time = states[verdict.State], shorten(verdict.Reason), timestamppb.New(r.o.Now())
	result.Models = listed(verdict.Models)
	return result
}

// listed are models within the contract's bounds. A list that does not fit is left out as a whole: a
// part of it would say that the rest cannot be used.
func listed(models []string) []string {
	const maxModels, maxName = 1000, 256
	models = slices.Clone(models)
	slices.Sort(models)
	models = slices.Compact(models)
	if len(models) > maxModels || slices.ContainsFunc(models, func(m string) bool { return m == "" || len(m) > maxName || !utf8.ValidString(m) }) {
		return nil
	}
	return models
}

func (r *Reporter) verdict(ctx context.Context, provider completion.Provider, c *completion.Credential) completion.Verdict {
	plain, err := r.o.Secret(ctx, c)
	if err != nil {
		r.o.Log.WarnContext(ctx, "credential not opened for its test", "credential_id", c.ID, "org_id", c.OrgID, "error", err)
		return completion.Verdict{Reason: "the router could not open the credential: " + message(err)}
	}
	baseURL := c.BaseURL
	if baseURL == "" {
		baseURL = r.o.BaseURLs[c.Provider]
	}
	return provider.Test(ctx, completion.Place{BaseURL: baseURL, Credential: c, Secret: plain})
}

// await finds the job's credential; the change that brings it may be a moment behind the job.
func (r *Reporter) await(ctx context.Context, job *keysv1.ProbeJob) (*completion.Credential, bool) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, ok := r.o.Credential(job.GetOrgId(), job.GetCredentialId())
		if ok && c.Next != nil && c.Next.Revision == int(job.GetRevision()) {
			c = c.Next
		}
		if ok && c.Revision == int(job.GetRevision()) && c.Sealed != "" {
			return c, true
		}
		if ok && c.Revision > int(job.GetRevision()) {
			return nil, false
		}
		select {
		case <-ctx.Done():
			return nil, false
		case <-tick.C:
		}
	}
}

// message is what may be told of err.
func message(err error) string {
	if f, ok := fault.Of(err); ok {
		return f.Message()
	}
	return "internal error"
}

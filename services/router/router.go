package router

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"golang.org/x/sync/errgroup"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/catalog"
	"github.com/claviger/claviger/pkg/egress"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/pricefeed"
	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/proto/gen/claviger/router/v1/routerv1connect"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/health"
	"github.com/claviger/claviger/services/router/internal/httpapi"
	"github.com/claviger/claviger/services/router/internal/keyring"
	"github.com/claviger/claviger/services/router/internal/media"
	"github.com/claviger/claviger/services/router/internal/observe"
	"github.com/claviger/claviger/services/router/internal/offline"
	"github.com/claviger/claviger/services/router/internal/plan"
	"github.com/claviger/claviger/services/router/internal/report"
	"github.com/claviger/claviger/services/router/internal/rpc"
	"github.com/claviger/claviger/services/router/internal/snapshot"
	"github.com/claviger/claviger/services/router/internal/usage"
	"github.com/claviger/claviger/services/router/internal/uses"
)

// App is a router, built from opened things.
type App struct {
	d           Deps
	journal     *usage.Journal
	publisher   *usage.Publisher
	follower    *snapshot.Follower
	reporter    *report.Reporter
	completions *completion.Service
	leaving     atomic.Bool // not ready, and serving all the same
	planner     *plan.Planner
	learned     *health.Health
	ring        *keyring.Keyring
	used        uses.Keyring   // the same, for requests
	offline     *offline.Store // nil if nothing opened is kept
	media       *media.Service
	webhooks    map[string]httpapi.Webhook
	prices      *pricefeed.Follower
}

// New opens the journal and the last configuration, and builds the router. It serves from the
// configuration on disk at once; Run keeps it up to date.
func New(ctx context.Context, d Deps) (*App, error) {
	a := &App{d: d}
	journalBytes := d.JournalMaxBytes
	if journalBytes == 0 {
		journalBytes = defaultJournalBytes
	}
	var err error
	if a.journal, err = usage.OpenJournal(filepath.Join(d.DataDir, "journal"), journalBytes, d.Now, d.Log); err != nil {
		return nil, err
	}
	a.publisher = usage.NewPublisher(a.journal, d.Name, d.NATS, d.JetStream, d.Log, d.Telemetry)

	// Small buffers: a connection per open stream holds them for as long as the stream is open, and
	// pieces of an answer are far smaller.
	transport := d.Egress.Transport(egress.TransportOptions{ReadBuffer: 2 << 10, WriteBuffer: 2 << 10, MaxIdleConns: 4096, MaxIdleConnsPerHost: 1024})
	adapters := providers(transport)
	urls := baseURLs(d.BaseURLs)
	a.learned = health.New(health.Options{Now: d.Now})
	if err := a.openOffline(); err != nil {
		return nil, errors.Join(err, a.journal.Close())
	}
	a.ring = keyring.New(d.Environment, a.d.Opener, d.Now, d.Log, d.Telemetry)
	a.used = uses.Keyring{Ring: a.ring, Log: uses.New(), Now: d.Now}
	client := snapshot.NewClient(d.Keys)
	a.prices = openPrices(d)
	a.planner = &plan.Planner{Providers: adapters, Health: a.learned, Offers: catalog.Offers, Prices: a.prices.Table, Now: d.Now}
	a.reporter = report.New(report.Options{
		Router: d.Name, Client: client, Providers: adapters, BaseURLs: urls, Secret: a.ring.Secret, Out: a.learned.Refused,
		Credential: a.credential, Uses: a.used.Log, Learned: a.learned.Snapshot, Log: d.Log, Now: d.Now,
	})
	if err := a.openMedia(adapters, urls, transport); err != nil {
		return nil, errors.Join(err, a.journal.Close())
	}
	if a.follower, err = snapshot.New(snapshot.Options{
		Environment: d.Environment, Dir: d.DataDir, Key: d.ConfigKey, Pepper: a.pepper, Client: client, Log: d.Log, Now: d.Now,
		OnProbe: a.reporter.Probe, OnQuestion: a.answer,
		OnChange: func(s *snapshot.State) {
			var credentials []*completion.Credential
			s.AllCredentials(func(c *completion.Credential) { credentials = append(credentials, c) })
			a.ring.Keep(context.WithoutCancel(ctx), credentials)
		},
		OnServed: a.served,
	}); err != nil {
		return nil, errors.Join(err, a.journal.Close())
	}
	a.completions = completion.New(completion.Options{
		Planner: planner{a}, Keyring: a.used, Recorder: a.journal, Evidence: a.reporter, Jobs: a.media, Providers: adapters, BaseURLs: urls,
		Log: d.Log, Now: d.Now, Limits: d.Limits, Health: a.learned, Drills: a.reporter.Drills(), Rehearsed: a.rehearsed, Allowed: a.allowed,
		Observer: observe.New(observe.Options{Telemetry: d.Telemetry, Models: pricing.Models(), Named: pricing.Book().Named, Hosts: knownHosts(), Now: d.Now}),
	})
	if err := errors.Join(a.measure(d.Telemetry), a.measurePrices(d.Telemetry)); err != nil {
		return nil, errors.Join(err, a.journal.Close())
	}
	return a, nil
}

// openOffline puts what is kept on disk before the vault, if the operator wants that.
func (a *App) openOffline() error {
	if a.d.OfflineKeyFile == "" {
		return nil
	}
	store, err := offline.Open(offline.Options{
		Path: filepath.Join(a.d.DataDir, "offline.sealed"), KeyFile: a.d.OfflineKeyFile, Environment: a.d.Environment, Router: a.d.Name,
		Opener: a.d.Opener, Pepper: a.d.Pepper, Log: a.d.Log, Now: a.d.Now,
	})
	if err != nil {
		return err
	}
	a.offline, a.d.Opener, a.d.Pepper = store, store, store.Pepper
	return nil
}

// planner joins the pure planner with the newest configuration.
type planner struct{ a *App }

func (p planner) Plan(caller completion.Caller, req *completion.Request) (completion.Plan, error) {
	state, err := p.a.follower.State()
	if err != nil {
		return completion.Plan{}, err
	}
	// Who sends a body slowly was let in by an older configuration: the group, the policies and the end of the key
	// are those of this one.
	now, ok := state.Caller(caller.APIKeyID, p.a.d.Now())
	if !ok {
		return completion.Plan{}, completion.ErrRevoked
	}
	return p.a.planner.Make(state, now, req)
}

// allowed asks the newest configuration whether a target may serve a caller at all, as the API key is by now. A
// key that was revoked or has expired begins no new calls; those under way end by themselves.
func (a *App) allowed(caller *completion.Caller, t *completion.Target) (ok bool, version int64) {
	state, err := a.follower.State()
	if err != nil {
		return false, 0
	}
	now, ok := state.Caller(caller.APIKeyID, a.d.Now())
	if !ok { // which no planner can know beforehand
		return false, 0
	}
	return plan.Allowed(state, now, t), state.Version()
}

// rehearsed reports whether the newest configuration has a rehearsal that was planned.
func (a *App) rehearsed(d *completion.Drill) bool {
	state, err := a.follower.State()
	return err == nil && slices.ContainsFunc(state.Drills(d.OrgID), func(now completion.Drill) bool { return now.ID == d.ID })
}

func (a *App) credential(orgID, credentialID string) (*completion.Credential, bool) {
	state, err := a.follower.State()
	if err != nil {
		return nil, false
	}
	return state.Credential(orgID, credentialID)
}

// Public returns the typed API, for net/http and grpc-go alike.
func (a *App) Public() *connect.Server {
	server := connect.NewServer(intercept.Chain(intercept.Options{Log: a.d.Log, Authenticate: a.authenticate, Telemetry: a.d.Telemetry})...)
	routerv1connect.RegisterCompletionServiceHandler(server, &rpc.CompletionServer{
		Completions: a.completions, Explain: a.explain,
		Caller: func(ctx context.Context) completion.Caller {
			return a.follower.ByID(authn.FromContext(ctx).APIKeyID)
		},
		Models: func(caller completion.Caller) ([]rpc.Model, error) {
			names, err := a.models(caller)
			out := make([]rpc.Model, 0, len(names))
			for _, name := range names {
				owner, _, _ := strings.Cut(name, "/")
				out = append(out, rpc.Model{ID: name, OwnedBy: owner})
			}
			return out, err
		},
	})
	routerv1connect.RegisterMediaServiceHandler(server, &rpc.MediaServer{
		Completions: a.completions, Jobs: a.media,
		Caller: func(ctx context.Context) completion.Caller {
			return a.follower.ByID(authn.FromContext(ctx).APIKeyID)
		},
	})
	return server
}

func (a *App) authenticate(_ context.Context, info *connect.CallInfo) (authn.Principal, error) {
	presented, ok := intercept.Bearer(info)
	if !ok {
		presented = info.RequestHeader().Get("x-api-key")
	}
	if presented == "" {
		return authn.Principal{}, snapshot.ErrKeyMissing
	}
	caller, err := a.follower.Caller(presented)
	if err != nil {
		return authn.Principal{}, err
	}
	return authn.Principal{Kind: authn.APIKey, OrgID: caller.OrgID, MemberID: caller.MemberID, APIKeyID: caller.APIKeyID}, nil
}

// HTTP returns the edges for OpenAI SDKs.
func (a *App) HTTP() http.Handler {
	maxBody := a.d.MaxBodyBytes
	if maxBody == 0 {
		maxBody = defaultBodyBytes
	}
	return httpapi.New(httpapi.Options{
		Completions: a.completions, Caller: a.follower.Caller, Models: a.models, MaxBodyBytes: maxBody, Log: a.d.Log, Now: a.d.Now,
		Telemetry: a.d.Telemetry, Media: a.media, Webhooks: a.webhooks,
	})
}

// MaxMessageBytes bounds a message of the typed API.
func (a *App) MaxMessageBytes() int {
	if a.d.MaxBodyBytes == 0 {
		return defaultBodyBytes
	}
	return int(a.d.MaxBodyBytes)
}

// Ready says what is missing to serve.
func (a *App) Ready(context.Context) error {
	if a.journal.Stats().Broken {
		return usage.ErrBroken
	}
	if a.leaving.Load() || a.completions.Draining() {
		return completion.ErrDraining
	}
	return a.follower.Ready()
}

// Drain refuses new requests and waits for open ones until ctx ends, then ends them.
func (a *App) Drain(ctx context.Context) { a.completions.Drain(ctx) }

// lastFrames is how long a stopping router waits for metering to take what it still holds.
const lastFrames = 10 * time.Second

// heapFloor is what the collector takes for live besides what is. A router's own live heap is a few MiB:
// at twice that it would be collected dozens of times a second, for a tenth of the CPU time. The floor is
// never touched, so it is no memory; the garbage that it lets pile up is, and as much at most.
const heapFloor = 32 << 20

// Run follows keys, reports to it and publishes usage until ctx ends. Call Drain first, so that
// every event is in the journal; what cannot be published in time stays there.
func (a *App) Run(ctx context.Context) error {
	floor := make([]byte, heapFloor)
	defer runtime.KeepAlive(floor)
	publishing, stopPublishing := context.WithCancel(context.WithoutCancel(ctx))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.follower.Run(ctx) })
	group.Go(func() error { return a.reporter.Run(ctx) })
	group.Go(func() error { return a.media.Run(ctx) })
	group.Go(func() error { return a.prices.Run(ctx) })
	if a.offline != nil {
		group.Go(func() error { return a.offline.Run(ctx) })
	}
	group.Go(func() error { return a.publisher.Run(publishing) })
	group.Go(func() error {
		defer stopPublishing()
		<-ctx.Done()
		deadline := time.After(lastFrames)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for !a.publisher.Drained() {
			select {
			case <-deadline:
				return nil
			case <-tick.C:
			}
		}
		return nil
	})
	err := group.Wait()
	if closing := a.journal.Close(); closing != nil {
		err = errors.Join(err, fmt.Errorf("close journal: %w", closing))
	}
	return err
}

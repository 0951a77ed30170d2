// Package metering is the usage service: it counts what routers publish, exactly once, prices it, and
// answers what was used, by whom and at what cost. It holds no secret and calls no provider.
package metering

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/pkg/token"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	"github.com/claviger/claviger/services/metering/internal/follow"
	"github.com/claviger/claviger/services/metering/internal/ingest"
	"github.com/claviger/claviger/services/metering/internal/price"
	"github.com/claviger/claviger/services/metering/internal/rpc"
	"github.com/claviger/claviger/services/metering/internal/store"
	"github.com/claviger/claviger/services/metering/internal/trace"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// The errors of a service that cannot answer now.
var (
	ErrStarting = fault.New(fault.Unavailable, "METERING_STARTING", "the usage service is not ready yet").
			Hinting("try again in a few seconds").RetryingAfter(2 * time.Second)
	ErrDatabase = fault.New(fault.Unavailable, "DATABASE_UNAVAILABLE", "the usage database does not answer").
			Hinting("try again; usage is kept by the routers meanwhile").RetryingAfter(5 * time.Second)
)

const (
	// unaryTimeout bounds a query.
	unaryTimeout = 30 * time.Second
	// prepareTimeout bounds the first try to reach the database; Run goes on trying.
	prepareTimeout = 30 * time.Second
	maxBackoff     = 10 * time.Second
)

// App is the service without its listeners.
type App struct {
	deps     Deps
	store    *store.Store
	book     *price.Book
	follower *follow.Follower
	worker   *ingest.Worker
	feed     *usage.Feed
	public   *connect.Server
	prices   *rpc.PriceFeedServer
	prepared atomic.Bool
	verified time.Time // of the worker's housekeeping alone
}

// New puts the parts together and prepares the database. If that is away, Run prepares it later, and
// until then every call is told so.
func New(ctx context.Context, d Deps) (*App, error) { return assemble(ctx, d, ingest.DefaultTiming) }

func assemble(ctx context.Context, d Deps, timing ingest.Timing) (*App, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	d.Now = clock(d.Now)
	a := &App{deps: d, store: store.New(d.DB)}
	a.book = price.NewBook(a.store, d.Now)
	var err error
	a.follower, err = follow.New(follow.Options{
		Keys: d.Keys, Key: d.ConfigKey, Environment: d.Environment, Dir: filepath.Join(d.DataDir, "config"), Log: d.Log, Now: d.Now,
	})
	if err != nil {
		return nil, fmt.Errorf("metering: %w", err)
	}
	a.feed = usage.NewFeed(a.store, d.Now, d.Log)
	a.verified = d.Now() // not at the start, when there is much else to do
	a.worker = ingest.New(ingest.Options{
		Store: a.store, Book: a.book, Config: a.follower, NATS: d.NATS, JetStream: d.JetStream, Replicas: d.Replicas,
		Timing: timing, Log: d.Log, Now: d.Now, Maintain: a.maintain, Counted: a.feed.Advance, Telemetry: d.Telemetry,
	})
	a.public, a.prices = a.server(), &rpc.PriceFeedServer{Book: a.book}
	if err := errors.Join(a.reportVersion(), a.reportPrices()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	if err := a.prepare(ctx); err != nil {
		if !sqldb.Unavailable(err) {
			return nil, fmt.Errorf("metering: %w", err)
		}
		d.Log.WarnContext(ctx, "the database is away, waiting for it", "error", err)
	}
	return a, nil
}

// reportVersion says which version of the configuration usage is judged by.
func (a *App) reportVersion() error {
	_, err := a.deps.Telemetry.Meter().Int64ObservableGauge(telemetry.MetricConfigVersion,
		metric.WithDescription("The version of the configuration."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			if view := a.follower.View(); view != nil {
				o.Observe(view.Version())
			}
			return nil
		}))
	return err
}

// reportPrices says what the price book holds and who follows it.
func (a *App) reportPrices() error {
	m := a.deps.Telemetry.Meter()
	_, err := m.Int64ObservableGauge("claviger.prices.versions", metric.WithUnit("{version}"),
		metric.WithDescription("Versions in the price book."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error { o.Observe(int64(a.book.Size())); return nil }))
	if err != nil {
		return err
	}
	_, err = m.Int64ObservableGauge("claviger.prices.watchers", metric.WithUnit("{watcher}"),
		metric.WithDescription("Routers and replicas of keys that follow the price book."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error { o.Observe(a.book.Watches()); return nil }))
	return err
}

// clock returns a clock whose times survive the database: UTC, to the microsecond.
func clock(now func() time.Time) func() time.Time {
	if now == nil {
		now = time.Now
	}
	return func() time.Time { return now().UTC().Truncate(time.Microsecond) }
}

// prepare makes the schema and the price book what they have to be. Doing it twice changes nothing.
func (a *App) prepare(ctx context.Context) error {
	if err := a.store.Migrate(ctx); err != nil {
		return err
	}
	if err := a.book.Seed(ctx); err != nil {
		return err
	}
	a.prepared.Store(true)
	return nil
}

func (a *App) server() *connect.Server {
	verifier := token.Verifier{Environment: a.deps.Environment, Keys: a.follower.TokenKey, Now: a.deps.Now}
	chain := intercept.Chain(intercept.Options{
		Log: a.deps.Log, UnaryTimeout: unaryTimeout, Telemetry: a.deps.Telemetry,
		Authenticate: intercept.Session(func(raw string) (authn.Principal, error) {
			if a.follower.View() == nil { // the keys of tokens have not come: it is not the token's fault
				return authn.Principal{}, ErrStarting
			}
			return verifier.Verify(raw)
		}),
	})
	s := connect.NewServer(append(chain, a.guard)...)
	service := usage.NewService(a.store, a.deps.Now)
	meteringv1connect.RegisterUsageServiceHandler(s, &rpc.UsageServer{Usage: service, Feed: a.feed, Now: a.deps.Now})
	meteringv1connect.RegisterTraceServiceHandler(s, &rpc.TraceServer{Traces: trace.NewService(service, a.deps.Traces, a.deps.TraceURL)})
	meteringv1connect.RegisterPriceServiceHandler(s, &rpc.PriceServer{Book: a.book})
	return s
}

// guard says in plain words what a call fails for that is not the handler's business.
func (a *App) guard(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		if !a.prepared.Load() {
			return ErrStarting
		}
		err := next(ctx, spec, stream)
		if _, known := fault.Of(err); err == nil || known || ctx.Err() != nil {
			return err
		}
		if sqldb.Unavailable(err) {
			return ErrDatabase.Because(err)
		}
		return err
	}
}

// Internal returns the server of the services for routers and keys. It belongs on the internal listener alone.
func (a *App) Internal(authenticate intercept.Authenticate) *connect.Server {
	chain := intercept.Chain(intercept.Options{
		Log: a.deps.Log, Authenticate: authenticate, UnaryTimeout: unaryTimeout, Telemetry: a.deps.Telemetry,
	})
	s := connect.NewServer(append(chain, a.guard)...)
	meteringv1connect.RegisterPriceFeedServiceHandler(s, a.prices)
	return s
}

// Public returns the server of the public services, for net/http, grpc-go or in-process transports.
func (a *App) Public() *connect.Server { return a.public }

// Run applies usage until ctx ends. Whatever is away, database, broker or keys, it waits for.
func (a *App) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.follower.Run(ctx) })
	group.Go(func() error { return a.feed.Run(ctx) })
	group.Go(func() error { return a.book.Run(ctx) })
	group.Go(func() error {
		if !a.awaitPrepared(ctx) {
			return nil
		}
		return a.worker.Run(ctx)
	})
	return group.Wait()
}

// Drain ends open watches, which go on elsewhere with their tokens. It is called when the listeners begin
// to end, since a watch does not end by itself for minutes.
func (a *App) Drain() {
	a.feed.Close()
	a.book.Close()
}

// awaitPrepared prepares the database as often as it takes. It is false when ctx ended before.
func (a *App) awaitPrepared(ctx context.Context) bool {
	for backoff := 250 * time.Millisecond; !a.prepared.Load(); backoff = min(2*backoff, maxBackoff) {
		if err := a.prepare(ctx); err != nil {
			a.deps.Log.WarnContext(ctx, "the database is not ready", "error", err)
			select {
			case <-ctx.Done():
				return false
			case <-time.After(backoff/2 + rand.N(backoff/2)): //nolint:gosec // jitter is no secret
			}
		}
	}
	return true
}

// Ready reports what questions cannot be answered for. Without the broker they can: what is in is in.
func (a *App) Ready(ctx context.Context) error {
	if !a.prepared.Load() {
		return ErrStarting
	}
	if a.follower.View() == nil {
		return errors.New("the configuration from keys has not come yet")
	}
	return a.store.Ping(ctx)
}

// verifyEvery is how often the sums are compared with their attempts.
const verifyEvery = 24 * time.Hour

// maintain removes what nobody needs any more and, once a day, looks whether the sums are right.
func (a *App) maintain(ctx context.Context) {
	log := a.deps.Log
	if err := a.store.Clean(ctx, a.deps.Now()); err != nil {
		log.WarnContext(ctx, "clean up failed", "error", err)
	}
	if a.deps.Now().Sub(a.verified) < verifyEvery {
		return
	}
	diff, err := a.store.Verify(ctx)
	switch {
	case err != nil:
		log.WarnContext(ctx, "sums not verified", "error", err)
		return
	case len(diff) > 0:
		log.ErrorContext(ctx, "sums differ from their attempts", "rows", len(diff), "first_org_id", diff[0].Key.OrgID)
	default:
		log.InfoContext(ctx, "sums verified")
	}
	a.verified = a.deps.Now()
}

// Difference is a sum that is not what its attempts give.
type Difference = store.Difference

// Verify compares all sums with the attempts they are made of. There should be no difference.
func (a *App) Verify(ctx context.Context) ([]Difference, error) { return a.store.Verify(ctx) }

// Rebuild makes all sums anew from the attempts. Usage that comes meanwhile waits.
func (a *App) Rebuild(ctx context.Context) error { return a.store.Rebuild(ctx) }

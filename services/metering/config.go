package metering

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/claviger/claviger/pkg/config"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/rpcmount"
	"github.com/claviger/claviger/pkg/serve"
	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/pkg/telemetry"
	settingsv1 "github.com/claviger/claviger/proto/gen/claviger/settings/v1"
	"github.com/claviger/claviger/services/metering/internal/trace"
)

// Deps are what the service needs, opened by whoever starts it and closed after it.
type Deps struct {
	DB        *sqldb.DB
	NATS      *nats.Conn
	JetStream js.JetStream
	// Keys reaches the ConfigService of keys.
	Keys connect.Transport
	// ConfigKey verifies the configuration.
	ConfigKey   ed25519.PublicKey
	Environment string
	// DataDir is where the last configuration is kept.
	DataDir string
	Log     *slog.Logger
	// Telemetry gets traces and measurements; nil is none.
	Telemetry *telemetry.Telemetry
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Replicas of the usage stream; zero is one for a new stream, and leaves an old one as it is.
	Replicas int
	// Traces keeps spans for GetTrace; nil keeps none.
	Traces Traces
	// TraceURL is the address of a trace in the operator's viewer, with "{trace_id}" in it; empty is none.
	TraceURL string
}

// Traces keeps the spans of the last traces, of whomever: who may see them is decided here.
type Traces = trace.Source

// Span is one step of a trace.
type Span = trace.Span

func (d *Deps) check() error {
	if d.DB == nil || d.NATS == nil || d.JetStream == nil || d.Keys == nil || len(d.ConfigKey) != ed25519.PublicKeySize ||
		d.Environment == "" || d.DataDir == "" || d.Log == nil {
		return errors.New("metering: a dependency is missing")
	}
	return nil
}

// Defaults are the settings before file, environment and command line.
func Defaults() *settingsv1.Metering {
	return &settingsv1.Metering{Environment: "prod", HttpListen: "127.0.0.1:8085", InternalListen: "127.0.0.1:8086", OpsListen: "127.0.0.1:8087", LogFormat: "json"}
}

// drain is how long calls may go on after a stop signal.
const drain = 10 * time.Second

// Run is `claviger metering`: it opens everything that the settings name, serves until ctx ends, and
// drains.
func Run(ctx context.Context, s *settingsv1.Metering, log *slog.Logger) (err error) {
	tel, err := telemetry.Start(ctx, telemetry.Options{Service: "metering", Environment: s.GetEnvironment(), Log: log})
	if err != nil {
		return config.UsageError{Err: err}
	}
	defer tel.Shutdown(ctx) // last of all, so that the end is seen, too
	log = tel.Logger(log)
	deps := Deps{
		Environment: s.GetEnvironment(), DataDir: s.GetDataDir(), Log: log, Telemetry: tel,
		Replicas: int(s.GetNats().GetReplicas()), TraceURL: s.GetTraceUrl(),
	}
	if deps.ConfigKey, err = config.LoadEd25519Public(s.GetConfigPublicKeyFile()); err != nil {
		return err
	}
	if deps.DB, err = sqldb.Open(ctx, s.GetDatabase().GetUrl(), int(s.GetDatabase().GetMaxConnections())); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, deps.DB.Close()) }()
	identity, err := config.TLS(s.GetTls().GetCertFile(), s.GetTls().GetKeyFile(), s.GetTls().GetCaFile())
	if err != nil {
		return err
	}
	identity.Log = log
	keys, err := serve.Dial(s.GetKeysAddress(), identity.Client(s.GetKeysAddress()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	deps.Keys = intercept.NewTransport(tel, rpcmount.NewTransport(keys))
	if deps.NATS, deps.JetStream, err = connectNATS(ctx, s.GetNats(), log); err != nil {
		return err
	}
	defer deps.NATS.Close()
	app, err := New(ctx, deps)
	if err != nil {
		return err
	}
	return app.listen(ctx, s, identity)
}

func connectNATS(ctx context.Context, n *settingsv1.Nats, log *slog.Logger) (*nats.Conn, js.JetStream, error) {
	o := jetstream.Options{URL: n.GetUrl(), Name: "claviger-metering", CredentialsFile: n.GetCredentialsFile(), Log: log}
	if n.GetTls() != nil {
		identity, err := config.TLS(n.GetTls().GetCertFile(), n.GetTls().GetKeyFile(), n.GetTls().GetCaFile())
		if err != nil {
			return nil, nil, err
		}
		identity.Log = log
		o.TLS = identity.Client("") // the client says which of its servers it calls
	}
	return jetstream.Connect(ctx, o)
}

// listen serves until ctx ends. Calls under way go on for a while, and only after them the work in the
// background stops.
func (a *App) listen(ctx context.Context, s *settingsv1.Metering, identity *config.Identity) error {
	public, err := serve.Listen(ctx, "the public API", s.GetHttpListen())
	if err != nil {
		return err
	}
	ops, err := serve.Listen(ctx, "operations", s.GetOpsListen())
	if err != nil {
		return errors.Join(err, public.Close())
	}
	internal, err := a.listenInternal(ctx, s, identity)
	if err != nil {
		return errors.Join(err, public.Close(), ops.Close())
	}
	log, metrics := a.deps.Log, map[string]http.Handler{"GET /metrics": telemetry.Metrics(a.deps.Telemetry)}
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var group errgroup.Group
	group.Go(func() error { return a.Run(working) })
	group.Go(func() error {
		defer stop()
		return serve.Until(ctx, log, drain, a.Drain, append(internal,
			serve.OnHTTP("the public API", public, serve.HTTP(serve.Mux(serve.DefaultMessageBytes, nil, a.Public()), nil, log)),
			serve.OnHTTP("operations", ops, serve.HTTP(serve.Ops(a.Ready, metrics), nil, log)))...)
	})
	return group.Wait()
}

// listenInternal opens the listener for our own services, if there is to be one.
func (a *App) listenInternal(ctx context.Context, s *settingsv1.Metering, identity *config.Identity) ([]serve.Endpoint, error) {
	if s.GetInternalListen() == "" {
		return nil, nil
	}
	ln, err := serve.Listen(ctx, "our own services", s.GetInternalListen())
	if err != nil {
		return nil, err
	}
	server := serve.GRPC(serve.DefaultMessageBytes, identity.Server(), a.Internal(intercept.MutualTLS(s.GetEnvironment())))
	return []serve.Endpoint{serve.OnGRPC("our own services", ln, server)}, nil
}

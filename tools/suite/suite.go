// Package suite runs the whole product in one process: SQLite, NATS without a network, a keyset file
// in place of Vault, and calls between the services that never leave the process.
//
// It is for trying out, for development and for tests. It promises the same behaviour on its public
// listeners as the services have on their own, and that what it answered survives a kill. It does not
// protect credentials from whoever can read its folder, so it listens on loopback only.
package suite

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/egress"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/serve"
	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/pkg/transit"
	"github.com/claviger/claviger/services/keys"
	"github.com/claviger/claviger/services/metering"
	"github.com/claviger/claviger/services/router"
	"github.com/claviger/claviger/tools/seed"
)

// Environment is the name of the installation, bound into everything that is sealed or signed.
const Environment = "dev"

// routerName is the name of the only router.
const routerName = "router-1"

// OperatorEmail is the address of the operator's account.
const OperatorEmail = "operator@claviger.local"

// messageBytes bounds a message on the public listeners: prompts with pictures are large.
const messageBytes = 24 << 20

// Options say what a suite is to be.
type Options struct {
	// Dir is the data folder. It is made if it does not exist, and belongs to one process at a time.
	Dir string
	// EgressAllow lists private addresses that may be called, as "address:port".
	EgressAllow []string
	// ProviderURLs replace the addresses of providers, by slug.
	ProviderURLs map[string]string
	// PublicURL is where providers reach the public HTTP listener from the internet, through a tunnel that
	// forwards /hooks/. They are then asked to tell of the end of media jobs there; empty asks nobody.
	PublicURL string
	Log       *slog.Logger
}

// ErrPublicURL means that the public URL is none that a provider could call.
var ErrPublicURL = errors.New("the public URL must be https://host, without a query")

// checkPublicURL holds it to the rule of the router's setting media.public_url.
func checkPublicURL(given string) error {
	if given == "" {
		return nil
	}
	u, err := url.Parse(given)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.ContainsAny(given, "?#") {
		return fmt.Errorf("%q: %w", given, ErrPublicURL)
	}
	return nil
}

// suite is the opened whole. Closing goes in the reverse order of opening.
type suite struct {
	keys     *keys.App
	metering *metering.App
	router   *router.App
	webhooks bool // whether providers are asked for them
	operator seed.Login
	seedKey  []byte
	log      *slog.Logger
	reports  reports
	closers  []func() error
}

// secrets are what the folder "keys" holds.
type secrets struct {
	keyset   *transit.Keyset
	pepper   secret.Text
	config   ed25519.PrivateKey
	token    ed25519.PrivateKey
	operator secret.Text
	seed     secret.Text
}

// open opens everything and starts nothing. own are the addresses of its listeners, which no provider
// may be called at.
func open(ctx context.Context, o Options, own []netip.AddrPort) (_ *suite, err error) {
	s := &suite{log: o.Log, webhooks: o.PublicURL != ""}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := checkPublicURL(o.PublicURL); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(o.Dir, "keys"), 0o700); err != nil {
		return nil, err
	}
	unlock, err := lock(filepath.Join(o.Dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("data folder %s: %w", o.Dir, err)
	}
	s.closers = append(s.closers, unlock)
	if err := s.openReports(ctx); err != nil {
		return nil, fmt.Errorf("start telemetry: %w", err)
	}
	private, err := openSecrets(filepath.Join(o.Dir, "keys"))
	if err != nil {
		return nil, err
	}
	s.operator = seed.Login{Email: OperatorEmail, Password: private.operator}
	s.seedKey = []byte(private.seed.Reveal())

	broker, err := jetstream.Embedded(filepath.Join(o.Dir, "nats"), jetstream.EmbeddedOptions{Log: o.Log.With("part", "nats")})
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, func() error { broker.Shutdown(); broker.WaitForShutdown(); return nil })
	guard, err := egress.New(egress.Options{Allow: o.EgressAllow, Deny: own})
	if err != nil {
		return nil, err
	}
	if err := s.openKeys(ctx, o, private, guard); err != nil {
		return nil, fmt.Errorf("open keys: %w", err)
	}
	if err := s.openMetering(ctx, o, private, broker); err != nil {
		return nil, fmt.Errorf("open metering: %w", err)
	}
	if err := s.openRouter(ctx, o, private, broker, guard); err != nil {
		return nil, fmt.Errorf("open router: %w", err)
	}
	return s, nil
}

func openSecrets(dir string) (*secrets, error) {
	s := &secrets{}
	var err error
	if s.keyset, err = transit.OpenKeyset(filepath.Join(dir, "transit.json"), true); err != nil {
		return nil, err
	}
	if s.pepper, err = transit.LocalPepper(filepath.Join(dir, "pepper"), true); err != nil {
		return nil, err
	}
	if s.config, err = signingKey(filepath.Join(dir, "config-signing.pem")); err != nil {
		return nil, err
	}
	if s.token, err = signingKey(filepath.Join(dir, "token-signing.pem")); err != nil {
		return nil, err
	}
	if s.operator, err = randomText(filepath.Join(dir, "operator.password")); err != nil {
		return nil, err
	}
	s.seed, err = randomText(filepath.Join(dir, "seed.key"))
	return s, err
}

func (s *secrets) readPepper(context.Context) (secret.Text, error) { return s.pepper, nil }

// database opens the SQLite file of a service.
func (s *suite) database(ctx context.Context, o Options, name string) (*sqldb.DB, error) {
	db, err := sqldb.Open(ctx, "sqlite:"+filepath.Join(o.Dir, name+".db"), 0)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, db.Close)
	return db, nil
}

// connection is a service's own connection to the broker.
func (s *suite) connection(ctx context.Context, broker *server.Server, name string) (*nats.Conn, natsjs.JetStream, error) {
	nc, js, err := jetstream.ConnectInProcess(ctx, broker, jetstream.Options{Name: name, Log: s.log.With("service", name)})
	if err != nil {
		return nil, nil, err
	}
	s.closers = append(s.closers, func() error { nc.Close(); return nil })
	return nc, js, nil
}

func (s *suite) openKeys(ctx context.Context, o Options, private *secrets, guard *egress.Guard) error {
	db, err := s.database(ctx, o, "keys")
	if err != nil {
		return err
	}
	s.keys, err = keys.New(ctx, keys.Deps{
		DB: db, Sealer: private.keyset.Sealer(), Pepper: private.readPepper, Guard: guard,
		ConfigKey: private.config, TokenKey: private.token,
		Metering: later{func() connect.Transport { return s.priceFeed("keys", "keys-1", s.reports.keys) }}, DataDir: filepath.Join(o.Dir, "keys-data"),
		Environment: Environment, Log: s.logOf("keys", s.reports.keys), Telemetry: s.reports.keys, Now: time.Now,
	})
	if err != nil {
		return err
	}
	return s.keys.BootstrapOperator(ctx, s.operator.Email, s.operator.Password)
}

// configFeed is the internal API of keys for one of our services.
func (s *suite) configFeed(service, instance string, report *telemetry.Telemetry) connect.Transport {
	as := authn.Principal{Kind: authn.Service, Service: service, Instance: instance}
	return intercept.NewTransport(report, inProcess{connectinprocess.New(s.keys.Internal(intercept.Fixed(as)))})
}

// priceFeed is the internal API of metering for one of our services.
func (s *suite) priceFeed(service, instance string, report *telemetry.Telemetry) connect.Transport {
	as := authn.Principal{Kind: authn.Service, Service: service, Instance: instance}
	return intercept.NewTransport(report, inProcess{connectinprocess.New(s.metering.Internal(intercept.Fixed(as)))})
}

func (s *suite) openMetering(ctx context.Context, o Options, private *secrets, broker *server.Server) error {
	db, err := s.database(ctx, o, "metering")
	if err != nil {
		return err
	}
	nc, js, err := s.connection(ctx, broker, "metering")
	if err != nil {
		return err
	}
	s.metering, err = metering.New(ctx, metering.Deps{
		DB: db, NATS: nc, JetStream: js, Keys: s.configFeed("metering", "metering-1", s.reports.metering), ConfigKey: public(private.config),
		Environment: Environment, DataDir: filepath.Join(o.Dir, "metering"), Now: time.Now,
		Log: s.logOf("metering", s.reports.metering), Telemetry: s.reports.metering, Traces: traces{s.reports.memory},
	})
	return err
}

func (s *suite) openRouter(ctx context.Context, o Options, private *secrets, broker *server.Server, guard *egress.Guard) error {
	nc, js, err := s.connection(ctx, broker, "router")
	if err != nil {
		return err
	}
	s.router, err = router.New(ctx, router.Deps{
		Environment: Environment, Name: routerName, DataDir: filepath.Join(o.Dir, "router"),
		Keys: s.configFeed("router", routerName, s.reports.router), ConfigKey: public(private.config),
		Metering: s.priceFeed("router", routerName, s.reports.router),
		Opener:   private.keyset.Opener(), Pepper: private.readPepper,
		NATS: nc, JetStream: js, Egress: guard, BaseURLs: o.ProviderURLs,
		Media: router.Media{PublicURL: strings.TrimSuffix(o.PublicURL, "/")},
		Log:   s.logOf("router", s.reports.router), Telemetry: s.reports.router, Now: time.Now,
	})
	return err
}

func public(key ed25519.PrivateKey) ed25519.PublicKey {
	p, _ := key.Public().(ed25519.PublicKey)
	return p
}

// handler serves the public APIs of all services, the edges of the router under /v1/, its webhooks under
// /hooks/ if they are asked for, and the admin on one origin. The router's callers bring an API key and no
// cookie, from wherever they are.
func (s *suite) handler() http.Handler {
	edges := http.NewServeMux()
	open := []string{"/v1/"}
	if s.webhooks {
		open = append(open, "/hooks/")
	}
	routes := s.router.HTTP()
	for _, path := range open {
		edges.Handle(path, routes)
	}
	edges.Handle("/", s.keys.Web())
	mux := serve.Mux(messageBytes, edges, s.keys.Public(), s.metering.Public(), s.router.Public())
	for _, name := range serve.ServiceNames(s.router.Public()) {
		open = append(open, "/"+name+"/")
	}
	return s.keys.Protect(mux, open...)
}

// ready says what is still missing.
func (s *suite) ready(ctx context.Context) error {
	for name, ready := range map[string]serve.Ready{
		"keys": s.keys.Ready, "metering": s.metering.Ready, "router": s.router.Ready,
	} {
		if err := ready(ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (s *suite) close() error {
	var all error
	for _, closer := range slices.Backward(s.closers) {
		all = errors.Join(all, closer())
	}
	s.closers = nil
	return all
}

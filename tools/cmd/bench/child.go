package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/egress"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/rpcmount"
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

const (
	environment   = "bench"
	providerKey   = "sk-bench-0123456789abcdef"
	organization  = "bench"
	ownerEmail    = "owner@bench.example"
	ownerPassword = "another long password"
)

// ready is the line that a child prints when it serves.
type ready struct {
	Addr string `json:"addr"`
	// Keys is where people reach keys; Addr is for routers.
	Keys   string `json:"keys,omitempty"`
	NATS   string `json:"nats,omitempty"`
	APIKey string `json:"api_key,omitempty"`
}

func (r ready) print() error { return json.NewEncoder(os.Stdout).Encode(r) } //nolint:gosec // to our own parent, which calls with it

// child runs one of the processes until standard input ends: so it never outlives its parent.
func child(ctx context.Context, name string, args []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	switch {
	case name == "provider":
		return provider(ctx)
	case name == "proxy" && len(args) == 1:
		return proxy(ctx, args[0], log)
	case name == "backplane" && len(args) == 2:
		return backplane(ctx, args[0], args[1], log)
	case name == "collector":
		return collector(ctx, log)
	case (name == "router" || name == "quiet") && len(args) == 5:
		return routerChild(ctx, name, args[0], args[1], args[2], args[3], args[4], log)
	}
	return errors.New("unknown child")
}

func provider(ctx context.Context) error {
	p, err := llmtest.NewProvider(llmtest.WithKeys("openai", providerKey), llmtest.WithLedgerLimit(100))
	if err != nil {
		return err
	}
	ln, err := serve.Listen(ctx, "the scripted provider", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := (ready{Addr: ln.Addr().String()}).print(); err != nil {
		return err
	}
	return llmtest.Serve(ctx, ln, p)
}

// proxy is the yardstick: the standard library's reverse proxy, flushing at once, with enough idle
// connections.
func proxy(ctx context.Context, provider string, log *slog.Logger) error {
	target, err := url.Parse("http://" + provider)
	if err != nil {
		return err
	}
	handler := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		FlushInterval: -1,
		Transport:     &http.Transport{MaxIdleConns: 4096, MaxIdleConnsPerHost: 4096, DisableCompression: true},
		ErrorLog:      slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	ln, err := serve.Listen(ctx, "the proxy", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := (ready{Addr: ln.Addr().String()}).print(); err != nil {
		return err
	}
	// Without full duplex a provider that answers while the proxy still looks for the end of the
	// caller's body makes the server close that body, and the transport cut the answer.
	duplex := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			log.WarnContext(r.Context(), "no full duplex", "error", err)
		}
		handler.ServeHTTP(w, r)
	})
	return serve.Until(ctx, log, time.Second, nil, serve.OnHTTP("proxy", ln, serve.HTTP(duplex, nil, log)))
}

// collector takes whatever an exporter sends, and says on GET how many bytes of traces have come: a
// comparison with a router that exports nothing must not go unnoticed.
func collector(ctx context.Context, log *slog.Logger) error {
	var traces atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/{signal}", func(_ http.ResponseWriter, r *http.Request) {
		if n, _ := io.Copy(io.Discard, r.Body); r.PathValue("signal") == "traces" {
			traces.Add(n)
		}
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, traces.Load()) })
	ln, err := serve.Listen(ctx, "the collector", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := (ready{Addr: ln.Addr().String()}).print(); err != nil {
		return err
	}
	return serve.Until(ctx, log, time.Second, nil, serve.OnHTTP("collector", ln, serve.HTTP(mux, nil, log)))
}

// backplane is everything that the router needs and that is not measured: keys, metering and NATS.
func backplane(ctx context.Context, dir, provider string, log *slog.Logger) error {
	broker, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, JetStream: true, StoreDir: filepath.Join(dir, "nats"), SyncAlways: true, NoSigs: true})
	if err != nil {
		return err
	}
	broker.Start()
	defer broker.Shutdown()
	if !broker.ReadyForConnections(10 * time.Second) {
		return errors.New("NATS does not start")
	}
	keyset, pepper, configKey, err := sharedSecrets(dir)
	if err != nil {
		return err
	}
	_, tokenKey, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	guard, err := egress.New(egress.Options{Allow: []string{provider}})
	if err != nil {
		return err
	}
	keysDB, err := sqldb.Open(ctx, "sqlite:"+filepath.Join(dir, "keys.db"), 8)
	if err != nil {
		return err
	}
	defer func() { _ = keysDB.Close() }()
	control, err := keys.New(ctx, keys.Deps{
		DB: keysDB, Sealer: keyset.Sealer(), Pepper: func(context.Context) (secret.Text, error) { return pepper, nil }, Guard: guard,
		ConfigKey: configKey, TokenKey: tokenKey, Environment: environment, Log: log,
	})
	if err != nil {
		return err
	}
	nc, js, err := jetstream.Connect(ctx, jetstream.Options{URL: broker.ClientURL(), Name: "metering"})
	if err != nil {
		return err
	}
	defer nc.Close()
	meteringDB, err := sqldb.Open(ctx, "sqlite:"+filepath.Join(dir, "metering.db"), 8)
	if err != nil {
		return err
	}
	defer func() { _ = meteringDB.Close() }()
	usage, err := metering.New(ctx, metering.Deps{
		DB: meteringDB, NATS: nc, JetStream: js, Keys: connectinprocess.New(control.Internal(fixed("metering"))), ConfigKey: publicOf(configKey),
		Environment: environment, DataDir: dir, Log: log, Now: time.Now,
	})
	if err != nil {
		return err
	}
	ln, err := serve.Listen(ctx, "keys", "127.0.0.1:0")
	if err != nil {
		return err
	}
	public, err := serve.Listen(ctx, "the public listener of keys", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.Go(func() error { return control.Run(ctx) })
	group.Go(func() error { return usage.Run(ctx) })
	group.Go(func() error {
		return serve.Until(ctx, log, time.Second, nil,
			serve.OnGRPC("keys", ln, serve.GRPC(serve.DefaultMessageBytes, nil, control.Internal(fixed("router")))),
			serve.OnHTTP("public keys", public, serve.HTTP(control.HTTP(nil), nil, log)))
	})
	apiKey, err := fill(ctx, control, dir, provider)
	if err != nil {
		return err
	}
	if err := (ready{Addr: ln.Addr().String(), Keys: public.Addr().String(), NATS: broker.ClientURL(), APIKey: apiKey}).print(); err != nil {
		return err
	}
	return group.Wait()
}

// fixed lets in whoever calls as a service. It has no certificate that would name its process: it does so itself.
func fixed(service string) intercept.Authenticate {
	return intercept.Fixed(authn.Principal{Kind: authn.Service, Service: service})
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey {
	public, _ := key.Public().(ed25519.PublicKey)
	return public
}

// sharedSecrets are what keys and router both hold, made by whoever comes first.
func sharedSecrets(dir string) (*transit.Keyset, secret.Text, ed25519.PrivateKey, error) {
	keyset, err := transit.OpenKeyset(filepath.Join(dir, "keyset"), true)
	if err != nil {
		return nil, secret.Text{}, nil, err
	}
	pepper, err := transit.LocalPepper(filepath.Join(dir, "pepper"), true)
	if err != nil {
		return nil, secret.Text{}, nil, err
	}
	path := filepath.Join(dir, "config.seed")
	raw, err := os.ReadFile(path) //nolint:gosec // our own folder
	if errors.Is(err, os.ErrNotExist) {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			return nil, secret.Text{}, nil, err
		}
		raw = key.Seed()
		if err := os.WriteFile(path, raw, 0o600); err != nil { //nolint:gosec // our own folder
			return nil, secret.Text{}, nil, err
		}
	} else if err != nil {
		return nil, secret.Text{}, nil, err
	}
	return keyset, pepper, ed25519.NewKeyFromSeed(raw), nil
}

// fill makes an organization with one credential and one API key, through the public API.
func fill(ctx context.Context, control *keys.App, dir, provider string) (apiKey string, err error) {
	operator := seed.Login{Email: "operator@bench.example", Password: secret.New("a long enough password")}
	if err := control.BootstrapOperator(ctx, operator.Email, operator.Password); err != nil {
		return "", err
	}
	err = seed.Apply(ctx, seed.Installation{Keys: connectinprocess.New(control.Public()), Operator: operator, Dir: dir, FingerprintKey: []byte("a fingerprint key for the bench only")}, &seed.Document{
		Organization: seed.Organization{Slug: organization, Name: "Bench"},
		Owner:        seed.Owner{Email: ownerEmail, Password: secret.New(ownerPassword)},
		Credentials:  []seed.Credential{{Provider: "openai", Label: "main", Secret: secret.New(providerKey), BaseURL: "http://" + provider + "/openai/v1", Priority: 1}},
		APIKeys:      []seed.APIKey{{Name: "bench", WriteTo: "bench.key"}},
	}, func(seed.Change) {})
	if err != nil {
		return "", err
	}
	raw, err := os.ReadFile(filepath.Join(dir, "bench.key")) //nolint:gosec // our own folder
	return string(raw), err
}

// routerChild is the real router, on the same journal, configuration feed and NATS as in production. The
// router reports to a collector as it does there; the one named "quiet" measures and reports nothing.
func routerChild(ctx context.Context, name, dir, keysAddr, natsURL, provider, collector string, log *slog.Logger) error {
	var told *telemetry.Telemetry
	if name == "router" {
		if err := os.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+collector); err != nil {
			return err
		}
		var err error
		if told, err = telemetry.Start(ctx, telemetry.Options{Service: "router", Environment: environment, Instance: name, Log: log}); err != nil {
			return err
		}
		defer told.Shutdown(ctx)
		log = told.Logger(log)
	}
	keyset, pepper, configKey, err := sharedSecrets(dir)
	if err != nil {
		return err
	}
	cc, err := grpc.NewClient(keysAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = cc.Close() }()
	nc, js, err := jetstream.Connect(ctx, jetstream.Options{URL: natsURL, Name: name})
	if err != nil {
		return err
	}
	defer nc.Close()
	guard, err := egress.New(egress.Options{Allow: []string{provider}})
	if err != nil {
		return err
	}
	app, err := router.New(ctx, router.Deps{
		Environment: environment, Name: name, DataDir: filepath.Join(dir, name), Keys: intercept.NewTransport(told, rpcmount.NewTransport(cc)), ConfigKey: publicOf(configKey),
		Opener: keyset.Opener(), Pepper: func(context.Context) (secret.Text, error) { return pepper, nil },
		NATS: nc, JetStream: js, Egress: guard, Log: log, Now: time.Now, Telemetry: told,
	})
	if err != nil {
		return err
	}
	ln, err := serve.Listen(ctx, "the router", "127.0.0.1:0")
	if err != nil {
		return err
	}
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	var group errgroup.Group
	group.Go(func() error { return app.Run(working) })
	group.Go(func() error {
		defer stop()
		gone, cancel := context.WithCancel(ctx)
		cancel()
		defer app.Drain(gone) // what is still open is cut: the measurement is over
		return serve.Until(ctx, log, time.Second, nil,
			serve.OnHTTP("router", ln, serve.HTTP(serve.Mux(app.MaxMessageBytes(), app.HTTP(), []*connect.Server{app.Public()}...), nil, log)))
	})
	for tick := time.NewTicker(10 * time.Millisecond); app.Ready(ctx) != nil && ctx.Err() == nil; {
		<-tick.C
	}
	if err := (ready{Addr: ln.Addr().String()}).print(); err != nil {
		return err
	}
	return group.Wait()
}

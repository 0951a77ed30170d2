// Package meteringtest runs the usage service over a database that is full, for measurements: Fill puts in
// what a busy organization leaves behind in months, Start serves it as in production.
package meteringtest

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/jetstream/jetstreamtest"
	"github.com/claviger/claviger/pkg/serve"
	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/services/metering"
	"github.com/claviger/claviger/services/metering/internal/follow/followtest"
)

// Server is a running service.
type Server struct {
	// URL is where the public API is.
	URL string

	keys *followtest.Keys
}

const readyTimeout = 30 * time.Second

// Start runs the service on db until the test ends. Its keys know no organization, so nothing can be
// applied; it answers questions.
func Start(tb testing.TB, db *sqldb.DB) *Server {
	tb.Helper()
	log := slog.New(slog.DiscardHandler)
	s := &Server{keys: followtest.Start(tb)}
	conn, js := jetstreamtest.Start(tb).Connect()
	app, err := metering.New(tb.Context(), metering.Deps{
		DB: db, NATS: conn, JetStream: js, Keys: s.keys.Transport(), ConfigKey: s.keys.Public(),
		Environment: followtest.Environment, DataDir: tb.TempDir(), Log: log,
	})
	if err != nil {
		tb.Fatalf("metering.New: %v", err)
	}
	listener, err := serve.Listen(tb.Context(), "the public API", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s.URL = "http://" + listener.Addr().String()
	ctx, stop := context.WithCancel(context.WithoutCancel(tb.Context()))
	var running sync.WaitGroup
	running.Go(func() { _ = app.Run(ctx) })
	running.Go(func() {
		_ = serve.Until(ctx, log, time.Second, app.Drain,
			serve.OnHTTP("the public API", listener, serve.HTTP(serve.Mux(serve.DefaultMessageBytes, nil, app.Public()), nil, log)))
	})
	tb.Cleanup(func() { stop(); running.Wait() })
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(readyTimeout); app.Ready(tb.Context()) != nil; {
		select {
		case <-tick.C:
		case <-deadline:
			tb.Fatalf("not ready: %v", app.Ready(tb.Context()))
		}
	}
	return s
}

// Owner returns an access token of an owner of the organization, good for half an hour.
func (s *Server) Owner(orgID, memberID string) string {
	return s.keys.TokenFor(30*time.Minute, orgID, "acme", memberID, authn.Owner)
}

// Bearer sends an access token with every call.
func Bearer(token string) connect.ClientInterceptor {
	return func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok {
				info.RequestHeader().Set("Authorization", "Bearer "+token)
			}
			return next(ctx, spec)
		}
	}
}

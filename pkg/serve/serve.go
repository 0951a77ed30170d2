// Package serve puts Connect servers on listeners: net/http for Connect, gRPC-Web, gRPC and plain
// HTTP edges, grpc-go for callers that stream a lot, and a small one for operations. Bounds on
// headers, streams and times are set here once; so is the order of a shutdown.
package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // callers may compress requests, as every gRPC server allows
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/claviger/claviger/pkg/rpcmount"
)

// DefaultMessageBytes bounds a message where a service sets no other bound.
const DefaultMessageBytes = 4 << 20

// maxStreams bounds the HTTP/2 streams of one connection. net/http's 250 would make further calls
// of a busy client wait in silence.
const maxStreams = 10_000

// Mux mounts servers with health and reflection, and edges for everything else (nil is 404).
func Mux(maxMessageBytes int, edges http.Handler, servers ...*connect.Server) *http.ServeMux {
	mux, calls := http.NewServeMux(), http.NewServeMux()
	for _, s := range servers {
		connecthttp.Mount(calls, s, connecthttp.WithReadMaxBytes(maxMessageBytes), connecthttp.WithSendMaxBytes(0))
	}
	names := ServiceNames(servers...)
	for _, name := range names {
		mux.Handle("/"+name+"/", timedWrites(calls))
	}
	mux.Handle(grpchealth.NewHandler(grpchealth.NewStaticChecker(names...)))
	// grpc-go's reflection names itself and health, too, and callers of both stacks see the same.
	reflector := grpcreflect.NewStaticReflector(append(slices.Clone(names),
		grpchealth.HealthV1ServiceName, grpcreflect.ReflectV1ServiceName, grpcreflect.ReflectV1AlphaServiceName)...)
	mux.Handle(grpcreflect.NewHandlerV1(reflector))
	mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector))
	if edges != nil {
		mux.Handle("/", edges)
	}
	return mux
}

// ServiceNames lists the services of servers, sorted.
func ServiceNames(servers ...*connect.Server) []string {
	var names []string
	for _, s := range servers {
		for spec := range s.Specs() {
			name, _, _ := strings.Cut(strings.TrimPrefix(spec.Procedure, "/"), "/")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// HTTP returns a server for h with our bounds. There is no write timeout: it would kill streams;
// whoever streams sets deadlines per write.
func HTTP(h http.Handler, tlsConfig *tls.Config, log *slog.Logger) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(tlsConfig == nil)
	return &http.Server{
		Handler:           boundBodies(h),
		TLSConfig:         tlsConfig,
		Protocols:         protocols,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    32 << 10,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

const (
	// bodyTime is how long a caller may take to send a whole body.
	bodyTime = 60 * time.Second
	// restTime is how long one that has its answer may take to send the rest.
	restTime = 5 * time.Second
)

// boundBodies cuts off callers that do not send what they announced: on HTTP/1 net/http waits for the
// rest of a body before it answers. A ReadTimeout would do so too, and end long answers with it. A
// body without an announced length may belong to a call that reads while it answers: only what is
// left of it after the answer is bounded.
func boundBodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 || r.Body == nil || r.Body == http.NoBody {
			next.ServeHTTP(w, r)
			return
		}
		body := &timedBody{ReadCloser: r.Body, rc: http.NewResponseController(w), left: r.ContentLength}
		if body.left > 0 {
			_ = body.rc.SetReadDeadline(time.Now().Add(bodyTime)) // not every writer can
		}
		// A copy: net/http looks at its own request's body to decide how to end the connection.
		timed := *r
		timed.Body = body
		defer func() {
			if !body.whole {
				_ = body.rc.SetReadDeadline(time.Now().Add(restTime)) // not every writer can
			}
		}()
		next.ServeHTTP(w, &timed)
	})
}

// timedBody lifts the deadline once the body is whole: an answer may take long.
type timedBody struct {
	io.ReadCloser
	rc    *http.ResponseController
	left  int64 // of the announced length, negative if there is none
	whole bool
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if !b.whole && (b.left == 0 || errors.Is(err, io.EOF)) {
		b.whole = true
		_ = b.rc.SetReadDeadline(time.Time{}) // not every writer can
	}
	return n, err
}

// GRPC returns a grpc-go server with servers, health and reflection.
func GRPC(maxMessageBytes int, tlsConfig *tls.Config, servers ...*connect.Server) *grpc.Server {
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(32 << 10),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 60 * time.Second, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 20 * time.Second, PermitWithoutStream: true}),
	}
	if tlsConfig != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(tlsConfig)))
	}
	g := grpc.NewServer(options...)
	for _, s := range servers {
		rpcmount.Mount(g, s)
	}
	checker := health.NewServer()
	for _, name := range ServiceNames(servers...) {
		checker.SetServingStatus(name, healthpb.HealthCheckResponse_SERVING)
	}
	healthpb.RegisterHealthServer(g, checker)
	reflection.Register(g)
	return g
}

// Ready reports whether a service can do its work, and what it waits for if not.
type Ready func(ctx context.Context) error

// Ops returns the handler of the ops listener: /healthz, /readyz and extra paths.
func Ops(ready Ready, extra map[string]http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
		defer cancel()
		if err := ready(ctx); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ready\n"))
	})
	for path, h := range extra {
		mux.Handle(path, h)
	}
	return mux
}

// Endpoint is something that serves until it is told to stop.
type Endpoint struct {
	Name string
	Addr net.Addr
	// Serve returns nil after a shutdown.
	Serve func() error
	// Shutdown stops accepting and waits for calls under way until ctx ends, then cuts them.
	Shutdown func(ctx context.Context)
}

// OnHTTP is an endpoint of server on ln.
func OnHTTP(name string, ln net.Listener, server *http.Server) Endpoint {
	return Endpoint{
		Name: name, Addr: ln.Addr(),
		Serve: func() error {
			var err error
			if server.TLSConfig != nil {
				err = server.ServeTLS(ln, "", "")
			} else {
				err = server.Serve(ln)
			}
			if errors.Is(err, http.ErrServerClosed) {
				return nil
			}
			return err
		},
		Shutdown: func(ctx context.Context) {
			if server.Shutdown(ctx) != nil {
				_ = server.Close() // the time is up: what is left is cut
			}
		},
	}
}

// OnGRPC is an endpoint of server on ln.
func OnGRPC(name string, ln net.Listener, server *grpc.Server) Endpoint {
	return Endpoint{
		Name: name, Addr: ln.Addr(),
		Serve: func() error { return server.Serve(ln) },
		Shutdown: func(ctx context.Context) {
			done := make(chan struct{})
			go func() { server.GracefulStop(); close(done) }()
			select {
			case <-done:
			case <-ctx.Done():
				server.Stop()
				<-done
			}
		},
	}
}

// Listen opens a TCP listener; the error names what it was for.
func Listen(ctx context.Context, purpose, addr string) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", purpose, err)
	}
	return ln, nil
}

// Until serves endpoints until ctx ends or one of them fails, then shuts all down within drain.
// onDrain, if any, is called first, so that a service can say that it is not ready any more.
func Until(ctx context.Context, log *slog.Logger, drain time.Duration, onDrain func(), endpoints ...Endpoint) error {
	group, ctx := errgroup.WithContext(ctx)
	var stopping atomic.Bool
	for _, e := range endpoints {
		log.InfoContext(ctx, "listening", "for", e.Name, "address", e.Addr.String())
		group.Go(func() error {
			if err := e.Serve(); err != nil && !stopping.Load() {
				return fmt.Errorf("serve %s: %w", e.Name, err)
			}
			return nil
		})
	}
	group.Go(func() error {
		<-ctx.Done()
		stopping.Store(true)
		if onDrain != nil {
			onDrain()
		}
		drainCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		var all errgroup.Group
		for _, e := range endpoints {
			all.Go(func() error { e.Shutdown(drainCtx); return nil })
		}
		return all.Wait()
	})
	return group.Wait()
}

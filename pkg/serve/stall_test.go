package serve_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/claviger/claviger/pkg/rpcmount"
	"github.com/claviger/claviger/pkg/serve"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/proto/gen/claviger/router/v1/routerv1connect"
)

// endless sends until it cannot, and tells when that was.
type endless struct {
	echo

	mu    sync.Mutex
	sent  int
	ended chan time.Time
}

func (e *endless) StreamCompletion(_ context.Context, _ *routerv1.StreamCompletionRequest, out routerv1connect.CompletionServiceStreamCompletionServerStream) error {
	defer func() { e.ended <- time.Now() }()
	for {
		if err := out.Send(&routerv1.StreamCompletionResponse{Event: &routerv1.StreamCompletionResponse_Text{Text: strings.Repeat("x", 1000)}}); err != nil {
			return err
		}
		e.mu.Lock()
		e.sent++
		e.mu.Unlock()
	}
}

// pipes is a listener in memory.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipes) dial(context.Context, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours, nil
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// TestACallerWhoStopsReadingIsLeft on both stacks: what is sent ahead is bounded, and the handler ends.
func TestACallerWhoStopsReadingIsLeft(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		serve func(l net.Listener, s *connect.Server) (stop func())
		dial  func(t *testing.T, l *pipes) (connect.Transport, func())
		after time.Duration
	}{
		"grpc-go": {
			func(l net.Listener, s *connect.Server) func() {
				g := serve.GRPC(1<<20, nil, s)
				go func() { _ = g.Serve(l) }()
				return g.Stop
			},
			func(t *testing.T, l *pipes) (connect.Transport, func()) {
				t.Helper()
				cc, err := grpc.NewClient("passthrough:///memory", grpc.WithContextDialer(l.dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
				if err != nil {
					t.Fatal(err)
				}
				return rpcmount.NewTransport(cc), func() { _ = cc.Close() }
			},
			60 * time.Second,
		},
		"net/http": {
			func(l net.Listener, s *connect.Server) func() {
				h := serve.HTTP(serve.Mux(1<<20, nil, s), nil, slog.New(slog.DiscardHandler))
				go func() { _ = h.Serve(l) }()
				return func() { _ = h.Close() }
			},
			func(t *testing.T, l *pipes) (connect.Transport, func()) {
				t.Helper()
				transport := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return l.dial(ctx, addr) }}
				return connecthttp.NewTransport(&http.Client{Transport: transport}, "http://memory"), transport.CloseIdleConnections
			},
			30 * time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				handler := &endless{ended: make(chan time.Time, 1)}
				server := connect.NewServer()
				routerv1connect.RegisterCompletionServiceHandler(server, handler)
				l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
				stop := test.serve(l, server)
				transport, hangUp := test.dial(t, l)
				ctx, cancel := context.WithCancel(t.Context())
				stream, err := routerv1connect.NewCompletionServiceClient(connect.NewClient(transport)).StreamCompletion(ctx, &routerv1.StreamCompletionRequest{Input: input("m")})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := stream.Receive(); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				handler.mu.Lock()
				sent := handler.sent
				handler.mu.Unlock()
				if sent > 400 {
					t.Errorf("%d KB are sent ahead", sent)
				}
				begun := time.Now()
				if waited := (<-handler.ended).Sub(begun); waited > test.after || waited < test.after-10*time.Second {
					t.Errorf("the handler ended after %v, want about %v", waited, test.after)
				}
				cancel()
				hangUp()
				stop()
				_ = l.Close()
				runtime.KeepAlive(stream)
			})
		})
	}
}

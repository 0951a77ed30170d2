// Package client calls the router's CompletionService over gRPC as an internal service should: the key
// never in the clear, one deadline as a budget, no answer paid twice, and errors that say what to do.
// It is an example to copy, and the end-to-end tests run it.
package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/local"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
)

// Options say which router to call, and as whom.
type Options struct {
	// Address is "host:port". All addresses behind the name are used by turns.
	Address string
	// APIKey is the key that an admin made for this service.
	APIKey string
	// Roots replace the machine's certificate authorities.
	Roots *x509.CertPool
	// Loopback does without TLS, for a router on this machine only.
	Loopback bool
}

// Client is one connection pool. Make one per process and share it: it is safe for concurrent use.
type Client struct {
	cc          *grpc.ClientConn
	completions routerv1.CompletionServiceClient
}

// serviceConfig sends calls to all routers by turns. A retry policy is not in it on purpose: it knows
// status codes only, and they do not tell whether a call has been paid. See retry.go.
const serviceConfig = `{"loadBalancingConfig": [{"round_robin": {}}]}`

// Dial prepares a client. The connection is made by the first call.
func Dial(o Options) (*Client, error) {
	transport := credentials.NewTLS(&tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12})
	if o.Loopback {
		if !isLoopback(o.Address) {
			return nil, fmt.Errorf("%s is not on this machine: the API key would travel in the clear", o.Address)
		}
		// Not insecure.NewCredentials: these look at each connection's real address, too.
		transport = local.NewCredentials()
	}
	cc, err := grpc.NewClient(o.Address,
		grpc.WithTransportCredentials(transport),
		grpc.WithPerRPCCredentials(apiKey{o.APIKey, o.Loopback}),
		grpc.WithDefaultServiceConfig(serviceConfig),
		// While a router restarts calls wait for it, as long as their deadline lets them. Nothing has
		// been sent by then, so nothing can be paid twice.
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
		// A dead connection below a silent stream is found by pings. The router cuts off clients that
		// ping more often than every 20 seconds.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true}),
		grpc.WithChainUnaryInterceptor(traceUnary),
		grpc.WithChainStreamInterceptor(traceStream),
	)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", o.Address, err)
	}
	return &Client{cc: cc, completions: routerv1.NewCompletionServiceClient(cc)}, nil
}

// Close ends the connection and with it every call.
func (c *Client) Close() error { return c.cc.Close() }

// Healthy reports whether a router serves completions. It is for the caller's own readiness, not for
// asking before each call.
func (c *Client) Healthy(ctx context.Context) error {
	res, err := healthpb.NewHealthClient(c.cc).Check(ctx, &healthpb.HealthCheckRequest{Service: routerv1.CompletionService_ServiceDesc.ServiceName})
	if err != nil {
		return err
	}
	if res.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("the router says %s", res.GetStatus())
	}
	return nil
}

// apiKey is sent with every call.
type apiKey struct {
	value    string
	loopback bool
}

var _ credentials.PerRPCCredentials = apiKey{}

// GetRequestMetadata is the key as the router reads it.
func (k apiKey) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + k.value}, nil
}

// RequireTransportSecurity makes gRPC refuse connections that protect nothing.
func (k apiKey) RequireTransportSecurity() bool { return !k.loopback }

// isLoopback reports whether "host:port" names this machine.
func isLoopback(address string) bool {
	host := strings.TrimPrefix(address, "dns:///")
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = strings.Trim(host[:i], "[]")
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.IsLoopback())
}

// traced adds the span of ctx as traceparent, so that the router's spans and the usage of the request
// belong to the caller's trace. otelgrpc does the same where OpenTelemetry is set up in full.
func traced(ctx context.Context) context.Context {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	for name, value := range carrier {
		ctx = metadata.AppendToOutgoingContext(ctx, name, value)
	}
	return ctx
}

func traceUnary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoke(traced(ctx), method, req, reply, cc, opts...)
}

func traceStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return open(traced(ctx), desc, cc, method, opts...)
}

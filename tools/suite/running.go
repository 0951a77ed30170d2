package suite

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/claviger/claviger/pkg/serve"
	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/tools/seed"
)

const (
	// drainTimeout is how long open streams may go on after a stop.
	drainTimeout = 30 * time.Second
	// lastWords is how long after that a stream has to be told why it ends.
	lastWords    = 2 * time.Second
	readyTimeout = 60 * time.Second
)

// ErrNotLoopback means that a listener would be reachable from other machines.
var ErrNotLoopback = errors.New("the suite listens on loopback only, because its keys lie in a local file: for other machines run the services with Vault")

// Running is a suite that serves.
type Running struct {
	// BaseURL is the public HTTP listener: Connect, gRPC-Web, gRPC and the edges of the router.
	BaseURL string
	// GRPCAddress is the public grpc-go listener of the router.
	GRPCAddress string
	// OpsURL is where health is.
	OpsURL string

	suite  *suite
	dir    string
	client *http.Client
	stop   context.CancelFunc
	done   chan struct{}
	err    error
}

// Start opens a suite, serves it and returns once it is ready. listen is the address of the public
// HTTP listener; gRPC is one port above it and operations two, or all on free ports if it is 0. The
// suite ends when ctx does, or by Stop.
func Start(ctx context.Context, listen string, o Options) (*Running, error) {
	listeners, err := listenAll(ctx, listen)
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, o, listeners.addresses())
	if err != nil {
		return nil, errors.Join(err, listeners.close())
	}
	ctx, stop := context.WithCancel(ctx)
	r := &Running{
		BaseURL: "http://" + listeners.http.Addr().String(), GRPCAddress: listeners.grpc.Addr().String(),
		OpsURL: "http://" + listeners.ops.Addr().String(),
		suite:  s, dir: o.Dir, client: &http.Client{Transport: &http.Transport{Proxy: nil}}, stop: stop, done: make(chan struct{}),
	}
	go func() {
		defer close(r.done)
		r.err = errors.Join(s.serve(ctx, listeners), s.close())
		r.client.CloseIdleConnections()
	}()
	if err := r.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, r.Stop())
	}
	return r, nil
}

func (r *Running) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := r.suite.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-r.done:
			return errors.New("the suite ended before it was ready")
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", err)
		case <-ticker.C:
		}
	}
}

// Stop drains and ends the suite. It returns why it ended, if that was not the wish of the caller.
func (r *Running) Stop() error {
	r.stop()
	<-r.done
	return r.err
}

// Done is closed when the suite has ended.
func (r *Running) Done() <-chan struct{} { return r.done }

// Operator is the account of the operator.
func (r *Running) Operator() seed.Login { return r.suite.operator }

// Transport reaches the public APIs, over the public listener.
func (r *Running) Transport() connect.Transport {
	return connecthttp.NewTransport(r.client, r.BaseURL)
}

// Seed applies a seed file and reports each object.
func (r *Running) Seed(ctx context.Context, doc *seed.Document, report func(seed.Change)) error {
	return seed.Apply(ctx, seed.Installation{
		Keys: r.Transport(), Operator: r.suite.operator, Dir: r.dir, FingerprintKey: r.suite.seedKey,
	}, doc, report)
}

type listeners struct{ http, grpc, ops net.Listener }

func (l listeners) close() error {
	return errors.Join(l.http.Close(), l.grpc.Close(), l.ops.Close())
}

// addresses are where they are bound.
func (l listeners) addresses() []netip.AddrPort {
	var all []netip.AddrPort
	for _, ln := range []net.Listener{l.http, l.grpc, l.ops} {
		if tcp, ok := ln.Addr().(*net.TCPAddr); ok {
			all = append(all, tcp.AddrPort())
		}
	}
	return all
}

// listenAll opens the three listeners, and refuses addresses that others can reach.
func listenAll(ctx context.Context, listen string) (l listeners, err error) {
	host, text, err := net.SplitHostPort(listen)
	if err != nil {
		return l, fmt.Errorf("listen address %q: %w", listen, err)
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 0 || port > 65533 {
		return l, fmt.Errorf("listen address %q: the port must be 0 to 65533", listen)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return l, fmt.Errorf("listen address %q: %w", listen, ErrNotLoopback)
	}
	var opened []net.Listener
	for i, purpose := range []string{"public HTTP", "public gRPC", "operations"} {
		at := port
		if port != 0 {
			at += i
		}
		ln, err := serve.Listen(ctx, purpose, net.JoinHostPort(host, strconv.Itoa(at)))
		if err != nil {
			for _, ln := range opened {
				err = errors.Join(err, ln.Close())
			}
			return listeners{}, err
		}
		opened = append(opened, ln)
	}
	return listeners{http: opened[0], grpc: opened[1], ops: opened[2]}, nil
}

// serve runs the services until ctx ends or one of them fails. The order of the end is: no new calls,
// open ones drain, the router hands over what its journal holds, metering counts it, keys ends last.
func (s *suite) serve(ctx context.Context, l listeners) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	type running struct {
		stop context.CancelFunc
		done chan struct{}
		err  error
	}
	var services []*running
	for _, run := range []func(context.Context) error{s.keys.Run, s.metering.Run, s.router.Run} {
		own, end := context.WithCancel(context.WithoutCancel(ctx))
		r := &running{stop: end, done: make(chan struct{})}
		services = append(services, r)
		go func() {
			defer close(r.done)
			if err := run(own); err != nil && own.Err() == nil {
				r.err = err
				stop(err)
			}
		}()
	}
	drained := make(chan struct{})
	metrics := telemetry.Metrics(s.reports.keys, s.reports.router, s.reports.metering)
	err := serve.Until(ctx, s.log, drainTimeout+lastWords, func() { s.metering.Drain(); go s.drain(ctx, drained) },
		serve.OnHTTP("public HTTP", l.http, serve.HTTP(s.handler(), nil, s.log)),
		serve.OnGRPC("public gRPC", l.grpc, serve.GRPC(messageBytes, nil, s.router.Public())),
		serve.OnHTTP("operations", l.ops, serve.HTTP(serve.Ops(s.ready, map[string]http.Handler{"GET /metrics": metrics}), nil, s.log)),
	)
	<-drained
	for _, service := range slices.Backward(services) {
		service.stop()
		<-service.done
		err = errors.Join(err, service.err)
	}
	return err
}

// drain refuses new requests and waits for open ones, for a while.
func (s *suite) drain(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	s.router.Drain(ctx)
}

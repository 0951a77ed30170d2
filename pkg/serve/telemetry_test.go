package serve_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectinprocess"
	"go.opentelemetry.io/otel/trace"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/rpcmount"
	"github.com/claviger/claviger/pkg/serve"
	"github.com/claviger/claviger/pkg/telemetry"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/proto/gen/claviger/router/v1/routerv1connect"
)

// observed is a server of echo that reports.
type observed struct {
	tel        *telemetry.Telemetry
	memory     *telemetry.Memory
	log        *buffer
	transports map[string]connect.Transport
}

type buffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

func observedServer(t testing.TB, tel *telemetry.Telemetry, log *slog.Logger) *connect.Server {
	t.Helper()
	server := connect.NewServer(intercept.Chain(intercept.Options{
		Log: tel.Logger(log), Authenticate: intercept.Fixed(authn.Principal{Kind: authn.APIKey, OrgID: "org_a"}), Telemetry: tel,
	})...)
	routerv1connect.RegisterCompletionServiceHandler(server, echo{})
	return server
}

func observe(t *testing.T) *observed {
	t.Helper()
	o := &observed{memory: telemetry.NewMemory(telemetry.MemoryLimits{}), log: &buffer{}}
	var err error
	o.tel, err = telemetry.Start(t.Context(), telemetry.Options{Service: "router", Environment: "test", Memory: o.memory})
	if err != nil {
		t.Fatal(err)
	}
	server := observedServer(t, o.tel, slog.New(slog.NewTextHandler(o.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	web := httptest.NewServer(serve.Mux(1<<20, nil, server))
	t.Cleanup(web.Close)
	ln, err := serve.Listen(t.Context(), "grpc", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := serve.GRPC(1<<20, nil, server)
	done := make(chan error, 1)
	go func() { done <- g.Serve(ln) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	o.transports = map[string]connect.Transport{
		"Connect":    connecthttp.NewTransport(web.Client(), web.URL),
		"gRPC-Web":   connecthttp.NewTransport(web.Client(), web.URL, connecthttp.WithGRPCWeb()),
		"grpc-go":    rpcmount.NewTransport(dial(t, ln.Addr().String())),
		"in process": connectinprocess.New(server),
	}
	return o
}

// await returns a trace once it has as many spans as expected: a server ends its own after the answer.
func (o *observed) await(t *testing.T, traceID string, spans int) []telemetry.Span {
	t.Helper()
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if got := o.memory.Trace(traceID); len(got) >= spans {
			return got
		}
		select {
		case <-deadline:
			t.Fatalf("trace %s = %+v, want %d spans", traceID, o.memory.Trace(traceID), spans)
		case <-tick.C:
		}
	}
}

// ask asks a model. An empty one makes a question that breaks the contract.
func ask(model, text string) *routerv1.CompletionInput {
	if model == "" {
		return nil
	}
	return &routerv1.CompletionInput{Model: model, Messages: []*routerv1.Message{{
		Role: routerv1.MessageRole_MESSAGE_ROLE_USER, Parts: []*routerv1.Part{{Content: &routerv1.Part_Text{Text: text}}},
	}}}
}

func TestACallIsPartOfItsCallersTraceOnEveryTransport(t *testing.T) {
	t.Parallel()
	o := observe(t)
	const method = "claviger.router.v1.CompletionService/Complete"
	for name, transport := range o.transports {
		client := routerv1connect.NewCompletionServiceClient(connect.NewClient(intercept.NewTransport(o.tel, transport)))
		ctx, caller := o.tel.Tracer().Start(t.Context(), "caller")
		answer, err := client.Complete(ctx, &routerv1.CompleteRequest{Input: ask("some-model", "hello")})
		caller.End()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		spans := o.await(t, caller.SpanContext().TraceID().String(), 3)
		parent := ""
		for i, want := range []string{"caller", method, method} {
			if spans[i].Name != want || spans[i].ParentID != parent || spans[i].Error {
				t.Errorf("%s: span %d = %+v, want %q below %q", name, i, spans[i], want, parent)
			}
			parent = spans[i].SpanID
		}
		got := spans[2].Attributes
		if got["rpc.method"] != method || got["rpc.response.status_code"] != "ok" || got["rpc.system.name"] == "" ||
			got["claviger.org_id"] != "org_a" || got["claviger.request_id"] != answer.GetRequestId() {
			t.Errorf("%s: attributes = %v", name, got)
		}
		line := `request_id=` + answer.GetRequestId()
		if logged := o.log.String(); strings.Count(logged, line) != 1 || !strings.Contains(logged, "trace_id="+caller.SpanContext().TraceID().String()+" span_id="+parent) {
			t.Errorf("%s: log = %s", name, logged)
		}
	}
}

func TestAnInvalidCallersTraceIsIgnoredOnEveryTransport(t *testing.T) {
	t.Parallel()
	o := observe(t)
	for name, transport := range o.transports {
		client := routerv1connect.NewCompletionServiceClient(connect.NewClient(transport))
		ctx, info := connect.NewClientContext(t.Context())
		info.RequestHeader().Set("traceparent", "00-00000000000000000000000000000000-0000000000000000-01")
		if _, err := client.Complete(ctx, &routerv1.CompleteRequest{Input: ask("some-model", "hello")}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := o.memory.Trace(strings.Repeat("0", 32)); got != nil {
		t.Errorf("spans of no trace: %+v", got)
	}
}

func TestOnlyFaultsOfTheServerFailASpan(t *testing.T) {
	t.Parallel()
	o := observe(t)
	client := routerv1connect.NewCompletionServiceClient(connect.NewClient(o.transports["in process"]))
	for model, want := range map[string]struct {
		code, reason string
		failed       bool
	}{
		"fault": {"aborted", "TEAPOT", false},
		"":      {"invalid_argument", "FIELDS_INVALID", false},
		"plain": {"internal", "", true},
		"panic": {"internal", "", true},
	} {
		ctx, caller := o.tel.Tracer().Start(t.Context(), "caller")
		ctx, info := connect.NewClientContext(ctx)
		telemetry.Inject(ctx, info.RequestHeader())
		if _, err := client.Complete(ctx, &routerv1.CompleteRequest{Input: ask(model, "hello")}); err == nil {
			t.Errorf("%q: no error", model)
		}
		caller.End()
		got := o.await(t, caller.SpanContext().TraceID().String(), 2)[1]
		if got.Error != want.failed || got.Attributes["rpc.response.status_code"] != want.code || got.Attributes["claviger.reason"] != want.reason {
			t.Errorf("%q: span = %+v, want %+v", model, got, want)
		}
	}
}

// What callers send and get must be in nothing that is reported, whatever goes wrong.
func TestNothingOfAMessageIsReported(t *testing.T) {
	t.Parallel()
	o := observe(t)
	const prompt, header = "the-secret-prompt", "the-secret-header"
	ctx, caller := o.tel.Tracer().Start(t.Context(), "caller")
	for _, transport := range o.transports {
		client := routerv1connect.NewCompletionServiceClient(connect.NewClient(intercept.NewTransport(o.tel, transport)))
		for _, model := range []string{"the-secret-model", "fault", "panic", "plain", ""} {
			ctx, info := connect.NewClientContext(ctx)
			info.RequestHeader().Set("Authorization", "Bearer "+header)
			_, _ = client.Complete(ctx, &routerv1.CompleteRequest{Input: ask(model, prompt)}) // however it ends
			stream, err := client.StreamCompletion(ctx, &routerv1.StreamCompletionRequest{Input: ask(model, prompt)})
			if err != nil {
				continue
			}
			for err == nil {
				_, err = stream.Receive()
			}
			_ = stream.Close()
		}
	}
	caller.End()
	// A call of each kind with each model; of streams the client has no span.
	spans := o.await(t, caller.SpanContext().TraceID().String(), 1+4*5*2)
	for _, s := range spans {
		for key, value := range s.Attributes {
			if strings.Contains(key+value, "secret") {
				t.Errorf("span %s has %s=%s", s.Name, key, value)
			}
		}
	}
	if text := metrics(t, o.tel, ""); strings.Contains(text, "secret") {
		t.Errorf("metrics:\n%s", text)
	}
	for line := range strings.Lines(o.log.String()) {
		// An operator's log has the cause of a server fault; it never has what was sent.
		if strings.Contains(line, prompt) || strings.Contains(line, header) || strings.Contains(line, "secret-model") {
			t.Errorf("log: %s", line)
		}
	}
}

func metrics(t *testing.T, tel *telemetry.Telemetry, accept string) string {
	t.Helper()
	ops := serve.Ops(func(context.Context) error { return nil }, map[string]http.Handler{"GET /metrics": telemetry.Metrics(tel)})
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	ops.ServeHTTP(w, r)
	return w.Body.String()
}

func TestCallsAreCountedByMethodAndCode(t *testing.T) {
	t.Parallel()
	o := observe(t)
	client := routerv1connect.NewCompletionServiceClient(connect.NewClient(o.transports["grpc-go"]))
	ctx, info := connect.NewClientContext(t.Context())
	telemetry.Inject(trace.ContextWithRemoteSpanContext(ctx, telemetry.Remote(strings.Repeat("a", 32), strings.Repeat("b", 16))), info.RequestHeader())
	for _, model := range []string{"x", "x", "fault"} {
		_, _ = client.Complete(ctx, &routerv1.CompleteRequest{Input: ask(model, "hello")})
	}
	o.await(t, strings.Repeat("a", 32), 3)
	text := metrics(t, o.tel, "application/openmetrics-text; version=1.0.0")
	for _, want := range []string{
		`rpc_server_call_duration_seconds_count{rpc_method="claviger.router.v1.CompletionService/Complete",rpc_response_status_code="ok",rpc_system_name="grpc",service_name="claviger-router"} 2`,
		`rpc_server_call_duration_seconds_count{rpc_method="claviger.router.v1.CompletionService/Complete",rpc_response_status_code="aborted",rpc_system_name="grpc",service_name="claviger-router"} 1`,
		`claviger_rpc_server_active_calls{rpc_method="claviger.router.v1.CompletionService/Complete",service_name="claviger-router"} 0`,
		`trace_id="` + strings.Repeat("a", 32) + `"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics do not have %s:\n%s", want, text)
		}
	}
}

// discard is a server stream whose messages go nowhere.
type discard struct{ request *routerv1.CompleteRequest }

func (d discard) Receive(msg any) error {
	if d.request == nil {
		return io.EOF
	}
	return connectinprocess.ProtoCopy(msg, d.request)
}
func (discard) SendHeaders() error { return nil }
func (discard) Send(any) error     { return nil }

// perCall measures what a call through the whole chain costs, without a network.
func perCall(t testing.TB, tel *telemetry.Telemetry) func() {
	t.Helper()
	server := observedServer(t, tel, slog.New(slog.DiscardHandler))
	request := &routerv1.CompleteRequest{Input: ask("some-model", "hello")}
	const procedure = "/claviger.router.v1.CompletionService/Complete"
	ctx := t.Context()
	return func() {
		info := &connect.CallInfo{Spec: connect.Spec{Procedure: procedure}, Protocol: "grpc"}
		if err := server.Call(ctx, procedure, info, discard{request}); err != nil {
			t.Error(err)
		}
	}
}

func unsampled(t testing.TB) *telemetry.Telemetry {
	t.Helper()
	tel, err := telemetry.Start(t.Context(), telemetry.Options{Service: "router", Memory: telemetry.NewMemory(telemetry.MemoryLimits{})})
	if err != nil {
		t.Fatal(err)
	}
	return tel
}

func TestACallThatIsNotSampledCostsAHandfulOfAllocations(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	without := testing.AllocsPerRun(500, perCall(t, nil))
	with := testing.AllocsPerRun(500, perCall(t, unsampled(t)))
	t.Logf("%v allocations with telemetry, %v without", with, without)
	if with-without > 6 {
		t.Errorf("telemetry costs %v allocations a call, want at most 6", with-without)
	}
}

func BenchmarkCall(b *testing.B) {
	for _, share := range []string{"without telemetry", "0", "0.05", "1"} {
		b.Run(share, func(b *testing.B) {
			var tel *telemetry.Telemetry
			if share != "without telemetry" {
				b.Setenv("OTEL_TRACES_SAMPLER", "traceidratio")
				b.Setenv("OTEL_TRACES_SAMPLER_ARG", share)
				tel = unsampled(b)
			}
			call := perCall(b, tel)
			b.ReportAllocs()
			for b.Loop() {
				call()
			}
		})
	}
}

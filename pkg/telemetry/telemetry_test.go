package telemetry_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect/v2"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/telemetry"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID  = "00f067aa0ba902b7"
	sampled = "00-" + traceID + "-" + spanID + "-01"
	dropped = "00-" + traceID + "-" + spanID + "-00"
)

func start(t testing.TB, o telemetry.Options) *telemetry.Telemetry {
	t.Helper()
	if o.Service == "" {
		o.Service = "keys"
	}
	tel, err := telemetry.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tel.Shutdown(t.Context()) })
	return tel
}

func TestNilDoesNothing(t *testing.T) {
	t.Parallel()
	var none *telemetry.Telemetry
	ctx, span := none.Tracer().Start(t.Context(), "work", telemetry.Server...)
	defer span.End()
	counter, err := none.Meter().Int64Counter("things")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(ctx, 1)
	telemetry.Failed(span, "broken")
	if below, child := telemetry.Child(ctx, "step"); below != ctx || child.IsRecording() {
		t.Error("a step costs a context where nothing is recorded")
	}
	if telemetry.WithOrganization(ctx, "org_1") != ctx {
		t.Error("an organization costs a context where nothing is recorded")
	}
	headers := http.Header{}
	telemetry.Inject(ctx, headers)
	if len(headers) != 0 {
		t.Errorf("headers = %v, want none", headers)
	}
	var out bytes.Buffer
	none.Logger(slog.New(slog.NewTextHandler(&out, nil))).InfoContext(ctx, "hello")
	if !strings.Contains(out.String(), "msg=hello") || strings.Contains(out.String(), "trace_id") {
		t.Errorf("log = %s", out.String())
	}
	none.Shutdown(ctx)
}

func TestContextTravelsInHeadersOfAllKinds(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]telemetry.Headers{
		"net/http": http.Header{}, "Connect": &connect.Header{}, "NATS": nats.Header{},
	} {
		ctx := trace.ContextWithRemoteSpanContext(t.Context(), telemetry.Remote(traceID, spanID))
		telemetry.Inject(ctx, h)
		if got := h.Get("traceparent"); got != sampled {
			t.Errorf("%s: traceparent = %q, want %q", name, got, sampled)
		}
		got := trace.SpanContextFromContext(telemetry.Extract(t.Context(), h))
		if got.TraceID().String() != traceID || got.SpanID().String() != spanID || !got.IsSampled() || !got.IsRemote() {
			t.Errorf("%s: extracted %v", name, got)
		}
	}
	header := nats.Header{}
	telemetry.Inject(trace.ContextWithRemoteSpanContext(t.Context(), telemetry.Remote(traceID, spanID)), header)
	if _, ok := header["traceparent"]; !ok || len(header) != 1 {
		t.Errorf("NATS headers = %v, want traceparent in lower case alone", header)
	}
}

func TestAnInvalidContextIsIgnored(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		"", "x", sampled + "-more", "ff" + sampled[2:], strings.ToUpper(sampled), sampled[:20],
		"00-00000000000000000000000000000000-" + spanID + "-01", "00-" + traceID + "-0000000000000000-01", strings.Repeat("0", 1<<16),
	} {
		h := http.Header{"Traceparent": {value}, "Tracestate": {"a=b"}, "Baggage": {"who=me"}}
		if got := telemetry.Extract(t.Context(), h); trace.SpanContextFromContext(got).IsValid() {
			t.Errorf("traceparent %.60q is taken for %v", value, trace.SpanContextFromContext(got))
		}
	}
	for _, ids := range [][2]string{{"", ""}, {traceID, ""}, {"", spanID}, {"xyz", spanID}, {traceID, "xyz"}} {
		if telemetry.Remote(ids[0], ids[1]).IsValid() {
			t.Errorf("Remote(%q) is valid", ids)
		}
	}
}

func TestSpansOfACallAreOneTreeAndBelongToTheirOrganization(t *testing.T) {
	t.Parallel()
	memory := telemetry.NewMemory(telemetry.MemoryLimits{})
	router := start(t, telemetry.Options{Service: "router", Memory: memory})
	metering := start(t, telemetry.Options{Service: "metering", Memory: memory})

	ctx := telemetry.Extract(t.Context(), http.Header{"Traceparent": {sampled}})
	ctx, request := router.Tracer().Start(ctx, "request", telemetry.Server...)
	ctx = telemetry.WithOrganization(ctx, "org_1")
	ctx, attempt := router.Tracer().Start(ctx, "attempt", telemetry.Client...)
	attempt.SetAttributes(telemetry.GenAIInputTokens.Int(12))
	_, step := telemetry.Child(ctx, "step")
	step.End()
	telemetry.Failed(attempt, "timeout")
	headers := nats.Header{}
	telemetry.Inject(ctx, headers)
	_, apply := metering.Tracer().Start(telemetry.Extract(t.Context(), headers), "apply", telemetry.Consumer...)
	apply.End()
	attempt.End()
	request.End()

	spans := memory.Trace(traceID)
	if len(spans) != 4 {
		t.Fatalf("spans = %+v, want four", spans)
	}
	if step := spans[2]; step.Name != "step" || step.ParentID != spans[1].SpanID || step.Service != "router" || step.Attributes["claviger.org_id"] != "org_1" {
		t.Errorf("step = %+v, want one below the attempt", step)
	}
	spans = slices.Delete(spans, 2, 3)
	parent := spanID
	for i, want := range []struct{ name, service, org string }{
		{"request", "router", "org_1"}, {"attempt", "router", "org_1"}, {"apply", "metering", ""},
	} {
		got := spans[i]
		if got.Name != want.name || got.Service != want.service || got.ParentID != parent || got.Attributes[string(telemetry.OrganizationID)] != want.org {
			t.Errorf("span %d = %+v, want %+v below %s", i, got, want, parent)
		}
		parent = got.SpanID
	}
	if got := spans[1]; !got.Error || got.Attributes["error.type"] != "timeout" || got.Attributes["gen_ai.usage.input_tokens"] != "12" || spans[0].Error {
		t.Errorf("attempt = %+v", got)
	}
}

func TestACallerMayDeclineToBeTraced(t *testing.T) {
	t.Parallel()
	memory := telemetry.NewMemory(telemetry.MemoryLimits{})
	tel := start(t, telemetry.Options{Memory: memory})
	ctx, span := tel.Tracer().Start(telemetry.Extract(t.Context(), http.Header{"Traceparent": {dropped}}), "work")
	defer span.End()
	if span.IsRecording() || span.SpanContext().TraceID().String() != traceID {
		t.Errorf("span = %v, want one of the caller's trace that is not recorded", span.SpanContext())
	}
	headers := http.Header{}
	telemetry.Inject(ctx, headers)
	if got := headers.Get("traceparent"); !strings.HasPrefix(got, "00-"+traceID) || !strings.HasSuffix(got, "-00") {
		t.Errorf("traceparent = %q, want the same trace and the same wish", got)
	}
}

func TestWithoutAViewerContextPassesThrough(t *testing.T) {
	t.Parallel()
	tel := start(t, telemetry.Options{})
	ctx, span := tel.Tracer().Start(telemetry.Extract(t.Context(), http.Header{"Traceparent": {sampled}}), "work")
	defer span.End()
	headers := http.Header{}
	telemetry.Inject(ctx, headers)
	if span.IsRecording() || headers.Get("traceparent") != sampled {
		t.Errorf("recording = %v, traceparent = %q, want the caller's", span.IsRecording(), headers.Get("traceparent"))
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	memory := telemetry.NewMemory(telemetry.MemoryLimits{Traces: 3, SpansPerTrace: 2, Bytes: 2000})
	tel := start(t, telemetry.Options{Memory: memory})
	trace1 := func(name string, spans int, attributes ...attribute.KeyValue) string {
		ctx, root := tel.Tracer().Start(t.Context(), name)
		for range spans - 1 {
			_, child := tel.Tracer().Start(ctx, "child")
			child.SetAttributes(attributes...)
			child.End()
		}
		root.End()
		return root.SpanContext().TraceID().String()
	}
	var ids []string
	for i := range 5 {
		ids = append(ids, trace1(fmt.Sprint("trace ", i), 1))
	}
	for i, id := range ids {
		if got, want := len(memory.Trace(id)), min(1, i/2); got != want {
			t.Errorf("trace %d has %d spans, want %d", i, got, want)
		}
	}
	if got := len(memory.Trace(trace1("large", 10))); got != 2 {
		t.Errorf("a trace keeps %d spans, want 2", got)
	}
	trace1("heavy", 2, attribute.String("text", strings.Repeat("x", 1<<20)), attribute.StringSlice("list", []string{strings.Repeat("y", 900), strings.Repeat("y", 900)}))
	if got := memory.Trace(ids[4]); got != nil {
		t.Errorf("older traces stay though the bytes are used up: %v", got)
	}
	if memory.Trace("nonsense") != nil || (*telemetry.Memory)(nil).Trace(traceID) != nil {
		t.Error("an unknown trace has spans")
	}
}

func TestMemoryServesReadersAndWritersAtOnce(t *testing.T) {
	t.Parallel()
	memory := telemetry.NewMemory(telemetry.MemoryLimits{Traces: 10})
	tel := start(t, telemetry.Options{Memory: memory})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				ctx, root := tel.Tracer().Start(t.Context(), "root")
				_, child := tel.Tracer().Start(ctx, "child")
				child.End()
				_ = memory.Trace(root.SpanContext().TraceID().String())
				root.End()
			}
		})
	}
	wg.Wait()
	_, last := tel.Tracer().Start(t.Context(), "last")
	last.End()
	if got := memory.Trace(last.SpanContext().TraceID().String()); len(got) != 1 {
		t.Errorf("the last trace = %v", got)
	}
}

func scrape(t *testing.T, accept string, services ...*telemetry.Telemetry) string {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	telemetry.Metrics(services...).ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("metrics = %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// families parses the text format, which fails for what no Prometheus would read.
func families(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestMeasurementsAreForPrometheus(t *testing.T) {
	t.Parallel()
	memory := telemetry.NewMemory(telemetry.MemoryLimits{})
	keys := start(t, telemetry.Options{Service: "keys", Environment: "test", Version: "1.2.3", Instance: "keys-1", Memory: memory})
	router := start(t, telemetry.Options{Service: "router", Environment: "test"})
	set := telemetry.NewSet(telemetry.GenAIProvider.String("openai"))
	for _, tel := range []*telemetry.Telemetry{keys, router} {
		words := fmt.Sprintf("Tokens, in the words of %p.", tel)
		tokens, err := tel.Meter().Int64Histogram(telemetry.MetricGenAITokens, metric.WithUnit("{token}"), metric.WithDescription(words))
		if err != nil {
			t.Fatal(err)
		}
		seconds, err := tel.Meter().Float64Histogram(telemetry.MetricGenAIDuration, metric.WithUnit("s"), metric.WithDescription("Seconds."))
		if err != nil {
			t.Fatal(err)
		}
		events, err := tel.Meter().Int64Counter(telemetry.MetricIngestEvents, metric.WithUnit("{event}"), metric.WithDescription("Events."))
		if err != nil {
			t.Fatal(err)
		}
		ctx, span := tel.Tracer().Start(t.Context(), "work")
		tokens.Record(ctx, 300, set.Record...)
		seconds.Record(ctx, 0.05, set.Record...)
		events.Add(ctx, 3, set.Add...)
		span.End()
	}
	text := scrape(t, "", keys, router)
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if p.Metric != "go_goroutine_count" { // OpenTelemetry's name for it
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	all := families(t, text)
	for name, want := range map[string]dto.MetricType{
		"gen_ai_client_token_usage": dto.MetricType_HISTOGRAM, "gen_ai_client_operation_duration_seconds": dto.MetricType_HISTOGRAM,
		"claviger_ingest_events_total": dto.MetricType_COUNTER, "go_goroutine_count": dto.MetricType_GAUGE, "target_info": dto.MetricType_GAUGE,
	} {
		family := all[name]
		if family == nil || family.GetType() != want || len(family.GetMetric()) != 2 {
			t.Errorf("%s = %v, want a %v of two services", name, family, want)
		}
	}
	var bounds []float64
	for _, b := range all["gen_ai_client_token_usage"].GetMetric()[0].GetHistogram().GetBucket() {
		bounds = append(bounds, b.GetUpperBound())
	}
	if fmt.Sprint(bounds[:5]) != "[1 4 16 64 256]" || bounds[13] != 67108864 {
		t.Errorf("buckets of tokens = %v", bounds)
	}
	bounds = nil
	for _, b := range all["gen_ai_client_operation_duration_seconds"].GetMetric()[0].GetHistogram().GetBucket() {
		bounds = append(bounds, b.GetUpperBound())
	}
	if bounds[0] != 0.01 || bounds[13] != 81.92 {
		t.Errorf("buckets of seconds = %v", bounds)
	}
	open := scrape(t, "application/openmetrics-text; version=1.0.0", keys, router)
	if !strings.Contains(open, "} 3.0 # {") || !strings.Contains(open, `span_id="`) || !strings.Contains(open, `trace_id="`) || !strings.HasSuffix(open, "# EOF\n") {
		t.Errorf("no exemplars in OpenMetrics:\n%.2000s", open)
	}
	for _, label := range []string{`service_name="claviger-keys"`, `service_name="claviger-router"`, `service_version="1.2.3"`, `service_instance_id="keys-1"`, `deployment_environment_name="test"`} {
		if !strings.Contains(open, label) {
			t.Errorf("%s is not told", label)
		}
	}
	for _, never := range []string{"host_name", "process_command", "process_executable", "otel_scope"} {
		if strings.Contains(open, never) {
			t.Errorf("%s is told", never)
		}
	}
}

func TestSetsAreMadeOnceAndBounded(t *testing.T) {
	t.Parallel()
	type key struct{ provider, model string }
	made := 0
	sets := telemetry.NewSets(func(k key) []attribute.KeyValue {
		made++
		return []attribute.KeyValue{telemetry.GenAIProvider.String(k.provider), telemetry.GenAIRequestModel.String(k.model)}
	})
	for range 3 {
		for i := range 3000 {
			if set := sets.Of(key{"openai", fmt.Sprint(i % 3000)}); len(set.Record) != 1 || len(set.Add) != 1 || len(set.Observe) != 1 {
				t.Fatalf("set = %+v", set)
			}
		}
	}
	if made != 2000 {
		t.Errorf("%d sets were made, want 2000", made)
	}
}

func TestLogLinesNameTheirTraceAndStayRedacted(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	tel := start(t, telemetry.Options{})
	log := tel.Logger(slog.New(slog.NewJSONHandler(&out, nil))).With("service", "keys")
	ctx := trace.ContextWithRemoteSpanContext(t.Context(), telemetry.Remote(traceID, spanID))
	log.InfoContext(ctx, "hello", "key", secret.New("sk-very-secret"))
	log.DebugContext(ctx, "not enabled")
	line := out.String()
	if strings.Count(line, "\n") != 1 || !strings.Contains(line, `"trace_id":"`+traceID+`","span_id":"`+spanID+`"`) || strings.Contains(line, "sk-very-secret") {
		t.Errorf("log = %s", line)
	}
}

// collector is what OTLP is sent to over HTTP.
type collector struct {
	mu   sync.Mutex
	seen map[string][]byte
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[r.URL.Path] = append(c.seen[r.URL.Path], body...)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func TestTheEnvironmentSaysWhereToSend(t *testing.T) {
	for name, extra := range map[string]map[string]string{
		"as it comes":        {},
		"differences":        {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"},
		"producers are said": {"OTEL_METRICS_PRODUCERS": "none"},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range extra {
				t.Setenv(key, value)
			}
			sendsWhereToldTo(t)
		})
	}
}

func sendsWhereToldTo(t *testing.T) {
	t.Helper()
	sink := &collector{seen: map[string][]byte{}}
	server := httptest.NewServer(sink)
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=of-the-operator")
	tel := start(t, telemetry.Options{Service: "router", Environment: "test"})
	var lines bytes.Buffer
	log := tel.Logger(slog.New(slog.NewTextHandler(&lines, nil)))
	ctx, span := tel.Tracer().Start(t.Context(), "the span")
	counter, err := tel.Meter().Int64Counter("things")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(ctx, 1)
	log.InfoContext(ctx, "the line", "key", secret.New("sk-very-secret"), "keys", []secret.Text{secret.New("sk-very-secret")})
	log.DebugContext(ctx, "the line that is not enabled")
	span.End()
	tel.Shutdown(t.Context())
	for path, want := range map[string]string{"/v1/traces": "the span", "/v1/metrics": "things", "/v1/logs": "the line"} {
		body := sink.seen[path]
		if !bytes.Contains(body, []byte(want)) || !bytes.Contains(body, []byte("claviger-router")) || !bytes.Contains(body, []byte("of-the-operator")) {
			t.Errorf("%s got %q, want %q", path, body, want)
		}
		if bytes.Contains(body, []byte("sk-very-secret")) || bytes.Contains(body, []byte("not enabled")) {
			t.Errorf("%s got what is not for it: %q", path, body)
		}
	}
	if strings.Count(lines.String(), "\n") != 1 {
		t.Errorf("log = %s", lines.String())
	}
	if got := bytes.Count(sink.seen["/v1/metrics"], []byte("things")); got != 1 {
		t.Errorf("the count was sent %d times in one export, want once", got)
	}
	id := span.SpanContext().TraceID()
	if !bytes.Contains(sink.seen["/v1/logs"], id[:]) {
		t.Error("the exported line does not name its trace")
	}
}

func TestServicesInOneProcessKeepTheirNames(t *testing.T) {
	t.Setenv("OTEL_SERVICE_NAME", "all-the-same")
	memory := telemetry.NewMemory(telemetry.MemoryLimits{})
	text := scrape(t, "", start(t, telemetry.Options{Service: "keys", Memory: memory}), start(t, telemetry.Options{Service: "router", Memory: memory}))
	for _, want := range []string{`service_name="claviger-keys"`, `service_name="claviger-router"`} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics have no %s", want)
		}
	}
}

func TestNothingIsSentUnlessAsked(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"nothing set": {},
		"none":        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"},
		"disabled":    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
		"prometheus":  {"OTEL_METRICS_EXPORTER": "prometheus"}, // autoexport would open a listener
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range env {
				t.Setenv(key, value)
			}
			var out bytes.Buffer
			tel := start(t, telemetry.Options{Log: slog.New(slog.NewTextHandler(&out, nil))})
			_, span := tel.Tracer().Start(t.Context(), "work")
			if span.IsRecording() {
				t.Error("a span is recorded that nobody sees")
			}
			span.End()
			if !strings.Contains(scrape(t, "", tel), "go_goroutine_count") {
				t.Error("there is nothing on /metrics")
			}
			tel.Shutdown(t.Context())
			if out.Len() != 0 {
				t.Errorf("log = %s", out.String())
			}
		})
	}
}

func TestAMistakeInTheEnvironmentIsNamed(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"OTEL_TRACES_EXPORTER":        {"OTEL_TRACES_EXPORTER": "otpl"},
		"OTEL_METRICS_EXPORTER":       {"OTEL_METRICS_EXPORTER": "otpl"},
		"OTEL_LOGS_EXPORTER":          {"OTEL_LOGS_EXPORTER": "otpl"},
		"OTEL_TRACES_SAMPLER":         {"OTEL_TRACES_EXPORTER": "console", "OTEL_TRACES_SAMPLER": "sometimes"},
		"OTEL_TRACES_SAMPLER_ARG":     {"OTEL_TRACES_EXPORTER": "console", "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "5%"},
		"OTEL_EXPORTER_OTLP_PROTOCOL": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "pigeon"},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range env {
				t.Setenv(key, value)
			}
			tel, err := telemetry.Start(t.Context(), telemetry.Options{Service: "keys"})
			if err == nil {
				tel.Shutdown(t.Context())
				t.Fatal("Start says nothing")
			}
			t.Log(err)
		})
	}
}

func TestACollectorThatIsAwayCostsOneLine(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
	var out bytes.Buffer
	tel := start(t, telemetry.Options{Log: slog.New(slog.NewTextHandler(&out, nil))})
	_, span := tel.Tracer().Start(t.Context(), "work")
	span.End()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // a stop: the last export happens all the same
	tel.Shutdown(ctx)
	if !strings.Contains(out.String(), "telemetry") || strings.Count(out.String(), "\n") > 3 {
		t.Errorf("log = %s", out.String())
	}
}

// The budget of a call that is not sampled: what it may allocate for telemetry.
func TestWhatIsNotSampledIsCheap(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "console")
	t.Setenv("OTEL_METRICS_EXPORTER", "none")
	t.Setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
	t.Setenv("OTEL_TRACES_SAMPLER_ARG", "0")
	tel := start(t, telemetry.Options{})
	duration, err := tel.Meter().Float64Histogram(telemetry.MetricGenAIDuration)
	if err != nil {
		t.Fatal(err)
	}
	sets := telemetry.NewSets(func(k [3]string) []attribute.KeyValue {
		return []attribute.KeyValue{telemetry.GenAIProvider.String(k[0]), telemetry.GenAIRequestModel.String(k[1]), telemetry.CredentialClass.String(k[2])}
	})
	outer := t.Context()
	ctx, root := tel.Tracer().Start(outer, "root")
	defer root.End()
	headers := http.Header{"Accept": {"*/*"}}
	key := [3]string{"openai", "gpt-4o-mini", "own"}
	for name, check := range map[string]struct {
		most float64
		work func()
	}{
		"a root span": {5, func() {
			_, span := tel.Tracer().Start(outer, "work", telemetry.Server...)
			span.End()
		}},
		"a span below": {5, func() {
			_, span := tel.Tracer().Start(ctx, "work", telemetry.Client...)
			telemetry.Failed(span, "timeout")
			span.End()
		}},
		"a step": {0, func() {
			_, span := telemetry.Child(ctx, "work", telemetry.Client...)
			span.End()
		}},
		"an organization": {0, func() { telemetry.WithOrganization(ctx, "org_1") }},
		"headers without": {0, func() { telemetry.Extract(outer, headers) }},
		"a measurement":   {0, func() { duration.Record(ctx, 0.2, sets.Of(key).Record...) }},
	} {
		got := testing.AllocsPerRun(200, check.work)
		t.Logf("%s: %v allocations", name, got)
		if got > check.most {
			t.Errorf("%s costs %v allocations, want at most %v", name, got, check.most)
		}
	}
}

func BenchmarkSpan(b *testing.B) {
	for name, ratio := range map[string]string{"not sampled": "0", "sampled": "1"} {
		b.Run(name, func(b *testing.B) {
			b.Setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
			b.Setenv("OTEL_TRACES_SAMPLER_ARG", ratio)
			tel := start(b, telemetry.Options{Memory: telemetry.NewMemory(telemetry.MemoryLimits{})})
			outer := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				ctx, span := tel.Tracer().Start(outer, "work", telemetry.Server...)
				telemetry.WithOrganization(ctx, "org_1")
				span.End()
			}
		})
	}
}

func BenchmarkMeasurement(b *testing.B) {
	tel := start(b, telemetry.Options{})
	duration, err := tel.Meter().Float64Histogram(telemetry.MetricGenAIDuration)
	if err != nil {
		b.Fatal(err)
	}
	sets := telemetry.NewSets(func(k [2]string) []attribute.KeyValue {
		return []attribute.KeyValue{telemetry.GenAIProvider.String(k[0]), telemetry.GenAIRequestModel.String(k[1])}
	})
	outer := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		duration.Record(outer, 0.2, sets.Of([2]string{"openai", "gpt-4o-mini"}).Record...)
	}
}

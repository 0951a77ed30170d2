package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/tools/e2e/cluster"
	"github.com/claviger/claviger/tools/seed"
)

// watched is a world whose services report to a collector.
type watched struct {
	*world
	collector *collector
	ids       int
}

// caller is the span of somebody who calls us.
type caller struct{ traceID, spanID string }

func (c caller) traceparent() string { return "00-" + c.traceID + "-" + c.spanID + "-01" }

func (w *watched) newCaller() caller {
	w.ids++
	return caller{fmt.Sprintf("0af7651916cd43dd8448eb21%08x", w.ids), fmt.Sprintf("b7ad6b71%08x", w.ids)}
}

// overHTTP completes over OpenAI's HTTP below a caller's span. Failures are an answer.
func (w *watched) overHTTP(t *testing.T, traceparent string, c call) (status int, requestID, text string) {
	t.Helper()
	if c.key == "" {
		c.key = w.apiKey
	}
	body, err := json.Marshal(map[string]any{
		"model": c.model, "stream": c.stream, "messages": []map[string]string{{"role": "user", "content": strings.TrimSpace(c.script + " " + c.prompt)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.Routers[0].URL()+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Traceparent", traceparent)
	res, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, _ := io.ReadAll(res.Body) // a stream may be cut on purpose
	return res.StatusCode, res.Header.Get("x-request-id"), string(raw)
}

// overGRPC streams a completion with a stock gRPC client below a caller's span.
func (w *watched) overGRPC(t *testing.T, as caller, model, prompt string) (requestID string) {
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+w.apiKey, "traceparent", as.traceparent())
	stream, err := routerv1.NewCompletionServiceClient(dial(t, w.Routers[0].GRPC)).StreamCompletion(ctx, &routerv1.StreamCompletionRequest{Input: &routerv1.CompletionInput{
		Model:    model,
		Messages: []*routerv1.Message{{Role: routerv1.MessageRole_MESSAGE_ROLE_USER, Parts: []*routerv1.Part{{Content: &routerv1.Part_Text{Text: prompt}}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return requestID
		}
		if err != nil {
			t.Fatal(err)
		}
		if id := msg.GetStarted().GetRequestId(); id != "" {
			requestID = id
		}
	}
}

func dial(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// trace waits until the tree below a caller's span is the one that is wanted.
func (w *watched) trace(t *testing.T, of caller, want string) []span {
	t.Helper()
	want = strings.TrimPrefix(want, "\n")
	var spans []span
	cluster.Eventually(t, 30*time.Second, "the trace", func() error {
		spans = w.collector.trace(of.traceID)
		if got := draw(spans, of.spanID); got != want {
			return fmt.Errorf("got\n%swant\n%s", got, want)
		}
		return nil
	})
	if lines := strings.Count(want, "\n"); lines != len(spans) {
		t.Errorf("the trace has %d spans, of which %d are below the caller's", len(spans), lines)
	}
	return spans
}

// named returns the spans of a name.
func named(spans []span, name string) []span {
	return slices.DeleteFunc(slices.Clone(spans), func(s span) bool { return s.GetName() != name })
}

// expect compares some attributes of a span; "" must not be there, and "*" may be anything.
func expect(t *testing.T, s span, want map[string]string) {
	t.Helper()
	got := s.attributes()
	for name, value := range want {
		have, ok := got[name]
		if (value == "" && ok) || (value != "" && !ok) || (value != "*" && have != value) {
			t.Errorf("%s: %s = %q, want %q", s.GetName(), name, have, value)
		}
	}
}

func TestTheInstallationCanBeWatched(t *testing.T) {
	c := startCollector(t)
	w := &watched{
		world: newWorld(t, cluster.Options{
			Environ: append(c.environ(), "OTEL_RESOURCE_ATTRIBUTES=team=e2e"), Provider: []llmtest.Option{llmtest.WithCapture()},
		}),
		collector: c,
	}
	for _, test := range []struct {
		name string
		run  func(*testing.T, *watched)
	}{
		{"OneTraceOverGRPC", oneTraceOverGRPC},
		{"OneTraceOverHTTP", oneTraceOverHTTP},
		{"AFallbackIsSeen", aFallbackIsSeen},
		{"ACallersMistakeIsNoError", aCallersMistakeIsNoError},
		{"ACallerWhoLeavesIsNoError", aCallerWhoLeavesIsNoError},
		{"GarbageInTraceparentChangesNothing", garbageInTraceparent},
		{"MadeUpModelsMakeNoSeries", madeUpModels},
		{"MetricsAreWhatIsPromised", promisedMetrics},
		{"EachServiceSaysHowItIs", health},
		{"ALineOfTheLogNamesItsTrace", logLines},
		{"NoSecretAndNoPromptIsReported", nothingIsReported}, // last: it looks through all of the above
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, w) })
	}
}

// attemptOf waits for the usage of a request with one attempt.
func (w *watched) attemptOf(t *testing.T, requestID string) *meteringv1.Attempt {
	t.Helper()
	all, _ := w.attempts("acme", w.owner)
	for _, a := range all {
		if a.GetEvent().GetRequestId() == requestID {
			return a
		}
	}
	t.Fatalf("%s has no usage", requestID)
	return nil
}

func oneTraceOverGRPC(t *testing.T, w *watched) {
	as := w.newCaller()
	requestID := w.overGRPC(t, as, "openai/gpt-4o-mini", "script:tokens=20,in=64,cached=16,reasoning=4 hello")
	spans := w.trace(t, as, `
claviger.router.v1.CompletionService/StreamCompletion [router server]
  plan [router internal]
  attempt [router internal]
    chat gpt-4o-mini [router client]
    journal [router internal]
    publish [router producer]
    apply usage [metering consumer]
`)
	usage := w.attemptOf(t, requestID)
	event := usage.GetEvent()
	attempt := named(spans, "attempt")[0]
	if event.GetTraceId() != as.traceID || event.GetSpanId() != attempt.id() {
		t.Errorf("the usage names trace %s and span %s, want %s and %s", event.GetTraceId(), event.GetSpanId(), as.traceID, attempt.id())
	}
	for _, s := range spans {
		expect(t, s, map[string]string{"claviger.org_id": event.GetOrgId()})
	}
	expect(t, spans[0], map[string]string{
		"claviger.request_id": requestID, "rpc.system.name": "grpc", "rpc.response.status_code": "ok", "error.type": "",
	})
	expect(t, named(spans, "plan")[0], map[string]string{"claviger.plan.targets": "1", "claviger.config.version": "*", "claviger.policy": ""})
	expect(t, attempt, map[string]string{
		"claviger.attempt_id": event.GetAttemptId(), "claviger.request_id": requestID, "claviger.attempt.number": "1", "claviger.outcome": "ok",
		"claviger.credential.class": "own", "claviger.credential_id": event.GetCredentialId(),
		"gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini", "error.type": "",
	})
	expect(t, named(spans, "chat gpt-4o-mini")[0], map[string]string{
		"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini", "gen_ai.response.model": event.GetResponseModel(),
		"gen_ai.request.stream": "true", "gen_ai.response.finish_reasons": "stop", "gen_ai.response.time_to_first_chunk": "*",
		"gen_ai.usage.input_tokens": "64", "gen_ai.usage.output_tokens": fmt.Sprint(event.GetTokens().GetOutputTotal()),
		"gen_ai.usage.cache_read.input_tokens": "16", "gen_ai.usage.reasoning.output_tokens": "4",
		"http.response.status_code": "200", "server.address": "", // an address of the tenant's own
	})
	if events := attempt.GetEvents(); len(events) != 1 || events[0].GetName() != "intent written" || events[0].GetTimeUnixNano() > named(spans, "chat gpt-4o-mini")[0].GetStartTimeUnixNano() {
		t.Errorf("events of the attempt = %v, want that its intent was written before the call", events)
	}
	expect(t, named(spans, "publish")[0], map[string]string{"messaging.system": "nats", "claviger.attempt_id": event.GetAttemptId(), "claviger.request_id": requestID})
	expect(t, named(spans, "apply usage")[0], map[string]string{"claviger.attempt_id": event.GetAttemptId(), "claviger.request_id": requestID})
	// The frame has a trace of its own, which goes on in metering, and both know each other.
	frame := named(spans, "publish")[0].GetLinks()[0]
	cluster.Eventually(t, 20*time.Second, "the frame's trace", func() error {
		got := draw(w.collector.trace(hex.EncodeToString(frame.GetTraceId())), "")
		if !strings.HasPrefix(got, "publish usage [router producer]\n  usage apply [metering consumer]\n") {
			return fmt.Errorf("got\n%s", got)
		}
		return nil
	})
	// Providers are told nothing of it.
	for _, r := range w.Provider.Requests() {
		for name := range r.Header {
			if lower := strings.ToLower(name); strings.HasPrefix(lower, "trace") || lower == "baggage" || lower == "b3" {
				t.Errorf("the provider was sent %s", name)
			}
		}
	}
}

func oneTraceOverHTTP(t *testing.T, w *watched) {
	as := w.newCaller()
	status, requestID, text := w.overHTTP(t, as.traceparent(), call{model: "policy/main", stream: true, script: "script:tokens=5"})
	if status != http.StatusOK || !strings.Contains(text, "[DONE]") {
		t.Fatalf("status %d: %s", status, text)
	}
	spans := w.trace(t, as, `
POST /v1/chat/completions [router server]
  plan [router internal]
  attempt [router internal]
    chat gpt-4o-mini [router client]
    journal [router internal]
    publish [router producer]
    apply usage [metering consumer]
`)
	event := w.attemptOf(t, requestID).GetEvent()
	for _, s := range spans {
		expect(t, s, map[string]string{"claviger.org_id": event.GetOrgId()})
	}
	expect(t, spans[0], map[string]string{
		"claviger.request_id": requestID, "claviger.edge": "openai", "http.request.method": "POST", "http.route": "/v1/chat/completions",
		"http.response.status_code": "200", "error.type": "",
	})
	expect(t, named(spans, "plan")[0], map[string]string{"claviger.plan.targets": "2", "claviger.policy": "main", "claviger.policy.version": "1"})
	expect(t, named(spans, "attempt")[0], map[string]string{
		"claviger.attempt_id": event.GetAttemptId(), "claviger.policy": "main", "claviger.policy.version": "1", "claviger.target.index": "0",
	})
}

func aFallbackIsSeen(t *testing.T, w *watched) {
	as := w.newCaller()
	w.Provider.Control("gpt-4o-mini", "", 1, mustScript(t, "script:error=server"))
	if status, _, text := w.overHTTP(t, as.traceparent(), call{model: "policy/main", prompt: "hello"}); status != http.StatusOK {
		t.Fatalf("status %d: %s", status, text)
	}
	spans := w.trace(t, as, `
POST /v1/chat/completions [router server]
  plan [router internal]
  attempt [router internal] !
    chat gpt-4o-mini [router client] !
    journal [router internal]
    publish [router producer]
    apply usage [metering consumer]
  attempt [router internal]
    chat claude-haiku-4-5 [router client]
    journal [router internal]
    publish [router producer]
    apply usage [metering consumer]
`)
	attempts := named(spans, "attempt")
	expect(t, attempts[0], map[string]string{"claviger.outcome": "failed", "error.type": "server_error", "claviger.credential.class": "own", "claviger.target.index": "0"})
	expect(t, attempts[1], map[string]string{"claviger.outcome": "ok", "error.type": "", "claviger.credential.class": "platform", "claviger.attempt.number": "2", "claviger.target.index": "1"})
	expect(t, named(spans, "chat gpt-4o-mini")[0], map[string]string{"http.response.status_code": "500", "error.type": "server_error"})

	// The last target's failure is the request's.
	as = w.newCaller()
	w.overHTTP(t, as.traceparent(), call{model: "openai/gpt-4o-mini", stream: true, script: "script:tokens=9,cutat=3"})
	spans = w.trace(t, as, `
POST /v1/chat/completions [router server] !
  plan [router internal]
  attempt [router internal] !
    chat gpt-4o-mini [router client] !
    journal [router internal]
    publish [router producer]
    apply usage [metering consumer]
`)
	expect(t, spans[0], map[string]string{"http.response.status_code": "200", "error.type": "ANSWER_BROKEN_OFF"})
}

func aCallersMistakeIsNoError(t *testing.T, w *watched) {
	as := w.newCaller()
	if status, _, _ := w.overHTTP(t, as.traceparent(), call{model: "openai/gpt-4o-mini", script: "script:error=bad_request"}); status != http.StatusBadRequest {
		t.Errorf("status %d, want 400", status)
	}
	spans := w.trace(t, as, `
POST /v1/chat/completions [router server]
  plan [router internal]
  attempt [router internal]
    chat gpt-4o-mini [router client]
    journal [router internal]
    publish [router producer]
    apply usage [metering consumer]
`)
	expect(t, named(spans, "attempt")[0], map[string]string{"error.type": "invalid_request", "claviger.outcome": "failed"})

	as = w.newCaller()
	w.overHTTP(t, as.traceparent(), call{model: "policy/none", prompt: "hello"})
	spans = w.trace(t, as, `
POST /v1/chat/completions [router server]
  plan [router internal]
`)
	expect(t, spans[1], map[string]string{"claviger.reason": "POLICY_NOT_FOUND", "error.type": ""})
	expect(t, spans[0], map[string]string{"http.response.status_code": "404", "claviger.reason": "POLICY_NOT_FOUND", "error.type": ""})
}

// aCallerWhoLeavesIsNoError hangs up in the middle of an answer.
func aCallerWhoLeavesIsNoError(t *testing.T, w *watched) {
	const script = "script:tokens=2000,delay=5ms"
	overHTTP := w.newCaller()
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	body := strings.NewReader(`{"model":"openai/gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"` + script + `"}]}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.Routers[0].URL()+"/v1/chat/completions", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.apiKey)
	req.Header.Set("Traceparent", overHTTP.traceparent())
	res, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()

	overGRPC := w.newCaller()
	stream, err := routerv1.NewCompletionServiceClient(dial(t, w.Routers[0].GRPC)).StreamCompletion(
		metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+w.apiKey, "traceparent", overGRPC.traceparent()),
		&routerv1.StreamCompletionRequest{Input: &routerv1.CompletionInput{
			Model:    "openai/gpt-4o-mini",
			Messages: []*routerv1.Message{{Role: routerv1.MessageRole_MESSAGE_ROLE_USER, Parts: []*routerv1.Part{{Content: &routerv1.Part_Text{Text: script}}}}},
		}})
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	hangUp()
	for as, edge := range map[caller]string{overHTTP: "POST /v1/chat/completions", overGRPC: "claviger.router.v1.CompletionService/StreamCompletion"} {
		spans := w.trace(t, as, edge+` [router server]
  plan [router internal]
  attempt [router internal]
    chat gpt-4o-mini [router client]
    journal [router internal]
    publish [router producer]
    apply usage [metering consumer]
`)
		expect(t, named(spans, "attempt")[0], map[string]string{"claviger.outcome": "canceled", "error.type": "canceled"})
	}
}

func garbageInTraceparent(t *testing.T, w *watched) {
	sent := map[string]string{} // what was sent, by request
	for _, garbage := range []string{
		"garbage", "00-", strings.Repeat("0", 55), "00-00000000000000000000000000000000-b7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
		strings.Repeat("a", 4096), `{"$ne":1}`, "\xff\xfe",
	} {
		status, requestID, _ := w.overHTTP(t, garbage, call{model: "openai/gpt-4o-mini", prompt: "hello"})
		if status != http.StatusOK {
			t.Errorf("traceparent %.60q: status %d", garbage, status)
			continue
		}
		sent[requestID] = garbage
	}
	all, _ := w.attempts("acme", w.owner)
	seen := 0
	for _, a := range all {
		garbage, ok := sent[a.GetEvent().GetRequestId()]
		if !ok {
			continue
		}
		seen++
		if traceID := a.GetEvent().GetTraceId(); len(traceID) != 32 || strings.Contains(garbage, traceID) {
			t.Errorf("traceparent %.60q: the usage names trace %q, want a new one", garbage, traceID)
		}
	}
	if seen != len(sent) {
		t.Errorf("%d of %d requests have usage", seen, len(sent))
	}
}

// scrape reads the measurements of a service: as OpenMetrics, with exemplars, and in the older form.
func scrape(t *testing.T, w *watched, s *cluster.Service, openMetrics bool) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.OpsURL()+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if openMetrics {
		req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	}
	res, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GET /metrics of %s: status %d, %v", s.Name, res.StatusCode, err)
	}
	return string(text)
}

// seriesOf lists what a service measures, without values.
func seriesOf(text string) map[string]bool {
	out := map[string]bool{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if line := lines.Text(); line != "" && line[0] != '#' {
			out[line[:strings.LastIndexByte(line, ' ')]] = true
		}
	}
	return out
}

func madeUpModels(t *testing.T, w *watched) {
	ask := func(name string) {
		for _, stream := range []bool{false, true} {
			if status, _, text := w.overHTTP(t, w.newCaller().traceparent(), call{model: "openai/" + name, stream: stream, script: "script:tokens=12,delay=2ms"}); status != http.StatusOK {
				t.Fatalf("%s: status %d: %s", name, status, text)
			}
		}
		w.overHTTP(t, w.newCaller().traceparent(), call{model: name, prompt: "hello"}) // no such provider
	}
	ask("made-up-0")
	before := seriesOf(scrape(t, w, w.Routers[0], false))
	for i := range 20 {
		ask(fmt.Sprintf("made-up-%d", i+1))
	}
	after := scrape(t, w, w.Routers[0], false)
	for name := range seriesOf(after) {
		if !before[name] && strings.HasPrefix(name, "gen_ai") {
			t.Errorf("a caller made the series %s", name)
		}
	}
	if strings.Contains(after, "made-up") || !strings.Contains(after, `gen_ai_request_model="other"`) {
		t.Error("made-up models are not counted as other ones")
	}
}

// The buckets that the conventions for generative AI name.
const (
	secondBuckets = "0.01 0.02 0.04 0.08 0.16 0.32 0.64 1.28 2.56 5.12 10.24 20.48 40.96 81.92 +Inf"
	tokenBuckets  = "1 4 16 64 256 1024 4096 16384 65536 262144 1.048576e+06 4.194304e+06 1.6777216e+07 6.7108864e+07 +Inf"
)

func promisedMetrics(t *testing.T, w *watched) {
	for service, promised := range map[*cluster.Service]map[string]string{ // name → buckets, if they matter
		w.Routers[0]: {
			"gen_ai_client_operation_duration_seconds": secondBuckets, "gen_ai_client_token_usage": tokenBuckets,
			"gen_ai_client_operation_time_to_first_chunk_seconds": secondBuckets, "gen_ai_client_operation_time_per_output_chunk_seconds": secondBuckets,
			"http_server_request_duration_seconds": "", "http_server_active_requests": "", "rpc_server_call_duration_seconds": "",
			"claviger_streams_open": "", "claviger_streams_refused_total": "", "claviger_attempts_total": "", "claviger_fallbacks_total": "",
			"claviger_journal_events": "", "claviger_journal_size_bytes": "", "claviger_journal_oldest_seconds": "", "claviger_publish_lag_seconds": "",
			"claviger_config_version": "", "claviger_config_age_seconds": "", "claviger_config_objects": "", "claviger_keyring_open_duration_seconds": "",
			"claviger_router_class_violations_total": "", "claviger_credentials_held": "", "claviger_breakers": "",
			"go_goroutine_count": "",
		},
		w.Keys:     {"rpc_server_call_duration_seconds": "", "claviger_config_version": ""},
		w.Metering: {"rpc_server_call_duration_seconds": "", "claviger_ingest_lag_seconds": "", "claviger_ingest_events_total": ""},
	} {
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(scrape(t, w, service, false)))
		if err != nil {
			t.Errorf("%s: /metrics cannot be parsed: %v", service.Name, err)
			continue
		}
		for name, buckets := range promised {
			family := families[name]
			if family == nil {
				t.Errorf("%s: there is no %s; there are %v", service.Name, name, slices.Sorted(maps.Keys(families)))
				continue
			}
			if n := family.GetMetric()[0].GetCounter().GetValue(); name == "claviger_router_class_violations_total" && n != 0 {
				t.Errorf("%s: %v targets were planned that are not allowed, want none", service.Name, n)
			}
			if buckets == "" {
				continue
			}
			var got []string
			for _, b := range family.GetMetric()[0].GetHistogram().GetBucket() {
				got = append(got, fmt.Sprint(b.GetUpperBound()))
			}
			if strings.Join(got, " ") != buckets {
				t.Errorf("%s: buckets of %s = %v, want %s", service.Name, name, got, buckets)
			}
		}
		for name, family := range families {
			for _, m := range family.GetMetric() {
				for _, l := range m.GetLabel() {
					if regexp.MustCompile(`(org|key|cred|req|att|mem|pol)_[0-9a-z]{20}`).MatchString(l.GetValue()) {
						t.Errorf("%s: %s has the label %s=%s", service.Name, name, l.GetName(), l.GetValue())
					}
				}
			}
		}
	}
	text := scrape(t, w, w.Routers[0], true)
	for _, name := range []string{"gen_ai_client_operation_duration_seconds_bucket", "gen_ai_client_token_usage_bucket", "http_server_request_duration_seconds_bucket"} {
		if !regexp.MustCompile(`(?m)^` + name + `\{.* # \{.*trace_id="[0-9a-f]{32}"`).MatchString(text) {
			t.Errorf("%s has no exemplar", name)
		}
	}
	for series, want := range map[string]string{
		`claviger_attempts_total\{.*claviger_outcome="ok".*gen_ai_provider_name="anthropic"`:         "[1-9]",
		`claviger_fallbacks_total\{.*error_type="server_error"`:                                      "[1-9]",
		`gen_ai_client_operation_duration_seconds_count\{.*error_type="server_error"`:                "[1-9]",
		`gen_ai_client_token_usage_sum\{claviger_credential_class="own".*gen_ai_token_type="output"`: "[1-9]",
		`claviger_config_objects\{claviger_config_object="credential"`:                               "2",
		`claviger_streams_open\{`: "0",
	} {
		if !regexp.MustCompile(`(?m)^` + series + `.*\} ` + want).MatchString(text) {
			t.Errorf("there is no %s with %s", series, want)
		}
	}
}

func health(t *testing.T, w *watched) {
	for _, s := range []*cluster.Service{w.Keys, w.Metering, w.Routers[0]} {
		for _, path := range []string{"/healthz", "/readyz"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.OpsURL()+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			res, err := w.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if _ = res.Body.Close(); res.StatusCode != http.StatusOK {
				t.Errorf("%s of %s: status %d", path, s.Name, res.StatusCode)
			}
		}
	}
	for addr, service := range map[string]string{
		w.Routers[0].GRPC: "claviger.router.v1.CompletionService", strings.TrimPrefix(w.Routers[0].URL(), "http://"): "claviger.router.v1.CompletionService",
		strings.TrimPrefix(w.Keys.URL(), "http://"): "claviger.keys.v1.CredentialService", strings.TrimPrefix(w.Metering.URL(), "http://"): "claviger.metering.v1.UsageService",
	} {
		conn := dial(t, addr)
		state, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || state.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health of %s at %s = %v, %v", service, addr, state.GetStatus(), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		reflection, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
		if err == nil {
			err = reflection.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
		}
		var answer *reflectionpb.ServerReflectionResponse
		if err == nil {
			answer, err = reflection.Recv()
		}
		cancel()
		if err != nil || !slices.ContainsFunc(answer.GetListServicesResponse().GetService(), func(s *reflectionpb.ServiceResponse) bool { return s.GetName() == service }) {
			t.Errorf("reflection at %s = %v, %v, want %s in it", addr, answer, err, service)
		}
	}
}

func logLines(t *testing.T, w *watched) {
	as := w.newCaller()
	_, requestID, _ := w.overHTTP(t, as.traceparent(), call{model: "policy/none", prompt: "hello"})
	for lines := bufio.NewScanner(strings.NewReader(w.Routers[0].Log())); lines.Scan(); {
		var line map[string]any
		if json.Unmarshal(lines.Bytes(), &line) == nil && line["request_id"] == requestID {
			if line["trace_id"] != as.traceID || line["span_id"] == nil {
				t.Errorf("the line names trace %v and span %v, want %s", line["trace_id"], line["span_id"], as.traceID)
			}
			return
		}
	}
	t.Errorf("the log has no line of %s", requestID)
}

// nothingIsReported asks with canaries in requests that succeed, fail, break and fall back, and looks for
// them in all that any service has ever reported.
func nothingIsReported(t *testing.T, w *watched) {
	const credential, prompt, reply = "sk-canaryWATCHED-9d8c7b6a5f", "canaryASKED-5e1f0c8d7a", "canaryTOLD-2b4d6f8a0c"
	w.Provider.SetKeys("openai", ownKey, credential)
	login := seed.Login{Email: "owner@canary.example", Password: secret.New("canaryPASSED of the owner")}
	key := w.seed("canary", login, credential)
	cluster.Eventually(t, 20*time.Second, "the canary's first completion", func() error {
		_, err := w.complete(t.Context(), 0, call{key: key, prompt: prompt})
		return err
	})
	for _, script := range []string{
		"", "script:text=" + reply, "script:error=auth,echo", "script:error=bad_request,echo", "script:error=server,echo",
		"script:at=3,error=server,echo", "script:cutat=3", "script:error=quota,echo",
	} {
		for _, stream := range []bool{false, true} {
			for _, model := range []string{"openai/gpt-4o-mini", "policy/main"} {
				w.overHTTP(t, w.newCaller().traceparent(), call{model: model, key: key, stream: stream, script: script, prompt: prompt})
			}
		}
	}
	w.overHTTP(t, w.newCaller().traceparent(), call{model: "openai/gpt-4o-mini", key: key[:len(key)-1] + "x", prompt: prompt})
	w.overHTTP(t, "00-"+hex.EncodeToString([]byte(prompt))[:32]+"-", call{model: "openai/gpt-4o-mini", key: key, prompt: prompt})
	session := w.SignIn("canary", login)
	last := w.newCaller()
	w.overHTTP(t, last.traceparent(), call{model: "openai/gpt-4o-mini", key: key, script: "script:text=" + reply, prompt: prompt})
	w.attempts("canary", login)
	cluster.Eventually(t, 20*time.Second, "the last trace", func() error {
		if n := len(w.collector.trace(last.traceID)); n == 0 {
			return errors.New("not there yet")
		}
		return nil
	})

	reported := map[string][]byte{}
	for _, s := range []*cluster.Service{w.Keys, w.Metering, w.Routers[0]} {
		reported["/metrics of "+s.Name] = []byte(scrape(t, w, s, true))
	}
	for _, s := range []*cluster.Service{w.Keys, w.Metering, w.Routers[0]} {
		s.Stop() // sends what is left
		reported["the log of "+s.Name] = []byte(s.Log())
	}
	reported["what the collector took"] = w.collector.everything(t)
	for signal, n := range w.collector.counts() {
		if n == 0 {
			t.Errorf("the collector took no %s", signal)
		}
	}
	_, body, _ := strings.Cut(strings.TrimPrefix(key, "clv_live_"), "_")
	for what, plain := range map[string]string{
		"credential": credential, "API key": body, "prompt": prompt, "answer": reply, "password": login.Password.Reveal(),
		"access token": session.AccessToken.Reveal(), "other credential": ownKey, "platform credential": platformKey,
	} {
		for form, needle := range forms(plain) {
			for where, text := range reported {
				if i := bytes.Index(text, needle); i >= 0 {
					t.Errorf("the %s (%s) stands in %s: …%q", what, form, where, text[max(0, i-200):i])
				}
			}
		}
		// Base64 knows three positions.
		for skip := 1; skip < 3; skip++ {
			needle := base64.StdEncoding.EncodeToString([]byte(plain)[skip:])
			for where, text := range reported {
				if bytes.Contains(text, []byte(needle[:len(needle)/4*4-4])) {
					t.Errorf("the %s (base64) stands in %s", what, where)
				}
			}
		}
	}
	if size := len(reported["what the collector took"]); size < 100_000 {
		t.Errorf("the collector took %d bytes only: the search looks in the wrong place", size)
	}
}

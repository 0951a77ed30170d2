package observe_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/observe"
	"github.com/claviger/claviger/services/router/internal/usage"
)

type rig struct {
	*observe.Completions
	t      *telemetry.Telemetry
	memory *telemetry.Memory
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{memory: telemetry.NewMemory(telemetry.MemoryLimits{})}
	var err error
	if r.t, err = telemetry.Start(t.Context(), telemetry.Options{Service: "router", Memory: r.memory}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.t.Shutdown(context.WithoutCancel(t.Context())) })
	r.Completions = observe.New(observe.Options{
		Telemetry: r.t, Models: []string{"openai/gpt-4o-mini"}, Now: time.Now,
		Named: func(model string) (string, bool) {
			return "bedrock/amazon.nova-pro-v1:0", model == "bedrock/us.amazon.nova-pro-v1:0"
		},
		Hosts: map[string]string{"https://api.openai.com/v1": "api.openai.com"},
	})
	return r
}

func (r *rig) metrics(t *testing.T) string {
	t.Helper()
	w := httptest.NewRecorder()
	telemetry.Metrics(r.t).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	return w.Body.String()
}

func target(model string) *completion.Target {
	return &completion.Target{Provider: "openai", Model: "openai/" + model, Name: model, Class: usage.Own}
}

// attempt plays one attempt that ends as the event says.
func (r *rig) attempt(ctx context.Context, t *completion.Target, baseURL string, e *usage.Event) {
	e.Started = time.Now()
	a := r.Attempt(ctx, t, e)
	a.Calling(ctx, baseURL)
	e.Ended = time.Now()
	a.Recorded(nil)
	a.Ended(e)
}

func TestAnEventNamesItsSpanOnlyIfTheTraceIsRecorded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const traceID = "0af7651916cd43dd8448eb211c80319c"
	id, _ := trace.TraceIDFromHex(traceID)
	span, _ := trace.SpanIDFromHex("b7ad6b7169203331")
	for flags, recorded := range map[trace.TraceFlags]bool{0: false, trace.FlagsSampled: true} {
		above := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: flags, Remote: true})
		ctx, edge := r.t.Tracer().Start(trace.ContextWithRemoteSpanContext(t.Context(), above), "edge")
		var e usage.Event
		r.attempt(ctx, target("gpt-4o-mini"), "", &e)
		edge.End()
		if e.TraceID != traceID || (e.SpanID != "") != recorded {
			t.Errorf("flags %v: trace %q, span %q, want the trace, and a span: %v", flags, e.TraceID, e.SpanID, recorded)
		}
	}
	var e usage.Event
	r.attempt(t.Context(), target("gpt-4o-mini"), "", &e)
	if e.TraceID != "" || e.SpanID != "" {
		t.Errorf("without a trace the event names trace %q, span %q", e.TraceID, e.SpanID)
	}
}

func TestOnlyAddressesThatEverybodyKnowsAreTold(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{"https://api.openai.com/v1": "api.openai.com", "https://llm.tenant.example/v1": ""} {
		r := newRig(t)
		ctx, edge := r.t.Tracer().Start(t.Context(), "edge")
		r.attempt(ctx, target("gpt-4o-mini"), url, &usage.Event{})
		edge.End()
		seen := 0
		for _, s := range r.memory.Trace(edge.SpanContext().TraceID().String()) {
			if s.Name == "chat gpt-4o-mini" {
				seen++
				if got := s.Attributes["server.address"]; got != want {
					t.Errorf("%s: server.address = %q, want %q", url, got, want)
				}
			}
		}
		if seen != 1 {
			t.Errorf("%s: %d spans of the call, want 1", url, seen)
		}
	}
}

func TestEachClassOfErrorsIsSomebodysFault(t *testing.T) {
	t.Parallel()
	for class, failed := range map[completion.Class]bool{
		completion.InvalidRequest: false, completion.TooLarge: false, completion.ContentRefused: false, completion.Unsupported: false, completion.ModelNotFound: false,
		completion.AuthInvalid: true, completion.AuthLimited: true, completion.QuotaExhausted: true, completion.RateLimited: true, completion.Overloaded: true,
		completion.ServerError: true, completion.TimedOut: true, completion.Network: true,
	} {
		r := newRig(t)
		ctx, edge := r.t.Tracer().Start(t.Context(), "edge")
		r.attempt(ctx, target("gpt-4o-mini"), "", &usage.Event{Outcome: usage.Failed, ErrorClass: string(class)})
		edge.End()
		for _, s := range r.memory.Trace(edge.SpanContext().TraceID().String()) {
			if s.Name != "attempt" && s.Name != "chat gpt-4o-mini" {
				continue
			}
			if s.Error != failed || s.Attributes["error.type"] != string(class) {
				t.Errorf("%s: %s is an error: %v of type %q, want %v", class, s.Name, s.Error, s.Attributes["error.type"], failed)
			}
		}
	}
}

// TestAnAttemptEndsWhenItsResultIsWritten, though its caller gets the answer and its connection is tidied up before
// anybody is told.
func TestAnAttemptEndsWhenItsResultIsWritten(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx, edge := r.t.Tracer().Start(t.Context(), "edge")
	e := &usage.Event{Outcome: usage.OK, Started: time.Now()}
	a := r.Attempt(ctx, target("gpt-4o-mini"), e)
	a.Calling(ctx, "")
	e.Ended = time.Now()
	a.Recorded(nil)
	written := time.Now()
	for !time.Now().After(written) { // the clock's next tick
	}
	a.Ended(e)
	edge.End()
	ends := map[string]time.Time{}
	for _, s := range r.memory.Trace(edge.SpanContext().TraceID().String()) {
		ends[s.Name] = s.Start.Add(s.Duration)
	}
	if call := ends["chat gpt-4o-mini"]; !call.Equal(e.Ended) {
		t.Errorf("the call ends at %v, want %v", call, e.Ended)
	}
	for _, name := range []string{"journal", "attempt"} {
		if end := ends[name]; end.Before(e.Ended) || end.After(written) {
			t.Errorf("%s ends at %v, want between %v and %v", name, end, e.Ended, written)
		}
	}
}

func TestTenantsMakeNoSeries(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, model := range []string{"gpt-4o-mini", "made-up-1", "made-up-2"} {
		r.attempt(t.Context(), target(model), "", &usage.Event{Outcome: usage.OK})
	}
	for i := range 3000 {
		of := target("made-up-by-owner-" + strconv.Itoa(i))
		of.PolicyID = "pol_1"
		r.attempt(t.Context(), of, "", &usage.Event{Outcome: usage.OK})
	}
	text := r.metrics(t)
	if strings.Contains(text, "made-up") || !strings.Contains(text, `gen_ai_request_model="other"`) || !strings.Contains(text, `gen_ai_request_model="gpt-4o-mini"`) {
		t.Errorf("models that a tenant has named are not counted as other ones:\n%.2000s", text)
	}
	if n := strings.Count(text, "gen_ai_client_operation_duration_seconds_count{"); n != 2 {
		t.Errorf("one known model and 3002 others make %d series, want 2", n)
	}
}

// TestProvidersHaveTheNamesOfTheConventions asks for one of each operation at each provider.
func TestProvidersHaveTheNamesOfTheConventions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	names := map[string]string{
		"anthropic": "anthropic", "azure": "azure.ai.openai", "baseten": "baseten", "bedrock": "aws.bedrock", "deepinfra": "deepinfra", "fal": "fal",
		"google-ai-studio": "gcp.gemini", "groq": "groq", "mistral": "mistral_ai", "moonshot": "moonshot_ai", "openai": "openai",
		"perplexity": "perplexity", "pollo": "pollo", "vertex": "gcp.vertex_ai", "xai": "x_ai",
	}
	operations := map[string]string{"": "chat", "chat": "chat", "embeddings": "embeddings", "images": "images", "count_tokens": "count_tokens", "videos": "videos", "made-up": "other"}
	for slug, name := range names {
		for asked, operation := range operations {
			ctx, edge := r.t.Tracer().Start(t.Context(), "edge")
			of := &completion.Target{Provider: slug, Model: slug + "/m", Name: "m", Class: usage.Own}
			r.attempt(ctx, of, "", &usage.Event{Operation: asked, Outcome: usage.OK})
			edge.End()
			seen := false
			for _, s := range r.memory.Trace(edge.SpanContext().TraceID().String()) {
				if s.Name == operation+" m" {
					seen = s.Attributes["gen_ai.provider.name"] == name && s.Attributes["gen_ai.operation.name"] == operation
				}
			}
			if !seen {
				t.Errorf("%s at %s: no span of %s at %s", asked, slug, operation, name)
			}
		}
	}
	text := r.metrics(t)
	for _, name := range names {
		for _, operation := range []string{"chat", "embeddings", "images", "count_tokens", "videos", "other"} {
			if !strings.Contains(text, `gen_ai_operation_name="`+operation+`",gen_ai_provider_name="`+name+`",gen_ai_request_model="other"`) {
				t.Errorf("%s at %s is not measured", operation, name)
			}
		}
	}
	if n := strings.Count(text, "gen_ai_client_operation_duration_seconds_count{"); n != 15*6 {
		t.Errorf("%d series, want one for each provider and operation", n)
	}
	if strings.Contains(text, "made-up") || strings.Contains(text, "google-ai-studio") {
		t.Error("a name of ours or of nobody is a label")
	}
}

func TestAModelOfARegionIsMeasuredAsTheModel(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, name := range []string{"us.amazon.nova-pro-v1:0", "us.made-up"} {
		r.attempt(t.Context(), &completion.Target{Provider: "bedrock", Model: "bedrock/" + name, Name: name, Class: usage.Own}, "", &usage.Event{Outcome: usage.OK})
	}
	text := r.metrics(t)
	if !strings.Contains(text, `gen_ai_request_model="amazon.nova-pro-v1:0"`) || !strings.Contains(text, `gen_ai_request_model="other"`) || strings.Contains(text, `"us.`) {
		t.Errorf("the model is not measured under its own name:\n%.1500s", text)
	}
}

func TestEstimatesAreNotMeasuredAsCounts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tokens := &usage.Tokens{InputTotal: 10, OutputTotal: 20}
	r.attempt(t.Context(), target("gpt-4o-mini"), "", &usage.Event{Outcome: usage.OK, Source: usage.Estimated, Tokens: tokens})
	if text := r.metrics(t); strings.Contains(text, "gen_ai_client_token_usage") {
		t.Error("an estimate is measured")
	}
	r.attempt(t.Context(), target("gpt-4o-mini"), "", &usage.Event{Outcome: usage.OK, Source: usage.ProviderFinal, Tokens: tokens})
	if text := r.metrics(t); !strings.Contains(text, `gen_ai_token_type="output",service_name="claviger-router"} 20`) {
		t.Errorf("a count is not measured:\n%s", text)
	}
}

func TestPiecesOfUnrecordedAnswersAllocateNothing(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	r := newRig(t)
	ctx, edge := r.t.Tracer().Start(t.Context(), "edge")
	defer edge.End()
	a := r.Attempt(ctx, target("gpt-4o-mini"), &usage.Event{})
	at := time.Now()
	if n := testing.AllocsPerRun(100, func() { a.Piece(at) }); n != 0 {
		t.Errorf("a piece allocates %v times", n)
	}
	of, e := target("gpt-4o-mini"), usage.Event{}
	if n := testing.AllocsPerRun(100, func() { r.attempt(ctx, of, "", &e) }); n > 2 { // itself, and the trace's id as text
		t.Errorf("an attempt allocates %v times", n)
	}
}

// TestWhatTheLoopDoesIsCounted by provider, and by who pays and why where that is known.
func TestWhatTheLoopDoesIsCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	from, failure := target("gpt-4o-mini"), &completion.ProviderError{Class: completion.Overloaded}
	r.MovedOn(from, failure)
	r.Retried(from, failure)
	r.Retried(from, failure)
	r.Spent(from)
	r.Hedged(from, target("gpt-4o"))
	got := r.metrics(t)
	for _, want := range []string{
		`claviger_fallbacks_total{claviger_credential_class="own",error_type="overloaded",gen_ai_provider_name="openai"`,
		`claviger_retries_total{claviger_credential_class="own",error_type="overloaded",gen_ai_provider_name="openai"`,
		`claviger_retries_refused_total{gen_ai_provider_name="openai"`,
		`claviger_hedges_total{gen_ai_provider_name="openai"`,
	} {
		if strings.Count(got, want) != 1 {
			t.Errorf("the measurements have no single %s\n%s", want, got)
		}
	}
}

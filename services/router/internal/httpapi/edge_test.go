package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/httpapi"
	"github.com/claviger/claviger/services/router/internal/plan"
	"github.com/claviger/claviger/services/router/internal/provider/anthropic"
	"github.com/claviger/claviger/services/router/internal/provider/compat"
	"github.com/claviger/claviger/services/router/internal/provider/openai"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/snapshot"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// rig is the edges over providers, with all that is around them left out.
type rig struct {
	completion.Planner
	completion.Keyring
	completion.Evidence
	mu      sync.Mutex
	events  []usage.Event
	targets []completion.Target // of every request; by the model's slug if there are none
	heard   chan struct{}       // of events, if somebody wants to know
}

func (r *rig) Plan(caller completion.Caller, req *completion.Request) (completion.Plan, error) {
	if r.Planner != nil {
		return r.Planner.Plan(caller, req)
	}
	if r.targets != nil {
		return completion.Plan{Targets: r.targets}, nil
	}
	slug, name, _ := strings.Cut(req.Model, "/")
	return completion.Plan{Targets: []completion.Target{target(slug, name)}}, nil
}

// target is tried once.
func target(slug, name string) completion.Target {
	return completion.Target{
		Provider: slug, Model: slug + "/" + name, Name: name, Class: usage.Own, Credential: &completion.Credential{Label: "prod"}, Rule: &completion.Rule{},
	}
}

func (r *rig) Secret(ctx context.Context, c *completion.Credential) (secret.Text, error) {
	if r.Keyring != nil {
		return r.Keyring.Secret(ctx, c)
	}
	return secret.New(providertest.Key), nil
}

func (r *rig) Refused(*completion.Credential, usage.Class, *completion.ProviderError) {}
func (r *rig) Limited(*completion.Credential, usage.Class, *completion.ProviderError) {}

func (r *rig) Begin(*usage.Event) (*usage.Ticket, error)     { return &usage.Ticket{}, nil }
func (r *rig) Checkpoint(string, usage.Tokens, usage.Source) {}
func (r *rig) Done(_ *usage.Ticket, e *usage.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, *e)
	select {
	case r.heard <- struct{}{}:
	default:
	}
	return nil
}

func (r *rig) done() []usage.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func (r *rig) handler(t *testing.T, providers map[string]completion.Provider, urls map[string]string) http.Handler {
	t.Helper()
	return r.handlerOf(t, completion.New(completion.Options{
		Planner: r, Keyring: r, Recorder: r, Evidence: r, Providers: providers, BaseURLs: urls,
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}))
}

// handlerOf is the edges over a service.
func (r *rig) handlerOf(t *testing.T, service *completion.Service) http.Handler {
	t.Helper()
	quiet, err := telemetry.Start(t.Context(), telemetry.Options{Service: "router"})
	if err != nil {
		t.Fatal(err)
	}
	return httpapi.New(httpapi.Options{
		Completions: service,
		Caller: func(presented string) (completion.Caller, error) {
			level, known := map[string]completion.Provenance{
				"clv-1": completion.ProvenanceBasic, "clv-full": completion.ProvenanceFull, "clv-none": completion.ProvenanceNone,
			}[presented]
			if !known {
				return completion.Caller{}, snapshot.ErrKeyInvalid
			}
			return completion.Caller{OrgID: "org_1", Provenance: level}, nil
		},
		Models: func(completion.Caller) ([]string, error) {
			return []string{"policy/fast", "openai/gpt-x", "anthropic/claude-x"}, nil
		},
		MaxBodyBytes: 1 << 20, Log: slog.New(slog.DiscardHandler), Now: time.Now, Telemetry: quiet,
	})
}

// world is the edges as a server, over the scripted provider.
func world(t *testing.T, options ...llmtest.Option) (*rig, *httptest.Server, *llmtest.Server) {
	t.Helper()
	r, upstream := &rig{}, llmtest.New(t, options...)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	server := httptest.NewServer(r.handler(t,
		map[string]completion.Provider{"anthropic": anthropic.New(transport), "openai": openai.New(transport)},
		map[string]string{"anthropic": upstream.AnthropicURL(), "openai": upstream.OpenAIURL()}))
	t.Cleanup(server.Close)
	return r, server, upstream
}

// begin sends a request and returns its answer, which may still come.
func begin(ctx context.Context, t *testing.T, server *httptest.Server, method, path, body string, header map[string]string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer clv-1")
	for name, value := range header {
		req.Header.Set(name, value)
	}
	res, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// answered is a whole answer.
type answered struct {
	status int
	header http.Header
	body   string
}

func ask(t *testing.T, server *httptest.Server, method, path, body string, header map[string]string) answered {
	t.Helper()
	res := begin(t.Context(), t, server, method, path, body, header)
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return answered{res.StatusCode, res.Header, string(b)}
}

// dialects are the routes of conversations, with what a caller writes and what marks an answer's parts.
var dialects = []struct {
	path, body, text, end, broken, kind string
}{
	{
		"/v1/chat/completions", `{"model":"MODEL","stream":STREAM,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"SCRIPT hi"}]}`,
		`"content":"two words"`, "data: [DONE]\n\n", `data: {"error":`, "invalid_request_error",
	},
	{
		"/v1/messages", `{"model":"MODEL","stream":STREAM,"max_tokens":100,"messages":[{"role":"user","content":"SCRIPT hi"}]}`,
		`"text":"two words"`, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", "event: error\ndata: {\"type\":\"error\",", "not_found_error",
	},
}

func body(template, model, stream string, s llmtest.Script) string {
	quoted, _ := json.Marshal(s.String())
	if stream == "false" {
		template = strings.Replace(template, `"stream_options":{"include_usage":true},`, "", 1)
	}
	return strings.NewReplacer("MODEL", model, "STREAM", stream, "SCRIPT", strings.Trim(string(quoted), `"`)).Replace(template)
}

var models = []string{"openai/gpt-4.1", "anthropic/claude-haiku-4-5"}

// TestEveryDialectIsServedByEveryProvider, streamed and not, with its usage metered as it was declared.
func TestEveryDialectIsServedByEveryProvider(t *testing.T) {
	t.Parallel()
	r, server, _ := world(t)
	calls := 0
	for _, d := range dialects {
		for _, model := range models {
			for _, stream := range []string{"true", "false"} {
				res := ask(t, server, http.MethodPost, d.path, body(d.body, model, stream, llmtest.Script{Text: "two words", Input: 70, Cached: 20, Output: 9}), nil)
				got := res.body
				calls++
				what := d.path + " by " + model + ", stream " + stream
				if res.status != http.StatusOK || res.header.Get("X-Claviger-Model") != model || res.header.Get("X-Request-Id") == "" {
					t.Fatalf("%s: %d %v %s", what, res.status, res.header, got)
				}
				var compact bytes.Buffer
				if stream == "false" && (json.Compact(&compact, []byte(got)) != nil || !strings.Contains(compact.String(), d.text)) {
					t.Errorf("%s: %s", what, got)
				}
				if stream == "true" && (!strings.HasSuffix(got, d.end) || strings.Count(got, "two") != 1) {
					t.Errorf("%s: %s", what, got)
				}
				if events := r.done(); len(events) != calls || events[calls-1].Tokens.InputTotal != 70 || events[calls-1].Tokens.CacheRead != 20 || events[calls-1].Tokens.OutputTotal != 9 {
					t.Errorf("%s: %d events, the last %+v", what, len(events), events[len(events)-1].Tokens)
				}
			}
		}
	}
}

// TestBrokenStreamsEndWithOneError of the caller's dialect, and never look whole.
func TestBrokenStreamsEndWithOneError(t *testing.T) {
	t.Parallel()
	_, server, _ := world(t)
	for _, d := range dialects {
		for _, model := range models {
			for _, s := range []llmtest.Script{{Tokens: 9, CutChunks: 3}, {Tokens: 9, Error: llmtest.ErrOverloaded, InStream: true, At: 3}} {
				got := ask(t, server, http.MethodPost, d.path, body(d.body, model, "true", s), nil).body
				if strings.Count(got, d.broken) != 1 || strings.Contains(got, d.end) {
					t.Errorf("%s by %s, %s: %s", d.path, model, s, got)
				}
				if last := got[strings.LastIndex(strings.TrimSuffix(got, "\n\n"), "\n\n")+2:]; !strings.HasPrefix(last, d.broken) {
					t.Errorf("%s by %s, %s: the last event is %s", d.path, model, s, last)
				}
			}
		}
	}
}

// TestErrorsHaveTheCallersEnvelope on every route, also on those that do not exist.
func TestErrorsHaveTheCallersEnvelope(t *testing.T) {
	t.Parallel()
	_, server, _ := world(t)
	version := map[string]string{"Anthropic-Version": "2023-06-01"}
	for _, test := range []struct {
		method, path, body string
		header             map[string]string
		status             int
		anthropic          bool
	}{
		{http.MethodPost, "/v1/chat/completions", `{`, nil, 400, false},
		{http.MethodGet, "/v1/chat/completions", ``, nil, 405, false},
		{http.MethodPost, "/v1/messages", `{`, nil, 400, true},
		{http.MethodGet, "/v1/messages", ``, nil, 405, true},
		{http.MethodPost, "/v1/messages/count_tokens", `{"messages":[]}`, nil, 400, true},
		{http.MethodPost, "/v1/messages", `{}`, map[string]string{"Authorization": "Bearer wrong"}, 401, true},
		{http.MethodPost, "/v1/messages", `{}`, map[string]string{"Content-Encoding": "gzip"}, 415, true},
		{http.MethodPost, "/v1/messages", body(dialects[1].body, models[0], "false", llmtest.Script{Error: llmtest.ErrModel}), nil, 404, true},
		{http.MethodPost, "/v1/messages", body(dialects[1].body, models[1], "true", llmtest.Script{Error: llmtest.ErrRateLimit}), nil, 429, true},
		{http.MethodPost, "/v1/messages", body(dialects[1].body, models[0], "true", llmtest.Script{Error: llmtest.ErrOverloaded}), nil, 529, true},
		{http.MethodGet, "/v1/models/none", ``, nil, 404, false},
		{http.MethodGet, "/v1/models/none", ``, version, 404, true},
		{http.MethodGet, "/v1/models?limit=x", ``, version, 400, true},
		{http.MethodPost, "/v1/models", ``, version, 405, true},
		{http.MethodGet, "/v1/files", ``, nil, 404, false},
		{http.MethodGet, "/v1/files", ``, version, 404, true},
	} {
		res := ask(t, server, test.method, test.path, test.body, test.header)
		got := res.body
		var e struct {
			Type  string                     `json:"type"`
			Error map[string]json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal([]byte(got), &e); err != nil || len(e.Error["message"]) == 0 {
			t.Errorf("%s %s: %s", test.method, test.path, got)
		}
		if res.status != test.status || (e.Type == "error") != test.anthropic || (res.header.Get("Request-Id") != "") != test.anthropic {
			t.Errorf("%s %s: %d %s, want %d, in Anthropic's envelope: %v", test.method, test.path, res.status, got, test.status, test.anthropic)
		}
	}
}

func TestModelsAreListedInTheFormOfTheSDKThatAsks(t *testing.T) {
	t.Parallel()
	_, server, _ := world(t)
	version := map[string]string{"Anthropic-Version": "2023-06-01"}
	for path, want := range map[string][]string{
		"/v1/models":         {"policy/fast", "openai/gpt-x", "anthropic/claude-x", "more: false"},
		"/v1/models?limit=2": {"policy/fast", "openai/gpt-x", "more: true"},
		"/v1/models?limit=2&after_id=openai/gpt-x":        {"anthropic/claude-x", "more: false"},
		"/v1/models?limit=1&before_id=openai/gpt-x":       {"policy/fast", "more: false"},
		"/v1/models?limit=1&before_id=anthropic/claude-x": {"openai/gpt-x", "more: true"},
		"/v1/models?after_id=anthropic/claude-x":          {"more: false"},
	} {
		var list struct {
			Data []struct{ ID, Type string }
			More bool `json:"has_more"`
		}
		if err := json.Unmarshal([]byte(ask(t, server, http.MethodGet, path, "", version).body), &list); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range list.Data {
			got = append(got, m.ID)
		}
		if list.More {
			got = append(got, "more: true")
		} else {
			got = append(got, "more: false")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	if got := ask(t, server, http.MethodGet, "/v1/models", "", nil).body; !strings.Contains(got, `"object":"list"`) || strings.Count(got, `"object":"model"`) != 3 {
		t.Errorf("%s", got)
	}
	if got := ask(t, server, http.MethodGet, "/v1/models/openai/gpt-x", "", version).body; !strings.Contains(got, `"type":"model"`) {
		t.Errorf("%s", got)
	}
}

// TestCountingLeavesAnEventOfNoTokens, also if it fails.
func TestCountingLeavesAnEventOfNoTokens(t *testing.T) {
	t.Parallel()
	r, server, _ := world(t)
	prompt := `{"model":"anthropic/claude-haiku-4-5","messages":[{"role":"user","content":"script:in=123 hi"}]}`
	res := ask(t, server, http.MethodPost, "/v1/messages/count_tokens", prompt, nil)
	if got := res.body; strings.TrimSpace(got) != `{"input_tokens":123}` || res.status != http.StatusOK {
		t.Errorf("%d %s", res.status, got)
	}
	events := r.done()
	if len(events) != 1 || events[0].Operation != "count_tokens" || events[0].Tokens == nil || *events[0].Tokens != (usage.Tokens{}) || events[0].Outcome != usage.OK {
		t.Errorf("events %+v", events)
	}
	refused := strings.Replace(prompt, "script:in=123", "script:error=server", 1)
	if res := ask(t, server, http.MethodPost, "/v1/messages/count_tokens", refused, nil); res.status != http.StatusBadGateway {
		t.Errorf("%d %s", res.status, res.body)
	}
	if events = r.done(); len(events) != 2 || *events[1].Tokens != (usage.Tokens{}) {
		t.Errorf("events %+v", events)
	}
}

// planned plans as the router does, for an organization with one credential of each provider.
type planned struct {
	plan.Config
	planner plan.Planner
}

func (p planned) Plan(caller completion.Caller, req *completion.Request) (completion.Plan, error) {
	return p.planner.Make(p, caller, req)
}
func (planned) Version() int64                       { return 1 }
func (planned) PlatformOrgID() string                { return "org_platform" }
func (planned) Preferences(string) *plan.Preferences { return &plan.Preferences{} }
func (planned) Group(string, string) *plan.Group     { return nil }
func (planned) Drills(string) []completion.Drill     { return nil }
func (planned) PolicyByName(_, name string) (*plan.Policy, bool) {
	lines := []plan.Line{{Provider: "groq", Model: "groq/llama", Name: "llama", Class: usage.Own}, {Provider: "anthropic", Model: models[1], Name: "claude-haiku-4-5", Class: usage.Own}}
	return &plan.Policy{ID: "pol_1", Name: name, Groups: []plan.TargetGroup{{Lines: lines}}}, true
}

func (planned) Credentials(_, provider string) []*completion.Credential {
	return []*completion.Credential{{ID: "cred_" + provider, Label: "prod", Provider: provider}}
}

// healthy knows no credential that is out.
type healthy struct{ plan.Health }

func (healthy) Out(*completion.Credential, string) string { return "" }

func (healthy) Low(*completion.Credential, string) bool { return false }

func (healthy) Latency(*completion.Credential, string, bool) time.Duration { return 0 }

// TestWhoCannotCountTokensIsNamed: the caller's model is refused before anything is sent, with the provider
// and what it has not; a policy counts by the first of its models that can.
func TestWhoCannotCountTokensIsNamed(t *testing.T) {
	t.Parallel()
	upstream := llmtest.New(t)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	vendors := compat.Vendors()
	groq := compat.New(transport, vendors[slices.IndexFunc(vendors, func(v compat.Vendor) bool { return v.Facts.Slug == "groq" })])
	providers := map[string]completion.Provider{"anthropic": anthropic.New(transport), "groq": groq}
	r := &rig{Planner: planned{planner: plan.Planner{Providers: providers, Health: healthy{}}}}
	server := httptest.NewServer(r.handler(t, providers, map[string]string{"anthropic": upstream.AnthropicURL(), "groq": "http://127.0.0.1:1"}))
	defer server.Close()
	const prompt = `{"model":"MODEL","messages":[{"role":"user","content":"script:in=123 hi"}]}`
	got := ask(t, server, http.MethodPost, "/v1/messages/count_tokens", strings.Replace(prompt, "MODEL", "groq/llama", 1), nil)
	var refused struct {
		Error struct{ Type, Message string }
	}
	if err := json.Unmarshal([]byte(got.body), &refused); err != nil || got.status != http.StatusBadRequest || refused.Error.Type != "invalid_request_error" ||
		!strings.Contains(refused.Error.Message, "groq/llama: groq has no count_tokens") {
		t.Errorf("%d %s", got.status, got.body)
	}
	if events := r.done(); len(events) != 0 {
		t.Errorf("%d attempts", len(events))
	}
	got = ask(t, server, http.MethodPost, "/v1/messages/count_tokens", strings.Replace(prompt, "MODEL", "policy/any", 1), nil)
	if strings.TrimSpace(got.body) != `{"input_tokens":123}` {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// keeps is a transport that keeps the headers of what goes out.
type keeps struct {
	http.RoundTripper
	mu     sync.Mutex
	header http.Header
}

func (k *keeps) RoundTrip(r *http.Request) (*http.Response, error) {
	k.mu.Lock()
	k.header = r.Header.Clone()
	k.mu.Unlock()
	return k.RoundTripper.RoundTrip(r)
}

// TestOnlyListedHeadersReachAProvider: those of the dialect, where it is spoken, and nothing else of a caller's.
func TestOnlyListedHeadersReachAProvider(t *testing.T) {
	t.Parallel()
	upstream := llmtest.New(t)
	k := &keeps{RoundTripper: &http.Transport{}}
	server := httptest.NewServer((&rig{}).handler(t,
		map[string]completion.Provider{"anthropic": anthropic.New(k), "openai": openai.New(k)},
		map[string]string{"anthropic": upstream.AnthropicURL(), "openai": upstream.OpenAIURL()}))
	defer server.Close()
	sent := map[string]string{"Anthropic-Version": "2026-10-21", "Anthropic-Beta": "context-1m", "Cookie": "a=b", "X-Custom": "c", "Openai-Organization": "org"}
	for model, want := range map[string][2]string{models[1]: {"2026-10-21", "context-1m"}, models[0]: {"", ""}} {
		res := ask(t, server, http.MethodPost, "/v1/messages", body(dialects[1].body, model, "false", llmtest.Script{}), sent)
		if got := res.body; res.status != http.StatusOK {
			t.Fatalf("%s: %s", model, got)
		}
		if got := [2]string{k.header.Get("Anthropic-Version"), k.header.Get("Anthropic-Beta")}; got != want {
			t.Errorf("%s: %v, want %v", model, got, want)
		}
		for _, name := range []string{"Cookie", "X-Custom", "Openai-Organization"} {
			if k.header.Get(name) != "" {
				t.Errorf("%s: %s went out", model, name)
			}
		}
	}
}

// TestCancellationReachesTheProvider: a caller that goes away takes the provider's call with it, before the
// provider has written what it still would.
func TestCancellationReachesTheProvider(t *testing.T) {
	t.Parallel()
	r, server, upstream := world(t)
	for i, d := range dialects {
		for k, model := range models {
			ctx, cancel := context.WithCancel(t.Context())
			res := begin(ctx, t, server, http.MethodPost, d.path, body(d.body, model, "true", llmtest.Script{Tokens: 100_000, Delay: time.Millisecond}), nil)
			first := make([]byte, 64)
			if _, err := io.ReadFull(res.Body, first); err != nil {
				t.Fatal(err)
			}
			cancel()
			_ = res.Body.Close() // canceled
			entry := providertest.Ended(t, upstream, i*len(models)+k+1)
			if !entry.ClientGone || entry.Complete || entry.Written >= 100_000 {
				t.Errorf("%s by %s: the provider saw %+v", d.path, model, entry)
			}
		}
	}
	server.Close() // waits for the requests
	for _, e := range r.done() {
		if e.Outcome != usage.Canceled || e.Tokens == nil || e.Tokens.OutputTotal == 0 {
			t.Errorf("event %+v", e)
		}
	}
	if got := len(r.done()); got != len(dialects)*len(models) {
		t.Errorf("%d events", got)
	}
}

// step is what a provider does after a wait.
type step struct {
	after time.Duration
	chunk completion.Chunk
	err   error
}

// slow is a provider that takes its time.
type slow struct {
	completion.Provider
	plays map[string][]step // by model
}

func (slow) Speaks(completion.Dialect, *completion.Target) bool { return false }

func (s slow) Start(ctx context.Context, call completion.Call) (completion.Answer, error) {
	return &played{ctx: ctx, steps: s.plays[call.Model]}, nil
}

type played struct {
	ctx   context.Context
	steps []step
}

func (p *played) Next() (completion.Chunk, error) {
	if len(p.steps) == 0 {
		return completion.Chunk{}, io.EOF
	}
	s := p.steps[0]
	p.steps = p.steps[1:]
	select {
	case <-time.After(s.after):
		return s.chunk, s.err
	case <-p.ctx.Done():
		return completion.Chunk{}, p.ctx.Err()
	}
}
func (p *played) Close() error                { return nil }
func (p *played) Head() completion.AnswerHead { return completion.AnswerHead{Status: 200} }

// stamped is a response that notes when what came.
type stamped struct {
	*httptest.ResponseRecorder
	begun time.Time
	came  []string
}

func (s *stamped) Write(b []byte) (int, error) {
	kind := "content"
	switch text := string(b); {
	case text == ": keep-alive\n\n":
		kind = "comment"
	case strings.HasPrefix(text, "event: ping"):
		kind = "ping"
	case strings.Contains(text, `"error"`):
		kind = "error"
	case strings.Contains(text, "[DONE]"), strings.Contains(text, "message_stop"):
		kind = "end"
	}
	s.came = append(s.came, time.Since(s.begun).String()+" "+kind)
	return s.ResponseRecorder.Write(b)
}

func said(text string) completion.Chunk {
	return completion.Chunk{Content: true, Pieces: 1, Delta: completion.Delta{Text: text}}
}

// TestSilentStreamsAreKeptOpen: a caller who waits for a status gets one after ten seconds, and later a
// heartbeat after each fifteen seconds of silence. Until content has come, another target may still serve.
func TestSilentStreamsAreKeptOpen(t *testing.T) {
	t.Parallel()
	overloaded := &completion.ProviderError{Class: completion.Overloaded, Status: 503, Message: "busy", Sent: true, Unbilled: true}
	plays := map[string][]step{
		"pauses":  {{0, said("a"), nil}, {40 * time.Second, said("b"), nil}, {time.Second, completion.Chunk{Finish: completion.Stop}, nil}},
		"thinks":  {{26 * time.Second, said("a"), nil}},
		"fails":   {{12 * time.Second, completion.Chunk{}, overloaded}},
		"refuses": {{time.Second, completion.Chunk{}, overloaded}},
		"breaks":  {{0, said("a"), nil}, {20 * time.Second, completion.Chunk{}, overloaded}},
		"steady":  {{0, said("a"), nil}, {14 * time.Second, said("b"), nil}, {14 * time.Second, said("c"), nil}},
	}
	for name, test := range map[string]struct {
		path    int
		stream  string
		targets []string
		status  int
		came    []string
	}{
		"pauses, chat":        {0, "true", []string{"pauses"}, 200, []string{"0s content", "15s comment", "30s comment", "40s content", "41s content", "41s end"}},
		"pauses, messages":    {1, "true", []string{"pauses"}, 200, []string{"0s content", "15s ping", "30s ping", "40s content", "41s end"}},
		"thinks, chat":        {0, "true", []string{"thinks"}, 200, []string{"10s comment", "25s comment", "26s content", "26s end"}},
		"thinks, messages":    {1, "true", []string{"thinks"}, 200, []string{"10s comment", "25s comment", "26s content", "26s end"}},
		"another serves":      {0, "true", []string{"fails", "steady"}, 200, []string{"10s comment", "12s content", "26s content", "40s content", "40s end"}},
		"none serves":         {1, "true", []string{"fails", "refuses"}, 200, []string{"10s comment", "13s error"}},
		"fails early":         {1, "true", []string{"refuses"}, 529, []string{"1s error"}},
		"breaks":              {0, "true", []string{"breaks"}, 200, []string{"0s content", "15s comment", "20s error"}},
		"not streamed":        {1, "false", []string{"thinks"}, 200, []string{"26s content"}},
		"not streamed, fails": {0, "false", []string{"fails"}, 503, []string{"12s error"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &rig{}
				for _, model := range test.targets {
					r.targets = append(r.targets, target("slow", model))
				}
				handler := r.handler(t, map[string]completion.Provider{"slow": slow{plays: plays}}, nil)
				w := &stamped{ResponseRecorder: httptest.NewRecorder(), begun: time.Now()}
				d := dialects[test.path]
				req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, d.path, strings.NewReader(body(d.body, "slow/x", test.stream, llmtest.Script{})))
				req.Header.Set("X-Api-Key", "clv-1")
				handler.ServeHTTP(w, req)
				if diff := cmp.Diff(test.came, w.came); diff != "" || w.Code != test.status {
					t.Errorf("status %d, want %d; what came when (-want +got):\n%s\n%s", w.Code, test.status, diff, w.Body)
				}
				time.Sleep(time.Minute) //nolint:forbidigo // the time of a synctest bubble
				if len(w.came) != len(test.came) {
					t.Errorf("after the end came %v", w.came[len(test.came):])
				}
				if got := len(r.done()); got != len(test.targets) {
					t.Errorf("%d events for %d attempts", got, len(test.targets))
				}
			})
		})
	}
}

var errLost = errors.New("the connection is lost")

// lost is a response whose caller is gone.
type lost struct{ *stamped }

func (l lost) Write(b []byte) (int, error) {
	if len(l.came) > 0 {
		return 0, errLost
	}
	return l.stamped.Write(b)
}

// TestAHeartbeatThatNobodyTakesEndsTheHeartbeats; the next content ends the call.
func TestAHeartbeatThatNobodyTakesEndsTheHeartbeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{targets: []completion.Target{target("slow", "x")}}
		handler := r.handler(t, map[string]completion.Provider{"slow": slow{plays: map[string][]step{
			"x": {{0, said("a"), nil}, {50 * time.Second, said("b"), nil}, {time.Hour, said("c"), nil}},
		}}}, nil)
		w := lost{&stamped{ResponseRecorder: httptest.NewRecorder(), begun: time.Now()}}
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, dialects[0].path, strings.NewReader(body(dialects[0].body, "slow/x", "true", llmtest.Script{})))
		req.Header.Set("X-Api-Key", "clv-1")
		handler.ServeHTTP(w, req)
		if waited := time.Since(w.begun); waited != 50*time.Second || len(w.came) != 1 {
			t.Errorf("ended after %v with %v", waited, w.came)
		}
		if e := r.done(); len(e) != 1 || e[0].Outcome != usage.Canceled {
			t.Errorf("%+v", e)
		}
	})
}

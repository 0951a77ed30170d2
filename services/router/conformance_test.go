package router

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/health"
	"github.com/claviger/claviger/services/router/internal/httpapi"
	"github.com/claviger/claviger/services/router/internal/plan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// The matrix: every dialect of callers × every provider × whole and streamed × what can happen. Each cell
// is a real call through an edge, the attempt loop and the adapter to a scripted server that speaks the
// provider's own wire form and keeps its own ledger. A cell that cannot exist says why.

// vendor is a provider as the matrix calls it.
type vendor struct {
	model  string
	secret string
	// base is the address of the scripted server that stands in for it.
	base     func(s *llmtest.Server) string
	settings completion.Settings
	// not says of a case why it cannot be with this provider: the key is the case's name, or
	// "dialect/case".
	not map[string]string
	// noReasoningCount says that the provider tells no count of thinking tokens, noCache none of cached ones.
	noReasoningCount, noCache bool
	// besides says that its output does not count thinking, which stands beside it on the wire.
	besides bool
	// inStream is the class of an overload that is told in a stream, where the vendor does not say more.
	inStream completion.Class
}

// happening is what can happen in a call.
type happening struct {
	name string
	// script is what the provider does, and whole what it does if it does not stream, where that differs;
	// ask is what the caller asks for besides.
	script, whole string
	ask           asked
	// onlyStream says that a whole answer has no such thing.
	onlyStream string
	check      func(c *cell, got heard, event usage.Event, entry llmtest.Entry)
}

// asked is what a call asks for, in words that every dialect has.
type asked struct {
	tool, think, schema bool
}

// heard is what a caller hears, in words that every dialect has.
type heard struct {
	status          int
	text, reasoning string
	calls           []toolCall
	finish          string // stop, length, tool_calls, content_filter
	// ended says that the answer came to its good end; failure is the type of an error, in a stream or not.
	ended   bool
	failure string
	// tokens are the counts, nil if none were told.
	tokens *counts
	body   string
}

type toolCall struct{ Name, Arguments string }

type counts struct{ input, cached, output, reasoning int64 }

type cell struct {
	*testing.T
	vendor  vendor
	slug    string
	dialect caller
	stream  bool
}

func (c *cell) answered(got heard, text string) {
	c.Helper()
	if got.status != http.StatusOK || got.text != text || !got.ended || got.failure != "" {
		c.Errorf("status %d, text %q, ended %v, failure %q, want 200, %q and a good end\n%s", got.status, got.text, got.ended, got.failure, text, got.body)
	}
}

// counted compares what the provider declared with the usage event and with what the caller was told.
func (c *cell) counted(got heard, event usage.Event, entry llmtest.Entry) {
	c.Helper()
	declared := entry.Declared
	if declared == nil {
		c.Fatalf("the provider declared no usage: %+v", entry)
	}
	want := counts{int64(declared.Input), int64(declared.Cached), int64(declared.Output), int64(declared.Reasoning)}
	if c.vendor.noReasoningCount {
		want.reasoning = 0
	}
	if c.vendor.noCache {
		want.cached = 0
	}
	if event.Source != usage.ProviderFinal || event.Tokens == nil {
		c.Fatalf("the event has source %v and tokens %+v, want the provider's own", event.Source, event.Tokens)
	}
	if t := event.Tokens; (counts{t.InputTotal, t.CacheRead, t.OutputTotal, t.Reasoning}) != want {
		c.Errorf("the event counts %+v, the provider declared %+v", *t, *declared)
	}
	if c.vendor.besides && c.dialect.dialect == completion.OpenAIChat { // its bytes pass
		want.output -= want.reasoning
	}
	if got.tokens == nil || *got.tokens != want {
		c.Errorf("the caller was told %+v, the provider declared %+v\n%s", got.tokens, *declared, got.body)
	}
}

func happenings() []happening {
	return []happening{
		{
			name: "ok", script: "text=good%20day,in=40,cached=30,out=7",
			check: func(c *cell, got heard, event usage.Event, entry llmtest.Entry) {
				c.answered(got, "good day")
				c.counted(got, event, entry)
				if got.finish != "stop" || event.Outcome != usage.OK {
					c.Errorf("finish %q, outcome %v", got.finish, event.Outcome)
				}
			},
		},
		{
			name: "tool call", script: "tool=look,args=%7B%22q%22%3A%22x%22%7D,calls=2,in=40,out=9", ask: asked{tool: true},
			check: func(c *cell, got heard, event usage.Event, entry llmtest.Entry) {
				c.counted(got, event, entry)
				if len(got.calls) != 2 || got.finish != "tool_calls" || !got.ended {
					c.Fatalf("calls %+v, finish %q, ended %v\n%s", got.calls, got.finish, got.ended, got.body)
				}
				for _, call := range got.calls {
					var arguments map[string]string
					if err := json.Unmarshal([]byte(call.Arguments), &arguments); err != nil || call.Name != "look" || arguments["q"] != "x" {
						c.Errorf("call %+v: %v", call, err)
					}
				}
			},
		},
		{
			name: "reasoning", script: "text=good%20day,in=40,out=12,reasoning=5,think", ask: asked{think: true},
			check: func(c *cell, got heard, event usage.Event, entry llmtest.Entry) {
				c.answered(got, "good day")
				c.counted(got, event, entry)
				if got.reasoning == "" {
					c.Errorf("no thinking was told\n%s", got.body)
				}
			},
		},
		{
			name: "structured output", script: "text=%7B%22a%22%3A1%7D,in=40,out=7", ask: asked{schema: true},
			check: func(c *cell, got heard, event usage.Event, entry llmtest.Entry) {
				c.answered(got, `{"a":1}`)
				c.counted(got, event, entry)
			},
		},
		{
			name: "early error", script: "error=rate_limit",
			check: func(c *cell, got heard, event usage.Event, _ llmtest.Entry) {
				if got.status != http.StatusTooManyRequests || got.failure == "" || got.ended {
					c.Errorf("status %d, failure %q, want 429 in the dialect's form\n%s", got.status, got.failure, got.body)
				}
				if event.Outcome != usage.Failed || event.ErrorClass != string(completion.RateLimited) || *event.Tokens != (usage.Tokens{}) {
					c.Errorf("outcome %v, class %q, tokens %+v", event.Outcome, event.ErrorClass, event.Tokens)
				}
			},
		},
		{
			name: "error in the stream", script: "tokens=9,error=overloaded,at=4", onlyStream: "a whole answer has no middle",
			check: func(c *cell, got heard, event usage.Event, _ llmtest.Entry) {
				if got.status != http.StatusOK || got.text == "" || got.ended || got.failure == "" {
					c.Errorf("status %d, text %q, ended %v, failure %q, want a beginning and one error\n%s", got.status, got.text, got.ended, got.failure, got.body)
				}
				class := completion.Overloaded
				if c.vendor.inStream != "" {
					class = c.vendor.inStream
				}
				if event.Outcome != usage.Broken || event.ErrorClass != string(class) || event.Tokens == nil || event.Tokens.OutputTotal < 4 {
					c.Errorf("outcome %v, class %q, tokens %+v", event.Outcome, event.ErrorClass, event.Tokens)
				}
			},
		},
		{
			name: "cut", script: "tokens=9,cutat=4", whole: "tokens=9,cut=60",
			check: func(c *cell, got heard, event usage.Event, entry llmtest.Entry) {
				if got.ended || got.failure == "" {
					c.Errorf("ended %v, failure %q, want no good end\n%s", got.ended, got.failure, got.body)
				}
				if entry.Complete || event.Outcome == usage.OK || event.Tokens == nil {
					c.Errorf("complete %v, outcome %v, tokens %+v", entry.Complete, event.Outcome, event.Tokens)
				}
			},
		},
		{
			name: "no usage", script: "text=good%20day,nousage",
			check: func(c *cell, got heard, event usage.Event, _ llmtest.Entry) {
				c.answered(got, "good day")
				if event.Source != usage.Estimated || event.Tokens == nil || event.Tokens.OutputTotal == 0 {
					c.Errorf("source %v, tokens %+v, want a marked estimate", event.Source, event.Tokens)
				}
			},
		},
	}
}

// oneCredential is a configuration with one credential.
type oneCredential struct {
	plan.Config
	credential *completion.Credential
}

func (c oneCredential) Version() int64                     { return 1 }
func (oneCredential) PlatformOrgID() string                { return "org_platform" }
func (oneCredential) Preferences(string) *plan.Preferences { return &plan.Preferences{} }
func (oneCredential) Drills(string) []completion.Drill     { return nil }
func (c oneCredential) Credentials(_, slug string) []*completion.Credential {
	if slug != c.credential.Provider {
		return nil
	}
	return []*completion.Credential{c.credential}
}

// fixedPlanner plans with it.
type fixedPlanner struct {
	planner *plan.Planner
	config  plan.Config
}

func (p fixedPlanner) Plan(caller completion.Caller, req *completion.Request) (completion.Plan, error) {
	out, err := p.planner.Make(p.config, caller, req)
	for i := range out.Targets {
		out.Targets[i].Rule = &completion.Rule{} // each is tried once
	}
	return out, err
}

type openKeyring string

func (k openKeyring) Secret(context.Context, *completion.Credential) (secret.Text, error) {
	return secret.New(string(k)), nil
}

// eventLog keeps the usage events of a call.
type eventLog struct {
	mu     sync.Mutex
	events []usage.Event
}

func (l *eventLog) Begin(*usage.Event) (*usage.Ticket, error)                              { return &usage.Ticket{}, nil }
func (l *eventLog) Checkpoint(string, usage.Tokens, usage.Source)                          {}
func (l *eventLog) Refused(*completion.Credential, usage.Class, *completion.ProviderError) {}
func (l *eventLog) Limited(*completion.Credential, usage.Class, *completion.ProviderError) {}
func (l *eventLog) Done(_ *usage.Ticket, e *usage.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, *e)
	return nil
}

// located takes calls to Azure's hosts to the scripted server, which has a resource as a path's element.
type located struct {
	http.RoundTripper
	to string
}

func (l located) RoundTrip(r *http.Request) (*http.Response, error) {
	resource, domain, _ := strings.Cut(r.URL.Host, ".")
	if !strings.HasSuffix(domain, "azure.com") {
		return l.RoundTripper.RoundTrip(r)
	}
	moved := r.Clone(r.Context())
	u, err := url.Parse(l.to + "/azure/" + resource + r.URL.EscapedPath() + "?" + r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	moved.URL, moved.Host = u, u.Host
	return l.RoundTripper.RoundTrip(moved)
}

// stand is a router's edges in front of one provider.
type stand struct {
	http       *httptest.Server
	rpc        *httptest.Server
	log        *eventLog
	model      string
	serves     completion.Provider
	credential *completion.Credential
}

func newStand(t *testing.T, slug string, v vendor, s *llmtest.Server) *stand {
	t.Helper()
	return newStandOver(t, slug, v, s, located{http.DefaultTransport, s.URL})
}

func newStandOver(t *testing.T, slug string, v vendor, s *llmtest.Server, transport http.RoundTripper) *stand {
	t.Helper()
	adapters := providers(transport)
	if adapters[slug] == nil {
		t.Fatalf("there is no adapter for %s", slug)
	}
	credential := &completion.Credential{ID: "cred_1", OrgID: "org_1", Provider: slug, Label: "main", Revision: 1, Settings: v.settings}
	planner := fixedPlanner{&plan.Planner{Providers: adapters, Health: health.New(health.Options{Now: time.Now})}, oneCredential{credential: credential}}
	return newStandBy(t, slug, v, s, adapters, planner, credential)
}

// newStandBy is a stand whose targets come from a planner of the test's.
func newStandBy(t *testing.T, slug string, v vendor, s *llmtest.Server, adapters map[string]completion.Provider, planner completion.Planner, credential *completion.Credential) *stand {
	t.Helper()
	log := &eventLog{}
	service := completion.New(completion.Options{
		Planner: planner, Keyring: openKeyring(v.secret), Recorder: log, Evidence: log, Providers: adapters,
		BaseURLs: map[string]string{slug: v.base(s)}, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	told, err := telemetry.Start(t.Context(), telemetry.Options{Service: "router"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { told.Shutdown(context.WithoutCancel(t.Context())) })
	out := &stand{log: log, model: slug + "/" + v.model, serves: adapters[slug], credential: credential}
	out.http = httptest.NewServer(httpapi.New(httpapi.Options{
		Completions: service, Caller: func(string) (completion.Caller, error) {
			return completion.Caller{OrgID: "org_1", APIKeyID: "key_1", Provenance: completion.ProvenanceFull}, nil
		},
		Models: func(completion.Caller) ([]string, error) { return nil, nil }, MaxBodyBytes: 1 << 20,
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Telemetry: told,
	}))
	t.Cleanup(out.http.Close)
	out.rpc = typedServer(t, service, told)
	return out
}

// event is the one event of the last call.
func (s *stand) event(t *testing.T) usage.Event {
	t.Helper()
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	if len(s.log.events) != 1 {
		t.Fatalf("the call left %d events, want one", len(s.log.events))
	}
	e := s.log.events[0]
	s.log.events = nil
	return e
}

// TestEveryProviderInEveryDialect is the matrix.
func TestEveryProviderInEveryDialect(t *testing.T) {
	t.Parallel()
	vendors := vendors()
	for slug := range providers(http.DefaultTransport) {
		if _, ok := vendors[slug]; !ok && mediaOnly[slug] == "" {
			t.Errorf("%s is not in the matrix", slug)
		}
	}
	table := newTable()
	maps.Copy(vendors, families())
	for _, name := range slices.Sorted(maps.Keys(vendors)) {
		v := vendors[name]
		slug, _, _ := strings.Cut(name, " ")
		t.Run(name, func(t *testing.T) {
			server := llmtest.New(t)
			at := newStand(t, slug, v, server)
			for _, dialect := range callers() {
				for _, stream := range []bool{false, true} {
					for _, h := range happenings() {
						why := cannotBe(v, dialect, stream, h)
						table.put(name, dialect.name, stream, h.name, why)
						if why != "" {
							continue
						}
						mode := map[bool]string{false: "whole", true: "stream"}[stream]
						t.Run(dialect.name+"/"+mode+"/"+h.name, func(t *testing.T) {
							before := len(server.Ledger())
							script := h.script
							if !stream && h.whole != "" {
								script = h.whole
							}
							got := dialect.call(t, at, stream, "script:"+script+" hello", h.ask)
							event := at.event(t)
							entries := server.Ledger()[before:]
							if len(entries) != 1 {
								t.Fatalf("the provider was called %d times, want once\n%s", len(entries), got.body)
							}
							h.check(&cell{t, v, slug, dialect, stream}, got, event, entries[0])
							if event.Provider != slug || event.Streamed != stream || event.Dialect != string(dialect.dialect) {
								t.Errorf("the event says %s, streamed %v, %s", event.Provider, event.Streamed, event.Dialect)
							}
						})
					}
				}
			}
		})
	}
	for slug, why := range mediaOnly {
		for _, dialect := range callers() {
			for _, stream := range []bool{false, true} {
				for _, h := range happenings() {
					table.put(slug, dialect.name, stream, h.name, why)
				}
			}
		}
	}
	t.Cleanup(func() { table.compare(t, "CONFORMANCE.md") })
}

func cannotBe(v vendor, d caller, stream bool, h happening) string {
	if h.onlyStream != "" && !stream {
		return h.onlyStream
	}
	for _, key := range []string{d.name + "/" + h.name, h.name} {
		if why := v.not[key]; why != "" {
			return why
		}
	}
	return ""
}

// table gathers the cells for the docs.
type table struct {
	slugs map[string]bool
	rows  map[string]map[string]string // by dialect, mode and case, then by slug
	order []string
}

func newTable() *table { return &table{map[string]bool{}, map[string]map[string]string{}, nil} }

func (m *table) put(slug, dialect string, stream bool, name, why string) {
	mode := map[bool]string{false: "whole", true: "stream"}[stream]
	row := dialect + " | " + mode + " | " + name
	if m.rows[row] == nil {
		m.rows[row] = map[string]string{}
		m.order = append(m.order, row)
	}
	m.slugs[slug] = true
	m.rows[row][slug] = why
}

// compare holds the docs to the matrix that ran. CLAVIGER_UPDATE_GOLDEN=1 writes them.
func (m *table) compare(t *testing.T, path string) {
	t.Helper()
	slugs := slices.Sorted(maps.Keys(m.slugs))
	var b strings.Builder
	b.WriteString("# Conformance\n\nWritten by `TestEveryProviderInEveryDialect`, which runs each cell against a scripted server that speaks\nthe provider's own wire form. ✓ ran and held; a number is a reason why the cell cannot be.\n\n")
	b.WriteString("| dialect | mode | case | " + strings.Join(slugs, " | ") + " |\n|---|---|---|" + strings.Repeat("---|", len(slugs)) + "\n")
	var reasons []string
	cells, held := 0, 0
	for _, row := range m.order {
		b.WriteString("| " + row + " |")
		for _, slug := range slugs {
			why := m.rows[row][slug]
			cells++
			if why == "" {
				held++
				b.WriteString(" ✓ |")
				continue
			}
			at := slices.Index(reasons, why)
			if at < 0 {
				reasons = append(reasons, why)
				at = len(reasons) - 1
			}
			fmt.Fprintf(&b, " %d |", at+1)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\n%d of %d cells run. The others cannot be:\n\n", held, cells)
	for i, why := range reasons {
		fmt.Fprintf(&b, "%d. %s\n", i+1, why)
	}
	if os.Getenv("CLAVIGER_UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Error(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
		return
	}
	if string(want) != b.String() {
		t.Errorf("%s does not tell what ran; CLAVIGER_UPDATE_GOLDEN=1 go test -run TestEveryProvider . writes it", path)
	}
}

// mediaOnly are the providers that hold no conversations, and where they are tested.
var mediaOnly = map[string]string{
	"fal":   "Fal.AI makes pictures and films alone: see the jobs of `internal/httpapi` and `internal/media`",
	"pollo": "Pollo.AI makes films alone: see the jobs of `internal/httpapi` and `internal/media`",
}

// families are models that a provider calls in another of its forms.
func families() map[string]vendor {
	all := vendors()
	with := func(slug, model string) vendor {
		v := all[slug]
		v.model = model
		return v
	}
	claude := with("azure", "anthropic/claude-haiku-4-5")
	claude.settings = completion.Settings{Deployments: []completion.Deployment{
		{Model: claude.model, Endpoint: "https://acme.services.ai.azure.com/anthropic", Name: "claude-haiku-4-5"},
	}}
	claude.secret = azureList(claude.settings.Deployments)
	nova := with("bedrock", "us.amazon.nova-2-lite-v1:0")
	nova.not = map[string]string{"structured output": "Nova takes no schemas, and they are refused by name"}
	return map[string]vendor{
		"azure (Claude)": claude, "bedrock (Nova)": nova,
		"vertex (Claude)": with("vertex", "claude-haiku-4-5@20251001"), "vertex (open)": with("vertex", "openai/gpt-oss-120b-maas"),
	}
}

// azureDeployments are the deployments of Azure's credential, one per model.
func azureDeployments() []completion.Deployment {
	var out []completion.Deployment
	for _, model := range []string{"gpt-4o", "text-embedding-3-small", "gpt-image-2"} {
		out = append(out, completion.Deployment{Model: "openai/" + model, Endpoint: "https://acme.openai.azure.com", Name: model})
	}
	return out
}

func azureList(deployments []completion.Deployment) string {
	var entries []string
	for _, d := range deployments {
		entries = append(entries, fmt.Sprintf(`{"model_slug":%q,"endpoint_url":%q,"api_key":"0123456789abcdef0123456789abcdef","model_id":%q}`, d.Model, d.Endpoint, d.Name))
	}
	return "[" + strings.Join(entries, ",") + "]"
}

func vendors() map[string]vendor {
	const key = "sk-0123456789abcdef"
	aws := llmtest.AWSKeyID("conformance")
	all := map[string]vendor{
		"anthropic": {model: "claude-haiku-4-5", secret: key, base: (*llmtest.Server).AnthropicURL},
		"azure": {
			model: "openai/gpt-4o", base: func(s *llmtest.Server) string { return s.URL + "/azure" },
			secret: azureList(azureDeployments()), settings: completion.Settings{Deployments: azureDeployments()},
		},
		"bedrock": {
			model: "us.anthropic.claude-haiku-4-5-20251001-v1:0", base: (*llmtest.Server).BedrockURL,
			secret:   fmt.Sprintf(`{"accessKeyId":%q,"secretAccessKey":%q,"region":"us-east-1"}`, aws, llmtest.AWSSecret(aws)),
			settings: completion.Settings{Region: "us-east-1"},
		},
		"google-ai-studio": {model: "gemini-3.8-flash", secret: key, base: (*llmtest.Server).GeminiURL},
		"openai":           {model: "gpt-4.1", secret: key, base: (*llmtest.Server).OpenAIURL},
		"vertex": {
			model: "gemini-3.8-flash", base: (*llmtest.Server).VertexURL, secret: llmtest.VertexAccount("conformance"),
			settings: completion.Settings{Project: "acme-prod", Location: "global"},
		},
	}
	for slug, model := range map[string]string{
		"baseten": "deepseek-ai/DeepSeek-V3.1", "deepinfra": "deepseek-ai/DeepSeek-V3.1", "groq": "openai/gpt-oss-120b",
		"mistral": "mistral-small-latest", "moonshot": "kimi-k2.6", "perplexity": "sonar", "xai": "grok-4.6",
	} {
		v := vendor{model: model, secret: key, base: func(s *llmtest.Server) string { return s.URL + "/" + slug + "/v1" }}
		switch slug {
		case "baseten":
			v.inStream = completion.ServerError
		case "mistral":
			v.noReasoningCount = true
		case "xai":
			v.besides = true
		case "perplexity":
			v.noCache = true
			v.not = map[string]string{
				"tool call":             "Perplexity has no tools of the caller's",
				"openai.chat/reasoning": "Perplexity writes its thinking into the text, and its bytes pass",
			}
		}
		all[slug] = v
	}
	return all
}

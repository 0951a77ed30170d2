package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/serve"
	"github.com/claviger/claviger/pkg/telemetry"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/proto/gen/claviger/router/v1/routerv1connect"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/anthropic"
	"github.com/claviger/claviger/services/router/internal/provider/openai"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/rpc"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// story is what a face tells of what served, or what the usage events say of it. Cost and Price are empty where
// the face cannot know them yet.
type story struct {
	Model, Class, Provider, Credential, Revision, Policy, Line, Config, Cost, Price string
	Attempts                                                                        []string
}

// unknownCost is what faces say of a cost that stays unknown.
const unknownCost = "unknown"

// ofEvents is the story that the usage events of a request tell.
func ofEvents(events []usage.Event, policy string) story {
	var out story
	for i := range events {
		e := &events[i]
		out.Attempts = append(out.Attempts, strings.Join([]string{e.AttemptID, e.Model, e.Class.String(), own(e.Class, e.CredentialID), e.ErrorClass}, " "))
		if i < len(events)-1 {
			continue
		}
		attempts := out.Attempts
		out = story{
			Model: e.Model, Class: e.Class.String(), Provider: e.Provider, Credential: own(e.Class, e.CredentialID),
			Policy: policy + "@" + strconv.FormatInt(e.PolicyVersion, 10), Line: strconv.Itoa(e.TargetIndex + 1),
			Config: strconv.FormatInt(e.ConfigVersion, 10), Price: e.PriceVersion, Cost: unknownCost, Attempts: attempts,
		}
		if out.Credential != "" {
			out.Revision = strconv.Itoa(e.CredentialRevision)
		}
		if e.ReckonedNanoUSD != nil {
			out.Cost = strconv.FormatInt(*e.ReckonedNanoUSD, 10)
		}
	}
	return out
}

func own(c usage.Class, id string) string {
	if c == usage.Own {
		return id
	}
	return ""
}

// ofHeaders is the story that headers or trailers tell.
func ofHeaders(values func(name string) []string) story {
	one := func(name string) string { return strings.Join(values("x-claviger-"+name), " ") }
	out := story{
		Model: one("model"), Class: one("class"), Provider: one("provider"), Credential: one("credential"), Revision: one("credential-revision"),
		Policy: one("policy"), Line: one("line"), Config: one("config-version"), Cost: one("cost-nano-usd"), Price: one("price-version"),
	}
	for _, value := range values("x-claviger-attempt") {
		fields := map[string]string{}
		parts := strings.Split(value, "; ")
		for _, part := range parts[1:] {
			name, quoted, _ := strings.Cut(part, "=")
			fields[name] = strings.Trim(quoted, `"`)
		}
		out.Attempts = append(out.Attempts, strings.Join([]string{parts[0], fields["model"], fields["class"], fields["credential"], fields["error"]}, " "))
	}
	if one("attempts") != strconv.Itoa(len(out.Attempts)) {
		out.Attempts = append(out.Attempts, "counted as "+one("attempts"))
	}
	return out
}

// ofEvent is the story that the last event of a stream tells.
func ofEvent(stream string) (story, error) {
	i := strings.LastIndex(stream, `"claviger":`)
	if i < 0 {
		return story{}, fmt.Errorf("nothing is told in %s", stream)
	}
	var told struct {
		Model, Provider, Policy string
		Class                   string `json:"credential_class"`
		Credential              string `json:"credential_id"`
		Revision                int    `json:"credential_revision"`
		PolicyVersion           int    `json:"policy_version"`
		Line                    int
		Config                  int    `json:"config_version"`
		Cost                    *int64 `json:"cost_nano_usd"`
		Price                   string `json:"price_version"`
		Attempts                []struct {
			ID         string `json:"attempt_id"`
			Model      string
			Class      string `json:"credential_class"`
			Credential string `json:"credential_id"`
			Error      string `json:"error_class"`
		}
	}
	if err := json.NewDecoder(strings.NewReader(stream[i+len(`"claviger":`):])).Decode(&told); err != nil {
		return story{}, err
	}
	out := story{
		Model: told.Model, Class: told.Class, Provider: told.Provider, Credential: told.Credential, Price: told.Price, Cost: unknownCost,
		Policy: told.Policy + "@" + strconv.Itoa(told.PolicyVersion), Line: strconv.Itoa(told.Line), Config: strconv.Itoa(told.Config),
	}
	if told.Revision != 0 {
		out.Revision = strconv.Itoa(told.Revision)
	}
	if told.Cost != nil {
		out.Cost = strconv.FormatInt(*told.Cost, 10)
	}
	for _, a := range told.Attempts {
		out.Attempts = append(out.Attempts, strings.Join([]string{a.ID, a.Model, a.Class, a.Credential, a.Error}, " "))
	}
	return out, nil
}

// ofMessage is the story that a typed message tells.
func ofMessage(p *routerv1.Provenance) story {
	classes := map[int32]string{int32(usage.Own): "own", int32(usage.Platform): "platform"}
	out := story{
		Model: p.GetModel(), Class: classes[int32(p.GetCredentialClass())], Provider: p.GetProvider(), Credential: p.GetCredentialId(), Price: p.GetPriceVersion(), Cost: unknownCost,
		Policy: p.GetPolicy() + "@" + strconv.FormatInt(p.GetPolicyVersion(), 10), Line: strconv.Itoa(int(p.GetLine())), Config: strconv.FormatInt(p.GetConfigVersion(), 10),
	}
	if p.GetCredentialRevision() != 0 {
		out.Revision = strconv.Itoa(int(p.GetCredentialRevision()))
	}
	if p.CostNanoUsd != nil {
		out.Cost = strconv.FormatInt(p.GetCostNanoUsd(), 10)
	}
	for _, a := range p.GetAttempts() {
		out.Attempts = append(out.Attempts, strings.Join([]string{a.GetAttemptId(), a.GetModel(), classes[int32(a.GetCredentialClass())], a.GetCredentialId(), a.GetErrorClass()}, " "))
	}
	return out
}

// TestEveryFaceTellsWhatTheUsageEventSays: headers of a whole answer, the last event of a stream, a typed message
// and its trailing metadata, streamed or not, over Connect. It has a policy whose first line is overloaded, own and
// platform credentials, and a model with a price and one without.
func TestEveryFaceTellsWhatTheUsageEventSays(t *testing.T) {
	t.Parallel()
	rate := int64(2_000_000)
	book := pricing.NewTable([]pricing.Price{{ID: "price_1", Model: "openai/priced", ValidFrom: time.Unix(0, 0), Tiers: []pricing.Tier{{Input: &rate, Output: &rate}}}})
	script := llmtest.Script{Tokens: 3, Input: 10, Output: 5}
	for _, c := range []struct {
		model string
		class usage.Class
		cost  string
	}{{"priced", usage.Own, "30"}, {"unpriced", usage.Own, unknownCost}, {"priced", usage.Platform, "30"}} {
		upstream := llmtest.New(t)
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		r := &rig{heard: make(chan struct{}, 100), Keyring: busyKeys{}}
		of := func(name string, class usage.Class, line int) completion.Target {
			tg := target("openai", name)
			tg.Class, tg.Line, tg.PolicyID, tg.PolicyName, tg.PolicyVersion = class, line, "pol_1", "main", 3
			tg.Rule = &completion.Rule{} // no retries
			tg.Credential = &completion.Credential{ID: "cred_" + name, Revision: 2, Label: "prod", Provider: "openai"}
			return tg
		}
		r.Planner = configured{7, book, []completion.Target{of("busy", usage.Own, 0), of(c.model, c.class, 4)}}
		service := completion.New(completion.Options{
			Planner: r, Keyring: r, Recorder: r, Evidence: r, Providers: map[string]completion.Provider{"openai": openai.New(transport)},
			BaseURLs: map[string]string{"openai": upstream.OpenAIURL()}, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		})
		handler := r.handlerOf(t, service)
		check := func(face string, told story) {
			t.Helper()
			want := ofEvents(r.taken(), "main")
			if want.Cost != c.cost || len(want.Attempts) != 2 {
				t.Fatalf("%s: the events say %+v, want a cost of %s after two attempts", face, want, c.cost)
			}
			if diff := cmp.Diff(want, told); diff != "" {
				t.Errorf("%s of %s with %s credentials (-event +told):\n%s", face, c.model, c.class, diff)
			}
		}

		for _, d := range []struct{ path, body string }{
			{"/v1/chat/completions", `{"model":"x","stream":STREAM,"messages":[{"role":"user","content":"SCRIPT hi"}]}`},
			{"/v1/responses", `{"model":"x","stream":STREAM,"input":"SCRIPT hi"}`},
			{"/v1/messages", `{"model":"x","stream":STREAM,"max_tokens":99,"messages":[{"role":"user","content":"SCRIPT hi"}]}`},
		} {
			for _, stream := range []string{"false", "true"} {
				req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, d.path, strings.NewReader(body(d.body, "x", stream, script)))
				req.Header.Set("X-Api-Key", "clv-full")
				req.Header.Set("X-Claviger-Include", "provenance")
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, req)
				if w.Code != http.StatusOK {
					t.Fatalf("%s: %d %s", d.path, w.Code, w.Body)
				}
				if stream == "false" {
					check("headers of "+d.path, ofHeaders(func(name string) []string { return w.Header().Values(name) }))
					continue
				}
				if got := w.Header().Values("X-Claviger-Cost-Nano-Usd"); got != nil {
					t.Errorf("%s: a stream begins with a cost: %v", d.path, got)
				}
				told, err := ofEvent(w.Body.String())
				if err != nil {
					t.Fatal(err)
				}
				check("last event of "+d.path, told)
			}
		}

		client := typed(t, service)
		in := &routerv1.CompletionInput{Model: "x", Messages: []*routerv1.Message{{
			Role: routerv1.MessageRole_MESSAGE_ROLE_USER, Parts: []*routerv1.Part{{Content: &routerv1.Part_Text{Text: script.String() + " hi"}}},
		}}}
		ctx, info := connect.NewClientContext(t.Context())
		whole, err := client.Complete(ctx, &routerv1.CompleteRequest{Input: in})
		if err != nil {
			t.Fatal(err)
		}
		r.settled(t, 2)
		told := r.done()
		check("typed message", ofMessage(whole.GetProvenance()))
		r.put(told)
		check("trailing metadata", ofHeaders(func(name string) []string { return info.ResponseTrailer().Values(name) }))

		ctx, info = connect.NewClientContext(t.Context())
		stream, err := client.StreamCompletion(ctx, &routerv1.StreamCompletionRequest{Input: in})
		if err != nil {
			t.Fatal(err)
		}
		var last *routerv1.StreamCompletionResponse
		for {
			event, err := stream.Receive()
			if err != nil {
				break
			}
			last = event
		}
		r.settled(t, 2)
		told = r.done()
		check("last typed event", ofMessage(last.GetFinished().GetProvenance()))
		r.put(told)
		check("trailing metadata of a stream", ofHeaders(func(name string) []string { return info.ResponseTrailer().Values(name) }))
	}
}

// TestEveryOperationTellsWhatTheUsageEventSays, not conversations alone: vectors, pictures and counts, over HTTP and
// typed.
func TestEveryOperationTellsWhatTheUsageEventSays(t *testing.T) {
	t.Parallel()
	upstream := llmtest.New(t)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	r := &rig{heard: make(chan struct{}, 100), Keyring: busyKeys{}}
	service := completion.New(completion.Options{
		Planner: r, Keyring: r, Recorder: r, Evidence: r, BaseURLs: map[string]string{"openai": upstream.OpenAIURL(), "anthropic": upstream.AnthropicURL()},
		Providers: map[string]completion.Provider{"openai": openai.New(transport), "anthropic": anthropic.New(transport)},
		Log:       slog.New(slog.DiscardHandler), Now: time.Now,
	})
	handler, client := r.handlerOf(t, service), typed(t, service)
	of := func(provider, name, credential string, line int) completion.Target {
		tg := target(provider, name)
		tg.Class, tg.Line, tg.PolicyID, tg.PolicyName, tg.PolicyVersion, tg.Rule = usage.Own, line, "pol_1", "main", 3, &completion.Rule{}
		tg.Credential = &completion.Credential{ID: credential, Revision: 2, Label: "prod", Provider: provider}
		return tg
	}
	for name, c := range map[string]struct {
		provider, model string
		path, body      string
		typed           func(ctx context.Context) error
	}{
		"vectors": {"openai", "text-embedding-3-small", "/v1/embeddings", `{"model":"x","input":"hi"}`, func(ctx context.Context) error {
			_, err := client.Embed(ctx, &routerv1.EmbedRequest{Model: "x", Texts: []string{"hi"}})
			return err
		}},
		"pictures": {"openai", "gpt-image-2", "/v1/images/generations", `{"model":"x","prompt":"a key"}`, nil},
		"counts": {"anthropic", "claude-haiku-4-5", "/v1/messages/count_tokens", `{"model":"x","messages":[{"role":"user","content":"hi"}]}`, func(ctx context.Context) error {
			_, err := client.CountTokens(ctx, &routerv1.CountTokensRequest{Input: &routerv1.CompletionInput{Model: "x", Messages: []*routerv1.Message{{
				Role: routerv1.MessageRole_MESSAGE_ROLE_USER, Parts: []*routerv1.Part{{Content: &routerv1.Part_Text{Text: "hi"}}},
			}}}})
			return err
		}},
	} {
		r.Planner = configured{7, nil, []completion.Target{of(c.provider, c.model, "cred_busy", 0), of(c.provider, c.model, "cred_1", 1)}}
		check := func(face string, told story) {
			t.Helper()
			want := ofEvents(r.taken(), "main")
			if len(want.Attempts) != 2 || want.Line != "2" {
				t.Fatalf("%s: the events say %+v, want that the second line serves", face, want)
			}
			if diff := cmp.Diff(want, told); diff != "" {
				t.Errorf("%s of %s (-event +told):\n%s", face, name, diff)
			}
		}
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, c.path, strings.NewReader(c.body))
		req.Header.Set("X-Api-Key", "clv-full")
		w := httptest.NewRecorder()
		if handler.ServeHTTP(w, req); w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", c.path, w.Code, w.Body)
		}
		check("headers", ofHeaders(w.Header().Values))
		if c.typed == nil {
			continue
		}
		ctx, info := connect.NewClientContext(t.Context())
		if err := c.typed(ctx); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r.settled(t, 2)
		check("trailing metadata", ofHeaders(func(name string) []string { return info.ResponseTrailer().Values(name) }))
	}
}

// busyKeys makes the credential "cred_busy" one whose provider is overloaded.
type busyKeys struct{}

func (busyKeys) Secret(_ context.Context, c *completion.Credential) (secret.Text, error) {
	if c.ID == "cred_busy" {
		return secret.New("sk-busy-0123456789+" + llmtest.Script{Error: llmtest.ErrOverloaded}.String()), nil
	}
	return secret.New(providertest.Key), nil
}

// configured are the targets of every request, under a version of the configuration.
type configured struct {
	version int64
	prices  *pricing.Table
	targets []completion.Target
}

func (c configured) Plan(completion.Caller, *completion.Request) (completion.Plan, error) {
	return completion.Plan{Targets: c.targets, ConfigVersion: c.version, Prices: c.prices}, nil
}

// taken are the events so far, which are then forgotten.
func (r *rig) taken() []usage.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.events
	r.events = nil
	return out
}

func (r *rig) put(events []usage.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = events
}

// settled waits until there are so many events: one is written when its answer has gone out.
func (r *rig) settled(t *testing.T, n int) {
	t.Helper()
	for len(r.done()) < n {
		select {
		case <-r.heard:
		case <-time.After(10 * time.Second):
			t.Fatalf("%d events, want %d", len(r.done()), n)
		}
	}
}

// typed is a client of the typed API over a service.
func typed(t *testing.T, service *completion.Service) routerv1connect.CompletionServiceClient {
	t.Helper()
	return typedAt(t, service, completion.ProvenanceFull)
}

// typedAt serves callers that are told so much.
func typedAt(t *testing.T, service *completion.Service, level completion.Provenance) routerv1connect.CompletionServiceClient {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	quiet, err := telemetry.Start(t.Context(), telemetry.Options{Service: "router"})
	if err != nil {
		t.Fatal(err)
	}
	server := connect.NewServer(intercept.Chain(intercept.Options{
		Log: log, Authenticate: intercept.Fixed(authn.Principal{Kind: authn.APIKey, OrgID: "org_1", APIKeyID: "key_1"}), Telemetry: quiet,
	})...)
	routerv1connect.RegisterCompletionServiceHandler(server, &rpc.CompletionServer{
		Completions: service,
		Caller: func(context.Context) completion.Caller {
			return completion.Caller{OrgID: "org_1", Provenance: level}
		},
	})
	edge := httptest.NewServer(serve.Mux(1<<20, nil, server))
	t.Cleanup(edge.Close)
	return routerv1connect.NewCompletionServiceClient(connect.NewClient(connecthttp.NewTransport(edge.Client(), edge.URL)))
}

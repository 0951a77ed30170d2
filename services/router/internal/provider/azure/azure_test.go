package azure_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/azure"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// entry is one element of a credential.
type entry struct {
	Slug     string `json:"model_slug"`
	Endpoint string `json:"endpoint_url"`
	Key      string `json:"api_key"`
	Name     string `json:"model_id"`
}

func list(entries ...entry) string {
	b, err := json.Marshal(entries)
	if err != nil {
		panic(err) // texts always encode
	}
	return string(b)
}

// located is the adapter with Azure's hosts where the test's server is: https://acme.openai.azure.com/x is
// <base URL>/acme/x there.
type located struct{ *azure.Provider }

type baseKey struct{}

func newLocated(rt http.RoundTripper) completion.Provider { return located{azure.New(relocate{rt})} }

func (l located) Start(ctx context.Context, call completion.Call) (completion.Answer, error) {
	return l.Provider.Start(context.WithValue(ctx, baseKey{}, call.BaseURL), call)
}

func (l located) Test(ctx context.Context, at completion.Place) completion.Verdict {
	return l.Provider.Test(context.WithValue(ctx, baseKey{}, at.BaseURL), at)
}

type relocate struct{ http.RoundTripper }

func (r relocate) RoundTrip(req *http.Request) (*http.Response, error) {
	base, _ := req.Context().Value(baseKey{}).(string)
	resource, _, _ := strings.Cut(req.URL.Host, ".")
	u, err := url.Parse(base + "/" + resource + req.URL.EscapedPath() + "?" + req.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	moved := req.Clone(req.Context())
	moved.URL, moved.Host = u, u.Host
	return r.RoundTripper.RoundTrip(moved)
}

const acme = "https://acme.openai.azure.com"

func TestProvider(t *testing.T) {
	t.Parallel()
	for name, endpoint := range map[string]string{
		"v1":                    acme,
		"a resource without v1": "https://classic.openai.azure.com",
		"serverless":            "https://acme.swedencentral.models.ai.azure.com",
		"a gateway":             "https://gateway.acme.example/team",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			providertest.Run(t, providertest.Adapter{
				New:     newLocated,
				BaseURL: func(s *llmtest.Server) string { return s.URL + "/azure" },
				Model:   "openai/gpt-4o",
				Secret:  func(key string) string { return list(entry{"openai/gpt-4o", endpoint, key, "gpt-4o"}) },
				Usage: func(u llmtest.Usage) usage.Tokens {
					return usage.Tokens{
						InputTotal: int64(u.Input), InputUncached: int64(u.Input - u.Cached), CacheRead: int64(u.Cached),
						OutputTotal: int64(u.Output), Reasoning: int64(u.Reasoning),
					}
				},
				Errors: map[llmtest.Failure]completion.Class{
					llmtest.ErrAuth: completion.AuthInvalid, llmtest.ErrScopes: completion.AuthLimited, llmtest.ErrForbidden: completion.AuthLimited,
					llmtest.ErrModel: completion.ModelNotFound, llmtest.ErrRateLimit: completion.RateLimited, llmtest.ErrSlowDown: completion.Overloaded,
					llmtest.ErrContent: completion.ContentRefused, llmtest.ErrBadRequest: completion.InvalidRequest,
					llmtest.ErrContextLength: completion.TooLarge, llmtest.ErrServer: completion.ServerError,
					llmtest.ErrOverloaded: completion.Overloaded, llmtest.ErrTimeout: completion.TimedOut, llmtest.ErrGatewayHTML: completion.ServerError,
				},
				InStream: map[llmtest.Failure]completion.Class{
					llmtest.ErrServer: completion.ServerError, llmtest.ErrRateLimit: completion.RateLimited, llmtest.ErrContent: completion.ContentRefused,
				},
			})
		})
	}
}

// line is a server that keeps what it was asked, and answers by a function.
type line struct {
	asked  []string // method, address and how it was signed
	bodies []string
	answer func(n int, r *http.Request) (status int, kind, body string)
}

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	signed := ""
	for _, name := range []string{"Api-Key", "X-Api-Key", "Authorization"} {
		if v := r.Header.Get(name); v != "" {
			signed += " " + name + "=" + v
		}
	}
	l.asked = append(l.asked, r.Method+" "+r.URL.String()+signed)
	body := ""
	if r.Body != nil {
		b, _ := io.ReadAll(r.Body)
		body = string(b)
	}
	l.bodies = append(l.bodies, body)
	status, kind, text := l.answer(len(l.asked), r)
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(text)), ContentLength: -1, Request: r,
	}, nil
}

const whole = `{"id":"c","model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`

func ok(string) func(int, *http.Request) (int, string, string) {
	return func(int, *http.Request) (int, string, string) { return 200, "application/json", whole }
}

func call(model, credential string, change ...func(*completion.Call)) completion.Call {
	c := providertest.Converted("", model, false, llmtest.Script{})
	c.Secret, c.Credential = secret.New(credential), &completion.Credential{ID: "cred_1", Revision: 1}
	for _, f := range change {
		f(&c)
	}
	return c
}

// passing makes a call one whose bytes pass.
func passing(d completion.Dialect, op completion.Operation, body string) func(*completion.Call) {
	return func(c *completion.Call) {
		c.Raw, c.Request.Raw, c.Request.Dialect, c.Request.Operation = true, []byte(body), d, op
	}
}

func drained(t *testing.T, p completion.Provider, c completion.Call) (providertest.Answer, error) {
	t.Helper()
	answer, err := p.Start(t.Context(), c)
	if err != nil {
		return providertest.Answer{}, err
	}
	defer answer.Close() //nolint:errcheck // a test
	return providertest.Collect(answer)
}

func TestEachWayHasItsAddressAndItsSignature(t *testing.T) {
	t.Parallel()
	const (
		chat = "openai.chat"
		key  = "0123456789abcdef"
	)
	for name, test := range map[string]struct {
		endpoint, model, name string
		how                   func(*completion.Call)
		want                  string
	}{
		"v1":           {acme + "/", "openai/gpt-4o", "my gpt.4o", nil, "POST https://acme.openai.azure.com/openai/v1/chat/completions Api-Key=" + key},
		"v1 responses": {acme, "openai/gpt-5.6-sol", "d", nil, "POST https://acme.openai.azure.com/openai/v1/responses Api-Key=" + key},
		"v1 passing": {
			acme, "openai/gpt-5.6-sol", "d", passing(completion.OpenAIChat, completion.Chat, `{"model":"x","messages":[]}`),
			"POST https://acme.openai.azure.com/openai/v1/chat/completions Api-Key=" + key,
		},
		"v1 embeddings": {
			acme, "openai/text-embedding-3-small", "emb", passing(completion.OpenAIEmbeddings, completion.Embeddings, `{"model":"x","input":"a"}`),
			"POST https://acme.openai.azure.com/openai/v1/embeddings Api-Key=" + key,
		},
		"v1 images": {
			acme, "openai/gpt-image-2", "img", passing(completion.OpenAIImages, completion.Images, `{"model":"x","prompt":"a"}`),
			"POST https://acme.openai.azure.com/openai/v1/images/generations Api-Key=" + key,
		},
		"classic": {
			acme + "/openai/deployments/my%20gpt.4o/chat/completions?api-version=2024-10-21", "openai/gpt-4o", "my gpt.4o", nil,
			"POST https://acme.openai.azure.com/openai/deployments/my%20gpt.4o/chat/completions?api-version=2024-10-21 Api-Key=" + key,
		},
		"classic without a version": {
			acme + "/openai/deployments/d", "openai/gpt-4o", "d", nil,
			"POST https://acme.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21 Api-Key=" + key,
		},
		"classic, of a model that reasons": {
			acme + "/openai/deployments/d", "openai/o4-mini", "d", passing(completion.OpenAIChat, completion.Chat, `{"messages":[]}`),
			"POST https://acme.openai.azure.com/openai/deployments/d/chat/completions?api-version=2025-04-01-preview Api-Key=" + key,
		},
		"project": {
			"https://acme.services.ai.azure.com/api/projects/p/openai/v1", "openai/gpt-4o", "d", nil,
			"POST https://acme.services.ai.azure.com/api/projects/p/openai/v1/chat/completions Api-Key=" + key,
		},
		"model inference": {
			"https://acme.services.ai.azure.com/models/chat/completions?api-version=2024-05-01-preview", "meta/llama", "d", nil,
			"POST https://acme.services.ai.azure.com/models/chat/completions?api-version=2024-05-01-preview Api-Key=" + key,
		},
		"serverless": {
			"https://dep.swedencentral.models.ai.azure.com/v1", "mistral/large", "d", nil,
			"POST https://dep.swedencentral.models.ai.azure.com/v1/chat/completions Authorization=Bearer " + key,
		},
		"gateway": {
			"https://acme.azure-api.net/team/openai", "openai/gpt-4o", "d", nil, "POST https://acme.azure-api.net/team/openai/chat/completions Api-Key=" + key,
		},
		"claude": {
			"https://acme.services.ai.azure.com/anthropic/v1/messages", "anthropic/claude-opus-5", "d", nil,
			"POST https://acme.services.ai.azure.com/anthropic/v1/messages X-Api-Key=" + key,
		},
		"claude counts": {
			"https://acme.services.ai.azure.com/anthropic", "anthropic/claude-opus-5", "d",
			passing(completion.AnthropicCount, completion.CountTokens, `{"model":"x","messages":[]}`),
			"POST https://acme.services.ai.azure.com/anthropic/v1/messages/count_tokens X-Api-Key=" + key,
		},
	} {
		l := &line{answer: ok(chat)}
		c := call(test.model, list(entry{test.model, test.endpoint, key, test.name}))
		if test.how != nil {
			test.how(&c)
		}
		_, _ = drained(t, azure.New(l), c) // of other forms the answer is none
		if len(l.asked) != 1 || l.asked[0] != test.want {
			t.Errorf("%s: asked %q, want %q", name, l.asked, test.want)
			continue
		}
		var body struct{ Model string }
		if err := json.Unmarshal([]byte(l.bodies[0]), &body); err != nil || body.Model != test.name {
			t.Errorf("%s: body %s, want the model %s", name, l.bodies[0], test.name)
		}
	}
}

// TestClaudesBetasPass: what a caller says of a body goes out with it, and with no converted one.
func TestClaudesBetasPass(t *testing.T) {
	t.Parallel()
	const key = "0123456789abcdef"
	told := map[string]string{"Anthropic-Version": "2026-10-21", "Anthropic-Beta": "context-1m,interleaved-thinking", "Cookie": "never"}
	for name, test := range map[string]struct {
		how  func(*completion.Call)
		want [2]string
	}{
		"passing": {
			passing(completion.AnthropicMessages, completion.Chat, `{"model":"x","max_tokens":5,"messages":[]}`),
			[2]string{"2026-10-21", "context-1m,interleaved-thinking"},
		},
		"counted": {
			passing(completion.AnthropicCount, completion.CountTokens, `{"model":"x","messages":[]}`),
			[2]string{"2026-10-21", "context-1m,interleaved-thinking"},
		},
		"converted": {func(*completion.Call) {}, [2]string{"2023-06-01", ""}},
	} {
		var got http.Header
		l := &line{answer: func(_ int, r *http.Request) (int, string, string) {
			got = r.Header.Clone()
			return 200, "application/json", whole
		}}
		c := call("anthropic/claude-opus-5", list(entry{"anthropic/claude-opus-5", "https://acme.services.ai.azure.com/anthropic", key, "d"}), test.how)
		c.Request.Headers = told
		_, _ = drained(t, azure.New(l), c) // the answer is none in this form
		if len(l.asked) != 1 || [2]string{got.Get("Anthropic-Version"), got.Get("Anthropic-Beta")} != test.want || got.Get("Cookie") != "" {
			t.Errorf("%s: %d calls with %v", name, len(l.asked), got)
		}
	}
}

func TestAMissingV1IsRememberedForItsEndpoint(t *testing.T) {
	t.Parallel()
	l := &line{answer: func(_ int, r *http.Request) (int, string, string) {
		if strings.Contains(r.URL.Path, "/v1/") {
			return 404, "application/json", `{"error":{"code":"404","message":"Resource not found"}}`
		}
		return 200, "application/json", whole
	}}
	p := azure.New(l)
	credential := list(entry{"openai/gpt-4o", acme, "0123456789abcdef", "d"})
	for range 2 {
		if got, err := drained(t, p, call("openai/gpt-4o", credential)); err != nil || got.Delta.Text != "hi" {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if len(l.asked) != 3 || !strings.Contains(l.asked[2], "/openai/deployments/d/") {
		t.Errorf("asked %q", l.asked)
	}
	if !strings.Contains(l.bodies[0], "max_") && strings.Contains(l.bodies[1], "max_completion_tokens") {
		t.Errorf("bodies %q", l.bodies)
	}
	next := call("openai/gpt-4o", credential)
	next.Credential = &completion.Credential{ID: "cred_1", Revision: 2}
	if _, err := drained(t, p, next); err != nil || len(l.asked) != 5 {
		t.Errorf("a new revision is not asked anew: %q, %v", l.asked, err)
	}
	missing := &line{answer: func(int, *http.Request) (int, string, string) {
		return 404, "application/json", `{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}`
	}}
	_, err := drained(t, azure.New(missing), call("openai/gpt-4o", credential))
	if failed, ok := errors.AsType[*completion.ProviderError](err); !ok || failed.Class != completion.ModelNotFound || len(missing.asked) != 1 {
		t.Errorf("a missing deployment: %v after %q", err, missing.asked)
	}
}

func TestUsageIsNotAskedForWhereThatIsRefused(t *testing.T) {
	t.Parallel()
	l := &line{answer: func(int, *http.Request) (int, string, string) { return 0, "", "" }}
	l.answer = func(n int, _ *http.Request) (int, string, string) {
		if strings.Contains(l.bodies[n-1], "stream_options") {
			return 400, "application/json", `{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error","param":null,"code":null}}`
		}
		return 200, "text/event-stream", `data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"
	}
	p := azure.New(l)
	for range 2 {
		c := call("openai/gpt-4o", list(entry{"openai/gpt-4o", acme + "/openai/deployments/d?api-version=2023-05-15", "0123456789abcdef", "d"}))
		c.Request.Stream = true
		if got, err := drained(t, p, c); err != nil || got.Delta.Text != "hi" || got.Usage != nil {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if len(l.asked) != 3 {
		t.Errorf("asked %d times", len(l.asked))
	}
}

func TestAnotherDeploymentServesWhereOneCannot(t *testing.T) {
	t.Parallel()
	credential := list(
		entry{"openai/gpt-4o", "https://one.openai.azure.com", "key-of-one-0123", "d"},
		entry{"openai/o3-mini", "https://one.openai.azure.com", "key-of-one-0123", "o"},
		entry{"openai/gpt-4o", "https://two.openai.azure.com", "key-of-two-0123", "d"},
	)
	for name, test := range map[string]struct {
		status int
		body   string
		moves  bool
		first  string // is asked first by the next call
	}{
		"limited":       {429, `{"error":{"code":"429","message":"Requests have exceeded token rate limit"}}`, true, "two"},
		"busy":          {503, `{"error":{"code":"503","message":"x"}}`, true, "two"},
		"wrong key":     {401, `{"error":{"code":"401","message":"Access denied due to invalid subscription key"}}`, true, "one"},
		"no deployment": {404, `{"error":{"code":"DeploymentNotFound","message":"x"}}`, true, "one"},
		"refused":       {400, `{"error":{"code":"content_filter","message":"x","param":"prompt"}}`, false, ""},
		"failed":        {500, `{"error":{"code":"500","message":"x"}}`, false, ""},
	} {
		l := &line{answer: func(_ int, r *http.Request) (int, string, string) {
			if r.URL.Host == "one.openai.azure.com" {
				return test.status, "application/json", test.body
			}
			return 200, "application/json", whole
		}}
		p := azure.New(l)
		_, err := drained(t, p, call("openai/gpt-4o", credential))
		if (err == nil) != test.moves {
			t.Errorf("%s: %v after %q", name, err, l.asked)
			continue
		}
		if !test.moves {
			continue
		}
		if len(l.asked) != 2 || !strings.Contains(l.asked[1], "two.openai.azure.com") || !strings.HasSuffix(l.asked[1], "key-of-two-0123") {
			t.Errorf("%s: asked %q", name, l.asked)
		}
		l.asked, l.bodies = nil, nil
		if _, err := drained(t, p, call("openai/gpt-4o", credential)); err != nil || !strings.Contains(l.asked[0], test.first+".openai.azure.com") {
			t.Errorf("%s: then asked %q, %v", name, l.asked, err)
		}
	}
	l := &line{answer: ok("")}
	_, err := drained(t, azure.New(l), call("openai/gpt-9", credential))
	if failed, ok := errors.AsType[*completion.ProviderError](err); !ok || failed.Class != completion.ModelNotFound || failed.Sent || len(l.asked) != 0 {
		t.Errorf("a model without a deployment: %v after %q", err, l.asked)
	}
}

func TestARefusedDeploymentIsNotTheWholeCredential(t *testing.T) {
	t.Parallel()
	bad := entry{"openai/gpt-4o", "https://one.openai.azure.com", "key-of-one-0123", "d"}
	same := entry{"openai/o3-mini", "https://one.openai.azure.com", "key-of-one-0123", "o"}
	other := entry{"openai/o3-mini", "https://two.openai.azure.com", "key-of-two-0123", "o"}
	for name, test := range map[string]struct {
		status int
		body   string
		list   string
		want   completion.Class
	}{
		"the only key":                 {401, `{"error":{"code":"401","message":"Access denied due to invalid subscription key"}}`, list(bad, same), completion.AuthInvalid},
		"one of two keys":              {401, `{"error":{"code":"401","message":"Access denied due to invalid subscription key"}}`, list(bad, other), completion.AuthLimited},
		"the quota of the only one":    {429, `{"error":{"code":"insufficient_quota","message":"x"}}`, list(bad, same), completion.QuotaExhausted},
		"the quota of one of two keys": {429, `{"error":{"code":"insufficient_quota","message":"x"}}`, list(bad, other), completion.RateLimited},
	} {
		l := &line{answer: func(int, *http.Request) (int, string, string) { return test.status, "application/json", test.body }}
		_, err := drained(t, azure.New(l), call("openai/gpt-4o", test.list))
		if failed, ok := errors.AsType[*completion.ProviderError](err); !ok || failed.Class != test.want || !failed.Unbilled {
			t.Errorf("%s: %+v, want %s", name, failed, test.want)
		}
	}
}

func TestWhatADeploymentIsServesAndSpeaks(t *testing.T) {
	t.Parallel()
	p := azure.New(&line{})
	c := &completion.Credential{Settings: completion.Settings{Deployments: []completion.Deployment{
		{Model: "openai/gpt-4o", Endpoint: acme, Name: "d"},
		{Model: "anthropic/claude-opus-5", Endpoint: "https://acme.services.ai.azure.com/anthropic", Name: "c"},
		{Model: "mistral/large", Endpoint: "https://dep.swedencentral.models.ai.azure.com", Name: "m"},
	}}}
	for what, want := range map[string]string{
		"openai/gpt-9 chat":                    "has no deployment for this model",
		"openai/gpt-4o chat":                   "",
		"openai/gpt-4o embeddings":             "",
		"openai/gpt-4o count_tokens":           "has no count_tokens at this model's deployment",
		"anthropic/claude-opus-5 chat":         "",
		"anthropic/claude-opus-5 count_tokens": "",
		"anthropic/claude-opus-5 embeddings":   "has no embeddings at this model's deployment",
		"mistral/large images":                 "has no images at this model's deployment",
		"openai/gpt-4o videos":                 "is not asked for videos",
	} {
		model, op, _ := strings.Cut(what, " ")
		if got := p.Serves(completion.Operation(op), model, c); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	for model, want := range map[string][]completion.Dialect{
		"openai/gpt-4o":           {completion.OpenAIChat, completion.OpenAIResponses, completion.OpenAIEmbeddings, completion.OpenAIImages},
		"anthropic/claude-opus-5": {completion.AnthropicMessages, completion.AnthropicCount},
		"mistral/large":           {completion.OpenAIChat, completion.OpenAIEmbeddings},
	} {
		var got []completion.Dialect
		for _, d := range []completion.Dialect{
			completion.OpenAIChat, completion.OpenAIResponses, completion.OpenAIEmbeddings, completion.OpenAIImages,
			completion.AnthropicMessages, completion.AnthropicCount, completion.Typed,
		} {
			if p.Speaks(d, &completion.Target{Provider: "azure", Model: "azure/" + model, Name: model, Credential: c}) {
				got = append(got, d)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", model, diff)
		}
	}
}

// The chunks of Azure's filters: a first one without choices, verdicts beside each delta, and verdicts
// without a delta, also after the end.
const filtered = `data: {"id":"","object":"","created":0,"model":"","choices":[],"prompt_filter_results":[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}}}]}

data: {"id":"chatcmpl-a","object":"chat.completion.chunk","created":1,"model":"gpt-4.1-2025-04-14","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,"content_filter_results":{}}],"usage":null}

data: {"id":"chatcmpl-a","model":"gpt-4.1-2025-04-14","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}}}],"usage":null}

data: {"id":"","model":"","choices":[{"index":0,"finish_reason":null,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}},"content_filter_raw":[],"content_filter_offsets":{"check_offset":44,"start_offset":44,"end_offset":198}}]}

data: {"id":"chatcmpl-a","choices":[{"index":0,"delta":{"content":" there"},"finish_reason":null,"content_filter_results":{}}],"usage":null}

data: {"id":"chatcmpl-a","choices":[{"index":0,"delta":{},"finish_reason":"stop","content_filter_results":{}}],"usage":null}

data: {"id":"","model":"","choices":[{"index":0,"finish_reason":null,"content_filter_results":{"violence":{"filtered":false,"severity":"low"}},"content_filter_offsets":{"check_offset":198,"start_offset":44,"end_offset":250}}]}

data: {"id":"chatcmpl-a","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}}}

data: [DONE]

`

// pieces gives a stream in reads of random sizes.
type pieces struct {
	io.Reader
	random *rand.Rand
}

func (p pieces) Read(b []byte) (int, error) {
	return p.Reader.Read(b[:min(len(b), 1+p.random.IntN(60))])
}

type stream struct {
	text string
	seed uint64
}

func (s stream) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}, "Apim-Request-Id": {"apim-1"}}, ContentLength: -1,
		Body: io.NopCloser(pieces{strings.NewReader(s.text), rand.New(rand.NewPCG(s.seed, 3))}),
	}, nil
}

func TestVerdictsOfFiltersAreNoContent(t *testing.T) {
	t.Parallel()
	credential := list(entry{"openai/gpt-4.1", acme, "0123456789abcdef", "d"})
	want := usage.Tokens{InputTotal: 9, InputUncached: 5, CacheRead: 4, OutputTotal: 5, Reasoning: 2}
	for seed := range uint64(50) {
		c := call("openai/gpt-4.1", credential)
		c.Request.Stream = true
		got, err := drained(t, azure.New(stream{filtered, seed}), c)
		if err != nil || got.Delta.Text != "Hi there" || got.Finish != completion.Stop || got.Usage == nil || got.Usage.Tokens != want {
			t.Fatalf("seed %d: %+v, %v", seed, got, err)
		}
		if got.Pieces != 2 || got.Head.Model != "gpt-4.1-2025-04-14" || got.Head.RequestID != "apim-1" {
			t.Fatalf("seed %d: %d pieces, head %+v", seed, got.Pieces, got.Head)
		}
		passing(completion.OpenAIChat, completion.Chat, `{"model":"x","messages":[],"stream":true}`)(&c)
		raw, err := drained(t, azure.New(stream{filtered, seed}), c)
		if err != nil || raw.Raw != filtered || raw.Pieces != 2 {
			t.Fatalf("seed %d: passing %d pieces, %v:\n%s", seed, raw.Pieces, err, cmp.Diff(filtered, raw.Raw))
		}
	}
	cut := strings.Replace(filtered, `"finish_reason":"stop"`, `"finish_reason":"content_filter"`, 1)
	c := call("openai/gpt-4.1", credential)
	c.Request.Stream = true
	if got, err := drained(t, azure.New(stream{cut, 1}), c); err != nil || got.Finish != completion.ContentFilter {
		t.Errorf("filtered midway: %+v, %v", got, err)
	}
}

func TestFilteredPromptsStop(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"usual":    `{"error":{"message":"The response was filtered","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"jailbreak":{"filtered":true,"detected":true}}}}}`,
		"no inner": `{"error":{"message":"The response was filtered","code":"content_filter"}}`,
	} {
		l := &line{answer: func(int, *http.Request) (int, string, string) { return 400, "application/json", body }}
		_, err := drained(t, azure.New(l), call("openai/gpt-4.1", list(entry{"openai/gpt-4.1", acme, "0123456789abcdef", "d"})))
		if failed, ok := errors.AsType[*completion.ProviderError](err); !ok || failed.Class != completion.ContentRefused || failed.Class.MayMoveOn() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAKeyTestNamesTheEntriesThatFail(t *testing.T) {
	t.Parallel()
	const listed = `{"object":"list","data":[{"id":"gpt-4o","object":"model"}]}`
	const denied = `{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint."}}`
	one, two := "https://one.openai.azure.com", "https://two.openai.azure.com"
	answer := func(_ int, r *http.Request) (int, string, string) {
		switch {
		case strings.Contains(r.URL.Host, "dated") && strings.Contains(r.URL.Path, "/v1/"), strings.Contains(r.URL.Host, "gateway"):
			return 404, "application/json", `{"error":{"code":"404","message":"Resource not found"}}`
		case strings.Contains(r.Header.Get("Api-Key"), "wrong"):
			return 401, "application/json", denied
		case strings.Contains(r.Header.Get("Api-Key"), "closed"):
			return 403, "application/json", `{"error":{"code":"403","message":"Access denied due to Virtual Network/Firewall rules."}}`
		}
		return 200, "application/json", listed
	}
	for name, test := range map[string]struct {
		entries []entry
		state   string
		reason  string
		models  []string
		asked   int
	}{
		"good, one endpoint": {
			[]entry{{"openai/o3-mini", one, "good-key-1", "a"}, {"openai/gpt-4o", one, "good-key-1", "b"}},
			"active", "accepts the key",
			[]string{"openai/gpt-4o", "openai/o3-mini"},
			1,
		},
		"one of two": {
			[]entry{{"openai/gpt-4o", one, "good-key-1", "a"}, {"openai/o3-mini", two, "wrong-key-1", "b"}},
			"degraded", "entry 2 (openai/o3-mini): the provider says (401): Access denied", nil, 2,
		},
		"all": {[]entry{{"openai/gpt-4o", one, "wrong-key-1", "a"}}, "rejected", "entry 1 (openai/gpt-4o): ", nil, 1},
		"a firewall": {
			[]entry{{"openai/gpt-4o", one, "closed-key-1", "a"}}, "degraded", "entry 1 (openai/gpt-4o): the provider says (403)", nil, 1,
		},
		"a resource without v1": {[]entry{{"openai/gpt-4o", "https://dated.openai.azure.com", "good-key-1", "a"}}, "active", "accepts the key", []string{"openai/gpt-4o"}, 2},
		"a gateway without a list": {
			[]entry{{"openai/gpt-4o", one, "good-key-1", "a"}, {"openai/o3", "https://gateway.acme.example/x", "good-key-1", "b"}},
			"active", "not tested: entry 2 (openai/o3): ", nil, 2,
		},
	} {
		l := &line{answer: answer}
		got := azure.New(l).Test(t.Context(), completion.Place{Secret: secret.New(list(test.entries...))})
		if got.State != test.state || !strings.Contains(got.Reason, test.reason) || !cmp.Equal(got.Models, test.models) || len(l.asked) != test.asked {
			t.Errorf("%s: %+v after %q", name, got, l.asked)
		}
		if strings.Contains(fmt.Sprint(got), "key-1") {
			t.Errorf("%s: the key is in %+v", name, got)
		}
	}
	if got := azure.New(&line{}).Test(t.Context(), completion.Place{Secret: secret.New("sk-1")}); got.State != "rejected" || strings.Contains(got.Reason, "sk-1") {
		t.Errorf("no list: %+v", got)
	}
}

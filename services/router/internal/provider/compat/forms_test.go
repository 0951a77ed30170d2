package compat_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/compat"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
)

func vendorOf(t *testing.T, slug string) compat.Vendor {
	t.Helper()
	for _, v := range compat.Vendors() {
		if v.Facts.Slug == slug {
			return v
		}
	}
	t.Fatalf("there is no %s", slug)
	return compat.Vendor{}
}

// keeper answers an error, and keeps what it was sent.
type keeper struct {
	status             int
	answer             string
	url, body, version string
	beta               string
}

func (k *keeper) RoundTrip(req *http.Request) (*http.Response, error) {
	k.url, k.version = req.URL.String(), req.Header.Get("Anthropic-Version")
	k.beta = req.Header.Get("Anthropic-Beta")
	b, _ := io.ReadAll(req.Body)
	k.body = string(b)
	return &http.Response{
		StatusCode: k.status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(k.answer)), ContentLength: -1, Request: req,
	}, nil
}

// TestOtherFormsHaveTheirPlaces: each form goes where the vendor speaks it, and its errors are judged by the
// vendor's own words.
func TestOtherFormsHaveTheirPlaces(t *testing.T) {
	t.Parallel()
	flat := `{"code":"invalid-argument","error":"Incorrect API key provided."}`
	embed := &completion.Prompt{User: "u", Embedding: &completion.EmbeddingInput{Texts: []string{"a"}, Dimensions: new(int64(64))}}
	for name, test := range map[string]struct {
		slug    string
		op      completion.Operation
		dialect completion.Dialect // of bytes that pass
		raw     string
		prompt  *completion.Prompt
		answer  string
		url     string
		body    string
		class   completion.Class
	}{
		"xai messages": {
			slug: "xai", dialect: completion.AnthropicMessages, raw: `{"model":"x","max_tokens":5,"messages":[]}`, answer: flat,
			url: "https://api.x.ai/v1/messages", body: `{"model":"a-model","max_tokens":5,"messages":[]}`, class: completion.AuthInvalid,
		},
		"xai responses": {
			slug: "xai", dialect: completion.OpenAIResponses, raw: `{"model":"x","input":"a","store":false}`, answer: flat,
			url: "https://api.x.ai/v1/responses", body: `{"model":"a-model","input":"a","store":false}`, class: completion.AuthInvalid,
		},
		"xai pictures are converted": {
			slug: "xai", op: completion.Images, prompt: &completion.Prompt{Image: &completion.ImageInput{Text: "a", Size: "1536x1024", Count: 2, Base64: true}}, answer: flat,
			url: "https://api.x.ai/v1/images/generations", body: `{"aspect_ratio":"3:2","model":"a-model","n":2,"prompt":"a","response_format":"b64_json"}`, class: completion.AuthInvalid,
		},
		"groq responses": {
			slug: "groq", dialect: completion.OpenAIResponses, raw: `{"model":"x","input":"a","store":false}`, answer: `{"error":{"message":"x","code":"capacity_exceeded"}}`,
			url: "https://api.groq.com/openai/v1/responses", body: `{"model":"a-model","input":"a","store":false}`, class: completion.Overloaded,
		},
		"mistral vectors": {
			slug: "mistral", op: completion.Embeddings, prompt: embed, answer: `{"object":"error","message":"x","type":"rate_limited","code":"1300"}`,
			url: "https://api.mistral.ai/v1/embeddings", body: `{"input":["a"],"model":"a-model","output_dimension":64}`, class: completion.RateLimited,
		},
		"deepinfra messages": {
			slug: "deepinfra", dialect: completion.AnthropicMessages, raw: `{"model":"x","messages":[]}`, answer: `{"detail":{"error":"Not authenticated"}}`,
			url: "https://api.deepinfra.com/anthropic/v1/messages", body: `{"model":"a-model","messages":[]}`, class: completion.InvalidRequest,
		},
		"deepinfra counts": {
			slug: "deepinfra", op: completion.CountTokens, dialect: completion.AnthropicCount, raw: `{"model":"x","messages":[]}`, answer: `{"error":"model busy"}`,
			url: "https://api.deepinfra.com/anthropic/v1/messages/count_tokens", body: `{"model":"a-model","messages":[]}`, class: completion.Overloaded,
		},
		"deepinfra vectors": {
			slug: "deepinfra", op: completion.Embeddings, prompt: embed, answer: `{"detail":{"error":"You need positive balance to do inference."}}`,
			url: "https://api.deepinfra.com/v1/openai/embeddings", body: `{"dimensions":64,"encoding_format":"base64","input":["a"],"model":"a-model","user":"u"}`, class: completion.QuotaExhausted,
		},
		"deepinfra pictures": {
			slug: "deepinfra", op: completion.Images, prompt: &completion.Prompt{Image: &completion.ImageInput{Text: "a", Size: "512x512"}}, answer: `{"error":"model busy"}`,
			url: "https://api.deepinfra.com/v1/openai/images/generations", body: `{"model":"a-model","prompt":"a","response_format":"b64_json","size":"512x512"}`, class: completion.Overloaded,
		},
	} {
		k := &keeper{status: 400, answer: test.answer}
		c := call(vendorOf(t, test.slug), false, test.raw != "")
		c.Request.Operation, c.Request.Dialect = test.op, test.dialect
		c.Request.Raw = []byte(test.raw)
		c.Request.Headers = map[string]string{"Anthropic-Version": "2026-10-21", "Anthropic-Beta": "context-1m"}
		c.Request.Decode = func() (*completion.Prompt, error) { return test.prompt, nil }
		p := compat.New(k, vendorOf(t, test.slug))
		if why := p.Serves(c.Request.Asks(), "a-model", &completion.Credential{}); why != "" {
			t.Errorf("%s: %s", name, why)
		}
		if test.raw != "" && !p.Speaks(test.dialect, &completion.Target{}) {
			t.Errorf("%s: does not pass", name)
		}
		_, err := p.Start(t.Context(), c)
		failed, ok := errors.AsType[*completion.ProviderError](err)
		if !ok || failed.Class != test.class || k.url != test.url || k.body != test.body {
			t.Errorf("%s: %s with %s: %v", name, k.url, k.body, err)
		}
		if isMessages := strings.Contains(test.url, "/messages"); isMessages != (k.version == "2023-06-01") || k.beta != "" {
			t.Errorf("%s: version %q, betas %q, of which no vendor speaks", name, k.version, k.beta)
		}
	}
}

func TestWhatAVendorHasNotIsSaid(t *testing.T) {
	t.Parallel()
	for what, want := range map[string]string{
		"groq embeddings": "has no embeddings", "moonshot images": "has no images", "perplexity embeddings": "has no embeddings",
		"xai count_tokens": "has no count_tokens", "baseten embeddings": "has embeddings on dedicated deployments only", "mistral videos": "has no videos",
	} {
		slug, op, _ := strings.Cut(what, " ")
		p := compat.New(&keeper{}, vendorOf(t, slug))
		if got := p.Serves(completion.Operation(op), "m", &completion.Credential{}); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	dedicated := &completion.Credential{BaseURL: "https://model-1.api.baseten.co/environments/production/sync/v1"}
	if why := compat.New(&keeper{}, vendorOf(t, "baseten")).Serves(completion.Embeddings, "m", dedicated); why != "" {
		t.Errorf("a dedicated deployment: %s", why)
	}
	for slug, passes := range map[string][]completion.Dialect{
		"mistral": {completion.OpenAIChat}, "moonshot": {completion.OpenAIChat},
		"xai": {completion.OpenAIChat, completion.OpenAIResponses, completion.OpenAIEmbeddings, completion.AnthropicMessages},
	} {
		var got []completion.Dialect
		p := compat.New(&keeper{}, vendorOf(t, slug))
		for _, d := range []completion.Dialect{
			completion.OpenAIChat, completion.OpenAIResponses, completion.OpenAIEmbeddings, completion.OpenAIImages, completion.OpenAIVideos,
			completion.AnthropicMessages, completion.AnthropicCount, completion.Typed,
		} {
			if p.Speaks(d, &completion.Target{}) {
				got = append(got, d)
			}
		}
		if diff := cmp.Diff(passes, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", slug, diff)
		}
	}
}

// gallery serves one picture, and for all else keeps the body.
type gallery struct {
	keeper
	fetched int
}

func (g *gallery) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != "pictures.example" {
		return g.keeper.RoundTrip(req)
	}
	g.fetched++
	if req.Header.Get("Authorization") != "" || req.URL.Path == "/missing.png" {
		return &http.Response{StatusCode: 404, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
	}
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"image/png"}}, Body: io.NopCloser(strings.NewReader("PNG")), ContentLength: -1, Request: req,
	}, nil
}

// TestPicturesAreFetchedForMoonshot, whether the call passes or is converted.
func TestPicturesAreFetchedForMoonshot(t *testing.T) {
	t.Parallel()
	v := vendorOf(t, "moonshot")
	passes := `{"model":"x","messages":[{"role":"user","content":[{"type":"text","text":"https://pictures.example/no.png"},{"type":"image_url","image_url":{"detail":"low","url":"https://pictures.example/a.png"}}]}]}`
	for _, raw := range []bool{true, false} {
		for address, good := range map[string]bool{"https://pictures.example/a.png": true, "https://pictures.example/missing.png": false} {
			g := &gallery{keeper: keeper{status: 500}}
			c := call(v, false, raw)
			c.Request.Raw = []byte(strings.ReplaceAll(passes, "https://pictures.example/a.png", address))
			c.Request.Decode = func() (*completion.Prompt, error) {
				return &completion.Prompt{Messages: []completion.Message{{Role: completion.User, Parts: []completion.Part{{ImageURL: address}}}}}, nil
			}
			_, err := compat.New(g, v).Start(t.Context(), c)
			if good && (!strings.Contains(g.body, `"url":"data:image/png;base64,UE5H"`) || !json.Valid([]byte(g.body)) || g.fetched != 1) {
				t.Errorf("raw %v: sent %s, fetched %d", raw, g.body, g.fetched)
			}
			if f, isFault := fault.Of(err); !good && (!isFault || f.Kind() != fault.Invalid || g.body != "") {
				t.Errorf("raw %v: a picture that is not there: %v, sent %s", raw, err, g.body)
			}
		}
	}
}

// TestVendorsCostsAreReported: what the scripted provider says that a call costs is what comes of it, streamed
// or not, passed or converted.
func TestVendorsCostsAreReported(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	for _, slug := range []string{"xai", "perplexity", "deepinfra"} {
		for _, stream := range []bool{false, true} {
			for _, raw := range []bool{false, true} {
				c := call(vendorOf(t, slug), stream, raw)
				c.BaseURL, c.Model = server.URL+scripts[slug].base, scripts[slug].model
				body, _ := json.Marshal(map[string]any{"model": "x", "stream": stream, "messages": []any{map[string]any{"role": "user", "content": "hi"}}})
				c.Request.Raw = body
				answer, err := compat.New(&http.Transport{}, vendorOf(t, slug)).Start(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				got, err := providertest.Collect(answer)
				_ = answer.Close()
				if err != nil || got.Usage == nil || got.Usage.CostNanoUSD == nil {
					t.Fatalf("%s, stream %v, raw %v: %+v, %v", slug, stream, raw, got.Usage, err)
				}
				ledger := server.Ledger()
				if want := llmtest.CostNano(*ledger[len(ledger)-1].Declared); *got.Usage.CostNanoUSD != want {
					t.Errorf("%s, stream %v, raw %v: cost %d, want %d", slug, stream, raw, *got.Usage.CostNanoUSD, want)
				}
			}
		}
	}
}

// endless repeats an event for ever, in reads of one event.
type endless struct {
	first, event string
	begun        bool
}

func (e *endless) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: io.NopCloser(e), ContentLength: -1, Request: req}, nil
}

func (e *endless) Read(b []byte) (int, error) {
	if !e.begun {
		e.begun = true
		return copy(b, e.first), nil
	}
	return copy(b, e.event), nil
}

func TestPiecesCostLittleAtEveryVendor(t *testing.T) {
	for slug, event := range map[string]string{
		"xai":        `{"id":"d","choices":[{"index":0,"delta":{"content":" there"}}]}`,
		"groq":       `{"id":"d","choices":[{"index":0,"delta":{"channel":"analysis","reasoning":"Hm"},"finish_reason":null}]}`,
		"mistral":    `{"id":"c1","choices":[{"index":0,"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]},"finish_reason":null}],"p":"abcd"}`,
		"moonshot":   `{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"function":{"arguments":"{\"city\":"}}]},"finish_reason":null}]}`,
		"perplexity": `{"id":"1","model":"sonar","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"is"},"message":{"role":"assistant","content":"Paris is"}}],"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,"cost":{"total_cost":0.006}},"citations":["https://one.example/"],"search_results":[{"title":"One","url":"https://one.example/"}]}`,
		"deepinfra":  `{"id":"c","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}],"usage":{"prompt_tokens":8,"completion_tokens":1,"total_tokens":9,"estimated_cost":1e-7}}`,
		"baseten":    `{"id":"c","choices":[{"index":0,"delta":{"reasoning_content":"Hm."},"finish_reason":null}]}`,
	} {
		for _, raw := range []bool{false, true} {
			event := "data: " + event + "\n\n"
			answer, err := compat.New(&endless{first: event, event: event}, vendorOf(t, slug)).Start(t.Context(), call(vendorOf(t, slug), true, raw))
			if err != nil {
				t.Fatal(err)
			}
			next := func() {
				if _, err := answer.Next(); err != nil {
					t.Fatal(err)
				}
			}
			for range 5 {
				next()
			}
			limit := 8.0
			if raw {
				limit = 0
			}
			if got := testing.AllocsPerRun(500, next); got > limit {
				t.Errorf("%s, raw %v: %v allocations per piece, want %v at most", slug, raw, got, limit)
			}
			_ = answer.Close()
		}
	}
}

// FuzzVendors reads any bytes as an answer of any vendor: the same in any pieces, and never as more than what
// came.
func FuzzVendors(f *testing.F) {
	vendors := compat.Vendors()
	f.Add(uint8(0), true, []byte("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"<think>a</think>b\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"))
	f.Add(uint8(3), true, []byte("data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"arguments\":{}}}]},\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}]}\n\n"))
	f.Add(uint8(5), false, []byte(`{"choices":[{"message":{"content":[{"type":"thinking","thinking":[{"text":"a"}]}]}}],"usage":{"prompt_tokens":1,"completion_tokens":2,"cost":{"total_cost":1e9}}}`))
	f.Add(uint8(2), false, []byte(`{"detail":[{"loc":["body","x"],"msg":"no"}]}`))
	f.Add(uint8(6), true, []byte("event: error\ndata: {\"code\":\"x\",\"error\":\"y\"}\n\n"))
	f.Fuzz(func(t *testing.T, which uint8, stream bool, body []byte) {
		v := vendors[int(which)%len(vendors)]
		kind := "application/json"
		if stream {
			kind = "text/event-stream"
		}
		wire := append([]byte("HTTP/1.1 200 OK\r\nContent-Type: "+kind+"\r\n\r\n"), body...)
		whole, _ := played(t, v, &tape{wire: wire}, call(v, stream, false))
		n := 0
		pieces, _ := played(t, v, &tape{wire: wire, next: func() int { n++; return 1 + n%7 }}, call(v, stream, false))
		if diff := cmp.Diff(whole, pieces); diff != "" {
			t.Fatalf("pieces change the answer (-whole +pieces):\n%s", diff)
		}
		if len(whole.Text) > 4*len(body) || whole.CostNano != nil && *whole.CostNano < 0 {
			t.Fatalf("%+v of %d bytes", whole, len(body))
		}
		refused, _ := played(t, v, &tape{wire: append([]byte("HTTP/1.1 400 X\r\n\r\n"), body...)}, call(v, stream, false))
		if refused.Error == nil || len(refused.Error.Message) > 2200 {
			t.Fatalf("an error status is %+v", refused)
		}
	})
}

// FuzzPassing edits any body for any vendor: what was JSON stays JSON, and what is not is refused.
func FuzzPassing(f *testing.F) {
	vendors := compat.Vendors()
	for _, s := range []string{
		`{"model":"x","n":1,"user":"u","messages":[{"role":"developer","refusal":null,"tool_calls":[{"id":"call_1"}]},{"tool_call_id":"call_1","name":"f","role":"tool"}]}`,
		`{"stream_options":{},"seed":1,"random_seed":2,"tools":[{"function":{"parameters":{"$schema":"x"}}}]}`, `{}`, `{"claviger":1}`, `{"user":1,"store":2}`,
		`{"messages":[{"reasoning_content":"","tool_calls":[{}]},{"tool_calls":[1]}],"temperature":1}`,
	} {
		for i := range vendors {
			f.Add(uint8(i), true, []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, stream bool, body []byte) {
		v := vendors[int(which)%len(vendors)]
		if bytes.Contains(body, []byte("http")) {
			return // pictures are fetched
		}
		k := &keeper{status: 500}
		c := call(v, stream, true)
		c.Model, c.Request.Raw = "kimi-k3", body
		_, err := compat.New(k, v).Start(t.Context(), c)
		if k.url == "" {
			if _, isFault := fault.Of(err); !isFault {
				t.Fatalf("%q was not sent: %v", body, err)
			}
			return
		}
		if json.Valid(body) && !json.Valid([]byte(k.body)) {
			t.Fatalf("%q became %q", body, k.body)
		}
	})
}

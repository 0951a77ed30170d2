package router

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// operation is what can be asked for besides conversations, over the edge that has it.
type operation struct {
	name   completion.Operation
	path   string
	body   func(model string) string
	models map[string]string // by provider: one that can do it; all others are asked with their chat model
	check  func(t *testing.T, body []byte, e usage.Event)
}

func operations() []operation {
	return []operation{
		{
			name: completion.Embeddings, path: "/v1/embeddings",
			body: func(model string) string { return `{"model":` + quoted(model) + `,"input":["one","two"]}` },
			models: map[string]string{
				"azure": "openai/text-embedding-3-small", "bedrock": "amazon.titan-embed-text-v2:0", "deepinfra": "BAAI/bge-m3", "google-ai-studio": "gemini-embedding-001",
				"mistral": "mistral-embed", "openai": "text-embedding-3-small", "vertex": "text-embedding-005",
			},
			check: func(t *testing.T, body []byte, e usage.Event) {
				t.Helper()
				var got heard
				a := read[struct {
					Data []struct {
						Index     int
						Embedding []float32
					}
					Usage struct {
						Prompt int64 `json:"prompt_tokens"`
					}
				}](body, &got)
				if got.failure != "" || len(a.Data) != 2 || a.Data[1].Index != 1 || len(a.Data[1].Embedding) < 2 {
					t.Errorf("%s%s, want two vectors", got.failure, body)
				}
				if e.Tokens == nil || e.Tokens.InputTotal == 0 || e.Tokens.InputTotal != a.Usage.Prompt {
					t.Errorf("the event counts %+v, the caller was told %d", e.Tokens, a.Usage.Prompt)
				}
			},
		},
		{
			name: completion.Images, path: "/v1/images/generations",
			body: func(model string) string { return `{"model":` + quoted(model) + `,"prompt":"a red kite"}` },
			models: map[string]string{
				"azure": "openai/gpt-image-2", "fal": "fal-ai/flux/dev", "google-ai-studio": "gemini-3.1-flash-image", "openai": "gpt-image-2", "vertex": "gemini-3.1-flash-image",
				"xai": "grok-imagine-image", "deepinfra": "black-forest-labs/FLUX-1-schnell",
			},
			check: func(t *testing.T, body []byte, e usage.Event) {
				t.Helper()
				var got heard
				a := read[struct {
					Data []struct {
						URL    string
						Base64 string `json:"b64_json"`
					}
				}](body, &got)
				if got.failure != "" || len(a.Data) != 1 || a.Data[0].URL+a.Data[0].Base64 == "" {
					t.Errorf("%s%s, want a picture", got.failure, body)
				}
				if e.Tokens == nil && len(e.Units) == 0 {
					t.Errorf("the event says neither tokens nor pictures: %+v", e)
				}
			},
		},
		{
			name: completion.CountTokens, path: "/v1/messages/count_tokens",
			body: func(model string) string {
				return `{"model":` + quoted(model) + `,"messages":[{"role":"user","content":"hello"}]}`
			},
			check: func(t *testing.T, body []byte, e usage.Event) {
				t.Helper()
				var got heard
				a := read[struct {
					Input int64 `json:"input_tokens"`
				}](body, &got)
				if got.failure != "" || a.Input == 0 {
					t.Errorf("%s%s, want a count", got.failure, body)
				}
				if e.Tokens == nil || *e.Tokens != (usage.Tokens{}) {
					t.Errorf("counting took %+v, want nothing", e.Tokens)
				}
			},
		},
	}
}

// TestEveryProviderDoesWhatItSaysBesidesConversations: what a provider says it serves works, with its
// usage; what it does not is refused by name, without a call and without an event.
func TestEveryProviderDoesWhatItSaysBesidesConversations(t *testing.T) {
	t.Parallel()
	all := vendors()
	for slug := range mediaOnly {
		all[slug] = mediaVendor(slug)
	}
	served := map[completion.Operation]int{}
	for _, op := range operations() {
		for _, slug := range slices.Sorted(maps.Keys(all)) {
			v := all[slug]
			if model := op.models[slug]; model != "" {
				v.model = model
			}
			t.Run(string(op.name)+"/"+slug, func(t *testing.T) {
				server := llmtest.New(t)
				at := newStand(t, slug, v, server)
				var body []byte
				got := callHTTP(t, at.http.URL+op.path, op.body(at.model), false, func(b []byte, _ *heard) { body = b }, nil)
				why := at.serves.Serves(op.name, v.model, at.credential)
				switch {
				case why == "":
					if got.status != http.StatusOK {
						t.Fatalf("status %d: %s", got.status, got.body)
					}
					e := at.event(t)
					if e.Outcome != usage.OK || e.Operation != string(op.name) {
						t.Errorf("outcome %v, operation %q", e.Outcome, e.Operation)
					}
					op.check(t, body, e)
					served[op.name]++
				case got.status != http.StatusBadRequest || !strings.Contains(got.body, why):
					t.Errorf("status %d, want 400 and that %s %s\n%s", got.status, slug, why, got.body)
				case len(at.log.events) != 0 || len(server.Ledger()) != 0:
					t.Errorf("what cannot be done left %d events and %d calls", len(at.log.events), len(server.Ledger()))
				}
				if op.models[slug] != "" && why != "" {
					t.Errorf("%s %s with %s, which should be able to", slug, why, v.model)
				}
			})
		}
	}
	t.Logf("served: %s", fmt.Sprint(served))
}

func mediaVendor(slug string) vendor {
	return map[string]vendor{
		"fal":   {model: "fal-ai/flux/dev", secret: "0123abcd-key:0123456789abcdef0123456789abcdef", base: (*llmtest.Server).FalURL},
		"pollo": {model: "kling-ai/kling-v1-5", secret: "pollo_0123456789abcdef", base: (*llmtest.Server).PolloURL},
	}[slug]
}

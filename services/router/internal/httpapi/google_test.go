package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/googleaistudio"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/provider/vertex"
)

// asAccount calls with a service account.
type asAccount struct{ completion.Provider }

func (a asAccount) Start(ctx context.Context, call completion.Call) (completion.Answer, error) {
	call.Secret = secret.New(llmtest.VertexAccount(providertest.Key))
	return a.Provider.Start(ctx, call)
}

// google is the edges as a server, over the scripted AI Studio and Vertex AI.
func google(t *testing.T) (*rig, *httptest.Server, *llmtest.Server) {
	t.Helper()
	r, upstream := &rig{}, llmtest.New(t, llmtest.WithCapture())
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	server := httptest.NewServer(r.handler(t,
		map[string]completion.Provider{"google-ai-studio": googleaistudio.New(transport), "vertex": asAccount{vertex.New(transport)}},
		map[string]string{"google-ai-studio": upstream.GeminiURL(), "vertex": upstream.VertexURL()}))
	t.Cleanup(server.Close)
	return r, server, upstream
}

// googleModels are of each form that Google's adapters speak.
var googleModels = []string{
	"google-ai-studio/gemini-3.8-flash", "vertex/gemini-3.8-flash", "vertex/claude-haiku-4-5@20251001", "vertex/openai/gpt-oss-120b-maas",
}

// TestGoogleServesEveryDialect, streamed and not, with all classes of tokens metered as declared.
func TestGoogleServesEveryDialect(t *testing.T) {
	t.Parallel()
	r, server, upstream := google(t)
	for _, d := range dialects {
		for _, model := range googleModels {
			for _, stream := range []string{"true", "false"} {
				what := d.path + " by " + model + ", stream " + stream
				got := ask(t, server, http.MethodPost, d.path, body(d.body, model, stream, llmtest.Script{Text: "two words", Input: 70, Cached: 20, Reasoning: 4, Output: 9}), nil)
				var compact bytes.Buffer
				switch {
				case got.status != http.StatusOK || got.header.Get("X-Claviger-Model") != model:
					t.Fatalf("%s: %d %v %s", what, got.status, got.header, got.body)
				case stream == "false" && (json.Compact(&compact, []byte(got.body)) != nil || !strings.Contains(compact.String(), d.text)):
					t.Errorf("%s: %s", what, got.body)
				case stream == "true" && (!strings.HasSuffix(got.body, d.end) || strings.Count(got.body, "two") != 1):
					t.Errorf("%s: %s", what, got.body)
				}
				events := r.done()
				e := events[len(events)-1]
				if n := e.Tokens; n.InputTotal != 70 || n.InputUncached != 50 || n.CacheRead != 20 || n.OutputTotal != 9 || n.Reasoning != 4 || e.ProviderRequestID == "" {
					t.Errorf("%s: %+v, tokens %+v", what, e, e.Tokens)
				}
			}
			broken := ask(t, server, http.MethodPost, d.path, body(d.body, model, "true", llmtest.Script{Tokens: 9, Error: llmtest.ErrOverloaded, InStream: true, At: 3}), nil)
			if strings.Contains(broken.body, d.end) || strings.Count(broken.body, d.broken) != 1 {
				t.Errorf("%s by %s, broken: %s", d.path, model, broken.body)
			}
			if got := ask(t, server, http.MethodPost, d.path, body(d.body, model, "false", llmtest.Script{Error: llmtest.ErrRateLimit}), nil); got.status != http.StatusTooManyRequests {
				t.Errorf("%s by %s, over its rate: %d %s", d.path, model, got.status, got.body)
			}
		}
	}
	for _, e := range upstream.Ledger() {
		if e.KeyHash != llmtest.HashKey(providertest.Key) || (e.Provider != "vertex" && e.Provider != "google-ai-studio") {
			t.Fatalf("%+v", e)
		}
	}
}

// TestAConversationWithGeminiGoesOn: the signature of a tool call goes through the caller's dialect, streamed
// and not, and comes back to the model. The scripted server refuses a call without one, and any other.
func TestAConversationWithGeminiGoesOn(t *testing.T) {
	t.Parallel()
	_, server, upstream := google(t)
	const tool = `"tools":[{"type":"function","function":{"name":"look_up","parameters":{"type":"object"}}}]`
	script := llmtest.Script{Tool: "look_up", Calls: 2, Reasoning: 3, Think: true, Args: `{"q":1}`}.String()
	for _, model := range googleModels[:2] {
		first := ask(t, server, http.MethodPost, "/v1/chat/completions", `{"model":"`+model+`",`+tool+`,"messages":[{"role":"user","content":"`+script+` hi"}]}`, nil)
		var answer struct {
			Choices []struct {
				Message json.RawMessage `json:"message"`
			} `json:"choices"`
		}
		if err := json.Unmarshal([]byte(first.body), &answer); err != nil || len(answer.Choices) != 1 {
			t.Fatalf("%s: %d %s, %v", model, first.status, first.body, err)
		}
		var message struct {
			Calls []struct {
				ID string `json:"id"`
			} `json:"tool_calls"`
		}
		if err := json.Unmarshal(answer.Choices[0].Message, &message); err != nil || len(message.Calls) != 2 || message.Calls[0].ID == message.Calls[1].ID {
			t.Fatalf("%s: %s, %v", model, first.body, err)
		}
		second := ask(t, server, http.MethodPost, "/v1/chat/completions", `{"model":"`+model+`",`+tool+`,"messages":[{"role":"user","content":"hi"},`+
			string(answer.Choices[0].Message)+`,{"role":"tool","tool_call_id":"`+message.Calls[1].ID+`","content":"two"},{"role":"tool","tool_call_id":"`+message.Calls[0].ID+`","content":"one"}]}`, nil)
		if second.status != http.StatusOK {
			t.Fatalf("%s: %d %s", model, second.status, second.body)
		}
		sent := upstream.Requests()
		last := string(sent[len(sent)-1].Body)
		if !strings.Contains(last, `"thoughtSignature":"`+llmtest.GeminiSignature+`"`) || strings.Index(last, `"output":"one"`) > strings.Index(last, `"output":"two"`) {
			t.Errorf("%s: sent %s", model, last)
		}
	}
}

// TestAConversationWithGeminiGoesOnInMessages does so for Anthropic's dialect, which has no place for the
// signature of a tool call but an empty block of thinking before it.
func TestAConversationWithGeminiGoesOnInMessages(t *testing.T) {
	t.Parallel()
	_, server, upstream := google(t)
	const tool = `"max_tokens":100,"tools":[{"name":"look_up","input_schema":{"type":"object"}}]`
	script := llmtest.Script{Tool: "look_up", Reasoning: 3, Think: true, Args: `{"q":1}`}.String()
	for _, model := range googleModels[:2] {
		first := ask(t, server, http.MethodPost, "/v1/messages", `{"model":"`+model+`",`+tool+`,"messages":[{"role":"user","content":"`+script+` hi"}]}`, nil)
		var answer struct {
			Content json.RawMessage `json:"content"`
		}
		var blocks []struct{ Type, ID string }
		if err := json.Unmarshal([]byte(first.body), &answer); err != nil || json.Unmarshal(answer.Content, &blocks) != nil || len(blocks) == 0 {
			t.Fatalf("%s: %d %s, %v", model, first.status, first.body, err)
		}
		use := blocks[len(blocks)-1]
		if use.Type != "tool_use" {
			t.Fatalf("%s: %s", model, first.body)
		}
		second := ask(t, server, http.MethodPost, "/v1/messages", `{"model":"`+model+`",`+tool+`,"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":`+
			string(answer.Content)+`},{"role":"user","content":[{"type":"tool_result","tool_use_id":"`+use.ID+`","content":"one"}]}]}`, nil)
		if second.status != http.StatusOK {
			t.Fatalf("%s: %d %s", model, second.status, second.body)
		}
		sent := upstream.Requests()
		if last := string(sent[len(sent)-1].Body); !strings.Contains(last, `"thoughtSignature":"`+llmtest.GeminiSignature+`"`) {
			t.Errorf("%s: sent %s", model, last)
		}
	}
}

// TestGoogleCountsEmbedsAndDraws through the edges.
func TestGoogleCountsEmbedsAndDraws(t *testing.T) {
	t.Parallel()
	r, server, _ := google(t)
	for _, model := range googleModels[:3] {
		got := ask(t, server, http.MethodPost, "/v1/messages/count_tokens", `{"model":"`+model+`","messages":[{"role":"user","content":"script:in=77"}]}`, nil)
		if got.status != http.StatusOK || got.body != `{"input_tokens":77}` {
			t.Errorf("count by %s: %d %s", model, got.status, got.body)
		}
		if e := r.done()[len(r.done())-1]; e.Tokens == nil || e.Tokens.InputTotal != 0 {
			t.Errorf("counting took %+v", e.Tokens)
		}
	}
	for _, model := range []string{"google-ai-studio/gemini-embedding-001", "vertex/text-embedding-005", "vertex/gemini-embedding-2"} {
		got := ask(t, server, http.MethodPost, "/v1/embeddings", `{"model":"`+model+`","input":["one","two"],"encoding_format":"base64","dimensions":4}`, nil)
		if got.status != http.StatusOK || strings.Count(got.body, `"embedding":"`) != 2 {
			t.Errorf("vectors by %s: %d %s", model, got.status, got.body)
		}
	}
	for _, model := range []string{"google-ai-studio/gemini-3.1-flash-image", "vertex/gemini-3.1-flash-image"} {
		got := ask(t, server, http.MethodPost, "/v1/images/generations", `{"model":"`+model+`","prompt":"a cat","size":"1536x1024"}`, nil)
		if got.status != http.StatusOK || !strings.Contains(got.body, `"b64_json":"iVBOR`) {
			t.Errorf("picture by %s: %d %s", model, got.status, got.body)
		}
	}
}

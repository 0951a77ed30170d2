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
	"github.com/claviger/claviger/services/router/internal/provider/bedrock"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
)

// signing calls with a key of AWS's.
type signing struct{ completion.Provider }

func (s signing) Start(ctx context.Context, call completion.Call) (completion.Answer, error) {
	id := llmtest.AWSKeyID(providertest.Key)
	call.Secret = secret.New(`{"accessKeyId":"` + id + `","secretAccessKey":"` + llmtest.AWSSecret(id) + `","region":"us-east-1"}`)
	return s.Provider.Start(ctx, call)
}

// cloud is the edges as a server, over the scripted AWS.
func cloud(t *testing.T) (*rig, *httptest.Server, *llmtest.Server) {
	t.Helper()
	r, upstream := &rig{}, llmtest.New(t, llmtest.WithCapture())
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	server := httptest.NewServer(r.handler(t,
		map[string]completion.Provider{"bedrock": signing{bedrock.New(transport)}}, map[string]string{"bedrock": upstream.BedrockURL()}))
	t.Cleanup(server.Close)
	return r, server, upstream
}

// The models: one whose callers of Anthropic's messages pass, and one that is converted for all.
var cloudModels = []string{"bedrock/anthropic.claude-haiku-4-5-20251001-v1:0", "bedrock/amazon.nova-lite-v1:0"}

// TestBedrockServesEveryDialect, streamed and not, with all classes of tokens metered as declared.
func TestBedrockServesEveryDialect(t *testing.T) {
	t.Parallel()
	r, server, upstream := cloud(t)
	for _, d := range dialects {
		for _, model := range cloudModels {
			for _, stream := range []string{"true", "false"} {
				what := d.path + " by " + model + ", stream " + stream
				got := ask(t, server, http.MethodPost, d.path, body(d.body, model, stream, llmtest.Script{Text: "two words", Input: 70, Cached: 20, CacheWrite: 3, CacheWrite1h: 4, Output: 9}), nil)
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
				if n := e.Tokens; n.InputTotal != 70 || n.InputUncached != 43 || n.CacheRead != 20 || n.CacheWrite5m != 3 || n.CacheWrite1h != 4 || n.OutputTotal != 9 || e.ProviderRequestID == "" {
					t.Errorf("%s: %+v, tokens %+v", what, e, e.Tokens)
				}
			}
			broken := ask(t, server, http.MethodPost, d.path, body(d.body, model, "true", llmtest.Script{Tokens: 9, Error: llmtest.ErrRateLimit, InStream: true, At: 3}), nil)
			if strings.Contains(broken.body, d.end) || strings.Count(broken.body, d.broken) != 1 {
				t.Errorf("%s by %s, broken: %s", d.path, model, broken.body)
			}
			if got := ask(t, server, http.MethodPost, d.path, body(d.body, model, "false", llmtest.Script{Error: llmtest.ErrRateLimit}), nil); got.status != http.StatusTooManyRequests {
				t.Errorf("%s by %s, throttled: %d %s", d.path, model, got.status, got.body)
			}
		}
	}
	for _, e := range upstream.Ledger() {
		if e.Provider != "bedrock" || e.KeyHash != llmtest.HashKey(providertest.Key) {
			t.Fatalf("%+v", e)
		}
	}
}

// TestAConversationWithBedrockGoesOn: reasoning with its signature and tool calls go through the caller's
// dialect and come back to the model as they were. The scripted server refuses another signature.
func TestAConversationWithBedrockGoesOn(t *testing.T) {
	t.Parallel()
	_, server, upstream := cloud(t)
	const tools = `"tools":[{"type":"function","function":{"name":"docs.look up","parameters":{"type":"object"}}}]`
	for _, model := range cloudModels {
		first := ask(t, server, http.MethodPost, "/v1/chat/completions", `{"model":"`+model+`",`+tools+`,"messages":[{"role":"user","content":"`+llmtest.Script{Tool: "x", Reasoning: 3, Think: true, Args: `{"q":1}`}.String()+` hi"}]}`, nil)
		var answer struct {
			Choices []struct {
				Message json.RawMessage `json:"message"`
			} `json:"choices"`
		}
		if err := json.Unmarshal([]byte(first.body), &answer); err != nil || len(answer.Choices) != 1 {
			t.Fatalf("%d %s, %v", first.status, first.body, err)
		}
		var message struct {
			Calls []struct {
				ID string `json:"id"`
			} `json:"tool_calls"`
		}
		if err := json.Unmarshal(answer.Choices[0].Message, &message); err != nil || len(message.Calls) != 1 {
			t.Fatalf("%s, %v", first.body, err)
		}
		second := ask(t, server, http.MethodPost, "/v1/chat/completions", `{"model":"`+model+`",`+tools+`,"messages":[{"role":"user","content":"hi"},`+
			string(answer.Choices[0].Message)+`,{"role":"tool","tool_call_id":"`+message.Calls[0].ID+`","content":"found"},{"role":"user","content":"script:text=done"}]}`, nil)
		if second.status != http.StatusOK || !strings.Contains(second.body, "done") {
			t.Fatalf("%s: %d %s", model, second.status, second.body)
		}
		sent := upstream.Requests()
		if last := string(sent[len(sent)-1].Body); !strings.Contains(last, `"signature":"`+llmtest.BedrockSignature+`"`) || !strings.Contains(last, `"toolUseId":"`+message.Calls[0].ID+`"`) {
			t.Errorf("%s: sent %s", model, last)
		}
	}
}

// TestBedrockCountsAndEmbeds through the edges.
func TestBedrockCountsAndEmbeds(t *testing.T) {
	t.Parallel()
	r, server, _ := cloud(t)
	counted := ask(t, server, http.MethodPost, "/v1/messages/count_tokens", `{"model":"`+cloudModels[0]+`","messages":[{"role":"user","content":"script:in=77"}]}`, nil)
	if counted.status != http.StatusOK || counted.body != `{"input_tokens":77}` {
		t.Errorf("%d %s", counted.status, counted.body)
	}
	vectors := ask(t, server, http.MethodPost, "/v1/embeddings", `{"model":"bedrock/amazon.titan-embed-text-v2:0","input":["one","two"],"encoding_format":"base64"}`, nil)
	if vectors.status != http.StatusOK || strings.Count(vectors.body, `"embedding":"`) != 2 {
		t.Errorf("%d %s", vectors.status, vectors.body)
	}
	if e := r.done()[1]; e.Tokens.InputTotal == 0 || e.Operation != "embeddings" {
		t.Errorf("%+v", e.Tokens)
	}
	if got := ask(t, server, http.MethodPost, "/v1/messages/count_tokens", `{"model":"`+cloudModels[1]+`","messages":[{"role":"user","content":"hi"}]}`, nil); got.status/100 != 4 {
		t.Errorf("a count that the provider does not know: %d %s", got.status, got.body)
	}
}

package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/anthropic"
	"github.com/claviger/claviger/services/router/internal/provider/googleaistudio"
	"github.com/claviger/claviger/services/router/internal/provider/openai"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// keys gives each credential a key of its own.
type keys struct{}

func (keys) Secret(_ context.Context, c *completion.Credential) (secret.Text, error) {
	return secret.New("sk-of-" + c.ID + "-0123456789"), nil
}

// conversations are turns in which a provider gives state away: the first request for a script, and the second
// with the whole first answer in it.
var conversations = map[string]struct {
	path, provider, model string
	script                llmtest.Script
	first                 func(script string) string
	second                func(answer json.RawMessage, script string) string
	carries               string // what of the first answer shows that it carries state
}{
	"responses, passed": {
		"/v1/responses", "openai", "gpt-5.4",
		llmtest.Script{Reasoning: 5, Tokens: 3},
		func(script string) string {
			return `{"model":"m","include":["reasoning.encrypted_content"],"input":[{"role":"user","content":"` + script + ` hi"}]}`
		},
		func(answer json.RawMessage, script string) string {
			output := strings.TrimSuffix(strings.TrimPrefix(string(member(answer, "output")), "["), "]")
			return `{"model":"m","input":[{"role":"user","content":"hi"},` + output + `,{"role":"user","content":"` + script + ` and?"}]}`
		},
		`"encrypted_content"`,
	},
	"messages, passed": {
		"/v1/messages", "anthropic", "claude-opus-4-7",
		llmtest.Script{Reasoning: 5, Think: true, Tokens: 3},
		func(script string) string {
			return `{"model":"m","max_tokens":4096,"messages":[{"role":"user","content":"` + script + ` hi"}]}`
		},
		func(answer json.RawMessage, script string) string {
			return `{"model":"m","max_tokens":4096,"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":` +
				string(member(answer, "content")) + `},{"role":"user","content":"` + script + ` and?"}]}`
		},
		`"signature"`,
	},
	"messages in a tool loop, passed": {
		"/v1/messages", "anthropic", "claude-haiku-4-5",
		llmtest.Script{Reasoning: 5, Think: true, Tool: "f", Args: "{}"},
		func(script string) string {
			return `{"model":"m","max_tokens":4096,"thinking":{"type":"enabled","budget_tokens":2000},"tools":[{"name":"f","input_schema":{"type":"object"}}],"messages":[{"role":"user","content":"` + script + ` hi"}]}`
		},
		func(answer json.RawMessage, script string) string {
			var content []map[string]any
			if json.Unmarshal(member(answer, "content"), &content) != nil {
				return ""
			}
			id, _ := content[len(content)-1]["id"].(string)
			return `{"model":"m","max_tokens":4096,"thinking":{"type":"enabled","budget_tokens":2000},"tools":[{"name":"f","input_schema":{"type":"object"}}],"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":` +
				string(member(answer, "content")) + `},{"role":"user","content":[{"type":"tool_result","tool_use_id":"` + id + `","content":"1"},{"type":"text","text":"` + script + ` and?"}]}]}`
		},
		`"signature"`,
	},
	"chat, converted to messages": {
		"/v1/chat/completions", "anthropic", "claude-opus-4-7", llmtest.Script{Reasoning: 5, Think: true, Tokens: 3}, firstChat, secondChat, `"reasoning_details"`,
	},
	"chat, converted to responses": {
		"/v1/chat/completions", "openai", "gpt-5.4-pro", llmtest.Script{Reasoning: 5, Tokens: 3}, firstChat, secondChat, `"reasoning_details"`,
	},
	"chat, converted to generateContent": {
		"/v1/chat/completions", "google-ai-studio", "gemini-3.5-flash", llmtest.Script{Reasoning: 5, Tokens: 3}, firstChat, secondChat, `"reasoning_details"`,
	},
}

func firstChat(script string) string {
	return `{"model":"m","reasoning_effort":"high","messages":[{"role":"user","content":"` + script + ` hi"}]}`
}

func secondChat(answer json.RawMessage, script string) string {
	var choices []struct{ Message json.RawMessage }
	if json.Unmarshal(member(answer, "choices"), &choices) != nil || len(choices) == 0 {
		return ""
	}
	return `{"model":"m","reasoning_effort":"high","messages":[{"role":"user","content":"hi"},` + string(choices[0].Message) + `,{"role":"user","content":"` + script + ` and?"}]}`
}

// member is a member of an object.
func member(object json.RawMessage, name string) json.RawMessage {
	var all map[string]json.RawMessage
	if json.Unmarshal(object, &all) != nil {
		return nil
	}
	return all[name]
}

// stateful asks the edges over providers that bind states to keys. An answer's events are there when it is.
func stateful(t *testing.T, provider, model string) (r *rig, send func(path, body string) *httptest.ResponseRecorder, targets [2]completion.Target) {
	t.Helper()
	r, upstream := &rig{Keyring: keys{}}, llmtest.New(t)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	handler := r.handler(t,
		map[string]completion.Provider{"anthropic": anthropic.New(transport), "openai": openai.New(transport), "google-ai-studio": googleaistudio.New(transport)},
		map[string]string{"anthropic": upstream.AnthropicURL(), "openai": upstream.OpenAIURL(), "google-ai-studio": upstream.URL + "/v1beta"})
	for i, id := range []string{"cred_a", "cred_b"} {
		targets[i] = target(provider, model)
		targets[i].Credential = &completion.Credential{ID: id, Label: id, Provider: provider}
	}
	return r, func(path, body string) *httptest.ResponseRecorder {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer clv-1")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		return w
	}, targets
}

// TestAConversationGoesOnWithAnotherCredential although it carries state that only the one before can read: the
// provider refuses it once, the state is left out, and the answer comes. With the same credential nothing is left
// out.
func TestAConversationGoesOnWithAnotherCredential(t *testing.T) {
	t.Parallel()
	for name, c := range conversations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, send, targets := stateful(t, c.provider, c.model)
			c.script.Bound = true
			r.targets = targets[:1]
			first := send(c.path, c.first(c.script.String()))
			if first.Code != 200 || !strings.Contains(first.Body.String(), c.carries) {
				t.Fatalf("the first turn: %d %s", first.Code, first.Body)
			}
			then := c.second(json.RawMessage(first.Body.Bytes()), (llmtest.Script{Bound: true, Tokens: 2}).String())
			for i, want := range [][]string{{""}, {string(completion.StateRefused), ""}} {
				before := len(r.done())
				r.targets = targets[i : i+1]
				next := send(c.path, then)
				var classes []string
				for _, e := range r.done()[before:] {
					classes = append(classes, e.ErrorClass)
				}
				if next.Code != 200 || !cmp.Equal(want, classes) {
					t.Errorf("the second turn with %s: %d after %v, want %v: %s\nfor %s", targets[i].Credential.ID, next.Code, classes, want, next.Body, then)
				}
			}
		})
	}
}

// TestRefusedStateIsNoLoop has a provider that refuses whatever it is sent: one more try, and then the caller is
// told. Neither try is counted against the credential or the provider.
func TestRefusedStateIsNoLoop(t *testing.T) {
	t.Parallel()
	for name, c := range conversations {
		r, send, targets := stateful(t, c.provider, c.model)
		r.targets = targets[:1]
		got := send(c.path, c.first((llmtest.Script{Error: llmtest.ErrState}).String()))
		events := r.done()
		if got.Code != 400 || len(events) != 2 || events[1].ErrorClass != string(completion.StateRefused) || events[1].Outcome != usage.Failed || *events[1].ReckonedNanoUSD != 0 {
			t.Errorf("%s: %d after %d attempts: %s", name, got.Code, len(events), got.Body)
		}
	}
}

package anthropic_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/anthropic"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
)

// FuzzBodies passes on bodies of callers: what goes out is JSON as they were, without reasoning of others.
func FuzzBodies(f *testing.F) {
	f.Add(`{"model":"x","messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"a","signature":"clv1.openai.e"},{"type":"text","text":"A"}]}],"claviger":{}}`)
	f.Add(`{"messages":[{"content":[{"data":"clv1.x","type":"redacted_thinking"}]}],"messages":[ {"content" : [ {"signature":"clv1.a","type":"thinking"} , 7 ] } ] }`)
	f.Add(`{"messages":{"content":["clv1."]},"model":null}`)
	f.Fuzz(func(t *testing.T, body string) {
		s := &sent{}
		call := rawCall(false)
		call.Request.Raw = []byte(body)
		answer, err := anthropic.New(s).Start(t.Context(), call)
		if err != nil {
			return
		}
		_ = answer.Close()
		if json.Valid([]byte(body)) != json.Valid(s.body) {
			t.Fatalf("%q became %q", body, s.body)
		}
		if strings.Contains(body, `\u`) { // nobody writes names like that
			return
		}
		var out map[string]any
		if json.Unmarshal(s.body, &out) != nil {
			return
		}
		messages, _ := out["messages"].([]any)
		for _, m := range messages {
			message, _ := m.(map[string]any)
			content, _ := message["content"].([]any)
			for _, b := range content {
				block, _ := b.(map[string]any)
				signature, _ := block["signature"].(string)
				data, _ := block["data"].(string)
				if block["type"] == "thinking" && strings.HasPrefix(signature, "clv1.") || block["type"] == "redacted_thinking" && strings.HasPrefix(data, "clv1.") {
					t.Fatalf("%q goes out as %q", body, s.body)
				}
			}
		}
	})
}

// FuzzAnswers reads answers that are not streamed, whatever they are.
func FuzzAnswers(f *testing.F) {
	f.Add(`{"type":"message","model":"m","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"redacted_thinking","data":"d"},{"type":"tool_use","id":"a","name":"f","input":{}},{"type":"text","text":"x"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2}}`)
	f.Add(`{"type":"error","error":{"type":"overloaded_error","message":"busy"}}`)
	f.Add(`{"input_tokens":7}`)
	f.Fuzz(func(t *testing.T, body string) {
		limit := int64(5)
		call := completion.Call{
			Model: "claude-x", BaseURL: "http://provider.invalid", Secret: secret.New(providertest.Key),
			Request: &completion.Request{Raw: []byte(`{"messages":[]}`), Decode: func() (*completion.Prompt, error) {
				return &completion.Prompt{MaxOutputTokens: &limit, Messages: []completion.Message{text(completion.User, "hi")}}, nil
			}},
		}
		for _, op := range []completion.Operation{completion.Chat, completion.CountTokens} {
			var failed [2]bool
			for i := range failed {
				call.Raw, call.Request.Operation = i == 0, op
				answer, err := anthropic.New(fixed(body)).Start(t.Context(), call)
				if err != nil {
					t.Fatal(err)
				}
				chunk, err := answer.Next()
				failed[i] = err != nil
				if err == nil && call.Raw && string(chunk.Raw) != body {
					t.Fatalf("%q passes as %q", body, chunk.Raw)
				}
				if err == nil && op == completion.CountTokens && (chunk.Result == nil || chunk.Result.Count < 0) {
					t.Fatalf("%q counts %+v", body, chunk.Result)
				}
			}
			if failed[0] != failed[1] {
				t.Fatalf("%q: passing fails %v, converting %v", body, failed[0], failed[1])
			}
		}
	})
}

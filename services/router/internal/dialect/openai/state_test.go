package openai

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/services/router/internal/completion"
)

// TestTheScanFindsWhatTheConversationCarries: states by whose they are, each once, and how long the answer may
// be by whichever name says it.
func TestTheScanFindsWhatTheConversationCarries(t *testing.T) {
	t.Parallel()
	const signed = `{"type":"reasoning.text","text":"t","signature":"s","format":"anthropic-claude-v1"}`
	for body, want := range map[string]struct {
		states []completion.StateFormat
		output int64
	}{
		`{"messages":[{"role":"user","content":"reasoning_details"}],"max_tokens":5}`:                    {nil, 5},
		`{"messages":[{"role":"user","content":"x"}],"max_completion_tokens":7,"max_tokens":5}`:          {nil, 7},
		`{"messages":[{"role":"user","content":"x"}],"max_tokens":5,"max_completion_tokens":7}`:          {nil, 7},
		`{"messages":[{"role":"user","content":"x"}],"max_tokens":null,"max_completion_tokens":"seven"}`: {nil, 0},
		`{"messages":[{"role":"assistant","reasoning_details":[` + signed + `,` + signed + `]}]}`:        {[]completion.StateFormat{"anthropic"}, 0},
		`{"messages":[{"role":"assistant","reasoning_details":[{"type":"reasoning.text","text":"t"}]}]}`: {nil, 0},
		`{"messages":[{"role":"assistant","reasoning_details":[{"type":"reasoning.encrypted","data":"d","format":"openai-responses-v1"}]},{"role":"assistant","tool_calls":[{"id":"c","function":{},"extra_content":{"google":{"thought_signature":"g"}}}]}]}`: {[]completion.StateFormat{"openai", "google"}, 0},
	} {
		req, err := Decode([]byte(body))
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if !cmp.Equal(req.State, want.states) || req.MaxOutput != want.output {
			t.Errorf("%s: states %v, at most %d tokens, want %v", body, req.State, req.MaxOutput, want)
		}
	}
}

package anthropic

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/services/router/internal/completion"
)

// TestTheScanFindsWhatTheConversationCarries: states by whose they are, each once, also those of other vendors.
func TestTheScanFindsWhatTheConversationCarries(t *testing.T) {
	t.Parallel()
	for content, want := range map[string][]completion.StateFormat{
		`"thinking\""`: nil,
		`[{"type":"thinking","thinking":"t","signature":"s"},{"type":"redacted_thinking","data":"d"},{"type":"text","text":"x"}]`:  {"anthropic"},
		`[{"type":"redacted_thinking","data":"clv1.openai.e"},{"type":"thinking","thinking":"","signature":"clv1.google-call.g"}]`: {"openai", "google"},
		`[{"type":"thinking","thinking":"t","signature":"clv1.none."},{"type":"thinking","thinking":"t","signature":""}]`:          nil,
		`[{"type":"tool_use","id":"a","name":"b","input":{"thinking":"c","signature":"d"}}]`:                                       nil,
	} {
		req, err := Decode([]byte(`{"model":"a/b","max_tokens":9,"messages":[{"role":"assistant","content":` + content + `}]}`))
		if err != nil {
			t.Fatalf("%s: %v", content, err)
		}
		if !cmp.Equal(req.State, want) || req.MaxOutput != 9 {
			t.Errorf("%s: states %v, at most %d tokens, want %v", content, req.State, req.MaxOutput, want)
		}
	}
}

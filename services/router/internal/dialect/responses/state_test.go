package responses

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/services/router/internal/completion"
)

// TestTheScanFindsWhatTheConversationCarries: states by whose they are, each once, also those of other vendors.
func TestTheScanFindsWhatTheConversationCarries(t *testing.T) {
	t.Parallel()
	for input, want := range map[string][]completion.StateFormat{
		`"encrypted_content"`: nil,
		`[{"type":"reasoning","id":"r","summary":[],"encrypted_content":"e"},{"type":"reasoning","summary":[],"encrypted_content":"f"}]`:                              {"openai"},
		`[{"type":"reasoning","summary":[],"encrypted_content":"clv1.anthropic.s"},{"type":"reasoning","summary":[],"encrypted_content":"clv1.bedrock-encrypted.s"}]`: {"anthropic", "bedrock"},
		`[{"type":"reasoning","summary":[],"encrypted_content":"clv1.google-call.s"}]`:                                                                                {"google"},
		`[{"type":"reasoning","summary":[],"encrypted_content":null},"encrypted_content"]`:                                                                            nil,
	} {
		req, err := Decode([]byte(`{"model":"a/b","max_output_tokens":9,"input":` + input + `}`))
		if err != nil {
			t.Fatalf("%s: %v", input, err)
		}
		if !cmp.Equal(req.State, want) || req.MaxOutput != 9 {
			t.Errorf("%s: states %v, at most %d tokens, want %v", input, req.State, req.MaxOutput, want)
		}
	}
}

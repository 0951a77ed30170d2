package anthropic

import (
	"bytes"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// states are the formats of the states that a conversation carries. Most carry none, and are looked through for
// one word only.
func states(messages []byte) (found []completion.StateFormat) {
	if !bytes.Contains(messages, []byte(`thinking"`)) {
		return nil
	}
	list := jsonscan.Array(messages)
	for list.Next() {
		content := jsonscan.Get(list.Value, "content")
		if jsonscan.KindOf(content) != jsonscan.ArrayKind {
			continue
		}
		blocks := jsonscan.Array(content)
		for blocks.Next() {
			if format, ok := stateOf(blocks.Value); ok {
				found = dialect.WithFormat(found, format)
			}
		}
	}
	return found
}

// stateOf is the format of a block's state, if it is one of reasoning.
func stateOf(block []byte) (completion.StateFormat, bool) {
	name := "signature"
	switch kind, _ := jsonscan.Text(jsonscan.Get(block, "type")); kind {
	case "thinking":
	case "redacted_thinking":
		name = "data"
	default:
		return "", false
	}
	carried, _ := jsonscan.Text(jsonscan.Get(block, name))
	format, state := dialect.Unwrap(completion.AnthropicState, carried)
	if format == dialect.CallState {
		format = completion.GoogleState
	}
	return format, state != ""
}

package openai

import (
	"bytes"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// states are the formats of the states that a conversation carries. Most carry none, and are looked through for
// two words only.
func states(messages []byte) (found []completion.StateFormat) {
	details, calls := bytes.Contains(messages, []byte(`"reasoning_details"`)), bytes.Contains(messages, []byte(`"thought_signature"`))
	if !details && !calls {
		return nil
	}
	list := jsonscan.Array(messages)
	for list.Next() {
		m := jsonscan.Object(list.Value)
		for m.Next() {
			switch string(m.Name) {
			case "reasoning_details":
				found = detailed(found, m.Value)
			case "tool_calls":
				found = called(found, m.Value)
			}
		}
	}
	return found
}

// detailed adds the formats of blocks of reasoning.
func detailed(found []completion.StateFormat, v []byte) []completion.StateFormat {
	if jsonscan.KindOf(v) != jsonscan.ArrayKind {
		return found
	}
	entries := jsonscan.Array(v)
	for entries.Next() {
		if jsonscan.TextLen(jsonscan.Get(entries.Value, "signature"))+jsonscan.TextLen(jsonscan.Get(entries.Value, "data")) == 0 {
			continue
		}
		if name, ok := jsonscan.Text(jsonscan.Get(entries.Value, "format")); ok && name != "unknown" && len(name) <= maxFormat {
			found = dialect.WithFormat(found, formatOf(name))
		}
	}
	return found
}

// maxFormat bounds the name of a format.
const maxFormat = 32

// called adds the format of the state of tool calls.
func called(found []completion.StateFormat, v []byte) []completion.StateFormat {
	if jsonscan.KindOf(v) != jsonscan.ArrayKind {
		return found
	}
	calls := jsonscan.Array(v)
	for calls.Next() {
		if jsonscan.TextLen(jsonscan.Get(calls.Value, "extra_content", "google", "thought_signature")) > 0 {
			return dialect.WithFormat(found, completion.GoogleState)
		}
	}
	return found
}

package messages

import (
	"bytes"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// rawBody is a caller's body as it goes out. The only edits: the model's name, our own routing fields, and
// reasoning of other vendors, which their answers brought into the conversation and this API would refuse.
func rawBody(call completion.Call) ([]byte, error) {
	var each func(*jsonscan.Members) []jsonscan.Edit
	if bytes.Contains(call.Request.Raw, []byte(`"`+dialect.WrappedPrefix)) {
		each = func(m *jsonscan.Members) []jsonscan.Edit {
			if string(m.Name) != "messages" {
				return nil
			}
			return foreign(m.Value, m.ValueAt)
		}
	}
	return provider.Rewrite(call.Request.Raw, call.Model, each, nil)
}

// foreign takes out blocks of reasoning whose state is not this API's. At is where the messages begin.
func foreign(messages []byte, at int) (edits []jsonscan.Edit) {
	list := jsonscan.Array(messages)
	for list.Next() {
		m := jsonscan.Object(list.Value)
		for m.Next() {
			if string(m.Name) != "content" || jsonscan.KindOf(m.Value) != jsonscan.ArrayKind {
				continue
			}
			if kept, some := own(m.Value); some {
				start := at + list.At() + m.ValueAt
				edits = append(edits, jsonscan.Edit{Start: start, End: start + len(m.Value), With: kept})
			}
		}
	}
	return edits
}

// own is content without the blocks of others, and whether there were some.
func own(content []byte) (kept string, some bool) {
	out := []byte{'['}
	blocks := jsonscan.Array(content)
	for blocks.Next() {
		if isForeign(blocks.Value) {
			some = true
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, blocks.Value...)
	}
	return string(append(out, ']')), some
}

// isForeign reads all members: of one that stands in a block twice, who knows which the provider reads.
func isForeign(block []byte) bool {
	thinks, wrapped := false, false
	m := jsonscan.Object(block)
	for m.Next() {
		switch string(m.Name) {
		case "type":
			kind, _ := jsonscan.Text(m.Value)
			thinks = thinks || kind == "thinking" || kind == "redacted_thinking"
		case "signature", "data":
			state, _ := jsonscan.Text(m.Value)
			wrapped = wrapped || dialect.Wrapped(state)
		}
	}
	return thinks && wrapped
}

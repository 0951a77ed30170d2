package messages

import (
	"bytes"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// rawBody is a caller's body as it goes out. The only edits: the model's name, our own routing fields,
// reasoning of other vendors, which their answers brought into the conversation and this API would refuse,
// what a policy's line overrides, see overridden, and what is left out of the thinking that another credential
// signed, see stateless.
func rawBody(call completion.Call) ([]byte, error) {
	raw := call.Request.Raw
	if call.StripState {
		raw = stateless(raw)
	}
	if call.Overrides != nil && call.Request.Asks() == completion.Chat {
		var err error
		if raw, err = overridden(raw, call); err != nil {
			return nil, err
		}
	}
	var each func(*jsonscan.Members) []jsonscan.Edit
	if bytes.Contains(raw, []byte(`"`+dialect.WrappedPrefix)) {
		each = func(m *jsonscan.Members) []jsonscan.Edit {
			if string(m.Name) != "messages" {
				return nil
			}
			return foreign(m.Value, m.ValueAt)
		}
	}
	return provider.Rewrite(raw, call.Model, each, nil)
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
			if kept, some := without(m.Value, func(thinks, wrapped bool) bool { return thinks && wrapped }); some {
				start := at + list.At() + m.ValueAt
				edits = append(edits, jsonscan.Edit{Start: start, End: start + len(m.Value), With: kept})
			}
		}
	}
	return edits
}

// without is content without the blocks that go, by whether they are thinking and whether its state is another
// vendor's, and whether there were some.
func without(content []byte, goes func(thinks, wrapped bool) bool) (kept string, some bool) {
	out := []byte{'['}
	blocks := jsonscan.Array(content)
	for blocks.Next() {
		if goes(kindOf(blocks.Value)) {
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

// kindOf reads all members: of one that stands in a block twice, who knows which the provider reads.
func kindOf(block []byte) (thinks, wrapped bool) {
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
	return thinks, wrapped
}

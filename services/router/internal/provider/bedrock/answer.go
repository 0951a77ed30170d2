package bedrock

import (
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// whole is an answer of Converse that is not streamed.
func (a account) whole(res *provider.Response, r reader) completion.Answer {
	return provider.NewWhole(res, func(body []byte) (completion.Chunk, string, error) {
		content := jsonscan.Get(body, "output", "message", "content")
		if jsonscan.KindOf(content) != jsonscan.ArrayKind || !jsonscan.Valid(body) {
			return completion.Chunk{}, "", res.Failed("the provider answered something that is not a message")
		}
		var chunk completion.Chunk
		blocks := jsonscan.Array(content)
		for blocks.Next() {
			r.block(blocks.Value, &chunk)
		}
		settle(&chunk.Delta)
		if reason, ok := jsonscan.Text(jsonscan.Get(body, "stopReason")); ok {
			chunk.Finish = finishReason(reason)
		}
		chunk.Usage = counted(jsonscan.Get(body, "usage"))
		return chunk, r.model.id, nil
	})
}

// block adds a block of a whole answer.
func (r *reader) block(block []byte, chunk *completion.Chunk) {
	add := func(v []byte, into *string) {
		s, _ := jsonscan.Text(v)
		*into += s
		chunk.PieceBytes += jsonscan.TextLen(v)
	}
	m := jsonscan.Object(block)
	for m.Next() {
		switch string(m.Name) {
		case "text":
			add(m.Value, &chunk.Delta.Text)
		case "toolUse":
			call := r.call(m.Value, len(chunk.Delta.ToolCalls))
			call.Arguments = "{}"
			if input := jsonscan.Get(m.Value, "input"); jsonscan.Given(input) {
				call.Arguments = string(input)
			}
			chunk.PieceBytes += len(call.Name) + len(call.Arguments)
			chunk.Delta.ToolCalls = append(chunk.Delta.ToolCalls, call)
		case "reasoningContent":
			thought := completion.Reasoning{}
			add(jsonscan.Get(m.Value, "reasoningText", "text"), &thought.Text)
			thought.Signature, _ = jsonscan.Text(jsonscan.Get(m.Value, "reasoningText", "signature"))
			thought.Encrypted, _ = jsonscan.Text(jsonscan.Get(m.Value, "redactedContent"))
			if thought.Signature != "" || thought.Encrypted != "" {
				thought.Format = r.model.state()
			}
			chunk.Delta.Think(thought)
		case "citationsContent":
			content := jsonscan.Array(jsonscan.Get(m.Value, "content"))
			for content.Next() {
				add(jsonscan.Get(content.Value, "text"), &chunk.Delta.Text)
			}
			sources := jsonscan.Array(jsonscan.Get(m.Value, "citations"))
			for sources.Next() {
				cite(sources.Value, chunk)
			}
		}
	}
}

// settle says the blocks of reasoning in the simplest way: one block that comes first is a text and its state.
func settle(d *completion.Delta) {
	for _, t := range d.Thoughts {
		d.Reasoning += t.Text
	}
	if len(d.Thoughts) > 1 || d.ThoughtsAt != nil {
		return
	}
	for _, t := range d.Thoughts {
		if t.Format != "" {
			t.Text = ""
			d.State = &t
		}
	}
	d.Thoughts = nil
}

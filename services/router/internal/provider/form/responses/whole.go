package responses

import (
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// whole reads an answer that is not streamed.
func (f *format) whole(body []byte, raw bool) (completion.Chunk, string, error) {
	output := jsonscan.Get(body, "output")
	status, _ := jsonscan.Text(jsonscan.Get(body, "status"))
	if status == "failed" || jsonscan.Given(jsonscan.Get(body, "error")) {
		return completion.Chunk{Usage: f.usage(jsonscan.Get(body, "usage"))}, "", f.failure(body)
	}
	if jsonscan.KindOf(output) != jsonscan.ArrayKind {
		return completion.Chunk{}, "", f.nonsense("the provider answered something that is not a response")
	}
	switch status {
	case "", "completed", "incomplete":
	default:
		return completion.Chunk{}, "", f.nonsense("the provider answered a response that is not finished: " + provider.Bounded(status, 32))
	}
	var chunk completion.Chunk
	calls := 0
	items := jsonscan.Array(output)
	for items.Next() {
		if of, _ := jsonscan.Text(jsonscan.Get(items.Value, "type")); of == "function_call" {
			calls++
		}
		f.wholeItem(items.Value, &chunk)
	}
	chunk.Finish = finish(status == "incomplete", body, calls > 0)
	chunk.Usage = f.usage(jsonscan.Get(body, "usage"))
	if raw {
		chunk.Raw, chunk.Delta = body, completion.Delta{}
	}
	model, _ := jsonscan.Text(jsonscan.Get(body, "model"))
	return chunk, provider.Bounded(model, 256), nil
}

// wholeItem adds an item to a whole answer.
func (f *format) wholeItem(item []byte, chunk *completion.Chunk) {
	d := &chunk.Delta
	switch of, _ := jsonscan.Text(jsonscan.Get(item, "type")); of {
	case "message":
		f.message(item, chunk)
	case "function_call":
		call := functionCall(item, len(d.ToolCalls))
		if call.Arguments == "" {
			call.Arguments = "{}"
		}
		chunk.PieceBytes += len(call.Name) + len(call.Arguments)
		d.ToolCalls = append(d.ToolCalls, call)
	case "reasoning":
		thought := reasoning(item)
		if thought.Text == "" && thought.Format == "" {
			return
		}
		if d.Reasoning != "" && thought.Text != "" {
			d.Reasoning += "\n\n"
		}
		d.Reasoning += thought.Text
		chunk.PieceBytes += len(thought.Text)
		d.Think(thought)
	}
}

// message adds the content of a message.
func (f *format) message(item []byte, chunk *completion.Chunk) {
	d := &chunk.Delta
	parts := jsonscan.Array(jsonscan.Get(item, "content"))
	for parts.Next() {
		m := jsonscan.Object(parts.Value)
		for m.Next() {
			switch string(m.Name) {
			case "text":
				text, _ := jsonscan.Text(m.Value)
				d.Text += text
				chunk.PieceBytes += len(text)
			case "refusal":
				text, _ := jsonscan.Text(m.Value)
				d.Refusal += text
				chunk.PieceBytes += len(text)
			case "logprobs":
				d.Logprobs = append(d.Logprobs, logprobs(m.Value, 0)...)
			case "annotations":
				d.Citations = append(d.Citations, citations(m.Value)...)
			}
		}
	}
}

// reasoning reads an item of reasoning. What is shown of it is a summary, or its text where a vendor
// gives that.
func reasoning(item []byte) completion.Reasoning {
	var out completion.Reasoning
	for _, name := range [...]string{"summary", "content"} {
		if out.Text != "" {
			continue
		}
		var texts []string
		parts := jsonscan.Array(jsonscan.Get(item, name))
		for parts.Next() {
			if text, ok := jsonscan.Text(jsonscan.Get(parts.Value, "text")); ok && text != "" {
				texts = append(texts, text)
			}
		}
		out.Text, out.Summary = strings.Join(texts, "\n\n"), name == "summary" && len(texts) > 0
	}
	if encrypted, _ := jsonscan.Text(jsonscan.Get(item, "encrypted_content")); encrypted != "" {
		out.Encrypted, out.Format = encrypted, completion.OpenAIState
		out.ID, _ = jsonscan.Text(jsonscan.Get(item, "id"))
	}
	return out
}

// maxTop bounds how many alternatives a token has.
const maxTop = 20

// logprobs reads the probabilities of tokens, and of their alternatives one level down.
func logprobs(v []byte, depth int) []completion.Logprob {
	var out []completion.Logprob
	list := jsonscan.Array(v)
	for list.Next() && (depth == 0 || len(out) < maxTop) {
		var one completion.Logprob
		m := jsonscan.Object(list.Value)
		for m.Next() {
			switch string(m.Name) {
			case "token":
				one.Token, _ = jsonscan.Text(m.Value)
			case "logprob":
				one.Logprob, _ = jsonscan.Float(m.Value)
			case "top_logprobs":
				if depth == 0 {
					one.Top = logprobs(m.Value, 1)
				}
			}
		}
		out = append(out, one)
	}
	return out
}

func citations(v []byte) []completion.Citation {
	var out []completion.Citation
	list := jsonscan.Array(v)
	for list.Next() {
		if c, ok := citation(list.Value); ok {
			out = append(out, c)
		}
	}
	return out
}

// citation reads an annotation that names a page. Where it belongs is told in characters of one part,
// which is not what a citation's place is, and left out.
func citation(v []byte) (completion.Citation, bool) {
	if of, _ := jsonscan.Text(jsonscan.Get(v, "type")); of != "url_citation" {
		return completion.Citation{}, false
	}
	var c completion.Citation
	c.URL, _ = jsonscan.Text(jsonscan.Get(v, "url"))
	c.Title, _ = jsonscan.Text(jsonscan.Get(v, "title"))
	return c, c.URL != ""
}

package chat

import (
	"bytes"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// piece is what an event, or a whole answer, says.
type piece struct {
	content  bool
	size     int // of the content, as it stands
	finishes int // choices that ended here
	choices  int // choices at all
	finish   completion.FinishReason
	failed   bool // a choice ended with an error
	usage    []byte
	model    []byte
	delta    completion.Delta
	// refusal says that it has the look of an error without that name.
	refusal bool
	// results and addresses are the sources of an answer that is grounded in a search.
	results, addresses []byte
}

// reading says how a chunk or an answer is read.
type reading struct {
	texts bool // are taken out
	whole bool // it is no chunk
}

// decode reads a chunk or a whole answer.
func decode(data []byte, r reading) (p piece, ok bool) {
	m := jsonscan.Object(data)
	for m.Next() {
		switch string(m.Name) {
		case "model":
			if jsonscan.TextLen(m.Value) > 0 {
				p.model = m.Value
			}
		case "choices":
			choices := jsonscan.Array(m.Value)
			for choices.Next() {
				p.choice(choices.Value, reading{r.texts && p.choices == 0, r.whole})
				p.choices++
			}
		case "usage":
			if jsonscan.Given(m.Value) {
				p.usage = m.Value
			}
		case "x_groq":
			// Where Groq counts, and nobody else; the usage beside it is the same.
			if v := jsonscan.Get(m.Value, "usage"); p.usage == nil && jsonscan.Given(v) {
				p.usage = v
			}
		case "detail":
			p.refusal = p.refusal || jsonscan.Given(m.Value)
		case "object":
			p.refusal = p.refusal || string(m.Value) == `"error"`
		case "search_results":
			p.results = m.Value
		case "citations":
			p.addresses = m.Value
		}
	}
	return p, m.Err() == nil
}

// choice reads one choice; only the first one's texts can be carried in a Delta. Some vendors repeat the
// whole message beside each delta, or give an empty delta beside the message.
func (p *piece) choice(data []byte, r reading) {
	var delta, message, probabilities []byte
	m := jsonscan.Object(data)
	for m.Next() {
		switch string(m.Name) {
		case "delta":
			delta = m.Value
		case "message":
			message = m.Value
		case "logprobs":
			probabilities = m.Value
		case "usage":
			if jsonscan.Given(m.Value) && p.usage == nil {
				p.usage = m.Value
			}
		case "finish_reason":
			if reason, ok := jsonscan.Text(m.Value); ok && reason != "" {
				p.finishes++
				p.finish = finishReason(reason)
				p.failed = p.failed || reason == "error"
			}
		}
	}
	said := delta
	if said == nil || r.whole && message != nil {
		said = message
	}
	p.message(said, r)
	if r.texts && jsonscan.KindOf(probabilities) == jsonscan.ObjectKind {
		p.delta.Logprobs = logprobs(probabilities)
	}
}

func finishReason(reason string) completion.FinishReason {
	switch reason {
	case "length", "model_length":
		return completion.Length
	case "tool_calls", "function_call":
		return completion.ToolCalls
	case "content_filter":
		return completion.ContentFilter
	}
	return completion.Stop
}

// message reads a delta or message. What is not empty in it is content, but for the role.
func (p *piece) message(data []byte, r reading) {
	var details, named []byte
	m := jsonscan.Object(data)
	for m.Next() {
		var text *string
		switch string(m.Name) {
		case "content":
			text = &p.delta.Text
		case "refusal":
			text = &p.delta.Refusal
		case "reasoning_content", "reasoning":
			text = &p.delta.Reasoning
		case "tool_calls":
			p.toolCalls(m.Value, r)
			continue
		case "annotations":
			named = m.Value
			continue
		case "function_call", "audio", "reasoning_details", "images":
			if jsonscan.Given(m.Value) && len(m.Value) > 2 {
				p.content = true
				p.size += len(m.Value)
				if string(m.Name) == "reasoning_details" {
					details = m.Value
				}
			}
			continue
		default:
			continue
		}
		switch n := jsonscan.TextLen(m.Value); {
		case n > 0:
			p.content = true
			p.size += n
			if r.texts && *text == "" { // servers that give the reasoning under both names mean one
				*text, _ = jsonscan.Text(m.Value)
			}
		case jsonscan.KindOf(m.Value) == jsonscan.ArrayKind && len(m.Value) > 2:
			p.content = true // parts, as some vendors give them
			p.size += len(m.Value)
			if r.texts {
				p.parts(m.Value, text)
			}
		}
	}
	if r.texts && details != nil {
		p.details(details)
	}
	if r.texts && named != nil {
		p.delta.Citations = annotations(named, p.delta.Text)
	}
}

// parts joins the texts of content parts. Thinking can stand between them.
func (p *piece) parts(data []byte, into *string) {
	var text, thought []byte
	list := jsonscan.Array(data)
	for list.Next() {
		if thoughts := jsonscan.Get(list.Value, "thinking"); jsonscan.KindOf(thoughts) == jsonscan.ArrayKind {
			inner := jsonscan.Array(thoughts)
			for inner.Next() {
				thought = append(thought, textAt(inner.Value, "text")...)
			}
			continue
		}
		text = append(text, textAt(list.Value, "text")...)
	}
	*into = string(text)
	if p.delta.Reasoning == "" {
		p.delta.Reasoning = string(thought)
	}
}

// details reads the blocks of reasoning as aggregators give them: their text, if it stands nowhere else,
// and the state of those whose format is known.
func (p *piece) details(data []byte) {
	given := p.delta.Reasoning != ""
	blocks := jsonscan.Array(data)
	for blocks.Next() {
		if jsonscan.KindOf(blocks.Value) != jsonscan.ObjectKind {
			continue
		}
		text := textAt(blocks.Value, "text")
		if text == "" {
			text = textAt(blocks.Value, "summary")
		}
		if !given {
			p.delta.Reasoning += text
		}
		state := completion.Reasoning{
			Signature: textAt(blocks.Value, "signature"), Encrypted: textAt(blocks.Value, "data"), ID: textAt(blocks.Value, "id"),
			Format: stateFormat(textAt(blocks.Value, "format")),
		}
		if state.Format != "" && (state.Signature != "" || state.Encrypted != "") {
			p.delta.State = &state
		}
	}
}

// stateFormat says whose state it is by the names that aggregators use, or by ours.
func stateFormat(name string) completion.StateFormat {
	for _, f := range []struct {
		prefix string
		format completion.StateFormat
	}{
		{"anthropic", completion.AnthropicState},
		{"google", completion.GoogleState},
		{"openai", completion.OpenAIState},
		{"bedrock", completion.BedrockState},
	} {
		if strings.HasPrefix(name, f.prefix) {
			return f.format
		}
	}
	return ""
}

// unplaced is the index of a piece of a tool call that does not tell which one it belongs to.
const unplaced = -1

func (p *piece) toolCalls(data []byte, r reading) {
	calls := jsonscan.Array(data)
	for at := 0; jsonscan.Given(data) && calls.Next(); at++ {
		p.content = true
		call := completion.ToolCallDelta{Index: unplaced}
		m := jsonscan.Object(calls.Value)
		for m.Next() {
			switch string(m.Name) {
			case "index":
				if n, ok := jsonscan.Int(m.Value); ok && n >= 0 && n < 1<<16 {
					call.Index = int(n)
				}
			case "id":
				if r.texts {
					call.ID, _ = jsonscan.Text(m.Value)
				}
			case "function":
				p.function(m.Value, &call, r)
			case "extra_content":
				if signature := jsonscan.Get(m.Value, "google", "thought_signature"); r.texts && jsonscan.TextLen(signature) > 0 {
					call.Signature, _ = jsonscan.Text(signature)
					call.Format = completion.GoogleState
				}
			}
		}
		if r.whole {
			call.Index = at // some vendors count all of them as the first
		}
		if r.texts {
			p.delta.ToolCalls = append(p.delta.ToolCalls, call)
		}
	}
}

// function reads name and arguments. Some vendors give the arguments as an object.
func (p *piece) function(data []byte, call *completion.ToolCallDelta, r reading) {
	in := jsonscan.Object(data)
	for in.Next() {
		p.size += jsonscan.TextLen(in.Value)
		switch {
		case !r.texts:
		case string(in.Name) == "name":
			call.Name, _ = jsonscan.Text(in.Value)
		case string(in.Name) == "arguments":
			if jsonscan.KindOf(in.Value) == jsonscan.ObjectKind {
				call.Arguments = string(in.Value)
				p.size += len(in.Value)
			} else {
				call.Arguments, _ = jsonscan.Text(in.Value)
			}
		}
	}
}

// The names that are looked for in chunks that pass.
var (
	keyError     = []byte(`"error"`)
	keyUsage     = []byte(`"usage"`)
	keyFinish    = []byte(`"finish_reason"`)
	keyDetail    = []byte(`"detail"`)
	keyObject    = []byte(`"object"`)
	errorObject  = []byte(`"error"`)
	contentNames = [][]byte{
		[]byte(`"content"`), []byte(`"arguments"`), []byte(`"reasoning_content"`), []byte(`"reasoning"`), []byte(`"refusal"`),
	}
	done = []byte("[DONE]")
)

// after returns what follows a member's name and colon, or nil. A name cannot be found inside of a
// string: there its quotes are escaped.
func after(data, name []byte) []byte {
	for {
		i := bytes.Index(data, name)
		if i < 0 {
			return nil
		}
		data = data[i+len(name):]
		value := skipSpace(data)
		if len(value) > 0 && value[0] == ':' {
			return skipSpace(value[1:])
		}
	}
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\n' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

// telling reports whether an event holds anything but content.
func telling(data []byte) bool {
	return jsonscan.Given(after(data, keyFinish)) || jsonscan.Given(after(data, keyUsage)) || jsonscan.Given(after(data, keyError))
}

// odd reports whether an event without content has the look of an error without that name.
func odd(data []byte) bool {
	return jsonscan.Given(after(data, keyDetail)) || bytes.HasPrefix(after(data, keyObject), errorObject)
}

// contentSize is the size of a chunk's content, found without decoding it.
func contentSize(data []byte) int {
	for _, name := range contentNames {
		v := after(data, name)
		if len(v) < 2 || v[0] != '"' || v[1] == '"' {
			continue
		}
		if end := jsonscan.TextEnd(v); end > 0 {
			return end - 2
		}
	}
	return 0
}

// answerModel is the name that the provider gives the model.
func answerModel(v []byte) string {
	name, _ := jsonscan.Text(v)
	return provider.Bounded(name, 256)
}

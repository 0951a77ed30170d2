package chat

import (
	"bytes"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// piece is what an event, or a whole answer, says.
type piece struct {
	content  bool
	size     int // of the content, as it stands
	finishes int // choices that ended here
	choices  int // choices at all
	finish   completion.FinishReason
	usage    *completion.Usage
	model    []byte
	delta    completion.Delta
}

// decode reads a chunk or a whole answer. Texts are only taken out of it when delta says so.
func decode(data []byte, delta bool) (p piece, ok bool) {
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
				p.choice(choices.Value, delta && p.choices == 0)
				p.choices++
			}
		case "usage":
			if jsonscan.Given(m.Value) {
				p.usage = decodeUsage(m.Value)
			}
		}
	}
	return p, m.Err() == nil
}

// choice reads one choice; only the first one's texts can be carried in a Delta.
func (p *piece) choice(data []byte, delta bool) {
	m := jsonscan.Object(data)
	for m.Next() {
		switch string(m.Name) {
		case "delta", "message":
			p.message(m.Value, delta)
		case "finish_reason":
			if reason, ok := jsonscan.Text(m.Value); ok && reason != "" {
				p.finishes++
				p.finish = finishReason(reason)
			}
		}
	}
}

func finishReason(reason string) completion.FinishReason {
	switch reason {
	case "length":
		return completion.Length
	case "tool_calls", "function_call":
		return completion.ToolCalls
	case "content_filter":
		return completion.ContentFilter
	}
	return completion.Stop
}

// message reads a delta or message. What is not empty in it is content, but for the role.
func (p *piece) message(data []byte, delta bool) {
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
			p.toolCalls(m.Value, delta)
			continue
		case "function_call", "audio", "reasoning_details", "images":
			if jsonscan.Given(m.Value) && len(m.Value) > 2 {
				p.content = true
				p.size += len(m.Value)
			}
			continue
		default:
			continue
		}
		switch n := jsonscan.TextLen(m.Value); {
		case n > 0:
			p.content = true
			p.size += n
			if delta && *text == "" { // servers that give the reasoning under both names mean one
				*text, _ = jsonscan.Text(m.Value)
			}
		case jsonscan.KindOf(m.Value) == jsonscan.ArrayKind && len(m.Value) > 2:
			p.content = true // parts, as some compatible servers give them
			p.size += len(m.Value)
			if delta {
				*text = joinParts(m.Value)
			}
		}
	}
}

// joinParts joins the texts of content parts.
func joinParts(data []byte) string {
	var out []byte
	parts := jsonscan.Array(data)
	for parts.Next() {
		if text, ok := jsonscan.Text(jsonscan.Get(parts.Value, "text")); ok {
			out = append(out, text...)
		}
	}
	return string(out)
}

func (p *piece) toolCalls(data []byte, delta bool) {
	calls := jsonscan.Array(data)
	for at := 0; jsonscan.Given(data) && calls.Next(); at++ {
		p.content = true
		call := completion.ToolCallDelta{Index: at}
		m := jsonscan.Object(calls.Value)
		for m.Next() {
			switch string(m.Name) {
			case "index":
				if n, ok := jsonscan.Int(m.Value); ok && n >= 0 && n < 1<<16 {
					call.Index = int(n)
				}
			case "id":
				if delta {
					call.ID, _ = jsonscan.Text(m.Value)
				}
			case "function":
				in := jsonscan.Object(m.Value)
				for in.Next() {
					p.size += jsonscan.TextLen(in.Value)
					switch {
					case !delta:
					case string(in.Name) == "name":
						call.Name, _ = jsonscan.Text(in.Value)
					case string(in.Name) == "arguments":
						call.Arguments, _ = jsonscan.Text(in.Value)
					}
				}
			}
		}
		if delta {
			p.delta.ToolCalls = append(p.delta.ToolCalls, call)
		}
	}
}

// maxTokens bounds a count: what is larger is a mistake and not used.
const maxTokens = 1 << 40

// decodeUsage reads a usage object. Cached and reasoning tokens are parts of the totals in it. It is
// nil if the object does not hold the totals, or holds numbers that cannot be.
func decodeUsage(data []byte) *completion.Usage {
	var prompt, output, total, cached, written, reasoning, hit int64 = -1, -1, -1, 0, 0, 0, 0
	var t usage.Tokens
	valid := true
	count := func(v []byte, into *int64) {
		if !jsonscan.Given(v) {
			return
		}
		n, ok := jsonscan.Int(v)
		valid = valid && ok && n >= 0 && n <= maxTokens
		*into = n
	}
	details := func(v []byte, fields map[string]*int64) {
		if jsonscan.KindOf(v) != jsonscan.ObjectKind {
			return
		}
		m := jsonscan.Object(v)
		for m.Next() {
			if into, ok := fields[string(m.Name)]; ok {
				count(m.Value, into)
			}
		}
	}
	m := jsonscan.Object(data)
	for m.Next() {
		switch string(m.Name) {
		case "prompt_tokens":
			count(m.Value, &prompt)
		case "completion_tokens":
			count(m.Value, &output)
		case "total_tokens":
			count(m.Value, &total)
		case "prompt_cache_hit_tokens":
			count(m.Value, &hit)
		case "prompt_tokens_details":
			details(m.Value, map[string]*int64{
				"cached_tokens": &cached, "cache_write_tokens": &written, "audio_tokens": &t.AudioIn, "image_tokens": &t.ImageIn,
			})
		case "completion_tokens_details":
			details(m.Value, map[string]*int64{
				"reasoning_tokens": &reasoning, "audio_tokens": &t.AudioOut, "image_tokens": &t.ImageOut,
			})
		}
	}
	if output < 0 && total >= prompt {
		output = total - prompt
	}
	if !valid || prompt < 0 || output < 0 {
		return nil
	}
	if cached == 0 {
		cached = hit
	}
	t.CacheRead, t.CacheWrite30m, t.Reasoning, t.OutputTotal = cached, written, reasoning, output
	t.InputUncached = max(0, prompt-cached-written)
	t.InputTotal = t.InputUncached + cached + written
	return &completion.Usage{Tokens: t, Final: true}
}

// The names that are looked for in chunks that pass.
var (
	keyError     = []byte(`"error"`)
	keyUsage     = []byte(`"usage"`)
	keyFinish    = []byte(`"finish_reason"`)
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

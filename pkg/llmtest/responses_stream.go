package llmtest

import (
	"slices"
	"strconv"
	"strings"
)

// events writes the events of one stream: each has its number, and its name is its type.
type events struct {
	c       *call
	out     *sink
	number  int
	index   int // of the item
	content int // content events so far
}

// field is a member of an event, in the order of the wire.
type field struct {
	name  string
	value any
}

// send writes an event that holds so many tokens, or the final usage.
func (e *events) send(kind string, tokens int, usage bool, fields ...field) bool {
	end := e.c.lineEnd()
	b := append(e.out.buf[:0], "event: "...)
	b = append(b, kind...)
	b = append(b, end...)
	b = append(b, `data: {"type":"`...)
	b = append(b, kind...)
	b = append(b, `","sequence_number":`...)
	b = strconv.AppendInt(b, int64(e.number), 10)
	e.number++
	for _, f := range fields {
		b = append(b, `,"`...)
		b = append(b, f.name...)
		b = append(b, `":`...)
		b = append(b, encode(f.value)...)
	}
	b = append(b, '}')
	b = append(b, end...)
	b = append(b, end...)
	e.out.buf = b
	return e.out.put(b, tokens, usage)
}

// piece writes an event with content: before it comes the wait, after it perhaps the cut.
func (e *events) piece(kind string, tokens int, fields ...field) bool {
	s := &e.c.script
	if s.InStream && e.content == s.At {
		e.failed()
		return false
	}
	if s.Pings && !e.out.put([]byte(": keep-alive"+e.c.lineEnd()+e.c.lineEnd()), 0, false) {
		return false
	}
	if !e.out.pause(s.Delay) || !e.send(kind, tokens, false, fields...) {
		return false
	}
	e.content++
	if s.CutChunks > 0 && e.content >= s.CutChunks {
		e.out.flush()
		e.out.cut = true
		return false
	}
	return true
}

// failed ends the stream with an error: some come as a failed response, others as an event of their own.
func (e *events) failed() {
	w := e.c.failure()
	f, _ := e.c.native.(*responses)
	switch code := w.code; e.c.script.Error {
	case ErrServer, ErrRateLimit, ErrContent:
		if code == "" {
			code = w.kind
		}
		response := f.response(e.c, "failed", []any{})
		response["error"] = map[string]any{"code": code, "message": w.message}
		e.send("response.failed", 0, false, field{"response", response})
	case ErrQuota:
		e.send("error", 0, false, field{"error", map[string]any{
			"type": w.kind, "code": orNil(w.code), "message": w.message, "param": orNil(w.param),
		}})
	default:
		e.send("error", 0, false, field{"code", orNil(w.code)}, field{"message", w.message}, field{"param", orNil(w.param)})
	}
	e.out.flush()
	e.out.gone = true
}

func (f *responses) stream(c *call, out *sink) {
	c.streamHeaders()
	f.events = events{c: c, out: out}
	if f.run(c) && out.flush() {
		c.entry.Complete = !c.script.NoDone && !c.script.NoFinish
	}
}

func (f *responses) run(c *call) bool {
	e := &f.events
	if c.script.InStream && c.script.At == 0 {
		e.failed()
		return false
	}
	for _, kind := range []string{"response.created", "response.in_progress"} {
		if !e.send(kind, 0, false, field{"response", f.response(c, "in_progress", []any{})}) {
			return false
		}
	}
	if c.script.Reasoning > 0 && !f.think(c) {
		return false
	}
	if (len(c.answer.words) > 0 || c.answer.tools == 0) && !f.message(c) {
		return false
	}
	for i := range c.answer.tools {
		if !f.call(c, i) {
			return false
		}
	}
	if c.script.InStream {
		e.failed()
		return false
	}
	if c.script.NoFinish || c.script.NoDone {
		return true
	}
	return e.send("response."+f.status(c), 0, !c.script.NoUsage, field{"response", f.finished(c, f.output(c))})
}

// item wraps an output item in its events.
func (f *responses) item(begun, done map[string]any, within func(of ...field) bool) bool {
	e := &f.events
	if !e.send("response.output_item.added", 0, false, field{"output_index", e.index}, field{"item", begun}) {
		return false
	}
	id := begun["id"]
	if !within(field{"item_id", id}, field{"output_index", e.index}) {
		return false
	}
	ok := e.send("response.output_item.done", 0, false, field{"output_index", e.index}, field{"item", done})
	e.index++
	return ok
}

func (f *responses) think(c *call) bool {
	return f.item(f.reasoningItem(c, false), f.reasoningItem(c, true), func(of ...field) bool {
		if !c.script.Think {
			return true
		}
		of = append(of, field{"summary_index", 0})
		with := func(more ...field) []field { return append(slices.Clip(of), more...) }
		e, text := &f.events, words("", c.script.Reasoning)
		all := strings.Join(text, "")
		if !e.send("response.reasoning_summary_part.added", 0, false, with(field{"part", map[string]any{"type": "summary_text", "text": ""}})...) {
			return false
		}
		for _, word := range text {
			if !e.piece("response.reasoning_summary_text.delta", 0, with(field{"delta", word}, field{"obfuscation", "x9"})...) {
				return false
			}
		}
		return e.send("response.reasoning_summary_text.done", 0, false, with(field{"text", all})...) &&
			e.send("response.reasoning_summary_part.done", 0, false, with(field{"part", map[string]any{"type": "summary_text", "text": all}})...)
	})
}

func (f *responses) message(c *call) bool {
	return f.item(f.messageItem(c, false), f.messageItem(c, true), func(of ...field) bool {
		of = append(of, field{"content_index", 0})
		with := func(more ...field) []field { return append(slices.Clip(of), more...) }
		e, text := &f.events, strings.Join(c.answer.words, "")
		if !e.send("response.content_part.added", 0, false, with(field{"part", f.part(c, "")})...) {
			return false
		}
		kind, name := "response.output_text", "text"
		if c.answer.refusal {
			kind, name = "response.refusal", "refusal"
		}
		for n, word := range c.answer.words {
			if n == 0 && c.script.Huge > 0 {
				word = strings.Repeat("x", c.script.Huge)
			}
			delta := with(field{"delta", word}, field{"logprobs", []any{}}, field{"obfuscation", "Zk3w"})
			if !e.piece(kind+".delta", 1, delta...) {
				return false
			}
		}
		return e.send(kind+".done", 0, false, with(field{name, text})...) &&
			e.send("response.content_part.done", 0, false, with(field{"part", f.part(c, text)})...)
	})
}

func (f *responses) call(c *call, n int) bool {
	done := f.callItem(c, n, true)
	return f.item(f.callItem(c, n, false), done, func(of ...field) bool {
		with := func(more ...field) []field { return append(slices.Clip(of), more...) }
		e, pieces := &f.events, cutEvery(c.arguments(), 8)
		for k, piece := range pieces {
			tokens := 0
			if k == len(pieces)-1 {
				tokens = toolTokens
			}
			if !e.piece("response.function_call_arguments.delta", tokens, with(field{"delta", piece}, field{"obfuscation", ""})...) {
				return false
			}
		}
		return e.send("response.function_call_arguments.done", 0, false, with(field{"arguments", c.arguments()}, field{"name", c.script.Tool})...)
	})
}

package llmtest

import (
	"strings"
)

// vendorStream renders the events of one stream of a vendor.
type vendorStream struct {
	v       *vendor
	c       *call
	out     *sink
	content int // content chunks so far
	text    strings.Builder
}

func (v *vendor) stream(c *call, out *sink) {
	c.streamHeaders()
	s := &vendorStream{v: v, c: c, out: out}
	if s.run() && out.flush() {
		c.entry.Complete = !c.script.NoDone && !c.script.NoFinish
	}
}

func (s *vendorStream) run() bool {
	c := s.c
	if s.v.its.pings && !s.raw(": ping - 2026-11-22 10:00:00") {
		return false
	}
	if c.script.InStream && c.script.At == 0 {
		return s.failed()
	}
	for i := range c.choices() {
		if !s.chunk(i, map[string]any{"role": "assistant", "content": ""}, "", 0) {
			return false
		}
	}
	if !s.thinks() || !s.words() || !s.tools() {
		return false
	}
	if c.script.InStream {
		return s.failed()
	}
	if c.script.NoFinish {
		return true
	}
	for i := range c.choices() {
		if !s.chunk(i, map[string]any{}, c.answer.finish, 0) {
			return false
		}
	}
	if c.wantsUsage() && !s.v.its.unasked && !c.script.NoUsage {
		last := s.event()
		last["choices"], last["usage"] = []any{}, s.v.usage(c, c.usage.Output, true)
		if !s.send(last, 0, true) {
			return false
		}
	}
	if c.script.NoDone || s.v.its.repeats {
		return true
	}
	return s.raw("data: [DONE]")
}

// thinks sends the thinking, as the vendor gives it.
func (s *vendorStream) thinks() bool {
	if !s.c.script.Think {
		return true
	}
	said := words("", s.c.script.Reasoning)
	switch s.v.its.reasoning {
	case "tags":
		said = append(append([]string{"<thi", "nk>"}, said...), "</thin", "k>\n", "\n")
		for _, word := range said {
			s.text.WriteString(word)
			if !s.chunk(0, map[string]any{"content": word}, "", 0) {
				return false
			}
		}
		return true
	case "parts":
		for _, word := range said {
			if !s.chunk(0, map[string]any{"content": []any{thinkingPart(word)}}, "", 0) {
				return false
			}
		}
		return true
	}
	field := s.v.its.reasoning
	if field == "" {
		field = "reasoning_content"
	}
	for _, word := range said {
		if !s.chunk(0, map[string]any{field: word}, "", 0) {
			return false
		}
	}
	return true
}

func (s *vendorStream) words() bool {
	field := "content"
	if s.c.answer.refusal {
		field = "refusal"
	}
	for n, word := range s.c.answer.words {
		if n == 0 && s.c.script.Huge > 0 {
			word = strings.Repeat("x", s.c.script.Huge)
		}
		s.text.WriteString(word)
		for i := range s.c.choices() {
			if !s.before() || !s.chunk(i, map[string]any{field: word}, "", 1) {
				return false
			}
		}
		if !s.after() {
			return false
		}
	}
	return true
}

func (s *vendorStream) tools() bool {
	for i := range s.c.answer.tools {
		pieces := []string{"", s.c.arguments()}
		if s.v.its.atOnce {
			pieces = pieces[1:]
		} else {
			pieces = append(pieces[:1], cutEvery(s.c.arguments(), 12)...)
		}
		for k, piece := range pieces {
			call := s.v.toolCall(s.c, i, piece)
			tokens := 0
			if k == len(pieces)-1 {
				tokens = toolTokens
			}
			if k > 0 { // pieces after the first name neither the call nor the tool
				delete(call, "id")
				delete(call, "type")
				call["function"] = map[string]any{"arguments": piece}
			}
			if !s.before() || !s.chunk(0, map[string]any{"tool_calls": []any{call}}, "", tokens) || !s.after() {
				return false
			}
		}
	}
	return true
}

// before waits, and fails where the script says so.
func (s *vendorStream) before() bool {
	if s.c.script.InStream && s.content == s.c.script.At {
		s.failed()
		return false
	}
	if s.c.script.Pings && !s.raw(": ping - 2026-11-22 10:00:01") {
		return false
	}
	return s.out.pause(s.c.script.Delay)
}

// after counts a content chunk, and cuts where the script says so.
func (s *vendorStream) after() bool {
	s.content++
	if s.c.script.CutChunks > 0 && s.content >= s.c.script.CutChunks {
		s.out.flush()
		s.out.cut = true
		return false
	}
	return true
}

// event is what every chunk holds.
func (s *vendorStream) event() map[string]any {
	return map[string]any{
		"id": s.c.id("chatcmpl-"), "object": "chat.completion.chunk", "created": s.c.begun.Unix(), "model": s.c.model,
	}
}

// chunk sends one choice's delta, with counts where the vendor has them.
func (s *vendorStream) chunk(index int, delta map[string]any, finish string, tokens int) bool {
	its := &s.v.its
	choice := map[string]any{"index": index, "delta": delta, "finish_reason": orNil(finish)}
	event := s.event()
	event["choices"] = []any{choice}
	counted := false
	if !s.c.script.NoUsage && (finish != "" || its.counts == "always") {
		usage := s.v.usage(s.c, s.c.usage.Output, finish != "")
		counted = finish != "" && its.counts != ""
		switch its.counts {
		case "finish", "always":
			event["usage"] = usage
		case "choice":
			choice["usage"] = usage
		case "x_groq":
			event["x_groq"] = map[string]any{"id": s.c.entry.RequestID, "usage": usage}
			if s.c.wantsUsage() {
				event["usage"] = usage
			}
		}
	}
	if its.repeats {
		choice["message"] = map[string]any{"role": "assistant", "content": s.text.String()}
		if finish != "" {
			event["object"] = "chat.completion.done"
		}
	}
	if its.answer != nil {
		its.answer(s.c, event)
	}
	return s.send(event, tokens, counted)
}

// failed sends the error event; the connection ends after it.
func (s *vendorStream) failed() bool {
	w := s.c.failure()
	if w.kind == "" {
		w.kind = "server_error"
	}
	event := "data: " + string(s.v.envelope(s.c, w))
	if s.v.its.errorEvent {
		event = "event: error" + s.c.lineEnd() + event
	}
	if s.raw(event) {
		s.out.flush()
	}
	s.out.gone = true
	return false
}

func (s *vendorStream) send(event map[string]any, tokens int, usage bool) bool {
	return s.put(append(append(s.out.buf[:0], "data: "...), encode(event)...), tokens, usage)
}

// raw sends lines as they are, as one event.
func (s *vendorStream) raw(lines string) bool {
	return s.put(append(s.out.buf[:0], lines...), 0, false)
}

func (s *vendorStream) put(b []byte, tokens int, usage bool) bool {
	b = append(b, s.c.lineEnd()...)
	b = append(b, s.c.lineEnd()...)
	s.out.buf = b
	return s.out.put(b, tokens, usage)
}

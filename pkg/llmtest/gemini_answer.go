package llmtest

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// picture is what models of this form draw: a PNG of one pixel.
const picture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

// GeminiPicture are its bytes.
func GeminiPicture() []byte {
	b, err := base64.StdEncoding.DecodeString(picture)
	if err != nil {
		panic(err) // a constant
	}
	return b
}

type object = map[string]any

// finishReason is the end in Google's words.
func (g *gemini) finishReason(c *call) string {
	switch reason := c.finishReason(); reason {
	case "stop", "tool_calls":
		return "STOP"
	case "length":
		return "MAX_TOKENS"
	case "content_filter":
		return "SAFETY"
	default:
		return strings.ToUpper(reason)
	}
}

// usageOf is the running total after so many tokens of the answer.
func (g *gemini) usageOf(c *call, output, thoughts int) object {
	u := c.usage
	out := object{"promptTokenCount": u.Input, "totalTokenCount": u.Input + output + thoughts}
	put := func(name string, n int) {
		if n > 0 { // what is zero is left out
			out[name] = n
		}
	}
	put("candidatesTokenCount", output)
	put("thoughtsTokenCount", thoughts)
	put("cachedContentTokenCount", u.Cached)
	details := []any{object{"modality": "TEXT", "tokenCount": u.Input - u.Audio - u.ImageIn}}
	if u.Audio > 0 {
		details = append(details, object{"modality": "AUDIO", "tokenCount": u.Audio})
	}
	if u.ImageIn > 0 {
		details = append(details, object{"modality": "IMAGE", "tokenCount": u.ImageIn})
	}
	out["promptTokensDetails"] = details
	if u.Cached > 0 {
		out["cacheTokensDetails"] = []any{object{"modality": "TEXT", "tokenCount": u.Cached}}
	}
	if u.ImageOut > 0 && output > 0 {
		out["candidatesTokensDetails"] = []any{object{"modality": "IMAGE", "tokenCount": min(u.ImageOut, output)}}
	}
	if g.vertex != nil {
		out["trafficType"] = "ON_DEMAND"
	}
	return out
}

// final is the usage of the whole answer.
func (g *gemini) final(c *call) object {
	return g.usageOf(c, c.usage.Output-c.usage.Reasoning, c.usage.Reasoning)
}

// draws reports whether a picture is asked for.
func (g *gemini) draws() bool {
	return g.body != nil && strings.Contains(strings.Join(g.body.GenerationConfig.Modalities, ","), "IMAGE")
}

// blocked is the answer to a prompt that is blocked: it has no candidates.
func (g *gemini) blocked() object {
	feedback := object{"blockReason": "PROHIBITED_CONTENT"}
	if g.vertex != nil {
		feedback["blockReasonMessage"] = "The prompt was blocked."
	}
	return object{"promptFeedback": feedback}
}

// thoughts are the parts of the thinking that is shown.
func (g *gemini) thoughts(c *call) []string {
	if !c.script.Think || c.script.Reasoning == 0 {
		return nil
	}
	return words("", c.script.Reasoning)
}

func (g *gemini) toolPart(c *call, i int) object {
	call := object{"name": c.script.Tool, "args": json.RawMessage(c.arguments())}
	if c.script.Args == "{}" {
		delete(call, "args")
	}
	part := object{"functionCall": call}
	if i == 0 && (c.script.Reasoning > 0 || g.generation() >= 3) {
		part["thoughtSignature"] = c.state(GeminiSignature)
	}
	return part
}

func (g *gemini) response(c *call, parts []any, finish string) object {
	candidate := object{"index": 0}
	if parts != nil {
		candidate["content"] = object{"role": "model", "parts": parts}
	}
	if finish != "" {
		candidate["finishReason"] = finish
	}
	return object{"candidates": []any{candidate}, "responseId": c.id("")}
}

func (g *gemini) whole(c *call) []byte {
	if g.embeds() {
		return g.vectors(c)
	}
	parts := []any{}
	if thoughts := g.thoughts(c); thoughts != nil {
		parts = append(parts, object{"text": strings.Join(thoughts, ""), "thought": true})
	}
	if len(c.answer.words) > 0 {
		text := object{"text": strings.Join(c.answer.words, "")}
		if c.script.Reasoning > 0 && c.answer.tools == 0 {
			text["thoughtSignature"] = c.state(GeminiSignature)
		}
		parts = append(parts, text)
	}
	if g.draws() {
		parts = append(parts, object{"inlineData": object{"mimeType": "image/png", "data": picture}})
	}
	for i := range c.answer.tools {
		parts = append(parts, g.toolPart(c, i))
	}
	out := g.response(c, parts, g.finishReason(c))
	if c.answer.refusal {
		out = g.blocked()
	}
	out["modelVersion"] = c.answerModel()
	if !c.script.NoUsage {
		out["usageMetadata"] = g.final(c)
	}
	b, err := json.MarshalIndent(out, "", "  ")
	if err != nil { // arguments that are no JSON can not be carried in this form
		return g.envelope(c, wire{status: 500, kind: "INTERNAL", message: "Internal error encountered."})
	}
	return append(b, '\n')
}

// geminiStream writes one streamed answer.
type geminiStream struct {
	g       *gemini
	c       *call
	out     *sink
	sse     bool // alt=sse, and no array
	content int  // content chunks so far
	said    int  // tokens of the answer so far
	sent    int  // objects so far
}

func (g *gemini) stream(c *call, out *sink) {
	s := &geminiStream{g: g, c: c, out: out, sse: c.r.URL.Query().Get("alt") == "sse"}
	if !s.sse {
		c.w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		c.entry.Status = 200
		c.status(200)
	} else {
		c.streamHeaders()
	}
	if s.run() && (s.sse || out.put([]byte("\n]\n"), 0, false)) && out.flush() {
		c.entry.Complete = !c.script.NoFinish
	}
}

func (s *geminiStream) run() bool {
	c := s.c
	if c.script.InStream && c.script.At == 0 {
		return s.failed()
	}
	if c.answer.refusal {
		return s.object(s.g.blocked(), 0, true)
	}
	for _, word := range s.g.thoughts(c) {
		if !s.parts(0, object{"text": word, "thought": true}) {
			return false
		}
	}
	for n, word := range c.answer.words {
		if n == 0 && c.script.Huge > 0 {
			word = strings.Repeat("x", c.script.Huge)
		}
		if !s.parts(1, object{"text": word}) {
			return false
		}
	}
	if s.g.draws() && !s.parts(1, object{"inlineData": object{"mimeType": "image/png", "data": picture}}) {
		return false
	}
	for i := range c.answer.tools {
		if !s.parts(toolTokens, s.g.toolPart(c, i)) {
			return false
		}
	}
	if c.script.InStream {
		return s.failed()
	}
	if c.script.NoFinish {
		return true
	}
	last := object{"text": ""}
	if c.script.Reasoning > 0 && c.answer.tools == 0 {
		last["thoughtSignature"] = c.state(GeminiSignature)
	}
	return s.object(s.g.response(c, []any{last}, s.g.finishReason(c)), 0, true)
}

// parts sends a content chunk, with the waits and cuts of the script.
func (s *geminiStream) parts(tokens int, parts ...any) bool {
	script := &s.c.script
	if script.InStream && s.content == script.At {
		return s.failed()
	}
	if script.Pings && !s.object(s.g.response(s.c, []any{object{"text": ""}}, ""), 0, false) {
		return false
	}
	s.said += tokens
	if !s.out.pause(script.Delay) || !s.object(s.g.response(s.c, parts, ""), tokens, false) {
		return false
	}
	s.content++
	if script.CutChunks > 0 && s.content >= script.CutChunks {
		s.out.flush()
		s.out.cut = true
		return false
	}
	return true
}

// object sends one response, with the running total of usage.
func (s *geminiStream) object(response object, tokens int, last bool) bool {
	c := s.c
	response["modelVersion"] = c.answerModel()
	if !c.script.NoUsage {
		response["usageMetadata"] = s.g.usageOf(c, s.said, 0)
		if last {
			response["usageMetadata"] = s.g.final(c)
		}
	}
	b, err := json.Marshal(response)
	if err != nil {
		return s.failed()
	}
	return s.send(b, tokens, last && !c.script.NoUsage)
}

func (s *geminiStream) send(b []byte, tokens int, usage bool) bool {
	end := s.c.lineEnd()
	out := s.out.buf[:0]
	switch {
	case s.sse:
		out = append(out, "data: "...)
		out = append(append(append(out, b...), end...), end...)
	case s.sent == 0:
		out = append(append(out, '['), b...)
	default:
		out = append(append(out, ",\r\n"...), b...)
	}
	s.sent++
	s.out.buf = out
	return s.out.put(out, tokens, usage)
}

// failed sends the error; the connection ends after it.
func (s *geminiStream) failed() bool {
	w := s.c.failure()
	if w.kind == "" {
		w.kind = "UNAVAILABLE"
	}
	body := s.g.envelope(s.c, w)
	if s.c.script.NoDone {
		s.out.put(body, 0, false) // bare, as a front end writes it
	} else {
		var compact json.RawMessage = body
		if b, err := json.Marshal(compact); err == nil {
			s.send(b, 0, false)
		}
	}
	s.out.flush()
	s.out.gone = true
	return false
}

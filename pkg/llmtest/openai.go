package llmtest

import (
	"encoding/json"
	"strconv"
	"strings"
)

// dated are names under which OpenAI answers when it is called by an alias.
var dated = map[string]string{
	"gpt-4o-mini":  "gpt-4o-mini-2024-07-18",
	"gpt-4.1":      "gpt-4.1-2025-04-14",
	"gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
}

func (c *call) answerModel() string {
	if name, ok := dated[c.model]; ok && c.form == openAI {
		return name
	}
	return c.model
}

// checkOpenAI refuses what OpenAI refuses.
func (c *call) checkOpenAI() (last string, _ *wire) {
	refuse := func(message, param, code string) (string, *wire) {
		return "", &wire{status: 400, kind: "invalid_request_error", code: code, param: param, message: message}
	}
	if c.model == "" {
		return refuse("you must provide a model parameter", "", "")
	}
	var messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	}
	if err := json.Unmarshal(c.body.Messages, &messages); err != nil {
		return refuse("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
	}
	if len(messages) == 0 {
		return refuse("Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.", "messages", "empty_array")
	}
	for i, m := range messages {
		switch m.Role {
		case "user":
			last = firstText(m.Content)
		case "system", "developer", "assistant", "tool", "function":
		default:
			return refuse("Invalid value: '"+m.Role+"'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'.", "messages["+strconv.Itoa(i)+"].role", "invalid_value")
		}
	}
	if c.body.MaxTokens != nil && reasons(c.model) {
		return refuse("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "max_tokens", "unsupported_parameter")
	}
	if c.body.hasTools() && wantsResponses(c.model) && c.body.ReasoningEffort != "none" {
		return refuse("Function tools with reasoning_effort are not supported for "+c.model+" in /v1/chat/completions. To use function tools, use /v1/responses or set reasoning_effort to 'none'.", "reasoning_effort", "")
	}
	if c.body.StreamOptions != nil && !c.body.Stream {
		return refuse("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options", "")
	}
	return last, nil
}

// reasons reports whether OpenAI's model is a reasoning model.
func reasons(model string) bool {
	for _, p := range []string{"o1", "o3", "o4", "gpt-5", "gpt-6"} {
		if strings.HasPrefix(model, p) {
			return true
		}
	}
	return false
}

// wantsResponses reports whether OpenAI's model thinks with tools in the responses form only.
func wantsResponses(model string) bool {
	if strings.HasPrefix(model, "gpt-5.4-mini") {
		return false
	}
	for _, p := range []string{"gpt-5.4", "gpt-5.5", "gpt-5.6", "gpt-6"} {
		if strings.HasPrefix(model, p) {
			return true
		}
	}
	return false
}

// firstText is the text of a message's content, a string or parts.
func firstText(content json.RawMessage) string {
	var text string
	if json.Unmarshal(content, &text) == nil {
		return text
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(content, &parts) == nil {
		for _, p := range parts {
			if p.Text != "" {
				return p.Text
			}
		}
	}
	return ""
}

func (c *call) openAIUsage() json.RawMessage {
	u := c.usage
	b, err := json.Marshal(map[string]any{
		"prompt_tokens": u.Input, "completion_tokens": u.Output, "total_tokens": u.Input + u.Output,
		"prompt_tokens_details": map[string]any{
			"cached_tokens": u.Cached, "audio_tokens": u.Audio, "cache_write_tokens": u.CacheWrite + u.CacheWrite1h,
		},
		"completion_tokens_details": map[string]any{
			"reasoning_tokens": u.Reasoning, "audio_tokens": 0,
			"accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
		},
	})
	if err != nil {
		panic(err) // maps of numbers always encode
	}
	return b
}

// wholeOpenAI is the answer of a call that is not streamed.
func (c *call) wholeOpenAI() []byte {
	message := map[string]any{"role": "assistant", "content": strings.Join(c.answer.words, ""), "refusal": nil, "annotations": []any{}}
	if c.answer.refusal {
		message["refusal"], message["content"] = message["content"], nil
	}
	if c.script.Think {
		message["reasoning_content"] = strings.Join(words("", c.script.Reasoning), "")
	}
	if c.answer.tools > 0 {
		if len(c.answer.words) == 0 {
			message["content"] = nil
		}
		calls := []any{}
		for i := range c.answer.tools {
			calls = append(calls, map[string]any{
				"id": c.toolID(i), "type": "function",
				"function": map[string]any{"name": c.script.Tool, "arguments": c.arguments()},
			})
		}
		message["tool_calls"] = calls
	}
	choices := []any{}
	for i := range c.choices() {
		choices = append(choices, map[string]any{
			"index": i, "message": message, "logprobs": nil, "finish_reason": orNil(c.finishReason()),
		})
	}
	whole := map[string]any{
		"id": c.id("chatcmpl-"), "object": "chat.completion", "created": c.begun.Unix(), "model": c.answerModel(),
		"choices": choices, "service_tier": "default", "system_fingerprint": "fp_llmtest",
	}
	if !c.script.NoUsage {
		whole["usage"] = c.openAIUsage()
	}
	b, err := json.MarshalIndent(whole, "", "  ")
	if err != nil {
		panic(err) // built here of strings and numbers
	}
	return append(b, '\n')
}

func (c *call) finishReason() string {
	if c.script.NoFinish {
		return ""
	}
	return c.answer.finish
}

func (c *call) toolID(i int) string {
	if c.form == openAI {
		return c.id("call_") + strconv.Itoa(i)
	}
	return c.id("toolu_") + strconv.Itoa(i)
}

func (c *call) arguments() string {
	if c.script.Args != "" {
		return c.script.Args
	}
	return `{"city":"Padova","unit":"celsius"}`
}

// openAIStream renders the events of one stream. Everything that does not change is rendered once.
type openAIStream struct {
	c          *call
	out        *sink
	head, tail []byte // of a chunk with one choice, around its delta
	content    int    // content chunks so far
}

// streamOpenAI answers chunk by chunk.
func (c *call) streamOpenAI(out *sink) {
	c.streamHeaders()
	s := &openAIStream{c: c, out: out}
	model, _ := json.Marshal(c.answerModel()) // a string always encodes
	s.head = append(s.head, `{"id":"`...)
	s.head = append(s.head, c.id("chatcmpl-")...)
	s.head = append(s.head, `","object":"chat.completion.chunk","created":`...)
	s.head = strconv.AppendInt(s.head, c.begun.Unix(), 10)
	s.head = append(s.head, `,"model":`...)
	s.head = append(s.head, model...)
	s.head = append(s.head, `,"service_tier":"default","system_fingerprint":"fp_llmtest","choices":[`...)
	s.tail = append(s.tail, ']')
	if c.wantsUsage() {
		s.tail = append(s.tail, `,"usage":null`...)
	}
	s.tail = append(s.tail, '}')
	if s.run() && out.flush() {
		c.entry.Complete = !c.script.NoDone && !c.script.NoFinish
	}
}

func (c *call) wantsUsage() bool {
	return c.body.StreamOptions != nil && c.body.StreamOptions.IncludeUsage
}

func (s *openAIStream) run() bool {
	c := s.c
	if c.script.InStream && c.script.At == 0 {
		return s.failed()
	}
	for i := range c.choices() {
		if !s.chunk(i, `{"role":"assistant","content":"","refusal":null}`, "", 0) {
			return false
		}
	}
	if c.script.Think {
		for _, word := range words("", c.script.Reasoning) {
			if !s.token("reasoning_content", word, 0) {
				return false
			}
		}
	}
	if !s.words() || !s.tools() {
		return false
	}
	if c.script.InStream {
		return s.failed()
	}
	if c.script.NoFinish {
		return true
	}
	for i := range c.choices() {
		if !s.chunk(i, `{}`, c.answer.finish, 0) {
			return false
		}
	}
	return s.end()
}

func (s *openAIStream) words() bool {
	c := s.c
	field := "content"
	if c.answer.refusal {
		field = "refusal"
	}
	for n, word := range c.answer.words {
		if n == 0 && c.script.Huge > 0 {
			word = strings.Repeat("x", c.script.Huge)
		}
		if !s.token(field, word, 1) {
			return false
		}
	}
	return true
}

// token sends one content chunk for each choice.
func (s *openAIStream) token(field, word string, tokens int) bool {
	quoted := `{"` + field + `":` + quote(word) + `}`
	for i := range s.c.choices() {
		if !s.before() || !s.chunk(i, quoted, "", tokens) {
			return false
		}
	}
	return s.after()
}

// before waits, and fails where the script says so.
func (s *openAIStream) before() bool {
	if s.c.script.InStream && s.content == s.c.script.At {
		s.failed()
		return false
	}
	if s.c.script.Pings && !s.raw(": keep-alive") {
		return false
	}
	return s.out.pause(s.c.script.Delay)
}

// after counts a content chunk, and cuts where the script says so.
func (s *openAIStream) after() bool {
	s.content++
	if s.c.script.CutChunks > 0 && s.content >= s.c.script.CutChunks {
		s.out.flush()
		s.out.cut = true
		return false
	}
	return true
}

func (s *openAIStream) tools() bool {
	c := s.c
	for i := range c.answer.tools {
		first := `{"tool_calls":[{"index":` + strconv.Itoa(i) + `,"id":"` + c.toolID(i) + `","type":"function","function":{"name":` + quote(c.script.Tool) + `,"arguments":""}}]}`
		if !s.before() || !s.chunk(0, first, "", 0) || !s.after() {
			return false
		}
		pieces := cutEvery(c.arguments(), 8)
		for k, piece := range pieces {
			tokens := 0
			if k == len(pieces)-1 {
				tokens = toolTokens
			}
			delta := `{"tool_calls":[{"index":` + strconv.Itoa(i) + `,"function":{"arguments":` + quote(piece) + `}}]}`
			if !s.before() || !s.chunk(0, delta, "", tokens) || !s.after() {
				return false
			}
		}
	}
	return true
}

// end sends the usage if it was asked for, and the mark of the end.
func (s *openAIStream) end() bool {
	c := s.c
	if c.wantsUsage() && !c.script.NoUsage {
		b := s.begin()
		b = append(b, s.head...)
		b = append(b, `],"usage":`...)
		b = append(b, c.openAIUsage()...)
		b = append(b, '}')
		if !s.send(b, 0, true) {
			return false
		}
	}
	if c.script.NoDone {
		return true
	}
	return s.raw("data: [DONE]")
}

// failed sends the error event; the connection ends after it.
func (s *openAIStream) failed() bool {
	w := s.c.failure()
	if w.kind == "" {
		w.kind = "server_error"
	}
	if s.raw("data: " + string(w.body(openAI, ""))) {
		s.out.flush()
	}
	s.out.gone = true
	return false
}

// chunk sends one choice's delta.
func (s *openAIStream) chunk(index int, delta, finish string, tokens int) bool {
	b := s.begin()
	b = append(b, s.head...)
	b = append(b, `{"index":`...)
	b = strconv.AppendInt(b, int64(index), 10)
	b = append(b, `,"delta":`...)
	b = append(b, delta...)
	b = append(b, `,"logprobs":null,"finish_reason":`...)
	if finish == "" {
		b = append(b, "null"...)
	} else {
		b = append(b, '"')
		b = append(b, finish...)
		b = append(b, '"')
	}
	b = append(b, '}')
	b = append(b, s.tail...)
	return s.send(b, tokens, false)
}

func (s *openAIStream) begin() []byte { return append(s.out.buf[:0], "data: "...) }

func (s *openAIStream) send(b []byte, tokens int, usage bool) bool {
	b = append(b, s.c.lineEnd()...)
	b = append(b, s.c.lineEnd()...)
	s.out.buf = b
	return s.out.put(b, tokens, usage)
}

// raw sends lines as they are, as one event.
func (s *openAIStream) raw(lines string) bool {
	return s.send(append(s.out.buf[:0], lines...), 0, false)
}

func (c *call) lineEnd() string {
	if c.script.CRLF {
		return "\r\n"
	}
	return "\n"
}

func quote(s string) string {
	b, _ := json.Marshal(s) // a string always encodes
	return string(b)
}

func cutEvery(s string, n int) []string {
	var out []string
	for len(s) > n {
		out = append(out, s[:n])
		s = s[n:]
	}
	return append(out, s)
}

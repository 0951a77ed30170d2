package llmtest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// messageFields are the top-level fields of a messages body; any other is refused.
var messageFields = []string{
	"model", "messages", "max_tokens", "system", "stream", "temperature", "top_p", "top_k", "stop_sequences",
	"tools", "tool_choice", "thinking", "output_config", "metadata", "service_tier", "cache_control", "speed",
	"inference_geo", "container", "mcp_servers", "context_management",
}

type block struct {
	Type      string          `json:"type"`
	Text      *string         `json:"text"`
	ID        string          `json:"id"`
	Input     json.RawMessage `json:"input"`
	ToolUseID string          `json:"tool_use_id"`
}

type turn struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// blocks reads a turn's content, a string or blocks.
func (t turn) blocks() ([]block, error) {
	var text string
	if json.Unmarshal(t.Content, &text) == nil {
		return []block{{Type: "text", Text: &text}}, nil
	}
	var out []block
	err := json.Unmarshal(t.Content, &out)
	return out, err
}

// checkAnthropic refuses what Anthropic refuses.
func (c *call) checkAnthropic(raw []byte) (last string, _ *wire) {
	refuse := func(message string) (string, *wire) {
		return "", &wire{status: 400, kind: "invalid_request_error", message: message}
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return refuse("The request body is not valid JSON: " + err.Error())
	}
	for name := range fields {
		if !slices.Contains(messageFields, name) {
			return refuse(name + ": Extra inputs are not permitted")
		}
	}
	if c.model == "" {
		return refuse("model: Field required")
	}
	if c.body.MaxTokens == nil && !strings.HasSuffix(c.r.URL.Path, "/count_tokens") {
		return refuse("max_tokens: Field required")
	}
	if newerThanSampling(c.model) {
		for _, name := range []string{"temperature", "top_p", "top_k"} {
			if _, given := fields[name]; given {
				return refuse("`" + name + "` is not supported by this model.")
			}
		}
	}
	var turns []turn
	if err := json.Unmarshal(c.body.Messages, &turns); err != nil || len(turns) == 0 {
		return refuse("messages: at least one message is required")
	}
	if turns[0].Role != "user" {
		return refuse("messages: first message must use the \"user\" role")
	}
	last, problem := checkTurns(turns, fields["tools"] != nil)
	if problem == "" && turns[len(turns)-1].Role == "assistant" && !continues(c.model) {
		problem = "This model does not support assistant message prefill. The conversation must end with a user message."
	}
	if problem == "" {
		problem = checkOptions(fields, c.model)
	}
	if problem != "" {
		return refuse(problem)
	}
	return last, nil
}

// continues reports whether the model goes on with a last message of the assistant.
func continues(model string) bool {
	return strings.HasPrefix(model, "claude-3") || strings.Contains(model, "-4-5") || !strings.HasPrefix(model, "claude")
}

// checkOptions checks what does not go together.
func checkOptions(fields map[string]json.RawMessage, model string) string {
	var o struct {
		MaxTokens   int      `json:"max_tokens"`
		Temperature *float64 `json:"temperature"`
		TopP        *float64 `json:"top_p"`
		Stop        []string `json:"stop_sequences"`
		Choice      struct {
			Type string `json:"type"`
		} `json:"tool_choice"`
		Thinking struct {
			Type   string `json:"type"`
			Budget int    `json:"budget_tokens"`
		} `json:"thinking"`
	}
	whole, err := json.Marshal(fields)
	if err == nil {
		err = json.Unmarshal(whole, &o)
	}
	forced := o.Choice.Type == "any" || o.Choice.Type == "tool"
	switch thinks := o.Thinking.Type == "enabled" || o.Thinking.Type == "adaptive"; {
	case err != nil:
		return "The request body is not valid: " + err.Error()
	case o.Temperature != nil && (*o.Temperature < 0 || *o.Temperature > 1):
		return "temperature: Input should be less than or equal to 1"
	case o.Temperature != nil && o.TopP != nil && strings.Contains(model, "-4-"):
		return "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
	case slices.ContainsFunc(o.Stop, func(s string) bool { return strings.TrimSpace(s) == "" }):
		return "stop_sequences: each stop sequence must contain non-whitespace"
	case thinks && forced:
		return "Thinking may not be enabled when tool_choice forces tool use."
	case thinks && (o.Temperature != nil && *o.Temperature != 1 || o.TopP != nil):
		return "`temperature` may only be set to 1 when thinking is enabled."
	case o.Thinking.Type == "enabled" && (o.Thinking.Budget < 1024 || o.MaxTokens > 0 && o.Thinking.Budget >= o.MaxTokens):
		return "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024 and less than max_tokens"
	case o.Thinking.Type == "enabled" && newerThanSampling(model):
		return "\"thinking.type.enabled\" is not supported for this model."
	case forced && (strings.HasPrefix(model, "claude-sonnet-5-5") || strings.HasPrefix(model, "claude-opus-5-5") || strings.HasPrefix(model, "claude-fable-5-")):
		return "tool_choice forces tool use is not supported with this model."
	case o.Thinking.Type == "disabled" && (strings.HasPrefix(model, "claude-opus-5-5") || strings.HasPrefix(model, "claude-fable-5")):
		return "\"thinking.type.disabled\" is not supported for this model."
	}
	return ""
}

// newerThanSampling reports whether the model takes no sampling parameters.
func newerThanSampling(model string) bool {
	for _, p := range []string{"claude-opus-4-7", "claude-opus-4-8", "claude-opus-5", "claude-sonnet-5", "claude-haiku-5", "claude-fable-5"} {
		if strings.HasPrefix(model, p) {
			return true
		}
	}
	return false
}

// checkTurns checks roles, empty texts and that every tool call has its result in the next turn.
func checkTurns(turns []turn, tools bool) (last, problem string) {
	var open []string // ids of tool calls that wait for their results
	for i, t := range turns {
		at := "messages." + strconv.Itoa(i)
		if t.Role != "user" && t.Role != "assistant" {
			return "", at + ".role: Input should be 'user' or 'assistant'"
		}
		blocks, err := t.blocks()
		if err != nil {
			return "", at + ".content: Input should be a valid list"
		}
		var answered []string
		var calls []string
		for _, b := range blocks {
			switch b.Type {
			case "text":
				if b.Text == nil || *b.Text == "" {
					return "", at + ": text content blocks must be non-empty"
				}
				if t.Role == "user" {
					last = *b.Text
				}
			case "tool_use":
				if !bytes.HasPrefix(bytes.TrimSpace(b.Input), []byte("{")) {
					return "", at + ".content: tool_use.input: Input should be a valid dictionary"
				}
				if !tools {
					return "", "Requests which include `tool_use` or `tool_result` blocks must define tools"
				}
				calls = append(calls, b.ID)
			case "tool_result":
				if !slices.Contains(open, b.ToolUseID) {
					return "", at + ": unexpected `tool_use_id` found in `tool_result` blocks: " + b.ToolUseID
				}
				answered = append(answered, b.ToolUseID)
			case "image", "document", "thinking", "redacted_thinking":
			default:
				return "", at + ".content: Input tag '" + b.Type + "' found using 'type' does not match any of the expected tags"
			}
		}
		for _, id := range open {
			if !slices.Contains(answered, id) {
				return "", "messages." + strconv.Itoa(i-1) + ": `tool_use` ids were found without `tool_result` blocks immediately after: " + id
			}
		}
		open = calls
	}
	if len(open) > 0 {
		return "", "`tool_use` ids were found without `tool_result` blocks immediately after: " + open[0]
	}
	return last, ""
}

// count serves /v1/messages/count_tokens.
func (p *Provider) count(w http.ResponseWriter, r *http.Request, provider string) {
	p.counted(w, r, p.newCall(w, r, anthropic, provider), map[string]any{})
}

// counted answers a call with the number of its tokens, in an object with other members.
func (p *Provider) counted(w http.ResponseWriter, r *http.Request, c *call, object map[string]any) {
	if problem := c.admit(http.MethodPost); problem != nil {
		c.refuse(*problem)
		return
	}
	var raw bytes.Buffer
	if _, err := raw.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
		return
	}
	if problem := c.read(raw.Bytes()); problem != nil {
		c.refuse(*problem)
		return
	}
	last, problem := c.check(raw.Bytes())
	if problem != nil {
		c.refuse(*problem)
		return
	}
	s, err := p.find(c, last)
	if err != nil {
		c.refuse(wire{status: 400, kind: "invalid_request_error", message: err.Error()})
		return
	}
	c.script = s
	if s.Error != "" {
		c.refuse(c.failure())
		return
	}
	tokens := s.Input
	if tokens == 0 {
		tokens = max(1, raw.Len()/4)
	}
	object["input_tokens"] = tokens
	writeJSON(w, http.StatusOK, object)
}

// anthropicUsage is the usage object; output is what has been generated so far.
func (c *call) anthropicUsage(output int) map[string]any {
	u := c.usage
	out := map[string]any{
		"input_tokens":                u.Input - u.Cached - u.CacheWrite - u.CacheWrite1h,
		"cache_creation_input_tokens": u.CacheWrite + u.CacheWrite1h,
		"cache_read_input_tokens":     u.Cached,
		"cache_creation": map[string]any{
			"ephemeral_5m_input_tokens": u.CacheWrite, "ephemeral_1h_input_tokens": u.CacheWrite1h,
		},
		"output_tokens": output,
		"service_tier":  "standard",
	}
	if u.Reasoning > 0 {
		out["output_tokens_details"] = map[string]any{"thinking_tokens": u.Reasoning}
	}
	return out
}

// stopReason is the end in Anthropic's words.
func (c *call) stopReason() string {
	switch c.finishReason() {
	case "stop":
		return "end_turn"
	case "length":
		return "max_tokens"
	case "tool_calls":
		return "tool_use"
	case "content_filter":
		return "refusal"
	}
	return c.finishReason()
}

func (c *call) stopDetails() any {
	if c.stopReason() != "refusal" {
		return nil
	}
	return map[string]any{"type": "refusal", "category": "cyber", "explanation": "This request was refused."}
}

// wholeAnthropic is the answer of a call that is not streamed.
func (c *call) wholeAnthropic() []byte {
	content := []any{}
	if c.script.Reasoning > 0 {
		content = append(content, map[string]any{"type": "thinking", "thinking": c.thinking(), "signature": c.state(anthropicSignature)})
	}
	if len(c.answer.words) > 0 {
		content = append(content, map[string]any{"type": "text", "text": strings.Join(c.answer.words, "")})
	}
	for i := range c.answer.tools {
		content = append(content, map[string]any{
			"type": "tool_use", "id": c.toolID(i), "name": c.script.Tool, "input": json.RawMessage(c.arguments()),
		})
	}
	whole := map[string]any{
		"id": c.id("msg_"), "type": "message", "role": "assistant", "model": c.answerModel(), "content": content,
		"stop_reason": orNil(c.stopReason()), "stop_sequence": nil, "stop_details": c.stopDetails(),
		"usage": c.anthropicUsage(c.usage.Output),
	}
	if c.script.NoUsage {
		delete(whole, "usage")
	}
	b, err := json.Marshal(whole)
	if err != nil {
		// Arguments that are no JSON can not be carried in this form.
		return (wire{kind: "api_error", message: "Internal server error"}).body(anthropic, c.entry.RequestID)
	}
	return b
}

// thinking is the text of the thinking block, empty unless it is shown.
func (c *call) thinking() string {
	if !c.script.Think {
		return ""
	}
	return strings.Join(words("", c.script.Reasoning), "")
}

type anthropicStream struct {
	c       *call
	out     *sink
	block   int
	content int
}

// streamAnthropic answers event by event.
func (c *call) streamAnthropic(out *sink) {
	c.streamHeaders()
	s := &anthropicStream{c: c, out: out}
	if s.run() && out.flush() {
		c.entry.Complete = !c.script.NoDone && !c.script.NoFinish
	}
}

func (s *anthropicStream) run() bool {
	c := s.c
	if c.script.InStream && c.script.At == 0 {
		return s.failed()
	}
	start := map[string]any{
		"id": c.id("msg_"), "type": "message", "role": "assistant", "model": c.answerModel(), "content": []any{},
		"stop_reason": nil, "stop_sequence": nil, "stop_details": nil,
	}
	if !c.script.NoUsage {
		start["usage"] = c.anthropicUsage(1)
	}
	if !s.object("message_start", map[string]any{"type": "message_start", "message": start}, false) {
		return false
	}
	if !s.think() || !s.words() || !s.tools() {
		return false
	}
	if c.script.InStream {
		return s.failed()
	}
	if c.script.NoFinish {
		return true
	}
	end := map[string]any{
		"type":  "message_delta",
		"delta": map[string]any{"stop_reason": c.stopReason(), "stop_sequence": nil, "stop_details": c.stopDetails()},
	}
	if !c.script.NoUsage {
		end["usage"] = c.anthropicUsage(c.usage.Output)
	}
	if !s.object("message_delta", end, !c.script.NoUsage) {
		return false
	}
	return c.script.NoDone || s.event("message_stop", `{"type":"message_stop"}`, 0, false)
}

func (s *anthropicStream) think() bool {
	if s.c.script.Reasoning == 0 {
		return true
	}
	if !s.open(`{"type":"thinking","thinking":"","signature":""}`) {
		return false
	}
	if s.c.script.Think {
		for _, word := range words("", s.c.script.Reasoning) {
			if !s.delta(`{"type":"thinking_delta","thinking":`+quote(word)+`}`, 0) {
				return false
			}
		}
	}
	return s.event("content_block_delta", s.deltaData(`{"type":"signature_delta","signature":`+quote(s.c.state(anthropicSignature))+`}`), 0, false) && s.close()
}

func (s *anthropicStream) words() bool {
	if len(s.c.answer.words) == 0 {
		return true
	}
	if !s.open(`{"type":"text","text":""}`) || !s.event("ping", `{"type":"ping"}`, 0, false) {
		return false
	}
	for n, word := range s.c.answer.words {
		if n == 0 && s.c.script.Huge > 0 {
			word = strings.Repeat("x", s.c.script.Huge)
		}
		if !s.delta(`{"type":"text_delta","text":`+quote(word)+`}`, 1) {
			return false
		}
	}
	return s.close()
}

func (s *anthropicStream) tools() bool {
	c := s.c
	for i := range c.answer.tools {
		if !s.open(`{"type":"tool_use","id":"` + c.toolID(i) + `","name":` + quote(c.script.Tool) + `,"input":{}}`) {
			return false
		}
		pieces := cutEvery(c.arguments(), 8)
		for k, piece := range pieces {
			tokens := 0
			if k == len(pieces)-1 {
				tokens = toolTokens
			}
			if !s.delta(`{"type":"input_json_delta","partial_json":`+quote(piece)+`}`, tokens) {
				return false
			}
		}
		if !s.close() {
			return false
		}
	}
	return true
}

func (s *anthropicStream) open(block string) bool {
	return s.event("content_block_start", `{"type":"content_block_start","index":`+strconv.Itoa(s.block)+`,"content_block":`+block+`}`, 0, false)
}

func (s *anthropicStream) close() bool {
	ok := s.event("content_block_stop", `{"type":"content_block_stop","index":`+strconv.Itoa(s.block)+`}`, 0, false)
	s.block++
	return ok
}

func (s *anthropicStream) deltaData(delta string) string {
	return `{"type":"content_block_delta","index":` + strconv.Itoa(s.block) + `,"delta":` + delta + `}`
}

// delta sends a content event, with the waits and cuts of the script.
func (s *anthropicStream) delta(delta string, tokens int) bool {
	script := &s.c.script
	if script.InStream && s.content == script.At {
		return s.failed()
	}
	if script.Pings && !s.event("ping", `{"type":"ping"}`, 0, false) {
		return false
	}
	if !s.out.pause(script.Delay) || !s.event("content_block_delta", s.deltaData(delta), tokens, false) {
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

// failed sends the error event; the connection ends after it.
func (s *anthropicStream) failed() bool {
	w := s.c.failure()
	if f, framed := s.c.native.(framer); framed {
		s.out.buf = f.reported(s.out.buf[:0], w)
		if s.out.put(s.out.buf, 0, false) {
			s.out.flush()
		}
		s.out.gone = true
		return false
	}
	if w.kind == "" {
		w.kind = "api_error"
	}
	if s.event("error", string(w.body(anthropic, s.c.entry.RequestID)), 0, false) {
		s.out.flush()
	}
	s.out.gone = true
	return false
}

func (s *anthropicStream) object(name string, v any, usage bool) bool {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // built here of strings and numbers
	}
	return s.event(name, string(b), 0, usage)
}

func (s *anthropicStream) event(name, data string, tokens int, usage bool) bool {
	if f, framed := s.c.native.(framer); framed {
		s.out.buf = f.framed(s.out.buf[:0], data)
		return s.out.put(s.out.buf, tokens, usage)
	}
	end := s.c.lineEnd()
	b := append(s.out.buf[:0], "event: "...)
	b = append(b, name...)
	b = append(b, end...)
	b = append(b, "data: "...)
	b = append(b, data...)
	b = append(b, end...)
	b = append(b, end...)
	s.out.buf = b
	return s.out.put(b, tokens, usage)
}

package openai

import (
	"strconv"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// Heartbeat is a comment that keeps a waiting stream open.
const Heartbeat = ": keep-alive\n\n"

// Stream writes a converted answer as the events of a chat completions stream. It appends to buffers
// of the caller's and allocates nothing itself.
type Stream struct {
	head  []byte // of every chunk, up to its choices
	tail  string // of every chunk, after its choices
	usage bool
	begun bool
}

// NewStream returns the writer of one answer: the request's id and the slug of the model that serves.
func NewStream(requestID, model string, created time.Time, includeUsage bool) *Stream {
	s := &Stream{tail: "]}\n\n", usage: includeUsage}
	if includeUsage {
		s.tail = `],"usage":null}` + "\n\n"
	}
	s.head = append(s.head, "data: "...)
	s.head = appendHead(s.head, "chat.completion.chunk", requestID, model, created)
	return s
}

func appendHead(dst []byte, object, requestID, model string, created time.Time) []byte {
	dst = append(dst, `{"id":`...)
	dst = jsonscan.AppendText(dst, requestID)
	dst = append(dst, `,"object":"`...)
	dst = append(dst, object...)
	dst = append(dst, `","created":`...)
	dst = strconv.AppendInt(dst, created.Unix(), 10)
	dst = append(dst, `,"model":`...)
	dst = jsonscan.AppendText(dst, model)
	return append(dst, `,"choices":[`...)
}

// AppendChunk appends the events of a chunk: before the first one comes the assistant's role.
func (s *Stream) AppendChunk(dst []byte, c *completion.Chunk) []byte {
	if !s.begun && (!c.Delta.Empty() || c.Finish != "") {
		s.begun = true
		dst = append(dst, s.head...)
		dst = append(dst, `{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}`...)
		dst = append(dst, s.tail...)
	}
	if !c.Delta.Empty() {
		dst = append(dst, s.head...)
		dst = append(dst, `{"index":0,"delta":{`...)
		dst = appendDelta(dst, &c.Delta)
		dst = append(dst, `},"logprobs":null,"finish_reason":null}`...)
		dst = append(dst, s.tail...)
	}
	if c.Finish != "" {
		dst = append(dst, s.head...)
		dst = append(dst, `{"index":0,"delta":{},"logprobs":null,"finish_reason":"`...)
		dst = append(dst, c.Finish...)
		dst = append(dst, `"}`...)
		dst = append(dst, s.tail...)
	}
	return dst
}

func appendDelta(dst []byte, d *completion.Delta) []byte {
	start := len(dst)
	member := func(dst []byte, name, value string) []byte {
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = append(dst, name...)
		return jsonscan.AppendText(dst, value)
	}
	if d.Reasoning != "" {
		dst = member(dst, `"reasoning_content":`, d.Reasoning)
	}
	if d.Text != "" {
		dst = member(dst, `"content":`, d.Text)
	}
	if d.Refusal != "" {
		dst = member(dst, `"refusal":`, d.Refusal)
	}
	if len(d.ToolCalls) == 0 {
		return dst
	}
	if len(dst) > start {
		dst = append(dst, ',')
	}
	dst = append(dst, `"tool_calls":[`...)
	for i, c := range d.ToolCalls {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"index":`...)
		dst = strconv.AppendInt(dst, int64(c.Index), 10)
		dst = append(dst, ',')
		dst = appendCall(dst, c)
	}
	return append(dst, ']')
}

// appendCall appends a call without its opening brace. Id and name stand in its first piece only.
func appendCall(dst []byte, c completion.ToolCallDelta) []byte {
	if c.ID != "" || c.Name != "" {
		dst = append(dst, `"id":`...)
		dst = jsonscan.AppendText(dst, c.ID)
		dst = append(dst, `,"type":"function","function":{"name":`...)
		dst = jsonscan.AppendText(dst, c.Name)
		dst = append(dst, `,"arguments":`...)
	} else {
		dst = append(dst, `"function":{"arguments":`...)
	}
	dst = jsonscan.AppendText(dst, c.Arguments)
	return append(dst, `}}`...)
}

// AppendEnd appends the usage, if the caller asked for it and it is known, and the mark of the end.
func (s *Stream) AppendEnd(dst []byte, tokens *usage.Tokens) []byte {
	if s.usage && tokens != nil {
		dst = append(dst, s.head...)
		dst = append(dst, `],"usage":`...)
		dst = appendUsage(dst, tokens)
		dst = append(dst, "}\n\n"...)
	}
	return append(dst, "data: [DONE]\n\n"...)
}

// appendUsage appends the counts as OpenAI names them: cached and reasoning tokens are parts of the totals.
func appendUsage(dst []byte, t *usage.Tokens) []byte {
	for _, m := range [...]struct {
		before string
		n      int64
	}{
		{`{"prompt_tokens":`, t.InputTotal},
		{`,"completion_tokens":`, t.OutputTotal},
		{`,"total_tokens":`, t.InputTotal + t.OutputTotal},
		{`,"prompt_tokens_details":{"cached_tokens":`, t.CacheRead},
		{`,"cache_write_tokens":`, t.CacheWrite5m + t.CacheWrite30m + t.CacheWrite1h + t.CacheWrite12h},
		{`,"audio_tokens":`, t.AudioIn},
		{`},"completion_tokens_details":{"reasoning_tokens":`, t.Reasoning},
		{`,"audio_tokens":`, t.AudioOut},
	} {
		dst = append(dst, m.before...)
		dst = strconv.AppendInt(dst, m.n, 10)
	}
	return append(dst, "}}"...)
}

// AppendCompletion appends a whole converted answer as a chat completion. Unknown tokens are left out.
func AppendCompletion(dst []byte, requestID, model string, created time.Time, c *completion.Chunk, tokens *usage.Tokens) []byte {
	dst = appendHead(dst, "chat.completion", requestID, model, created)
	dst = append(dst, `{"index":0,"message":{"role":"assistant","content":`...)
	d := &c.Delta
	if d.Text == "" && (len(d.ToolCalls) > 0 || d.Refusal != "") {
		dst = append(dst, "null"...)
	} else {
		dst = jsonscan.AppendText(dst, d.Text)
	}
	dst = append(dst, `,"refusal":`...)
	if d.Refusal == "" {
		dst = append(dst, "null"...)
	} else {
		dst = jsonscan.AppendText(dst, d.Refusal)
	}
	if d.Reasoning != "" {
		dst = append(dst, `,"reasoning_content":`...)
		dst = jsonscan.AppendText(dst, d.Reasoning)
	}
	if len(d.ToolCalls) > 0 {
		dst = append(dst, `,"tool_calls":[`...)
		for i, call := range d.ToolCalls {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, '{')
			dst = appendCall(dst, call)
		}
		dst = append(dst, ']')
	}
	finish := c.Finish
	if finish == "" {
		finish = completion.Stop
	}
	dst = append(dst, `},"logprobs":null,"finish_reason":`...)
	dst = jsonscan.AppendText(dst, string(finish))
	dst = append(dst, "}]"...)
	if tokens != nil {
		dst = append(dst, `,"usage":`...)
		dst = appendUsage(dst, tokens)
	}
	return append(dst, "}\n"...)
}

// Model is one line of the list of models.
type Model struct {
	ID, OwnedBy string
	Created     time.Time
}

// AppendModels appends the list of models.
func AppendModels(dst []byte, models []Model) []byte {
	dst = append(dst, `{"object":"list","data":[`...)
	for i, m := range models {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendModel(dst, m)
	}
	return append(dst, "]}\n"...)
}

// AppendModel appends one model.
func AppendModel(dst []byte, m Model) []byte {
	dst = append(dst, `{"id":`...)
	dst = jsonscan.AppendText(dst, m.ID)
	dst = append(dst, `,"object":"model","created":`...)
	dst = strconv.AppendInt(dst, max(0, m.Created.Unix()), 10)
	dst = append(dst, `,"owned_by":`...)
	dst = jsonscan.AppendText(dst, m.OwnedBy)
	return append(dst, '}')
}

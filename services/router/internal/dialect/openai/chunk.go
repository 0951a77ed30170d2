package openai

import (
	"strconv"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// Encoder writes a converted answer as a chat completion, or as the events of its stream. It appends to
// buffers of the caller's and allocates nothing itself.
type Encoder struct {
	requestID, model string
	created          time.Time
	usage            bool

	head  []byte // of every event, up to its choices
	tail  string // of every event, after its choices
	begun bool
}

var _ dialect.Encoder = (*Encoder)(nil)

// NewEncoder returns the writer of one answer: the request, and the slug of the model that serves.
func NewEncoder(req *completion.Request, model string, created time.Time) *Encoder {
	e := &Encoder{requestID: req.ID, model: model, created: created, usage: req.IncludeUsage}
	if !req.Stream {
		return e
	}
	e.tail = "]}\n\n"
	if e.usage {
		e.tail = `],"usage":null}` + "\n\n"
	}
	e.head = append(e.head, "data: "...)
	e.head = e.appendHead(e.head, "chat.completion.chunk")
	return e
}

func (e *Encoder) appendHead(dst []byte, object string) []byte {
	dst = append(dst, `{"id":`...)
	dst = jsonscan.AppendText(dst, e.requestID)
	dst = append(dst, `,"object":"`...)
	dst = append(dst, object...)
	dst = append(dst, `","created":`...)
	dst = strconv.AppendInt(dst, e.created.Unix(), 10)
	dst = append(dst, `,"model":`...)
	dst = jsonscan.AppendText(dst, e.model)
	return append(dst, `,"choices":[`...)
}

// AppendChunk appends the events of a chunk: before the first one comes the assistant's role.
func (e *Encoder) AppendChunk(dst []byte, c *completion.Chunk) []byte {
	if !e.begun && (!c.Delta.Empty() || c.Finish != "") {
		e.begun = true
		dst = append(dst, e.head...)
		dst = append(dst, `{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}`...)
		dst = append(dst, e.tail...)
	}
	if !c.Delta.Empty() {
		dst = append(dst, e.head...)
		dst = append(dst, `{"index":0,"delta":{`...)
		dst = appendDelta(dst, &c.Delta)
		dst = append(dst, `},"logprobs":null,"finish_reason":null}`...)
		dst = append(dst, e.tail...)
	}
	if c.Finish != "" {
		dst = append(dst, e.head...)
		dst = append(dst, `{"index":0,"delta":{},"logprobs":null,"finish_reason":"`...)
		dst = append(dst, c.Finish...)
		dst = append(dst, `"}`...)
		dst = append(dst, e.tail...)
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
func (e *Encoder) AppendEnd(dst []byte, f completion.Final) []byte {
	if e.usage && f.Tokens != nil {
		dst = append(dst, e.head...)
		dst = append(dst, `],"usage":`...)
		dst = appendUsage(dst, f.Tokens)
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

// AppendWhole appends a whole answer as a chat completion. Unknown tokens are left out.
func (e *Encoder) AppendWhole(dst []byte, c *completion.Chunk, f completion.Final) []byte {
	dst = e.appendHead(dst, "chat.completion")
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
	finish := f.Finish
	if finish == "" {
		finish = completion.Stop
	}
	dst = append(dst, `},"logprobs":null,"finish_reason":`...)
	dst = jsonscan.AppendText(dst, string(finish))
	dst = append(dst, "}]"...)
	if f.Tokens != nil {
		dst = append(dst, `,"usage":`...)
		dst = appendUsage(dst, f.Tokens)
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

package openai

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"

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
	hidden           bool // the text of reasoning is not asked for

	head  []byte // of every event, up to its choices
	tail  string // of every event, after its choices
	begun bool
	// thought counts the blocks of reasoning that have ended. wide says that the text so far has characters
	// of more than a byte.
	thought int
	wide    bool
}

var _ dialect.Encoder = (*Encoder)(nil)

// NewEncoder returns the writer of one answer: the request, and the slug of the model that serves.
func NewEncoder(req *completion.Request, model string, created time.Time) *Encoder {
	e := &Encoder{requestID: req.ID, model: model, created: created, usage: req.IncludeUsage, hidden: hidden(req.Raw)}
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
		start := len(dst)
		dst = append(dst, e.head...)
		dst = append(dst, `{"index":0,"delta":{`...)
		empty := len(dst)
		if dst = e.appendDelta(dst, &c.Delta); len(dst) == empty {
			return e.appendFinish(dst[:start], c) // hidden reasoning
		}
		dst = append(dst, `},"logprobs":`...)
		dst = appendLogprobs(dst, c.Delta.Logprobs)
		dst = append(dst, `,"finish_reason":null}`...)
		dst = append(dst, e.tail...)
	}
	return e.appendFinish(dst, c)
}

func (e *Encoder) appendFinish(dst []byte, c *completion.Chunk) []byte {
	if c.Finish != "" {
		dst = append(dst, e.head...)
		dst = append(dst, `{"index":0,"delta":{},"logprobs":null,"finish_reason":"`...)
		dst = append(dst, c.Finish...)
		dst = append(dst, `"}`...)
		dst = append(dst, e.tail...)
	}
	return dst
}

// comma separates a member from those since start.
func comma(dst []byte, start int) []byte {
	if len(dst) > start {
		return append(dst, ',')
	}
	return dst
}

func member(dst []byte, start int, name, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(comma(dst, start), name...)
	return jsonscan.AppendText(dst, value)
}

func (e *Encoder) appendDelta(dst []byte, d *completion.Delta) []byte {
	start := len(dst)
	if !e.hidden {
		dst = member(dst, start, `"reasoning_content":`, d.Reasoning)
	}
	dst = e.appendThoughts(dst, start, d)
	dst = member(dst, start, `"content":`, d.Text)
	dst = member(dst, start, `"refusal":`, d.Refusal)
	e.wide = e.wide || wide(d.Text)
	if len(d.Citations) > 0 {
		dst = append(comma(dst, start), `"annotations":`...)
		dst = appendCitations(dst, d.Citations, func(at int) int {
			if e.wide { // bytes are not characters, and the text is gone
				return 0
			}
			return at
		})
	}
	if len(d.ToolCalls) == 0 {
		return dst
	}
	dst = append(comma(dst, start), `"tool_calls":[`...)
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

func wide(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return true
		}
	}
	return false
}

// appendThoughts appends the pieces of blocks of reasoning, as callers of many providers keep them to send
// them back.
func (e *Encoder) appendThoughts(dst []byte, start int, d *completion.Delta) []byte {
	if len(d.Thoughts) > 0 {
		return appendDetails(dst, start, d.Thoughts, e.hidden)
	}
	piece := completion.Reasoning{}
	if d.State != nil {
		piece = *d.State
	}
	if piece.Text = d.Reasoning; e.hidden {
		piece.Text = ""
	}
	if piece.Text == "" && d.State == nil {
		return dst
	}
	dst = append(comma(dst, start), `"reasoning_details":[`...)
	dst = appendDetail(dst, &piece, e.thought)
	if d.State != nil {
		e.thought++
	}
	return append(dst, ']')
}

func appendDetails(dst []byte, start int, thoughts []completion.Reasoning, hidden bool) []byte {
	dst = append(comma(dst, start), `"reasoning_details":[`...)
	for i, t := range thoughts {
		if hidden {
			t.Text = ""
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendDetail(dst, &t, i)
	}
	return append(dst, ']')
}

// appendDetail appends one block, or a piece of one: its text or the summary, and what is encrypted as an
// entry of its own with the same index.
func appendDetail(dst []byte, r *completion.Reasoning, index int) []byte {
	end := func() {
		dst = append(dst, `,"format":"`...)
		dst = append(dst, formatName(r.Format)...)
		dst = append(dst, `","index":`...)
		dst = strconv.AppendInt(dst, int64(index), 10)
		if r.ID != "" {
			dst = append(dst, `,"id":`...)
			dst = jsonscan.AppendText(dst, r.ID)
		}
		dst = append(dst, '}')
	}
	readable := r.Text != "" || r.Signature != "" || r.Encrypted == ""
	if readable {
		if r.Summary {
			dst = append(dst, `{"type":"reasoning.summary","summary":`...)
		} else {
			dst = append(dst, `{"type":"reasoning.text","text":`...)
		}
		dst = jsonscan.AppendText(dst, r.Text)
		if r.Signature != "" {
			dst = append(dst, `,"signature":`...)
			dst = jsonscan.AppendText(dst, r.Signature)
		}
		end()
	}
	if r.Encrypted == "" {
		return dst
	}
	if readable {
		dst = append(dst, ',')
	}
	dst = append(dst, `{"type":"reasoning.encrypted","data":`...)
	dst = jsonscan.AppendText(dst, r.Encrypted)
	end()
	return dst
}

// appendCitations appends sources. Place turns an offset in bytes into one in characters.
func appendCitations(dst []byte, citations []completion.Citation, place func(int) int) []byte {
	dst = append(dst, '[')
	for i := range citations {
		c := &citations[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"type":"url_citation","url_citation":{"url":`...)
		dst = jsonscan.AppendText(dst, c.URL)
		dst = append(dst, `,"title":`...)
		dst = jsonscan.AppendText(dst, c.Title)
		dst = append(dst, `,"start_index":`...)
		dst = strconv.AppendInt(dst, int64(place(c.Start)), 10)
		dst = append(dst, `,"end_index":`...)
		dst = strconv.AppendInt(dst, int64(place(c.End)), 10)
		dst = append(dst, "}}"...)
	}
	return append(dst, ']')
}

// appendLogprobs appends the probabilities of tokens, or null.
func appendLogprobs(dst []byte, logprobs []completion.Logprob) []byte {
	if len(logprobs) == 0 {
		return append(dst, "null"...)
	}
	dst = append(dst, `{"content":[`...)
	for i := range logprobs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendLogprob(dst, &logprobs[i])
		dst = append(dst, `,"top_logprobs":[`...)
		for k := range logprobs[i].Top {
			if k > 0 {
				dst = append(dst, ',')
			}
			dst = appendLogprob(dst, &logprobs[i].Top[k])
			dst = append(dst, '}')
		}
		dst = append(dst, "]}"...)
	}
	return append(dst, `],"refusal":null}`...)
}

// appendLogprob appends a token without its closing brace.
func appendLogprob(dst []byte, l *completion.Logprob) []byte {
	dst = append(dst, `{"token":`...)
	dst = jsonscan.AppendText(dst, l.Token)
	dst = append(dst, `,"logprob":`...)
	if math.IsInf(l.Logprob, 0) || math.IsNaN(l.Logprob) {
		dst = append(dst, "-9999"...) // what OpenAI writes for what cannot be
	} else {
		dst = strconv.AppendFloat(dst, l.Logprob, 'g', -1, 64)
	}
	dst = append(dst, `,"bytes":[`...)
	for i := range len(l.Token) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(l.Token[i]), 10)
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
	if c.Signature != "" {
		dst = append(dst, `},"extra_content":{"google":{"thought_signature":`...)
		dst = jsonscan.AppendText(dst, c.Signature)
		return append(dst, "}}}"...)
	}
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
	if d.Reasoning != "" && !e.hidden {
		dst = append(dst, `,"reasoning_content":`...)
		dst = jsonscan.AppendText(dst, d.Reasoning)
	}
	dst = e.appendThoughts(dst, 0, d)
	if len(d.Citations) > 0 {
		dst = append(dst, `,"annotations":`...)
		dst = appendCitations(dst, d.Citations, func(at int) int {
			return utf8.RuneCountInString(d.Text[:min(max(at, 0), len(d.Text))])
		})
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
	dst = append(dst, `},"logprobs":`...)
	dst = appendLogprobs(dst, d.Logprobs)
	dst = append(dst, `,"finish_reason":`...)
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

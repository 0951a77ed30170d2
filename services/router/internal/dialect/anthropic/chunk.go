package anthropic

import (
	"strconv"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// Heartbeat keeps a stream open whose message has started.
const Heartbeat = "event: ping\ndata: {\"type\":\"ping\"}\n\n"

// Encoder writes a converted answer as a message, or as the events of its stream. It appends to buffers of
// the caller's.
type Encoder struct {
	requestID, model string

	begun, refused bool
	// signed says that the open block of reasoning has its state.
	signed bool
	// next is the index of the next block; open is the kind of the current one, none between blocks.
	next int
	open block
	// calls are the tool calls, by the index that they have in the answer.
	calls []call
}

var _ dialect.Encoder = (*Encoder)(nil)

// block is a kind of block that is written piece by piece.
type block uint8

const (
	none block = iota
	textBlock
	thinkingBlock
)

// call is a tool call being written. Pieces of several may come by turns, and a block that has stopped cannot
// go on: one stays open until its arguments are whole.
type call struct {
	index     int // of its block
	open      bool
	arguments []byte
}

// NewEncoder returns the writer of one answer: the request, and the slug of the model that serves.
func NewEncoder(req *completion.Request, model string) *Encoder {
	return &Encoder{requestID: req.ID, model: model}
}

// AppendChunk implements dialect.Encoder.
func (e *Encoder) AppendChunk(dst []byte, c *completion.Chunk) []byte {
	d := &c.Delta
	if d.Empty() && c.Finish == "" {
		return dst
	}
	dst = e.begin(dst)
	dst = e.thoughts(dst, d)
	if d.Text != "" {
		dst = e.text(dst, d.Text)
	}
	if d.Refusal != "" {
		e.refused = true
		dst = e.text(dst, d.Refusal)
	}
	for i := range d.Citations {
		dst = e.citation(dst, &d.Citations[i])
	}
	for i := range d.ToolCalls {
		dst = e.call(dst, &d.ToolCalls[i])
	}
	return dst
}

// begin appends the start of the message. What the prompt took is told at the end, when it is known.
func (e *Encoder) begin(dst []byte) []byte {
	if e.begun {
		return dst
	}
	e.begun = true
	dst = append(dst, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":"...)
	dst = e.head(dst)
	return append(dst, `],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"output_tokens":0}}}`+"\n\n"...)
}

func (e *Encoder) head(dst []byte) []byte {
	dst = append(dst, `{"id":`...)
	dst = jsonscan.AppendText(dst, e.requestID)
	dst = append(dst, `,"type":"message","role":"assistant","model":`...)
	dst = jsonscan.AppendText(dst, e.model)
	return append(dst, `,"content":[`...)
}

// thoughts appends reasoning, and the state that ends a block of it.
func (e *Encoder) thoughts(dst []byte, d *completion.Delta) []byte {
	for i := range d.Thoughts {
		t := &d.Thoughts[i]
		dst = e.reasoning(e.stop(dst), t.Text)
		dst = e.state(dst, t)
	}
	if len(d.Thoughts) > 0 {
		return dst
	}
	dst = e.reasoning(dst, d.Reasoning)
	if d.State != nil {
		dst = e.state(dst, d.State)
	}
	return dst
}

func (e *Encoder) reasoning(dst []byte, text string) []byte {
	if text == "" {
		return dst
	}
	if e.open != thinkingBlock {
		dst = e.thinking(dst)
	}
	return e.delta(dst, e.next-1, `{"type":"thinking_delta","thinking":`, text)
}

func (e *Encoder) thinking(dst []byte) []byte {
	dst = e.start(dst, `{"type":"thinking","thinking":"","signature":""}`)
	e.open, e.signed = thinkingBlock, false
	return dst
}

// state ends the block of reasoning, or is one by itself.
func (e *Encoder) state(dst []byte, r *completion.Reasoning) []byte {
	carried, redacted := carry(r, e.open == thinkingBlock)
	switch {
	case redacted:
		dst = e.stop(dst)
		dst = e.startEnd(dst, "start")
		dst = append(dst, `,"content_block":{"type":"redacted_thinking","data":`...)
		dst = jsonscan.AppendText(dst, carried)
		dst = append(dst, "}}\n\n"...)
		dst = e.startEnd(dst, "stop")
		e.next++
		return append(dst, "}\n\n"...)
	case carried == "" && e.open != thinkingBlock:
		return dst
	case e.open != thinkingBlock:
		dst = e.thinking(dst)
	}
	dst = e.sign(dst, carried)
	return e.stop(dst)
}

func (e *Encoder) sign(dst []byte, carried string) []byte {
	e.signed = true
	return e.delta(dst, e.next-1, `{"type":"signature_delta","signature":`, carried)
}

// unsigned stands where a state should be and none is.
var unsigned = dialect.Wrap(completion.AnthropicState, "none", "")

// carry is a state as it stands in a block: in one of its own if there is no text that it belongs to. A text
// without a state has one that says so, lest its provider be asked to check it.
func carry(r *completion.Reasoning, texted bool) (carried string, redacted bool) {
	texted = texted || r.Text != ""
	switch {
	case r.Encrypted != "":
		return dialect.Wrap(completion.AnthropicState, r.Format, r.Encrypted), !texted
	case r.Signature != "":
		return dialect.Wrap(completion.AnthropicState, r.Format, r.Signature), false
	case texted:
		return unsigned, false
	}
	return "", false
}

func (e *Encoder) text(dst []byte, text string) []byte {
	return e.delta(e.texts(dst), e.next-1, `{"type":"text_delta","text":`, text)
}

// texts makes sure that a block of text is open.
func (e *Encoder) texts(dst []byte) []byte {
	if e.open != textBlock {
		dst = e.start(dst, `{"type":"text","text":""}`)
		e.open = textBlock
	}
	return dst
}

func (e *Encoder) citation(dst []byte, c *completion.Citation) []byte {
	dst = e.texts(dst)
	dst = e.deltaHead(dst, e.next-1)
	dst = append(dst, `{"type":"citations_delta","citation":`...)
	dst = appendCitation(dst, c)
	return append(dst, "}}\n\n"...)
}

// appendCitation appends a source in the only form of Anthropic's that has an address.
func appendCitation(dst []byte, c *completion.Citation) []byte {
	dst = append(dst, `{"type":"web_search_result_location","url":`...)
	dst = jsonscan.AppendText(dst, c.URL)
	dst = append(dst, `,"title":`...)
	dst = jsonscan.AppendText(dst, c.Title)
	return append(dst, `,"cited_text":"","encrypted_index":""}`...)
}

// call appends a piece of a tool call.
func (e *Encoder) call(dst []byte, c *completion.ToolCallDelta) []byte {
	if c.Index < 0 || c.Index > len(e.calls) {
		return dst // no provider counts like that
	}
	if c.Index == len(e.calls) {
		if c.Signature != "" {
			dst = e.stop(dst)
			dst = e.thinking(dst)
			dst = e.sign(dst, wrapCall(c))
		}
		dst = e.stop(dst)
		dst = e.startEnd(dst, "start")
		dst = append(dst, `,"content_block":`...)
		dst = appendCallHead(dst, c.ID, c.Name)
		dst = append(dst, "{}}}\n\n"...)
		e.calls = append(e.calls, call{index: e.next, open: true})
		e.next++
	}
	t := &e.calls[c.Index]
	if c.Arguments == "" || !t.open {
		return dst
	}
	t.arguments = append(t.arguments, c.Arguments...)
	return e.delta(dst, t.index, `{"type":"input_json_delta","partial_json":`, c.Arguments)
}

// wrapCall is the state of a tool call, for the empty block of reasoning before it.
func wrapCall(c *completion.ToolCallDelta) string {
	return dialect.Wrap(completion.AnthropicState, c.Format+"-call", c.Signature)
}

// appendCallHead appends a tool call up to its input.
func appendCallHead(dst []byte, id, name string) []byte {
	dst = append(dst, `{"type":"tool_use","id":`...)
	dst = jsonscan.AppendText(dst, id)
	dst = append(dst, `,"name":`...)
	dst = jsonscan.AppendText(dst, name)
	return append(dst, `,"input":`...)
}

// start begins a block, which ends the one before.
func (e *Encoder) start(dst []byte, content string) []byte {
	dst = e.stop(dst)
	dst = e.startEnd(dst, "start")
	e.next++
	dst = append(dst, `,"content_block":`...)
	dst = append(dst, content...)
	return append(dst, "}\n\n"...)
}

// stop ends what is open, but for tool calls whose arguments are not whole.
func (e *Encoder) stop(dst []byte) []byte {
	if e.open != none {
		if e.open == thinkingBlock && !e.signed {
			dst = e.sign(dst, unsigned)
		}
		e.open = none
		e.next--
		dst = e.startEnd(dst, "stop")
		e.next++
		dst = append(dst, "}\n\n"...)
	}
	for i := range e.calls {
		if t := &e.calls[i]; t.open && jsonscan.Valid(t.arguments) {
			dst = e.stopCall(dst, t)
		}
	}
	return dst
}

func (e *Encoder) stopCall(dst []byte, t *call) []byte {
	t.open = false
	dst = append(dst, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":"...)
	dst = strconv.AppendInt(dst, int64(t.index), 10)
	return append(dst, "}\n\n"...)
}

// startEnd appends the event that begins or ends the next block, up to what it holds.
func (e *Encoder) startEnd(dst []byte, which string) []byte {
	dst = append(dst, "event: content_block_"...)
	dst = append(dst, which...)
	dst = append(dst, "\ndata: {\"type\":\"content_block_"...)
	dst = append(dst, which...)
	dst = append(dst, `","index":`...)
	return strconv.AppendInt(dst, int64(e.next), 10)
}

func (e *Encoder) deltaHead(dst []byte, index int) []byte {
	dst = append(dst, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":"...)
	dst = strconv.AppendInt(dst, int64(index), 10)
	return append(dst, `,"delta":`...)
}

func (e *Encoder) delta(dst []byte, index int, head, text string) []byte {
	dst = e.deltaHead(dst, index)
	dst = append(dst, head...)
	dst = jsonscan.AppendText(dst, text)
	return append(dst, "}}\n\n"...)
}

// AppendEnd implements dialect.Encoder.
func (e *Encoder) AppendEnd(dst []byte, f completion.Final) []byte {
	dst = e.begin(dst)
	dst = e.stop(dst)
	for i := range e.calls { // what a model broke off
		if e.calls[i].open {
			dst = e.stopCall(dst, &e.calls[i])
		}
	}
	dst = append(dst, "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{"...)
	dst = e.reason(dst, f)
	dst = append(dst, '}')
	dst = appendUsage(dst, f.Tokens)
	return append(dst, "}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"...)
}

// reason appends why the answer ended.
func (e *Encoder) reason(dst []byte, f completion.Final) []byte {
	reason := "end_turn"
	switch f.Finish {
	case completion.Length:
		reason = "max_tokens"
	case completion.ToolCalls:
		reason = "tool_use"
	case completion.ContentFilter:
		reason = "refusal"
	case completion.Stop:
		switch {
		case e.refused:
			reason = "refusal"
		case f.StopSequence != "":
			reason = "stop_sequence"
		}
	}
	dst = append(dst, `"stop_reason":"`...)
	dst = append(dst, reason...)
	dst = append(dst, `","stop_sequence":`...)
	if f.StopSequence == "" {
		return append(dst, "null"...)
	}
	return jsonscan.AppendText(dst, f.StopSequence)
}

// appendUsage appends the counts as Anthropic names them: cached tokens are not in input_tokens.
func appendUsage(dst []byte, t *usage.Tokens) []byte {
	if t == nil {
		t = &usage.Tokens{}
	}
	short, long := t.CacheWrite5m+t.CacheWrite30m, t.CacheWrite1h+t.CacheWrite12h
	for _, m := range [...]struct {
		before string
		n      int64
	}{
		{`,"usage":{"input_tokens":`, t.InputTotal - t.CacheRead - short - long},
		{`,"cache_creation_input_tokens":`, short + long},
		{`,"cache_read_input_tokens":`, t.CacheRead},
		{`,"cache_creation":{"ephemeral_5m_input_tokens":`, short},
		{`,"ephemeral_1h_input_tokens":`, long},
		{`},"output_tokens":`, t.OutputTotal},
		{`,"output_tokens_details":{"thinking_tokens":`, t.Reasoning},
	} {
		dst = append(dst, m.before...)
		dst = strconv.AppendInt(dst, m.n, 10)
	}
	return append(dst, "}}"...)
}

// AppendWhole implements dialect.Encoder.
func (e *Encoder) AppendWhole(dst []byte, c *completion.Chunk, f completion.Final) []byte {
	dst = e.head(dst)
	start := len(dst)
	next := func() {
		if len(dst) > start {
			dst = append(dst, ',')
		}
	}
	d := &c.Delta
	rest := dialect.InOrder(d, func(t *completion.Reasoning) {
		carried, redacted := carry(t, false)
		if carried == "" {
			return
		}
		next()
		if redacted {
			dst = append(dst, `{"type":"redacted_thinking","data":`...)
		} else {
			dst = append(dst, `{"type":"thinking","thinking":`...)
			dst = jsonscan.AppendText(dst, t.Text)
			dst = append(dst, `,"signature":`...)
		}
		dst = jsonscan.AppendText(dst, carried)
		dst = append(dst, '}')
	}, func(text string) {
		next()
		dst = appendTextBlock(dst, text, nil)
	})
	if text := rest + d.Refusal; text != "" {
		next()
		dst = appendTextBlock(dst, text, d.Citations)
	}
	for i := range d.ToolCalls {
		call := &d.ToolCalls[i]
		if call.Signature != "" {
			next()
			dst = append(dst, `{"type":"thinking","thinking":"","signature":`...)
			dst = jsonscan.AppendText(dst, wrapCall(call))
			dst = append(dst, '}')
		}
		next()
		dst = appendCallHead(dst, call.ID, call.Name)
		dst = appendInput(dst, call.Arguments)
		dst = append(dst, '}')
	}
	e.refused = d.Refusal != ""
	dst = append(dst, "],"...)
	dst = e.reason(dst, f)
	dst = appendUsage(dst, f.Tokens)
	return append(dst, '}')
}

func appendTextBlock(dst []byte, text string, citations []completion.Citation) []byte {
	dst = append(dst, `{"type":"text","text":`...)
	dst = jsonscan.AppendText(dst, text)
	for i := range citations {
		if i == 0 {
			dst = append(dst, `,"citations":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = appendCitation(dst, &citations[i])
	}
	if len(citations) > 0 {
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// appendInput appends arguments as an object. What a model wrote that is none is kept in one, as text.
func appendInput(dst []byte, arguments string) []byte {
	input := []byte(arguments)
	switch {
	case len(input) == 0:
		return append(dst, "{}"...)
	case jsonscan.KindOf(input) == jsonscan.ObjectKind && jsonscan.Valid(input):
		return append(dst, input...)
	}
	dst = append(dst, `{"invalid_arguments":`...)
	dst = jsonscan.AppendText(dst, arguments)
	return append(dst, '}')
}

// CountEncoder writes a count of tokens.
type CountEncoder struct{}

var _ dialect.Encoder = CountEncoder{}

// AppendChunk implements dialect.Encoder: a count is never streamed.
func (CountEncoder) AppendChunk(dst []byte, _ *completion.Chunk) []byte { return dst }

// AppendEnd implements dialect.Encoder.
func (CountEncoder) AppendEnd(dst []byte, _ completion.Final) []byte { return dst }

// AppendWhole implements dialect.Encoder.
func (CountEncoder) AppendWhole(dst []byte, c *completion.Chunk, _ completion.Final) []byte {
	var n int64
	if c.Result != nil {
		n = c.Result.Count
	}
	dst = append(dst, `{"input_tokens":`...)
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, '}')
}

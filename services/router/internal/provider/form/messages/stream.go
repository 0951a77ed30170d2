package messages

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/sse"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// format reads one answer.
type format struct {
	key   secret.Text
	id    string // of the call, as the provider names it
	model string
	usage counts
	// tools counts the tool calls so far; inTool says that the current block is one, and hasInput
	// that something of its input came.
	tools            int
	inTool, hasInput bool
}

var _ provider.Format = (*format)(nil)

// Finished is false: an end without message_stop is broken.
func (f *format) Finished() bool { return false }

// Model is what the provider called the model so far.
func (f *format) Model() string { return f.model }

// The events by their names.
const (
	eventStart      = "message_start"
	eventBlockStart = "content_block_start"
	eventBlockDelta = "content_block_delta"
	eventBlockStop  = "content_block_stop"
	eventDelta      = "message_delta"
	eventStop       = "message_stop"
	eventPing       = "ping"
	eventError      = "error"
)

// kind is an event's name. Its data repeats it as the type, which counts where the name is missing.
func kind(e sse.Event) []byte {
	if len(e.Name) > 0 {
		return e.Name
	}
	if v := jsonscan.Get(e.Data, "type"); jsonscan.TextLen(v) > 0 {
		return v[1 : len(v)-1]
	}
	return nil
}

// contentNames are what content deltas hold.
var contentNames = [][]byte{[]byte(`"text":"`), []byte(`"partial_json":"`), []byte(`"thinking":"`)}

// contentSize is the size of a delta's content, found without decoding it, or 0 if that was not enough.
func contentSize(data []byte) int {
	for _, name := range contentNames {
		if i := bytes.Index(data, name); i >= 0 {
			return jsonscan.TextEnd(data[i+len(name)-1:]) - 2
		}
	}
	return 0
}

// Look reads an event that passes. Those that hold content only are not decoded.
func (f *format) Look(e sse.Event, chunk *completion.Chunk) (provider.Seen, error) {
	switch name := kind(e); string(name) {
	case eventBlockDelta:
		if size := contentSize(e.Data); size > 0 {
			piece(chunk, size)
			return provider.Silent, nil
		}
		fallthrough
	case eventBlockStart, eventStart, eventDelta, eventError, eventStop:
		seen, err := f.Decode(e, chunk)
		chunk.Delta = completion.Delta{}
		return seen, err
	case eventPing, eventBlockStop:
		return provider.Silent, nil
	}
	return f.other(e)
}

// other accepts events of kinds that are not known, as long as they are events at all.
func (f *format) other(e sse.Event) (provider.Seen, error) {
	if kind(e) == nil {
		return provider.Silent, f.nonsense("the provider sent an event without a type")
	}
	return provider.Silent, nil
}

func piece(chunk *completion.Chunk, size int) {
	chunk.Content = true
	chunk.Pieces++
	chunk.PieceBytes += size
}

// Decode reads an event of a call that is converted.
func (f *format) Decode(e sse.Event, chunk *completion.Chunk) (provider.Seen, error) {
	switch string(kind(e)) {
	case eventStart:
		f.start(jsonscan.Get(e.Data, "message"), chunk)
	case eventBlockStart:
		f.blockStart(jsonscan.Get(e.Data, "content_block"), chunk)
	case eventBlockDelta:
		f.blockDelta(jsonscan.Get(e.Data, "delta"), chunk)
	case eventBlockStop:
		f.blockStop(chunk)
	case eventDelta:
		f.delta(e.Data, chunk)
	case eventStop:
		return provider.Last, nil
	case eventError:
		return provider.Silent, f.failure(e.Data)
	case eventPing:
		return provider.Silent, nil
	default:
		return f.other(e)
	}
	if chunk.Content || chunk.Finish != "" || chunk.Usage != nil || !chunk.Delta.Empty() {
		return provider.Told, nil
	}
	return provider.Silent, nil
}

func (f *format) start(message []byte, chunk *completion.Chunk) {
	name, _ := jsonscan.Text(jsonscan.Get(message, "model"))
	f.model = provider.Bounded(name, 256)
	if v := jsonscan.Get(message, "usage"); jsonscan.Given(v) {
		f.usage.read(v)
		chunk.Usage = f.usage.neutral(false)
	}
}

func (f *format) blockStart(block []byte, chunk *completion.Chunk) {
	f.inTool = false
	switch name, _ := jsonscan.Text(jsonscan.Get(block, "type")); name {
	case "tool_use":
		call := completion.ToolCallDelta{Index: f.tools}
		call.ID, _ = jsonscan.Text(jsonscan.Get(block, "id"))
		call.Name, _ = jsonscan.Text(jsonscan.Get(block, "name"))
		f.tools++
		f.inTool, f.hasInput = true, false
		chunk.Content = true // not a piece: what the call takes comes with its input
		chunk.PieceBytes += len(call.Name)
		chunk.Delta.ToolCalls = []completion.ToolCallDelta{call}
	case "text":
		f.text(jsonscan.Get(block, "text"), &chunk.Delta.Text, chunk)
	case "thinking":
		f.text(jsonscan.Get(block, "thinking"), &chunk.Delta.Reasoning, chunk)
	case "redacted_thinking": // no content yet: an answer that breaks off here can still come from elsewhere
		if data, _ := jsonscan.Text(jsonscan.Get(block, "data")); data != "" {
			chunk.Delta.State = &completion.Reasoning{Encrypted: data, Format: completion.AnthropicState}
		}
	}
}

func (f *format) text(v []byte, into *string, chunk *completion.Chunk) {
	if size := jsonscan.TextLen(v); size > 0 {
		*into, _ = jsonscan.Text(v)
		piece(chunk, size)
	}
}

func (f *format) blockDelta(delta []byte, chunk *completion.Chunk) {
	m := jsonscan.Object(delta)
	for m.Next() {
		switch string(m.Name) {
		case "text":
			f.text(m.Value, &chunk.Delta.Text, chunk)
		case "thinking":
			f.text(m.Value, &chunk.Delta.Reasoning, chunk)
		case "signature":
			if signature, _ := jsonscan.Text(m.Value); signature != "" {
				chunk.Delta.State = &completion.Reasoning{Signature: signature, Format: completion.AnthropicState}
			}
		case "citation":
			chunk.Delta.Citations = cite(chunk.Delta.Citations, m.Value)
		case "partial_json":
			var arguments string
			if f.text(m.Value, &arguments, chunk); arguments != "" && f.inTool {
				f.hasInput = true
				chunk.Delta.ToolCalls = []completion.ToolCallDelta{{Index: f.tools - 1, Arguments: arguments}}
			}
		}
	}
}

// cite adds a source that has an address.
func cite(to []completion.Citation, citation []byte) []completion.Citation {
	url, _ := jsonscan.Text(jsonscan.Get(citation, "url"))
	if url == "" {
		return to
	}
	title, _ := jsonscan.Text(jsonscan.Get(citation, "title"))
	return append(to, completion.Citation{URL: url, Title: title})
}

// blockStop gives a tool call that took no arguments its empty ones.
func (f *format) blockStop(chunk *completion.Chunk) {
	if f.inTool && !f.hasInput {
		chunk.Content = true
		chunk.Delta.ToolCalls = []completion.ToolCallDelta{{Index: f.tools - 1, Arguments: "{}"}}
	}
	f.inTool = false
}

func (f *format) delta(data []byte, chunk *completion.Chunk) {
	if reason, ok := jsonscan.Text(jsonscan.Get(data, "delta", "stop_reason")); ok {
		chunk.Finish = finishReason(reason)
	}
	chunk.StopSequence, _ = jsonscan.Text(jsonscan.Get(data, "delta", "stop_sequence"))
	if v := jsonscan.Get(data, "usage"); jsonscan.Given(v) {
		told := f.usage.read(v) // else the output is what it was before the content
		chunk.Usage = f.usage.neutral(told)
	}
}

func finishReason(reason string) completion.FinishReason {
	switch reason {
	case "max_tokens", "model_context_window_exceeded":
		return completion.Length
	case "tool_use":
		return completion.ToolCalls
	case "refusal":
		return completion.ContentFilter
	}
	return completion.Stop
}

// failure is an error that came after status 200.
func (f *format) failure(data []byte) error {
	failure := &completion.ProviderError{Status: http.StatusOK, RequestID: f.id}
	readEnvelope(failure, data, f.key)
	if f.id != "" {
		failure.RequestID = f.id
	}
	if failure.Message == "" {
		failure.Message = "the provider reports an error without a message"
	}
	failure.Class = classify(failure)
	failure.Sent = true
	return failure
}

func (f *format) nonsense(message string) error {
	return &completion.ProviderError{
		Class: completion.ServerError, Status: http.StatusOK, RequestID: f.id, Message: message, Sent: true,
	}
}

// whole reads an answer that is not streamed.
func (f *format) whole(body []byte, raw bool) (completion.Chunk, string, error) {
	name, _ := jsonscan.Text(jsonscan.Get(body, "type"))
	if name == "error" || jsonscan.Given(jsonscan.Get(body, "error")) {
		return completion.Chunk{}, "", f.failure(body)
	}
	content := jsonscan.Get(body, "content")
	if name != "message" || jsonscan.KindOf(content) != jsonscan.ArrayKind {
		return completion.Chunk{}, "", f.nonsense("the provider answered something that is not a message")
	}
	var chunk completion.Chunk
	blocks := jsonscan.Array(content)
	var t thoughts
	for blocks.Next() {
		f.block(blocks.Value, &chunk, &t)
	}
	t.into(&chunk.Delta)
	chunk.StopSequence, _ = jsonscan.Text(jsonscan.Get(body, "stop_sequence"))
	if reason, ok := jsonscan.Text(jsonscan.Get(body, "stop_reason")); ok {
		chunk.Finish = finishReason(reason)
	}
	if v := jsonscan.Get(body, "usage"); jsonscan.Given(v) {
		f.usage.read(v)
		chunk.Usage = f.usage.neutral(true)
	}
	if raw {
		chunk.Raw, chunk.Delta = body, completion.Delta{}
	}
	model, _ := jsonscan.Text(jsonscan.Get(body, "model"))
	return chunk, provider.Bounded(model, 256), nil
}

// block adds a block of a whole answer.
func (f *format) block(block []byte, chunk *completion.Chunk, t *thoughts) {
	text := func(name string) string {
		v := jsonscan.Get(block, name)
		s, _ := jsonscan.Text(v)
		chunk.PieceBytes += jsonscan.TextLen(v)
		return s
	}
	switch name, _ := jsonscan.Text(jsonscan.Get(block, "type")); name {
	case "text":
		chunk.Delta.Text += text("text")
		citations := jsonscan.Array(jsonscan.Get(block, "citations"))
		for citations.Next() {
			chunk.Delta.Citations = cite(chunk.Delta.Citations, citations.Value)
		}
	case "thinking":
		t.think(text("thinking"), len(chunk.Delta.Text))
		signature, _ := jsonscan.Text(jsonscan.Get(block, "signature"))
		t.end(completion.Reasoning{Signature: signature, Format: completion.AnthropicState}, len(chunk.Delta.Text))
	case "redacted_thinking":
		data, _ := jsonscan.Text(jsonscan.Get(block, "data"))
		t.end(completion.Reasoning{Encrypted: data, Format: completion.AnthropicState}, len(chunk.Delta.Text))
	case "tool_use":
		call := completion.ToolCallDelta{Index: len(chunk.Delta.ToolCalls), Arguments: "{}"}
		call.ID, _ = jsonscan.Text(jsonscan.Get(block, "id"))
		call.Name, _ = jsonscan.Text(jsonscan.Get(block, "name"))
		if input := jsonscan.Get(block, "input"); jsonscan.Given(input) {
			call.Arguments = string(input)
		}
		chunk.PieceBytes += len(call.Name) + len(call.Arguments)
		chunk.Delta.ToolCalls = append(chunk.Delta.ToolCalls, call)
	}
}

// thoughts put the blocks of reasoning of one answer together.
type thoughts struct {
	text   strings.Builder // of the block that has not ended
	began  int             // where it began, in the answer's text
	blocks []completion.Reasoning
	at     []int // where they began
}

// think adds to the block that has not ended.
func (t *thoughts) think(text string, at int) {
	if t.text.Len() == 0 {
		t.began = at
	}
	t.text.WriteString(text)
}

// end ends a block with its state, or is one by itself, after so much of the answer's text.
func (t *thoughts) end(state completion.Reasoning, at int) {
	if t.text.Len() > 0 {
		at = t.began
	}
	state.Text = t.text.String()
	t.text.Reset()
	if state.Signature == "" && state.Encrypted == "" {
		state.Format = ""
	}
	if state != (completion.Reasoning{}) {
		t.blocks, t.at = append(t.blocks, state), append(t.at, at)
	}
}

// into gives the blocks to an answer in one piece.
func (t *thoughts) into(d *completion.Delta) {
	t.end(completion.Reasoning{}, len(d.Text))
	if len(t.blocks) == 1 && t.at[0] == 0 {
		only := t.blocks[0]
		d.Reasoning, only.Text = only.Text, ""
		if only.Format != "" {
			d.State = &only
		}
		return
	}
	for i, b := range t.blocks {
		d.Reasoning += b.Text
		d.ThinkAt(b, t.at[i])
	}
}

// maxTokens bounds a count: what is larger is a mistake and not used.
const maxTokens = 1 << 40

// counts are a usage object. Each one that comes is the whole so far: it replaces, and what it does
// not name stays. What cannot be is -1 until it is told again.
type counts struct {
	input, cacheRead, cacheWrite, write5m, write1h, output, reasoning int64
	hasInput, hasOutput, split                                        bool
}

// read takes over what an object says, and reports whether it names the output.
func (c *counts) read(v []byte) (output bool) {
	number := func(v []byte, into *int64) bool {
		if !jsonscan.Given(v) {
			return false
		}
		n, ok := jsonscan.Int(v)
		if !ok || n < 0 || n > maxTokens {
			n = -1
		}
		*into = n
		return true
	}
	m := jsonscan.Object(v)
	for m.Next() {
		switch string(m.Name) {
		case "input_tokens":
			c.hasInput = number(m.Value, &c.input) || c.hasInput
		case "cache_read_input_tokens":
			number(m.Value, &c.cacheRead)
		case "cache_creation_input_tokens":
			number(m.Value, &c.cacheWrite)
		case "output_tokens":
			output = number(m.Value, &c.output)
			c.hasOutput = c.hasOutput || output
		case "cache_creation":
			if jsonscan.KindOf(m.Value) != jsonscan.ObjectKind {
				continue
			}
			c.split = true
			number(jsonscan.Get(m.Value, "ephemeral_5m_input_tokens"), &c.write5m)
			number(jsonscan.Get(m.Value, "ephemeral_1h_input_tokens"), &c.write1h)
		case "output_tokens_details":
			number(jsonscan.Get(m.Value, "thinking_tokens"), &c.reasoning)
		}
	}
	return output
}

// neutral is the usage in our classes, or nil if its totals were not told or its numbers cannot be. Cached
// tokens are not in input_tokens here. Writes whose lifetime is not told last five minutes, the default.
func (c *counts) neutral(final bool) *completion.Usage {
	t := usage.Tokens{
		InputUncached: c.input, CacheRead: c.cacheRead, CacheWrite5m: c.write5m, CacheWrite1h: c.write1h,
		OutputTotal: c.output, Reasoning: min(c.reasoning, c.output),
	}
	if !c.split {
		t.CacheWrite5m = c.cacheWrite
	}
	if !c.hasInput || !c.hasOutput || min(t.InputUncached, t.CacheRead, t.CacheWrite5m, t.CacheWrite1h, t.OutputTotal, t.Reasoning) < 0 {
		return nil
	}
	t.InputTotal = t.InputUncached + t.CacheRead + t.CacheWrite5m + t.CacheWrite1h
	return &completion.Usage{Tokens: t, Final: final}
}

// assembled is a streamed answer in one piece, for a caller who does not stream.
type assembled struct {
	completion.Answer
	now      func() time.Time
	whole    completion.Chunk
	text     bytes.Buffer
	thoughts thoughts
	ended    error
}

// signOfLife is how often an answer that is being put together says that it still comes.
const signOfLife = 5 * time.Second

// Next returns the whole answer, once. Before it come now and then chunks without content: what they
// count is not counted again, and keeps the count of an answer that breaks off.
func (a *assembled) Next() (completion.Chunk, error) {
	if a.ended != nil {
		return completion.Chunk{}, a.ended
	}
	begun := a.now()
	for {
		chunk, err := a.Answer.Next()
		if err != nil {
			a.ended = err
			break
		}
		a.add(&chunk)
		if a.now().Sub(begun) >= signOfLife {
			return a.count(), nil
		}
	}
	if !errors.Is(a.ended, io.EOF) {
		return a.count(), nil
	}
	a.whole.Content = true
	a.whole.Delta.Text = a.text.String()
	a.thoughts.into(&a.whole.Delta)
	return a.whole, nil
}

func (a *assembled) add(c *completion.Chunk) {
	w := &a.whole
	a.text.WriteString(c.Delta.Text)
	a.thoughts.think(c.Delta.Reasoning, a.text.Len())
	if c.Delta.State != nil {
		a.thoughts.end(*c.Delta.State, a.text.Len())
	}
	w.Delta.Citations = append(w.Delta.Citations, c.Delta.Citations...)
	w.Pieces += c.Pieces
	w.PieceBytes += c.PieceBytes
	for _, t := range c.Delta.ToolCalls {
		if t.Index >= len(w.Delta.ToolCalls) {
			w.Delta.ToolCalls = append(w.Delta.ToolCalls, completion.ToolCallDelta{Index: t.Index, ID: t.ID, Name: t.Name})
		}
		w.Delta.ToolCalls[t.Index].Arguments += t.Arguments
	}
	if c.Finish != "" {
		w.Finish, w.StopSequence = c.Finish, c.StopSequence
	}
	if c.Usage != nil {
		w.Usage = c.Usage
	}
}

// count returns what has been counted since the last time, without content.
func (a *assembled) count() completion.Chunk {
	c := completion.Chunk{Usage: a.whole.Usage, Pieces: a.whole.Pieces, PieceBytes: a.whole.PieceBytes}
	a.whole.Pieces, a.whole.PieceBytes = 0, 0
	return c
}

package bedrock

import (
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// mediaStream is what streams say that they are.
const mediaStream = "application/vnd.amazon.eventstream"

// stream is a streamed answer of Converse, converted.
type stream struct {
	res    *provider.Response
	frames *frames
	reader
	account account
	// ended is what the next call of Next returns; finished that the message came to its end.
	ended    error
	finished bool
}

var _ completion.Answer = (*stream)(nil)

// reader converts the pieces of an answer.
type reader struct {
	model model
	names names
	// blocks are the numbers of the blocks that are tool calls; hasInput says of the last that something
	// of its input came.
	blocks   []int64
	hasInput bool
	// state is that of the block of reasoning so far; it may come in pieces.
	state completion.Reasoning
}

// isStream is the error of an answer that is no event stream, nil if it is one.
func isStream(res *provider.Response) error {
	if strings.HasPrefix(res.Header.Get("Content-Type"), mediaStream) {
		return nil
	}
	_ = res.Body.Close()
	return res.Failed("the provider did not stream its answer")
}

// Head says what the provider named so far. It never names the model.
func (s *stream) Head() completion.AnswerHead {
	return completion.AnswerHead{Status: s.res.StatusCode, RequestID: s.res.RequestID(), Model: s.model.id}
}

// Close gives the connection back, or cuts it if the answer has not come to its end.
func (s *stream) Close() error { return s.res.Body.Close() }

// Next returns what the next frame says. A frame that says nothing for the caller is an empty chunk: the
// provider is alive, and whoever watches for its silence has to know.
func (s *stream) Next() (completion.Chunk, error) {
	if s.ended != nil {
		return completion.Chunk{}, s.ended
	}
	f, err := s.frames.next()
	switch {
	case errors.Is(err, io.EOF) && s.finished:
		s.ended = io.EOF
	case errors.Is(err, io.EOF):
		s.ended = s.res.Failed("the provider ended its stream before the answer was finished")
	case errors.Is(err, errFrame):
		s.ended = s.res.Failed("the provider sent a damaged frame")
	case err != nil:
		s.ended = s.res.Broken(err)
	case f.Message != "event":
		s.ended = s.account.failedInStream(f, s.res.RequestID())
	}
	if s.ended != nil {
		return completion.Chunk{}, s.ended
	}
	var chunk completion.Chunk
	if jsonscan.KindOf(f.Payload) != jsonscan.ObjectKind || !jsonscan.Valid(f.Payload) {
		s.ended = s.res.Failed("the provider sent an event that is not JSON")
		return chunk, s.ended
	}
	switch f.Name {
	case "contentBlockStart":
		s.start(f.Payload, &chunk)
	case "contentBlockDelta":
		s.delta(f.Payload, &chunk)
	case "contentBlockStop":
		s.stop(f.Payload, &chunk)
	case "messageStop":
		s.finished = true
		s.endThought(&chunk)
		reason, _ := jsonscan.Text(jsonscan.Get(f.Payload, "stopReason"))
		chunk.Finish = finishReason(reason)
	case "metadata": // one that holds no usage takes nothing back
		chunk.Usage = counted(jsonscan.Get(f.Payload, "usage"))
	}
	return chunk, nil
}

// start begins a tool call. Blocks of text and reasoning begin with their first piece.
func (r *reader) start(payload []byte, chunk *completion.Chunk) {
	tool := jsonscan.Get(payload, "start", "toolUse")
	if jsonscan.KindOf(tool) != jsonscan.ObjectKind {
		return
	}
	index, _ := jsonscan.Int(jsonscan.Get(payload, "contentBlockIndex"))
	call := r.call(tool, len(r.blocks))
	r.blocks = append(r.blocks, index)
	r.hasInput = false
	chunk.Content = true // not a piece: what the call takes comes with its input
	chunk.PieceBytes += len(call.Name)
	chunk.Delta.ToolCalls = []completion.ToolCallDelta{call}
}

// call reads id and name of a tool call.
func (r *reader) call(tool []byte, index int) completion.ToolCallDelta {
	call := completion.ToolCallDelta{Index: index}
	call.ID, _ = jsonscan.Text(jsonscan.Get(tool, "toolUseId"))
	call.Name, _ = jsonscan.Text(jsonscan.Get(tool, "name"))
	call.Name = r.names.own(call.Name)
	return call
}

// tool finds the tool call of a block, -1 if it is none.
func (r *reader) tool(payload []byte) int {
	index, _ := jsonscan.Int(jsonscan.Get(payload, "contentBlockIndex"))
	for i, block := range slices.Backward(r.blocks) {
		if block == index {
			return i
		}
	}
	return -1
}

func (r *reader) delta(payload []byte, chunk *completion.Chunk) {
	m := jsonscan.Object(jsonscan.Get(payload, "delta"))
	for m.Next() {
		switch string(m.Name) {
		case "text":
			piece(m.Value, &chunk.Delta.Text, chunk)
		case "toolUse":
			var arguments string
			piece(jsonscan.Get(m.Value, "input"), &arguments, chunk)
			if tool := r.tool(payload); tool >= 0 && arguments != "" {
				r.hasInput = true
				chunk.Delta.ToolCalls = []completion.ToolCallDelta{{Index: tool, Arguments: arguments}}
			}
		case "reasoningContent":
			r.reasoning(m.Value, chunk)
		case "citation":
			cite(m.Value, chunk)
		}
	}
}

// reasoning reads a piece of thinking, or the state that ends it.
func (r *reader) reasoning(v []byte, chunk *completion.Chunk) {
	m := jsonscan.Object(v)
	for m.Next() {
		switch string(m.Name) {
		case "text":
			piece(m.Value, &chunk.Delta.Reasoning, chunk)
		case "signature", "redactedContent":
			text, _ := jsonscan.Text(m.Value)
			if string(m.Name) == "signature" {
				r.state.Signature += text
			} else {
				r.state.Encrypted += text
			}
			chunk.Content = chunk.Content || text != ""
		}
	}
}

// endThought tells the state of a block of reasoning that is over.
func (r *reader) endThought(chunk *completion.Chunk) {
	if r.state == (completion.Reasoning{}) {
		return
	}
	state := r.state
	state.Format = r.model.state()
	r.state = completion.Reasoning{}
	chunk.Content = true
	chunk.Delta.State = &state
}

// stop ends a block: its reasoning has a state, and a tool call that took no arguments gets its empty ones.
func (r *reader) stop(payload []byte, chunk *completion.Chunk) {
	r.endThought(chunk)
	tool := r.tool(payload)
	if tool >= 0 && tool == len(r.blocks)-1 && !r.hasInput {
		r.hasInput = true
		chunk.Content = true
		chunk.Delta.ToolCalls = []completion.ToolCallDelta{{Index: tool, Arguments: "{}"}}
	}
}

// piece reads a text that is content.
func piece(v []byte, into *string, chunk *completion.Chunk) {
	if size := jsonscan.TextLen(v); size > 0 {
		*into, _ = jsonscan.Text(v)
		chunk.Content = true
		chunk.Pieces++
		chunk.PieceBytes += size
	}
}

// cite reads a source. Those without an address are documents of the request.
func cite(v []byte, chunk *completion.Chunk) {
	var c completion.Citation
	c.Title, _ = jsonscan.Text(jsonscan.Get(v, "title"))
	c.URL, _ = jsonscan.Text(jsonscan.Get(v, "location", "web", "url"))
	if c.Title != "" || c.URL != "" {
		chunk.Content = true
		chunk.Delta.Citations = append(chunk.Delta.Citations, c)
	}
}

// finishReason is the end in OpenAI's words.
func finishReason(reason string) completion.FinishReason {
	switch reason {
	case "max_tokens", "model_context_window_exceeded":
		return completion.Length
	case "tool_use":
		return completion.ToolCalls
	case "guardrail_intervened", "content_filtered":
		return completion.ContentFilter
	}
	return completion.Stop
}

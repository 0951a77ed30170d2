package gemini

import (
	"bytes"
	"encoding/base64"
	"strconv"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/sse"
)

// format reads one answer.
type format struct {
	key   secret.Text
	seed  string // of ids of tool calls
	model string
	id    string // of the answer, as the provider names it
	// tools counts the tool calls so far; begun says that content came, finished that a reason to finish did.
	tools           int
	begun, finished bool
	// failed is the failure that a reason to finish is.
	failed error
	// mayGoOn says that an answer that is longer than one request gives may be continued, token then where.
	mayGoOn bool
	token   string
	// pictures are kept where they are asked for.
	pictures *[]completion.Picture
}

var _ provider.Format = (*format)(nil)

// Finished reports whether a reason to finish came: there is no other mark of the end.
func (f *format) Finished() bool { return f.finished && f.failed == nil }

// Model is what the provider called the model so far.
func (f *format) Model() string { return f.model }

// Look is not used: no caller speaks this form.
func (f *format) Look(e sse.Event, chunk *completion.Chunk) (provider.Seen, error) {
	seen, err := f.Decode(e, chunk)
	chunk.Delta = completion.Delta{}
	return seen, err
}

// Decode reads an event: a whole response object that holds what is new.
func (f *format) Decode(e sse.Event, chunk *completion.Chunk) (provider.Seen, error) {
	if err := f.errorIn(e.Data); err != nil {
		return provider.Silent, err
	}
	if jsonscan.KindOf(e.Data) != jsonscan.ObjectKind || !f.read(e.Data, chunk) {
		return provider.Silent, f.nonsense("the provider sent an event that is not an answer")
	}
	if chunk.Content || chunk.Delta.State != nil || chunk.Finish != "" || chunk.Usage != nil {
		return provider.Told, nil
	}
	return provider.Silent, nil
}

var keyError = []byte(`"error"`)

// errorIn is the error that an event or body is, if it is one.
func (f *format) errorIn(data []byte) error {
	if !bytes.Contains(data, keyError) || !jsonscan.Given(jsonscan.Get(envelope(data), "error")) {
		return nil
	}
	failure := eventError(data, f.key)
	failure.RequestID = f.id
	return failure
}

func (f *format) nonsense(message string) *completion.ProviderError {
	return &completion.ProviderError{Class: completion.ServerError, Status: 200, RequestID: f.id, Message: message, Sent: true}
}

// read takes over what a response object says. It is false if that is not JSON.
func (f *format) read(data []byte, chunk *completion.Chunk) bool {
	m := jsonscan.Object(data)
	whole := false // the usage tells all
	for m.Next() {
		switch string(m.Name) {
		case "candidates":
			list := jsonscan.Array(m.Value)
			for first := true; list.Next() && first; first = false { // more are never asked for
				f.candidate(list.Value, chunk)
			}
		case "promptFeedback":
			f.feedback(m.Value, chunk)
		case "usageMetadata":
			chunk.Usage, whole = readUsage(m.Value)
		case "modelVersion":
			f.name(m.Value, &f.model)
		case "responseId":
			f.name(m.Value, &f.id)
		}
	}
	f.begun = f.begun || chunk.Content
	if chunk.Usage != nil { // a running total, until the end; no output is left out, and so may be one that was forgotten
		chunk.Usage.Final = f.finished && whole && (chunk.Usage.Tokens.OutputTotal > 0 || !f.begun)
	}
	return m.Err() == nil
}

// name takes a name over the first time it comes.
func (f *format) name(v []byte, into *string) {
	if *into == "" && jsonscan.TextLen(v) > 0 {
		text, _ := jsonscan.Text(v)
		*into = provider.Bounded(text, 256)
	}
}

func (f *format) candidate(data []byte, chunk *completion.Chunk) {
	m := jsonscan.Object(data)
	var reason, message, token []byte
	for m.Next() {
		switch string(m.Name) {
		case "content":
			f.content(m.Value, chunk)
		case "finishReason":
			reason = m.Value
		case "finishMessage":
			message = m.Value
		case "continuationToken":
			token = m.Value
		case "logprobsResult":
			chunk.Delta.Logprobs = readLogprobs(m.Value)
		case "citationMetadata":
			chunk.Delta.Citations = readCitations(m.Value)
		}
	}
	if string(reason) == `"CONTINUATION"` && f.mayGoOn && jsonscan.TextLen(token) > 0 {
		f.finished = true // as far as this request goes
		f.token, _ = jsonscan.Text(token)
		return
	}
	if jsonscan.TextLen(reason) > 0 {
		f.finish(string(reason[1:len(reason)-1]), message, chunk)
	}
}

// finish takes over why the answer ended.
func (f *format) finish(reason string, message []byte, chunk *completion.Chunk) {
	f.finished = true
	switch reason {
	case "FINISH_REASON_UNSPECIFIED":
		f.finished = false
	case "STOP":
		chunk.Finish = completion.Stop
		if f.tools > 0 {
			chunk.Finish = completion.ToolCalls
		}
	case "MAX_TOKENS", "CONTINUATION": // what cannot be continued is cut there
		chunk.Finish = completion.Length
	case "SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "RECITATION", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION",
		"MODEL_ARMOR":
		chunk.Finish = completion.ContentFilter
	case "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE":
		failure := f.nonsense("the model could not finish its answer (" + reason + ")")
		if said := provider.Words(message, f.key, 512); said != "" {
			failure.Message += ": " + said
		}
		f.failed = failure
	default:
		chunk.Finish = completion.Stop
		if f.tools > 0 {
			chunk.Finish = completion.ToolCalls
		}
	}
}

// feedback reads why a prompt was blocked; then there are no candidates.
func (f *format) feedback(data []byte, chunk *completion.Chunk) {
	if jsonscan.KindOf(data) != jsonscan.ObjectKind {
		return
	}
	m := jsonscan.Object(data)
	for m.Next() {
		switch string(m.Name) {
		case "blockReason":
			if reason, _ := jsonscan.Text(m.Value); reason != "" && reason != "BLOCKED_REASON_UNSPECIFIED" && reason != "BLOCK_REASON_UNSPECIFIED" {
				f.finished = true
				chunk.Finish = completion.ContentFilter
			}
		case "blockReasonMessage":
			if said := provider.Words(m.Value, f.key, 0); said != "" {
				chunk.Delta.Refusal = said
				piece(chunk, len(said))
			}
		}
	}
}

func piece(chunk *completion.Chunk, size int) {
	chunk.Content = true
	chunk.Pieces = 1 // one for each event
	chunk.PieceBytes += size
}

func (f *format) content(data []byte, chunk *completion.Chunk) {
	if jsonscan.KindOf(data) != jsonscan.ObjectKind {
		return
	}
	m := jsonscan.Object(data)
	for m.Next() {
		if string(m.Name) != "parts" || jsonscan.KindOf(m.Value) != jsonscan.ArrayKind {
			continue
		}
		parts := jsonscan.Array(m.Value)
		for parts.Next() {
			if jsonscan.KindOf(parts.Value) == jsonscan.ObjectKind {
				f.part(parts.Value, chunk)
			}
		}
	}
}

func (f *format) part(data []byte, chunk *completion.Chunk) {
	var text, signature, call, blob []byte
	thought := false
	m := jsonscan.Object(data)
	for m.Next() {
		switch string(m.Name) {
		case "text":
			text = m.Value
		case "thought":
			thought, _ = jsonscan.True(m.Value)
		case "thoughtSignature":
			signature = m.Value
		case "functionCall":
			call = m.Value
		case "inlineData":
			blob = m.Value
		}
	}
	if size := jsonscan.TextLen(text); size > 0 {
		said, _ := jsonscan.Text(text)
		piece(chunk, size)
		if thought {
			chunk.Delta.Reasoning += said
		} else {
			chunk.Delta.Text += said
		}
	}
	if jsonscan.KindOf(call) == jsonscan.ObjectKind {
		f.call(call, signature, chunk)
		return
	}
	if jsonscan.KindOf(blob) == jsonscan.ObjectKind && f.pictures != nil && !thought {
		f.picture(blob, chunk)
	}
	if jsonscan.TextLen(signature) > 0 {
		f.state(signature, chunk)
	}
}

// state keeps the signature of a text, or of thinking. Of several in one answer all are kept, in order.
func (f *format) state(signature []byte, chunk *completion.Chunk) {
	state := completion.Reasoning{Format: completion.GoogleState}
	state.Signature, _ = jsonscan.Text(signature)
	if chunk.Delta.State != nil {
		chunk.Delta.Thoughts = append(chunk.Delta.Thoughts, *chunk.Delta.State)
	}
	chunk.Delta.State = &state
}

// call takes over a tool call, which comes whole. Its id is often missing.
func (f *format) call(data, signature []byte, chunk *completion.Chunk) {
	call := completion.ToolCallDelta{Index: f.tools, Arguments: "{}"}
	m := jsonscan.Object(data)
	for m.Next() {
		switch string(m.Name) {
		case "id":
			call.ID, _ = jsonscan.Text(m.Value)
		case "name":
			call.Name, _ = jsonscan.Text(m.Value)
		case "args":
			if jsonscan.KindOf(m.Value) == jsonscan.ObjectKind {
				call.Arguments = compact(m.Value)
			}
		}
	}
	if call.ID == "" {
		call.ID = f.seed + strconv.Itoa(f.tools)
	}
	if jsonscan.TextLen(signature) > 0 {
		call.Signature, _ = jsonscan.Text(signature)
		call.Format = completion.GoogleState
	}
	f.tools++
	piece(chunk, len(call.Name)+len(call.Arguments))
	chunk.Delta.ToolCalls = append(chunk.Delta.ToolCalls, call)
}

func (f *format) picture(data []byte, chunk *completion.Chunk) {
	var p completion.Picture
	m := jsonscan.Object(data)
	for m.Next() {
		switch string(m.Name) {
		case "mimeType":
			p.MediaType, _ = jsonscan.Text(m.Value)
			p.MediaType = provider.Bounded(p.MediaType, 64)
		case "data":
			text, _ := jsonscan.Text(m.Value)
			p.Data, _ = base64.StdEncoding.DecodeString(text)
		}
	}
	if len(p.Data) > 0 {
		*f.pictures = append(*f.pictures, p)
		piece(chunk, len(p.Data))
	}
}

// whole reads an answer that is not streamed.
func (f *format) whole(body []byte) (completion.Chunk, string, error) {
	if err := f.errorIn(body); err != nil {
		return completion.Chunk{}, "", err
	}
	var chunk completion.Chunk
	if jsonscan.KindOf(body) != jsonscan.ObjectKind || !f.read(body, &chunk) || !f.finished {
		return completion.Chunk{}, "", f.nonsense("the provider answered something that is not an answer of a model")
	}
	if f.failed != nil {
		return completion.Chunk{Usage: chunk.Usage}, "", f.failed
	}
	if len(chunk.Delta.Thoughts) > 0 { // more than one signature
		chunk.Delta.Thoughts = append(chunk.Delta.Thoughts, *chunk.Delta.State)
		chunk.Delta.Thoughts[0].Text, chunk.Delta.State = chunk.Delta.Reasoning, nil
	}
	return chunk, f.model, nil
}

// notStreamed is the error of a server that answers a stream with one body.
func (f *format) notStreamed(res *provider.Response) error {
	if err := f.errorIn(res.ErrorBody()); err != nil {
		return err
	}
	return f.nonsense("the provider did not stream its answer")
}

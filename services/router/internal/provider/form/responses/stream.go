package responses

import (
	"bytes"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/sse"
)

// format reads one answer.
type format struct {
	vendor *Vendor
	key    secret.Text
	id     string // of the call, as the provider names it
	model  string
	// calls are the function calls so far, in the order of their items.
	calls []call
	// thought says that text of the current item's reasoning came.
	thought bool
}

// call is a function call of a stream.
type call struct {
	output   int64 // the item's index
	hasInput bool  // something of its arguments came
}

var _ provider.Format = (*format)(nil)

// Finished is false: an end without the final event is broken.
func (f *format) Finished() bool { return false }

// Model is what the provider called the model so far.
func (f *format) Model() string { return f.model }

// The events that mean something; of all others, those that end in ".delta" hold content.
const (
	eventCreated    = "response.created"
	eventInProgress = "response.in_progress"
	eventItem       = "response.output_item.added"
	eventItemDone   = "response.output_item.done"
	eventText       = "response.output_text.delta"
	eventRefusal    = "response.refusal.delta"
	eventSummary    = "response.reasoning_summary_text.delta"
	eventReasoning  = "response.reasoning_text.delta"
	eventArguments  = "response.function_call_arguments.delta"
	eventCallDone   = "response.function_call_arguments.done"
	eventPart       = "response.reasoning_summary_part.added"
	eventCitation   = "response.output_text.annotation.added"
	eventCompleted  = "response.completed"
	eventIncomplete = "response.incomplete"
	eventFailed     = "response.failed"
	eventError      = "error"
)

var (
	deltaSuffix = []byte(".delta")
	deltaText   = []byte(`"delta":"`)
	done        = []byte("[DONE]")
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

// deltaSize is the size of the text that an event adds, found without decoding it where it is written
// as OpenAI does.
func deltaSize(data []byte) int {
	if i := bytes.Index(data, deltaText); i >= 0 {
		if end := jsonscan.TextEnd(data[i+len(deltaText)-1:]); end > 0 {
			return end - 2
		}
	}
	return jsonscan.TextLen(jsonscan.Get(data, "delta"))
}

// Look reads an event that passes. Those that hold content only are not decoded.
func (f *format) Look(e sse.Event, chunk *completion.Chunk) (provider.Seen, error) {
	name := kind(e)
	if bytes.HasSuffix(name, deltaSuffix) {
		if size := deltaSize(e.Data); size > 0 {
			piece(chunk, size)
		}
		return provider.Silent, nil
	}
	switch string(name) {
	case eventCreated, eventInProgress, eventCompleted, eventIncomplete, eventFailed, eventError:
		return f.outer(name, e, chunk)
	case eventItem, eventItemDone:
		item := jsonscan.Get(e.Data, "item")
		of, _ := jsonscan.Text(jsonscan.Get(item, "type"))
		// A message or a thought that only begins is nothing yet; whatever else is done is content.
		if string(name) == eventItemDone || of != "message" && of != "reasoning" {
			chunk.Content = true
		}
		if of == "function_call" {
			f.note(e.Data)
		}
	}
	return f.other(e, name)
}

// other accepts events of kinds that are not known, as long as they are events at all.
func (f *format) other(e sse.Event, name []byte) (provider.Seen, error) {
	if len(name) == 0 && !bytes.Equal(e.Data, done) {
		return provider.Silent, f.nonsense("the provider sent an event without a type")
	}
	return provider.Silent, nil
}

func piece(chunk *completion.Chunk, size int) {
	chunk.Content = true
	chunk.Pieces++
	chunk.PieceBytes += size
}

// outer reads the events that hold a whole response, and errors.
func (f *format) outer(name []byte, e sse.Event, chunk *completion.Chunk) (provider.Seen, error) {
	if string(name) == eventError {
		return provider.Silent, f.failure(e.Data)
	}
	response := jsonscan.Get(e.Data, "response")
	if jsonscan.KindOf(response) != jsonscan.ObjectKind {
		return provider.Silent, f.nonsense("the provider sent an event without its response")
	}
	if f.model == "" {
		model, _ := jsonscan.Text(jsonscan.Get(response, "model"))
		f.model = provider.Bounded(model, 256)
	}
	if string(name) == eventCreated || string(name) == eventInProgress {
		return provider.Silent, nil
	}
	chunk.Usage = f.usage(jsonscan.Get(response, "usage"))
	if string(name) == eventFailed {
		return provider.Silent, f.failure(response)
	}
	chunk.Finish = finish(string(name) == eventIncomplete, response, len(f.calls) > 0)
	return provider.Last, nil
}

// finish is why a response ended.
func finish(incomplete bool, response []byte, calls bool) completion.FinishReason {
	if !incomplete {
		if calls {
			return completion.ToolCalls
		}
		return completion.Stop
	}
	switch reason, _ := jsonscan.Text(jsonscan.Get(response, "incomplete_details", "reason")); reason {
	case "max_output_tokens", "max_tokens", "":
		return completion.Length
	case "content_filter":
		return completion.ContentFilter
	}
	return completion.Stop
}

// note remembers a function call by its item's index and returns its place among the calls.
func (f *format) note(data []byte) int {
	output, _ := jsonscan.Int(jsonscan.Get(data, "output_index"))
	for i := range f.calls {
		if f.calls[i].output == output {
			return i
		}
	}
	f.calls = append(f.calls, call{output: output})
	return len(f.calls) - 1
}

// Decode reads an event of a call that is converted.
func (f *format) Decode(e sse.Event, chunk *completion.Chunk) (provider.Seen, error) {
	name := kind(e)
	switch string(name) {
	case eventText:
		f.text(e.Data, &chunk.Delta.Text, chunk)
		if v := jsonscan.Get(e.Data, "logprobs"); len(v) > 2 {
			chunk.Delta.Logprobs = logprobs(v, 0)
		}
	case eventRefusal:
		f.text(e.Data, &chunk.Delta.Refusal, chunk)
	case eventSummary, eventReasoning:
		f.text(e.Data, &chunk.Delta.Reasoning, chunk)
		f.thought = true
	case eventPart:
		if f.thought { // a paragraph more
			chunk.Delta.Reasoning, f.thought = "\n\n", false
			chunk.Content = true
		}
	case eventArguments, eventCallDone:
		f.arguments(string(name) == eventCallDone, e.Data, chunk)
	case eventItem:
		f.item(e.Data, chunk)
	case eventItemDone:
		f.itemDone(e.Data, chunk)
	case eventCitation:
		if c, ok := citation(jsonscan.Get(e.Data, "annotation")); ok {
			chunk.Delta.Citations = []completion.Citation{c}
			chunk.Content = true
		}
	case eventCreated, eventInProgress, eventCompleted, eventIncomplete, eventFailed, eventError:
		return f.outer(name, e, chunk)
	default:
		return f.other(e, name)
	}
	if chunk.Content {
		return provider.Told, nil
	}
	return provider.Silent, nil
}

func (f *format) text(data []byte, into *string, chunk *completion.Chunk) {
	v := jsonscan.Get(data, "delta")
	if size := jsonscan.TextLen(v); size > 0 {
		*into, _ = jsonscan.Text(v)
		piece(chunk, size)
	}
}

// item begins an item of the output.
func (f *format) item(data []byte, chunk *completion.Chunk) {
	f.thought = false
	item := jsonscan.Get(data, "item")
	if of, _ := jsonscan.Text(jsonscan.Get(item, "type")); of != "function_call" {
		return
	}
	at := f.note(data)
	delta := functionCall(item, at)
	f.calls[at].hasInput = delta.Arguments != ""
	chunk.Content = true // not a piece: what the call takes comes with its arguments
	chunk.PieceBytes += len(delta.Name) + len(delta.Arguments)
	chunk.Delta.ToolCalls = []completion.ToolCallDelta{delta}
}

// functionCall reads an item that is a call. What has to come back is its call_id.
func functionCall(item []byte, at int) completion.ToolCallDelta {
	out := completion.ToolCallDelta{Index: at}
	m := jsonscan.Object(item)
	for m.Next() {
		switch string(m.Name) {
		case "call_id":
			out.ID, _ = jsonscan.Text(m.Value)
		case "name":
			out.Name, _ = jsonscan.Text(m.Value)
		case "arguments":
			out.Arguments, _ = jsonscan.Text(m.Value)
		}
	}
	return out
}

// arguments adds to a call. Some vendors send only the whole at the end.
func (f *format) arguments(whole bool, data []byte, chunk *completion.Chunk) {
	at := f.note(data)
	name := "delta"
	if whole {
		name = "arguments"
	}
	v := jsonscan.Get(data, name)
	if whole && f.calls[at].hasInput || jsonscan.TextLen(v) == 0 {
		return
	}
	text, _ := jsonscan.Text(v)
	f.calls[at].hasInput = true
	piece(chunk, len(v)-2)
	chunk.Delta.ToolCalls = []completion.ToolCallDelta{{Index: at, Arguments: text}}
}

// itemDone ends an item: reasoning has its encrypted form now, and a call whose arguments never came
// has them here.
func (f *format) itemDone(data []byte, chunk *completion.Chunk) {
	item := jsonscan.Get(data, "item")
	switch of, _ := jsonscan.Text(jsonscan.Get(item, "type")); of {
	case "reasoning":
		thought := reasoning(item)
		if thought.Format == "" {
			return
		}
		thought.Text = ""
		chunk.Delta.State = &thought
		chunk.Content = true
	case "function_call":
		at := f.note(data)
		if f.calls[at].hasInput {
			return
		}
		delta := functionCall(item, at)
		f.calls[at].hasInput = true
		if delta.Arguments == "" {
			delta.Arguments = "{}"
		}
		piece(chunk, len(delta.Arguments))
		chunk.Delta.ToolCalls = []completion.ToolCallDelta{{Index: at, Arguments: delta.Arguments}}
	}
}

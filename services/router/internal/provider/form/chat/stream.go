package chat

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
	// hide takes the usage chunk out of a stream that passes, for callers who did not ask for it.
	hide bool
	// choices have to finish before an end without [DONE] is a good one.
	choices, finished int
	// committed says that content has passed: from then on events are only skimmed.
	committed bool
	// usage and cost are the last count: some vendors count in every chunk.
	usage completion.Usage
	cost  int64
	// calls are the tool calls so far, think what was held back of the text, told how many sources were told.
	calls []placed
	think thinker
	told  int
}

// placed is a tool call in a stream: the index and the id that it came with, and whether its tool was named.
type placed struct {
	index int
	id    string
	named bool
}

var _ provider.Format = (*format)(nil)

// Finished reports whether every choice has its finish reason: some compatible servers never send [DONE].
func (f *format) Finished() bool { return f.finished >= f.choices }

// Model is what the provider called the model so far.
func (f *format) Model() string { return f.model }

// Look reads an event that passes. Once content has passed, one that holds nothing but content is not
// decoded.
func (f *format) Look(e sse.Event, chunk *completion.Chunk) (provider.Seen, error) {
	if bytes.Equal(e.Data, done) {
		return provider.Last, nil
	}
	if f.committed && len(e.Name) == 0 && !telling(e.Data) {
		size := contentSize(e.Data)
		if size > 0 {
			f.usage.Final = false // a count of before
			chunk.Content = true
			chunk.Pieces++
			chunk.PieceBytes += size
		}
		if size > 0 || !odd(e.Data) {
			return provider.Silent, nil
		}
	}
	p, err := f.read(e, reading{})
	if err != nil {
		return provider.Silent, err
	}
	f.note(&p, chunk)
	if f.hide && p.usage != nil && p.choices == 0 {
		return provider.Hidden, nil
	}
	return provider.Told, nil
}

// Decode reads an event of a call that is converted.
func (f *format) Decode(e sse.Event, chunk *completion.Chunk) (provider.Seen, error) {
	if bytes.Equal(e.Data, done) {
		return provider.Last, nil
	}
	p, err := f.read(e, reading{texts: true})
	if err != nil {
		return provider.Silent, err
	}
	f.arrange(&p)
	chunk.Delta = p.delta
	f.note(&p, chunk)
	if chunk.Content || chunk.Finish != "" || chunk.Usage != nil {
		return provider.Told, nil
	}
	return provider.Silent, nil
}

// read decodes an event, or returns the error that it is.
func (f *format) read(e sse.Event, r reading) (piece, error) {
	if string(e.Name) == "error" || jsonscan.Given(after(e.Data, keyError)) && jsonscan.Given(jsonscan.Get(e.Data, "error")) {
		return piece{}, f.failure(e.Data)
	}
	p, ok := decode(e.Data, r)
	if !ok {
		return piece{}, f.nonsense("the provider sent an event that is not JSON")
	}
	switch {
	case p.refusal && p.choices == 0 && p.usage == nil:
		return piece{}, f.failure(e.Data)
	case p.failed:
		return piece{}, f.nonsense(endedWithError)
	}
	return p, nil
}

const endedWithError = "the provider ended its answer with an error"

// arrange makes one answer of what a vendor gives in its own way.
func (f *format) arrange(p *piece) {
	for i := range p.delta.ToolCalls {
		f.place(&p.delta.ToolCalls[i])
	}
	if f.vendor.ThinkTags {
		answer, thought := f.think.take(p.delta.Text)
		if p.finishes > 0 {
			more, thoughts := f.think.rest()
			answer, thought = answer+more, thought+thoughts
		}
		p.delta.Text, p.delta.Reasoning = answer, p.delta.Reasoning+thought
	}
	if p.results != nil || p.addresses != nil {
		found := sources(p.results, p.addresses, f.told)
		f.told += len(found)
		p.delta.Citations = append(p.delta.Citations, found...)
	}
}

// place finds the place of a piece of a tool call among the calls of the answer. Some vendors leave its
// index out, some give every call the first, and some repeat its id in every piece.
func (f *format) place(call *completion.ToolCallDelta) {
	for i := len(f.calls) - 1; i >= 0; i-- {
		known := &f.calls[i]
		late := known.id == "" && call.Name == "" // the id comes after the name
		same := call.ID == "" || call.ID == known.id || late
		if same && (call.Index == unplaced || call.Index == known.index) {
			call.Index = i
			if late {
				known.id = call.ID
			} else {
				call.ID = ""
			}
			if known.named {
				call.Name = ""
			}
			known.named = known.named || call.Name != ""
			return
		}
	}
	f.calls = append(f.calls, placed{call.Index, call.ID, call.Name != ""})
	call.Index = len(f.calls) - 1
}

// failure is an error that came after status 200.
func (f *format) failure(data []byte) error {
	failure := eventError(data, f.key, f.vendor.Errors)
	failure.RequestID, failure.Sent = f.id, true
	return failure
}

func (f *format) nonsense(message string) error {
	return &completion.ProviderError{Class: completion.ServerError, Status: 200, RequestID: f.id, Message: message, Sent: true}
}

// note takes over what an event says.
func (f *format) note(p *piece, chunk *completion.Chunk) {
	if f.model == "" && p.model != nil {
		f.model = answerModel(p.model)
	}
	if p.content {
		f.usage.Final = false // a count of before
		f.committed, chunk.Content = true, true
		chunk.Pieces++
		chunk.PieceBytes += p.size
	}
	if p.finishes > 0 {
		f.finished += p.finishes
		chunk.Finish = p.finish
	}
	if p.usage != nil && f.vendor.readUsage(p.usage, &f.usage, &f.cost) {
		// Servers that count along the way send more of them.
		f.usage.Final = p.choices == 0 || f.Finished()
		chunk.Usage = &f.usage
	}
}

// whole reads an answer that is not streamed.
func (f *format) whole(body []byte, raw bool) (completion.Chunk, string, error) {
	if jsonscan.Given(jsonscan.Get(body, "error")) {
		return completion.Chunk{}, "", f.failure(body)
	}
	p, ok := decode(body, reading{texts: !raw, whole: true})
	switch {
	case ok && p.refusal && p.choices == 0:
		return completion.Chunk{}, "", f.failure(body)
	case !ok || p.choices == 0:
		return completion.Chunk{}, "", f.nonsense("the provider answered something that is not a chat completion")
	case p.failed:
		return completion.Chunk{}, "", f.nonsense(endedWithError)
	}
	chunk := completion.Chunk{PieceBytes: p.size, Finish: p.finish}
	if p.usage != nil && f.vendor.readUsage(p.usage, &f.usage, &f.cost) {
		chunk.Usage = &f.usage
	}
	if raw {
		chunk.Raw = body
	} else {
		p.finishes = 1
		f.arrange(&p)
		chunk.Delta = p.delta
	}
	return chunk, answerModel(p.model), nil
}

// notStreamed is the error of a server that answers a stream with one body, which compatible servers
// do to say that something is wrong.
func (f *format) notStreamed(res *provider.Response) error {
	body := res.ErrorBody()
	if p, ok := decode(body, reading{}); jsonscan.Given(jsonscan.Get(body, "error")) || ok && p.refusal {
		return f.failure(body)
	}
	return f.nonsense("the provider did not stream its answer")
}

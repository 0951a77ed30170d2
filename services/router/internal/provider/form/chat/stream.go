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
	key   secret.Text
	id    string // of the call, as the provider names it
	model string
	// hide takes the usage chunk out of a stream that passes, for callers who did not ask for it.
	hide bool
	// choices have to finish before an end without [DONE] is a good one.
	choices, finished int
	// committed says that content has passed: from then on events are only skimmed.
	committed bool
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
		if size := contentSize(e.Data); size > 0 {
			chunk.Content = true
			chunk.Pieces++
			chunk.PieceBytes += size
		}
		return provider.Silent, nil
	}
	p, err := f.read(e, false)
	if err != nil {
		return provider.Silent, err
	}
	f.note(p, chunk)
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
	p, err := f.read(e, true)
	if err != nil {
		return provider.Silent, err
	}
	chunk.Delta = p.delta
	f.note(p, chunk)
	if chunk.Content || chunk.Finish != "" || chunk.Usage != nil {
		return provider.Told, nil
	}
	return provider.Silent, nil
}

// read decodes an event, or returns the error that it is.
func (f *format) read(e sse.Event, delta bool) (piece, error) {
	if string(e.Name) == "error" || jsonscan.Given(after(e.Data, keyError)) && jsonscan.Given(jsonscan.Get(e.Data, "error")) {
		return piece{}, f.failure(e.Data)
	}
	p, ok := decode(e.Data, delta)
	if !ok {
		return piece{}, f.nonsense("the provider sent an event that is not JSON")
	}
	return p, nil
}

// failure is an error that came after status 200.
func (f *format) failure(data []byte) error {
	failure := eventError(data, f.key)
	failure.RequestID, failure.Sent = f.id, true
	return failure
}

func (f *format) nonsense(message string) error {
	return &completion.ProviderError{Class: completion.ServerError, Status: 200, RequestID: f.id, Message: message, Sent: true}
}

// note takes over what an event says.
func (f *format) note(p piece, chunk *completion.Chunk) {
	if f.model == "" && p.model != nil {
		f.model = answerModel(p.model)
	}
	if p.content {
		f.committed, chunk.Content = true, true
		chunk.Pieces++
		chunk.PieceBytes += p.size
	}
	if p.finishes > 0 {
		f.finished += p.finishes
		chunk.Finish = p.finish
	}
	if p.usage != nil {
		// Servers that count along the way send more of them.
		p.usage.Final = p.choices == 0 || f.Finished()
		chunk.Usage = p.usage
	}
}

// whole reads an answer that is not streamed.
func (f *format) whole(body []byte, raw bool) (completion.Chunk, string, error) {
	if jsonscan.Given(jsonscan.Get(body, "error")) {
		return completion.Chunk{}, "", f.failure(body)
	}
	p, ok := decode(body, !raw)
	if !ok || p.choices == 0 {
		return completion.Chunk{}, "", f.nonsense("the provider answered something that is not a chat completion")
	}
	chunk := completion.Chunk{PieceBytes: p.size, Delta: p.delta, Finish: p.finish, Usage: p.usage}
	if raw {
		chunk.Raw = body
	}
	return chunk, answerModel(p.model), nil
}

// notStreamed is the error of a server that answers a stream with one body, which compatible servers
// do to say that something is wrong.
func (f *format) notStreamed(res *provider.Response) error {
	body := res.ErrorBody()
	if jsonscan.Given(jsonscan.Get(body, "error")) {
		return f.failure(body)
	}
	return f.nonsense("the provider did not stream its answer")
}

package openai

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/sse"
)

// stream is a streamed answer.
type stream struct {
	res    *provider.Response
	reader *sse.Reader
	cursor sse.Cursor
	head   completion.AnswerHead
	key    secret.Text
	// raw passes events on; hide takes the usage chunk out, for callers who did not ask for it.
	raw, hide bool
	// choices have to finish before an end without [DONE] is a good one.
	choices, finished int
	// committed says that content has passed: from then on events are only skimmed.
	committed bool
	// ended is what the next call of Next returns.
	ended error
	// inRun says that a decoded run has more events.
	inRun bool
	// clean says that the answer came to its end, so that the connection can serve again.
	clean atomic.Bool
}

func newStream(res *provider.Response, call completion.Call, head completion.AnswerHead, choices int) *stream {
	return &stream{
		res: res, reader: sse.NewReader(res.Body), head: head, key: call.Secret,
		raw: call.Raw, hide: !call.Request.IncludeUsage, choices: choices,
	}
}

// Head says what the provider named so far.
func (s *stream) Head() completion.AnswerHead { return s.head }

// Close gives the connection back, or cuts it if the answer has not come to its end. It does not
// touch the buffer, which may still be in use by whoever called Next.
func (s *stream) Close() error {
	if s.clean.Load() {
		return s.res.Finish()
	}
	return s.res.Body.Close()
}

// Next returns the next run of events, or in a converted call the next event that says something.
func (s *stream) Next() (completion.Chunk, error) {
	for {
		if s.inRun {
			if chunk, ok := s.nextDecoded(); ok {
				return chunk, nil
			}
		}
		if s.ended != nil {
			s.reader.Release()
			return completion.Chunk{}, s.ended
		}
		run, err := s.reader.Next()
		if err != nil {
			run = s.lastRun(run, err)
		}
		if len(run) == 0 {
			continue
		}
		s.cursor.Reset(run)
		if s.raw {
			return s.pass(run), nil
		}
		s.inRun = true
	}
}

// lastRun decides how the stream ended. A last event that only lacks its blank line still counts.
func (s *stream) lastRun(rest []byte, err error) []byte {
	s.ended = err
	if !errors.Is(err, sse.ErrUnfinished) {
		rest = nil
	} else if c := (sse.Cursor{}); len(rest) > 0 {
		c.Reset(rest)
		if e, ok := c.Next(); !ok || !(bytes.Equal(e.Data, done) || jsonscan.Valid(e.Data)) {
			rest = nil
		} else {
			rest = append(bytes.TrimRight(rest, "\r\n"), "\n\n"...)
		}
	}
	if rest == nil {
		s.settle()
	}
	return rest
}

// settle turns the end of the bytes into the end of the answer.
func (s *stream) settle() {
	switch err := s.ended; {
	case s.clean.Load() || s.finished >= s.choices && (errors.Is(err, io.EOF) || errors.Is(err, sse.ErrUnfinished)):
		// Some compatible servers never send [DONE].
		s.clean.Store(true)
		s.ended = io.EOF
	case errors.Is(err, sse.ErrTooLong):
		s.ended = s.res.Failed("the provider sent an event that is longer than the router takes")
	case errors.Is(err, io.EOF), errors.Is(err, sse.ErrUnfinished):
		s.ended = s.res.Failed("the provider ended its stream before the answer was finished")
	default:
		s.ended = s.res.Broken(err)
	}
}

// pass looks at the events of a run and returns it, without those that are not for the caller.
func (s *stream) pass(run []byte) completion.Chunk {
	var chunk completion.Chunk
	kept, from := 0, 0 // what is kept so far is run[:kept], run[from:] comes next
	end := len(run)
	for s.ended == nil || s.unsettled() {
		e, ok := s.cursor.Next()
		if !ok {
			break
		}
		hidden, failed := s.look(e, &chunk)
		if failed != nil {
			s.ended, end = failed, e.Start
			break
		}
		if hidden {
			kept += copy(run[kept:], run[from:e.Start])
			from = e.End
		}
		if s.clean.Load() {
			s.ended = io.EOF
			break
		}
	}
	if s.unsettled() {
		s.settle()
	}
	if from == 0 {
		chunk.Raw = run[:end]
	} else {
		kept += copy(run[kept:], run[from:end])
		chunk.Raw = run[:kept]
	}
	return chunk
}

// unsettled reports whether the bytes ended in this run and settle has not been called.
func (s *stream) unsettled() bool { return errors.Is(s.ended, sse.ErrUnfinished) }

// look reads one event of a run that passes. It reports whether the event is hidden from the caller.
func (s *stream) look(e sse.Event, chunk *completion.Chunk) (hidden bool, failed error) {
	if bytes.Equal(e.Data, done) {
		s.clean.Store(true)
		return false, nil
	}
	if len(e.Data) == 0 {
		return false, nil
	}
	if s.committed && !telling(e.Data) && len(e.Name) == 0 {
		if size := contentSize(e.Data); size > 0 {
			chunk.Content = true
			chunk.Pieces++
			chunk.PieceBytes += size
		}
		return false, nil
	}
	if err := s.eventError(e); err != nil {
		return false, err
	}
	p, ok := decode(e.Data, false)
	if !ok {
		return false, s.res.Failed("the provider sent an event that is not JSON")
	}
	s.note(p, chunk)
	return s.hide && p.usage != nil && p.choices == 0, nil
}

// note takes over what an event says.
func (s *stream) note(p piece, chunk *completion.Chunk) {
	if s.head.Model == "" && p.model != nil {
		s.head.Model = answerModel(p.model)
	}
	if p.content {
		s.committed, chunk.Content = true, true
		chunk.Pieces++
		chunk.PieceBytes += p.size
	}
	if p.finishes > 0 {
		s.finished += p.finishes
		chunk.Finish = p.finish
	}
	if p.usage != nil {
		// Servers that count along the way send more of them.
		p.usage.Final = p.choices == 0 || s.finished >= s.choices
		chunk.Usage = p.usage
	}
}

// eventError returns the error that an event is, if it is one.
func (s *stream) eventError(e sse.Event) error {
	if string(e.Name) != "error" {
		if !jsonscan.Given(after(e.Data, keyError)) || !jsonscan.Given(jsonscan.Get(e.Data, "error")) {
			return nil
		}
	}
	failure := eventError(e.Data, s.key)
	failure.RequestID, failure.Sent = s.head.RequestID, true
	return failure
}

// nextDecoded returns the next event of the run that says something.
func (s *stream) nextDecoded() (completion.Chunk, bool) {
	for {
		e, ok := s.cursor.Next()
		if !ok {
			break
		}
		if len(e.Data) == 0 {
			continue
		}
		if bytes.Equal(e.Data, done) {
			s.clean.Store(true)
			s.ended = io.EOF
			break
		}
		if err := s.eventError(e); err != nil {
			s.ended = err
			break
		}
		p, ok := decode(e.Data, true)
		if !ok {
			s.ended = s.res.Failed("the provider sent an event that is not JSON")
			break
		}
		chunk := completion.Chunk{Delta: p.delta}
		s.note(p, &chunk)
		if chunk.Content || chunk.Finish != "" || chunk.Usage != nil {
			return chunk, true
		}
	}
	s.inRun = false
	if s.unsettled() {
		s.settle()
	}
	return completion.Chunk{}, false
}

// whole is an answer that is not streamed.
type whole struct {
	res  *provider.Response
	head completion.AnswerHead
	key  secret.Text
	raw  bool
	read bool
}

// Head says what the provider named, once the body was read.
func (w *whole) Head() completion.AnswerHead { return w.head }

// Close cuts the connection if the body was not read.
func (w *whole) Close() error { return w.res.Body.Close() }

// Next returns the body, once.
func (w *whole) Next() (completion.Chunk, error) {
	if w.read {
		return completion.Chunk{}, io.EOF
	}
	w.read = true
	body, err := w.res.Whole()
	if err != nil {
		return completion.Chunk{}, err
	}
	if e := jsonscan.Get(body, "error"); jsonscan.Given(e) {
		failure := eventError(body, w.key)
		failure.RequestID, failure.Sent = w.head.RequestID, true
		return completion.Chunk{}, failure
	}
	p, ok := decode(body, !w.raw)
	if !ok || p.choices == 0 {
		return completion.Chunk{}, w.res.Failed("the provider answered something that is not a chat completion")
	}
	w.head.Model = answerModel(p.model)
	chunk := completion.Chunk{Content: true, Pieces: 1, PieceBytes: p.size, Delta: p.delta, Finish: p.finish, Usage: p.usage}
	if w.raw {
		chunk.Raw = body
	}
	return chunk, nil
}

package provider

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/sse"
)

// Format knows what the events of a provider's streams mean. It lives as long as one answer.
type Format interface {
	// Look reads an event that passes on as it is. It fills in what the chunk says, but for Raw and Delta.
	Look(e sse.Event, chunk *completion.Chunk) (Seen, error)
	// Decode reads an event of a call that is converted, and fills in the whole chunk.
	Decode(e sse.Event, chunk *completion.Chunk) (Seen, error)
	// Finished reports whether the answer is whole although its last event did not come.
	Finished() bool
	// Model is what the provider called the model so far.
	Model() string
}

// Seen is what an event is to its stream.
type Seen uint8

// What an event can be.
const (
	// Silent events say nothing that a converted call carries.
	Silent Seen = iota
	// Told events say something.
	Told
	// Hidden events are not for the caller, who did not ask for them.
	Hidden
	// Last events end the stream well.
	Last
)

// Stream is a streamed answer, passed on or converted.
type Stream struct {
	res    *Response
	format Format
	raw    bool
	reader *sse.Reader
	cursor sse.Cursor
	status int
	id     string
	// chunk is here and not on the stack, since its address goes through an interface.
	chunk completion.Chunk
	// ended is what the next call of Next returns. inRun says that a decoded run has more events, told
	// that one of it was returned.
	ended       error
	inRun, told bool
	// clean says that the answer came to its end, so that the connection can serve again.
	clean atomic.Bool
}

var _ completion.Answer = (*Stream)(nil)

// NewStream returns the answer whose events come with res.
func NewStream(res *Response, format Format, raw bool) *Stream {
	return &Stream{
		res: res, format: format, raw: raw, reader: sse.NewReader(res.Body), status: res.StatusCode, id: res.RequestID(),
	}
}

// Allowing lets events be longer than usual.
func (s *Stream) Allowing(bytes int) *Stream {
	s.reader.Allow(bytes)
	return s
}

// Head says what the provider named so far.
func (s *Stream) Head() completion.AnswerHead {
	return completion.AnswerHead{Status: s.status, RequestID: s.id, Model: s.format.Model(), Limits: limits(s.res.Header)}
}

// Close gives the connection back, or cuts it if the answer has not come to its end. It does not
// touch the buffer, which may still be in use by whoever called Next.
func (s *Stream) Close() error {
	if s.clean.Load() {
		return s.res.Finish()
	}
	return s.res.Body.Close()
}

// Next returns the next run of events, or in a converted call the next event that says something. Of a
// run in which none does, such as pings while a model thinks, it returns an empty chunk: the provider is
// alive, and whoever watches for its silence has to know.
func (s *Stream) Next() (completion.Chunk, error) {
	for {
		if s.inRun {
			if s.nextDecoded() {
				s.told = true
				return s.chunk, nil
			}
			if !s.told && s.ended == nil {
				return completion.Chunk{}, nil
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
			s.pass(run)
			return s.chunk, nil
		}
		s.inRun, s.told = true, false
	}
}

var done = []byte("[DONE]")

// lastRun decides how the stream ended. A last event that only lacks its blank line still counts; half
// of one must not be passed on, since what follows would be read as its other half.
func (s *Stream) lastRun(rest []byte, err error) []byte {
	s.ended = err
	if errors.Is(err, sse.ErrUnfinished) {
		var c sse.Cursor
		c.Reset(rest)
		if e, ok := c.Next(); ok && (bytes.Equal(e.Data, done) || jsonscan.Valid(e.Data)) {
			return append(bytes.TrimRight(rest, "\r\n"), "\n\n"...)
		}
	}
	s.settle()
	return nil
}

// unsettled reports whether the bytes ended with the current run.
func (s *Stream) unsettled() bool { return errors.Is(s.ended, sse.ErrUnfinished) }

// settle turns the end of the bytes into the end of the answer.
func (s *Stream) settle() {
	regular := errors.Is(s.ended, io.EOF) || s.unsettled()
	switch {
	case s.clean.Load() || regular && s.format.Finished():
		s.clean.Store(true)
		s.ended = io.EOF
	case errors.Is(s.ended, sse.ErrTooLong):
		tooLong := s.res.Failed("the provider sent an event that is longer than the router takes")
		tooLong.Ours = true // the same would come again, and be paid again
		s.ended = tooLong
	case regular:
		s.ended = s.res.Failed("the provider ended its stream before the answer was finished")
	default:
		s.ended = s.res.Broken(s.ended)
	}
}

// pass looks at the events of a run and makes it the chunk, without those that are not for the caller.
func (s *Stream) pass(run []byte) {
	s.chunk = completion.Chunk{}
	kept, from := 0, 0 // kept so far is run[:kept]; run[from:] comes next
	end := len(run)
	for s.ended == nil || s.unsettled() {
		e, ok := s.cursor.Next()
		if !ok {
			break
		}
		if len(e.Data) == 0 {
			continue
		}
		seen, err := s.format.Look(e, &s.chunk)
		if err != nil {
			s.ended, end = err, e.Start
			break
		}
		if seen == Hidden {
			kept += copy(run[kept:], run[from:e.Start])
			from = e.End
		}
		if seen == Last { // what may follow depends on how the bytes came, and is nothing
			s.clean.Store(true)
			s.ended, end = io.EOF, e.End
		}
	}
	if s.unsettled() {
		s.settle()
	}
	s.chunk.Raw = run[:end]
	if from > 0 {
		kept += copy(run[kept:], run[from:end])
		s.chunk.Raw = run[:kept]
	}
}

// nextDecoded makes the next event of the run that says something the chunk.
func (s *Stream) nextDecoded() bool {
	for s.ended == nil || s.unsettled() {
		e, ok := s.cursor.Next()
		if !ok {
			break
		}
		if len(e.Data) == 0 {
			continue
		}
		s.chunk = completion.Chunk{}
		seen, err := s.format.Decode(e, &s.chunk)
		switch {
		case err != nil:
			s.ended = err
			if s.chunk.Usage != nil { // what failed says what it took
				s.chunk = completion.Chunk{Usage: s.chunk.Usage}
				return true
			}
		case seen == Last:
			s.clean.Store(true)
			s.ended = io.EOF
			if s.chunk.Content || s.chunk.Finish != "" || s.chunk.Usage != nil || s.chunk.Result != nil {
				return true // the end of some forms says all of this at once
			}
		case seen == Told:
			return true
		}
	}
	s.inRun = false
	if s.unsettled() {
		s.settle()
	}
	return false
}

// Whole is an answer that is not streamed.
type Whole struct {
	res  *Response
	read func(body []byte) (chunk completion.Chunk, model string, err error)
	head completion.AnswerHead
	done bool
}

var _ completion.Answer = (*Whole)(nil)

// NewWhole returns the answer whose body read understands.
func NewWhole(res *Response, read func([]byte) (completion.Chunk, string, error)) *Whole {
	return &Whole{res: res, read: read, head: completion.AnswerHead{Status: res.StatusCode, RequestID: res.RequestID(), Limits: limits(res.Header)}}
}

// Head says what the provider named, once the body was read.
func (w *Whole) Head() completion.AnswerHead { return w.head }

// Close cuts the connection if the body was not read.
func (w *Whole) Close() error { return w.res.Body.Close() }

// Next returns the body, once.
func (w *Whole) Next() (completion.Chunk, error) {
	if w.done {
		return completion.Chunk{}, io.EOF
	}
	w.done = true
	body, err := w.res.Whole()
	if err != nil {
		return completion.Chunk{}, err
	}
	chunk, model, err := w.read(body)
	if err != nil {
		return completion.Chunk{Usage: chunk.Usage}, err
	}
	w.head.Model = model
	chunk.Content, chunk.Pieces = true, 1
	return chunk, nil
}

package httpapi

import (
	"sync"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
)

// buffers hold what is encoded for callers whose dialect is not the provider's.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// sink writes an answer in an edge's dialect: bytes that are in it already as they are, all others by the
// edge's encoder.
type sink struct {
	writer
	edge  *edge
	req   *completion.Request
	level completion.Provenance
	told  completion.Told
	raw   bool

	encoder dialect.Encoder // of a converted answer
	buf     *[]byte
	whole   completion.Chunk // of a converted answer in one piece
	teller  *teller          // of a stream whose caller asked what serves
}

func newSink(e *edge, x *exchange, req *completion.Request, level completion.Provenance, now func() time.Time) *sink {
	s := &sink{edge: e, req: req, level: level}
	s.init(x, now, req.Stream)
	return s
}

// release gives back what the answer took. Nothing is written after it.
func (s *sink) release() {
	s.stop()
	if s.buf != nil {
		*s.buf = (*s.buf)[:0]
		buffers.Put(s.buf)
		s.buf = nil
	}
}

// Begin implements completion.Sink.
func (s *sink) Begin(served completion.Served) error {
	s.raw = served.Raw
	s.told, _ = completion.Tell(s.level, s.req.ID, served, !s.stream)
	if !served.Raw {
		s.buf, _ = buffers.Get().(*[]byte)
		s.encoder = s.edge.encoder(s.req, served, s.now())
	}
	if s.stream { // else the header waits for the length
		s.header(streamType, -1, s.req.ID, s.told)
		s.beatWith(s.edge.of.pulse)
	}
	return nil
}

// Chunk implements completion.Sink.
func (s *sink) Chunk(c *completion.Chunk) error {
	switch {
	case s.raw && len(c.Raw) == 0:
		return nil
	case s.raw:
		if !s.stream {
			s.header(jsonType, len(c.Raw), s.req.ID, s.told)
		}
		return s.pass(c.Raw)
	case s.stream:
		*s.buf = s.encoder.AppendChunk((*s.buf)[:0], c)
		return s.pass(*s.buf)
	}
	s.gather(c)
	return nil
}

// pass writes whole events, or a whole answer.
func (s *sink) pass(b []byte) error {
	if s.teller != nil {
		b = s.teller.pass(b)
	}
	if len(b) == 0 {
		return nil
	}
	return s.write(b)
}

// tell writes what waited for the end of a stream, with what served in it.
func (s *sink) tell(final completion.Final) error {
	if s.teller == nil {
		return nil
	}
	told := s.told.Ending(final)
	if b := s.teller.end(appendTold(nil, &told)); len(b) > 0 {
		return s.write(b)
	}
	return nil
}

// spill writes what waited for the end of a stream that does not come.
func (s *sink) spill() error {
	if s.teller == nil || len(s.teller.held) == 0 {
		return nil
	}
	return s.write(s.teller.held)
}

// gather joins the pieces of a converted answer; most providers give it in one.
func (s *sink) gather(c *completion.Chunk) {
	d := &s.whole.Delta
	if d.Empty() { // else what is joined has lost its places
		d.ThoughtsAt = c.Delta.ThoughtsAt
	} else if !c.Delta.Empty() {
		d.ThoughtsAt = nil
	}
	d.Text += c.Delta.Text
	d.Refusal += c.Delta.Refusal
	d.ToolCalls = append(d.ToolCalls, c.Delta.ToolCalls...)
	d.Logprobs = append(d.Logprobs, c.Delta.Logprobs...)
	d.Citations = append(d.Citations, c.Delta.Citations...)
	d.Reasoning += c.Delta.Reasoning
	s.think(&c.Delta)
	if c.Result != nil {
		s.whole.Result = c.Result
	}
}

// think puts the blocks of reasoning one after the other: state ends a block.
func (s *sink) think(c *completion.Delta) {
	thoughts := &s.whole.Delta.Thoughts
	if len(c.Thoughts) > 0 {
		*thoughts = append(*thoughts, c.Thoughts...)
		return
	}
	if c.Reasoning == "" && c.State == nil {
		return
	}
	if n := len(*thoughts); n == 0 || (*thoughts)[n-1].Format != "" {
		*thoughts = append(*thoughts, completion.Reasoning{})
	}
	last := &(*thoughts)[len(*thoughts)-1]
	last.Text += c.Reasoning
	if c.State != nil {
		text := last.Text
		*last = *c.State
		last.Text = text
	}
}

// Flush implements completion.Flusher: a whole answer is sent. Over HTTP/2 its last frame goes with the end of the
// request in any case.
func (s *sink) Flush() {
	if !s.stream && s.x.r.ProtoMajor == 1 {
		_ = s.rc.Flush() // a caller that has gone has nothing to be told
	}
}

// End implements completion.Sink.
func (s *sink) End(final completion.Final) error {
	switch {
	case s.raw:
		return s.tell(final)
	case s.stream:
		*s.buf = s.encoder.AppendEnd((*s.buf)[:0], final)
		if err := s.pass(*s.buf); err != nil {
			return err
		}
		return s.tell(final)
	}
	s.whole.Finish, s.whole.StopSequence = final.Finish, final.StopSequence
	*s.buf = s.encoder.AppendWhole((*s.buf)[:0], &s.whole, final)
	s.header(jsonType, len(*s.buf), s.req.ID, s.told)
	return s.write(*s.buf)
}

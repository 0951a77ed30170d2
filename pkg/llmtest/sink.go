package llmtest

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// sink writes an answer to the socket as the script says: each event in one write and one flush,
// or in pieces wherever they end, up to a cut. It knows which tokens were wholly written.
type sink struct {
	c     *call
	ctx   context.Context //nolint:containedctx // lives as long as one call
	rc    *http.ResponseController
	timer *time.Timer
	buf   []byte // rendering
	carry []byte // waits to fill a piece
	marks []mark // events in carry
	sent  int    // bytes in the socket
	cut   bool   // the connection has to be broken off
	gone  bool   // the client went away, or a write failed
}

// mark says what has been written once the body is end bytes long.
type mark struct {
	end, tokens int
	usage       bool
}

var buffers sync.Pool

func takeBuffer() []byte {
	if b, ok := buffers.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, 1024)
}

func newSink(c *call) *sink {
	return &sink{
		c: c, ctx: c.r.Context(), rc: http.NewResponseController(c.w),
		buf: takeBuffer(),
	}
}

func (s *sink) release() {
	buf := s.buf
	buffers.Put(&buf)
	if s.timer != nil {
		s.timer.Stop()
	}
}

// pause waits before a content chunk. It is false if nobody listens any more.
func (s *sink) pause(d time.Duration) bool {
	if d <= 0 {
		return s.ctx.Err() == nil
	}
	if s.timer == nil {
		s.timer = time.NewTimer(d)
	} else {
		s.timer.Reset(d)
	}
	select {
	case <-s.timer.C:
		return true
	case <-s.ctx.Done():
	case <-s.c.p.closing:
	}
	s.gone = true
	return false
}

// put writes an event that holds so many tokens, or the final usage. It is false if the answer
// ends here.
func (s *sink) put(b []byte, tokens int, usage bool) bool {
	if s.cut || s.gone {
		return false
	}
	s.marks = append(s.marks, mark{end: s.sent + len(s.carry) + len(b), tokens: tokens, usage: usage})
	size := s.c.script.Split
	if size == 0 {
		return s.write(b)
	}
	s.carry = append(s.carry, b...)
	for len(s.carry) >= size {
		if !s.write(s.carry[:size]) || !s.pause(s.c.script.Trickle) {
			return false
		}
		s.carry = append(s.carry[:0], s.carry[size:]...)
	}
	return true
}

// flush writes what waits to fill a piece.
func (s *sink) flush() bool {
	if len(s.carry) > 0 && !s.cut && !s.gone {
		s.write(s.carry)
		s.carry = s.carry[:0]
	}
	return !s.cut && !s.gone
}

func (s *sink) write(b []byte) bool {
	if limit := s.c.script.CutBytes; limit > 0 && s.sent+len(b) >= limit {
		b = b[:limit-s.sent]
		s.cut = true
	}
	if _, err := s.c.w.Write(b); err != nil {
		s.gone = true
		return false
	}
	if err := s.rc.Flush(); err != nil {
		s.gone = true
		return false
	}
	s.sent += len(b)
	done := 0
	for _, m := range s.marks {
		if m.end > s.sent {
			break
		}
		s.c.entry.Written += m.tokens
		s.c.entry.UsageSent = s.c.entry.UsageSent || m.usage
		done++
	}
	s.marks = append(s.marks[:0], s.marks[done:]...)
	return !s.cut
}

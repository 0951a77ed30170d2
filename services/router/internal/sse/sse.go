// Package sse reads server-sent events without copying or decoding them.
//
// A Reader hands out runs: as many whole events as one read of the source completed, as the bytes
// that came. That is what passing through needs; whoever wants the single events of a run walks it
// with a Cursor. The events are the same however the bytes are cut into reads, and the runs put
// together are the source, byte for byte.
package sse

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

const (
	// startSize is the first size of a buffer: a few dozen usual chunks.
	startSize = 8 << 10
	// keepSize is the largest buffer that is kept for another stream.
	keepSize = 64 << 10
	// MaxEvent bounds one event, unless a reader allows more.
	MaxEvent = 4 << 20
)

var (
	// ErrTooLong is the error of an event longer than MaxEvent.
	ErrTooLong = errors.New("sse: event too long")
	// ErrUnfinished is the end of a source whose last event has no blank line after it. It is not
	// io.ErrUnexpectedEOF, which is what a connection that is cut ends with.
	ErrUnfinished = errors.New("sse: the last event is unfinished")
)

var buffers sync.Pool

func takeBuffer() *[]byte {
	if b, ok := buffers.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, startSize)
	return &b
}

// Reader cuts a source into runs of whole events.
type Reader struct {
	src io.Reader
	buf *[]byte
	max int // of an event
	// The run that was handed out is [run:start), what follows it so far [start:end).
	start, end int
	// What the bytes up to end ended with: a line end, and as its last byte a CR.
	lineStart, cr bool
	err           error // from the source, for when the buffer is empty
}

// NewReader returns a reader of src. Release it after use.
func NewReader(src io.Reader) *Reader {
	return &Reader{src: src, buf: takeBuffer(), max: MaxEvent, lineStart: true}
}

// Allow lets an event have so many bytes.
func (r *Reader) Allow(bytes int) { r.max = bytes }

// Release gives the buffer back for another stream. Call it only when no run is used any more: a
// buffer that is given back too early would show one caller the answer of another.
func (r *Reader) Release() {
	if r.buf == nil {
		return
	}
	if cap(*r.buf) <= keepSize {
		buffers.Put(r.buf)
	}
	r.buf = nil
	r.err = io.ErrClosedPipe
}

// Next returns the next run, valid until the next call. At the source's end it returns io.EOF, or
// ErrUnfinished together with the bytes of an event that was not ended by a blank line.
func (r *Reader) Next() ([]byte, error) {
	if r.buf == nil {
		return nil, r.err
	}
	if r.start > 0 {
		r.end = copy(*r.buf, (*r.buf)[r.start:r.end])
		r.start = 0
	}
	for r.err == nil {
		if err := r.room(); err != nil {
			return nil, err
		}
		n, err := r.src.Read((*r.buf)[r.end:])
		r.err = err
		if n == 0 {
			continue
		}
		from := r.end
		r.end += n
		if end := r.boundary((*r.buf)[from:r.end]); end > 0 {
			r.start = from + end
			return (*r.buf)[:r.start], nil
		}
	}
	rest := (*r.buf)[:r.end]
	r.end = 0
	if len(rest) == 0 || r.err != io.EOF { //nolint:errorlint // a source ends with io.EOF itself
		return nil, r.err
	}
	if len(bytes.Trim(rest, "\r\n")) == 0 {
		return rest, nil
	}
	return rest, ErrUnfinished
}

// room makes space for the next read.
func (r *Reader) room() error {
	b := *r.buf
	if r.end < len(b) {
		return nil
	}
	if len(b) >= r.max {
		return ErrTooLong
	}
	grown := make([]byte, min(2*len(b), r.max))
	copy(grown, b[:r.end])
	if cap(b) <= keepSize {
		buffers.Put(r.buf)
	}
	r.buf = &grown
	return nil
}

// boundary returns where the last event of the new bytes ends, after its blank line, or 0.
func (r *Reader) boundary(b []byte) int {
	if r.cr || bytes.IndexByte(b, '\r') >= 0 {
		return r.slowBoundary(b)
	}
	end := 0
	if i := bytes.LastIndex(b, []byte("\n\n")); i >= 0 {
		end = i + 2
	} else if r.lineStart && b[0] == '\n' {
		end = 1
	}
	r.lineStart = b[len(b)-1] == '\n'
	return end
}

// slowBoundary knows all line ends: LF, CR LF and CR. A CR counts at once; if its LF comes in the
// next read, that is a blank line more, which means nothing.
func (r *Reader) slowBoundary(b []byte) int {
	end := 0
	for i, c := range b {
		switch {
		case c == '\n' && r.cr:
			if end == i && i > 0 { // the LF of a CR that ended an event belongs to it
				end = i + 1
			}
			r.cr = false
		case c == '\n' || c == '\r':
			if r.lineStart {
				end = i + 1
			}
			r.lineStart, r.cr = true, c == '\r'
		default:
			r.lineStart, r.cr = false, false
		}
	}
	return end
}

// Event is one event of a run.
type Event struct {
	// Name is the event's name, nil if it has none.
	Name []byte
	// Data is its payload.
	Data []byte
	// Start and End are where the event's lines stand in the run, with the blank line that ends it.
	Start, End int
}

// Cursor walks the events of the runs of one stream. Comments and fields other than event and data
// are passed over, and a byte order mark at the stream's start is.
type Cursor struct {
	run     []byte
	pos     int
	begun   bool
	scratch []byte // for payloads of more than one line
}

// Reset begins a walk through the stream's next run.
func (c *Cursor) Reset(run []byte) {
	c.run, c.pos = run, 0
	if !c.begun && bytes.HasPrefix(run, []byte("\uFEFF")) {
		c.pos = 3
	}
	c.begun = c.begun || len(run) > 0
}

// Next returns the next event. Its slices are valid until the next call.
func (c *Cursor) Next() (Event, bool) {
	e := Event{Start: c.pos}
	found, many := false, false
	for c.pos < len(c.run) {
		line := c.line()
		switch {
		case len(line) == 0:
			if found {
				e.End = c.pos
				return e, true
			}
			e = Event{Start: c.pos} // a comment's block, or a name without data
		case bytes.HasPrefix(line, []byte("data")):
			value, ok := field(line, 4)
			switch {
			case !ok:
			case !found:
				e.Data, found = value, true
			default:
				if !many {
					c.scratch, many = append(c.scratch[:0], e.Data...), true
				}
				c.scratch = append(c.scratch, '\n')
				c.scratch = append(c.scratch, value...)
				e.Data = c.scratch
			}
		case bytes.HasPrefix(line, []byte("event")):
			if value, ok := field(line, 5); ok {
				e.Name = value
			}
		}
	}
	e.End = c.pos
	return e, found
}

// line takes the next line, without its end.
func (c *Cursor) line() []byte {
	b := c.run[c.pos:]
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		i = len(b)
	}
	if j := bytes.IndexByte(b[:i], '\r'); j >= 0 {
		c.pos += j + 1
		if j == i-1 && i < len(b) {
			c.pos++
		}
		return b[:j]
	}
	c.pos = min(c.pos+i+1, len(c.run))
	return b[:i]
}

// field returns the value of a line that begins with a field's name of n letters.
func field(line []byte, n int) ([]byte, bool) {
	line = line[n:]
	if len(line) == 0 {
		return line, true
	}
	if line[0] != ':' {
		return nil, false
	}
	if line = line[1:]; len(line) > 0 && line[0] == ' ' {
		line = line[1:]
	}
	return line, true
}

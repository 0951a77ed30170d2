package gemini

import (
	"bytes"
	"io"
)

// maxBare bounds an error that stands bare in a stream.
const maxBare = 64 << 10

// bare reads a stream of events in which, in place of an event, an error may stand as a bare JSON object
// or array: it makes an event of it. No line of an event begins so. The bytes are the same however they
// are cut.
type bare struct {
	io.ReadCloser
	within bool   // a line
	found  bool   // a bare error, which goes on to the end
	whole  bool   // rest is the event of it
	rest   []byte // of the error, then what of its event is still to be read
	err    error  // how the source ended, once it did
}

func newBare(source io.ReadCloser) io.ReadCloser { return &bare{ReadCloser: source} }

// Read reads the events.
func (b *bare) Read(into []byte) (int, error) {
	if !b.found {
		n, err := b.ReadCloser.Read(into)
		before := b.scan(into[:n])
		if !b.found {
			return n, err
		}
		if b.err = err; before > 0 {
			return before, nil
		}
	}
	if !b.whole {
		b.collect()
	}
	if len(b.rest) == 0 {
		return 0, b.err
	}
	n := copy(into, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// scan looks for a line that begins as JSON does, and returns how many bytes stand before it.
func (b *bare) scan(data []byte) int {
	for at := 0; at < len(data); {
		if !b.within && (data[at] == '{' || data[at] == '[') {
			b.found = true
			b.rest = append(b.rest, data[at:]...)
			return at
		}
		end := bytes.IndexAny(data[at:], "\n\r")
		if end < 0 {
			b.within = true
			return len(data)
		}
		b.within = false
		at += end + 1
	}
	return len(data)
}

// collect reads the error to the end of the stream and makes an event of it.
func (b *bare) collect() {
	body := b.rest
	if b.err == nil {
		var more []byte
		if more, b.err = io.ReadAll(io.LimitReader(b.ReadCloser, maxBare)); b.err == nil {
			b.err = io.EOF
		}
		body = append(body, more...)
	}
	for i, c := range body { // between the tokens of JSON, line ends are space
		if c == '\n' || c == '\r' {
			body[i] = ' '
		}
	}
	b.rest, b.whole = append(append([]byte("\n\ndata: "), body...), "\n\n"...), true
}

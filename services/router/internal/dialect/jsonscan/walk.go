package jsonscan

import "bytes"

// Members walks the members of an object. The zero value has none.
type Members struct {
	// Name is the name of the current member, with its escapes undone.
	Name []byte
	// Value is the current value, as it stands in the text.
	Value []byte
	// NameAt and ValueAt are where name and value begin, CommaAt is the comma before the name or -1.
	NameAt, ValueAt, CommaAt int

	data  []byte
	pos   int
	depth int
	state int8 // 0 before, 1 within, 2 at the end
	err   *SyntaxError
}

// Object walks the members of the object that data is, and no more than MaxDepth levels of it.
func Object(data []byte) Members {
	m := Members{data: data, depth: MaxDepth}
	m.pos = space(data, 0)
	switch {
	case m.pos >= len(data):
		m.fail(bad(m.pos, "unexpected end"))
	case data[m.pos] != '{':
		m.fail(bad(m.pos, "not an object"))
	}
	return m
}

func (m *Members) fail(err *SyntaxError) bool {
	m.err, m.state = err, 2
	return false
}

// Err returns why the walk ended early, or nil.
func (m *Members) Err() error {
	if m.err == nil {
		return nil
	}
	return m.err
}

// End is the offset after the object's closing brace, once Next was false and Err is nil.
func (m *Members) End() int { return m.pos }

// Next moves to the next member. Its grammar has been checked then.
func (m *Members) Next() bool {
	if m.state == 2 || m.data == nil {
		return false
	}
	b, i := m.data, m.pos
	m.CommaAt = -1
	if m.state == 0 {
		m.state = 1
		if i = space(b, i+1); i < len(b) && b[i] == '}' {
			m.pos, m.state = i+1, 2
			return false
		}
	} else {
		i = space(b, i)
		switch {
		case i >= len(b):
			return m.fail(bad(i, "unexpected end"))
		case b[i] == '}':
			m.pos, m.state = i+1, 2
			return false
		case b[i] != ',':
			return m.fail(bad(i, "unexpected character after a value"))
		}
		m.CommaAt = i
		i = space(b, i+1)
	}
	m.NameAt = i
	at, err := name(b, i)
	if err != nil {
		return m.fail(err)
	}
	m.ValueAt = at
	end, err := value(b, at, m.depth-1)
	if err != nil {
		return m.fail(err)
	}
	m.Value, m.pos = b[at:end], end
	m.Name = nameOf(b[i:at])
	return true
}

// nameOf takes the name out of `"name" : `.
func nameOf(b []byte) []byte {
	end, _ := text(b, 0) // was checked
	if b = b[1 : end-1]; bytes.IndexByte(b, '\\') < 0 {
		return b
	}
	return unescape(b)
}

// Elements walks the elements of an array.
type Elements struct {
	// Value is the current element, as it stands in the text.
	Value []byte

	data  []byte
	pos   int
	state int8
	err   *SyntaxError
}

// Array walks the elements of the array that data is.
func Array(data []byte) Elements {
	e := Elements{data: data}
	e.pos = space(data, 0)
	switch {
	case e.pos >= len(data):
		e.err, e.state = bad(e.pos, "unexpected end"), 2
	case data[e.pos] != '[':
		e.err, e.state = bad(e.pos, "not an array"), 2
	}
	return e
}

// At is where the current element begins in the text.
func (e *Elements) At() int { return e.pos - len(e.Value) }

// Err returns why the walk ended early, or nil.
func (e *Elements) Err() error {
	if e.err == nil {
		return nil
	}
	return e.err
}

// Next moves to the next element. Its grammar has been checked then.
func (e *Elements) Next() bool {
	if e.state == 2 || e.data == nil {
		return false
	}
	b, i := e.data, e.pos
	if e.state == 1 {
		i = space(b, i)
		if i < len(b) && b[i] == ',' {
			i = space(b, i+1)
		} else {
			e.state = 2
			if i >= len(b) || b[i] != ']' {
				e.err = bad(i, "unexpected character after a value")
			}
			return false
		}
	} else {
		e.state = 1
		if i = space(b, i+1); i < len(b) && b[i] == ']' {
			e.state = 2
			return false
		}
	}
	end, err := value(b, i, MaxDepth-1)
	if err != nil {
		e.err, e.state = err, 2
		return false
	}
	e.Value, e.pos = b[i:end], end
	return true
}

// Get returns the value at a path of names through objects, or nil.
func Get(data []byte, path ...string) []byte {
	for _, want := range path {
		m := Object(data)
		data = nil
		for m.Next() {
			if string(m.Name) == want {
				data = m.Value
				break
			}
		}
		if data == nil {
			return nil
		}
	}
	return data
}

// Valid reports whether data is one JSON value and nothing else.
func Valid(data []byte) bool {
	end, err := value(data, space(data, 0), MaxDepth)
	return err == nil && space(data, end) == len(data)
}

// Trailing returns the offset of the first byte at or after i that is no white space, or -1.
func Trailing(data []byte, i int) int {
	if i = space(data, i); i < len(data) {
		return i
	}
	return -1
}

// Package jsonscan reads JSON in place: it walks the members of an object and the elements of an
// array as slices of the input, and checks the grammar of what it passes. Dialects and providers
// use it to look at bodies and chunks without decoding them, and to know the exact bytes to edit.
//
// It copies nothing and allocates nothing, but for strings that are asked for. It does not check
// that strings are valid UTF-8.
package jsonscan

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// MaxDepth bounds the nesting of a document.
const MaxDepth = 64

// SyntaxError says where a text stops being JSON.
type SyntaxError struct {
	// Offset counts bytes from the start of what was given.
	Offset int
	// Problem says what is wrong there.
	Problem string
	// TooDeep says that the text nests deeper than MaxDepth, and may be JSON otherwise.
	TooDeep bool
}

// Error names problem and place.
func (e *SyntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.Problem, e.Offset) }

func bad(at int, problem string) *SyntaxError { return &SyntaxError{Offset: at, Problem: problem} }

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// value passes one value that begins at i, and returns its end.
func value(b []byte, i, depth int) (int, *SyntaxError) {
	if i >= len(b) {
		return i, bad(i, "unexpected end")
	}
	switch c := b[i]; {
	case c == '"':
		return text(b, i)
	case c == '{' || c == '[':
		return nested(b, i, depth)
	case c == '-' || (c >= '0' && c <= '9'):
		return number(b, i)
	case c == 't':
		return word(b, i, "true")
	case c == 'f':
		return word(b, i, "false")
	case c == 'n':
		return word(b, i, "null")
	}
	return i, bad(i, "unexpected character")
}

func word(b []byte, i int, w string) (int, *SyntaxError) {
	if len(b)-i >= len(w) && string(b[i:i+len(w)]) == w {
		return i + len(w), nil
	}
	return i, bad(i, "unexpected word")
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}

func number(b []byte, i int) (int, *SyntaxError) {
	start := i
	if b[i] == '-' {
		i++
	}
	whole := digits(b, i)
	if whole == i || (b[i] == '0' && whole > i+1) {
		return i, bad(start, "malformed number")
	}
	i = whole
	if i < len(b) && b[i] == '.' {
		end := digits(b, i+1)
		if end == i+1 {
			return i, bad(start, "malformed number")
		}
		i = end
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		end := digits(b, i)
		if end == i {
			return i, bad(start, "malformed number")
		}
		i = end
	}
	return i, nil
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// text passes a string, eight bytes at a time as long as nothing in them is special.
func text(b []byte, i int) (int, *SyntaxError) {
	start := i
	i++
	for {
		for i+8 <= len(b) {
			x := binary.LittleEndian.Uint64(b[i:])
			quote, slash := x^(ones*'"'), x^(ones*'\\')
			special := ((x - ones*0x20) &^ x) | ((quote - ones) &^ quote) | ((slash - ones) &^ slash)
			if special &= highs; special != 0 {
				i += bits.TrailingZeros64(special) / 8
				break
			}
			i += 8
		}
		for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= 0x20 {
			i++
		}
		if i >= len(b) {
			return i, bad(start, "string without an end")
		}
		switch {
		case b[i] == '"':
			return i + 1, nil
		case b[i] < 0x20:
			return i, bad(i, "control character in a string")
		}
		end, err := escape(b, i)
		if err != nil {
			return i, err
		}
		i = end
	}
}

func escape(b []byte, i int) (int, *SyntaxError) {
	if i+1 >= len(b) {
		return i, bad(i, "unexpected end")
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, nil
	case 'u':
		if i+6 > len(b) {
			return i, bad(i, "unexpected end")
		}
		for _, c := range b[i+2 : i+6] {
			if hexDigit(c) < 0 {
				return i, bad(i, "malformed escape")
			}
		}
		return i + 6, nil
	}
	return i, bad(i, "malformed escape")
}

func hexDigit(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}

// nested passes an object or array.
func nested(b []byte, i, depth int) (int, *SyntaxError) {
	if depth <= 0 {
		return i, &SyntaxError{Offset: i, Problem: fmt.Sprintf("nested deeper than %d levels", MaxDepth), TooDeep: true}
	}
	object, end := b[i] == '{', byte(']')
	if object {
		end = '}'
	}
	i = space(b, i+1)
	if i < len(b) && b[i] == end {
		return i + 1, nil
	}
	for {
		var err *SyntaxError
		if object {
			if i, err = name(b, i); err != nil {
				return i, err
			}
		}
		if i, err = value(b, i, depth-1); err != nil {
			return i, err
		}
		i = space(b, i)
		switch {
		case i >= len(b):
			return i, bad(i, "unexpected end")
		case b[i] == end:
			return i + 1, nil
		case b[i] != ',':
			return i, bad(i, "unexpected character after a value")
		}
		i = space(b, i+1)
	}
}

// name passes a member's name and colon, and returns where its value begins.
func name(b []byte, i int) (int, *SyntaxError) {
	if i >= len(b) {
		return i, bad(i, "unexpected end")
	}
	if b[i] != '"' {
		return i, bad(i, "a member needs a name in double quotes")
	}
	i, err := text(b, i)
	if err != nil {
		return i, err
	}
	i = space(b, i)
	if i >= len(b) {
		return i, bad(i, "unexpected end")
	}
	if b[i] != ':' {
		return i, bad(i, "a name needs a colon after it")
	}
	return space(b, i+1), nil
}

package jsonscan

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Kind is the sort of a value.
type Kind byte

// The kinds.
const (
	Missing Kind = iota
	Null
	Bool
	Number
	String
	ArrayKind
	ObjectKind
)

// KindOf returns the sort of a value by its first byte.
func KindOf(v []byte) Kind {
	if len(v) == 0 {
		return Missing
	}
	switch v[0] {
	case 'n':
		return Null
	case 't', 'f':
		return Bool
	case '"':
		return String
	case '[':
		return ArrayKind
	case '{':
		return ObjectKind
	}
	return Number
}

// Given reports whether v is there and not null.
func Given(v []byte) bool { return len(v) > 0 && v[0] != 'n' }

// Text returns a string value with its escapes undone.
func Text(v []byte) (string, bool) {
	if len(v) < 2 || v[0] != '"' {
		return "", false
	}
	v = v[1 : len(v)-1]
	if bytes.IndexByte(v, '\\') < 0 {
		return string(v), true
	}
	return string(unescape(v)), true
}

// TextLen is the length of a string value as it stands, without its quotes; 0 for other values.
func TextLen(v []byte) int {
	if len(v) < 2 || v[0] != '"' {
		return 0
	}
	return len(v) - 2
}

// True reports whether v is true; ok whether it is a boolean at all.
func True(v []byte) (yes, ok bool) {
	return len(v) == 4 && v[0] == 't', KindOf(v) == Bool
}

// Int returns a number without fraction.
func Int(v []byte) (int64, bool) {
	if KindOf(v) != Number {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err == nil {
		return n, true
	}
	// Some encoders write whole numbers as 12.0 or 1e3.
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil || f != float64(int64(f)) || f > 1<<53 || f < -(1<<53) {
		return 0, false
	}
	return int64(f), true
}

// Float returns a number.
func Float(v []byte) (float64, bool) {
	if KindOf(v) != Number {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(v), 64)
	return f, err == nil
}

// unescape undoes the escapes of the inside of a string whose grammar was checked.
func unescape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		if b[i] != '\\' {
			end := bytes.IndexByte(b[i:], '\\')
			if end < 0 {
				return append(out, b[i:]...)
			}
			out = append(out, b[i:i+end]...)
			i += end
			continue
		}
		if b[i+1] != 'u' {
			out = append(out, plain(b[i+1]))
			i += 2
			continue
		}
		r := unit(b[i:])
		i += 6
		if utf16.IsSurrogate(r) {
			low := rune(-1)
			if i+6 <= len(b) && b[i] == '\\' && b[i+1] == 'u' {
				low = unit(b[i:])
			}
			if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
				i += 6
			}
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

func plain(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

func unit(b []byte) rune {
	return hexDigit(b[2])<<12 | hexDigit(b[3])<<8 | hexDigit(b[4])<<4 | hexDigit(b[5])
}

const hexDigits = "0123456789abcdef"

// AppendText appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func AppendText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = append(dst, "\uFFFD"...)
			i++
			start = i
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// Edit is a replacement of the bytes from Start to End.
type Edit struct {
	Start, End int
	With       string
}

// Apply returns a copy of data with the edits, which are in order and do not overlap. Every other
// byte stays.
func Apply(data []byte, edits []Edit) []byte {
	size := len(data)
	for _, e := range edits {
		size += len(e.With) - (e.End - e.Start)
	}
	out := make([]byte, 0, size)
	at := 0
	for _, e := range edits {
		out = append(out, data[at:e.Start]...)
		out = append(out, e.With...)
		at = e.End
	}
	return append(out, data[at:]...)
}

// TextEnd returns where the string that v begins with ends, after its quote, or 0 if it does not.
func TextEnd(v []byte) int {
	if len(v) == 0 || v[0] != '"' {
		return 0
	}
	end, err := text(v, 0)
	if err != nil {
		return 0
	}
	return end
}

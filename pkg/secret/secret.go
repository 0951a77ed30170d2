// Package secret holds values that never print.
//
// A Text shows as [secret] through fmt, slog, JSON, text and YAML encoders; the one way to its
// plaintext is Reveal, whose callers are listed and checked by tools/archtest. It does not promise
// that memory is wiped: Go copies strings freely, and net/http keeps its own copies.
package secret

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

const mask = "[secret]"

// Text is a secret string. The zero value is an empty secret. Copies share the plaintext.
type Text struct {
	// A pointer, so that reflection-based printers of an enclosing struct show an address at most.
	plain *string
}

// New wraps plain.
func New(plain string) Text { return Text{plain: &plain} }

// Reveal returns the plaintext. Call it only in the line that hands it to the party it is for.
func (t Text) Reveal() string {
	if t.plain == nil {
		return ""
	}
	return *t.plain
}

// Empty reports whether there is no plaintext.
func (t Text) Empty() bool { return t.plain == nil || *t.plain == "" }

// Len returns the plaintext's length in bytes.
func (t Text) Len() int {
	if t.plain == nil {
		return 0
	}
	return len(*t.plain)
}

// Equal compares in constant time for equal lengths.
func (t Text) Equal(other Text) bool {
	return subtle.ConstantTimeCompare([]byte(t.Reveal()), []byte(other.Reveal())) == 1
}

// Hint returns what may be shown of a credential: its last four characters if it is long enough
// that they help nobody to guess it, else nothing.
func (t Text) Hint() string {
	if t.Len() < 16 {
		return "…"
	}
	return "…" + (*t.plain)[t.Len()-4:]
}

// String hides the plaintext.
func (Text) String() string { return mask }

// GoString hides the plaintext.
func (Text) GoString() string { return mask }

// Format hides the plaintext from every fmt verb.
func (Text) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(mask)) }

// LogValue hides the plaintext from slog.
func (Text) LogValue() slog.Value { return slog.StringValue(mask) }

// MarshalText hides the plaintext from encoders.
func (Text) MarshalText() ([]byte, error) { return []byte(mask), nil }

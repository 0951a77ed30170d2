// Package label holds the rule for names that people give to things. Such names appear in
// terminals, logs and headers, so they are one line of visible text.
package label

import (
	"strings"
	"unicode"

	"github.com/claviger/claviger/pkg/fault"
)

// ErrInvalid means that a name is not one line of visible text.
var ErrInvalid = fault.New(fault.Invalid, "NAME_INVALID", "the name is not one line of visible text")

// Check reports whether s may be the name in the given field.
func Check(field, s string) error {
	problem := ""
	switch {
	case strings.TrimSpace(s) != s:
		problem = "begins or ends with white space"
	case s == "":
		problem = "is empty"
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		problem = "has a line break or another character that cannot be seen"
	default:
		return nil
	}
	return ErrInvalid.Saying("%s %s", field, problem).Violating(fault.Violation{Field: field, Description: problem})
}

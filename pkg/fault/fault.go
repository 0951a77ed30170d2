// Package fault is the vocabulary of errors that may cross a service border.
//
// A domain package declares its errors once with New and callers compare with errors.Is. Only a
// fault's message, reason, hint and facts leave the process; causes stay in the log.
package fault

import (
	"errors"
	"fmt"
	"maps"
	"time"
)

// Kind says what sort of failure it is, and so which code an edge answers with.
type Kind uint8

// The kinds. Each edge maps them to its own codes in one place.
const (
	Internal        Kind = iota // a defect or a broken part of ours
	Invalid                     // the request cannot be understood or breaks a rule
	Unauthenticated             // nobody known is calling
	Denied                      // known, but not allowed
	NotFound                    // no such object in the caller's organization
	Conflict                    // the object exists already or has changed since it was read
	Precondition                // right request, wrong state: something has to be done first
	Exhausted                   // a limit is reached
	Unavailable                 // a part that is needed does not answer; trying again may help
	Canceled                    // the caller went away
	Timeout                     // the time ran out
)

// Blame says whose fault it is.
type Blame string

// Who can be to blame. The words appear in error answers.
const (
	Caller   Blame = "caller"
	Limit    Blame = "limit"
	Provider Blame = "provider"
	Us       Blame = "claviger"
)

// Error is a failure that may be shown. It is immutable: the With methods return copies.
type Error struct {
	kind       Kind
	blame      Blame
	reason     string
	message    string
	declared   string
	hint       string
	facts      map[string]string
	violations []Violation
	retryAfter time.Duration
	cause      error
}

// Violation is one broken rule of one field.
type Violation struct{ Field, Description string }

// New declares an error. Reason is a stable UPPER_SNAKE word, message says what happened in a
// short sentence without a full stop.
func New(kind Kind, reason, message string) *Error {
	blame := Us
	switch kind {
	case Invalid, Unauthenticated, Denied, NotFound, Conflict, Precondition, Canceled:
		blame = Caller
	case Exhausted:
		blame = Limit
	case Internal, Unavailable, Timeout:
	}
	return &Error{kind: kind, blame: blame, reason: reason, message: message, declared: message}
}

// Error returns the message and, for logs, the causes.
func (e *Error) Error() string {
	if e.cause == nil {
		return e.message
	}
	return e.message + ": " + e.cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Is matches errors of the same reason, so a copy with facts still is its declaration.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.reason == e.reason
}

// Because returns a copy with a cause that is logged and never shown.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// Saying returns a copy with a more precise message.
func (e *Error) Saying(format string, args ...any) *Error {
	c := *e
	c.message = fmt.Sprintf(format, args...)
	return &c
}

// With returns a copy that names a fact: a credential's label, a limit's name, a model.
func (e *Error) With(name, value string) *Error {
	c := *e
	c.facts = maps.Clone(e.facts)
	if c.facts == nil {
		c.facts = map[string]string{}
	}
	c.facts[name] = value
	return &c
}

// Without returns a copy that does not name some facts.
func (e *Error) Without(names ...string) *Error {
	c := *e
	c.facts = maps.Clone(e.facts)
	for _, name := range names {
		delete(c.facts, name)
	}
	return &c
}

// Hinting returns a copy that says what to do next.
func (e *Error) Hinting(hint string) *Error {
	c := *e
	c.hint = hint
	return &c
}

// Blaming returns a copy with another party to blame than its kind suggests.
func (e *Error) Blaming(b Blame) *Error {
	c := *e
	c.blame = b
	return &c
}

// RetryingAfter returns a copy that says when to try again.
func (e *Error) RetryingAfter(d time.Duration) *Error {
	c := *e
	c.retryAfter = d
	return &c
}

// Violating returns a copy with the broken field rules.
func (e *Error) Violating(v ...Violation) *Error {
	c := *e
	c.violations = append(append([]Violation(nil), e.violations...), v...)
	return &c
}

// Kind returns the error's kind.
func (e *Error) Kind() Kind { return e.kind }

// Reason returns the stable word.
func (e *Error) Reason() string { return e.reason }

// Message returns what may be shown, without causes.
func (e *Error) Message() string { return e.message }

// Declared returns the message as New was given it, without the names that Saying brought in.
func (e *Error) Declared() string { return e.declared }

// Hint returns what to do next, or nothing.
func (e *Error) Hint() string { return e.hint }

// Blame returns whose fault it is.
func (e *Error) Blame() Blame { return e.blame }

// Facts returns the named facts. The caller must not change the map.
func (e *Error) Facts() map[string]string { return e.facts }

// Violations returns the broken field rules.
func (e *Error) Violations() []Violation { return e.violations }

// RetryAfter returns when to try again; zero says nothing about it.
func (e *Error) RetryAfter() time.Duration { return e.retryAfter }

// Of returns the fault in err's chain. It is false for any other error, which is nobody's
// business outside the process.
func Of(err error) (*Error, bool) { return errors.AsType[*Error](err) }

// KindOf returns the kind of err, Internal if it is no fault.
func KindOf(err error) Kind {
	if f, ok := Of(err); ok {
		return f.kind
	}
	return Internal
}

package dialect

import (
	"slices"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
)

// WrappedPrefix begins the state of a reasoning in a place where a dialect has its own: what follows is whose it is
// and, after a dot, the state.
const WrappedPrefix = "clv1."

// CallState is the form of the state of a tool call, where a dialect has a place for that of reasoning only.
const CallState completion.StateFormat = "google-call"

// Wrap is a state as a dialect carries it whose own states have the format own. A state of nobody, which a
// reasoning without one has, is wrapped too: its provider must not be shown it as one of its own.
func Wrap(own, format completion.StateFormat, state string) string {
	if format == own {
		return state
	}
	return WrappedPrefix + string(format) + "." + state
}

// Unwrap undoes Wrap.
func Unwrap(own completion.StateFormat, carried string) (format completion.StateFormat, state string) {
	rest, foreign := strings.CutPrefix(carried, WrappedPrefix)
	if !foreign {
		return own, carried
	}
	name, state, _ := strings.Cut(rest, ".")
	return completion.StateFormat(name), state
}

// Wrapped reports whether a carried state is not the dialect's own.
func Wrapped(carried string) bool { return strings.HasPrefix(carried, WrappedPrefix) }

// WithFormat adds a format to those that were found in a conversation, each once. Nothing is the format of
// reasoning without a state.
func WithFormat(found []completion.StateFormat, f completion.StateFormat) []completion.StateFormat {
	if f == "" || f == noState || slices.Contains(found, f) {
		return found
	}
	return append(found, f)
}

// noState is the format of reasoning that nobody signed, where a dialect wants a state all the same.
const noState completion.StateFormat = "none"

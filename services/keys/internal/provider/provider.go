// Package provider lists the providers whose credentials and models can be configured. How they
// are called is the router's business.
package provider

import (
	"maps"
	"slices"
	"strings"

	"github.com/claviger/claviger/pkg/fault"
)

// ErrUnknown means that there is no such provider.
var ErrUnknown = fault.New(fault.Invalid, "PROVIDER_UNKNOWN", "unknown provider")

// facts of a provider.
type facts struct {
	customBaseURL bool // OpenAI-compatible servers are reached through it
}

var known = map[string]facts{"anthropic": {}, "openai": {customBaseURL: true}}

// Check reports whether slug is a known provider.
func Check(slug string) error {
	if _, ok := known[slug]; !ok {
		return ErrUnknown.Saying("unknown provider %q: known are %s", slug, Names())
	}
	return nil
}

// TakesBaseURL reports whether a credential of the provider may have an endpoint of its own.
func TakesBaseURL(slug string) bool { return known[slug].customBaseURL }

// Names lists the known providers for people.
func Names() string { return strings.Join(slices.Sorted(maps.Keys(known)), ", ") }

package provider

import (
	"net/http"
	"strconv"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
)

// limitNames are the headers of one limit. Reset is a duration, seconds or a time.
type limitNames struct{ limit, remaining, reset string }

// Vendors' own names, of which an answer has those of one.
var (
	requestLimits = []limitNames{
		{"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests"},
		{"Anthropic-Ratelimit-Requests-Limit", "Anthropic-Ratelimit-Requests-Remaining", "Anthropic-Ratelimit-Requests-Reset"},
		{"X-Ratelimit-Limit-Req-Minute", "X-Ratelimit-Remaining-Req-Minute", ""}, // Mistral
		{"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset"},      // Moonshot
	}
	tokenLimits = []limitNames{
		{"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens"},
		{"Anthropic-Ratelimit-Tokens-Limit", "Anthropic-Ratelimit-Tokens-Remaining", "Anthropic-Ratelimit-Tokens-Reset"},
		{"X-Ratelimit-Limit-Tokens-Minute", "X-Ratelimit-Remaining-Tokens-Minute", ""}, // Mistral
	}
	projectTokens = []limitNames{
		{"X-Ratelimit-Limit-Project-Tokens", "X-Ratelimit-Remaining-Project-Tokens", "X-Ratelimit-Reset-Project-Tokens"},
	}
)

// limits are the headers of an answer that may tell of limits.
type limits http.Header

// Headroom implements completion.ProviderLimits.
func (l limits) Headroom(at time.Time) completion.Headroom { return HeadroomOf(http.Header(l), at) }

// HeadroomOf reads what an answer's headers say of the limits. Of the tokens' limits the smallest counts.
func HeadroomOf(h http.Header, now time.Time) completion.Headroom {
	l := completion.Headroom{Requests: allowance(h, requestLimits, now), Tokens: allowance(h, tokenLimits, now)}
	if project := allowance(h, projectTokens, now); project.Known && (!l.Tokens.Known || project.Remaining < l.Tokens.Remaining) {
		l.Tokens = project
	}
	return l
}

// allowance is what the first names that are there say. A number below 0 stands for unknown.
func allowance(h http.Header, names []limitNames, now time.Time) (a completion.Allowance) {
	for _, n := range names {
		given := h.Get(n.remaining)
		if given == "" { // as most are: an error of ParseInt would cost two allocations each
			continue
		}
		remaining, err := strconv.ParseInt(given, 10, 64)
		if err != nil || remaining < 0 {
			continue
		}
		a.Known, a.Remaining = true, remaining
		if limit, err := strconv.ParseInt(h.Get(n.limit), 10, 64); err == nil && limit > 0 {
			a.Limit = limit
		}
		if given := h.Get(n.reset); n.reset != "" && given != "" {
			if d, ok := resetIn(given); ok {
				a.Reset = min(max(d, 0), maxReset)
			} else if at, err := time.Parse(time.RFC3339, given); err == nil {
				a.Reset = min(max(at.Sub(now), 0), maxReset)
			}
		}
		return a
	}
	return a
}

// maxReset bounds what a broken header can say: the longest windows are months.
const maxReset = 31 * 24 * time.Hour

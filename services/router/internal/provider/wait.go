package provider

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxWait bounds what a provider may ask for: a broken header must not take a credential out for days.
const maxWait = 10 * time.Minute

// RetryAfter is how long the headers ask to wait, 0 if they do not say. Of the limits that are named,
// those count of which nothing remains.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	wait := time.Duration(0)
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil {
		wait = seconds(ms / 1000)
	} else if given := h.Get("Retry-After"); given != "" {
		if s, err := strconv.ParseFloat(given, 64); err == nil {
			wait = seconds(s)
		} else if at, err := http.ParseTime(given); err == nil {
			wait = at.Sub(now)
		}
	} else {
		wait = exhausted(h, now)
	}
	return min(max(wait, 0), maxWait)
}

// seconds avoids overflow; NaN, for which no comparison is true, becomes nothing.
func seconds(s float64) time.Duration {
	if !(s > 0) {
		return 0
	}
	return time.Duration(min(s, maxWait.Seconds()) * float64(time.Second))
}

// exhausted is the latest reset of the limits of which nothing remains.
func exhausted(h http.Header, now time.Time) time.Duration {
	var wait time.Duration
	for _, kind := range []string{"Requests", "Tokens", "Project-Tokens"} {
		if h.Get("X-Ratelimit-Remaining-"+kind) == "0" {
			if d, ok := resetIn(h.Get("X-Ratelimit-Reset-" + kind)); ok {
				wait = max(wait, d)
			}
		}
	}
	for _, kind := range []string{"Requests", "Tokens", "Input-Tokens", "Output-Tokens"} {
		if h.Get("Anthropic-Ratelimit-"+kind+"-Remaining") == "0" {
			if at, err := time.Parse(time.RFC3339, h.Get("Anthropic-Ratelimit-"+kind+"-Reset")); err == nil {
				wait = max(wait, at.Sub(now))
			}
		}
	}
	return wait
}

// resetIn reads OpenAI's "6m0s" and the plain seconds of compatible servers.
func resetIn(given string) (time.Duration, bool) {
	if s, err := strconv.ParseFloat(given, 64); err == nil {
		return seconds(s), true
	}
	d, err := time.ParseDuration(strings.TrimSpace(given))
	return d, err == nil
}

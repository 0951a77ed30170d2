package provider_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
)

func TestLimitsAreReadInEveryVendorsHeaders(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	known := func(limit, remaining int64, reset time.Duration) completion.Allowance {
		return completion.Allowance{Known: true, Limit: limit, Remaining: remaining, Reset: reset}
	}
	for name, test := range map[string]struct {
		header map[string]string
		want   completion.Headroom
	}{
		"none": {nil, completion.Headroom{}},
		"openai, with a project's limit": {
			map[string]string{
				"x-ratelimit-limit-requests": "5000", "x-ratelimit-remaining-requests": "4999", "x-ratelimit-reset-requests": "12ms",
				"x-ratelimit-limit-tokens": "2000000", "x-ratelimit-remaining-tokens": "1999000", "x-ratelimit-reset-tokens": "6m0s",
				"x-ratelimit-limit-project-tokens": "100", "x-ratelimit-remaining-project-tokens": "7", "x-ratelimit-reset-project-tokens": "3s",
			},
			completion.Headroom{Requests: known(5000, 4999, 12*time.Millisecond), Tokens: known(100, 7, 3*time.Second)},
		},
		"groq": {
			map[string]string{"x-ratelimit-limit-tokens": "8000", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "7.66s"},
			completion.Headroom{Tokens: known(8000, 0, 7660*time.Millisecond)},
		},
		"azure counts seconds, and -1 is unknown": {
			map[string]string{"x-ratelimit-remaining-requests": "-1", "x-ratelimit-remaining-tokens": "900", "x-ratelimit-reset-tokens": "42"},
			completion.Headroom{Tokens: known(0, 900, 42*time.Second)},
		},
		"xai tells no reset": {
			map[string]string{"x-ratelimit-limit-requests": "1800", "x-ratelimit-remaining-requests": "1799"},
			completion.Headroom{Requests: known(1800, 1799, 0)},
		},
		"mistral": {
			map[string]string{
				"x-ratelimit-limit-req-minute": "60", "x-ratelimit-remaining-req-minute": "59",
				"x-ratelimit-limit-tokens-minute": "500000", "x-ratelimit-remaining-tokens-minute": "499000", "x-ratelimit-tokens-query-cost": "1000",
			},
			completion.Headroom{Requests: known(60, 59, 0), Tokens: known(500000, 499000, 0)},
		},
		"moonshot": {
			map[string]string{"X-RateLimit-Limit": "3", "X-RateLimit-Remaining": "2", "X-RateLimit-Reset": "20"},
			completion.Headroom{Requests: known(3, 2, 20*time.Second)},
		},
		"anthropic": {
			map[string]string{"anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-requests-remaining": "49", "anthropic-ratelimit-requests-reset": "2026-11-22T12:00:30Z"},
			completion.Headroom{Requests: known(50, 49, 30*time.Second)},
		},
		"nonsense": {
			map[string]string{"x-ratelimit-remaining-requests": "many", "x-ratelimit-remaining-tokens": "1", "x-ratelimit-reset-tokens": "9e99"},
			completion.Headroom{Tokens: known(0, 1, 10*time.Minute)},
		},
	} {
		h := http.Header{}
		for k, v := range test.header {
			h.Set(k, v)
		}
		if diff := cmp.Diff(test.want, provider.HeadroomOf(h, now)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

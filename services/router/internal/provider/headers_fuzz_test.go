package provider_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// FuzzHeadroom: whatever a vendor's headers say, what is read of them is no nonsense.
func FuzzHeadroom(f *testing.F) {
	f.Add("5000", "4999", "12ms")
	f.Add("50", "49", "2026-11-22T12:00:30Z")
	f.Add("-1", "-1", "9e99")
	f.Add("", "7", "6m0s")
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, limit, remaining, reset string) {
		for _, names := range [][3]string{
			{"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests"},
			{"Anthropic-Ratelimit-Requests-Limit", "Anthropic-Ratelimit-Requests-Remaining", "Anthropic-Ratelimit-Requests-Reset"},
			{"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset"},
		} {
			got := provider.HeadroomOf(http.Header{names[0]: {limit}, names[1]: {remaining}, names[2]: {reset}}, now).Requests
			if n, err := strconv.ParseInt(remaining, 10, 64); got.Known != (err == nil && n >= 0) {
				t.Errorf("%q: %+v", remaining, got)
			}
			if !got.Known && got != (completion.Allowance{}) || got.Limit < 0 || got.Remaining < 0 || got.Reset < 0 || got.Reset > 31*24*time.Hour {
				t.Errorf("%q of %q, reset %q: %+v", remaining, limit, reset, got)
			}
		}
	})
}

// FuzzListed: whatever a list of models holds, few, short and printable names come of it, or a reason.
func FuzzListed(f *testing.F) {
	f.Add(`{"object":"list","data":[{"id":"gpt-4.1","object":"model"},{"object":"model","id":"o3"}]}`)
	f.Add(` [{"id":"acme/m"}]`)
	f.Add(`{"data":[{"id":"a"},{"id":""},{"id":7},"b",{"id":"a\u0007b"}]}`)
	f.Add(`{"data":{}}`)
	f.Fuzz(func(t *testing.T, body string) {
		got := provider.Listed(answer(body))
		if got.State != "active" && (got.State != "" || got.Reason == "" || got.Models != nil) {
			t.Errorf("%q: %+v", body, got)
		}
		if len(got.Models) > 1000 {
			t.Errorf("%d models", len(got.Models))
		}
		for _, name := range got.Models {
			if name == "" || len(name) > 256 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("%q names %q", body, name)
			}
		}
	})
}

package fal_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/provider/fal"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// counted counts calls.
type counted struct{ n atomic.Int64 }

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return http.DefaultTransport.RoundTrip(r)
}

// hooked submits a job and returns a webhook of its end.
func hooked(t *testing.T, server *llmtest.Server, at time.Time) (id string, header http.Header, body []byte) {
	t.Helper()
	p := fal.New(http.DefaultTransport)
	p.NotifyAt("https://router.example/hooks/fal")
	id = submitted(t, p, film(server.FalURL(), "a red kite")).ID
	req, err := server.FalWebhook(t.Context(), id, at)
	if err != nil {
		t.Fatal(err)
	}
	if body, err = io.ReadAll(req.Body); err != nil {
		t.Fatal(err)
	}
	return id, req.Header, body
}

func TestWhoLeavesKeepsNobodyFromThePublishedKeys(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	now := time.Now()
	id, header, body := hooked(t, server, now)
	hooks := fal.NewWebhooks(http.DefaultTransport, []string{server.FalURL() + "/.well-known/jwks.json"}, func() time.Time { return now })
	gone, leave := context.WithCancel(t.Context())
	leave()
	forged := header.Clone()
	forged.Set("X-Fal-Webhook-Signature", strings.Repeat("0", 128))
	if _, err := hooks.Verify(gone, forged, body); !errors.Is(err, fal.ErrForged) {
		t.Errorf("a forged webhook of who has left: %v", err)
	}
	if got, err := hooks.Verify(t.Context(), header, body); err != nil || got != id {
		t.Errorf("a genuine webhook right after it: %q, %v", got, err)
	}
}

func TestOnlyGenuineWebhooksAreListenedTo(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	now := time.Now()
	for name, test := range map[string]struct {
		at     time.Duration
		change func(h http.Header, body []byte) []byte
		want   error
	}{
		"genuine":         {0, nil, nil},
		"late, in time":   {-299 * time.Second, nil, nil},
		"too late":        {-302 * time.Second, nil, fal.ErrForged},
		"from the future": {302 * time.Second, nil, fal.ErrForged},
		"another body":    {0, func(_ http.Header, b []byte) []byte { return append(b, ' ') }, fal.ErrForged},
		"another request": {0, func(h http.Header, b []byte) []byte { h.Set("X-Fal-Webhook-Request-Id", "8a"); return b }, fal.ErrForged},
		"another user":    {0, func(h http.Header, b []byte) []byte { h.Set("X-Fal-Webhook-User-Id", "u"); return b }, fal.ErrForged},
		"another time":    {0, func(h http.Header, b []byte) []byte { h.Set("X-Fal-Webhook-Timestamp", itoa(now.Unix()+1)); return b }, fal.ErrForged},
		"no time":         {0, func(h http.Header, b []byte) []byte { h.Del("X-Fal-Webhook-Timestamp"); return b }, fal.ErrForged},
		"no signature":    {0, func(h http.Header, b []byte) []byte { h.Del("X-Fal-Webhook-Signature"); return b }, fal.ErrForged},
		"zero signature": {0, func(h http.Header, b []byte) []byte {
			h.Set("X-Fal-Webhook-Signature", strings.Repeat("0", 128))
			return b
		}, fal.ErrForged},
		"base64 signature": {0, func(h http.Header, b []byte) []byte {
			h.Set("X-Fal-Webhook-Signature", strings.Repeat("A=", 64))
			return b
		}, fal.ErrForged},
		"long names": {0, func(h http.Header, b []byte) []byte {
			h.Set("X-Fal-Webhook-User-Id", strings.Repeat("u", 1<<20))
			return b
		}, fal.ErrForged},
	} {
		hooks := fal.NewWebhooks(http.DefaultTransport, []string{server.FalURL() + "/.well-known/jwks.json"}, func() time.Time { return now })
		id, header, body := hooked(t, server, now.Add(test.at))
		if test.change != nil {
			body = test.change(header, body)
		}
		got, err := hooks.Verify(t.Context(), header, body)
		if !errors.Is(err, test.want) || (err == nil) != (got == id) {
			t.Errorf("%s = %q, %v; want %v", name, got, err, test.want)
		}
	}
}

func TestWebhookIsTakenOnce(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	now := time.Now()
	hooks := fal.NewWebhooks(http.DefaultTransport, []string{server.FalURL() + "/.well-known/jwks.json"}, func() time.Time { return now })
	_, header, body := hooked(t, server, now)
	if _, err := hooks.Verify(t.Context(), header, body); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		now = now.Add(100 * time.Second)
		if _, err := hooks.Verify(t.Context(), header, body); !errors.Is(err, fal.ErrReplayed) {
			t.Errorf("the same webhook again = %v", err)
		}
	}
}

func TestKeysOfWebhooksAreKeptForADay(t *testing.T) {
	t.Parallel()
	server, calls := llmtest.New(t), &counted{}
	now := time.Now()
	hooks := fal.NewWebhooks(calls, []string{server.URL + "/nowhere", server.FalURL() + "/.well-known/jwks.json"}, func() time.Time { return now })
	verify := func(forge bool) error {
		_, header, body := hooked(t, server, now)
		if forge {
			header.Set("X-Fal-Webhook-Signature", strings.Repeat("ab", 64))
		}
		_, err := hooks.Verify(t.Context(), header, body)
		return err
	}
	for range 3 {
		if err := verify(false); err != nil {
			t.Fatal(err)
		}
	}
	if got := calls.n.Load(); got != 2 { // the first address has none
		t.Errorf("%d calls for keys, want 2", got)
	}
	now = now.Add(time.Hour)
	for range 50 {
		if err := verify(true); !errors.Is(err, fal.ErrForged) {
			t.Fatal(err)
		}
	}
	if got := calls.n.Load(); got != 4 {
		t.Errorf("50 forged webhooks make %d calls, want one look for new keys", got-2)
	}
	now = now.Add(25 * time.Hour)
	if err := verify(false); err != nil || calls.n.Load() != 6 {
		t.Errorf("a day later: %v after %d calls in all", err, calls.n.Load())
	}
	broken := fal.NewWebhooks(calls, []string{server.URL + "/nowhere"}, func() time.Time { return now })
	_, header, body := hooked(t, server, now)
	if _, err := broken.Verify(t.Context(), header, body); !errors.Is(err, fal.ErrKeys) {
		t.Errorf("without keys = %v", err)
	}
}

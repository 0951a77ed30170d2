package router

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/openai"
	"github.com/claviger/claviger/services/router/internal/health"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// answering is a transport that answers every call alike.
type answering struct {
	status int
	header http.Header
	calls  int
}

func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a.calls++
	body := `{"error":{"message":"slow down","type":"rate_limit_error"}}`
	h := a.header.Clone()
	h.Set("Content-Type", "application/json")
	return &http.Response{
		StatusCode: a.status, Header: h, Body: io.NopCloser(bytes.NewBufferString(body)), ContentLength: int64(len(body)), Request: r, ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// nothing is a caller who gets no answer.
type nothing struct{ completion.Sink }

// TestEachWayToSayWhenToComeBackCoolsDownForThatLong, through the real adapters and at exact times: the caller is
// told that time, nobody is called before it is over, and one call is made then.
func TestEachWayToSayWhenToComeBackCoolsDownForThatLong(t *testing.T) {
	t.Parallel()
	at := func(after time.Duration, form string) func() string {
		return func() string { return time.Now().Add(after).UTC().Format(form) }
	}
	text := func(s string) func() string { return func() string { return s } }
	for name, test := range map[string]struct {
		slug   string
		header map[string]func() string
		want   time.Duration
	}{
		"seconds":                   {"openai", map[string]func() string{"Retry-After": text("17")}, 17 * time.Second},
		"parts of seconds":          {"openai", map[string]func() string{"Retry-After": text("1.5")}, 1500 * time.Millisecond},
		"milliseconds":              {"openai", map[string]func() string{"Retry-After-Ms": text("2500"), "Retry-After": text("3")}, 2500 * time.Millisecond},
		"a date":                    {"openai", map[string]func() string{"Retry-After": at(42*time.Second, http.TimeFormat)}, 42 * time.Second},
		"a date that is over":       {"openai", map[string]func() string{"Retry-After": at(-42*time.Second, http.TimeFormat)}, 5 * time.Second},
		"too soon":                  {"openai", map[string]func() string{"Retry-After": text("0.001")}, time.Second},
		"too late":                  {"openai", map[string]func() string{"Retry-After": text("86400")}, 10 * time.Minute},
		"no words at all":           {"openai", nil, 5 * time.Second},
		"nonsense":                  {"openai", map[string]func() string{"Retry-After": text("soon")}, 5 * time.Second},
		"OpenAI's duration":         {"openai", map[string]func() string{"X-Ratelimit-Remaining-Requests": text("0"), "X-Ratelimit-Reset-Requests": text("1m12s")}, 72 * time.Second},
		"OpenAI's other duration":   {"openai", map[string]func() string{"X-Ratelimit-Remaining-Tokens": text("0"), "X-Ratelimit-Reset-Tokens": text("6s")}, 6 * time.Second},
		"of a limit that is not it": {"openai", map[string]func() string{"X-Ratelimit-Remaining-Tokens": text("9"), "X-Ratelimit-Reset-Tokens": text("6m0s")}, 5 * time.Second},
		"a compatible vendor's":     {"groq", map[string]func() string{"X-Ratelimit-Remaining-Tokens": text("0"), "X-Ratelimit-Reset-Tokens": text("7.66s")}, 7660 * time.Millisecond},
		"Anthropic's time": {"anthropic", map[string]func() string{
			"Anthropic-Ratelimit-Requests-Remaining": text("0"), "Anthropic-Ratelimit-Requests-Reset": at(33*time.Second, time.RFC3339),
		}, 33 * time.Second},
		"Anthropic's later time": {"anthropic", map[string]func() string{
			"Anthropic-Ratelimit-Input-Tokens-Remaining": text("0"), "Anthropic-Ratelimit-Input-Tokens-Reset": at(8*time.Second, time.RFC3339),
			"Anthropic-Ratelimit-Output-Tokens-Remaining": text("0"), "Anthropic-Ratelimit-Output-Tokens-Reset": at(21*time.Second, time.RFC3339),
		}, 21 * time.Second},
		"Anthropic's seconds": {"anthropic", map[string]func() string{"Retry-After": text("4")}, 4 * time.Second},
		"Google says nothing": {"google-ai-studio", nil, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				transport := &answering{status: http.StatusTooManyRequests, header: http.Header{}}
				for key, value := range test.header {
					transport.header.Set(key, value())
				}
				model := vendors()[test.slug].model
				log := &eventLog{}
				service := completion.New(completion.Options{
					Planner: planned{completion.Plan{Targets: []completion.Target{{
						Provider: test.slug, Model: test.slug + "/" + model, Name: model, Class: usage.Own,
						Credential: &completion.Credential{ID: "cred_1", OrgID: "org_1", Provider: test.slug, Label: "main"},
					}}}},
					Keyring: openKeyring("sk-1"), Recorder: log, Evidence: log, Providers: providers(transport), BaseURLs: baseURLs(nil),
					Log: slog.New(slog.DiscardHandler), Now: time.Now, Health: health.New(health.Options{Now: time.Now, Jitter: func() float64 { return 0 }}),
				})
				ask := func() *fault.Error {
					req, err := openai.Decode([]byte(`{"model":"` + model + `","stream":true,"messages":[{"role":"user","content":"hi"}]}`))
					if err != nil {
						t.Fatal(err)
					}
					req.ID = "req_1"
					f, _ := fault.Of(service.Complete(context.WithoutCancel(t.Context()), completion.Caller{OrgID: "org_1"}, &req, nothing{}))
					return f
				}
				if f := ask(); f.Reason() != "PROVIDER_RATE_LIMITED" || transport.calls != 1 {
					t.Fatalf("%v after %d calls", f, transport.calls)
				}
				if f := ask(); f.Reason() != "ALL_COOLING_DOWN" || f.RetryAfter() != test.want || transport.calls != 1 {
					t.Errorf("%v, to be sent again after %v, want %v; %d calls", f, f.RetryAfter(), test.want, transport.calls)
				}
				time.Sleep(test.want - time.Nanosecond) //nolint:forbidigo // the time of a synctest bubble
				if f := ask(); transport.calls != 1 {
					t.Errorf("called too early: %v", f)
				}
				time.Sleep(time.Nanosecond) //nolint:forbidigo // the time of a synctest bubble
				if f := ask(); transport.calls != 2 || f.Reason() != "PROVIDER_RATE_LIMITED" {
					t.Errorf("%v, %d calls after the time is over", f, transport.calls)
				}
				if len(log.events) != transport.calls {
					t.Errorf("%d events for %d calls", len(log.events), transport.calls)
				}
			})
		})
	}
}

package router

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/openai"
	"github.com/claviger/claviger/services/router/internal/health"
	"github.com/claviger/claviger/services/router/internal/plan"
)

// spending is a transport whose answers to the first secret say how much of its limits is left.
type spending struct {
	header http.Header
	answer string
	asked  []string
}

func (s *spending) RoundTrip(r *http.Request) (*http.Response, error) {
	h := http.Header{"Content-Type": {"application/json"}}
	who := "second"
	if strings.Contains(r.Header.Get("Authorization")+r.Header.Get("X-Api-Key"), "first") {
		who = "first"
		maps.Copy(h, s.header)
	}
	s.asked = append(s.asked, who)
	return &http.Response{
		StatusCode: 200, Header: h, Body: io.NopCloser(bytes.NewBufferString(s.answer)), ContentLength: int64(len(s.answer)), Request: r, ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// twoCredentials is a configuration with two credentials that are alike.
type twoCredentials struct {
	oneCredential
	second *completion.Credential
}

func (c twoCredentials) Credentials(_, slug string) []*completion.Credential {
	if slug != c.credential.Provider {
		return nil
	}
	return []*completion.Credential{c.credential, c.second}
}

// labels are secrets that are called as their credentials are.
type labels struct{}

func (labels) Secret(_ context.Context, c *completion.Credential) (secret.Text, error) {
	return secret.New("sk-" + c.Label), nil
}

// TestLimitsThatAnswersTellSteerTheNextRequests, through the real adapters and planner: a good answer that says that
// next to nothing is left sends what follows to the other credential, before there is a 429, and until the provider
// has said that its limit is whole again. It is also what keys is told.
func TestLimitsThatAnswersTellSteerTheNextRequests(t *testing.T) {
	t.Parallel()
	const (
		chat    = `{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`
		message = `{"id":"m","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}`
	)
	for slug, test := range map[string]struct {
		answer string
		header func(reset time.Duration) http.Header
	}{
		"openai": {chat, func(reset time.Duration) http.Header {
			return http.Header{"X-Ratelimit-Limit-Requests": {"100"}, "X-Ratelimit-Remaining-Requests": {"2"}, "X-Ratelimit-Reset-Requests": {reset.String()}}
		}},
		"anthropic": {message, func(reset time.Duration) http.Header {
			at := time.Now().Add(reset).UTC().Format(time.RFC3339)
			return http.Header{"Anthropic-Ratelimit-Requests-Limit": {"100"}, "Anthropic-Ratelimit-Requests-Remaining": {"2"}, "Anthropic-Ratelimit-Requests-Reset": {at}}
		}},
	} {
		t.Run(slug, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const reset = 20 * time.Second
				transport := &spending{header: test.header(reset), answer: test.answer}
				adapters := providers(transport)
				learned := health.New(health.Options{Now: time.Now})
				of := func(id, label string) *completion.Credential {
					return &completion.Credential{ID: id, OrgID: "org_1", Provider: slug, Label: label, Revision: 1, Weight: 1}
				}
				config := twoCredentials{oneCredential{credential: of("cred_1", "first")}, of("cred_2", "second")}
				log := &eventLog{}
				service := completion.New(completion.Options{
					Planner: fixedPlanner{&plan.Planner{Providers: adapters, Health: learned}, config}, Health: learned,
					Keyring: labels{}, Recorder: log, Evidence: log, Providers: adapters, BaseURLs: baseURLs(nil), Log: slog.New(slog.DiscardHandler), Now: time.Now,
				})
				ask := func(session string) {
					t.Helper()
					req, err := openai.Decode([]byte(`{"model":"` + slug + "/" + vendors()[slug].model + `","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`))
					if err != nil {
						t.Fatal(err)
					}
					req.ID, req.Session = "req_1", session
					if err := service.Complete(context.WithoutCancel(t.Context()), completion.Caller{OrgID: "org_1"}, &req, &heardText{}); err != nil {
						t.Fatal(err)
					}
				}
				// Sessions stick; this one does to the first credential.
				session := ""
				for _, s := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
					transport.header = nil
					if ask(s); transport.asked[len(transport.asked)-1] == "first" {
						session = s
						break
					}
				}
				transport.header, transport.asked = test.header(reset), nil
				begun := time.Now()
				ask(session)
				ask(session)
				time.Sleep(reset - time.Nanosecond - time.Since(begun)) //nolint:forbidigo // the time of a synctest bubble
				ask(session)
				time.Sleep(time.Nanosecond) //nolint:forbidigo // the time of a synctest bubble
				ask(session)
				if want := []string{"first", "second", "second", "first"}; !slices.Equal(transport.asked, want) {
					t.Errorf("asked %v, want %v", transport.asked, want)
				}
				told := map[string]completion.Allowance{}
				learned.Snapshot(func(c *completion.Credential, _ string, left completion.Headroom, _, _ time.Time) {
					told[c.ID] = left.Requests
				})
				if got, want := told["cred_1"], (completion.Allowance{Known: true, Limit: 100, Remaining: 2, Reset: reset}); got.Limit != want.Limit || got.Remaining != want.Remaining || !got.Known {
					t.Errorf("keys is told %+v, want %+v", got, want)
				}
			})
		})
	}
}

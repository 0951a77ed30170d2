package router

import (
	"net/http"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// TestUsageIsInTheLastEventAndAlwaysMetered: who asks for it finds the whole usage in the last event of a
// stream, and it is metered as the provider declared it also for who does not ask.
func TestUsageIsInTheLastEventAndAlwaysMetered(t *testing.T) {
	t.Parallel()
	for slug, v := range vendors() {
		t.Run(slug, func(t *testing.T) {
			t.Parallel()
			server := llmtest.New(t)
			at := newStand(t, slug, v, server)
			for name, c := range map[string]struct {
				path, body string
				event      func(string, []byte, *heard)
				last       string // the event that says that the answer is over, after usage; empty if it has the usage itself
				told       bool
			}{
				"chat":            {"/v1/chat/completions", chatBody(at.model, "script:tokens=5,in=40,out=7 hello", true, asked{}), chatEvent, "[DONE]", true},
				"chat, not asked": {"/v1/chat/completions", strings.Replace(chatBody(at.model, "script:tokens=5,in=40,out=7 hello", true, asked{}), `,"stream_options":{"include_usage":true}`, "", 1), chatEvent, "[DONE]", false},
				"responses":       {"/v1/responses", responsesBody(at.model, "script:tokens=5,in=40,out=7 hello", true, asked{}), responsesEvent, "", true},
				"messages":        {"/v1/messages", messagesBody(at.model, "script:tokens=5,in=40,out=7 hello", true, asked{}), messagesEvent, "message_stop", true},
			} {
				var events []heard
				got := callHTTP(t, at.http.URL+c.path, c.body, true, nil, func(name string, data []byte, got *heard) {
					c.event(name, data, got)
					if name == c.last || string(data) == c.last { // it tells nothing but the end
						return
					}
					var alone heard
					c.event(name, data, &alone)
					events = append(events, alone)
				})
				if got.status != http.StatusOK || !got.ended || len(events) == 0 {
					t.Errorf("%s: status %d, ended %v\n%s", name, got.status, got.ended, got.body)
					continue
				}
				if e := at.event(t); e.Source != usage.ProviderFinal || e.Tokens == nil || e.Tokens.InputTotal != 40 || e.Tokens.OutputTotal != 7 {
					t.Errorf("%s: the event counts %+v by %v", name, e.Tokens, e.Source)
				}
				last := events[len(events)-1].tokens
				if c.told && (last == nil || got.tokens == nil || last.output != 7 || got.tokens.input != 40 || got.tokens.output != 7) {
					t.Errorf("%s: the last event tells %+v, all events %+v\n%s", name, last, got.tokens, got.body)
				}
			}
		})
	}
}

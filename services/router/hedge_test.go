package router

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/anthropic"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// hesitant lets calls of one path wait until they are given up.
type hesitant struct {
	http.RoundTripper
	path string
}

func (h hesitant) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(r.URL.Path, h.path) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return h.RoundTripper.RoundTrip(r)
}

// heardText gathers what a caller reads.
type heardText struct {
	text   string
	served completion.Served
	ended  bool
}

func (h *heardText) Begin(s completion.Served) error { h.served = s; return nil }
func (h *heardText) Chunk(c *completion.Chunk) error { h.text += c.Delta.Text; return nil }
func (h *heardText) End(completion.Final) error      { h.ended = true; return nil }

// TestARaceOfTwoProvidersHasOneWinner through the real adapters, both of which read the prompt at the same time:
// meant for the race detector.
func TestARaceOfTwoProvidersHasOneWinner(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	slow, err := url.Parse(s.AnthropicURL())
	if err != nil {
		t.Fatal(err)
	}
	var p completion.Plan
	for i, slug := range []string{"anthropic", "openai"} {
		model := vendors()[slug].model
		p.Targets = append(p.Targets, completion.Target{
			Provider: slug, Model: slug + "/" + model, Name: model, Class: usage.Own, Line: i, Rule: &completion.Rule{},
			Credential: &completion.Credential{ID: "cred_" + slug, OrgID: "org_1", Provider: slug, Label: slug},
		})
	}
	p.Hedge = &completion.Hedge{After: time.Millisecond, MaxPercent: 100}
	log := &eventLog{}
	service := completion.New(completion.Options{
		Planner: planned{p}, Keyring: openKeyring(vendors()["openai"].secret), Recorder: log, Evidence: log,
		Providers: providers(hesitant{http.DefaultTransport, slow.Path + "/"}),
		BaseURLs:  map[string]string{"anthropic": s.AnthropicURL(), "openai": s.OpenAIURL()}, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	const requests = 40
	var group sync.WaitGroup
	for range requests {
		group.Go(func() {
			req, err := anthropic.Decode([]byte(`{"model":"x/y","max_tokens":50,"stream":true,"messages":[{"role":"user","content":"script:text=good%20day hi"}]}`))
			if err != nil {
				t.Error(err)
				return
			}
			req.ID = "req_1"
			out := &heardText{}
			if err := service.Complete(t.Context(), completion.Caller{OrgID: "org_1"}, &req, out); err != nil || out.text != "good day" || !out.ended || out.served.Target.Provider != "openai" {
				t.Errorf("%v, %q by %+v", err, out.text, out.served.Target)
			}
		})
	}
	group.Wait()
	outcomes := map[string]int{}
	for _, e := range log.events {
		outcomes[e.Provider+" "+e.Outcome.String()+" "+e.ErrorClass]++
	}
	if outcomes["openai ok "] != requests || outcomes["anthropic canceled hedged"] != requests || len(log.events) != 2*requests {
		t.Errorf("events %v", outcomes)
	}
}

// planned is a plan.
type planned struct{ plan completion.Plan }

func (p planned) Plan(completion.Caller, *completion.Request) (completion.Plan, error) {
	return p.plan, nil
}

package router

import (
	"errors"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/claviger/claviger/pkg/egress"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// noList are the providers whose free key test finds no list of the key's models, and why.
var noList = map[string]string{
	"fal":        "lists what the platform has and not what a key may call",
	"perplexity": "has no list of models behind a key",
	"pollo":      "has no list of models",
	"vertex":     "has no list of what a project may call",
}

// TestEveryProvidersKeyTestIsFreeAndNamesTheModels that the key may use, where the provider tells.
func TestEveryProvidersKeyTestIsFreeAndNamesTheModels(t *testing.T) {
	t.Parallel()
	all := vendors()
	for slug := range mediaOnly {
		all[slug] = mediaVendor(slug)
	}
	if len(all) != len(registered()) {
		t.Errorf("%d of %d providers have a key to test", len(all), len(registered()))
	}
	for slug, v := range all {
		t.Run(slug, func(t *testing.T) {
			t.Parallel()
			server := llmtest.New(t)
			at := newStand(t, slug, v, server)
			got := at.serves.Test(t.Context(), completion.Place{BaseURL: v.base(server), Credential: at.credential, Secret: secret.New(v.secret)})
			if got.State != "active" || got.Reason == "" {
				t.Errorf("verdict %+v", got)
			}
			if (len(got.Models) == 0) != (noList[slug] != "") {
				t.Errorf("%d models are named, and %q is why there are none", len(got.Models), noList[slug])
			}
			if n := len(server.Ledger()); n != 0 {
				t.Errorf("the test made %d calls that cost", n)
			}
		})
	}
}

// TestPicturesInsideAreNotFetched: for providers that take no addresses the router fetches pictures, by
// the one way out and so not from an address inside.
func TestPicturesInsideAreNotFetched(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	inside := httptest.NewUnstartedServer(nil)
	inside.Config.ConnState = func(net.Conn, http.ConnState) { reached.Add(1) } // a connection is too much
	inside.Start()
	t.Cleanup(inside.Close)
	server := llmtest.New(t)
	guard, err := egress.New(egress.Options{Allow: []string{strings.TrimPrefix(server.URL, "http://")}})
	if err != nil {
		t.Fatal(err)
	}
	adapters, all := providers(guard.Transport(egress.TransportOptions{})), vendors()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(inside.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	for _, slug := range []string{"bedrock", "moonshot"} {
		v := all[slug]
		call := providertest.Converted(v.base(server), v.model, false, llmtest.Script{})
		call.Secret = secret.New(v.secret)
		answer, err := adapters[slug].Start(t.Context(), call)
		if err != nil {
			t.Errorf("%s without a picture: %v", slug, err)
			continue
		}
		_ = answer.Close()
		for _, address := range []string{
			"https://127.0.0.1:" + port + "/a.png", "https://localhost:" + port + "/a.png", inside.URL + "/a.png",
			"https://169.254.169.254/latest/meta-data", "https://[::ffff:127.0.0.1]:" + port + "/a.png",
		} {
			before := len(server.Ledger())
			call.Request.Decode = func() (*completion.Prompt, error) {
				return &completion.Prompt{Messages: []completion.Message{{Role: completion.User, Parts: []completion.Part{{Text: "hi"}, {ImageURL: address}}}}}, nil
			}
			answer, err := adapters[slug].Start(t.Context(), call)
			if err == nil {
				_ = answer.Close()
				t.Errorf("%s: %s was fetched", slug, address)
			}
			if failed, ok := errors.AsType[*completion.ProviderError](err); ok {
				t.Errorf("%s: %s is the provider's failure: %v", slug, address, failed)
			}
			if reached.Load() != 0 || len(server.Ledger()) != before {
				t.Errorf("%s: %s reached %d times, and %d calls", slug, address, reached.Load(), len(server.Ledger())-before)
			}
		}
	}
}

// TestFailuresBesidesConversationsAreTold: an error before anything came is the caller's in the form of its
// dialect, and costs nothing, for each provider that serves the operation.
func TestFailuresBesidesConversationsAreTold(t *testing.T) {
	t.Parallel()
	all := vendors()
	for slug := range mediaOnly {
		all[slug] = mediaVendor(slug)
	}
	for _, op := range operations() {
		for _, slug := range slices.Sorted(maps.Keys(all)) {
			v := all[slug]
			if model := op.models[slug]; model != "" {
				v.model = model
			}
			server := llmtest.New(t)
			at := newStand(t, slug, v, server)
			if at.serves.Serves(op.name, v.model, at.credential) != "" {
				continue
			}
			for failure, want := range map[llmtest.Failure]struct {
				status int
				class  completion.Class
			}{
				llmtest.ErrRateLimit: {http.StatusTooManyRequests, completion.RateLimited},
				llmtest.ErrServer:    {http.StatusBadGateway, completion.ServerError},
			} {
				server.Reset()
				server.Control("", "", -1, llmtest.Script{Error: failure})
				got := callHTTP(t, at.http.URL+op.path, op.body(at.model), false, func([]byte, *heard) {}, nil)
				if got.status != want.status || !strings.Contains(got.body, `"error"`) {
					t.Errorf("%s of %s, %s: status %d, want %d\n%s", op.name, slug, failure, got.status, want.status, got.body)
				}
				e := at.event(t)
				free := e.Tokens != nil && *e.Tokens == (usage.Tokens{})
				if slug == "fal" && failure == llmtest.ErrServer { // it may have taken the job
					free = e.Tokens == nil
				}
				if e.Outcome != usage.Failed || e.ErrorClass != string(want.class) || !free || len(e.Units) != 0 {
					t.Errorf("%s of %s, %s: outcome %v, class %q, tokens %+v, units %v", op.name, slug, failure, e.Outcome, e.ErrorClass, e.Tokens, e.Units)
				}
			}
		}
	}
}

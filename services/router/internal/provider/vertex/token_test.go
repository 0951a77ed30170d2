package vertex_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/provider/vertex"
)

// google is Google as far as a test needs it: a token endpoint, and models that answer.
type google struct {
	mu sync.Mutex
	// exchange answers the token endpoint; nil gives a new token each time.
	exchange func(n int) (status int, body string)
	// answer is what models say to a token.
	answer   func(token string) (status int, body string)
	tokens   int
	urls     []string
	bodies   []string
	headers  []http.Header
	entered  chan struct{} // told of each exchange that begins
	released chan struct{} // lets it go on
}

const whole = `{"candidates":[{"content":{"role":"model","parts":[{"text":"hi"}]},"finishReason":"STOP"}],"modelVersion":"m"}`

func (g *google) RoundTrip(r *http.Request) (*http.Response, error) {
	raw, _ := io.ReadAll(r.Body)
	status, body := 200, whole
	if strings.HasSuffix(r.URL.Path, "/token") {
		g.mu.Lock()
		g.tokens++
		n := g.tokens
		g.mu.Unlock()
		if g.entered != nil {
			g.entered <- struct{}{}
			select {
			case <-g.released:
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}
		body = `{"access_token":"ya29.` + string(rune('a'+n-1)) + `","expires_in":3599,"token_type":"Bearer"}`
		if g.exchange != nil {
			status, body = g.exchange(n)
		}
	} else if g.answer != nil {
		status, body = g.answer(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.urls = append(g.urls, r.URL.String())
	g.bodies = append(g.bodies, string(raw))
	g.headers = append(g.headers, r.Header)
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1,
	}, nil
}

func (g *google) seen() (urls []string, tokens int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.urls, g.tokens
}

// call is a call of a model with a service account, at an address.
func call(baseURL, model string, revision int) completion.Call {
	c := providertest.Converted(baseURL, model, false, llmtest.Script{})
	c.Secret = secret.New(llmtest.VertexAccount("key"))
	c.Credential = &completion.Credential{ID: "cred_1", Revision: revision}
	return c
}

func send(t *testing.T, p *vertex.Provider, c completion.Call) error {
	t.Helper()
	answer, err := p.Start(t.Context(), c)
	if err != nil {
		return err
	}
	_, err = providertest.Collect(answer)
	return errors.Join(err, answer.Close())
}

const model = "gemini-3.8-flash"

func TestTokensAreKeptAndRenewedBeforeTheyEnd(t *testing.T) {
	llmtest.VertexKey() // made outside of the bubble, once for all
	synctest.Test(t, func(t *testing.T) {
		g := &google{}
		p := vertex.New(g)
		for _, step := range []struct {
			wait   time.Duration
			tokens int
		}{{0, 1}, {time.Minute, 1}, {53 * time.Minute, 1}, {time.Minute, 2}, {0, 2}, {3 * time.Hour, 3}} {
			<-time.After(step.wait) // of the bubble
			if err := send(t, p, call(vertex.BaseURL, model, 1)); err != nil {
				t.Fatal(err)
			}
			if _, got := g.seen(); got != step.tokens {
				t.Errorf("after %s more: %d tokens, want %d", step.wait, got, step.tokens)
			}
		}
	})
}

func TestRevisionsOfACredentialHaveTokensOfTheirOwn(t *testing.T) {
	t.Parallel()
	g := &google{}
	p := vertex.New(g)
	for _, revision := range []int{1, 2, 1, 2} {
		if err := send(t, p, call(vertex.BaseURL, model, revision)); err != nil {
			t.Fatal(err)
		}
	}
	other := call(vertex.BaseURL, model, 1)
	other.Credential = &completion.Credential{ID: "cred_2", Revision: 1}
	if err := send(t, p, other); err != nil {
		t.Fatal(err)
	}
	if _, tokens := g.seen(); tokens != 3 {
		t.Errorf("%d tokens for two revisions and another credential", tokens)
	}
}

// TestCallsDoNotReadTheirCredentialEachTime: reading one checks an RSA key.
func TestCallsDoNotReadTheirCredentialEachTime(t *testing.T) {
	p := vertex.New(&google{answer: func(string) (int, string) { return 200, whole }})
	again := call(vertex.BaseURL, model, 1)
	least := testing.AllocsPerRun(20, func() {
		if err := send(t, p, again); err != nil {
			t.Fatal(err)
		}
	})
	other := call(vertex.BaseURL, model, 1)
	other.Credential = nil
	if most := testing.AllocsPerRun(20, func() {
		if err := send(t, p, other); err != nil {
			t.Fatal(err)
		}
	}); least > most-200 {
		t.Errorf("%v allocations with a credential that was read before, %v without", least, most)
	}
	changed := call(vertex.BaseURL, model, 1)
	changed.Secret = located("eu", "")
	g := &google{}
	p = vertex.New(g)
	for _, c := range []completion.Call{again, changed} {
		if err := send(t, p, c); err != nil {
			t.Fatal(err)
		}
	}
	if urls, _ := g.seen(); !strings.HasPrefix(urls[len(urls)-1], "https://aiplatform.eu.rep.") {
		t.Errorf("a credential that was changed is read as before: %v", urls)
	}
}

func TestCallsWaitForOneExchange(t *testing.T) {
	llmtest.VertexKey()
	synctest.Test(t, func(t *testing.T) {
		g := &google{entered: make(chan struct{}, 9), released: make(chan struct{})}
		p := vertex.New(g)
		first, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		errs := make([]error, 9)
		begin := func(ctx context.Context, i int) {
			wg.Go(func() {
				answer, err := p.Start(ctx, call(vertex.BaseURL, model, 1))
				if err == nil {
					err = answer.Close()
				}
				errs[i] = err
			})
			synctest.Wait()
		}
		begin(first, 0)
		for i := 1; i < 9; i++ {
			begin(t.Context(), i)
		}
		<-g.entered
		leave() // the one who fetches goes away: another one fetches
		synctest.Wait()
		<-g.entered
		close(g.released)
		wg.Wait()
		if !errors.Is(errs[0], context.Canceled) {
			t.Errorf("the one who left: %v", errs[0])
		}
		if err := errors.Join(errs[1:]...); err != nil {
			t.Error(err)
		}
		if _, tokens := g.seen(); tokens != 2 {
			t.Errorf("%d exchanges for eight calls and one that left", tokens)
		}
	})
}

func TestARefusedTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	const refusal = `{"error":{"code":401,"message":"x","status":"UNAUTHENTICATED","details":[{"reason":"ACCESS_TOKEN_EXPIRED"}]}}`
	for name, c := range map[string]struct {
		good   string
		calls  int
		tokens int
	}{
		"once":   {"ya29.b", 4, 2},
		"always": {"none", 4, 2},
	} {
		g := &google{answer: func(token string) (int, string) {
			if token != c.good {
				return 401, refusal
			}
			return 200, whole
		}}
		err := send(t, vertex.New(g), call(vertex.BaseURL, model, 1))
		urls, tokens := g.seen()
		if len(urls) != c.calls || tokens != c.tokens {
			t.Errorf("%s: %d tokens, calls %v", name, tokens, urls)
		}
		var failure *completion.ProviderError
		if c.good == "none" {
			if !errors.As(err, &failure) || failure.Class != completion.AuthInvalid {
				t.Errorf("%s: %v", name, err)
			}
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRefusedAssertionsAreClassified(t *testing.T) {
	t.Parallel()
	for body, c := range map[string]struct {
		status int
		want   completion.Class
	}{
		`{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`:           {400, completion.AuthInvalid},
		`{"error":"invalid_grant","error_description":"Invalid grant: account not found"}`: {400, completion.AuthInvalid},
		`{"error":"disabled_client"}`: {401, completion.AuthInvalid},
		`{"error":"invalid_grant","error_description":"Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."}`: {400, completion.CredentialError},
		`{"error":"invalid_scope","error_description":"x"}`: {400, completion.ServerError},
		`{"error":"internal_failure"}`:                      {500, completion.ServerError},
		`<html>`:                                            {503, completion.Overloaded},
		`{"error":"rate_limit_exceeded"}`:                   {429, completion.RateLimited},
		`{"token_type":"Bearer"}`:                           {200, completion.ServerError},
	} {
		g := &google{exchange: func(int) (int, string) { return c.status, body }}
		err := send(t, vertex.New(g), call(vertex.BaseURL, model, 1))
		var failure *completion.ProviderError
		if !errors.As(err, &failure) || failure.Class != c.want || failure.Sent || !failure.Unbilled || failure.Message == "" || failure.Status != c.status {
			t.Errorf("%s: %+v, %v, want class %s", body, failure, err, c.want)
		}
		if urls, _ := g.seen(); len(urls) != 1 {
			t.Errorf("%s: calls %v", body, urls)
		}
	}
}

func TestAnOldTokenServesWhileNoneComes(t *testing.T) {
	llmtest.VertexKey()
	synctest.Test(t, func(t *testing.T) {
		g := &google{exchange: func(n int) (int, string) {
			if n > 1 {
				return 503, ``
			}
			return 200, `{"access_token":"ya29.a","expires_in":3600}`
		}}
		p := vertex.New(g)
		for _, step := range []struct {
			wait time.Duration
			good bool
		}{{0, true}, {56 * time.Minute, true}, {2 * time.Minute, true}, {2 * time.Minute, false}} {
			<-time.After(step.wait) // of the bubble
			if err := send(t, p, call(vertex.BaseURL, model, 1)); (err == nil) != step.good {
				t.Errorf("after %s more: %v", step.wait, err)
			}
		}
	})
}

// TestAssertionsGoToGoogleOnly: a credential names a token endpoint, and it is not believed.
func TestAssertionsGoToGoogleOnly(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{
		vertex.BaseURL: "https://oauth2.googleapis.com/token",
		"https://europe-west4-aiplatform.googleapis.com": "https://oauth2.googleapis.com/token",
		"https://googleapis.com.example":                 "https://googleapis.com.example/token",
		"http://127.0.0.1:9999/vertex":                   "http://127.0.0.1:9999/vertex/token",
	} {
		g := &google{}
		if err := send(t, vertex.New(g), call(base, model, 1)); err != nil {
			t.Fatal(err)
		}
		if g.urls[0] != want {
			t.Errorf("%s: token from %s, want %s", base, g.urls[0], want)
		}
		form, err := url.ParseQuery(g.bodies[0])
		if err != nil || g.headers[0].Get("Content-Type") != "application/x-www-form-urlencoded" || g.headers[0].Get("Authorization") != "" {
			t.Errorf("%s: %q %v", base, g.bodies[0], g.headers[0])
		}
		claims := decode(t, strings.Split(form.Get("assertion"), ".")[1])
		if claims.Aud != want || claims.Iss != "router@acme-prod.iam.gserviceaccount.com" || claims.Exp-claims.Iat != 3600 {
			t.Errorf("%s: claims %+v", base, claims)
		}
	}
	secretly := call(vertex.BaseURL, model, 1)
	secretly.Secret = secret.New(strings.Replace(secretly.Secret.Reveal(), "https://oauth2.googleapis.com/token", "https://collect.example/token", 1))
	g := &google{}
	if err := send(t, vertex.New(g), secretly); err == nil || len(g.urls) != 0 {
		t.Errorf("a credential that names another token endpoint: %v, calls %v", err, g.urls)
	}
}

type claims struct {
	Iss, Aud string
	Iat, Exp int64
}

func decode(t *testing.T, part string) (out claims) {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func FuzzToken(f *testing.F) {
	f.Add(200, `{"access_token":"ya29.a","expires_in":3600}`)
	f.Add(200, `{"access_token":"ya29.a","expires_in":1e300}`)
	f.Add(400, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`)
	f.Add(503, `<html>`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			return
		}
		g := &google{exchange: func(int) (int, string) { return status, body }}
		err := send(t, vertex.New(g), call(vertex.BaseURL, model, 1))
		if err == nil {
			return
		}
		var failure *completion.ProviderError
		if !errors.As(err, &failure) || failure.Message == "" || strings.Contains(failure.Error(), "PRIVATE KEY") {
			t.Fatalf("%v", err)
		}
	})
}

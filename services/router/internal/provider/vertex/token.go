package vertex

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

const (
	scope     = "https://www.googleapis.com/auth/cloud-platform"
	grantType = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	// lifetime is how long an assertion holds, and the longest that Google takes.
	lifetime = time.Hour
	// early is how long before its end a token is renewed, late until when the old one still serves if
	// renewing fails.
	early = 5 * time.Minute
	late  = 30 * time.Second
	// maxKept is from how many tokens on those that have ended are forgotten.
	maxKept = 1024
	// exchangeTime bounds an exchange.
	exchangeTime = 15 * time.Second
)

// tokens exchanges what service accounts sign for access tokens, and keeps these until shortly before
// their end.
type tokens struct {
	client provider.Client
	now    func() time.Time

	mu   sync.Mutex
	kept map[string]*access
}

// access is an access token, or the exchange for it that is under way.
type access struct {
	pending chan struct{} // closed once the exchange has ended; nil if none is under way
	token   secret.Text
	ends    time.Time
}

func newTokens(client provider.Client) *tokens {
	return &tokens{client: client, now: time.Now, kept: map[string]*access{}}
}

// account is a service account and where its tokens come from.
type account struct {
	keyform.Google
	// name tells it from all others: the credential with its revision, and which key of it.
	name     string
	tokenURL string
}

func newAccount(g keyform.Google, c *completion.Credential, tokenURL string) account {
	a := account{Google: g, tokenURL: tokenURL}
	parts := []string{g.ClientEmail, g.PrivateKeyID, tokenURL}
	if c != nil {
		parts = append(parts, c.ID, strconv.Itoa(c.Revision))
	}
	a.name = strings.Join(parts, "\n")
	return a
}

// get returns a token that holds for a while. Of callers that come while one is being fetched, one
// fetches and the others wait for it.
func (t *tokens) get(ctx context.Context, a account) (secret.Text, error) {
	for {
		t.mu.Lock()
		e := t.kept[a.name]
		if e == nil {
			e = &access{}
			t.forget()
			t.kept[a.name] = e
		}
		if left := e.ends.Sub(t.now()); left > early || e.pending != nil && left > late {
			defer t.mu.Unlock()
			return e.token, nil
		}
		if e.pending == nil {
			e.pending = make(chan struct{})
			t.mu.Unlock()
			return t.renew(ctx, a, e)
		}
		pending := e.pending
		t.mu.Unlock()
		select {
		case <-pending: // if it failed, the next one tries with a call of its own
		case <-ctx.Done():
			return secret.Text{}, provider.Interrupted(ctx, &completion.ProviderError{Class: completion.Network, Message: "the call was canceled"})
		}
	}
}

// renew fetches a token for all who wait. If that fails and the old one still holds, that one serves.
func (t *tokens) renew(ctx context.Context, a account, e *access) (secret.Text, error) {
	token, ends, err := t.exchange(ctx, a)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		e.token, e.ends = token, ends
	}
	close(e.pending)
	e.pending = nil
	if err != nil && e.ends.Sub(t.now()) > late && !rejected(err) {
		return e.token, nil
	}
	return e.token, err
}

func rejected(err error) bool {
	failure, ok := errors.AsType[*completion.ProviderError](err)
	return ok && failure.Class == completion.AuthInvalid
}

// fresh fetches a token although one may be kept: a test has to know whether the key is good now.
func (t *tokens) fresh(ctx context.Context, a account) (secret.Text, error) {
	t.drop(a, secret.Text{})
	return t.get(ctx, a)
}

// drop forgets a token that was refused, unless another has come meanwhile; without a token, any.
func (t *tokens) drop(a account, token secret.Text) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.kept[a.name]; e != nil && e.pending == nil && (token.Empty() || e.token.Equal(token)) {
		delete(t.kept, a.name)
	}
}

// forget takes out what has ended, once much is kept.
func (t *tokens) forget() {
	if len(t.kept) < maxKept {
		return
	}
	now := t.now()
	maps.DeleteFunc(t.kept, func(_ string, e *access) bool { return e.pending == nil && e.ends.Before(now) })
}

// exchange signs an assertion and gives it for a token.
func (t *tokens) exchange(ctx context.Context, a account) (secret.Text, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTime)
	defer cancel()
	now := t.now()
	assertion, err := sign(a, now)
	if err != nil {
		return secret.Text{}, time.Time{}, &completion.ProviderError{
			Class: completion.CredentialError, Message: "the service account's private key cannot be used",
		}
	}
	hidden := provider.Together(a.PrivateKey, secret.New(assertion))
	form := url.Values{"grant_type": {grantType}, "assertion": {assertion}}
	res, err := t.client.Send(ctx, provider.Outgoing{
		Method: http.MethodPost, URL: a.tokenURL, Body: []byte(form.Encode()), Auth: provider.Auth{Key: hidden},
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
	})
	if err != nil {
		if failure, ok := errors.AsType[*completion.ProviderError](err); ok {
			failure.Sent, failure.Unbilled = false, true // the model has seen nothing
		}
		return secret.Text{}, time.Time{}, err
	}
	body := res.ErrorBody() // bounded, as any answer of this endpoint is
	if res.StatusCode != http.StatusOK {
		return secret.Text{}, time.Time{}, refusal(res, body, hidden, t.now())
	}
	token, ok := jsonscan.Text(jsonscan.Get(body, "access_token"))
	seconds, known := jsonscan.Int(jsonscan.Get(body, "expires_in"))
	if !ok || token == "" || !jsonscan.Valid(body) {
		return secret.Text{}, time.Time{}, &completion.ProviderError{
			Class: completion.ServerError, Status: res.StatusCode, Unbilled: true, Message: "the token endpoint answered without a token",
		}
	}
	if !known || seconds <= 0 || seconds > int64(lifetime/time.Second) {
		seconds = int64(lifetime / time.Second)
	}
	return secret.New(token), now.Add(time.Duration(seconds) * time.Second), nil
}

var errKey = errors.New("not an RSA key in PKCS #8")

// sign returns an assertion: that the account asks for a token, now.
func sign(a account, now time.Time) (string, error) {
	block, _ := pem.Decode([]byte(a.PrivateKey.Reveal()))
	if block == nil {
		return "", errKey
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return "", errKey
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return "", errKey
	}
	header, err := json.Marshal(struct {
		Alg string `json:"alg"`
		Typ string `json:"typ"`
		Kid string `json:"kid,omitempty"`
	}{"RS256", "JWT", a.PrivateKeyID})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(struct {
		Iss   string `json:"iss"`
		Scope string `json:"scope"`
		Aud   string `json:"aud"`
		Iat   int64  `json:"iat"`
		Exp   int64  `json:"exp"`
	}{a.ClientEmail, scope, a.tokenURL, now.Unix(), now.Add(lifetime).Unix()})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode(header) + "." + encode(claims)
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		return "", errKey
	}
	return signed + "." + encode(signature), nil
}

// refusal reads {"error":"invalid_grant","error_description":"…"}.
func refusal(res *provider.Response, body []byte, key secret.Text, now time.Time) *completion.ProviderError {
	failure := &completion.ProviderError{
		Status: res.StatusCode, Unbilled: true, RequestID: res.RequestID(), RetryAfter: provider.RetryAfter(res.Header, now),
	}
	if jsonscan.KindOf(body) == jsonscan.ObjectKind {
		failure.Code = provider.Words(jsonscan.Get(body, "error"), key, 64)
		failure.Message = provider.Words(jsonscan.Get(body, "error_description"), key, 0)
	}
	failure.Class = refusalClass(failure)
	if failure.Message == "" {
		failure.Message = "the token endpoint refused the service account"
		if failure.Code == "" {
			failure.Message = "the token endpoint: " + provider.StatusMessage(res.StatusCode)
		}
	}
	if failure.Class == completion.CredentialError {
		failure.Message = "the router's clock may be wrong: " + failure.Message
	}
	return failure
}

func refusalClass(e *completion.ProviderError) completion.Class {
	switch {
	case strings.Contains(e.Message, "reasonable timeframe"): // the key is good; our clock is not
		return completion.CredentialError
	case e.Code == "invalid_grant", e.Code == "disabled_client", e.Code == "unauthorized_client", e.Code == "invalid_client", e.Code == "account_disabled":
		return completion.AuthInvalid
	case e.Status == http.StatusTooManyRequests:
		return completion.RateLimited
	case e.Status == http.StatusServiceUnavailable:
		return completion.Overloaded
	}
	return completion.ServerError
}

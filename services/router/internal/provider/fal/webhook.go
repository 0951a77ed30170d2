package fal

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// JWKS are where fal publishes the keys of its webhooks: under the name that has long been in use, and under
// the one that newer pages give.
var JWKS = []string{"https://rest.alpha.fal.ai/.well-known/jwks.json", "https://rest.fal.ai/.well-known/jwks.json"}

const (
	// tolerance is how far a webhook's time may be from ours.
	tolerance = 300 * time.Second
	// keysFor is how long published keys are used, refetchAfter how soon they may be fetched again when none
	// fits: whoever sends forged webhooks must not make us call fal.
	keysFor      = 24 * time.Hour
	refetchAfter = time.Minute
	fetchTime    = 10 * time.Second
	maxKeys      = 16
	maxHeader    = 256
)

// The faults of webhooks.
var (
	ErrForged   = fault.New(fault.Unauthenticated, "WEBHOOK_NOT_GENUINE", "the webhook's signature does not hold")
	ErrReplayed = fault.New(fault.Conflict, "WEBHOOK_REPLAYED", "the webhook has been here before")
	ErrKeys     = fault.New(fault.Unavailable, "WEBHOOK_KEYS_MISSING", "the provider's published keys cannot be fetched").Hinting("try again").RetryingAfter(refetchAfter)
)

// Webhooks verifies that a webhook comes from fal, and not for the second time.
type Webhooks struct {
	client provider.Client
	urls   []string
	now    func() time.Time

	mu      sync.Mutex
	keys    []ed25519.PublicKey
	fetched time.Time // when keys came
	tried   time.Time // when they were asked for last
	seen    map[string]time.Time
}

// NewWebhooks returns a verifier that fetches keys over transport from urls, the first that has any.
func NewWebhooks(transport http.RoundTripper, urls []string, now func() time.Time) *Webhooks {
	return &Webhooks{client: provider.NewClient(transport), urls: urls, now: now, seen: map[string]time.Time{}}
}

// Verify returns the request that a genuine webhook tells of.
func (w *Webhooks) Verify(ctx context.Context, header http.Header, body []byte) (requestID string, err error) {
	id, user := header.Get("X-Fal-Webhook-Request-Id"), header.Get("X-Fal-Webhook-User-Id")
	at, signature := header.Get("X-Fal-Webhook-Timestamp"), header.Get("X-Fal-Webhook-Signature")
	if id == "" || len(id) > maxHeader || len(user) > maxHeader || len(signature) != 2*ed25519.SignatureSize {
		return "", ErrForged
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return "", ErrForged
	}
	if age := w.now().Sub(time.Unix(seconds, 0)); age > tolerance || age < -tolerance {
		return "", ErrForged.Saying("the webhook's time is not within five minutes of ours")
	}
	signed, err := hex.DecodeString(signature)
	if err != nil {
		return "", ErrForged
	}
	sum := sha256.Sum256(body)
	message := []byte(id + "\n" + user + "\n" + at + "\n" + hex.EncodeToString(sum[:]))
	if err := w.fits(ctx, message, signed); err != nil {
		return "", err
	}
	if !w.first(string(signed)) {
		return "", ErrReplayed
	}
	if said := words(body, "request_id", maxID); said != "" {
		return said, nil
	}
	return id, nil
}

// fits tries every published key, and fetches them once more if none fits.
func (w *Webhooks) fits(ctx context.Context, message, signature []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if now.Sub(w.fetched) >= keysFor {
		w.keys = nil
	}
	for _, key := range w.keys {
		if ed25519.Verify(key, message, signature) {
			return nil
		}
	}
	if now.Sub(w.tried) < refetchAfter {
		if len(w.keys) == 0 {
			return ErrKeys
		}
		return ErrForged
	}
	w.tried = now
	keys := w.fetch(ctx)
	if len(keys) == 0 {
		return ErrKeys
	}
	w.keys, w.fetched = keys, now
	for _, key := range w.keys {
		if ed25519.Verify(key, message, signature) {
			return nil
		}
	}
	return ErrForged
}

// fetch gets the published keys. It goes on if the caller leaves: else whoever sends a forged webhook and
// leaves at once would keep us from having any.
func (w *Webhooks) fetch(ctx context.Context) []ed25519.PublicKey {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
	defer cancel()
	for _, url := range w.urls {
		res, err := w.client.Send(ctx, provider.Outgoing{Method: http.MethodGet, URL: url})
		if err != nil {
			continue
		}
		body := res.ErrorBody() // bounded
		if res.StatusCode != http.StatusOK {
			continue
		}
		if keys := parseKeys(body); len(keys) > 0 {
			return keys
		}
	}
	return nil
}

// parseKeys reads the Ed25519 keys of a key set.
func parseKeys(body []byte) []ed25519.PublicKey {
	var out []ed25519.PublicKey
	for e := jsonscan.Array(jsonscan.Get(body, "keys")); len(out) < maxKeys && e.Next(); {
		if kind, _ := jsonscan.Text(jsonscan.Get(e.Value, "kty")); kind != "OKP" {
			continue
		}
		text, _ := jsonscan.Text(jsonscan.Get(e.Value, "x"))
		if x, err := base64.RawURLEncoding.DecodeString(text); err == nil && len(x) == ed25519.PublicKeySize {
			out = append(out, x)
		}
	}
	return out
}

// first reports whether a signature was not here before. What is too old to be taken again is forgotten.
func (w *Webhooks) first(signature string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	for s, at := range w.seen {
		if now.Sub(at) > 2*tolerance {
			delete(w.seen, s)
		}
	}
	if _, ok := w.seen[signature]; ok {
		return false
	}
	w.seen[signature] = now
	return true
}

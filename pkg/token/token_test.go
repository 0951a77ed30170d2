package token_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/token"
)

func TestOnlyAnUnchangedTokenOfThisEnvironmentVerifies(t *testing.T) {
	t.Parallel()
	pub, key, _ := ed25519.GenerateKey(nil)
	_, other, _ := ed25519.GenerateKey(nil)
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	claims := token.Claims{
		OrgID: "org_a", OrgSlug: "acme", MemberID: "mem_a", Role: authn.Admin, SessionID: "ses_a",
		AuthTime: now, IssuedAt: now, ExpiresAt: now.Add(5 * time.Minute), Environment: "test",
	}
	keyID := token.KeyID(pub)
	verifier := token.Verifier{
		Environment: "test", Now: func() time.Time { return now.Add(time.Minute) },
		Keys: func(id string) (ed25519.PublicKey, bool) { return pub, id == keyID },
	}
	sign := func(key ed25519.PrivateKey, keyID string, change func(*token.Claims)) string {
		c := claims
		change(&c)
		raw, err := token.NewSigner(keyID, key).Sign(c)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	good := sign(key, keyID, func(*token.Claims) {})
	p, err := verifier.Verify(good)
	if err != nil || p.OrgID != "org_a" || p.Role != authn.Admin || p.Kind != authn.Session || p.Operator() {
		t.Fatalf("Verify(good) = %+v, %v", p, err)
	}
	if !p.ExpiresAt.Equal(claims.ExpiresAt) {
		t.Errorf("ExpiresAt = %v, want that of the token, %v", p.ExpiresAt, claims.ExpiresAt)
	}
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt","kid":"` + keyID + `"}`))
	for name, c := range map[string]struct {
		raw  string
		want error
	}{
		"empty":             {"", token.ErrInvalid},
		"other key":         {sign(other, keyID, func(*token.Claims) {}), token.ErrInvalid},
		"unknown key id":    {sign(key, "0000", func(*token.Claims) {}), token.ErrInvalid},
		"other environment": {sign(key, keyID, func(c *token.Claims) { c.Environment = "prod" }), token.ErrInvalid},
		"expired":           {sign(key, keyID, func(c *token.Claims) { c.ExpiresAt = now.Add(-time.Minute) }), token.ErrExpired},
		"no algorithm":      {none + "." + parts[1] + ".", token.ErrInvalid},
		"changed payload":   {parts[0] + "." + parts[1][:len(parts[1])-2] + "AA." + parts[2], token.ErrInvalid},
		"huge":              {strings.Repeat("a", 1<<20), token.ErrInvalid},
	} {
		if _, err := verifier.Verify(c.raw); !errors.Is(err, c.want) {
			t.Errorf("%s: Verify = %v, want %v", name, err, c.want)
		}
	}
}

func FuzzVerify(f *testing.F) {
	pub, _, _ := ed25519.GenerateKey(nil)
	verifier := token.Verifier{Environment: "test", Keys: func(string) (ed25519.PublicKey, bool) { return pub, true }}
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, raw string) {
		if p, err := verifier.Verify(raw); err == nil {
			t.Fatalf("Verify(%q) = %+v", raw, p)
		}
	})
}

// Package token signs and verifies access tokens: short-lived compact JWTs (EdDSA) that say who
// has signed in, so that every service can check them without asking.
package token

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/fault"
)

// The errors of Verify.
var (
	ErrInvalid = fault.New(fault.Unauthenticated, "TOKEN_INVALID", "the access token is not valid").Hinting("sign in again")
	ErrExpired = fault.New(fault.Unauthenticated, "TOKEN_EXPIRED", "the access token has expired").Hinting("refresh the session or sign in again")
)

const (
	issuer   = "claviger"
	maxBytes = 4096
	leeway   = 30 * time.Second
)

// audience are the services that accept these tokens.
var audience = []string{"keys", "metering"}

var roles = map[string]authn.Role{"owner": authn.Owner, "admin": authn.Admin, "member": authn.Member, "viewer": authn.Viewer}

// Claims is what a token says.
type Claims struct {
	OrgID, OrgSlug, MemberID string
	Role                     authn.Role
	SessionID                string
	AuthTime                 time.Time
	IssuedAt, ExpiresAt      time.Time
	Environment              string
}

type header struct {
	Alg string `json:"alg"`
	Typ string `json:"typ"`
	Kid string `json:"kid"`
}

type payload struct {
	Iss      string   `json:"iss"`
	Aud      []string `json:"aud"`
	Env      string   `json:"env"`
	Org      string   `json:"org"`
	OrgSlug  string   `json:"org_slug"`
	Member   string   `json:"member"`
	Role     string   `json:"role"`
	Sid      string   `json:"sid"`
	AuthTime int64    `json:"auth_time"`
	Iat      int64    `json:"iat"`
	Exp      int64    `json:"exp"`
}

// KeyID names a signing key.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// Signer signs tokens with one key.
type Signer struct {
	keyID string
	key   ed25519.PrivateKey
}

// NewSigner returns a signer. keyID is KeyID of the public half.
func NewSigner(keyID string, key ed25519.PrivateKey) *Signer { return &Signer{keyID: keyID, key: key} }

// Sign returns the compact token.
func (s *Signer) Sign(c Claims) (string, error) {
	role := ""
	for name, r := range roles {
		if r == c.Role {
			role = name
		}
	}
	if role == "" || c.OrgID == "" || c.MemberID == "" || c.Environment == "" {
		return "", fmt.Errorf("token: incomplete claims")
	}
	h, err := json.Marshal(header{Alg: "EdDSA", Typ: "at+jwt", Kid: s.keyID})
	if err != nil {
		return "", fmt.Errorf("encode token header: %w", err)
	}
	p, err := json.Marshal(payload{
		Iss: issuer, Aud: audience, Env: c.Environment, Org: c.OrgID, OrgSlug: c.OrgSlug, Member: c.MemberID, Role: role,
		Sid: c.SessionID, AuthTime: c.AuthTime.Unix(), Iat: c.IssuedAt.Unix(), Exp: c.ExpiresAt.Unix(),
	})
	if err != nil {
		return "", fmt.Errorf("encode token: %w", err)
	}
	signed := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(p)
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(s.key, []byte(signed))), nil
}

// Verifier checks tokens offline.
type Verifier struct {
	// Environment is the installation that tokens must be for.
	Environment string
	// Keys finds the public key of a key id.
	Keys func(keyID string) (ed25519.PublicKey, bool)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Verify returns who the token speaks for.
func (v *Verifier) Verify(raw string) (authn.Principal, error) {
	if len(raw) > maxBytes {
		return authn.Principal{}, ErrInvalid
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return authn.Principal{}, ErrInvalid
	}
	var h header
	if !decode(parts[0], &h) || h.Alg != "EdDSA" || h.Typ != "at+jwt" {
		return authn.Principal{}, ErrInvalid
	}
	key, ok := v.Keys(h.Kid)
	sig, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if !ok || err != nil || !ed25519.Verify(key, []byte(parts[0]+"."+parts[1]), sig) {
		return authn.Principal{}, ErrInvalid
	}
	var p payload
	if !decode(parts[1], &p) || p.Iss != issuer || p.Env != v.Environment || !slices.Equal(p.Aud, audience) || roles[p.Role] == 0 {
		return authn.Principal{}, ErrInvalid
	}
	now := time.Now
	if v.Now != nil {
		now = v.Now
	}
	if now().After(time.Unix(p.Exp, 0).Add(leeway)) {
		return authn.Principal{}, ErrExpired
	}
	return authn.Principal{
		Kind: authn.Session, OrgID: p.Org, OrgSlug: p.OrgSlug, MemberID: p.Member, Role: roles[p.Role],
		SessionID: p.Sid, AuthTime: time.Unix(p.AuthTime, 0), ExpiresAt: time.Unix(p.Exp, 0),
	}, nil
}

func decode(part string, into any) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	return err == nil && json.Unmarshal(raw, into) == nil
}

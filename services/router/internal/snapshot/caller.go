package snapshot

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
	"time"

	"github.com/claviger/claviger/pkg/apikey"
	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
)

// The errors of Caller. Only who holds a whole key is told that it was revoked or suspended or has expired;
// anything else, known or not, gets the same answer.
var (
	ErrKeyMissing = fault.New(fault.Unauthenticated, "API_KEY_MISSING", "the request has no API key").Hinting(`send "Authorization: Bearer clv_live_…"`)
	ErrKeyInvalid = fault.New(fault.Unauthenticated, "API_KEY_INVALID", "the API key is not valid").Hinting("check that the whole key was copied; provider keys do not work here")
	ErrKeyRevoked = fault.New(fault.Unauthenticated, "API_KEY_REVOKED", "the API key was revoked").Hinting("create a new one")
	// ErrKeySuspended passes when the member is enabled again.
	ErrKeySuspended = fault.New(fault.Unauthenticated, "API_KEY_SUSPENDED", "the member who owns the API key is disabled").
			Hinting("an owner or admin of your organization can enable them again")
	ErrKeyExpired = fault.New(fault.Unauthenticated, "API_KEY_EXPIRED", "the API key has expired").Hinting("create a new one")
)

// hasher checks API keys against their stored hashes, reusing keyed hash states: keying costs more
// than hashing.
type hasher struct{ pool sync.Pool }

type keyedHash struct {
	mac hash.Hash
	in  []byte
	sum []byte
}

func newHasher(pepper secret.Text) *hasher {
	return &hasher{pool: sync.Pool{New: func() any {
		return &keyedHash{mac: hmac.New(sha256.New, []byte(pepper.Reveal())), sum: make([]byte, 0, sha256.Size)}
	}}}
}

func (h *hasher) matches(presented string, want []byte) bool {
	k, _ := h.pool.Get().(*keyedHash)
	defer h.pool.Put(k)
	k.mac.Reset()
	k.in = append(k.in[:0], presented...)
	_, _ = k.mac.Write(k.in) // a hash never fails
	clear(k.in)
	return hmac.Equal(k.mac.Sum(k.sum[:0]), want)
}

// caller says who presents a key.
func (s *State) caller(h *hasher, presented string, now time.Time) (completion.Caller, error) {
	publicID, ok := apikey.Parse(presented)
	if !ok {
		return completion.Caller{}, ErrKeyInvalid
	}
	key := s.keys[publicID]
	if key == nil || !h.matches(presented, key.hash) {
		return completion.Caller{}, ErrKeyInvalid
	}
	switch {
	case key.revoked:
		return completion.Caller{}, ErrKeyRevoked.With("api_key", key.caller.KeyName)
	case key.suspended:
		return completion.Caller{}, ErrKeySuspended.With("api_key", key.caller.KeyName)
	case !key.expires.IsZero() && !now.Before(key.expires):
		return completion.Caller{}, ErrKeyExpired.With("api_key", key.caller.KeyName).With("expired", key.expires.Format(time.RFC3339))
	}
	return key.caller, nil
}

// ByID returns the caller of an API key that was checked a moment ago.
func (f *Follower) ByID(keyID string) completion.Caller {
	s := f.state.Load()
	if s == nil {
		return completion.Caller{}
	}
	key := s.keys[s.keyByID[keyID]]
	if key == nil {
		return completion.Caller{}
	}
	return key.caller
}

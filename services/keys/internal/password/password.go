// Package password hashes the passwords of local accounts with argon2id.
//
// Each hash carries the parameters that it was made with. The number of hashes in work at once is
// bounded, because each takes tens of MiB: a flood of sign-ins waits and is then refused, and does
// not take the process with it.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
)

// ErrBusy means that too many passwords are being checked.
var ErrBusy = fault.New(fault.Exhausted, "SIGN_IN_BUSY", "too many passwords are being checked at this moment").
	Hinting("try again in a few seconds").Blaming(fault.Us).RetryingAfter(patience)

const (
	concurrency = 4
	patience    = 5 * time.Second
	saltBytes   = 16
	sumBytes    = 32
	// What a stored hash may ask for at most: the database must not be able to exhaust us.
	maxMemoryKiB = 1 << 20
	maxTime      = 64
)

// Params are the cost of a hash.
type Params struct {
	MemoryKiB uint32
	Time      uint32
	Threads   uint8
}

// Default is above OWASP's minimum (19 MiB, 2 passes) and takes some 60 ms of one core.
var Default = Params{MemoryKiB: 32 << 10, Time: 3, Threads: 1}

// Hasher makes and checks hashes.
type Hasher struct {
	params Params
	slots  chan struct{}
	dummy  string
}

// New returns a Hasher; the zero Params mean Default.
func New(p Params) *Hasher {
	if p == (Params{}) {
		p = Default
	}
	h := &Hasher{params: p, slots: make(chan struct{}, concurrency)}
	h.dummy = h.encode(rand.Text())
	return h
}

// Hash returns the hash of plain.
func (h *Hasher) Hash(ctx context.Context, plain secret.Text) (string, error) {
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer h.leave()
	return h.encode(plain.Reveal()), nil
}

// Verify reports whether plain is the password of hash, and whether the hash should be made anew
// with today's parameters. An empty hash is nobody's: it takes as long as any other and is false.
func (h *Hasher) Verify(ctx context.Context, hash string, plain secret.Text) (ok, outdated bool, err error) {
	nobody := hash == ""
	if nobody {
		hash = h.dummy
	}
	p, salt, want, err := decode(hash)
	if err != nil {
		return false, false, err
	}
	if err := h.enter(ctx); err != nil {
		return false, false, err
	}
	defer h.leave()
	got := argon2.IDKey([]byte(plain.Reveal()), salt, p.Time, p.MemoryKiB, p.Threads, sumBytes)
	ok = subtle.ConstantTimeCompare(got, want) == 1 && !nobody
	return ok, ok && p != h.params, nil
}

func (h *Hasher) enter(ctx context.Context) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-timeout.C:
		return ErrBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Hasher) leave() { <-h.slots }

func (h *Hasher) encode(plain string) string {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails, as documented
	sum := argon2.IDKey([]byte(plain), salt, h.params.Time, h.params.MemoryKiB, h.params.Threads, sumBytes)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.params.MemoryKiB, h.params.Time, h.params.Threads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum))
}

func decode(hash string) (p Params, salt, sum []byte, err error) {
	malformed := fmt.Errorf("password: malformed hash")
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, nil, nil, malformed
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.MemoryKiB, &p.Time, &p.Threads); err != nil {
		return p, nil, nil, malformed
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	sum, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(sum) != sumBytes || p.Time == 0 || p.Time > maxTime || p.MemoryKiB > maxMemoryKiB || p.Threads == 0 {
		return p, nil, nil, malformed
	}
	return p, salt, sum, nil
}

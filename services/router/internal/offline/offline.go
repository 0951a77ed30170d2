// Package offline keeps what the vault has told a router, sealed on the router's own disk, so that a
// router which restarts while the vault is away can serve.
//
// It is opted into (`offline_credentials: sealed`), and it is a trade: whoever has both the store and the
// router's own key, which belongs on another disk or into a secret mount, can read every credential that
// this router has opened. Without both, the store is noise. What the vault takes back (a row that no
// longer opens, a policy that forbids it) is forgotten as soon as the vault says so, what the
// configuration no longer holds as soon as the router hears of it, and all of it a day after the vault has
// last confirmed it.
package offline

import (
	"context"
	"crypto/sha256"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/transit"
)

// maxAge is how long something is used that the vault has not confirmed again.
const maxAge = 24 * time.Hour

// flushEvery is how long a change may wait to be written: a fleet of credentials that is opened at once is
// one write. A kill within it costs those credentials their next offline start, no more.
const flushEvery = time.Second

// Key names a sealed text with everything it is bound to: another row, revision or place is another key.
type Key [sha256.Size]byte

// KeyOf is the key of a sealed text.
func KeyOf(sealed string, bound transit.Context) Key {
	sum := sha256.New()
	sum.Write(bound.Bytes())
	sum.Write([]byte(sealed))
	return Key(sum.Sum(nil))
}

// Options configures a Store.
type Options struct {
	// Path is the file, KeyFile the file with the router's own key: 32 bytes in base64, made if missing.
	Path, KeyFile string
	// Environment and Router are bound into the file: that of another router does not open.
	Environment, Router string
	Opener              transit.Opener
	// Pepper asks the vault for the pepper of API keys.
	Pepper func(ctx context.Context) (secret.Text, error)
	Log    *slog.Logger
	Now    func() time.Time
}

// Store is a transit.Opener that remembers. It holds each opened secret once in memory, besides the
// keyring's own copy of the same text, and writes the whole file at every change: 100,000 credentials are
// some 30 MB and a quarter of a second of a background goroutine, at most once a second.
type Store struct {
	o    Options
	file file

	mu     sync.Mutex
	pepper kept
	open   map[Key]*kept
	dirty  bool
}

// kept is something that the vault has told.
type kept struct {
	secret secret.Text
	at     time.Time // when the vault said so
	// cold entries come from the disk. The first who asks gets one at once, since a start must not wait for
	// a vault that is away.
	cold bool
}

var _ transit.Opener = (*Store)(nil)

// Open reads the store. A file that cannot be read is no error: the vault has the truth, and the log says
// why. The error is about the router's own key alone.
func Open(o Options) (*Store, error) {
	key, err := transit.LocalKey(o.KeyFile)
	if err != nil {
		return nil, err
	}
	s := &Store{o: o, open: map[Key]*kept{}}
	if s.file, err = newFile(o.Path, key, o.Environment, o.Router); err != nil {
		return nil, err
	}
	content, err := s.file.load()
	if err != nil {
		o.Log.Error("kept credentials not readable: this router cannot serve before the vault answers", "error", err)
		return s, nil
	}
	now := o.Now()
	s.pepper = kept{secret: content.pepper, at: content.pepperAt, cold: true}
	for key, k := range content.open {
		if now.Sub(k.at) < maxAge {
			s.open[key] = &kept{secret: k.secret, at: k.at, cold: true}
		}
	}
	o.Log.Info("credentials kept from before", "credentials", len(s.open))
	return s, nil
}

// Open implements transit.Opener: what was kept serves at once after a start, then the vault decides, and
// while it does not answer what it said last holds.
func (s *Store) Open(ctx context.Context, sealed string, bound transit.Context) (secret.Text, error) {
	key := KeyOf(sealed, bound)
	if plain, ok := s.cold(key); ok {
		return plain, nil
	}
	plain, err := s.o.Opener.Open(ctx, sealed, bound)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.open[key] = &kept{secret: plain, at: s.o.Now()}
		s.dirty = true
		return plain, nil
	}
	if refused(err) {
		if s.open[key] != nil {
			delete(s.open, key)
			s.dirty = true
		}
		return secret.Text{}, err
	}
	if k := s.open[key]; k != nil && s.o.Now().Sub(k.at) < maxAge {
		return k.secret, nil
	}
	return secret.Text{}, err
}

// refused reports whether the vault has answered, and said no.
func refused(err error) bool {
	return errors.Is(err, transit.ErrForeign) || errors.Is(err, transit.ErrDenied)
}

func (s *Store) cold(key Key) (secret.Text, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.open[key]
	if k == nil || !k.cold || s.o.Now().Sub(k.at) >= maxAge {
		return secret.Text{}, false
	}
	k.cold = false
	return k.secret, true
}

// Confirmed is when the vault has last opened a text; zero is never.
func (s *Store) Confirmed(sealed string, bound transit.Context) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.open[KeyOf(sealed, bound)]; k != nil {
		return k.at
	}
	return time.Time{}
}

// Retain forgets everything but the given texts, on disk too.
func (s *Store) Retain(texts iter.Seq2[string, transit.Context]) {
	wanted := map[Key]bool{}
	for sealed, bound := range texts {
		wanted[KeyOf(sealed, bound)] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.open {
		if !wanted[key] {
			delete(s.open, key)
			s.dirty = true
		}
	}
}

// Pepper gives the pepper of API keys: what was kept at once, else the vault's.
func (s *Store) Pepper(ctx context.Context) (secret.Text, error) {
	s.mu.Lock()
	if s.pepper.cold && !s.pepper.secret.Empty() {
		s.pepper.cold = false
		defer s.mu.Unlock()
		return s.pepper.secret, nil
	}
	s.mu.Unlock()
	pepper, err := s.o.Pepper(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		return secret.Text{}, err
	}
	s.pepper = kept{secret: pepper, at: s.o.Now()}
	s.dirty = true
	return pepper, nil
}

// Run writes changes until ctx ends, and once more then.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return s.Flush()
		case <-tick.C:
			if err := s.Flush(); err != nil { // the next second may be better; serving does not depend on it
				s.o.Log.ErrorContext(ctx, "opened credentials not kept on disk", "error", err)
			}
		}
	}
}

// Flush writes what has changed.
func (s *Store) Flush() error {
	s.mu.Lock()
	if !s.dirty {
		s.mu.Unlock()
		return nil
	}
	now := s.o.Now()
	content := content{pepper: s.pepper.secret, pepperAt: s.pepper.at, open: make(map[Key]kept, len(s.open))}
	for key, k := range s.open {
		if now.Sub(k.at) >= maxAge {
			delete(s.open, key)
			continue
		}
		content.open[key] = *k
	}
	s.dirty = false
	s.mu.Unlock()
	if err := s.file.save(content); err != nil {
		s.mu.Lock()
		s.dirty = true
		s.mu.Unlock()
		return err
	}
	return nil
}

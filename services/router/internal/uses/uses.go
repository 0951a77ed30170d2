// Package uses remembers when each secret was last used for a request, and tells it now and then.
//
// Keys needs it to say that a secret which was replaced may be revoked at its provider. What a key test
// does is no use. A use is noted on the way of every request: that costs one look into a map by address
// and one atomic read, and a write once a second for each secret.
package uses

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
)

// every is how often the same secret is told of.
const every = time.Minute

// Use is the last use of a secret.
type Use struct {
	OrgID, CredentialID string
	Revision            int
	// Time is when it was, rounded up to a second: never before the true one.
	Time time.Time
}

// Log holds the last uses. It is bounded by the number of secrets that were used since they were last
// told of: some 200 bytes for each, and nothing for those at rest.
type Log struct {
	// recent is what requests write to: *completion.Credential → *atomic.Int64 of seconds. A credential
	// has an address for each configuration in which it changed, so entries are merged into told and
	// dropped whenever someone takes.
	recent sync.Map

	mu   sync.Mutex
	told map[name]*state
}

type name struct {
	orgID, credentialID string
	revision            int
}

type state struct {
	last int64 // seconds of the last use
	said int64 // seconds of the last use that was taken
	at   time.Time
}

// merged marks an entry of recent that is no longer looked at.
const merged = -1

// New returns an empty log.
func New() *Log { return &Log{told: map[name]*state{}} }

// Used notes that c's secret is used for a request at a moment.
func (l *Log) Used(c *completion.Credential, at time.Time) {
	second := at.Unix()
	if at.Nanosecond() > 0 {
		second++
	}
	for {
		entry, ok := l.recent.Load(c)
		if !ok {
			entry, _ = l.recent.LoadOrStore(c, new(atomic.Int64))
		}
		last, _ := entry.(*atomic.Int64)
		for seen := last.Load(); seen != merged; seen = last.Load() {
			if seen >= second || last.CompareAndSwap(seen, second) {
				return
			}
		}
		l.recent.CompareAndDelete(c, entry) // it was merged just now: a new one is needed
	}
}

// Take returns up to most uses that are news, the oldest first: of each secret once a minute. What cannot
// be told is given back with Return.
func (l *Log) Take(now time.Time, most int) []Use { return l.take(now, most, every) }

// Rest returns up to most uses that are news, even of secrets that were told of a moment ago. It is for a
// router that goes away.
func (l *Log) Rest(now time.Time, most int) []Use { return l.take(now, most, 0) }

func (l *Log) take(now time.Time, most int, pause time.Duration) []Use {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.merge()
	var out []Use
	for n, s := range l.told {
		rested := now.Sub(s.at) >= pause
		switch {
		case s.last > s.said && rested:
			out = append(out, Use{OrgID: n.orgID, CredentialID: n.credentialID, Revision: n.revision, Time: time.Unix(s.last, 0).UTC()})
		case s.last <= s.said && rested:
			delete(l.told, n)
		}
	}
	slices.SortFunc(out, func(a, b Use) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.CredentialID, b.CredentialID), cmp.Compare(a.Revision, b.Revision))
	})
	out = out[:min(len(out), most)]
	for _, u := range out {
		s := l.told[u.name()]
		s.said, s.at = s.last, now
	}
	return out
}

// merge moves what requests have written to told.
func (l *Log) merge() {
	l.recent.Range(func(key, entry any) bool {
		c, _ := key.(*completion.Credential)
		last, _ := entry.(*atomic.Int64)
		second := last.Swap(merged) // from here on requests take a new entry
		l.recent.CompareAndDelete(key, entry)
		s := l.of(name{c.OrgID, c.ID, c.Revision})
		s.last = max(s.last, second)
		return true
	})
}

func (l *Log) of(n name) *state {
	s := l.told[n]
	if s == nil {
		s = &state{}
		l.told[n] = s
	}
	return s
}

// Return gives back what could not be told. It is taken again at the next turn.
func (l *Log) Return(uses []Use) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, u := range uses {
		s := l.of(u.name())
		s.last = max(s.last, u.Time.Unix())
		s.said, s.at = 0, time.Time{}
	}
}

func (u Use) name() name { return name{u.OrgID, u.CredentialID, u.Revision} }

// Keyring notes each secret that it hands out. It is for those who call providers for requests, not for
// key tests.
type Keyring struct {
	Ring completion.Keyring
	Log  *Log
	Now  func() time.Time
}

var _ completion.Keyring = Keyring{}

// Secret implements completion.Keyring.
func (k Keyring) Secret(ctx context.Context, c *completion.Credential) (secret.Text, error) {
	plain, err := k.Ring.Secret(ctx, c)
	if err == nil {
		k.Log.Used(c, k.Now())
	}
	return plain, err
}

package health

import (
	"sync"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
)

const (
	// Of the calls of a provider in the last budgetSeconds, a fifth may be made again, or one a second if that is
	// more. It is the larger and not the sum of both, so that a storm makes a fifth more calls at most.
	//
	// All organizations share that. While others call, too, one may have as many of its calls made again as are left
	// for all: half, the next one half of the rest, and so on, so that who always fails leaves others theirs. As
	// time goes by, n organizations that always fail have one part of n+1 each.
	budgetSeconds = 10
	budgetPart    = 5
)

// budgetKey is a provider, or an address that a credential names: what somebody makes fail there must not use up the
// retries of others.
type budgetKey struct{ provider, baseURL string }

func budgetOf(t *completion.Target) budgetKey { return budgetKey{t.Provider, t.Credential.BaseURL} }

// shareKey is an organization whose calls of a provider were made again.
type shareKey struct {
	budgetKey
	orgID string
}

// window counts what happened in the last budgetSeconds.
type window struct {
	second int64
	counts [budgetSeconds]int32
	all    int32
}

func (w *window) add(second int64) {
	w.roll(second)
	w.counts[w.second%budgetSeconds]++
	w.all++
}

// roll forgets what is too old.
func (w *window) roll(second int64) {
	if second-w.second >= budgetSeconds {
		*w = window{second: second}
	}
	for w.second < second {
		w.second++
		at := w.second % budgetSeconds
		w.all -= w.counts[at]
		w.counts[at] = 0
	}
}

// budget counts the calls of a provider, and those that were made again for a request that had failed there.
type budget struct {
	kept
	mu             sync.Mutex
	calls, repeats window
	// latest is who has called last, and when; othersAt is when somebody else did for the last time. Seconds.
	latest             string
	latestAt, othersAt int64
}

func (b *budget) heldUntil() int64 { return 0 }

// share counts what an organization was granted of a budget. Forgetting it gives the organization more than its
// share, and nobody more than there is.
type share struct {
	kept
	mu      sync.Mutex
	granted window
}

func (s *share) heldUntil() int64 { return 0 }

// call counts a call, be it a first one or one that was granted by again.
func (b *budget) call(now time.Time, orgID string) {
	second := now.Unix()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls.add(second)
	if b.latest != orgID {
		b.latest, b.othersAt = orgID, b.latestAt
	}
	b.latestAt = second
}

// again grants an organization one more call, or not.
func (b *budget) again(now time.Time, orgID string, s *share) bool {
	second := now.Unix()
	b.mu.Lock()
	defer b.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	b.calls.roll(second)
	b.repeats.roll(second)
	s.granted.roll(second)
	left := max((b.calls.all-b.repeats.all)/budgetPart, budgetSeconds) - b.repeats.all
	if left <= 0 || s.granted.all >= left && b.others(orgID, second) {
		return false
	}
	b.repeats.add(second)
	s.granted.add(second)
	return true
}

// others reports whether anybody else has called.
func (b *budget) others(orgID string, second int64) bool {
	last := b.latestAt
	if b.latest == orgID {
		last = b.othersAt
	}
	return second-last < budgetSeconds
}

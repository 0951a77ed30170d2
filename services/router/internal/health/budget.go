package health

import (
	"sync"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
)

const (
	// Of the calls of a provider in the last budgetSeconds, a fifth may be made again, or one a second if that is
	// more. It is the larger and not the sum of both, so that a storm makes a fifth more calls at most.
	budgetSeconds = 10
	budgetPart    = 5
)

// budgetKey is a provider, or an address that a credential names: what somebody makes fail there must not use up the
// retries of others.
type budgetKey struct{ provider, baseURL string }

func budgetOf(t *completion.Target) budgetKey { return budgetKey{t.Provider, t.Credential.BaseURL} }

// budget counts the calls of a provider, and those that were made again for a request that had failed there.
type budget struct {
	kept
	mu                    sync.Mutex
	second                int64
	calls, repeats        [budgetSeconds]int
	allCalls, allRepeated int
}

func (b *budget) heldUntil() int64 { return 0 }

// call counts a call, be it a first one or one that was granted by again.
func (b *budget) call(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls[b.roll(now)]++
	b.allCalls++
}

// again grants one more call, or not.
func (b *budget) again(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.roll(now)
	if first := b.allCalls - b.allRepeated; b.allRepeated >= max(first/budgetPart, budgetSeconds) {
		return false
	}
	b.repeats[at]++
	b.allRepeated++
	return true
}

// roll forgets what is too old. The lock is held.
func (b *budget) roll(now time.Time) int {
	second := now.Unix()
	if second-b.second >= budgetSeconds {
		b.calls, b.repeats, b.allCalls, b.allRepeated = [budgetSeconds]int{}, [budgetSeconds]int{}, 0, 0
		b.second = second
	}
	for b.second < second {
		b.second++
		at := b.second % budgetSeconds
		b.allCalls, b.allRepeated = b.allCalls-b.calls[at], b.allRepeated-b.repeats[at]
		b.calls[at], b.repeats[at] = 0, 0
	}
	return int(second % budgetSeconds)
}

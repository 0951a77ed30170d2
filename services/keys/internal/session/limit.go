package session

import (
	"math"
	"sync"
	"time"

	"github.com/claviger/claviger/pkg/fault"
)

// ErrTooMany means that too many passwords were wrong.
var ErrTooMany = fault.New(fault.Exhausted, "SIGN_IN_LIMIT", "too many failed sign-ins").Hinting("wait and try again")

// rule lets burst failures pass at once and then one in each interval.
type rule struct {
	burst float64
	every time.Duration
}

var (
	perAccount = rule{burst: 10, every: 30 * time.Second}
	perPeer    = rule{burst: 100, every: 2 * time.Second} // an office may sit behind one address
)

// sweepAt is the number of counters at which forgotten ones are dropped. Each failure costs a hash,
// so an attacker makes them slower than they are forgotten and the map stays small.
const sweepAt = 4096

// limiter counts failed sign-ins in memory, per replica. A name is never locked for good.
type limiter struct {
	now func() time.Time

	mu       sync.Mutex
	failures map[string]counter
	sweptAt  time.Time
}

type counter struct {
	level float64 // failures that are not forgiven yet
	at    time.Time
	every time.Duration
}

func (c counter) levelAt(now time.Time) float64 {
	return math.Max(0, c.level-float64(now.Sub(c.at))/float64(c.every))
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, failures: map[string]counter{}}
}

// guard watches one attempt.
type guard struct {
	limits        *limiter
	account, peer string
}

func (l *limiter) guard(account, peer string) guard {
	g := guard{limits: l, account: "account\x00" + account}
	if peer != "" {
		g.peer = "peer\x00" + peer
	}
	return g
}

func (g guard) allow() error {
	wait := max(g.limits.wait(g.account, perAccount), g.limits.wait(g.peer, perPeer))
	if wait > 0 {
		wait = wait.Truncate(time.Second) + time.Second
		return ErrTooMany.Saying("too many failed sign-ins; the next is possible in %s", wait).RetryingAfter(wait)
	}
	return nil
}

func (g guard) failed() {
	g.limits.count(g.account, perAccount)
	g.limits.count(g.peer, perPeer)
}

// succeeded forgets the failures of the account, whose owner has shown up. The address keeps its
// own: an attacker may have an account too.
func (g guard) succeeded() { g.limits.forget(g.account) }

func (l *limiter) wait(key string, r rule) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	over := l.failures[key].levelOver(l.now(), r)
	return time.Duration(over * float64(r.every))
}

// levelOver returns how many failures must be forgiven before the next attempt.
func (c counter) levelOver(now time.Time, r rule) float64 {
	if c.level == 0 {
		return 0
	}
	return math.Max(0, c.levelAt(now)-(r.burst-1))
}

func (l *limiter) count(key string, r rule) {
	if key == "" {
		return
	}
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	level := 1.0
	if c, ok := l.failures[key]; ok {
		level += c.levelAt(now)
	}
	l.failures[key] = counter{level: level, at: now, every: r.every}
	if len(l.failures) > sweepAt && now.Sub(l.sweptAt) > time.Minute {
		l.sweptAt = now
		for k, c := range l.failures {
			if c.levelAt(now) == 0 {
				delete(l.failures, k)
			}
		}
	}
}

func (l *limiter) forget(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.failures, key)
}

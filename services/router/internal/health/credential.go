package health

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
)

const (
	// patience is the shortest silence that counts as a provider's failure. An answer in one piece is silent while
	// it is made, and long ones take their time.
	patience      = 10 * time.Second
	wholePatience = time.Minute
	// A credential that failed so often in a row with a model is left alone for a while, which doubles each
	// time. The breaker alone would not do: it needs twenty calls to judge, and with little traffic each request
	// would find out anew; and it is shared by organizations, of which one that makes a provider fail by what it
	// sends must not be able to close it to the others.
	ejectAfter   = 5
	minEjection  = 15 * time.Second
	maxDoublings = 4
	// averaged is the time over which the average is taken; half of it is forgotten in halfLife.
	averaged = 10 * time.Second
	halfLife = 2 * time.Minute
	// A limit is low when a twentieth of it is left, or one where it is not told. Where it is not told either when
	// it is whole again, it is low for a minute.
	lowPart  = 20
	lowAtAll = 1
	lowFor   = time.Minute
)

// secretKey is a secret of a credential.
type secretKey struct {
	id       string
	revision int
}

// refusal is a secret that its provider has refused.
type refusal struct {
	kept
	is atomic.Pointer[refused]
}

type refused struct {
	// of is the credential as it was then. One that keys has changed since has been judged anew.
	of     *completion.Credential
	reason string
	until  time.Time
}

func (r *refusal) heldUntil() int64 {
	if is := r.is.Load(); is != nil {
		return is.until.UnixNano()
	}
	return 0
}

type credentialKey struct{ id, model string }

// credential is what is known of a credential with a model. Times are unix nanoseconds.
type credential struct {
	kept
	model string

	cooling, ejected, low atomic.Int64 // until when
	// streams and wholes are the times to the first content, of answers in pieces and in one piece. They are kept
	// apart: a whole answer is as late as its last token, and must not make its target look slow to streams.
	streams, wholes average

	mu        sync.Mutex
	of        *completion.Credential
	left      completion.Headroom
	at        time.Time
	changed   bool
	row       int // failures in a row
	ejections int
}

func (c *credential) heldUntil() int64 { return max(c.cooling.Load(), c.ejected.Load()) }

func (c *credential) provider() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		return ""
	}
	return c.of.Provider
}

// cool leaves it alone until a moment, unless that is longer already.
func (c *credential) cool(of *completion.Credential, now, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of = of
	if until.UnixNano() <= c.cooling.Load() {
		return
	}
	c.cooling.Store(until.UnixNano())
	c.at, c.changed = now, true
}

// answered notes a good answer.
func (c *credential) answered(of *completion.Credential, now time.Time, whole bool, took time.Duration, left completion.Headroom) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timesOf(whole).measure(now, took)
	c.of, c.row, c.ejections = of, 0, 0
	if !left.Requests.Known && !left.Tokens.Known {
		return
	}
	c.left, c.at, c.changed = left, now, true
	c.low.Store(max(lowUntil(left.Requests, now), lowUntil(left.Tokens, now)))
}

// lowUntil is until when next to nothing is left, 0 if more is.
func lowUntil(a completion.Allowance, now time.Time) int64 {
	if !a.Known || a.Limit > 0 && a.Remaining > a.Limit/lowPart || a.Limit == 0 && a.Remaining > lowAtAll {
		return 0
	}
	if a.Reset > 0 {
		return now.Add(a.Reset).UnixNano()
	}
	return now.Add(lowFor).UnixNano()
}

// failed counts a failure, and reports whether it says something of the place too: what a credential that is left
// alone gives besides says nothing new.
func (c *credential) failed(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.row++
	if c.row < ejectAfter {
		return true
	}
	if c.ejected.Load() > now.UnixNano() { // calls that were under way
		return false
	}
	c.ejected.Store(now.Add(minEjection << min(c.ejections, maxDoublings)).UnixNano())
	c.ejections++
	return c.row == ejectAfter
}

// waited notes a silence that was ended. The answer would have taken longer: that can only raise what is known, and
// of who was never measured says nothing unless it was long.
func (c *credential) waited(now time.Time, whole bool, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.timesOf(whole); took > known.at(now) && (took >= patience || known.measured.Load() != 0) {
		known.measure(now, took)
	}
}

// timesOf are those of whole answers, or of streams.
func (c *credential) timesOf(whole bool) *average {
	if whole {
		return &c.wholes
	}
	return &c.streams
}

// average is a moving average. Whoever measures holds a lock; reading takes none.
type average struct{ value, measured atomic.Int64 } // nanoseconds, and when it was taken, in unix nanoseconds; 0 is never

// measure adds a time to the average. One that is longer counts at once, shorter ones by and by (a peak-sensitive
// average), so that who becomes slow is left at once and has to earn its way back.
func (a *average) measure(now time.Time, took time.Duration) {
	known := float64(a.at(now))
	if measured := a.measured.Load(); measured != 0 && float64(took) < known {
		weight := math.Exp(-float64(now.UnixNano()-measured) / float64(averaged))
		a.value.Store(max(1, int64(known*weight+float64(took)*(1-weight))))
	} else {
		a.value.Store(max(1, int64(took)))
	}
	a.measured.Store(now.UnixNano())
}

// at is the average, which fades: who was slow and is not called any more must be tried again some time.
func (a *average) at(now time.Time) time.Duration {
	measured := a.measured.Load()
	if measured == 0 {
		return 0
	}
	idle := max(0, now.UnixNano()-measured)
	return time.Duration(max(1, float64(a.value.Load())*math.Exp2(-float64(idle)/float64(halfLife))))
}

// news is what was learned since the last call.
type news struct {
	of          *completion.Credential
	left        completion.Headroom
	cooling, at time.Time
}

func (c *credential) news() (news, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.changed {
		return news{}, false
	}
	c.changed = false
	n := news{of: c.of, left: c.left, at: c.at}
	if until := c.cooling.Load(); until != 0 {
		n.cooling = time.Unix(0, until)
	}
	return n, true
}

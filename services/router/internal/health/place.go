package health

import (
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/claviger/claviger/services/router/internal/completion"
)

const (
	// The breaker of a place opens when half of the calls of breakerWindow failed, if there were breakerCalls,
	// for breakerOpen. Then breakerProbes calls decide.
	breakerWindow = 30 * time.Second
	breakerBucket = 3 * time.Second
	breakerOpen   = 15 * time.Second
	breakerCalls  = 20
	breakerProbes = 3
)

var (
	errFailed  = errors.New("failed")
	errNeutral = errors.New("says nothing of the place")
)

// placeKey is where a model is called: a provider's region, or an address that a credential names.
type placeKey struct{ provider, where, model string }

func placeOf(c *completion.Credential, model string) placeKey {
	return placeKey{c.Provider, whereOf(c, model), model}
}

func whereOf(c *completion.Credential, model string) string {
	switch {
	case c.BaseURL != "":
		return c.BaseURL
	case c.Settings.Region != "":
		return c.Settings.Region
	case c.Settings.Location != "":
		return c.Settings.Location
	}
	_, name, _ := strings.Cut(model, "/")
	for i := range c.Settings.Deployments {
		if d := &c.Settings.Deployments[i]; d.Model == model || d.Model == name || d.Name == name {
			return d.Endpoint
		}
	}
	return ""
}

// place is what is known of a place with a model, by all organizations that call it.
type place struct {
	kept
	key     placeKey
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	// openUntil is when it will be tried out, in unix nanoseconds; 0 while all is well.
	openUntil atomic.Int64
	first     times
}

// newPlace tells opened until when the place is left alone.
func newPlace(key placeKey, opened func(until int64)) *place {
	p := &place{key: key}
	p.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: breakerProbes, Interval: breakerWindow, BucketPeriod: breakerBucket, Timeout: breakerOpen,
		ReadyToTrip: func(n gobreaker.Counts) bool { // calls under way say nothing yet
			ended := n.TotalSuccesses + n.TotalFailures
			return ended >= breakerCalls && 2*n.TotalFailures >= ended
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errNeutral) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			switch to {
			case gobreaker.StateOpen:
				until := time.Now().Add(breakerOpen).UnixNano() // the breaker's own clock
				p.openUntil.Store(until)
				opened(until)
			case gobreaker.StateClosed:
				p.openUntil.Store(0)
			case gobreaker.StateHalfOpen: // what it was: it is over
			}
		},
	})
	return p
}

func (p *place) heldUntil() int64 { return p.openUntil.Load() }

// times is a distribution of times from 8 ms to 10 minutes, in steps of 19 %. Old ones fade.
type times struct {
	mu     sync.Mutex
	counts [64]uint16
	total  int
}

const (
	shortest   = 8 * time.Millisecond
	stepsPer2x = 4
	enough     = 20   // times, to say what is usual
	fadeAt     = 1000 // times, when half of them are forgotten
)

func (t *times) add(d time.Duration) {
	step := 0
	if d > shortest {
		step = min(int(stepsPer2x*math.Log2(float64(d)/float64(shortest)))+1, len(t.counts)-1)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[step]++
	if t.total++; t.total < fadeAt {
		return
	}
	t.total = 0
	for i := range t.counts {
		t.counts[i] /= 2
		t.total += int(t.counts[i])
	}
}

// most is the time within which 95 of 100 are, at most 19 % too long; 0 if there are too few.
func (t *times) most() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.total < enough {
		return 0
	}
	below := 0
	for step, n := range t.counts {
		below += int(n)
		if 100*below >= 95*t.total {
			return time.Duration(float64(shortest) * math.Exp2(float64(step)/stepsPer2x))
		}
	}
	return 0
}

// Package health keeps what calls teach of credentials and providers: who was told to wait, who fails, how
// long answers take, what is left of limits. The planner and the attempt loop read it, the loop writes it.
// Nothing of it is stored: a router that starts knows nothing, and learns it again by the first calls.
//
// Memory is bounded, since callers choose the names of models. Of each kind of thing some 65,000 are known at
// a time, 35 MiB in all; with 100,000 credentials × models those are forgotten that were not called for the
// longest time. What is lost with them is a preference: they are called as if they were new. Cooldowns go
// last. Reading takes a shared lock of one of 64 parts, and allocates nothing.
package health

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
)

const (
	// outFor is how long a secret that the provider refused is left alone. By then keys has decided for all
	// routers; if keys is away, one request in this time tries again.
	outFor = time.Minute
	// A provider that limits a rate is left alone as long as it asks, within bounds, and by default for
	// defaultWait. Up to a tenth is added, so that waiting routers do not come back together.
	minWait, maxWait = time.Second, 10 * time.Minute
	defaultWait      = 5 * time.Second
	jitterPart       = 10
	// capacity is how many things of a kind are known.
	capacity = 1 << 16
)

// Options configures a Health.
type Options struct {
	Now func() time.Time
	// Jitter draws from [0, 1); nil is at random.
	Jitter func() float64
	// Capacity is how many things of a kind are known; 0 is 65,536.
	Capacity int
}

// Health is what was learned. Its zero value is of no use.
type Health struct {
	now    func() time.Time
	jitter func() float64
	// trouble is the last moment until which anything is left alone or low, in unix nanoseconds; 0 is never. While
	// there is none, as there mostly is, nobody has to look anything up.
	trouble atomic.Int64

	refused     *table[secretKey, refusal]
	credentials *table[credentialKey, credential]
	places      *table[placeKey, place]
	budgets     *table[budgetKey, budget]
	shares      *table[shareKey, share]
}

var _ completion.Health = (*Health)(nil)

// New returns a Health that has learned nothing.
func New(o Options) *Health {
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Capacity == 0 {
		o.Capacity = capacity
	}
	h := &Health{
		now: o.Now, jitter: o.Jitter,
		refused:     newTable(o.Capacity, func(secretKey) *refusal { return &refusal{} }),
		credentials: newTable(o.Capacity, func(k credentialKey) *credential { return &credential{model: k.model} }),
		budgets:     newTable(o.Capacity, func(budgetKey) *budget { return &budget{} }),
		shares:      newTable(o.Capacity, func(shareKey) *share { return &share{} }),
	}
	h.places = newTable(o.Capacity, func(k placeKey) *place { return newPlace(k, h.expect) })
	return h
}

// expect notes that something is left alone or low until a moment, in unix nanoseconds.
func (h *Health) expect(until int64) {
	for last := h.trouble.Load(); last < until && !h.trouble.CompareAndSwap(last, until); last = h.trouble.Load() {
	}
}

// calm reports that nothing at all is left alone or low.
func (h *Health) calm() bool {
	last := h.trouble.Load()
	return last == 0 || last < h.now().UnixNano() && h.trouble.CompareAndSwap(last, 0)
}

// Refused notes that a provider refused a secret. A new revision starts afresh, and so does a secret about which
// keys has said something new since: it has passed a test, was given a share or promoted.
func (h *Health) Refused(c *completion.Credential, reason string) {
	now := h.now()
	h.refused.of(secretKey{c.ID, c.Revision}, now).is.Store(&refused{c, reason, now.Add(outFor)})
	h.expect(now.Add(outFor).UnixNano())
}

// Out says why a credential must not be tried now for a model, empty if it may: the provider has refused its
// secret, or asked to wait. That calls fail again and again is no such reason: if there is nobody else, the attempt
// loop calls it all the same.
func (h *Health) Out(c *completion.Credential, model string) string {
	if h.calm() {
		return ""
	}
	now := h.now()
	if known := h.refused.get(secretKey{c.ID, c.Revision}); known != nil {
		if is := known.is.Load(); is != nil && is.of == c && !now.After(is.until) {
			return is.reason
		}
	}
	if !h.until(c, model, now).IsZero() {
		return "cools down after its provider limited its rate"
	}
	return ""
}

// Until is when a credential has cooled down for a model; zero if it need not, or if time alone does not mend it.
func (h *Health) Until(c *completion.Credential, model string) time.Time {
	return h.until(c, model, h.now())
}

func (h *Health) until(c *completion.Credential, model string, now time.Time) time.Time {
	if known := h.credentials.get(credentialKey{c.ID, model}); known != nil {
		if until := known.cooling.Load(); until > now.UnixNano() {
			return time.Unix(0, until)
		}
	}
	return time.Time{}
}

// Low reports whether the provider's last answers left next to nothing of its limits for a model.
func (h *Health) Low(c *completion.Credential, model string) bool {
	if h.calm() {
		return false
	}
	known := h.credentials.get(credentialKey{c.ID, model})
	return known != nil && known.low.Load() > h.now().UnixNano()
}

// Latency is the moving average of the time to the first content, of streams or else of whole answers; 0 is not
// measured yet.
func (h *Health) Latency(c *completion.Credential, model string, streams bool) time.Duration {
	known := h.credentials.get(credentialKey{c.ID, model})
	if known == nil {
		return 0
	}
	return known.timesOf(!streams).at(h.now())
}

// Holding says why a credential had better not be called for a model, and until when.
func (h *Health) Holding(c *completion.Credential, model string) completion.Hold {
	if h.calm() {
		return completion.Hold{}
	}
	now := h.now().UnixNano()
	var ejected int64
	if known := h.credentials.get(credentialKey{c.ID, model}); known != nil {
		if until := known.cooling.Load(); until > now {
			return completion.Hold{Why: completion.Cooling, Until: time.Unix(0, until)}
		}
		ejected = known.ejected.Load()
	}
	if at := h.places.get(placeOf(c, model)); at != nil {
		ejected = max(ejected, at.openUntil.Load())
	}
	if ejected > now {
		return completion.Hold{Why: completion.Broken, Until: time.Unix(0, ejected)}
	}
	return completion.Hold{}
}

// Held implements completion.Health.
func (h *Health) Held(t *completion.Target) completion.Hold { return h.Holding(t.Credential, t.Model) }

// Begin implements completion.Health.
func (h *Health) Begin(orgID string, t *completion.Target) (completion.Trial, bool) {
	now := h.now()
	h.budgets.of(budgetOf(t), now).call(now, orgID)
	done, err := h.places.of(placeOf(t.Credential, t.Model), now).breaker.Allow()
	if err != nil {
		return completion.Trial{}, false
	}
	return completion.Trial{Done: done}, true
}

// Answered implements completion.Health. The breaker hears of success here and not at the end of the answer,
// which may be minutes away: by then its window has moved on, and a provider of long answers would be judged by
// its failures alone.
func (h *Health) Answered(t *completion.Target, trial completion.Trial, took time.Duration, left completion.Headroom) {
	now := h.now()
	tell(trial, nil)
	known := h.credentials.of(credentialKey{t.Credential.ID, t.Model}, now)
	known.answered(t.Credential, now, trial.Whole, took, left)
	h.expect(known.low.Load())
	if !trial.Whole {
		h.places.of(placeOf(t.Credential, t.Model), now).first.add(took)
	}
}

// Failed implements completion.Health.
func (h *Health) Failed(t *completion.Target, trial completion.Trial, e *completion.ProviderError, took time.Duration) {
	now := h.now()
	effect := e.Class.Handling().Effect
	if effect == completion.Breaks {
		h.broke(t, trial, e, now, took)
		return
	}
	tell(trial, errNeutral)
	if effect == completion.CoolsDown {
		known := h.credentials.of(credentialKey{t.Credential.ID, t.Model}, now)
		known.cool(t.Credential, now, now.Add(h.wait(e.RetryAfter)))
		h.expect(known.cooling.Load())
	}
}

// broke counts a failure. A silence that was shorter than patience is no failure: a policy with a short time for
// the first byte must not make a provider look broken to other organizations. For the same reason the failures
// of one credential stop counting against the place once the credential itself is left alone.
func (h *Health) broke(t *completion.Target, trial completion.Trial, e *completion.ProviderError, now time.Time, took time.Duration) {
	known := h.credentials.of(credentialKey{t.Credential.ID, t.Model}, now)
	if e.Class == completion.TimedOut {
		bound := patience
		if trial.Whole {
			bound = wholePatience
		}
		if before := !begun(trial); before {
			known.waited(now, trial.Whole, took)
		}
		if took < bound {
			tell(trial, errNeutral)
			return
		}
	}
	tellsOfPlace := known.failed(now)
	h.expect(known.ejected.Load())
	if !tellsOfPlace {
		tell(trial, errNeutral)
		return
	}
	if trial.Done == nil { // it broke off after its trial had gone well
		if done, err := h.places.of(placeOf(t.Credential, t.Model), now).breaker.Allow(); err == nil {
			done(errFailed)
		}
		return
	}
	tell(trial, errFailed)
}

// begun reports whether the answer had begun when its call failed: its first content was measured then.
func begun(trial completion.Trial) bool { return trial.Done == nil && !trial.Whole }

// Left implements completion.Health.
func (h *Health) Left(trial completion.Trial) { tell(trial, errNeutral) }

// Again implements completion.Health.
func (h *Health) Again(orgID string, t *completion.Target) bool {
	now, key := h.now(), budgetOf(t)
	return h.budgets.of(key, now).again(now, orgID, h.shares.of(shareKey{key, orgID}, now))
}

// Usual implements completion.Health.
func (h *Health) Usual(t *completion.Target) time.Duration {
	at := h.places.get(placeOf(t.Credential, t.Model))
	if at == nil {
		return 0
	}
	return at.first.most()
}

// wait is how long a credential is left alone that was asked to wait so long; 0 is not told.
func (h *Health) wait(asked time.Duration) time.Duration {
	if asked == 0 {
		asked = defaultWait
	}
	asked = min(max(asked, minWait), maxWait)
	return asked + time.Duration(h.jitter()*float64(asked/jitterPart))
}

func tell(trial completion.Trial, err error) {
	if trial.Done != nil {
		trial.Done(err)
	}
}

// Snapshot calls visit for each credential and model of which something was learned since the last call: what
// was left of limits, and until when it is left alone, as it was at a moment. A time that never was is zero.
func (h *Health) Snapshot(visit func(credential *completion.Credential, model string, left completion.Headroom, coolingUntil, at time.Time)) {
	h.credentials.each(func(c *credential) {
		if news, ok := c.news(); ok {
			visit(news.of, c.model, news.left, news.cooling, news.at)
		}
	})
}

// Count is how much of a provider is in a bad way.
type Count struct{ Cooling, Ejected, Open, Trying int }

// Counts is how many credentials × models of each provider wait or are left alone, and how many of its places ×
// models are left alone or tried out. It looks at all that is known, for measurements.
func (h *Health) Counts() map[string]Count {
	now := h.now().UnixNano()
	out := map[string]Count{}
	h.credentials.each(func(c *credential) {
		provider := c.provider()
		n := out[provider]
		if c.cooling.Load() > now {
			n.Cooling++
		}
		if c.ejected.Load() > now {
			n.Ejected++
		}
		out[provider] = n
	})
	h.places.each(func(p *place) {
		n := out[p.key.provider]
		if p.openUntil.Load() > now {
			n.Open++
		} else if p.openUntil.Load() > 0 {
			n.Trying++
		}
		out[p.key.provider] = n
	})
	delete(out, "")
	return out
}

// Known is how many credentials × models, places × models and refused secrets are known.
func (h *Health) Known() (credentials, places, refused int) {
	return h.credentials.len(), h.places.len(), h.refused.len()
}

// Shares is of how many organizations × providers it is known which retries they were granted.
func (h *Health) Shares() int { return h.shares.len() }

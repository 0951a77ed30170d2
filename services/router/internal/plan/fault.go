package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// The faults of requests for which there is nothing to try, besides those of package completion.
var (
	// ErrNotAllowed is that the organization's own rules leave nothing.
	ErrNotAllowed = fault.New(fault.Denied, "ROUTE_NOT_ALLOWED", "the organization's rules leave nothing that could serve this request").
			Hinting("name another model, or ask an admin to change the policy or the approved models")
	// ErrNotWished is that what the request asks of its route leaves nothing.
	ErrNotWished = fault.New(fault.Invalid, "NO_ROUTE_LEFT", "what the request asks of its route leaves nothing that could serve it").
			Hinting("ask for less in the request's routing").With("param", "provider")
)

const (
	// maxReasons bounds how many reasons a fault tells.
	maxReasons = 20
	// minWait and maxWait bound what a caller is told to wait.
	minWait = time.Second
	maxWait = 10 * time.Minute
)

// fault says why there is no target.
func (w *walk) fault() error {
	why := w.reasons()
	causing := map[whose]bool{}
	for i := range w.told.exclusions {
		e := &w.told.exclusions[i]
		switch of := causes[e.Reason]; {
		case of == ofNobody:
		case of == ofTime && w.until(e).IsZero():
			causing[ofCredentials] = true
		default:
			causing[of] = true
		}
	}
	only := func(of whose) bool { return len(causing) == 1 && causing[of] }
	switch {
	case only(ofModel): // more credentials would not help
		return completion.ErrUnsupported.Saying("nothing that the model's name stands for can do this: %s", why).
			Hinting("choose another model").With("param", "model")
	case only(ofRules):
		return ErrNotAllowed.Saying("the organization's rules leave nothing that could serve this request: %s", why)
	case only(ofRequest):
		return ErrNotWished.Saying("what the request asks of its route leaves nothing that could serve it: %s", why)
	case causing[ofTime]:
		return completion.ErrCoolingDown.Saying("everything that could serve this request is out for the moment: %s", why).RetryingAfter(w.wait())
	}
	return completion.ErrNoTarget.Saying("no credential can serve this request: %s", why)
}

// until is when something may be tried again that is out for a time; zero if time alone does not mend it.
func (w *walk) until(e *Exclusion) time.Time {
	if resting, ok := w.p.Health.(Resting); ok && e.Reason == CoolingDown {
		return resting.Until(e.Credential, e.Model)
	}
	return time.Time{}
}

// wait is how long it takes until the first thing may be tried again.
func (w *walk) wait() time.Duration {
	least := maxWait
	for i := range w.told.exclusions {
		if until := w.until(&w.told.exclusions[i]); !until.IsZero() {
			least = min(least, until.Sub(w.now))
		}
	}
	return max(least, minWait)
}

// reasons are the exclusions in words, line by line.
func (w *walk) reasons() string {
	var out []string
	seen := map[string]bool{} // with many credentials there are many reasons
	for i := range w.told.exclusions {
		e := &w.told.exclusions[i]
		text := e.Model + ": "
		if e.Line >= 0 {
			text = fmt.Sprintf("line %d, %s", e.Line+1, text)
		}
		if e.Credential != nil {
			text += e.Said(fmt.Sprintf("credential %q", label(e.Class, e.Credential)))
		} else {
			text += e.Words()
		}
		if !seen[text] && len(out) < maxReasons {
			out = append(out, text)
		}
		seen[text] = true
	}
	if len(out) == 0 {
		return "the policy has no line"
	}
	if more := len(seen) - len(out); more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, "; ")
}

// label names a credential to a caller: a platform credential's label is the operator's business.
func label(class usage.Class, c *completion.Credential) string {
	if class == usage.Platform {
		return "platform"
	}
	return c.Label
}

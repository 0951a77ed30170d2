package credential

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/services/keys/internal/audit"
)

const (
	// Tests that follow by themselves: soon after the first setback, then ever more rarely. Funds come
	// back sooner than a wrong key becomes right.
	firstProbe   = 5 * time.Minute
	rarestProbe  = 6 * time.Hour
	rarestUnpaid = 30 * time.Minute
	// Setbacks older than this are forgotten.
	forgiven = 24 * time.Hour

	// A refusal while serving may be of one bad minute of the provider, so it asks for a test. It counts
	// by itself where tests do not tell: once it is repeated after doubtPause, within doubtWindow.
	doubtPause  = 30 * time.Second
	doubtWindow = 10 * time.Minute
	// After so many tests within trustWindow that passed in spite of refusals, tests are not believed.
	maxAcquittals = 2
	trustWindow   = time.Hour
)

var noTime time.Time

// Doubt is what is held against a secret that tests have not confirmed.
type Doubt struct {
	// Since is when the provider refused it first, zero if nothing is held against it.
	Since time.Time `json:"since,omitzero"`
	// Acquittals is how many tests have passed after refusals, the last of them at AcquittedAt.
	Acquittals  int       `json:"acquittals,omitzero"`
	AcquittedAt time.Time `json:"acquitted_at,omitzero"`
	Heard
}

// Heard is when something was last said of a secret.
type Heard struct {
	// TestedAt is when it was last tested, by the clock of the router that did it. What a provider said before
	// does not undo the verdict, however late it comes.
	TestedAt time.Time `json:"tested_at,omitzero"`
	// SaidAt is when keys last learned of something that a provider said while serving. Tests that were asked
	// for before do not undo that.
	SaidAt time.Time `json:"said_at,omitzero"`
}

// stale reports whether f is older than what was said last.
func (h Heard) stale(f Finding) bool {
	if !f.Tested {
		return !f.At.IsZero() && f.At.Before(h.TestedAt)
	}
	if f.Answered && !f.At.After(h.TestedAt) {
		return true // a report that was sent twice, or one that a faster router has made useless
	}
	return (f.State == Active || f.State == Degraded) && !f.AskedAt.IsZero() && f.AskedAt.Before(h.SaidAt)
}

// note keeps the time of f.
func (h *Heard) note(f Finding, now time.Time) {
	if f.Tested {
		h.TestedAt = f.found(now)
	} else {
		h.SaidAt = now
	}
}

// Finding is what a router says of a secret.
type Finding struct {
	CredentialID string
	Revision     int
	// Tested tells the verdict of a key test, which is State, "" if none was reached, from what a provider
	// said while serving, which is Class.
	Tested bool
	State  State
	Class  string
	Reason string
	// Models are what a test found that the secret may use; none is unknown.
	Models []string
	// At is when it was found, by the router's clock; zero is now.
	At time.Time
	// ProbeID names the test; AskedAt is when keys asked for it, zero if that is not known any more. Answered
	// says that it was answered before, or that nobody knows of it.
	ProbeID  string
	AskedAt  time.Time
	Answered bool
}

// found is when f was found: never in the future, however fast a router's clock is.
func (f Finding) found(now time.Time) time.Time {
	if f.At.IsZero() || f.At.After(now) {
		return now
	}
	return f.At
}

// The error classes that say something of the key.
const (
	classInvalid = "auth_invalid"
	classLimited = "auth_limited"
	classFunds   = "quota_exhausted"
)

// IsEvidence reports whether an error class says something of the key.
func IsEvidence(errorClass string) bool {
	return errorClass == classInvalid || errorClass == classLimited || errorClass == classFunds
}

var verdicts = map[State]Event{
	Active: TestPassed, Degraded: TestWarned, QuotaExhausted: TestUnfunded, Rejected: TestRefused, "": TestUnclear,
}

// weigh makes an event of a finding about c's secret, and notes in c what is held against it. Empty is none.
func weigh(c *Credential, f Finding, now time.Time) Event {
	if c.Doubt.stale(f) {
		return ""
	}
	if f.Tested {
		if f.State == Active || f.State == Degraded {
			if !c.Doubt.Since.IsZero() {
				c.Doubt.Acquittals, c.Doubt.AcquittedAt = c.Doubt.Acquittals+1, now
			}
			c.Doubt.Since = noTime
		}
		if f.State != "" {
			c.Doubt.note(f, now)
		}
		return verdicts[f.State]
	}
	var e Event
	switch f.Class {
	case classFunds:
		e = Unfunded
	case classLimited:
		e = Limited
	case classInvalid:
		e = c.Doubt.refused(f.found(now), now)
	}
	if e != "" {
		c.Doubt.note(f, now)
	}
	return e
}

// refused weighs another refusal while serving, of a moment. That keys hears of the same one again later, as it
// does from a router whose report it took and did not answer, does not repeat it.
func (d *Doubt) refused(at, now time.Time) Event {
	if now.Sub(d.AcquittedAt) > trustWindow {
		d.Acquittals, d.AcquittedAt = 0, noTime
	}
	switch age := at.Sub(d.Since); {
	case d.Acquittals >= maxAcquittals:
		return Contradicted
	case d.Since.IsZero(), age > doubtWindow:
		d.Since = at
		return Doubted
	case age < doubtPause:
		return "" // of the same bad moment
	}
	return Refused
}

// News reports whether f would change something about c.
func (s *Service) News(c Credential, f Finding) bool {
	if n := c.Next; n != nil && f.Revision == n.Revision {
		return f.Tested || n.heard(f)
	}
	if f.Revision != c.Revision {
		return false
	}
	e := weigh(&c, f, s.Now())
	_, fits := ruleOf(c.State(), e, c, s.Now())
	return fits
}

// Learn moves a credential's state by what a router found. Findings about a secret that neither serves nor is
// about to, and evidence that is older than the current verdict, change nothing.
func (s *Service) Learn(ctx context.Context, tx Tx, f Finding) error {
	c, err := tx.Credential(ctx, f.CredentialID)
	if err != nil {
		return err
	}
	if f.Tested {
		if f.AskedAt, f.Answered, err = tx.ProbeAsked(ctx, f.ProbeID); err != nil {
			return err
		}
		if err := tx.FinishProbes(ctx, c.ID, f.Revision, s.Now()); err != nil {
			return err
		}
	}
	switch {
	case c.Next != nil && f.Revision == c.Next.Revision:
		return s.learnNext(ctx, tx, c, f)
	case f.Revision == c.Revision:
		return s.learn(ctx, tx, c, f)
	}
	return nil
}

// told stands before what the provider said, where that alone would not say why.
var told = map[Event]string{
	Doubted:      "refused for a request, a test follows",
	Contradicted: "tests pass, and requests are refused all the same",
}

func (s *Service) learn(ctx context.Context, tx Tx, c Credential, f Finding) error {
	from, verdict := c.State(), c.Verdict
	e := weigh(&c, f, s.Now())
	if e == TestUnclear {
		if _, fits := ruleOf(from, e, c, s.Now()); !fits {
			return nil
		}
		c.StateReason = "the last test reached no verdict: " + f.Reason
		return tx.UpdateSchedule(ctx, c)
	}
	reason := f.Reason
	if said, ok := told[e]; ok {
		reason = said + ": " + f.Reason
	}
	fits, test := s.move(&c, from, e, reason)
	if !fits {
		return nil
	}
	found := false
	if e == TestPassed || e == TestWarned {
		models := slices.Clone(f.Models)
		slices.Sort(models)
		models = slices.Compact(models)
		found = !slices.Equal(models, c.Models)
		c.Models = models
	}
	if test {
		if _, err := s.requestProbe(ctx, tx, c, c.Revision); err != nil {
			return err
		}
	}
	if c.Verdict == verdict && !found {
		return tx.UpdateSchedule(ctx, c)
	}
	if err := tx.UpdateCredential(ctx, c); err != nil {
		return err
	}
	return s.recordMove(ctx, tx, c, from, e) // what a provider offers is no act of anybody
}

// recordMove audits a move that nobody of the organization has made.
func (s *Service) recordMove(ctx context.Context, tx Tx, c Credential, from State, e Event) error {
	if c.State() == from {
		return nil
	}
	detail := audit.Detail{
		"label": c.Label, "state": audit.Change{From: from, To: c.State()}, "event": e, "reason": c.StateReason, "revision": c.Revision,
	}
	if c.State().tells() {
		detail["tell"] = c.CreatedBy
	}
	return tx.Record(ctx, "credential.state", c.ID, detail)
}

// Test asks for a key test of one of a credential's secrets, 0 for the one that serves, and returns the id of
// the probe.
func (s *Service) Test(ctx context.Context, tx Tx, credentialID string, revision int) (string, error) {
	c, err := tx.Credential(ctx, credentialID)
	if err != nil {
		return "", err
	}
	if revision == 0 {
		revision = c.Revision
	}
	switch state := c.State(); {
	case state == Disabled:
		return "", ErrDisabled.With("credential", c.Label)
	case state == Expired:
		return "", ErrExpired.With("credential", c.Label)
	case c.Next != nil && revision == c.Next.Revision:
	case revision != c.Revision:
		return "", ErrSecret.Saying("credential %q has no secret of revision %d to test", c.Label, revision)
	case state == NoSecret:
		return "", ErrNoSecret.With("credential", c.Label)
	}
	probeID, err := s.requestProbe(ctx, tx, c, revision)
	if err != nil {
		return "", err
	}
	return probeID, tx.Record(ctx, "credential.test", c.ID, audit.Detail{"label": c.Label, "revision": revision})
}

// Tend does what has come due by itself: it takes note that a credential's time is up, and asks for the tests
// that follow by themselves.
func (s *Service) Tend(ctx context.Context, tx Tx, credentialID string) error {
	c, err := tx.Credential(ctx, credentialID)
	if err != nil {
		return err
	}
	now, from := s.Now(), c.State()
	if c.late(now) {
		if fits, _ := s.move(&c, from, TimeUp, "its time was up at "+c.ExpiresAt.Format(time.RFC3339)); fits {
			if err := tx.UpdateCredential(ctx, c); err != nil {
				return err
			}
			if err := s.recordMove(ctx, tx, c, from, TimeUp); err != nil {
				return err
			}
		}
	}
	due := func(at time.Time) bool { return !at.IsZero() && !at.After(now) }
	asked := false
	if due(c.NextProbeAt) {
		if _, err := s.requestProbe(ctx, tx, c, c.Revision); err != nil {
			return err
		}
		c.NextProbeAt = now.Add(backoff(c.State(), c.Setbacks))
		c.Setbacks++
		asked = true
	}
	if c.Next != nil && due(c.Next.NextProbeAt) && slices.Contains(judged, c.State()) {
		if _, err := s.requestProbe(ctx, tx, c, c.Next.Revision); err != nil {
			return err
		}
		next := *c.Next
		next.NextProbeAt = now.Add(backoff(next.Verdict, next.Setbacks))
		next.Setbacks++
		c.Next, asked = &next, true
	}
	if !asked {
		return nil
	}
	return tx.UpdateSchedule(ctx, c)
}

func (s *Service) requestProbe(ctx context.Context, tx Tx, c Credential, revision int) (string, error) {
	return tx.RequestProbe(ctx, Probe{OrgID: c.OrgID, ID: id.New("probe"), CredentialID: c.ID, Revision: revision, CreatedAt: s.Now()})
}

func backoff(state State, setbacks int) time.Duration {
	d, rarest := firstProbe, rarestProbe
	if state == QuotaExhausted {
		rarest = rarestUnpaid
	}
	for range min(setbacks, 16) {
		d = min(2*d, rarest)
	}
	return d
}

// words names a revision for people.
func words(revision int) string { return fmt.Sprintf("revision %d", revision) }

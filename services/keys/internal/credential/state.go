package credential

import (
	"context"
	"slices"
	"time"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/services/keys/internal/audit"
)

// Tests that follow by themselves: soon after the first setback, then ever more rarely.
const (
	firstProbe  = 5 * time.Minute
	rarestProbe = 6 * time.Hour
	// Setbacks older than this are forgotten.
	forgiven = 24 * time.Hour
)

var noTime time.Time

// Finding is what a router says of a credential.
type Finding struct {
	CredentialID string
	Revision     int
	// State is the verdict, "" if none was reached.
	State State
	// Tested tells the verdict of a key test from what a provider said while serving.
	Tested bool
	Reason string
	// Models are what a test found that the secret may use; none is unknown.
	Models []string
	// At is when it was found; zero is now.
	At time.Time
}

// serving maps what providers say while serving to states. Other classes say nothing of the key.
var serving = map[string]State{"auth_invalid": Rejected, "quota_exhausted": QuotaExhausted}

// EvidenceState returns the state that an error class means, "" if it says nothing of the key.
func EvidenceState(errorClass string) State { return serving[errorClass] }

// News reports whether f says anything new about c.
func (s *Service) News(c Credential, f Finding) bool {
	state := c.State()
	switch {
	case f.Revision != c.Revision, state == Disabled, state == NoSecret:
		return false
	case f.Tested:
		return true
	case f.State == "", f.State == state, state == Rejected:
		return false // of a request that began before the rejection: only a test lifts that
	}
	// Evidence that is older than the verdict of a test does not undo it. Tests are not asked for
	// their time, since a router's clock may be behind ours.
	return f.At.IsZero() || !f.At.Before(c.StateAt)
}

// Learn moves a credential's state by what a router found. Findings about another secret than the
// current one, and evidence that is older than the current verdict, change nothing.
func (s *Service) Learn(ctx context.Context, tx Tx, f Finding) error {
	now := s.Now()
	c, err := tx.Credential(ctx, f.CredentialID)
	if err != nil {
		return err
	}
	if f.Tested {
		if err := tx.FinishProbes(ctx, c.ID, f.Revision, now); err != nil {
			return err
		}
	}
	if !s.News(c, f) {
		return nil
	}
	state := c.State()
	if f.State == "" {
		c.StateReason = "the last test reached no verdict: " + f.Reason
		return tx.UpdateSchedule(ctx, c)
	}
	moved, told := f.State != c.Verdict, false
	if now.Sub(c.StateAt) > forgiven {
		c.Setbacks = 0
	}
	c.StateAt = now
	c.Verdict, c.StateReason, c.NextProbeAt = f.State, f.Reason, noTime
	if f.State == Rejected || f.State == QuotaExhausted {
		c.NextProbeAt = now.Add(backoff(c.Setbacks))
		c.Setbacks++
	}
	if f.Tested && (f.State == Active || f.State == Degraded) {
		models := slices.Clone(f.Models)
		slices.Sort(models)
		models = slices.Compact(models)
		told = !slices.Equal(models, c.Models)
		c.Models = models
	}
	if !moved && !told {
		return tx.UpdateSchedule(ctx, c)
	}
	if err := tx.UpdateCredential(ctx, c); err != nil {
		return err
	}
	if !moved {
		return nil // what a provider offers is no act of anybody
	}
	return tx.Record(ctx, "credential.state", c.ID, audit.Detail{
		"label": c.Label, "state": audit.Change{From: state, To: f.State}, "reason": f.Reason, "revision": c.Revision, "tested": f.Tested,
	})
}

// Test asks for a key test and returns the id of the probe.
func (s *Service) Test(ctx context.Context, tx Tx, credentialID string) (string, error) {
	c, err := tx.Credential(ctx, credentialID)
	if err != nil {
		return "", err
	}
	switch c.State() {
	case Disabled:
		return "", ErrDisabled.With("credential", c.Label)
	case NoSecret:
		return "", ErrNoSecret.With("credential", c.Label)
	case Unverified, Active, Degraded, QuotaExhausted, Rejected:
	}
	probeID, err := s.requestProbe(ctx, tx, c)
	if err != nil {
		return "", err
	}
	return probeID, tx.Record(ctx, "credential.test", c.ID, audit.Detail{"label": c.Label, "revision": c.Revision})
}

// Retest asks for the test that is due by itself, if it still is.
func (s *Service) Retest(ctx context.Context, tx Tx, credentialID string) error {
	c, err := tx.Credential(ctx, credentialID)
	if err != nil {
		return err
	}
	now := s.Now()
	if c.NextProbeAt.IsZero() || c.NextProbeAt.After(now) {
		return nil
	}
	if _, err := s.requestProbe(ctx, tx, c); err != nil {
		return err
	}
	c.NextProbeAt = now.Add(backoff(c.Setbacks))
	c.Setbacks++
	return tx.UpdateSchedule(ctx, c)
}

func (s *Service) requestProbe(ctx context.Context, tx Tx, c Credential) (string, error) {
	return tx.RequestProbe(ctx, Probe{OrgID: c.OrgID, ID: id.New("probe"), CredentialID: c.ID, Revision: c.Revision, CreatedAt: s.Now()})
}

// unverified begins a secret's life: a test is asked for, and again until there is a verdict.
func (s *Service) unverified(c *Credential, reason string) {
	now := s.Now()
	c.Verdict, c.StateReason, c.StateAt = Unverified, reason, now
	c.Setbacks, c.NextProbeAt = 1, now.Add(firstProbe)
}

func backoff(setbacks int) time.Duration {
	d := firstProbe
	for range min(setbacks, 16) {
		d = min(2*d, rarestProbe)
	}
	return d
}

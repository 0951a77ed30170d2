package credential_test

import (
	"context"
	"testing"
	"time"

	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/credential"
)

// tx holds one credential in memory.
type tx struct {
	credential.Tx
	c      credential.Credential
	probes int
	moves  int
}

func (t *tx) Credential(context.Context, string) (credential.Credential, error) { return t.c, nil }
func (t *tx) UpdateCredential(_ context.Context, c credential.Credential) error { t.c = c; return nil }

func (t *tx) UpdateSchedule(_ context.Context, c credential.Credential) error { t.c = c; return nil }
func (t *tx) FinishProbes(context.Context, string, int, time.Time) error      { return nil }
func (t *tx) Record(context.Context, string, string, audit.Detail) error      { t.moves++; return nil }

func (t *tx) RequestProbe(_ context.Context, p credential.Probe) (string, error) {
	t.probes++
	return p.ID, nil
}

func TestTestsThatFollowByThemselvesBecomeRarer(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	s := &credential.Service{Now: func() time.Time { return now }}
	x := &tx{c: credential.Credential{ID: "cred_x", Revision: 1, Sealed: "x", Verdict: credential.Active, StateAt: now}}
	learn := func(state credential.State) {
		t.Helper()
		if err := s.Learn(t.Context(), x, credential.Finding{CredentialID: "cred_x", Revision: 1, State: state, Tested: true}); err != nil {
			t.Fatal(err)
		}
	}
	learn(credential.Rejected)
	var gaps []time.Duration
	for range 10 {
		gaps = append(gaps, x.c.NextProbeAt.Sub(now))
		if err := s.Retest(t.Context(), x, "cred_x"); err != nil { // too early
			t.Fatal(err)
		}
		before := x.probes
		now = x.c.NextProbeAt
		if err := s.Retest(t.Context(), x, "cred_x"); err != nil {
			t.Fatal(err)
		}
		if x.probes != before+1 {
			t.Fatalf("%d tests were asked for when one was due", x.probes-before)
		}
	}
	for i, gap := range gaps {
		want := min(5*time.Minute<<i, 6*time.Hour)
		if gap != want {
			t.Errorf("gap %d = %s, want %s", i, gap, want)
		}
	}
	learn(credential.Active)
	if !x.c.NextProbeAt.IsZero() {
		t.Error("a good credential is tested again by itself")
	}
	if x.moves != 2 {
		t.Errorf("%d moves were recorded, want 2", x.moves)
	}
	now = now.Add(25 * time.Hour)
	learn(credential.Rejected)
	if gap := x.c.NextProbeAt.Sub(now); gap != 5*time.Minute {
		t.Errorf("gap after a good day = %s, want five minutes again", gap)
	}
}

func TestOldEvidenceDoesNotUndoATest(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	s := &credential.Service{Now: func() time.Time { return now }}
	c := credential.Credential{Revision: 2, Sealed: "x", Verdict: credential.Active, StateAt: now}
	evidence := credential.Finding{Revision: 2, State: credential.Rejected, At: now.Add(time.Second)}
	for name, f := range map[string]struct {
		change func(*credential.Credential, *credential.Finding)
		want   bool
	}{
		"newer":            {func(*credential.Credential, *credential.Finding) {}, true},
		"without a time":   {func(_ *credential.Credential, f *credential.Finding) { f.At = time.Time{} }, true},
		"older":            {func(_ *credential.Credential, f *credential.Finding) { f.At = now.Add(-time.Second) }, false},
		"older, of a test": {func(_ *credential.Credential, f *credential.Finding) { f.At, f.Tested = now.Add(-time.Second), true }, true},
		"another revision": {func(_ *credential.Credential, f *credential.Finding) { f.Revision = 1 }, false},
		"said before":      {func(c *credential.Credential, _ *credential.Finding) { c.Verdict = credential.Rejected }, false},
		"no class":         {func(_ *credential.Credential, f *credential.Finding) { f.State = "" }, false},
		"disabled":         {func(c *credential.Credential, _ *credential.Finding) { c.Disabled = true }, false},
		"no secret":        {func(c *credential.Credential, f *credential.Finding) { c.Sealed, f.Tested = "", true }, false},
		"lifts rejection": {func(c *credential.Credential, f *credential.Finding) {
			c.Verdict, f.State = credential.Rejected, credential.QuotaExhausted
		}, false},
	} {
		c, e := c, evidence
		f.change(&c, &e)
		if got := s.News(c, e); got != f.want {
			t.Errorf("%s: News() = %v, want %v", name, got, f.want)
		}
	}
}

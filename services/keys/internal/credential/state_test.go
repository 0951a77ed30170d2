package credential_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/bound"
	"github.com/claviger/claviger/services/keys/internal/credential"
)

var start = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)

// recorded is an audit event.
type recorded struct {
	action string
	detail audit.Detail
}

// tx holds one credential in memory.
type tx struct {
	credential.Tx
	c       credential.Credential
	probes  []int // the revisions that tests were asked for
	stamped int
	events  []recorded
	unknown []string
	asked   time.Time // when the test was asked for whose verdict comes next
	// answered says that its verdict has come before.
	answered bool
}

// Have is none: bounds are the store's tests'.
func (t *tx) Have(context.Context, bound.Bound) (int64, error)                  { return 0, nil }
func (t *tx) Credential(context.Context, string) (credential.Credential, error) { return t.c, nil }
func (t *tx) FinishProbes(context.Context, string, int, time.Time) error        { return nil }
func (t *tx) StampPrevious(string)                                              { t.stamped++ }

func (t *tx) ProbeAsked(context.Context, string) (at time.Time, answered bool, err error) {
	return t.asked, t.answered, nil
}

func (t *tx) InsertCredential(ctx context.Context, c credential.Credential) error {
	return t.UpdateCredential(ctx, c)
}

func (t *tx) UpdateSchedule(ctx context.Context, c credential.Credential) error {
	return t.UpdateCredential(ctx, c)
}

func (t *tx) UpdateCredential(_ context.Context, c credential.Credential) error {
	t.c = c
	return nil
}

func (t *tx) UnknownAPIKeys(context.Context, []string) ([]string, error) { return t.unknown, nil }
func (t *tx) UnknownGroups(context.Context, []string) ([]string, error)  { return t.unknown, nil }

func (t *tx) Record(_ context.Context, action, _ string, detail audit.Detail) error {
	t.events = append(t.events, recorded{action, detail})
	return nil
}

func (t *tx) RequestProbe(_ context.Context, p credential.Probe) (string, error) {
	t.probes = append(t.probes, p.Revision)
	return p.ID, nil
}

// moves are the audited moves of the state of the secret that serves, as "from to".
func (t *tx) moves() (moves []string) {
	for _, e := range t.events {
		if e.action == "credential.staged_state" || e.action == "credential.roll_back" {
			continue // the second secret's
		}
		if change, ok := e.detail["state"].(audit.Change); ok {
			from, _ := change.From.(credential.State)
			to, _ := change.To.(credential.State)
			moves = append(moves, string(from)+" "+string(to))
		}
	}
	return moves
}

// bench is a service with one credential and a clock.
type bench struct {
	t   *testing.T
	now time.Time
	s   *credential.Service
	x   *tx
}

func newBench(t *testing.T, state credential.State) *bench {
	t.Helper()
	b := &bench{t: t, now: start}
	b.s = &credential.Service{Now: func() time.Time { return b.now }}
	b.x = &tx{c: credential.Credential{ID: "cred_x", Revision: 1, Sealed: "x", Verdict: state, StateAt: start}}
	return b
}

func (b *bench) learn(f credential.Finding) {
	b.t.Helper()
	f.CredentialID = "cred_x"
	if f.Revision == 0 {
		f.Revision = 1
	}
	if err := b.s.Learn(b.t.Context(), b.x, f); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) verdict(state credential.State) {
	b.t.Helper()
	b.learn(credential.Finding{State: state, Tested: true, Reason: "because"})
}

func (b *bench) evidence(class string) {
	b.t.Helper()
	b.learn(credential.Finding{Class: class, Reason: "the provider said so"})
}

func (b *bench) tend() {
	b.t.Helper()
	if err := b.s.Tend(b.t.Context(), b.x, "cred_x"); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) want(state credential.State, probes int) {
	b.t.Helper()
	if got := b.x.c.State(); got != state || len(b.x.probes) != probes {
		b.t.Errorf("state = %s after %d tests asked for, want %s after %d", got, len(b.x.probes), state, probes)
	}
}

func TestTestsThatFollowByThemselvesBecomeRarer(t *testing.T) {
	t.Parallel()
	for state, rarest := range map[credential.State]time.Duration{credential.Rejected: 6 * time.Hour, credential.QuotaExhausted: 30 * time.Minute} {
		b := newBench(t, credential.Active)
		b.verdict(state)
		var gaps []time.Duration
		for range 10 {
			gaps = append(gaps, b.x.c.NextProbeAt.Sub(b.now))
			b.tend() // too early
			before := len(b.x.probes)
			b.now = b.x.c.NextProbeAt
			b.tend()
			if len(b.x.probes) != before+1 {
				t.Fatalf("%s: %d tests were asked for when one was due", state, len(b.x.probes)-before)
			}
		}
		for i, gap := range gaps {
			if want := min(5*time.Minute<<i, rarest); gap != want {
				t.Errorf("%s: gap %d = %s, want %s", state, i, gap, want)
			}
		}
		b.verdict(credential.Active)
		if !b.x.c.NextProbeAt.IsZero() {
			t.Error("a good credential is tested again by itself")
		}
		if want := []string{"active " + string(state), string(state) + " active"}; !slices.Equal(b.x.moves(), want) {
			t.Errorf("audited moves = %v, want %v", b.x.moves(), want)
		}
		b.now = b.now.Add(25 * time.Hour)
		b.verdict(state)
		if gap := b.x.c.NextProbeAt.Sub(b.now); gap != 5*time.Minute {
			t.Errorf("gap after a good day = %s, want five minutes again", gap)
		}
	}
}

func TestOneRefusalAsksForATestAndTakesNothingOut(t *testing.T) {
	t.Parallel()
	b := newBench(t, credential.Active)
	for range 5 { // of parallel requests, at several routers
		b.evidence("auth_invalid")
		b.now = b.now.Add(5 * time.Second)
	}
	b.want(credential.Active, 1)
	b.verdict(credential.Rejected)
	b.want(credential.Rejected, 1)

	b = newBench(t, credential.Active)
	b.evidence("auth_invalid")
	b.verdict(credential.Active)
	b.want(credential.Active, 1)
	if len(b.x.events) > 0 {
		t.Errorf("a refusal that a test did not confirm is audited: %v", b.x.events)
	}
}

func TestRepeatedRefusalsRejectWhereNoTestTells(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pause  time.Duration
		unsure bool
		want   credential.State
	}{
		"the same bad moment":   {29 * time.Second, true, credential.Active},
		"half a minute later":   {30 * time.Second, true, credential.Rejected},
		"and without an answer": {30 * time.Second, false, credential.Rejected},
		"ten minutes later":     {10 * time.Minute, true, credential.Rejected},
		"long forgotten":        {10*time.Minute + time.Second, true, credential.Active},
	} {
		b := newBench(t, credential.Active)
		b.evidence("auth_invalid")
		if c.unsure {
			b.verdict("") // the provider has no key test, or was away
		}
		b.now = b.now.Add(c.pause)
		b.evidence("auth_invalid")
		if got := b.x.c.State(); got != c.want {
			t.Errorf("%s: state = %s, want %s", name, got, c.want)
		}
	}
}

func TestRefusalsThatTestsContradictDegrade(t *testing.T) {
	t.Parallel()
	b := newBench(t, credential.Active)
	for range 2 {
		b.evidence("auth_invalid")
		b.verdict(credential.Active)
		b.now = b.now.Add(time.Minute)
	}
	b.want(credential.Active, 2)
	b.evidence("auth_invalid")
	b.want(credential.Degraded, 2) // it still serves, and asks its owner to look
	if b.x.c.NextProbeAt.IsZero() {
		t.Error("no test follows by itself")
	}
	b.evidence("auth_invalid")
	b.want(credential.Degraded, 2)
	b.verdict(credential.Active)
	b.want(credential.Active, 2)
	b.now = b.now.Add(time.Hour + time.Second) // tests are believed again
	b.evidence("auth_invalid")
	b.want(credential.Active, 3)
}

func TestOldEvidenceDoesNotUndoATest(t *testing.T) {
	t.Parallel()
	s := &credential.Service{Now: func() time.Time { return start }}
	c := credential.Credential{Revision: 2, Sealed: "x", Verdict: credential.Active, StateAt: start, Doubt: credential.Doubt{Heard: credential.Heard{TestedAt: start}}}
	evidence := credential.Finding{Revision: 2, Class: "auth_invalid", At: start.Add(time.Second)}
	for name, f := range map[string]struct {
		change func(*credential.Credential, *credential.Finding)
		want   bool
	}{
		"newer":            {func(*credential.Credential, *credential.Finding) {}, true},
		"without a time":   {func(_ *credential.Credential, f *credential.Finding) { f.At = time.Time{} }, true},
		"older":            {func(_ *credential.Credential, f *credential.Finding) { f.At = start.Add(-time.Second) }, false},
		"older, of a test": {func(_ *credential.Credential, f *credential.Finding) { f.At, f.Tested = start.Add(-time.Second), true }, true},
		"another revision": {func(_ *credential.Credential, f *credential.Finding) { f.Revision = 1 }, false},
		"said before":      {func(c *credential.Credential, _ *credential.Finding) { c.Verdict = credential.Rejected }, false},
		"no class":         {func(_ *credential.Credential, f *credential.Finding) { f.Class = "rate_limited" }, false},
		"disabled":         {func(c *credential.Credential, _ *credential.Finding) { c.Disabled = true }, false},
		"expired":          {func(c *credential.Credential, _ *credential.Finding) { c.Expired = true }, false},
		"no secret":        {func(c *credential.Credential, f *credential.Finding) { c.Sealed, f.Tested = "", true }, false},
		"lifts rejection": {func(c *credential.Credential, f *credential.Finding) {
			c.Verdict, f.Class = credential.Rejected, "quota_exhausted"
		}, false},
	} {
		c, e := c, evidence
		f.change(&c, &e)
		if got := s.News(c, e); got != f.want {
			t.Errorf("%s: News() = %v, want %v", name, got, f.want)
		}
	}
}

func TestItsTimeEndsACredentialAndMoreTimeBringsItBack(t *testing.T) {
	t.Parallel()
	for before, after := range map[credential.State]credential.State{
		credential.Active: credential.Unverified, credential.Rejected: credential.Rejected, // more time makes no key right
	} {
		b := newBench(t, before)
		b.x.c.ExpiresAt, b.x.c.Version = start.Add(time.Hour), 1
		if due := b.x.c.DueAt(); !due.Equal(start.Add(time.Hour)) {
			t.Errorf("due at %s, want when it expires", due)
		}
		b.now = start.Add(time.Hour - time.Microsecond)
		b.tend()
		b.want(before, 0)
		b.now = start.Add(time.Hour)
		b.tend()
		b.tend()
		b.want(credential.Expired, 0)
		if !b.x.c.DueAt().IsZero() {
			t.Error("an expired credential is still due")
		}
		b.verdict(credential.Active)
		b.evidence("quota_exhausted")
		b.want(credential.Expired, 0)
		if _, err := b.s.Update(t.Context(), b.x, owner, credential.Edit{ID: "cred_x", ETag: "1", ExpiresAt: new(b.now.Add(-time.Second))}); err == nil {
			t.Error("it could be moved to a time that is not in the future")
		}
		if _, err := b.s.Update(t.Context(), b.x, owner, credential.Edit{ID: "cred_x", ETag: "1", ExpiresAt: new(time.Time{})}); err != nil {
			t.Fatal(err)
		}
		b.want(after, 1)
		want := []string{string(before) + " expired", "expired " + string(after)}
		if !slices.Equal(b.x.moves(), want) {
			t.Errorf("audited moves = %v, want %v", b.x.moves(), want)
		}
	}
}

// TestWhatCameLateDoesNotUndoWhatIsNewer has reports cross each other on their way, as they do between two routers:
// a verdict of a test that was made before the provider refused the secret, and a refusal from before a test.
func TestWhatCameLateDoesNotUndoWhatIsNewer(t *testing.T) {
	t.Parallel()
	staged := func() *bench {
		b := newBench(t, credential.Active)
		b.x.c.Next = &credential.Staged{Revision: 2, Sealed: "y", Verdict: credential.Active, DecidedAt: start, Share: 50}
		b.now = start.Add(time.Second)
		return b
	}
	tested := credential.Finding{Revision: 2, State: credential.Active, Tested: true, At: start.Add(100 * time.Millisecond)}
	said := credential.Finding{Revision: 2, Class: "auth_invalid", At: start.Add(200 * time.Millisecond)}

	b := staged()
	b.x.asked = start.Add(50 * time.Millisecond)
	b.learn(tested) // arrives after it was said
	b.learn(said)
	if n := b.x.c.Next; n.Share != 0 || !n.RolledBack || n.Verdict != credential.Rejected {
		t.Errorf("a refusal from after the test, told after it: %+v, want it rolled back", n)
	}
	b.now = b.now.Add(time.Second)
	b.learn(tested) // of another router, asked for at the same time
	if n := b.x.c.Next; n.Verdict != credential.Rejected {
		t.Errorf("a test that was asked for before the refusal makes it %s", n.Verdict)
	}
	b.x.asked = b.now
	b.learn(tested)
	if n := b.x.c.Next; n.Verdict != credential.Active || n.Share != 0 {
		t.Errorf("a test that was asked for since: %+v, want it active without a share", n)
	}

	b = staged()
	b.x.asked = start
	tested.At = start.Add(300 * time.Millisecond)
	b.learn(tested)
	b.learn(said)
	if n := b.x.c.Next; n.Share != 50 || n.Verdict != credential.Active {
		t.Errorf("a refusal from before the test: %+v, want it as it was", n)
	}

	b = newBench(t, credential.Active)
	b.now = start.Add(time.Second)
	b.learn(credential.Finding{Class: "quota_exhausted", At: start})
	b.x.asked = start
	b.verdict(credential.Active)
	b.want(credential.QuotaExhausted, 0)
	b.x.asked = b.now
	b.verdict(credential.Active)
	b.want(credential.Active, 0)
}

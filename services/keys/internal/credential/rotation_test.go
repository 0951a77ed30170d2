package credential_test

import (
	"slices"
	"testing"
	"time"

	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/credential"
)

// rotating is a bench whose credential has all three secrets.
func rotating(t *testing.T) *bench {
	t.Helper()
	b := newBench(t, credential.Active)
	b.x.c.Version, b.x.c.Revision, b.x.c.LastRevision = 1, 2, 3
	b.x.c.Next = &credential.Staged{Revision: 3, Hint: "…next", Sealed: "y", Verdict: credential.Active, DecidedAt: start, Share: 10}
	b.x.c.Previous = &credential.Previous{Revision: 1, Hint: "…old", ReplacedAt: start}
	return b
}

// last is the newest audit event, which must be of an action.
func (b *bench) last(action string) audit.Detail {
	b.t.Helper()
	if len(b.x.events) == 0 || b.x.events[len(b.x.events)-1].action != action {
		b.t.Fatalf("audited %v, want %s at the end", b.x.events, action)
	}
	return b.x.events[len(b.x.events)-1].detail
}

// TestDiscardingForgetsTheSecretThatIsMeantAlone.
func TestDiscardingForgetsTheSecretThatIsMeantAlone(t *testing.T) {
	t.Parallel()
	for revision, want := range map[int]struct {
		next, previous bool
		hint           string
	}{3: {false, true, "…next"}, 1: {true, false, "…old"}} {
		b := rotating(t)
		if _, err := b.s.Discard(t.Context(), b.x, owner, credential.Chosen{ID: "cred_x", Revision: revision, ETag: "1"}); err != nil {
			t.Fatal(err)
		}
		if c := b.x.c; c.Sealed != "x" || (c.Next != nil) != want.next || (c.Previous != nil) != want.previous {
			t.Errorf("revision %d was discarded: next %v, previous %v", revision, c.Next, c.Previous)
		}
		if d := b.last("credential.discard"); d["revision"] != revision || d["hint"] != want.hint {
			t.Errorf("audited %v", d)
		}
	}
	b := rotating(t)
	for _, revision := range []int{2, 4} { // the one that serves, and one that there is not
		if _, err := b.s.Discard(t.Context(), b.x, owner, credential.Chosen{ID: "cred_x", Revision: revision, ETag: "1"}); err == nil || len(b.x.events) != 0 {
			t.Errorf("revision %d: %v, audited %v", revision, err, b.x.events)
		}
	}
}

// TestARollBackIsAuditedOnceAndSaysWhatWasTaken: further refusals of the same secret are no news.
func TestARollBackIsAuditedOnceAndSaysWhatWasTaken(t *testing.T) {
	t.Parallel()
	b := rotating(t)
	for i := range 3 {
		b.now = start.Add(time.Duration(i+1) * time.Minute)
		b.learn(credential.Finding{Revision: 3, Class: []string{"auth_limited", "auth_invalid", "auth_invalid"}[i], Reason: "no", At: b.now})
	}
	if n := b.x.c.Next; n.Share != 0 || !n.RolledBack || n.Verdict != credential.Rejected {
		t.Errorf("after refusals: %+v", n)
	}
	var back []audit.Detail
	for _, e := range b.x.events {
		if e.action == "credential.roll_back" {
			back = append(back, e.detail)
		}
	}
	if len(back) != 1 || back[0]["share_percent"] != (audit.Change{From: 10, To: 0}) || back[0]["revision"] != 3 {
		t.Errorf("roll-backs audited: %v", back)
	}
	if d := b.last("credential.staged_state"); d["state"] != (audit.Change{From: credential.Degraded, To: credential.Rejected}) {
		t.Errorf("audited %v: the state went on", d)
	}
	b.want(credential.Active, 0)
}

// TestModelsOfASecondSecretAreThoseOfItsGoodTest, and go with it when it is promoted.
func TestModelsOfASecondSecretAreThoseOfItsGoodTest(t *testing.T) {
	t.Parallel()
	b := rotating(t)
	b.x.c.Models = []string{"old"}
	b.now = start.Add(time.Minute)
	b.learn(credential.Finding{Revision: 3, Tested: true, State: credential.Active, Models: []string{"b", "a", "b"}, At: b.now})
	b.now = start.Add(2 * time.Minute)
	b.learn(credential.Finding{Revision: 3, Tested: true, State: credential.Rejected, At: b.now})
	if got := b.x.c.Next.Models; !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("after a good test and a bad one: models %v", got)
	}
	b.now = start.Add(3 * time.Minute)
	b.learn(credential.Finding{Revision: 3, Tested: true, State: "", Reason: "nobody answered", At: b.now})
	if got := b.x.c.Next.Reason; got != "the last test reached no verdict: nobody answered" {
		t.Errorf("reason %q", got)
	}
	b.now = start.Add(4 * time.Minute)
	b.learn(credential.Finding{Revision: 3, Tested: true, State: credential.Active, Models: []string{"c"}, At: b.now})
	if _, err := b.s.Promote(t.Context(), b.x, owner, credential.Chosen{ID: "cred_x", Revision: 3, ETag: "1"}); err != nil {
		t.Fatal(err)
	}
	if c := b.x.c; !slices.Equal(c.Models, []string{"c"}) || c.Sealed != "y" || c.Revision != 3 || c.Next != nil || c.Previous.Revision != 2 {
		t.Errorf("promoted: %+v", c)
	}
}

// TestTheAuditSaysThatStreamsAreCut, since that is felt.
func TestTheAuditSaysThatStreamsAreCut(t *testing.T) {
	t.Parallel()
	b := rotating(t)
	if _, err := b.s.Update(t.Context(), b.x, owner, credential.Edit{ID: "cred_x", Disabled: new(true), CutStreams: true, ETag: "1"}); err != nil {
		t.Fatal(err)
	}
	d := b.last("credential.update")
	if d["disabled"] != (audit.Change{From: false, To: true}) || d["cut_streams"] != (audit.Change{From: false, To: true}) ||
		d["state"] != (audit.Change{From: credential.Active, To: credential.Disabled}) {
		t.Errorf("audited %v", d)
	}
}

// TestAnOldSecretIsSafeADayAfterItWasReplacedAtTheEarliest, and after its last use if that was later.
func TestAnOldSecretIsSafeADayAfterItWasReplacedAtTheEarliest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ used, want time.Time }{
		"never used":           {time.Time{}, start.Add(24 * time.Hour)},
		"not used for long":    {start.Add(-time.Hour), start.Add(24 * time.Hour)},
		"used after it served": {start.Add(time.Hour), start.Add(25*time.Hour + time.Minute)},
	} {
		if got := (credential.Previous{ReplacedAt: start, LastUseAt: c.used}).SafeAt(); !got.Equal(c.want) {
			t.Errorf("%s: safe at %v, want %v", name, got, c.want)
		}
	}
}

package credential_test

import (
	"testing"
	"time"

	"github.com/claviger/claviger/services/keys/internal/credential"
)

// TestARefusalThatIsToldTwiceIsOneRefusal has a router send the same report again, since keys took it and did
// not answer in time.
func TestARefusalThatIsToldTwiceIsOneRefusal(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at, again, later time.Duration
		want             credential.State
	}{
		"the same one again":               {0, 0, 40 * time.Second, credential.Active},
		"one from before":                  {0, -time.Hour, 40 * time.Second, credential.Active},
		"another, half a minute later":     {0, 30 * time.Second, 40 * time.Second, credential.Rejected},
		"the same one, of a fast clock":    {time.Hour, time.Hour, 20 * time.Second, credential.Active},
		"one of long ago, and one of late": {-time.Hour, 0, 0, credential.Active},
	} {
		b := newBench(t, credential.Active)
		b.learn(credential.Finding{Class: "auth_invalid", At: start.Add(c.at)})
		b.now = start.Add(c.later)
		b.learn(credential.Finding{Class: "auth_invalid", At: start.Add(c.again)})
		if got := b.x.c.State(); got != c.want {
			t.Errorf("%s: state = %s, want %s", name, got, c.want)
		}
	}
}

func TestAVerdictThatIsToldAgainUndoesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, credential.Unverified)
	old := credential.Finding{Tested: true, State: credential.Active, Reason: "of yesterday", At: start, ProbeID: "probe_1"}
	b.learn(old)
	b.now = start.Add(time.Minute)
	b.learn(credential.Finding{Tested: true, State: credential.Rejected, Reason: "of today", At: b.now, ProbeID: "probe_2"})
	b.want(credential.Rejected, 0)
	due := b.x.c.NextProbeAt
	b.x.answered = true
	b.learn(old)
	b.learn(credential.Finding{Tested: true, State: credential.Rejected, Reason: "of today", At: b.now, ProbeID: "probe_2"})
	b.want(credential.Rejected, 0)
	if !b.x.c.NextProbeAt.Equal(due) {
		t.Error("a verdict that was told twice puts the next test off twice")
	}
	// Nobody reached a verdict at first, and then another router did.
	b.now = b.now.Add(time.Second)
	b.learn(credential.Finding{Tested: true, State: credential.Active, Reason: "at last", At: b.now, ProbeID: "probe_2"})
	b.want(credential.Active, 0)
}

// TestWhatWasSaidOfASecondSecretIsNotSaidAnewOnceItServes: it was refused, tested again and promoted, and only
// then another router tells that it was refused.
func TestWhatWasSaidOfASecondSecretIsNotSaidAnewOnceItServes(t *testing.T) {
	t.Parallel()
	b := newBench(t, credential.Active)
	b.x.c.Version = 1
	b.x.c.Next = &credential.Staged{Revision: 2, Sealed: "y", Verdict: credential.Active, DecidedAt: start, Share: 50}
	refusal := credential.Finding{Revision: 2, Class: "quota_exhausted", At: start.Add(time.Second)}
	b.now = start.Add(2 * time.Second)
	b.learn(refusal)
	b.now = start.Add(time.Minute)
	b.learn(credential.Finding{Revision: 2, Tested: true, State: credential.Active, At: b.now})
	if _, err := b.s.Promote(t.Context(), b.x, owner, credential.Chosen{ID: "cred_x", Revision: 2, ETag: "1"}); err != nil {
		t.Fatal(err)
	}
	b.want(credential.Active, 0)
	b.learn(refusal)
	b.want(credential.Active, 0)
}

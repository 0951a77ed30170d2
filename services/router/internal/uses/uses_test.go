package uses_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/uses"
)

var start = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)

func credential(id string, revision int) *completion.Credential {
	return &completion.Credential{OrgID: "org_1", ID: id, Revision: revision}
}

func TestEachSecretIsToldOnceAMinuteWithItsLastUse(t *testing.T) {
	t.Parallel()
	l := uses.New()
	c := credential("cred_1", 1)
	l.Used(c, start)
	l.Used(c, start.Add(1500*time.Millisecond))
	l.Used(c, start.Add(time.Second)) // of a slower goroutine
	want := func(seconds int) []uses.Use {
		return []uses.Use{{OrgID: "org_1", CredentialID: "cred_1", Revision: 1, Time: start.Add(time.Duration(seconds) * time.Second)}}
	}
	if diff := cmp.Diff(want(2), l.Take(start.Add(2*time.Second), 10)); diff != "" {
		t.Errorf("the first use, rounded up (-want +got):\n%s", diff)
	}
	l.Used(c, start.Add(5*time.Second))
	if got := l.Take(start.Add(time.Minute), 10); got != nil {
		t.Errorf("within a minute = %v, want nothing", got)
	}
	if diff := cmp.Diff(want(5), l.Take(start.Add(2*time.Second+time.Minute), 10)); diff != "" {
		t.Errorf("after a minute (-want +got):\n%s", diff)
	}
	if got := l.Take(start.Add(time.Hour), 10); got != nil {
		t.Errorf("without another use = %v, want nothing", got)
	}
	l.Used(c, start.Add(time.Hour))
	l.Take(start.Add(time.Hour), 10)
	l.Used(c, start.Add(time.Hour+time.Second))
	if diff := cmp.Diff(want(3601), l.Rest(start.Add(time.Hour+2*time.Second), 10)); diff != "" {
		t.Errorf("Rest (-want +got):\n%s", diff)
	}
}

func TestWhatCannotBeToldIsToldLater(t *testing.T) {
	t.Parallel()
	l := uses.New()
	for i := range 5 {
		l.Used(credential(fmt.Sprintf("cred_%d", i), 1), start.Add(time.Duration(i)*time.Second))
	}
	now := start.Add(10 * time.Second)
	first := l.Take(now, 2)
	l.Return(first)
	if diff := cmp.Diff(first, l.Take(now, 2)); diff != "" {
		t.Errorf("after Return (-want +got):\n%s", diff)
	}
	if rest := l.Take(now, 10); len(rest) != 3 {
		t.Errorf("then %d uses, want the other 3", len(rest))
	}
	// What came after it was taken is not overwritten by what is given back.
	c := credential("cred_9", 1)
	l.Used(c, start)
	taken := l.Take(now, 10)
	l.Used(c, start.Add(time.Minute))
	l.Return(taken)
	if got := l.Take(now.Add(time.Second), 10); len(got) != 1 || !got[0].Time.Equal(start.Add(time.Minute)) {
		t.Errorf("Take = %v, want the newer use", got)
	}
}

func TestARevisionIsASecretOfItsOwnWhateverItsAddress(t *testing.T) {
	t.Parallel()
	l := uses.New()
	l.Used(credential("cred_1", 1), start)
	l.Used(credential("cred_1", 1), start.Add(time.Second)) // under a later configuration
	l.Used(credential("cred_1", 2), start)
	got := l.Take(start, 10)
	if len(got) != 2 || got[0].Revision != 2 || got[1].Revision != 1 || !got[1].Time.Equal(start.Add(time.Second)) {
		t.Errorf("Take = %v, want revision 2 at once and revision 1 a second later", got)
	}
}

// TestNoUseIsLostToSomebodyWhoTakes has requests and a reporter at work at once: the last use of each
// secret is told in the end.
func TestNoUseIsLostToSomebodyWhoTakes(t *testing.T) {
	t.Parallel()
	const secrets, each = 4, 5000
	l := uses.New()
	var work sync.WaitGroup
	for i := range secrets {
		c := credential(fmt.Sprintf("cred_%d", i), 1)
		work.Go(func() {
			for n := range each {
				l.Used(c, start.Add(time.Duration(n)*time.Second))
			}
		})
	}
	last := map[string]time.Time{}
	take := func() {
		for _, u := range l.Rest(start, 1000) {
			if u.Time.Before(last[u.CredentialID]) {
				t.Errorf("%s goes back from %s to %s", u.CredentialID, last[u.CredentialID], u.Time)
			}
			last[u.CredentialID] = u.Time
		}
	}
	done := make(chan struct{})
	go func() { work.Wait(); close(done) }()
	for open := true; open; {
		select {
		case <-done:
			open = false
		default:
			take()
		}
	}
	take()
	for i := range secrets {
		if at := last[fmt.Sprintf("cred_%d", i)]; !at.Equal(start.Add((each - 1) * time.Second)) {
			t.Errorf("cred_%d: last use %s, want %s", i, at, start.Add((each-1)*time.Second))
		}
	}
}

type ring struct{ err error }

func (r ring) Secret(context.Context, *completion.Credential) (secret.Text, error) {
	return secret.Text{}, r.err
}

func TestOnlyASecretThatIsHandedOutIsUsed(t *testing.T) {
	t.Parallel()
	l := uses.New()
	k := uses.Keyring{Ring: ring{errors.New("vault is away")}, Log: l, Now: func() time.Time { return start }}
	_, _ = k.Secret(t.Context(), credential("cred_1", 1))
	if got := l.Take(start, 10); got != nil {
		t.Errorf("uses = %v, want none", got)
	}
	k.Ring = ring{}
	_, _ = k.Secret(t.Context(), credential("cred_1", 1))
	if got := l.Take(start, 10); len(got) != 1 {
		t.Errorf("uses = %v, want one", got)
	}
}

func TestAUseAllocatesNothing(t *testing.T) {
	l := uses.New()
	c := credential("cred_1", 1)
	l.Used(c, start)
	at := start
	if n := testing.AllocsPerRun(1000, func() { at = at.Add(time.Millisecond); l.Used(c, at) }); n > 0 {
		t.Errorf("Used allocates %v times", n)
	}
}

func BenchmarkUsed(b *testing.B) {
	l := uses.New()
	c := credential("cred_1", 1)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		at := start
		for pb.Next() {
			at = at.Add(10 * time.Microsecond)
			l.Used(c, at)
		}
	})
}

package credential_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/transit"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/member"
)

var owner = member.Caller{OrgID: "org_1", MemberID: "mem_1", Role: member.Owner}

// counting seals into a text that tells what it was bound to.
type counting struct{ n int }

func (s *counting) Seal(_ context.Context, _ secret.Text, bound transit.Context) (string, error) {
	s.n++
	return fmt.Sprintf("sealed %d of revision %d", s.n, bound.Revision), nil
}

type anywhere struct{}

func (anywhere) CheckURL(raw string) (string, *url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", nil, err
	}
	return u.Scheme + "://" + u.Host, u, nil
}

// machine drives a credential through random events and keeps, beside it, what must hold.
type machine struct {
	t    *rapid.T
	now  time.Time
	s    *credential.Service
	x    *tx
	seen []int // revisions that were ever handed out
	// acquitted says that the secret which serves has passed a test, or is new, since it was last rejected.
	acquitted bool
	hosts     int
}

func (m *machine) tag() string { return m.x.c.ETag() }

// step runs one event and holds it to the rules.
func (m *machine) step(name string, do func() error) {
	before, events, asked := m.x.c, len(m.x.moves()), len(m.x.probes)
	err := do()
	after := m.x.c
	if err != nil {
		if diff := fmt.Sprintf("%+v", before) != fmt.Sprintf("%+v", after); diff {
			m.t.Fatalf("%s failed (%v) and changed the credential", name, err)
		}
		return
	}
	from, to := before.State(), after.State()
	if len(m.x.probes) > asked && (to == credential.Disabled || to == credential.Expired || to == credential.NoSecret) {
		m.t.Fatalf("%s: a credential that is %s is tested", name, to)
	}
	if due := after.DueAt(); name == "tend" && !due.IsZero() && !due.After(m.now) {
		m.t.Fatalf("after it was tended at %s it is still due at %s: %+v", m.now, due, after)
	}
	moved := 0
	if from != to {
		moved = 1
	}
	if got := len(m.x.moves()) - events; got != moved {
		m.t.Fatalf("%s: %s to %s left %d audited moves, want %d", name, from, to, got, moved)
	}
	if moved == 1 && m.x.moves()[events] != string(from)+" "+string(to) {
		m.t.Fatalf("%s: audited as %q, want %s to %s", name, m.x.moves()[events], from, to)
	}
	if after.Revision != before.Revision || strings.HasPrefix(name, "test ") && (to == credential.Active || to == credential.Degraded || to == credential.QuotaExhausted) {
		m.acquitted = true
	}
	if to == credential.Rejected && from != credential.Rejected {
		m.acquitted = false
	}
	if to.Serves() && !m.acquitted {
		m.t.Fatalf("%s: a rejected secret serves again (%s to %s) without a passed test", name, from, to)
	}
	if after.Disabled && to != credential.Disabled || to.Serves() && (after.Disabled || after.Sealed == "" || after.Expired) {
		m.t.Fatalf("%s: %+v is in state %s", name, after, to)
	}
	if to.Serves() && !after.ExpiresAt.IsZero() && !m.now.Before(after.ExpiresAt) {
		m.t.Fatalf("%s: at %s it serves, and its time was up at %s", name, m.now, after.ExpiresAt)
	}
	if after.Next != nil {
		m.staged(name, before, after)
	}
	if after.Sealed == "" && (after.Next != nil || after.Hint != "") {
		m.t.Fatalf("%s: a secret was discarded, and there is still another one for the old place", name)
	}
}

func (m *machine) staged(name string, before, after credential.Credential) {
	n := after.Next
	if n.Revision <= after.Revision || n.Sealed == after.Sealed {
		m.t.Fatalf("%s: second secret %+v beside revision %d", name, n, after.Revision)
	}
	if n.Share > 0 && n.Verdict != credential.Active && n.Verdict != credential.Degraded {
		m.t.Fatalf("%s: a second secret that is %s has %d %% of the requests", name, n.Verdict, n.Share)
	}
	if b := before.Next; b != nil && b.Revision == n.Revision && n.Share > b.Share && !strings.HasPrefix(name, "share") {
		m.t.Fatalf("%s raised the share from %d to %d", name, b.Share, n.Share)
	}
	if b := before.Next; b != nil && b.Revision == n.Revision && b.Share > 0 && n.Share == 0 && !n.RolledBack && !strings.HasPrefix(name, "share") {
		m.t.Fatalf("%s took the share away and does not say so", name)
	}
}

// finding reports a finding about any revision that was ever handed out.
func (m *machine) finding(name string, f credential.Finding) {
	f.Revision = rapid.SampledFrom(m.seen).Draw(m.t, "revision")
	current := f.Revision == m.x.c.Revision
	next := m.x.c.Next != nil && f.Revision == m.x.c.Next.Revision
	before := fmt.Sprintf("%+v %+v", m.x.c, m.x.c.Next)
	if !current {
		name = "of another secret: " + name
	}
	m.step(name, func() error { return m.s.Learn(m.t.Context(), m.x, f) })
	if after := fmt.Sprintf("%+v %+v", m.x.c, m.x.c.Next); !current && !next && before != after {
		m.t.Fatalf("%s about revision %d, which neither serves nor is staged, changed\n%s to\n%s", name, f.Revision, before, after)
	}
}

// handOut notes a new revision, which no other secret had.
func (m *machine) handOut(revision int) {
	if slices.Contains(m.seen, revision) {
		m.t.Fatalf("revision %d was handed out twice", revision)
	}
	m.seen = append(m.seen, revision)
}

func (m *machine) edit(name string, e credential.Edit) {
	m.step(name, func() error {
		e.ID, e.ETag = "cred_x", m.tag()
		_, err := m.s.Update(m.t.Context(), m.x, owner, e)
		return err
	})
}

func TestRandomLivesOfACredentialKeepTheRules(t *testing.T) {
	t.Parallel()
	for i := range 10 { // a thousand lives
		t.Run(fmt.Sprint(i), func(t *testing.T) { t.Parallel(); rapid.Check(t, life) })
	}
}

func life(rt *rapid.T) {
	m := &machine{t: rt, now: start, seen: []int{1}, acquitted: true, x: &tx{}}
	m.s = &credential.Service{Now: func() time.Time { return m.now }, Sealer: &counting{}, Endpoints: anywhere{}, Environment: "test"}
	draft, err := m.s.Draft(rt.Context(), owner, credential.New{Provider: "openai", Label: "main", Secret: secret.New("sk-0123456789"), AcceptTerms: true})
	if err != nil {
		rt.Fatal(err)
	}
	if err := m.s.Create(rt.Context(), m.x, draft.Credential); err != nil {
		rt.Fatal(err)
	}
	m.x.c.ID = "cred_x"
	rt.Repeat(m.actions())
}

func (m *machine) actions() map[string]func(*rapid.T) {
	ctx := func() context.Context { return m.t.Context() }
	verdict := func(state credential.State) func(*rapid.T) {
		return func(*rapid.T) {
			m.finding("test "+string(state), credential.Finding{State: state, Tested: true, Reason: "tested"})
		}
	}
	evidence := func(class string) func(*rapid.T) {
		return func(*rapid.T) { m.finding("evidence "+class, credential.Finding{Class: class, Reason: "said"}) }
	}
	chosen := func() credential.Chosen {
		revision := m.x.c.Revision
		if m.x.c.Next != nil {
			revision = m.x.c.Next.Revision
		}
		return credential.Chosen{ID: "cred_x", Revision: revision, ETag: m.tag()}
	}
	return map[string]func(*rapid.T){
		"active": verdict(credential.Active), "degraded": verdict(credential.Degraded), "no funds": verdict(credential.QuotaExhausted),
		"rejected": verdict(credential.Rejected), "unclear": verdict(""),
		"401": evidence("auth_invalid"), "403": evidence("auth_limited"), "quota": evidence("quota_exhausted"), "429": evidence("rate_limited"),
		"wait": func(rt *rapid.T) {
			m.now = m.now.Add(rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 5 * time.Minute, time.Hour, 25 * time.Hour}).Draw(rt, "time"))
			m.step("tend", func() error { return m.s.Tend(ctx(), m.x, "cred_x") })
		},
		"switch off": func(*rapid.T) { m.edit("off", credential.Edit{Disabled: new(true)}) },
		"switch on":  func(*rapid.T) { m.edit("on", credential.Edit{Disabled: new(false)}) },
		"expire": func(rt *rapid.T) {
			m.edit("expiry", credential.Edit{ExpiresAt: new(m.now.Add(time.Duration(rapid.IntRange(-1, 3).Draw(rt, "hours")) * time.Hour))})
		},
		"expire never": func(*rapid.T) { m.edit("no expiry", credential.Edit{ExpiresAt: new(time.Time{})}) },
		"move": func(*rapid.T) {
			m.hosts++
			m.edit("move", credential.Edit{BaseURL: new(fmt.Sprintf("https://h%d.example/v1", m.hosts))})
		},
		"rotate": func(rt *rapid.T) {
			m.step("rotate", func() error {
				r, err := m.s.DraftRotation(ctx(), m.x.c, secret.New("sk-another-one"), m.tag())
				if err != nil {
					return err
				}
				c, err := m.s.Rotate(ctx(), m.x, owner, r)
				m.handOut(c.Revision)
				return err
			})
		},
		"stage": func(rt *rapid.T) {
			m.step("stage", func() error {
				r, err := m.s.DraftStage(ctx(), m.x.c, secret.New("sk-a-second-one"), m.tag())
				if err != nil {
					return err
				}
				c, err := m.s.Stage(ctx(), m.x, owner, r)
				m.handOut(c.Next.Revision)
				return err
			})
		},
		"share": func(rt *rapid.T) {
			percent := rapid.SampledFrom([]int{0, 1, 10, 100}).Draw(rt, "percent")
			m.step("share", func() error { _, err := m.s.Share(ctx(), m.x, owner, chosen(), percent); return err })
		},
		"promote": func(*rapid.T) {
			m.step("promote", func() error { _, err := m.s.Promote(ctx(), m.x, owner, chosen()); return err })
		},
		"discard": func(*rapid.T) {
			m.step("discard", func() error { _, err := m.s.Discard(ctx(), m.x, owner, chosen()); return err })
		},
	}
}

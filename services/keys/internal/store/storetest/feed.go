package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/services/keys/internal/apikey"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/group"
	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/policy"
	"github.com/claviger/claviger/services/keys/internal/snapshot"
	"github.com/claviger/claviger/services/keys/internal/store"
)

// Config is a configuration as a watcher holds it: printed objects by id.
type Config map[snapshot.Ref]string

// Apply applies objects.
func (c Config) Apply(o snapshot.Objects) {
	for _, x := range o.Organizations {
		c[snapshot.Ref{OrgID: x.ID, ID: x.ID}] = printed(x.Slug, x.Routing)
	}
	for _, x := range o.Members {
		c[x] = ""
	}
	for _, x := range o.Policies {
		c[snapshot.Ref{OrgID: x.OrgID, ID: x.ID}] = printed(x.Name, x.Version, x.Spec)
	}
	for _, x := range o.Credentials {
		c[snapshot.Ref{OrgID: x.OrgID, ID: x.ID}] = printed(x.Provider, x.Label, x.BaseURL, x.Priority, x.Revision, x.Sealed, x.State(),
			x.Weight, x.Scope, x.ExpiresAt, x.Cut, x.Models, staged(x.Next))
	}
	for _, x := range o.APIKeys {
		c[snapshot.Ref{OrgID: x.OrgID, ID: x.ID}] = fmt.Sprint(x.Name, x.PublicID, string(x.Hash), x.MemberID, x.PolicyID, x.Provenance, x.ExpiresAt, x.RevokedAt, x.GroupID, x.Enforce, x.Cut, x.Suspended)
	}
	for _, x := range o.Groups {
		c[snapshot.Ref{OrgID: x.OrgID, ID: x.ID}] = printed(x)
	}
	for _, x := range o.Drills {
		c[snapshot.Ref{OrgID: x.OrgID, ID: x.ID}] = fmt.Sprint(x.CredentialID, x.APIKeyID, x.Fault, x.EndsAt)
	}
	for _, x := range o.Removed {
		delete(c, x.Ref)
		if x.Cut { // who was away has to hear of it, too
			c[x.Ref] = "cut"
		}
	}
}

// staged is what routers know of a second secret.
func staged(n *credential.Staged) []any {
	if n == nil {
		return nil
	}
	return []any{n.Revision, n.Sealed, n.Settings, n.Share, n.Models}
}

// printed shows what is behind pointers, too.
func printed(values ...any) string {
	text, err := json.Marshal(values)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Whole reads the whole configuration.
func (f *Fixture) Whole(t testing.TB) (Config, snapshot.Header) {
	t.Helper()
	var c Config
	var header snapshot.Header
	err := f.Store.Whole(t.Context(),
		func(h snapshot.Header) { header, c = h, Config{} },
		func(o snapshot.Objects) error { c.Apply(o); return nil })
	if err != nil {
		t.Fatalf("Whole: %v", err)
	}
	return c, header
}

func contiguousVersions(t *testing.T, f *Fixture) {
	var mu sync.Mutex
	var told []int64
	f.Store.Notify(func(v int64) { mu.Lock(); defer mu.Unlock(); told = append(told, v) }, func() {})
	before, err := f.Store.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	orgs := []string{f.Org.ID}
	for i := range 3 {
		o, _ := f.AddOrganization(t, fmt.Sprint("org", i))
		orgs = append(orgs, o.ID)
	}
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			orgID := orgs[i%len(orgs)]
			err := f.TryChange(t.Context(), orgID, func(ctx context.Context, tx *store.Tx) error {
				return tx.InsertPolicy(ctx, f.Policy(orgID, fmt.Sprint("p", i)))
			})
			if err != nil {
				t.Errorf("change %d: %v", i, err)
			}
		})
	}
	// A watcher that reads all the while never sees a version without its objects.
	watched, at := Config{}, before
	for range 20 {
		d, err := f.Store.Delta(t.Context(), at)
		if err != nil || !d.Known {
			t.Fatalf("Delta(%d) = known %v, %v", at, d.Known, err)
		}
		watched.Apply(d.Objects)
		at = d.Version
	}
	all.Wait()
	d, err := f.Store.Delta(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	watched.Apply(d.Objects)
	policies := 0
	for ref := range watched {
		if id.Valid("pol", ref.ID) {
			policies++
		}
	}
	if policies != 16 {
		t.Errorf("the watcher has %d policies, want 16", policies)
	}
	slices.Sort(told)
	for i, v := range told {
		if v != before+int64(i)+1 {
			t.Fatalf("versions told = %v, want all after %d without a gap", told, before)
		}
	}
}

// deltas plays random changes of two organizations to a watcher that now and then asks for a delta,
// and compares what it has with the whole configuration.
func deltas(t *testing.T, f *Fixture) {
	rapid.Check(t, func(rt *rapid.T) {
		config, header := f.Whole(t)
		m := &model{f: f, t: t, orgs: []string{f.Org.ID}, config: config, at: header.Version}
		rt.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) { f.Clock.Advance(time.Second) },
			"add organization": func(*rapid.T) {
				o, _ := f.AddOrganization(t, id.New("x"))
				m.orgs = append(m.orgs, o.ID)
			},
			"add policy": func(rt *rapid.T) {
				m.change(rt, func(ctx context.Context, tx *store.Tx, orgID string) error {
					return tx.InsertPolicy(ctx, f.Policy(orgID, id.New("x")))
				})
			},
			"change policy": func(rt *rapid.T) {
				some(rt, m, (*store.Tx).Policies, func(ctx context.Context, tx *store.Tx, p policy.Policy) error {
					p.Version++
					return tx.UpdatePolicy(ctx, p)
				})
			},
			"delete policy": func(rt *rapid.T) {
				some(rt, m, (*store.Tx).Policies, func(ctx context.Context, tx *store.Tx, p policy.Policy) error { return tx.DeletePolicy(ctx, p.ID) })
			},
			"draft policy": func(rt *rapid.T) {
				m.change(rt, func(ctx context.Context, tx *store.Tx, orgID string) error {
					p := f.Policy(orgID, id.New("x"))
					p.Version, p.Draft = 0, &p.Spec
					return tx.InsertPolicy(ctx, p)
				})
			},
			"change draft": func(rt *rapid.T) {
				some(rt, m, (*store.Tx).Policies, func(ctx context.Context, tx *store.Tx, p policy.Policy) error {
					p.Revision++
					p.Draft = &policy.Spec{MaxAttempts: int(p.Revision), Groups: p.Spec.Groups}
					return tx.UpdatePolicy(ctx, p)
				})
			},
			"add group": func(rt *rapid.T) {
				m.change(rt, func(ctx context.Context, tx *store.Tx, orgID string) error {
					return tx.InsertGroup(ctx, f.Group(orgID, id.New("x")))
				})
			},
			"change group": func(rt *rapid.T) {
				some(rt, m, (*store.Tx).Groups, func(ctx context.Context, tx *store.Tx, g group.Group) error {
					g.Version, g.Enforce, g.Approved = g.Version+1, !g.Enforce, append(g.Approved, id.New("x"))
					return tx.UpdateGroup(ctx, g)
				})
			},
			"delete group": func(rt *rapid.T) {
				some(rt, m, (*store.Tx).Groups, func(ctx context.Context, tx *store.Tx, g group.Group) error { return tx.DeleteGroup(ctx, g.ID) })
			},
			"change preferences": func(rt *rapid.T) {
				m.change(rt, func(ctx context.Context, tx *store.Tx, _ string) error {
					s, err := tx.Routing(ctx)
					if err != nil {
						return err
					}
					s.Preferences.Order, s.Approved = append(s.Preferences.Order, id.New("x")), append(s.Approved, id.New("x"))
					return tx.UpdateRouting(ctx, s)
				})
			},
			"change key": func(rt *rapid.T) {
				list := func(tx *store.Tx, ctx context.Context, after string, limit int) ([]apikey.Key, error) {
					return tx.APIKeys(ctx, "", after, limit)
				}
				some(rt, m, list, func(ctx context.Context, tx *store.Tx, k apikey.Key) error {
					k.Name, k.GroupID, k.Version = id.New("x"), id.New("grp"), k.Version+1
					return tx.UpdateAPIKey(ctx, k)
				})
			},
			"add credential": func(rt *rapid.T) {
				m.change(rt, func(ctx context.Context, tx *store.Tx, orgID string) error {
					return tx.InsertCredential(ctx, f.Credential(orgID, id.New("x")))
				})
			},
			"change credential": func(rt *rapid.T) {
				some(rt, m, (*store.Tx).Credentials, func(ctx context.Context, tx *store.Tx, c credential.Credential) error {
					c.Priority, c.Disabled = c.Priority+1, !c.Disabled
					c.Cut = c.Disabled && c.Priority%3 == 0
					return tx.UpdateCredential(ctx, c)
				})
			},
			"stage a secret": func(rt *rapid.T) {
				some(rt, m, (*store.Tx).Credentials, func(ctx context.Context, tx *store.Tx, c credential.Credential) error {
					c.LastRevision = max(c.Revision, c.LastRevision) + 1
					c.Next = &credential.Staged{Revision: c.LastRevision, Sealed: id.New("sealed"), Hint: "beef"}
					c.Weight, c.ExpiresAt, c.Scope.Groups = c.Weight+1, f.Clock.Now().Add(time.Hour), append(c.Scope.Groups, id.New("grp"))
					return tx.UpdateCredential(ctx, c)
				})
			},
			"share, promote or discard it": func(rt *rapid.T) {
				what := rapid.IntRange(0, 2).Draw(rt, "what")
				some(rt, m, (*store.Tx).Credentials, func(ctx context.Context, tx *store.Tx, c credential.Credential) error {
					switch {
					case c.Next == nil:
						return nil
					case what == 0:
						c.Next.Share += 10
					case what == 1:
						c.Previous = &credential.Previous{Revision: c.Revision, ReplacedAt: f.Clock.Now()}
						c.Revision, c.Sealed, c.Next = c.Next.Revision, c.Next.Sealed, nil
						tx.StampPrevious(c.ID)
					default:
						c.Next = nil
					}
					return tx.UpdateCredential(ctx, c)
				})
			},
			"put a test off": func(rt *rapid.T) {
				some(rt, m, (*store.Tx).Credentials, func(ctx context.Context, tx *store.Tx, c credential.Credential) error {
					c.StateReason, c.NextProbeAt, c.Setbacks = id.New("x"), f.Clock.Now().Add(time.Minute), c.Setbacks+1
					if c.Next != nil {
						c.Next.Reason, c.Next.NextProbeAt = id.New("x"), f.Clock.Now().Add(time.Minute)
					}
					return tx.UpdateSchedule(ctx, c)
				})
			},
			"delete credential": func(rt *rapid.T) {
				some(rt, m, (*store.Tx).Credentials, func(ctx context.Context, tx *store.Tx, c credential.Credential) error {
					return tx.DeleteCredential(ctx, c.ID, c.Priority%2 == 0)
				})
			},
			"add and remove a member with a key": func(rt *rapid.T) {
				m.change(rt, func(ctx context.Context, tx *store.Tx, orgID string) error {
					x := f.Member(orgID, id.New("x"), member.Viewer)
					err := errors.Join(tx.InsertMember(ctx, x), tx.InsertAPIKey(ctx, f.Key(orgID, x.ID, id.New("x"))))
					if err != nil {
						return err
					}
					_, err = tx.DeleteMember(ctx, x.ID, f.Clock.Now(), false)
					return err
				})
			},
			"suspend the keys of a member": func(rt *rapid.T) {
				suspended, cut := rapid.Bool().Draw(rt, "suspended"), rapid.Bool().Draw(rt, "cut")
				m.change(rt, func(ctx context.Context, tx *store.Tx, _ string) error {
					_, err := tx.SuspendAPIKeys(ctx, "mem_x", suspended, cut)
					return err
				})
			},
			"add key": func(rt *rapid.T) {
				m.change(rt, func(ctx context.Context, tx *store.Tx, orgID string) error {
					return tx.InsertAPIKey(ctx, f.Key(orgID, "mem_x", id.New("x")))
				})
			},
			"revoke key": func(rt *rapid.T) {
				list := func(tx *store.Tx, ctx context.Context, after string, limit int) ([]apikey.Key, error) {
					return tx.APIKeys(ctx, "", after, limit)
				}
				some(rt, m, list, func(ctx context.Context, tx *store.Tx, k apikey.Key) error {
					return tx.RevokeAPIKey(ctx, k.ID, f.Clock.Now(), k.Version%2 == 0)
				})
			},
			"start a drill": func(rt *rapid.T) {
				m.change(rt, func(ctx context.Context, tx *store.Tx, orgID string) error {
					return tx.InsertDrill(ctx, f.Drill(orgID, id.New("cred"), "key_x"))
				})
			},
			"end drills": func(rt *rapid.T) {
				m.change(rt, func(ctx context.Context, tx *store.Tx, _ string) error {
					_, err := tx.EndDrills(ctx, f.Clock.Now())
					return err
				})
			},
			"watch": m.watch,
		})
		m.watch(rt)
		m.compare(rt)
	})
}

// model is a watcher and the organizations whose changes it watches.
type model struct {
	f      *Fixture
	t      *testing.T
	orgs   []string
	config Config
	at     int64
}

func (m *model) change(rt *rapid.T, fn func(ctx context.Context, tx *store.Tx, orgID string) error) {
	orgID := rapid.SampledFrom(m.orgs).Draw(rt, "organization")
	m.f.Change(m.t, orgID, func(ctx context.Context, tx *store.Tx) error { return fn(ctx, tx, orgID) })
}

// some changes one of the first objects of an organization, if it has any.
func some[D any](rt *rapid.T, m *model, list func(tx *store.Tx, ctx context.Context, after string, limit int) ([]D, error), fn func(context.Context, *store.Tx, D) error) {
	which := rapid.IntRange(0, 4).Draw(rt, "object")
	m.change(rt, func(ctx context.Context, tx *store.Tx, _ string) error {
		objects, err := list(tx, ctx, "", 5)
		if err != nil || which >= len(objects) {
			return err
		}
		return fn(ctx, tx, objects[which])
	})
}

func (m *model) watch(rt *rapid.T) {
	d, err := m.f.Store.Delta(m.t.Context(), m.at)
	if err != nil || !d.Known || d.Version < m.at {
		rt.Fatalf("Delta(%d) = version %d, known %v, %v", m.at, d.Version, d.Known, err)
	}
	m.config.Apply(d.Objects)
	m.at = d.Version
}

func (m *model) compare(rt *rapid.T) {
	if whole, h := m.f.Whole(m.t); h.Version != m.at || !maps.Equal(whole, m.config) {
		rt.Fatalf("version %d: deltas and whole differ (-whole +deltas):\n%s", m.at, cmp.Diff(whole, m.config))
	}
}

func unknownVersions(t *testing.T, f *Fixture) {
	for i := range 5 {
		f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
			return tx.InsertPolicy(ctx, f.Policy(f.Org.ID, fmt.Sprint("p", i)))
		})
	}
	newest, err := f.Store.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Store.Expire(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	for since, want := range map[int64]bool{0: false, 1: false, newest - 3: false, newest - 2: true, newest - 1: true, newest: true, newest + 1: false, -1: false} {
		d, err := f.Store.Delta(t.Context(), since)
		if err != nil || d.Known != want || d.Version != newest {
			t.Errorf("Delta(%d) = known %v, version %d, %v; want %v, %d", since, d.Known, d.Version, err, want, newest)
		}
		if want && len(d.Policies) != int(newest-since) {
			t.Errorf("Delta(%d) has %d policies, want %d", since, len(d.Policies), newest-since)
		}
	}
	if err := f.Store.Expire(t.Context(), 100); err != nil { // keeping more does not bring back what is gone
		t.Fatal(err)
	}
	if d, err := f.Store.Delta(t.Context(), newest-3); err != nil || d.Known {
		t.Errorf("Delta(%d) after a later expiry = %v, %v; want unknown", newest-3, d.Known, err)
	}
}

func manyChanges(t *testing.T, f *Fixture) {
	at, err := f.Store.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.BulkKeys(t, 4001)
	if d, err := f.Store.Delta(t.Context(), at); err != nil || d.Known || len(d.APIKeys) > 0 {
		t.Errorf("Delta() over 4001 changes = known %v with %d keys, %v; want unknown and empty", d.Known, len(d.APIKeys), err)
	}
}

// BulkKeys stores n API keys of the owner in one change.
func (f *Fixture) BulkKeys(t testing.TB, n int) {
	t.Helper()
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		keys := make([]apikey.Key, n)
		for i := range keys {
			keys[i] = f.Key(f.Org.ID, f.Owner.ID, fmt.Sprint("key ", i))
		}
		return tx.InsertAPIKeys(ctx, keys)
	})
}

func wholeIsOneMoment(t *testing.T, f *Fixture) {
	f.BulkKeys(t, 1500) // more than a page
	config, pages := Config{}, 0
	err := f.Store.Whole(t.Context(), func(snapshot.Header) {}, func(o snapshot.Objects) error {
		if pages++; pages == 1 { // while it is read, somebody changes what comes later
			done := make(chan error, 1)
			go func() {
				done <- f.TryChange(context.WithoutCancel(t.Context()), f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
					return tx.InsertAPIKey(ctx, f.Key(f.Org.ID, f.Owner.ID, "late"))
				})
			}()
			if err := <-done; err != nil {
				return err
			}
		}
		if len(o.APIKeys) > 1000 {
			t.Errorf("a page has %d rows", len(o.APIKeys))
		}
		config.Apply(o)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(config) != 1502 {
		t.Errorf("whole configuration has %d objects, want 1502: the organization, its owner and the keys from before", len(config))
	}
}

func probes(t *testing.T, f *Fixture) {
	requested := 0
	f.Store.Notify(func(int64) {}, func() { requested++ })
	replica := store.New(f.DB, f.Clock.Now)
	c := f.Credential(f.Org.ID, "main")
	request := func(revision int) (probeID string) {
		f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) (err error) {
			probeID, err = tx.RequestProbe(ctx, credential.Probe{OrgID: f.Org.ID, ID: id.New("probe"), CredentialID: c.ID, Revision: revision, CreatedAt: f.Clock.Now()})
			return err
		})
		return probeID
	}
	claim := func(s *store.Store) (ids []string) {
		got, err := s.ClaimProbes(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range got {
			ids = append(ids, p.ID)
		}
		return ids
	}
	first := request(1)
	if requested != 1 {
		t.Errorf("told of %d requests, want 1", requested)
	}
	if again := request(1); again != first {
		t.Errorf("second request of an unanswered probe = %s, want the first, %s", again, first)
	}
	var claims []string
	var mu sync.Mutex
	var both sync.WaitGroup
	for _, s := range []*store.Store{f.Store, replica} {
		both.Go(func() { ids := claim(s); mu.Lock(); defer mu.Unlock(); claims = append(claims, ids...) })
	}
	both.Wait()
	if !slices.Equal(claims, []string{first}) {
		t.Fatalf("two replicas claimed %v, want %s once", claims, first)
	}
	for attempt := 2; attempt <= 5; attempt++ {
		if got := claim(f.Store); len(got) > 0 {
			t.Errorf("claimed %v again at once", got)
		}
		f.Clock.Advance(6 * time.Second)
		if got := claim(replica); !slices.Equal(got, []string{first}) {
			t.Errorf("attempt %d after the patience: claimed %v, want %s", attempt, got, first)
		}
	}
	f.Clock.Advance(time.Minute)
	if got := claim(f.Store); len(got) > 0 {
		t.Errorf("claimed %v after all attempts", got)
	}
	state := func(probeID string) (waiting, answered bool) {
		f.Read(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) (err error) {
			waiting, answered, err = tx.ProbeState(ctx, probeID)
			return err
		})
		return waiting, answered
	}
	if waiting, answered := state(first); !waiting || answered {
		t.Errorf("state before an answer = %v, %v; want waiting", waiting, answered)
	}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.FinishProbes(ctx, c.ID, 2, f.Clock.Now()), tx.FinishProbes(ctx, "cred_other", 1, f.Clock.Now()))
	})
	if waiting, _ := state(first); !waiting {
		t.Error("an answer for another revision finished the probe")
	}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return tx.FinishProbes(ctx, c.ID, 1, f.Clock.Now()) })
	if waiting, answered := state(first); waiting || !answered {
		t.Errorf("state after an answer = %v, %v; want answered", waiting, answered)
	}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return tx.InsertCredential(ctx, c) })
	second := request(1)
	third := request(2) // of a second secret, beside it
	if second == first || third == second {
		t.Errorf("probes = %s, %s, %s; want three", first, second, third)
	}
	c.Next = &credential.Staged{Revision: 2}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return tx.UpdateCredential(ctx, c) })
	for _, id := range []string{second, third} {
		if waiting, answered := state(id); !waiting || answered {
			t.Errorf("state of a probe of one of two secrets = %v, %v; want waiting", waiting, answered)
		}
	}
	c.Revision, c.Next = 2, nil
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return tx.UpdateCredential(ctx, c) })
	if waiting, answered := state(second); waiting || answered {
		t.Errorf("state of a probe whose secret was replaced = %v, %v; want neither", waiting, answered)
	}
	if got := claim(f.Store); !slices.Equal(got, []string{third}) {
		t.Errorf("claimed %v, want %s", got, third)
	}
}

func tokenKeys(t *testing.T, f *Fixture) {
	announce := func(key string) int64 {
		t.Helper()
		err := f.Store.AnnounceTokenKey(t.Context(), snapshot.TokenKey{KeyID: key, PublicKey: []byte(key)}, f.Clock.Now().Add(-time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		v, err := f.Store.Version(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	keys := func() (out []string) {
		got, err := f.Store.TokenKeys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range got {
			out = append(out, k.KeyID+"="+string(k.PublicKey))
		}
		return out
	}
	v1 := announce("a")
	if v2 := announce("a"); v2 != v1 {
		t.Errorf("announcing a known key made version %d of %d", v2, v1)
	}
	v3 := announce("b")
	if v3 != v1+1 {
		t.Errorf("a new key made version %d of %d, want one more", v3, v1)
	}
	if got := keys(); !slices.Equal(got, []string{"a=a", "b=b"}) {
		t.Errorf("TokenKeys() = %v, want both", got)
	}
	d, err := f.Store.Delta(t.Context(), v1)
	if err != nil || !d.Known || len(d.TokenKeys) != 2 || len(d.Removed) != 0 {
		t.Errorf("Delta() = known %v with %d token keys and %d removed, %v; want 2 and 0", d.Known, len(d.TokenKeys), len(d.Removed), err)
	}
	f.Clock.Advance(2 * time.Hour)
	if v4 := announce("b"); v4 != v3+1 {
		t.Errorf("forgetting a key made version %d of %d, want one more", v4, v3)
	}
	if got := keys(); !slices.Equal(got, []string{"b=b"}) {
		t.Errorf("TokenKeys() = %v, want the one that is still announced", got)
	}
}

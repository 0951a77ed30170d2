package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/services/keys/internal/drill"
	"github.com/claviger/claviger/services/keys/internal/headroom"
	"github.com/claviger/claviger/services/keys/internal/routerstate"
	"github.com/claviger/claviger/services/keys/internal/snapshot"
	"github.com/claviger/claviger/services/keys/internal/store"
)

// Drill returns a drill of a minute that is not stored.
func (f *Fixture) Drill(orgID, credentialID, keyID string) drill.Drill {
	return drill.Drill{
		OrgID: orgID, ID: id.New("drill"), CredentialID: credentialID, APIKeyID: keyID, Fault: drill.Slow,
		StartedAt: f.Clock.Now(), EndsAt: f.Clock.Now().Add(time.Minute), StartedBy: "mem_x", Running: true,
	}
}

func routers(t *testing.T, f *Fixture) {
	now := f.Clock.Now()
	version, err := f.Store.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	one := routerstate.Router{Name: "one", Epoch: "e1", Applied: version, Cuts: []routerstate.Cut{{ID: "cred_1", Streams: 3}}, LeaseUntil: now.Add(time.Minute), SeenAt: now}
	ahead := routerstate.Router{Name: "two", Epoch: "e1", Applied: version + 1, LeaseUntil: now, SeenAt: now}
	old := routerstate.Router{Name: "old", Epoch: "e1", Applied: version, LeaseUntil: now, SeenAt: now.Add(-2 * time.Hour)}
	save := func(routers ...routerstate.Router) {
		t.Helper()
		if err := f.Store.SaveRouters(t.Context(), routers); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, want ...routerstate.Router) {
		t.Helper()
		at, got, err := f.Store.Routers(t.Context(), now.Add(-time.Hour))
		if err != nil || at != version {
			t.Fatalf("Routers() = version %d, %v; want %d", at, err, version)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	save(one, ahead, old)
	ahead.Applied = 0
	want("a router that serves what there is not serves nothing of ours", one, ahead)
	closed := one
	closed.Closed, closed.Cuts = true, nil
	save(closed)
	save(one)
	want("a late report of the same run", closed, ahead)
	one.Epoch = "e2"
	save(one)
	want("the router's next run", one, ahead)
}

func cutRemovals(t *testing.T, f *Fixture) {
	cut, quiet := f.Credential(f.Org.ID, "cut"), f.Credential(f.Org.ID, "quiet")
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertCredential(ctx, cut), tx.InsertCredential(ctx, quiet))
	})
	before, err := f.Store.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.DeleteCredential(ctx, cut.ID, true), tx.DeleteCredential(ctx, quiet.ID, false))
	})
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		return tx.InsertPolicy(ctx, f.Policy(f.Org.ID, "later"))
	})
	removed := func(o snapshot.Objects, into map[string]bool) {
		for _, x := range o.Removed {
			into[x.ID] = x.Cut
		}
	}
	delta, err := f.Store.Delta(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	changes, whole := map[string]bool{}, map[string]bool{}
	removed(delta.Objects, changes)
	if err := f.Store.Whole(t.Context(), func(snapshot.Header) {}, func(o snapshot.Objects) error { removed(o, whole); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]bool{cut.ID: true, quiet.ID: false}, changes); diff != "" {
		t.Errorf("changes remove (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]bool{cut.ID: true}, whole); diff != "" {
		t.Errorf("the whole removes (-want +got):\n%s", diff)
	}
}

func drills(t *testing.T, f *Fixture) {
	other, _ := f.AddOrganization(t, "other")
	mine, second, theirs := f.Drill(f.Org.ID, "cred_1", "key_1"), f.Drill(f.Org.ID, "cred_1", "key_2"), f.Drill(other.ID, "cred_1", "key_1")
	second.EndsAt = second.EndsAt.Add(time.Minute)
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertDrill(ctx, mine), tx.InsertDrill(ctx, second))
	})
	f.Change(t, other.ID, func(ctx context.Context, tx *store.Tx) error { return tx.InsertDrill(ctx, theirs) })
	err := f.TryChange(t.Context(), f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		return tx.InsertDrill(ctx, f.Drill(f.Org.ID, "cred_1", "key_1"))
	})
	wantError(t, "a second drill of the same", err, drill.ErrRunning)
	f.Read(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.Drills(ctx, "", 1)
		if diff := cmp.Diff([]drill.Drill{second}, got); diff != "" {
			t.Errorf("the newest comes back as another (-want +got):\n%s", diff)
		}
		return err
	})
	before, err := f.Store.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.Clock.Advance(time.Minute)
	overdue, err := f.Store.OverdueDrills(t.Context(), 10)
	if err != nil || len(overdue) != 2 {
		t.Errorf("OverdueDrills() = %v, %v; want both organizations", overdue, err)
	}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		running, err := tx.EndDrills(ctx, f.Clock.Now())
		if running != 1 {
			t.Errorf("EndDrills() = %d running, want 1", running)
		}
		return err
	})
	if overdue, err = f.Store.OverdueDrills(t.Context(), 10); err != nil || len(overdue) != 1 || overdue[0] != other.ID {
		t.Errorf("OverdueDrills() = %v, %v; want the other organization", overdue, err)
	}
	delta, err := f.Store.Delta(t.Context(), before)
	want := []snapshot.Removal{{Ref: snapshot.Ref{OrgID: f.Org.ID, ID: mine.ID}}}
	if diff := cmp.Diff(want, delta.Removed); err != nil || diff != "" || len(delta.Drills) != 0 {
		t.Errorf("routers are told %d drills, %v, and removals (-want +got):\n%s", len(delta.Drills), err, diff)
	}
	for _, after := range []time.Duration{drill.Retention - time.Hour, 2 * time.Hour} {
		f.Clock.Advance(after)
		if err := f.Store.Expire(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
		if got, want := f.Count(t, "drill WHERE id = ?", mine.ID) == 1, after > 2*time.Hour; got != want {
			t.Errorf("the drill is there: %v, want %v", got, want)
		}
	}
}

func oldHeadroom(t *testing.T, f *Fixture) {
	c := f.Credential(f.Org.ID, "main")
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return tx.InsertCredential(ctx, c) })
	now := f.Clock.Now()
	bare := headroom.Headroom{OrgID: f.Org.ID, CredentialID: c.ID, Model: "openai/a", Router: "one", At: now}
	full := bare
	full.Requests = &headroom.Allowance{Limit: 10, Remaining: 0, ResetAt: now.Add(time.Second)}
	full.Tokens = &headroom.Allowance{Remaining: 7}
	full.CoolingUntil, full.At = now.Add(time.Minute), now.Add(time.Second)
	f.Clock.Advance(time.Second)
	for _, told := range []headroom.Headroom{full, bare} { // the older one comes late
		if err := f.Store.SaveHeadroom(t.Context(), []headroom.Headroom{told}); err != nil {
			t.Fatal(err)
		}
		f.Read(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
			got, err := tx.Headroom(ctx, "", "", 10)
			if diff := cmp.Diff([]headroom.Headroom{full}, got); diff != "" {
				t.Errorf("headroom (-want +got):\n%s", diff)
			}
			return err
		})
	}
	f.Clock.Advance(headroom.Retention + 2*time.Second)
	if err := f.Store.Expire(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	if n := f.Count(t, "headroom"); n != 0 {
		t.Errorf("%d are left after a day, want none", n)
	}
}

package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/claviger/claviger/services/keys/internal/apikey"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/store"
)

// uses holds last uses to their promises: forward only, by steps, of secrets that exist.
func uses(t *testing.T, f *Fixture) {
	other, _ := f.AddOrganization(t, "other")
	c := f.Credential(f.Org.ID, "main")
	c.Revision, c.LastRevision = 2, 3
	c.Next, c.Previous = &credential.Staged{Revision: 3}, &credential.Previous{Revision: 1}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return tx.InsertCredential(ctx, c) })
	f.Clock.Advance(time.Hour)
	begin := f.Clock.Now().Add(-time.Hour)
	note := func(orgID, credentialID string, revision int, at time.Duration) {
		t.Helper()
		err := f.Store.NoteUses(t.Context(), []credential.Use{
			{OrgID: orgID, CredentialID: credentialID, Revision: revision, At: begin.Add(at - 10*time.Minute)},
			{OrgID: orgID, CredentialID: credentialID, Revision: revision, At: begin.Add(at)},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, previous, current, next time.Duration) {
		t.Helper()
		list := []credential.Credential{c}
		f.Read(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return tx.FillUses(ctx, list) })
		for name, got := range map[string]struct {
			at   time.Time
			want time.Duration
		}{"previous": {list[0].Previous.LastUseAt, previous}, "current": {list[0].LastUseAt, current}, "next": {list[0].Next.LastUseAt, next}} {
			if got.want < 0 && !got.at.IsZero() || got.want >= 0 && !got.at.Equal(begin.Add(got.want)) {
				t.Errorf("%s: last use of the %s secret = %s, want %s after %s", what, name, got.at, got.want, begin)
			}
		}
	}
	const never = -1
	want("at first", never, never, never)
	note(f.Org.ID, c.ID, 2, 30*time.Minute)
	note(f.Org.ID, c.ID, 2, 20*time.Minute) // of a slower router
	want("an older one", never, 30*time.Minute, never)
	note(f.Org.ID, c.ID, 2, 31*time.Minute-time.Second)
	want("less than a step later", never, 30*time.Minute, never)
	note(f.Org.ID, c.ID, 2, 31*time.Minute)
	note(f.Org.ID, c.ID, 1, time.Minute)
	note(f.Org.ID, c.ID, 3, 5*time.Hour) // a clock that is fast
	want("of each", time.Minute, 31*time.Minute, time.Hour)

	rows := f.Count(t, "secret_use")
	note(other.ID, c.ID, 2, time.Minute)
	note(f.Org.ID, "cred_none", 1, time.Minute)
	note(f.Org.ID, c.ID, 4, time.Minute)
	note(f.Org.ID, c.ID, 0, time.Minute)
	if got := f.Count(t, "secret_use"); got != rows {
		t.Errorf("uses of what does not exist left %d rows", got-rows)
	}
	c.Previous = nil
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return tx.UpdateCredential(ctx, c) })
	if got := f.Count(t, "secret_use"); got != 2 {
		t.Errorf("after the previous secret was forgotten %d uses are left, want 2", got)
	}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteCredential(ctx, c.ID, false) })
	if got := f.Count(t, "secret_use"); got != 0 {
		t.Errorf("after the credential was deleted %d uses are left", got)
	}
}

// manyUses are more than fit into one statement, of several organizations, twice.
func manyUses(t *testing.T, f *Fixture) {
	other, _ := f.AddOrganization(t, "other")
	var told []credential.Use
	for _, orgID := range []string{f.Org.ID, other.ID} {
		f.Change(t, orgID, func(ctx context.Context, tx *store.Tx) error {
			for i := range 500 {
				c := f.Credential(orgID, fmt.Sprint("c", i))
				if err := tx.InsertCredential(ctx, c); err != nil {
					return err
				}
				told = append(told, credential.Use{OrgID: orgID, CredentialID: c.ID, Revision: 1, At: f.Clock.Now()})
			}
			return nil
		})
	}
	version, err := f.Store.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for range 2 {
		if err := f.Store.NoteUses(t.Context(), slices.Clone(told)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("noting 1000 uses took %s", time.Since(begin)/2)
	if got := f.Count(t, "secret_use"); got != 1000 {
		t.Errorf("%d uses are stored, want 1000", got)
	}
	if after, err := f.Store.Version(t.Context()); err != nil || after != version {
		t.Errorf("uses made the version %d, %v; want %d as before", after, err, version)
	}
}

// dueCredentials come up for a test, for the end of their time and for a second secret's test.
func dueCredentials(t *testing.T, f *Fixture) {
	now := f.Clock.Now()
	tested, expiring, staged, idle, over := f.Credential(f.Org.ID, "tested"), f.Credential(f.Org.ID, "expiring"), f.Credential(f.Org.ID, "staged"),
		f.Credential(f.Org.ID, "idle"), f.Credential(f.Org.ID, "over")
	tested.NextProbeAt = now.Add(time.Minute)
	expiring.ExpiresAt = now.Add(2 * time.Minute)
	staged.Next, staged.ExpiresAt = &credential.Staged{Revision: 2, NextProbeAt: now.Add(3 * time.Minute)}, now.Add(time.Hour)
	over.ExpiresAt, over.Expired = now, true
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		for _, c := range []credential.Credential{tested, expiring, staged, idle, over} {
			if err := tx.InsertCredential(ctx, c); err != nil {
				return err
			}
		}
		return nil
	})
	var want []string
	for _, next := range []string{"", tested.ID, expiring.ID, staged.ID} {
		if next != "" {
			want = append(want, next)
			slices.Sort(want)
			f.Clock.Advance(time.Minute)
		}
		due, err := f.Store.DueCredentials(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, ref := range due {
			got = append(got, ref.ID)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s later %v are due, want %v", f.Clock.Now().Sub(now), got, want)
		}
	}
}

// stampedSecret gets the version of its own change, and keeps it.
func stampedSecret(t *testing.T, f *Fixture) {
	c := f.Credential(f.Org.ID, "main")
	c.Previous = &credential.Previous{Revision: 1, Hint: "…cdef"}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		tx.StampPrevious(c.ID)
		return tx.InsertCredential(ctx, c)
	})
	version, err := f.Store.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	read := func() (got credential.Credential) {
		f.Read(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) (err error) { got, err = tx.Credential(ctx, c.ID); return err })
		return got
	}
	if got := read().Previous.Version; got != version {
		t.Errorf("stamped with %d, want %d", got, version)
	}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return tx.UpdateCredential(ctx, read()) })
	if got := read().Previous.Version; got != version {
		t.Errorf("after another change the stamp is %d, want %d", got, version)
	}
}

// unknownKeys are those of others, revoked ones and none at all.
func unknownKeys(t *testing.T, f *Fixture) {
	other, stranger := f.AddOrganization(t, "other")
	mine, revoked, theirs := f.Key(f.Org.ID, f.Owner.ID, "mine"), f.Key(f.Org.ID, f.Owner.ID, "revoked"), f.Key(other.ID, stranger.ID, "theirs")
	f.Change(t, other.ID, func(ctx context.Context, tx *store.Tx) error { return tx.InsertAPIKey(ctx, theirs) })
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		for _, key := range []apikey.Key{mine, revoked} {
			if err := tx.InsertAPIKey(ctx, key); err != nil {
				return err
			}
		}
		return tx.RevokeAPIKey(ctx, revoked.ID, f.Clock.Now(), false)
	})
	f.Read(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.UnknownAPIKeys(ctx, []string{mine.ID, revoked.ID, theirs.ID, "key_none"})
		if want := []string{revoked.ID, theirs.ID, "key_none"}; !slices.Equal(got, want) {
			t.Errorf("unknown keys = %v, want %v", got, want)
		}
		return err
	})
}

package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/idempotency"
	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/session"
	"github.com/claviger/claviger/services/keys/internal/snapshot"
	"github.com/claviger/claviger/services/keys/internal/store"
)

var errTest = errors.New("test")

func failedChange(t *testing.T, f *Fixture) {
	version, err := f.Store.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	events := f.Count(t, "audit_event")
	cmd := store.Command{OrgID: f.Org.ID, Actor: "test", Idempotency: idempotency.Key{Method: "m", Value: "k", Digest: "d"}}
	_, _, err = f.Store.Change(t.Context(), cmd, func(ctx context.Context, tx *store.Tx) ([]byte, error) {
		if err := tx.InsertPolicy(ctx, f.Policy(f.Org.ID, "fast")); err != nil {
			return nil, err
		}
		if err := tx.Record(ctx, "policy.create", "x", nil); err != nil {
			return nil, err
		}
		return []byte("answer"), errTest
	})
	wantError(t, "Change", err, errTest)
	after, err := f.Store.Version(t.Context())
	if err != nil || after != version {
		t.Errorf("version = %d, %v; want %d", after, err, version)
	}
	for table, want := range map[string]int{"policy": 0, "idempotency": 0, "audit_event": events} {
		if got := f.Count(t, table); got != want {
			t.Errorf("%s has %d rows, want %d", table, got, want)
		}
	}
	if _, found, err := f.Store.Answered(t.Context(), cmd); err != nil || found {
		t.Errorf("Answered() = %v, %v; want nothing", found, err)
	}
}

func retries(t *testing.T, f *Fixture) {
	other, _ := f.AddOrganization(t, "other")
	runs := 0
	try := func(orgID, method, key, digest string) (string, bool, error) {
		cmd := store.Command{OrgID: orgID, Actor: "test", Idempotency: idempotency.Key{Method: method, Value: key, Digest: digest}}
		answer, replayed, err := f.Store.Change(t.Context(), cmd, func(context.Context, *store.Tx) ([]byte, error) {
			runs++
			return []byte(fmt.Sprint("answer ", runs)), nil
		})
		return string(answer), replayed, err
	}
	for _, c := range []struct {
		orgID, method, key, digest string
		want                       string
		replayed                   bool
		err                        error
	}{
		{f.Org.ID, "m", "k", "d", "answer 1", false, nil},
		{f.Org.ID, "m", "k", "d", "answer 1", true, nil},
		{f.Org.ID, "m", "k", "other", "", false, idempotency.ErrReused},
		{f.Org.ID, "n", "k", "d", "answer 2", false, nil},
		{f.Org.ID, "m", "l", "d", "answer 3", false, nil},
		{other.ID, "m", "k", "other", "answer 4", false, nil},
		{f.Org.ID, "m", "k", "d", "answer 1", true, nil},
	} {
		answer, replayed, err := try(c.orgID, c.method, c.key, c.digest)
		if answer != c.want || replayed != c.replayed || !errors.Is(err, c.err) {
			t.Errorf("Change(%s, %s, %s) = %q, %v, %v; want %q, %v, %v", c.method, c.key, c.digest, answer, replayed, err, c.want, c.replayed, c.err)
		}
	}
}

func concurrentRetries(t *testing.T, f *Fixture) {
	cmd := store.Command{OrgID: f.Org.ID, Actor: "test", Idempotency: idempotency.Key{Method: "m", Value: "k", Digest: "d"}}
	var fresh atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			answer, replayed, err := f.Store.Change(t.Context(), cmd, func(ctx context.Context, tx *store.Tx) ([]byte, error) {
				return []byte("answer"), tx.Record(ctx, "test.once", "x", nil)
			})
			if err != nil || string(answer) != "answer" {
				t.Errorf("Change() = %q, %v; want the answer", answer, err)
			}
			if !replayed {
				fresh.Add(1)
			}
		})
	}
	all.Wait()
	if n := f.Count(t, "audit_event WHERE action = 'test.once'"); n != 1 || fresh.Load() != 1 {
		t.Errorf("%d changes were stored and %d were told to be first, want 1 and 1", n, fresh.Load())
	}
}

func startSession(t *testing.T, f *Fixture, m member.Member, sessionID string) {
	t.Helper()
	now := f.Clock.Now()
	f.Change(t, m.OrgID, func(ctx context.Context, tx *store.Tx) error {
		return tx.SignedIn(ctx, session.Session{
			OrgID: m.OrgID, ID: sessionID, MemberID: m.ID, TokenHash: "hash of " + sessionID, AuthAt: now, UsedAt: now, EndsAt: now.Add(time.Hour),
		}, "")
	})
}

func endedSession(t *testing.T, f *Fixture) {
	startSession(t, f, f.Owner, "ses_1")
	change := func(sessionID string) error {
		_, _, err := f.Store.Change(t.Context(), store.Command{OrgID: f.Org.ID, Actor: f.Owner.ID, SessionID: sessionID},
			func(context.Context, *store.Tx) ([]byte, error) { return nil, nil })
		return err
	}
	if err := change("ses_1"); err != nil {
		t.Errorf("change by a live session: %v", err)
	}
	found, account, err := f.Store.SessionByToken(t.Context(), "hash of ses_1")
	if err != nil || found.ID != "ses_1" || account.Member.ID != f.Owner.ID || account.Organization.Slug != "acme" {
		t.Errorf("SessionByToken() = %v, %v, %v; want the owner's", found.ID, account.Member.ID, err)
	}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return tx.EndSession(ctx, "ses_1") })
	wantError(t, "change by an ended session", change("ses_1"), session.ErrEnded)
	_, _, err = f.Store.SessionByToken(t.Context(), "hash of ses_1")
	wantError(t, "SessionByToken of an ended session", err, session.ErrEnded)
}

func verify(t *testing.T, f *Fixture) (n int64, err error) {
	t.Helper()
	err = f.Store.Read(t.Context(), f.Org.ID, func(ctx context.Context, tx *store.Tx) (err error) {
		n, err = audit.Verify(ctx, tx)
		return err
	})
	return n, err
}

func editedAudit(t *testing.T, f *Fixture) {
	for i := range 4 {
		f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(
				tx.Record(ctx, "test.a", fmt.Sprint("x", i), audit.Detail{"name": "größer", "list": []string{"a"}}),
				tx.Record(ctx, "test.b", fmt.Sprint("x", i), nil))
		})
	}
	n, err := verify(t, f)
	if err != nil || n != 9 {
		t.Fatalf("Verify() = %d, %v; want 9 events", n, err)
	}
	for name, c := range map[string]struct{ spoil, restore string }{
		"edited": {
			"UPDATE audit_event SET target = 'y' WHERE org_id = ? AND sequence = 4", "UPDATE audit_event SET target = 'x1' WHERE org_id = ? AND sequence = 4",
		},
		"moved in time": {
			"UPDATE audit_event SET at = at + 1 WHERE org_id = ? AND sequence = 4", "UPDATE audit_event SET at = at - 1 WHERE org_id = ? AND sequence = 4",
		},
		"out of order": {
			"UPDATE audit_event SET sequence = 99 WHERE org_id = ? AND sequence = 4", "UPDATE audit_event SET sequence = 4 WHERE org_id = ? AND sequence = 99",
		},
		"head moved": {
			"UPDATE audit_head SET sequence = sequence - 1 WHERE org_id = ?", "UPDATE audit_head SET sequence = sequence + 1 WHERE org_id = ?",
		},
	} {
		f.SQL(t, c.spoil, f.Org.ID)
		_, err := verify(t, f)
		wantError(t, name, err, audit.ErrBroken)
		f.SQL(t, c.restore, f.Org.ID)
		if _, err := verify(t, f); err != nil {
			t.Fatalf("after restoring %s: %v", name, err)
		}
	}
	f.SQL(t, "DELETE FROM audit_event WHERE org_id = ? AND sequence = 9", f.Org.ID)
	_, err = verify(t, f)
	wantError(t, "last event deleted", err, audit.ErrBroken)
	f.SQL(t, "DELETE FROM audit_event WHERE org_id = ? AND sequence = 5", f.Org.ID)
	_, err = verify(t, f)
	wantError(t, "event deleted", err, audit.ErrBroken)
}

func deletedMember(t *testing.T, f *Fixture) {
	m := f.Member(f.Org.ID, "a@acme.example", member.Ordinary)
	mine, theirs := f.Key(f.Org.ID, m.ID, "mine"), f.Key(f.Org.ID, f.Owner.ID, "theirs")
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.InsertMember(ctx, m), tx.InsertAPIKey(ctx, mine), tx.InsertAPIKey(ctx, theirs))
	})
	startSession(t, f, m, "ses_mine")
	startSession(t, f, f.Owner, "ses_theirs")
	before, err := f.Store.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		revoked, err := tx.DeleteMember(ctx, m.ID, f.Clock.Now(), false)
		if len(revoked) != 1 || revoked[0] != mine.ID {
			t.Errorf("DeleteMember() revoked %v, want %s", revoked, mine.ID)
		}
		return err
	})
	if n := f.Count(t, "session WHERE id = 'ses_mine'"); n != 0 {
		t.Error("the member's session is still there")
	}
	if n := f.Count(t, "session WHERE id = 'ses_theirs'"); n != 1 {
		t.Error("somebody else's session is gone")
	}
	delta, err := f.Store.Delta(t.Context(), before)
	if err != nil || !delta.Known {
		t.Fatalf("Delta() = %v, %v", delta.Known, err)
	}
	if len(delta.APIKeys) != 1 || delta.APIKeys[0].ID != mine.ID || delta.APIKeys[0].RevokedAt.IsZero() {
		t.Errorf("delta has the keys %v, want the revoked one", delta.APIKeys)
	}
	if want := (snapshot.Removal{Ref: snapshot.Ref{OrgID: f.Org.ID, ID: m.ID}}); len(delta.Removed) != 1 || delta.Removed[0] != want {
		t.Errorf("delta removes %v, want %v", delta.Removed, want)
	}
}

func lastOwner(t *testing.T, f *Fixture) {
	service := &member.Service{Now: f.Clock.Now}
	second := f.Member(f.Org.ID, "second@acme.example", member.Owner)
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return tx.InsertMember(ctx, second) })
	var refused atomic.Int32
	var both sync.WaitGroup
	for _, m := range []member.Member{f.Owner, second} {
		both.Go(func() {
			err := f.TryChange(t.Context(), f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
				_, err := service.Delete(ctx, tx, member.Caller{OrgID: f.Org.ID, MemberID: m.ID, Role: member.Owner}, m.ID, false)
				return err
			})
			if errors.Is(err, member.ErrLastOwner) {
				refused.Add(1)
			} else if err != nil {
				t.Errorf("Delete(%s): %v", m.Email, err)
			}
		})
	}
	both.Wait()
	if n := f.Count(t, "member WHERE org_id = ? AND role = 'owner'", f.Org.ID); n != 1 || refused.Load() != 1 {
		t.Errorf("%d owners are left and %d were refused, want 1 and 1", n, refused.Load())
	}
}

func expiry(t *testing.T, f *Fixture) {
	startSession(t, f, f.Owner, "ses_old")
	cmd := store.Command{OrgID: f.Org.ID, Actor: "test", Idempotency: idempotency.Key{Method: "m", Value: "old", Digest: "d"}}
	none := func(context.Context, *store.Tx) ([]byte, error) { return nil, nil }
	if _, _, err := f.Store.Change(t.Context(), cmd, none); err != nil {
		t.Fatal(err)
	}
	f.Clock.Advance(idempotency.Retention + time.Second)
	startSession(t, f, f.Owner, "ses_new")
	cmd.Idempotency.Value = "new"
	if _, _, err := f.Store.Change(t.Context(), cmd, none); err != nil {
		t.Fatal(err)
	}
	if err := f.Store.Expire(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]int{
		"session WHERE id = 'ses_old'": 0, "session WHERE id = 'ses_new'": 1,
		"idempotency WHERE key = 'old'": 0, "idempotency WHERE key = 'new'": 1,
	} {
		if got := f.Count(t, from); got != want {
			t.Errorf("%s: %d rows, want %d", from, got, want)
		}
	}
}

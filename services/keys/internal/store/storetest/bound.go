package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/services/keys/internal/apikey"
	"github.com/claviger/claviger/services/keys/internal/bound"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/drill"
	"github.com/claviger/claviger/services/keys/internal/group"
	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/policy"
	"github.com/claviger/claviger/services/keys/internal/snapshot"
	"github.com/claviger/claviger/services/keys/internal/store"
)

// numbers is a table of the numbers from 1 to n.
func numbers(n int64) string {
	return fmt.Sprintf(" FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i FROM n) AS n", n)
}

// ruleOf is a rule of so many lines.
func ruleOf(lines int) policy.Spec {
	targets := make([]policy.Target, lines)
	for i := range targets {
		targets[i] = policy.Target{Model: fmt.Sprint("openai/m", i), Use: policy.Own}
	}
	return policy.Spec{Groups: []policy.Group{{Targets: targets}}}
}

func written(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// try is one change by an owner.
type try func(ctx context.Context, tx *store.Tx, orgID string) error

// bounds fills an organization up to each bound, which is then one too few for it, and none for another one.
func bounds(t *testing.T, f *Fixture) {
	other, _ := f.AddOrganization(t, "other")
	caller := func(orgID string) member.Caller {
		return member.Caller{OrgID: orgID, MemberID: f.Owner.ID, Role: member.Owner}
	}
	const (
		policies    = "INSERT INTO policy (org_id, id, name, version, revision, spec, draft, created_at, updated_at, updated_by) SELECT ?, 'pol_' || i, 'p' || i, ?, 1, ?, ?, 1, 1, ''"
		groups      = "INSERT INTO key_group (org_id, id, name, policy_id, enforce_policy, approved_models, created_at, version) SELECT ?, 'grp_' || i, 'g' || i, '', FALSE, ?, 1, 1"
		credentials = `INSERT INTO credential (org_id, id, provider, label, base_url, priority, hint, revision, sealed, disabled, verdict, state_reason, state_at, setbacks,
			next_probe_at, created_at, created_by, updated_at, updated_by, version, scope)
			SELECT ?, 'cred_' || i, 'groq', 'c' || i, '', 1, '', 1, '', FALSE, 'active', '', 1, 0, 0, 1, '', 1, '', 1, ?`
	)
	newPolicy := func(publish bool) try {
		return func(ctx context.Context, tx *store.Tx, orgID string) error {
			_, _, err := f.policies().Create(ctx, tx, caller(orgID), "fresh", ruleOf(1), publish)
			return err
		}
	}
	newGroup := func(ctx context.Context, tx *store.Tx, orgID string) error {
		_, _, err := (&group.Service{Now: f.Clock.Now}).Create(ctx, tx, caller(orgID), group.New{Name: "fresh", Approved: []string{"openai/*"}})
		return err
	}
	newCredential := func(ctx context.Context, tx *store.Tx, orgID string) error {
		c := f.Credential(orgID, "fresh")
		c.Provider, c.Scope = "groq", credential.Scope{Models: []string{"groq/*"}}
		return (&credential.Service{Now: f.Clock.Now}).Create(ctx, tx, c)
	}
	// large is a rule of so many bytes.
	large := func(size int64) string {
		pad := policy.Condition{Models: []string{""}}
		spec := policy.Spec{Groups: []policy.Group{{When: &pad}}}
		pad.Models[0] = strings.Repeat("x", int(size)-len(written(t, spec)))
		return written(t, spec)
	}
	for name, c := range map[string]struct {
		bound  bound.Bound
		fill   string
		args   []any
		try    try
		shrink string // gives room again
	}{
		"policies": {
			bound.Policies, policies + numbers(bound.Policies.Most),
			[]any{0, "", written(t, ruleOf(1))},
			newPolicy(false),
			"DELETE FROM policy WHERE org_id = ? AND id = 'pol_1'",
		},
		"lines": {
			bound.PolicyLines, policies + numbers(bound.PolicyLines.Most/500),
			[]any{1, written(t, ruleOf(500)), ""},
			newPolicy(true),
			"DELETE FROM policy WHERE org_id = ? AND id = 'pol_1'",
		},
		"bytes of rules": {
			bound.PolicyBytes, policies + numbers(32),
			[]any{1, large(bound.PolicyBytes.Most / 64), large(bound.PolicyBytes.Most / 64)},
			newPolicy(false),
			"UPDATE policy SET draft = '' WHERE org_id = ? AND id = 'pol_1'",
		},
		"groups": {bound.Groups, groups + numbers(bound.Groups.Most), []any{""}, newGroup, "DELETE FROM key_group WHERE org_id = ? AND id = 'grp_1'"},
		"bytes of approved models": {
			bound.GroupBytes, groups + numbers(4),
			[]any{written(t, []string{strings.Repeat("x", int(bound.GroupBytes.Most/4)-4)})},
			newGroup,
			"UPDATE key_group SET approved_models = '' WHERE org_id = ? AND id = 'grp_1'",
		},
		"credentials": {
			bound.Credentials, strings.Replace(credentials, "'groq'", "'p' || (i % 9)", 1) + numbers(bound.Credentials.Most),
			[]any{""},
			newCredential,
			"DELETE FROM credential WHERE org_id = ? AND id = 'cred_1'",
		},
		"credentials for a provider": {
			bound.CredentialsOf("groq"), credentials + numbers(bound.CredentialsOf("groq").Most),
			[]any{""},
			newCredential,
			"UPDATE credential SET provider = 'openai' WHERE org_id = ? AND id = 'cred_1'",
		},
		"bytes of scopes": {
			bound.ScopeBytes, credentials + numbers(4),
			[]any{strings.Repeat("x", int(bound.ScopeBytes.Most/4))},
			newCredential,
			"UPDATE credential SET scope = '' WHERE org_id = ? AND id = 'cred_1'",
		},
		"members": {
			bound.Members, "INSERT INTO member (org_id, id, email, role, password_hash, created_at, last_sign_in_at, version) SELECT ?, 'mem_' || i, 'm' || i, 'viewer', '', 1, 0, 1" +
				numbers(bound.Members.Most-1), nil, // there is the owner
			func(ctx context.Context, tx *store.Tx, orgID string) error {
				return (&member.Service{Now: f.Clock.Now}).Create(ctx, tx, caller(orgID), f.Member(orgID, "fresh@acme.example", member.Viewer))
			},
			"DELETE FROM member WHERE org_id = ? AND id = 'mem_1'",
		},
		"API keys": {
			bound.APIKeys, `INSERT INTO api_key (org_id, id, name, public_id, hash, member_id, policy_id, provenance, created_at, expires_at, revoked_at)
				SELECT ?, 'key_' || i, 'k' || i, 'k' || i, 'aa', '', '', 'basic', 1, 0, 0` + numbers(bound.APIKeys.Most), nil,
			func(ctx context.Context, tx *store.Tx, orgID string) error {
				_, err := (&apikey.Service{Now: f.Clock.Now}).Create(ctx, tx, caller(orgID), f.Key(orgID, f.Owner.ID, "fresh"))
				return err
			},
			"UPDATE api_key SET revoked_at = 1 WHERE org_id = ? AND id = 'key_1'",
		},
	} {
		org, _ := f.AddOrganization(t, strings.ReplaceAll(strings.ToLower(name), " ", "-"))
		f.SQL(t, c.fill, append([]any{org.ID}, c.args...)...)
		change := func(orgID string) error {
			return f.TryChange(t.Context(), orgID, func(ctx context.Context, tx *store.Tx) error { return c.try(ctx, tx, orgID) })
		}
		before := f.Count(t, "audit_event WHERE org_id = ?", org.ID)
		wantError(t, "one beyond the bound of "+name, change(org.ID), c.bound.Err())
		if after := f.Count(t, "audit_event WHERE org_id = ?", org.ID); after != before {
			t.Errorf("%s: what was refused left %d audit events", name, after-before)
		}
		f.SQL(t, c.shrink, org.ID)
		if err := change(org.ID); err != nil {
			t.Errorf("%s: with room for one: %v", name, err)
		}
		if err := f.TryChange(t.Context(), other.ID, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(c.try(ctx, tx, other.ID), errUndo)
		}); !errors.Is(err, errUndo) || errors.Is(err, c.bound.Err()) {
			t.Errorf("%s: another organization meets the bound of this one: %v", name, err)
		}
	}
}

var errUndo = errors.New("undo")

// policyTotals compares what the database counts with what rules say, among them one whose texts look like lines.
func policyTotals(t *testing.T, f *Fixture) {
	odd := ruleOf(3)
	odd.Groups[0].When = &policy.Condition{
		Tags: []policy.Tag{{Key: `"model":`, Values: []string{`{"model":"x"}`, "é…", `\"model\":`}}}, Models: []string{`"model":*`, "model"},
	}
	odd.Groups[0].Targets[0].Overrides = &policy.Overrides{ReasoningEffort: new("low")}
	draft := ruleOf(7)
	var lines, bytes int64
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		for i, spec := range []policy.Spec{ruleOf(1), odd, ruleOf(512), {}} {
			p := f.Policy(f.Org.ID, fmt.Sprint("p", i))
			if p.Spec = spec; len(spec.Groups) == 0 {
				p.Version, p.Draft = 0, &draft
				bytes += int64(len(written(t, draft)))
			} else {
				lines, bytes = lines+int64(len(spec.Groups[0].Targets)), bytes+int64(len(written(t, spec)))
			}
			if err := tx.InsertPolicy(ctx, p); err != nil {
				return err
			}
		}
		return nil
	})
	f.Read(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		for b, want := range map[bound.Bound]int64{bound.Policies: 4, bound.PolicyLines: lines, bound.PolicyBytes: bytes} {
			if got, err := tx.Have(ctx, b); err != nil || got != want {
				t.Errorf("Have(%s) = %d, %v; want %d", b.What, got, err, want)
			}
		}
		return nil
	})
}

func keptVersions(t *testing.T, f *Fixture) {
	service, caller := f.policies(), f.caller()
	var p, untouched policy.Policy
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) (err error) {
		if untouched, _, err = service.Create(ctx, tx, caller, "other", ruleOf(1), true); err != nil {
			return err
		}
		p, _, err = service.Create(ctx, tx, caller, "fast", ruleOf(1), true)
		for i := 2; i <= policy.KeptVersions+5 && err == nil; i++ {
			p, _, err = service.Update(ctx, tx, caller, p.ID, ruleOf(i), true, p.ETag())
		}
		return err
	})
	const oldest = 6
	if n := f.Count(t, "policy_version WHERE policy_id = ?", p.ID); n != policy.KeptVersions {
		t.Errorf("%d versions are kept, want %d", n, policy.KeptVersions)
	}
	if n := f.Count(t, "policy_version WHERE policy_id = ?", untouched.ID); n != 1 {
		t.Errorf("%d versions of another policy are left, want its one", n)
	}
	f.Read(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.Policy(ctx, p.ID)
		if got.Version != policy.KeptVersions+5 || len(got.Spec.Groups[0].Targets) != policy.KeptVersions+5 {
			t.Errorf("version %d serves, want the newest", got.Version)
		}
		_, errCompare := service.Compare(ctx, tx, p.ID, oldest-1, got.Version)
		wantError(t, "to compare with a version that is not kept", errCompare, policy.ErrVersion)
		if !strings.Contains(errCompare.Error(), "from 6 on") {
			t.Errorf("error = %v, want which versions there are", errCompare)
		}
		_, errKept := service.Compare(ctx, tx, p.ID, oldest, got.Version)
		return errors.Join(err, errKept)
	})
	for _, c := range []struct {
		version int64
		want    error
	}{{oldest - 1, policy.ErrVersion}, {oldest, nil}} {
		err := f.TryChange(t.Context(), f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
			_, _, err := service.RollBack(ctx, tx, caller, p.ID, c.version, p.ETag())
			return err
		})
		wantError(t, fmt.Sprint("to roll back to version ", c.version), err, c.want)
	}
}

func keptDrills(t *testing.T, f *Fixture) {
	other, _ := f.AddOrganization(t, "other")
	running := f.Drill(f.Org.ID, "cred_1", "key_1")
	var over []string
	insert := func(orgID string, d drill.Drill) {
		f.Change(t, orgID, func(ctx context.Context, tx *store.Tx) error { return tx.InsertDrill(ctx, d) })
	}
	insert(f.Org.ID, running)
	insert(other.ID, f.Drill(other.ID, "cred_1", "key_1"))
	f.SQL(t, "UPDATE drill SET running = FALSE WHERE org_id = ?", other.ID)
	for range 4 {
		d := f.Drill(f.Org.ID, "cred_1", "key_2")
		insert(f.Org.ID, d)
		if err := f.Store.SaveDrillProgress(t.Context(), f.Org.ID, []drill.Progress{{DrillID: d.ID, Router: "one", Epoch: "e", Report: drill.Report{Requests: 1}}}); err != nil {
			t.Fatal(err)
		}
		f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return tx.EndDrill(ctx, d.ID, f.Clock.Now()) })
		over = append(over, d.ID)
	}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return tx.ForgetDrills(ctx, 2) })
	for id, want := range map[string]int{running.ID: 1, over[0]: 0, over[1]: 0, over[2]: 1, over[3]: 1} {
		if got := f.Count(t, "drill WHERE id = ?", id); got != want {
			t.Errorf("drill %s: %d rows, want %d", id, got, want)
		}
		if got := f.Count(t, "drill_report WHERE drill_id = ?", id); got > want {
			t.Errorf("of drill %s the report is left", id)
		}
	}
	if n := f.Count(t, "drill WHERE org_id = ?", other.ID); n != 1 {
		t.Errorf("%d drills of another organization are left, want its one", n)
	}
}

func deadKeys(t *testing.T, f *Fixture) {
	other, _ := f.AddOrganization(t, "other")
	now := f.Clock.Now()
	keys := map[string]string{}
	revoke := func(name string, ago time.Duration) {
		k := f.Key(f.Org.ID, f.Owner.ID, name)
		keys[name] = k.ID
		f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.InsertAPIKey(ctx, k), tx.RevokeAPIKey(ctx, k.ID, now.Add(-ago), false))
		})
	}
	revoke("year", apikey.Retention+time.Second)
	for i, name := range []string{"third", "second", "last"} {
		revoke(name, time.Duration(3-i)*time.Hour)
	}
	live := f.Key(f.Org.ID, f.Owner.ID, "live")
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error { return tx.InsertAPIKey(ctx, live) })
	due, err := f.Store.DeadAPIKeys(t.Context(), now.Add(-apikey.Retention), apikey.Kept, 10)
	if err != nil || len(due) != 1 || due[0] != f.Org.ID {
		t.Errorf("DeadAPIKeys() = %v, %v; want the organization with the old one", due, err)
	}
	before, err := f.Store.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	service := &apikey.Service{Now: f.Clock.Now}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		n, err := service.Forget(ctx, tx)
		if n != 1 {
			t.Errorf("Forget() = %d, want the one that was revoked long ago", n)
		}
		return err
	})
	delta, err := f.Store.Delta(t.Context(), before)
	if want := (snapshot.Removal{Ref: snapshot.Ref{OrgID: f.Org.ID, ID: keys["year"]}}); err != nil || len(delta.Removed) != 1 || delta.Removed[0] != want {
		t.Errorf("routers are told %v, %v; want that it is gone", delta.Removed, err)
	}
	if n := f.Count(t, "audit_event WHERE action = 'api_key.forget'"); n != 1 {
		t.Errorf("%d audit events, want one", n)
	}
	if due, err = f.Store.DeadAPIKeys(t.Context(), now.Add(-apikey.Retention), 2, 10); err != nil || len(due) != 1 {
		t.Errorf("DeadAPIKeys(keep 2) = %v, %v; want the organization with three", due, err)
	}
	f.Change(t, f.Org.ID, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.ForgetAPIKeys(ctx, now.Add(-apikey.Retention), 2, 10)
		if n != 1 {
			t.Errorf("ForgetAPIKeys(keep 2) = %d, want the one beyond", n)
		}
		return err
	})
	for name, id := range keys {
		want := 1
		if name == "year" || name == "third" {
			want = 0
		}
		if got := f.Count(t, "api_key WHERE id = ?", id); got != want {
			t.Errorf("the key %s: %d rows, want %d", name, got, want)
		}
	}
	if n := f.Count(t, "api_key WHERE id = ?", live.ID); n != 1 {
		t.Error("a key that lives was forgotten")
	}
	f.Change(t, other.ID, func(ctx context.Context, tx *store.Tx) error {
		n, err := service.Forget(ctx, tx)
		if n != 0 {
			t.Errorf("Forget() = %d where there is nothing", n)
		}
		return err
	})
}

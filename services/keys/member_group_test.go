package keys_test

import (
	"context"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/keys/internal/store"
)

// prefer replaces the preferences, whatever they were.
func (p *person) prefer(prefs *keysv1.RoutingPreferences) *keysv1.RoutingPreferences {
	p.r.t.Helper()
	read, err := p.routing.GetRoutingPreferences(p.r.t.Context(), &keysv1.GetRoutingPreferencesRequest{})
	p.r.must(err)
	res, err := p.routing.UpdateRoutingPreferences(p.r.t.Context(), &keysv1.UpdateRoutingPreferencesRequest{
		Preferences: prefs, Etag: read.GetEtag(), IdempotencyKey: "prefer " + read.GetEtag(),
	})
	p.r.must(err)
	return res.GetPreferences()
}

// TestAPIKeysOfMembersJoinTheGroupOfMembers shows that a member cannot make a key that is bound by less than the
// organization means for them.
func TestAPIKeysOfMembersJoinTheGroupOfMembers(t *testing.T) {
	t.Parallel()
	for engine, open := range map[string]func(testing.TB) string{"sqlite": sqltest.SQLite, "postgres": sqltest.Postgres} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			memberGroups(t, newRigOn(t, open(t)))
		})
	}
}

func memberGroups(t *testing.T, r *rig) {
	ctx := t.Context()
	me, boss := r.add("me", plain), r.add("boss", admin)
	before := me.apiKey("before", "").GetApiKey()
	p, g, narrow := r.owner.policy("fast"), r.owner.group("everybody"), r.owner.group("narrow")
	if got := r.owner.prefer(&keysv1.RoutingPreferences{MemberGroupId: g.GetId()}); got.GetMemberGroupId() != g.GetId() {
		t.Errorf("preferences = %v, want the group", got)
	}
	mine := me.apiKey("mine", p.GetId()).GetApiKey()
	if mine.GetGroupId() != g.GetId() || mine.GetPolicyId() != p.GetId() {
		t.Errorf("a member's key = %v, want it in the group, with the policy that they chose", mine)
	}
	w := r.watch(r.app, "router", 0)
	w.until("the member's key", func() bool { return w.config[mine.GetId()] != nil })
	if config, _ := w.config[mine.GetId()].(*keysv1.ApiKeyConfig); config.GetGroupId() != g.GetId() {
		t.Errorf("routers are told %v, want the group", config)
	}
	if config, _ := w.config[r.orgID].(*keysv1.OrganizationConfig); config.GetPreferences().GetMemberGroupId() != "" {
		t.Error("routers are told what only those need who create API keys")
	}
	for who, free := range map[string]*keysv1.ApiKey{"an admin's key": boss.apiKey("theirs", "").GetApiKey(), "a key of before": me.keyNow(before.GetId())} {
		if free.GetGroupId() != "" {
			t.Errorf("%s = %v, want it where it was put", who, free)
		}
	}
	_, err := me.apiKeys.CreateApiKey(ctx, &keysv1.CreateApiKeyRequest{Name: "way out", GroupId: narrow.GetId(), IdempotencyKey: "1"})
	refused(t, "a member's choice of a group", err, connect.CodePermissionDenied, "ADMIN_ONLY")
	for what, edit := range map[string]*keysv1.UpdateApiKeyRequest{"out of": {GroupId: new("")}, "into another": {GroupId: new(narrow.GetId())}} {
		edit.Id, edit.Etag, edit.IdempotencyKey = mine.GetId(), mine.GetEtag(), what
		_, err = me.apiKeys.UpdateApiKey(ctx, edit)
		refused(t, "a member's way "+what+" the group", err, connect.CodePermissionDenied, "ADMIN_ONLY")
	}
	moved := boss.editKey(&keysv1.UpdateApiKeyRequest{Id: mine.GetId(), GroupId: new(narrow.GetId()), Etag: mine.GetEtag()})
	if moved.GetGroupId() != narrow.GetId() {
		t.Errorf("moved by an admin = %v, want it in the other group", moved)
	}
	_, err = r.owner.groups.DeleteGroup(ctx, &keysv1.DeleteGroupRequest{Id: g.GetId(), IdempotencyKey: "1"})
	refused(t, "to delete the group of members", err, connect.CodeFailedPrecondition, "GROUP_IN_USE")
	if !contains(err.Error(), "the organization's preferences put API keys into it") {
		t.Errorf("error = %v, want why", err)
	}
	_, err = r.owner.groups.UpdateGroup(ctx, &keysv1.UpdateGroupRequest{Id: g.GetId(), Name: "everybody", PolicyId: p.GetId(), EnforcePolicy: true, Etag: g.GetEtag(), IdempotencyKey: "1"})
	r.must(err)
	_, err = me.apiKeys.CreateApiKey(ctx, &keysv1.CreateApiKeyRequest{Name: "around", PolicyId: p.GetId(), IdempotencyKey: "2"})
	refused(t, "a member's policy where their group enforces one", err, connect.CodePermissionDenied, "ADMIN_ONLY")
	if !contains(err.Error(), "group everybody enforces a policy") {
		t.Errorf("error = %v, want which group", err)
	}
	r.owner.prefer(&keysv1.RoutingPreferences{})
	if again := me.apiKey("after", "").GetApiKey(); again.GetGroupId() != "" {
		t.Errorf("without the preference = %v, want no group", again)
	}
	var told []string
	r.must(r.fixture().Store.Read(ctx, r.orgID, func(ctx context.Context, tx *store.Tx) error {
		events, err := tx.AuditEvents(ctx, 0, 100)
		for _, e := range events {
			if strings.Contains(e.Detail, g.GetId()) {
				told = append(told, e.Action)
			}
		}
		return err
	}))
	if got := strings.Join(told, " "); got != "preferences.update api_key.create api_key.update preferences.update" {
		t.Errorf("the audit tells of the group in %q", got)
	}
}

// keyNow is an API key as it is.
func (p *person) keyNow(id string) *keysv1.ApiKey {
	p.r.t.Helper()
	res, err := p.apiKeys.ListApiKeys(p.r.t.Context(), &keysv1.ListApiKeysRequest{})
	p.r.must(err)
	for _, k := range res.GetApiKeys() {
		if k.GetId() == id {
			return k
		}
	}
	p.r.t.Fatalf("there is no API key %s", id)
	return nil
}

package keys_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/claviger/claviger/pkg/intercept"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	optionsv1 "github.com/claviger/claviger/proto/gen/claviger/options/v1"
)

const (
	owner  = optionsv1.Role_ROLE_OWNER
	admin  = optionsv1.Role_ROLE_ADMIN
	plain  = optionsv1.Role_ROLE_MEMBER
	viewer = optionsv1.Role_ROLE_VIEWER
)

func message(t testing.TB, name protoreflect.FullName) proto.Message {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return kind.New().Interface()
}

// methods are the public ones, with their descriptors.
func methods(r *rig) map[connect.Spec]protoreflect.MethodDescriptor {
	out := map[connect.Spec]protoreflect.MethodDescriptor{}
	for spec := range r.app.Public().Specs() {
		out[spec], _ = spec.Schema.(protoreflect.MethodDescriptor)
	}
	return out
}

func (p *person) call(ctx context.Context, spec connect.Spec, req proto.Message) (proto.Message, error) {
	p.r.t.Helper()
	method, _ := spec.Schema.(protoreflect.MethodDescriptor)
	res := message(p.r.t, method.Output().FullName())
	return res, p.client.CallUnary(ctx, spec, req, res)
}

func TestEveryMethodAdmitsExactlyItsRoles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	people := map[optionsv1.Role]*person{owner: r.owner, admin: r.add("admin", admin), plain: r.add("plain", plain), viewer: r.add("viewer", viewer)}
	for spec, method := range methods(r) {
		rule := intercept.RuleOf(method)
		if rule == nil {
			t.Errorf("%s has no access rule", spec.Procedure)
			continue
		}
		if strings.HasSuffix(spec.Procedure, "/SignOut") {
			continue // it would end the test's own session
		}
		empty := message(t, method.Input().FullName())
		_, err := r.anonymous().call(t.Context(), spec, empty)
		if public := rule.GetScope() == optionsv1.Scope_SCOPE_PUBLIC; public == (info(err).GetReason() == "UNAUTHENTICATED") {
			t.Errorf("%s by nobody: %v; public is %v", spec.Procedure, err, public)
		}
		for role, p := range people {
			_, err := p.call(t.Context(), spec, empty) // no fields: whoever is let in is told so
			denied := err != nil && connect.CodeOf(err) == connect.CodePermissionDenied
			want := len(rule.GetRoles()) > 0 && !slices.Contains(rule.GetRoles(), role) || rule.GetScope() == optionsv1.Scope_SCOPE_OPERATOR
			if denied != want {
				t.Errorf("%s by %v: %v; want denied %v", spec.Procedure, role, err, want)
			}
		}
	}
	_, err := r.owner.call(t.Context(), connect.Spec{
		Procedure:  "/claviger.keys.v1.ConfigService/ReportRouterState",
		Schema:     keysv1.File_claviger_keys_v1_config_proto.Services().ByName("ConfigService").Methods().ByName("ReportRouterState"),
		StreamType: connect.StreamTypeUnary,
	}, &keysv1.ReportRouterStateRequest{Router: "r"})
	if connect.CodeOf(err) != connect.CodeUnimplemented {
		t.Errorf("internal method on the public server: %v, want unimplemented", err)
	}
}

func TestFeedIsForServicesAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stream, err := r.internal(r.app, "billing", "b-1").WatchConfig(t.Context(), &keysv1.WatchConfigRequest{})
	r.must(err)
	_, err = stream.Receive()
	refused(t, "WatchConfig by an unknown service", err, connect.CodePermissionDenied, "SERVICE_NOT_ALLOWED")
	_, err = r.internal(r.app, "metering", "m-1").ReportRouterState(t.Context(), &keysv1.ReportRouterStateRequest{Router: "m-1"})
	refused(t, "ReportRouterState by metering", err, connect.CodePermissionDenied, "SERVICE_NOT_ALLOWED")
	_, err = r.internal(r.app, "router", "r-1").ReportRouterState(t.Context(), &keysv1.ReportRouterStateRequest{Router: "r-2"})
	refused(t, "ReportRouterState under another name", err, connect.CodePermissionDenied, "ROUTER_NAME_MISMATCH")
}

func TestOtherOrganizationsObjectsAreMissing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stranger := r.other("rival")
	c, p := r.owner.credential("main"), r.owner.policy("fast")
	k := r.owner.apiKey("ci", p.GetId()).GetApiKey()
	ids := map[string]string{"drill": r.owner.drill("drilled").GetId(), "cred": c.GetId(), "pol": p.GetId(), "key": k.GetId(), "mem": r.owner.id, "grp": r.owner.group("team").GetId()}
	calls := map[string]func(id string) error{
		"cred/Get": func(id string) error {
			_, err := stranger.creds.GetCredential(t.Context(), &keysv1.GetCredentialRequest{Id: id})
			return err
		},
		"cred/Update": func(id string) error {
			_, err := stranger.creds.UpdateCredential(t.Context(), &keysv1.UpdateCredentialRequest{Id: id, Label: new("x"), Etag: "1", IdempotencyKey: id})
			return err
		},
		"cred/Rotate": func(id string) error {
			_, err := stranger.creds.RotateCredential(t.Context(), &keysv1.RotateCredentialRequest{Id: id, Secret: "sk-other-secret", Etag: "1", IdempotencyKey: id})
			return err
		},
		"key/Preview": func(id string) error {
			_, err := stranger.preview(id, "openai/gpt-4o")
			return err
		},
		"cred/Test": func(id string) error {
			_, err := stranger.creds.TestCredential(t.Context(), &keysv1.TestCredentialRequest{Id: id})
			return err
		},
		"cred/Stage": func(id string) error {
			_, err := stranger.creds.StageSecret(t.Context(), &keysv1.StageSecretRequest{Id: id, Secret: "sk-other-secret", Etag: "1", IdempotencyKey: id})
			return err
		},
		"cred/Share": func(id string) error {
			_, err := stranger.creds.SetSecretShare(t.Context(), &keysv1.SetSecretShareRequest{Id: id, Revision: 1, Etag: "1", IdempotencyKey: id})
			return err
		},
		"cred/Promote": func(id string) error {
			_, err := stranger.creds.PromoteSecret(t.Context(), &keysv1.PromoteSecretRequest{Id: id, Revision: 1, Etag: "1", IdempotencyKey: id})
			return err
		},
		"cred/Discard": func(id string) error {
			_, err := stranger.creds.DiscardSecret(t.Context(), &keysv1.DiscardSecretRequest{Id: id, Revision: 1, Etag: "1", IdempotencyKey: id})
			return err
		},
		"cred/Delete": func(id string) error {
			_, err := stranger.creds.DeleteCredential(t.Context(), &keysv1.DeleteCredentialRequest{Id: id, IdempotencyKey: id})
			return err
		},
		"pol/Get": func(id string) error {
			_, err := stranger.policies.GetPolicy(t.Context(), &keysv1.GetPolicyRequest{Id: id})
			return err
		},
		"pol/Update": func(id string) error {
			_, err := stranger.policies.UpdatePolicy(t.Context(), &keysv1.UpdatePolicyRequest{
				Id: id, Publish: true, Spec: rule(&keysv1.Target{Model: "openai/x", Use: 1}), Etag: "1", IdempotencyKey: id,
			})
			return err
		},
		"pol/Delete": func(id string) error {
			_, err := stranger.policies.DeletePolicy(t.Context(), &keysv1.DeletePolicyRequest{Id: id, IdempotencyKey: id})
			return err
		},
		"pol/as a default": func(id string) error {
			_, err := stranger.apiKeys.CreateApiKey(t.Context(), &keysv1.CreateApiKeyRequest{Name: "x", PolicyId: id, IdempotencyKey: id})
			return err
		},
		"pol/Publish": func(id string) error {
			_, err := stranger.policies.PublishPolicy(t.Context(), &keysv1.PublishPolicyRequest{Id: id, Etag: "1", IdempotencyKey: id})
			return err
		},
		"pol/Discard": func(id string) error {
			_, err := stranger.policies.DiscardPolicyDraft(t.Context(), &keysv1.DiscardPolicyDraftRequest{Id: id, Etag: "1", IdempotencyKey: id})
			return err
		},
		"pol/RollBack": func(id string) error {
			_, err := stranger.policies.RollBackPolicy(t.Context(), &keysv1.RollBackPolicyRequest{Id: id, Version: 1, Etag: "1", IdempotencyKey: id})
			return err
		},
		"pol/Versions": func(id string) error {
			_, err := stranger.policies.ListPolicyVersions(t.Context(), &keysv1.ListPolicyVersionsRequest{Id: id})
			return err
		},
		"pol/as a group's default": func(id string) error {
			_, err := stranger.groups.CreateGroup(t.Context(), &keysv1.CreateGroupRequest{Name: "x", PolicyId: id, IdempotencyKey: id})
			return err
		},
		"pol/as an organization's default": func(id string) error {
			_, err := stranger.routing.UpdateRoutingPreferences(t.Context(), &keysv1.UpdateRoutingPreferencesRequest{
				Preferences: &keysv1.RoutingPreferences{PolicyId: id}, Etag: "1", IdempotencyKey: id,
			})
			return err
		},
		"grp/of members' keys": func(id string) error {
			_, err := stranger.routing.UpdateRoutingPreferences(t.Context(), &keysv1.UpdateRoutingPreferencesRequest{
				Preferences: &keysv1.RoutingPreferences{MemberGroupId: id}, Etag: "1", IdempotencyKey: id,
			})
			return err
		},
		"grp/Get": func(id string) error {
			_, err := stranger.groups.GetGroup(t.Context(), &keysv1.GetGroupRequest{Id: id})
			return err
		},
		"grp/Update": func(id string) error {
			_, err := stranger.groups.UpdateGroup(t.Context(), &keysv1.UpdateGroupRequest{Id: id, Name: "x", Etag: "1", IdempotencyKey: id})
			return err
		},
		"grp/Delete": func(id string) error {
			_, err := stranger.groups.DeleteGroup(t.Context(), &keysv1.DeleteGroupRequest{Id: id, IdempotencyKey: id})
			return err
		},
		"grp/of a key": func(id string) error {
			_, err := stranger.apiKeys.CreateApiKey(t.Context(), &keysv1.CreateApiKeyRequest{Name: "x", GroupId: id, IdempotencyKey: id})
			return err
		},
		"key/Update": func(id string) error {
			_, err := stranger.apiKeys.UpdateApiKey(t.Context(), &keysv1.UpdateApiKeyRequest{Id: id, Name: new("x"), Etag: "1", IdempotencyKey: id})
			return err
		},
		"key/Revoke": func(id string) error {
			_, err := stranger.apiKeys.RevokeApiKey(t.Context(), &keysv1.RevokeApiKeyRequest{Id: id, IdempotencyKey: id})
			return err
		},
		"cred/in a drill": func(id string) error {
			req := stranger.drillRequest(id)
			req.CredentialId = id
			_, err := stranger.drills().StartDrill(t.Context(), req)
			return err
		},
		"key/in a drill": func(id string) error {
			req := stranger.drillRequest(id)
			req.ApiKeyId = id
			_, err := stranger.drills().StartDrill(t.Context(), req)
			return err
		},
		"cred/headroom": func(id string) error {
			_, err := stranger.creds.ListHeadroom(t.Context(), &keysv1.ListHeadroomRequest{CredentialId: id})
			return err
		},
		"drill/Get": func(id string) error {
			_, err := stranger.drills().GetDrill(t.Context(), &keysv1.GetDrillRequest{Id: id})
			return err
		},
		"drill/Stop": func(id string) error {
			_, err := stranger.drills().StopDrill(t.Context(), &keysv1.StopDrillRequest{Id: id, IdempotencyKey: id})
			return err
		},
		"mem/Get": func(id string) error {
			_, err := stranger.members.GetMember(t.Context(), &keysv1.GetMemberRequest{Id: id})
			return err
		},
		"mem/Update": func(id string) error {
			_, err := stranger.members.UpdateMember(t.Context(), &keysv1.UpdateMemberRequest{Id: id, Role: viewer, Etag: "1", IdempotencyKey: id})
			return err
		},
		"mem/Delete": func(id string) error {
			_, err := stranger.members.DeleteMember(t.Context(), &keysv1.DeleteMemberRequest{Id: id, IdempotencyKey: id})
			return err
		},
	}
	for name, call := range calls {
		kind, _, _ := strings.Cut(name, "/")
		theirs, missing := call(ids[kind]), call(kind+"_00000000000000000000000000")
		if connect.CodeOf(theirs) != connect.CodeNotFound || theirs.Error() != missing.Error() {
			t.Errorf("%s: another organization's object = %v, a missing one = %v; want the same not found", name, theirs, missing)
		}
	}
}

func TestOnlyOwnersTouchOwners(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	boss := r.add("boss", admin)
	other := r.add("other", viewer)
	ctx := t.Context()
	_, err := boss.members.CreateMember(ctx, &keysv1.CreateMemberRequest{Email: "x@acme.example", Role: owner, Password: passphrase, IdempotencyKey: "1"})
	refused(t, "admin adds an owner", err, connect.CodePermissionDenied, "OWNER_ONLY")
	_, err = boss.members.UpdateMember(ctx, &keysv1.UpdateMemberRequest{Id: other.id, Role: owner, Etag: "1", IdempotencyKey: "2"})
	refused(t, "admin makes an owner", err, connect.CodePermissionDenied, "OWNER_ONLY")
	_, err = boss.members.UpdateMember(ctx, &keysv1.UpdateMemberRequest{Id: r.owner.id, Role: viewer, Etag: "1", IdempotencyKey: "3"})
	refused(t, "admin unmakes an owner", err, connect.CodePermissionDenied, "OWNER_ONLY")
	_, err = boss.members.DeleteMember(ctx, &keysv1.DeleteMemberRequest{Id: r.owner.id, IdempotencyKey: "4"})
	refused(t, "admin removes an owner", err, connect.CodePermissionDenied, "OWNER_ONLY")
	_, err = boss.members.UpdateMember(ctx, &keysv1.UpdateMemberRequest{Id: other.id, Role: plain, Etag: "1", IdempotencyKey: "5"})
	r.must(err)
	_, err = r.owner.members.UpdateMember(ctx, &keysv1.UpdateMemberRequest{Id: r.owner.id, Role: viewer, Etag: "1", IdempotencyKey: "6"})
	refused(t, "last owner steps down", err, connect.CodeFailedPrecondition, "LAST_OWNER")
	_, err = r.owner.members.DeleteMember(ctx, &keysv1.DeleteMemberRequest{Id: r.owner.id, IdempotencyKey: "7"})
	refused(t, "last owner leaves", err, connect.CodeFailedPrecondition, "LAST_OWNER")
	_, err = r.owner.members.UpdateMember(ctx, &keysv1.UpdateMemberRequest{Id: other.id, Role: owner, Etag: "2", IdempotencyKey: "8"})
	r.must(err)
	_, err = r.owner.members.DeleteMember(ctx, &keysv1.DeleteMemberRequest{Id: r.owner.id, IdempotencyKey: "9"})
	r.must(err)
}

func TestMemberSeesAndRevokesOnlyOwnKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	me, boss, watcher := r.add("me", plain), r.add("boss", admin), r.add("watcher", viewer)
	mine, theirs := me.apiKey("mine", "").GetApiKey(), r.owner.apiKey("theirs", "").GetApiKey()
	if mine.GetMemberId() != me.id {
		t.Errorf("a member's key belongs to %s, want %s", mine.GetMemberId(), me.id)
	}
	for p, want := range map[*person]int{me: 1, boss: 2, r.owner: 2, watcher: 2} {
		list, err := p.apiKeys.ListApiKeys(t.Context(), &keysv1.ListApiKeysRequest{})
		if err != nil || len(list.GetApiKeys()) != want {
			t.Errorf("%s sees %d keys, %v; want %d", p.id, len(list.GetApiKeys()), err, want)
		}
	}
	_, err := me.apiKeys.RevokeApiKey(t.Context(), &keysv1.RevokeApiKeyRequest{Id: theirs.GetId(), IdempotencyKey: "1"})
	refused(t, "member revokes another's key", err, connect.CodeNotFound, "API_KEY_NOT_FOUND")
	for id, p := range map[string]*person{mine.GetId(): me, theirs.GetId(): boss} {
		res, err := p.apiKeys.RevokeApiKey(t.Context(), &keysv1.RevokeApiKeyRequest{Id: id, IdempotencyKey: id})
		if err != nil || res.GetApiKey().GetRevokeTime() == nil {
			t.Errorf("revoke %s: %v, %v", id, res.GetApiKey().GetRevokeTime(), err)
		}
	}
}

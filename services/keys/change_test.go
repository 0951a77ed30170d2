package keys_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/uptrace/bun"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/keys/internal/provider"
)

func (r *rig) count(from string, args ...any) (n int) {
	r.t.Helper()
	r.must(r.db.InReadTx(r.t.Context(), func(ctx context.Context, tx bun.Tx) error {
		return tx.NewRaw("SELECT count(*) FROM "+from, args...).Scan(ctx, &n)
	}))
	return n
}

// changes builds a valid request for each method that changes something.
var changes = map[string]func(r *rig, p *person) proto.Message{
	"CreateOrganization": func(_ *rig, p *person) proto.Message {
		return &keysv1.CreateOrganizationRequest{Slug: "fresh", Name: "Fresh", OwnerEmail: "o@fresh.example", OwnerPassword: passphrase, IdempotencyKey: p.id}
	},
	"UpdateOrganization": func(_ *rig, p *person) proto.Message {
		return &keysv1.UpdateOrganizationRequest{Name: "Acme Corp", Etag: "1", IdempotencyKey: p.id}
	},
	"CreateMember": func(_ *rig, p *person) proto.Message {
		return &keysv1.CreateMemberRequest{Email: "new@acme.example", Role: viewer, Password: passphrase, IdempotencyKey: p.id}
	},
	"UpdateMember": func(r *rig, p *person) proto.Message {
		return &keysv1.UpdateMemberRequest{Id: r.add("changing", viewer).id, Role: plain, Etag: "1", IdempotencyKey: p.id}
	},
	"DeleteMember": func(r *rig, p *person) proto.Message {
		return &keysv1.DeleteMemberRequest{Id: r.add("leaving", viewer).id, IdempotencyKey: p.id}
	},
	"ChangePassword": func(_ *rig, p *person) proto.Message {
		return &keysv1.ChangePasswordRequest{OldPassword: passphrase, NewPassword: "another long password", IdempotencyKey: p.id}
	},
	"CreateCredential": func(_ *rig, p *person) proto.Message {
		return &keysv1.CreateCredentialRequest{Provider: "anthropic", Label: "fresh", Secret: "sk-ant-0123456789", AcceptTerms: true, IdempotencyKey: p.id}
	},
	"UpdateCredential": func(_ *rig, p *person) proto.Message {
		return &keysv1.UpdateCredentialRequest{Id: p.credential("to update").GetId(), Priority: new(int32(7)), Etag: "1", IdempotencyKey: p.id}
	},
	"RotateCredential": func(_ *rig, p *person) proto.Message {
		return &keysv1.RotateCredentialRequest{Id: p.credential("to rotate").GetId(), Secret: "sk-test-9876543210", Etag: "1", IdempotencyKey: p.id}
	},
	"StageSecret": func(_ *rig, p *person) proto.Message {
		return &keysv1.StageSecretRequest{Id: p.credential("to stage").GetId(), Secret: "sk-test-9876543210", Etag: "1", IdempotencyKey: p.id}
	},
	"SetSecretShare": func(r *rig, p *person) proto.Message {
		c := r.staged(p, "to share")
		return &keysv1.SetSecretShareRequest{Id: c.GetId(), SharePercent: 1, Revision: 2, Etag: c.GetEtag(), IdempotencyKey: p.id}
	},
	"PromoteSecret": func(r *rig, p *person) proto.Message {
		c := r.staged(p, "to promote")
		return &keysv1.PromoteSecretRequest{Id: c.GetId(), Revision: 2, Etag: c.GetEtag(), IdempotencyKey: p.id}
	},
	"DiscardSecret": func(r *rig, p *person) proto.Message {
		c := r.staged(p, "to discard")
		return &keysv1.DiscardSecretRequest{Id: c.GetId(), Revision: 2, Etag: c.GetEtag(), IdempotencyKey: p.id}
	},
	"DeleteCredential": func(_ *rig, p *person) proto.Message {
		return &keysv1.DeleteCredentialRequest{Id: p.credential("to delete").GetId(), IdempotencyKey: p.id}
	},
	"CreatePolicy": func(_ *rig, p *person) proto.Message {
		return &keysv1.CreatePolicyRequest{Name: "fresh", Publish: true, Spec: rule(&keysv1.Target{Model: "openai/gpt-4o", Use: 1}), IdempotencyKey: p.id}
	},
	"UpdatePolicy": func(_ *rig, p *person) proto.Message {
		return &keysv1.UpdatePolicyRequest{Id: p.policy("to-update").GetId(), Publish: true, Spec: rule(&keysv1.Target{Model: "openai/o3", Use: 2}), Etag: "1", IdempotencyKey: p.id}
	},
	"DeletePolicy": func(_ *rig, p *person) proto.Message {
		return &keysv1.DeletePolicyRequest{Id: p.policy("to-delete").GetId(), IdempotencyKey: p.id}
	},
	"PublishPolicy": func(_ *rig, p *person) proto.Message {
		return &keysv1.PublishPolicyRequest{Id: p.draft("to-publish").GetId(), Etag: "1", IdempotencyKey: p.id}
	},
	"DiscardPolicyDraft": func(_ *rig, p *person) proto.Message {
		was := p.policy("to-discard")
		return &keysv1.DiscardPolicyDraftRequest{Id: was.GetId(), Etag: p.update(was, false, "openai/o3").GetEtag(), IdempotencyKey: p.id}
	},
	"RollBackPolicy": func(_ *rig, p *person) proto.Message {
		was := p.policy("to-roll-back")
		return &keysv1.RollBackPolicyRequest{Id: was.GetId(), Version: 1, Etag: p.update(was, true, "openai/o3").GetEtag(), IdempotencyKey: p.id}
	},
	"CreateGroup": func(_ *rig, p *person) proto.Message {
		return &keysv1.CreateGroupRequest{Name: "fresh", ApprovedModels: []string{"openai/*"}, IdempotencyKey: p.id}
	},
	"UpdateGroup": func(_ *rig, p *person) proto.Message {
		return &keysv1.UpdateGroupRequest{Id: p.group("to update").GetId(), Name: "updated", Etag: "1", IdempotencyKey: p.id}
	},
	"DeleteGroup": func(_ *rig, p *person) proto.Message {
		return &keysv1.DeleteGroupRequest{Id: p.group("to delete").GetId(), IdempotencyKey: p.id}
	},
	"UpdateRoutingPreferences": func(_ *rig, p *person) proto.Message {
		return &keysv1.UpdateRoutingPreferencesRequest{Preferences: &keysv1.RoutingPreferences{Order: []string{"groq"}}, Etag: "1", IdempotencyKey: p.id}
	},
	"UpdateApprovedModels": func(_ *rig, p *person) proto.Message {
		return &keysv1.UpdateApprovedModelsRequest{ApprovedModels: []string{"*"}, Etag: "1", IdempotencyKey: p.id}
	},
	"UpdateApiKey": func(_ *rig, p *person) proto.Message {
		return &keysv1.UpdateApiKeyRequest{Id: p.apiKey("to update", "").GetApiKey().GetId(), Name: new("updated"), Etag: "1", IdempotencyKey: p.id}
	},
	"CreateApiKey": func(_ *rig, p *person) proto.Message {
		return &keysv1.CreateApiKeyRequest{Name: "fresh", IdempotencyKey: p.id}
	},
	"RevokeApiKey": func(_ *rig, p *person) proto.Message {
		return &keysv1.RevokeApiKeyRequest{Id: p.apiKey("to revoke", "").GetApiKey().GetId(), IdempotencyKey: p.id}
	},
	"StartDrill": func(_ *rig, p *person) proto.Message { return p.drillRequest("to start") },
	"StopDrill": func(_ *rig, p *person) proto.Message {
		return &keysv1.StopDrillRequest{Id: p.drill("to stop").GetId(), IdempotencyKey: p.id}
	},
}

func TestEveryChangeIsAuditedOnceAndAnsweredAgain(t *testing.T) {
	t.Parallel()
	for engine, open := range map[string]func(testing.TB) string{"sqlite": sqltest.SQLite, "postgres": sqltest.Postgres} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			r := newRigOn(t, open(t))
			second := r.add("second", owner)
			_, err := r.operator.members.CreateMember(t.Context(), &keysv1.CreateMemberRequest{Email: "o2@example.com", Role: owner, Password: passphrase, IdempotencyKey: "o2"})
			r.must(err)
			tested := 0
			for spec, method := range methods(r) {
				if method.Input().Fields().ByName("idempotency_key") == nil {
					continue
				}
				tested++
				build, ok := changes[string(method.Name())]
				if !ok {
					t.Errorf("%s changes something and has no request in this test", spec.Procedure)
					continue
				}
				p, other := r.owner, second
				if method.Name() == "CreateOrganization" {
					p, other = r.operator, r.signIn("platform", "o2@example.com")
				}
				everyChange(t, r, spec, build(r, p), p, other)
				if method.Name() == "ChangePassword" {
					_, err := p.sessions.ChangePassword(t.Context(), &keysv1.ChangePasswordRequest{
						OldPassword: "another long password", NewPassword: passphrase, IdempotencyKey: "back",
					})
					r.must(err)
				}
			}
			if tested != len(changes) {
				t.Errorf("%d methods change something, %d are in this test", tested, len(changes))
			}
			for _, slug := range []string{"acme", "platform", "fresh"} {
				if n, err := r.app.VerifyAudit(t.Context(), slug); err != nil || n == 0 {
					t.Errorf("VerifyAudit(%s) = %d, %v; want an unbroken chain", slug, n, err)
				}
			}
		})
	}
}

// everyChange checks what holds for all changes.
func everyChange(t *testing.T, r *rig, spec connect.Spec, req proto.Message, p, other *person) {
	t.Helper()
	events := r.count("audit_event")
	first, err := p.call(t.Context(), spec, req)
	if err != nil {
		t.Errorf("%s: %v", spec.Procedure, err)
		return
	}
	want := 1
	if _, founding := req.(*keysv1.CreateOrganizationRequest); founding {
		want = 2 // in the chain of the operator and in that of the new organization
	}
	if got := r.count("audit_event") - events; got != want {
		t.Errorf("%s left %d audit events, want %d", spec.Procedure, got, want)
	}
	if n := r.count("audit_event WHERE actor = ? AND request_id LIKE 'req_%' AND sequence = (SELECT max(sequence) FROM audit_event a WHERE a.org_id = audit_event.org_id)", p.id); n == 0 {
		t.Errorf("%s: no last event of a chain names the caller and the request", spec.Procedure)
	}
	sealed := r.sealer.calls.Load()
	again, err := p.call(t.Context(), spec, req)
	switch req.(type) {
	case *keysv1.CreateApiKeyRequest:
		refused(t, "second CreateApiKey", err, connect.CodeFailedPrecondition, "SECRET_ALREADY_SHOWN")
		created, _ := first.(*keysv1.CreateApiKeyResponse)
		if got, want := info(err).GetMetadata()["api_key_id"], created.GetApiKey().GetId(); got != want {
			t.Errorf("second CreateApiKey names the key %q, want %q", got, want)
		}
	default:
		// A receipt is of its own call.
		if diff := cmp.Diff(first, again, protocmp.Transform(), protocmp.IgnoreFields(&keysv1.Receipt{}, "elapsed")); err != nil || diff != "" {
			t.Errorf("%s again: %v (-first +again):\n%s", spec.Procedure, err, diff)
		}
	}
	if r.sealer.calls.Load() != sealed {
		t.Errorf("%s again asked the vault", spec.Procedure)
	}
	if got := r.count("audit_event") - events; got != want {
		t.Errorf("%s again left %d audit events, want %d", spec.Procedure, got, want)
	}
	_, err = other.call(t.Context(), spec, req)
	refused(t, spec.Procedure+" with somebody else's idempotency key", err, connect.CodeAborted, "IDEMPOTENCY_KEY_REUSED")
}

func TestStoredAnswersAndEventsHoldNoSecret(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.owner.credential("main")
	key := r.owner.apiKey("ci", "").GetSecret()
	_, err := r.owner.sessions.ChangePassword(t.Context(), &keysv1.ChangePasswordRequest{
		OldPassword: passphrase, NewPassword: "another long password", IdempotencyKey: "1",
	})
	r.must(err)
	r.holdsNoSecret([]string{"sk-test-0123456789abcdef", "c2stdGVzdC0wMTIzNDU2Nzg5YWJjZGVm", key, passphrase, "another long password", r.owner.session, pepper, r.owner.access()})
}

// holdsNoSecret looks for secrets in every row of the database and in the log.
func (r *rig) holdsNoSecret(secrets []string) {
	t := r.t
	t.Helper()
	var tables []string
	r.must(r.db.InReadTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		return tx.NewRaw("SELECT name FROM sqlite_master WHERE type = 'table'").Scan(ctx, &tables)
	}))
	seen := 0
	for _, table := range tables {
		var rows []map[string]any
		r.must(r.db.InReadTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
			rows = nil
			return tx.NewRaw("SELECT * FROM ?", bun.Ident(table)).Scan(ctx, &rows)
		}))
		for _, row := range rows {
			seen++
			holdsNone(t, "table "+table, fmt.Sprint(row), secrets)
		}
	}
	if seen < 20 {
		t.Fatalf("looked at %d rows only", seen)
	}
	holdsNone(t, "the log", r.log.String(), secrets)
}

func TestStaleEtagIsAConflict(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c, p, m := r.owner.credential("main"), r.owner.policy("fast"), r.add("m", viewer)
	g, k := r.owner.group("team"), r.owner.apiKey("ci", "").GetApiKey()
	drafted, both := r.owner.draft("draft"), r.owner.update(r.owner.policy("both"), false, "openai/o3")
	versions := r.owner.update(r.owner.policy("second"), true, "openai/o3")
	fresh, staged, promoted, discarded := r.owner.credential("fresh"), r.staged(r.owner, "staged"), r.staged(r.owner, "promoted"), r.staged(r.owner, "discarded")
	ctx := t.Context()
	calls := map[string]func(key string) error{
		"UpdateCredential": func(key string) error {
			_, err := r.owner.creds.UpdateCredential(ctx, &keysv1.UpdateCredentialRequest{Id: c.GetId(), Label: new(key), Etag: c.GetEtag(), IdempotencyKey: key})
			return err
		},
		"SetSecretShare": func(key string) error {
			_, err := r.owner.creds.SetSecretShare(ctx, &keysv1.SetSecretShareRequest{Id: staged.GetId(), SharePercent: 1, Revision: 2, Etag: staged.GetEtag(), IdempotencyKey: key})
			return err
		},
		"PromoteSecret": func(key string) error {
			_, err := r.owner.creds.PromoteSecret(ctx, &keysv1.PromoteSecretRequest{Id: promoted.GetId(), Revision: 2, Etag: promoted.GetEtag(), IdempotencyKey: key})
			return err
		},
		"DiscardSecret": func(key string) error {
			_, err := r.owner.creds.DiscardSecret(ctx, &keysv1.DiscardSecretRequest{Id: discarded.GetId(), Revision: 2, Etag: discarded.GetEtag(), IdempotencyKey: key})
			return err
		},
		"StageSecret": func(key string) error {
			_, err := r.owner.creds.StageSecret(ctx, &keysv1.StageSecretRequest{Id: fresh.GetId(), Secret: second, Etag: fresh.GetEtag(), IdempotencyKey: key})
			return err
		},
		"UpdatePolicy": func(key string) error {
			_, err := r.owner.policies.UpdatePolicy(ctx, &keysv1.UpdatePolicyRequest{Id: p.GetId(), Publish: true, Spec: p.GetSpec(), Etag: p.GetEtag(), IdempotencyKey: key})
			return err
		},
		"PublishPolicy": func(key string) error {
			_, err := r.owner.policies.PublishPolicy(ctx, &keysv1.PublishPolicyRequest{Id: drafted.GetId(), Etag: drafted.GetEtag(), IdempotencyKey: key})
			return err
		},
		"DiscardPolicyDraft": func(key string) error {
			_, err := r.owner.policies.DiscardPolicyDraft(ctx, &keysv1.DiscardPolicyDraftRequest{Id: both.GetId(), Etag: both.GetEtag(), IdempotencyKey: key})
			return err
		},
		"RollBackPolicy": func(key string) error {
			_, err := r.owner.policies.RollBackPolicy(ctx, &keysv1.RollBackPolicyRequest{Id: versions.GetId(), Version: 1, Etag: versions.GetEtag(), IdempotencyKey: key})
			return err
		},
		"UpdateGroup": func(key string) error {
			_, err := r.owner.groups.UpdateGroup(ctx, &keysv1.UpdateGroupRequest{Id: g.GetId(), Name: key, Etag: g.GetEtag(), IdempotencyKey: key})
			return err
		},
		"UpdateRoutingPreferences": func(key string) error {
			_, err := r.owner.routing.UpdateRoutingPreferences(ctx, &keysv1.UpdateRoutingPreferencesRequest{Preferences: &keysv1.RoutingPreferences{}, Etag: "1", IdempotencyKey: key})
			return err
		},
		"UpdateApprovedModels": func(key string) error {
			_, err := r.owner.models.UpdateApprovedModels(ctx, &keysv1.UpdateApprovedModelsRequest{Etag: "1", IdempotencyKey: key})
			return err
		},
		"UpdateApiKey": func(key string) error {
			_, err := r.owner.apiKeys.UpdateApiKey(ctx, &keysv1.UpdateApiKeyRequest{Id: k.GetId(), Name: new(key), Etag: k.GetEtag(), IdempotencyKey: key})
			return err
		},
		"UpdateMember": func(key string) error {
			_, err := r.owner.members.UpdateMember(ctx, &keysv1.UpdateMemberRequest{Id: m.id, Role: admin, Etag: "1", IdempotencyKey: key})
			return err
		},
		"UpdateOrganization": func(key string) error {
			_, err := r.owner.orgs.UpdateOrganization(ctx, &keysv1.UpdateOrganizationRequest{Name: "New", Etag: "1", IdempotencyKey: key})
			return err
		},
	}
	for name, call := range calls {
		r.must(call("first"))
		err := call("second")
		refused(t, name, err, connect.CodeAborted, "ETAG_MISMATCH")
		if hint := info(err).GetMetadata()["hint"]; hint != "read it again" {
			t.Errorf("%s hints %q, want to read it again", name, hint)
		}
	}
	_, err := r.owner.creds.RotateCredential(ctx, &keysv1.RotateCredentialRequest{Id: c.GetId(), Secret: "sk-test-other", Etag: c.GetEtag(), IdempotencyKey: "r"})
	refused(t, "RotateCredential", err, connect.CodeAborted, "ETAG_MISMATCH")
}

func TestOperatorIsMadeOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.must(r.app.BootstrapOperator(t.Context(), "second@example.com", secret.New(passphrase)))
	if n := r.count("member m JOIN organization o ON o.id = m.org_id WHERE o.slug = 'platform'"); n != 1 {
		t.Errorf("platform has %d members, want the first operator alone", n)
	}
	_, err := r.owner.orgs.ListOrganizations(t.Context(), &keysv1.ListOrganizationsRequest{})
	refused(t, "an owner lists organizations", err, connect.CodePermissionDenied, "OPERATOR_ONLY")
	_, err = r.operator.orgs.CreateOrganization(t.Context(), &keysv1.CreateOrganizationRequest{
		Slug: "platform", Name: "x", OwnerEmail: "x@example.com", OwnerPassword: passphrase, IdempotencyKey: "x",
	})
	refused(t, "the operator's slug is taken", err, connect.CodeAborted, "ORGANIZATION_EXISTS")
	r.other("beta")
	var slugs []string
	for token := ""; ; {
		page, err := r.operator.orgs.ListOrganizations(t.Context(), &keysv1.ListOrganizationsRequest{PageSize: 2, PageToken: token})
		r.must(err)
		for _, o := range page.GetOrganizations() {
			slugs = append(slugs, o.GetSlug())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"acme", "beta", "platform"}, slugs); diff != "" {
		t.Errorf("organizations (-want +got):\n%s", diff)
	}
	_, err = r.operator.orgs.ListOrganizations(t.Context(), &keysv1.ListOrganizationsRequest{PageToken: "x"})
	refused(t, "a token that is none", err, connect.CodeInvalidArgument, "PAGE_TOKEN_INVALID")
}

func TestPolicyLinesAreCheckedTogether(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, err := r.owner.policies.CreatePolicy(t.Context(), &keysv1.CreatePolicyRequest{Name: "bad", IdempotencyKey: "1", Publish: true, Spec: rule(
		&keysv1.Target{Model: "openai/gpt-4o", Use: 1}, &keysv1.Target{Model: "acme/x", Use: 1},
		&keysv1.Target{Model: "openai/gpt-4o", Use: 2}, &keysv1.Target{Model: "openai/gpt-4o", Use: 1},
	)})
	refused(t, "CreatePolicy", err, connect.CodeInvalidArgument, "POLICY_INVALID")
	want := `line 2: unknown provider "acme": known are ` + provider.Names() + `; line 4: the same as line 1`
	if ce := connect.CodeOf(err); ce != connect.CodeInvalidArgument || !contains(err.Error(), want) {
		t.Errorf("error = %v, want %s", err, want)
	}
	r.owner.policy("fast")
	_, err = r.owner.policies.CreatePolicy(t.Context(), &keysv1.CreatePolicyRequest{Name: "fast", IdempotencyKey: "2", Publish: true, Spec: rule(&keysv1.Target{Model: "openai/o3", Use: 1})})
	refused(t, "a taken name", err, connect.CodeAborted, "POLICY_EXISTS")
}

func TestPolicyInUseStays(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.owner.policy("fast")
	for i := range 7 {
		r.owner.apiKey(fmt.Sprint("key", i), p.GetId())
	}
	remove := func(key string) error {
		_, err := r.owner.policies.DeletePolicy(t.Context(), &keysv1.DeletePolicyRequest{Id: p.GetId(), IdempotencyKey: key})
		return err
	}
	err := remove("1")
	refused(t, "DeletePolicy", err, connect.CodeFailedPrecondition, "POLICY_IN_USE")
	if want := "key0, key1, key2, key3, key4 and others"; info(err).GetMetadata()["api_keys"] != want {
		t.Errorf("it names %q, want %q", info(err).GetMetadata()["api_keys"], want)
	}
	list, err := r.owner.apiKeys.ListApiKeys(t.Context(), &keysv1.ListApiKeysRequest{})
	r.must(err)
	for _, k := range list.GetApiKeys() {
		_, err := r.owner.apiKeys.RevokeApiKey(t.Context(), &keysv1.RevokeApiKeyRequest{Id: k.GetId(), IdempotencyKey: k.GetId()})
		r.must(err)
	}
	r.must(remove("2"))
}

func TestAPIKeyRules(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	create := func(req *keysv1.CreateApiKeyRequest) error {
		req.IdempotencyKey = fmt.Sprint(time.Now().UnixNano())
		_, err := r.owner.apiKeys.CreateApiKey(t.Context(), req)
		return err
	}
	past, future := timestamp(r.clock.Now()), timestamp(r.clock.Now().Add(time.Second))
	refused(t, "expired at birth", create(&keysv1.CreateApiKeyRequest{Name: "a", ExpireTime: past}), connect.CodeInvalidArgument, "EXPIRE_TIME_INVALID")
	r.must(create(&keysv1.CreateApiKeyRequest{Name: "a", ExpireTime: future}))
	refused(t, "taken name", create(&keysv1.CreateApiKeyRequest{Name: "a"}), connect.CodeAborted, "API_KEY_EXISTS")
	refused(t, "name of two lines", create(&keysv1.CreateApiKeyRequest{Name: "a\nb"}), connect.CodeInvalidArgument, "NAME_INVALID")
	refused(t, "no such policy", create(&keysv1.CreateApiKeyRequest{Name: "b", PolicyId: "pol_x"}), connect.CodeNotFound, "POLICY_NOT_FOUND")
	k := r.owner.apiKey("c", "")
	if got := k.GetApiKey(); got.GetProvenance() != keysv1.ProvenanceLevel_PROVENANCE_LEVEL_BASIC || !contains(k.GetSecret(), got.GetDisplay()+"_") {
		t.Errorf("key = %v %q, want basic provenance and the start of the secret", got.GetProvenance(), got.GetDisplay())
	}
}

package keys_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/uptrace/bun"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

// full is a rule that says everything that a rule can.
func full(credentialID, groupID, keyID string) *keysv1.PolicySpec {
	return &keysv1.PolicySpec{
		MaxAttempts: 7, Hedge: &keysv1.Hedge{After: durationpb.New(1500 * time.Millisecond), MaxPercent: 3},
		Groups: []*keysv1.TargetGroup{
			{
				Strategy: keysv1.Strategy_STRATEGY_STICKY, StickyBy: "tag:team",
				When: &keysv1.Condition{
					Tags: []*keysv1.TagCondition{{Key: "env", Values: []string{"prod", ""}}, {Key: "team"}}, Models: []string{"openai/*"},
					MinInputTokens: 1, MaxInputTokens: 9, ApiKeyIds: []string{keyID}, GroupIds: []string{groupID},
				},
				Targets: []*keysv1.Target{
					{
						Model: "openai/gpt-4o", CredentialId: credentialID, Weight: new(int32(0)), Retries: new(int32(0)), Backoff: durationpb.New(0),
						Timeouts: &keysv1.Timeouts{FirstByte: durationpb.New(1), BetweenChunks: durationpb.New(2), Total: durationpb.New(3)},
						MoveOn:   []string{"timeout", "network"},
						Overrides: &keysv1.Overrides{
							Temperature: new(0.0), TopP: new(1.0), MaxOutputTokens: new(int64(5)), ReasoningEffort: new("low"),
						},
					},
					{Model: "anthropic/claude-opus-4-5", Use: 2, Weight: new(int32(9))},
				},
			},
			{Targets: []*keysv1.Target{{Model: "policy/cheap"}}},
		},
	}
}

func TestAWholeRuleComesBackAndReachesRoutersAsItWas(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.owner.policy("cheap")
	c, g, k := r.owner.credential("main"), r.owner.group("team"), r.owner.apiKey("ci", "").GetApiKey()
	k = r.owner.editKey(&keysv1.UpdateApiKeyRequest{Id: k.GetId(), GroupId: new(g.GetId()), Etag: k.GetEtag()})
	want := full(c.GetId(), g.GetId(), k.GetId())
	res, err := r.owner.policies.CreatePolicy(t.Context(), &keysv1.CreatePolicyRequest{Name: "all", Spec: want, Publish: true, IdempotencyKey: "1"})
	r.must(err)
	got, err := r.owner.policies.GetPolicy(t.Context(), &keysv1.GetPolicyRequest{Id: res.GetPolicy().GetId()})
	r.must(err)
	w := r.watch(r.app, "router", 0)
	w.until("the policy", func() bool { return w.config[res.GetPolicy().GetId()] != nil })
	config, _ := w.config[res.GetPolicy().GetId()].(*keysv1.PolicyConfig)
	for where, spec := range map[string]*keysv1.PolicySpec{"created": res.GetPolicy().GetSpec(), "read": got.GetPolicy().GetSpec(), "configured": config.GetSpec()} {
		if diff := cmp.Diff(want, spec, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", where, diff)
		}
	}
	p := got.GetPolicy()
	if p.GetVersion() != 1 || p.GetDraft() != nil || p.GetPublishedBy() != r.owner.id || p.GetPublishTime() == nil || p.GetEtag() != "1" {
		t.Errorf("policy = %v, want version 1 published by the owner", p)
	}
}

func TestADraftServesOnlyOncePublished(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	p := r.owner.draft("fast")
	if p.GetVersion() != 0 || p.GetSpec() != nil || p.GetDraft() == nil || p.GetPublishTime() != nil {
		t.Fatalf("a draft = %v, want no version", p)
	}
	_, err := r.owner.apiKeys.CreateApiKey(ctx, &keysv1.CreateApiKeyRequest{Name: "a", PolicyId: p.GetId(), IdempotencyKey: "a"})
	refused(t, "a draft as a default", err, connect.CodeFailedPrecondition, "POLICY_NOT_PUBLISHED")
	_, err = r.owner.policies.DiscardPolicyDraft(ctx, &keysv1.DiscardPolicyDraftRequest{Id: p.GetId(), Etag: p.GetEtag(), IdempotencyKey: "b"})
	refused(t, "to discard all that there is", err, connect.CodeFailedPrecondition, "POLICY_ONLY_DRAFT")
	published, err := r.owner.policies.PublishPolicy(ctx, &keysv1.PublishPolicyRequest{Id: p.GetId(), Etag: p.GetEtag(), IdempotencyKey: "c"})
	r.must(err)
	p = published.GetPolicy()
	if p.GetVersion() != 1 || p.GetDraft() != nil || p.GetSpec() == nil {
		t.Fatalf("published = %v, want version 1 without a draft", p)
	}
	_, err = r.owner.policies.PublishPolicy(ctx, &keysv1.PublishPolicyRequest{Id: p.GetId(), Etag: p.GetEtag(), IdempotencyKey: "d"})
	refused(t, "to publish nothing", err, connect.CodeFailedPrecondition, "POLICY_NO_DRAFT")
	p = r.owner.update(p, false, "openai/o3")
	if model(p.GetSpec()) != "openai/gpt-4o" || model(p.GetDraft()) != "openai/o3" || p.GetVersion() != 1 {
		t.Errorf("with a draft beside it = %v, want the old rule to serve", p)
	}
	rolled := r.owner.update(p, true, "openai/gpt-4.1")
	if rolled.GetDraft() != nil || rolled.GetVersion() != 2 {
		t.Errorf("published past the draft = %v, want version 2 and no draft", rolled)
	}
	drafted := r.owner.update(rolled, false, "openai/o3")
	back, err := r.owner.policies.RollBackPolicy(ctx, &keysv1.RollBackPolicyRequest{Id: p.GetId(), Version: 1, Etag: drafted.GetEtag(), IdempotencyKey: "e"})
	r.must(err)
	if got := back.GetPolicy(); got.GetVersion() != 3 || model(got.GetSpec()) != "openai/gpt-4o" || model(got.GetDraft()) != "openai/o3" {
		t.Errorf("rolled back = %v, want version 3 with the first rule, and the draft beside it", got)
	}
	for version, want := range map[int64]string{3: "POLICY_VERSION_SERVES", 4: "POLICY_VERSION_NOT_FOUND"} {
		_, err = r.owner.policies.RollBackPolicy(ctx, &keysv1.RollBackPolicyRequest{Id: p.GetId(), Version: version, Etag: back.GetPolicy().GetEtag(), IdempotencyKey: want})
		if info(err).GetReason() != want {
			t.Errorf("roll back to %d = %v, want %s", version, err, want)
		}
	}
	discarded, err := r.owner.policies.DiscardPolicyDraft(ctx, &keysv1.DiscardPolicyDraftRequest{Id: p.GetId(), Etag: back.GetPolicy().GetEtag(), IdempotencyKey: "f"})
	r.must(err)
	if got := discarded.GetPolicy(); got.GetDraft() != nil || got.GetVersion() != 3 {
		t.Errorf("discarded = %v, want version 3 alone", got)
	}
	var versions []string
	for token := ""; ; {
		page, err := r.owner.policies.ListPolicyVersions(ctx, &keysv1.ListPolicyVersionsRequest{Id: p.GetId(), PageSize: 2, PageToken: token})
		r.must(err)
		for _, v := range page.GetVersions() {
			versions = append(versions, fmt.Sprint(v.GetVersion(), " ", model(v.GetSpec()), " ", v.GetRolledBackTo()))
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if want := []string{"3 openai/gpt-4o 1", "2 openai/gpt-4.1 0", "1 openai/gpt-4o 0"}; !slices.Equal(versions, want) {
		t.Errorf("versions = %v, want %v", versions, want)
	}
}

// model is that of the first line.
func model(spec *keysv1.PolicySpec) string { return spec.GetGroups()[0].GetTargets()[0].GetModel() }

func TestDifferencesBetweenVersionsAreNamed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	c := r.owner.credential("main")
	p := r.owner.policy("fast")
	diff := func(from, to int64) (*keysv1.DiffPolicyResponse, error) {
		return r.owner.policies.DiffPolicy(ctx, &keysv1.DiffPolicyRequest{Id: p.GetId(), FromVersion: from, ToVersion: to})
	}
	_, err := diff(0, 0)
	refused(t, "no draft", err, connect.CodeFailedPrecondition, "POLICY_NO_DRAFT")
	_, err = diff(2, 0)
	refused(t, "no such version", err, connect.CodeNotFound, "POLICY_VERSION_NOT_FOUND")
	named := rule(&keysv1.Target{Model: "openai/gpt-4o", CredentialId: c.GetId()})
	res, err := r.owner.policies.UpdatePolicy(ctx, &keysv1.UpdatePolicyRequest{Id: p.GetId(), Spec: named, Etag: p.GetEtag(), IdempotencyKey: "1"})
	r.must(err)
	want := &keysv1.DiffPolicyResponse{FromVersion: 1, Changes: []*keysv1.PolicyChange{{
		Kind: keysv1.PolicyChange_KIND_CHANGED, FromLine: 1, ToLine: 1, Field: "groups[0].targets[0].credential_id", From: "any", To: "main (" + c.GetId() + ")",
	}}}
	got, err := diff(0, 0)
	if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	_, err = r.owner.policies.PublishPolicy(ctx, &keysv1.PublishPolicyRequest{Id: p.GetId(), Etag: res.GetPolicy().GetEtag(), IdempotencyKey: "1"})
	r.must(err)
	want.ToVersion = 2
	got, err = diff(1, 2)
	if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if same, err := diff(2, 2); err != nil || len(same.GetChanges()) > 0 {
		t.Errorf("a version differs from itself: %v, %v", same, err)
	}
	details := r.details("policy.publish")
	if want := `["line 1, credential_id: from any to ` + c.GetId() + `"]`; len(details) != 1 || !contains(details[0], want) {
		t.Errorf("the audit says %v, want %s", details, want)
	}
}

// details are those of the events of an action.
func (r *rig) details(action string) (out []string) {
	r.t.Helper()
	r.must(r.db.InReadTx(r.t.Context(), func(ctx context.Context, tx bun.Tx) error {
		return tx.NewRaw("SELECT detail FROM audit_event WHERE action = ? ORDER BY org_id, sequence", action).Scan(ctx, &out)
	}))
	for i, text := range out { // without the escapes of HTML
		var detail map[string]any
		r.must(json.Unmarshal([]byte(text), &detail))
		var plain strings.Builder
		encoder := json.NewEncoder(&plain)
		encoder.SetEscapeHTML(false)
		r.must(encoder.Encode(detail))
		out[i] = plain.String()
	}
	return out
}

func TestACheckTellsTheSameAsSavingAndKeepsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	r.owner.draft("draft")
	spec := rule(
		&keysv1.Target{Model: "openai/gpt-4o", Use: 1, Weight: new(int32(3))}, &keysv1.Target{Model: "acme/x", Use: 1},
		&keysv1.Target{Model: "openai/gpt-4o", Use: 1}, &keysv1.Target{Model: "policy/draft"}, &keysv1.Target{Model: "policy/fast"},
	)
	events := r.count("audit_event")
	checked, err := r.owner.policies.CheckPolicy(ctx, &keysv1.CheckPolicyRequest{Name: "fast", Spec: spec})
	r.must(err)
	var fields, words []string
	for _, p := range checked.GetProblems() {
		if !p.GetWarning() {
			fields, words = append(fields, "spec."+p.GetField()), append(words, fmt.Sprintf("line %d: %s", p.GetLine(), p.GetDescription()))
		}
	}
	if len(fields) != 4 || len(checked.GetProblems()) != 7 {
		t.Errorf("problems = %v, want four errors and three warnings", checked.GetProblems())
	}
	_, err = r.owner.policies.CreatePolicy(ctx, &keysv1.CreatePolicyRequest{Name: "fast", Spec: spec, Publish: true, IdempotencyKey: "1"})
	refused(t, "CreatePolicy", err, connect.CodeInvalidArgument, "POLICY_INVALID")
	if diff := cmp.Diff(fields, violations(err)); diff != "" || !contains(err.Error(), strings.Join(words, "; ")) {
		t.Errorf("violations (-check +save):\n%s\nin %v", diff, err)
	}
	if n := r.count("audit_event"); n != events || r.count("policy") != 1 {
		t.Errorf("%d events and %d policies are new", n-events, r.count("policy")-1)
	}
	spec = rule(&keysv1.Target{Model: "openai/gpt-4o", Use: 1, Weight: new(int32(3))}, &keysv1.Target{Model: "policy/draft"})
	saved, err := r.owner.policies.CreatePolicy(ctx, &keysv1.CreatePolicyRequest{Name: "fast", Spec: spec, IdempotencyKey: "2"})
	r.must(err)
	if reasons := reasons(saved.GetWarnings()); !slices.Equal(reasons, []string{"NO_CREDENTIAL", "POLICY_NOT_PUBLISHED", "WEIGHT_NEEDLESS"}) {
		t.Errorf("warnings of a draft = %v", reasons)
	}
	_, err = r.owner.policies.PublishPolicy(ctx, &keysv1.PublishPolicyRequest{Id: saved.GetPolicy().GetId(), Etag: "1", IdempotencyKey: "3"})
	refused(t, "to publish before what it names", err, connect.CodeInvalidArgument, "POLICY_INVALID")
}

func reasons(problems []*keysv1.PolicyProblem) (out []string) {
	for _, p := range problems {
		out = append(out, p.GetReason())
	}
	slices.Sort(out)
	return out
}

func TestModelsThatAKeysTestHasSeenAreKnown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c := r.owner.credential("main")
	check := func() []string {
		res, err := r.owner.policies.CheckPolicy(t.Context(), &keysv1.CheckPolicyRequest{Spec: rule(&keysv1.Target{Model: "openai/gpt-of-today", Use: 1})})
		r.must(err)
		if len(res.GetProblems()) == 1 && !res.GetProblems()[0].GetWarning() {
			return append(reasons(res.GetProblems()), "error")
		}
		return reasons(res.GetProblems())
	}
	if got := check(); !slices.Equal(got, []string{"UNKNOWN_MODEL"}) {
		t.Errorf("before any test = %v, want a warning", got)
	}
	w := r.watch(r.app, "router", 0)
	w.until("the key test", func() bool { return len(w.probes) == 1 })
	list := func(models ...string) {
		_, err := r.internal(r.app, "router", "router-1").ReportRouterState(t.Context(), &keysv1.ReportRouterStateRequest{
			Router: "router-1", ProbeResults: []*keysv1.ProbeResult{{
				ProbeId: w.probes[len(w.probes)-1].GetId(), OrgId: r.orgID, CredentialId: c.GetId(), Revision: 1,
				State: keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE, Models: models, Time: timestamp(r.clock.Now()),
			}},
		})
		r.must(err)
	}
	list("gpt-4o")
	if got := check(); !slices.Equal(got, []string{"UNKNOWN_MODEL", "error"}) {
		t.Errorf("after a test that does not list it = %v, want an error", got)
	}
	r.clock.Advance(time.Minute)
	list("gpt-4o", "gpt-of-today")
	if got := check(); len(got) > 0 {
		t.Errorf("after a test that lists it = %v, want nothing", got)
	}
}

func TestWhatPoliciesNameStays(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	c, inner := r.owner.credential("main"), r.owner.policy("inner")
	res, err := r.owner.policies.CreatePolicy(ctx, &keysv1.CreatePolicyRequest{Name: "outer", Publish: true, IdempotencyKey: "1", Spec: rule(
		&keysv1.Target{Model: "openai/gpt-4o", CredentialId: c.GetId()}, &keysv1.Target{Model: "policy/inner"},
	)})
	r.must(err)
	_, err = r.owner.creds.DeleteCredential(ctx, &keysv1.DeleteCredentialRequest{Id: c.GetId(), IdempotencyKey: "1"})
	refused(t, "the credential", err, connect.CodeFailedPrecondition, "CREDENTIAL_IN_USE")
	if got := info(err).GetMetadata()["policies"]; got != "outer" {
		t.Errorf("it names %q, want outer", got)
	}
	_, err = r.owner.creds.UpdateCredential(ctx, &keysv1.UpdateCredentialRequest{Id: c.GetId(), Disabled: new(true), Etag: c.GetEtag(), IdempotencyKey: "1"})
	r.must(err) // what stops a leak is never refused
	_, err = r.owner.policies.DeletePolicy(ctx, &keysv1.DeletePolicyRequest{Id: inner.GetId(), IdempotencyKey: "1"})
	refused(t, "the inner policy", err, connect.CodeFailedPrecondition, "POLICY_IN_USE")
	_, err = r.owner.policies.DeletePolicy(ctx, &keysv1.DeletePolicyRequest{Id: res.GetPolicy().GetId(), IdempotencyKey: "2"})
	r.must(err)
	_, err = r.owner.policies.DeletePolicy(ctx, &keysv1.DeletePolicyRequest{Id: inner.GetId(), IdempotencyKey: "3"})
	r.must(err)
	_, err = r.owner.creds.DeleteCredential(ctx, &keysv1.DeleteCredentialRequest{Id: c.GetId(), IdempotencyKey: "2"})
	r.must(err)
}

func TestPreferencesTellWhatTheyStop(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	p := r.owner.policy("fast")
	update := func(etag string, prefs *keysv1.RoutingPreferences) (*keysv1.UpdateRoutingPreferencesResponse, error) {
		return r.owner.routing.UpdateRoutingPreferences(ctx, &keysv1.UpdateRoutingPreferencesRequest{Preferences: prefs, Etag: etag, IdempotencyKey: fmt.Sprint(time.Now().UnixNano())})
	}
	_, err := update("1", &keysv1.RoutingPreferences{EnforcePolicy: true})
	refused(t, "to enforce nothing", err, connect.CodeInvalidArgument, "ENFORCE_WITHOUT_POLICY")
	_, err = update("1", &keysv1.RoutingPreferences{
		Order: []string{"acme", "groq"}, Ignore: []string{"groq"}, Providers: []*keysv1.ProviderRule{{Provider: "openai"}, {Provider: "openai"}},
	})
	refused(t, "what contradicts itself", err, connect.CodeInvalidArgument, "PREFERENCES_INVALID")
	for _, part := range []string{`order[0]: unknown provider "acme"`, "order[1]: groq is ignored, too", "providers[1].provider: openai has a rule already"} {
		if !contains(err.Error(), part) {
			t.Errorf("error = %v, want it to say %q", err, part)
		}
	}
	want := &keysv1.RoutingPreferences{
		Order: []string{"groq", "openai"}, Providers: []*keysv1.ProviderRule{{Provider: "groq", Platform: keysv1.PlatformRule_PLATFORM_RULE_BEFORE_OWN}},
		Platform: keysv1.PlatformRule_PLATFORM_RULE_NEVER, PolicyId: p.GetId(), EnforcePolicy: true,
	}
	res, err := update("1", want)
	r.must(err)
	read, err := r.add("watcher", viewer).routing.GetRoutingPreferences(ctx, &keysv1.GetRoutingPreferencesRequest{})
	if !proto.Equal(read.GetPreferences(), want) || !proto.Equal(res.GetPreferences(), want) || err != nil || read.GetEtag() != "2" || len(res.GetWarnings()) > 0 {
		t.Errorf("preferences = %v, %v; want %v at 2", read, err, want)
	}
	_, err = r.owner.policies.DeletePolicy(ctx, &keysv1.DeletePolicyRequest{Id: p.GetId(), IdempotencyKey: "1"})
	refused(t, "the organization's policy", err, connect.CodeFailedPrecondition, "POLICY_IN_USE")
	res, err = update("2", &keysv1.RoutingPreferences{Ignore: []string{"openai"}})
	r.must(err)
	if w := res.GetWarnings(); len(w) != 1 || w[0].GetPolicyName() != "fast" || w[0].GetProblem().GetLine() != 1 || w[0].GetProblem().GetReason() != "PROVIDER_IGNORED" {
		t.Errorf("warnings = %v, want line 1 of fast", w)
	}
	made, err := r.owner.groups.CreateGroup(ctx, &keysv1.CreateGroupRequest{Name: "team", PolicyId: p.GetId(), ApprovedModels: []string{"groq/*"}, IdempotencyKey: "1"})
	r.must(err)
	if w := made.GetWarnings(); len(w) != 1 || w[0].GetPolicyName() != "fast" || w[0].GetProblem().GetReason() != "MODEL_NOT_FOR_GROUP" {
		t.Errorf("warnings of a group = %v, want line 1 of its policy", w)
	}
	widened, err := r.owner.groups.UpdateGroup(ctx, &keysv1.UpdateGroupRequest{Id: made.GetGroup().GetId(), Name: "team", PolicyId: p.GetId(), Etag: "1", IdempotencyKey: "1"})
	if err != nil || len(widened.GetWarnings()) > 0 {
		t.Errorf("warnings of a group that may use all = %v, %v", widened.GetWarnings(), err)
	}
	boss := r.add("boss", admin)
	approved, err := boss.models.UpdateApprovedModels(ctx, &keysv1.UpdateApprovedModelsRequest{ApprovedModels: []string{"groq/*"}, Etag: "1", IdempotencyKey: "1"})
	r.must(err)
	if len(approved.GetWarnings()) != 0 || approved.GetEtag() != "2" { // the line had stopped serving before
		t.Errorf("approved = %v, want no new warning", approved)
	}
	_, err = update("3", &keysv1.RoutingPreferences{})
	r.must(err)
	all, err := boss.models.UpdateApprovedModels(ctx, &keysv1.UpdateApprovedModelsRequest{Etag: "2", IdempotencyKey: "2"})
	if err != nil || len(all.GetApprovedModels()) > 0 {
		t.Errorf("approved = %v, %v; want every model", all, err)
	}
}

func TestWhoMayChooseAnAPIKeysPolicyAndGroup(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	me, boss, p, g := r.add("me", plain), r.add("boss", admin), r.owner.policy("fast"), r.owner.group("team")
	create := func(who *person, req *keysv1.CreateApiKeyRequest) error {
		req.IdempotencyKey = req.GetName()
		_, err := who.apiKeys.CreateApiKey(ctx, req)
		return err
	}
	refused(t, "a member's group", create(me, &keysv1.CreateApiKeyRequest{Name: "a", GroupId: g.GetId()}), connect.CodePermissionDenied, "ADMIN_ONLY")
	refused(t, "nothing enforced", create(boss, &keysv1.CreateApiKeyRequest{Name: "b", EnforcePolicy: true}), connect.CodeInvalidArgument, "ENFORCE_WITHOUT_POLICY")
	refused(t, "no such group", create(boss, &keysv1.CreateApiKeyRequest{Name: "c", GroupId: "grp_x"}), connect.CodeNotFound, "GROUP_NOT_FOUND")
	r.must(create(me, &keysv1.CreateApiKeyRequest{Name: "mine", PolicyId: p.GetId()}))
	r.must(create(boss, &keysv1.CreateApiKeyRequest{Name: "theirs", PolicyId: p.GetId(), EnforcePolicy: true, GroupId: g.GetId()}))
	list, err := boss.apiKeys.ListApiKeys(ctx, &keysv1.ListApiKeysRequest{})
	r.must(err)
	mine, theirs := list.GetApiKeys()[0], list.GetApiKeys()[1]
	if theirs.GetGroupId() != g.GetId() || !theirs.GetEnforcePolicy() || theirs.GetEtag() != "1" {
		t.Errorf("key = %v, want group and enforced policy", theirs)
	}
	update := func(who *person, req *keysv1.UpdateApiKeyRequest) error {
		req.IdempotencyKey, req.Etag = fmt.Sprint(time.Now().UnixNano()), "1"
		_, err := who.apiKeys.UpdateApiKey(ctx, req)
		return err
	}
	refused(t, "a member and another's key", update(me, &keysv1.UpdateApiKeyRequest{Id: theirs.GetId(), Name: new("x")}), connect.CodeNotFound, "API_KEY_NOT_FOUND")
	for what, req := range map[string]*keysv1.UpdateApiKeyRequest{
		"policy": {PolicyId: new("")}, "enforcement": {EnforcePolicy: new(false)}, "group": {GroupId: new(g.GetId())}, "expiry": {ClearExpireTime: true},
	} {
		req.Id = mine.GetId()
		refused(t, "a member's own "+what, update(me, req), connect.CodePermissionDenied, "ADMIN_ONLY")
	}
	renamed := me.editKey(&keysv1.UpdateApiKeyRequest{Id: mine.GetId(), Name: new("renamed"), Provenance: new(keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL), Etag: "1"})
	if renamed.GetName() != "renamed" || renamed.GetProvenance() != keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL || renamed.GetPolicyId() != p.GetId() || renamed.GetEtag() != "2" {
		t.Errorf("renamed = %v", renamed)
	}
	soon := timestamp(r.clock.Now().Add(time.Hour))
	bound := boss.editKey(&keysv1.UpdateApiKeyRequest{Id: mine.GetId(), GroupId: new(g.GetId()), PolicyId: new(""), ExpireTime: soon, Etag: "2"})
	if bound.GetGroupId() != g.GetId() || bound.GetPolicyId() != "" || !proto.Equal(bound.GetExpireTime(), soon) {
		t.Errorf("bound = %v, want the group, no policy, and an end", bound)
	}
	_, err = boss.groups.DeleteGroup(ctx, &keysv1.DeleteGroupRequest{Id: g.GetId(), IdempotencyKey: "1"})
	refused(t, "a group with keys", err, connect.CodeFailedPrecondition, "GROUP_IN_USE")
	_, err = boss.apiKeys.RevokeApiKey(ctx, &keysv1.RevokeApiKeyRequest{Id: theirs.GetId(), IdempotencyKey: "1"})
	r.must(err)
	r.clock.Advance(2 * time.Hour) // all keys of the group are dead
	owner := r.signIn("acme", "owner@acme.example")
	_, err = owner.groups.DeleteGroup(ctx, &keysv1.DeleteGroupRequest{Id: g.GetId(), IdempotencyKey: "2"})
	r.must(err)
	_, err = owner.apiKeys.UpdateApiKey(ctx, &keysv1.UpdateApiKeyRequest{Id: mine.GetId(), ClearExpireTime: true, Etag: "3", IdempotencyKey: "1"})
	refused(t, "a second life without its group", err, connect.CodeNotFound, "GROUP_NOT_FOUND")
	alive := owner.editKey(&keysv1.UpdateApiKeyRequest{Id: mine.GetId(), ClearExpireTime: true, GroupId: new(""), Etag: "3"})
	if alive.GetExpireTime() != nil || alive.GetGroupId() != "" {
		t.Errorf("second life = %v", alive)
	}
	_, err = owner.apiKeys.UpdateApiKey(ctx, &keysv1.UpdateApiKeyRequest{Id: theirs.GetId(), Name: new("x"), Etag: "2", IdempotencyKey: "2"})
	refused(t, "a revoked key", err, connect.CodeFailedPrecondition, "API_KEY_REVOKED")
	_, err = owner.routing.UpdateRoutingPreferences(ctx, &keysv1.UpdateRoutingPreferencesRequest{
		Preferences: &keysv1.RoutingPreferences{PolicyId: p.GetId(), EnforcePolicy: true}, Etag: "1", IdempotencyKey: "1",
	})
	r.must(err)
	again := r.signIn("acme", "me@acme.example")
	refused(t, "a member's way around the enforced policy", create(again, &keysv1.CreateApiKeyRequest{Name: "d", PolicyId: p.GetId()}), connect.CodePermissionDenied, "ADMIN_ONLY")
	r.must(create(again, &keysv1.CreateApiKeyRequest{Name: "e"}))
}

func TestTheShippedBookAndCatalogueAreAsked(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	check := func(strategy keysv1.Strategy, models ...string) (out []string) {
		group := &keysv1.TargetGroup{Strategy: strategy}
		for _, m := range models {
			group.Targets = append(group.Targets, &keysv1.Target{Model: m, Use: 2})
		}
		res, err := r.owner.policies.CheckPolicy(t.Context(), &keysv1.CheckPolicyRequest{Spec: &keysv1.PolicySpec{Groups: []*keysv1.TargetGroup{group}}})
		r.must(err)
		for _, p := range res.GetProblems() {
			out = append(out, fmt.Sprintf("%d %s %s", p.GetLine(), p.GetReason(), p.GetDescription()))
		}
		return out
	}
	if got := check(keysv1.Strategy_STRATEGY_LOWEST_COST, "openai/gpt-4o", "openai/gpt-4o-2024-08-06", "openai/text-embedding-3-small", "anthropic/claude-opus-4-5"); len(got) > 0 {
		t.Errorf("models with prices per token = %v, want no problem", got)
	}
	got := check(keysv1.Strategy_STRATEGY_LOWEST_COST, "openai/gpt-4o", "fal/fal-ai/flux/dev", "openai/no-such-model")
	if len(got) != 3 || !contains(got[0], "2 NO_PRICE") || !contains(strings.Join(got[1:], "\n"), "3 NO_PRICE") || !contains(strings.Join(got[1:], "\n"), "3 UNKNOWN_MODEL") {
		t.Errorf("models without a price per token = %v", got)
	}
	if got := check(0, "meta-llama/llama-3.3-70b-instruct"); len(got) != 1 || !contains(got[0], "1 UNKNOWN_PROVIDER") || !contains(got[0], "name one who serves it, ") {
		t.Errorf("a name of no provider = %v, want those who serve it", got)
	}
}

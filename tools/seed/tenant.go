package seed

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
)

// tenant applies what belongs to the organization of a file. Objects name each other in circles (a policy a
// group, which has a policy): groups, and API keys that something is limited to, are made first and get their
// policies at the end.
type tenant struct {
	doc    *Document
	store  *state
	report func(Change)

	credentials credentials
	groups      keysv1connect.GroupServiceClient
	policies    keysv1connect.PolicyServiceClient
	keys        keysv1connect.ApiKeyServiceClient
	routing     keysv1connect.RoutingServiceClient
	models      keysv1connect.ModelServiceClient

	// What was applied, by name.
	groupOf   map[string]*keysv1.Group
	keyOf     map[string]*keysv1.ApiKey
	policyIDs map[string]string
	made      map[string]bool // by kind and name
}

func newTenant(owner *connect.Client, doc *Document, store *state, report func(Change)) *tenant {
	t := &tenant{
		doc: doc, store: store, report: report,
		groups: keysv1connect.NewGroupServiceClient(owner), policies: keysv1connect.NewPolicyServiceClient(owner),
		keys: keysv1connect.NewApiKeyServiceClient(owner), routing: keysv1connect.NewRoutingServiceClient(owner),
		models:  keysv1connect.NewModelServiceClient(owner),
		groupOf: map[string]*keysv1.Group{}, keyOf: map[string]*keysv1.ApiKey{}, policyIDs: map[string]string{}, made: map[string]bool{},
	}
	t.credentials = credentials{
		client: keysv1connect.NewCredentialServiceClient(owner), org: doc.Organization.Slug, kind: "credential", state: store, report: report,
		ids:   map[string]string{},
		scope: func(s Scope) (*keysv1.CredentialScope, error) { return s.proto(t.naming()) },
	}
	return t
}

func (t *tenant) apply(ctx context.Context) error {
	for _, g := range t.doc.Groups {
		if err := t.findGroup(ctx, g); err != nil {
			return fmt.Errorf("group %s: %w", g.Name, err)
		}
	}
	for _, k := range t.doc.APIKeys {
		if t.doc.limitsTo(k.Name) {
			if err := t.findKey(ctx, k, ""); err != nil {
				return fmt.Errorf("API key %s: %w", k.Name, err)
			}
		}
	}
	if err := t.credentials.apply(ctx, t.doc.Credentials); err != nil {
		return err
	}
	for _, p := range t.doc.Policies {
		if err := t.policy(ctx, p); err != nil {
			return fmt.Errorf("policy %s: %w", p.Name, err)
		}
	}
	for _, g := range t.doc.Groups {
		if err := t.group(ctx, g); err != nil {
			return fmt.Errorf("group %s: %w", g.Name, err)
		}
	}
	for _, k := range t.doc.APIKeys {
		if err := t.key(ctx, k); err != nil {
			return fmt.Errorf("API key %s: %w", k.Name, err)
		}
	}
	return t.whole(ctx)
}

// limitsTo reports whether a rule or a credential of the file is only for the API key.
func (doc *Document) limitsTo(key string) bool {
	for _, c := range doc.Credentials {
		if slices.Contains(c.Scope.APIKeys, key) {
			return true
		}
	}
	for _, p := range doc.Policies {
		for _, g := range p.Spec.GetGroups() {
			if slices.Contains(g.GetWhen().GetApiKeyIds(), key) {
				return true
			}
		}
	}
	return false
}

// naming knows the ids of what was applied.
func (t *tenant) naming() Naming {
	known := func(kind, name, id string) (string, error) {
		if id == "" {
			return "", fmt.Errorf("there is no %s %q", kind, name)
		}
		return id, nil
	}
	return Naming{
		Credential: func(name string) (string, error) { return known("credential", name, t.credentials.ids[name]) },
		APIKey:     func(name string) (string, error) { return known("API key", name, t.keyOf[name].GetId()) },
		Group:      func(name string) (string, error) { return known("group", name, t.groupOf[name].GetId()) },
	}
}

func (t *tenant) say(action Action, kind, name, note string) {
	t.report(Change{Action: action, Kind: kind, Name: name, Note: note})
}

// findGroup finds a group or makes it, without its policy.
func (t *tenant) findGroup(ctx context.Context, g Group) error {
	found, err := find(func(token string) ([]*keysv1.Group, string, error) {
		page, err := t.groups.ListGroups(ctx, &keysv1.ListGroupsRequest{PageSize: pageSize, PageToken: token})
		return page.GetGroups(), page.GetNextPageToken(), err
	}, func(o *keysv1.Group) bool { return o.GetName() == g.Name })
	if err != nil {
		return err
	}
	if found == nil {
		answer, err := t.groups.CreateGroup(ctx, &keysv1.CreateGroupRequest{Name: g.Name, ApprovedModels: g.ApprovedModels, IdempotencyKey: rand.Text()})
		if err != nil {
			return err
		}
		found = answer.GetGroup()
		t.made["group "+g.Name] = true
		t.say(Created, "group", g.Name, "")
	}
	t.groupOf[g.Name] = found
	return nil
}

// group makes a group be what the file says.
func (t *tenant) group(ctx context.Context, g Group) error {
	found, policyID := t.groupOf[g.Name], t.policyIDs[g.Policy]
	made := t.made["group "+g.Name]
	if found.GetPolicyId() == policyID && found.GetEnforcePolicy() == g.Enforce && sameTexts(found.GetApprovedModels(), g.ApprovedModels) {
		if !made {
			t.say(Unchanged, "group", g.Name, "")
		}
		return nil
	}
	_, err := t.groups.UpdateGroup(ctx, &keysv1.UpdateGroupRequest{
		Id: found.GetId(), Name: g.Name, PolicyId: policyID, EnforcePolicy: g.Enforce, ApprovedModels: g.ApprovedModels,
		Etag: found.GetEtag(), IdempotencyKey: rand.Text(),
	})
	if err == nil && !made {
		t.say(Updated, "group", g.Name, "")
	}
	return err
}

func (t *tenant) policy(ctx context.Context, p Policy) error {
	spec, err := Resolve(p.Spec, t.naming())
	if err != nil {
		return err
	}
	found, err := find(func(token string) ([]*keysv1.Policy, string, error) {
		page, err := t.policies.ListPolicies(ctx, &keysv1.ListPoliciesRequest{PageSize: pageSize, PageToken: token})
		return page.GetPolicies(), page.GetNextPageToken(), err
	}, func(o *keysv1.Policy) bool { return o.GetName() == p.Name })
	if err != nil {
		return err
	}
	if found == nil {
		answer, err := t.policies.CreatePolicy(ctx, &keysv1.CreatePolicyRequest{Name: p.Name, Spec: spec, Publish: true, IdempotencyKey: rand.Text()})
		if err != nil {
			return err
		}
		t.policyIDs[p.Name] = answer.GetPolicy().GetId()
		t.say(Created, "policy", p.Name, "")
		return nil
	}
	t.policyIDs[p.Name] = found.GetId()
	if proto.Equal(explicit(found.GetSpec()), explicit(spec)) {
		t.say(Unchanged, "policy", p.Name, "")
		return nil
	}
	answer, err := t.policies.UpdatePolicy(ctx, &keysv1.UpdatePolicyRequest{
		Id: found.GetId(), Spec: spec, Publish: true, Etag: found.GetEtag(), IdempotencyKey: rand.Text(),
	})
	if err == nil {
		t.say(Updated, "policy", p.Name, fmt.Sprintf("version %d", answer.GetPolicy().GetVersion()))
	}
	return err
}

// explicit is a rule in which what is left out says what it means.
func explicit(spec *keysv1.PolicySpec) *keysv1.PolicySpec {
	out := proto.CloneOf(spec)
	for _, g := range out.GetGroups() {
		g.Strategy = max(g.GetStrategy(), keysv1.Strategy_STRATEGY_FALLBACK)
	}
	return out
}

// findKey finds an API key or makes it, with a policy if that is known yet.
func (t *tenant) findKey(ctx context.Context, k APIKey, policyID string) error {
	if t.keyOf[k.Name] != nil {
		return nil
	}
	found, err := find(func(token string) ([]*keysv1.ApiKey, string, error) {
		page, err := t.keys.ListApiKeys(ctx, &keysv1.ListApiKeysRequest{PageSize: pageSize, PageToken: token})
		return page.GetApiKeys(), page.GetNextPageToken(), err
	}, func(o *keysv1.ApiKey) bool { return o.GetName() == k.Name && o.GetRevokeTime() == nil })
	if err != nil || found != nil {
		t.keyOf[k.Name] = found
		return err
	}
	// The place is made sure of before the key exists, since it is shown only once.
	file, err := t.store.reserve(k.WriteTo)
	if err != nil {
		return err
	}
	created, err := t.keys.CreateApiKey(ctx, &keysv1.CreateApiKeyRequest{
		Name: k.Name, PolicyId: policyID, EnforcePolicy: k.Enforce && policyID != "", GroupId: t.groupOf[k.Group].GetId(), Provenance: k.Provenance, IdempotencyKey: rand.Text(),
	})
	if err != nil {
		return errors.Join(err, file.discard())
	}
	t.keyOf[k.Name] = created.GetApiKey()
	t.made["API key "+k.Name] = true
	if err := file.keep(secret.New(created.GetSecret())); err != nil {
		return err
	}
	t.say(Created, "API key", k.Name, "written to "+k.WriteTo)
	return nil
}

// key makes an API key be what the file says.
func (t *tenant) key(ctx context.Context, k APIKey) error {
	policyID := t.policyIDs[k.Policy]
	if err := t.findKey(ctx, k, policyID); err != nil {
		return err
	}
	found, made := t.keyOf[k.Name], t.made["API key "+k.Name]
	request := &keysv1.UpdateApiKeyRequest{Id: found.GetId(), Etag: found.GetEtag(), IdempotencyKey: rand.Text()}
	changed := false
	if found.GetPolicyId() != policyID || found.GetEnforcePolicy() != k.Enforce {
		request.PolicyId, request.EnforcePolicy, changed = &policyID, &k.Enforce, true
	}
	if group := t.groupOf[k.Group].GetId(); found.GetGroupId() != group {
		request.GroupId, changed = &group, true
	}
	if k.Provenance != 0 && found.GetProvenance() != k.Provenance {
		request.Provenance, changed = &k.Provenance, true
	}
	if changed {
		if _, err := t.keys.UpdateApiKey(ctx, request); err != nil {
			return err
		}
	}
	note := ""
	if !made && !t.store.exists(k.WriteTo) {
		note = k.WriteTo + " is gone, and a key is shown only once: revoke the key and seed again for a new one"
	}
	switch {
	case made:
	case changed:
		t.say(Updated, "API key", k.Name, note)
	default:
		t.say(Unchanged, "API key", k.Name, note)
	}
	return nil
}

// whole applies what holds for all requests of the organization.
func (t *tenant) whole(ctx context.Context) error {
	if wanted := t.doc.ApprovedModels; wanted != nil {
		read, err := t.models.GetApprovedModels(ctx, &keysv1.GetApprovedModelsRequest{})
		if err != nil {
			return fmt.Errorf("approved models: %w", err)
		}
		action := Unchanged
		if !sameTexts(read.GetApprovedModels(), *wanted) {
			action = Updated
			if _, err := t.models.UpdateApprovedModels(ctx, &keysv1.UpdateApprovedModelsRequest{
				ApprovedModels: *wanted, Etag: read.GetEtag(), IdempotencyKey: rand.Text(),
			}); err != nil {
				return fmt.Errorf("approved models: %w", err)
			}
		}
		t.say(action, "approved models", t.doc.Organization.Slug, "")
	}
	if t.doc.Preferences == nil {
		return nil
	}
	read, err := t.routing.GetRoutingPreferences(ctx, &keysv1.GetRoutingPreferencesRequest{})
	if err != nil {
		return fmt.Errorf("preferences: %w", err)
	}
	wanted, action := t.doc.Preferences.proto(t.policyIDs[t.doc.Preferences.Policy]), Unchanged
	wanted.MemberGroupId = read.GetPreferences().GetMemberGroupId() // no document says it
	if !samePreferences(read.GetPreferences(), wanted) {
		action = Updated
		if _, err := t.routing.UpdateRoutingPreferences(ctx, &keysv1.UpdateRoutingPreferencesRequest{
			Preferences: wanted, Etag: read.GetEtag(), IdempotencyKey: rand.Text(),
		}); err != nil {
			return fmt.Errorf("preferences: %w", err)
		}
	}
	t.say(action, "preferences", t.doc.Organization.Slug, "")
	return nil
}

// samePreferences compares what preferences mean.
func samePreferences(a, b *keysv1.RoutingPreferences) bool {
	plain := func(p *keysv1.RoutingPreferences) *keysv1.RoutingPreferences {
		p = proto.CloneOf(p)
		if p == nil {
			p = &keysv1.RoutingPreferences{}
		}
		if p.GetPlatform() == 0 {
			p.Platform = keysv1.PlatformRule_PLATFORM_RULE_POLICIES
		}
		slices.Sort(p.Ignore)
		slices.SortFunc(p.Providers, func(x, y *keysv1.ProviderRule) int {
			if x.GetProvider() < y.GetProvider() {
				return -1
			}
			return 1
		})
		return p
	}
	return proto.Equal(plain(a), plain(b))
}

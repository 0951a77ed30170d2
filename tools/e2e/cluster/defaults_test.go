package cluster_test

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/tools/e2e/cluster"
	"github.com/claviger/claviger/tools/seed"
)

// direct stands for a model that serves as it was named, without a policy.
const direct = ""

// rules are an organization with four policies, each of which one credential serves.
type rules struct {
	*pair
	t        *testing.T
	org      *cluster.Organization
	policies map[string]string // id by name
	byHash   map[string]string // name of a policy by the hash of its credential's key
	keys     map[string]*keysv1.ApiKey
	secrets  map[string]secret.Text
}

// defaultsDecide: a request that names nothing goes by the default of its API key, else of the group, else of the
// organization; one that names something does, too, where any of the three enforces it; and an API key that moves
// takes the rules of its new group.
func defaultsDecide(t *testing.T, p *pair, org *cluster.Organization) {
	r := &rules{pair: p, t: t, org: org, policies: map[string]string{}, byHash: map[string]string{}, keys: map[string]*keysv1.ApiKey{}, secrets: map[string]secret.Text{}}
	for _, name := range []string{"of-key", "of-group", "of-organization", "other"} {
		r.policy(name)
	}
	groups := keysv1connect.NewGroupServiceClient(org.Session.Keys)
	group := func(name, policy string, enforce bool) *keysv1.Group {
		t.Helper()
		made, err := groups.CreateGroup(t.Context(), &keysv1.CreateGroupRequest{Name: name, PolicyId: r.policies[policy], EnforcePolicy: enforce, IdempotencyKey: rand.Text()})
		must(t, err)
		return made.GetGroup()
	}
	team, narrow := group("team", "of-group", false), group("narrow", "other", true)
	enforce := func(on bool) {
		t.Helper()
		changed, err := groups.UpdateGroup(t.Context(), &keysv1.UpdateGroupRequest{
			Id: team.GetId(), Name: team.GetName(), PolicyId: team.GetPolicyId(), EnforcePolicy: on, Etag: team.GetEtag(), IdempotencyKey: rand.Text(),
		})
		must(t, err)
		team = changed.GetGroup()
	}
	p.prefer(t, org, func(r2 *keysv1.RoutingPreferences) { r2.PolicyId = r.policies["of-organization"] })
	r.key("plain", "", "")
	r.key("grouped", "", team.GetId())
	r.key("particular", "of-key", team.GetId())

	const named, model = "policy/other", "openai/gpt-4.1"
	r.decides("nothing is enforced", map[string][3]string{ // without a model, with a policy's name, with a model's
		"plain": {"of-organization", "other", direct}, "grouped": {"of-group", "other", direct}, "particular": {"of-key", "other", direct},
	}, named, model)
	enforce(true)
	r.decides("the group enforces", map[string][3]string{
		"plain": {"of-organization", "other", direct}, "grouped": {"of-group", "of-group", "of-group"}, "particular": {"of-key", "of-key", "of-key"},
	}, named, model)
	enforce(false)
	p.prefer(t, org, func(r *keysv1.RoutingPreferences) { r.EnforcePolicy = true })
	r.decides("the organization enforces", map[string][3]string{
		"plain": {"of-organization", "of-organization", "of-organization"}, "grouped": {"of-group", "of-group", "of-group"}, "particular": {"of-key", "of-key", "of-key"},
	}, named, model)
	p.prefer(t, org, func(r *keysv1.RoutingPreferences) { r.EnforcePolicy = false })
	r.move("grouped", narrow.GetId())
	r.move("plain", team.GetId())
	r.decides("two API keys have moved", map[string][3]string{
		"plain": {"of-group", "other", direct}, "grouped": {"other", "other", "other"}, "particular": {"of-key", "other", direct},
	}, named, model)
	r.move("grouped", "")
	r.decides("one has left its group", map[string][3]string{
		"plain": {"of-group", "other", direct}, "grouped": {"of-organization", "other", direct},
	}, named, model)
}

// decides asks every router with every API key and looks in the provider's ledger which credential has served.
func (r *rules) decides(when string, wants map[string][3]string, named, model string) {
	r.t.Helper()
	for _, router := range r.Routers {
		for key, want := range wants {
			for i, asked := range [3]string{"", named, model} {
				what := fmt.Sprintf("%s: API key %q asks %s for %q", when, key, router.Name, asked)
				cluster.Eventually(r.t, 30*time.Second, what, func() error {
					plan := r.explain(r.t, router, r.secrets[key], asked)
					enforced := slices.ContainsFunc(plan.GetExclusions(), func(e *routerv1.RouteExclusion) bool { return e.GetReason() == "POLICY_ENFORCED" })
					if plan.GetPolicy() != want[i] || enforced != (asked != "" && want[2] != direct && asked != "policy/"+want[i]) {
						return fmt.Errorf("the plan is %v", plan)
					}
					return nil
				})
				if got := r.served(what, router, key, asked); want[i] != direct && got != want[i]+" for gpt-4o-mini" || want[i] == direct && !strings.HasSuffix(got, " for gpt-4.1") {
					r.t.Errorf("%s: served by %s, want %q", what, got, want[i])
				}
			}
		}
	}
}

// served asks once, and tells whose credential was called for which model.
func (r *rules) served(what string, router *cluster.Service, key, model string) string {
	r.t.Helper()
	got := r.chat(r.t, router, r.secrets[key], model)
	attempt, _, _ := strings.Cut(got.header.Get("x-claviger-attempt"), ";")
	if got.status != 200 || attempt == "" {
		r.t.Fatalf("%s: %d %s", what, got.status, got.body)
	}
	for _, e := range r.Provider.Ledger() {
		if e.ClientRequestID == attempt {
			return r.byHash[e.KeyHash] + " for " + e.Model
		}
	}
	return "nobody"
}

// policy makes a policy, and a credential that serves it alone.
func (r *rules) policy(name string) {
	r.t.Helper()
	key := "sk-strict-" + name + "-0123456789"
	made, err := keysv1connect.NewCredentialServiceClient(r.org.Session.Keys).CreateCredential(r.t.Context(), &keysv1.CreateCredentialRequest{
		Provider: "openai", Label: name, Secret: key, AcceptTerms: true, IdempotencyKey: rand.Text(),
	})
	must(r.t, err)
	policy, err := keysv1connect.NewPolicyServiceClient(r.org.Session.Keys).CreatePolicy(r.t.Context(), &keysv1.CreatePolicyRequest{
		Name: name, Spec: seed.Rule(&keysv1.Target{Model: "openai/gpt-4o-mini", CredentialId: made.GetCredential().GetId()}), Publish: true, IdempotencyKey: rand.Text(),
	})
	must(r.t, err)
	r.policies[name], r.byHash[llmtest.HashKey(key)] = policy.GetPolicy().GetId(), name
}

// key makes an API key with a default policy, in a group; either may be empty.
func (r *rules) key(name, policy, groupID string) {
	r.t.Helper()
	made, err := keysv1connect.NewApiKeyServiceClient(r.org.Session.Keys).CreateApiKey(r.t.Context(), &keysv1.CreateApiKeyRequest{
		Name: name, PolicyId: r.policies[policy], GroupId: groupID, Provenance: keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL, IdempotencyKey: rand.Text(),
	})
	must(r.t, err)
	r.keys[name], r.secrets[name] = made.GetApiKey(), secret.New(made.GetSecret())
	for _, router := range r.Routers {
		cluster.Eventually(r.t, 30*time.Second, router.Name+" knows API key "+name, func() error { return ask(r.t.Context(), router, r.secrets[name]) })
	}
}

// move puts an API key into a group, or into none.
func (r *rules) move(name, groupID string) {
	r.t.Helper()
	moved, err := keysv1connect.NewApiKeyServiceClient(r.org.Session.Keys).UpdateApiKey(r.t.Context(), &keysv1.UpdateApiKeyRequest{
		Id: r.keys[name].GetId(), GroupId: &groupID, Etag: r.keys[name].GetEtag(), IdempotencyKey: rand.Text(),
	})
	must(r.t, err)
	r.keys[name] = moved.GetApiKey()
}

package cluster

import (
	"crypto/rand"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/tools/seed"
)

// Organization is an organization that is set up to ask for completions.
type Organization struct {
	Slug  string
	Owner seed.Login
	// Session is the owner's.
	Session *Session
	// APIKey is a key for clients, with everything in its provenance.
	APIKey   secret.Text
	APIKeyID string
	PolicyID string
}

// NewOrganization creates an organization with one credential per provider, made for the scripted
// provider, a policy "main" of the targets and an API key that has it as its default.
func (c *Cluster) NewOrganization(slug string, credentials map[string]secret.Text, targets ...*keysv1.Target) *Organization {
	c.tb.Helper()
	ctx := c.tb.Context()
	org := &Organization{Slug: slug, Owner: seed.Login{Email: "owner@" + slug + ".example", Password: secret.New(rand.Text())}}
	operator := c.SignIn(authn.PlatformSlug, c.Operator)
	_, err := keysv1connect.NewOrganizationServiceClient(operator.Keys).CreateOrganization(ctx, &keysv1.CreateOrganizationRequest{
		Slug: slug, Name: slug, OwnerEmail: org.Owner.Email, OwnerPassword: org.Owner.Password.Reveal(), IdempotencyKey: rand.Text(),
	})
	c.must(err)
	org.Session = c.SignIn(slug, org.Owner)
	for provider, key := range credentials {
		_, err := keysv1connect.NewCredentialServiceClient(org.Session.Keys).CreateCredential(ctx, &keysv1.CreateCredentialRequest{
			Provider: provider, Label: provider, Secret: key.Reveal(), AcceptTerms: true, IdempotencyKey: rand.Text(),
		})
		c.must(err)
	}
	policy, err := keysv1connect.NewPolicyServiceClient(org.Session.Keys).CreatePolicy(ctx, &keysv1.CreatePolicyRequest{
		Name: "main", Spec: seed.Rule(targets...), Publish: true, IdempotencyKey: rand.Text(),
	})
	c.must(err)
	org.PolicyID = policy.GetPolicy().GetId()
	key, err := keysv1connect.NewApiKeyServiceClient(org.Session.Keys).CreateApiKey(ctx, &keysv1.CreateApiKeyRequest{
		Name: "app", PolicyId: org.PolicyID, Provenance: keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL, IdempotencyKey: rand.Text(),
	})
	c.must(err)
	org.APIKey, org.APIKeyID = secret.New(key.GetSecret()), key.GetApiKey().GetId()
	return org
}

// Package seed fills a running installation from a file: an organization with its owner, credentials,
// policies and API keys.
//
// Parse finds every mistake of a file at once and shows each with its line. Apply goes through the
// public API only and is idempotent: objects are matched by the names that people gave them, what is
// missing is created, what differs is updated, and nothing is ever removed. Secrets in the file are
// sent to the API and kept nowhere else; the state file holds keyed fingerprints of them, so that a
// changed secret rotates its credential and an unchanged one does not.
package seed

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

// Document is a seed file.
type Document struct {
	Organization        Organization
	Owner               Owner
	PlatformCredentials []Credential
	Credentials         []Credential
	Groups              []Group
	Policies            []Policy
	APIKeys             []APIKey
	// Preferences of the organization; nil leaves those that it has.
	Preferences *Preferences
	// ApprovedModels are patterns of "provider/model"; nil leaves those that it has, and none of them approves
	// every model.
	ApprovedModels *[]string
}

// Organization is the tenant that the file is about.
type Organization struct{ Slug, Name string }

// Owner is the first owner of the organization.
type Owner struct {
	Email    string
	Password secret.Text
}

// Credential is a provider's key.
type Credential struct {
	Provider string
	Label    string
	Secret   secret.Text
	BaseURL  string
	Priority int32
	// Weight is its share among credentials of the same priority; 0 is 1.
	Weight int32
	Scope  Scope
	// Expires is when it stops serving; zero is never.
	Expires time.Time
}

// Scope narrows what a credential may be used for. What is empty narrows nothing.
type Scope struct {
	Models, APIKeys, Groups []string
}

// proto is the scope in the API's form, with the ids that objects are called by.
func (s Scope) proto(naming Naming) (*keysv1.CredentialScope, error) {
	if len(s.Models)+len(s.APIKeys)+len(s.Groups) == 0 {
		return nil, nil //nolint:nilnil // nil is a scope that narrows nothing
	}
	out := &keysv1.CredentialScope{Models: s.Models, ApiKeyIds: slices.Clone(s.APIKeys), GroupIds: slices.Clone(s.Groups)}
	return out, errors.Join(rename(out.ApiKeyIds, naming.APIKey), rename(out.GroupIds, naming.Group))
}

// Policy is a routing rule. Its spec has names where the API has ids: labels of credentials, names of API
// keys and of groups. See Resolve.
type Policy struct {
	Name string
	Spec *keysv1.PolicySpec
}

// Group is a group of API keys.
type Group struct {
	Name    string
	Policy  string
	Enforce bool
	// ApprovedModels are patterns of "provider/model"; none is all that the organization approves.
	ApprovedModels []string
}

// APIKey is a key for clients. Its secret is written to WriteTo, a path below the data folder.
type APIKey struct {
	Name       string
	Policy     string
	Enforce    bool
	Group      string
	Provenance keysv1.ProvenanceLevel
	WriteTo    string
}

// Preferences hold for all requests of the organization.
type Preferences struct {
	Order, Ignore []string
	Platform      keysv1.PlatformRule
	Providers     map[string]keysv1.PlatformRule
	Policy        string
	Enforce       bool
}

// proto is the preferences in the API's form.
func (p *Preferences) proto(policyID string) *keysv1.RoutingPreferences {
	out := &keysv1.RoutingPreferences{Order: p.Order, Ignore: p.Ignore, Platform: p.Platform, PolicyId: policyID, EnforcePolicy: p.Enforce}
	for _, provider := range slices.Sorted(maps.Keys(p.Providers)) {
		out.Providers = append(out.Providers, &keysv1.ProviderRule{Provider: provider, Platform: p.Providers[provider]})
	}
	return out
}

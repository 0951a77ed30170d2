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
	"github.com/claviger/claviger/pkg/secret"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
)

// Document is a seed file.
type Document struct {
	Organization        Organization
	Owner               Owner
	PlatformCredentials []Credential
	Credentials         []Credential
	Policies            []Policy
	APIKeys             []APIKey
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
}

// Policy is a routing rule.
type Policy struct {
	Name    string
	Targets []Target
}

// Target is one line of a policy.
type Target struct {
	Model string
	Use   eventsv1.CredentialClass
}

// APIKey is a key for clients. Its secret is written to WriteTo, a path below the data folder.
type APIKey struct {
	Name    string
	Policy  string
	WriteTo string
}

package completion

import (
	"github.com/claviger/claviger/services/router/internal/usage"
)

// Caller is the API key that a request came with.
type Caller struct {
	OrgID, APIKeyID, MemberID string
	// KeyName is the API key's name, for error messages.
	KeyName string
	// PolicyID is the default policy, used when a request names no model.
	PolicyID string
	// Provenance says how much the caller is told of what served.
	Provenance Provenance
}

// Provenance is how much a caller is told.
type Provenance uint8

// The levels.
const (
	ProvenanceNone Provenance = iota
	ProvenanceBasic
	ProvenanceFull
)

// Credential is a provider's key as routers know it: sealed.
type Credential struct {
	ID, OrgID, Provider, Label, BaseURL string
	Priority, Revision                  int
	Sealed                              string
	// Settings are what the organization gave besides the secret; nothing of it is secret.
	Settings Settings
	// Models are what the last test found that it may use, by the provider's own names; nil is unknown.
	Models []string
	// Out says why it cannot serve, for people; empty if it can.
	Out string
}

// Target is a place where a request may be answered.
type Target struct {
	Provider string
	// Model is the slug, "provider/name"; Name is the provider's own name of it.
	Model, Name string
	Class       usage.Class
	Credential  *Credential
	// PolicyID, PolicyName and PolicyVersion name the policy that chose it, if one did; Line counts
	// its lines from 0.
	PolicyID, PolicyName string
	PolicyVersion        int64
	Line                 int
}

// Plan is what to try, in order, under one version of the configuration.
type Plan struct {
	Targets       []Target
	ConfigVersion int64
}

// Settings are the parts of a credential that are not secret. Which are filled depends on the provider.
type Settings struct {
	// Region is AWS's.
	Region string
	// Project and Location are Google Cloud's.
	Project, Location string
	// Deployments are Azure's: what a model's slug is called at which address.
	Deployments []Deployment
}

// Deployment is one of Azure's.
type Deployment struct {
	Model    string // the slug that callers use, such as "openai/gpt-4o"
	Endpoint string // normal form
	Name     string // at Azure
}

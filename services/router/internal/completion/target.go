package completion

import (
	"time"

	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// Caller is the API key that a request came with.
type Caller struct {
	OrgID, APIKeyID, MemberID string
	// KeyName is the API key's name, for error messages.
	KeyName string
	// PolicyID is the default policy, used when a request names no model.
	PolicyID string
	// EnforcePolicy sends every request through that policy, whatever model it names.
	EnforcePolicy bool
	// GroupID is the group that the API key is in, empty for none.
	GroupID string
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
	// Weight is its share among credentials of the same priority, from 1.
	Weight int
	// Scope narrows what it may be used for; nil is nothing.
	Scope *Scope
	// Expires is when it stops serving; zero is never.
	Expires time.Time
	// Next is the same credential with its second secret, while that has a share; Share is that share in
	// percent of the requests. Next's own Next is nil.
	Next  *Credential
	Share int
}

// Scope narrows what a credential may be used for. What is empty narrows nothing.
type Scope struct {
	// Models are patterns of "provider/model", in which "*" stands for any text.
	Models []string
	// APIKeys and Groups may use it: one of the keys, or a key in one of the groups.
	APIKeys, Groups []string
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
	// Rule is what the line says of calls; nil is the defaults.
	Rule *Rule
	// Drill is the rehearsal that this target fails in instead of being called; nil is none.
	Drill *Drill
}

// Rule is what a line of a policy says of calls. It never changes.
type Rule struct {
	// FirstByte, Idle and Total bound a call; 0 is the router's default.
	FirstByte, Idle, Total time.Duration
	// Retries is how often the same credential is tried again; negative is the default.
	Retries int
	// Backoff is the pause before the first retry; 0 is the default.
	Backoff time.Duration
	// MoveOn are the classes after which another candidate may serve; nil is the default of each class.
	MoveOn []Class
	// Overrides replace what the caller asked for; nil is nothing.
	Overrides *Overrides
}

// Overrides replace parameters of a request; nil leaves them.
type Overrides struct {
	Temperature, TopP *float64
	// MaxOutputTokens bounds the answer: a caller who asks for less gets less.
	MaxOutputTokens *int64
	ReasoningEffort *string
}

// Hedge says when a second call is sent because the first is slow.
type Hedge struct {
	// After is how long to wait; 0 is the 95th percentile of the target's time to its first byte.
	After time.Duration
	// MaxPercent bounds how many of the organization's requests that may be hedged are, at this router.
	MaxPercent int
}

// Drill is a rehearsal: a credential seems to fail for one API key.
type Drill struct {
	ID, OrgID, CredentialID, APIKeyID string
	// Class is the class of the errors that it seems to give; TimedOut is silence until the time for the first
	// byte is over.
	Class Class
	// Until is when it ends.
	Until time.Time
}

// Plan is what to try, in order, under one version of the configuration.
type Plan struct {
	Targets       []Target
	ConfigVersion int64
	// MaxAttempts bounds the calls to providers, retries included; 0 is the default.
	MaxAttempts int
	// Hedge says when a second call is sent; nil is never.
	Hedge *Hedge
	// Prices is the book that the plan was made by, and that its attempts are reckoned by, whatever comes meanwhile;
	// nil is the one that ships.
	Prices *pricing.Table
}

// Attempts bounds the calls to providers, retries included.
func (p *Plan) Attempts() int {
	if p.MaxAttempts == 0 {
		return defaultAttempts
	}
	return p.MaxAttempts
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

package plan

import (
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// Policy is a named routing rule: the version of it that serves. It never changes.
type Policy struct {
	ID, Name    string
	Version     int64
	Groups      []TargetGroup
	MaxAttempts int
	Hedge       *completion.Hedge
}

// Strategy says in which order the lines of a group are tried.
type Strategy uint8

// The strategies.
const (
	// Fallback is the order in which they stand.
	Fallback Strategy = iota
	// Weighted draws by weight for each request.
	Weighted
	// LowestLatency tries the quickest first. A line that nobody has measured stands behind those that were,
	// but for one request in ten, which tries a drawn one of them first; and one request in fifty tries any
	// line first, so that what was slow once is measured again.
	LowestLatency
	// LowestCost tries the cheapest for the request's sizes first, and what has no known price last.
	LowestCost
	// Sticky draws by weight, the same for all requests that have the same session, user or tag. A line that
	// comes or goes moves its own share and no other.
	Sticky
)

// TargetGroup is a step of a policy.
type TargetGroup struct {
	Strategy Strategy
	Lines    []Line
	// When says for which requests it is there; nil is all.
	When *Condition
	// StickyBy is "session", "user" or "tag:<key>"; empty is "session".
	StickyBy string
}

// Condition is what a request must be, in all that is set.
type Condition struct {
	Tags            []TagCondition
	Models          []string // patterns of what the caller named
	MinInput        int64    // tokens
	MaxInput        int64    // tokens; 0 is any
	APIKeys, Groups []string
}

// TagCondition is a tag that a request must have; no values are any.
type TagCondition struct {
	Key    string
	Values []string
}

// Line is one target of a policy before its credentials are known.
type Line struct {
	Provider, Model, Name string
	Class                 usage.Class
	// Policy is the name of another policy whose candidates stand in the line's place; Provider is then empty.
	Policy string
	// CredentialID is the one credential that may serve; empty is any of Class.
	CredentialID string
	// Weight is its share where the strategy draws; 0 is only after all others.
	Weight int
	// Index counts the lines of the policy from 0.
	Index int
	Rule  *completion.Rule
}

// PlatformRule says when the platform's credentials may serve.
type PlatformRule uint8

// The rules.
const (
	InPolicies PlatformRule = iota // where a policy's line says so
	Never                          // not even there
	AfterOwn                       // and without a policy, when none of the organization's own can
	BeforeOwn                      // and without a policy, first
)

// Preferences hold for all requests of an organization.
type Preferences struct {
	Order, Ignore []string
	// Rules are of single providers, Rule of all others.
	Rules map[string]PlatformRule
	Rule  PlatformRule
	// PolicyID is the default policy, EnforcePolicy sends every request through it.
	PolicyID      string
	EnforcePolicy bool
	// Approved are the models that may be used; nil is every model.
	Approved *Patterns
}

// platform is the rule for a provider.
func (p *Preferences) platform(provider string) PlatformRule {
	if rule, ok := p.Rules[provider]; ok {
		return rule
	}
	return p.Rule
}

// Group is a group of API keys.
type Group struct {
	ID, Name      string
	PolicyID      string
	EnforcePolicy bool
	// Approved are the models that may be used, within those of the organization; nil is all of them.
	Approved *Patterns
}

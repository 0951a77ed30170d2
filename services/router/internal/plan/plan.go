// Package plan orders the targets of a request. It is pure: the same configuration, health and
// request give the same order. It calls nobody.
package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// PolicyPrefix begins a model id that names a policy.
const PolicyPrefix = "policy/"

// maxModel bounds a model's name: it goes into headers and into the accounts.
const maxModel = 256

// Config is one version of the configuration, as the planner needs it.
type Config interface {
	Version() int64
	// PolicyByName and PolicyByID find a policy of an organization.
	PolicyByName(orgID, name string) (*Policy, bool)
	PolicyByID(orgID, policyID string) (*Policy, bool)
	// Credentials lists the credentials of an organization for a provider, best first.
	Credentials(orgID, provider string) []*completion.Credential
	// PlatformOrgID is the operator's organization.
	PlatformOrgID() string
	// Preferences are an organization's; never nil.
	Preferences(orgID string) *Preferences
	// Group finds a group; nil is none.
	Group(orgID, groupID string) *Group
	// Drills are the rehearsals of an organization, some of which may be over.
	Drills(orgID string) []completion.Drill
}

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
	Fallback Strategy = iota
	Weighted
	LowestLatency
	LowestCost
	Sticky
)

// TargetGroup is a step of a policy.
type TargetGroup struct {
	Strategy Strategy
	Lines    []Line
	// When says for which requests it is there; nil is all.
	When *Condition
	// StickyBy is "session", "user" or "tag:<key>".
	StickyBy string
}

// Condition is what a request must be, in all that is set.
type Condition struct {
	Tags            []TagCondition
	Models          []string // patterns
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
	// Weight is its share where the strategy draws.
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
	AfterOwn
	BeforeOwn
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
	// Approved are patterns of models; nil is every model.
	Approved []string
}

// Group is a group of API keys.
type Group struct {
	ID, Name      string
	PolicyID      string
	EnforcePolicy bool
	// Approved are patterns of models within those of the organization; nil is all of them.
	Approved []string
}

// Health says what was learned of credentials since the configuration was made.
type Health interface {
	// Out says why a credential must not be tried now for a model; empty if it may.
	Out(c *completion.Credential, model string) string
	// Low reports whether the provider's last answers left next to nothing of its limits for a model, so that
	// others should be tried first.
	Low(c *completion.Credential, model string) bool
	// Latency is the moving average of the time to the first token; 0 is not measured yet.
	Latency(c *completion.Credential, model string) time.Duration
}

// Planner plans for providers that exist.
type Planner struct {
	// Providers are the slugs that have an adapter.
	Providers map[string]completion.Provider
	Health    Health
}

// Make returns the targets for what a caller asked for, at least one, or a fault that says why there is
// none.
func (p *Planner) Make(c Config, caller completion.Caller, req *completion.Request) (completion.Plan, error) {
	policy, line, err := p.resolve(c, caller, req.Model)
	if err != nil {
		return completion.Plan{}, err
	}
	out := completion.Plan{ConfigVersion: c.Version()}
	lines := []Line{line}
	if policy != nil {
		lines = lines[:0]
		for _, g := range policy.Groups {
			lines = append(lines, g.Lines...)
		}
	}
	out.Targets = make([]completion.Target, 0, len(lines)+2)
	for i, l := range lines {
		for _, credential := range credentials(c, caller, l) {
			if p.out(credential, l.Model) != "" || p.Providers[l.Provider].Serves(req.Asks(), l.Name, credential) != "" {
				continue
			}
			t := completion.Target{Provider: l.Provider, Model: l.Model, Name: l.Name, Class: l.Class, Credential: credential, Line: i}
			if policy != nil {
				t.PolicyID, t.PolicyName, t.PolicyVersion = policy.ID, policy.Name, policy.Version
			}
			out.Targets = append(out.Targets, t)
		}
	}
	if len(out.Targets) == 0 {
		why, all := p.exclusions(c, caller, req.Asks(), lines)
		if all { // more credentials would not help
			return completion.Plan{}, completion.ErrUnsupported.Saying("nothing that the model's name stands for can do this: %s", why).
				Hinting("choose another model").With("param", "model")
		}
		return completion.Plan{}, completion.ErrNoTarget.Saying("no credential can serve this request: %s", why)
	}
	return out, nil
}

// credentials lists whose credentials a line allows, best first.
func credentials(c Config, caller completion.Caller, l Line) []*completion.Credential {
	if l.Class == usage.Platform {
		return c.Credentials(c.PlatformOrgID(), l.Provider)
	}
	return c.Credentials(caller.OrgID, l.Provider)
}

// exclusions says for each line why nothing of it can serve, and whether that is so for what was asked
// alone: the credentials are there, and none of them is out.
func (p *Planner) exclusions(c Config, caller completion.Caller, op completion.Operation, lines []Line) (why string, unsupported bool) {
	var out []string
	unsupported = true
	for _, l := range lines {
		list := credentials(c, caller, l)
		if len(list) == 0 {
			unsupported = false
			out = append(out, fmt.Sprintf("%s: there is no %s credential for %s", l.Model, l.Class, l.Provider))
		}
		for _, credential := range list {
			if serves := p.Providers[l.Provider].Serves(op, l.Name, credential); serves != "" {
				out = append(out, fmt.Sprintf("%s: %s %s", l.Model, l.Provider, serves))
				continue
			}
			unsupported = false
			out = append(out, fmt.Sprintf("%s: credential %q %s", l.Model, label(l.Class, credential), p.out(credential, l.Model)))
		}
	}
	return strings.Join(slices.Compact(out), "; "), unsupported
}

// label names a credential to a caller: a platform credential's label is the operator's business.
func label(class usage.Class, c *completion.Credential) string {
	if class == usage.Platform {
		return "platform"
	}
	return c.Label
}

func (p *Planner) out(c *completion.Credential, model string) string {
	if c.Out != "" {
		return c.Out
	}
	return p.Health.Out(c, model)
}

// resolve finds what a model name means: a policy, or a model with the organization's own credentials.
func (p *Planner) resolve(c Config, caller completion.Caller, model string) (*Policy, Line, error) {
	if model == "" {
		if caller.PolicyID == "" {
			return nil, Line{}, completion.ErrModelRequired
		}
		policy, ok := c.PolicyByID(caller.OrgID, caller.PolicyID)
		if !ok {
			return nil, Line{}, completion.ErrPolicyUnknown.Saying("the default policy of API key %q is gone", caller.KeyName).With("param", "model")
		}
		return policy, Line{}, nil
	}
	if name, ok := strings.CutPrefix(model, PolicyPrefix); ok {
		policy, ok := c.PolicyByName(caller.OrgID, name)
		if !ok {
			return nil, Line{}, completion.ErrPolicyUnknown.Saying("there is no policy %q in this organization", shown(name)).With("param", "model")
		}
		return policy, Line{}, nil
	}
	line, err := p.Line(model, usage.Own)
	return nil, line, err
}

// Line reads "provider/model".
func (p *Planner) Line(model string, class usage.Class) (Line, error) {
	if len(model) > maxModel || strings.ContainsFunc(model, func(r rune) bool { return r <= ' ' || r == 0x7f || r == utf8.RuneError }) {
		return Line{}, completion.ErrModelUnknown.Saying("the model's name is longer than %d bytes or holds blanks or control characters", maxModel).With("param", "model")
	}
	provider, name, ok := strings.Cut(model, "/")
	if !ok || provider == "" || name == "" {
		return Line{}, unknown(model).Hinting(fmt.Sprintf(`write the provider first, such as "openai/%s"; GET /v1/models lists what this API key may use`, model))
	}
	if p.Providers[provider] == nil {
		return Line{}, unknown(model).Saying("there is no provider %q", provider)
	}
	return Line{Provider: provider, Model: model, Name: name, Class: class}, nil
}

// shown is a caller's text, cut for an answer.
func shown(s string) string {
	if len(s) > maxModel {
		return s[:maxModel] + "…"
	}
	return s
}

func unknown(model string) *fault.Error {
	return completion.ErrModelUnknown.Saying("there is no model %q", model).With("param", "model")
}

// Package plan orders the targets of a request. It is pure: the same configuration, health and
// request give the same order. It calls nobody.
package plan

import (
	"fmt"
	"slices"
	"strings"
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
}

// Policy is a named routing rule.
type Policy struct {
	ID, Name string
	Version  int64
	Lines    []Line
}

// Line is one target of a policy before its credentials are known.
type Line struct {
	Provider, Model, Name string
	Class                 usage.Class
}

// Health says what was learned of credentials since the configuration was made.
type Health interface {
	// Out says why a credential must not be tried now; empty if it may.
	Out(c *completion.Credential) string
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
		lines = policy.Lines
	}
	out.Targets = make([]completion.Target, 0, len(lines)+2)
	for i, l := range lines {
		for _, credential := range credentials(c, caller, l) {
			if p.out(credential) != "" || p.Providers[l.Provider].Serves(req.Asks(), l.Name, credential) != "" {
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
			out = append(out, fmt.Sprintf("%s: credential %q %s", l.Model, label(l.Class, credential), p.out(credential)))
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

func (p *Planner) out(c *completion.Credential) string {
	if c.Out != "" {
		return c.Out
	}
	return p.Health.Out(c)
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

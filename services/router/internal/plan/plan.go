// Package plan orders the targets of a request. It is pure: the same configuration, health, time and
// request give the same order. It calls nobody.
//
// A plan is made in one walk: what the caller named (or the policy that the organization has for it) becomes
// groups, groups become lines, lines become credentials. Whatever is passed over on the way has a Reason, said
// in the place where it is decided; Make lets them go, Explain keeps them, and there is no other difference
// between the two. Allowed asks the same questions of single targets in another way, so that a mistake in the
// walk is caught before it is paid for.
package plan

import (
	"time"

	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/router/internal/completion"
)

// PolicyPrefix begins a model id that names a policy.
const PolicyPrefix = "policy/"

const (
	// maxModel bounds a model's name: it goes into headers and into the accounts.
	maxModel = 256
	// maxDepth bounds how deep policies name each other, maxLines how many lines a plan looks at and
	// maxTargets how many targets it has: a configuration that goes beyond must not hold up a request.
	maxDepth   = 8
	maxLines   = 4096
	maxTargets = 1024
	// roomFor is how many targets a plan has room for without another allocation.
	roomFor = 8
)

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

// Health says what was learned of credentials since the configuration was made.
type Health interface {
	// Out says why a credential must not be tried now for a model; empty if it may.
	Out(c *completion.Credential, model string) string
	// Low reports whether the provider's last answers left next to nothing of its limits for a model, so that
	// others should be tried first.
	Low(c *completion.Credential, model string) bool
	// Latency is the moving average of the time to the first token of streams, or else of whole answers; 0 is not
	// measured yet.
	Latency(c *completion.Credential, model string, streams bool) time.Duration
}

// Resting is a Health that also knows until when a credential is out: callers are then told to come back, and when.
type Resting interface {
	// Until is when a credential that is out may be tried again for a model; zero if time alone does not mend it,
	// as where the provider refused it.
	Until(c *completion.Credential, model string) time.Time
}

// Holding is a Health that knows of targets that are called only if there is nobody else. They stay where they
// stand in a plan, and Explain says so.
type Holding interface {
	// Held says why a target had better not be called.
	Held(t *completion.Target) completion.Hold
}

// Planner plans for providers that exist.
type Planner struct {
	// Providers are the slugs that have an adapter.
	Providers map[string]completion.Provider
	Health    Health
	// Offers lists the "provider/model" names under which a model is served, best first, that of the model
	// itself among them if a provider can be called by it; nil for what it does not know. A nil Offers knows
	// nothing.
	Offers func(model string) []string
	// Prices returns the price book; nil is the one that ships. It is asked once for each plan, and the plan's
	// attempts reckon with the same.
	Prices func() *pricing.Table
	// Now is the time by which credentials expire and prices hold; nil is the clock's. It is asked once for
	// each plan.
	Now func() time.Time
}

// Make returns the targets for what a caller asked for, at least one, or a fault that says why there is
// none.
func (p *Planner) Make(c Config, caller completion.Caller, req *completion.Request) (completion.Plan, error) {
	w := p.walk(c, caller, req)
	if err := w.run(); err != nil {
		return completion.Plan{}, err
	}
	if len(w.targets) == 0 {
		return completion.Plan{}, p.none(c, caller, req)
	}
	return w.plan(), nil
}

// none walks once more to say why there is no target.
func (p *Planner) none(c Config, caller completion.Caller, req *completion.Request) error {
	w := p.walk(c, caller, req)
	w.told = &told{}
	if err := w.run(); err != nil {
		return err
	}
	return w.fault()
}

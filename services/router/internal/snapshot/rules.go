package snapshot

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

const (
	defaultHedgePercent = 5
	defaultWeight       = 1
	// defaultRetries is what Rule calls the default.
	defaultRetries = -1
)

func credentialOf(c *keysv1.CredentialConfig) *completion.Credential {
	out := &completion.Credential{
		ID: c.GetId(), OrgID: c.GetOrgId(), Provider: c.GetProvider(), Label: c.GetLabel(), BaseURL: c.GetBaseUrl(),
		Priority: int(c.GetPriority()), Revision: int(c.GetRevision()), Sealed: c.GetSealed(), Out: outOf(c.GetState(), c.GetProvider()),
		Settings: settingsOf(c.GetSettings()), Models: c.GetModels(), Weight: max(int(c.GetWeight()), defaultWeight), Scope: scopeOf(c.GetScope()),
	}
	if c.GetExpireTime() != nil {
		out.Expires = c.GetExpireTime().AsTime()
	}
	if n := c.GetNext(); n != nil {
		next := *out
		next.Revision, next.Sealed, next.Settings, next.Models = int(n.GetRevision()), n.GetSealed(), settingsOf(n.GetSettings()), n.GetModels()
		next.Out = outOf(nextState(c.GetState()), c.GetProvider())
		out.Next, out.Share = &next, int(n.GetSharePercent())
	}
	return out
}

// nextState is the state of a credential as far as it is also that of its second secret: what a provider
// said of the current one says nothing of the other.
func nextState(s keysv1.CredentialState) keysv1.CredentialState {
	if s == keysv1.CredentialState_CREDENTIAL_STATE_REJECTED || s == keysv1.CredentialState_CREDENTIAL_STATE_NO_SECRET ||
		s == keysv1.CredentialState_CREDENTIAL_STATE_QUOTA_EXHAUSTED {
		return keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE
	}
	return s
}

func scopeOf(s *keysv1.CredentialScope) *completion.Scope {
	if len(s.GetModels()) == 0 && len(s.GetApiKeyIds()) == 0 && len(s.GetGroupIds()) == 0 {
		return nil
	}
	return &completion.Scope{Models: s.GetModels(), APIKeys: s.GetApiKeyIds(), Groups: s.GetGroupIds()}
}

var drillClasses = map[keysv1.DrillFault]completion.Class{
	keysv1.DrillFault_DRILL_FAULT_RATE_LIMITED: completion.RateLimited,
	keysv1.DrillFault_DRILL_FAULT_UNAUTHORIZED: completion.AuthInvalid,
	keysv1.DrillFault_DRILL_FAULT_SLOW:         completion.TimedOut,
}

func drillOf(d *keysv1.DrillConfig) completion.Drill {
	return completion.Drill{
		ID: d.GetId(), OrgID: d.GetOrgId(), CredentialID: d.GetCredentialId(), APIKeyID: d.GetApiKeyId(),
		Class: drillClasses[d.GetFault()], Until: d.GetEndTime().AsTime(),
	}
}

var platformRules = map[keysv1.PlatformRule]plan.PlatformRule{
	keysv1.PlatformRule_PLATFORM_RULE_NEVER:      plan.Never,
	keysv1.PlatformRule_PLATFORM_RULE_AFTER_OWN:  plan.AfterOwn,
	keysv1.PlatformRule_PLATFORM_RULE_BEFORE_OWN: plan.BeforeOwn,
}

func preferencesOf(o *keysv1.OrganizationConfig) *plan.Preferences {
	p := o.GetPreferences()
	out := &plan.Preferences{
		Order: p.GetOrder(), Ignore: p.GetIgnore(), Rule: platformRules[p.GetPlatform()], PolicyID: p.GetPolicyId(),
		EnforcePolicy: p.GetEnforcePolicy(), Approved: plan.Compile(o.GetApprovedModels()),
	}
	if len(p.GetProviders()) > 0 {
		out.Rules = make(map[string]plan.PlatformRule, len(p.GetProviders()))
		for _, r := range p.GetProviders() {
			if r.GetPlatform() == keysv1.PlatformRule_PLATFORM_RULE_UNSPECIFIED {
				continue // says nothing, and must not widen what holds for all
			}
			out.Rules[r.GetProvider()] = platformRules[r.GetPlatform()]
		}
	}
	return out
}

var strategies = map[keysv1.Strategy]plan.Strategy{
	keysv1.Strategy_STRATEGY_WEIGHTED:       plan.Weighted,
	keysv1.Strategy_STRATEGY_LOWEST_LATENCY: plan.LowestLatency,
	keysv1.Strategy_STRATEGY_LOWEST_COST:    plan.LowestCost,
	keysv1.Strategy_STRATEGY_STICKY:         plan.Sticky,
}

// policyOf is a policy as the planner wants it: what can be worked out before a request is.
func policyOf(p *keysv1.PolicyConfig) *plan.Policy {
	spec := p.GetSpec()
	out := &plan.Policy{ID: p.GetId(), Name: p.GetName(), Version: p.GetVersion(), MaxAttempts: int(spec.GetMaxAttempts())}
	if h := spec.GetHedge(); h != nil {
		out.Hedge = &completion.Hedge{After: duration(h.GetAfter()), MaxPercent: int(h.GetMaxPercent())}
		if out.Hedge.MaxPercent == 0 {
			out.Hedge.MaxPercent = defaultHedgePercent
		}
	}
	index := 0
	for _, g := range spec.GetGroups() {
		group := plan.TargetGroup{Strategy: strategies[g.GetStrategy()], When: conditionOf(g.GetWhen()), StickyBy: g.GetStickyBy()}
		for _, t := range g.GetTargets() {
			line := lineOf(t)
			line.Index = index
			group.Lines = append(group.Lines, line)
			index++
		}
		out.Groups = append(out.Groups, group)
	}
	return out
}

func lineOf(t *keysv1.Target) plan.Line {
	line := plan.Line{Model: t.GetModel(), Class: classOf(t.GetUse()), CredentialID: t.GetCredentialId(), Weight: defaultWeight, Rule: ruleOf(t)}
	if t.Weight != nil {
		line.Weight = int(t.GetWeight())
	}
	if name, ok := strings.CutPrefix(t.GetModel(), plan.PolicyPrefix); ok {
		line.Policy = name
		return line
	}
	if line.CredentialID != "" {
		line.Class = usage.Own
	}
	line.Provider, line.Name, _ = strings.Cut(t.GetModel(), "/")
	return line
}

func ruleOf(t *keysv1.Target) *completion.Rule {
	rule := &completion.Rule{
		FirstByte: duration(t.GetTimeouts().GetFirstByte()), Idle: duration(t.GetTimeouts().GetBetweenChunks()), Total: duration(t.GetTimeouts().GetTotal()),
		Retries: defaultRetries, Backoff: duration(t.GetBackoff()), Overrides: overridesOf(t.GetOverrides()),
	}
	if t.Retries != nil {
		rule.Retries = int(t.GetRetries())
	}
	for _, class := range t.GetMoveOn() {
		rule.MoveOn = append(rule.MoveOn, completion.Class(class))
	}
	return rule
}

func overridesOf(o *keysv1.Overrides) *completion.Overrides {
	if o == nil {
		return nil
	}
	return &completion.Overrides{Temperature: o.Temperature, TopP: o.TopP, MaxOutputTokens: o.MaxOutputTokens, ReasoningEffort: o.ReasoningEffort}
}

func conditionOf(c *keysv1.Condition) *plan.Condition {
	if c == nil {
		return nil
	}
	out := &plan.Condition{
		Models: c.GetModels(), MinInput: c.GetMinInputTokens(), MaxInput: c.GetMaxInputTokens(), APIKeys: c.GetApiKeyIds(), Groups: c.GetGroupIds(),
	}
	for _, t := range c.GetTags() {
		out.Tags = append(out.Tags, plan.TagCondition{Key: t.GetKey(), Values: t.GetValues()})
	}
	return out
}

// duration is 0 for what is absent.
func duration(d *durationpb.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.AsDuration()
}

package plan

import (
	"cmp"
	"slices"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// Allowed reports whether a target may serve a caller at all: whose credential it is, who pays, which provider
// and which model. It is asked again where the call is signed, and shares nothing with the way in which Make
// finds targets: it starts at the target and looks for what allows it. That it says no to a target of Make's is
// a mistake in the planner.
//
// The configuration may be newer than the plan's. What a newer one forbids is forbidden, and only tells of a
// mistake where the versions are the same. A policy of another version than the target's says nothing about
// its lines.
func Allowed(c Config, caller completion.Caller, t *completion.Target) bool {
	credential := t.Credential
	if credential == nil || credential.Provider != t.Provider || t.Model != t.Provider+"/"+t.Name {
		return false
	}
	preferences := c.Preferences(caller.OrgID)
	if slices.Contains(preferences.Ignore, t.Provider) || !preferences.Approved.Fit(t.Model) {
		return false
	}
	var group *Group
	if caller.GroupID != "" {
		if group = c.Group(caller.OrgID, caller.GroupID); group == nil || !group.Approved.Fit(t.Model) {
			return false
		}
	}
	if scope := credential.Scope; scope != nil && !within(scope, caller, t.Model) {
		return false
	}
	if !serving(c, credential) || !enforcedFor(caller, group, preferences, t) {
		return false
	}
	switch t.Class {
	case usage.Own:
		return credential.OrgID == caller.OrgID && (t.PolicyID == "" || written(c, caller, t))
	case usage.Platform:
		return credential.OrgID == c.PlatformOrgID() && platformAllowed(c, preferences, caller, t)
	case usage.ClassUnknown:
	}
	return false
}

// serving reports whether a credential is there and was not switched off since it was planned. Of a secret that
// another one has replaced nothing is said: a rotation must not fail requests.
func serving(c Config, credential *completion.Credential) bool {
	all := c.Credentials(credential.OrgID, credential.Provider)
	i := slices.IndexFunc(all, func(now *completion.Credential) bool { return now.ID == credential.ID })
	if i < 0 {
		return false
	}
	now := all[i]
	if now.Next != nil && now.Next.Revision == credential.Revision {
		now = now.Next
	}
	return now.Revision != credential.Revision || now.Out == ""
}

// enforcedFor reports whether a target comes by the policy that every request has to go through, if there is one.
func enforcedFor(caller completion.Caller, group *Group, preferences *Preferences, t *completion.Target) bool {
	enforced, policyID := caller.EnforcePolicy || preferences.EnforcePolicy, caller.PolicyID
	if group != nil {
		enforced = enforced || group.EnforcePolicy
		policyID = cmp.Or(policyID, group.PolicyID)
	}
	return !enforced || t.PolicyID != "" && t.PolicyID == cmp.Or(policyID, preferences.PolicyID)
}

// platformAllowed reports whether an organization lets the platform's credentials serve a target.
func platformAllowed(c Config, preferences *Preferences, caller completion.Caller, t *completion.Target) bool {
	rule := preferences.Rule
	if of, ok := preferences.Rules[t.Provider]; ok {
		rule = of
	}
	switch rule {
	case InPolicies:
		return t.PolicyID != "" && written(c, caller, t)
	case AfterOwn, BeforeOwn:
		return t.PolicyID == "" || written(c, caller, t)
	case Never:
	}
	return false
}

// written reports whether the line of the target's policy says so: with this model and class, and with this
// credential or any; or through policies that the line names.
func written(c Config, caller completion.Caller, t *completion.Target) bool {
	policy, ok := c.PolicyByID(caller.OrgID, t.PolicyID)
	if !ok {
		return false
	}
	if policy.Version != t.PolicyVersion {
		return true
	}
	for i := range policy.Groups {
		for j := range policy.Groups[i].Lines {
			if l := &policy.Groups[i].Lines[j]; l.Index == t.Line && says(c, caller.OrgID, l, t, nil) {
				return true
			}
		}
	}
	return false
}

// says reports whether a line allows a target. Each policy is looked at once: seen are those that were, nil for
// none, so that lines that name a model, as most do, take no memory.
func says(c Config, orgID string, l *Line, t *completion.Target, seen map[string]bool) bool {
	if l.Policy == "" {
		return l.Model == t.Model && l.Class == t.Class && (l.CredentialID == "" || l.CredentialID == t.Credential.ID)
	}
	if seen[l.Policy] {
		return false
	}
	if seen == nil {
		seen = map[string]bool{}
	}
	seen[l.Policy] = true
	policy, ok := c.PolicyByName(orgID, l.Policy)
	if !ok {
		return false
	}
	for i := range policy.Groups {
		for j := range policy.Groups[i].Lines {
			if says(c, orgID, &policy.Groups[i].Lines[j], t, seen) {
				return true
			}
		}
	}
	return false
}

// within reports whether a credential's scope has a caller and a model in it.
func within(s *completion.Scope, caller completion.Caller, model string) bool {
	if len(s.Models) > 0 && !fitsAny(s.Models, model) {
		return false
	}
	if len(s.APIKeys)+len(s.Groups) == 0 {
		return true
	}
	return slices.Contains(s.APIKeys, caller.APIKeyID) || caller.GroupID != "" && slices.Contains(s.Groups, caller.GroupID)
}

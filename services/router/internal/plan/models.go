package plan

import (
	"slices"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// Listed is a Config that can be looked through.
type Listed interface {
	Config
	// Policies are the names of an organization's policies, sorted.
	Policies(orgID string) []string
	// Providers are the providers for which an organization has credentials, sorted.
	Providers(orgID string) []string
}

// Models lists what a caller may name and would be served: the policies of which a line can serve, and the
// models for which there is a credential, as far as they are approved, in scope and not ignored. What comes and
// goes by itself, such as a limit that is used up, changes nothing. Where a policy is enforced, it is all there
// is. Known are names of models for credentials of which no test has told any; they are sorted.
//
// It takes about a microsecond for each policy and for each model, and is not on the way of a completion.
func (p *Planner) Models(c Listed, caller completion.Caller, known []string) []string {
	w := p.walk(c, caller, &completion.Request{})
	w.listing = true
	var out []string
	if w.lost() {
		return nil
	}
	if w.enforced() {
		if policy, err := w.standard(); err == nil && w.serves(policy) {
			out = append(out, PolicyPrefix+policy.Name)
		}
		return out
	}
	for _, name := range c.Policies(caller.OrgID) {
		if policy, ok := c.PolicyByName(caller.OrgID, name); ok && w.serves(policy) {
			out = append(out, PolicyPrefix+name)
		}
	}
	policies := len(out)
	for _, of := range [...]usage.Class{usage.Own, usage.Platform} {
		out = w.models(c, of, known, out)
	}
	slices.Sort(out[policies:])
	return slices.Compact(out)
}

// serves reports whether a line of a policy can serve.
func (w *walk) serves(policy *Policy) bool {
	w.targets, w.lines = w.targets[:0], 0
	w.policy(policy)
	return len(w.targets) > 0
}

// models adds the models for which there are credentials of a class, without a policy.
func (w *walk) models(c Listed, class usage.Class, known, out []string) []string {
	orgID := w.caller.OrgID
	if class == usage.Platform {
		orgID = w.c.PlatformOrgID()
	}
	for _, provider := range c.Providers(orgID) {
		if rule := w.prefs.platform(provider); class == usage.Platform && rule != AfterOwn && rule != BeforeOwn {
			continue
		}
		prefix := provider + "/"
		add := func(credential *completion.Credential, name string) {
			l := Line{Provider: provider, Model: prefix + name, Name: name, Class: class}
			if reason, _ := w.barred(&l); reason != "" {
				return
			}
			if reason, _ := w.unusable(&l, credential); reason == "" {
				out = append(out, l.Model)
			}
		}
		for _, credential := range c.Credentials(orgID, provider) {
			switch {
			case len(credential.Settings.Deployments) > 0:
				for i := range credential.Settings.Deployments {
					add(credential, credential.Settings.Deployments[i].Model)
				}
			case len(credential.Models) > 0:
				for _, name := range credential.Models {
					add(credential, strings.TrimPrefix(name, prefix))
				}
			default:
				first, _ := slices.BinarySearch(known, prefix)
				for _, model := range known[first:] {
					if !strings.HasPrefix(model, prefix) {
						break
					}
					add(credential, model[len(prefix):])
				}
			}
		}
	}
	return out
}

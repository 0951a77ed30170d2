package router

import (
	"slices"
	"strings"

	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
)

// models lists what a caller may name: the policies, and the models of the credentials that the organization
// has brought.
func (a *App) models(caller completion.Caller) ([]string, error) {
	state, err := a.follower.State()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, name := range state.Policies(caller.OrgID) {
		out = append(out, plan.PolicyPrefix+name)
	}
	return append(out, owned(state, caller.OrgID, pricing.Models())...), nil
}

// credentials are those of organizations, as a snapshot has them.
type credentials interface {
	Providers(orgID string) []string
	Credentials(orgID, provider string) []*completion.Credential
}

// owned are the models that an organization's credentials may use, sorted: what the last test of one found,
// Azure's deployments by the names that callers use, and else the known models of its provider. A credential
// that cannot serve makes no model.
func owned(state credentials, orgID string, known []string) []string {
	var out []string
	for _, provider := range state.Providers(orgID) {
		prefix := provider + "/"
		add := func(name string) { out = append(out, prefix+strings.TrimPrefix(name, prefix)) }
		for _, c := range state.Credentials(orgID, provider) {
			switch {
			case c.Out != "":
			case len(c.Settings.Deployments) > 0:
				for _, d := range c.Settings.Deployments {
					out = append(out, prefix+d.Model)
				}
			case len(c.Models) > 0:
				for _, name := range c.Models {
					add(name)
				}
			default:
				for _, model := range known {
					if strings.HasPrefix(model, prefix) {
						add(model)
					}
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

package azure

import (
	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/form/messages"
	"github.com/claviger/claviger/services/router/internal/provider/form/responses"
)

var _ completion.Carrier = (*Provider)(nil)

// Lacks implements completion.Carrier. Which deployment serves is not known before, so it is what the first one
// lacks that lacks anything; where the deployments are not known, only trying can tell.
func (p *Provider) Lacks(prompt *completion.Prompt, t *completion.Target) completion.Feature {
	for _, d := range t.Credential.Settings.Deployments {
		if d.Model != t.Name {
			continue
		}
		if f := p.lacks(prompt, keyform.AzureAPIOf(d.Endpoint), family(t.Name)); f != "" {
			return f
		}
	}
	return ""
}

func (p *Provider) lacks(prompt *completion.Prompt, api keyform.AzureAPI, model string) completion.Feature {
	if api == keyform.AzureAnthropic {
		return messages.Lacks(prompt, model)
	}
	lacks := p.current.Lacks(prompt, model)
	if hasResponses(api) && responses.Reasons(model) {
		if other := p.thinking.Lacks(prompt); other == "" || responses.Only(model) {
			return other
		}
	}
	return lacks
}

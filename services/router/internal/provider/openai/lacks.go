package openai

import (
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/form/responses"
)

var _ completion.Carrier = (*Provider)(nil)

// Lacks implements completion.Carrier: what one form lacks goes in the other, but for models that have only one.
func (p *Provider) Lacks(prompt *completion.Prompt, t *completion.Target) completion.Feature {
	if responses.Only(t.Name) {
		return p.responses.Lacks(prompt)
	}
	lacks := p.chat.Lacks(prompt, t.Name)
	if lacks != "" && responses.Reasons(t.Name) && p.responses.Lacks(prompt) == "" {
		return ""
	}
	return lacks
}

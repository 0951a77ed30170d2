package compat

import (
	"github.com/claviger/claviger/services/router/internal/completion"
)

var _ completion.Carrier = (*Provider)(nil)

// Lacks implements completion.Carrier: what is converted goes as chat completions.
func (p *Provider) Lacks(prompt *completion.Prompt, t *completion.Target) completion.Feature {
	return p.chat.Lacks(prompt, t.Name)
}

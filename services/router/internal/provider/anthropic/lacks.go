package anthropic

import (
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/form/messages"
)

var _ completion.Carrier = (*Provider)(nil)

// Lacks implements completion.Carrier.
func (p *Provider) Lacks(prompt *completion.Prompt, t *completion.Target) completion.Feature {
	return messages.Lacks(prompt, t.Name)
}

package googleaistudio

import (
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/form/gemini"
)

var _ completion.Carrier = (*Provider)(nil)

// Lacks implements completion.Carrier.
func (p *Provider) Lacks(prompt *completion.Prompt, _ *completion.Target) completion.Feature {
	return gemini.Lacks(prompt)
}

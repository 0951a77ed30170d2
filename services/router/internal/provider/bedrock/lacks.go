package bedrock

import (
	"slices"

	"github.com/claviger/claviger/services/router/internal/completion"
)

var _ completion.Carrier = (*Provider)(nil)

// Lacks implements completion.Carrier, by the form that a model is called in.
func (p *Provider) Lacks(prompt *completion.Prompt, t *completion.Target) completion.Feature {
	m := modelOf(t.Name, "", nil)
	if m.maker == openAI {
		return p.chat.Lacks(prompt, m.id)
	}
	for _, f := range prompt.Features() {
		if !slices.Contains(carried, f) || !m.knows(f) {
			return f
		}
	}
	return ""
}

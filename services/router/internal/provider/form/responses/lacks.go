package responses

import (
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// Lacks names what has no counterpart in this form.
func (p *Form) Lacks(prompt *completion.Prompt) completion.Feature {
	return provider.Missing(prompt, p.features()...)
}

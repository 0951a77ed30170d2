package vertex

import (
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/form/gemini"
	"github.com/claviger/claviger/services/router/internal/provider/form/messages"
)

var _ completion.Carrier = (*Provider)(nil)

// Lacks implements completion.Carrier, by the form that a model is called in.
func (p *Provider) Lacks(prompt *completion.Prompt, t *completion.Target) completion.Feature {
	switch kind, name := modelOf(t.Name); kind {
	case claude:
		return messages.Lacks(prompt, name)
	case open:
		return p.chat.Lacks(prompt, name)
	case google:
	}
	return gemini.Lacks(prompt)
}

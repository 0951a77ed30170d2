package gemini

import (
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// Lacks names what has no counterpart.
func Lacks(p *completion.Prompt) completion.Feature { return provider.Missing(p, carried...) }

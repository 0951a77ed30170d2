package plan

import "github.com/claviger/claviger/services/router/internal/completion"

// Carrier is a Provider that says beforehand what of a prompt it cannot carry.
type Carrier interface {
	// Lacks names the first thing that a prompt uses and that a target has no counterpart for when the prompt
	// is converted for it; empty if there is none, or if only trying can tell.
	Lacks(p *completion.Prompt, t *completion.Target) completion.Feature
}

// needs decodes the prompt of a request that requires all its parameters.
func (w *walk) needs() (err error) {
	if !w.req.Routing.RequireParameters || w.req.Decode == nil || w.req.Asks() != completion.Chat {
		return nil
	}
	w.prompt, err = w.req.Decode()
	return err
}

// lacks says what a line cannot carry. Bodies that pass as they are carry everything.
func (p *Planner) lacks(prompt *completion.Prompt, req *completion.Request, l *Line, c *completion.Credential) completion.Feature {
	carrier, ok := p.Providers[l.Provider].(Carrier)
	if !ok {
		return ""
	}
	t := &completion.Target{Provider: l.Provider, Model: l.Model, Name: l.Name, Class: l.Class, Credential: c, Rule: l.Rule}
	if req.Raw != nil && p.Providers[l.Provider].Speaks(req.Dialect, t) {
		return ""
	}
	return carrier.Lacks(prompt, t)
}

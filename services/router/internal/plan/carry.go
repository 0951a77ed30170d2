package plan

import "github.com/claviger/claviger/services/router/internal/completion"

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
	carrier, ok := p.Providers[l.Provider].(completion.Carrier)
	if !ok {
		return ""
	}
	t := &completion.Target{Provider: l.Provider, Model: l.Model, Name: l.Name, Class: l.Class, Credential: c, Rule: l.Rule}
	if req.Raw != nil && p.Providers[l.Provider].Speaks(req.Dialect, t) {
		return ""
	}
	return carrier.Lacks(prompt, t)
}

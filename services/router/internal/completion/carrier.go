package completion

// Carrier is a Provider that says beforehand what of a prompt it cannot carry, so that a request that requires
// all its parameters passes it over.
type Carrier interface {
	// Lacks names the first thing that a prompt uses and that a target has no counterpart for, or would leave
	// out, when the prompt is converted for it; empty if there is none, or if only trying can tell.
	Lacks(p *Prompt, t *Target) Feature
}

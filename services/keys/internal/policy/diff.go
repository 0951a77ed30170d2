package policy

// Change is one difference between two rules.
type Change struct {
	Kind Kind `json:"kind"`
}

// Kind says what happened.
type Kind string

// Diff tells how two rules differ.
func Diff(from, to Spec, names map[string]string) []Change { return nil }

// Summary is a difference as the audit keeps it.
func Summary(changes []Change) []Change { return changes }

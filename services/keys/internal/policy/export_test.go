package policy

import "github.com/claviger/claviger/pkg/fault"

// Invalid is the error that problems are.
func Invalid(problems []Problem) *fault.Error {
	f, _ := fault.Of(invalid(problems))
	return f
}

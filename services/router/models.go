package router

import (
	"sync"

	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
)

// knownModels are the models of the shipped price book, sorted.
var knownModels = sync.OnceValue(pricing.Models)

// models lists what a caller may name.
func (a *App) models(caller completion.Caller) ([]string, error) {
	state, err := a.follower.State()
	if err != nil {
		return nil, err
	}
	return a.planner.Models(state, caller, knownModels()), nil
}

// explain tells what would be tried for a request under the newest configuration.
func (a *App) explain(caller completion.Caller, req *completion.Request) (plan.Explanation, error) {
	state, err := a.follower.State()
	if err != nil {
		return plan.Explanation{}, err
	}
	return a.planner.Explain(state, caller, req)
}

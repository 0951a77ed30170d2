package router

import (
	"context"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
	"github.com/claviger/claviger/services/router/internal/rpc"
)

// models lists what a caller may name.
func (a *App) models(caller completion.Caller) ([]string, error) {
	state, err := a.follower.State()
	if err != nil {
		return nil, err
	}
	return a.planner.Models(state, caller, a.prices.Book().Names), nil
}

// explain tells what would be tried for a request under the newest configuration.
func (a *App) explain(caller completion.Caller, req *completion.Request) (plan.Explanation, error) {
	state, err := a.follower.State()
	if err != nil {
		return plan.Explanation{}, err
	}
	return a.planner.Explain(state, caller, req)
}

// answer plans a request that keys asks about, for people.
func (a *App) answer(ctx context.Context, q *keysv1.RouteQuestion) {
	a.reporter.Answer(rpc.AnswerRoute(ctx, q, a.caller, a.explain))
}

// caller finds an API key that may still be used, of an organization.
func (a *App) caller(orgID, keyID string) (completion.Caller, bool) {
	state, err := a.follower.State()
	if err != nil {
		return completion.Caller{}, false
	}
	caller, ok := state.Caller(keyID, a.d.Now())
	return caller, ok && caller.OrgID == orgID
}

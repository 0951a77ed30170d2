package plan_test

import (
	"testing"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
)

// TestWhatAGroupMayNotUseIsNotCalled, whoever planned it.
func TestWhatAGroupMayNotUseIsNotCalled(t *testing.T) {
	t.Parallel()
	w, caller := basic(), app
	caller.GroupID = "grp_1"
	g := &plan.Group{ID: "grp_1", Name: "team", Approved: plan.Compile([]string{"openai/m"})}
	w.groups = map[string]*plan.Group{"grp_1": g}
	p, err := planner(w).Make(w, caller, &completion.Request{Model: "openai/m"})
	if err != nil || !plan.Allowed(w, caller, &p.Targets[0]) {
		t.Fatalf("%v: what is approved may be used", err)
	}
	g.Approved = plan.Compile([]string{"openai/other"})
	if plan.Allowed(w, caller, &p.Targets[0]) {
		t.Error("a model that the group has not approved is allowed")
	}
	g.Approved, g.EnforcePolicy, g.PolicyID = nil, true, "pol_main"
	if plan.Allowed(w, caller, &p.Targets[0]) {
		t.Error("it is allowed without the policy that the group enforces")
	}
}

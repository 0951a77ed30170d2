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

// TestASecondSecretThatWasSwitchedOffIsNotCalled, while the first one may be, and a scope of groups has no place for
// an API key that is in none.
func TestASecondSecretThatWasSwitchedOffIsNotCalled(t *testing.T) {
	t.Parallel()
	w := basic()
	first := w.credentials["openai"][0]
	next := *first
	next.Revision = 2
	first.Next, first.Share = &next, 100
	p, err := planner(w).Make(w, app, &completion.Request{Model: "openai/m"})
	if err != nil || p.Targets[0].Credential.Revision != 2 || p.Targets[1].Credential.Revision != 1 {
		t.Fatalf("%s, %v", order(p.Targets), err)
	}
	now, off := *first, next
	off.Out = "is disabled"
	now.Next = &off
	w.credentials["openai"] = []*completion.Credential{&now}
	if plan.Allowed(w, app, &p.Targets[0]) || !plan.Allowed(w, app, &p.Targets[1]) {
		t.Error("want the first secret alone")
	}
	p.Targets[1].Credential.Scope = &completion.Scope{Groups: []string{""}}
	if plan.Allowed(w, app, &p.Targets[1]) {
		t.Error("an API key without a group is taken for one of a group without a name")
	}
}

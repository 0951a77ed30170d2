package e2e_test

import (
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/intercept"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/proto/gen/claviger/router/v1/routerv1connect"
)

// TestAPreviewSaysWhatExplainRouteSaysWithoutAnAPIKey: who has signed in is told by a router what the API key's
// caller would be told, and more of it; no provider is called and no usage is left.
func TestAPreviewSaysWhatExplainRouteSaysWithoutAnAPIKey(t *testing.T) {
	t.Parallel()
	w := startTown(t)
	people := w.as(w.Transport(), w.tokens[owner])
	routes := keysv1connect.NewRouteServiceClient(people)
	request := &routerv1.ExplainRouteRequest{Model: "policy/main", InputTokens: 1000, MaxOutputTokens: 100}
	calls := len(w.provider.Ledger())
	got, err := routes.PreviewRoute(t.Context(), &keysv1.PreviewRouteRequest{ApiKeyId: w.mine["key"], Request: request})
	if err != nil {
		t.Fatal(err)
	}
	said, err := routerv1connect.NewCompletionServiceClient(w.as(w.Transport(), w.keys["acme"])).ExplainRoute(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.GetRoute().GetCandidates()) != 1 || len(said.GetCandidates()) != 1 {
		t.Fatalf("a preview has %v, ExplainRoute %v; want the one line of the policy", got, said)
	}
	mine, theirs := got.GetRoute().GetCandidates()[0], said.GetCandidates()[0]
	if mine.GetModel() != theirs.GetModel() || mine.GetEstimatedCostNanoUsd() != theirs.GetEstimatedCostNanoUsd() || mine.EstimatedCostNanoUsd == nil ||
		mine.GetReason() != theirs.GetReason() || mine.GetLine() != 1 || got.GetRoute().GetPolicy() != "main" || got.GetRouter() == "" {
		t.Errorf("a preview says %v by %q, ExplainRoute %v", mine, got.GetRouter(), theirs)
	}
	if mine.GetCredentialId() != w.mine["cred"] || mine.GetCredentialClass() != eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN {
		t.Errorf("a preview names the credential %q of class %v, want acme's own", mine.GetCredentialId(), mine.GetCredentialClass())
	}
	_, err = routes.PreviewRoute(t.Context(), &keysv1.PreviewRouteRequest{ApiKeyId: w.mine["key"], Request: &routerv1.ExplainRouteRequest{Model: "policy/none"}})
	_, same := routerv1connect.NewCompletionServiceClient(w.as(w.Transport(), w.keys["acme"])).ExplainRoute(t.Context(), &routerv1.ExplainRouteRequest{Model: "policy/none"})
	mineFault, ok := fault.Of(intercept.FromConnect(err))
	theirFault, _ := fault.Of(intercept.FromConnect(same))
	if !ok || mineFault.Reason() != theirFault.Reason() || connect.CodeOf(err) != connect.CodeOf(same) {
		t.Errorf("a policy that is not there: a preview says %v, ExplainRoute %v", err, same)
	}
	if got := len(w.provider.Ledger()); got != calls {
		t.Errorf("previews made %d calls to providers, want none", got-calls)
	}
	// One router's usage is counted in the order in which it was made: once another organization's request is
	// there, nothing of the previews is still on its way.
	w.oneRequest(t, w.keys["rival"])
	used, err := meteringv1connect.NewUsageServiceClient(people).ListRequests(t.Context(), &meteringv1.ListRequestsRequest{})
	if err != nil || len(used.GetAttempts()) > 0 {
		t.Errorf("previews left %d attempts in the usage, %v; want none", len(used.GetAttempts()), err)
	}
}

package rpc_test

import (
	"fmt"
	"testing"

	"connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/claviger/claviger/pkg/fault"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
	"github.com/claviger/claviger/services/router/internal/rpc"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// onlyOf knows one API key of org_1, which is told next to nothing.
func onlyOf(orgID, keyID string) (completion.Caller, bool) {
	return completion.Caller{OrgID: "org_1", APIKeyID: "key_1", Provenance: completion.ProvenanceNone}, orgID == "org_1" && keyID == "key_1"
}

func previewed(t *testing.T, a *keysv1.RouteAnswer) *keysv1.PreviewRouteResponse {
	t.Helper()
	out := &keysv1.PreviewRouteResponse{}
	if err := proto.Unmarshal(a.GetRoute(), out); err != nil || a.GetRefusal() != nil {
		t.Fatalf("answer = %v, %v", a, err)
	}
	return out
}

func TestAQuestionIsPlannedForItsKeyAndToldAsAsked(t *testing.T) {
	t.Parallel()
	mine := &completion.Credential{ID: "cred_1", OrgID: "org_1", Provider: "openai", Label: "prod", Revision: 3}
	theirs := &completion.Credential{ID: "cred_p", OrgID: "org_p", Provider: "openai", Label: "operator's"}
	explain := func(caller completion.Caller, req *completion.Request) (plan.Explanation, error) {
		want := completion.Request{
			ID: "rq_1", Dialect: completion.Typed, Stream: true, Operation: "chat", Model: "openai/m", Tags: map[string]string{"env": "prod"},
			Session: "s", User: "u", InputBytes: 4000, MaxOutput: 100, Routing: completion.Routing{NoFallbacks: true},
		}
		if diff := cmp.Diff(fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", *req)); diff != "" || caller.APIKeyID != "key_1" {
			t.Errorf("planned for %s (-want +got):\n%s", caller.APIKeyID, diff)
		}
		return plan.Explanation{Candidates: []plan.Candidate{
			{Target: &completion.Target{Provider: "openai", Model: "openai/m", Class: usage.Own, Credential: mine}},
			{Target: &completion.Target{Provider: "openai", Model: "openai/m", Class: usage.Platform, Credential: theirs}},
		}}, nil
	}
	ask := func(detail keysv1.ProvenanceLevel) *routerv1.ExplainRouteResponse {
		a := rpc.AnswerRoute(t.Context(), &keysv1.RouteQuestion{Id: "rq_1", OrgId: "org_1", ApiKeyId: "key_1", Detail: detail, Request: &routerv1.ExplainRouteRequest{
			Model: "openai/m", Operation: "chat", InputTokens: 1000, MaxOutputTokens: 100, Tags: map[string]string{"env": "prod"}, Session: "s", User: "u",
			Routing: &routerv1.Routing{AllowFallbacks: new(false)},
		}}, onlyOf, explain)
		if a.GetId() != "rq_1" || a.GetOrgId() != "org_1" {
			t.Errorf("answer to %s of %s, want to the question", a.GetId(), a.GetOrgId())
		}
		return previewed(t, a).GetRoute()
	}
	whole := ask(keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL).GetCandidates()
	if whole[0].GetCredential() != "prod" || whole[0].GetRevision() != 3 || whole[1].GetCredentialId() != "" || whole[1].GetCredential() != "" {
		t.Errorf("told whole: %v; want the own credential by name and the operator's not", whole)
	}
	asKey := ask(keysv1.ProvenanceLevel_PROVENANCE_LEVEL_UNSPECIFIED).GetCandidates()
	if diff := cmp.Diff([]*routerv1.RouteCandidate{{Provider: "openai", Model: "openai/m"}, {Provider: "openai", Model: "openai/m"}}, asKey, protocmp.Transform()); diff != "" {
		t.Errorf("told as the API key is (-want +got):\n%s", diff)
	}
}

func TestAQuestionThatCannotBePlannedIsRefusedByName(t *testing.T) {
	t.Parallel()
	unknown := fault.New(fault.NotFound, "MODEL_UNKNOWN", "no such model").Hinting("name another")
	for name, c := range map[string]struct {
		org, key string
		err      error
		want     *keysv1.RouteRefusal
	}{
		"a model that nobody knows":       {"org_1", "key_1", unknown, &keysv1.RouteRefusal{Code: int32(connect.CodeNotFound), Reason: "MODEL_UNKNOWN", Message: "no such model", Hint: "name another"}},
		"a defect":                        {"org_1", "key_1", fmt.Errorf("what is inside"), &keysv1.RouteRefusal{Code: int32(connect.CodeInternal), Reason: "INTERNAL", Message: "internal error"}},
		"a key of another organization":   {"org_2", "key_1", nil, nil},
		"a key that is out of use by now": {"org_1", "key_2", nil, nil},
	} {
		called := false
		a := rpc.AnswerRoute(t.Context(), &keysv1.RouteQuestion{Id: "rq_1", OrgId: c.org, ApiKeyId: c.key, Request: &routerv1.ExplainRouteRequest{Model: "x"}}, onlyOf,
			func(completion.Caller, *completion.Request) (plan.Explanation, error) {
				called = true
				return plan.Explanation{}, c.err
			})
		got := a.GetRefusal()
		if c.want == nil {
			if called || got.GetReason() != "API_KEY_OUT" || got.GetCode() != int32(connect.CodeFailedPrecondition) {
				t.Errorf("%s: planned %v, refused with %v", name, called, got)
			}
			continue
		}
		if diff := cmp.Diff(c.want, got, protocmp.Transform()); diff != "" || len(a.GetRoute()) > 0 {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestALongAnswerIsItsBeginningAndACount(t *testing.T) {
	t.Parallel()
	a := rpc.AnswerRoute(t.Context(), &keysv1.RouteQuestion{Id: "rq_1", OrgId: "org_1", ApiKeyId: "key_1", Detail: keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL}, onlyOf,
		func(completion.Caller, *completion.Request) (e plan.Explanation, err error) {
			for i := range 1024 {
				c := &completion.Credential{ID: fmt.Sprint("cred_", i), OrgID: "org_1", Provider: "openai", Label: fmt.Sprintf("%0200d", i)}
				e.Candidates = append(e.Candidates, plan.Candidate{Target: &completion.Target{Provider: "openai", Model: "openai/m", Class: usage.Own, Credential: c}})
				e.Exclusions = append(e.Exclusions, plan.Exclusion{Provider: "openai", Model: "openai/m", Class: usage.Own, Credential: c, Reason: "CREDENTIAL_STATE"})
			}
			return e, nil
		})
	got := previewed(t, a)
	if len(got.GetRoute().GetCandidates()) != 200 || got.GetMoreCandidates() != 824 || len(got.GetRoute().GetExclusions()) != 200 || got.GetMoreExclusions() != 824 {
		t.Errorf("told %d and %d more candidates, %d and %d more exclusions; want 200 and 824 of each",
			len(got.GetRoute().GetCandidates()), got.GetMoreCandidates(), len(got.GetRoute().GetExclusions()), got.GetMoreExclusions())
	}
	if size := len(a.GetRoute()); size > 1<<20 {
		t.Errorf("an answer of %d bytes, want at most 1 MiB", size)
	}
}

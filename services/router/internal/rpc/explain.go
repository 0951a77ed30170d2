package rpc

import (
	"context"

	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// Explain tells what would be tried for a request, without trying it.
type Explain func(caller completion.Caller, req *completion.Request) (plan.Explanation, error)

// bytesPerToken is how the size of a prompt is estimated, the other way round.
const bytesPerToken = 4

// ExplainRoute tells what would be tried for a request, in order, and what would not and why. It asks the same
// planner as a call does, and calls nobody.
func (s *CompletionServer) ExplainRoute(ctx context.Context, in *routerv1.ExplainRouteRequest) (*routerv1.ExplainRouteResponse, error) {
	caller := s.Caller(ctx)
	req, err := plannedOf(requestIDOf(ctx), in)
	if err != nil {
		return nil, err
	}
	e, err := s.Explain(caller, req)
	if err != nil {
		return nil, completion.Discreet(err, caller.Provenance)
	}
	return explanationOf(&e, caller.Provenance), nil
}

// plannedOf is a request as far as a plan depends on it.
func plannedOf(id string, in *routerv1.ExplainRouteRequest) (*completion.Request, error) {
	routing, err := routingOf(in.GetRouting())
	if err != nil {
		return nil, err
	}
	return &completion.Request{
		ID: id, Dialect: completion.Typed, Stream: true, // as most are: latency is told of streams where there were any
		Operation: completion.Operation(in.GetOperation()), Model: in.GetModel(), Routing: routing,
		Tags: in.GetTags(), Session: in.GetSession(), User: in.GetUser(),
		InputBytes: int(in.GetInputTokens()) * bytesPerToken, MaxOutput: in.GetMaxOutputTokens(),
	}, nil
}

// explanationOf is as much of an explanation as a caller may see. Who is told less may have several exclusions
// that then are the same: they are told once.
func explanationOf(e *plan.Explanation, level completion.Provenance) *routerv1.ExplainRouteResponse {
	out := &routerv1.ExplainRouteResponse{ConfigVersion: e.Plan.ConfigVersion, MaxAttempts: int32(e.Plan.Attempts())}
	if e.Policy != nil && level != completion.ProvenanceNone {
		out.Policy, out.PolicyVersion = e.Policy.Name, e.Policy.Version
	}
	for i := range e.Candidates {
		out.Candidates = append(out.Candidates, candidateOf(&e.Candidates[i], level))
	}
	said := map[exclusion]bool{}
	for i := range e.Exclusions {
		x := exclusionOf(&e.Exclusions[i], level)
		if told := toldOf(x); !said[told] {
			said[told] = true
			out.Exclusions = append(out.Exclusions, x)
		}
	}
	return out
}

// exclusion is what an exclusion tells, to find those that tell the same: an organization may have thousands.
type exclusion struct {
	provider, model, credentialID, reason, description string
	class                                              eventsv1.CredentialClass
	line                                               int32
}

func toldOf(x *routerv1.RouteExclusion) exclusion {
	return exclusion{x.GetProvider(), x.GetModel(), x.GetCredentialId(), x.GetReason(), x.GetDescription(), x.GetCredentialClass(), x.GetLine()}
}

func candidateOf(c *plan.Candidate, level completion.Provenance) *routerv1.RouteCandidate {
	t := c.Target
	out := &routerv1.RouteCandidate{
		Provider: t.Provider, Model: t.Model, Reason: c.Reason, EstimatedCostNanoUsd: c.Cost, PriceVersion: c.PriceVersion, LatencyMicros: c.Latency.Microseconds(),
	}
	if t.PolicyID != "" {
		out.Line = int32(t.Line) + 1
	}
	if level != completion.ProvenanceNone {
		out.CredentialClass = eventsv1.CredentialClass(t.Class)
	} else if t.PolicyID == "" && c.Reason != "" { // without a policy it is a class that puts a candidate where it is
		out.Reason = "as the organization's rules order it"
	}
	if told(t.Credential, t.Class, level) {
		out.CredentialId, out.Credential, out.Revision = t.Credential.ID, t.Credential.Label, int32(t.Credential.Revision)
	}
	return out
}

func exclusionOf(x *plan.Exclusion, level completion.Provenance) *routerv1.RouteExclusion {
	out := &routerv1.RouteExclusion{
		Provider: x.Provider, Model: x.Model, Line: int32(x.Line) + 1, Reason: string(x.Reason), Description: x.Said("the credential"),
	}
	if level != completion.ProvenanceNone {
		out.CredentialClass = eventsv1.CredentialClass(x.Class)
	} else {
		out.Reason, out.Description = classless(x.Reason, out.GetDescription())
	}
	if told(x.Credential, x.Class, level) {
		out.CredentialId, out.Credential = x.Credential.ID, x.Credential.Label
	}
	return out
}

// classless is a reason that does not tell whose credentials it is about.
func classless(reason plan.Reason, description string) (string, string) {
	switch reason {
	case plan.PlatformNever, plan.PlatformPolicy:
		return string(plan.NoCredential), "there is no credential that the organization's rules let serve"
	case plan.NoCredential:
		return string(reason), "there is no credential that the organization's rules let serve"
	default:
		return string(reason), description
	}
}

// told reports whether a caller may know which credential it is: never one of the operator's.
func told(c *completion.Credential, class usage.Class, level completion.Provenance) bool {
	return c != nil && class == usage.Own && level == completion.ProvenanceFull
}

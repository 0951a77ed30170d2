package rpc

import (
	"context"
	"strings"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/intercept"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/router/internal/completion"
)

const (
	// toldAtMost bounds each list of an answer: an organization may have thousands of credentials, a policy lines
	// for each, and nobody reads as many. What an answer has besides is counted.
	toldAtMost = 200
	// maxText bounds what a refusal says.
	maxText = 2000
)

// errKeyOut means that an API key may not be used at this router, which keys did not know when it asked.
var errKeyOut = fault.New(fault.Precondition, "API_KEY_OUT", "the API key cannot be used any more, so all its requests are refused").
	Hinting("choose another API key")

// AnswerRoute answers what keys asks about a route on behalf of people who have no API key in their hands. It
// calls nobody. Caller finds an API key of an organization that may be used.
func AnswerRoute(ctx context.Context, q *keysv1.RouteQuestion, caller func(orgID, keyID string) (completion.Caller, bool), explain Explain) *keysv1.RouteAnswer {
	out := &keysv1.RouteAnswer{Id: q.GetId(), OrgId: q.GetOrgId()}
	told, err := preview(q, caller, explain)
	if err == nil {
		out.Route, err = proto.Marshal(told)
	}
	if err != nil {
		out.Refusal = refusalOf(ctx, err)
	}
	return out
}

func preview(q *keysv1.RouteQuestion, caller func(orgID, keyID string) (completion.Caller, bool), explain Explain) (*keysv1.PreviewRouteResponse, error) {
	who, ok := caller(q.GetOrgId(), q.GetApiKeyId())
	if !ok {
		return nil, errKeyOut
	}
	// The question's own id stands for the request's: what is drawn is drawn anew for each.
	req, err := plannedOf(q.GetId(), q.GetRequest())
	if err != nil {
		return nil, err
	}
	level := who.Provenance
	if q.GetDetail() == keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL {
		level = completion.ProvenanceFull
	}
	e, err := explain(who, req)
	if err != nil {
		return nil, completion.Discreet(err, level)
	}
	out := &keysv1.PreviewRouteResponse{Route: explanationOf(&e, level)}
	out.Route.Candidates, out.MoreCandidates = beginning(out.GetRoute().GetCandidates())
	out.Route.Exclusions, out.MoreExclusions = beginning(out.GetRoute().GetExclusions())
	return out, nil
}

func beginning[T any](list []T) (first []T, more int32) {
	n := min(len(list), toldAtMost)
	return list[:n], int32(len(list) - n)
}

// refusalOf is what may be told of err.
func refusalOf(ctx context.Context, err error) *keysv1.RouteRefusal {
	out := &keysv1.RouteRefusal{Code: int32(connect.CodeOf(intercept.ToConnect(ctx, err))), Reason: "INTERNAL", Message: "internal error"}
	if f, ok := fault.Of(err); ok {
		out.Reason, out.Message, out.Hint = f.Reason(), cut(f.Message()), cut(f.Hint())
	}
	return out
}

func cut(s string) string {
	s = strings.ToValidUTF8(s, "�")
	if runes := []rune(s); len(runes) > maxText {
		return string(runes[:maxText]) + "…"
	}
	return s
}

package rpc

import (
	"context"
	"fmt"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	"github.com/claviger/claviger/pkg/fault"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/services/keys/internal/route"
	"github.com/claviger/claviger/services/keys/internal/store"
)

type routeServer struct{ *API }

var _ keysv1connect.RouteServiceHandler = (*routeServer)(nil)

// PreviewRoute has a router tell what would serve a request of an API key.
func (s *routeServer) PreviewRoute(ctx context.Context, req *keysv1.PreviewRouteRequest) (*keysv1.PreviewRouteResponse, error) {
	request, err := proto.Marshal(req.GetRequest())
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	question, err := read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (route.Question, error) {
		return s.Routes.Draft(ctx, tx, caller(ctx), req.GetApiKeyId(), request)
	})
	if err != nil {
		return nil, err
	}
	told, err := s.Routes.Ask(ctx, question)
	if err != nil {
		return nil, err
	}
	if told.Refusal != nil {
		return nil, refusedRoute(told.Refusal)
	}
	res := &keysv1.PreviewRouteResponse{}
	if err := proto.Unmarshal(told.Route, res); err != nil {
		return nil, fmt.Errorf("decode the route of router %q: %w", told.Router, err)
	}
	res.Router = told.Router
	if !s.operates(ctx) {
		res.Router = alias(question.OrgID, told.Router)
	}
	return res, nil
}

// refusals are the kinds of errors with which a request is refused before it is planned.
var refusals = map[connect.Code]fault.Kind{
	connect.CodeInvalidArgument: fault.Invalid, connect.CodePermissionDenied: fault.Denied, connect.CodeNotFound: fault.NotFound,
	connect.CodeFailedPrecondition: fault.Precondition, connect.CodeResourceExhausted: fault.Exhausted, connect.CodeUnavailable: fault.Unavailable,
}

// refusedRoute is a router's refusal as our own error. A kind that does not belong to a plan is none of ours.
func refusedRoute(r *route.Refusal) error {
	kind, ok := refusals[connect.Code(r.Code)]
	if !ok || r.Reason == "" {
		return fmt.Errorf("a router refused a preview with code %d and reason %q", r.Code, r.Reason)
	}
	return fault.New(kind, r.Reason, r.Message).Hinting(r.Hint)
}

// ask sends a question, after the configuration that it is asked under.
func (w *watcher) ask(ctx context.Context, q route.Question) error {
	if err := w.catchUp(ctx); err != nil {
		return err
	}
	request := &routerv1.ExplainRouteRequest{}
	if err := proto.Unmarshal(q.Request, request); err != nil {
		return fmt.Errorf("decode question: %w", err)
	}
	out := &keysv1.RouteQuestion{Id: q.ID, OrgId: q.OrgID, ApiKeyId: q.APIKeyID, Request: request}
	if q.Whole {
		out.Detail = keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL
	}
	return w.out.Send(&keysv1.WatchConfigResponse{Message: &keysv1.WatchConfigResponse_Question{Question: out}})
}

// answer takes the answers to questions about routes.
func (f *Feed) answer(ctx context.Context, req *keysv1.ReportRouterStateRequest) error {
	for _, a := range req.GetRouteAnswers() {
		told := route.Answer{Router: req.GetRouter(), Route: a.GetRoute()}
		if r := a.GetRefusal(); r != nil {
			told.Refusal = &route.Refusal{Code: r.GetCode(), Reason: r.GetReason(), Message: r.GetMessage(), Hint: r.GetHint()}
		}
		if err := f.store.SaveAnswer(ctx, a.GetOrgId(), a.GetId(), told); err != nil {
			return err
		}
	}
	if len(req.GetRouteAnswers()) > 0 {
		f.questions.Announce()
	}
	return nil
}

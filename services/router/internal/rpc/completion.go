// Package rpc serves CompletionService: the use case of package completion over gRPC, gRPC-Web and
// Connect. It translates and nothing else.
package rpc

import (
	"context"

	"github.com/claviger/claviger/pkg/intercept"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/proto/gen/claviger/router/v1/routerv1connect"
	"github.com/claviger/claviger/services/router/internal/completion"
)

// Models lists what a caller may name as a model.
type Models func(caller completion.Caller) ([]Model, error)

// Model is something that may be named as a model.
type Model struct{ ID, OwnedBy string }

// CompletionServer implements the contract.
type CompletionServer struct {
	Completions *completion.Service
	// Caller returns who is calling, as the access interceptor found it.
	Caller func(ctx context.Context) completion.Caller
	Models Models
	// Explain plans without calling anybody.
	Explain Explain
}

var _ routerv1connect.CompletionServiceHandler = (*CompletionServer)(nil)

// Complete answers in one message.
func (s *CompletionServer) Complete(ctx context.Context, req *routerv1.CompleteRequest) (*routerv1.CompleteResponse, error) {
	caller := s.Caller(ctx)
	in, err := fromProto(ctx, req.GetInput(), false)
	if err != nil {
		return nil, err
	}
	out := &whole{requestID: in.ID, level: caller.Provenance}
	if err := s.Completions.Complete(ctx, caller, in, out); err != nil {
		return nil, err
	}
	return out.response(ctx), nil
}

// StreamCompletion answers piece by piece.
func (s *CompletionServer) StreamCompletion(ctx context.Context, req *routerv1.StreamCompletionRequest, stream routerv1connect.CompletionServiceStreamCompletionServerStream) error {
	caller := s.Caller(ctx)
	in, err := fromProto(ctx, req.GetInput(), true)
	if err != nil {
		return err
	}
	out := &pieces{pulse: pulse{send: stream.Send}, ctx: ctx, requestID: in.ID, level: caller.Provenance}
	out.start()
	defer out.stop()
	return s.Completions.Complete(ctx, caller, in, out)
}

// Embed gives the vectors of texts.
func (s *CompletionServer) Embed(ctx context.Context, req *routerv1.EmbedRequest) (*routerv1.EmbedResponse, error) {
	caller := s.Caller(ctx)
	in, err := embeddingOf(ctx, req)
	if err != nil {
		return nil, err
	}
	out := &outcome{}
	if err := s.Completions.Complete(ctx, caller, in, out); err != nil {
		return nil, err
	}
	answer := &routerv1.EmbedResponse{
		RequestId: in.ID, Model: out.served.Target.Model, Usage: usageOf(out.final), Provenance: provenanceOf(ctx, caller.Provenance, out.served, out.final),
	}
	for _, v := range out.result.Vectors {
		answer.Embeddings = append(answer.Embeddings, &routerv1.Embedding{Values: v})
	}
	return answer, nil
}

// CountTokens counts a prompt's tokens.
func (s *CompletionServer) CountTokens(ctx context.Context, req *routerv1.CountTokensRequest) (*routerv1.CountTokensResponse, error) {
	caller := s.Caller(ctx)
	in, err := fromProto(ctx, req.GetInput(), false)
	if err != nil {
		return nil, err
	}
	in.Operation = completion.CountTokens
	out := &outcome{}
	if err := s.Completions.Complete(ctx, caller, in, out); err != nil {
		return nil, err
	}
	return &routerv1.CountTokensResponse{
		RequestId: in.ID, Model: out.served.Target.Model, Tokens: out.result.Count, Provenance: provenanceOf(ctx, caller.Provenance, out.served, out.final),
	}, nil
}

// ListModels lists what the API key may name.
func (s *CompletionServer) ListModels(ctx context.Context, _ *routerv1.ListModelsRequest) (*routerv1.ListModelsResponse, error) {
	models, err := s.Models(s.Caller(ctx))
	if err != nil {
		return nil, err
	}
	out := &routerv1.ListModelsResponse{}
	for _, m := range models {
		out.Models = append(out.Models, &routerv1.Model{Id: m.ID, OwnedBy: m.OwnedBy})
	}
	return out, nil
}

// requestIDOf is the id that the interceptor gave the call and put into its header.
func requestIDOf(ctx context.Context) string { return intercept.RequestID(ctx) }

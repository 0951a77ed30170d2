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
	return out.response(), nil
}

// StreamCompletion answers piece by piece.
func (s *CompletionServer) StreamCompletion(ctx context.Context, req *routerv1.StreamCompletionRequest, stream routerv1connect.CompletionServiceStreamCompletionServerStream) error {
	caller := s.Caller(ctx)
	in, err := fromProto(ctx, req.GetInput(), true)
	if err != nil {
		return err
	}
	return s.Completions.Complete(ctx, caller, in, &pieces{stream: stream, requestID: in.ID, level: caller.Provenance})
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

// whole gathers an answer into one message.
type whole struct {
	requestID string
	level     completion.Provenance
	served    completion.Served
	final     completion.Final
	message   routerv1.Message
}

func (w *whole) Begin(served completion.Served) error { w.served = served; return nil }

func (w *whole) Chunk(c *completion.Chunk) error {
	d := &c.Delta
	if d.Text != "" {
		w.message.Parts = append(w.message.Parts, &routerv1.Part{Content: &routerv1.Part_Text{Text: d.Text}})
	}
	w.message.Reasoning += d.Reasoning
	w.message.Refusal += d.Refusal
	for _, t := range d.ToolCalls {
		for len(w.message.ToolCalls) <= t.Index {
			w.message.ToolCalls = append(w.message.ToolCalls, &routerv1.ToolCall{})
		}
		call := w.message.ToolCalls[t.Index]
		call.Id += t.ID
		call.Name += t.Name
		call.Arguments += t.Arguments
	}
	return nil
}

func (w *whole) End(final completion.Final) error { w.final = final; return nil }

func (w *whole) response() *routerv1.CompleteResponse {
	w.message.Role = routerv1.MessageRole_MESSAGE_ROLE_ASSISTANT
	return &routerv1.CompleteResponse{
		RequestId: w.requestID, Model: w.served.Target.Model, Message: &w.message,
		FinishReason: finishOf(w.final.Finish), Usage: usageOf(w.final), Provenance: provenanceOf(w.served, w.level),
	}
}

// pieces sends an answer as it comes. One message is reused: Send has encoded it when it returns.
type pieces struct {
	stream    routerv1connect.CompletionServiceStreamCompletionServerStream
	requestID string
	level     completion.Provenance
	served    completion.Served
	msg       routerv1.StreamCompletionResponse
	text      routerv1.StreamCompletionResponse_Text
}

func (p *pieces) Begin(served completion.Served) error {
	p.served = served
	started := &routerv1.Started{RequestId: p.requestID, Model: served.Target.Model}
	p.msg.Event = &routerv1.StreamCompletionResponse_Started{Started: started}
	return p.stream.Send(&p.msg)
}

func (p *pieces) Chunk(c *completion.Chunk) error {
	d := &c.Delta
	if d.Reasoning != "" {
		p.msg.Event = &routerv1.StreamCompletionResponse_Reasoning{Reasoning: d.Reasoning}
		if err := p.stream.Send(&p.msg); err != nil {
			return err
		}
	}
	if d.Text != "" {
		p.text.Text = d.Text
		p.msg.Event = &p.text
		if err := p.stream.Send(&p.msg); err != nil {
			return err
		}
	}
	if d.Refusal != "" {
		p.msg.Event = &routerv1.StreamCompletionResponse_Refusal{Refusal: d.Refusal}
		if err := p.stream.Send(&p.msg); err != nil {
			return err
		}
	}
	for _, t := range d.ToolCalls {
		call := &routerv1.ToolCallDelta{Index: int32(t.Index), Id: t.ID, Name: t.Name, Arguments: t.Arguments}
		p.msg.Event = &routerv1.StreamCompletionResponse_ToolCall{ToolCall: call}
		if err := p.stream.Send(&p.msg); err != nil {
			return err
		}
	}
	return nil
}

func (p *pieces) End(final completion.Final) error {
	p.msg.Event = &routerv1.StreamCompletionResponse_Finished{Finished: &routerv1.Finished{
		FinishReason: finishOf(final.Finish), Usage: usageOf(final), Provenance: provenanceOf(p.served, p.level),
	}}
	return p.stream.Send(&p.msg)
}

// requestIDOf is the id that the interceptor gave the call and put into its header.
func requestIDOf(ctx context.Context) string { return intercept.RequestID(ctx) }

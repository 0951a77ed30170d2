package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
)

// Answer is what came of a request.
type Answer struct {
	// RequestID names the request in usage and for support.
	RequestID    string
	Text         string
	ToolCalls    []*routerv1.ToolCall
	FinishReason routerv1.FinishReason
	Usage        *routerv1.Usage
	// Provenance says what served. How much of it depends on the API key.
	Provenance *routerv1.Provenance
}

// Complete asks for an answer in one piece. The deadline of ctx is the budget for everything: calls,
// waiting between them, and the fallbacks inside the router, which ends its call to the provider when
// the time is up.
func (c *Client) Complete(ctx context.Context, in *routerv1.CompletionInput) (*Answer, error) {
	var res *routerv1.CompleteResponse
	err := retry(ctx, func() (err error) {
		res, err = c.completions.Complete(ctx, &routerv1.CompleteRequest{Input: in})
		return err
	})
	if err != nil {
		return nil, err
	}
	a := &Answer{
		RequestID: res.GetRequestId(), ToolCalls: res.GetMessage().GetToolCalls(),
		FinishReason: res.GetFinishReason(), Usage: res.GetUsage(), Provenance: res.GetProvenance(),
	}
	for _, part := range res.GetMessage().GetParts() {
		a.Text += part.GetText()
	}
	return a, nil
}

// Stream asks for an answer piece by piece. An error of onText ends the stream. If the stream breaks
// off, what came is returned with the error: it has been paid, and only the caller knows whether half
// an answer is worth something, so it is not asked for again.
func (c *Client) Stream(ctx context.Context, in *routerv1.CompletionInput, onText func(string) error) (*Answer, error) {
	// Whoever leaves early cancels: the router then ends its call to the provider, and the cost with it.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var next func() (*routerv1.StreamCompletionResponse, error)
	var event *routerv1.StreamCompletionResponse
	// Only up to the first event may the call be made again.
	err := retry(ctx, func() error {
		stream, err := c.completions.StreamCompletion(ctx, &routerv1.StreamCompletionRequest{Input: in})
		if err != nil {
			return err
		}
		next = stream.Recv
		event, err = next()
		return err
	})
	a := &Answer{}
	for ; err == nil; event, err = next() {
		if err := a.add(event, onText); err != nil {
			return a, err
		}
	}
	if errors.Is(err, io.EOF) { // the router says so only after a finished event
		return a, nil
	}
	return a, err
}

func (a *Answer) add(event *routerv1.StreamCompletionResponse, onText func(string) error) error {
	switch e := event.GetEvent().(type) {
	case *routerv1.StreamCompletionResponse_Started:
		a.RequestID = e.Started.GetRequestId()
	case *routerv1.StreamCompletionResponse_Text:
		a.Text += e.Text
		return onText(e.Text)
	case *routerv1.StreamCompletionResponse_ToolCall:
		return a.addToolCall(e.ToolCall)
	case *routerv1.StreamCompletionResponse_Finished:
		a.FinishReason, a.Usage, a.Provenance = e.Finished.GetFinishReason(), e.Finished.GetUsage(), e.Finished.GetProvenance()
	}
	return nil // other events may come with later versions
}

// addToolCall puts a piece to its call: id and name come with the first piece, the arguments in parts
// that are JSON only when they are whole.
func (a *Answer) addToolCall(piece *routerv1.ToolCallDelta) error {
	switch i := int(piece.GetIndex()); {
	case i == len(a.ToolCalls):
		a.ToolCalls = append(a.ToolCalls, &routerv1.ToolCall{Id: piece.GetId(), Name: piece.GetName(), Arguments: piece.GetArguments()})
	case i >= 0 && i < len(a.ToolCalls):
		a.ToolCalls[i].Arguments += piece.GetArguments()
	default:
		return fmt.Errorf("a piece of tool call %d came before tool call %d began", i, len(a.ToolCalls))
	}
	return nil
}

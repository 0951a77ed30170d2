package rpc

import (
	"context"

	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/services/router/internal/completion"
)

// outcome takes the outcome of an operation that is no conversation.
type outcome struct {
	served completion.Served
	final  completion.Final
	result completion.Result
}

// Begin implements completion.Sink.
func (o *outcome) Begin(served completion.Served) error { o.served = served; return nil }

// Chunk implements completion.Sink.
func (o *outcome) Chunk(c *completion.Chunk) error {
	if c.Result != nil {
		o.result = *c.Result
	}
	return nil
}

// End implements completion.Sink.
func (o *outcome) End(final completion.Final) error { o.final = final; return nil }

// whole gathers an answer into one message.
type whole struct {
	requestID string
	level     completion.Provenance
	served    completion.Served
	final     completion.Final
	message   routerv1.Message
	ended     bool // the last block of reasoning has
}

func (w *whole) Begin(served completion.Served) error { w.served = served; return nil }

func (w *whole) Chunk(c *completion.Chunk) error {
	d := &c.Delta
	m := &w.message
	if d.Text != "" {
		m.Parts = append(m.Parts, &routerv1.Part{Content: &routerv1.Part_Text{Text: d.Text}})
	}
	m.Reasoning += d.Reasoning
	m.Refusal += d.Refusal
	w.think(d)
	for _, t := range d.ToolCalls {
		for len(m.ToolCalls) <= t.Index {
			m.ToolCalls = append(m.ToolCalls, &routerv1.ToolCall{})
		}
		call := m.ToolCalls[t.Index]
		call.Id += t.ID
		call.Name += t.Name
		call.Arguments += t.Arguments
		if t.Signature != "" {
			call.Signature, call.SignatureFormat = t.Signature, string(t.Format)
		}
	}
	for i := range d.Citations {
		m.Citations = append(m.Citations, citationOf(&d.Citations[i]))
	}
	if len(d.Logprobs) > 0 {
		if m.Logprobs == nil {
			m.Logprobs = &routerv1.Logprobs{}
		}
		m.Logprobs.Tokens = append(m.Logprobs.Tokens, logprobsOf(d.Logprobs)...)
	}
	return nil
}

// think adds reasoning to the blocks; a state ends one.
func (w *whole) think(d *completion.Delta) {
	m := &w.message
	for i := range d.Thoughts {
		m.ReasoningBlocks = append(m.ReasoningBlocks, blockOf(&d.Thoughts[i]))
	}
	if len(d.Thoughts) > 0 || d.Reasoning == "" && d.State == nil {
		return
	}
	if len(m.ReasoningBlocks) == 0 || w.ended {
		m.ReasoningBlocks = append(m.ReasoningBlocks, &routerv1.ReasoningBlock{})
		w.ended = false
	}
	last := &m.ReasoningBlocks[len(m.ReasoningBlocks)-1]
	(*last).Text += d.Reasoning
	if d.State != nil {
		text := (*last).GetText()
		*last = blockOf(d.State)
		(*last).Text = text
		w.ended = true
	}
}

func (w *whole) End(final completion.Final) error { w.final = final; return nil }

func (w *whole) response(ctx context.Context) *routerv1.CompleteResponse {
	w.message.Role = routerv1.MessageRole_MESSAGE_ROLE_ASSISTANT
	return &routerv1.CompleteResponse{
		RequestId: w.requestID, Model: w.served.Target.Model, Message: &w.message,
		FinishReason: finishOf(w.final.Finish), Usage: usageOf(w.final), Provenance: provenanceOf(ctx, w.level, w.served, w.final),
	}
}

// pieces sends an answer as it comes. One message is reused: Send has encoded it when it returns.
type pieces struct {
	pulse
	ctx       context.Context //nolint:containedctx // the call's, for its trailing metadata
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
	return p.event(&p.msg)
}

func (p *pieces) Chunk(c *completion.Chunk) error {
	d := &c.Delta
	if err := p.think(d); err != nil {
		return err
	}
	if d.Text != "" {
		p.text.Text = d.Text
		p.msg.Event = &p.text
		if err := p.event(&p.msg); err != nil {
			return err
		}
	}
	if d.Refusal != "" {
		p.msg.Event = &routerv1.StreamCompletionResponse_Refusal{Refusal: d.Refusal}
		if err := p.event(&p.msg); err != nil {
			return err
		}
	}
	if len(d.Logprobs) > 0 {
		p.msg.Event = &routerv1.StreamCompletionResponse_Logprobs{Logprobs: &routerv1.Logprobs{Tokens: logprobsOf(d.Logprobs)}}
		if err := p.event(&p.msg); err != nil {
			return err
		}
	}
	for i := range d.Citations {
		p.msg.Event = &routerv1.StreamCompletionResponse_Citation{Citation: citationOf(&d.Citations[i])}
		if err := p.event(&p.msg); err != nil {
			return err
		}
	}
	for _, t := range d.ToolCalls {
		call := &routerv1.ToolCallDelta{
			Index: int32(t.Index), Id: t.ID, Name: t.Name, Arguments: t.Arguments,
			Signature: t.Signature, SignatureFormat: string(t.Format),
		}
		p.msg.Event = &routerv1.StreamCompletionResponse_ToolCall{ToolCall: call}
		if err := p.event(&p.msg); err != nil {
			return err
		}
	}
	return nil
}

// think sends reasoning, and the state that ends a block of it.
func (p *pieces) think(d *completion.Delta) error {
	blocks := d.Thoughts
	if len(blocks) == 0 {
		only := completion.Reasoning{Text: d.Reasoning}
		if d.State != nil {
			only = *d.State
			only.Text = d.Reasoning
		}
		if only == (completion.Reasoning{}) {
			return nil
		}
		blocks = []completion.Reasoning{only}
	}
	for i := range blocks {
		if text := blocks[i].Text; text != "" {
			p.msg.Event = &routerv1.StreamCompletionResponse_Reasoning{Reasoning: text}
			if err := p.event(&p.msg); err != nil {
				return err
			}
		}
		if len(d.Thoughts) == 0 && d.State == nil {
			continue
		}
		state := blockOf(&blocks[i])
		state.Text = ""
		p.msg.Event = &routerv1.StreamCompletionResponse_ReasoningState{ReasoningState: state}
		if err := p.event(&p.msg); err != nil {
			return err
		}
	}
	return nil
}

func (p *pieces) End(final completion.Final) error {
	p.msg.Event = &routerv1.StreamCompletionResponse_Finished{Finished: &routerv1.Finished{
		FinishReason: finishOf(final.Finish), Usage: usageOf(final), Provenance: provenanceOf(p.ctx, p.level, p.served, final),
	}}
	return p.event(&p.msg)
}

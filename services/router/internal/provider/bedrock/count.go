package bedrock

import (
	"context"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// wireCount asks for the number of a prompt's tokens.
type wireCount struct {
	Input wireCounted `json:"input"`
}

type wireCounted struct {
	Converse wireRequest `json:"converse"`
}

// count asks for the number of a prompt's tokens, which is free. It is asked by the model's own name: the
// profiles of regions are not counted for.
func (p *Provider) count(ctx context.Context, call completion.Call, a account, m model) (completion.Answer, error) {
	prompt, err := call.Request.Decode()
	if err != nil {
		return nil, err
	}
	if prompt, err = p.fetched(ctx, prompt, m); err != nil {
		return nil, err
	}
	wire, _, err := encode(prompt, m)
	if err != nil {
		return nil, err
	}
	body, err := marshal(wireCount{Input: wireCounted{Converse: wireRequest{
		System: wire.System, Messages: wire.Messages, Tools: wire.Tools, Additional: wire.Additional,
	}}})
	if err != nil {
		return nil, err
	}
	res, err := p.send(ctx, call, a, a.runtime+"/model/"+address(m.bare)+"/count-tokens", body, false)
	if err != nil {
		return nil, err
	}
	return provider.NewWhole(res, func(body []byte) (completion.Chunk, string, error) {
		n, ok := jsonscan.Int(jsonscan.Get(body, "inputTokens"))
		if !ok || n < 0 || n > maxTokens {
			return completion.Chunk{}, "", res.Failed("the provider answered something that is not a count of tokens")
		}
		return completion.Chunk{Result: &completion.Result{Count: n}, Usage: &completion.Usage{Final: true}}, m.id, nil
	}), nil
}

package bedrock

import (
	"context"
	"strconv"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// wireCount asks for the number of a prompt's tokens.
type wireCount struct {
	Input wireCounted `json:"input"`
}

// wireCounted is one of its fields.
type wireCounted struct {
	Converse *wireRequest `json:"converse,omitempty"`
	Invoke   *wireInvoked `json:"invokeModel,omitempty"`
}

// wireInvoked is a body of InvokeModel.
type wireInvoked struct {
	Body []byte `json:"body"`
}

// count asks for the number of a prompt's tokens, which is free. It is asked by the model's own name: the
// profiles of regions are not counted for.
func (p *Provider) count(ctx context.Context, call completion.Call, a account, m model) (completion.Answer, error) {
	input, err := p.counted(ctx, call, m)
	if err != nil {
		return nil, err
	}
	body, err := marshal(wireCount{Input: input})
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
		chunk := completion.Chunk{Result: &completion.Result{Count: n}, Usage: &completion.Usage{Final: true}}
		if call.Raw {
			chunk.Raw = strconv.AppendInt([]byte(`{"input_tokens":`), n, 10)
			chunk.Raw = append(chunk.Raw, '}')
		}
		return chunk, m.id, nil
	}), nil
}

// counted is what is to be counted: a caller's body of Anthropic's, or the prompt.
func (p *Provider) counted(ctx context.Context, call completion.Call, m model) (wireCounted, error) {
	if call.Raw {
		// Counted is what could be invoked, and that says how long the answer may be.
		more := `,"max_tokens":1`
		if jsonscan.Get(call.Request.Raw, "max_tokens") != nil {
			more = ""
		}
		body, err := invokeBody(call, m, more)
		return wireCounted{Invoke: &wireInvoked{Body: body}}, err
	}
	prompt, err := call.Prompt()
	if err != nil {
		return wireCounted{}, err
	}
	if prompt, err = p.fetched(ctx, prompt, m); err != nil {
		return wireCounted{}, err
	}
	wire, _, err := encode(prompt, m)
	if err != nil {
		return wireCounted{}, err
	}
	return wireCounted{Converse: &wireRequest{
		System: wire.System, Messages: wire.Messages, Tools: wire.Tools, Additional: wire.Additional,
	}}, nil
}

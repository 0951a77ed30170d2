// Package bedrock carries calls to AWS Bedrock.
//
// Conversations go by Converse, one form for the models of nearly all makers; OpenAI's own models are
// called by chat completions. Callers of Anthropic's messages who use a Claude pass through byte for
// byte, in the envelope of InvokeModel. Embeddings and pictures are invoked in the form of their maker. Calls are signed by the AWS SDK's signer, or carry a Bedrock API key.
package bedrock

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
)

// Facts are what the docs say of it.
func Facts() provider.Facts {
	return provider.Facts{ //nolint:gosec // says what a credential is, and is none
		Slug: "bedrock", Name: "AWS Bedrock",
		Forms:      []string{"Converse", "InvokeModel (Claude, embeddings, pictures)", "CountTokens", "chat completions (OpenAI)"},
		Credential: `JSON: {"accessKeyId","secretAccessKey","region"}, with "sessionToken" if temporary, or {"apiKey","region"}`,
		KeyTest:    "lists foundation models and inference profiles",
		Examples:   []string{"anthropic.claude-sonnet-5", "amazon.nova-lite-v1:0", "openai.gpt-5.5", "amazon.titan-embed-text-v2:0", "cohere.embed-v4:0", "stability.stable-image-core-v1:1"},
	}
}

// dailyWait is how long a model is left alone whose tokens of the day are used up; AWS does not say.
const dailyWait = 10 * time.Minute

// Provider calls Bedrock.
type Provider struct {
	client provider.Client
	chat   *chat.Form
	now    func() time.Time
}

var _ completion.Provider = (*Provider)(nil)

// asOpenAI is how Bedrock speaks chat completions. Who may call it says AWS, in its own words.
var asOpenAI = chat.Vendor{
	Name: who, MaxTokens: "max_completion_tokens", InlineImages: true, Lacks: []completion.Feature{completion.FeatureTopK},
	Errors: []chat.Rule{
		{Status: http.StatusForbidden, Text: []string{"signature expired", "not yet current"}, Class: completion.CredentialError},
		{Status: http.StatusForbidden, Text: []string{"security token included in the request is", "the request signature we calculated", "api key"}, Class: completion.AuthInvalid},
	},
}

// New returns a provider that sends over transport, which guards where calls may go.
func New(transport http.RoundTripper) *Provider {
	client := provider.NewClient(transport)
	return &Provider{client: client, chat: chat.For(client, asOpenAI), now: time.Now}
}

// Serves knows conversations, vectors, pictures, and counts for Claude.
func (p *Provider) Serves(op completion.Operation, name string, _ *completion.Credential) string {
	m := modelOf(name, "", nil)
	speaks := !m.embeds && !m.draws
	switch op {
	case completion.Chat:
		if !speaks {
			return "has no conversations with " + m.bare
		}
	case completion.Embeddings:
		if embedding(m) == nil {
			return "has no embeddings by " + m.bare + ", only by amazon.titan-embed-text and cohere.embed"
		}
	case completion.Images:
		if !m.paints() {
			return "has no pictures by " + m.bare + ", only by Stability's models that draw from words"
		}
	case completion.CountTokens:
		if m.maker != claude && m.prefix != "" {
			return "counts tokens for Claude only"
		}
	default:
		return "has no " + string(op)
	}
	return ""
}

// Speaks is Anthropic's messages for Claude, and chat completions for OpenAI's models.
func (p *Provider) Speaks(d completion.Dialect, t *completion.Target) bool {
	switch modelOf(t.Name, "", nil).maker {
	case claude:
		return d == completion.AnthropicMessages || d == completion.AnthropicCount
	case openAI:
		return d == completion.OpenAIChat
	default:
		return false
	}
}

// Start sends the call. See completion.Provider.
func (p *Provider) Start(ctx context.Context, call completion.Call) (completion.Answer, error) {
	a, err := p.open(call.Secret, call.BaseURL)
	if err != nil {
		return nil, err
	}
	var listed []string
	if call.Credential != nil {
		listed = call.Credential.Models
	}
	m := modelOf(call.Model, a.Region, listed)
	switch {
	case call.Request.Asks() == completion.Embeddings:
		return p.embed(ctx, call, a, m)
	case call.Request.Asks() == completion.CountTokens:
		return p.count(ctx, call, a, m)
	case call.Request.Asks() == completion.Images:
		return p.draw(ctx, call, a, m)
	case m.maker == openAI:
		call.Model = m.id
		return p.chat.Start(ctx, call, provider.Route{URL: a.runtime + "/openai/v1/chat/completions", Auth: a.auth()})
	case call.Raw:
		return p.invoke(ctx, call, a, m)
	}
	return p.converse(ctx, call, a, m)
}

// converse sends a prompt by Converse.
func (p *Provider) converse(ctx context.Context, call completion.Call, a account, m model) (completion.Answer, error) {
	prompt, err := call.Prompt()
	if err != nil {
		return nil, err
	}
	if prompt, err = p.fetched(ctx, prompt, m); err != nil {
		return nil, err
	}
	wire, names, err := encode(prompt, m)
	if err != nil {
		return nil, err
	}
	if err := heeded(call.Overrides, wire); err != nil {
		return nil, err
	}
	body, err := marshal(wire)
	if err != nil {
		return nil, err
	}
	// Some models call tools, but not in a stream: their answer comes in one piece.
	streamed := call.Request.Stream && (!m.wholeTools || len(prompt.Tools) == 0)
	path := "/converse"
	if streamed {
		path = "/converse-stream"
	}
	res, err := p.send(ctx, call, a, a.runtime+"/model/"+address(m.id)+path, body, streamed)
	if err != nil {
		return nil, err
	}
	r := reader{model: m, names: names}
	if !streamed {
		return a.whole(res, r), nil
	}
	if err := isStream(res); err != nil {
		return nil, err
	}
	return &stream{res: res, frames: newFrames(res.Body), reader: r, account: a}, nil
}

// send sends a call and returns once a good answer has begun.
func (p *Provider) send(ctx context.Context, call completion.Call, a account, url string, body []byte, streamed bool) (*provider.Response, error) {
	header := http.Header{}
	if streamed {
		header.Set("Accept", mediaStream)
	}
	res, err := p.client.Send(ctx, provider.Outgoing{
		Method: http.MethodPost, URL: url, Body: body, Stream: streamed, AttemptID: call.AttemptID, Auth: a.auth(), Header: header,
	})
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, a.refused(res)
	}
	return res, nil
}

// fetched is a prompt with the pictures that stand at addresses, which Converse takes as bytes only.
func (p *Provider) fetched(ctx context.Context, prompt *completion.Prompt, m model) (*completion.Prompt, error) {
	if m.noImages {
		return prompt, nil
	}
	out, client := *prompt, p.client.ForCall()
	out.Messages = slices.Clone(prompt.Messages)
	for i := range out.Messages {
		parts := out.Messages[i].Parts
		for j := range parts {
			if parts[j].ImageURL == "" || parts[j].ImageData != nil {
				continue
			}
			data, mediaType, err := client.Picture(ctx, parts[j].ImageURL)
			if err != nil {
				return nil, err
			}
			parts = slices.Clone(parts)
			parts[j].ImageData, parts[j].MediaType = data, mediaType
			out.Messages[i].Parts = parts
		}
	}
	return &out, nil
}

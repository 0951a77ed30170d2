// Package openai carries calls to OpenAI and to servers that are compatible with it.
package openai

import (
	"context"
	"net/http"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
	"github.com/claviger/claviger/services/router/internal/provider/form/embeddings"
	"github.com/claviger/claviger/services/router/internal/provider/form/images"
	"github.com/claviger/claviger/services/router/internal/provider/form/responses"
)

// BaseURL is OpenAI's own address.
const BaseURL = "https://api.openai.com/v1"

// Facts are what the docs say of it.
func Facts() provider.Facts {
	return provider.Facts{
		Slug: "openai", Name: "OpenAI", BaseURL: BaseURL, Forms: []string{"chat completions", "responses", "embeddings", "images"},
		Credential: "API key", KeyTest: "lists the models",
	}
}

// Provider calls OpenAI and compatible servers.
type Provider struct {
	chat       *chat.Form
	responses  *responses.Form
	embeddings *embeddings.Form
	images     *images.Form
}

var _ completion.Provider = (*Provider)(nil)

// New returns a provider that sends over transport, which guards where calls may go.
func New(transport http.RoundTripper) *Provider {
	client := provider.NewClient(transport)
	return &Provider{
		chat:       chat.New(client),
		responses:  responses.New(client, responses.Vendor{Reasons: responses.Reasons}),
		embeddings: embeddings.New(client, embeddings.Vendor{}),
		images:     images.New(client, images.Vendor{}),
	}
}

// Serves knows conversations, the number of their tokens, vectors and pictures.
func (p *Provider) Serves(op completion.Operation, _ string, _ *completion.Credential) string {
	switch op {
	case completion.Chat, completion.CountTokens, completion.Embeddings, completion.Images:
		return ""
	case completion.Videos:
	}
	return "is not asked for " + string(op)
}

// Speaks is OpenAI's own dialects. Models that only answer as responses are asked that way by everyone.
func (p *Provider) Speaks(d completion.Dialect, t *completion.Target) bool {
	switch d {
	case completion.OpenAIChat:
		return !responses.Only(t.Name)
	case completion.OpenAIResponses, completion.OpenAIEmbeddings, completion.OpenAIImages:
		return true
	case completion.OpenAIVideos, completion.AnthropicMessages, completion.AnthropicCount, completion.Typed:
	}
	return false
}

// Start sends the call. See completion.Provider.
func (p *Provider) Start(ctx context.Context, call completion.Call) (completion.Answer, error) {
	route := provider.Route{URL: call.BaseURL, Auth: provider.Bearer(call.Secret)}
	switch call.Request.Asks() {
	case completion.Embeddings:
		route.URL += "/embeddings"
		return p.embeddings.Start(ctx, call, route)
	case completion.Images:
		route.URL += "/images/generations"
		return p.images.Start(ctx, call, route)
	case completion.CountTokens:
		route.URL += "/responses/input_tokens"
		return p.responses.Count(ctx, call, route)
	case completion.Chat, completion.Videos:
	}
	asResponse, call, err := p.responses.Preferred(call)
	if err != nil {
		return nil, err
	}
	if asResponse {
		route.URL += "/responses"
		return p.responses.Start(ctx, call, route)
	}
	route.URL += "/chat/completions"
	return p.chat.Start(ctx, withoutForeign(call), route)
}

// Test asks for the list of models, which takes no tokens.
func (p *Provider) Test(ctx context.Context, at completion.Place) completion.Verdict {
	return p.chat.Test(ctx, provider.Route{URL: at.BaseURL + "/models", Auth: provider.Bearer(at.Secret)})
}

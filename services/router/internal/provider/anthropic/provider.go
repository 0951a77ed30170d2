// Package anthropic carries calls to Anthropic's messages API.
package anthropic

import (
	"context"
	"net/http"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/messages"
)

// BaseURL is Anthropic's own address.
const BaseURL = "https://api.anthropic.com"

// Facts are what the docs say of it.
func Facts() provider.Facts {
	return provider.Facts{
		Slug: "anthropic", Name: "Anthropic", BaseURL: BaseURL, Forms: []string{"messages"},
		Credential: "API key", KeyTest: "lists the models",
	}
}

// Provider calls Anthropic.
type Provider struct{ messages *messages.Form }

var _ completion.Provider = (*Provider)(nil)

// New returns a provider that sends over transport, which guards where calls may go.
func New(transport http.RoundTripper) *Provider {
	return &Provider{messages: messages.New(provider.NewClient(transport))}
}

// Serves knows conversations, and counts their tokens.
func (p *Provider) Serves(op completion.Operation, _ string, _ *completion.Credential) string {
	if op != completion.Chat && op != completion.CountTokens {
		return "has no " + string(op)
	}
	return ""
}

// Speaks is Anthropic's messages.
func (p *Provider) Speaks(d completion.Dialect, _ *completion.Target) bool {
	return d == completion.AnthropicMessages || d == completion.AnthropicCount
}

// Start sends the call. See completion.Provider.
func (p *Provider) Start(ctx context.Context, call completion.Call) (completion.Answer, error) {
	if call.Request.Asks() == completion.CountTokens {
		return p.messages.Count(ctx, call, route(call.BaseURL+"/v1/messages/count_tokens", call))
	}
	return p.messages.Start(ctx, call, route(call.BaseURL+"/v1/messages", call))
}

// Test asks for the list of models, which takes no tokens.
func (p *Provider) Test(ctx context.Context, at completion.Place) completion.Verdict {
	return p.messages.Test(ctx, route(at.BaseURL+"/v1/models?limit=1000", completion.Call{Secret: at.Secret}))
}

func route(url string, call completion.Call) provider.Route {
	return provider.Route{URL: url, Auth: provider.Auth{Header: "X-Api-Key", Key: call.Secret}, Header: messages.Header(call)}
}

// Package openai carries calls to OpenAI and to servers that are compatible with it.
package openai

import (
	"context"
	"net/http"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
)

// BaseURL is OpenAI's own address.
const BaseURL = "https://api.openai.com/v1"

// Facts are what the docs say of it.
func Facts() provider.Facts {
	return provider.Facts{
		Slug: "openai", Name: "OpenAI", BaseURL: BaseURL, Forms: []string{"chat completions"},
		Credential: "API key", KeyTest: "lists the models",
	}
}

// Provider calls OpenAI and compatible servers.
type Provider struct{ chat *chat.Form }

var _ completion.Provider = (*Provider)(nil)

// New returns a provider that sends over transport, which guards where calls may go.
func New(transport http.RoundTripper) *Provider {
	return &Provider{chat: chat.New(provider.NewClient(transport))}
}

// Serves knows conversations only.
func (p *Provider) Serves(op completion.Operation, _ string, _ *completion.Credential) string {
	if op != completion.Chat {
		return "is not asked for " + string(op)
	}
	return ""
}

// Speaks is OpenAI's chat completions.
func (p *Provider) Speaks(d completion.Dialect, _ *completion.Target) bool {
	return d == completion.OpenAIChat
}

// Start sends the call. See completion.Provider.
func (p *Provider) Start(ctx context.Context, call completion.Call) (completion.Answer, error) {
	return p.chat.Start(ctx, call, provider.Route{URL: call.BaseURL + "/chat/completions", Auth: provider.Bearer(call.Secret)})
}

// Test asks for the list of models, which takes no tokens.
func (p *Provider) Test(ctx context.Context, at completion.Place) completion.Verdict {
	return p.chat.Test(ctx, provider.Route{URL: at.BaseURL + "/models", Auth: provider.Bearer(at.Secret)})
}

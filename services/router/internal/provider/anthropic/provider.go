// Package anthropic carries calls to Anthropic's messages API.
package anthropic

import (
	"context"
	"net/http"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/messages"
)

const (
	// BaseURL is Anthropic's own address.
	BaseURL = "https://api.anthropic.com"
	// version of the API. It serves all models and keeps the sampling parameters of the older ones,
	// which 2026-10-21 does not.
	version = "2023-06-01"

	headerVersion = "Anthropic-Version"
	headerBeta    = "Anthropic-Beta"
)

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
		return p.messages.Count(ctx, call, route(call.BaseURL+"/v1/messages/count_tokens", call.Secret, told(&call)))
	}
	return p.messages.Start(ctx, call, route(call.BaseURL+"/v1/messages", call.Secret, told(&call)))
}

// Test asks for the list of models, which takes no tokens.
func (p *Provider) Test(ctx context.Context, at completion.Place) completion.Verdict {
	return p.messages.Test(ctx, route(at.BaseURL+"/v1/models?limit=1000", at.Secret, nil))
}

// told are the headers of the caller's that go out with a body of theirs: they say in which version it is
// written, and which fields of it are only on trial. A body that was converted is in ours, without any.
func told(call *completion.Call) map[string]string {
	if !call.Raw {
		return nil
	}
	return call.Request.Headers
}

func route(url string, key secret.Text, told map[string]string) provider.Route {
	header := http.Header{headerVersion: {version}}
	for _, name := range []string{headerVersion, headerBeta} {
		if value := told[name]; value != "" {
			header[name] = []string{value}
		}
	}
	return provider.Route{URL: url, Auth: provider.Auth{Header: "X-Api-Key", Key: key}, Header: header}
}

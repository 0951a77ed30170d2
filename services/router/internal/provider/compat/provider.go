// Package compat carries calls to vendors that speak OpenAI's chat completions, each a little otherwise.
//
// A vendor is one value: what people call it, where it is, how its form differs, and how its keys are
// tried. The code that a difference needs stands in the vendor's own file; testdata holds exchanges in the
// form of recordings for each, which all pass through one test.
package compat

import (
	"context"
	"net/http"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
	"github.com/claviger/claviger/services/router/internal/provider/form/messages"
)

// Vendor describes one of them.
type Vendor struct {
	// Facts are what the docs say of it; its Name is what callers know it as.
	Facts provider.Facts
	// Chat says how its chat completions differ.
	Chat chat.Vendor
	// Messages is where Anthropic's messages are spoken, from the base URL; nil is nowhere.
	Messages func(base string) string
	// Counts says that tokens are counted there, too.
	Counts bool
	// Account are questions about a key, asked before the models are listed.
	Account []Question
	// Unlisted says that no list of models tells anything of a key.
	Unlisted bool
}

// Question is asked with a key, and takes no tokens.
type Question struct {
	// URL is where, from the base URL.
	URL func(base string) string
	// Read judges a good answer's body. A verdict that is not "active" ends the test.
	Read func(body []byte) completion.Verdict
	// Optional says that an answer that is not good says nothing of the key.
	Optional bool
}

// Vendors are all vendors, in the order of their slugs.
func Vendors() []Vendor {
	return []Vendor{baseten(), deepinfra(), groq(), mistral(), moonshot(), perplexity(), xai()}
}

// Provider calls one vendor.
type Provider struct {
	vendor   Vendor
	chat     *chat.Form
	messages *messages.Form
}

var _ completion.Provider = (*Provider)(nil)

// New returns a provider that sends over transport, which guards where calls may go.
func New(transport http.RoundTripper, vendor Vendor) *Provider {
	client := provider.NewClient(transport)
	vendor.Chat.Name = vendor.Facts.Name
	return &Provider{vendor: vendor, chat: chat.For(client, vendor.Chat), messages: messages.New(client)}
}

// Serves says what the vendor is not asked for.
func (p *Provider) Serves(op completion.Operation, _ string, _ *completion.Credential) string {
	switch {
	case op == completion.Chat, op == completion.CountTokens && p.vendor.Counts:
		return ""
	}
	return "has no " + string(op)
}

// Speaks is what passes as it is.
func (p *Provider) Speaks(d completion.Dialect, _ *completion.Target) bool {
	switch d {
	case completion.OpenAIChat:
		return true
	case completion.AnthropicMessages:
		return p.vendor.Messages != nil
	case completion.AnthropicCount:
		return p.vendor.Counts
	}
	return false
}

// Start sends the call. See completion.Provider.
func (p *Provider) Start(ctx context.Context, call completion.Call) (completion.Answer, error) {
	switch {
	case call.Request.Asks() == completion.CountTokens:
		return p.messages.Count(ctx, call, p.messagesRoute(call, "/count_tokens"))
	case call.Raw && call.Request.Dialect == completion.AnthropicMessages:
		return p.messages.Start(ctx, call, p.messagesRoute(call, ""))
	}
	return p.chat.Start(ctx, call, route(call.BaseURL+"/chat/completions", call.Secret))
}

func route(url string, key secret.Text) provider.Route {
	return provider.Route{URL: url, Auth: provider.Bearer(key)}
}

// anthropicVersion is the version of Anthropic's messages that vendors speak.
const anthropicVersion = "2023-06-01"

func (p *Provider) messagesRoute(call completion.Call, path string) provider.Route {
	r := route(p.vendor.Messages(call.BaseURL)+path, call.Secret)
	r.Header = http.Header{"Anthropic-Version": {anthropicVersion}}
	return r
}

// Test asks what the vendor tells of a key, and lists the models. Neither takes tokens.
func (p *Provider) Test(ctx context.Context, at completion.Place) completion.Verdict {
	last := completion.Verdict{}
	for _, q := range p.vendor.Account {
		answered := false
		verdict := p.chat.Ask(ctx, route(q.URL(at.BaseURL), at.Secret), func(res *provider.Response) completion.Verdict {
			answered = true
			body, err := res.Whole()
			if err != nil {
				return provider.Later(provider.Reason(err))
			}
			return q.Read(body)
		})
		if q.Optional && !answered {
			continue
		}
		if verdict.State != "active" {
			return verdict
		}
		last = verdict
	}
	if p.vendor.Unlisted {
		return last
	}
	listed := p.chat.Test(ctx, route(at.BaseURL+"/models", at.Secret))
	if listed.State != "active" && last.State == "active" {
		return last // the account's own answer says more of the key
	}
	return listed
}

// below is a path below the base URL.
func below(path string) func(string) string {
	return func(base string) string { return base + path }
}

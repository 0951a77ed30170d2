// Package compat carries calls to vendors that speak OpenAI's chat completions, each a little otherwise.
//
// A vendor is one value: what people call it, where it is, how its form differs, and how its keys are
// tried. The code that a difference needs stands in the vendor's own file; testdata holds exchanges in the
// form of recordings for each, which all pass through one test.
package compat

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/media"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
	"github.com/claviger/claviger/services/router/internal/provider/form/embeddings"
	"github.com/claviger/claviger/services/router/internal/provider/form/images"
	"github.com/claviger/claviger/services/router/internal/provider/form/messages"
	"github.com/claviger/claviger/services/router/internal/provider/form/responses"
	"github.com/claviger/claviger/services/router/internal/provider/form/videos"
)

// Vendor describes one of them.
type Vendor struct {
	// Facts are what the docs say of it; its Name is what callers know it as.
	Facts provider.Facts
	// Chat says how its chat completions differ.
	Chat chat.Vendor
	// Messages is where Anthropic's messages are spoken, from the base URL; nil is nowhere. Counts says that
	// tokens are counted there, too.
	Messages func(base string) string
	Counts   bool
	// Responses says how its responses differ from OpenAI's; nil is that it has none. They only pass: a call
	// of another dialect goes as chat completions.
	Responses *responses.Vendor
	// Embeddings and Images say how these differ; nil is that it has none.
	Embeddings *embeddings.Vendor
	Images     *images.Vendor
	// Videos says how its videos, which are jobs, differ from xAI's; nil is that it has none.
	Videos *videos.Vendor
	// Converts are dialects of its own forms that do not pass as they are.
	Converts []completion.Dialect
	// Lacks says of an operation why it cannot be, for people, where a credential or model decides; empty if
	// it can.
	Lacks func(op completion.Operation, model string, c *completion.Credential) string
	// Account are questions about a key, asked before the models are listed.
	Account []Question
	// Unlisted says that no list of models tells anything of a key. Listing is where models are listed besides
	// /models, and how that is read; nil is nowhere.
	Unlisted bool
	Listing  func(base string) (url string, read func(body []byte) completion.Verdict)
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

// Vendors are all vendors: those that differ from OpenAI, and those that do not.
func Vendors() []Vendor {
	out := []Vendor{baseten(), deepinfra(), groq(), mistral(), moonshot(), perplexity(), xai()}
	for _, p := range keyform.Known() {
		if p.Speaks != "" {
			out = append(out, Plain(p))
		}
	}
	return out
}

// Plain is a vendor that speaks as OpenAI does, as the table of providers names it.
func Plain(p keyform.Provider) Vendor {
	return Vendor{Facts: provider.Facts{
		Slug: p.Slug, Name: p.Name, BaseURL: p.Speaks, Forms: []string{"chat completions"}, Credential: "API key", KeyTest: "lists the models",
	}}
}

// Provider calls one vendor.
type Provider struct {
	vendor     Vendor
	chat       *chat.Form
	messages   *messages.Form
	responses  *responses.Form
	embeddings *embeddings.Form
	images     *images.Form
	videos     *videos.Form
}

var (
	_ completion.Provider = (*Provider)(nil)
	_ media.Provider      = (*Provider)(nil)
)

// New returns a provider that sends over transport, which guards where calls may go.
func New(transport http.RoundTripper, vendor Vendor) *Provider {
	client := provider.NewClient(transport)
	vendor.Chat.Name = vendor.Facts.Name
	p := &Provider{vendor: vendor, chat: chat.For(client, vendor.Chat), messages: messages.New(client)}
	if v := vendor.Responses; v != nil {
		its := *v
		its.Name, its.Judge = vendor.Facts.Name, p.vendor.Chat.Judge
		p.responses = responses.New(client, its)
	}
	if v := vendor.Embeddings; v != nil {
		its := *v
		its.Name, its.Judge = vendor.Facts.Name, p.vendor.Chat.Judge
		p.embeddings = embeddings.New(client, its)
	}
	if v := vendor.Images; v != nil {
		its := *v
		its.Name, its.Judge = vendor.Facts.Name, p.vendor.Chat.Judge
		p.images = images.New(client, its)
	}
	if v := vendor.Videos; v != nil {
		its := *v
		its.Name, its.Judge = vendor.Facts.Name, p.vendor.Chat.Judge
		p.videos = videos.New(client, its)
	}
	return p
}

// Serves says what the vendor is not asked for.
func (p *Provider) Serves(op completion.Operation, model string, c *completion.Credential) string {
	has := false
	switch op {
	case completion.Chat:
		has = true
	case completion.CountTokens:
		has = p.vendor.Counts
	case completion.Embeddings:
		has = p.embeddings != nil
	case completion.Images:
		has = p.images != nil
	case completion.Videos:
		has = p.videos != nil
	}
	if !has {
		return "has no " + string(op)
	}
	if p.vendor.Lacks != nil {
		return p.vendor.Lacks(op, model, c)
	}
	return ""
}

// Speaks is what passes as it is.
func (p *Provider) Speaks(d completion.Dialect, _ *completion.Target) bool {
	if slices.Contains(p.vendor.Converts, d) {
		return false
	}
	switch d {
	case completion.OpenAIChat:
		return true
	case completion.OpenAIResponses:
		return p.responses != nil
	case completion.OpenAIEmbeddings:
		return p.embeddings != nil
	case completion.OpenAIImages:
		return p.images != nil
	case completion.AnthropicMessages:
		return p.vendor.Messages != nil
	case completion.AnthropicCount:
		return p.vendor.Counts
	case completion.OpenAIVideos, completion.Typed:
	}
	return false
}

// Start sends the call. See completion.Provider.
func (p *Provider) Start(ctx context.Context, call completion.Call) (completion.Answer, error) {
	to := func(path string) provider.Route { return route(call.BaseURL+path, call.Secret) }
	switch call.Request.Asks() {
	case completion.Embeddings:
		return p.embeddings.Start(ctx, call, to("/embeddings"))
	case completion.Images:
		return p.images.Start(ctx, call, to("/images/generations"))
	case completion.CountTokens:
		answer, err := p.messages.Count(ctx, call, p.messagesRoute(call, "/count_tokens"))
		return answer, p.judged(err)
	case completion.Videos:
		return p.videos.Start(ctx, call, to("/videos/generations"))
	case completion.Chat:
	}
	switch {
	case call.Raw && call.Request.Dialect == completion.AnthropicMessages:
		answer, err := p.messages.Start(ctx, call, p.messagesRoute(call, ""))
		return answer, p.judged(err)
	case call.Raw && call.Request.Dialect == completion.OpenAIResponses:
		return p.responses.Start(ctx, call, to("/responses"))
	}
	return p.chat.Start(ctx, call, to("/chat/completions"))
}

// Poll asks how far a video is. See media.Provider.
func (p *Provider) Poll(ctx context.Context, at media.At) (media.State, error) {
	if p.videos == nil {
		return media.State{}, media.ErrNoJobs.With("provider", p.vendor.Facts.Slug)
	}
	return p.videos.Poll(ctx, at, route(at.BaseURL+"/videos", at.Secret))
}

// judged gives an error of messages the class that the vendor's words say.
func (p *Provider) judged(err error) error {
	if failed, ok := errors.AsType[*completion.ProviderError](err); ok {
		p.vendor.Chat.Judge(failed)
	}
	return err
}

func route(url string, key secret.Text) provider.Route {
	return provider.Route{URL: url, Auth: provider.Bearer(key)}
}

// anthropicVersion is the version of Anthropic's messages that vendors speak. None says that it reads what
// a caller tells Anthropic in headers, so nothing of that goes out.
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
		verdict := p.ask(ctx, route(q.URL(at.BaseURL), at.Secret), func(body []byte) completion.Verdict {
			answered = true
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
	listed := p.list(ctx, at)
	if listed.State != "active" && last.State == "active" {
		return last // the account's own answer says more of the key
	}
	return listed
}

// list asks for the list of models.
func (p *Provider) list(ctx context.Context, at completion.Place) completion.Verdict {
	if p.vendor.Listing != nil {
		if url, read := p.vendor.Listing(at.BaseURL); url != "" {
			return p.ask(ctx, route(url, at.Secret), read)
		}
	}
	return p.chat.Test(ctx, route(at.BaseURL+"/models", at.Secret))
}

// ask asks a question and reads the body of a good answer.
func (p *Provider) ask(ctx context.Context, to provider.Route, read func([]byte) completion.Verdict) completion.Verdict {
	return p.chat.Ask(ctx, to, func(res *provider.Response) completion.Verdict {
		body, err := res.Whole()
		if err != nil {
			return provider.Later(provider.Reason(err))
		}
		return read(body)
	})
}

// below is a path below the base URL.
func below(path string) func(string) string {
	return func(base string) string { return base + path }
}

// Package googleaistudio carries calls to Google AI Studio, the Gemini API with an API key.
package googleaistudio

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/gemini"
)

const (
	// BaseURL is AI Studio's own address.
	BaseURL = "https://generativelanguage.googleapis.com/v1beta"
	slug    = "google-ai-studio"
	who     = "Google AI Studio"
)

// Facts are what the docs say of it.
func Facts() provider.Facts {
	return provider.Facts{
		Slug: slug, Name: who, BaseURL: BaseURL, Forms: []string{"Gemini generateContent", "Gemini batchEmbedContents"},
		Credential: "API key", KeyTest: "lists the models, then counts the tokens of a word",
		Examples: []string{"gemini-3.8-flash", "gemini-3.1-flash-image", "gemini-embedding-001"},
	}
}

// Provider calls AI Studio.
type Provider struct{ gemini *gemini.Form }

var _ completion.Provider = (*Provider)(nil)

// New returns a provider that sends over transport, which guards where calls may go.
func New(transport http.RoundTripper) *Provider {
	return &Provider{gemini: gemini.New(provider.NewClient(transport), gemini.Options{
		Who: who, CallIDs: true, Tiers: true, WrapCounts: true, Files: BaseURL + "/files/",
	})}
}

// Serves goes by the model's name.
func (p *Provider) Serves(op completion.Operation, model string, _ *completion.Credential) string {
	return gemini.Serves(op, model)
}

// Speaks no dialect of callers: its own is nobody's, and its layer in OpenAI's form lacks too much.
func (p *Provider) Speaks(completion.Dialect, *completion.Target) bool { return false }

// Start sends the call. See completion.Provider.
func (p *Provider) Start(ctx context.Context, call completion.Call) (completion.Answer, error) {
	call.Model = strings.TrimPrefix(call.Model, "models/")
	if !gemini.ModelName(call.Model) {
		return nil, &completion.ProviderError{Class: completion.ModelNotFound, Message: "no model has such a name"}
	}
	return p.gemini.Start(ctx, call, func(method string) provider.Route {
		return route(call.BaseURL+"/models/"+call.Model+":"+method, call.Secret)
	})
}

// usual are the models that a count is asked for with: the first that the list names, else the first one.
// Names that only look alike may not count.
var usual = []string{"gemini-3.8-flash", "gemini-3.5-flash", "gemini-3.5-flash-lite", "gemini-2.5-flash", "gemini-flash-latest"}

// Test asks for the list of models, and for a count with one of them: keys were seen that list and may
// do nothing else. Both take no tokens.
func (p *Provider) Test(ctx context.Context, at completion.Place) completion.Verdict {
	names, failure := p.gemini.List(ctx, route(at.BaseURL+"/models", at.Secret))
	if failure == nil {
		failure = p.gemini.Count(ctx, route(at.BaseURL+"/models/"+counted(names)+":countTokens", at.Secret))
		if failure != nil && ofThisModel(failure) {
			failure = nil
		}
	}
	if failure == nil {
		return completion.Verdict{State: "active", Reason: "the provider accepts the key", Models: names}
	}
	return judge(failure)
}

// ofThisModel reports whether a failure of a count says something about the model only.
func ofThisModel(failure *completion.ProviderError) bool {
	switch failure.Class { //nolint:exhaustive // all others are about the key
	case completion.ModelNotFound, completion.Unsupported, completion.InvalidRequest:
		return true
	}
	return false
}

// counted is the model that a count is asked for with.
func counted(names []string) string {
	at := slices.IndexFunc(usual, func(name string) bool { return slices.Contains(names, name) })
	return usual[max(at, 0)]
}

// judge says what to do about keys of the old kind, and that a rate limit shows a genuine key.
func judge(failure *completion.ProviderError) completion.Verdict {
	if failure.Status == 0 || failure.Status == http.StatusOK {
		return provider.Later(failure.Message)
	}
	verdict := provider.Judge(failure)
	switch {
	case failure.Class == completion.AuthInvalid:
		verdict.Reason += "; keys that begin with AIza are not accepted any more, make a new one in AI Studio"
	case failure.Class == completion.RateLimited && failure.Type == "RESOURCE_EXHAUSTED":
		verdict.Reason = "the key is genuine, but its project is at a limit now: " + verdict.Reason
	}
	return verdict
}

func route(url string, key secret.Text) provider.Route {
	return provider.Route{URL: url, Auth: provider.Auth{Header: "X-Goog-Api-Key", Key: key}}
}

// Package vertex carries calls to Google Vertex AI: Gemini and Google's other models, Anthropic's, and
// open models.
//
// A credential is a service account, whose signature is exchanged for access tokens that are kept until
// shortly before they end, or a key of express mode. Calls go to the credential's location and to no
// other, whatever is answered there: data that has to stay in a region stays.
package vertex

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
	"github.com/claviger/claviger/services/router/internal/provider/form/gemini"
	"github.com/claviger/claviger/services/router/internal/provider/form/messages"
)

const who = "Google Vertex AI"

// Facts are what the docs say of it.
func Facts() provider.Facts {
	return provider.Facts{
		Slug: "vertex", Name: who, BaseURL: BaseURL,
		Forms:      []string{"Gemini generateContent", "predict", "messages", "chat completions"},
		Credential: "service account JSON, or API key of express mode",
		KeyTest:    "exchanges a token, then counts the tokens of a word",
		Examples:   []string{"gemini-3.8-flash", "gemini-3.1-flash-image", "gemini-embedding-001", "claude-sonnet-5-5", "openai/gpt-oss-120b-maas"},
	}
}

// Provider calls Vertex AI.
type Provider struct {
	gemini   *gemini.Form
	messages *messages.Form
	chat     *chat.Form
	tokens   *tokens
	parsed   *parsed
}

var _ completion.Provider = (*Provider)(nil)

// New returns a provider that sends over transport, which guards where calls may go.
func New(transport http.RoundTripper) *Provider {
	client := provider.NewClient(transport)
	return &Provider{
		gemini:   gemini.New(client, gemini.Options{Who: who, Files: "gs://", Vectors: vectors}),
		messages: messages.New(client),
		chat:     chat.For(client, chat.Vendor{Name: who}),
		tokens:   newTokens(client),
		parsed:   newParsed(),
	}
}

// express reports whether a credential is known to be a key of express mode: it has no project.
func express(c *completion.Credential) bool {
	return c != nil && c.Settings.Location != "" && c.Settings.Project == ""
}

// Serves goes by the model's name, and keys of express mode call Google's own models only.
func (p *Provider) Serves(op completion.Operation, model string, c *completion.Credential) string {
	kind, name := modelOf(model)
	if kind != google && express(c) {
		return "needs a service account for this model, and has a key of express mode"
	}
	switch kind {
	case claude:
		if op != completion.Chat && op != completion.CountTokens {
			return "has no " + string(op)
		}
		return ""
	case open:
		if op != completion.Chat {
			return "is not asked for " + string(op)
		}
		return ""
	case google:
		return gemini.Serves(op, name)
	}
	return ""
}

// Speaks is Anthropic's messages for Anthropic's models, and OpenAI's chat completions for open ones.
func (p *Provider) Speaks(d completion.Dialect, t *completion.Target) bool {
	switch kind, _ := modelOf(t.Name); kind {
	case claude:
		return d == completion.AnthropicMessages || d == completion.AnthropicCount
	case open:
		return d == completion.OpenAIChat
	case google:
	}
	return false
}

// Start sends the call. See completion.Provider. If a token is refused, it is sent once more with a fresh
// one: nothing was generated.
func (p *Provider) Start(ctx context.Context, call completion.Call) (completion.Answer, error) {
	credential, err := p.parsed.read(call.Credential, call.Secret)
	if err != nil {
		return nil, &completion.ProviderError{Class: completion.CredentialError, Message: "the credential is not in the form of a service account; an owner has to enter it again"}
	}
	kind, model := modelOf(call.Model)
	call.Model = model
	if kind != open && !gemini.ModelName(model) {
		return nil, &completion.ProviderError{Class: completion.ModelNotFound, Message: "no model has such a name"}
	}
	if !credential.APIKey.Empty() && kind != google {
		return nil, &completion.ProviderError{Class: completion.AuthLimited, Message: "keys of express mode call Google's own models only; this model needs a service account"}
	}
	if !call.Raw { // before a token is asked for, and once for both tries
		prompt, err := call.Prompt()
		if err != nil {
			return nil, err
		}
		request := *call.Request
		request.Decode = func() (*completion.Prompt, error) { return prompt, nil }
		call.Request = &request
	}
	acc := newAccount(credential, call.Credential, tokensFrom(call.BaseURL))
	for tries := 0; ; tries++ {
		at, err := p.place(ctx, call.BaseURL, credential, acc)
		if err != nil {
			return nil, err
		}
		answer, err := p.start(ctx, call, kind, at)
		if tries > 0 || !refusedToken(err, at) {
			return answer, err
		}
		p.tokens.drop(acc, at.token)
	}
}

// refusedToken reports whether a call failed for its access token, and nothing of it has to be paid.
func refusedToken(err error, at place) bool {
	failure, ok := errors.AsType[*completion.ProviderError](err)
	return ok && failure.Status == http.StatusUnauthorized && failure.Unbilled && !at.token.Empty()
}

func (p *Provider) start(ctx context.Context, call completion.Call, kind kind, at place) (completion.Answer, error) {
	switch kind {
	case claude:
		return p.claude(ctx, call, at)
	case open:
		return p.chat.Start(ctx, call, provider.Route{URL: at.root + at.prefix + "/endpoints/openapi/chat/completions", Auth: at.auth})
	case google:
	}
	return p.gemini.Start(ctx, call, func(method string) provider.Route { return at.model(call.Model, method) })
}

// model is the route of a method of one of Google's models.
func (at place) model(name, method string) provider.Route {
	return provider.Route{URL: at.root + at.prefix + "/publishers/google/models/" + name + ":" + method, Auth: at.auth}
}

// place is where calls of a credential go, with the token that they are signed with.
func (p *Provider) place(ctx context.Context, named string, g keyform.Google, acc account) (place, error) {
	at := place{root: base(named, g.Location), prefix: prefix(g)}
	if !g.APIKey.Empty() {
		at.auth = provider.Auth{Header: "X-Goog-Api-Key", Key: g.APIKey}
		return at, nil
	}
	token, err := p.tokens.get(ctx, acc)
	if err != nil {
		return place{}, err
	}
	at.token, at.auth = token, provider.Bearer(token)
	return at, nil
}

// counted are the models that a test counts with, until one is there: not every location has every one.
var counted = []string{"gemini-3.5-flash", "gemini-3.8-flash", "gemini-2.5-flash"}

// Test exchanges a token and asks for a count, which takes no tokens: the first shows that the account's
// key is good, the second that it may do something in its project and location.
func (p *Provider) Test(ctx context.Context, where completion.Place) completion.Verdict {
	credential, err := p.parsed.read(nil, where.Secret)
	if err != nil {
		return completion.Verdict{State: "rejected", Reason: "the credential is not in the form of a service account, nor a key of express mode; enter it again"}
	}
	acc := newAccount(credential, where.Credential, tokensFrom(where.BaseURL))
	if credential.APIKey.Empty() {
		if _, err := p.tokens.fresh(ctx, acc); err != nil {
			return judge(err)
		}
	}
	at, err := p.place(ctx, where.BaseURL, credential, acc)
	if err != nil {
		return judge(err)
	}
	var failure *completion.ProviderError
	for _, name := range counted {
		if failure = p.gemini.Count(ctx, at.model(name, "countTokens")); failure == nil {
			return completion.Verdict{State: "active", Reason: "the provider accepts the credential"}
		}
		if failure.Type != "NOT_FOUND" {
			return judge(failure)
		}
	}
	return completion.Verdict{
		State:  "degraded",
		Reason: "the credential is genuine, but no current Gemini model is found at the location " + credential.Location + "; check project and location, or use models that are there",
	}
}

// judge says what a failure tells about the credential, and what to do where Google's own words do not.
func judge(err error) completion.Verdict {
	failure, ok := errors.AsType[*completion.ProviderError](err)
	switch {
	case !ok:
		return provider.Later("the call failed")
	case failure.Class == completion.ModelNotFound, failure.Status == http.StatusOK:
		return provider.Later(failure.Message)
	}
	verdict := provider.Judge(failure)
	switch {
	case failure.Code == "IAM_PERMISSION_DENIED" || strings.Contains(failure.Message, "aiplatform.endpoints.predict"):
		verdict.Reason += "; give the service account the role Vertex AI User"
	case failure.Code == "SERVICE_DISABLED":
		verdict.Reason += "; enable the Vertex AI API in the project"
	}
	return verdict
}

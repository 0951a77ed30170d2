// Package azure carries calls to Azure OpenAI and Microsoft Foundry.
//
// A credential there is a list: each model has an endpoint, a deployment's name and a key of its own, and
// each endpoint its own way to be called. What runs behind a deployment's name is known by the model's slug
// only. Several deployments of one model are tried in their order, those that are cooling down last.
package azure

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
	"github.com/claviger/claviger/services/router/internal/provider/form/embeddings"
	"github.com/claviger/claviger/services/router/internal/provider/form/images"
	"github.com/claviger/claviger/services/router/internal/provider/form/messages"
	"github.com/claviger/claviger/services/router/internal/provider/form/responses"
)

// Facts are what the docs say of it.
func Facts() provider.Facts {
	return provider.Facts{ //nolint:gosec // what a credential looks like, for people
		Slug: "azure", Name: "Azure OpenAI",
		Forms:      []string{"chat completions", "responses", "embeddings", "images", "messages (Claude on Foundry)"},
		Credential: "list of `{model_slug, endpoint_url, api_key, model_id}`, one element per deployment",
		KeyTest:    "lists the models of each endpoint",
	}
}

// vendor is how Azure's chat completions differ. Old versions of the classic API know the old name of the
// bound only.
func vendor(maxTokens string, noStreamOptions bool) chat.Vendor {
	return chat.Vendor{
		Name: "Azure OpenAI", MaxTokens: maxTokens, NoStreamOptions: noStreamOptions,
		Lacks: []completion.Feature{completion.FeatureTopK},
		Errors: []chat.Rule{
			{Words: []string{"content_filter", "ResponsibleAIPolicyViolation"}, Class: completion.ContentRefused},
			{Words: []string{"DeploymentNotFound"}, Class: completion.ModelNotFound},
			{Words: []string{"OperationNotSupported"}, Class: completion.Unsupported},
			{Words: []string{"PermissionDenied"}, Class: completion.AuthLimited},
			{Status: 429, Text: []string{"high demand", "temporarily unable"}, Class: completion.Overloaded},
			{Words: []string{"Timeout"}, Class: completion.TimedOut},
		},
	}
}

// Provider calls Azure.
type Provider struct {
	// current speaks as the v1 API does, dated as the older versions, silent to those that refuse to be
	// asked for usage.
	current, dated, silent *chat.Form
	// thinking and plain are responses of models that reason and of others.
	thinking, plain *responses.Form
	embeddings      *embeddings.Form
	images          *images.Form
	messages        *messages.Form
	judge           func(*completion.ProviderError)
	memory          *memory
}

var _ completion.Provider = (*Provider)(nil)

// New returns a provider that sends over transport, which guards where calls may go.
func New(transport http.RoundTripper) *Provider {
	client := provider.NewClient(transport)
	its := vendor("max_completion_tokens", false)
	return &Provider{
		current: chat.For(client, its), dated: chat.For(client, vendor("max_tokens", false)), silent: chat.For(client, vendor("max_tokens", true)),
		thinking:   responses.New(client, responses.Vendor{Name: its.Name, Reasons: func(string) bool { return true }, Judge: its.Judge}),
		plain:      responses.New(client, responses.Vendor{Name: its.Name, Judge: its.Judge}),
		embeddings: embeddings.New(client, embeddings.Vendor{Name: its.Name, Judge: its.Judge}),
		images:     images.New(client, images.Vendor{Name: its.Name, Judge: its.Judge}),
		messages:   messages.New(client),
		judge:      its.Judge,
		memory:     newMemory(time.Now),
	}
}

// Serves looks for a deployment of the model whose API can do it.
func (p *Provider) Serves(op completion.Operation, model string, c *completion.Credential) string {
	if op == completion.Videos {
		return "is not asked for " + string(op)
	}
	if c == nil || len(c.Settings.Deployments) == 0 {
		return ""
	}
	found := false
	for _, d := range c.Settings.Deployments {
		if d.Model == model {
			found = true
			if can(keyform.AzureAPIOf(d.Endpoint), op) {
				return ""
			}
		}
	}
	if !found {
		return "has no deployment for this model"
	}
	return "has no " + string(op) + " at this model's deployment"
}

// can reports whether an API has an operation.
func can(api keyform.AzureAPI, op completion.Operation) bool {
	switch op {
	case completion.Chat:
		return true
	case completion.CountTokens:
		return api == keyform.AzureAnthropic
	case completion.Embeddings:
		return api != keyform.AzureAnthropic
	case completion.Images:
		return api == keyform.AzureV1 || api == keyform.AzureClassic || api == keyform.AzureProject
	case completion.Videos:
	}
	return false
}

// Speaks is what passes at every deployment of the model: which of them serves is not known before.
func (p *Provider) Speaks(d completion.Dialect, t *completion.Target) bool {
	apis := []keyform.AzureAPI{}
	if t.Credential != nil {
		for _, deployment := range t.Credential.Settings.Deployments {
			if deployment.Model == t.Name {
				apis = append(apis, keyform.AzureAPIOf(deployment.Endpoint))
			}
		}
	}
	if len(apis) == 0 {
		apis = append(apis, keyform.AzureV1)
	}
	return !slices.ContainsFunc(apis, func(api keyform.AzureAPI) bool { return !passes(d, api, t.Name) })
}

func passes(d completion.Dialect, api keyform.AzureAPI, model string) bool {
	switch d {
	case completion.OpenAIChat:
		return api != keyform.AzureAnthropic && !responses.Only(family(model))
	case completion.OpenAIResponses:
		return hasResponses(api)
	case completion.OpenAIEmbeddings:
		return can(api, completion.Embeddings)
	case completion.OpenAIImages:
		return can(api, completion.Images)
	case completion.AnthropicMessages, completion.AnthropicCount:
		return api == keyform.AzureAnthropic
	case completion.OpenAIVideos, completion.Typed:
	}
	return false
}

func hasResponses(api keyform.AzureAPI) bool {
	return api == keyform.AzureV1 || api == keyform.AzureClassic || api == keyform.AzureProject
}

// family is the model's own name: what comes before it says who made it.
func family(slug string) string { return slug[strings.LastIndex(slug, "/")+1:] }

// Start sends the call to the first deployment of the model that is not cooling down, and to the next one
// if it cannot serve for a reason of its own. See completion.Provider.
func (p *Provider) Start(ctx context.Context, call completion.Call) (completion.Answer, error) {
	list, err := keyform.ParseAzure(call.Secret)
	if err != nil {
		return nil, &completion.ProviderError{Class: completion.CredentialError, Message: "the credential is not in Azure's form"}
	}
	var fitting []keyform.AzureDeployment
	for _, d := range list {
		if d.ModelSlug == call.Model && can(d.API, call.Request.Asks()) {
			fitting = append(fitting, d)
		}
	}
	if len(fitting) == 0 {
		return nil, &completion.ProviderError{Class: completion.ModelNotFound, Message: "the credential has no deployment for this model"}
	}
	var failure error
	for _, d := range p.memory.inOrder(call.Credential, fitting) {
		answer, err := p.reach(ctx, call, d)
		if err == nil {
			return answer, nil
		}
		failure = err
		failed, ok := errors.AsType[*completion.ProviderError](err)
		if !ok {
			return nil, err
		}
		more := ctx.Err() == nil && p.memory.next(call.Credential, d, failed)
		ofOne(failed, d, list)
		if !more {
			return nil, err
		}
	}
	return nil, failure
}

// ofOne keeps a refusal of one deployment from being taken for one of the whole credential, whose other
// deployments have keys and resources of their own and go on serving.
func ofOne(failed *completion.ProviderError, d keyform.AzureDeployment, list keyform.Azure) {
	another := slices.ContainsFunc(list, func(o keyform.AzureDeployment) bool { return o.Endpoint != d.Endpoint || !o.Key.Equal(d.Key) })
	switch {
	case !another:
	case failed.Class == completion.AuthInvalid:
		failed.Class = completion.AuthLimited
	case failed.Class == completion.QuotaExhausted:
		failed.Class = completion.RateLimited
	}
}

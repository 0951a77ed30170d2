package azure

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
	"github.com/claviger/claviger/services/router/internal/provider/form/messages"
	"github.com/claviger/claviger/services/router/internal/provider/form/responses"
)

// Versions of the classic API. Models that reason need a later one than the last stable.
const (
	stableVersion    = "2024-10-21"
	reasoningVersion = "2025-04-01-preview"
	modelsVersion    = "2024-05-01-preview" // of the model inference API
)

// apiKey is how Azure's own APIs are signed.
func apiKey(key secret.Text) provider.Auth { return provider.Auth{Header: "Api-Key", Key: key} }

// route is where an operation of a deployment is, from the path that it has in OpenAI's API.
func route(d keyform.AzureDeployment, path string) provider.Route {
	r := provider.Route{Auth: apiKey(d.Key)}
	switch d.API {
	case keyform.AzureV1:
		r.URL = d.Endpoint + "/openai/v1" + path
	case keyform.AzureClassic:
		r.URL = d.Endpoint + "/openai/deployments/" + url.PathEscape(d.ModelID) + path + "?api-version=" + version(d)
		if path == "/responses" {
			r.URL = d.Endpoint + "/openai/responses?api-version=" + reasoningVersion
		}
	case keyform.AzureProject:
		r.URL = d.Endpoint + path
	case keyform.AzureModels:
		r.URL = d.Endpoint + path + "?api-version=" + or(d.Version, modelsVersion)
	case keyform.AzureServerless:
		r.URL, r.Auth = d.Endpoint+"/v1"+path, provider.Bearer(d.Key)
	case keyform.AzureGateway:
		r.URL = d.Endpoint + path
		if d.Version != "" {
			r.URL += "?api-version=" + url.QueryEscape(d.Version)
		}
	case keyform.AzureAnthropic:
		r.URL, r.Auth = d.Endpoint+"/anthropic/v1"+path, provider.Auth{Header: "X-Api-Key", Key: d.Key}
		r.Header = messages.Header(completion.Call{})
	}
	return r
}

// version is the classic API's for a deployment.
func version(d keyform.AzureDeployment) string {
	if d.Version == "" && responses.Reasons(family(d.ModelSlug)) {
		return reasoningVersion
	}
	return url.QueryEscape(or(d.Version, stableVersion))
}

func or(given, instead string) string {
	if given != "" {
		return given
	}
	return instead
}

// reach sends a call to one deployment. Where the v1 API is missing, it goes to the classic one, and that
// is remembered.
func (p *Provider) reach(ctx context.Context, call completion.Call, d keyform.AzureDeployment) (completion.Answer, error) {
	at := placeOf(call.Credential, d.Endpoint, "")
	if d.API == keyform.AzureV1 && p.memory.get(at).classic {
		d.API = keyform.AzureClassic
	}
	answer, err := p.send(ctx, call, d)
	if d.API != keyform.AzureV1 || !lacksV1(err) {
		return answer, err
	}
	d.API = keyform.AzureClassic
	answer, again := p.send(ctx, call, d)
	if lacksV1(again) {
		return nil, err
	}
	p.memory.change(at, func(k *known) { k.classic = true })
	return answer, again
}

// lacksV1 reports whether an error says that there is no such path or version, rather than no such
// deployment.
func lacksV1(err error) bool {
	failed, ok := errors.AsType[*completion.ProviderError](err)
	if !ok || failed.Code == "DeploymentNotFound" || failed.Code == "model_not_found" {
		return false
	}
	text := strings.ToLower(failed.Message)
	switch failed.Status {
	case http.StatusNotFound:
		return failed.Code == "404" || failed.Code == "" || strings.Contains(text, "resource not found")
	case http.StatusBadRequest:
		return strings.Contains(text, "api version") || strings.Contains(text, "api-version")
	}
	return false
}

// send makes the call in the form that the deployment speaks.
func (p *Provider) send(ctx context.Context, call completion.Call, d keyform.AzureDeployment) (completion.Answer, error) {
	call.BaseURL = d.Endpoint
	if d.API == keyform.AzureAnthropic {
		return p.claude(ctx, call, d)
	}
	switch call.Request.Asks() {
	case completion.Embeddings:
		call.Model = d.ModelID
		return p.embeddings.Start(ctx, call, route(d, "/embeddings"))
	case completion.Images:
		call.Model = d.ModelID
		return p.images.Start(ctx, call, route(d, "/images/generations"))
	case completion.Chat, completion.CountTokens, completion.Videos:
	}
	form, reasons := p.plain, responses.Reasons(family(d.ModelSlug))
	if reasons {
		form = p.thinking
	}
	asResponse := call.Raw && call.Request.Dialect == completion.OpenAIResponses
	if !call.Raw && hasResponses(d.API) && reasons {
		call.Model = family(d.ModelSlug)
		var err error
		if asResponse, call, err = form.Preferred(call); err != nil {
			return nil, err
		}
	}
	call.Model = d.ModelID
	if asResponse {
		return form.Start(ctx, call, route(d, "/responses"))
	}
	return p.converse(ctx, call, d)
}

// converse sends a chat completion. A version that refuses to be asked for usage is not asked again.
func (p *Provider) converse(ctx context.Context, call completion.Call, d keyform.AzureDeployment) (completion.Answer, error) {
	at := placeOf(call.Credential, d.Endpoint, d.ModelID)
	form := p.form(d)
	if p.memory.get(at).silent {
		form = p.silent
	}
	answer, err := form.Start(ctx, call, route(d, "/chat/completions"))
	failed, ok := errors.AsType[*completion.ProviderError](err)
	if !ok || form == p.silent || failed.Status != http.StatusBadRequest || !strings.Contains(failed.Message+failed.Param, "stream_options") {
		return answer, err
	}
	if answer, err = p.silent.Start(ctx, call, route(d, "/chat/completions")); err == nil {
		p.memory.change(at, func(k *known) { k.silent = true })
	}
	return answer, err
}

// form is how a deployment's chat completions are written.
func (p *Provider) form(d keyform.AzureDeployment) *chat.Form {
	switch d.API {
	case keyform.AzureV1, keyform.AzureProject, keyform.AzureGateway:
		return p.current
	case keyform.AzureClassic:
		if version(d) != stableVersion && !strings.HasPrefix(version(d), "2023") {
			return p.current
		}
	case keyform.AzureModels, keyform.AzureServerless, keyform.AzureAnthropic:
	}
	return p.dated
}

// claude sends Anthropic's messages. What the model can is known by its slug, what it is called there is
// the deployment's name.
func (p *Provider) claude(ctx context.Context, call completion.Call, d keyform.AzureDeployment) (completion.Answer, error) {
	if call.Request.Asks() == completion.CountTokens {
		call.Model = d.ModelID
		return p.messages.Count(ctx, call, claudeRoute(call, d, "/messages/count_tokens"))
	}
	call.Model = family(d.ModelSlug)
	answer, err := p.messages.StartWrapped(ctx, call, func(body []byte, _ bool) ([]byte, provider.Route, error) {
		named, err := provider.Rewrite(body, d.ModelID, nil, nil)
		return named, claudeRoute(call, d, "/messages"), err
	})
	if failed, ok := errors.AsType[*completion.ProviderError](err); ok {
		p.judge(failed)
	}
	return answer, err
}

// claudeRoute is a route with what the caller says of the body.
func claudeRoute(call completion.Call, d keyform.AzureDeployment, path string) provider.Route {
	r := route(d, path)
	r.Header = messages.Header(call)
	return r
}

// Package fal carries calls to fal (Fal.AI), whose models all work through one queue: a submit answers
// where to ask for the result.
//
// Videos are media jobs: the submit is the whole call. Pictures are waited for within the call, and the job
// is canceled when the caller leaves. The queue's addresses come with its answers; of these only the path is
// used, and only if the host is the one that was called, since the key goes there.
package fal

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/media"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// BaseURL is the address of the queue.
const BaseURL = "https://queue.fal.run"

// platformURL is the address of fal's own API beside the queue's own address. An operator's address in
// place of the queue's serves both.
const platformURL = "https://api.fal.ai"

// Facts are what the docs say of it.
func Facts() provider.Facts {
	return provider.Facts{ //nolint:gosec // says what a key looks like
		Slug: "fal", Name: "Fal.AI", BaseURL: BaseURL, Forms: []string{"queue"},
		Credential: "API key, `id:secret`", KeyTest: "asks for the price of a model",
	}
}

// Provider calls fal.
type Provider struct {
	client  provider.Client
	webhook string
	now     func() time.Time
}

var (
	_ completion.Provider = (*Provider)(nil)
	_ media.Provider      = (*Provider)(nil)
	_ media.Canceler      = (*Provider)(nil)
)

// New returns a provider that sends over transport, which guards where calls may go.
func New(transport http.RoundTripper) *Provider {
	return &Provider{client: provider.NewClient(transport), now: time.Now}
}

// NotifyAt makes submits ask fal to tell of the end of jobs at an address. It is called before the first
// submit.
func (p *Provider) NotifyAt(url string) { p.webhook = url }

// Serves is pictures and videos: what a model makes only trying can tell.
func (p *Provider) Serves(op completion.Operation, _ string, _ *completion.Credential) string {
	if op == completion.Images || op == completion.Videos {
		return ""
	}
	return "has no " + string(op)
}

// Speaks is nothing: a body is the model's own input.
func (p *Provider) Speaks(completion.Dialect, *completion.Target) bool { return false }

// Start submits a job, and waits for it if it makes pictures. See completion.Provider.
func (p *Provider) Start(ctx context.Context, call completion.Call) (completion.Answer, error) {
	endpoint, err := endpointOf(call.Model)
	if err != nil {
		return nil, err
	}
	prompt, err := call.Prompt()
	if err != nil {
		return nil, err
	}
	if call.Request.Asks() == completion.Images {
		return p.draw(ctx, call, endpoint, prompt)
	}
	return p.film(ctx, call, endpoint, prompt)
}

// film submits a video.
func (p *Provider) film(ctx context.Context, call completion.Call, endpoint string, prompt *completion.Prompt) (completion.Answer, error) {
	body, err := videoInput(call.Model, prompt)
	if err != nil {
		return nil, err
	}
	job, head, err := p.submit(ctx, call, endpoint, body, p.webhook)
	if err != nil {
		return nil, err
	}
	job.Expected, job.Seconds, job.Size = expected(body.seconds), prompt.Video.Seconds, prompt.Video.Size
	return provider.NewSubmitted(job, head.Status, call.Model), nil
}

// submit puts a job into the queue.
func (p *Provider) submit(ctx context.Context, call completion.Call, endpoint string, body input, webhook string) (*completion.Job, completion.AnswerHead, error) {
	address := call.BaseURL + endpoint
	if webhook != "" {
		address += "?fal_webhook=" + url.QueryEscape(webhook)
	}
	res, err := p.client.Send(ctx, provider.Outgoing{
		Method: http.MethodPost, URL: address, Body: body.json, AttemptID: call.AttemptID, Auth: auth(call.Secret),
	})
	if err != nil {
		return nil, completion.AnswerHead{}, err
	}
	if res.StatusCode/100 != 2 {
		failure := p.refused(res, call.Secret)
		// Of an error of the server's nobody knows whether the job is in the queue.
		failure.Unbilled = res.StatusCode < http.StatusInternalServerError
		return nil, completion.AnswerHead{}, failure
	}
	answer, err := res.Whole()
	if err != nil {
		return nil, completion.AnswerHead{}, err
	}
	job, err := parseSubmit(answer, call.BaseURL, endpoint)
	if err != nil {
		return nil, completion.AnswerHead{}, res.Failed("the provider's answer to the submit names no request")
	}
	return job, completion.AnswerHead{Status: res.StatusCode, RequestID: job.ID, Model: call.Model}, nil
}

// Poll asks how far a job is, and for its result once there is one. See media.Provider.
func (p *Provider) Poll(ctx context.Context, at media.At) (media.State, error) {
	paths := pathsOf(at.Ref)
	res, err := p.client.Send(ctx, provider.Outgoing{Method: http.MethodGet, URL: at.BaseURL + paths.status, Auth: auth(at.Secret)})
	if err != nil {
		return media.State{}, err
	}
	switch {
	case res.StatusCode == http.StatusNotFound:
		_ = res.Finish()
		return media.State{}, media.ErrUnknown
	case res.StatusCode/100 != 2:
		return media.State{}, p.refused(res, at.Secret)
	}
	body, err := res.Whole()
	if err != nil {
		return media.State{}, err
	}
	status, err := parseStatus(body)
	switch {
	case err != nil:
		return media.State{}, res.Failed("the provider's answer names no status")
	case status.state != media.Completed:
		return media.State{Status: status.state}, nil
	}
	return p.result(ctx, at, paths.response)
}

// result gets what a job that is over has made, or why it made nothing: COMPLETED means either.
func (p *Provider) result(ctx context.Context, at media.At, path string) (media.State, error) {
	res, err := p.client.Send(ctx, provider.Outgoing{Method: http.MethodGet, URL: at.BaseURL + path, Auth: auth(at.Secret)})
	if err != nil {
		return media.State{}, err
	}
	if res.StatusCode/100 != 2 {
		failure := p.refused(res, at.Secret)
		switch {
		case res.StatusCode == http.StatusNotFound:
			return media.State{}, media.ErrUnknown
		case strings.Contains(strings.ToLower(failure.Message), "still in progress"):
			return media.State{Status: media.InProgress}, nil
		case canceled(failure):
			return media.State{Status: media.Canceled}, nil
		case !failedByItself(res.StatusCode, failure):
			return media.State{}, failure // the account's or a proxy's error, not the job's
		}
		failure.Unbilled = res.StatusCode >= http.StatusInternalServerError
		return media.State{Status: media.Failed, Failure: failure}, nil
	}
	body, err := res.Whole()
	if err != nil {
		return media.State{}, err
	}
	return parseResult(body), nil
}

// Cancel asks for the end of a job. See media.Canceler.
func (p *Provider) Cancel(ctx context.Context, at media.At) error {
	res, err := p.client.Send(ctx, provider.Outgoing{Method: http.MethodPut, URL: at.BaseURL + pathsOf(at.Ref).cancel, Auth: auth(at.Secret)})
	if err != nil {
		return err
	}
	switch {
	case res.StatusCode/100 == 2:
		return res.Finish()
	case res.StatusCode == http.StatusNotFound:
		_ = res.Finish()
		return media.ErrUnknown
	}
	body := res.ErrorBody()
	if res.StatusCode == http.StatusBadRequest && strings.Contains(string(body), "ALREADY_COMPLETED") {
		return media.ErrEnded
	}
	return p.parsed(res, body, at.Secret)
}

// Test asks for the price of a model, which needs a key and costs nothing. A locked account may not show
// here; it does with the first submit.
func (p *Provider) Test(ctx context.Context, at completion.Place) completion.Verdict {
	base := at.BaseURL
	if base == BaseURL {
		base = platformURL
	}
	res, err := p.client.Send(ctx, provider.Outgoing{
		Method: http.MethodGet, URL: base + "/v1/models/pricing?endpoint_id=fal-ai/flux/dev", Auth: auth(at.Secret),
	})
	if err != nil {
		return provider.Later(provider.Reason(err))
	}
	if res.StatusCode != http.StatusOK {
		return provider.Judge(p.refused(res, at.Secret))
	}
	body, err := res.Whole()
	if err != nil {
		return provider.Later(provider.Reason(err))
	}
	if !hasPrices(body) {
		return completion.Verdict{Reason: "the address answers, but not with prices; check the endpoint"}
	}
	return completion.Verdict{State: "active", Reason: "the provider accepts the key; whether the account has money shows with the first call"}
}

// auth signs with the word that fal wants.
func auth(key secret.Text) provider.Auth {
	return provider.Auth{Header: "Authorization", Prefix: "Key ", Key: key}
}

// endpointOf is the path of a model: "owner/app" and possibly more.
func endpointOf(model string) (string, error) {
	parts := strings.Split(model, "/")
	for _, part := range parts {
		if part == "" || part == "." || part == ".." || strings.ContainsFunc(part, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.'
		}) {
			return "", badModel(model)
		}
	}
	if len(parts) < 2 {
		return "", badModel(model)
	}
	return "/" + model, nil
}

func badModel(model string) error {
	return completion.ErrModelUnknown.Saying("there is no model %q: fal's are named owner/app", "fal/"+model).With("param", "model").
		Hinting(`write it as on fal's page of the model, such as "fal/fal-ai/flux/dev"`)
}

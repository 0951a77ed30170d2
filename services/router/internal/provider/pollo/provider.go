// Package pollo carries calls to Pollo.AI, which makes videos by jobs and cannot cancel them.
//
// No recorded exchange was at hand when it was written: it is lenient in what it accepts.
package pollo

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

// BaseURL is Pollo's own address.
const BaseURL = "https://pollo.ai/api/platform"

// Facts are what the docs say of it.
func Facts() provider.Facts {
	return provider.Facts{
		Slug: "pollo", Name: "Pollo.AI", BaseURL: BaseURL, Forms: []string{"generation tasks"},
		Credential: "API key", KeyTest: "asks for the balance",
	}
}

// Provider calls Pollo.
type Provider struct {
	client  provider.Client
	webhook string
	now     func() time.Time
}

var (
	_ completion.Provider = (*Provider)(nil)
	_ media.Provider      = (*Provider)(nil)
)

// New returns a provider that sends over transport, which guards where calls may go.
func New(transport http.RoundTripper) *Provider {
	return &Provider{client: provider.NewClient(transport), now: time.Now}
}

// NotifyAt makes submits ask Pollo to tell of the end of jobs at an address. It is called before the first
// submit.
func (p *Provider) NotifyAt(url string) { p.webhook = url }

// Serves is videos.
func (p *Provider) Serves(op completion.Operation, _ string, _ *completion.Credential) string {
	if op == completion.Videos {
		return ""
	}
	return "is asked for videos only, not for " + string(op)
}

// Speaks is nothing: a body is the model's own input.
func (p *Provider) Speaks(completion.Dialect, *completion.Target) bool { return false }

// Start submits a job. See completion.Provider.
func (p *Provider) Start(ctx context.Context, call completion.Call) (completion.Answer, error) {
	model, err := modelOf(call.Model)
	if err != nil {
		return nil, err
	}
	prompt, err := call.Prompt()
	if err != nil {
		return nil, err
	}
	body, seconds, err := submitBody(model, prompt, p.webhook)
	if err != nil {
		return nil, err
	}
	res, err := p.client.Send(ctx, provider.Outgoing{
		Method: http.MethodPost, URL: call.BaseURL + model.path, Body: body, AttemptID: call.AttemptID, Auth: auth(call.Secret),
	})
	if err != nil {
		return nil, err
	}
	if res.StatusCode/100 != 2 {
		failure := p.refused(res, call.Secret)
		// Of an error of the server's nobody knows whether the job runs.
		failure.Unbilled = res.StatusCode < http.StatusInternalServerError
		return nil, failure
	}
	answer, err := res.Whole()
	if err != nil {
		return nil, err
	}
	job := parseSubmit(answer)
	if job == nil {
		return nil, res.Failed("the provider's answer to the submit names no task")
	}
	job.Expected, job.Seconds, job.Size = expected(seconds), prompt.Video.Seconds, prompt.Video.Size
	return provider.NewSubmitted(job, res.StatusCode, call.Model), nil
}

// Poll asks how far a job is. See media.Provider.
func (p *Provider) Poll(ctx context.Context, at media.At) (media.State, error) {
	res, err := p.client.Send(ctx, provider.Outgoing{
		Method: http.MethodGet, URL: at.BaseURL + "/generation/" + url.PathEscape(at.ID) + "/status", Auth: auth(at.Secret),
	})
	if err != nil {
		return media.State{}, err
	}
	switch {
	case res.StatusCode == http.StatusNotFound && isJSON(res):
		_ = res.Finish()
		return media.State{}, media.ErrUnknown
	case res.StatusCode/100 != 2:
		return media.State{}, p.refused(res, at.Secret)
	}
	body, err := res.Whole()
	if err != nil {
		return media.State{}, err
	}
	state, ok := parseStatus(body, at.Secret)
	if !ok {
		return media.State{}, res.Failed("the provider's answer is no status of a task")
	}
	return state, nil
}

// Test asks for the balance, which costs nothing and shows the funds.
func (p *Provider) Test(ctx context.Context, at completion.Place) completion.Verdict {
	res, err := p.client.Send(ctx, provider.Outgoing{Method: http.MethodGet, URL: at.BaseURL + "/credit/balance", Auth: auth(at.Secret)})
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
	return judgeBalance(body)
}

// auth is the one header that is documented.
func auth(key secret.Text) provider.Auth { return provider.Auth{Header: "X-Api-Key", Key: key} }

// isJSON tells the API from the proxy in front of it.
func isJSON(res *provider.Response) bool {
	return strings.HasPrefix(res.Header.Get("Content-Type"), "application/json")
}

// model is where a model's videos are submitted, and in which generation of the API's words.
type model struct {
	path string
	// duration is what a length is called.
	duration string
	// resolution writes "720p".
	resolution func(string) string
}

// generations are the forms of the API, by the prefix of a model's name; the last one is today's.
var generations = []struct {
	prefix, path, suffix, duration string
	resolution                     func(string) string
}{
	{"legacy/", "/generation/", "", "length", strings.ToUpper},
	{"", "/v1/generation/", "/video", "duration", strings.ToLower},
}

// modelOf reads "brand/model", or "legacy/brand/model" for a model that only the older form of the API has.
func modelOf(name string) (model, error) {
	for _, g := range generations {
		rest, ok := strings.CutPrefix(name, g.prefix)
		if !ok {
			continue
		}
		brand, short, ok := strings.Cut(rest, "/")
		if !ok || !plain(brand) || !plain(short) {
			break
		}
		return model{g.path + brand + "/" + short + g.suffix, g.duration, g.resolution}, nil
	}
	return model{}, completion.ErrModelUnknown.Saying("there is no model %q: Pollo's are named brand/model", "pollo/"+name).With("param", "model").
		Hinting(`write it as on Pollo's page of the model, such as "pollo/kling-ai/kling-v1-5"`)
}

func plain(s string) bool {
	return s != "" && strings.Trim(s, ".") != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.'
	})
}

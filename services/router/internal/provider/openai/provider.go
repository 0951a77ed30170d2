// Package openai carries calls to OpenAI's chat completions and to servers that are compatible with
// them.
//
// A call whose caller speaks the same dialect passes byte for byte, but for the edits that request.go
// lists; its answer passes in runs of whole events, of which only those are decoded that hold
// something the router has to know. Every other call is encoded from the neutral prompt.
package openai

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// BaseURL is OpenAI's own address.
const BaseURL = "https://api.openai.com/v1"

// Provider calls OpenAI and compatible servers.
type Provider struct {
	client provider.Client
	now    func() time.Time
}

var _ completion.Provider = (*Provider)(nil)

// New returns a provider that sends over transport, which guards where calls may go.
func New(transport http.RoundTripper) *Provider {
	return &Provider{client: provider.NewClient(transport), now: time.Now}
}

// Speaks is OpenAI's chat completions.
func (p *Provider) Speaks() completion.Dialect { return completion.OpenAIChat }

// Start sends the call. See completion.Provider.
func (p *Provider) Start(ctx context.Context, call completion.Call) (completion.Answer, error) {
	body, err := requestBody(call)
	if err != nil {
		return nil, err
	}
	stream := call.Request.Stream
	res, err := p.client.Send(ctx, provider.Outgoing{
		Method: http.MethodPost, URL: call.BaseURL + "/chat/completions", Body: body.bytes, Stream: stream,
		AttemptID: call.AttemptID, AuthHeader: "Authorization", AuthPrefix: "Bearer ", Key: call.Secret,
	})
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, p.refused(res, call.Secret)
	}
	head := completion.AnswerHead{Status: res.StatusCode, RequestID: res.RequestID()}
	if !stream {
		return &whole{res: res, head: head, key: call.Secret, raw: call.Raw}, nil
	}
	if kind := res.Header.Get("Content-Type"); strings.HasPrefix(kind, "application/json") || strings.HasPrefix(kind, "text/html") {
		return nil, notStreamed(res, call.Secret)
	}
	return newStream(res, call, head, body.choices), nil
}

// refused is the error of an error status. Nothing was generated.
func (p *Provider) refused(res *provider.Response, key secret.Text) error {
	failure := parseError(res.StatusCode, res.ErrorBody(), key)
	failure.RequestID, failure.Sent, failure.Unbilled = res.RequestID(), true, true
	failure.RetryAfter = provider.RetryAfter(res.Header, p.now())
	return failure
}

// notStreamed is the error of a server that answers a stream with one body, which compatible servers
// do to say that something is wrong.
func notStreamed(res *provider.Response, key secret.Text) error {
	body := res.ErrorBody()
	if e := jsonscan.Get(body, "error"); jsonscan.Given(e) {
		failure := eventError(body, key)
		failure.RequestID, failure.Sent = res.RequestID(), true
		return failure
	}
	return res.Failed("the provider did not stream its answer")
}

// Test asks for the list of models, which takes no tokens.
func (p *Provider) Test(ctx context.Context, baseURL string, key secret.Text) completion.Verdict {
	res, err := p.client.Send(ctx, provider.Outgoing{
		Method: http.MethodGet, URL: baseURL + "/models", AuthHeader: "Authorization", AuthPrefix: "Bearer ", Key: key,
	})
	if err != nil {
		return completion.Verdict{Reason: provider.Reason(err) + "; test again later"}
	}
	if res.StatusCode == http.StatusOK {
		body, err := res.Whole()
		if err != nil {
			return completion.Verdict{Reason: provider.Reason(err) + "; test again later"}
		}
		if jsonscan.KindOf(jsonscan.Get(body, "data")) != jsonscan.ArrayKind {
			return completion.Verdict{Reason: "the address answers, but not with a list of models; check the endpoint"}
		}
		return completion.Verdict{State: "active", Reason: "the provider accepts the key"}
	}
	return verdict(parseError(res.StatusCode, res.ErrorBody(), key))
}

func verdict(failure *completion.ProviderError) completion.Verdict {
	said := fmt.Sprintf("the provider says (%d): %s", failure.Status, failure.Message)
	switch failure.Class {
	case completion.AuthInvalid:
		return completion.Verdict{State: "rejected", Reason: said + "; replace the key"}
	case completion.AuthLimited:
		return completion.Verdict{State: "degraded", Reason: said + "; the key is genuine but may not do everything from here"}
	case completion.QuotaExhausted:
		return completion.Verdict{State: "quota_exhausted", Reason: said + "; add credit or raise the limit at the provider"}
	case completion.ModelNotFound:
		return completion.Verdict{Reason: "the address has no list of models, so the key cannot be tested there; check the endpoint"}
	case completion.InvalidRequest, completion.TooLarge, completion.ContentRefused, completion.Unsupported,
		completion.RateLimited, completion.Overloaded, completion.ServerError, completion.TimedOut,
		completion.Network, completion.CredentialError:
	}
	return completion.Verdict{Reason: said + "; test again later"}
}

// Package openai carries calls to OpenAI's chat completions and to servers that are compatible with
// them.
//
// A call whose caller speaks the same dialect passes byte for byte, but for the edits that request.go
// lists; its answer passes in runs of whole events, of which only those are decoded that hold
// something the router has to know. Every other call is encoded from the neutral prompt.
package openai

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
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
	f := &format{key: call.Secret, id: res.RequestID(), hide: !call.Request.IncludeUsage, choices: body.choices}
	if !stream {
		return provider.NewWhole(res, func(b []byte) (completion.Chunk, string, error) { return f.whole(b, call.Raw) }), nil
	}
	if kind := res.Header.Get("Content-Type"); strings.HasPrefix(kind, "application/json") || strings.HasPrefix(kind, "text/html") {
		return nil, f.notStreamed(res)
	}
	return provider.NewStream(res, f, call.Raw), nil
}

// refused is the error of an error status. Nothing was generated.
func (p *Provider) refused(res *provider.Response, key secret.Text) error {
	failure := parseError(res.StatusCode, res.ErrorBody(), key)
	failure.RequestID, failure.Sent, failure.Unbilled = res.RequestID(), true, true
	failure.RetryAfter = provider.RetryAfter(res.Header, p.now())
	return failure
}

// Test asks for the list of models, which takes no tokens.
func (p *Provider) Test(ctx context.Context, baseURL string, key secret.Text) completion.Verdict {
	res, err := p.client.Send(ctx, provider.Outgoing{
		Method: http.MethodGet, URL: baseURL + "/models", AuthHeader: "Authorization", AuthPrefix: "Bearer ", Key: key,
	})
	if err != nil {
		return provider.Later(provider.Reason(err))
	}
	if res.StatusCode == http.StatusOK {
		return provider.Listed(res)
	}
	return provider.Judge(parseError(res.StatusCode, res.ErrorBody(), key))
}

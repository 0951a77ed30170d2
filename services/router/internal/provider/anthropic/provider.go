// Package anthropic carries calls to Anthropic's messages API.
//
// A prompt of another dialect is converted; what the API cannot do is refused by name, and what a
// model cannot do is taken from the table in model.go. Events become deltas; usage in them is
// cumulative and replaces what came before.
package anthropic

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

const (
	// BaseURL is Anthropic's own address.
	BaseURL = "https://api.anthropic.com"
	// version of the API. It serves all models and keeps the sampling parameters of the older ones,
	// which 2026-10-21 does not.
	version = "2023-06-01"
	// longAnswer is from how many output tokens on an answer that is not streamed to the caller is
	// streamed to us all the same: it could take longer than connections stay open without a byte.
	longAnswer = 21_333
)

// Provider calls Anthropic.
type Provider struct {
	client provider.Client
	now    func() time.Time
}

var _ completion.Provider = (*Provider)(nil)

// New returns a provider that sends over transport, which guards where calls may go.
func New(transport http.RoundTripper) *Provider {
	return &Provider{client: provider.NewClient(transport), now: time.Now}
}

// Speaks is Anthropic's messages.
func (p *Provider) Speaks() completion.Dialect { return completion.AnthropicMessages }

// Start sends the call. See completion.Provider.
func (p *Provider) Start(ctx context.Context, call completion.Call) (completion.Answer, error) {
	body, stream, err := requestBody(call)
	if err != nil {
		return nil, err
	}
	res, err := p.client.Send(ctx, provider.Outgoing{
		Method: http.MethodPost, URL: call.BaseURL + "/v1/messages", Body: body, Stream: stream,
		AttemptID: call.AttemptID, AuthHeader: "X-Api-Key", Key: call.Secret, Version: version,
	})
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, p.refused(res, call.Secret)
	}
	f := &format{key: call.Secret, id: res.RequestID()}
	if !stream {
		return provider.NewWhole(res, func(b []byte) (completion.Chunk, string, error) { return f.whole(b, call.Raw) }), nil
	}
	if kind := res.Header.Get("Content-Type"); strings.HasPrefix(kind, "application/json") || strings.HasPrefix(kind, "text/html") {
		return nil, f.notStreamed(res)
	}
	answer := provider.NewStream(res, f, call.Raw)
	if !call.Request.Stream {
		return &assembled{Answer: answer, now: p.now}, nil
	}
	return answer, nil
}

// requestBody returns what goes out, and whether its answer is streamed.
func requestBody(call completion.Call) (body []byte, stream bool, err error) {
	if call.Raw {
		// The only edits: the model's name, and our own routing field.
		body, err = provider.Rewrite(call.Request.Raw, call.Model, nil, nil)
		return body, call.Request.Stream, err
	}
	prompt, err := call.Request.Decode()
	if err != nil {
		return nil, false, err
	}
	return encodeBody(prompt, call.Model, call.Request.Stream)
}

// refused is the error of an error status. Nothing was generated.
func (p *Provider) refused(res *provider.Response, key secret.Text) error {
	failure := parseError(res.StatusCode, res.ErrorBody(), key)
	if id := res.RequestID(); id != "" {
		failure.RequestID = id
	}
	failure.Sent, failure.Unbilled = true, true
	failure.RetryAfter = provider.RetryAfter(res.Header, p.now())
	return failure
}

// Test asks for the list of models, which takes no tokens.
func (p *Provider) Test(ctx context.Context, baseURL string, key secret.Text) completion.Verdict {
	res, err := p.client.Send(ctx, provider.Outgoing{
		Method: http.MethodGet, URL: baseURL + "/v1/models?limit=1", AuthHeader: "X-Api-Key", Key: key, Version: version,
	})
	if err != nil {
		return provider.Later(provider.Reason(err))
	}
	if res.StatusCode == http.StatusOK {
		return provider.Listed(res)
	}
	return provider.Judge(parseError(res.StatusCode, res.ErrorBody(), key))
}

// notStreamed is the error of a server that answers a stream with one body.
func (f *format) notStreamed(res *provider.Response) error {
	body := res.ErrorBody()
	if jsonscan.Given(jsonscan.Get(body, "error")) {
		return f.failure(body)
	}
	return f.nonsense("the provider did not stream its answer")
}

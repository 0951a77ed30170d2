// Package messages is the form of Anthropic's messages, which several vendors speak.
//
// A prompt of another dialect is converted; what the API cannot do is refused by name, and what a
// model cannot do is taken from the table in model.go. Events become deltas; usage in them is
// cumulative and replaces what came before.
package messages

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

// longAnswer is from how many output tokens on an answer that is not streamed to the caller is
// streamed to us all the same: it could take longer than connections stay open without a byte.
const longAnswer = 21_333

// Form sends calls in this form.
type Form struct {
	client provider.Client
	now    func() time.Time
}

// New returns the form over a client.
func New(client provider.Client) *Form { return &Form{client: client, now: time.Now} }

// Wrap says where a finished body goes, by whether its answer is streamed to us, and how it looks there.
type Wrap func(body []byte, stream bool) ([]byte, provider.Route, error)

// along is the way of vendors that take the form as it is.
func along(route provider.Route) Wrap {
	return func(body []byte, _ bool) ([]byte, provider.Route, error) { return body, route, nil }
}

// Start sends the call along a route. See completion.Provider.
func (p *Form) Start(ctx context.Context, call completion.Call, route provider.Route) (completion.Answer, error) {
	return p.StartWrapped(ctx, call, along(route))
}

// StartWrapped is Start for vendors that change the body and have an address of its own for streams.
func (p *Form) StartWrapped(ctx context.Context, call completion.Call, wrap Wrap) (completion.Answer, error) {
	body, stream, err := requestBody(call)
	if err != nil {
		return nil, err
	}
	body, route, err := wrap(body, stream)
	if err != nil {
		return nil, err
	}
	res, err := p.client.Send(ctx, provider.Outgoing{
		Method: http.MethodPost, URL: route.URL, Body: body, Stream: stream,
		AttemptID: call.AttemptID, Auth: route.Auth, Header: route.Header,
	})
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, p.refused(res, route.Auth.Key)
	}
	f := &format{key: route.Auth.Key, id: res.RequestID()}
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

// Count asks for the number of a prompt's tokens along a route. The answer is one piece, whose usage is
// none: counting is free.
func (p *Form) Count(ctx context.Context, call completion.Call, route provider.Route) (completion.Answer, error) {
	return p.CountWrapped(ctx, call, along(route))
}

// CountWrapped is Count for vendors that change the body.
func (p *Form) CountWrapped(ctx context.Context, call completion.Call, wrap Wrap) (completion.Answer, error) {
	body, err := countBody(call)
	if err != nil {
		return nil, err
	}
	body, route, err := wrap(body, false)
	if err != nil {
		return nil, err
	}
	res, err := p.client.Send(ctx, provider.Outgoing{
		Method: http.MethodPost, URL: route.URL, Body: body,
		AttemptID: call.AttemptID, Auth: route.Auth, Header: route.Header,
	})
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, p.refused(res, route.Auth.Key)
	}
	f := &format{key: route.Auth.Key, id: res.RequestID()}
	return provider.NewWhole(res, func(b []byte) (completion.Chunk, string, error) { return f.counted(b, call.Raw) }), nil
}

func countBody(call completion.Call) ([]byte, error) {
	if call.Raw {
		return rawBody(call)
	}
	prompt, err := call.Prompt()
	if err != nil {
		return nil, err
	}
	return encodeCount(prompt, call.Model)
}

// counted reads {"input_tokens":n}.
func (f *format) counted(body []byte, raw bool) (completion.Chunk, string, error) {
	if jsonscan.Given(jsonscan.Get(body, "error")) {
		return completion.Chunk{}, "", f.failure(body)
	}
	n, ok := jsonscan.Int(jsonscan.Get(body, "input_tokens"))
	if !ok || n < 0 || n > maxTokens {
		return completion.Chunk{}, "", f.nonsense("the provider answered something that is not a count of tokens")
	}
	chunk := completion.Chunk{Result: &completion.Result{Count: n}, Usage: &completion.Usage{Final: true}}
	if raw {
		chunk.Raw = body
	}
	return chunk, "", nil
}

// requestBody returns what goes out, and whether its answer is streamed.
func requestBody(call completion.Call) (body []byte, stream bool, err error) {
	if call.Raw {
		body, err = rawBody(call)
		return body, call.Request.Stream, err
	}
	prompt, err := call.Prompt()
	if err != nil {
		return nil, false, err
	}
	return encodeBody(prompt, call.Model, call.Request.Stream, call.Overrides)
}

// refused is the error of an error status. Nothing was generated.
func (p *Form) refused(res *provider.Response, key secret.Text) error {
	failure := parseError(res.StatusCode, res.ErrorBody(), key)
	if id := res.RequestID(); id != "" {
		failure.RequestID = id
	}
	failure.Sent, failure.Unbilled = true, true
	failure.RetryAfter = provider.RetryAfter(res.Header, p.now())
	return failure
}

// Test asks for a list of models at an address, which takes no tokens.
func (p *Form) Test(ctx context.Context, route provider.Route) completion.Verdict {
	res, err := p.client.Send(ctx, provider.Outgoing{Method: http.MethodGet, URL: route.URL, Auth: route.Auth, Header: route.Header})
	if err != nil {
		return provider.Later(provider.Reason(err))
	}
	if res.StatusCode == http.StatusOK {
		return provider.Listed(res)
	}
	return provider.Judge(parseError(res.StatusCode, res.ErrorBody(), route.Auth.Key))
}

// notStreamed is the error of a server that answers a stream with one body.
func (f *format) notStreamed(res *provider.Response) error {
	body := res.ErrorBody()
	if jsonscan.Given(jsonscan.Get(body, "error")) {
		return f.failure(body)
	}
	return f.nonsense("the provider did not stream its answer")
}

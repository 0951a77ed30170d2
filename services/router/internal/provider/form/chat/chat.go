// Package chat is the form of OpenAI's chat completions, which many vendors speak.
//
// A call whose caller speaks the same dialect passes byte for byte, but for the edits that request.go
// lists; its answer passes in runs of whole events, of which only those are decoded that hold
// something the router has to know. Every other call is encoded from the neutral prompt.
package chat

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// Form sends calls in this form.
type Form struct {
	client provider.Client
	vendor Vendor
	now    func() time.Time
}

// New returns the form over a client, as OpenAI speaks it.
func New(client provider.Client) *Form { return For(client, Vendor{}) }

// For returns the form over a client, as a vendor speaks it.
func For(client provider.Client, vendor Vendor) *Form {
	return &Form{client: client, vendor: vendor, now: time.Now}
}

// Start sends the call along a route. See completion.Provider.
func (p *Form) Start(ctx context.Context, call completion.Call, route provider.Route) (completion.Answer, error) {
	if p.vendor.InlineImages {
		own := *p
		own.client = p.client.ForCall()
		p = &own
	}
	body, err := p.requestBody(ctx, call)
	if err != nil {
		return nil, err
	}
	stream := call.Request.Stream
	res, err := p.client.Send(ctx, provider.Outgoing{
		Method: http.MethodPost, URL: route.URL, Body: body.bytes, Stream: stream,
		AttemptID: call.AttemptID, Auth: route.Auth, Header: route.Header,
	})
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, p.refused(res, route.Auth.Key)
	}
	f := &format{vendor: &p.vendor, key: route.Auth.Key, id: res.RequestID(), hide: !call.Request.IncludeUsage, choices: body.choices}
	if !stream {
		return provider.NewWhole(res, func(b []byte) (completion.Chunk, string, error) { return f.whole(b, call.Raw) }), nil
	}
	if kind := res.Header.Get("Content-Type"); strings.HasPrefix(kind, "application/json") || strings.HasPrefix(kind, "text/html") {
		return nil, f.notStreamed(res)
	}
	return provider.NewStream(res, f, call.Raw), nil
}

// refused is the error of an error status. Nothing was generated.
func (p *Form) refused(res *provider.Response, key secret.Text) error {
	failure := parseError(res.StatusCode, res.ErrorBody(), key, p.vendor.Errors)
	failure.RequestID, failure.Sent, failure.Unbilled = res.RequestID(), true, true
	failure.RetryAfter = provider.RetryAfter(res.Header, p.now())
	return failure
}

// Test asks for a list of models at an address, which takes no tokens.
func (p *Form) Test(ctx context.Context, route provider.Route) completion.Verdict {
	return p.Ask(ctx, route, provider.Listed)
}

// Ask asks at an address for something that tells about a key and takes no tokens, and reads the good
// answer.
func (p *Form) Ask(ctx context.Context, route provider.Route, read func(*provider.Response) completion.Verdict) completion.Verdict {
	res, err := p.client.Send(ctx, provider.Outgoing{Method: http.MethodGet, URL: route.URL, Auth: route.Auth, Header: route.Header})
	if err != nil {
		return provider.Later(provider.Reason(err))
	}
	if res.StatusCode == http.StatusOK {
		return read(res)
	}
	return provider.Judge(parseError(res.StatusCode, res.ErrorBody(), route.Auth.Key, p.vendor.Errors))
}

// Package responses is the form of OpenAI's responses, which some vendors speak besides chat
// completions. It carries reasoning from turn to turn in its encrypted form, and nothing is stored at
// the vendor.
//
// A call whose caller speaks the same dialect passes byte for byte, but for the edits that request.go
// lists. Every other call is encoded from the neutral prompt.
package responses

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
)

// Vendor says how a vendor's responses differ from OpenAI's. The zero value is OpenAI's own form.
type Vendor struct {
	// Name is what callers know the vendor as; empty is OpenAI.
	Name string
	// Reasons says whether a model's reasoning can be asked for in its encrypted form, which other models
	// refuse; nil is never.
	Reasons func(model string) bool
	// Lacks are features of this form that the vendor has not.
	Lacks []completion.Feature
	// Judge changes the class of an error where the vendor has words of its own; nil is OpenAI's.
	Judge func(*completion.ProviderError)
	// Cost reads what the vendor says that a call costs from its usage, in billionths of a dollar; nil is
	// that it does not say.
	Cost func(usage []byte) (nano int64, ok bool)
}

// Form sends calls in this form.
type Form struct {
	client provider.Client
	vendor Vendor
	now    func() time.Time
}

// New returns the form of a vendor over a client.
func New(client provider.Client, vendor Vendor) *Form {
	if vendor.Name == "" {
		vendor.Name = "OpenAI"
	}
	if vendor.Reasons == nil {
		vendor.Reasons = func(string) bool { return false }
	}
	if vendor.Judge == nil {
		vendor.Judge = func(*completion.ProviderError) {}
	}
	return &Form{client: client, vendor: vendor, now: time.Now}
}

// Start sends the call along a route. See completion.Provider.
func (p *Form) Start(ctx context.Context, call completion.Call, route provider.Route) (completion.Answer, error) {
	body, err := p.body(call)
	if err != nil {
		return nil, err
	}
	stream := call.Request.Stream
	res, err := p.send(ctx, call, route, body, stream)
	if err != nil {
		return nil, err
	}
	f := &format{vendor: &p.vendor, key: route.Auth.Key, id: res.RequestID()}
	if !stream {
		return provider.NewWhole(res, func(b []byte) (completion.Chunk, string, error) { return f.whole(b, call.Raw) }), nil
	}
	if kind := res.Header.Get("Content-Type"); strings.HasPrefix(kind, "application/json") || strings.HasPrefix(kind, "text/html") {
		return nil, f.notStreamed(res)
	}
	answer := provider.NewStream(res, f, call.Raw)
	if call.Raw {
		answer.Allowing(maxEvent)
	}
	return answer, nil
}

// maxEvent bounds an event of a stream that passes: some repeat the instructions and the tools, and some
// hold a picture.
const maxEvent = 32 << 20

// send sends a body and returns an answer that is no refusal.
func (p *Form) send(ctx context.Context, call completion.Call, route provider.Route, body []byte, stream bool) (*provider.Response, error) {
	res, err := p.client.Send(ctx, provider.Outgoing{
		Method: http.MethodPost, URL: route.URL, Body: body, Stream: stream,
		AttemptID: call.AttemptID, Auth: route.Auth, Header: route.Header,
	})
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		failure := chat.RefusedWith(res, route.Auth.Key, p.now())
		p.vendor.Judge(failure)
		return nil, failure
	}
	return res, nil
}

// Count asks for the number of a prompt's tokens along a route. The answer is one piece, whose usage is
// none: counting is free.
func (p *Form) Count(ctx context.Context, call completion.Call, route provider.Route) (completion.Answer, error) {
	prompt, err := call.Prompt()
	if err != nil {
		return nil, err
	}
	body, err := p.encodeCount(prompt, call)
	if err != nil {
		return nil, err
	}
	res, err := p.send(ctx, call, route, body, false)
	if err != nil {
		return nil, err
	}
	f := &format{vendor: &p.vendor, key: route.Auth.Key, id: res.RequestID()}
	return provider.NewWhole(res, f.counted), nil
}

// counted reads {"input_tokens":n}.
func (f *format) counted(body []byte) (completion.Chunk, string, error) {
	if jsonscan.Given(jsonscan.Get(body, "error")) {
		return completion.Chunk{}, "", f.failure(body)
	}
	n, ok := jsonscan.Int(jsonscan.Get(body, "input_tokens"))
	if !ok || n < 0 || n > maxTokens {
		return completion.Chunk{}, "", f.nonsense("the provider answered something that is not a count of tokens")
	}
	return completion.Chunk{Result: &completion.Result{Count: n}, Usage: &completion.Usage{Final: true}}, "", nil
}

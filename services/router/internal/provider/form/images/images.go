// Package images is the form of OpenAI's drawn pictures, which some vendors speak.
//
// A call whose caller speaks the same dialect passes byte for byte, but for the model's name and our own
// routing field, streamed or not. Every other call is encoded from the neutral input and is not streamed.
package images

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
)

// Vendor says how a vendor's pictures differ from those of OpenAI's GPT image models, which the zero
// value is.
type Vendor struct {
	// Name is what callers know the vendor as; empty is OpenAI.
	Name string
	// Members gives all members of the body but model and prompt; its error names what the vendor does not
	// know. Nil is GPT.
	Members func(model string, in *completion.ImageInput) (map[string]any, error)
	// PerImage says that the vendor bills pictures and not tokens: their number is then what a call took.
	PerImage bool
	// Judge changes the class of an error where the vendor has words of its own; nil is OpenAI's.
	Judge func(*completion.ProviderError)
	// Cost reads what the vendor says that a call costs from its usage, in billionths of a dollar; nil is
	// that it does not say.
	Cost func(usage []byte) (nano int64, ok bool)
}

// maxPicture bounds an event of a stream: a whole picture in base64.
const maxPicture = 32 << 20

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
	if vendor.Members == nil {
		vendor.Members = func(_ string, in *completion.ImageInput) (map[string]any, error) { return GPT(vendor.Name, in) }
	}
	if vendor.Judge == nil {
		vendor.Judge = func(*completion.ProviderError) {}
	}
	return &Form{client: client, vendor: vendor, now: time.Now}
}

// GPT gives the members that OpenAI's GPT image models know. Their pictures are always bytes.
func GPT(who string, in *completion.ImageInput) (map[string]any, error) {
	out := map[string]any{}
	for _, m := range []struct{ name, value string }{
		{"size", in.Size}, {"quality", in.Quality}, {"background", in.Background}, {"output_format", in.Format},
	} {
		if m.value != "" {
			out[m.name] = m.value
		}
	}
	if in.Count > 0 {
		out["n"] = in.Count
	}
	for _, m := range []struct {
		name  string
		given bool
	}{{"style", in.Style != ""}, {"aspect_ratio", in.AspectRatio != ""}, {"seed", in.Seed != nil}} {
		if m.given {
			return nil, provider.Uncarried(who, m.name, "it has no counterpart there")
		}
	}
	return out, nil
}

// Start sends the call along a route. See completion.Provider.
func (p *Form) Start(ctx context.Context, call completion.Call, route provider.Route) (completion.Answer, error) {
	body, err := p.body(call)
	if err != nil {
		return nil, err
	}
	stream := call.Raw && call.Request.Stream
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
	f := &format{vendor: &p.vendor, key: route.Auth.Key, id: res.RequestID(), model: call.Model}
	if !stream {
		return provider.NewWhole(res, func(b []byte) (completion.Chunk, string, error) { return f.whole(b, call.Raw) }), nil
	}
	if kind := res.Header.Get("Content-Type"); strings.HasPrefix(kind, "application/json") || strings.HasPrefix(kind, "text/html") {
		return nil, f.notStreamed(res)
	}
	return provider.NewStream(res, f, true).Allowing(maxPicture), nil
}

// body is what goes out.
func (p *Form) body(call completion.Call) ([]byte, error) {
	if call.Raw {
		return provider.Rewrite(call.Request.Raw, call.Model, nil, nil)
	}
	if call.Request.Stream {
		return nil, provider.Uncarried(p.vendor.Name, "stream", "pictures that become clearer do not pass between dialects")
	}
	prompt, err := call.Prompt()
	if err != nil {
		return nil, err
	}
	if prompt.Image == nil {
		return nil, completion.ErrUnsupported.Saying("the request asks for no pictures")
	}
	w, err := p.vendor.Members(call.Model, prompt.Image)
	if err != nil {
		return nil, err
	}
	w["model"], w["prompt"] = call.Model, prompt.Image.Text
	if prompt.User != "" {
		w["user"] = prompt.User
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(w); err != nil {
		return nil, provider.Uncarried(p.vendor.Name, "prompt", "it cannot be encoded").Because(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

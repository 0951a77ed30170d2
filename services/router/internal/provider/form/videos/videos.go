// Package videos is the form of xAI's videos: a submit names a request, which is asked for until it is done.
// There is no call that cancels one, and none that lists them.
package videos

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/media"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// Vendor says how a vendor's videos differ from xAI's.
type Vendor struct {
	// Name is what callers know the vendor as.
	Name string
	// Judge changes the class of an error where the vendor has words of its own; nil is OpenAI's.
	Judge func(*completion.ProviderError)
	// Cost reads what the vendor says that a job costs from its usage, in billionths of a dollar; nil is that
	// it does not say.
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
	if vendor.Judge == nil {
		vendor.Judge = func(*completion.ProviderError) {}
	}
	return &Form{client: client, vendor: vendor, now: time.Now}
}

// Start submits a job along a route. See completion.Provider.
func (p *Form) Start(ctx context.Context, call completion.Call, route provider.Route) (completion.Answer, error) {
	prompt, err := call.Prompt()
	if err != nil {
		return nil, err
	}
	in, err := p.input(call.Model, prompt.Video)
	if err != nil {
		return nil, err
	}
	res, err := p.client.Send(ctx, provider.Outgoing{
		Method: http.MethodPost, URL: route.URL, Body: in.Encode(), AttemptID: call.AttemptID, Auth: route.Auth, Header: route.Header,
	})
	if err != nil {
		return nil, err
	}
	if res.StatusCode/100 != 2 {
		failure := p.refused(res, route.Auth.Key)
		// Of an error of the server's nobody knows whether the job runs.
		failure.Unbilled = res.StatusCode < http.StatusInternalServerError
		return nil, failure
	}
	body, err := res.Whole()
	if err != nil {
		return nil, err
	}
	id := requestID(body)
	if id == "" {
		return nil, res.Failed("the provider's answer to the submit names no request")
	}
	seconds := provider.Seconds(in["duration"])
	job := &completion.Job{ID: id, Status: string(media.Queued), Expected: expected(seconds), Seconds: prompt.Video.Seconds, Size: prompt.Video.Size}
	return provider.NewSubmitted(job, res.StatusCode, call.Model), nil
}

// input is the body. The caller's own parameters win, but for the model.
func (p *Form) input(model string, v *completion.VideoInput) (provider.Input, error) {
	if v == nil {
		return nil, provider.Uncarried(p.vendor.Name, "the request", "it asks for no video")
	}
	if v.Seed != nil {
		return nil, provider.Uncarried(p.vendor.Name, "seed", "it has no counterpart there")
	}
	resolution, ratio := v.Resolution, v.AspectRatio
	if v.Size != "" {
		var err error
		if resolution, ratio, err = provider.Shape(p.vendor.Name, v.Size); err != nil {
			return nil, err
		}
	}
	in := provider.Input{}
	in.Put("prompt", v.Text)
	in.Put("resolution", resolution)
	in.Put("aspect_ratio", ratio)
	if v.Seconds != 0 {
		in["duration"] = v.Seconds
	}
	if frame := provider.FirstFrame(v); frame != "" {
		in["image"] = map[string]string{"url": frame}
	}
	if err := in.Own(v.Parameters); err != nil {
		return nil, err
	}
	in["model"] = model
	return in, nil
}

func expected(seconds int) []usage.Unit {
	out := []usage.Unit{{Name: "request", Milli: 1000}}
	if seconds > 0 {
		out = append(out, usage.Unit{Name: "second", Milli: int64(seconds) * 1000})
	}
	return out
}

// maxID bounds what a request is called.
const maxID = 128

func requestID(body []byte) string {
	id, _ := jsonscan.Text(jsonscan.Get(body, "request_id"))
	if strings.Trim(id, ".") == "" || provider.Bounded(id, maxID) != id || strings.ContainsAny(id, "/\\?#% ") {
		return ""
	}
	return id
}

// Poll asks how far a job is, below a route. See media.Provider.
func (p *Form) Poll(ctx context.Context, at media.At, route provider.Route) (media.State, error) {
	res, err := p.client.Send(ctx, provider.Outgoing{
		Method: http.MethodGet, URL: route.URL + "/" + url.PathEscape(at.ID), Auth: route.Auth, Header: route.Header,
	})
	if err != nil {
		return media.State{}, err
	}
	switch {
	case res.StatusCode == http.StatusNotFound:
		_ = res.Finish()
		return media.State{}, media.ErrUnknown
	case res.StatusCode/100 != 2:
		return media.State{}, p.refused(res, route.Auth.Key)
	}
	body, err := res.Whole()
	if err != nil {
		return media.State{}, err
	}
	if res.StatusCode == http.StatusAccepted && len(body) == 0 {
		return media.State{Status: media.InProgress}, nil
	}
	state, ok := p.parseState(body, route.Auth.Key)
	if !ok {
		return media.State{}, res.Failed("the provider's answer is no state of a video")
	}
	return state, nil
}

// parseState reads how far a job is.
func (p *Form) parseState(body []byte, key secret.Text) (media.State, bool) {
	said, ok := jsonscan.Text(jsonscan.Get(body, "status"))
	if !ok { // xAI's own clients take a film without a state for done
		if address, _ := jsonscan.Text(jsonscan.Get(jsonscan.Get(body, "video"), "url")); address == "" {
			return media.State{}, false
		}
		said = "done"
	}
	state := media.State{Status: media.InProgress}
	if n, ok := jsonscan.Int(jsonscan.Get(body, "progress")); ok && n >= 0 && n <= 100 {
		state.Progress = int(n)
	}
	switch said {
	case "done":
		state.Status, state.Progress = media.Completed, 100
		p.readVideo(&state, body)
	case "failed", "expired":
		state.Status, state.Usage = media.Failed, p.used(body, 0)
		state.Failure = failed(said, jsonscan.Get(body, "error"), key)
		p.vendor.Judge(state.Failure)
	}
	return state, true
}

// maxURL bounds the address of a file.
const maxURL = 4 << 10

// readVideo reads the file. One that moderation took away has none, and is paid for all the same.
func (p *Form) readVideo(state *media.State, body []byte) {
	video := jsonscan.Get(body, "video")
	out := media.Output{MediaType: "video/mp4"}
	out.URL, _ = jsonscan.Text(jsonscan.Get(video, "url"))
	if s, ok := jsonscan.Float(jsonscan.Get(video, "duration")); ok && s > 0 && s <= provider.MaxSeconds {
		out.Seconds = s
	}
	if len(out.URL) <= maxURL && (strings.HasPrefix(out.URL, "https://") || strings.HasPrefix(out.URL, "http://")) {
		state.Outputs = []media.Output{out}
	}
	if respected, ok := jsonscan.True(jsonscan.Get(video, "respect_moderation")); ok && !respected {
		state.Filtered = true
	}
	state.Usage = p.used(body, out.Seconds)
}

// used is what a job took; nil if the vendor does not say.
func (p *Form) used(body []byte, seconds float64) *completion.Usage {
	out := &completion.Usage{Units: []usage.Unit{{Name: "request", Milli: 1000}}}
	if seconds > 0 {
		out.Units = append(out.Units, usage.Unit{Name: "second", Milli: int64(seconds * 1000)})
		out.Final = true
	}
	if p.vendor.Cost != nil {
		if nano, ok := p.vendor.Cost(jsonscan.Get(body, "usage")); ok {
			out.CostNanoUSD, out.Final = &nano, true
		}
	}
	if !out.Final {
		return nil
	}
	return out
}

// failed is why a job made nothing.
func failed(status string, said []byte, key secret.Text) *completion.ProviderError {
	f := &completion.ProviderError{Class: completion.ServerError, Status: http.StatusOK, Sent: true, Message: "the job " + status}
	if status == "expired" {
		f.Class, f.Message = completion.TimedOut, "the provider no longer has the job's file"
	}
	f.Code = provider.Words(jsonscan.Get(said, "code"), key, 64)
	message := jsonscan.Get(said, "message")
	if jsonscan.KindOf(said) == jsonscan.String {
		message = said
	}
	if words := provider.Words(message, key, 0); words != "" {
		f.Message = words
	}
	if lower := strings.ToLower(f.Code + " " + f.Message); strings.Contains(lower, "moderation") || strings.Contains(lower, "policy") {
		f.Class = completion.ContentRefused
	}
	return f
}

func (p *Form) refused(res *provider.Response, key secret.Text) *completion.ProviderError {
	failure := chat.RefusedWith(res, key, p.now())
	p.vendor.Judge(failure)
	return failure
}

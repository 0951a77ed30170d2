package images

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
	"github.com/claviger/claviger/services/router/internal/sse"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// format reads one answer.
type format struct {
	vendor *Vendor
	key    secret.Text
	id     string // of the call, as the provider names it
	model  string // as it was called: answers do not say it
}

var _ provider.Format = (*format)(nil)

// Finished is false: a stream ends with the whole picture.
func (f *format) Finished() bool { return false }

// Model is what the provider was asked for.
func (f *format) Model() string { return f.model }

// Look reads an event of a stream.
func (f *format) Look(e sse.Event, chunk *completion.Chunk) (provider.Seen, error) {
	name := string(e.Name)
	if name == "" {
		name, _ = jsonscan.Text(jsonscan.Get(e.Data, "type"))
	}
	switch {
	case name == "error" || name == "":
		if name == "error" || jsonscan.Given(jsonscan.Get(e.Data, "error")) {
			return provider.Silent, f.failure(e.Data)
		}
		return provider.Silent, f.nonsense("the provider sent an event without a type")
	case strings.HasSuffix(name, ".partial_image"):
		chunk.Content = true
	case strings.HasSuffix(name, ".completed"):
		chunk.Content, chunk.Finish = true, completion.Stop
		chunk.Usage = f.usage(jsonscan.Get(e.Data, "usage"), 1)
		return provider.Last, nil
	}
	return provider.Silent, nil
}

// Decode is not used: converted calls are not streamed.
func (f *format) Decode(e sse.Event, chunk *completion.Chunk) (provider.Seen, error) {
	return f.Look(e, chunk)
}

func (f *format) failure(data []byte) error {
	failure := chat.ReportedWith(data, f.key, f.id)
	f.vendor.Judge(failure)
	return failure
}

func (f *format) nonsense(message string) error {
	return &completion.ProviderError{Class: completion.ServerError, Status: http.StatusOK, RequestID: f.id, Message: message, Sent: true}
}

func (f *format) notStreamed(res *provider.Response) error {
	body := res.ErrorBody()
	if jsonscan.Given(jsonscan.Get(body, "error")) {
		return f.failure(body)
	}
	return f.nonsense("the provider did not stream its answer")
}

// whole reads an answer that is not streamed.
func (f *format) whole(body []byte, raw bool) (completion.Chunk, string, error) {
	data := jsonscan.Get(body, "data")
	if jsonscan.KindOf(data) != jsonscan.ArrayKind {
		if jsonscan.Given(jsonscan.Get(body, "error")) {
			return completion.Chunk{}, "", f.failure(body)
		}
		return completion.Chunk{}, "", f.nonsense("the provider answered something that is not a list of pictures")
	}
	format, _ := jsonscan.Text(jsonscan.Get(body, "output_format"))
	var pictures []completion.Picture
	count := 0
	for list := jsonscan.Array(data); list.Next(); count++ {
		if raw {
			continue
		}
		picture, ok := f.picture(list.Value, format)
		if !ok {
			return completion.Chunk{}, "", f.nonsense("the provider answered a picture that has neither bytes nor an address")
		}
		pictures = append(pictures, picture)
	}
	chunk := completion.Chunk{Finish: completion.Stop, Usage: f.usage(jsonscan.Get(body, "usage"), count)}
	if raw {
		chunk.Raw = body
	} else {
		chunk.Result = &completion.Result{Pictures: pictures}
	}
	model, _ := jsonscan.Text(jsonscan.Get(body, "model"))
	if model == "" {
		model = f.model
	}
	return chunk, provider.Bounded(model, 256), nil
}

// picture reads one picture. What its bytes are is told with it, or once for all by the name of the form.
func (f *format) picture(v []byte, format string) (completion.Picture, bool) {
	var p completion.Picture
	m := jsonscan.Object(v)
	for m.Next() {
		switch string(m.Name) {
		case "b64_json":
			text, ok := jsonscan.Text(m.Value)
			if !ok {
				continue
			}
			data, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return p, false
			}
			p.Data = data
		case "url":
			p.URL, _ = jsonscan.Text(m.Value)
		case "mime_type":
			p.MediaType, _ = jsonscan.Text(m.Value)
		case "revised_prompt":
			p.RevisedText, _ = jsonscan.Text(m.Value)
		}
	}
	if p.MediaType == "" && format != "" {
		p.MediaType = mediaType(format)
	}
	return p, len(p.Data) > 0 || p.URL != ""
}

func mediaType(format string) string {
	if format == "svg" {
		return "image/svg+xml"
	}
	return "image/" + provider.Bounded(format, 16)
}

// maxTokens bounds a count: what is larger is a mistake and not used.
const maxTokens = 1 << 40

// usage reads a usage object, of an answer with so many pictures. What of the output is not said to be
// text is picture. Nil is unknown.
func (f *format) usage(v []byte, pictures int) *completion.Usage {
	valid := true
	number := func(otherwise int64, path ...string) int64 {
		given := jsonscan.Get(v, path...)
		if !jsonscan.Given(given) {
			return otherwise
		}
		n, ok := jsonscan.Int(given)
		valid = valid && ok && n >= 0 && n <= maxTokens
		return n
	}
	input, output := number(-1, "input_tokens"), number(-1, "output_tokens")
	cached := number(0, "input_tokens_details", "cached_tokens")
	t := usage.Tokens{
		InputTotal: input, InputUncached: input - cached, CacheRead: cached, OutputTotal: output,
		ImageIn: number(0, "input_tokens_details", "image_tokens"), ImageOut: number(-1, "output_tokens_details", "image_tokens"),
	}
	if t.ImageOut < 0 {
		t.ImageOut = output - number(0, "output_tokens_details", "text_tokens")
	}
	known := valid && input >= 0 && output >= 0 && cached <= input && t.ImageIn <= input && t.ImageOut >= 0 && t.ImageOut <= output
	out := &completion.Usage{Tokens: t, Final: true, Units: []usage.Unit{{Name: "image", Milli: int64(pictures) * 1000}}}
	if !known {
		if !f.vendor.PerImage {
			return nil
		}
		out.Tokens = usage.Tokens{}
	}
	if f.vendor.Cost != nil {
		if nano, ok := f.vendor.Cost(v); ok {
			out.CostNanoUSD = &nano
		}
	}
	return out
}

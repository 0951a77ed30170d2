package fal

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/usage"
)

const vendor = "fal"

// input is a model's input, encoded.
type input struct {
	json []byte
	// seconds and count are what it asks for, 0 if it does not say.
	seconds, count int
}

// family is how the models of a family name what is common to videos. There is no one form: a model's own
// words are in its OpenAPI.
type family struct {
	prefix string
	// seconds writes a duration as JSON.
	seconds func(int) any
	// frame is the name of the first frame's address.
	frame string
	// resolution writes "720p" as the family does; nil if it has none.
	resolution func(string) string
}

// families are those whose words are known, longest prefix first.
var families = []family{
	{"fal-ai/veo3", func(n int) any { return strconv.Itoa(n) + "s" }, "image_url", same},
	{"fal-ai/kling-video/v3", func(n int) any { return strconv.Itoa(n) }, "start_image_url", nil},
	{"minimax/h3-max", func(n int) any { return n }, "image_url", strings.ToUpper},
	{"bytedance/seedance-2.5", func(n int) any { return strconv.Itoa(n) }, "image_url", same},
	{"alibaba/wan-3.0-prime", func(n int) any { return n }, "start_image_url", same},
}

func same(s string) string { return s }

func familyOf(model string) *family {
	for i := range families {
		if rest, ok := strings.CutPrefix(model, families[i].prefix); ok && (rest == "" || rest[0] == '/' || rest[0] == '.') {
			return &families[i]
		}
	}
	return nil
}

// videoInput encodes a video's input. The caller's own parameters win.
func videoInput(model string, p *completion.Prompt) (input, error) {
	v := p.Video
	if v == nil {
		return input{}, provider.Uncarried(vendor, "the request", "it asks for no video")
	}
	own, err := parameters(v.Parameters)
	if err != nil {
		return input{}, err
	}
	out := object{}
	out.put("prompt", v.Text)
	if err := common(out, own, model, v); err != nil {
		return input{}, err
	}
	if v.Seed != nil {
		out["seed"] = *v.Seed
	}
	maps.Copy(out, own)
	in := input{json: out.encode(), seconds: v.Seconds}
	if d, given := own["duration"]; given {
		in.seconds = secondsOf(d)
	}
	return in, nil
}

// common adds what the model's family has words for, and refuses the rest by name.
func common(out, own object, model string, v *completion.VideoInput) error {
	f := familyOf(model)
	resolution, ratio := v.Resolution, v.AspectRatio
	if v.Size != "" {
		var err error
		if resolution, ratio, err = shapeOf(v.Size); err != nil {
			return err
		}
	}
	unknown := func(param, name string) error {
		return provider.Uncarried(vendor, param, "how this model calls it is not known here").
			Hinting(fmt.Sprintf("give it in parameters, as the model's page says, such as %q", name))
	}
	for _, c := range []struct {
		param, name string
		given       bool
		value       func() any
	}{
		{"seconds", "duration", v.Seconds != 0, func() any { return f.seconds(v.Seconds) }},
		{"input_reference", frameOf(f), v.ImageURL != "" || v.ImageData != nil, func() any { return imageURL(v) }},
		{"size", "resolution", resolution != "", func() any { return f.resolution(resolution) }},
		{"aspect_ratio", "aspect_ratio", ratio != "", func() any { return ratio }},
	} {
		if !c.given {
			continue
		}
		if _, said := own[c.name]; said {
			continue
		}
		if f == nil || c.name == "resolution" && f.resolution == nil {
			return unknown(c.param, c.name)
		}
		out[c.name] = c.value()
	}
	return nil
}

func frameOf(f *family) string {
	if f == nil {
		return "image_url"
	}
	return f.frame
}

// imageURL is the first frame, by its address or with its bytes in one.
func imageURL(v *completion.VideoInput) string {
	if v.ImageURL != "" {
		return v.ImageURL
	}
	return "data:" + v.MediaType + ";base64," + base64.StdEncoding.EncodeToString(v.ImageData)
}

// shapeOf is "720p" and "16:9" of "1280x720".
func shapeOf(size string) (resolution, ratio string, err error) {
	w, h, err := sizeOf(size)
	if err != nil {
		return "", "", err
	}
	a, b := w, h
	for b != 0 {
		a, b = b, a%b
	}
	return strconv.Itoa(min(w, h)) + "p", strconv.Itoa(w/a) + ":" + strconv.Itoa(h/a), nil
}

// maxSide bounds what is taken for a size.
const maxSide = 16384

func sizeOf(size string) (w, h int, err error) {
	ws, hs, ok := strings.Cut(size, "x")
	w, werr := strconv.Atoi(ws)
	h, herr := strconv.Atoi(hs)
	if !ok || werr != nil || herr != nil || w < 1 || h < 1 || w > maxSide || h > maxSide {
		return 0, 0, provider.Uncarried(vendor, "size", `it is no "width x height" such as "1280x720"`)
	}
	return w, h, nil
}

// imageInput encodes the input of pictures.
func imageInput(p *completion.Prompt) (input, error) {
	v := p.Image
	if v == nil {
		return input{}, provider.Uncarried(vendor, "the request", "it asks for no pictures")
	}
	for _, c := range []struct{ name, value string }{
		{"quality", v.Quality}, {"style", v.Style}, {"background", v.Background}, {"aspect_ratio", v.AspectRatio},
	} {
		if c.value != "" && c.value != "auto" {
			return input{}, provider.Uncarried(vendor, c.name, "its models have no such setting in common")
		}
	}
	out := object{}
	out.put("prompt", v.Text)
	count := max(v.Count, 1)
	out["num_images"] = count
	if v.Size != "" && v.Size != "auto" {
		w, h, err := sizeOf(v.Size)
		if err != nil {
			return input{}, err
		}
		out["image_size"] = map[string]int{"width": w, "height": h}
	}
	switch v.Format {
	case "":
	case "png", "jpeg":
		out["output_format"] = v.Format
	default:
		return input{}, provider.Uncarried(vendor, "output_format", "it is neither png nor jpeg")
	}
	if v.Seed != nil {
		out["seed"] = *v.Seed
	}
	return input{json: out.encode(), count: count}, nil
}

// expected is what a video takes if all goes well.
func expected(seconds int) []usage.Unit {
	out := []usage.Unit{{Name: "request", Milli: 1000}}
	if seconds > 0 {
		out = append(out, usage.Unit{Name: "second", Milli: int64(seconds) * 1000})
	}
	return out
}

// object is a JSON object.
type object map[string]any

func (o object) put(name, text string) {
	if text != "" {
		o[name] = text
	}
}

func (o object) encode() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(o); err != nil {
		panic(err) // texts, numbers and JSON that was parsed always encode
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// parameters are the members of the caller's own JSON object.
func parameters(text string) (object, error) {
	out := object{}
	if text == "" {
		return out, nil
	}
	m := jsonscan.Object([]byte(text))
	for m.Next() {
		out[string(m.Name)] = json.RawMessage(bytes.Clone(m.Value))
	}
	if m.Err() != nil || !jsonscan.Valid([]byte(text)) {
		return nil, completion.ErrUnsupported.Saying("parameters is no JSON object").With("param", "parameters")
	}
	return out, nil
}

// maxSeconds bounds what is believed of a duration.
const maxSeconds = 3600

// secondsOf reads 5, "5" and "5s"; 0 is unknown.
func secondsOf(v any) int {
	raw, _ := v.(json.RawMessage)
	text, ok := jsonscan.Text(raw)
	if !ok {
		text = string(raw)
	}
	n, err := strconv.Atoi(strings.TrimSuffix(text, "s"))
	if err != nil || n < 1 || n > maxSeconds {
		return 0
	}
	return n
}

package fal

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
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
	own := provider.Input{}
	if err := own.Own(v.Parameters); err != nil {
		return input{}, err
	}
	out := provider.Input{}
	out.Put("prompt", v.Text)
	if err := common(out, own, model, v); err != nil {
		return input{}, err
	}
	if v.Seed != nil {
		out["seed"] = *v.Seed
	}
	maps.Copy(out, own)
	in := input{json: out.Encode(), seconds: v.Seconds}
	if d, given := own["duration"]; given {
		in.seconds = provider.Seconds(d)
	}
	return in, nil
}

// common adds what the model's family has words for, and refuses the rest by name.
func common(out, own provider.Input, model string, v *completion.VideoInput) error {
	f := familyOf(model)
	resolution, ratio := v.Resolution, v.AspectRatio
	if v.Size != "" {
		var err error
		if resolution, ratio, err = provider.Shape(vendor, v.Size); err != nil {
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
		{"input_reference", frameOf(f), v.ImageURL != "" || v.ImageData != nil, func() any { return provider.FirstFrame(v) }},
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
	out := provider.Input{}
	out.Put("prompt", v.Text)
	count := max(v.Count, 1)
	out["num_images"] = count
	if v.Size != "" && v.Size != "auto" {
		w, h, err := provider.Side(vendor, v.Size)
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
	return input{json: out.Encode(), count: count}, nil
}

// expected is what a video takes if all goes well.
func expected(seconds int) []usage.Unit {
	out := []usage.Unit{{Name: "request", Milli: 1000}}
	if seconds > 0 {
		out = append(out, usage.Unit{Name: "second", Milli: int64(seconds) * 1000})
	}
	return out
}

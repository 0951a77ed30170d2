package pollo

import (
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/usage"
)

const vendor = "pollo"

// submitBody encodes a video. The caller's own parameters win.
func submitBody(m model, p *completion.Prompt, webhook string) (body []byte, seconds int, err error) {
	v := p.Video
	if v == nil {
		return nil, 0, provider.Uncarried(vendor, "the request", "it asks for no video")
	}
	in := provider.Input{}
	resolution, ratio := v.Resolution, v.AspectRatio
	if v.Size != "" {
		if resolution, ratio, err = provider.Shape(vendor, v.Size); err != nil {
			return nil, 0, err
		}
	}
	if v.ImageData != nil {
		return nil, 0, provider.Uncarried(vendor, "input_reference", "it takes pictures by their address only").
			Hinting("give the picture's https address")
	}
	in.Put("prompt", v.Text)
	in.Put("image", v.ImageURL)
	in.Put("resolution", m.resolution(resolution))
	in.Put("aspectRatio", ratio)
	if v.ImageURL != "" && v.AspectRatio == "" {
		delete(in, "aspectRatio") // a picture has its own, and most models refuse another
	}
	if v.Seconds != 0 {
		in[m.duration] = v.Seconds
	}
	if v.Seed != nil {
		in["seed"] = *v.Seed
	}
	if err := in.Own(v.Parameters); err != nil {
		return nil, 0, err
	}
	submit := provider.Input{"input": in}
	if webhook != "" {
		submit["webhookUrl"] = webhook
	}
	return submit.Encode(), provider.Seconds(in[m.duration]), nil
}

// expected is what a video takes if all goes well, besides credits, of which nobody knows the number yet.
func expected(seconds int) []usage.Unit {
	out := []usage.Unit{{Name: "request", Milli: 1000}}
	if seconds > 0 {
		out = append(out, usage.Unit{Name: "second", Milli: int64(seconds) * 1000})
	}
	return out
}

package bedrock

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// painters are the models that draw from words, by how their names begin. Others of the maker change
// pictures; Amazon's own have come to their end.
var painters = []string{"stability.sd3", "stability.stable-image-core", "stability.stable-image-ultra"}

// paints reports whether a model draws from words.
func (m model) paints() bool {
	return slices.ContainsFunc(painters, func(prefix string) bool { return strings.HasPrefix(m.bare, prefix) })
}

// wirePicture asks for a picture.
type wirePicture struct {
	Prompt      string `json:"prompt"`
	AspectRatio string `json:"aspect_ratio,omitempty"`
	Format      string `json:"output_format,omitempty"`
	Seed        *int64 `json:"seed,omitempty"`
}

// ratios are the shapes of pictures. Each has one size.
var ratios = [][2]int{{1, 1}, {2, 3}, {3, 2}, {4, 5}, {5, 4}, {9, 16}, {16, 9}, {9, 21}, {21, 9}}

// formats are what pictures are written in, by OpenAI's words.
var formats = []string{"", "png", "jpeg", "webp"}

// draw asks for a picture.
func (p *Provider) draw(ctx context.Context, call completion.Call, a account, m model) (completion.Answer, error) {
	prompt, err := call.Prompt()
	if err != nil {
		return nil, err
	}
	wire, err := picture(prompt.Image, m)
	if err != nil {
		return nil, err
	}
	body, err := marshal(wire)
	if err != nil {
		return nil, err
	}
	res, err := p.send(ctx, call, a, a.runtime+"/model/"+address(m.id)+"/invoke", body, false)
	if err != nil {
		return nil, err
	}
	return provider.NewWhole(res, func(body []byte) (completion.Chunk, string, error) {
		pictures, err := a.drawn(res, body, "image/"+wire.Format)
		if err != nil {
			return completion.Chunk{}, "", err
		}
		return completion.Chunk{
			Result: &completion.Result{Pictures: pictures},
			Usage:  &completion.Usage{Final: true, Units: []usage.Unit{{Name: "image", Milli: int64(len(pictures)) * 1000}}},
		}, m.id, nil
	}), nil
}

func picture(in *completion.ImageInput, m model) (*wirePicture, error) {
	allowed := func(param, value string, values ...string) error {
		if slices.Contains(append(values, "", "auto"), value) {
			return nil
		}
		return uncarried(param, "it has no counterpart there")
	}
	switch {
	case !m.paints():
		return nil, uncarried("model", m.bare+" does not draw from words")
	case in == nil || in.Text == "":
		return nil, uncarried("prompt", "it holds no text")
	case in.Count > 1:
		return nil, uncarried("n", "it draws one picture at a time")
	case !slices.Contains(formats, in.Format):
		return nil, uncarried("output_format", "it writes PNG, JPEG and WebP only")
	}
	for _, err := range []error{
		allowed("quality", in.Quality, "standard"), allowed("style", in.Style), allowed("background", in.Background, "opaque"),
	} {
		if err != nil {
			return nil, err
		}
	}
	out := &wirePicture{Prompt: in.Text, AspectRatio: in.AspectRatio, Format: in.Format, Seed: in.Seed}
	if out.Format == "" {
		out.Format = "png"
	}
	if in.Size != "" && in.Size != "auto" {
		ratio, ok := ratioOf(in.Size)
		if !ok {
			return nil, uncarried("size", "it draws in the ratios 1:1, 2:3, 3:2, 4:5, 5:4, 9:16, 16:9, 9:21 and 21:9")
		}
		if in.AspectRatio != "" && in.AspectRatio != ratio {
			return nil, uncarried("size", "it differs from the aspect ratio")
		}
		out.AspectRatio = ratio
	}
	return out, nil
}

// ratioOf is the shape of a size in pixels.
func ratioOf(size string) (string, bool) {
	before, after, _ := strings.Cut(size, "x")
	width, err := strconv.ParseUint(before, 10, 16)
	if err != nil {
		return "", false
	}
	height, err := strconv.ParseUint(after, 10, 16)
	if err != nil || width == 0 || height == 0 {
		return "", false
	}
	for _, r := range ratios {
		if width*uint64(r[1]) == height*uint64(r[0]) {
			return fmt.Sprintf("%d:%d", r[0], r[1]), true
		}
	}
	return "", false
}

// drawn reads {"images":["base64"],"finish_reasons":[null]}. A reason says what was not drawn, or why.
func (a account) drawn(res *provider.Response, body []byte, mediaType string) ([]completion.Picture, error) {
	reasons := jsonscan.Array(jsonscan.Get(body, "finish_reasons"))
	for reasons.Next() {
		if reason, ok := jsonscan.Text(reasons.Value); ok && reason != "" {
			failure := res.Failed("the model refuses to draw this: " + provider.Bounded(a.scrub(reason), 512))
			failure.Class = completion.ContentRefused
			return nil, failure
		}
	}
	var out []completion.Picture
	if images := jsonscan.Get(body, "images"); jsonscan.KindOf(images) == jsonscan.ArrayKind {
		list := jsonscan.Array(images)
		for list.Next() {
			text, _ := jsonscan.Text(list.Value)
			data, err := base64.StdEncoding.DecodeString(text)
			if err != nil || len(data) == 0 {
				return nil, res.Failed("the provider sent a picture that cannot be read")
			}
			out = append(out, completion.Picture{Data: data, MediaType: mediaType})
		}
	}
	if len(out) == 0 || !jsonscan.Valid(body) {
		return nil, res.Failed("the provider answered without a picture")
	}
	return out, nil
}

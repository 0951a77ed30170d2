package gemini

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// ratios are the shapes of pictures.
var ratios = [][2]int{{1, 1}, {2, 3}, {3, 2}, {3, 4}, {4, 3}, {4, 5}, {5, 4}, {9, 16}, {16, 9}, {21, 9}}

// draw asks for a picture.
func (f *Form) draw(ctx context.Context, call completion.Call, prompt *completion.Prompt, at At) (completion.Answer, error) {
	w, err := f.encodeImage(prompt.Image)
	if err != nil {
		return nil, err
	}
	res, key, err := f.post(ctx, call, at(methodGenerate), w, false)
	if err != nil {
		return nil, err
	}
	var pictures []completion.Picture
	reads := &format{key: key, pictures: &pictures}
	return &continued{format: reads, stream: true, ctx: ctx, current: provider.NewWhole(res, func(body []byte) (completion.Chunk, string, error) {
		chunk, model, err := reads.whole(body)
		if err != nil {
			return chunk, model, err
		}
		if len(pictures) == 0 {
			return chunk, model, reads.undrawn(&chunk)
		}
		if chunk.Delta.Text != "" { // what the model says beside its only picture
			pictures[0].RevisedText = chunk.Delta.Text
		}
		chunk.Delta, chunk.Finish = completion.Delta{}, ""
		chunk.Result = &completion.Result{Pictures: pictures}
		return chunk, model, nil
	})}, nil
}

// undrawn is the failure of an answer without a picture.
func (f *format) undrawn(chunk *completion.Chunk) error {
	failure := f.nonsense("the model answered without a picture")
	if chunk.Finish == completion.ContentFilter {
		failure.Class, failure.Message = completion.ContentRefused, "the model refuses to draw this"
	}
	if said := provider.Scrub(chunk.Delta.Refusal+chunk.Delta.Text, f.key); said != "" {
		failure.Message += ": " + provider.Bounded(said, 512)
	}
	return failure
}

func (f *Form) encodeImage(in *completion.ImageInput) (*wireRequest, error) {
	if in == nil || in.Text == "" {
		return nil, provider.Uncarried(f.options.Who, "prompt", "it holds no text")
	}
	allowed := func(param, value string, values ...string) error {
		if slices.Contains(append(values, "", "auto"), value) {
			return nil
		}
		return provider.Uncarried(f.options.Who, param, "it has no counterpart there")
	}
	if in.Count > 1 {
		return nil, provider.Uncarried(f.options.Who, "n", "it draws one picture at a time")
	}
	for _, err := range []error{
		allowed("quality", in.Quality, "standard"), allowed("style", in.Style), allowed("background", in.Background, "opaque"),
		allowed("output_format", in.Format, "png"),
	} {
		if err != nil {
			return nil, err
		}
	}
	config := wireConfig{Modalities: []string{"TEXT", "IMAGE"}, Seed: in.Seed}
	image := wireImage{AspectRatio: in.AspectRatio}
	if in.Size != "" && in.Size != "auto" {
		var err error
		if image, err = f.shape(in.Size); err != nil {
			return nil, err
		}
		if in.AspectRatio != "" && in.AspectRatio != image.AspectRatio {
			return nil, provider.Uncarried(f.options.Who, "size", "it differs from the aspect ratio")
		}
	}
	if image != (wireImage{}) {
		config.Image = &image
	}
	return &wireRequest{Contents: []wireContent{{Role: roleUser, Parts: []wirePart{{Text: &in.Text}}}}, Config: &config}, nil
}

// shape is a size in pixels as the API knows it: a ratio, and one of three sizes.
func (f *Form) shape(size string) (wireImage, error) {
	refused := provider.Uncarried(f.options.Who, "size", "it draws in the ratios 1:1, 2:3, 3:2, 3:4, 4:3, 4:5, 5:4, 9:16, 16:9 and 21:9")
	before, after, _ := strings.Cut(size, "x")
	width, err := strconv.Atoi(before)
	if err != nil {
		return wireImage{}, refused
	}
	height, err := strconv.Atoi(after)
	if err != nil || width < 1 || height < 1 || max(width, height) > 8192 {
		return wireImage{}, refused
	}
	for _, r := range ratios {
		if width*r[1] != height*r[0] {
			continue
		}
		out := wireImage{AspectRatio: fmt.Sprintf("%d:%d", r[0], r[1])}
		switch longest := max(width, height); {
		case longest > 3072:
			out.ImageSize = "4K"
		case longest > 1536:
			out.ImageSize = "2K"
		}
		return out, nil
	}
	return wireImage{}, refused
}

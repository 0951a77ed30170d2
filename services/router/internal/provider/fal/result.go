package fal

import (
	"encoding/base64"
	"math"
	"mime"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/media"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// maxOutputs bounds the files that are read of a result, maxURL an address of one that is no data.
const (
	maxOutputs = 32
	maxURL     = 4 << 10
)

// parseResult reads a model's output: {"video": {…}}, {"images": […]}, {"image": {…}}, {"audio": {…}} and the
// like. A result without a file is whole all the same: some models answer text.
func parseResult(body []byte) media.State {
	state := media.State{Status: media.Completed, Progress: 100, Filtered: filtered(body)}
	var pictures, videos, audios []media.Output
	for m := jsonscan.Object(body); m.Next(); {
		switch string(m.Name) {
		case "video", "videos":
			videos = append(videos, files(m.Value, "video/mp4")...)
		case "image", "images":
			pictures = append(pictures, files(m.Value, "")...)
		case "audio", "audio_url", "audio_file":
			audios = append(audios, files(m.Value, "")...)
		}
	}
	state.Outputs = append(append(videos, pictures...), audios...)
	if len(state.Outputs) > maxOutputs {
		state.Outputs = state.Outputs[:maxOutputs]
	}
	state.Usage = used(videos, pictures)
	return state
}

// files reads one file or a list of them.
func files(v []byte, kind string) []media.Output {
	switch jsonscan.KindOf(v) {
	case jsonscan.ObjectKind, jsonscan.String:
		if out, ok := file(v, kind); ok {
			return []media.Output{out}
		}
	case jsonscan.ArrayKind:
		var out []media.Output
		for e := jsonscan.Array(v); len(out) < maxOutputs && e.Next(); {
			if one, ok := file(e.Value, kind); ok {
				out = append(out, one)
			}
		}
		return out
	case jsonscan.Missing, jsonscan.Null, jsonscan.Bool, jsonscan.Number:
	}
	return nil
}

func file(v []byte, kind string) (media.Output, bool) {
	if text, ok := jsonscan.Text(v); ok {
		return media.Output{URL: text, MediaType: kind}, address(text)
	}
	out := media.Output{MediaType: kind}
	for m := jsonscan.Object(v); m.Next(); {
		switch string(m.Name) {
		case "url":
			out.URL, _ = jsonscan.Text(m.Value)
		case "content_type":
			if given, ok := jsonscan.Text(m.Value); ok {
				if parsed, _, err := mime.ParseMediaType(given); err == nil {
					out.MediaType = provider.Bounded(parsed, 128)
				}
			}
		case "width":
			out.Width = side(m.Value)
		case "height":
			out.Height = side(m.Value)
		case "duration":
			if s, ok := jsonscan.Float(m.Value); ok && s > 0 && s <= provider.MaxSeconds {
				out.Seconds = s
			}
		}
	}
	return out, address(out.URL)
}

func side(v []byte) int {
	if n, ok := jsonscan.Int(v); ok && n > 0 && n <= provider.MaxSide {
		return int(n)
	}
	return 0
}

// address reports whether a text is where a file can be, or the file itself.
func address(text string) bool {
	return strings.HasPrefix(text, "data:") || len(text) <= maxURL && (strings.HasPrefix(text, "https://") || strings.HasPrefix(text, "http://"))
}

// used is what the files say that they took: seconds of videos, and pictures by number and by megapixels,
// each picture's rounded up. Nil if a file does not say.
func used(videos, pictures []media.Output) *completion.Usage {
	units := []usage.Unit{{Name: "request", Milli: 1000}}
	if len(videos) > 0 {
		var seconds float64
		for i := range videos {
			if videos[i].Seconds == 0 {
				return nil
			}
			seconds += videos[i].Seconds
		}
		units = append(units, usage.Unit{Name: "second", Milli: int64(math.Round(seconds * 1000))})
	}
	if len(pictures) > 0 {
		units = append(units, usage.Unit{Name: "image", Milli: int64(len(pictures)) * 1000})
		if n := megapixels(pictures); n > 0 {
			units = append(units, usage.Unit{Name: "megapixel", Milli: n * 1000})
		}
	}
	if len(units) == 1 {
		return nil
	}
	return &completion.Usage{Units: units, Final: true}
}

// megapixels is 0 if a picture does not say its size.
func megapixels(pictures []media.Output) (sum int64) {
	for i := range pictures {
		pixels := int64(pictures[i].Width) * int64(pictures[i].Height)
		if pixels == 0 {
			return 0
		}
		sum += (pixels + 999_999) / 1_000_000
	}
	return sum
}

// filtered reports whether the filter of unsafe pictures has hit.
func filtered(body []byte) bool {
	for _, name := range []string{"has_nsfw_concepts", "nsfw_content_detected"} {
		v := jsonscan.Get(body, name)
		if hit, ok := jsonscan.True(v); ok && hit {
			return true
		}
		for e := jsonscan.Array(v); e.Next(); {
			if hit, ok := jsonscan.True(e.Value); ok && hit {
				return true
			}
		}
	}
	return false
}

// hasPrices reports whether a body is a list of prices.
func hasPrices(body []byte) bool {
	return jsonscan.KindOf(jsonscan.Get(body, "prices")) == jsonscan.ArrayKind
}

// inline is the file that stands in a data address.
func inline(text string) (data []byte, mediaType string, ok bool) {
	rest, ok := strings.CutPrefix(text, "data:")
	if !ok {
		return nil, "", false
	}
	head, body, ok := strings.Cut(rest, ",")
	mediaType, isBase64 := strings.CutSuffix(head, ";base64")
	if !ok || !isBase64 {
		return nil, "", false
	}
	data, err := base64.StdEncoding.DecodeString(body)
	return data, mediaType, err == nil
}

package pollo

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
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
	in := map[string]any{}
	put := func(name, text string) {
		if text != "" {
			in[name] = text
		}
	}
	resolution, ratio := v.Resolution, v.AspectRatio
	if v.Size != "" {
		if resolution, ratio, err = shapeOf(v.Size); err != nil {
			return nil, 0, err
		}
	}
	if v.ImageData != nil {
		return nil, 0, provider.Uncarried(vendor, "input_reference", "it takes pictures by their address only").
			Hinting("give the picture's https address")
	}
	put("prompt", v.Text)
	put("image", v.ImageURL)
	put("resolution", m.resolution(resolution))
	put("aspectRatio", ratio)
	if v.ImageURL != "" && v.AspectRatio == "" {
		delete(in, "aspectRatio") // a picture has its own, and most models refuse another
	}
	if v.Seconds != 0 {
		in[m.duration] = v.Seconds
	}
	if v.Seed != nil {
		in["seed"] = *v.Seed
	}
	if v.Parameters != "" {
		own := jsonscan.Object([]byte(v.Parameters))
		for own.Next() {
			in[string(own.Name)] = json.RawMessage(bytes.Clone(own.Value))
		}
		if own.Err() != nil || !jsonscan.Valid([]byte(v.Parameters)) {
			return nil, 0, completion.ErrUnsupported.Saying("parameters is no JSON object").With("param", "parameters")
		}
	}
	submit := map[string]any{"input": in}
	if webhook != "" {
		submit["webhookUrl"] = webhook
	}
	return encode(submit), secondsOf(in[m.duration]), nil
}

func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // texts, numbers and JSON that was parsed always encode
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// maxSide and maxSeconds bound what is believed.
const (
	maxSide    = 16384
	maxSeconds = 3600
)

// shapeOf is "720p" and "16:9" of "1280x720".
func shapeOf(size string) (resolution, ratio string, err error) {
	ws, hs, ok := strings.Cut(size, "x")
	w, werr := strconv.Atoi(ws)
	h, herr := strconv.Atoi(hs)
	if !ok || werr != nil || herr != nil || w < 1 || h < 1 || w > maxSide || h > maxSide {
		return "", "", provider.Uncarried(vendor, "size", `it is no "width x height" such as "1280x720"`)
	}
	a, b := w, h
	for b != 0 {
		a, b = b, a%b
	}
	return strconv.Itoa(min(w, h)) + "p", strconv.Itoa(w/a) + ":" + strconv.Itoa(h/a), nil
}

func secondsOf(v any) int {
	n, _ := v.(int)
	if raw, ok := v.(json.RawMessage); ok {
		text, isText := jsonscan.Text(raw)
		if !isText {
			text = string(raw)
		}
		n, _ = strconv.Atoi(text) // what is no number is unknown
	}
	if n < 1 || n > maxSeconds {
		return 0
	}
	return n
}

// expected is what a video takes if all goes well, besides credits, of which nobody knows the number yet.
func expected(seconds int) []usage.Unit {
	out := []usage.Unit{{Name: "request", Milli: 1000}}
	if seconds > 0 {
		out = append(out, usage.Unit{Name: "second", Milli: int64(seconds) * 1000})
	}
	return out
}

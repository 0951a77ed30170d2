package images_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/images"
	"github.com/claviger/claviger/services/router/internal/usage"
)

func TestDecodeReadsWhatTheRouterNeeds(t *testing.T) {
	t.Parallel()
	body := []byte(`{"model":"openai/gpt-image-2","prompt":"a key","stream":true,"partial_images":2,"safety_identifier":"u1","claviger":{"tags":{"team":"a"}}}`)
	got, err := images.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Raw, body) || got.Model != "openai/gpt-image-2" || !got.Stream || got.User != "u1" || got.Tags["team"] != "a" ||
		got.Dialect != completion.OpenAIImages || got.Asks() != completion.Images || got.InputBytes != 5 {
		t.Errorf("%+v", got)
	}
}

func TestInputsAreDecoded(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]completion.ImageInput{
		`{"prompt":"a"}`: {Text: "a"},
		`{"model":"m","prompt":"a","n":2,"size":"1024x1024","quality":"low","style":"vivid","background":"opaque","output_format":"webp","response_format":"b64_json","user":"u","moderation":"auto","stream":false,"partial_images":0,"output_compression":100}`: {
			Text: "a", Count: 2, Size: "1024x1024", Quality: "low", Style: "vivid", Background: "opaque", Format: "webp", Base64: true,
		},
		`{"prompt":"a","aspect_ratio":"16:9","seed":7,"response_format":"url"}`: {Text: "a", AspectRatio: "16:9", Seed: new(int64(7))},
	} {
		req, err := images.Decode([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		prompt, err := req.Decode()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&want, prompt.Image); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
}

func TestWrongFieldsAreNamed(t *testing.T) {
	t.Parallel()
	for fields, param := range map[string]string{
		`"model":"m"`: "prompt", `"prompt":""`: "prompt", `"prompt":7`: "prompt", `"prompt":"a","prompt":"b"`: "prompt", `"prompt":"a","stream":"x"`: "stream",
	} {
		_, err := images.Decode([]byte("{" + fields + "}"))
		if f, _ := fault.Of(err); f == nil || f.Facts()["param"] != param {
			t.Errorf("%s: %v, want %s named", fields, err, param)
		}
	}
	// What passes to a provider that speaks the dialect, and cannot be converted.
	for fields, param := range map[string]string{
		`"stream":true`: "stream", `"partial_images":1`: "partial_images", `"n":11`: "n", `"moderation":"low"`: "moderation", `"output_compression":50`: "output_compression",
		`"svg":{}`: "svg", `"response_format":"tiff"`: "response_format", `"seed":"x"`: "seed", `"size":7`: "size",
	} {
		req, err := images.Decode([]byte(`{"prompt":"a",` + fields + `}`))
		if err != nil {
			t.Errorf("%s: does not pass: %v", fields, err)
			continue
		}
		_, err = req.Decode()
		if f, _ := fault.Of(err); f == nil || f.Facts()["param"] != param {
			t.Errorf("%s: %v, want %s named", fields, err, param)
		}
	}
}

func TestPicturesAreWrittenAsAskedFor(t *testing.T) {
	t.Parallel()
	chunk := completion.Chunk{Result: &completion.Result{Pictures: []completion.Picture{
		{Data: []byte("GIF89a"), MediaType: "image/gif", RevisedText: "r\""}, {URL: "https://img.example.com/1"}, {Data: []byte("x")},
	}}}
	tokens := usage.Tokens{InputTotal: 50, ImageIn: 40, OutputTotal: 300, ImageOut: 272}
	for raw, want := range map[string]string{
		`{}`:                        `{"created":1790000000,"data":[{"b64_json":"R0lGODlh","revised_prompt":"r\""},{"url":"https://img.example.com/1"},{"b64_json":"eA=="}]`,
		`{"response_format":"url"}`: `{"created":1790000000,"data":[{"url":"data:image/gif;base64,R0lGODlh","revised_prompt":"r\""},{"url":"https://img.example.com/1"},{"url":"data:image/png;base64,eA=="}]`,
	} {
		e := images.NewEncoder(&completion.Request{Raw: []byte(raw)}, time.Unix(1790000000, 0))
		got := string(e.AppendWhole(nil, &chunk, completion.Final{Tokens: &tokens}))
		usage := `,"usage":{"input_tokens":50,"output_tokens":300,"total_tokens":350,"input_tokens_details":{"text_tokens":10,"image_tokens":40},"output_tokens_details":{"text_tokens":28,"image_tokens":272}}}` + "\n"
		if diff := cmp.Diff(want+usage, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", raw, diff)
		}
		if none := string(e.AppendWhole(nil, &chunk, completion.Final{})); strings.Contains(none, "usage") {
			t.Errorf("unknown usage became %s", none)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"prompt":"a","n":2,"response_format":"url"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := images.Decode(body)
		if err == nil {
			_, err = req.Decode()
		}
		if _, ok := fault.Of(err); err != nil && !ok {
			t.Fatalf("%q: %v is no fault", body, err)
		}
	})
}

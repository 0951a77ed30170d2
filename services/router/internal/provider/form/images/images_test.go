package images_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/images"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

func converted(in completion.ImageInput) completion.Call {
	return completion.Call{AttemptID: "att_1", Model: "gpt-image-2", Secret: secret.New("sk-1"), Request: &completion.Request{
		Dialect: completion.Typed, Operation: completion.Images,
		Decode: func() (*completion.Prompt, error) { return &completion.Prompt{Image: &in, User: "u1"}, nil },
	}}
}

func passing(raw string, stream bool) completion.Call {
	return completion.Call{AttemptID: "att_1", Model: "gpt-image-2", Secret: secret.New("sk-1"), Raw: true, Request: &completion.Request{
		Dialect: completion.OpenAIImages, Operation: completion.Images, Raw: []byte(raw), Stream: stream,
	}}
}

func start(t *testing.T, rt http.RoundTripper, v images.Vendor, url string, call completion.Call) (completion.Answer, error) {
	t.Helper()
	return images.New(provider.NewClient(rt), v).Start(t.Context(), call, provider.Route{URL: url, Auth: provider.Bearer(call.Secret)})
}

// play makes a call that is not streamed and returns its one piece.
func play(t *testing.T, rt http.RoundTripper, v images.Vendor, url string, call completion.Call) (completion.Chunk, error) {
	t.Helper()
	answer, err := start(t, rt, v, url, call)
	if err != nil {
		return completion.Chunk{}, err
	}
	defer answer.Close() //nolint:errcheck // a test
	return answer.Next()
}

func TestPicturesAreThoseThatWereDrawn(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t, llmtest.WithCapture())
	in := completion.ImageInput{Text: "a <key>", Count: 2, Size: "1536x1024", Quality: "low", Background: "transparent", Format: "webp", Base64: true}
	chunk, err := play(t, http.DefaultTransport, images.Vendor{}, s.OpenAIURL()+"/images/generations", converted(in))
	if err != nil {
		t.Fatal(err)
	}
	want := []completion.Picture{{Data: llmtest.Drawn("a <key>", 0), MediaType: "image/webp"}, {Data: llmtest.Drawn("a <key>", 1), MediaType: "image/webp"}}
	if diff := cmp.Diff(want, chunk.Result.Pictures); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	declared := s.Ledger()[0].Declared
	tokens := usage.Tokens{InputTotal: int64(declared.Input), InputUncached: int64(declared.Input), OutputTotal: int64(declared.Output), ImageOut: int64(declared.ImageOut)}
	if diff := cmp.Diff(&completion.Usage{Tokens: tokens, Units: []usage.Unit{{Name: "image", Milli: 2000}}, Final: true}, chunk.Usage); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
	if want := `{"background":"transparent","model":"gpt-image-2","n":2,"output_format":"webp","prompt":"a <key>","quality":"low","size":"1536x1024","user":"u1"}`; string(s.Requests()[0].Body) != want {
		t.Errorf("sent %s, want %s", s.Requests()[0].Body, want)
	}
}

func TestWhatPicturesLackIsNamed(t *testing.T) {
	t.Parallel()
	for param, in := range map[string]completion.ImageInput{
		"style": {Style: "vivid"}, "aspect_ratio": {AspectRatio: "16:9"}, "seed": {Seed: new(int64(1))},
	} {
		_, err := play(t, &fixed{}, images.Vendor{}, "http://provider.invalid", converted(in))
		if f, _ := fault.Of(err); !errors.Is(err, completion.ErrUnsupported) || f.Facts()["param"] != param {
			t.Errorf("%s: %v", param, err)
		}
	}
	streamed := converted(completion.ImageInput{Text: "x"})
	streamed.Request.Stream = true
	_, err := play(t, &fixed{}, images.Vendor{}, "http://provider.invalid", streamed)
	if f, _ := fault.Of(err); !errors.Is(err, completion.ErrUnsupported) || f.Facts()["param"] != "stream" {
		t.Errorf("stream: %v", err)
	}
	no := converted(completion.ImageInput{})
	no.Request.Decode = func() (*completion.Prompt, error) { return &completion.Prompt{}, nil }
	if _, err := play(t, &fixed{}, images.Vendor{}, "http://provider.invalid", no); !errors.Is(err, completion.ErrUnsupported) {
		t.Errorf("a prompt without a picture: %v", err)
	}
}

func TestVendorsBillPicturesOrTokens(t *testing.T) {
	t.Parallel()
	one := []usage.Unit{{Name: "image", Milli: 1000}}
	for name, test := range map[string]struct {
		vendor images.Vendor
		usage  string
		want   *completion.Usage
	}{
		"tokens, text in the answer": {
			images.Vendor{},
			`{"input_tokens":50,"output_tokens":300,"input_tokens_details":{"text_tokens":10,"image_tokens":40},"output_tokens_details":{"text_tokens":28,"image_tokens":272}}`,
			&completion.Usage{Tokens: usage.Tokens{InputTotal: 50, InputUncached: 50, ImageIn: 40, OutputTotal: 300, ImageOut: 272}, Units: one, Final: true},
		},
		"no details": {
			images.Vendor{},
			`{"input_tokens":50,"output_tokens":300}`,
			&completion.Usage{Tokens: usage.Tokens{InputTotal: 50, InputUncached: 50, OutputTotal: 300, ImageOut: 300}, Units: one, Final: true},
		},
		"cached": {
			images.Vendor{},
			`{"input_tokens":50,"output_tokens":1,"input_tokens_details":{"cached_tokens":20}}`,
			&completion.Usage{Tokens: usage.Tokens{InputTotal: 50, InputUncached: 30, CacheRead: 20, OutputTotal: 1, ImageOut: 1}, Units: one, Final: true},
		},
		"nothing":           {images.Vendor{}, `null`, nil},
		"cannot be":         {images.Vendor{}, `{"input_tokens":-5,"output_tokens":300}`, nil},
		"more than all":     {images.Vendor{}, `{"input_tokens":5,"output_tokens":3,"output_tokens_details":{"image_tokens":4}}`, nil},
		"pictures":          {images.Vendor{PerImage: true}, `null`, &completion.Usage{Units: one, Final: true}},
		"pictures, and why": {images.Vendor{PerImage: true, Cost: func([]byte) (int64, bool) { return 7, true }}, `{"cost":1}`, &completion.Usage{Units: one, CostNanoUSD: new(int64(7)), Final: true}},
	} {
		a := &fixed{body: `{"data":[{"url":"https://img.example.com/1","mime_type":"image/jpeg","revised_prompt":"r"}],"usage":` + test.usage + `}`}
		chunk, err := play(t, a, test.vendor, "http://provider.invalid", converted(completion.ImageInput{Text: "x"}))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(test.want, chunk.Usage); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff([]completion.Picture{{URL: "https://img.example.com/1", MediaType: "image/jpeg", RevisedText: "r"}}, chunk.Result.Pictures); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestPicturesPassByteForByte(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t, llmtest.WithCapture())
	url := s.OpenAIURL() + "/images/generations"
	raw := `{"prompt":"x", "model":"openai/gpt-image-2","quality":"medium","n":3,"moderation":"low","claviger":{}}`
	chunk, err := play(t, http.DefaultTransport, images.Vendor{}, url, passing(raw, false))
	if err != nil || chunk.Result != nil || len(chunk.Raw) != providertest.Ended(t, s, 1).Bytes || chunk.Usage.Tokens.ImageOut != int64(s.Ledger()[0].Declared.ImageOut) || chunk.Usage.Units[0].Milli != 3000 {
		t.Errorf("%+v, %v", chunk.Usage, err)
	}
	if want := `{"prompt":"x", "model":"gpt-image-2","quality":"medium","n":3,"moderation":"low"}`; string(s.Requests()[0].Body) != want {
		t.Errorf("sent %s, want %s", s.Requests()[0].Body, want)
	}
	answer, err := start(t, http.DefaultTransport, images.Vendor{}, url, passing(`{"prompt":"x","model":"a","stream":true,"partial_images":2}`, true))
	if err != nil {
		t.Fatal(err)
	}
	got, err := providertest.Collect(answer)
	_ = answer.Close()
	if err != nil || strings.Count(got.Raw, "event: image_generation.partial_image\n") != 2 || !strings.Contains(got.Raw, "event: image_generation.completed\n") || got.Usage == nil || got.Usage.Tokens.ImageOut != 4160 || got.Finish != completion.Stop {
		t.Errorf("%+v, %v", got, err)
	}
}

func event(kind, rest string) string {
	return "event: image_generation." + kind + "\ndata: {\"type\":\"image_generation." + kind + "\"" + rest + "}\n\n"
}

// TestStreamedPicturesEnd cuts streams into reads of any size: what the caller gets is the same.
func TestStreamedPicturesEnd(t *testing.T) {
	t.Parallel()
	partial, whole := event("partial_image", `,"b64_json":"AAAA","partial_image_index":0`), event("completed", `,"b64_json":"AAAA","usage":{"input_tokens":1,"output_tokens":2}`)
	failed := "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"server_error\",\"message\":\"no\"}}\n\n"
	for name, test := range map[string]struct {
		stream, want string
		ok           bool
	}{
		"whole":        {partial + partial + whole, partial + partial + whole, true},
		"what follows": {partial + whole + "data: [DONE]\n\n", partial + whole, true},
		"cut":          {partial, partial, false},
		"failed":       {partial + failed, partial, false},
		"nonsense":     {partial + "data: 7\n\n", partial, false},
		"nothing":      {"", "", false},
	} {
		for seed := range uint64(20) {
			random := rand.New(rand.NewPCG(seed, 2))
			a := &fixed{body: test.stream, kind: "text/event-stream", next: func() int { return 1 + random.IntN(40) }}
			answer, err := start(t, a, images.Vendor{}, "http://provider.invalid", passing(`{"prompt":"x"}`, true))
			if err != nil {
				t.Fatal(err)
			}
			got, err := providertest.Collect(answer)
			if (err == nil) != test.ok || got.Raw != test.want || test.ok != (got.Usage != nil) {
				t.Fatalf("%s, seed %d: %q, %v", name, seed, got.Raw, err)
			}
		}
	}
	huge := event("completed", `,"b64_json":"`+strings.Repeat("A", 9<<20)+`"`)
	answer, err := start(t, &fixed{body: huge, kind: "text/event-stream"}, images.Vendor{}, "http://provider.invalid", passing(`{"prompt":"x"}`, true))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := providertest.Collect(answer); err != nil || got.Raw != huge {
		t.Errorf("a large picture: %d bytes, %v", len(got.Raw), err)
	}
}

func TestWrongPicturesAreAProvidersFailure(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "{}", `{"data":7}`, `{"data":[{}]}`, `{"data":[{"b64_json":"?"}]}`, `{"data":[7]}`, `{"error":"no"}`} {
		_, err := play(t, &fixed{body: body}, images.Vendor{}, "http://provider.invalid", converted(completion.ImageInput{Text: "x"}))
		var failure *completion.ProviderError
		if !errors.As(err, &failure) || failure.Class != completion.ServerError || failure.Unbilled || !failure.Sent {
			t.Errorf("%q: %v", body, err)
		}
	}
	for _, kind := range []string{"application/json", "text/html"} {
		_, err := start(t, &fixed{body: `{"error":{"message":"busy","code":"server_is_overloaded"}}`, kind: kind}, images.Vendor{}, "http://provider.invalid", passing(`{"prompt":"x"}`, true))
		var failure *completion.ProviderError
		if !errors.As(err, &failure) || failure.Class != completion.Overloaded {
			t.Errorf("%s: %v", kind, err)
		}
	}
	s := llmtest.New(t)
	_, err := play(t, http.DefaultTransport, images.Vendor{}, s.OpenAIURL()+"/images/generations", converted(completion.ImageInput{Text: "script:error=content x"}))
	var failure *completion.ProviderError
	if !errors.As(err, &failure) || failure.Class != completion.ContentRefused || !failure.Unbilled {
		t.Errorf("content: %v", err)
	}
}

// fixed is a provider that always answers the same, in reads of the sizes that next says.
type fixed struct {
	body, kind string
	next       func() int
}

func (f *fixed) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {f.kind}}, Body: io.NopCloser(&reads{f.body, f.next}), ContentLength: -1, Request: r}, nil
}

type reads struct {
	rest string
	next func() int
}

func (r *reads) Read(b []byte) (int, error) {
	if r.rest == "" {
		return 0, io.EOF
	}
	if r.next != nil {
		b = b[:min(len(b), r.next())]
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func FuzzStream(f *testing.F) {
	f.Add(event("partial_image", `,"b64_json":"AAAA"`)+event("completed", `,"usage":{"input_tokens":1,"output_tokens":2}`), uint64(1))
	f.Add("event: error\ndata: {}\n\n", uint64(2))
	f.Fuzz(func(t *testing.T, stream string, seed uint64) {
		read := func(sizes uint64) (providertest.Answer, error) {
			random := rand.New(rand.NewPCG(seed, sizes))
			a := &fixed{body: stream, kind: "text/event-stream", next: func() int { return 1 + random.IntN(50) }}
			answer, err := start(t, a, images.Vendor{}, "http://provider.invalid", passing(`{"prompt":"x"}`, true))
			if err != nil {
				t.Fatal(err)
			}
			return providertest.Collect(answer)
		}
		a, errA := read(1)
		b, errB := read(2)
		if strings.TrimRight(a.Raw, "\r\n") != strings.TrimRight(b.Raw, "\r\n") || (errA == nil) != (errB == nil) {
			t.Fatalf("reads change the answer: %q, %v against %q, %v", a.Raw, errA, b.Raw, errB)
		}
	})
}

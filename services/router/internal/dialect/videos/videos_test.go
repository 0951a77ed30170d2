package videos_test

import (
	"bytes"
	"encoding/json"
	"mime/multipart"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/videos"
	"github.com/claviger/claviger/services/router/internal/media"
	"github.com/claviger/claviger/services/router/internal/usage"
)

func TestSubmitIsReadAndWhatIsNotKnownIsRefusedByName(t *testing.T) {
	t.Parallel()
	seed := int64(7)
	for body, want := range map[string]any{
		`{"model":"fal/a/b","prompt":"a kite","seconds":"8","size":"1280x720"}`: completion.VideoInput{Text: "a kite", Seconds: 8, Size: "1280x720"},
		`{"prompt":"a","seconds":8,"resolution":"720p","aspect_ratio":"16:9","seed":7}`: completion.VideoInput{
			Text: "a", Seconds: 8, Resolution: "720p", AspectRatio: "16:9", Seed: &seed,
		},
		`{"prompt":"a","input_reference":"https://x/a.png"}`:                          completion.VideoInput{Text: "a", ImageURL: "https://x/a.png"},
		`{"prompt":"a","input_reference":{"image_url":"data:image/png;base64,eA=="}}`: completion.VideoInput{Text: "a", ImageData: []byte("x"), MediaType: "image/png"},
		`{"parameters":{"prompt":"x","num_frames":81}}`:                               completion.VideoInput{Parameters: `{"prompt":"x","num_frames":81}`},
		`{"prompt":"a","seconds":null,"input_reference":null,"parameters":null}`:      completion.VideoInput{Text: "a"},
		`{}`:                             "prompt",
		`{"prompt":""}`:                  "prompt",
		`{"prompt":1}`:                   "prompt",
		`{"prompt":"a","seconds":"8s"}`:  "seconds",
		`{"prompt":"a","seconds":0}`:     "seconds",
		`{"prompt":"a","seconds":1.5}`:   "seconds",
		`{"prompt":"a","seconds":99999}`: "seconds",
		`{"prompt":"a","n":2}`:           "n",
		`{"prompt":"a","input_reference":{"file_id":"file-1"}}`:       "input_reference.file_id",
		`{"prompt":"a","input_reference":"file:///etc/passwd"}`:       "input_reference",
		`{"prompt":"a","input_reference":"data:text/html;base64,eA"}`: "input_reference",
		`{"prompt":"a","parameters":[1]}`:                             "parameters",
		`{"prompt":"a","prompt":"b"}`:                                 "prompt",
		`{"model":"a","model":"b","prompt":"a"}`:                      "model",
		`{"prompt":"a","metadata":{"k":1}}`:                           "metadata.k",
	} {
		req, err := videos.Decode("application/json; charset=utf-8", []byte(body))
		if param, refused := want.(string); refused {
			if f, ok := fault.Of(err); !ok || f.Facts()["param"] != param || f.Kind() != fault.Invalid {
				t.Errorf("%s = %v, want %s refused", body, err, param)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s = %v", body, err)
			continue
		}
		prompt, err := req.Decode()
		if err != nil || req.Operation != completion.Videos || req.Dialect != completion.OpenAIVideos || req.Raw != nil {
			t.Errorf("%s: request %+v, %v", body, req, err)
			continue
		}
		if diff := cmp.Diff(want, *prompt.Video); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
	req, err := videos.Decode("", []byte(`{"model":"fal/a/b","prompt":"a","user":"u","metadata":{"team":"x"},"claviger":{"tags":{"env":"y"},"session":"s"}}`))
	if err != nil || req.Model != "fal/a/b" || req.User != "u" || req.Session != "s" || !cmp.Equal(req.Tags, map[string]string{"team": "x", "env": "y"}) {
		t.Errorf("labels: %+v, %v", req, err)
	}
	for _, body := range []string{``, `[]`, `{"prompt":"a"`, `{"prompt":"a"}x`, "{\"prompt\":\"\xff\"}"} {
		if _, err := videos.Decode("application/json", []byte(body)); err == nil {
			t.Errorf("%q is read", body)
		}
	}
	if _, err := videos.Decode("text/plain", []byte(`{"prompt":"a"}`)); fault.KindOf(err) != fault.Invalid {
		t.Errorf("text/plain = %v", err)
	}
}

// form writes a form as OpenAI's SDKs do.
func form(t testing.TB, fields map[string]string, file []byte, kind string) (contentType string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for name, value := range fields {
		if err := w.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if file != nil {
		part, err := w.CreatePart(textproto.MIMEHeader{
			"Content-Disposition": {`form-data; name="input_reference"; filename="a.png"`}, "Content-Type": {kind},
		})
		if err == nil {
			_, err = part.Write(file)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.Bytes()
}

func TestFormsSayTheSameAsJSON(t *testing.T) {
	t.Parallel()
	contentType, body := form(t, map[string]string{
		"model": "fal/a/b", "prompt": `a "kite"`, "seconds": "8", "size": "720x1280", "seed": "7", "parameters": `{"mode":"pro"}`,
	}, []byte("\x89PNG"), "image/png")
	req, err := videos.Decode(contentType, body)
	if err != nil {
		t.Fatal(err)
	}
	prompt, err := req.Decode()
	if err != nil {
		t.Fatal(err)
	}
	seed := int64(7)
	want := completion.VideoInput{
		Text: `a "kite"`, Seconds: 8, Size: "720x1280", Seed: &seed, Parameters: `{"mode":"pro"}`, ImageData: []byte("\x89PNG"), MediaType: "image/png",
	}
	if diff := cmp.Diff(want, *prompt.Video); diff != "" || req.Model != "fal/a/b" {
		t.Errorf("form (-want +got):\n%s", diff)
	}
	contentType, addressed := form(t, map[string]string{"prompt": "a", "input_reference[image_url]": "https://x/a.png"}, nil, "")
	if req, err = videos.Decode(contentType, addressed); err != nil {
		t.Fatal(err)
	}
	if prompt, err = req.Decode(); err != nil || prompt.Video.ImageURL != "https://x/a.png" {
		t.Errorf("an address in a form = %+v, %v", prompt.Video, err)
	}
	for name, bad := range map[string]func() (string, []byte){
		"a kept file": func() (string, []byte) {
			return form(t, map[string]string{"prompt": "a", "input_reference[file_id]": "file-1"}, nil, "")
		},
		"a page": func() (string, []byte) {
			return form(t, map[string]string{"prompt": "a"}, []byte("<html>"), "text/html")
		},
		"an empty file": func() (string, []byte) { return form(t, map[string]string{"prompt": "a"}, []byte{}, "image/png") },
		"half a form":   func() (string, []byte) { return contentType, body[:len(body)-20] },
		"no boundary":   func() (string, []byte) { return "multipart/form-data", body },
		"an unknown":    func() (string, []byte) { return form(t, map[string]string{"prompt": "a", "n": "2"}, nil, "") },
		"broken JSON":   func() (string, []byte) { return form(t, map[string]string{"prompt": "a", "parameters": "{"}, nil, "") },
	} {
		contentType, body := bad()
		if _, err := videos.Decode(contentType, body); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s = %v, want it refused", name, err)
		}
	}
}

func TestJobIsWrittenAsOpenAIDoes(t *testing.T) {
	t.Parallel()
	cost := int64(1_500_000_000)
	created := time.Unix(1790000000, 0)
	for name, test := range map[string]struct {
		view media.View
		want string
	}{
		"queued": {
			media.View{Token: "video_x", Model: "fal/a/b", Status: media.Queued, Created: created, Seconds: 8, Size: "1280x720"},
			`{"id":"video_x","object":"video","model":"fal/a/b","status":"queued","progress":0,"created_at":1790000000,"completed_at":null,"expires_at":null,"remixed_from_video_id":null,"seconds":"8","size":"1280x720","error":null}`,
		},
		"completed": {
			media.View{
				Token: "video_x", Model: "fal/a/b", Status: media.Completed, Progress: 100, Created: created, Ended: created.Add(time.Minute),
				Outputs: []media.Output{{URL: "https://x/a.mp4", MediaType: "video/mp4", Width: 1280, Height: 720, Seconds: 5.5}, {URL: "https://x/b"}},
				Units:   []usage.Unit{{Name: "second", Milli: 5500}}, CostNanoUSD: &cost,
			},
			`{"id":"video_x","object":"video","model":"fal/a/b","status":"completed","progress":100,"created_at":1790000000,"completed_at":1790000060,"expires_at":null,"remixed_from_video_id":null,"error":null,"outputs":[{"url":"https://x/a.mp4","media_type":"video/mp4","width":1280,"height":720,"seconds":5.5},{"url":"https://x/b"}],"usage":{"estimated":false,"seconds":5.5,"cost_usd":1.5}}`,
		},
		"failed": {
			media.View{Token: "video_x", Model: "m", Status: media.Failed, Created: created, Ended: created, Estimated: true, Failure: &completion.ProviderError{Class: completion.ContentRefused, Message: "flagged"}},
			`{"id":"video_x","object":"video","model":"m","status":"failed","progress":0,"created_at":1790000000,"completed_at":null,"expires_at":null,"remixed_from_video_id":null,"error":{"code":"content_refused","message":"flagged"},"usage":{"estimated":true}}`,
		},
		"canceled": {
			media.View{Token: "video_x", Model: "m", Status: media.Canceled, Created: created, Ended: created, Estimated: true},
			`{"id":"video_x","object":"video","model":"m","status":"failed","progress":0,"created_at":1790000000,"completed_at":null,"expires_at":null,"remixed_from_video_id":null,"error":{"code":"canceled","message":"the job was canceled"},"usage":{"estimated":true}}`,
		},
	} {
		if diff := cmp.Diff(test.want, string(videos.Append(nil, &test.view))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("application/json", []byte(`{"model":"fal/a/b","prompt":"a","seconds":"8","input_reference":{"image_url":"https://x"},"parameters":{"a":1}}`))
	contentType, body := form(f, map[string]string{"prompt": "a", "seed": "7"}, []byte("x"), "image/png")
	f.Add(contentType, body)
	f.Add("multipart/form-data; boundary=x", []byte("--x\r\n\r\n"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		req, err := videos.Decode(contentType, body)
		if err != nil {
			if _, ok := fault.Of(err); !ok {
				t.Fatalf("an error that is no fault: %v", err)
			}
			return
		}
		prompt, err := req.Decode()
		if err != nil || prompt.Video == nil || prompt.Video.Text == "" && prompt.Video.Parameters == "" {
			t.Fatalf("%+v, %v", prompt, err)
		}
		if p := prompt.Video.Parameters; p != "" && (!json.Valid([]byte(p)) || !strings.HasPrefix(p, "{")) {
			t.Fatalf("parameters %q", p)
		}
	})
}

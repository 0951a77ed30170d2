package videos_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/media"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/videos"
	"github.com/claviger/claviger/services/router/internal/usage"
)

const key = "xai-canary-0123456789abcdef"

// recorded is a vendor that answers what is written down of xAI.
type recorded struct {
	status int
	body   string
	seen   []string
}

func (r *recorded) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body) // what it says is compared
	r.seen = append(r.seen, req.Method+" "+req.URL.Path+" "+req.Header.Get("Authorization")+" "+string(body))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(r.status)
	_, _ = io.WriteString(w, r.body)
}

func open(t *testing.T, r *recorded) (*videos.Form, provider.Route) {
	t.Helper()
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	form := videos.New(provider.NewClient(http.DefaultTransport), videos.Vendor{Name: "xAI", Cost: func(usage []byte) (int64, bool) {
		return 250_000_000, strings.Contains(string(usage), "2500000000")
	}})
	return form, provider.Route{URL: server.URL + "/v1/videos", Auth: provider.Bearer(secret.New(key))}
}

func call(v completion.VideoInput) completion.Call {
	return completion.Call{Model: "grok-imagine-video", Request: &completion.Request{
		Operation: completion.Videos, Decode: func() (*completion.Prompt, error) { return &completion.Prompt{Video: &v}, nil },
	}}
}

func TestVideoIsSubmittedAsTheFactsSay(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in   completion.VideoInput
		want string // the body, or the field that is refused
	}{
		{completion.VideoInput{Text: "a kite", Seconds: 5, Size: "1280x720"}, `{"aspect_ratio":"16:9","duration":5,"model":"grok-imagine-video","prompt":"a kite","resolution":"720p"}`},
		{completion.VideoInput{Text: "a", ImageData: []byte("x"), MediaType: "image/png"}, `{"image":{"url":"data:image/png;base64,eA=="},"model":"grok-imagine-video","prompt":"a"}`},
		{completion.VideoInput{Text: "a", Seconds: 5, Parameters: `{"duration":8,"model":"another","reference_images":[]}`}, `{"duration":8,"model":"grok-imagine-video","prompt":"a","reference_images":[]}`},
		{completion.VideoInput{Text: "a", Seed: new(int64)}, "seed"},
		{completion.VideoInput{Text: "a", Size: "x"}, "size"},
		{completion.VideoInput{Text: "a", Parameters: "[]"}, "parameters"},
	} {
		r := &recorded{status: 200, body: `{"request_id":"7f"}`}
		form, route := open(t, r)
		answer, err := form.Start(t.Context(), call(test.in), route)
		if f, ok := fault.Of(err); ok {
			if f.Facts()["param"] != test.want || len(r.seen) != 0 {
				t.Errorf("%+v = %v, want %s refused before it is sent", test.in, err, test.want)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		chunk, err := answer.Next()
		if err != nil || chunk.Result.Job.ID != "7f" || chunk.Result.Job.Status != "queued" {
			t.Errorf("job %+v, %v", chunk, err)
		}
		if want := "POST /v1/videos Bearer " + key + " " + test.want; r.seen[0] != want {
			t.Errorf("sent %s, want %s", r.seen[0], want)
		}
	}
	for body, status := range map[string]int{`{}`: 200, `{"request_id":"../x"}`: 200, `{"code":"x","error":"boom"}`: 500, `{"error":"Incorrect API key"}`: 401} {
		form, route := open(t, &recorded{status: status, body: body})
		_, err := form.Start(t.Context(), call(completion.VideoInput{Text: "a"}), route)
		if failed, ok := errors.AsType[*completion.ProviderError](err); !ok || !failed.Sent || failed.Unbilled != (status == 401) {
			t.Errorf("%d %s = %+v, want it unbilled: %v", status, body, failed, status == 401)
		}
	}
}

func TestVideoIsFollowedAsTheFactsSay(t *testing.T) {
	t.Parallel()
	cost := int64(250_000_000)
	five := []usage.Unit{{Name: "request", Milli: 1000}, {Name: "second", Milli: 5000}}
	film := []media.Output{{URL: "https://vidgen.x.ai/a.mp4", MediaType: "video/mp4", Seconds: 5}}
	for body, want := range map[string]media.State{
		`{"status":"pending","progress":40}`: {Status: media.InProgress, Progress: 40},
		``:                                   {Status: media.InProgress},
		`{"status":"done","progress":100,"model":"m","video":{"url":"https://vidgen.x.ai/a.mp4","duration":5,"respect_moderation":true},"usage":{"cost_in_usd_ticks":2500000000}}`: {
			Status: media.Completed, Progress: 100, Outputs: film, Usage: &completion.Usage{Final: true, Units: five, CostNanoUSD: &cost},
		},
		`{"status":"done","video":{"url":"https://vidgen.x.ai/a.mp4","duration":5,"respect_moderation":false}}`: {
			Status: media.Completed, Progress: 100, Outputs: film, Filtered: true, Usage: &completion.Usage{Final: true, Units: five},
		},
		`{"status":null,"video":{"url":"https://vidgen.x.ai/a.mp4","duration":5}}`: {
			Status: media.Completed, Progress: 100, Outputs: film, Usage: &completion.Usage{Final: true, Units: five},
		},
		`{"status":"done","video":{"url":"file:///x"}}`: {Status: media.Completed, Progress: 100},
		`{"status":"failed","error":{"code":"internal","message":"boom"}}`: {
			Status: media.Failed, Failure: &completion.ProviderError{Class: completion.ServerError, Status: 200, Code: "internal", Message: "boom", Sent: true},
		},
		`{"status":"failed","error":{"code":"content_policy","message":"no"}}`: {
			Status: media.Failed, Failure: &completion.ProviderError{Class: completion.ContentRefused, Status: 200, Code: "content_policy", Message: "no", Sent: true},
		},
		`{"status":"expired"}`: {
			Status: media.Failed, Failure: &completion.ProviderError{Class: completion.TimedOut, Status: 200, Message: "the provider no longer has the job's file", Sent: true},
		},
	} {
		r := &recorded{status: 200, body: body}
		if strings.Contains(body, "pending") || body == "" {
			r.status = 202
		}
		form, route := open(t, r)
		got, err := form.Poll(t.Context(), media.At{ID: "7f"}, route)
		if diff := cmp.Diff(want, got); diff != "" || err != nil || !strings.HasPrefix(r.seen[0], "GET /v1/videos/7f Bearer "+key) {
			t.Errorf("%s, %v, asked %v (-want +got):\n%s", body, err, r.seen, diff)
		}
	}
	form, route := open(t, &recorded{status: 404, body: `{"error":"no"}`})
	if _, err := form.Poll(t.Context(), media.At{ID: "7f"}, route); !errors.Is(err, media.ErrUnknown) {
		t.Errorf("404 = %v", err)
	}
	for _, body := range []string{`{"x":1}`, `{"video":{}}`, `{"video":{"url":""}}`} {
		form, route = open(t, &recorded{status: 200, body: body})
		if state, err := form.Poll(t.Context(), media.At{ID: "7f"}, route); err == nil {
			t.Errorf("%s, which has no state, = %+v", body, state)
		}
	}
}

func FuzzPoll(f *testing.F) {
	f.Add([]byte(`{"status":"done","progress":100,"video":{"url":"https://vidgen.x.ai/a.mp4","duration":5},"usage":{"cost_in_usd_ticks":2500000000}}`))
	f.Add([]byte(`{"status":"failed","error":"boom"}`))
	f.Add([]byte(`{"request_id":"7f"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		answers := transport(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(body)))}, nil
		})
		form := videos.New(provider.NewClient(answers), videos.Vendor{Name: "xAI"})
		route := provider.Route{URL: "https://api.x.ai/v1/videos", Auth: provider.Bearer(secret.New(key))}
		state, err := form.Poll(t.Context(), media.At{ID: "7f"}, route)
		if err == nil && (state.Status == "" || state.Progress < 0 || state.Progress > 100 || (state.Status == media.Failed) != (state.Failure != nil)) {
			t.Fatalf("%q = %+v", body, state)
		}
		answer, err := form.Start(t.Context(), call(completion.VideoInput{Text: "a"}), route)
		if err != nil {
			return
		}
		if chunk, err := answer.Next(); err != nil || chunk.Result.Job.ID == "" || strings.ContainsAny(chunk.Result.Job.ID, "/?#") {
			t.Fatalf("%q = %+v, %v", body, chunk, err)
		}
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

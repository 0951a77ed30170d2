package fal_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/media"
	"github.com/claviger/claviger/services/router/internal/provider/fal"
	"github.com/claviger/claviger/services/router/internal/usage"
)

const key = "id-canary:0123456789abcdef"

// keeper notes what goes out.
type keeper struct {
	mu   sync.Mutex
	sent []*http.Request
}

func (k *keeper) RoundTrip(r *http.Request) (*http.Response, error) {
	k.mu.Lock()
	k.sent = append(k.sent, r)
	k.mu.Unlock()
	return http.DefaultTransport.RoundTrip(r)
}

func call(op completion.Operation, base, model string, prompt completion.Prompt) completion.Call {
	return completion.Call{
		AttemptID: "att_1", Model: model, BaseURL: base, Credential: &completion.Credential{ID: "cred_1"}, Secret: secret.New(key),
		Request: &completion.Request{Operation: op, Decode: func() (*completion.Prompt, error) { return &prompt, nil }},
	}
}

func film(base, text string) completion.Call {
	return call(completion.Videos, base, "minimax/h3-max/text-to-video", completion.Prompt{Video: &completion.VideoInput{Text: text, Seconds: 6}})
}

func drawing(base, text string, bytes bool) completion.Call {
	return call(completion.Images, base, "fal-ai/flux/dev", completion.Prompt{Image: &completion.ImageInput{Text: text, Count: 2, Size: "1024x1536", Base64: bytes}})
}

// submitted reads the job of an answer.
func submitted(t *testing.T, p *fal.Provider, c completion.Call) *completion.Job {
	t.Helper()
	answer, err := p.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	chunk, err := answer.Next()
	if err != nil || chunk.Result == nil || chunk.Result.Job == nil || !chunk.Content {
		t.Fatalf("Next = %+v, %v; want a job", chunk, err)
	}
	if _, err := answer.Next(); !errors.Is(err, io.EOF) {
		t.Fatalf("a second Next = %v", err)
	}
	return chunk.Result.Job
}

func at(base string, j *completion.Job) media.At {
	return media.At{BaseURL: base, Secret: secret.New(key), ID: j.ID, Ref: j.Ref}
}

func TestVideoIsSubmittedAndFollowedToItsEnd(t *testing.T) {
	t.Parallel()
	server, out := llmtest.New(t), &keeper{}
	p := fal.New(out)
	p.NotifyAt("https://router.example/hooks/fal?a=b")
	job := submitted(t, p, film(server.FalURL(), "a red kite"))
	want := completion.Job{
		ID: job.ID, Ref: "/minimax/h3-max/requests/" + job.ID, Status: "queued", Seconds: 6,
		Expected: []usage.Unit{{Name: "request", Milli: 1000}, {Name: "second", Milli: 6000}},
	}
	if diff := cmp.Diff(want, *job); diff != "" {
		t.Errorf("job (-want +got):\n%s", diff)
	}
	if got := out.sent[0].URL.Query().Get("fal_webhook"); got != "https://router.example/hooks/fal?a=b" {
		t.Errorf("webhook %q", got)
	}
	for _, want := range []media.Status{media.Queued, media.InProgress, media.Completed} {
		state, err := p.Poll(t.Context(), at(server.FalURL(), job))
		if err != nil || state.Status != want {
			t.Fatalf("Poll = %+v, %v; want %s", state, err, want)
		}
		if want != media.Completed {
			continue
		}
		ledger := server.Ledger()[0]
		if len(state.Outputs) != 1 || state.Outputs[0].MediaType != "video/mp4" || state.Outputs[0].Seconds != ledger.Units["second"] {
			t.Errorf("outputs %+v", state.Outputs)
		}
		used := completion.Usage{Final: true, Units: []usage.Unit{{Name: "request", Milli: 1000}, {Name: "second", Milli: int64(1000 * ledger.Units["second"])}}}
		if diff := cmp.Diff(&used, state.Usage); diff != "" || ledger.Units["second"] == 0 {
			t.Errorf("usage is not what was declared (-want +got):\n%s", diff)
		}
	}
	for _, r := range out.sent {
		if r.Header.Get("Authorization") != "Key "+key {
			t.Errorf("%s %s is signed %q", r.Method, r.URL.Path, r.Header.Get("Authorization"))
		}
	}
	if err := p.Cancel(t.Context(), at(server.FalURL(), job)); !errors.Is(err, media.ErrEnded) {
		t.Errorf("Cancel of what has ended = %v", err)
	}
}

func TestCanceledJobEndsCanceled(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	p := fal.New(http.DefaultTransport)
	job := submitted(t, p, film(server.FalURL(), "a red kite"))
	if err := p.Cancel(t.Context(), at(server.FalURL(), job)); err != nil {
		t.Fatal(err)
	}
	if state, err := p.Poll(t.Context(), at(server.FalURL(), job)); err != nil || state.Status != media.Canceled {
		t.Errorf("Poll = %+v, %v", state, err)
	}
	unknown := at(server.FalURL(), &completion.Job{ID: "7f", Ref: "/minimax/h3-max/requests/7f"})
	if _, err := p.Poll(t.Context(), unknown); !errors.Is(err, media.ErrUnknown) {
		t.Errorf("Poll of a job that is not there = %v", err)
	}
	if err := p.Cancel(t.Context(), unknown); !errors.Is(err, media.ErrUnknown) {
		t.Errorf("Cancel of a job that is not there = %v", err)
	}
}

// classes are what each failure is, as a refused submit and as the end of a job.
var classes = map[llmtest.Failure]completion.Class{
	llmtest.ErrAuth: completion.AuthInvalid, llmtest.ErrScopes: completion.AuthLimited, llmtest.ErrForbidden: completion.AuthLimited,
	llmtest.ErrModel: completion.ModelNotFound, llmtest.ErrRateLimit: completion.RateLimited, llmtest.ErrQuota: completion.QuotaExhausted,
	llmtest.ErrBilling: completion.QuotaExhausted, llmtest.ErrBadRequest: completion.InvalidRequest, llmtest.ErrContent: completion.ContentRefused,
	llmtest.ErrTooLarge: completion.TooLarge, llmtest.ErrTimeout: completion.TimedOut, llmtest.ErrServer: completion.ServerError,
	llmtest.ErrOverloaded: completion.Overloaded, llmtest.ErrGatewayHTML: completion.ServerError,
}

func TestRefusedSubmitsHaveTheirClass(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	p := fal.New(http.DefaultTransport)
	for failure, want := range classes {
		for name, c := range map[string]completion.Call{
			"video":    film(server.FalURL(), "script:error="+string(failure)+",echo,retry=7s"),
			"pictures": drawing(server.FalURL(), "script:error="+string(failure)+",echo,retry=7s", false),
		} {
			_, err := p.Start(t.Context(), c)
			failed, ok := errors.AsType[*completion.ProviderError](err)
			if !ok || failed.Class != want || !failed.Sent || failed.RetryAfter != 7*time.Second {
				t.Errorf("%s: %s = %+v, want %s", name, failure, failed, want)
				continue
			}
			// Of a server's error nobody knows whether the job was taken.
			if failed.Unbilled != (failed.Status < 500) {
				t.Errorf("%s: %s with status %d is certainly unbilled: %v", name, failure, failed.Status, failed.Unbilled)
			}
			if strings.Contains(failed.Message, "canary") {
				t.Errorf("%s: %s tells the key: %s", name, failure, failed.Message)
			}
		}
	}
	_, err := p.Start(t.Context(), drawing(server.FalURL(), "script:error=bad_request", false))
	if failed, _ := errors.AsType[*completion.ProviderError](err); failed.Param != "num_images" || failed.Type != "greater_than" {
		t.Errorf("the field of a mistake: %+v", failed)
	}
}

func TestSubmitThatBreaksOffMayHaveBeenTaken(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	p := fal.New(http.DefaultTransport)
	for name, test := range map[string]struct {
		base string
		sent bool
	}{
		"cut":           {server.FalURL(), true},
		"no connection": {"http://127.0.0.1:1/fal", false},
	} {
		_, err := p.Start(t.Context(), film(test.base, "script:cut=20"))
		failed, ok := errors.AsType[*completion.ProviderError](err)
		if !ok || failed.Sent != test.sent || failed.Unbilled {
			t.Errorf("%s = %+v, want sent: %v", name, failed, test.sent)
		}
	}
}

func TestFailedJobsSayWhy(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	p := fal.New(http.DefaultTransport)
	for failure, want := range map[llmtest.Failure]completion.Class{
		llmtest.ErrContent: completion.ContentRefused, llmtest.ErrBadRequest: completion.InvalidRequest, llmtest.ErrServer: completion.ServerError,
		llmtest.ErrTimeout: completion.TimedOut, llmtest.ErrOverloaded: completion.Overloaded,
	} {
		job := submitted(t, p, film(server.FalURL(), "script:error="+string(failure)+",at=0"))
		server.EndJob(job.ID)
		state, err := p.Poll(t.Context(), at(server.FalURL(), job))
		if err != nil || state.Status != media.Failed || state.Failure.Class != want {
			t.Errorf("%s = %+v, %v; want a job that failed with %s", failure, state, err, want)
			continue
		}
		if state.Failure.Unbilled != (state.Failure.Status >= 500) {
			t.Errorf("%s with status %d is certainly unbilled: %v", failure, state.Failure.Status, state.Failure.Unbilled)
		}
	}
	// The account's trouble, and a proxy's, are not the job's end.
	for _, failure := range []llmtest.Failure{llmtest.ErrQuota, llmtest.ErrAuth, llmtest.ErrGatewayHTML, llmtest.ErrRateLimit} {
		job := submitted(t, p, film(server.FalURL(), "script:error="+string(failure)+",at=0"))
		server.EndJob(job.ID)
		if state, err := p.Poll(t.Context(), at(server.FalURL(), job)); err == nil {
			t.Errorf("%s ends the job: %+v", failure, state)
		}
	}
}

func TestPicturesAreWaitedFor(t *testing.T) {
	t.Parallel()
	server, out := llmtest.New(t), &keeper{}
	p := fal.New(out)
	for _, bytes := range []bool{false, true} {
		answer, err := p.Start(t.Context(), drawing(server.FalURL(), "a red kite", bytes))
		if err != nil {
			t.Fatal(err)
		}
		alive := 0
		var got completion.Chunk
		for got.Result == nil {
			if got, err = answer.Next(); err != nil {
				t.Fatal(err)
			}
			alive++
		}
		if _, err := answer.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("after the pictures: %v", err)
		}
		if err := answer.Close(); err != nil {
			t.Error(err)
		}
		if alive != 3 || len(got.Result.Pictures) != 2 || got.Finish != completion.Stop || !got.Content {
			t.Errorf("%d signs of life, answer %+v", alive, got)
		}
		for _, picture := range got.Result.Pictures {
			if (picture.URL == "") != bytes || strings.Contains(string(picture.Data), "a film of keys") != bytes || picture.MediaType != "image/png" {
				t.Errorf("asked for bytes: %v, got %+v", bytes, picture)
			}
		}
		ledger := server.Ledger()
		units := ledger[len(ledger)-1].Units
		want := &completion.Usage{Final: true, Units: []usage.Unit{
			{Name: "request", Milli: 1000}, {Name: "image", Milli: int64(1000 * units["image"])}, {Name: "megapixel", Milli: int64(1000 * units["megapixel"])},
		}}
		if diff := cmp.Diff(want, got.Usage); diff != "" || units["megapixel"] != 4 {
			t.Errorf("usage is not what was declared (-want +got):\n%s", diff)
		}
	}
	for _, r := range out.sent {
		if strings.Contains(r.URL.Path, "/files/") && r.Header.Get("Authorization") != "" {
			t.Error("the key goes to an address that an answer names")
		}
		if r.Method == http.MethodPut {
			t.Error("a job that is over is canceled")
		}
	}
}

func TestCallerWhoLeavesCancelsThePictures(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	p := fal.New(http.DefaultTransport)
	ctx, leave := context.WithCancel(t.Context())
	answer, err := p.Start(ctx, drawing(server.FalURL(), "script:polls=1000000", false))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := answer.Next(); err != nil {
		t.Fatal(err)
	}
	leave()
	began := time.Now()
	if _, err := answer.Next(); !errors.Is(err, context.Canceled) {
		t.Errorf("Next = %v, want the context's error", err)
	}
	if err := answer.Close(); err != nil {
		t.Error(err)
	}
	state, ok := server.Job(answer.Head().RequestID)
	if took := time.Since(began); !ok || !state.Canceled || took > time.Second {
		t.Errorf("the job is %+v after %v, want it canceled at once", state, took)
	}
}

func TestPicturesThatFail(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	p := fal.New(http.DefaultTransport)
	run := func(text string) (completion.Chunk, error) {
		answer, err := p.Start(t.Context(), drawing(server.FalURL(), text, false))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Close() }()
		for {
			if chunk, err := answer.Next(); err != nil || chunk.Result != nil {
				return chunk, err
			}
		}
	}
	_, err := run("script:polls=1,error=content,at=0")
	if failed, ok := errors.AsType[*completion.ProviderError](err); !ok || failed.Class != completion.ContentRefused || !failed.Sent || failed.Unbilled {
		t.Errorf("content = %v", err)
	}
	_, err = run("script:polls=1,error=server,at=0")
	if failed, ok := errors.AsType[*completion.ProviderError](err); !ok || failed.Class != completion.ServerError || !failed.Unbilled {
		t.Errorf("server = %v, want it unbilled", err)
	}
	if chunk, err := run("script:polls=1,refusal"); err != nil || chunk.Finish != completion.ContentFilter {
		t.Errorf("filtered pictures finish with %q, %v", chunk.Finish, err)
	}
	if chunk, err := run("script:polls=1,nousage"); err != nil || len(chunk.Usage.Units) != 2 {
		t.Errorf("pictures without a size are %+v, %v; want them counted, without megapixels", chunk.Usage, err)
	}
}

func TestKeyTest(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	p := fal.New(http.DefaultTransport)
	for presented, want := range map[string]string{
		key:                                  "active",
		"id:invalid":                         "rejected",
		"nocolon":                            "rejected",
		key + "+script:error=forbidden":      "degraded",
		key + "+script:error=server":         "",
		key + "+script:error=overloaded":     "",
		key + "+script:error=gateway":        "",
		key + "+script:error=scopes":         "degraded",
		key + "+script:error=slow_down":      "",
		key + "+script:error=rate_limit":     "",
		key + "+script:error=context_length": "",
	} {
		got := p.Test(t.Context(), completion.Place{BaseURL: server.FalURL(), Secret: secret.New(presented)})
		if got.State != want || got.Reason == "" || strings.Contains(got.Reason, "canary") {
			t.Errorf("Test of %q = %+v, want %q", presented, got, want)
		}
	}
	if len(server.Ledger()) != 0 {
		t.Error("a key test makes something")
	}
}

func TestLockedAccountIsMoneyAndNotTheKey(t *testing.T) {
	t.Parallel()
	for detail, want := range map[string]completion.Class{
		"User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing.": completion.QuotaExhausted,
		"User is locked. Reason: TOP_UP.":                                   completion.QuotaExhausted,
		"User is locked. Reason: Admin lock. Please contact support@fal.ai": completion.AuthLimited,
		"Forbidden": completion.AuthLimited,
	} {
		if got := fal.ReadError(403, []byte(`{"detail":"`+detail+`"}`), secret.New(key)); got.Class != want || got.Message != detail {
			t.Errorf("%q = %+v, want %s", detail, got, want)
		}
	}
}

func TestModelsThatLeadElsewhereAreNotCalled(t *testing.T) {
	t.Parallel()
	p := fal.New(http.DefaultTransport)
	for _, model := range []string{"flux", "", "/", "a/", "../secrets/x", "a/b/../../c", "a/b?x=y", "a/b#c", "a/%2e%2e", "a//b", "a/b@evil"} {
		c := film("http://127.0.0.1:1", "x")
		c.Model = model
		_, err := p.Start(t.Context(), c)
		if f, ok := fault.Of(err); !ok || f.Reason() != "MODEL_NOT_FOUND" {
			t.Errorf("model %q = %v, want it refused before it is called", model, err)
		}
	}
}

func TestKeyGoesNowhereThatAnAnswerNames(t *testing.T) {
	t.Parallel()
	const base, endpoint = "https://queue.fal.run", "/fal-ai/flux/dev"
	own := "/fal-ai/flux/requests/7f"
	for name, url := range map[string]string{
		"another host":   "https://evil.example" + own,
		"a name inside":  "https://queue.fal.run.evil.example" + own,
		"a user":         "https://queue.fal.run@evil.example" + own,
		"plain":          "http://queue.fal.run" + own,
		"another port":   "https://queue.fal.run:444" + own,
		"a way up":       "https://queue.fal.run/fal-ai/../../x",
		"a query":        "https://queue.fal.run" + own + "?to=evil",
		"inside":         "https://169.254.169.254/latest",
		"nothing":        "",
		"no address":     "::",
		"far too long":   "https://queue.fal.run/" + strings.Repeat("a", 1000),
		"escaped":        "https://queue.fal.run/fal-ai/%2e%2e/x",
		"with a blank":   "https://queue.fal.run/fal-ai/a b",
		"a relative one": own,
	} {
		job, err := fal.ReadSubmit([]byte(`{"request_id":"7f","response_url":"`+url+`","status_url":"`+url+`/status","cancel_url":"`+url+`/cancel"}`), base, endpoint)
		if err != nil || job.Ref != own {
			t.Errorf("%s: ref %+v, %v; want the queue's own", name, job, err)
		}
	}
	job, err := fal.ReadSubmit([]byte(`{"request_id":"7f","response_url":"https://queue.fal.run/x/y/z","status_url":"https://queue.fal.run/other/status"}`), base, endpoint)
	if err != nil || job.Ref != "/x/y/z /other/status /x/y/z/cancel" || fal.StatusPath(job.Ref) != "/other/status" {
		t.Errorf("unusual paths: %+v, %v", job, err)
	}
}

func TestInputs(t *testing.T) {
	t.Parallel()
	seed := int64(7)
	full := completion.VideoInput{Text: "a kite", Seconds: 6, Size: "1280x720", ImageURL: "https://x/a.png", Seed: &seed}
	for _, test := range []struct {
		model string
		in    completion.VideoInput
		want  string // or the field that is refused
	}{
		{"fal-ai/veo3.1", full, `{"aspect_ratio":"16:9","duration":"6s","image_url":"https://x/a.png","prompt":"a kite","resolution":"720p","seed":7}`},
		{"minimax/h3-max/text-to-video", full, `{"aspect_ratio":"16:9","duration":6,"image_url":"https://x/a.png","prompt":"a kite","resolution":"720P","seed":7}`},
		{"bytedance/seedance-2.5/x", full, `{"aspect_ratio":"16:9","duration":"6","image_url":"https://x/a.png","prompt":"a kite","resolution":"720p","seed":7}`},
		{"alibaba/wan-3.0-prime", completion.VideoInput{Text: "a", Seconds: 2, ImageData: []byte("x"), MediaType: "image/png"}, `{"duration":2,"prompt":"a","start_image_url":"data:image/png;base64,eA=="}`},
		{"fal-ai/kling-video/v3/pro/x", completion.VideoInput{Text: "a", Seconds: 10}, `{"duration":"10","prompt":"a"}`},
		{"fal-ai/kling-video/v3/pro/x", completion.VideoInput{Text: "a", Resolution: "720p"}, "size"},
		{"somebody/model", completion.VideoInput{Text: "a", Seed: &seed}, `{"prompt":"a","seed":7}`},
		{"somebody/model", completion.VideoInput{Text: "a", Seconds: 5}, "seconds"},
		{"somebody/model", completion.VideoInput{Text: "a", AspectRatio: "16:9"}, "aspect_ratio"},
		{"somebody/model", completion.VideoInput{Text: "a", ImageURL: "https://x"}, "input_reference"},
		{"somebody/model", completion.VideoInput{Text: "a", Seconds: 5, Parameters: `{"duration":"5","num_frames":81,"prompt":"<b>"}`}, `{"duration":"5","num_frames":81,"prompt":"<b>"}`},
		{"fal-ai/veo3.1", completion.VideoInput{Text: "a", Size: "large"}, "size"},
		{"fal-ai/veo3.1", completion.VideoInput{Text: "a", Parameters: `[1]`}, "parameters"},
		{"fal-ai/veo30", completion.VideoInput{Text: "a", Seconds: 5}, "seconds"},
	} {
		got, err := fal.VideoInput(test.model, test.in)
		if f, ok := fault.Of(err); ok {
			got = f.Facts()["param"]
		}
		if got != test.want {
			t.Errorf("%s %+v = %s, %v; want %s", test.model, test.in, got, err, test.want)
		}
	}
	for _, test := range []struct {
		in   completion.ImageInput
		want string
	}{
		{completion.ImageInput{Text: "a", Count: 2, Size: "1024x1536", Format: "png", Seed: &seed, Quality: "auto"}, `{"image_size":{"height":1536,"width":1024},"num_images":2,"output_format":"png","prompt":"a","seed":7}`},
		{completion.ImageInput{Text: "a", Size: "auto"}, `{"num_images":1,"prompt":"a"}`},
		{completion.ImageInput{Text: "a", Quality: "high"}, "quality"},
		{completion.ImageInput{Text: "a", Style: "vivid"}, "style"},
		{completion.ImageInput{Text: "a", Background: "transparent"}, "background"},
		{completion.ImageInput{Text: "a", AspectRatio: "16:9"}, "aspect_ratio"},
		{completion.ImageInput{Text: "a", Format: "webp"}, "output_format"},
		{completion.ImageInput{Text: "a", Size: "0x9"}, "size"},
	} {
		got, err := fal.ImageInput(test.in)
		if f, ok := fault.Of(err); ok {
			got = f.Facts()["param"]
		}
		if got != test.want {
			t.Errorf("%+v = %s, %v; want %s", test.in, got, err, test.want)
		}
	}
}

func TestResults(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]struct {
		urls  string
		units string
	}{
		`{"video":{"url":"https://v3.fal.media/a.mp4"}}`:                                                                         {"https://v3.fal.media/a.mp4", ""},
		`{"video":{"url":"https://v3.fal.media/a.mp4","duration":5.5}}`:                                                          {"https://v3.fal.media/a.mp4", "request=1000 second=5500"},
		`{"images":[{"url":"https://a/1.png","width":1000,"height":1000},{"url":"https://a/2.png","width":1001,"height":1000}]}`: {"https://a/1.png https://a/2.png", "request=1000 image=2000 megapixel=3000"},
		`{"image":{"url":"https://a/1.png"}}`:                                                                                    {"https://a/1.png", "request=1000 image=1000"},
		`{"audio":{"url":"https://a/1.mp3"}}`:                                                                                    {"https://a/1.mp3", ""},
		`{"text":"hello","chunks":[]}`:                                                                                           {"", ""},
		`{"video":{"url":"file:///etc/passwd"}}`:                                                                                 {"", ""},
		`{"video":{"url":"https://a/b","duration":-1}}`:                                                                          {"https://a/b", ""},
		`{"video":{"url":"https://a/b","duration":1e300}}`:                                                                       {"https://a/b", ""},
		`{"video":null,"images":null}`:                                                                                           {"", ""},
		`{"images":[{"url":"https://a/1.png","width":1e9,"height":3}]}`:                                                          {"https://a/1.png", "request=1000 image=1000"},
	} {
		state := fal.ReadResult([]byte(body))
		var urls []string
		for _, o := range state.Outputs {
			urls = append(urls, o.URL)
		}
		units := ""
		if state.Usage != nil {
			var list []string
			for _, u := range state.Usage.Units {
				list = append(list, u.Name+"="+itoa(u.Milli))
			}
			units = strings.Join(list, " ")
		}
		if got := strings.Join(urls, " "); got != want.urls || units != want.units || state.Status != media.Completed {
			t.Errorf("%s = %q, %q; want %q, %q", body, got, units, want.urls, want.units)
		}
	}
}

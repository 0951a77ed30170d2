package compat_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/media"
	"github.com/claviger/claviger/services/router/internal/provider/compat"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// films are xAI's videos, at a scripted server.
type films struct {
	*compat.Provider
	server *llmtest.Server
	key    secret.Text
}

func openFilms(t *testing.T) *films {
	t.Helper()
	return &films{compat.New(http.DefaultTransport, vendorOf(t, "xai")), llmtest.New(t), secret.New("xai-0123456789abcdef")}
}

func (f *films) submit(t *testing.T, v completion.VideoInput) (*completion.Job, error) {
	t.Helper()
	answer, err := f.Start(t.Context(), completion.Call{
		BaseURL: f.server.XAIURL(), Model: "grok-imagine-video", Secret: f.key,
		Request: &completion.Request{
			Operation: completion.Videos, Dialect: completion.OpenAIVideos,
			Decode: func() (*completion.Prompt, error) { return &completion.Prompt{Video: &v}, nil },
		},
	})
	if err != nil {
		return nil, err
	}
	chunk, err := answer.Next()
	if err = errors.Join(err, answer.Close()); err != nil {
		t.Fatal(err)
	}
	return chunk.Result.Job, nil
}

func (f *films) poll(t *testing.T, id string) (media.State, error) {
	t.Helper()
	return f.Poll(t.Context(), media.At{BaseURL: f.server.XAIURL(), Secret: f.key, ID: id, Model: "grok-imagine-video"})
}

func TestXAIsVideosFromSubmitToEnd(t *testing.T) {
	t.Parallel()
	f := openFilms(t)
	took := func(seconds int64, nano int64) *completion.Usage {
		return &completion.Usage{Final: true, CostNanoUSD: &nano, Units: []usage.Unit{{Name: "request", Milli: 1000}, {Name: "second", Milli: seconds * 1000}}}
	}
	for script, want := range map[string]struct {
		status   media.Status
		class    completion.Class
		filtered bool
		files    int
		usage    *completion.Usage
	}{
		"a kite":                        {media.Completed, "", false, 1, took(8, 400_000_000)},
		"script:refusal":                {media.Completed, "", true, 0, took(8, 400_000_000)}, // paid for all the same
		"script:nousage":                {media.Completed, "", false, 1, nil},
		"script:error=server,at=0":      {media.Failed, completion.ServerError, false, 0, nil},
		"script:error=content,at=0":     {media.Failed, completion.ContentRefused, false, 0, nil},
		"script:error=overloaded,at=0":  {media.Failed, completion.Overloaded, false, 0, nil},
		"script:finish=expired,polls=2": {media.Failed, completion.TimedOut, false, 0, nil},
	} {
		job, err := f.submit(t, completion.VideoInput{Text: script, Seconds: 8, Size: "1280x720"})
		if err != nil {
			t.Fatalf("%s: %v", script, err)
		}
		if diff := cmp.Diff([]usage.Unit{{Name: "request", Milli: 1000}, {Name: "second", Milli: 8000}}, job.Expected); diff != "" {
			t.Errorf("%s: expected units (-want +got):\n%s", script, diff)
		}
		for i, progress := range []int{0, 40} {
			if state, err := f.poll(t, job.ID); err != nil || state.Status != media.InProgress || state.Progress != progress || state.Usage != nil {
				t.Errorf("%s: answer %d = %+v, %v", script, i, state, err)
			}
		}
		state, err := f.poll(t, job.ID)
		if err != nil || state.Status != want.status || state.Filtered != want.filtered || len(state.Outputs) != want.files {
			t.Errorf("%s = %+v, %v; want %s with %d files", script, state, err, want.status, want.files)
		}
		if (state.Failure == nil) != (want.class == "") || state.Failure != nil && (state.Failure.Class != want.class || state.Failure.Message == "") {
			t.Errorf("%s failed as %+v, want %s", script, state.Failure, want.class)
		}
		if diff := cmp.Diff(want.usage, state.Usage); diff != "" {
			t.Errorf("%s: usage (-want +got):\n%s", script, diff)
		}
	}
}

func TestXAIsVideosAreRefusedByClass(t *testing.T) {
	t.Parallel()
	f := openFilms(t)
	for failure, want := range map[llmtest.Failure]completion.Class{
		llmtest.ErrAuth: completion.AuthInvalid, llmtest.ErrModel: completion.ModelNotFound, llmtest.ErrRateLimit: completion.RateLimited,
		llmtest.ErrQuota: completion.QuotaExhausted, llmtest.ErrSpendLimit: completion.QuotaExhausted, llmtest.ErrBilling: completion.QuotaExhausted,
		llmtest.ErrBadRequest: completion.InvalidRequest, llmtest.ErrServer: completion.ServerError, llmtest.ErrOverloaded: completion.Overloaded,
		llmtest.ErrGatewayHTML: completion.ServerError,
	} {
		_, err := f.submit(t, completion.VideoInput{Text: "script:error=" + string(failure)})
		failed, ok := errors.AsType[*completion.ProviderError](err)
		if !ok || failed.Class != want || failed.Unbilled != (failed.Status < 500) {
			t.Errorf("%s = %+v, %v, want %s", failure, failed, err, want)
		}
	}
	job, err := f.submit(t, completion.VideoInput{Text: "a kite"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.poll(t, "another"); !errors.Is(err, media.ErrUnknown) {
		t.Errorf("a job that there is not = %v", err)
	}
	f.key = secret.New("xai-invalid")
	if _, err := f.poll(t, job.ID); err == nil || errors.Is(err, media.ErrUnknown) {
		t.Errorf("asked with a wrong key = %v, want no word of the job", err)
	} else if failed, ok := errors.AsType[*completion.ProviderError](err); !ok || failed.Class != completion.AuthInvalid {
		t.Errorf("asked with a wrong key = %v", err)
	}
	if _, can := any(f.Provider).(media.Canceler); can {
		t.Error("there is a call that cancels")
	}
}

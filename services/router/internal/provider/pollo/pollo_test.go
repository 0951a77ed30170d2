package pollo_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/media"
	"github.com/claviger/claviger/services/router/internal/provider/pollo"
	"github.com/claviger/claviger/services/router/internal/usage"
)

const key = "pollo_canary_0123456789abcdef"

func film(base, text string) completion.Call {
	prompt := &completion.Prompt{Video: &completion.VideoInput{Text: text, Seconds: 10, Size: "1280x720"}}
	return completion.Call{
		AttemptID: "att_1", Model: "kling-ai/kling-v1-5", BaseURL: base, Credential: &completion.Credential{ID: "cred_1"}, Secret: secret.New(key),
		Request: &completion.Request{Operation: completion.Videos, Decode: func() (*completion.Prompt, error) { return prompt, nil }},
	}
}

func submitted(t *testing.T, p *pollo.Provider, c completion.Call) *completion.Job {
	t.Helper()
	answer, err := p.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	chunk, err := answer.Next()
	if err != nil || chunk.Result == nil || chunk.Result.Job == nil {
		t.Fatalf("Next = %+v, %v; want a job", chunk, err)
	}
	return chunk.Result.Job
}

func at(base, id string) media.At {
	return media.At{BaseURL: base, Secret: secret.New(key), ID: id}
}

func TestVideoIsSubmittedAndFollowedToItsEnd(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	p := pollo.New(http.DefaultTransport)
	for range 2 { // answers are wrapped, or not
		job := submitted(t, p, film(server.PolloURL(), "waves"))
		want := completion.Job{
			ID: job.ID, Status: "queued", Seconds: 10, Size: "1280x720",
			Expected: []usage.Unit{{Name: "request", Milli: 1000}, {Name: "second", Milli: 10_000}},
		}
		if diff := cmp.Diff(want, *job); diff != "" || job.ID == "" {
			t.Errorf("job (-want +got):\n%s", diff)
		}
		var state media.State
		for _, want := range []media.Status{media.Queued, media.InProgress, media.Completed} {
			var err error
			if state, err = p.Poll(t.Context(), at(server.PolloURL(), job.ID)); err != nil || state.Status != want {
				t.Fatalf("Poll = %+v, %v; want %s", state, err, want)
			}
		}
		ledger := server.Ledger()
		credits := ledger[len(ledger)-1].Units["credit"]
		cost := int64(credits * 0.05 * 1e9)
		used := completion.Usage{Final: true, CostNanoUSD: &cost, Units: []usage.Unit{{Name: "request", Milli: 1000}, {Name: "credit", Milli: int64(1000 * credits)}}}
		if diff := cmp.Diff(&used, state.Usage); diff != "" || credits == 0 || len(state.Outputs) != 1 {
			t.Errorf("usage is not what was declared (-want +got):\n%s\n%+v", diff, state.Outputs)
		}
	}
	if _, can := any(p).(media.Canceler); can {
		t.Error("Pollo has no call that cancels")
	}
}

func TestJobsEndAsTheySay(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	p := pollo.New(http.DefaultTransport)
	job := submitted(t, p, film(server.PolloURL(), "script:error=server,at=0"))
	server.EndJob(job.ID)
	state, err := p.Poll(t.Context(), at(server.PolloURL(), job.ID))
	if err != nil || state.Status != media.Failed || state.Failure.Message != "Internal server error" || state.Failure.Unbilled {
		t.Errorf("failed job = %+v, %v", state, err)
	}
	job = submitted(t, p, film(server.PolloURL(), "script:nousage"))
	server.EndJob(job.ID)
	if state, err = p.Poll(t.Context(), at(server.PolloURL(), job.ID)); err != nil || state.Status != media.Completed || state.Usage != nil {
		t.Errorf("job that does not say what it took = %+v, %v; want it unknown", state, err)
	}
	if _, err := p.Poll(t.Context(), at(server.PolloURL(), "nobody's")); !errors.Is(err, media.ErrUnknown) {
		t.Errorf("a job that is not there = %v", err)
	}
	for _, id := range []string{"", "..", "../../credit/balance?x=", "a/b", "a#b", "a%2fb"} {
		if job := pollo.ReadSubmit([]byte(`{"taskId":"` + id + `"}`)); job != nil {
			t.Errorf("a task %q that leads elsewhere is taken: %+v", id, job)
		}
	}
	other := at(server.PolloURL(), job.ID)
	other.Secret = secret.New("invalid")
	_, err = p.Poll(t.Context(), other)
	if failed, ok := errors.AsType[*completion.ProviderError](err); !ok || failed.Class != completion.AuthInvalid {
		t.Errorf("with a wrong key = %v", err)
	}
}

func TestRefusedSubmitsHaveTheirClass(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	p := pollo.New(http.DefaultTransport)
	for failure, want := range map[llmtest.Failure]completion.Class{
		llmtest.ErrAuth: completion.AuthInvalid, llmtest.ErrScopes: completion.AuthLimited, llmtest.ErrModel: completion.ModelNotFound,
		llmtest.ErrRateLimit: completion.RateLimited, llmtest.ErrQuota: completion.QuotaExhausted, llmtest.ErrBadRequest: completion.InvalidRequest,
		llmtest.ErrTooLarge: completion.TooLarge, llmtest.ErrTimeout: completion.ServerError, llmtest.ErrServer: completion.ServerError,
		llmtest.ErrOverloaded: completion.Overloaded, llmtest.ErrGatewayHTML: completion.ServerError,
		llmtest.ErrForbidden: completion.ServerError, // a page of the proxy in front says nothing of the key
	} {
		_, err := p.Start(t.Context(), film(server.PolloURL(), "script:error="+string(failure)+",echo,retry=7s"))
		failed, ok := errors.AsType[*completion.ProviderError](err)
		if !ok || failed.Class != want || !failed.Sent || failed.RetryAfter != 7*time.Second || failed.Unbilled != (failed.Status < 500) {
			t.Errorf("%s = %+v, want %s", failure, failed, want)
			continue
		}
		if strings.Contains(failed.Message, "canary") {
			t.Errorf("%s tells the key: %s", failure, failed.Message)
		}
	}
	_, err := p.Start(t.Context(), film(server.PolloURL(), "script:error=bad_request"))
	if failed, _ := errors.AsType[*completion.ProviderError](err); failed == nil || failed.Message != "Input validation failed: duration is invalid" {
		t.Errorf("issues: %v", err)
	}
}

func TestKeyTestShowsTheBalance(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	p := pollo.New(http.DefaultTransport)
	for presented, want := range map[string]struct{ state, says string }{
		key:                               {"active", "123 credits"},
		"invalid":                         {"rejected", "Invalid API key"},
		key + "+script:error=quota":       {"quota_exhausted", "no credits"},
		key + "+script:error=scopes":      {"degraded", "No permission"},
		key + "+script:error=forbidden":   {"", "403"},
		key + "+script:error=server":      {"", "later"},
		key + "+script:error=gateway":     {"", "later"},
		key + "+script:error=rate_limit":  {"", "later"},
		key + "+script:error=model":       {"", "endpoint"},
		key + "+script:error=bad_request": {"", "later"},
	} {
		got := p.Test(t.Context(), completion.Place{BaseURL: server.PolloURL(), Secret: secret.New(presented)})
		if got.State != want.state || !strings.Contains(got.Reason, want.says) || strings.Contains(got.Reason, "canary") {
			t.Errorf("Test of %q = %+v, want %+v", presented, got, want)
		}
	}
	if got := p.Test(t.Context(), completion.Place{BaseURL: server.URL + "/nowhere", Secret: secret.New(key)}); got.State != "" {
		t.Errorf("Test of an address that is not Pollo's = %+v", got)
	}
	if len(server.Ledger()) != 0 {
		t.Error("a key test makes something")
	}
}

func TestInputs(t *testing.T) {
	t.Parallel()
	seed := int64(7)
	for _, test := range []struct {
		model      string
		in         completion.VideoInput
		path, want string // or the field that is refused
	}{
		{
			"kling-ai/kling-v1-5",
			completion.VideoInput{Text: "waves", Seconds: 5, Size: "1280x720", Seed: &seed},
			"/v1/generation/kling-ai/kling-v1-5/video", `{"input":{"aspectRatio":"16:9","duration":5,"prompt":"waves","resolution":"720p","seed":7}}`,
		},
		{
			"legacy/pollo/pollo-v1-6",
			completion.VideoInput{Text: "waves", Seconds: 5, Resolution: "480p"},
			"/generation/pollo/pollo-v1-6", `{"input":{"length":5,"prompt":"waves","resolution":"480P"}}`,
		},
		{
			"a/b",
			completion.VideoInput{Text: "waves", Size: "720x1280", ImageURL: "https://x/a.png"},
			"/v1/generation/a/b/video", `{"input":{"image":"https://x/a.png","prompt":"waves","resolution":"720p"}}`,
		},
		{
			"a/b",
			completion.VideoInput{Text: "waves", Seconds: 5, Parameters: `{"duration":8,"mode":"std","negativePrompt":"<text>"}`},
			"/v1/generation/a/b/video", `{"input":{"duration":8,"mode":"std","negativePrompt":"<text>","prompt":"waves"}}`,
		},
		{"a/b", completion.VideoInput{Text: "waves", ImageData: []byte("x"), MediaType: "image/png"}, "/v1/generation/a/b/video", "input_reference"},
		{"a/b", completion.VideoInput{Text: "waves", Size: "wide"}, "/v1/generation/a/b/video", "size"},
		{"a/b", completion.VideoInput{Text: "waves", Parameters: `{`}, "/v1/generation/a/b/video", "parameters"},
		{"a", completion.VideoInput{Text: "waves"}, "", "model"},
		{"a/b/c", completion.VideoInput{Text: "waves"}, "", "model"},
		{"../b", completion.VideoInput{Text: "waves"}, "", "model"},
		{"a/b?x", completion.VideoInput{Text: "waves"}, "", "model"},
	} {
		path, got, err := pollo.Submit(test.model, test.in, "")
		if f, ok := fault.Of(err); ok {
			got = f.Facts()["param"]
		}
		if path != test.path || got != test.want {
			t.Errorf("%s %+v = %s %s, %v; want %s %s", test.model, test.in, path, got, err, test.path, test.want)
		}
	}
	if _, body, _ := pollo.Submit("a/b", completion.VideoInput{Text: "x"}, "https://router.example/hooks/pollo"); !strings.Contains(body, `"webhookUrl":"https://router.example/hooks/pollo"`) {
		t.Errorf("body without the webhook: %s", body)
	}
}

func TestStatesOfManyGenerations(t *testing.T) {
	t.Parallel()
	made := func(states ...string) string {
		var list []string
		for _, s := range states {
			list = append(list, `{"status":"`+s+`","url":"https://x/`+s+`.mp4","mediaType":"video","failMsg":"NSFW content"}`)
		}
		return `{"taskId":"t","generations":[` + strings.Join(list, ",") + `]}`
	}
	for body, want := range map[string]media.Status{
		made():                        media.Queued,
		made("waiting"):               media.Queued,
		made("waiting", "processing"): media.InProgress,
		made("succeed", "processing"): media.InProgress,
		made("succeed", "waiting"):    media.InProgress,
		made("failed", "waiting"):     media.InProgress,
		made("succeed", "failed"):     media.Completed,
		made("succeed"):               media.Completed,
		made("success"):               media.Completed,
		made("completed"):             media.Completed,
		made("failed", "error"):       media.Failed,
		made("something new"):         media.InProgress,
		`{"status":"processing"}`:     media.InProgress,
		`{"status":"succeed"}`:        media.InProgress, // there is no file yet
		`{"status":"failed"}`:         media.Failed,
		`{"code":"SUCCESS","data":` + made("succeed") + `}`: media.Completed,
		`{"generations":[{"status":"succeed","url":""}]}`:   media.InProgress,
	} {
		state, ok := pollo.ReadStatus([]byte(body), secret.New(key))
		if !ok || state.Status != want || (want == media.Failed) != (state.Failure != nil) {
			t.Errorf("%s = %+v, %v; want %s", body, state, ok, want)
		}
		if want == media.Failed && strings.Contains(body, "NSFW") && state.Failure.Class != completion.ContentRefused {
			t.Errorf("%s failed with %s", body, state.Failure.Class)
		}
	}
	if _, ok := pollo.ReadStatus([]byte(`{"message":"x"}`), secret.New(key)); ok {
		t.Error("an answer without a state is one")
	}
}

func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		`{"taskId":"cm1","status":"waiting"}`, `{"code":"SUCCESS","message":"success","data":{"taskId":"cm1","status":"waiting"}}`,
		`{"taskId":"t","generations":[{"status":"succeed","url":"https://x","mediaType":"video"}],"credit":60,"costUsd":"3.0"}`,
		`{"message":"Not enough credits","code":"FORBIDDEN","issues":[{"message":"x"}]}`, `<html>`, ``, `[`,
	} {
		f.Add([]byte(seed), 403)
	}
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		if job := pollo.ReadSubmit(body); job != nil && (job.ID == "" || len(job.ID) > 128 || media.Status(job.Status).Final()) {
			t.Fatalf("job %+v", job)
		}
		if state, ok := pollo.ReadStatus(body, secret.New(key)); ok {
			if state.Status == "" || len(state.Outputs) > 32 || (state.Status == media.Completed) != (len(state.Outputs) > 0) && state.Status == media.Completed {
				t.Fatalf("state %+v", state)
			}
			if state.Usage != nil && state.Usage.CostNanoUSD != nil && (*state.Usage.CostNanoUSD < 0 || *state.Usage.CostNanoUSD > 1e13) {
				t.Fatalf("cost %d", *state.Usage.CostNanoUSD)
			}
		}
		for _, json := range []bool{false, true} {
			if e := pollo.ReadError(status, body, json, secret.New(key)); e.Message == "" || e.Class == "" || strings.Contains(e.Message, key) {
				t.Fatalf("error %+v", e)
			}
		}
		if len(pollo.TaskOf(body)) > 128 {
			t.Fatal("a long task")
		}
	})
}

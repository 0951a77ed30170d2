package llmtest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/llmtest"
)

// ask calls the scripted server and decodes its answer.
func ask(t *testing.T, method, url, body string, header map[string]string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatalf("%s %s: %d %q", method, url, res.StatusCode, raw)
	}
	return res.StatusCode, out
}

func text(v map[string]any, name string) string { s, _ := v[name].(string); return s }

// TestFalSpeaksAsTheFactsSay holds the queue to the exchanges that are written down of it.
func TestFalSpeaksAsTheFactsSay(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	key := map[string]string{"Authorization": "Key id:secret"}
	code, job := ask(t, "POST", server.FalURL()+"/fal-ai/flux/dev?fal_webhook=https%3A%2F%2Frouter.example%2Fhooks%2Ffal",
		`{"prompt":"a red kite","image_size":"landscape_4_3","num_images":2}`, key)
	id := text(job, "request_id")
	base := server.FalURL() + "/fal-ai/flux/requests/" + id // without the sub-path
	if code != 200 || id == "" || text(job, "status") != "IN_QUEUE" || text(job, "response_url") != base ||
		text(job, "status_url") != base+"/status" || text(job, "cancel_url") != base+"/cancel" {
		t.Fatalf("submit = %d %v", code, job)
	}
	for _, want := range []string{"IN_QUEUE", "IN_PROGRESS", "COMPLETED"} {
		if code, got := ask(t, "GET", base+"/status?logs=1", "", key); code/100 != 2 || text(got, "status") != want {
			t.Errorf("status = %d %v, want %s", code, got, want)
		}
	}
	code, result := ask(t, "GET", base, "", key)
	if images, _ := result["images"].([]any); code != 200 || len(images) != 2 {
		t.Errorf("result = %d %v", code, result)
	}
	if code, got := ask(t, "PUT", base+"/cancel", "", key); code != 400 || text(got, "status") != "ALREADY_COMPLETED" {
		t.Errorf("cancel = %d %v", code, got)
	}
	if e := server.Ledger()[0]; e.Units["image"] != 2 || e.Units["megapixel"] != 2 || e.Declared != nil {
		t.Errorf("ledger %+v", e)
	}
	for name, header := range map[string]map[string]string{
		"Bearer in place of Key": {"Authorization": "Bearer id:secret"}, "no colon": {"Authorization": "Key idsecret"}, "no key": nil,
	} {
		if code, got := ask(t, "POST", server.FalURL()+"/fal-ai/flux/dev", `{"prompt":"x"}`, header); code != 401 || text(got, "detail") == "" {
			t.Errorf("%s = %d %v", name, code, got)
		}
	}
	if code, got := ask(t, "POST", server.FalURL()+"/fal-ai/flux/dev", `{}`, key); code != 422 || got["detail"] == nil {
		t.Errorf("without a prompt = %d %v", code, got)
	}
	if req, err := server.FalWebhook(t.Context(), id, time.Now()); err != nil || req.URL.String() != "https://router.example/hooks/fal" {
		t.Errorf("webhook goes to %v, %v", req, err)
	}
}

// TestPolloSpeaksAsTheFactsSay holds the API to the exchanges that are written down of it.
func TestPolloSpeaksAsTheFactsSay(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	key := map[string]string{"X-Api-Key": "pollo_key"}
	task := ""
	for range 2 { // wrapped and bare
		code, job := ask(t, "POST", server.PolloURL()+"/v1/generation/kling-ai/kling-v1-5/video", `{"input":{"prompt":"waves","duration":10}}`, key)
		if data, ok := job["data"].(map[string]any); ok {
			job = data
		}
		if task = text(job, "taskId"); code != 200 || task == "" || text(job, "status") != "waiting" {
			t.Fatalf("submit = %d %v", code, job)
		}
	}
	for _, want := range []string{"waiting", "processing", "succeed"} {
		code, got := ask(t, "GET", server.PolloURL()+"/generation/"+task+"/status", "", key)
		if data, ok := got["data"].(map[string]any); ok {
			got = data
		}
		list, _ := got["generations"].([]any)
		if code != 200 || len(list) != 1 {
			t.Fatalf("status = %d %v", code, got)
		}
		if made, _ := list[0].(map[string]any); text(made, "status") != want || (want == "succeed") != (text(made, "url") != "") {
			t.Errorf("generation = %v, want %s", list[0], want)
		}
	}
	if e := server.Ledger()[1]; e.Units["credit"] != 60 {
		t.Errorf("ledger %+v", e)
	}
	if code, got := ask(t, "POST", server.PolloURL()+"/v1/generation/kling-ai/kling-v1-5/video", `{"input":{"prompt":"script:error=quota"}}`, key); code != 403 || text(got, "message") != "Not enough credits" {
		t.Errorf("without credits = %d %v", code, got)
	}
	if code, got := ask(t, "GET", server.PolloURL()+"/credit/balance", "", map[string]string{"X-Api-Key": "invalid"}); code != 401 || text(got, "code") != "UNAUTHORIZED" {
		t.Errorf("balance for a wrong key = %d %v", code, got)
	}
}

// TestXAIsVideosSpeakAsTheFactsSay holds them to the exchanges that are written down of them.
func TestXAIsVideosSpeakAsTheFactsSay(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	key := map[string]string{"Authorization": "Bearer xai-key"}
	submit := func(body string) string {
		t.Helper()
		code, job := ask(t, "POST", server.XAIURL()+"/videos/generations", body, key)
		id := text(job, "request_id")
		if code != 200 || id == "" || len(job) != 1 {
			t.Fatalf("submit = %d %v", code, job)
		}
		return server.XAIURL() + "/videos/" + id
	}
	poll := func(at string, header map[string]string) (int, map[string]any) {
		t.Helper()
		return ask(t, http.MethodGet, at, "", header)
	}
	at := submit(`{"model":"grok-imagine-video","prompt":"a kite","duration":8,"aspect_ratio":"16:9","resolution":"480p","image":{"url":"data:image/png;base64,eA=="}}`)
	if code, got := poll(at, key); code != 202 || text(got, "status") != "pending" || got["progress"] != nil {
		t.Errorf("the first answer = %d %v", code, got)
	}
	if code, got := poll(at, key); code != 202 || text(got, "status") != "pending" || got["progress"] != 40.0 {
		t.Errorf("the second answer = %d %v", code, got)
	}
	code, got := poll(at, key)
	film, _ := got["video"].(map[string]any)
	cost, _ := got["usage"].(map[string]any)
	if code != 200 || text(got, "status") != "done" || got["progress"] != 100.0 || film["duration"] != 8.0 || film["respect_moderation"] != true || cost["cost_in_usd_ticks"] != 4e9 {
		t.Errorf("the last answer = %d %v", code, got)
	}
	if e := server.Ledger()[0]; e.Provider != "xai" || e.Units["second"] != 8 || e.Units["usd_tick"] != 4e9 || e.Declared != nil || "/videos/"+e.Job != strings.TrimPrefix(at, server.XAIURL()) {
		t.Errorf("ledger %+v", e)
	}
	for script, want := range map[string]string{
		"script:polls=1,error=server,at=0": "failed", "script:polls=1,error=content,at=0": "failed", "script:polls=1,finish=expired": "expired", "script:polls=1,refusal": "done", "script:polls=1,nousage": "done",
	} {
		at := submit(`{"model":"grok-imagine-video","prompt":"` + script + `"}`)
		_, _ = poll(at, key)
		code, got := poll(at, key)
		failed, _ := got["error"].(map[string]any)
		film, _ := got["video"].(map[string]any)
		if code != 200 || text(got, "status") != want || (want == "failed") != (text(failed, "code") != "" && text(failed, "message") != "") ||
			(film != nil && (film["respect_moderation"] == false) != strings.Contains(script, "refusal")) || (got["usage"] == nil) != (want != "done" || strings.Contains(script, "nousage")) {
			t.Errorf("%s = %d %v, want %s", script, code, got, want)
		}
	}
	if code, got := poll(at, map[string]string{"Authorization": "Bearer another"}); code != 404 || text(got, "code") != "not-found" {
		t.Errorf("another's request = %d %v", code, got)
	}
	if code, got := ask(t, "DELETE", at, "", key); code != 405 {
		t.Errorf("there is a way to cancel: %d %v", code, got)
	}
	for body, want := range map[string]int{
		`{"model":"grok-imagine-video"}`: 422, `{"prompt":"a"}`: 422, `{"model":"grok-imagine-video","prompt":"a","duration":16}`: 400,
		`{"model":"grok-imagine-video","prompt":"a","duration":"5"}`: 422, `{"model":"grok-imagine-video","prompt":"a","resolution":"4k"}`: 422,
		`{"model":"grok-imagine-video","prompt":"script:error=auth"}`: 400, `{"model":"grok-imagine-video","prompt":"script:error=quota"}`: 403,
	} {
		if code, got := ask(t, "POST", server.XAIURL()+"/videos/generations", body, key); code != want || text(got, "error") == "" || text(got, "code") == "" {
			t.Errorf("%s = %d %v, want %d", body, code, got, want)
		}
	}
}

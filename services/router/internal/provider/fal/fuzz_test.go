package fal_test

import (
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/provider/fal"
)

func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		`{"request_id":"7f","status":"IN_QUEUE","response_url":"https://queue.fal.run/a/b/requests/7f","status_url":"https://queue.fal.run/a/b/requests/7f/status"}`,
		`{"status":"COMPLETED","metrics":{"inference_time":1.5},"error":"x","error_type":"request_timeout"}`,
		`{"images":[{"url":"https://a/1.png","width":1024,"height":768}],"has_nsfw_concepts":[false]}`,
		`{"video":{"url":"https://a/1.mp4","duration":5}}`,
		`{"detail":[{"loc":["body","prompt"],"msg":"Field required","type":"missing"}]}`,
		`{"detail":"User is locked. Reason: Exhausted balance."}`,
		`{"keys":[{"kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`,
		`[`, ``, `{"request_id":"../x"}`, `{"images":{"url":"data:image/png;base64,eA=="}}`,
	} {
		f.Add([]byte(seed), 422)
	}
	key := secret.New("id-canary:0123456789abcdef")
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		if job, err := fal.ReadSubmit(body, "https://queue.fal.run", "/a/b/c"); err == nil {
			if job.ID == "" || len(job.Ref) > 1<<10 || !strings.HasPrefix(job.Ref, "/") || strings.Contains(job.Ref, "/../") || strings.HasSuffix(job.Ref, "/..") {
				t.Fatalf("job %+v", job)
			}
		}
		fal.ReadStatus(body)
		state := fal.ReadResult(body)
		if len(state.Outputs) > 32 {
			t.Fatalf("%d outputs", len(state.Outputs))
		}
		if state.Usage != nil {
			for _, u := range state.Usage.Units {
				if u.Milli < 0 || u.Milli > 1e12 {
					t.Fatalf("unit %+v", u)
				}
			}
		}
		e := fal.ReadError(status, body, key)
		if e.Message == "" || e.Class == "" || len(e.Message) > 4<<10 || strings.Contains(e.Message, "id-canary:0123456789abcdef") {
			t.Fatalf("error %+v", e)
		}
		fal.ReadKeys(body)
	})
}

package gemini_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/gemini"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// hops is a provider that gives one answer after the other, the last one for ever.
type hops struct {
	mu      sync.Mutex
	stream  bool
	answers []string
	bodies  []string
}

func (h *hops) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	body := h.answers[min(len(h.bodies), len(h.answers)-1)]
	h.bodies = append(h.bodies, string(b))
	kind, status := "application/json", 200
	if h.stream {
		kind, body = "text/event-stream", events(body)
	}
	if strings.Contains(body, `"error"`) {
		kind, status = "application/json", 503
		body = strings.TrimPrefix(body, "data: ")
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {kind}}, ContentLength: -1, Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

// collect reads the whole answer.
func (h *hops) collect(t *testing.T) (providertest.Answer, error) {
	t.Helper()
	call := completion.Call{AttemptID: "att_1", Model: "gemini-4-argon", Request: &completion.Request{
		Stream: h.stream, Decode: func() (*completion.Prompt, error) { return hello(), nil },
	}}
	answer, err := gemini.New(provider.NewClient(h), studio).Start(t.Context(), call, func(method string) provider.Route {
		return provider.Route{URL: "http://provider.invalid/models/m:" + method, Auth: provider.Auth{Header: "X-Goog-Api-Key", Key: secret.New(key)}}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close() //nolint:errcheck // a test
	return providertest.Collect(answer)
}

func hop(text, reason, token, took string) string {
	inner := `"content":{"role":"model","parts":[{"text":"` + text + `"},{"functionCall":{"name":"f"}}]},"finishReason":"` + reason + `"`
	if token != "" {
		inner += `,"continuationToken":"` + token + `"`
	}
	return with(candidate(inner), `"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":`+took+`,"cachedContentTokenCount":4}`)
}

// TestLongAnswersAreContinued: a model may give an answer in several requests. The caller sees one.
func TestLongAnswersAreContinued(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		h := &hops{stream: stream, answers: []string{hop("one ", "CONTINUATION", "dG9rZW4tMQ==", "5"), hop("two ", "CONTINUATION", "dG9rZW4tMg==", "6"), hop("three", "STOP", "", "7")}}
		got, err := h.collect(t)
		if err != nil {
			t.Fatal(err)
		}
		if got.Delta.Text != "one two three" || got.Finish != completion.ToolCalls || len(got.Delta.ToolCalls) != 3 || got.Head.RequestID != "r1" || got.Head.Model == "" {
			t.Errorf("stream %v: %+v", stream, got)
		}
		if !stream && got.Chunks != 1 {
			t.Errorf("an answer that is not streamed comes in %d pieces", got.Chunks)
		}
		want := usage.Tokens{InputTotal: 30, InputUncached: 18, CacheRead: 12, OutputTotal: 18}
		if got.Usage == nil || !got.Usage.Final || got.Usage.Tokens != want {
			t.Errorf("stream %v: usage %+v, want the sum of all requests %+v", stream, got.Usage, want)
		}
		if len(h.bodies) != 3 {
			t.Fatalf("%d requests", len(h.bodies))
		}
		for i, token := range []string{"dG9rZW4tMQ==", "dG9rZW4tMg=="} {
			again := strings.TrimSuffix(h.bodies[0], "}") + `,"continuationToken":"` + token + `"}`
			if diff := cmp.Diff(again, h.bodies[i+1]); diff != "" {
				t.Errorf("stream %v: request %d is not the same again (-want +got):\n%s", stream, i+1, diff)
			}
		}
	}
}

// TestALongAnswerIsNotCountedInPart: where one of its requests did not tell what it took, the sum of the others
// is not the last word.
func TestALongAnswerIsNotCountedInPart(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		for at := range 2 {
			took := []string{"5", "6", "7"}
			took[at] = "-1"
			h := &hops{stream: stream, answers: []string{hop("one ", "CONTINUATION", "dG9rZW4tMQ==", took[0]), hop("two ", "CONTINUATION", "dG9rZW4tMg==", took[1]), hop("three", "STOP", "", took[2])}}
			got, err := h.collect(t)
			if err != nil || got.Delta.Text != "one two three" || got.Usage == nil || got.Usage.Final || got.Usage.Tokens.InputTotal != 20 {
				t.Errorf("stream %v, request %d tells nothing: %+v, %v", stream, at, got.Usage, err)
			}
		}
	}
}

func TestContinuationsEnd(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		forever := &hops{stream: stream, answers: []string{hop("x", "CONTINUATION", "dG9rZW4=", "1")}}
		got, err := forever.collect(t)
		if err != nil || got.Finish != completion.Length || len(forever.bodies) != 16 || got.Usage.Tokens.OutputTotal != 16 || !got.Usage.Final {
			t.Errorf("stream %v: %d requests, %+v, %v", stream, len(forever.bodies), got, err)
		}
		unnamed := &hops{stream: stream, answers: []string{hop("x", "CONTINUATION", "", "1")}}
		if got, err := unnamed.collect(t); err != nil || got.Finish != completion.Length || len(unnamed.bodies) != 1 {
			t.Errorf("stream %v, without a token: %+v, %v", stream, got, err)
		}
		broken := &hops{stream: stream, answers: []string{hop("x", "CONTINUATION", "dG9rZW4=", "1"), unavailable}}
		got, err = broken.collect(t)
		if failure := failed(t, err); failure.Class != completion.Overloaded || failure.Unbilled || !failure.Sent {
			t.Errorf("stream %v, a request that fails: %+v", stream, failure)
		}
		if stream != (got.Delta.Text == "x") || got.Usage == nil || got.Usage.Final || got.Usage.Tokens.OutputTotal != 1 {
			t.Errorf("what came before a failure: %+v", got)
		}
		malformed := &hops{stream: stream, answers: []string{hop("x", "CONTINUATION", "dG9rZW4=", "1"), hop("y", "MALFORMED_RESPONSE", "", "2")}}
		if got, err := malformed.collect(t); err == nil || got.Usage == nil || got.Usage.Tokens.OutputTotal != 3 {
			t.Errorf("stream %v, what both requests took: %+v, %v", stream, got.Usage, err)
		}
	}
}

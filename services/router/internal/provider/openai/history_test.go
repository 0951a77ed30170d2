package openai_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/openai"
)

// caught keeps what goes out.
type caught struct{ body []byte }

func (c *caught) RoundTrip(r *http.Request) (*http.Response, error) {
	c.body, _ = io.ReadAll(r.Body)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: http.NoBody}, nil
}

func passed(t *testing.T, baseURL, body string) string {
	t.Helper()
	c := &caught{}
	request := &completion.Request{Dialect: completion.OpenAIChat, Raw: []byte(body)}
	answer, err := openai.New(c).Start(t.Context(), completion.Call{
		Model: "gpt-4.1", BaseURL: baseURL, Secret: secret.New("sk-1"), Request: request, Raw: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Close()
	if string(request.Raw) != body {
		t.Errorf("the caller's body was changed to %s", request.Raw)
	}
	return string(c.body)
}

// TestWhatOtherVendorsBroughtIsTakenOut of bodies that pass to OpenAI, which would refuse it. Compatible
// servers get it: some need it.
func TestWhatOtherVendorsBroughtIsTakenOut(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"model":"gpt-4.1","messages":[{"reasoning_content":"hm" , "role":"assistant","content":"a","reasoning_details":[{"type":"x"}]},{"role":"user","content":[{"type":"text","text":"\"reasoning\"","cache_control":{"type":"ephemeral"}}, "x"]}]}`: `{"model":"gpt-4.1","messages":[{ "role":"assistant","content":"a"},{"role":"user","content":[{"type":"text","text":"\"reasoning\""}, "x"]}]}`,
		`{"messages":[{"reasoning":"a","reasoning_content":"b"},{"tool_calls":[{"id":"c","extra_content":{"google":{}},"type":"function"}]}],"tools":[{"cache_control":{},"type":"function"}],"model":"gpt-4.1"}`:                                        `{"messages":[{},{"tool_calls":[{"id":"c","type":"function"}]}],"tools":[{"type":"function"}],"model":"gpt-4.1"}`,
		`{"model":"gpt-4.1","messages":[{"role":"user","content":"reasoning_content"}],"reasoning_effort":"low","x":{"reasoning_content":1}}`:                                                                                                            `{"model":"gpt-4.1","messages":[{"role":"user","content":"reasoning_content"}],"reasoning_effort":"low","x":{"reasoning_content":1}}`,
	} {
		for _, address := range []string{"https://api.openai.com/v1", "https://eu.api.openai.com/v1"} {
			if diff := cmp.Diff(want, passed(t, address, body)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", address, diff)
			}
		}
		for _, address := range []string{"https://llm.example.com/v1", "https://notapi.openai.com.example/v1"} {
			if diff := cmp.Diff(body, passed(t, address, body)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", address, diff)
			}
		}
	}
}

func FuzzHistory(f *testing.F) {
	f.Add(`{"model":"m","messages":[{"reasoning":1,"reasoning":2 , "a":3},{"content":[{"cache_control":1},{"b":1,"cache_control":{}}]}]}`)
	f.Add(`{"messages":[{"tool_calls":[{"extra_content":{}}]}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		c := &caught{}
		answer, err := openai.New(c).Start(t.Context(), completion.Call{
			Model: "gpt-4.1", BaseURL: openai.BaseURL, Secret: secret.New("sk-1"), Raw: true,
			Request: &completion.Request{Dialect: completion.OpenAIChat, Raw: []byte(body)},
		})
		if err != nil {
			return
		}
		_ = answer.Close()
		if json.Valid([]byte(body)) != json.Valid(c.body) {
			t.Fatalf("%q became %q", body, c.body)
		}
	})
}

package anthropic_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/anthropic"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// TestTokensAreCounted: a prompt of any dialect is counted, and counting takes nothing.
func TestTokensAreCounted(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	p := anthropic.New(&http.Transport{})
	for _, raw := range []bool{true, false} {
		call := providertest.Converted(server.AnthropicURL(), "claude-opus-4-7", false, llmtest.Script{Input: 123})
		call.Request.Operation, call.Raw = completion.CountTokens, raw
		call.Request.Raw = []byte(`{"model":"x","messages":[{"role":"user","content":"script:in=123 hi"}]}`)
		if why := p.Serves(completion.CountTokens, "claude-x", nil); why != "" {
			t.Fatal(why)
		}
		answer, err := p.Start(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		chunk, err := answer.Next()
		if err != nil || chunk.Result == nil || chunk.Result.Count != 123 || !chunk.Content {
			t.Fatalf("raw %v: %+v, %v", raw, chunk, err)
		}
		if chunk.Usage == nil || !chunk.Usage.Final || chunk.Usage.Tokens != (usage.Tokens{}) {
			t.Errorf("raw %v: usage %+v, want none", raw, chunk.Usage)
		}
		if raw != (len(chunk.Raw) > 0) {
			t.Errorf("raw %v: bytes %s", raw, chunk.Raw)
		}
		_ = answer.Close()
	}
	s := &sent{}
	call := providertest.Converted("http://provider.invalid", "claude-haiku-4-5", false, llmtest.Script{})
	call.Request.Operation = completion.CountTokens
	call.Request.Decode = func() (*completion.Prompt, error) { return full(), nil }
	if _, err := p.Start(t.Context(), call); err == nil {
		t.Error("an address that leads nowhere counted")
	}
	if _, err := anthropic.New(s).Start(t.Context(), call); err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(s.body, &fields); err != nil {
		t.Fatal(err)
	}
	for _, refused := range []string{"max_tokens", "stop_sequences", "temperature", "metadata", "stream", "service_tier", "top_k"} {
		if _, given := fields[refused]; given {
			t.Errorf("%s stands in %s", refused, s.body)
		}
	}
	for _, body := range []string{`{"input_tokens":-1}`, `{}`, `nonsense`, `{"input_tokens":"7"}`} {
		answer, err := anthropic.New(fixed(body)).Start(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := answer.Next(); err == nil {
			t.Errorf("%s is a count", body)
		}
	}
}

// fixed answers every call with a body.
type fixed string

func (f fixed) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := (&replay{stream: string(f)}).RoundTrip(r)
	res.Header.Set("Content-Type", "application/json")
	return res, err
}

func TestKeyTestNamesTheModels(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	got := anthropic.New(&http.Transport{}).Test(t.Context(), completion.Place{BaseURL: server.AnthropicURL(), Secret: secret.New(providertest.Key)})
	if got.State != "active" || len(got.Models) == 0 {
		t.Errorf("%+v", got)
	}
}

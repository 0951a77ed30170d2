package e2e_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"

	"github.com/claviger/claviger/tools/seed"
)

// TestAnthropicsGoSDKWorksUnmodified, with a model whose bytes pass and with one that is converted.
func TestAnthropicsGoSDKWorksUnmodified(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	w.plant(t, &seed.Document{
		Organization: seed.Organization{Slug: "acme"},
		Policies:     []seed.Policy{{Name: "limited", Spec: seed.Rule(seed.Platform("anthropic/claude-sonnet-4-5"))}},
	})
	w.await(t, w.keys["acme"], "policy/limited", http.StatusOK, "")
	client := anthropic.NewClient(anthropicoption.WithBaseURL(w.BaseURL), anthropicoption.WithAPIKey(w.keys["acme"]), anthropicoption.WithMaxRetries(0))
	params := func(model, prompt string) anthropic.MessageNewParams {
		return anthropic.MessageNewParams{
			Model: anthropic.Model(model), MaxTokens: 1000,
			Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(prompt))},
		}
	}
	for _, model := range []string{"policy/claude", "openai/gpt-4o-mini"} {
		got, err := client.Messages.New(t.Context(), params(model, "script:text=good%20day,in=40,cached=10,out=7"))
		if err != nil {
			t.Fatalf("%s: %v", model, err)
		}
		if got.Content[0].Text != "good day" || got.StopReason != "end_turn" || got.Usage.InputTokens != 30 || got.Usage.CacheReadInputTokens != 10 || got.Usage.OutputTokens != 7 {
			t.Errorf("%s: %s", model, got.RawJSON())
		}
		stream := client.Messages.NewStreaming(t.Context(), params(model, "script:text=one%20two,tool=look,args=%7B%22q%22%3A%22x%22%7D,calls=2,in=10,out=30"))
		var acc anthropic.Message
		for stream.Next() {
			if err := acc.Accumulate(stream.Current()); err != nil {
				t.Fatalf("%s: %v", model, err)
			}
		}
		if err := stream.Err(); err != nil || len(acc.Content) != 3 || acc.Content[0].Text != "one two" || string(acc.Content[2].Input) != `{"q":"x"}` ||
			acc.StopReason != "tool_use" || acc.Usage.OutputTokens != 30 || acc.Usage.InputTokens != 10 {
			t.Errorf("%s: stream = %+v, %v", model, acc, err)
		}
		broken := client.Messages.NewStreaming(t.Context(), params(model, "script:tokens=9,error=server,at=3"))
		for broken.Next() {
			_ = broken.Current()
		}
		if err := broken.Err(); err == nil || !strings.Contains(err.Error(), "answer_broken_off") && !strings.Contains(err.Error(), "broke off") {
			t.Errorf("%s: a broken stream ended with %v", model, err)
		}
		for prompt, want := range map[string]struct {
			status int
			kind   anthropic.ErrorType
		}{
			"script:error=bad_request": {400, "invalid_request_error"}, "script:error=model": {404, "not_found_error"},
			"script:error=rate_limit": {429, "rate_limit_error"}, "script:error=server": {502, "api_error"},
			"script:error=timeout": {504, "timeout_error"}, "script:error=overloaded": {529, "overloaded_error"},
		} {
			failing := model
			switch { // who is limited cools down, so nothing else asks for its model
			case model == direct:
				failing = "openai/" + string(want.kind)
			case want.status == http.StatusTooManyRequests:
				failing = "policy/limited"
			}
			_, err := client.Messages.New(t.Context(), params(failing, prompt))
			api, ok := errors.AsType[*anthropic.Error](err)
			if !ok || api.StatusCode != want.status || api.Type() != want.kind || !strings.HasPrefix(api.RequestID, "req_") {
				t.Errorf("%s, %s: %v, want %+v", failing, prompt, err, want)
			}
		}
	}
	stranger := anthropic.NewClient(anthropicoption.WithBaseURL(w.BaseURL), anthropicoption.WithAPIKey("clv_nobody"), anthropicoption.WithMaxRetries(0))
	if _, err := stranger.Messages.New(t.Context(), params("policy/claude", "hi")); !strings.Contains(err.Error(), "401") {
		t.Errorf("a stranger got %v", err)
	}
	count := anthropic.MessageCountTokensParams{
		Model: "policy/claude", Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("script:in=77 hello"))},
	}
	if got, err := client.Messages.CountTokens(t.Context(), count); err != nil || got.InputTokens != 77 {
		t.Errorf("count %+v, %v", got, err)
	}
	var listed []string
	pages := client.Models.ListAutoPaging(t.Context(), anthropic.ModelListParams{Limit: anthropic.Int(3)})
	for pages.Next() {
		listed = append(listed, pages.Current().ID)
	}
	if err := pages.Err(); err != nil || !slices.Contains(listed, "policy/claude") || !slices.Contains(listed, "openai/gpt-4o-mini") || len(slices.Compact(slices.Sorted(slices.Values(listed)))) != len(listed) {
		t.Errorf("models %v, %v", listed, err)
	}
	if got, err := client.Models.Get(t.Context(), "openai/gpt-4o-mini", anthropic.ModelGetParams{}); err != nil || got.ID != "openai/gpt-4o-mini" {
		t.Errorf("Models.Get = %v, %v", got, err)
	}
}

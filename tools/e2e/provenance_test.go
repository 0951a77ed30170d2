package e2e_test

import (
	"encoding/json"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
)

// told is what a stream says of what serves it.
type told struct {
	RequestID string `json:"request_id"`
	Model     string `json:"model"`
	Class     string `json:"credential_class"`
}

// toldIn reads it out of an event; nil if it holds nothing of it.
func toldIn(t *testing.T, event string) *told {
	t.Helper()
	var e struct {
		Claviger *told `json:"claviger"`
	}
	if err := json.Unmarshal([]byte(event), &e); err != nil {
		t.Fatal(err)
	}
	return e.Claviger
}

// TestOfficialSDKsReadStreamsThatTellWhatServes, as if nothing was there, and hand it out to who looks for it:
// of models whose bytes pass, and of some that are converted.
func TestOfficialSDKsReadStreamsThatTellWhatServes(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	models := map[string]told{
		"openai/gpt-4o-mini": {Model: "openai/gpt-4o-mini", Class: "own"},
		"policy/claude":      {Model: "anthropic/claude-haiku-4-5"},
	}
	const prompt = "script:text=one%20two,tool=look,args=%7B%22q%22%3A%22x%22%7D,calls=2,in=10,out=30 go"
	ask := openaioption.WithHeader("x-claviger-include", "provenance")
	client := openai.NewClient(openaioption.WithBaseURL(w.BaseURL+"/v1"), openaioption.WithAPIKey(w.keys["acme"]), openaioption.WithMaxRetries(0), ask)
	claude := anthropic.NewClient(anthropicoption.WithBaseURL(w.BaseURL), anthropicoption.WithAPIKey(w.keys["acme"]), anthropicoption.WithMaxRetries(0),
		anthropicoption.WithHeader("x-claviger-include", "provenance"))
	for model, want := range models {
		check := func(what string, got *told) {
			t.Helper()
			if got == nil || got.Model != want.Model || got.RequestID == "" || want.Class != "" && got.Class != want.Class {
				t.Errorf("%s of %s tells %+v, want %+v", what, model, got, want)
			}
		}
		for what, withUsage := range map[string]bool{"chat": false, "chat with usage": true} {
			p := openai.ChatCompletionNewParams{Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(prompt)}}
			if withUsage {
				p.StreamOptions.IncludeUsage = openai.Bool(true)
			}
			stream, acc := client.Chat.Completions.NewStreaming(t.Context(), p), openai.ChatCompletionAccumulator{}
			var last *told
			for stream.Next() {
				if !acc.AddChunk(stream.Current()) {
					t.Fatalf("%s of %s: a chunk does not fit: %s", what, model, stream.Current().RawJSON())
				}
				last = toldIn(t, stream.Current().RawJSON())
			}
			if err := stream.Err(); err != nil || acc.Choices[0].Message.Content != "one two" || len(acc.Choices[0].Message.ToolCalls) != 2 ||
				withUsage && acc.Usage.TotalTokens != 40 {
				t.Errorf("%s of %s: %+v, usage %+v, %v", what, model, acc.Choices, acc.Usage, err)
			}
			check(what, last)
		}

		events := client.Responses.NewStreaming(t.Context(), responses.ResponseNewParams{
			Model: model, Input: responses.ResponseNewParamsInputUnion{OfString: param.NewOpt(prompt)},
			Tools: []responses.ToolUnionParam{{OfFunction: &responses.FunctionToolParam{Name: "look", Parameters: map[string]any{"type": "object"}, Strict: param.NewOpt(false)}}},
		})
		var last *told
		var whole responses.Response
		for events.Next() {
			last = toldIn(t, events.Current().RawJSON())
			if e, ok := events.Current().AsAny().(responses.ResponseCompletedEvent); ok {
				whole = e.Response
			}
		}
		if err := events.Err(); err != nil || whole.OutputText() != "one two" || whole.Usage.TotalTokens != 40 {
			t.Errorf("response of %s: %s, %v", model, whole.RawJSON(), err)
		}
		check("response", last)

		messages := claude.Messages.NewStreaming(t.Context(), askMessage(model, prompt))
		var acc anthropic.Message
		for messages.Next() {
			if err := acc.Accumulate(messages.Current()); err != nil {
				t.Fatalf("message of %s: %v", model, err)
			}
			last = toldIn(t, messages.Current().RawJSON())
		}
		if err := messages.Err(); err != nil || len(acc.Content) != 3 || acc.Content[0].Text != "one two" || acc.StopReason != "tool_use" || acc.Usage.OutputTokens != 30 {
			t.Errorf("message of %s: %+v, %v", model, acc, err)
		}
		check("message", last)
	}
}

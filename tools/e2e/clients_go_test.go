package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
)

// askMessage asks for one answer in Anthropic's words.
func askMessage(model, prompt string) anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model: model, MaxTokens: 200,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(prompt))},
	}
}

func TestAnthropicsGoSDKReachesEveryNativeForm(t *testing.T) {
	t.Parallel()
	w := startProviders(t)
	client := anthropic.NewClient(anthropicoption.WithBaseURL(w.BaseURL), anthropicoption.WithAPIKey(w.keys["acme"]), anthropicoption.WithMaxRetries(0))
	for _, model := range []string{"anthropic/claude-haiku-4-5", "openai/gpt-4o-mini", "google-ai-studio/gemini-3.8-flash", "bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0"} {
		got, err := client.Messages.New(t.Context(), askMessage(model, "script:text=good%20day,in=40,cached=30,out=7"))
		if err != nil {
			t.Errorf("%s: %v", model, err)
			continue
		}
		if got.Content[0].Text != "good day" || got.StopReason != anthropic.StopReasonEndTurn || got.Usage.InputTokens != 10 || got.Usage.CacheReadInputTokens != 30 || got.Usage.OutputTokens != 7 {
			t.Errorf("%s: %s", model, got.RawJSON())
		}
		p := askMessage(model, "script:tool=look,args=%7B%22q%22%3A%22x%22%7D,calls=2,in=10,out=30")
		p.Tools = []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{
			Name: "look", InputSchema: anthropic.ToolInputSchemaParam{Properties: map[string]any{"q": map[string]any{"type": "string"}}},
		}}}
		stream, message := client.Messages.NewStreaming(t.Context(), p), anthropic.Message{}
		for stream.Next() {
			if err := message.Accumulate(stream.Current()); err != nil {
				t.Fatalf("%s: %v: %s", model, err, stream.Current().RawJSON())
			}
		}
		calls := 0
		for _, block := range message.Content {
			var input map[string]string
			if block.Type == "tool_use" && json.Unmarshal(block.Input, &input) == nil && input["q"] == "x" {
				calls++
			}
		}
		if err := stream.Err(); err != nil || calls != 2 || message.StopReason != anthropic.StopReasonToolUse || message.Usage.OutputTokens != 30 {
			t.Errorf("%s: stream = %s, %v", model, message.RawJSON(), err)
		}
		broken := client.Messages.NewStreaming(t.Context(), askMessage(model, "script:tokens=9,error=server,at=3"))
		last := ""
		for broken.Next() {
			last = broken.Current().Type
		}
		if err := broken.Err(); err == nil || last == "message_stop" {
			t.Errorf("%s: a broken stream ended with %s and %v", model, last, err)
		}
		for prompt, status := range map[string]int{"script:error=bad_request": 400, "script:error=rate_limit": 429, "script:error=overloaded": 529} {
			// Each with a model of its own: the router remembers failures of a credential by model.
			_, err := client.Messages.New(t.Context(), askMessage(fmt.Sprintf("%s-%d", model, status), prompt))
			if api, ok := errors.AsType[*anthropic.Error](err); !ok || api.StatusCode != status {
				t.Errorf("%s: %s: %v, want %d", model, prompt, err, status)
			}
		}
	}
}

func TestOpenAIsGoSDKReachesEveryNativeForm(t *testing.T) {
	t.Parallel()
	w := startProviders(t)
	client := openai.NewClient(openaioption.WithBaseURL(w.BaseURL+"/v1"), openaioption.WithAPIKey(w.keys["acme"]), openaioption.WithMaxRetries(0))
	ask := func(model, prompt string) responses.ResponseNewParams {
		return responses.ResponseNewParams{Model: model, Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(prompt)}}
	}
	for _, model := range []string{"openai/gpt-4o-mini", "anthropic/claude-haiku-4-5", "mistral/mistral-small-latest", "vertex/gemini-3.8-flash"} {
		got, err := client.Responses.New(t.Context(), ask(model, "script:text=good%20day,in=40,out=7"))
		if err != nil {
			t.Errorf("%s: %v", model, err)
			continue
		}
		if got.OutputText() != "good day" || got.Status != responses.ResponseStatusCompleted || got.Usage.TotalTokens != 47 {
			t.Errorf("%s: %s", model, got.RawJSON())
		}
		stream, text, completed := client.Responses.NewStreaming(t.Context(), ask(model, "script:tokens=12,in=10,out=12")), "", responses.Response{}
		for stream.Next() {
			switch e := stream.Current().AsAny().(type) {
			case responses.ResponseTextDeltaEvent:
				text += e.Delta
			case responses.ResponseCompletedEvent:
				completed = e.Response
			}
		}
		if err := stream.Err(); err != nil || text == "" || completed.OutputText() != text || completed.Usage.OutputTokens != 12 {
			t.Errorf("%s: stream = %q, completed %s, %v", model, text, completed.RawJSON(), err)
		}
		_, err = client.Responses.New(t.Context(), ask(model, "script:error=rate_limit"))
		if api, ok := errors.AsType[*openai.Error](err); !ok || api.StatusCode != 429 {
			t.Errorf("%s: %v, want 429", model, err)
		}
	}
	for _, model := range []string{"openai/text-embedding-3-small", "mistral/mistral-embed", "google-ai-studio/gemini-embedding-001", "bedrock/amazon.titan-embed-text-v2:0"} {
		got, err := client.Embeddings.New(t.Context(), openai.EmbeddingNewParams{Model: model, Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"a", "b"}}})
		if err != nil || len(got.Data) != 2 || len(got.Data[1].Embedding) < 2 || got.Data[1].Index != 1 {
			t.Errorf("%s: embeddings = %v, %v", model, got, err)
		}
	}
	image, err := client.Images.Generate(t.Context(), openai.ImageGenerateParams{Model: "openai/gpt-image-2", Prompt: "a red kite"})
	if err != nil || len(image.Data) != 1 || image.Data[0].B64JSON == "" {
		t.Errorf("image = %v, %v", image, err)
	}
}

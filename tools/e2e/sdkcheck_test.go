package e2e_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"

	"github.com/claviger/claviger/pkg/llmtest"
)

// The official SDKs read the scripted provider directly, so that what the router's adapters are
// tested against is the providers' format and not our idea of it.

func sdkOpenAI(s *llmtest.Server, key string) openai.Client {
	return openai.NewClient(openaioption.WithBaseURL(s.OpenAIURL()), openaioption.WithAPIKey(key), openaioption.WithMaxRetries(0))
}

func sdkAnthropic(s *llmtest.Server, key string) anthropic.Client {
	return anthropic.NewClient(anthropicoption.WithBaseURL(s.AnthropicURL()), anthropicoption.WithAPIKey(key), anthropicoption.WithMaxRetries(0))
}

func chatParams(model string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:         model,
		Messages:      []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")},
		StreamOptions: openai.ChatCompletionStreamOptionsParam{},
	}
}

func TestOpenAISDKReadsWholeAnswer(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	client := sdkOpenAI(s, "sk-1")
	got, err := client.Chat.Completions.New(t.Context(), chatParams("gpt-4o-mini-script:text=good%20day,in=40,cached=8,write=4,reasoning=5,think"))
	if err != nil {
		t.Fatal(err)
	}
	if m := got.Choices[0].Message; m.Content != "good day" || got.Choices[0].FinishReason != "stop" || got.Model != "gpt-4o-mini-2024-07-18" {
		t.Errorf("answer %s", got.RawJSON())
	}
	u := got.Usage
	if u.PromptTokens != 40 || u.CompletionTokens != 7 || u.TotalTokens != 47 || u.PromptTokensDetails.CachedTokens != 8 ||
		u.PromptTokensDetails.CacheWriteTokens != 4 || u.CompletionTokensDetails.ReasoningTokens != 5 {
		t.Errorf("usage %s", u.RawJSON())
	}
}

func TestOpenAISDKReadsStream(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	client := sdkOpenAI(s, "sk-1")
	for _, script := range []string{"", ",split=13", ",crlf", ",pings", ",early"} {
		params := chatParams("gpt-4.1-script:text=one%20two%20three,in=10,tool=look,args=%7B%22q%22%3A%22x%22%7D,calls=2" + script)
		params.StreamOptions.IncludeUsage = openai.Bool(true)
		stream := client.Chat.Completions.NewStreaming(t.Context(), params)
		acc := openai.ChatCompletionAccumulator{}
		for stream.Next() {
			if !acc.AddChunk(stream.Current()) {
				t.Fatalf("%q: chunk does not fit: %s", script, stream.Current().RawJSON())
			}
		}
		if err := stream.Err(); err != nil {
			t.Fatalf("%q: %v", script, err)
		}
		choice := acc.Choices[0]
		if choice.Message.Content != "one two three" || choice.FinishReason != "tool_calls" || len(choice.Message.ToolCalls) != 2 {
			t.Fatalf("%q: message %+v", script, choice)
		}
		if call := choice.Message.ToolCalls[1]; call.Function.Name != "look" || call.Function.Arguments != `{"q":"x"}` || call.ID == choice.Message.ToolCalls[0].ID {
			t.Errorf("%q: tool call %+v", script, call)
		}
		if acc.Usage.PromptTokens != 10 || acc.Usage.CompletionTokens != 27 {
			t.Errorf("%q: usage %+v", script, acc.Usage)
		}
	}
}

func TestOpenAISDKReadsRefusal(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	client := sdkOpenAI(s, "sk-1")
	stream := client.Chat.Completions.NewStreaming(t.Context(), chatParams("gpt-4.1-script:refusal"))
	acc := openai.ChatCompletionAccumulator{}
	for stream.Next() {
		acc.AddChunk(stream.Current())
	}
	if got := acc.Choices[0].Message; got.Refusal != "I can not help with that." || got.Content != "" {
		t.Errorf("message %+v", got)
	}
}

func TestOpenAISDKRaisesTypedErrors(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	client := sdkOpenAI(s, "sk-1")
	for script, want := range map[string]struct {
		status     int
		kind, code string
	}{
		"auth":           {401, "invalid_request_error", "invalid_api_key"},
		"scopes":         {401, "invalid_request_error", ""},
		"forbidden":      {403, "request_forbidden", "unsupported_country_region_territory"},
		"model":          {404, "invalid_request_error", "model_not_found"},
		"rate_limit":     {429, "tokens", "rate_limit_exceeded"},
		"quota":          {429, "insufficient_quota", "insufficient_quota"},
		"bad_request":    {400, "invalid_request_error", "invalid_value"},
		"context_length": {400, "invalid_request_error", "context_length_exceeded"},
		"too_large":      {413, "", ""},
		"server":         {500, "server_error", ""},
		"overloaded":     {503, "server_error", "server_is_overloaded"},
		"gateway":        {502, "", ""},
	} {
		for _, stream := range []bool{false, true} {
			params := chatParams("gpt-4.1-script:error=" + script + ",retry=1500ms")
			var err error
			if stream {
				s := client.Chat.Completions.NewStreaming(t.Context(), params)
				for s.Next() {
					t.Errorf("%s: chunk %s", script, s.Current().RawJSON())
				}
				err = s.Err()
			} else {
				_, err = client.Chat.Completions.New(t.Context(), params)
			}
			var api *openai.Error
			if !errors.As(err, &api) {
				t.Errorf("%s: error %v is not the SDK's", script, err)
				continue
			}
			if api.StatusCode != want.status || api.Type != want.kind || api.Code != want.code {
				t.Errorf("%s: status %d, type %q, code %q; want %+v", script, api.StatusCode, api.Type, api.Code, want)
			}
			if api.Response.Header.Get("X-Request-Id") == "" || api.Response.Header.Get("Retry-After") != "2" || api.Response.Header.Get("Retry-After-Ms") != "1500" {
				t.Errorf("%s: headers %v", script, api.Response.Header)
			}
		}
	}
}

func TestOpenAISDKSeesBrokenStreams(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	client := sdkOpenAI(s, "sk-1")
	for _, script := range []string{"error=server,at=0", "error=server,at=3", "tokens=9,cutat=3", "tokens=9,cut=1500", "tokens=9,cut=1500,reset"} {
		stream := client.Chat.Completions.NewStreaming(t.Context(), chatParams("gpt-4.1-script:"+script))
		for stream.Next() {
			_ = stream.Current()
		}
		if stream.Err() == nil {
			t.Errorf("%s: the stream ended well", script)
		}
	}
}

func TestOpenAISDKListsModels(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t, llmtest.WithKeys("openai", "sk-good"))
	client := sdkOpenAI(s, "sk-good")
	page, err := client.Models.List(t.Context())
	if err != nil || len(page.Data) < 2 || page.Data[0].ID != "gpt-4o-mini" {
		t.Errorf("models %+v, %v", page, err)
	}
	client = sdkOpenAI(s, "sk-bad")
	_, err = client.Models.List(t.Context())
	var api *openai.Error
	if !errors.As(err, &api) || api.StatusCode != http.StatusUnauthorized {
		t.Errorf("models with a wrong key: %v", err)
	}
}

func messageParams(model string) anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model: anthropic.Model(model), MaxTokens: 1000,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("hello"))},
	}
}

func TestAnthropicSDKReadsWholeAnswer(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	client := sdkAnthropic(s, "sk-ant-1")
	got, err := client.Messages.New(t.Context(), messageParams("claude-haiku-4-5-script:text=good%20day,in=40,cached=8,write=4,write1h=2,reasoning=5,tool=look"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Content) != 3 || got.Content[0].Type != "thinking" || got.Content[1].Text != "good day" || got.Content[2].Name != "look" || got.StopReason != "tool_use" {
		t.Errorf("answer %s", got.RawJSON())
	}
	if u := got.Usage; u.InputTokens != 26 || u.CacheReadInputTokens != 8 || u.CacheCreationInputTokens != 6 ||
		u.CacheCreation.Ephemeral1hInputTokens != 2 || u.OutputTokens != 5+2+12 {
		t.Errorf("usage %s", u.RawJSON())
	}
}

func TestAnthropicSDKReadsStream(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	client := sdkAnthropic(s, "sk-ant-1")
	for _, script := range []string{"", ",split=13", ",crlf", ",pings", ",think"} {
		stream := client.Messages.NewStreaming(t.Context(), messageParams("claude-haiku-4-5-script:text=one%20two%20three,reasoning=3,in=10,tool=look,calls=2"+script))
		var got anthropic.Message
		for stream.Next() {
			if err := got.Accumulate(stream.Current()); err != nil {
				t.Fatalf("%q: %v", script, err)
			}
		}
		if err := stream.Err(); err != nil {
			t.Fatalf("%q: %v", script, err)
		}
		if len(got.Content) != 4 || got.Content[1].Text != "one two three" || got.Content[3].Name != "look" ||
			string(got.Content[3].Input) != `{"city":"Padova","unit":"celsius"}` || got.StopReason != "tool_use" {
			t.Errorf("%q: message %+v", script, got)
		}
		if got.Usage.InputTokens != 10 || got.Usage.OutputTokens != 3+3+24 {
			t.Errorf("%q: usage %+v", script, got.Usage)
		}
	}
}

func TestAnthropicSDKRaisesTypedErrors(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	client := sdkAnthropic(s, "sk-ant-1")
	for script, want := range map[string]struct {
		status int
		kind   anthropic.ErrorType
	}{
		"auth":       {401, "authentication_error"},
		"billing":    {402, "billing_error"},
		"forbidden":  {403, "permission_error"},
		"model":      {404, "not_found_error"},
		"rate_limit": {429, "rate_limit_error"},
		"quota":      {400, "invalid_request_error"},
		"server":     {500, "api_error"},
		"timeout":    {504, "timeout_error"},
		"overloaded": {529, "overloaded_error"},
		"gateway":    {502, ""},
	} {
		_, err := client.Messages.New(t.Context(), messageParams("claude-haiku-4-5-script:error="+script))
		var api *anthropic.Error
		if !errors.As(err, &api) {
			t.Errorf("%s: error %v is not the SDK's", script, err)
			continue
		}
		if api.StatusCode != want.status || api.Type() != want.kind || api.RequestID == "" {
			t.Errorf("%s: status %d, type %q, request %q; want %+v", script, api.StatusCode, api.Type(), api.RequestID, want)
		}
	}
}

func TestAnthropicSDKSeesBrokenStreams(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	client := sdkAnthropic(s, "sk-ant-1")
	for _, script := range []string{"error=overloaded,at=0", "error=overloaded,at=3", "tokens=9,cutat=3", "tokens=9,cut=700"} {
		stream := client.Messages.NewStreaming(t.Context(), messageParams("claude-haiku-4-5-script:"+script))
		for stream.Next() {
			_ = stream.Current()
		}
		if stream.Err() == nil {
			t.Errorf("%s: the stream ended well", script)
		}
	}
}

func TestAnthropicSDKCountsTokensAndListsModels(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	client := sdkAnthropic(s, "sk-ant-1")
	count, err := client.Messages.CountTokens(t.Context(), anthropic.MessageCountTokensParams{
		Model:    "claude-haiku-4-5-script:in=77",
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("hello"))},
	})
	if err != nil || count.InputTokens != 77 {
		t.Errorf("count %+v, %v", count, err)
	}
	page, err := client.Models.List(t.Context(), anthropic.ModelListParams{})
	if err != nil || len(page.Data) < 2 || page.Data[0].ID != "claude-haiku-4-5" {
		t.Errorf("models %+v, %v", page, err)
	}
}

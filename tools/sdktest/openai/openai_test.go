package openai_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"

	"github.com/claviger/claviger/pkg/llmtest"
)

func client(s *llmtest.Server) openai.Client {
	return openai.NewClient(option.WithBaseURL(s.OpenAIURL()), option.WithAPIKey("sk-test-0123456789abcdef"), option.WithMaxRetries(0))
}

// ask is a call that plays a script.
func ask(s llmtest.Script) responses.ResponseNewParams {
	return responses.ResponseNewParams{
		Model: "gpt-6-sol", Store: param.NewOpt(false),
		Input: responses.ResponseNewParamsInputUnion{OfString: param.NewOpt(s.String() + " please")},
	}
}

// collected is what the SDK made of an answer.
type collected struct {
	text, refusal, summary, arguments, encrypted string
	types                                        []string
	last                                         responses.Response
}

// stream reads a stream to its end, and checks that deltas and final texts agree.
func stream(t *testing.T, s *llmtest.Server, p responses.ResponseNewParams) (collected, error) {
	t.Helper()
	c := client(s)
	events := c.Responses.NewStreaming(t.Context(), p)
	defer events.Close() //nolint:errcheck // a test
	var got collected
	number := int64(0)
	for events.Next() {
		e := events.Current()
		if e.SequenceNumber != number {
			t.Errorf("event %s has the number %d, want %d", e.Type, e.SequenceNumber, number)
		}
		number++
		got.types = append(got.types, e.Type)
		switch e := e.AsAny().(type) {
		case responses.ResponseTextDeltaEvent:
			got.text += e.Delta
		case responses.ResponseTextDoneEvent:
			if e.Text != got.text {
				t.Errorf("the text ends as %q, its pieces are %q", e.Text, got.text)
			}
		case responses.ResponseRefusalDeltaEvent:
			got.refusal += e.Delta
		case responses.ResponseReasoningSummaryTextDeltaEvent:
			got.summary += e.Delta
		case responses.ResponseFunctionCallArgumentsDeltaEvent:
			got.arguments += e.Delta
		case responses.ResponseOutputItemDoneEvent:
			got.encrypted += e.Item.EncryptedContent
		case responses.ResponseCompletedEvent:
			got.last = e.Response
		case responses.ResponseIncompleteEvent:
			got.last = e.Response
		case responses.ResponseFailedEvent:
			got.last = e.Response
		}
	}
	return got, events.Err()
}

func TestResponsesAreReadByTheSDK(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	script := llmtest.Script{
		Text: "One, two. ünï", Input: 500, Cached: 100, CacheWrite: 30, CacheWrite1h: 7, Reasoning: 4, Think: true, Tool: "look_up", Args: `{"q":"a"}`, Calls: 2,
	}
	params := ask(script)
	params.Include = []responses.ResponseIncludable{responses.ResponseIncludableReasoningEncryptedContent}
	c := client(s)
	whole, err := c.Responses.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	streamed, err := stream(t, s, params)
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]responses.Response{"whole": *whole, "streamed": streamed.last} {
		if got.OutputText() != script.Text || got.Status != "completed" || len(got.Output) != 4 {
			t.Errorf("%s: %s, text %q, %d items", name, got.Status, got.OutputText(), len(got.Output))
		}
		if r := got.Output[0].AsReasoning(); r.EncryptedContent == "" || len(r.Summary) != 1 || r.Summary[0].Text == "" {
			t.Errorf("%s: reasoning %+v", name, r)
		}
		if f := got.Output[3].AsFunctionCall(); f.Name != "look_up" || f.Arguments != script.Args || !strings.HasPrefix(f.CallID, "call_") || !strings.HasPrefix(f.ID, "fc_") {
			t.Errorf("%s: call %+v", name, f)
		}
		u := got.Usage
		if u.InputTokens != 500 || u.InputTokensDetails.CachedTokens != 100 || u.InputTokensDetails.CacheWriteTokens != 37 ||
			u.InputTokensDetails.CacheWriteTokensDetails.Ttl12hTokens != 7 || u.OutputTokensDetails.ReasoningTokens != 4 || u.TotalTokens != 500+u.OutputTokens {
			t.Errorf("%s: usage %s", name, u.RawJSON())
		}
	}
	if streamed.text != script.Text || streamed.arguments != script.Args+script.Args || streamed.summary != whole.Output[0].AsReasoning().Summary[0].Text {
		t.Errorf("pieces: %+v", streamed)
	}
	want := []string{
		"response.created", "response.in_progress",
		"response.output_item.added", "response.reasoning_summary_part.added", "response.reasoning_summary_text.delta",
		"response.reasoning_summary_text.done", "response.reasoning_summary_part.done", "response.output_item.done",
		"response.output_item.added", "response.content_part.added", "response.output_text.delta", "response.output_text.done", "response.content_part.done", "response.output_item.done",
		"response.output_item.added", "response.function_call_arguments.delta", "response.function_call_arguments.done", "response.output_item.done",
		"response.output_item.added", "response.function_call_arguments.delta", "response.function_call_arguments.done", "response.output_item.done",
		"response.completed",
	}
	if diff := cmp.Diff(want, compacted(streamed.types)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// compacted takes out repetitions.
func compacted(types []string) (out []string) {
	for i, kind := range types {
		if i == 0 || types[i-1] != kind {
			out = append(out, kind)
		}
	}
	return out
}

// TestATurnGoesOn sends back what came: reasoning in its encrypted form, the call, and its output.
func TestATurnGoesOn(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	c := client(s)
	params := ask(llmtest.Script{Reasoning: 3, Tool: "f"})
	params.Include = []responses.ResponseIncludable{responses.ResponseIncludableReasoningEncryptedContent}
	first, err := c.Responses.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	thought, call := first.Output[0].AsReasoning(), first.Output[1].AsFunctionCall()
	back := responses.ResponseReasoningItemParam{
		ID: thought.ID, EncryptedContent: param.NewOpt(thought.EncryptedContent), Summary: []responses.ResponseReasoningItemSummaryParam{},
	}
	params.Input = responses.ResponseNewParamsInputUnion{OfInputItemList: responses.ResponseInputParam{
		responses.ResponseInputItemParamOfMessage("go", responses.EasyInputMessageRoleUser),
		{OfReasoning: &back},
		responses.ResponseInputItemParamOfFunctionCall(call.Arguments, call.CallID, call.Name),
		{OfFunctionCallOutput: &responses.ResponseInputItemFunctionCallOutputParam{CallID: param.NewOpt(call.CallID), Output: responses.ResponseInputItemFunctionCallOutputOutputUnionParam{OfString: param.NewOpt("42")}}},
	}}
	if _, err := c.Responses.New(t.Context(), params); err != nil {
		t.Fatal(err)
	}
	count, err := c.Responses.InputTokens.Count(t.Context(), responses.InputTokenCountParams{
		Model: param.NewOpt("gpt-6-sol"), Input: responses.InputTokenCountParamsInputUnion{OfString: param.NewOpt("script:in=42 how long?")},
	})
	if err != nil || count.InputTokens != 42 {
		t.Errorf("count: %+v, %v", count, err)
	}
	back.EncryptedContent = param.NewOpt("gAAAAA-of-somebody-else")
	_, err = c.Responses.New(t.Context(), params)
	var refused *openai.Error
	if !errors.As(err, &refused) || refused.StatusCode != 400 || refused.Code != "invalid_encrypted_content" {
		t.Errorf("foreign reasoning: %v", err)
	}
}

func TestResponsesEndInEveryWay(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	got, err := stream(t, s, ask(llmtest.Script{Finish: "length"}))
	if err != nil || got.last.Status != "incomplete" || got.last.IncompleteDetails.Reason != "max_output_tokens" {
		t.Errorf("length: %s %+v, %v", got.last.Status, got.last.IncompleteDetails, err)
	}
	got, err = stream(t, s, ask(llmtest.Script{Refusal: true}))
	if err != nil || got.refusal == "" || got.last.Output[0].Content[0].Refusal != got.refusal {
		t.Errorf("refusal: %+v, %v", got, err)
	}
	got, err = stream(t, s, ask(llmtest.Script{Error: llmtest.ErrServer, InStream: true, At: 1}))
	if err != nil || got.last.Status != "failed" || got.last.Error.Code != "server_error" {
		t.Errorf("failed: %+v, %v", got, err)
	}
	got, err = stream(t, s, ask(llmtest.Script{Error: llmtest.ErrOverloaded, InStream: true, At: 1}))
	if err != nil || got.types[len(got.types)-1] != "error" {
		t.Errorf("error event: %+v, %v", got.types, err)
	}
	if _, err = stream(t, s, ask(llmtest.Script{Error: llmtest.ErrQuota, InStream: true, At: 1})); err == nil || !strings.Contains(err.Error(), "insufficient_quota") {
		t.Errorf("error event in an envelope: %v", err)
	}
	for name, want := range map[llmtest.Failure]int{llmtest.ErrAuth: 401, llmtest.ErrRateLimit: 429, llmtest.ErrServer: 500, llmtest.ErrModel: 404} {
		_, err := stream(t, s, ask(llmtest.Script{Error: name}))
		var refused *openai.Error
		if !errors.As(err, &refused) || refused.StatusCode != want {
			t.Errorf("%s: %v, want status %d", name, err, want)
		}
	}
}

func TestEmbeddingsAreReadByTheSDK(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	c := client(s)
	texts := []string{"one", "two"}
	params := openai.EmbeddingNewParams{
		Model: openai.EmbeddingModelTextEmbedding3Small, Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: texts}, Dimensions: param.NewOpt(int64(5)),
	}
	floats, err := c.Embeddings.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	params.EncodingFormat = openai.EmbeddingNewParamsEncodingFormatBase64
	var raw struct {
		Data []struct {
			Embedding string `json:"embedding"`
		} `json:"data"`
	}
	if _, err := c.Embeddings.New(t.Context(), params, option.WithResponseBodyInto(&raw)); err != nil {
		t.Fatal(err)
	}
	for i, text := range texts {
		want := llmtest.Vector(text, 5)
		var one []float32
		for _, f := range floats.Data[i].Embedding {
			one = append(one, float32(f))
		}
		b, err := base64.StdEncoding.DecodeString(raw.Data[i].Embedding)
		if err != nil {
			t.Fatal(err)
		}
		var two []float32
		for ; len(b) >= 4; b = b[4:] {
			two = append(two, math.Float32frombits(binary.LittleEndian.Uint32(b)))
		}
		if diff := cmp.Diff(want, one) + cmp.Diff(want, two); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	if u := floats.Usage; u.PromptTokens == 0 || u.TotalTokens != u.PromptTokens || int(u.PromptTokens) != s.Ledger()[0].Declared.Input {
		t.Errorf("usage %s, declared %+v", u.RawJSON(), s.Ledger()[0].Declared)
	}
	params.Input = openai.EmbeddingNewParamsInputUnion{OfArrayOfTokenArrays: [][]int64{{1, 2}, {3}}}
	params.EncodingFormat = ""
	if got, err := c.Embeddings.New(t.Context(), params); err != nil || len(got.Data) != 2 {
		t.Errorf("tokens: %+v, %v", got, err)
	}
	params.Input = openai.EmbeddingNewParamsInputUnion{OfString: param.NewOpt("script:error=rate_limit x")}
	var refused *openai.Error
	if _, err := c.Embeddings.New(t.Context(), params); !errors.As(err, &refused) || refused.StatusCode != 429 {
		t.Errorf("rate limit: %v", err)
	}
}

func TestImagesAreReadByTheSDK(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	c := client(s)
	params := openai.ImageGenerateParams{Prompt: "a key", Model: "gpt-image-2", N: param.NewOpt(int64(2)), Quality: openai.ImageGenerateParamsQualityLow}
	whole, err := c.Images.Generate(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	for i, picture := range whole.Data {
		b, err := base64.StdEncoding.DecodeString(picture.B64JSON)
		if err != nil || !bytes.Equal(b, llmtest.Drawn("a key", i)) {
			t.Errorf("picture %d is %q, %v", i, b, err)
		}
	}
	declared := s.Ledger()[0].Declared
	if u := whole.Usage; len(whole.Data) != 2 || int(u.OutputTokens) != declared.Output || int(u.OutputTokensDetails.ImageTokens) != declared.ImageOut || int(u.InputTokensDetails.TextTokens) != declared.Input {
		t.Errorf("%d pictures, usage %s, declared %+v", len(whole.Data), u.RawJSON(), declared)
	}
	params.N, params.PartialImages = param.Opt[int64]{}, param.NewOpt(int64(2))
	events := c.Images.GenerateStreaming(t.Context(), params)
	defer events.Close() //nolint:errcheck // a test
	var kinds []string
	for events.Next() {
		e := events.Current()
		kinds = append(kinds, e.Type)
		if done, ok := e.AsAny().(openai.ImageGenCompletedEvent); ok && (done.Usage.OutputTokens == 0 || done.B64JSON == "") {
			t.Errorf("completed: %s", e.RawJSON())
		}
	}
	want := []string{"image_generation.partial_image", "image_generation.partial_image", "image_generation.completed"}
	if diff := cmp.Diff(want, kinds); diff != "" || events.Err() != nil {
		t.Errorf("events (-want +got):\n%s, %v", diff, events.Err())
	}
	params.ResponseFormat = openai.ImageGenerateParamsResponseFormatURL
	var refused *openai.Error
	if _, err := c.Images.Generate(t.Context(), params); !errors.As(err, &refused) || refused.Param != "response_format" {
		t.Errorf("response_format: %v", err)
	}
}

// TestChatIsReadByTheSDK is for the form that the others are measured against.
func TestChatIsReadByTheSDK(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	c := client(s)
	tool := openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "f"})
	params := openai.ChatCompletionNewParams{
		Model: "gpt-4.1", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("script:tool=f,calls=2,text=so hello")}, Tools: []openai.ChatCompletionToolUnionParam{tool},
	}
	whole, err := c.Chat.Completions.New(t.Context(), params)
	if err != nil || len(whole.Choices[0].Message.ToolCalls) != 2 || !json.Valid([]byte(whole.Choices[0].Message.ToolCalls[1].Function.Arguments)) {
		t.Fatalf("%+v, %v", whole, err)
	}
	events := c.Chat.Completions.NewStreaming(t.Context(), params)
	defer events.Close() //nolint:errcheck // a test
	var all openai.ChatCompletionAccumulator
	for events.Next() {
		all.AddChunk(events.Current())
	}
	if events.Err() != nil || all.Choices[0].Message.Content != "so" || len(all.Choices[0].Message.ToolCalls) != 2 {
		t.Errorf("%+v, %v", all.Choices, events.Err())
	}
	// What newer models refuse here and take as a response.
	params.Model = "gpt-6-sol"
	_, err = c.Chat.Completions.New(t.Context(), params)
	var refused *openai.Error
	if !errors.As(err, &refused) || refused.Param != "reasoning_effort" || refused.Code != "" {
		t.Errorf("tools with a reasoning model: %v", err)
	}
	params.ReasoningEffort = shared.ReasoningEffortNone
	if _, err = c.Chat.Completions.New(t.Context(), params); err != nil {
		t.Errorf("tools without effort: %v", err)
	}
}

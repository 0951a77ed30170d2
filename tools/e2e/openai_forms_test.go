package e2e_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"

	"github.com/claviger/claviger/pkg/llmtest"
)

// TestOfficialGoSDKAsksForResponsesVectorsAndPictures, of a provider that speaks these forms and, where they
// can be converted, of one that does not.
func TestOfficialGoSDKAsksForResponsesVectorsAndPictures(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	client := openai.NewClient(openaioption.WithBaseURL(w.BaseURL+"/v1"), openaioption.WithAPIKey(w.keys["acme"]), openaioption.WithMaxRetries(0))
	t.Run("responses", func(t *testing.T) {
		for _, model := range []string{"openai/gpt-4o-mini", "openai/gpt-6-sol", "policy/claude"} {
			asksForResponses(t, &client, model)
		}
	})
	t.Run("state", func(t *testing.T) { stateIsRefused(t, &client) })
	t.Run("embeddings", func(t *testing.T) { asksForVectors(t, &client) })
	t.Run("images", func(t *testing.T) { asksForPictures(t, &client) })
}

func question(model, script string) responses.ResponseNewParams {
	return responses.ResponseNewParams{
		Model: model, Input: responses.ResponseNewParamsInputUnion{OfString: param.NewOpt(script)},
		Include: []responses.ResponseIncludable{responses.ResponseIncludableReasoningEncryptedContent},
		Tools: []responses.ToolUnionParam{{OfFunction: &responses.FunctionToolParam{
			Name: "look", Parameters: map[string]any{"type": "object"}, Strict: param.NewOpt(false),
		}}},
	}
}

func asksForResponses(t *testing.T, client *openai.Client, model string) {
	t.Helper()
	params := question(model, "script:text=one%20two,tool=look,args=%7B%22q%22%3A1%7D,calls=2,in=40,cached=10,out=37,reasoning=4,think go")
	if model == "openai/gpt-4o-mini" { // which does not reason, and refuses to be asked for its reasoning
		params.Include = nil
	}
	whole, err := client.Responses.New(t.Context(), params)
	if err != nil {
		t.Fatalf("%s: %v", model, err)
	}
	events := client.Responses.NewStreaming(t.Context(), params)
	defer events.Close() //nolint:errcheck // a test
	var last responses.Response
	text, arguments, number := "", "", int64(0)
	for events.Next() {
		e := events.Current()
		if e.SequenceNumber != number {
			t.Errorf("%s: %s is number %d, want %d", model, e.Type, e.SequenceNumber, number)
		}
		number++
		switch e := e.AsAny().(type) {
		case responses.ResponseTextDeltaEvent:
			text += e.Delta
		case responses.ResponseFunctionCallArgumentsDeltaEvent:
			arguments += e.Delta
		case responses.ResponseCompletedEvent:
			last = e.Response
		}
	}
	if err := events.Err(); err != nil || text != "one two" || arguments != `{"q":1}{"q":1}` {
		t.Errorf("%s: pieces %q and %q, %v", model, text, arguments, err)
	}
	for name, got := range map[string]*responses.Response{"whole": whole, "streamed": &last} {
		u := got.Usage
		if got.Status != "completed" || got.OutputText() != "one two" || u.InputTokens != 40 || u.InputTokensDetails.CachedTokens != 10 || u.OutputTokens != 37 || u.TotalTokens != 77 {
			t.Errorf("%s, %s: %s", model, name, got.RawJSON())
		}
	}
	broken := client.Responses.NewStreaming(t.Context(), question(model, "script:tokens=9,error=server,at=3 go"))
	defer broken.Close() //nolint:errcheck // a test
	for broken.Next() {
	}
	if err := broken.Err(); err == nil || !strings.Contains(err.Error(), "answer_broken_off") {
		t.Errorf("%s: a broken stream ended with %v", model, err)
	}
	_, err = client.Responses.New(t.Context(), question(model, "script:error=rate_limit go"))
	if api, ok := errors.AsType[*openai.Error](err); !ok || api.StatusCode != 429 || api.Code != "rate_limit_exceeded" {
		t.Errorf("%s: %v, want a rate limit", model, err)
	}
}

func stateIsRefused(t *testing.T, client *openai.Client) {
	t.Helper()
	for name, change := range map[string]func(*responses.ResponseNewParams){
		"store":                func(p *responses.ResponseNewParams) { p.Store = param.NewOpt(true) },
		"background":           func(p *responses.ResponseNewParams) { p.Background = param.NewOpt(true) },
		"previous_response_id": func(p *responses.ResponseNewParams) { p.PreviousResponseID = param.NewOpt("resp_1") },
	} {
		params := question("openai/gpt-6-sol", "hi")
		change(&params)
		_, err := client.Responses.New(t.Context(), params)
		if api, ok := errors.AsType[*openai.Error](err); !ok || api.StatusCode != 400 || api.Param != name || api.Code != "state_not_supported" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func asksForVectors(t *testing.T, client *openai.Client) {
	t.Helper()
	params := openai.EmbeddingNewParams{
		Model: "openai/text-embedding-3-small", Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"one", "two"}}, Dimensions: param.NewOpt(int64(5)),
	}
	got, err := client.Embeddings.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	var vector []float32
	for _, f := range got.Data[1].Embedding {
		vector = append(vector, float32(f))
	}
	if diff := cmp.Diff(llmtest.Vector("two", 5), vector); diff != "" || got.Usage.PromptTokens == 0 {
		t.Errorf("usage %s (-want +got):\n%s", got.Usage.RawJSON(), diff)
	}
	params.Model = "policy/claude" // Anthropic has no vectors
	_, err = client.Embeddings.New(t.Context(), params)
	if api, ok := errors.AsType[*openai.Error](err); !ok || api.StatusCode != 400 || !strings.Contains(api.Message, "has no embeddings") {
		t.Errorf("vectors of a provider without: %v", err)
	}
}

func asksForPictures(t *testing.T, client *openai.Client) {
	t.Helper()
	params := openai.ImageGenerateParams{Model: "openai/gpt-image-2", Prompt: "a key", N: param.NewOpt(int64(2)), Quality: openai.ImageGenerateParamsQualityLow}
	got, err := client.Images.Generate(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Data) != 2 || got.Data[1].B64JSON != base64.StdEncoding.EncodeToString(llmtest.Drawn("a key", 1)) || got.Usage.OutputTokens != 544 {
		t.Errorf("%s", got.RawJSON())
	}
	params.N, params.PartialImages = param.Opt[int64]{}, param.NewOpt(int64(1))
	events := client.Images.GenerateStreaming(t.Context(), params)
	defer events.Close() //nolint:errcheck // a test
	var kinds []string
	for events.Next() {
		kinds = append(kinds, events.Current().Type)
	}
	if diff := cmp.Diff([]string{"image_generation.partial_image", "image_generation.completed"}, kinds); diff != "" || events.Err() != nil {
		t.Errorf("%v (-want +got):\n%s", events.Err(), diff)
	}
}

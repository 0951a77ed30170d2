package httpapi_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
)

const (
	responsesBody = `{"model":"MODEL","stream":STREAM,"include":["reasoning.encrypted_content"],"input":"SCRIPT hi"}`
	responsesEnd  = "event: response.completed\ndata: {\"type\":\"response.completed\","
)

// responseModels answer as responses: by passing, and converted from another vendor's form.
var responseModels = []string{"openai/gpt-4.1", "openai/gpt-6-sol", "anthropic/claude-haiku-4-5"}

// response is what a caller reads of a response.
type response struct {
	Status string `json:"status"`
	Model  string `json:"model"`
	Output []struct {
		Type      string `json:"type"`
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
		Content   []struct {
			Text string `json:"text"`
		} `json:"content"`
	} `json:"output"`
	Usage struct {
		Input   int `json:"input_tokens"`
		Output  int `json:"output_tokens"`
		Total   int `json:"total_tokens"`
		Details struct {
			Cached int `json:"cached_tokens"`
		} `json:"input_tokens_details"`
	} `json:"usage"`
}

// lastResponse takes the whole response out of the last event of a stream.
func lastResponse(t *testing.T, stream string) (r response) {
	t.Helper()
	_, data, ok := strings.Cut(stream, responsesEnd)
	var last struct {
		Response *response `json:"response"`
	}
	last.Response = &r
	if err := json.Unmarshal([]byte("{"+strings.TrimSpace(data)), &last); err != nil || !ok {
		t.Fatalf("%v: %s", err, stream)
	}
	return r
}

// TestResponsesAreServedByEveryProvider, streamed and not, with their usage metered as it was declared.
func TestResponsesAreServedByEveryProvider(t *testing.T) {
	t.Parallel()
	r, server, _ := world(t)
	calls := 0
	for _, model := range responseModels {
		for _, stream := range []string{"true", "false"} {
			script := llmtest.Script{Text: "two words", Input: 70, Cached: 20, Output: 29, Reasoning: 4, Tool: "look", Args: `{"q":1}`, Calls: 2}
			got := ask(t, server, http.MethodPost, "/v1/responses", body(responsesBody, model, stream, script), nil)
			calls++
			what := model + ", stream " + stream
			if got.status != http.StatusOK {
				t.Fatalf("%s: %d %s", what, got.status, got.body)
			}
			var whole response
			if stream == "true" {
				whole = lastResponse(t, got.body)
			} else if err := json.Unmarshal([]byte(got.body), &whole); err != nil {
				t.Fatalf("%s: %v: %s", what, err, got.body)
			}
			text, arguments := "", ""
			for _, item := range whole.Output {
				for _, c := range item.Content {
					text += c.Text
				}
				arguments += item.Arguments
			}
			if whole.Status != "completed" || text != "two words" || arguments != `{"q":1}{"q":1}` || whole.Usage.Input != 70 || whole.Usage.Output != 29 || whole.Usage.Total != 99 || whole.Usage.Details.Cached != 20 {
				t.Errorf("%s: %+v", what, whole)
			}
			if events := r.done(); len(events) != calls || events[calls-1].Tokens.InputTotal != 70 || events[calls-1].Tokens.CacheRead != 20 || events[calls-1].Tokens.OutputTotal != 29 || events[calls-1].FinishReason != "tool_calls" {
				t.Errorf("%s: %d events, the last %+v", what, len(events), events[len(events)-1])
			}
		}
	}
}

func TestBrokenResponsesEndWithOneError(t *testing.T) {
	t.Parallel()
	_, server, _ := world(t)
	for _, model := range responseModels {
		for _, s := range []llmtest.Script{
			{Tokens: 9, CutChunks: 3}, {Tokens: 9, Error: llmtest.ErrOverloaded, InStream: true, At: 3}, {Tokens: 9, Error: llmtest.ErrServer, InStream: true, At: 3}, {Tokens: 9, NoDone: true},
		} {
			got := ask(t, server, http.MethodPost, "/v1/responses", body(responsesBody, model, "true", s), nil).body
			if strings.Count(got, "event: error\n") != 1 || strings.Contains(got, responsesEnd) || strings.Contains(got, "response.failed") {
				t.Errorf("%s, %s: %s", model, s, got)
			}
			if last := got[strings.LastIndex(strings.TrimSuffix(got, "\n\n"), "\n\n")+2:]; !strings.HasPrefix(last, "event: error\ndata: {\"type\":\"error\",\"sequence_number\":") || !strings.Contains(last, `"error":{"message":`) {
				t.Errorf("%s, %s: the last event is %s", model, s, last)
			}
		}
		got := ask(t, server, http.MethodPost, "/v1/responses", body(responsesBody, model, "true", llmtest.Script{Error: llmtest.ErrRateLimit}), nil)
		if got.status != http.StatusTooManyRequests || !strings.HasPrefix(got.body, `{"error":{`) {
			t.Errorf("%s: %d %s", model, got.status, got.body)
		}
	}
	got := ask(t, server, http.MethodPost, "/v1/responses", `{"model":"openai/gpt-4.1","input":"hi","previous_response_id":"resp_1"}`, nil)
	if got.status != http.StatusBadRequest || !strings.Contains(got.body, `"param":"previous_response_id"`) || !strings.Contains(got.body, `"hint"`) {
		t.Errorf("stored state: %d %s", got.status, got.body)
	}
}

// TestModelsWithOneFormServeEveryDialect: a model that answers only as a response serves chat completions.
func TestModelsWithOneFormServeEveryDialect(t *testing.T) {
	t.Parallel()
	r, server, upstream := world(t)
	for _, d := range dialects {
		for _, stream := range []string{"true", "false"} {
			got := ask(t, server, http.MethodPost, d.path, body(d.body, "openai/gpt-5.5-pro", stream, llmtest.Script{Text: "two words", Input: 70, Reasoning: 5}), nil)
			if got.status != http.StatusOK || !strings.Contains(got.body, "two") {
				t.Errorf("%s, stream %s: %d %s", d.path, stream, got.status, got.body)
			}
			events := r.done()
			if last := events[len(events)-1]; last.Tokens.InputTotal != 70 || last.Tokens.Reasoning != 5 || last.Tokens.OutputTotal != 7 {
				t.Errorf("%s, stream %s: %+v", d.path, stream, last.Tokens)
			}
		}
	}
	for i := range upstream.Ledger() {
		if e := providertest.Ended(t, upstream, i+1); !e.Complete {
			t.Errorf("%+v", e)
		}
	}
}

func TestEmbeddingsAreServed(t *testing.T) {
	t.Parallel()
	r, server, upstream := world(t)
	got := ask(t, server, http.MethodPost, "/v1/embeddings", `{"model":"openai/text-embedding-3-small","input":["one","two"],"dimensions":4}`, nil)
	var list struct {
		Data []struct {
			Embedding []float32 `json:"embedding"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(got.body), &list); err != nil || got.status != http.StatusOK || len(list.Data) != 2 {
		t.Fatalf("%d %s, %v", got.status, got.body, err)
	}
	if diff := cmp.Diff(llmtest.Vector("two", 4), list.Data[1].Embedding); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if e := r.done()[0]; e.Tokens.InputTotal != int64(upstream.Ledger()[0].Declared.Input) || e.Tokens.OutputTotal != 0 || e.Operation != "embeddings" {
		t.Errorf("event %+v, tokens %+v", e, e.Tokens)
	}
	got = ask(t, server, http.MethodPost, "/v1/embeddings", `{"model":"openai/text-embedding-3-small","input":"script:error=quota x"}`, nil)
	if got.status != http.StatusTooManyRequests || got.header.Get("X-Should-Retry") != "false" {
		t.Errorf("quota: %d %v %s", got.status, got.header, got.body)
	}
}

func TestImagesAreServed(t *testing.T) {
	t.Parallel()
	r, server, upstream := world(t)
	got := ask(t, server, http.MethodPost, "/v1/images/generations", `{"model":"openai/gpt-image-2","prompt":"a key","quality":"low"}`, nil)
	if picture := base64.StdEncoding.EncodeToString(llmtest.Drawn("a key", 0)); got.status != http.StatusOK || !strings.Contains(got.body, picture) {
		t.Fatalf("%d %s", got.status, got.body)
	}
	declared := upstream.Ledger()[0].Declared
	if e := r.done()[0]; e.Tokens.InputTotal != int64(declared.Input) || e.Tokens.ImageOut != int64(declared.ImageOut) || e.Operation != "images" || len(e.Units) != 1 || e.Units[0].Milli != 1000 {
		t.Errorf("event %+v, tokens %+v", e, e.Tokens)
	}
	got = ask(t, server, http.MethodPost, "/v1/images/generations", `{"model":"openai/gpt-image-2","prompt":"a key","stream":true,"partial_images":2}`, nil)
	if strings.Count(got.body, "event: image_generation.partial_image\n") != 2 || !strings.Contains(got.body, "event: image_generation.completed\n") {
		t.Errorf("stream: %s", got.body)
	}
	if e := r.done()[1]; e.Tokens.ImageOut != 4160 {
		t.Errorf("tokens %+v", e.Tokens)
	}
	got = ask(t, server, http.MethodPost, "/v1/images/generations", `{"model":"openai/gpt-image-2","prompt":"script:nodone a key","stream":true,"partial_images":1}`, nil)
	if !strings.Contains(got.body, "event: error\ndata: {\"type\":\"error\",") {
		t.Errorf("broken stream: %s", got.body)
	}
}

// TestATurnOfResponsesGoesOn: a caller sends back what came, and the provider finds its reasoning in it.
func TestATurnOfResponsesGoesOn(t *testing.T) {
	t.Parallel()
	_, server, upstream := world(t, llmtest.WithCapture())
	const tools = `"reasoning":{"effort":"low","summary":"auto"},"include":["reasoning.encrypted_content"],"tools":[{"type":"function","name":"look","parameters":{"type":"object"}}]`
	for model, state := range map[string]string{"openai/gpt-6-sol": `"encrypted_content"`, "anthropic/claude-haiku-4-5": `"signature"`} {
		for _, stream := range []string{"true", "false"} {
			question := `{"role":"user","content":"` + llmtest.Script{Reasoning: 5, Think: true, Tool: "look", Args: `{"q":1}`}.String() + ` go"}`
			got := ask(t, server, http.MethodPost, "/v1/responses", `{"model":"`+model+`","stream":`+stream+`,`+tools+`,"input":[`+question+`]}`, nil)
			var whole struct {
				Output []json.RawMessage `json:"output"`
			}
			text := got.body
			if stream == "true" {
				_, text, _ = strings.Cut(got.body, responsesEnd)
				text = "{" + text[strings.Index(text, `"output":`):]
				text = text[:strings.LastIndex(text, `,"usage"`)] + "}"
			}
			if err := json.Unmarshal([]byte(text), &whole); err != nil || len(whole.Output) != 2 {
				t.Fatalf("%s, stream %s: %v: %s", model, stream, err, got.body)
			}
			var call struct {
				ID string `json:"call_id"`
			}
			if err := json.Unmarshal(whole.Output[1], &call); err != nil {
				t.Fatal(err)
			}
			next := strings.Join([]string{
				question, string(whole.Output[0]), string(whole.Output[1]), `{"type":"function_call_output","call_id":"` + call.ID + `","output":"42"}`,
			}, ",")
			again := ask(t, server, http.MethodPost, "/v1/responses", `{"model":"`+model+`",`+tools+`,"input":[`+next+`]}`, nil)
			requests := upstream.Requests()
			sent := string(requests[len(requests)-1].Body)
			if again.status != http.StatusOK || strings.Count(sent, state) != 1 || strings.Contains(sent, "clv1.") {
				t.Errorf("%s, stream %s: %d %s\nsent %s", model, stream, again.status, again.body, sent)
			}
		}
	}
}

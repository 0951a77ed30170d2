package openai_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/openai"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// TestResponses is the conformance of the form that converted calls of reasoning models take.
func TestResponses(t *testing.T) {
	t.Parallel()
	providertest.Run(t, providertest.Adapter{
		New:     func(rt http.RoundTripper) completion.Provider { return openai.New(rt) },
		BaseURL: func(s *llmtest.Server) string { return s.OpenAIURL() },
		Model:   "gpt-6-sol",
		Usage: func(u llmtest.Usage) usage.Tokens {
			return usage.Tokens{
				InputTotal: int64(u.Input), InputUncached: int64(u.Input - u.Cached - u.CacheWrite - u.CacheWrite1h), CacheRead: int64(u.Cached),
				CacheWrite30m: int64(u.CacheWrite), CacheWrite12h: int64(u.CacheWrite1h), // which the script calls by another name
				OutputTotal: int64(u.Output), Reasoning: int64(u.Reasoning),
			}
		},
		Errors: errorClasses(),
		InStream: map[llmtest.Failure]completion.Class{
			llmtest.ErrServer: completion.ServerError, llmtest.ErrOverloaded: completion.Overloaded,
			llmtest.ErrRateLimit: completion.RateLimited, llmtest.ErrQuota: completion.QuotaExhausted,
			llmtest.ErrState: completion.StateRefused, llmtest.ErrContent: completion.ContentRefused, llmtest.ErrContextLength: completion.TooLarge,
		},
		NeedsEnd: true,
	})
}

func responsesCall(raw string, stream bool) completion.Call {
	return completion.Call{
		AttemptID: "att_1", Model: "gpt-x", BaseURL: "http://provider.invalid/v1", Secret: secret.New("sk-1"), Raw: true,
		Request: &completion.Request{Dialect: completion.OpenAIResponses, Raw: []byte(raw), Stream: stream},
	}
}

func TestNothingIsStoredUnasked(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ raw, want string }{
		"absent":  {`{"model":"a","input":"hi"}`, `{"store":false,"model":"gpt-x","input":"hi"}`},
		"null":    {`{"model":"a","store": null ,"input":"hi"}`, `{"model":"gpt-x","store": false ,"input":"hi"}`},
		"false":   {`{"store":false,"model":"a","input":"hi"}`, `{"store":false,"model":"gpt-x","input":"hi"}`},
		"inside":  {`{"input":[{"store":true}],"model":"a"}`, `{"store":false,"input":[{"store":true}],"model":"gpt-x"}`},
		"routing": {`{"model":"a","claviger":{"tags":{}},"input":"hi","tools":[{"type":"web_search"}]}`, `{"store":false,"model":"gpt-x","input":"hi","tools":[{"type":"web_search"}]}`},
		"others' reasoning": {
			`{"store":false,"input":[{"type":"reasoning","summary":[],"encrypted_content":"gAAA"} , {"type":"reasoning","encrypted_content":"clv1.anthropic.sig"},{"role":"user","content":"\"clv1.x"}],"model":"a"}`,
			`{"store":false,"input":[{"type":"reasoning","summary":[],"encrypted_content":"gAAA"},{"role":"user","content":"\"clv1.x"}],"model":"gpt-x"}`,
		},
		"nothing": {`{"input":"hi"}`, `{"model":"gpt-x","store":false,"input":"hi"}`},
	} {
		for _, stream := range []bool{false, true} {
			r := &replay{}
			answer, err := openai.New(r).Start(t.Context(), responsesCall(test.raw, stream))
			if err == nil {
				_ = answer.Close()
			}
			if diff := cmp.Diff(test.want, string(r.body)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
			if r.path != "/v1/responses" {
				t.Errorf("%s was sent to %s", name, r.path)
			}
		}
	}
}

const (
	createdEvent   = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"in_progress\",\"error\":null,\"model\":\"gpt-x-2026\",\"output\":[],\"usage\":null}}\n\n"
	itemEvent      = "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":2,\"output_index\":0,\"item\":{\"id\":\"msg_1\",\"type\":\"message\",\"status\":\"in_progress\",\"role\":\"assistant\",\"content\":[]}}\n\n"
	partEvent      = "event: response.content_part.added\ndata: {\"type\":\"response.content_part.added\",\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"\",\"annotations\":[],\"logprobs\":[]}}\n\n"
	deltaEvent     = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"delta\":\"Hel\\\"lo\",\"logprobs\":[],\"obfuscation\":\"aX9\"}\n\n"
	unnamedEvent   = "data: {\"sequence_number\":4,\"type\": \"response.output_text.delta\", \"delta\": \"x\"}\r\n\r\n"
	callItemEvent  = "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"output_index\":1,\"item\":{\"id\":\"fc_1\",\"type\":\"function_call\",\"status\":\"in_progress\",\"name\":\"look\",\"call_id\":\"call_1\",\"arguments\":\"\"}}\n\n"
	argumentsEvent = "event: response.function_call_arguments.delta\ndata: {\"type\":\"response.function_call_arguments.delta\",\"item_id\":\"fc_1\",\"output_index\":1,\"delta\":\"{\\\"q\\\":1}\",\"obfuscation\":\"\"}\n\n"
	callDoneEvent  = "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"output_index\":1,\"item\":{\"id\":\"fc_1\",\"type\":\"function_call\",\"status\":\"completed\",\"name\":\"look\",\"call_id\":\"call_1\",\"arguments\":\"{\\\"q\\\":1}\"}}\n\n"
	thoughtEvent   = "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"id\":\"rs_1\",\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"hm\"}],\"encrypted_content\":\"gAAA\"}}\n\n"
	summaryEvent   = "event: response.reasoning_summary_text.delta\ndata: {\"type\":\"response.reasoning_summary_text.delta\",\"item_id\":\"rs_1\",\"output_index\":0,\"summary_index\":0,\"delta\":\"hm\"}\n\n"
	paragraphEvent = "event: response.reasoning_summary_part.added\ndata: {\"type\":\"response.reasoning_summary_part.added\",\"item_id\":\"rs_1\",\"output_index\":0,\"summary_index\":1,\"part\":{\"type\":\"summary_text\",\"text\":\"\"}}\n\n"
	keepaliveEvent = "event: keepalive\ndata: {\"type\":\"keepalive\",\"sequence_number\":5}\n\n"
	completedEvent = "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":9,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"completed\",\"error\":null,\"model\":\"gpt-x-2026\",\"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"Hel\\\"lo\"}]}],\"usage\":{\"input_tokens\":9,\"input_tokens_details\":{\"cached_tokens\":4,\"cache_write_tokens\":3,\"cache_write_tokens_details\":{\"ttl_30m_tokens\":1,\"ttl_12h_tokens\":2}},\"output_tokens\":5,\"output_tokens_details\":{\"reasoning_tokens\":2},\"total_tokens\":14}}}\n\n"
)

// TestResponsesPassByteForByte cuts streams into reads of any size: what the caller gets is the same.
func TestResponsesPassByteForByte(t *testing.T) {
	t.Parallel()
	tokens := usage.Tokens{InputTotal: 9, InputUncached: 2, CacheRead: 4, CacheWrite30m: 1, CacheWrite12h: 2, OutputTotal: 5, Reasoning: 2}
	for name, test := range map[string]struct {
		events []string
		pieces int
		bytes  int
		after  string
		finish completion.FinishReason
	}{
		"usual":        {[]string{createdEvent, itemEvent, partEvent, deltaEvent, completedEvent}, 1, 7, "", completion.Stop},
		"tools":        {[]string{createdEvent, summaryEvent, thoughtEvent, callItemEvent, argumentsEvent, callDoneEvent, completedEvent}, 2, 11, "", completion.ToolCalls},
		"unnamed":      {[]string{createdEvent, unnamedEvent, unnamedEvent, keepaliveEvent, completedEvent}, 2, 2, "", completion.Stop},
		"comments":     {[]string{commentEvent, createdEvent, commentEvent, deltaEvent, commentEvent, completedEvent}, 1, 7, "", completion.Stop},
		"what follows": {[]string{createdEvent, deltaEvent, completedEvent}, 1, 7, doneEvent + deltaEvent, completion.Stop},
		"unfinished":   {[]string{createdEvent, deltaEvent, strings.TrimRight(completedEvent, "\n")}, 1, 7, "", completion.Stop},
	} {
		want := strings.Join(test.events, "")
		for seed := range uint64(40) {
			random := rand.New(rand.NewPCG(seed, 2))
			r := &replay{stream: want + test.after, next: func() int { return 1 + random.IntN(1+int(seed)*30) }}
			answer, err := openai.New(r).Start(t.Context(), responsesCall(`{"model":"a","input":"hi"}`, true))
			if err != nil {
				t.Fatal(err)
			}
			got, err := providertest.Collect(answer)
			if err != nil {
				t.Fatalf("%s, seed %d: %v", name, seed, err)
			}
			if diff := cmp.Diff(strings.TrimRight(want, "\n"), strings.TrimRight(got.Raw, "\n")); diff != "" {
				t.Fatalf("%s, seed %d (-want +got):\n%s", name, seed, diff)
			}
			if got.Finish != test.finish || got.Usage == nil || got.Usage.Tokens != tokens || !got.Usage.Final || got.Pieces != test.pieces || got.PieceBytes != test.bytes || got.Head.Model != "gpt-x-2026" {
				t.Fatalf("%s, seed %d: %+v %+v", name, seed, got, got.Usage)
			}
		}
	}
}

// TestLargeEventsPass: instructions come back in three events.
func TestLargeEventsPass(t *testing.T) {
	t.Parallel()
	large := strings.Replace(createdEvent, `"error":null`, `"error":null,"instructions":"`+strings.Repeat("x", 9<<20)+`"`, 1)
	answer, err := openai.New(&replay{stream: large + deltaEvent + completedEvent}).Start(t.Context(), responsesCall(`{"model":"a","input":"hi"}`, true))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := providertest.Collect(answer); err != nil || got.Raw != large+deltaEvent+completedEvent {
		t.Errorf("%d bytes, %v", len(got.Raw), err)
	}
}

// TestContentOfResponsesIsSeenExactly: before the first content another target may still serve.
func TestContentOfResponsesIsSeenExactly(t *testing.T) {
	t.Parallel()
	reasoningItem := strings.Replace(itemEvent, `"type":"message"`, `"type":"reasoning"`, 1)
	searchItem := strings.Replace(itemEvent, `"type":"message"`, `"type":"web_search_call"`, 1)
	for event, want := range map[string]bool{
		createdEvent: false, itemEvent: false, partEvent: false, keepaliveEvent: false, commentEvent: false, reasoningItem: false,
		strings.Replace(deltaEvent, `Hel\"lo`, "", 1): false,
		deltaEvent: true, unnamedEvent: true, callItemEvent: true, summaryEvent: true, thoughtEvent: true, searchItem: true, argumentsEvent: true,
	} {
		r := &replay{stream: event + deltaEvent + completedEvent, next: func() int { return len(event) }}
		answer, err := openai.New(r).Start(t.Context(), responsesCall(`{"model":"a","input":"hi"}`, true))
		if err != nil {
			t.Fatal(err)
		}
		chunk, err := answer.Next()
		if err != nil || chunk.Content != want {
			t.Errorf("%s: content %v (%v), want %v", event, chunk.Content, err, want)
		}
	}
}

func TestFailedResponsesAreErrors(t *testing.T) {
	t.Parallel()
	failed := func(e string) string {
		return "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"model\":\"m\",\"error\":" + e + ",\"output\":[],\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n"
	}
	for event, want := range map[string]completion.Class{
		failed(`{"code":"server_error","message":"The server had an error"}`): completion.ServerError,
		failed(`{"code":"rate_limit_exceeded","message":"slower"}`):           completion.RateLimited,
		failed(`{"code":"invalid_prompt","message":"no"}`):                    completion.ContentRefused,
		failed(`{"code":"invalid_image_url","message":"no"}`):                 completion.InvalidRequest,
		failed(`{"code":"image_too_large","message":"no"}`):                   completion.TooLarge,
		failed(`{"code":"image_content_policy_violation","message":"no"}`):    completion.ContentRefused,
		failed(`null`): completion.ServerError,
		"event: error\ndata: {\"type\":\"error\",\"code\":\"server_is_overloaded\",\"message\":\"busy\",\"param\":null,\"sequence_number\":3}\n\n": completion.Overloaded,
		"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"insufficient_quota\",\"code\":null,\"message\":\"money\"}}\n\n":             completion.QuotaExhausted,
		"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"code\":null,\"message\":\"x\"}}\n\n":              completion.InvalidRequest,
	} {
		for _, raw := range []bool{true, false} {
			r := &replay{stream: createdEvent + deltaEvent + event}
			call := responsesCall(`{"model":"a","input":"hi"}`, true)
			if !raw {
				call = providertest.Converted("http://provider.invalid/v1", "gpt-6-sol", true, llmtest.Script{})
			}
			answer, err := openai.New(r).Start(t.Context(), call)
			if err != nil {
				t.Fatal(err)
			}
			got, err := providertest.Collect(answer)
			var failure *completion.ProviderError
			if !errors.As(err, &failure) || failure.Class != want || failure.Message == "" || failure.Unbilled {
				t.Errorf("raw %v, %s: %v, want class %s", raw, event, err, want)
			}
			if raw && got.Raw != createdEvent+deltaEvent {
				t.Errorf("%s: passed %q", event, got.Raw)
			}
			if strings.Contains(event, `"usage"`) && (got.Usage == nil || got.Usage.Tokens.InputTotal != 9) {
				t.Errorf("%s: usage %+v", event, got.Usage)
			}
		}
	}
}

// TestEndsOfResponses: an end without its event is broken, whatever came before.
func TestFailedResponsesSayWhatTheyTook(t *testing.T) {
	t.Parallel()
	r := &replay{stream: `{"object":"response","status":"failed","error":{"code":"server_error","message":"x"},"output":[],"usage":{"input_tokens":9,"output_tokens":3,"output_tokens_details":{"reasoning_tokens":5}}}`}
	for _, call := range []completion.Call{responsesCall(`{"model":"a","input":"hi"}`, false), providertest.Converted("http://provider.invalid/v1", "gpt-6-sol", false, llmtest.Script{})} {
		answer, err := openai.New(r).Start(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		// Reasoning is a part of the output, so more of it cannot be.
		want := usage.Tokens{InputTotal: 9, InputUncached: 9, OutputTotal: 3, Reasoning: 3}
		if got, err := providertest.Collect(answer); err == nil || got.Usage == nil || got.Usage.Tokens != want {
			t.Errorf("raw %v: %+v, %v", call.Raw, got.Usage, err)
		}
	}
}

func TestEndsOfResponses(t *testing.T) {
	t.Parallel()
	incomplete := func(reason string) string {
		return "data: {\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"" + reason + "\"},\"output\":[]}}\n\n"
	}
	for stream, want := range map[string]completion.FinishReason{
		createdEvent + deltaEvent: "", createdEvent + deltaEvent + doneEvent: "", "": "",
		createdEvent + deltaEvent + incomplete("max_output_tokens"): completion.Length,
		createdEvent + deltaEvent + incomplete("content_filter"):    completion.ContentFilter,
		createdEvent + deltaEvent + incomplete("a_new_one"):         completion.Stop,
		createdEvent + deltaEvent + completedEvent:                  completion.Stop,
	} {
		for _, raw := range []bool{true, false} {
			call := responsesCall(`{"model":"a","input":"hi"}`, true)
			if !raw {
				call = providertest.Converted("http://provider.invalid/v1", "gpt-6-sol", true, llmtest.Script{})
			}
			answer, err := openai.New(&replay{stream: stream}).Start(t.Context(), call)
			if err != nil {
				t.Fatal(err)
			}
			got, err := providertest.Collect(answer)
			if (err == nil) != (want != "") || got.Finish != want {
				t.Errorf("raw %v, %q: finish %q, %v; want %q", raw, stream, got.Finish, err, want)
			}
		}
	}
}

func TestResponsesAreDecoded(t *testing.T) {
	t.Parallel()
	stream := createdEvent + summaryEvent + paragraphEvent + summaryEvent + thoughtEvent + callItemEvent + argumentsEvent + callDoneEvent + deltaEvent + completedEvent
	answer, err := openai.New(&replay{stream: stream}).Start(t.Context(), providertest.Converted("http://provider.invalid/v1", "gpt-6-sol", true, llmtest.Script{}))
	if err != nil {
		t.Fatal(err)
	}
	var deltas []completion.Delta
	for {
		chunk, err := answer.Next()
		if err != nil {
			break
		}
		if !chunk.Delta.Empty() {
			deltas = append(deltas, chunk.Delta)
		}
	}
	want := []completion.Delta{
		{Reasoning: "hm"},
		{Reasoning: "\n\n"},
		{Reasoning: "hm"},
		{State: &completion.Reasoning{Summary: true, Encrypted: "gAAA", ID: "rs_1", Format: completion.OpenAIState}},
		{ToolCalls: []completion.ToolCallDelta{{ID: "call_1", Name: "look"}}},
		{ToolCalls: []completion.ToolCallDelta{{Arguments: `{"q":1}`}}},
		{Text: `Hel"lo`},
	}
	if diff := cmp.Diff(want, deltas); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPromptsAreEncodedAsResponses with everything that this form has.
func TestPromptsAreEncodedAsResponses(t *testing.T) {
	t.Parallel()
	p := full()
	p.Stop, p.Seed = nil, nil
	p.Logprobs, p.TopLogprobs, p.ShowReasoning, p.Verbosity, p.ServiceTier, p.CacheKey = true, 3, true, "low", "flex", "k"
	user := &p.Messages[1]
	user.Parts = append(
		user.Parts,
		completion.Part{Document: &completion.Document{Name: "a.pdf", MediaType: "application/pdf", Data: []byte("%PDF")}},
		completion.Part{Document: &completion.Document{MediaType: "application/pdf", Data: []byte("%PDF")}},
		completion.Part{Document: &completion.Document{Name: "b.pdf", URL: "https://example.com/b.pdf"}},
	)
	p.Messages[3].Parts = append(p.Messages[3].Parts, completion.Part{ImageURL: "https://example.com/c.png"})
	r := &replay{}
	call := providertest.Converted(openai.BaseURL, "gpt-6-sol", true, llmtest.Script{})
	call.Request.Decode = func() (*completion.Prompt, error) { return p, nil }
	answer, err := openai.New(r).Start(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Close()
	var b bytes.Buffer
	if err := json.Indent(&b, r.body, "", "  "); err != nil {
		t.Fatal(err)
	}
	golden(t, "request_responses.json", append(b.Bytes(), '\n'))
}

func TestWhatResponsesLackIsNamed(t *testing.T) {
	t.Parallel()
	for param, change := range map[string]func(*completion.Prompt){
		"stop":          func(p *completion.Prompt) { p.Stop = []string{"x"} },
		"seed":          func(p *completion.Prompt) { p.Seed = new(int64(1)) },
		"top_k":         func(p *completion.Prompt) { p.TopK = new(int64(1)) },
		"audio":         func(p *completion.Prompt) { p.Messages[1].Parts[0].Audio = &completion.Audio{Data: []byte("x")} },
		"messages.name": func(p *completion.Prompt) { p.Messages[1].Name = "x" },
		"messages[2].content[0]": func(p *completion.Prompt) {
			p.Messages[2].Parts[0] = completion.Part{ImageURL: "https://example.com/a.png"}
		},
		"tools[0].parameters": func(p *completion.Prompt) { p.Tools[0].Parameters = "{" },
		"response_format.json_schema.schema": func(p *completion.Prompt) {
			p.ResponseFormat.Schema = "{"
		},
	} {
		p := full()
		p.Stop, p.Seed = nil, nil
		change(p)
		call := providertest.Converted(openai.BaseURL, "gpt-5.5-pro", true, llmtest.Script{})
		call.Request.Decode = func() (*completion.Prompt, error) { return p, nil }
		_, err := openai.New(&replay{}).Start(t.Context(), call)
		if f, _ := fault.Of(err); !errors.Is(err, completion.ErrUnsupported) || f.Facts()["param"] != param || f.Hint() == "" {
			t.Errorf("%s: %v", param, err)
		}
	}
}

// TestDefaultsAreNotTold: models that reason refuse a temperature, even the default, which clients write.
func TestDefaultsAreNotTold(t *testing.T) {
	t.Parallel()
	for _, temperature := range []float64{1, 0.5} {
		r := &replay{}
		call := providertest.Converted(openai.BaseURL, "gpt-6-sol", true, llmtest.Script{})
		decode := call.Request.Decode
		call.Request.Decode = func() (*completion.Prompt, error) {
			p, err := decode()
			p.Temperature, p.TopP = &temperature, &temperature
			return p, err
		}
		answer, err := openai.New(r).Start(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Close()
		if told := strings.Contains(string(r.body), "temperature") && strings.Contains(string(r.body), "top_p"); told != (temperature != 1) {
			t.Errorf("temperature %v: sent %s", temperature, r.body)
		}
	}
}

// TestReasoningGoesOn plays two turns: what the first one thought goes back as it came.
func TestReasoningGoesOn(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t, llmtest.WithCapture())
	p := openai.New(&http.Transport{})
	for _, stream := range []bool{false, true} {
		script := llmtest.Script{Reasoning: 5, Think: true, Tool: "f", Args: `{"a":1}`}
		answer, err := p.Start(t.Context(), providertest.Converted(s.OpenAIURL(), "gpt-6-sol", stream, script))
		if err != nil {
			t.Fatal(err)
		}
		var thought completion.Reasoning
		var call completion.ToolCall
		for {
			chunk, err := answer.Next()
			if err != nil {
				break
			}
			thought.Text += chunk.Delta.Reasoning
			if len(chunk.Delta.Thoughts) > 0 {
				thought = chunk.Delta.Thoughts[0]
			}
			if s := chunk.Delta.State; s != nil {
				text := thought.Text
				thought = *s
				thought.Text = text
			}
			for _, c := range chunk.Delta.ToolCalls {
				call.ID, call.Name, call.Arguments = call.ID+c.ID, call.Name+c.Name, call.Arguments+c.Arguments
			}
		}
		if thought.Encrypted == "" || !thought.Summary || thought.Format != completion.OpenAIState || thought.Text == "" {
			t.Fatalf("stream %v: reasoning %+v", stream, thought)
		}
		foreign := completion.Reasoning{Text: "x", Signature: "sig", Format: completion.AnthropicState}
		next := providertest.Converted(s.OpenAIURL(), "gpt-6-sol", stream, llmtest.Script{})
		next.Request.Decode = func() (*completion.Prompt, error) {
			return &completion.Prompt{Messages: []completion.Message{
				{Role: completion.User, Parts: []completion.Part{{Text: "go"}}},
				{Role: completion.Assistant, Parts: []completion.Part{{Reasoning: &foreign}, {Reasoning: &thought}}, ToolCalls: []completion.ToolCall{call}},
				{Role: completion.ToolRole, ToolCallID: call.ID, Parts: []completion.Part{{Text: "42"}}},
				{Role: completion.Assistant, Parts: []completion.Part{{Text: "so"}, {Reasoning: &thought}}},
			}}, nil
		}
		again, err := p.Start(t.Context(), next)
		if err != nil {
			t.Fatalf("stream %v: the second turn: %v", stream, err)
		}
		if _, err := providertest.Collect(again); err != nil {
			t.Fatal(err)
		}
		requests := s.Requests()
		if got := string(requests[len(requests)-1].Body); strings.Count(got, thought.Encrypted) != 1 || strings.Contains(got, `"sig"`) {
			t.Errorf("stream %v: sent %s", stream, got)
		}
	}
}

// TestFormsAreChosen: what is converted goes where the model's abilities are whole.
func TestFormsAreChosen(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		model  string
		prompt completion.Prompt
		want   string
	}{
		{"gpt-4.1", completion.Prompt{}, "/v1/chat/completions"},
		{"gpt-4o-mini", completion.Prompt{Tools: []completion.Tool{{Name: "f"}}}, "/v1/chat/completions"},
		{"gpt-5-chat-latest", completion.Prompt{}, "/v1/chat/completions"},
		{"o-like", completion.Prompt{}, "/v1/chat/completions"},
		{"gpt-oss-120b", completion.Prompt{}, "/v1/chat/completions"},
		{"gpt-6-sol", completion.Prompt{Tools: []completion.Tool{{Name: "f"}}}, "/v1/responses"},
		{"gpt-5.4", completion.Prompt{ReasoningEffort: "high"}, "/v1/responses"},
		{"gpt-10", completion.Prompt{}, "/v1/responses"},
		{"o3", completion.Prompt{}, "/v1/responses"},
		{"o4-mini", completion.Prompt{Seed: new(int64(1))}, "/v1/chat/completions"},
		{"gpt-5.5-pro", completion.Prompt{}, "/v1/responses"},
		{"gpt-6-sol", completion.Prompt{MaxOutputTokens: new(int64(15))}, "/v1/chat/completions"},
		{"gpt-6-sol", completion.Prompt{MaxOutputTokens: new(int64(16))}, "/v1/responses"},
		{"gpt-6-sol", completion.Prompt{MaxOutputTokens: new(int64(15)), Tools: []completion.Tool{{Name: "f"}}}, "/v1/responses"},
		{"gpt-5.5-pro", completion.Prompt{MaxOutputTokens: new(int64(15))}, "/v1/responses"},
	} {
		r := &replay{}
		call := providertest.Converted("http://provider.invalid/v1", test.model, true, llmtest.Script{})
		call.Request.Decode = func() (*completion.Prompt, error) {
			p := test.prompt
			p.Messages = []completion.Message{{Role: completion.User, Parts: []completion.Part{{Text: "hi"}}}}
			return &p, nil
		}
		if answer, err := openai.New(r).Start(t.Context(), call); err != nil || r.path != test.want {
			t.Errorf("%s: %s, %v; want %s", test.model, r.path, err, test.want)
		} else {
			_ = answer.Close()
		}
	}
	// A model without chat completions refuses what only they have.
	call := providertest.Converted("http://provider.invalid/v1", "gpt-5.5-pro", true, llmtest.Script{})
	call.Request.Decode = func() (*completion.Prompt, error) { return &completion.Prompt{Stop: []string{"x"}}, nil }
	_, err := openai.New(&replay{}).Start(t.Context(), call)
	if f, _ := fault.Of(err); !errors.Is(err, completion.ErrUnsupported) || f.Facts()["param"] != "stop" {
		t.Errorf("stop: %v", err)
	}
	p := openai.New(&replay{})
	for model, want := range map[string]bool{"gpt-4.1": true, "gpt-6-sol": true, "gpt-5.5-pro": false, "gpt-5.1-codex-max": false, "o3-pro": false, "gpt-6-cyber": false, "gemini-2.5-pro": true} {
		if got := p.Speaks(completion.OpenAIChat, &completion.Target{Name: model}); got != want {
			t.Errorf("speaks chat completions with %s: %v, want %v", model, got, want)
		}
	}
}

// TestTokensAreCounted: a prompt of any dialect is counted, and counting takes nothing.
func TestTokensAreCounted(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	p := openai.New(&http.Transport{})
	count := func(model string, script llmtest.Script) (completion.Chunk, error) {
		call := providertest.Converted(s.OpenAIURL(), model, false, script)
		call.Request.Operation = completion.CountTokens
		answer, err := p.Start(t.Context(), call)
		if err != nil {
			return completion.Chunk{}, err
		}
		defer answer.Close() //nolint:errcheck // a test
		return answer.Next()
	}
	for _, model := range []string{"gpt-4.1", "gpt-6-sol"} {
		chunk, err := count(model, llmtest.Script{Input: 123})
		if err != nil || chunk.Result.Count != 123 || !chunk.Usage.Final || chunk.Usage.Tokens != (usage.Tokens{}) {
			t.Errorf("%s: %+v, %v", model, chunk, err)
		}
	}
	var failure *completion.ProviderError
	if _, err := count("gpt-4.1", llmtest.Script{Error: llmtest.ErrRateLimit}); !errors.As(err, &failure) || failure.Class != completion.RateLimited {
		t.Errorf("rate limit: %v", err)
	}
	if len(s.Ledger()) != 0 {
		t.Errorf("counting generated: %+v", s.Ledger())
	}
	for _, body := range []string{`{}`, `{"input_tokens":-1}`, `{"error":{"message":"no"}}`} {
		call := providertest.Converted("http://provider.invalid/v1", "gpt-x", false, llmtest.Script{})
		call.Request.Operation = completion.CountTokens
		answer, err := openai.New(&replay{stream: body}).Start(t.Context(), call)
		if err == nil {
			_, err = answer.Next()
		}
		if !errors.As(err, &failure) || failure.Class != completion.ServerError {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestPassingResponsesAllocatesNothing(t *testing.T) {
	for name, event := range map[string]string{"text": deltaEvent, "arguments": argumentsEvent, "summary": summaryEvent} {
		if got := perResponseEvent(t, responsesCall(`{"model":"a","input":"hi"}`, true), event); got != 0 {
			t.Errorf("%v allocations per %s event that passes, want none", got, name)
		}
	}
}

func TestConvertingResponsesAllocatesLittle(t *testing.T) {
	call := providertest.Converted("http://provider.invalid/v1", "gpt-6-sol", true, llmtest.Script{})
	for event, limit := range map[string]float64{deltaEvent: 3, summaryEvent: 3, argumentsEvent: 4} {
		if got := perResponseEvent(t, call, event); got > limit {
			t.Errorf("%v allocations per event, want %v at most: %s", got, limit, event)
		}
	}
}

// perResponseEvent measures the allocations of one event in the middle of a stream.
func perResponseEvent(t *testing.T, call completion.Call, event string) float64 {
	t.Helper()
	const n = 2000
	r := &replay{stream: createdEvent + callItemEvent + strings.Repeat(event, n+10), next: func() int { return len(event) }}
	answer, err := openai.New(r).Start(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := answer.Next(); err != nil {
			t.Fatal(err)
		}
	}
	return testing.AllocsPerRun(n-20, func() {
		if _, err := answer.Next(); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzResponses(f *testing.F) {
	for _, s := range []string{
		createdEvent + itemEvent + partEvent + deltaEvent + completedEvent, createdEvent + callItemEvent + argumentsEvent + callDoneEvent + completedEvent + doneEvent,
		summaryEvent + paragraphEvent + thoughtEvent + unnamedEvent, "event: response.failed\ndata: {\"response\":{\"error\":{}}}\n\n",
		"event: error\ndata: {}\n\n", "data: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":-1}}}",
	} {
		f.Add(s, uint64(1))
	}
	f.Fuzz(func(t *testing.T, stream string, seed uint64) {
		read := func(raw bool, sizes uint64) (providertest.Answer, error) {
			random := rand.New(rand.NewPCG(seed, sizes))
			call := providertest.Converted("http://provider.invalid/v1", "gpt-6-sol", true, llmtest.Script{})
			if raw {
				call = responsesCall(`{"model":"a","input":"hi"}`, true)
			}
			r := &replay{stream: stream, next: func() int { return 1 + random.IntN(50) }}
			answer, err := openai.New(r).Start(t.Context(), call)
			if err != nil {
				t.Fatal(err)
			}
			return providertest.Collect(answer)
		}
		a, errA := read(true, 1)
		b, errB := read(true, 2)
		// The LF of a last blank line's CR LF may be cut off with the unfinished event after it.
		if strings.TrimRight(a.Raw, "\r\n") != strings.TrimRight(b.Raw, "\r\n") || (errA == nil) != (errB == nil) {
			t.Fatalf("reads change the answer: %q, %v against %q, %v", a.Raw, errA, b.Raw, errB)
		}
		if errA == nil && !strings.HasPrefix(stream, strings.TrimRight(a.Raw, "\n")) {
			t.Fatalf("passed %q of %q", a.Raw, stream)
		}
		c, errC := read(false, 3)
		if (errC == nil) != (errA == nil) {
			t.Fatalf("passing ends with %v, converting with %v", errA, errC)
		}
		if errA == nil && (c.Finish != a.Finish || (c.Usage == nil) != (a.Usage == nil)) {
			t.Fatalf("passing %s, converting %s", fmt.Sprint(a), fmt.Sprint(c))
		}
	})
}

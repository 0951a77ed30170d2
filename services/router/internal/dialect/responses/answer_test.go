package responses_test

import (
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/responses"
	provider "github.com/claviger/claviger/services/router/internal/provider/openai"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

var (
	created = time.Unix(1790000000, 0)
	counted = usage.Tokens{
		InputTotal: 100, InputUncached: 60, CacheRead: 25, CacheWrite30m: 10, CacheWrite12h: 5, OutputTotal: 40, Reasoning: 8,
	}
)

// chunks are a whole converted answer of another vendor's.
func chunks() []completion.Chunk {
	return []completion.Chunk{
		{Usage: &completion.Usage{}},
		{Delta: completion.Delta{Reasoning: "hm\n"}},
		{Delta: completion.Delta{Reasoning: "\"so\""}},
		{Delta: completion.Delta{State: &completion.Reasoning{Signature: "sig", Format: completion.AnthropicState}}},
		{Delta: completion.Delta{State: &completion.Reasoning{Encrypted: "blob", Format: completion.AnthropicState}}},
		{Delta: completion.Delta{Text: "One \"two\" é🔑\x01", Logprobs: []completion.Logprob{{Token: "é", Logprob: -0.5, Top: []completion.Logprob{{Token: "e", Logprob: -2}}}}}},
		{Delta: completion.Delta{Text: " three", Citations: []completion.Citation{{URL: "https://example.com", Title: "t"}}}},
		{Delta: completion.Delta{Refusal: "no"}},
		{Delta: completion.Delta{ToolCalls: []completion.ToolCallDelta{{Index: 0, ID: "toolu_1", Name: "look", Signature: "gsig", Format: completion.GoogleState}}}},
		{Delta: completion.Delta{ToolCalls: []completion.ToolCallDelta{{Index: 0, Arguments: `{"q":`}, {Index: 1, ID: "toolu_2", Name: "look", Arguments: "{}"}}}},
		{Delta: completion.Delta{ToolCalls: []completion.ToolCallDelta{{Index: 0, Arguments: `"x"}`}}}},
		{Finish: completion.ToolCalls},
	}
}

// together is the answer in one piece.
func together() completion.Chunk {
	return completion.Chunk{Delta: completion.Delta{
		Text: "One \"two\" é🔑\x01 three", Refusal: "no", Reasoning: "hm\n\"so\"",
		Logprobs:  []completion.Logprob{{Token: "é", Logprob: -0.5, Top: []completion.Logprob{{Token: "e", Logprob: -2}}}},
		Citations: []completion.Citation{{URL: "https://example.com", Title: "t"}},
		Thoughts: []completion.Reasoning{
			{Text: "hm\n\"so\"", Signature: "sig", Format: completion.AnthropicState}, {Encrypted: "blob", Format: completion.AnthropicState},
		},
		ToolCalls: []completion.ToolCallDelta{
			{Index: 0, ID: "toolu_1", Name: "look", Arguments: `{"q":"x"}`, Signature: "gsig", Format: completion.GoogleState}, {Index: 1, ID: "toolu_2", Name: "look", Arguments: "{}"},
		},
	}}
}

const asked = `{"model":"anthropic/claude-x","input":"hi","instructions":"Be brief.","metadata":{"a":"b"},"tools":[
	{"type":"function","name":"look","parameters":{}}
],"temperature":0.5,"stream":true}`

func encoder() *responses.Encoder {
	return responses.NewEncoder(&completion.Request{ID: "req_1", Raw: []byte(asked), Stream: true}, "anthropic/claude-x", created)
}

func encodeStream(all []completion.Chunk, final completion.Final) []byte {
	s := encoder()
	var b []byte
	for _, c := range all {
		b = s.AppendChunk(b, &c)
	}
	return s.AppendEnd(b, final)
}

// events reads what was written, and checks names, numbers and JSON.
func events(t *testing.T, stream []byte) (names []string, data []map[string]any) {
	t.Helper()
	for i, block := range strings.Split(strings.TrimSuffix(string(stream), "\n\n"), "\n\n") {
		name, rest, ok := strings.Cut(strings.TrimPrefix(block, "event: "), "\ndata: ")
		var e map[string]any
		if err := json.Unmarshal([]byte(rest), &e); err != nil || !ok {
			t.Fatalf("event %d: %v: %s", i, err, block)
		}
		if e["type"] != name || e["sequence_number"] != float64(i) {
			t.Errorf("event %d is %s and says that it is %v, number %v", i, name, e["type"], e["sequence_number"])
		}
		names, data = append(names, strings.TrimPrefix(name, "response.")), append(data, e)
	}
	return names, data
}

func TestStreamsHaveTheEventsOfOpenAI(t *testing.T) {
	t.Parallel()
	stream := encodeStream(chunks(), completion.Final{Finish: completion.ToolCalls, Tokens: &counted})
	names, data := events(t, stream)
	want := []string{
		"created", "in_progress",
		"output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta", "reasoning_summary_text.delta",
		"reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done",
		"output_item.added", "output_item.done", // encrypted reasoning
		"output_item.added", "content_part.added", "output_text.delta", "output_text.delta", "output_text.annotation.added",
		"output_text.done", "content_part.done", "content_part.added", "refusal.delta", "refusal.done", "content_part.done", "output_item.done",
		"output_item.added", "output_item.done", // the call's state
		"output_item.added", "function_call_arguments.delta",
		"output_item.added", "function_call_arguments.delta", "function_call_arguments.delta",
		"function_call_arguments.done", "output_item.done", "function_call_arguments.done", "output_item.done",
		"completed",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	golden(t, "stream.txt", stream)
	// What the events say one after the other is what the last one says at once.
	last, _ := data[len(data)-1]["response"].(map[string]any)
	var done []any
	for i, name := range names {
		if name == "output_item.done" {
			index, _ := data[i]["output_index"].(float64)
			at := int(index)
			for len(done) <= at {
				done = append(done, nil)
			}
			done[at] = data[i]["item"]
		}
	}
	if diff := cmp.Diff(last["output"], any(done)); diff != "" {
		t.Errorf("the whole at the end and its items (-whole +items):\n%s", diff)
	}
	// And it is what an answer that is not streamed holds.
	whole := responses.NewEncoder(&completion.Request{ID: "req_1", Raw: []byte(asked)}, "anthropic/claude-x", created)
	chunk := together()
	b := whole.AppendWhole(nil, &chunk, completion.Final{Finish: completion.ToolCalls, Tokens: &counted})
	var response map[string]any
	if err := json.Unmarshal(b, &response); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	if diff := cmp.Diff(last, response); diff != "" {
		t.Errorf("streamed and whole (-streamed +whole):\n%s", diff)
	}
	golden(t, "whole.json", b)
}

// TestStateComesBack: what an answer holds and its caller sends back is what the provider gave.
func TestStateComesBack(t *testing.T) {
	t.Parallel()
	whole := responses.NewEncoder(&completion.Request{ID: "req_1"}, "m", created)
	chunk := together()
	var response struct {
		Output json.RawMessage `json:"output"`
	}
	if err := json.Unmarshal(whole.AppendWhole(nil, &chunk, completion.Final{}), &response); err != nil {
		t.Fatal(err)
	}
	req, err := responses.Decode([]byte(`{"input":` + string(response.Output) + `}`))
	if err != nil {
		t.Fatal(err)
	}
	prompt, err := req.Decode()
	if err != nil {
		t.Fatal(err)
	}
	want := []completion.Message{{
		Role: completion.Assistant,
		Parts: []completion.Part{
			{Reasoning: &completion.Reasoning{Text: "hm\n\"so\"", Signature: "sig", Format: completion.AnthropicState}},
			{Reasoning: &completion.Reasoning{Encrypted: "blob", Format: completion.AnthropicState}},
			{Text: "One \"two\" é🔑\x01 three"},
			{Text: "no"},
		},
		ToolCalls: []completion.ToolCall{
			{ID: "toolu_1", Name: "look", Arguments: `{"q":"x"}`, Signature: "gsig", Format: completion.GoogleState}, {ID: "toolu_2", Name: "look", Arguments: "{}"},
		},
	}}
	if diff := cmp.Diff(want, prompt.Messages); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnswersEndAsTheyEnded(t *testing.T) {
	t.Parallel()
	for finish, want := range map[completion.FinishReason][3]string{
		completion.Stop: {"completed", "completed", ""}, completion.ToolCalls: {"completed", "completed", ""}, "": {"completed", "completed", ""},
		completion.Length: {"incomplete", "incomplete", "max_output_tokens"}, completion.ContentFilter: {"incomplete", "incomplete", "content_filter"},
	} {
		stream := encodeStream([]completion.Chunk{{Delta: completion.Delta{Text: "a"}}, {Finish: finish}}, completion.Final{Finish: finish})
		names, data := events(t, stream)
		response, _ := data[len(data)-1]["response"].(map[string]any)
		details, _ := response["incomplete_details"].(map[string]any)
		reason, _ := details["reason"].(string)
		item, _ := data[len(data)-2]["item"].(map[string]any)
		status, _ := response["status"].(string)
		if got := [3]string{names[len(names)-1], status, reason}; got != want || item["status"] != want[0] {
			t.Errorf("%q: %v, item %v, want %v", finish, got, item["status"], want)
		}
		if response["usage"] != nil {
			t.Errorf("%q: unknown usage became %v", finish, response["usage"])
		}
	}
	// An answer that says nothing is a message all the same.
	names, _ := events(t, encodeStream(nil, completion.Final{Finish: completion.Stop}))
	if diff := cmp.Diff([]string{"created", "in_progress", "output_item.added", "content_part.added", "output_text.done", "content_part.done", "output_item.done", "completed"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// A call without arguments, and one that was broken off, end with the answer.
	open := []completion.Chunk{{Delta: completion.Delta{ToolCalls: []completion.ToolCallDelta{{Index: 0, ID: "a", Name: "f"}, {Index: 1, ID: "b", Name: "f", Arguments: `{"x`}, {Index: 9, Arguments: "lost"}}}}}
	names, _ = events(t, encodeStream(open, completion.Final{Finish: completion.Length}))
	if got := strings.Count(strings.Join(names, " "), "output_item.done"); got != 2 {
		t.Errorf("%d items ended: %v", got, names)
	}
}

// replay answers a provider's call with bytes.
type replay struct {
	kind string
	body []byte
}

func (r replay) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {r.kind}}, ContentLength: -1, Body: io.NopCloser(strings.NewReader(string(r.body))),
	}, nil
}

// TestThinkingStaysWhereItCame in a whole answer: its provider reads it so, and so does a caller's next turn.
func TestThinkingStaysWhereItCame(t *testing.T) {
	t.Parallel()
	d := completion.Delta{
		Text: "one two", Thoughts: []completion.Reasoning{
			{Text: "first", Summary: true, Encrypted: "YQ==", Format: completion.OpenAIState},
			{Encrypted: "Yg==", Format: completion.OpenAIState},
			{Text: "then", Summary: true, Encrypted: "Yw==", Format: completion.OpenAIState},
		},
		ThoughtsAt: []int{0, 3, 7},
		ToolCalls:  []completion.ToolCallDelta{{Index: 0, ID: "call_1", Name: "look", Arguments: `{}`}},
	}
	b := responses.NewEncoder(&completion.Request{ID: "req_1"}, "m", created).AppendWhole(nil, &completion.Chunk{Delta: d}, completion.Final{Finish: completion.ToolCalls, Tokens: &counted})
	answer, err := provider.New(replay{"application/json", b}).Start(t.Context(), providertest.Converted("http://provider.invalid", "gpt-6-sol", false, llmtest.Script{}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := answer.Next()
	if err != nil {
		t.Fatal(err)
	}
	for i := range got.Delta.Thoughts {
		got.Delta.Thoughts[i].ID = ""
	}
	if diff := cmp.Diff([]any{d.Text, d.Thoughts, d.ThoughtsAt, d.ToolCalls}, []any{got.Delta.Text, got.Delta.Thoughts, got.Delta.ThoughtsAt, got.Delta.ToolCalls}); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	var response struct{ Output json.RawMessage }
	if err := json.Unmarshal(b, &response); err != nil {
		t.Fatal(err)
	}
	req, err := responses.Decode([]byte(`{"model":"m","store":false,"input":` + string(response.Output) + `}`))
	if err != nil {
		t.Fatal(err)
	}
	prompt, err := req.Decode()
	if err != nil {
		t.Fatal(err)
	}
	order := ""
	for _, m := range prompt.Messages {
		for _, p := range m.Parts {
			if p.Reasoning != nil {
				order += "[" + p.Reasoning.Encrypted + "]"
			}
			order += p.Text
		}
		for _, c := range m.ToolCalls {
			order += "(" + c.Name + ")"
		}
	}
	if want := "[YQ==]one[Yg==] two[Yw==](look)"; order != want {
		t.Errorf("prompt %s, want %s", order, want)
	}
}

// TestOurAnswersAreReadBack reads what this package wrote with the provider adapter of the same form.
func TestOurAnswersAreReadBack(t *testing.T) {
	t.Parallel()
	whole := responses.NewEncoder(&completion.Request{ID: "req_1"}, "m", created)
	chunk := together()
	final := completion.Final{Finish: completion.ToolCalls, Tokens: &counted}
	for kind, body := range map[string][]byte{"application/json": whole.AppendWhole(nil, &chunk, final), "text/event-stream": encodeStream(chunks(), final)} {
		call := providertest.Converted("http://provider.invalid", "gpt-6-sol", kind == "text/event-stream", llmtest.Script{})
		answer, err := provider.New(replay{kind, body}).Start(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		got, err := providertest.Collect(answer)
		if err != nil {
			t.Fatal(err)
		}
		want := usage.Tokens{InputTotal: 100, InputUncached: 60, CacheRead: 25, CacheWrite30m: 15, OutputTotal: 40, Reasoning: 8}
		if got.Delta.Text != chunk.Delta.Text || got.Delta.Refusal != "no" || strings.TrimSpace(got.Delta.Reasoning) != strings.TrimSpace(chunk.Delta.Reasoning) ||
			got.Finish != completion.ToolCalls || got.Usage == nil || got.Usage.Tokens != want {
			t.Errorf("%s: %+v, %+v", kind, got, got.Usage)
		}
		calls := []completion.ToolCallDelta{{Index: 0, ID: "toolu_1", Name: "look", Arguments: `{"q":"x"}`}, {Index: 1, ID: "toolu_2", Name: "look", Arguments: "{}"}}
		if diff := cmp.Diff(calls, got.Delta.ToolCalls); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
	}
}

func TestFailuresInStreamsAreRaisedBySDKs(t *testing.T) {
	t.Parallel()
	f := responses.Fail(completion.ErrBrokenOff, "req_1")
	event := string(f.AppendEvent(nil))
	data, ok := strings.CutPrefix(event, "event: error\ndata: ")
	var e struct {
		Type    string `json:"type"`
		Number  *int   `json:"sequence_number"`
		Code    string `json:"code"`
		Message string `json:"message"`
		Error   struct {
			Code, Message string
			RequestID     string `json:"request_id"`
		} `json:"error"`
	}
	if err := json.Unmarshal([]byte(data), &e); err != nil || !ok || !strings.HasSuffix(event, "\n\n") {
		t.Fatalf("%v: %s", err, event)
	}
	if e.Type != "error" || e.Number == nil || e.Code != "answer_broken_off" || e.Message == "" || e.Error.Message != e.Message || e.Error.Code != e.Code || e.Error.RequestID != "req_1" {
		t.Errorf("%+v", e)
	}
	answer, err := provider.New(replay{"text/event-stream", []byte(event)}).Start(t.Context(), providertest.Converted("http://provider.invalid", "gpt-6-sol", true, llmtest.Script{}))
	if err == nil {
		_, err = providertest.Collect(answer)
	}
	var failure *completion.ProviderError
	if !errors.As(err, &failure) || failure.Message != e.Message {
		t.Errorf("read back: %v", err)
	}
	body := string(responses.Fail(errors.New("secret"), "req_1").AppendBody(nil))
	if strings.Contains(body, "secret") || !strings.HasPrefix(body, `{"error":{"message":"internal error"`) {
		t.Errorf("body %s", body)
	}
}

func TestEncodingAllocatesLittle(t *testing.T) {
	buf := make([]byte, 0, 1<<16)
	for name, chunk := range map[string]completion.Chunk{
		"text":      {Delta: completion.Delta{Text: "Hello"}},
		"reasoning": {Delta: completion.Delta{Reasoning: "hm"}},
		"arguments": {Delta: completion.Delta{ToolCalls: []completion.ToolCallDelta{{Arguments: `"a`}}}},
	} {
		e := encoder()
		buf = e.AppendChunk(buf[:0], &completion.Chunk{Delta: completion.Delta{ToolCalls: []completion.ToolCallDelta{{ID: "a", Name: "f", Arguments: `{`}}}})
		if got := testing.AllocsPerRun(1000, func() { buf = e.AppendChunk(buf[:0], &chunk) }); got > 1 {
			t.Errorf("%s: %v allocations per chunk, want 1 at most", name, got)
		}
	}
}

// FuzzStream writes answers of any pieces in any order: they are whole and valid.
func FuzzStream(f *testing.F) {
	f.Add(uint64(1), "a\"\x00é", "{}")
	f.Fuzz(func(t *testing.T, seed uint64, text, arguments string) {
		random := rand.New(rand.NewPCG(seed, 1))
		e := encoder()
		var b []byte
		calls, said := 0, ""
		for range random.IntN(20) {
			var d completion.Delta
			switch random.IntN(6) {
			case 0:
				d.Text = text
				said += text
			case 1:
				d.Reasoning = text
			case 2:
				d.Refusal = text
			case 3:
				d.State = &completion.Reasoning{Signature: text, Format: completion.AnthropicState}
			case 4:
				d.ToolCalls = []completion.ToolCallDelta{{Index: calls, ID: text, Name: "f", Arguments: arguments}}
				calls++
			case 5:
				d.ToolCalls = []completion.ToolCallDelta{{Index: random.IntN(calls + 1), ID: strconv.Itoa(calls), Arguments: arguments}}
				calls = max(calls, d.ToolCalls[0].Index+1)
			}
			b = e.AppendChunk(b, &completion.Chunk{Delta: d})
		}
		b = e.AppendEnd(b, completion.Final{Finish: completion.Stop, Tokens: &counted})
		events(t, b)
		call := completion.Call{Model: "m", BaseURL: "http://provider.invalid", Secret: secret.New("sk-1"), Raw: true, Request: &completion.Request{Dialect: completion.OpenAIResponses, Raw: []byte(asked), Stream: true}}
		answer, err := provider.New(replay{"text/event-stream", b}).Start(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		got, err := providertest.Collect(answer)
		if err != nil || got.Raw != string(b) || got.Usage == nil {
			t.Fatalf("%v, %+v", err, got.Usage)
		}
	})
}

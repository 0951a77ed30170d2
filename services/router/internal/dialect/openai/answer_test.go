package openai_test

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/openai"
	provider "github.com/claviger/claviger/services/router/internal/provider/openai"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

var (
	created = time.Unix(1790000000, 0)
	counted = completion.Usage{Final: true, Tokens: usage.Tokens{
		InputTotal: 100, InputUncached: 60, CacheRead: 25, CacheWrite5m: 10, CacheWrite1h: 5, OutputTotal: 40, Reasoning: 8, AudioIn: 2, AudioOut: 1,
	}}
)

// chunks are a whole converted answer.
func chunks() []completion.Chunk {
	return []completion.Chunk{
		{Usage: &completion.Usage{}},
		{Delta: completion.Delta{Reasoning: "hm\n"}},
		{Delta: completion.Delta{Text: "One \"two\" é🔑\x01"}},
		{Delta: completion.Delta{Text: " three", Refusal: "no"}},
		{Delta: completion.Delta{ToolCalls: []completion.ToolCallDelta{{Index: 0, ID: "toolu_1", Name: "look"}}}},
		{Delta: completion.Delta{ToolCalls: []completion.ToolCallDelta{{Index: 0, Arguments: `{"q":`}, {Index: 1, ID: "toolu_2", Name: "look", Arguments: "{}"}}}},
		{Delta: completion.Delta{ToolCalls: []completion.ToolCallDelta{{Index: 0, Arguments: `"x"}`}}}},
		{Finish: completion.ToolCalls, Usage: &counted},
	}
}

// together is the answer in one piece.
func together() completion.Delta {
	return completion.Delta{
		Text: "One \"two\" é🔑\x01 three", Reasoning: "hm\n", Refusal: "no",
		ToolCalls: []completion.ToolCallDelta{{Index: 0, ID: "toolu_1", Name: "look", Arguments: `{"q":"x"}`}, {Index: 1, ID: "toolu_2", Name: "look", Arguments: "{}"}},
	}
}

func encoder(id, model string, includeUsage bool) *openai.Encoder {
	return openai.NewEncoder(&completion.Request{ID: id, Stream: true, IncludeUsage: includeUsage}, model, created)
}

func whole(id, model string) *openai.Encoder {
	return openai.NewEncoder(&completion.Request{ID: id}, model, created)
}

func encodeStream(includeUsage bool) []byte {
	s := encoder("req_1", "anthropic/claude-x", includeUsage)
	var b []byte
	for _, c := range chunks() {
		b = s.AppendChunk(b, &c)
	}
	return s.AppendEnd(b, completion.Final{Tokens: &counted.Tokens})
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

// readBack reads what this package wrote with the provider adapter of the same format.
func readBack(t *testing.T, kind string, body []byte, stream bool) providertest.Answer {
	t.Helper()
	answer, err := provider.New(replay{kind, body}).Start(t.Context(), completion.Call{
		Model: "m", BaseURL: "http://provider.invalid", Secret: secret.New("sk-1"),
		Request: &completion.Request{Stream: stream, Decode: func() (*completion.Prompt, error) { return &completion.Prompt{}, nil }},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := providertest.Collect(answer)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestConvertedStreamsReadBack(t *testing.T) {
	t.Parallel()
	b := encodeStream(true)
	golden(t, "stream.txt", b)
	got := readBack(t, "text/event-stream", b, true)
	if diff := cmp.Diff(together(), got.Delta); diff != "" {
		t.Errorf("delta (-want +got):\n%s", diff)
	}
	if got.Finish != completion.ToolCalls || got.Head.Model != "anthropic/claude-x" || got.Usage == nil || got.Usage.Tokens.InputTotal != 100 ||
		got.Usage.Tokens.CacheRead != 25 || got.Usage.Tokens.CacheWrite30m != 15 || got.Usage.Tokens.OutputTotal != 40 || got.Usage.Tokens.Reasoning != 8 {
		t.Errorf("%+v %+v", got, got.Usage)
	}
	if without := string(encodeStream(false)); strings.Contains(without, `"usage"`) || !strings.HasSuffix(without, "data: [DONE]\n\n") {
		t.Errorf("a caller who did not ask for usage got %s", without)
	}
	s := encoder("req_1", "m", true)
	if end := string(s.AppendEnd(nil, completion.Final{})); end != "data: [DONE]\n\n" {
		t.Errorf("unknown usage became %s", end)
	}
}

func TestConvertedAnswersReadBack(t *testing.T) {
	t.Parallel()
	b := whole("req_1", "anthropic/claude-x").AppendWhole(nil, &completion.Chunk{Delta: together()}, completion.Final{Finish: completion.ToolCalls, Tokens: &counted.Tokens})
	golden(t, "completion.json", b)
	got := readBack(t, "application/json", b, false)
	if diff := cmp.Diff(together(), got.Delta); diff != "" {
		t.Errorf("delta (-want +got):\n%s", diff)
	}
	if got.Finish != completion.ToolCalls || got.Usage == nil || got.Usage.Tokens.InputTotal != 100 {
		t.Errorf("%+v", got)
	}
	// Content is null only when something else is there.
	for want, c := range map[string]completion.Chunk{
		`"content":"","refusal":null}`:     {},
		`"content":null,"refusal":"no"}`:   {Delta: completion.Delta{Refusal: "no"}},
		`"content":null,"refusal":null,"t`: {Delta: completion.Delta{ToolCalls: []completion.ToolCallDelta{{ID: "x", Name: "f"}}}},
	} {
		if b := string(whole("r", "m").AppendWhole(nil, &c, completion.Final{})); !strings.Contains(b, want) || !json.Valid([]byte(b)) || strings.Contains(b, "usage") {
			t.Errorf("%+v: %s", c, b)
		}
	}
}

// rich is an answer with all that OpenAI's own field names do not cover.
func rich() completion.Delta {
	return completion.Delta{
		Text: "é ok", Reasoning: "hmsum",
		Thoughts: []completion.Reasoning{
			{Text: "hm", Signature: "c2ln", Format: completion.AnthropicState},
			{Text: "sum", Summary: true, Encrypted: "enc", Format: completion.OpenAIState, ID: "rs_1"},
			{Encrypted: "ZGF0YQ==", Format: completion.AnthropicState},
		},
		ToolCalls: []completion.ToolCallDelta{{ID: "c", Name: "f", Arguments: "{}", Signature: "gs", Format: completion.GoogleState}},
		Logprobs:  []completion.Logprob{{Token: "é", Logprob: -0.5, Top: []completion.Logprob{{Token: "e", Logprob: math.Inf(-1)}}}, {Token: " ok", Logprob: -1}},
		Citations: []completion.Citation{{URL: "https://example.com", Title: "A \"b\"", Start: 3, End: 5}},
	}
}

// pieces are rich as it comes in a stream.
func pieces() []completion.Chunk {
	r := rich()
	out := make([]completion.Chunk, 0, 8)
	add := func(d completion.Delta) { out = append(out, completion.Chunk{Delta: d}) }
	for _, t := range r.Thoughts {
		if t.Text != "" {
			add(completion.Delta{Reasoning: t.Text[:1]})
			add(completion.Delta{Reasoning: t.Text[1:]})
		}
		t.Text = ""
		add(completion.Delta{State: &t})
	}
	add(completion.Delta{Text: r.Text, Logprobs: r.Logprobs, Citations: r.Citations})
	add(completion.Delta{ToolCalls: r.ToolCalls})
	return append(out, completion.Chunk{Finish: completion.ToolCalls})
}

// TestReasoningComesBackAsItWasGiven: what a caller keeps of an answer, whole or put together from a stream,
// and sends back is what the provider gave.
func TestReasoningComesBackAsItWasGiven(t *testing.T) {
	t.Parallel()
	var answer struct {
		Choices []struct {
			Message, Delta json.RawMessage
		}
	}
	b := whole("req_1", "m").AppendWhole(nil, &completion.Chunk{Delta: rich()}, completion.Final{Finish: completion.ToolCalls})
	golden(t, "completion_rich.json", b)
	if err := json.Unmarshal(b, &answer); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	sentBack := map[string]json.RawMessage{"whole": answer.Choices[0].Message}

	s := encoder("req_1", "m", false)
	b = nil
	for _, c := range pieces() {
		b = s.AppendChunk(b, &c)
	}
	golden(t, "stream_rich.txt", b)
	var details, calls []json.RawMessage
	for line := range strings.Lines(string(b)) {
		data, isData := strings.CutPrefix(line, "data: ")
		if !isData {
			continue
		}
		if err := json.Unmarshal([]byte(data), &answer); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		var delta struct {
			Details []json.RawMessage `json:"reasoning_details"`
			Calls   []json.RawMessage `json:"tool_calls"`
		}
		if err := json.Unmarshal(answer.Choices[0].Delta, &delta); err != nil {
			t.Fatal(err)
		}
		details, calls = append(details, delta.Details...), append(calls, delta.Calls...)
	}
	together, err := json.Marshal(map[string]any{"role": "assistant", "content": "é ok", "reasoning_details": details, "tool_calls": calls})
	if err != nil {
		t.Fatal(err)
	}
	sentBack["stream"] = together

	want := completion.Message{Role: completion.Assistant}
	for _, r := range rich().Thoughts {
		want.Parts = append(want.Parts, completion.Part{Reasoning: &r})
	}
	want.Parts = append(want.Parts, completion.Part{Text: "é ok"})
	want.ToolCalls = []completion.ToolCall{{ID: "c", Name: "f", Arguments: "{}", Signature: "gs", Format: completion.GoogleState}}
	for name, message := range sentBack {
		req, err := openai.Decode([]byte(`{"messages":[` + string(message) + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		p, err := req.Decode()
		if err != nil {
			t.Errorf("%s: %s: %v", name, message, err)
			continue
		}
		if diff := cmp.Diff(want, p.Messages[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestHiddenReasoningKeepsItsState(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{`{"reasoning":{"exclude":true}}`, `{"include_reasoning":false}`} {
		for _, stream := range []bool{true, false} {
			e := openai.NewEncoder(&completion.Request{ID: "r", Stream: stream, Raw: []byte(raw)}, "m", created)
			var b []byte
			if stream {
				for _, c := range pieces() {
					b = e.AppendChunk(b, &c)
				}
			} else {
				b = e.AppendWhole(nil, &completion.Chunk{Delta: rich()}, completion.Final{})
			}
			if got := string(b); strings.Contains(got, "hm") || strings.Contains(got, "sum\"") || strings.Contains(got, `"delta":{}},`) || !strings.Contains(got, "c2ln") || !strings.Contains(got, "enc") {
				t.Errorf("stream %v: %s", stream, got)
			}
		}
	}
}

func TestRoleComesFirstAndOnce(t *testing.T) {
	t.Parallel()
	b := string(encodeStream(false))
	if strings.Count(b, `"role"`) != 1 || strings.Index(b, `"role"`) > strings.Index(b, "\n\n") {
		t.Errorf("stream %s", b)
	}
	s := encoder("r", "m", false)
	if b := s.AppendChunk(nil, &completion.Chunk{Usage: &counted}); len(b) != 0 {
		t.Errorf("a chunk without content wrote %s", b)
	}
}

func TestModelsAreListed(t *testing.T) {
	t.Parallel()
	b := openai.AppendModels(nil, []openai.Model{{ID: "openai/gpt-x", OwnedBy: "openai", Created: created}, {ID: "policy/fast", OwnedBy: "claviger"}})
	want := `{"object":"list","data":[{"id":"openai/gpt-x","object":"model","created":1790000000,"owned_by":"openai"},{"id":"policy/fast","object":"model","created":0,"owned_by":"claviger"}]}` + "\n"
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("models (-want +got):\n%s", diff)
	}
	if b := openai.AppendModels(nil, nil); !json.Valid(b) {
		t.Errorf("no models: %s", b)
	}
}

func TestEncodingAllocatesNothing(t *testing.T) {
	s := encoder("req_1", "anthropic/claude-x", true)
	all := append(chunks(), pieces()...)
	buffer := make([]byte, 0, 8<<10)
	if n := testing.AllocsPerRun(100, func() {
		b := buffer[:0]
		for i := range all {
			b = s.AppendChunk(b, &all[i])
		}
		_ = s.AppendEnd(b, completion.Final{Tokens: &counted.Tokens})
	}); n != 0 {
		t.Errorf("%v allocations for a whole stream, want none", n)
	}
}

func FuzzStreamReadsBack(f *testing.F) {
	f.Add("text", "reasoning", "id", "name", `{"a":1}`)
	f.Fuzz(func(t *testing.T, text, reasoning, id, name, arguments string) {
		valid := func(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
		for _, s := range []string{text, reasoning, id, name, arguments} {
			if valid(s) != s {
				return // runs of invalid bytes become as many marks as they are bytes
			}
		}
		s := encoder("req_1", "m", false)
		d := completion.Delta{Text: text, Reasoning: reasoning}
		if id != "" && name != "" {
			d.ToolCalls = []completion.ToolCallDelta{{ID: id, Name: name, Arguments: arguments}}
		}
		b := s.AppendChunk(nil, &completion.Chunk{Delta: d, Finish: completion.Stop})
		got := readBack(t, "text/event-stream", s.AppendEnd(b, completion.Final{}), true)
		if diff := cmp.Diff(d, got.Delta); diff != "" {
			t.Fatalf("delta (-want +got):\n%s", diff)
		}
	})
}

func BenchmarkAppendChunk(b *testing.B) {
	s := encoder("req_1", "anthropic/claude-x", true)
	c := completion.Chunk{Delta: completion.Delta{Text: " hello"}}
	buffer := make([]byte, 0, 8<<10)
	b.ReportAllocs()
	for b.Loop() {
		_ = s.AppendChunk(buffer[:0], &c)
	}
}

package anthropic_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/anthropic"
	provider "github.com/claviger/claviger/services/router/internal/provider/anthropic"
	"github.com/claviger/claviger/services/router/internal/sse"
	"github.com/claviger/claviger/services/router/internal/usage"
)

var counted = usage.Tokens{
	InputTotal: 100, InputUncached: 60, CacheRead: 25, CacheWrite5m: 10, CacheWrite1h: 5, OutputTotal: 40, Reasoning: 8,
}

func signed(format completion.StateFormat, state string) *completion.Reasoning {
	return &completion.Reasoning{Signature: state, Format: format}
}

// chunks are a whole converted answer.
func chunks() []completion.Chunk {
	calls := func(c ...completion.ToolCallDelta) completion.Chunk {
		return completion.Chunk{Delta: completion.Delta{ToolCalls: c}}
	}
	return []completion.Chunk{
		{Usage: &completion.Usage{}},
		{Delta: completion.Delta{Reasoning: "hm"}},
		{Delta: completion.Delta{Reasoning: "\n"}},
		{Delta: completion.Delta{State: signed(completion.AnthropicState, "c2ln")}},
		{Delta: completion.Delta{State: &completion.Reasoning{Encrypted: "ZGF0YQ==", Format: completion.AnthropicState}}},
		{Delta: completion.Delta{Text: "One \"two\" é🔑\x01"}},
		{Delta: completion.Delta{Text: " three", Citations: []completion.Citation{{URL: "https://example.com", Title: "A"}}}},
		{Delta: completion.Delta{Reasoning: "again"}},
		calls(completion.ToolCallDelta{Index: 0, ID: "toolu_1", Name: "look"}),
		calls(completion.ToolCallDelta{Index: 0, Arguments: `{"q":`}, completion.ToolCallDelta{Index: 1, ID: "toolu_2", Name: "look", Arguments: "{}"}),
		calls(completion.ToolCallDelta{Index: 0, Arguments: `"x"}`}),
		calls(completion.ToolCallDelta{Index: 2, ID: "toolu_3", Name: "now", Signature: "gs", Format: completion.GoogleState}),
		{Finish: completion.ToolCalls, Usage: &completion.Usage{Tokens: counted, Final: true}},
	}
}

func encoder() *anthropic.Encoder {
	return anthropic.NewEncoder(&completion.Request{ID: "req_1", Stream: true}, "openai/gpt-x")
}

func encode(all []completion.Chunk, f completion.Final) []byte {
	e := encoder()
	var b []byte
	for i := range all {
		b = e.AppendChunk(b, &all[i])
	}
	return e.AppendEnd(b, f)
}

var final = completion.Final{Finish: completion.ToolCalls, Tokens: &counted}

type replay struct{ kind, body string }

func (r replay) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {r.kind}}, ContentLength: -1, Body: io.NopCloser(strings.NewReader(r.body)),
	}, nil
}

// readBack reads what this package wrote with the provider adapter of the same format.
func readBack(t *testing.T, body string, stream bool) (chunks []completion.Chunk) {
	t.Helper()
	kind := "application/json"
	if stream {
		kind = "text/event-stream"
	}
	limit := int64(100)
	answer, err := provider.New(replay{kind, body}).Start(t.Context(), completion.Call{
		Model: "claude-x", BaseURL: "http://provider.invalid", Secret: secret.New("sk-1"),
		Request: &completion.Request{Stream: stream, Decode: func() (*completion.Prompt, error) {
			return &completion.Prompt{MaxOutputTokens: &limit, Messages: []completion.Message{{Role: completion.User, Parts: []completion.Part{{Text: "x"}}}}}, nil
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for {
		c, err := answer.Next()
		if err == io.EOF { //nolint:errorlint // as it comes
			return chunks
		}
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		chunks = append(chunks, c)
	}
}

func TestConvertedStreamsReadBack(t *testing.T) {
	t.Parallel()
	b := encode(chunks(), final)
	golden(t, "stream.txt", b)
	checkSequence(t, string(b))
	var text, reasoning string
	var states []completion.Reasoning
	calls := map[int]string{}
	var last completion.Chunk
	for _, c := range readBack(t, string(b), true) {
		text += c.Delta.Text
		reasoning += c.Delta.Reasoning
		if c.Delta.State != nil {
			states = append(states, *c.Delta.State)
		}
		for _, call := range c.Delta.ToolCalls {
			calls[call.Index] += call.ID + call.Name + call.Arguments
		}
		last = c
	}
	wantStates := []completion.Reasoning{
		{Signature: "c2ln", Format: completion.AnthropicState},
		{Encrypted: "ZGF0YQ==", Format: completion.AnthropicState},
		{Signature: "clv1.none.", Format: completion.AnthropicState},
		{Signature: "clv1.google-call.gs", Format: completion.AnthropicState},
	}
	if diff := cmp.Diff(wantStates, states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	if text != "One \"two\" é🔑\x01 three" || reasoning != "hm\nagain" {
		t.Errorf("text %q, reasoning %q", text, reasoning)
	}
	// Arguments of two calls came by turns: the reader counts them as they come.
	if diff := cmp.Diff(map[int]string{0: "toolu_1look", 1: "toolu_2look{}", 2: "toolu_3now{}"}, map[int]string{0: calls[0][:11], 1: calls[1][:13], 2: calls[2]}); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if last.Finish != completion.ToolCalls || last.Usage == nil || last.Usage.Tokens != counted {
		t.Errorf("%+v %+v", last, last.Usage)
	}
}

func TestConvertedAnswersReadBack(t *testing.T) {
	t.Parallel()
	whole := &completion.Chunk{Delta: completion.Delta{
		Text: "One", Reasoning: "hmagain", Thoughts: []completion.Reasoning{
			{Text: "hm", Signature: "c2ln", Format: completion.AnthropicState},
			{Encrypted: "ZGF0YQ==", Format: completion.AnthropicState},
			{Text: "again", Encrypted: "enc", Summary: true, Format: completion.OpenAIState},
		},
		Citations: []completion.Citation{{URL: "https://example.com", Title: "A"}},
		ToolCalls: []completion.ToolCallDelta{
			{Index: 0, ID: "toolu_1", Name: "look", Arguments: `{"q":"x"}`, Signature: "gs", Format: completion.GoogleState},
			{Index: 1, ID: "toolu_2", Name: "look", Arguments: `{"q":`},
			{Index: 2, ID: "toolu_3", Name: "now"},
		},
	}}
	b := encoder().AppendWhole(nil, whole, final)
	golden(t, "message.json", b)
	got := readBack(t, string(b), false)[0]
	want := completion.Delta{
		Text: "One", Reasoning: "hmagain", Thoughts: []completion.Reasoning{
			whole.Delta.Thoughts[0], whole.Delta.Thoughts[1],
			{Text: "again", Signature: "clv1.openai.enc", Format: completion.AnthropicState},
			{Signature: "clv1.google-call.gs", Format: completion.AnthropicState},
		},
		ThoughtsAt: []int{0, 0, 0, 3}, // a call comes after the text
		Citations:  whole.Delta.Citations,
		ToolCalls: []completion.ToolCallDelta{
			{Index: 0, ID: "toolu_1", Name: "look", Arguments: `{"q":"x"}`},
			{Index: 1, ID: "toolu_2", Name: "look", Arguments: `{"invalid_arguments":"{\"q\":"}`},
			{Index: 2, ID: "toolu_3", Name: "now", Arguments: "{}"},
		},
	}
	if diff := cmp.Diff(want, got.Delta); diff != "" {
		t.Errorf("delta (-want +got):\n%s", diff)
	}
	if got.Usage == nil || got.Usage.Tokens != counted || got.Finish != completion.ToolCalls {
		t.Errorf("%+v", got)
	}
}

// interleaved is an answer whose model thought again after it had said something.
var interleaved = completion.Delta{
	Text: "one two", Reasoning: "firstthen", Thoughts: []completion.Reasoning{
		{Text: "first", Signature: "YQ==", Format: completion.AnthropicState},
		{Encrypted: "Yg==", Format: completion.AnthropicState},
		{Text: "then", Signature: "Yw==", Format: completion.AnthropicState},
	},
	ThoughtsAt: []int{0, 3, 7},
	ToolCalls:  []completion.ToolCallDelta{{Index: 0, ID: "toolu_1", Name: "look", Arguments: `{}`}},
}

// TestThinkingStaysWhereItCame in a whole answer: its provider reads it so, and so does a caller's next turn.
func TestThinkingStaysWhereItCame(t *testing.T) {
	t.Parallel()
	b := encoder().AppendWhole(nil, &completion.Chunk{Delta: interleaved}, final)
	if diff := cmp.Diff(interleaved, readBack(t, string(b), false)[0].Delta); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	var message struct{ Content json.RawMessage }
	if err := json.Unmarshal(b, &message); err != nil {
		t.Fatal(err)
	}
	req, err := anthropic.Decode([]byte(`{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":` + string(message.Content) +
		`},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"x"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	prompt, err := req.Decode()
	if err != nil {
		t.Fatal(err)
	}
	d := &interleaved
	want := []completion.Part{{Reasoning: &d.Thoughts[0]}, {Text: "one"}, {Reasoning: &d.Thoughts[1]}, {Text: " two"}, {Reasoning: &d.Thoughts[2]}}
	if diff := cmp.Diff(want, prompt.Messages[1].Parts); diff != "" {
		t.Errorf("prompt (-want +got):\n%s", diff)
	}
}

func TestStopReasons(t *testing.T) {
	t.Parallel()
	for want, test := range map[string]struct {
		delta completion.Delta
		final completion.Final
	}{
		`"stop_reason":"end_turn","stop_sequence":null`:       {completion.Delta{Text: "a"}, completion.Final{Finish: completion.Stop}},
		`"stop_reason":"stop_sequence","stop_sequence":"END"`: {completion.Delta{Text: "a"}, completion.Final{Finish: completion.Stop, StopSequence: "END"}},
		`"stop_reason":"max_tokens"`:                          {completion.Delta{Text: "a"}, completion.Final{Finish: completion.Length}},
		`"stop_reason":"tool_use"`:                            {completion.Delta{Text: "a"}, completion.Final{Finish: completion.ToolCalls}},
		`"stop_reason":"refusal"`:                             {completion.Delta{Text: "a"}, completion.Final{Finish: completion.ContentFilter}},
		`"stop_reason":"refusal","stop_sequence":null`:        {completion.Delta{Refusal: "no"}, completion.Final{Finish: completion.Stop}},
	} {
		stream := string(encode([]completion.Chunk{{Delta: test.delta, Finish: test.final.Finish}}, test.final))
		whole := string(encoder().AppendWhole(nil, &completion.Chunk{Delta: test.delta}, test.final))
		if !strings.Contains(stream, want) || !strings.Contains(whole, want) || !json.Valid([]byte(whole)) {
			t.Errorf("want %s:\n%s\n%s", want, stream, whole)
		}
	}
	empty := string(encode(nil, completion.Final{}))
	checkSequence(t, empty)
	if !strings.Contains(empty, "message_start") {
		t.Errorf("an empty answer is %s", empty)
	}
}

// checkSequence holds a stream to the order of events that SDKs count on.
func checkSequence(t *testing.T, stream string) {
	t.Helper()
	var e struct {
		Type  string `json:"type"`
		Index int    `json:"index"`
		Block struct {
			Type string `json:"type"`
		} `json:"content_block"`
		Delta struct {
			Type string `json:"type"`
		} `json:"delta"`
	}
	var cursor sse.Cursor
	cursor.Reset([]byte(stream))
	kinds := map[int]string{} // of open blocks
	next, state := 0, "begin"
	for {
		event, ok := cursor.Next()
		if !ok {
			break
		}
		e.Index, e.Block.Type, e.Delta.Type = 0, "", ""
		if err := json.Unmarshal(event.Data, &e); err != nil || e.Type != string(event.Name) {
			t.Fatalf("event %s %s: %v", event.Name, event.Data, err)
		}
		switch {
		case e.Type == "message_start" && state == "begin":
			state = "content"
		case e.Type == "content_block_start" && state == "content" && e.Index == next:
			kinds[next] = e.Block.Type
			next++
		case e.Type == "content_block_delta" && state == "content":
			of := map[string]string{"text_delta": "text", "citations_delta": "text", "thinking_delta": "thinking", "signature_delta": "thinking", "input_json_delta": "tool_use"}
			if kinds[e.Index] != of[e.Delta.Type] {
				t.Fatalf("%s in block %d, which is %q:\n%s", e.Delta.Type, e.Index, kinds[e.Index], stream)
			}
		case e.Type == "content_block_stop" && kinds[e.Index] != "":
			delete(kinds, e.Index)
		case e.Type == "message_delta" && state == "content" && len(kinds) == 0:
			state = "ended"
		case e.Type == "message_stop" && state == "ended":
			state = "stopped"
		default:
			t.Fatalf("%s of block %d when %s:\n%s", e.Type, e.Index, state, stream)
		}
	}
	if state != "stopped" {
		t.Fatalf("the stream ends when %s:\n%s", state, stream)
	}
}

func TestEncodingAllocatesLittle(t *testing.T) {
	e := encoder()
	c := completion.Chunk{Delta: completion.Delta{Text: " hello"}}
	buffer := make([]byte, 0, 8<<10)
	if n := testing.AllocsPerRun(100, func() { _ = e.AppendChunk(buffer[:0], &c) }); n != 0 {
		t.Errorf("%v allocations for a chunk of text, want none", n)
	}
	all := chunks()
	if n := testing.AllocsPerRun(100, func() {
		e := encoder()
		b := buffer[:0]
		for i := range all {
			b = e.AppendChunk(b, &all[i])
		}
		_ = e.AppendEnd(b, final)
	}); n > float64(len(all)) {
		t.Errorf("%v allocations for a stream of %d chunks with states and calls", n, len(all))
	}
}

func TestModelsAreListed(t *testing.T) {
	t.Parallel()
	b := anthropic.AppendModels(nil, []anthropic.Model{{ID: "policy/fast", Name: "fast"}, {ID: "openai/gpt-x", Name: "gpt-x"}}, true)
	want := `{"data":[{"type":"model","id":"policy/fast","display_name":"fast","created_at":"1970-01-01T00:00:00Z"},` +
		`{"type":"model","id":"openai/gpt-x","display_name":"gpt-x","created_at":"1970-01-01T00:00:00Z"}],"has_more":true,"first_id":"policy/fast","last_id":"openai/gpt-x"}`
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if b := anthropic.AppendModels(nil, nil, false); !json.Valid(b) {
		t.Errorf("no models: %s", b)
	}
}

func TestCountsAreWritten(t *testing.T) {
	t.Parallel()
	b := anthropic.CountEncoder{}.AppendWhole(nil, &completion.Chunk{Result: &completion.Result{Count: 42}}, completion.Final{})
	if string(b) != `{"input_tokens":42}` {
		t.Errorf("%s", b)
	}
}

// FuzzStream writes pieces in any order; the sequence of events stays one that SDKs take.
func FuzzStream(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, "text", `{"a":1}`)
	f.Add([]byte{6, 16, 7, 17, 6, 0, 27}, "x", `{}`)
	f.Fuzz(func(t *testing.T, plan []byte, text, arguments string) {
		e := encoder()
		var b []byte
		calls := 0
		for _, p := range plan[:min(len(plan), 64)] {
			d := completion.Delta{}
			switch p % 10 {
			case 0:
				d.Text = text
			case 1:
				d.Reasoning = text
			case 2:
				d.State = signed(completion.AnthropicState, "s")
			case 3:
				d.State = &completion.Reasoning{Encrypted: "e", Format: completion.OpenAIState}
			case 4:
				d.Refusal = text
			case 5:
				d.Citations = []completion.Citation{{URL: text}}
			case 6:
				d.ToolCalls = []completion.ToolCallDelta{{Index: calls, ID: text, Name: "f", Arguments: arguments}}
				calls++
			case 7:
				d.ToolCalls = []completion.ToolCallDelta{{Index: int(p) / 10, Arguments: arguments}}
				calls = max(calls, min(int(p)/10+1, calls+1))
			case 8:
				d.Thoughts = []completion.Reasoning{{Text: text}, {Encrypted: "e"}, {Text: text, Signature: "s", Format: completion.GoogleState}}
			case 9:
				d.ToolCalls = []completion.ToolCallDelta{{Index: calls, ID: "i", Name: "f", Signature: "s", Format: completion.GoogleState}}
				calls++
			}
			b = e.AppendChunk(b, &completion.Chunk{Delta: d})
		}
		checkSequence(t, string(e.AppendEnd(b, completion.Final{Finish: completion.Stop})))
	})
}

func BenchmarkAppendChunk(b *testing.B) {
	e := encoder()
	c := completion.Chunk{Delta: completion.Delta{Text: " hello"}}
	buffer := make([]byte, 0, 8<<10)
	b.ReportAllocs()
	for b.Loop() {
		_ = e.AppendChunk(buffer[:0], &c)
	}
}

package bedrock_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/bedrock"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

func event(name, payload string) string { return string(llmtest.AWSEvent(name, []byte(payload))) }

// recorded is a stream as AWS sends it, with padding, all kinds of content, and metrics after usage.
var recorded = event("messageStart", `{"role":"assistant","p":"abcdefg"}`) +
	event("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"hm, "}},"p":"ab"}`) +
	event("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"so"}},"p":"abcdefghijklm"}`) +
	event("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"c2ln"}}}`) +
	event("contentBlockStop", `{"contentBlockIndex":0}`) +
	event("contentBlockDelta", `{"contentBlockIndex":1,"delta":{"reasoningContent":{"redactedContent":"cmVk"}}}`) +
	event("contentBlockStop", `{"contentBlockIndex":1}`) +
	event("contentBlockDelta", `{"contentBlockIndex":2,"delta":{"text":"Hel\"lo 🔑"},"p":"a"}`) +
	event("contentBlockDelta", `{"contentBlockIndex":2,"delta":{"text":""}}`) +
	event("contentBlockStop", `{"contentBlockIndex":2}`) +
	event("contentBlockStart", `{"contentBlockIndex":3,"start":{"toolUse":{"toolUseId":"tooluse_1","name":"now"}}}`) +
	event("contentBlockDelta", `{"contentBlockIndex":3,"delta":{"toolUse":{"input":""}}}`) +
	event("contentBlockStop", `{"contentBlockIndex":3}`) +
	event("contentBlockStart", `{"contentBlockIndex":4,"start":{"toolUse":{"toolUseId":"tooluse_2","name":"look_up"}}}`) +
	event("contentBlockDelta", `{"contentBlockIndex":4,"delta":{"toolUse":{"input":"{\"q\":"}}}`) +
	event("contentBlockDelta", `{"contentBlockIndex":4,"delta":{"toolUse":{"input":"\"x\"}"}}}`) +
	event("contentBlockStop", `{"contentBlockIndex":4}`) +
	event("aNewKind", `{"text":"not content"}`) +
	event("messageStop", `{"stopReason":"tool_use"}`) +
	event("metadata", `{"usage":{"inputTokens":12,"outputTokens":40,"totalTokens":52,"cacheReadInputTokens":100,"cacheWriteInputTokens":7,"cacheDetails":[{"inputTokens":4,"ttl":"1h"},{"inputTokens":3,"ttl":"5m"}]},"metrics":{"latencyMs":812}}`) +
	event("metadata", `{"metrics":{"latencyMs":813}}`)

var tokens = usage.Tokens{InputTotal: 119, InputUncached: 12, CacheRead: 100, CacheWrite5m: 3, CacheWrite1h: 4, OutputTotal: 40}

// pieces reads an answer to its end, and keeps the states of its reasoning.
func pieces(t *testing.T, r *replay, model string) (providertest.Answer, []completion.Reasoning, error) {
	t.Helper()
	answer, err := bedrock.New(r).Start(t.Context(), asked(model, true, nil))
	if err != nil {
		return providertest.Answer{}, nil, err
	}
	kept := &keeping{Answer: answer}
	got, err := providertest.Collect(kept)
	return got, kept.states, err
}

// keeping keeps the states that pass.
type keeping struct {
	completion.Answer
	states []completion.Reasoning
}

func (k *keeping) Next() (completion.Chunk, error) {
	chunk, err := k.Answer.Next()
	if chunk.Delta.State != nil {
		k.states = append(k.states, *chunk.Delta.State)
	}
	return chunk, err
}

// TestStreamsAreConverted in any chunking.
func TestStreamsAreConverted(t *testing.T) {
	t.Parallel()
	want := completion.Delta{Text: `Hel"lo 🔑`, Reasoning: "hm, so", ToolCalls: []completion.ToolCallDelta{
		{ID: "tooluse_1", Name: "now", Arguments: "{}"}, {Index: 1, ID: "tooluse_2", Name: "look_up", Arguments: `{"q":"x"}`},
	}}
	for seed := range uint64(40) {
		for model, format := range map[string]completion.StateFormat{claude: completion.AnthropicState, nova: completion.BedrockState} {
			random := rand.New(rand.NewPCG(seed, 2))
			r := &replay{stream: recorded, next: func() int { return 1 + random.IntN(1+int(seed)*20) }}
			got, states, err := pieces(t, r, model)
			if diff := cmp.Diff(want, got.Delta); diff != "" || err != nil {
				t.Fatalf("seed %d: %v (-want +got):\n%s", seed, err, diff)
			}
			if diff := cmp.Diff([]completion.Reasoning{{Signature: "c2ln", Format: format}, {Encrypted: "cmVk", Format: format}}, states); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
			if got.Usage == nil || got.Usage.Tokens != tokens || !got.Usage.Final || got.Finish != completion.ToolCalls || got.Pieces != 5 {
				t.Fatalf("seed %d: %+v %+v", seed, got, got.Usage)
			}
		}
	}
}

// TestSignaturesMayComeInPieces, and their block may not be closed.
func TestSignaturesMayComeInPieces(t *testing.T) {
	t.Parallel()
	thought := event("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"hm"}}}`) +
		event("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"c2"}}}`) +
		event("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"ln"}}}`)
	for _, closed := range []string{"", event("contentBlockStop", `{"contentBlockIndex":0}`)} {
		got, states, err := pieces(t, &replay{stream: thought + closed + event("messageStop", `{"stopReason":"end_turn"}`)}, claude)
		if diff := cmp.Diff([]completion.Reasoning{{Signature: "c2ln", Format: completion.AnthropicState}}, states); diff != "" || err != nil || got.Finish != completion.Stop {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
}

// TestAStreamCutAnywhereIsNotComplete: at every byte before the message's end, also where the bytes end
// well, between two frames. What comes after the end is only the count.
func TestAStreamCutAnywhereIsNotComplete(t *testing.T) {
	t.Parallel()
	last := event("messageStop", `{"stopReason":"tool_use"}`)
	end := strings.Index(recorded, last) + len(last)
	for cut := range len(recorded) {
		got, _, err := pieces(t, &replay{stream: recorded[:cut]}, nova)
		switch {
		case cut < end && err == nil:
			t.Fatalf("cut after %d of %d bytes: the answer is complete: %+v", cut, len(recorded), got)
		case cut > end && err != nil && got.Finish == "":
			t.Fatalf("cut after %d bytes: the end is lost", cut)
		case err == nil && (got.Finish != completion.ToolCalls || cut != end && got.Usage == nil):
			t.Fatalf("cut after %d bytes: complete without its end: %+v", cut, got)
		case err != nil:
			if failed := failure(t, err); !failed.Sent || failed.Unbilled || !failed.Class.MayMoveOn() {
				t.Fatalf("cut after %d bytes: %+v", cut, failed)
			}
		}
	}
}

// TestDamagedStreamsAreBroken: a bit that changed on the way is not passed on as content.
func TestDamagedStreamsAreBroken(t *testing.T) {
	t.Parallel()
	at := strings.Index(recorded, "Hel")
	damaged := recorded[:at] + "J" + recorded[at+1:]
	got, _, err := pieces(t, &replay{stream: damaged}, nova)
	if failed := failure(t, err); failed.Class != completion.ServerError || got.Delta.Text != "" || got.Delta.Reasoning != "hm, so" {
		t.Errorf("%+v, %+v", failed, got)
	}
	for _, bad := range []string{event("contentBlockDelta", `{"delta":`), event("messageStop", ``), event("metadata", `[]`), "plain text, and more than 16 bytes of it"} {
		if _, _, err := pieces(t, &replay{stream: bad + recorded}, nova); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestUsageIsReadFromAllItsForms.
func TestUsageIsReadFromAllItsForms(t *testing.T) {
	t.Parallel()
	begin := event("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"x"}}`) + event("messageStop", `{"stopReason":"end_turn"}`)
	for metadata, want := range map[string]*usage.Tokens{
		`{"usage":{"inputTokens":9,"outputTokens":2,"totalTokens":11}}`:                                                        {InputTotal: 9, InputUncached: 9, OutputTotal: 2},
		`{"usage":{"inputTokens":9,"outputTokens":2,"totalTokens":999,"cacheReadInputTokens":5}}`:                              {InputTotal: 14, InputUncached: 9, CacheRead: 5, OutputTotal: 2},
		`{"usage":{"inputTokens":9,"outputTokens":2,"cacheWriteInputTokens":6}}`:                                               {InputTotal: 15, InputUncached: 9, CacheWrite5m: 6, OutputTotal: 2},
		`{"usage":{"inputTokens":9,"outputTokens":2,"cacheWriteInputTokens":6,"cacheDetails":[]}}`:                             {InputTotal: 15, InputUncached: 9, CacheWrite5m: 6, OutputTotal: 2},
		`{"usage":{"inputTokens":9,"outputTokens":2,"cacheWriteInputTokens":6,"cacheDetails":[{"inputTokens":6,"ttl":"1h"}]}}`: {InputTotal: 15, InputUncached: 9, CacheWrite1h: 6, OutputTotal: 2},
		`{"usage":{"inputTokens":0,"outputTokens":0,"cacheReadInputTokens":null}}`:                                             {},
		`{"usage":{"inputTokens":-1,"outputTokens":2}}`:                                                                        nil, `{"usage":{"inputTokens":"many"}}`: nil, `{"usage":{}}`: nil, `{"usage":null}`: nil, `{}`: nil,
		`{"usage":{"inputTokens":1e30,"outputTokens":2}}`: nil,
	} {
		got, _, err := pieces(t, &replay{stream: begin + event("metadata", metadata)}, nova)
		if err != nil || (got.Usage == nil) != (want == nil) || want != nil && got.Usage.Tokens != *want {
			t.Errorf("%s: %+v, %v, want %+v", metadata, got.Usage, err, want)
		}
	}
	// The last one holds, and one without a count takes nothing back.
	got, _, err := pieces(t, &replay{stream: begin + event("metadata", `{"usage":{"inputTokens":1,"outputTokens":1}}`) +
		event("metadata", `{"usage":{"inputTokens":9,"outputTokens":2}}`) + event("metadata", `{"metrics":{}}`)}, nova)
	if err != nil || got.Usage.Tokens != (usage.Tokens{InputTotal: 9, InputUncached: 9, OutputTotal: 2}) {
		t.Errorf("%+v, %v", got.Usage, err)
	}
}

func TestWholeAnswersAreConverted(t *testing.T) {
	t.Parallel()
	const body = `{"output":{"message":{"role":"assistant","content":[
		{"reasoningContent":{"reasoningText":{"text":"hm","signature":"c2ln"}}},%s
		{"text":"Hi"},{"citationsContent":{"content":[{"text":" there"}],"citations":[{"title":"A page","location":{"web":{"url":"https://acme.example"}}}]}},
		{"toolUse":{"toolUseId":"tooluse_1","name":"f","input":{"x":1}}},{"toolUse":{"toolUseId":"tooluse_2","name":"g"}}]}},
		"stopReason":"tool_use","usage":{"inputTokens":12,"outputTokens":40,"cacheReadInputTokens":100,"cacheWriteInputTokens":7,"cacheDetails":[{"inputTokens":4,"ttl":"1h"},{"inputTokens":3,"ttl":"5m"}]},"metrics":{"latencyMs":8}}`
	for more, want := range map[string]completion.Delta{
		"": {Reasoning: "hm", State: &completion.Reasoning{Signature: "c2ln", Format: completion.BedrockState}},
		`{"reasoningContent":{"redactedContent":"cmVk"}},`: {Reasoning: "hm", Thoughts: []completion.Reasoning{
			{Text: "hm", Signature: "c2ln", Format: completion.BedrockState}, {Encrypted: "cmVk", Format: completion.BedrockState},
		}},
		`{"text":"So: "},{"reasoningContent":{"redactedContent":"cmVk"}},`: {
			Text: "So: ", Reasoning: "hm", Thoughts: []completion.Reasoning{
				{Text: "hm", Signature: "c2ln", Format: completion.BedrockState}, {Encrypted: "cmVk", Format: completion.BedrockState},
			},
			ThoughtsAt: []int{0, 4},
		},
	} {
		want.Text += "Hi there"
		want.Citations = []completion.Citation{{URL: "https://acme.example", Title: "A page"}}
		want.ToolCalls = []completion.ToolCallDelta{{ID: "tooluse_1", Name: "f", Arguments: `{"x":1}`}, {Index: 1, ID: "tooluse_2", Name: "g", Arguments: "{}"}}
		r := &replay{kind: "application/json", stream: fmt.Sprintf(body, more)}
		answer, err := bedrock.New(r).Start(t.Context(), asked(nova, false, nil))
		if err != nil {
			t.Fatal(err)
		}
		chunk, err := answer.Next()
		if diff := cmp.Diff(want, chunk.Delta); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		if chunk.Usage == nil || chunk.Usage.Tokens != tokens || chunk.Finish != completion.ToolCalls || !chunk.Content {
			t.Errorf("%+v", chunk)
		}
	}
}

func TestReasonsForTheEndAreMapped(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]completion.FinishReason{
		"end_turn": completion.Stop, "stop_sequence": completion.Stop, "max_tokens": completion.Length, "model_context_window_exceeded": completion.Length,
		"tool_use": completion.ToolCalls, "guardrail_intervened": completion.ContentFilter, "content_filtered": completion.ContentFilter,
		"malformed_model_output": completion.Stop, "malformed_tool_use": completion.Stop, "a_new_one": completion.Stop,
	} {
		got, _, err := pieces(t, &replay{stream: event("messageStop", `{"stopReason":"`+reason+`"}`)}, nova)
		if err != nil || got.Finish != want {
			t.Errorf("%s: %s, %v, want %s", reason, got.Finish, err, want)
		}
	}
}

// TestModelsThatCallToolsInOnePieceAreNotStreamed: their callers get the answer in one piece of a stream.
func TestModelsThatCallToolsInOnePieceAreNotStreamed(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	prompt := said(llmtest.Script{Tool: "f", Args: `{"x":1}`}.String())
	for range 2 {
		call := asked("meta.llama3-3-70b-instruct-v1:0", true, prompt)
		call.BaseURL = s.BedrockURL()
		got, err := collect(t, bedrock.New(&http.Transport{}), call)
		if err != nil || got.Finish != completion.ToolCalls || len(got.Delta.ToolCalls) != 1 || got.Usage == nil {
			t.Errorf("%+v, %v", got, err)
		}
		if last := s.Ledger()[len(s.Ledger())-1]; last.Streamed != (len(prompt.Tools) == 0) {
			t.Errorf("%d tools: streamed %v", len(prompt.Tools), last.Streamed)
		}
		prompt.Tools = []completion.Tool{{Name: "f"}}
	}
}

// perFrame measures the allocations of one frame in the middle of a stream.
func perFrame(t *testing.T, call completion.Call, begin, again string) float64 {
	t.Helper()
	r := &replay{stream: begin, again: again, next: func() int { return len(again) }}
	answer, err := bedrock.New(r).Start(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	next := func() {
		if _, err := answer.Next(); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		next()
	}
	return testing.AllocsPerRun(1000, next)
}

func TestConvertingAllocatesLittle(t *testing.T) {
	start := event("contentBlockStart", `{"contentBlockIndex":1,"start":{"toolUse":{"toolUseId":"tooluse_1","name":"f"}}}`)
	for name, data := range map[string]string{
		"text": `{"contentBlockIndex":0,"delta":{"text":"Hello"},"p":"abc"}`, "reasoning": `{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"hm"}}}`,
		"arguments": `{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{\"q\":"}}}`,
	} {
		if got := perFrame(t, asked(nova, true, nil), start, event("contentBlockDelta", data)); got > 3 {
			t.Errorf("%s: %v allocations per event, want 3 at most", name, got)
		}
	}
}

func TestPassingAllocatesNothing(t *testing.T) {
	if got := perFrame(t, passing(true, `{}`), frames(claudeEvents[:2]...), frames(claudeEvents[3])); got > 0 {
		t.Errorf("%v allocations per event that passes, want none", got)
	}
}

// FuzzEvents: payloads are from outside; converting and passing never crash, and give the same in any
// chunking.
func FuzzEvents(f *testing.F) {
	f.Add("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"x"}}`, uint64(1))
	f.Add("contentBlockStart", `{"contentBlockIndex":3,"start":{"toolUse":{"toolUseId":"a","name":"b"}}}`, uint64(2))
	f.Add("contentBlockDelta", `{"contentBlockIndex":3,"delta":{"toolUse":{"input":"{"}}}`, uint64(3))
	f.Add("metadata", `{"usage":{"inputTokens":9,"outputTokens":2,"cacheDetails":[{"inputTokens":1,"ttl":"1h"}]}}`, uint64(4))
	f.Add("messageStop", `{"stopReason":"end_turn"}`, uint64(5))
	f.Add("chunk", `{"bytes":"eyJ0eXBlIjoicGluZyJ9"}`, uint64(6))
	f.Fuzz(func(t *testing.T, name, payload string, seed uint64) {
		if len(name) > 100 || len(payload) > 1<<16 {
			return
		}
		stream := event("messageStart", `{}`) + event(name, payload) + event(name, payload) + event("messageStop", `{}`)
		if name == "chunk" {
			stream = event(name, payload) + frames(claudeEvents...)
		}
		read := func(next func() int) (providertest.Answer, error) {
			call := asked(claude, true, nil)
			if name == "chunk" {
				call = passing(true, `{}`)
			}
			answer, err := bedrock.New(&replay{stream: stream, next: next}).Start(t.Context(), call)
			if err != nil {
				t.Fatal(err)
			}
			return providertest.Collect(answer)
		}
		random := rand.New(rand.NewPCG(seed, 3))
		a, errA := read(nil)
		b, errB := read(func() int { return 1 + random.IntN(30) })
		a.Chunks, b.Chunks = 0, 0 // what passes is handed on as it comes
		if diff := cmp.Diff(a, b); diff != "" || (errA == nil) != (errB == nil) {
			t.Fatalf("in one: %v, in pieces: %v (-one +pieces):\n%s", errA, errB, diff)
		}
		var failed *completion.ProviderError
		if errA != nil && !errors.As(errA, &failed) {
			t.Fatalf("%v", errA)
		}
	})
}

func BenchmarkStream(b *testing.B) {
	for name, test := range map[string]struct {
		call  completion.Call
		again string
	}{
		"raw":       {passing(true, `{}`), frames(claudeEvents[3])},
		"converted": {asked(nova, true, nil), event("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"Hello"},"p":"abc"}`)},
	} {
		b.Run(name, func(b *testing.B) {
			r := &replay{again: test.again, next: func() int { return len(test.again) }}
			answer, err := bedrock.New(r).Start(b.Context(), test.call)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := answer.Next(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

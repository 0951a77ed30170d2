package anthropic_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/anthropic"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// replay answers with a stream, in reads of the sizes that next says; again is repeated for ever.
type replay struct {
	stream, again string
	next          func() int
	body          []byte
}

func (r *replay) RoundTrip(req *http.Request) (*http.Response, error) {
	r.body, _ = io.ReadAll(req.Body)
	if r.next == nil {
		r.next = func() int { return 1 << 20 }
	}
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, ContentLength: -1,
		Body: &reads{data: r.stream, next: r.next, again: r.again},
	}, nil
}

type reads struct {
	data, again string
	next        func() int
}

func (r *reads) Read(b []byte) (int, error) {
	if r.data == "" {
		r.data = r.again
	}
	if r.data == "" {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), max(1, r.next()))], r.data)
	r.data = r.data[n:]
	return n, nil
}

func (r *reads) Close() error { return nil }

func rawCall(stream bool) completion.Call {
	return completion.Call{
		AttemptID: "att_1", Model: "claude-x", BaseURL: "http://provider.invalid", Secret: secret.New("sk-1"), Raw: true,
		Request: &completion.Request{
			Dialect: completion.AnthropicMessages, Stream: stream,
			Raw: []byte(`{"model":"anthropic/claude-x","claviger":{},"max_tokens":5,"x":1}`),
		},
	}
}

func event(name, data string) string { return "event: " + name + "\ndata: " + data + "\n\n" }

var (
	messageStart = event("message_start", `{"type":"message_start","message":{"id":"msg_1","model":"claude-x-1","content":[],"stop_reason":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":7,"cache_read_input_tokens":100,"output_tokens":1}}}`)
	textStart    = event("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`)
	ping         = event("ping", `{"type":"ping"}`)
	hello        = event("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel\"lo"}}`)
	spaced       = event("content_block_delta", `{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}}`)
	signature    = event("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"abc"}}`)
	blockStop    = event("content_block_stop", `{"type":"content_block_stop","index":0}`)
	toolStart    = event("content_block_start", `{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"now","input":{}}}`)
	newKind      = event("content_block_sparkle", `{"type":"content_block_sparkle","x":{"text":"not content"}}`)
	messageDelta = event("message_delta", `{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":40,"output_tokens_details":{"thinking_tokens":9},"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4}}}`)
	messageStop  = event("message_stop", `{"type":"message_stop"}`)
	wholeStream  = messageStart + textStart + ping + hello + spaced + signature + blockStop + newKind + toolStart + event("content_block_delta", `{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":""}}`) + blockStop + messageDelta + messageStop
)

var tokens = usage.Tokens{
	InputTotal: 119, InputUncached: 12, CacheRead: 100, CacheWrite5m: 3, CacheWrite1h: 4, OutputTotal: 40, Reasoning: 9,
}

func TestRunsPassByteForByte(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 2))
		r := &replay{stream: wholeStream, next: func() int { return 1 + random.IntN(1+int(seed)*20) }}
		answer, err := anthropic.New(r).Start(t.Context(), rawCall(true))
		if err != nil {
			t.Fatal(err)
		}
		got, err := providertest.Collect(answer)
		if err != nil || got.Raw != wholeStream || !got.Delta.Empty() {
			t.Fatalf("seed %d: %v %+v", seed, err, got)
		}
		if got.Usage == nil || got.Usage.Tokens != tokens || !got.Usage.Final || got.Pieces != 2 || got.PieceBytes != 8+3 || got.Finish != completion.ToolCalls || got.Head.Model != "claude-x-1" {
			t.Fatalf("seed %d: %+v %+v", seed, got, got.Usage)
		}
		if want := `{"model":"claude-x","max_tokens":5,"x":1}`; string(r.body) != want {
			t.Fatalf("sent %s, want %s", r.body, want)
		}
	}
}

func TestStreamsAreConverted(t *testing.T) {
	t.Parallel()
	r := &replay{stream: strings.ReplaceAll(wholeStream, "event: content_block_start\n", "")} // the name may be missing
	answer, err := anthropic.New(r).Start(t.Context(), providertest.Converted("http://provider.invalid", "claude-x", true, llmtest.Script{}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := providertest.Collect(answer)
	want := completion.Delta{Text: "Hel\"lox", ToolCalls: []completion.ToolCallDelta{{ID: "toolu_1", Name: "now", Arguments: "{}"}}}
	if diff := cmp.Diff(want, got.Delta); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got.Usage == nil || got.Usage.Tokens != tokens || got.Finish != completion.ToolCalls {
		t.Errorf("%+v", got.Usage)
	}
}

// states are a stream with two blocks of thinking and a stop sequence.
var states = messageStart +
	event("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`) +
	event("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}`) +
	signature + blockStop +
	event("content_block_start", `{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"ZGF0YQ=="}}`) + blockStop +
	textStart + hello +
	event("content_block_delta", `{"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{"type":"web_search_result_location","url":"https://example.com","title":"T","cited_text":"c"}}}`) +
	event("content_block_delta", `{"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{"type":"char_location","cited_text":"c"}}}`) + blockStop +
	event("message_delta", `{"type":"message_delta","delta":{"stop_reason":"stop_sequence","stop_sequence":"END"},"usage":{"output_tokens":40}}`) + messageStop

func TestStatesComeInTheirOrder(t *testing.T) {
	t.Parallel()
	answer, err := anthropic.New(&replay{stream: states}).Start(t.Context(), providertest.Converted("http://provider.invalid", "claude-x", true, llmtest.Script{}))
	if err != nil {
		t.Fatal(err)
	}
	var got []completion.Delta
	stopped := ""
	for {
		c, err := answer.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !c.Delta.Empty() {
			got = append(got, c.Delta)
		}
		stopped += c.StopSequence
	}
	want := []completion.Delta{
		{Reasoning: "hm"},
		{State: &completion.Reasoning{Signature: "abc", Format: completion.AnthropicState}},
		{State: &completion.Reasoning{Encrypted: "ZGF0YQ==", Format: completion.AnthropicState}},
		{Text: "Hel\"lo"},
		{Citations: []completion.Citation{{URL: "https://example.com", Title: "T"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" || stopped != "END" {
		t.Errorf("stopped at %q (-want +got):\n%s", stopped, diff)
	}
}

// TestWholeAnswersKeepEveryBlockOfThinking, be they put together from a stream or not.
func TestWholeAnswersKeepEveryBlockOfThinking(t *testing.T) {
	t.Parallel()
	whole := `{"type":"message","model":"m","content":[{"type":"thinking","thinking":"hm","signature":"abc"},{"type":"redacted_thinking","data":"ZGF0YQ=="},` +
		`{"type":"text","text":"Hel\"lo","citations":[{"type":"web_search_result_location","url":"https://example.com","title":"T"}]}],"stop_reason":"stop_sequence","stop_sequence":"END","usage":{"input_tokens":1,"output_tokens":2}}`
	want := completion.Delta{
		Text: "Hel\"lo", Reasoning: "hm", Citations: []completion.Citation{{URL: "https://example.com", Title: "T"}},
		Thoughts: []completion.Reasoning{
			{Text: "hm", Signature: "abc", Format: completion.AnthropicState},
			{Encrypted: "ZGF0YQ==", Format: completion.AnthropicState},
		},
	}
	for name, transport := range map[string]http.RoundTripper{"whole": fixed(whole), "assembled": &replay{stream: states}} {
		call := providertest.Converted("http://provider.invalid", "claude-opus-4-7", false, llmtest.Script{})
		if name == "whole" {
			call.Request.Decode = func() (*completion.Prompt, error) {
				p := &completion.Prompt{Messages: []completion.Message{text(completion.User, "hi")}, MaxOutputTokens: new(int64(5))}
				return p, nil
			}
		}
		answer, err := anthropic.New(transport).Start(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		c, err := answer.Next()
		if diff := cmp.Diff(want, c.Delta); diff != "" || err != nil || c.StopSequence != "END" {
			t.Errorf("%s: stopped at %q, %v (-want +got):\n%s", name, c.StopSequence, err, diff)
		}
	}
}

func TestUsageReplacesAndNeverAdds(t *testing.T) {
	t.Parallel()
	r := &replay{stream: messageStart + hello + messageDelta + messageDelta}
	answer, err := anthropic.New(r).Start(t.Context(), rawCall(true))
	if err != nil {
		t.Fatal(err)
	}
	got, err := providertest.Collect(answer)
	if err == nil || got.Usage.Tokens != tokens {
		t.Errorf("%+v, %v", got.Usage, err)
	}
	r = &replay{stream: messageStart + hello}
	if answer, err = anthropic.New(r).Start(t.Context(), rawCall(true)); err != nil {
		t.Fatal(err)
	}
	got, _ = providertest.Collect(answer)
	want := usage.Tokens{InputTotal: 119, InputUncached: 12, CacheRead: 100, CacheWrite5m: 7, OutputTotal: 1}
	if got.Usage == nil || got.Usage.Final || got.Usage.Tokens != want {
		t.Errorf("usage of a broken answer: %+v", got.Usage)
	}
}

// TestContentIsSeenExactly: before the first content another target may still serve.
func TestContentIsSeenExactly(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]bool{
		messageStart: false, textStart: false, ping: false, hello: true, spaced: true, signature: false, blockStop: false,
		toolStart: true, newKind: false, messageDelta: false,
		event("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`):   false,
		event("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}`):                  true,
		event("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":""}}`):              false,
		event("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{"}}`):             true,
		event("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"type":"x","y":"z"}}}`): false,
	} {
		r := &replay{stream: data + messageStop, next: func() int { return len(data) }}
		answer, err := anthropic.New(r).Start(t.Context(), rawCall(true))
		if err != nil {
			t.Fatal(err)
		}
		chunk, err := answer.Next()
		if err != nil || chunk.Content != want {
			t.Errorf("%s: content %v (%v), want %v", data, chunk.Content, err, want)
		}
	}
}

func TestRawWholeAnswersPass(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	call := rawCall(false)
	call.BaseURL, call.Model = s.AnthropicURL(), "claude-haiku-4-5"
	call.Request.Raw = []byte(`{"model":"x","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}`)
	answer, err := anthropic.New(&http.Transport{}).Start(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	got, err := providertest.Collect(answer)
	if err != nil || len(got.Raw) != providertest.Ended(t, s, 1).Bytes || got.Usage == nil || got.PieceBytes == 0 || !got.Delta.Empty() {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestBrokenAssembledAnswerLeavesItsCount: an answer that was streamed for a caller who does not
// stream has cost something when it breaks off, though nobody got any of it.
func TestBrokenAssembledAnswerLeavesItsCount(t *testing.T) {
	t.Parallel()
	r := &replay{stream: messageStart + textStart + hello + hello}
	answer, err := anthropic.New(r).Start(t.Context(), providertest.Converted("http://provider.invalid", "claude-opus-4-7", false, llmtest.Script{}))
	if err != nil {
		t.Fatal(err)
	}
	chunk, err := answer.Next()
	if err != nil || chunk.Content || chunk.Usage == nil || chunk.Pieces != 2 || !chunk.Delta.Empty() {
		t.Errorf("%+v, %v", chunk, err)
	}
	var failed *completion.ProviderError
	for range 2 {
		if _, err := answer.Next(); !errors.As(err, &failed) {
			t.Errorf("%v", err)
		}
	}
}

// perEvent measures the allocations of one event in the middle of a stream.
func perEvent(t *testing.T, call completion.Call, data string) float64 {
	t.Helper()
	r := &replay{stream: messageStart + textStart, again: data, next: func() int { return len(data) }}
	answer, err := anthropic.New(r).Start(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := answer.Next(); err != nil {
			t.Fatal(err)
		}
	}
	return testing.AllocsPerRun(1000, func() {
		if _, err := answer.Next(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPassingAllocatesNothing(t *testing.T) {
	if got := perEvent(t, rawCall(true), hello); got != 0 {
		t.Errorf("%v allocations per event that passes, want none", got)
	}
}

func TestConvertingAllocatesLittle(t *testing.T) {
	call := providertest.Converted("http://provider.invalid", "claude-x", true, llmtest.Script{})
	if got := perEvent(t, call, hello); got > 3 {
		t.Errorf("%v allocations per text event, want 3 at most", got)
	}
}

func FuzzStream(f *testing.F) {
	f.Add(wholeStream, uint64(1))
	f.Add(states, uint64(4))
	f.Add(messageStart+event("error", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`), uint64(2))
	f.Add("data: {\"type\":\"message_stop\"}", uint64(3))
	f.Fuzz(func(t *testing.T, stream string, seed uint64) {
		read := func(raw bool, sizes uint64) (providertest.Answer, error) {
			random := rand.New(rand.NewPCG(seed, sizes))
			call := providertest.Converted("http://provider.invalid", "claude-x", true, llmtest.Script{})
			if raw {
				call = rawCall(true)
			}
			r := &replay{stream: stream, next: func() int { return 1 + random.IntN(50) }}
			answer, err := anthropic.New(r).Start(t.Context(), call)
			if err != nil {
				t.Fatal(err)
			}
			return providertest.Collect(answer)
		}
		a, errA := read(true, 1)
		b, errB := read(false, 2)
		if (errA == nil) != (errB == nil) {
			t.Fatalf("passing ends with %v, converting with %v", errA, errB)
		}
		if errA == nil && (a.Finish != b.Finish || (a.Usage == nil) != (b.Usage == nil)) {
			t.Fatalf("passing %+v, converting %+v", a, b)
		}
		if !strings.HasPrefix(stream, strings.TrimRight(a.Raw, "\r\n")) {
			t.Fatalf("passed %q of %q", a.Raw, stream)
		}
	})
}

func BenchmarkStream(b *testing.B) {
	for name, call := range map[string]completion.Call{
		"raw":       rawCall(true),
		"converted": providertest.Converted("http://provider.invalid", "claude-x", true, llmtest.Script{}),
	} {
		b.Run(fmt.Sprint(name), func(b *testing.B) {
			r := &replay{stream: messageStart + textStart, again: hello, next: func() int { return len(hello) }}
			answer, err := anthropic.New(r).Start(b.Context(), call)
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

package bedrock_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/bedrock"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// frames are a stream of Anthropic's events, each in a frame.
func frames(events ...string) string {
	var b strings.Builder
	for i, e := range events {
		b.WriteString(event("chunk", fmt.Sprintf(`{"bytes":%q,"p":%q}`, base64.StdEncoding.EncodeToString([]byte(e)), "abcdefgh"[:i%8])))
	}
	return b.String()
}

// claudeEvents are a stream of Anthropic's.
var claudeEvents = []string{
	`{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-haiku-4-5","content":[],"stop_reason":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":7,"cache_read_input_tokens":100,"output_tokens":1}}}`,
	`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
	`{"type":"ping"}`,
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel\"lo"}}`,
	`{"type":"content_block_stop","index":0}`,
	`{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":40,"output_tokens_details":{"thinking_tokens":9},"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4}}}`,
	`{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":12,"outputTokenCount":40}}`,
}

// asEvents is the same stream as Anthropic's own API sends it.
func asEvents(events []string) string {
	var b strings.Builder
	for _, e := range events {
		name, _, _ := strings.Cut(strings.TrimPrefix(e, `{"type":"`), `"`)
		b.WriteString("event: " + name + "\ndata: " + e + "\n\n")
	}
	return b.String()
}

// TestClaudesEventsPassByteForByte: in any chunking, out of their frames, with usage in all classes.
func TestClaudesEventsPassByteForByte(t *testing.T) {
	t.Parallel()
	want := tokens
	want.Reasoning = 9 // Anthropic tells it
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 2))
		r := &replay{stream: frames(claudeEvents...), next: func() int { return 1 + random.IntN(1+int(seed)*20) }}
		got, err := collect(t, bedrock.New(r), passing(true, `{"model":"x","max_tokens":5}`))
		if err != nil || got.Raw != asEvents(claudeEvents) || !got.Delta.Empty() {
			t.Fatalf("seed %d: %v %+v", seed, err, got)
		}
		if got.Usage == nil || got.Usage.Tokens != want || !got.Usage.Final || got.Finish != completion.Stop || got.Pieces != 1 {
			t.Fatalf("seed %d: %+v %+v", seed, got, got.Usage)
		}
		if sent := r.sent[0].URL.EscapedPath(); sent != "/model/us.anthropic.claude-haiku-4-5-20251001-v1%3A0/invoke-with-response-stream" {
			t.Fatalf("sent to %s", sent)
		}
	}
}

// TestBrokenEventsDoNotPass: cuts, damage and exceptions are failures, and nothing of them is passed on.
func TestBrokenEventsDoNotPass(t *testing.T) {
	t.Parallel()
	whole := frames(claudeEvents...)
	for cut := 0; cut < len(whole); cut += 7 {
		got, err := collect(t, bedrock.New(&replay{stream: whole[:cut]}), passing(true, `{}`))
		if err == nil || !strings.HasPrefix(asEvents(claudeEvents), got.Raw) {
			t.Fatalf("cut after %d of %d bytes: %q, %v", cut, len(whole), got.Raw, err)
		}
	}
	begun := frames(claudeEvents[:4]...)
	for end, want := range map[string]completion.Class{
		string(llmtest.AWSException("throttlingException", []byte(`{"message":"slow down"}`))): completion.RateLimited,
		string(llmtest.AWSException("modelTimeoutException", []byte(`{"message":"late"}`))):    completion.TimedOut,
		"not a frame, and more than sixteen bytes":                                             completion.ServerError,
		event("chunk", `{"bytes":"!!"}`):                                                       completion.ServerError,
		event("chunk", `{"bytes":"bm8="}`):                                                     completion.ServerError,
		event("chunk", `{}`):                                                                   completion.ServerError,
		frames(`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`):  completion.Overloaded,
	} {
		got, err := collect(t, bedrock.New(&replay{stream: begun + end}), passing(true, `{}`))
		failed := failure(t, err)
		if failed.Class != want || failed.Unbilled || got.Raw != asEvents(claudeEvents[:4]) || got.Pieces != 1 {
			t.Errorf("%q: %+v after %q, want class %s", end, failed, got.Raw, want)
		}
	}
}

// TestEventsOfManyLinesPassAsOne: a line's end would end an event of server-sent events.
func TestEventsOfManyLinesPassAsOne(t *testing.T) {
	t.Parallel()
	got, err := collect(t, bedrock.New(&replay{stream: frames("{\n \"type\":\"ping\"\r\n}", claudeEvents[6])}), passing(true, `{}`))
	if err != nil || got.Raw != "event: ping\ndata: {\"type\":\"ping\"}\n\n"+asEvents(claudeEvents[6:]) {
		t.Errorf("%q, %v", got.Raw, err)
	}
}

// TestClaudesBodiesPass: what stands in the address goes, what stands in headers elsewhere comes, and
// every other member stays as it came.
func TestClaudesBodiesPass(t *testing.T) {
	t.Parallel()
	betas := map[string]string{"Anthropic-Version": "2023-06-01", "Anthropic-Beta": "context-1m-2025-08-07, interleaved-thinking-2025-05-14"}
	later := map[string]string{"Anthropic-Version": "2026-10-21"}
	for _, test := range []struct {
		model      string
		headers    map[string]string
		body, want string
	}{
		{claude, nil, `{"model":"bedrock/x","max_tokens":5, "x" : [1, 2],"stream":true,"claviger":{"tags":{}}}`, `{"anthropic_version":"bedrock-2023-05-31","max_tokens":5,"x" : [1, 2]}`},
		{claude, nil, ` {"messages":[],"anthropic_version":"bedrock-2023-05-31","model":"x"} `, `{"anthropic_version":"bedrock-2023-05-31","messages":[]}`},
		{claude, nil, `{}`, `{"anthropic_version":"bedrock-2023-05-31"}`},
		{claude, nil, `{"anthropic_beta":["x"]}`, `{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["x"]}`},
		{claude, betas, `{"model":"x","a":1}`, `{"anthropic_version":"bedrock-2023-05-31","a":1,"anthropic_beta":["context-1m-2025-08-07","interleaved-thinking-2025-05-14"]}`},
		{claude, map[string]string{"Anthropic-Beta": " , a,"}, `{"b":1}`, `{"anthropic_version":"bedrock-2023-05-31","b":1,"anthropic_beta":["a"]}`},
		{claude, betas, `{"anthropic_beta":["x"],"a":1}`, `{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["context-1m-2025-08-07","interleaved-thinking-2025-05-14","x"],"a":1}`},
		{
			claude, nil, `{"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"clv1.google.Zw"},{"type":"text","text":"x"}]}]}`,
			`{"anthropic_version":"bedrock-2023-05-31","messages":[{"role":"assistant","content":[{"type":"text","text":"x"}]}]}`,
		},
		{claude, later, `{}`, `{"anthropic_version":"bedrock-2023-05-31"}`}, // which knows one version only
		{"eu.anthropic.claude-opus-5-5", later, `{}`, `{"anthropic_version":"2026-10-21"}`},
	} {
		r := &replay{kind: "application/json"}
		call := passing(false, test.body)
		call.Model, call.Request.Headers = test.model, test.headers
		if _, err := bedrock.New(r).Start(t.Context(), call); err != nil {
			t.Fatal(err)
		}
		if r.bodies[0] != test.want {
			t.Errorf("%s became\n%s, want\n%s", test.body, r.bodies[0], test.want)
		}
	}
	r := &replay{}
	if _, err := bedrock.New(r).Start(t.Context(), passing(false, `{"a":`)); err == nil || len(r.sent) != 0 {
		t.Errorf("half a body: %v after %d calls", err, len(r.sent))
	}
}

// TestClaudesMessagesPass against the scripted server, whole and streamed, with what it declares.
func TestClaudesMessagesPass(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	for i, stream := range []bool{false, true} {
		call := passing(stream, `{"model":"x","max_tokens":900,"stream":true,"messages":[{"role":"user","content":"script:tokens=3,in=500,cached=100,write=30,write1h=7,reasoning=40"}]}`)
		call.BaseURL = s.BedrockURL()
		got, err := collect(t, bedrock.New(&http.Transport{}), call)
		want := usage.Tokens{InputTotal: 500, InputUncached: 363, CacheRead: 100, CacheWrite5m: 30, CacheWrite1h: 7, OutputTotal: 43, Reasoning: 40}
		if err != nil || got.Usage == nil || got.Usage.Tokens != want || got.Head.RequestID == "" || got.Head.Model != "claude-haiku-4-5-20251001-v1:0" {
			t.Errorf("stream %v: %+v %+v, %v", stream, got, got.Usage, err)
		}
		if declared := providertest.Ended(t, s, i+1).Declared; declared == nil || declared.Reasoning != 40 || declared.Output != 43 {
			t.Errorf("stream %v: declared %+v", stream, declared)
		}
	}
	call := passing(true, `{"max_tokens":900,"messages":[{"role":"user","content":"script:error=rate_limit"}]}`)
	call.BaseURL = s.BedrockURL()
	_, err := collect(t, bedrock.New(&http.Transport{}), call)
	if failed := failure(t, err); failed.Class != completion.RateLimited || !failed.Unbilled {
		t.Errorf("%+v", failed)
	}
}

// FuzzBodies: what callers write stays, or is refused.
func FuzzBodies(f *testing.F) {
	f.Add(`{"model":"x","stream":true,"messages":[{"role":"user","content":"hi"}]}`, "context-1m-2025-08-07")
	f.Add(`{"anthropic_beta":["x"],"claviger":{},"a":1,}`, "")
	f.Add(`{"anthropic_beta":"x","anthropic_version":7}`, "a,\"b\"")
	f.Fuzz(func(t *testing.T, body, betas string) {
		call := passing(false, body)
		call.Request.Headers = map[string]string{"Anthropic-Beta": betas}
		r := &replay{kind: "application/json"}
		_, err := bedrock.New(r).Start(t.Context(), call)
		if valid := json.Valid([]byte(body)) && strings.HasPrefix(strings.TrimLeft(body, " \t\r\n"), "{"); (err == nil) != valid {
			t.Fatalf("valid: %v, error %v", valid, err)
		}
		if err == nil && !json.Valid([]byte(r.bodies[0])) {
			t.Fatalf("%q became %q", body, r.bodies[0])
		}
	})
}

package openai_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/openai"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// replay is a provider that answers with a stream, in reads of the sizes that next says, and keeps
// what it was sent.
type replay struct {
	stream string
	again  string // repeated after it, for ever
	next   func() int
	body   []byte
	path   string
	header http.Header
}

func (r *replay) RoundTrip(req *http.Request) (*http.Response, error) {
	r.header, r.path = req.Header, req.URL.Path
	if req.Body != nil {
		r.body, _ = io.ReadAll(req.Body)
	}
	if r.next == nil {
		r.next = func() int { return 1 << 20 }
	}
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, ContentLength: -1,
		Body: &reads{data: r.stream, next: r.next, again: r.again},
	}, nil
}

type reads struct {
	data string
	next func() int
	// again repeats this much of the end, for ever.
	again string
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

func rawCall(raw string, stream, includeUsage bool) completion.Call {
	return completion.Call{
		AttemptID: "att_1", Model: "gpt-x", BaseURL: "http://provider.invalid/v1", Secret: secret.New("sk-1"), Raw: true,
		Request: &completion.Request{Dialect: completion.OpenAIChat, Raw: []byte(raw), Stream: stream, IncludeUsage: includeUsage},
	}
}

func TestEditsKeepEveryOtherByte(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		raw    string
		stream bool
		want   string
	}{
		"model":                     {`{ "messages" : [],"model":"openai/gpt-x" , "unknown":1e3}`, false, `{ "messages" : [],"model":"gpt-x" , "unknown":1e3}`},
		"model missing":             {` { "messages":[]}`, false, ` {"model":"gpt-x", "messages":[]}`},
		"escaped name of the model": {`{"mod\u0065l":"a","messages":[]}`, false, `{"mod\u0065l":"gpt-x","messages":[]}`},
		"nested models stay":        {`{"model":"a","x":{"model":"b","claviger":1,"stream_options":null}}`, true, `{"stream_options":{"include_usage":true},"model":"gpt-x","x":{"model":"b","claviger":1,"stream_options":null}}`},
		"max_tokens stays":          {`{"model":"a","max_tokens":5,"max_completion_tokens":7}`, false, `{"model":"gpt-x","max_tokens":5,"max_completion_tokens":7}`},
		"ours first":                {`{"claviger":{"tags":{"a":"b"}} ,  "model":"a"}`, false, `{  "model":"gpt-x"}`},
		"ours in the middle":        {`{"model":"a", "claviger":{} , "n":2}`, false, `{"model":"gpt-x",  "n":2}`},
		"ours last":                 {"{\"model\":\"a\" ,\n \"claviger\":{} }", false, `{"model":"gpt-x"  }`},
		"no options":                {`{"model":"a","stream":true}`, true, `{"stream_options":{"include_usage":true},"model":"gpt-x","stream":true}`},
		"options null":              {`{"model":"a","stream_options" : null}`, true, `{"model":"gpt-x","stream_options" : {"include_usage":true}}`},
		"options empty":             {`{"model":"a","stream_options":{ }}`, true, `{"model":"gpt-x","stream_options":{"include_usage":true }}`},
		"options without usage":     {`{"model":"a","stream_options":{"include_obfuscation":false}}`, true, `{"model":"gpt-x","stream_options":{"include_usage":true,"include_obfuscation":false}}`},
		"usage false":               {`{"stream_options":{"include_usage": false ,"x":1},"model":"a"}`, true, `{"stream_options":{"include_usage": true ,"x":1},"model":"gpt-x"}`},
		"usage true":                {`{"stream_options":{"include_usage":true},"model":"a"}`, true, `{"stream_options":{"include_usage":true},"model":"gpt-x"}`},
		"options without a stream":  {`{"model":"a","stream_options":{}}`, false, `{"model":"gpt-x","stream_options":{}}`},
		"odd whitespace and texts":  {"\r\n{\t\"model\" :\t\"a\" ,\"m\":\"\\u0022model\\u0022:\\\"x\\\"\"\n}\n", false, "\r\n{\t\"model\" :\t\"gpt-x\" ,\"m\":\"\\u0022model\\u0022:\\\"x\\\"\"\n}\n"},
	} {
		r := &replay{}
		raw := test.raw
		answer, err := openai.New(r).Start(t.Context(), rawCall(raw, test.stream, false))
		if err == nil {
			_ = answer.Close()
		}
		if diff := cmp.Diff(test.want, string(r.body)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if !json.Valid(r.body) {
			t.Errorf("%s: %s is not JSON", name, r.body)
		}
	}
	if _, err := openai.New(&replay{}).Start(t.Context(), rawCall(`{"model":`, false, false)); err == nil {
		t.Error("a body that is not JSON was sent")
	}
}

func TestOnlyOurHeadersGoOut(t *testing.T) {
	t.Parallel()
	r := &replay{}
	answer, err := openai.New(r).Start(t.Context(), rawCall(`{"model":"a"}`, true, false))
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Close()
	want := http.Header{
		"Authorization": {"Bearer sk-1"}, "Content-Type": {"application/json"}, "Accept": {"text/event-stream"},
		"Accept-Encoding": {"identity"}, "User-Agent": {"claviger/1"}, "X-Client-Request-Id": {"att_1"},
	}
	if diff := cmp.Diff(want, r.header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

const (
	roleEvent    = `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt-x-2026","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}],"usage":null}` + "\n\n"
	helloEvent   = `data: {"id":"c","model":"gpt-x-2026","choices":[{"index":0,"delta":{"content":"Hel\"lo"},"finish_reason":null}],"usage":null}` + "\n\n"
	trapEvent    = `data: {"id":"c","model":"gpt-x-2026","choices":[{"index":0,"delta":{"content":"\"usage\":{\"error\":1},\"finish_reason\":\"stop\""},"finish_reason":null}],"usage":null,"error":null}` + "\n\n"
	spacedEvent  = "data: {\"id\": \"c\", \"choices\": [{\"index\": 0, \"delta\": {\"content\": \"x\"}, \"finish_reason\": null}]}\r\n\r\n"
	toolEvent    = `data: {"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\""}}]},"finish_reason":null}]}` + "\n\n"
	commentEvent = ": keep-alive\n\n"
	finishEvent  = `data: {"id":"c","model":"gpt-x-2026","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}` + "\n\n"
	usageEvent   = `data: {"id":"c","model":"gpt-x-2026","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":1},"completion_tokens_details":{"reasoning_tokens":2,"audio_tokens":3}}}` + "\n\n"
	doneEvent    = "data: [DONE]\n\n"
)

// TestRunsPassByteForByte cuts streams into reads of any size: what the caller gets is the same.
func TestRunsPassByteForByte(t *testing.T) {
	t.Parallel()
	tokens := usage.Tokens{InputTotal: 9, InputUncached: 5, CacheRead: 4, OutputTotal: 5, Reasoning: 2, AudioIn: 1, AudioOut: 3}
	for name, test := range map[string]struct {
		events []string
		pieces int
		bytes  int
	}{
		"usual":            {[]string{roleEvent, helloEvent, finishEvent, usageEvent, doneEvent}, 1, 7},
		"traps":            {[]string{roleEvent, trapEvent, trapEvent, spacedEvent, finishEvent, usageEvent, doneEvent}, 3, 1 + 2*len(`\"usage\":{\"error\":1},\"finish_reason\":\"stop\"`)},
		"comments":         {[]string{commentEvent, roleEvent, commentEvent, toolEvent, finishEvent, commentEvent, usageEvent, commentEvent, doneEvent}, 1, 6},
		"usage first":      {[]string{usageEvent, roleEvent, helloEvent, finishEvent, doneEvent}, 1, 7},
		"without [DONE]":   {[]string{roleEvent, helloEvent, finishEvent, usageEvent}, 1, 7},
		"unfinished end":   {[]string{roleEvent, helloEvent, finishEvent, usageEvent, "data: [DONE]"}, 1, 7},
		"byte order mark":  {[]string{"\uFEFF" + roleEvent, helloEvent, finishEvent, usageEvent, doneEvent}, 1, 7},
		"content at first": {[]string{helloEvent, helloEvent, finishEvent, usageEvent, doneEvent}, 2, 14},
	} {
		for _, include := range []bool{true, false} {
			stream := strings.Join(test.events, "")
			want := stream
			if !include {
				want = strings.Replace(stream, usageEvent, "", 1)
			}
			if strings.HasSuffix(want, "[DONE]") {
				want += "\n\n"
			}
			for seed := range uint64(60) {
				random := rand.New(rand.NewPCG(seed, 2))
				r := &replay{stream: stream, next: func() int { return 1 + random.IntN(1+int(seed)*20) }}
				answer, err := openai.New(r).Start(t.Context(), rawCall(`{"model":"a"}`, true, include))
				if err != nil {
					t.Fatal(err)
				}
				got, err := providertest.Collect(answer)
				if err != nil {
					t.Fatalf("%s, include %v, seed %d: %v", name, include, seed, err)
				}
				if diff := cmp.Diff(want, got.Raw); diff != "" {
					t.Fatalf("%s, include %v, seed %d (-want +got):\n%s", name, include, seed, diff)
				}
				if got.Finish != completion.Stop || got.Usage == nil || got.Usage.Tokens != tokens || got.Pieces != test.pieces || got.PieceBytes != test.bytes {
					t.Fatalf("%s, include %v, seed %d: %+v %+v", name, include, seed, got, got.Usage)
				}
				if name != "usage first" && got.Head.Model != "gpt-x-2026" {
					t.Fatalf("%s: head %+v", name, got.Head)
				}
			}
		}
	}
}

// TestContentIsSeenExactly: before the first content another target may still serve, so an event
// without content must not count, and one with content must.
func TestContentIsSeenExactly(t *testing.T) {
	t.Parallel()
	delta := func(d string) string {
		return `data: {"choices":[{"index":0,"delta":` + d + `,"finish_reason":null}]}` + "\n\n"
	}
	for event, want := range map[string]bool{
		roleEvent: false, commentEvent: false, usageEvent: false, helloEvent: true, toolEvent: true, spacedEvent: true,
		delta(`{}`): false, delta(`{"content":null}`): false, delta(`{"content":"","tool_calls":null}`): false, delta(`{"tool_calls":[]}`): false,
		delta(`{"role":"assistant","reasoning_content":""}`): false,
		delta(`{"reasoning_content":"hm"}`):                  true,
		delta(`{"reasoning":"hm"}`):                          true,
		delta(`{"refusal":"no"}`):                            true,
		delta(`{"content":[{"type":"text","text":"x"}]}`):    true,
		delta(`{"content":[]}`):                              false,
		delta(`{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":""}}]}`):        true,
		delta(`{"function_call":{"name":"f","arguments":""}}`):                                       true,
		`data: {"choices":[],"prompt_filter_results":[{"content":"x","content_filter_results":{}}]}`: false,
	} {
		r := &replay{stream: event + "\n\n" + finishEvent + doneEvent, next: func() int { return len(event) + 2 }}
		answer, err := openai.New(r).Start(t.Context(), rawCall(`{"model":"a"}`, true, true))
		if err != nil {
			t.Fatal(err)
		}
		chunk, err := answer.Next()
		if err != nil || chunk.Content != want {
			t.Errorf("%s: content %v (%v), want %v", event, chunk.Content, err, want)
		}
	}
}

func TestEventsBeforeAnErrorStillPass(t *testing.T) {
	t.Parallel()
	failed := `data: {"error":{"message":"The server had an error","type":"server_error","param":null,"code":null}}` + "\n\n"
	for _, size := range []int{1, 100, 1 << 20} {
		r := &replay{stream: roleEvent + helloEvent + failed + doneEvent, next: func() int { return size }}
		answer, err := openai.New(r).Start(t.Context(), rawCall(`{"model":"a"}`, true, true))
		if err != nil {
			t.Fatal(err)
		}
		got, err := providertest.Collect(answer)
		var providerError *completion.ProviderError
		if !errors.As(err, &providerError) || providerError.Class != completion.ServerError || got.Raw != roleEvent+helloEvent {
			t.Errorf("reads of %d: %q, %v", size, got.Raw, err)
		}
		if _, again := answer.Next(); !errors.Is(again, err) {
			t.Errorf("after the error: %v", again)
		}
	}
}

func TestEachChoiceHasToFinish(t *testing.T) {
	t.Parallel()
	second := strings.Replace(finishEvent, `"index":0`, `"index":1`, 1)
	for stream, complete := range map[string]bool{finishEvent: false, finishEvent + second: true} {
		r := &replay{stream: roleEvent + helloEvent + stream}
		answer, err := openai.New(r).Start(t.Context(), rawCall(`{"model":"a","n":2}`, true, true))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := providertest.Collect(answer); (err == nil) != complete {
			t.Errorf("complete %v: %v", complete, err)
		}
	}
}

func TestRawAgainstTheScriptedProvider(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t, llmtest.WithCapture())
	p := openai.New(&http.Transport{})
	for _, stream := range []bool{false, true} {
		call := rawCall(fmt.Sprintf(`{"model":"a","n":2,"stream":%v,"messages":[{"role":"user","content":"hi"}]}`, stream), stream, false)
		call.BaseURL, call.Model = s.OpenAIURL(), "gpt-4.1"
		answer, err := p.Start(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		got, err := providertest.Collect(answer)
		if err != nil || got.Usage == nil || got.Finish != completion.Stop || strings.Contains(got.Raw, `"completion_tokens"`) == stream {
			t.Errorf("stream %v: %+v, %v", stream, got, err)
		}
		if !got.Delta.Empty() {
			t.Errorf("stream %v: a call that passes has a delta %+v", stream, got.Delta)
		}
		_ = answer.Close()
		if want := len(got.Raw); !stream && providertest.Ended(t, s, 1).Bytes != want {
			t.Errorf("%d bytes, want those of the provider", want)
		}
	}
}

// perEvent measures the allocations of one event in the middle of a stream.
func perEvent(t *testing.T, call completion.Call, event string) float64 {
	t.Helper()
	const n = 2000
	r := &replay{stream: roleEvent + strings.Repeat(event, n+10), next: func() int { return len(event) }}
	answer, err := openai.New(r).Start(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := answer.Next(); err != nil {
			t.Fatal(err)
		}
	}
	return testing.AllocsPerRun(n-10, func() {
		if _, err := answer.Next(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPassingAllocatesNothing(t *testing.T) {
	if got := perEvent(t, rawCall(`{"model":"a"}`, true, false), helloEvent); got != 0 {
		t.Errorf("%v allocations per event that passes, want none", got)
	}
}

func TestConvertingAllocatesLittle(t *testing.T) {
	call := providertest.Converted("http://provider.invalid", "gpt-x", true, llmtest.Script{})
	if got := perEvent(t, call, helloEvent); got > 3 {
		t.Errorf("%v allocations per text event, want 3 at most", got)
	}
	if got := perEvent(t, call, toolEvent); got > 4 {
		t.Errorf("%v allocations per tool call event, want 4 at most", got)
	}
}

func FuzzStream(f *testing.F) {
	for _, s := range []string{
		roleEvent + helloEvent + finishEvent + usageEvent + doneEvent, trapEvent + spacedEvent + toolEvent, commentEvent, doneEvent,
		`data: {"error":{"code":429,"message":"x"}}`, `data: {"choices":[{"delta":{"content":[{"text":"a"}]}}],"usage":{"prompt_tokens":-1}}` + "\n\n",
	} {
		f.Add(s, uint64(1), true)
	}
	f.Fuzz(func(t *testing.T, stream string, seed uint64, hide bool) {
		read := func(raw bool, sizes uint64) (providertest.Answer, error) {
			random := rand.New(rand.NewPCG(seed, sizes))
			call := providertest.Converted("http://provider.invalid", "gpt-x", true, llmtest.Script{})
			if raw {
				call = rawCall(`{"model":"a"}`, true, !hide)
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
		if !hide && errA == nil && !strings.HasPrefix(stream, strings.TrimRight(a.Raw, "\n")) {
			t.Fatalf("passed %q of %q", a.Raw, stream)
		}
		c, errC := read(false, 3)
		if errC != nil && errA == nil && strings.Contains(errC.Error(), "not JSON") {
			return // once content has passed, what only passes is not read
		}
		if (errC == nil) != (errA == nil) {
			t.Fatalf("passing ends with %v, converting with %v", errA, errC)
		}
		if errA == nil && (c.Finish != a.Finish || (c.Usage == nil) != (a.Usage == nil)) {
			t.Fatalf("passing %+v, converting %+v", a, c)
		}
	})
}

func BenchmarkStream(b *testing.B) {
	for _, perRead := range []int{1, 8} {
		for name, call := range map[string]completion.Call{
			"raw":       rawCall(`{"model":"a"}`, true, false),
			"converted": providertest.Converted("http://provider.invalid", "gpt-x", true, llmtest.Script{}),
		} {
			b.Run(fmt.Sprintf("%s/%d", name, perRead), func(b *testing.B) {
				event := strings.Repeat(helloEvent, perRead)
				r := &replay{stream: roleEvent, again: event, next: func() int { return len(event) }}
				answer, err := openai.New(r).Start(b.Context(), call)
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
}

func BenchmarkEditBody(b *testing.B) {
	raw := `{"model":"openai/gpt-x","messages":[{"role":"user","content":"` + strings.Repeat("lorem ipsum ", 200) + `"}],"stream":true}`
	p := openai.New(&replay{stream: doneEvent})
	call := rawCall(raw, true, false)
	b.ReportAllocs()
	for b.Loop() {
		answer, err := p.Start(b.Context(), call)
		if err != nil {
			b.Fatal(err)
		}
		_ = answer.Close()
	}
}

// golden compares with a file below testdata, which CLAVIGER_UPDATE_GOLDEN=1 rewrites.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name
	if os.Getenv("CLAVIGER_UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

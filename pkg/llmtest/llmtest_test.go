package llmtest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/llmtest"
)

// chat calls the OpenAI form and returns status and answer as far as it came.
func chat(t *testing.T, s *llmtest.Server, key, model, body string) (int, string, error) {
	t.Helper()
	if body == "" {
		body = `{"model":"` + model + `","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}`
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.OpenAIURL()+"/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("X-Client-Request-Id", "att_1")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// lastEntry waits for the end of the last call.
func lastEntry(t *testing.T, s *llmtest.Server) llmtest.Entry {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		if all := s.Ledger(); len(all) > 0 && all[len(all)-1].Done {
			return all[len(all)-1]
		}
		if time.Now().After(deadline) {
			t.Fatalf("no finished call in the ledger: %+v", s.Ledger())
		}
		<-time.After(time.Millisecond) // polls with a deadline
	}
}

func TestScriptTextRoundTrips(t *testing.T) {
	t.Parallel()
	for _, s := range []llmtest.Script{
		{},
		{Tokens: 200, Delay: 5 * time.Millisecond, CutBytes: 3000},
		{Text: "one, two + 100%", Tool: "get_weather", Args: `{"a": "b,c"}`, Calls: 2, Refusal: true, Finish: "length"},
		{Error: llmtest.ErrRateLimit, RetryAfter: 1500 * time.Millisecond, Status: 418, Type: "t", Code: "c", Message: "m", Echo: true},
		{Error: llmtest.ErrServer, InStream: true},
		{InStream: true, At: 7, Input: 1, Output: 2, Cached: 3, CacheWrite: 4, CacheWrite1h: 5, Reasoning: 6, Audio: 7, Think: true},
		{FirstByte: time.Second, Early: true, CutChunks: 2, Reset: true, NoUsage: true, NoDone: true, NoFinish: true, Hang: true},
		{Huge: 1 << 20, Split: 7, Trickle: time.Millisecond, CRLF: true, Pings: true, Objects: true},
	} {
		got, err := llmtest.ParseScript(s.String())
		if err != nil {
			t.Errorf("ParseScript(%q): %v", s, err)
		}
		if diff := cmp.Diff(s, got); diff != "" {
			t.Errorf("ParseScript(%q) (-want +got):\n%s", s, diff)
		}
	}
	for _, bad := range []string{"script:tokens=x", "nonsense=1", "error=unheard", "tokens=-1", "text=%zz", "at="} {
		if _, err := llmtest.ParseScript(bad); err == nil {
			t.Errorf("ParseScript(%q) has no error", bad)
		}
	}
}

func TestScriptIsFoundInEachPlace(t *testing.T) {
	t.Parallel()
	body := func(model, text string) string {
		return `{"model":"` + model + `","messages":[{"role":"user","content":"first"},{"role":"assistant","content":"x"},{"role":"user","content":"` + text + `"}]}`
	}
	s := llmtest.New(t, llmtest.WithScript("named", llmtest.Script{Text: "by name"}), llmtest.WithDefault(llmtest.Script{Text: "default"}))
	tests := map[string]struct{ key, body, want string }{
		"key":     {"sk-1+script:text=key", body("named", "script:text=message now"), `"content": "key"`},
		"message": {"sk-1", body("m-script:text=model", "script:text=message now"), `"content": "message"`},
		"model":   {"sk-1", body("m-script:text=model", "hello"), `"content": "model"`},
		"base":    {"sk-1", body("m-script:text=model", "hello"), `"model": "m"`},
		"option":  {"sk-1", body("named", "hello"), `"content": "by name"`},
		"default": {"sk-1", body("other", "hello"), `"content": "default"`},
	}
	for name, test := range tests {
		if _, got, err := chat(t, s, test.key, "", test.body); err != nil || !strings.Contains(got, test.want) {
			t.Errorf("%s: answer %s, error %v; want %s", name, got, err, test.want)
		}
	}
	s.Queue(llmtest.Script{Error: llmtest.ErrServer}, llmtest.Script{Text: "second"})
	if code, _, _ := chat(t, s, "sk-1+script:text=key", "m", ""); code != 500 {
		t.Errorf("queued error has status %d, want 500", code)
	}
	if _, got, _ := chat(t, s, "sk-1", "m", ""); !strings.Contains(got, `"second"`) {
		t.Errorf("second queued script: got %s", got)
	}
}

func TestControlOverHTTP(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	send := func(method, path, body string, want int) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Fatalf("%s %s: status %d, want %d", method, path, res.StatusCode, want)
		}
	}
	send(http.MethodPut, "/script?model=a&times=-1", "script:error=overloaded", 204)
	send(http.MethodPut, "/script", "script:nonsense", 400)
	status := func(model string) int {
		code, _, err := chat(t, s, "sk-1", model, "")
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	if a, a2, b := status("a"), status("a"), status("b"); a != 503 || a2 != 503 || b != 200 {
		t.Errorf("statuses %d, %d, %d; want 503, 503, 200", a, a2, b)
	}
	send(http.MethodDelete, "/script", "", 204)
	if a := status("a"); a != 200 {
		t.Errorf("after reset: status %d, want 200", a)
	}
}

func TestStreamBytes(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	plain := func(model string) string {
		_, got, err := chat(t, s, "sk-1", model, "")
		if err != nil {
			t.Fatalf("%s: %v", model, err)
		}
		return got
	}
	got := plain("m-script:tokens=3,in=9,cached=4,reasoning=2")
	if n := strings.Count(got, `"usage":null`); n != 5 {
		t.Errorf("%d chunks with null usage, want 5: role, 3 tokens, finish", n)
	}
	if !strings.Contains(got, `"choices":[],"usage":{"completion_tokens":5,`) || !strings.HasSuffix(got, "data: [DONE]\n\n") {
		t.Errorf("stream does not end with usage and [DONE]:\n%s", got)
	}
	if e := lastEntry(t, s); e.Written != 3 || !e.UsageSent || !e.Complete || e.Bytes != len(got) ||
		e.Declared == nil || *e.Declared != (llmtest.Usage{Input: 9, Cached: 4, Output: 5, Reasoning: 2}) {
		t.Errorf("entry %+v", e)
	}
	if got := plain("m-script:tokens=3,nodone"); strings.Contains(got, "[DONE]") {
		t.Errorf("nodone: got [DONE]")
	}
	if got := plain("m-script:tokens=3,crlf,split=5"); !strings.HasSuffix(got, "data: [DONE]\r\n\r\n") {
		t.Errorf("crlf, split: ends with %q", got[len(got)-30:])
	}
	if e := lastEntry(t, s); e.Written != 3 || !e.UsageSent || !e.Complete {
		t.Errorf("split: entry %+v", e)
	}
	if got := plain("m-script:huge=100000"); len(got) < 100000 {
		t.Errorf("huge: %d bytes", len(got))
	}
}

func TestCutsAreSeenAndCounted(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	for model, want := range map[string]llmtest.Entry{
		"m-script:tokens=9,cutat=4":           {Written: 4},
		"m-script:tokens=9,cutat=4,reset":     {Written: 4},
		"m-script:tokens=9,cut=1200":          {Written: 3, Bytes: 1200},
		"m-script:tokens=9,cut=1200,split=11": {Written: 3, Bytes: 1200},
	} {
		code, got, err := chat(t, s, "sk-1", model, "")
		if err == nil || code != 200 {
			t.Errorf("%s: no error; answer %q", model, got)
		}
		e := lastEntry(t, s)
		if e.Written != want.Written || e.UsageSent || e.Complete || (want.Bytes != 0 && e.Bytes != want.Bytes) {
			t.Errorf("%s: entry %+v, want %+v", model, e, want)
		}
	}
}

func TestKeysAreChecked(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t, llmtest.WithKeys("openai", "sk-good-0123456789"))
	if code, got, _ := chat(t, s, "sk-wrong-0123456789", "m", ""); code != 401 || !strings.Contains(got, `"code":"invalid_api_key"`) || strings.Contains(got, "sk-wrong-0123456789") {
		t.Errorf("wrong key: %d %s", code, got)
	}
	if e := lastEntry(t, s); e.Status != 401 || e.KeyHash != llmtest.HashKey("sk-wrong-0123456789") || e.ClientRequestID != "att_1" {
		t.Errorf("entry of a wrong key %+v", e)
	}
	if code, _, _ := chat(t, s, "sk-good-0123456789+script:tokens=1", "m", ""); code != 200 {
		t.Errorf("good key with script: %d", code)
	}
	if code, got, _ := chat(t, s, "sk-good-0123456789+script:error=auth,echo", "m", ""); code != 401 || !strings.Contains(got, "sk-good-0123456789") {
		t.Errorf("echoed key: %d %s", code, got)
	}
}

func TestClientThatLeavesIsSeen(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	for _, model := range []string{"m-script:hang", "m-script:tokens=100000,delay=1ms"} {
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.OpenAIURL()+"/chat/completions",
			strings.NewReader(`{"model":"`+model+`","stream":true,"messages":[{"role":"user","content":"hi"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer sk-1")
		left := make(chan error, 1)
		go func() {
			res, err := http.DefaultClient.Do(req)
			if err == nil {
				_, err = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
			left <- err
		}()
		for begun := len(s.Ledger()) == 0 || s.Ledger()[len(s.Ledger())-1].Done; begun; begun = len(s.Ledger()) == 0 || s.Ledger()[len(s.Ledger())-1].Done {
			<-time.After(time.Millisecond) // the call ends below, so this does too
		}
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: client's error %v", model, err)
		}
		if e := lastEntry(t, s); !e.ClientGone || e.Complete || e.UsageSent {
			t.Errorf("%s: entry %+v", model, e)
		}
	}
}

func TestHungCallsEndWithTheServer(t *testing.T) {
	t.Parallel()
	done := make(chan error, 1)
	t.Run("server", func(t *testing.T) {
		s := llmtest.New(t)
		go func() {
			req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, s.OpenAIURL()+"/chat/completions",
				strings.NewReader(`{"model":"m-script:hang","messages":[{"role":"user","content":"hi"}]}`))
			if err != nil {
				done <- err
				return
			}
			req.Header.Set("Authorization", "Bearer sk-1")
			res, err := http.DefaultClient.Do(req)
			if err == nil {
				_ = res.Body.Close()
			}
			done <- err
		}()
		for len(s.Ledger()) == 0 {
			<-time.After(time.Millisecond) // the call begins, or the client fails and the test times out
		}
	})
	if err := <-done; err == nil {
		t.Error("a call that hangs got an answer")
	}
}

func TestLedgerFileHoldsStartAndEnd(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	s := llmtest.New(t, llmtest.WithLedgerFile(path))
	if _, _, err := chat(t, s, "sk-1", "m-script:tokens=2", ""); err != nil {
		t.Fatal(err)
	}
	lastEntry(t, s)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var lines []llmtest.Entry
	for line := range bytes.Lines(b) {
		var e llmtest.Entry
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("line %s: %v", line, err)
		}
		lines = append(lines, e)
	}
	if len(lines) != 2 || lines[0].Done || !lines[1].Done || lines[0].Seq != 1 || lines[1].Written != 2 || lines[0].ClientRequestID != "att_1" {
		t.Errorf("file holds %+v", lines)
	}
	res, err := http.Get(s.URL + "/ledger")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var over []llmtest.Entry
	if err := json.NewDecoder(res.Body).Decode(&over); err != nil || len(over) != 1 || over[0].Written != 2 {
		t.Errorf("GET /ledger: %+v, %v", over, err)
	}
}

func TestLedgerLimitKeepsTheNewest(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t, llmtest.WithLedgerLimit(3))
	for range 20 {
		if _, _, err := chat(t, s, "sk-1", "m", ""); err != nil {
			t.Fatal(err)
		}
	}
	lastEntry(t, s)
	all := s.Ledger()
	if len(all) < 3 || len(all) > 6 || all[len(all)-1].Seq != 20 {
		t.Errorf("%d entries, last %+v", len(all), all[len(all)-1])
	}
}

func BenchmarkStream(b *testing.B) {
	s := llmtest.New(b, llmtest.WithLedgerLimit(100))
	body := `{"model":"m-script:tokens=200","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}`
	for b.Loop() {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, s.OpenAIURL()+"/chat/completions", strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer sk-1")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			b.Fatal(err)
		}
		_ = res.Body.Close()
	}
	b.ReportMetric(float64(b.N)*200/b.Elapsed().Seconds(), "chunks/s")
}

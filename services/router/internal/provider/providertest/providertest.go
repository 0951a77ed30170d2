// Package providertest is what every provider adapter has to keep, shown against a scripted provider:
// each adapter's tests run it.
package providertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// Adapter is an adapter under test.
type Adapter struct {
	New     func(http.RoundTripper) completion.Provider
	BaseURL func(*llmtest.Server) string
	// Model is a model that takes everything. MaxOutputTokens goes into each prompt if it is not 0.
	Model           string
	MaxOutputTokens int64
	// Usage is what the adapter should make of a declared usage.
	Usage func(llmtest.Usage) usage.Tokens
	// Errors is the class of each failure that comes as a status; of those in InStream also as an event.
	Errors   map[llmtest.Failure]completion.Class
	InStream map[llmtest.Failure]completion.Class
	// NeedsEnd says that an answer without the format's last event is broken even if it has a finish reason.
	NeedsEnd bool
	// Unnamed says that the provider gives errors no name of the call.
	Unnamed bool
	// Secret is the credential that holds a key; nil is the key itself.
	Secret func(key string) string
	// Alive is a sign of life in a stream, as the bytes of a stream of some media type, for forms whose
	// streams are no server-sent events.
	Alive func(raw bool) (mediaType, bytes string)
}

// secret is the credential for a key.
func (a *Adapter) secret(key string) secret.Text {
	if a.Secret == nil {
		return secret.New(key)
	}
	return secret.New(a.Secret(key))
}

// Key is the key that calls are made with.
const Key = "sk-canary-0123456789abcdef"

// Answer is an answer, put together.
type Answer struct {
	Delta              completion.Delta
	Raw                string
	Finish             completion.FinishReason
	Usage              *completion.Usage
	Pieces, PieceBytes int
	Chunks             int
	Head               completion.AnswerHead
}

// Collect reads an answer to its end and returns what came, also if it broke off.
func Collect(a completion.Answer) (got Answer, err error) {
	for {
		chunk, err := a.Next()
		if err != nil {
			if chunk.Usage != nil { // what failed says what it took
				got.Usage = chunk.Usage
			}
			got.Head = a.Head()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return got, err
		}
		got.Chunks++
		got.Raw += string(chunk.Raw)
		got.Delta.Text += chunk.Delta.Text
		got.Delta.Reasoning += chunk.Delta.Reasoning
		got.Delta.Refusal += chunk.Delta.Refusal
		for _, c := range chunk.Delta.ToolCalls {
			for len(got.Delta.ToolCalls) <= c.Index {
				got.Delta.ToolCalls = append(got.Delta.ToolCalls, completion.ToolCallDelta{Index: len(got.Delta.ToolCalls)})
			}
			call := &got.Delta.ToolCalls[c.Index]
			call.ID += c.ID
			call.Name += c.Name
			call.Arguments += c.Arguments
		}
		got.Pieces += chunk.Pieces
		got.PieceBytes += chunk.PieceBytes
		if chunk.Finish != "" {
			got.Finish = chunk.Finish
		}
		if chunk.Usage != nil {
			got.Usage = chunk.Usage
		}
	}
}

// Converted returns a call whose prompt is converted, for a script.
func Converted(baseURL, model string, stream bool, s llmtest.Script) completion.Call {
	return completion.Call{
		AttemptID: "att_1", Model: model, BaseURL: baseURL, Secret: secret.New(Key),
		Request: &completion.Request{
			ID: "req_1", Dialect: completion.Typed, Stream: stream, IncludeUsage: true,
			Decode: func() (*completion.Prompt, error) {
				return &completion.Prompt{
					Messages: []completion.Message{{Role: completion.User, Parts: []completion.Part{{Text: s.String() + " please"}}}},
				}, nil
			},
		},
	}
}

// converted is Converted with the adapter's model and credential.
func (a *Adapter) converted(baseURL string, stream bool, s llmtest.Script) completion.Call {
	call := Converted(baseURL, a.Model, stream, s)
	call.Secret = a.secret(Key)
	return call
}

// rig is an adapter with a scripted provider.
type rig struct {
	Adapter
	server   *llmtest.Server
	provider completion.Provider
	dials    atomic.Int64
}

func newRig(t *testing.T, a Adapter) *rig {
	t.Helper()
	r := &rig{Adapter: a, server: llmtest.New(t)}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		r.dials.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	r.provider = a.New(transport)
	return r
}

// call returns a call for a script.
func (r *rig) call(stream bool, s llmtest.Script) completion.Call {
	call := r.converted(r.BaseURL(r.server), stream, s)
	if r.MaxOutputTokens == 0 {
		return call
	}
	decode := call.Request.Decode
	call.Request.Decode = func() (*completion.Prompt, error) {
		p, err := decode()
		p.MaxOutputTokens = &r.MaxOutputTokens
		return p, err
	}
	return call
}

// play makes a call and returns its answer, or how it failed.
func (r *rig) play(t *testing.T, stream bool, s llmtest.Script) (Answer, error) {
	t.Helper()
	answer, err := r.provider.Start(t.Context(), r.call(stream, s))
	if err != nil {
		return Answer{}, err
	}
	defer answer.Close() //nolint:errcheck // a test
	return Collect(answer)
}

// failure returns the provider error of a call that must have failed.
func failure(t *testing.T, what string, err error) *completion.ProviderError {
	t.Helper()
	var failed *completion.ProviderError
	if !errors.As(err, &failed) {
		t.Fatalf("%s: error %v, want a ProviderError", what, err)
	}
	return failed
}

// Run shows that an adapter keeps its promises.
func Run(t *testing.T, a Adapter) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Adapter){
		"AnswersAreCarried":           answersAreCarried,
		"UsageIsMapped":               usageIsMapped,
		"ToolCallsAreCarried":         toolCallsAreCarried,
		"ErrorStatusesAreClassified":  errorStatusesAreClassified,
		"ErrorEventsAreClassified":    errorEventsAreClassified,
		"CutAnswersAreNeverComplete":  cutAnswersAreNeverComplete,
		"EndsAreToldApart":            endsAreToldApart,
		"SecretsAreTakenOut":          secretsAreTakenOut,
		"CloseEndsAPendingNext":       closeEndsAPendingNext,
		"ContextEndsACall":            contextEndsACall,
		"ConnectionsServeAgain":       connectionsServeAgain,
		"UnknownUsageIsNotZero":       unknownUsageIsNotZero,
		"PromptFaultsAreNotSent":      promptFaultsAreNotSent,
		"KeysAreTested":               keysAreTested,
		"RedirectsAreNotFollowed":     redirectsAreNotFollowed,
		"NonsenseIsAProvidersFailure": nonsenseIsAProvidersFailure,
		"SignsOfLifeAreSeen":          signsOfLifeAreSeen,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, a)
		})
	}
}

func answersAreCarried(t *testing.T, a Adapter) {
	r := newRig(t, a)
	text := "One, two. \"Three\" \\ ünïcode 🔑 end"
	for _, stream := range []bool{false, true} {
		for _, s := range []llmtest.Script{
			{Text: text},
			{Text: text, Split: 1, CRLF: true, Pings: true},
			{Text: text, Split: 7, Early: true},
		} {
			what := fmt.Sprintf("stream %v, %s", stream, s)
			got, err := r.play(t, stream, s)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if got.Delta.Text != text || got.Finish != completion.Stop || got.Usage == nil || !got.Usage.Final {
				t.Errorf("%s: %+v", what, got)
			}
			if want := len(strings.Fields(text)); stream && (got.Pieces != want || got.PieceBytes < len(text)) {
				t.Errorf("%s: %d pieces of %d bytes, want %d of at least %d", what, got.Pieces, got.PieceBytes, want, len(text))
			}
			if got.Head.Status != 200 || got.Head.Model == "" || got.Head.RequestID == "" {
				t.Errorf("%s: head %+v", what, got.Head)
			}
		}
	}
	huge, err := r.play(t, true, llmtest.Script{Tokens: 2, Huge: 1 << 20})
	if err != nil || len(huge.Delta.Text) < 1<<20 {
		t.Errorf("huge event: %d bytes, %v", len(huge.Delta.Text), err)
	}
	for _, e := range r.server.Ledger() {
		if e.ClientRequestID != "att_1" || e.KeyHash != llmtest.HashKey(Key) {
			t.Fatalf("the provider saw %+v", e)
		}
	}
}

func usageIsMapped(t *testing.T, a Adapter) {
	r := newRig(t, a)
	for _, stream := range []bool{false, true} {
		for _, s := range []llmtest.Script{
			{Tokens: 3, Input: 50},
			{Tokens: 3, Input: 500, Cached: 100, CacheWrite: 30, Reasoning: 40},
			{Tokens: 3, Input: 500, Cached: 100, CacheWrite: 30, CacheWrite1h: 7, Reasoning: 40, Think: true, Output: 60},
		} {
			got, err := r.play(t, stream, s)
			if err != nil || got.Usage == nil {
				t.Fatalf("stream %v, %s: %+v, %v", stream, s, got, err)
			}
			declared := llmtest.Usage{
				Input: s.Input, Cached: s.Cached, CacheWrite: s.CacheWrite, CacheWrite1h: s.CacheWrite1h,
				Output: s.Output, Reasoning: s.Reasoning,
			}
			if declared.Output == 0 {
				declared.Output = s.Tokens + s.Reasoning
			}
			if diff := cmp.Diff(a.Usage(declared), got.Usage.Tokens); diff != "" {
				t.Errorf("stream %v, %s: tokens (-want +got):\n%s", stream, s, diff)
			}
			if s.Think && got.Delta.Reasoning == "" {
				t.Errorf("stream %v, %s: no reasoning text", stream, s)
			}
		}
	}
}

func toolCallsAreCarried(t *testing.T, a Adapter) {
	r := newRig(t, a)
	for _, stream := range []bool{false, true} {
		got, err := r.play(t, stream, llmtest.Script{Text: "let me look", Tool: "look_up", Args: `{"q":"a \"b\"","n":[1,2]}`, Calls: 2, Reasoning: 3})
		if err != nil {
			t.Fatal(err)
		}
		calls := got.Delta.ToolCalls
		if got.Delta.Text != "let me look" || got.Finish != completion.ToolCalls || len(calls) != 2 {
			t.Fatalf("stream %v: %+v", stream, got)
		}
		for i, c := range calls {
			if c.Index != i || c.Name != "look_up" || c.Arguments != `{"q":"a \"b\"","n":[1,2]}` || c.ID == "" {
				t.Errorf("stream %v: call %d is %+v", stream, i, c)
			}
		}
		if calls[0].ID == calls[1].ID {
			t.Errorf("stream %v: both calls have the id %s", stream, calls[0].ID)
		}
	}
}

func errorStatusesAreClassified(t *testing.T, a Adapter) {
	r := newRig(t, a)
	for name, want := range a.Errors {
		for _, stream := range []bool{false, true} {
			_, err := r.play(t, stream, llmtest.Script{Error: name, RetryAfter: 3 * time.Second})
			failed := failure(t, string(name), err)
			if failed.Class != want {
				t.Errorf("%s: class %s, want %s (%v)", name, failed.Class, want, failed)
			}
			if failed.Status < 400 || !failed.Sent || !failed.Unbilled || failed.RetryAfter != 3*time.Second || (failed.RequestID == "") != a.Unnamed || failed.Message == "" {
				t.Errorf("%s: %+v", name, failed)
			}
			if strings.Contains(failed.Message, "<html>") {
				t.Errorf("%s: message %q", name, failed.Message)
			}
		}
	}
}

func errorEventsAreClassified(t *testing.T, a Adapter) {
	r := newRig(t, a)
	for name, want := range a.InStream {
		for _, at := range []int{0, 1, 3} {
			for _, split := range []int{0, 5} {
				what := fmt.Sprintf("%s after %d, split %d", name, at, split)
				got, err := r.play(t, true, llmtest.Script{Tokens: 9, Error: name, InStream: true, At: at, Split: split})
				failed := failure(t, what, err)
				if failed.Class != want || failed.Unbilled || !failed.Sent {
					t.Errorf("%s: %+v, want class %s", what, failed, want)
				}
				if got.Pieces != at {
					t.Errorf("%s: %d pieces came before", what, got.Pieces)
				}
			}
		}
	}
}

// cutAnswersAreNeverComplete cuts a stream at every byte.
func cutAnswersAreNeverComplete(t *testing.T, a Adapter) {
	r := newRig(t, a)
	s := llmtest.Script{Tokens: 3, Tool: "f", Args: `{}`}
	if _, err := r.play(t, true, s); err != nil {
		t.Fatal(err)
	}
	size := r.server.Ledger()[0].Bytes
	if size == 0 {
		size = Ended(t, r.server, 1).Bytes
	}
	for cut := 1; cut < size; cut += 3 {
		s.CutBytes, s.Reset = cut, cut%2 == 0
		got, err := r.play(t, true, s)
		if err == nil {
			t.Fatalf("cut after %d of %d bytes: the answer is complete: %+v", cut, size, got)
		}
	}
	for _, stream := range []bool{false, true} {
		_, err := r.play(t, stream, llmtest.Script{Tokens: 20, CutBytes: 200})
		failed := failure(t, "cut", err)
		if !failed.Sent || failed.Unbilled || !failed.Class.MayMoveOn() {
			t.Errorf("cut, stream %v: %+v", stream, failed)
		}
	}
}

// Ended waits until the provider's ledger has the end of the n-th call.
func Ended(t *testing.T, s *llmtest.Server, n int) llmtest.Entry {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if all := s.Ledger(); len(all) >= n && all[n-1].Done {
			return all[n-1]
		}
		<-time.After(time.Millisecond) // polls with a deadline
	}
	t.Fatalf("call %d has not ended at the provider", n)
	return llmtest.Entry{}
}

func endsAreToldApart(t *testing.T, a Adapter) {
	r := newRig(t, a)
	if _, err := r.play(t, true, llmtest.Script{NoFinish: true}); err == nil {
		t.Error("an end without a finish reason is complete")
	}
	_, err := r.play(t, true, llmtest.Script{NoDone: true})
	if a.NeedsEnd != (err != nil) {
		t.Errorf("an end with a finish reason and without the last event: error %v", err)
	}
	for reason, want := range map[string]completion.FinishReason{
		"length": completion.Length, "content_filter": completion.ContentFilter, "a_new_one": completion.Stop,
	} {
		for _, stream := range []bool{false, true} {
			if got, err := r.play(t, stream, llmtest.Script{Finish: reason}); err != nil || got.Finish != want {
				t.Errorf("finish %s, stream %v: %q, %v", reason, stream, got.Finish, err)
			}
		}
	}
}

func secretsAreTakenOut(t *testing.T, a Adapter) {
	r := newRig(t, a)
	for _, s := range []llmtest.Script{
		{Error: llmtest.ErrAuth, Echo: true},
		{Error: llmtest.ErrServer, Message: "sent Bearer " + Key + " and " + strings.Repeat("x", 5000), Echo: true},
		{Error: llmtest.ErrServer, Type: Key, Code: Key},
	} {
		for _, at := range []bool{false, true} {
			s.InStream = at
			_, err := r.play(t, true, s)
			failed := failure(t, s.String(), err)
			if all := fmt.Sprintf("%+v %v", failed, err); strings.Contains(all, Key) {
				t.Errorf("%s: the key is in %s", s, all)
			}
			if len(failed.Message) > 2048 {
				t.Errorf("%s: message of %d bytes", s, len(failed.Message))
			}
		}
	}
}

func closeEndsAPendingNext(t *testing.T, a Adapter) {
	r := newRig(t, a)
	for _, stream := range []bool{false, true} {
		s := llmtest.Script{Tokens: 1000, Delay: time.Second, Early: true}
		if !stream {
			s = llmtest.Script{Hang: true}
		}
		ctx, cancel := context.WithCancel(t.Context())
		answer, err := start(ctx, r, stream, s, cancel)
		if err != nil {
			continue // a hanging call that is not streamed ends in Start
		}
		ended := make(chan error, 1)
		go func() {
			_, err := Collect(answer)
			ended <- err
		}()
		if err := answer.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err == nil {
			t.Error("an answer that was closed is complete")
		}
		cancel()
	}
}

// start begins a call; one that is not streamed is canceled once the provider has it.
func start(ctx context.Context, r *rig, stream bool, s llmtest.Script, cancel func()) (completion.Answer, error) {
	if !stream {
		before := len(r.server.Ledger())
		go func() {
			for len(r.server.Ledger()) == before {
				<-time.After(time.Millisecond) // the call comes, or the test times out
			}
			cancel()
		}()
	}
	return r.provider.Start(ctx, r.call(stream, s))
}

func contextEndsACall(t *testing.T, a Adapter) {
	r := newRig(t, a)
	for _, stream := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := start(ctx, r, false, llmtest.Script{Hang: true}, cancel)
		failed := failure(t, "canceled", err)
		if !errors.Is(err, context.Canceled) || !failed.Sent {
			t.Errorf("stream %v: canceled before an answer: %v, %+v", stream, err, failed)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	answer, err := r.provider.Start(ctx, r.converted(r.BaseURL(r.server), true, llmtest.Script{Tokens: 1000, Delay: time.Millisecond}))
	if err == nil {
		_, err = Collect(answer)
		_ = answer.Close()
	}
	if failed := failure(t, "late", err); !errors.Is(err, context.DeadlineExceeded) || failed.Class != completion.TimedOut {
		t.Errorf("deadline: %v", err)
	}
}

func connectionsServeAgain(t *testing.T, a Adapter) {
	r := newRig(t, a)
	for range 20 {
		for _, stream := range []bool{false, true} {
			if _, err := r.play(t, stream, llmtest.Script{Tokens: 5}); err != nil {
				t.Fatal(err)
			}
			if _, err := r.play(t, stream, llmtest.Script{Error: llmtest.ErrRateLimit}); err == nil {
				t.Fatal("no error")
			}
		}
	}
	if got := r.dials.Load(); got > 3 {
		t.Errorf("%d connections for 80 calls, one after the other", got)
	}
}

// signsOfLifeAreSeen: a model that thinks for minutes sends pings, and must not look as if it hung.
func signsOfLifeAreSeen(t *testing.T, a Adapter) {
	for _, raw := range []bool{false, true} {
		server := &pings{kind: "text/event-stream", bytes: ": keep-alive\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n"}
		if a.Alive != nil {
			server.kind, server.bytes = a.Alive(raw)
		}
		p := a.New(server)
		call := a.converted("http://provider.invalid", true, llmtest.Script{})
		call.Raw, call.Request.Raw = raw, []byte(`{"model":"x"}`)
		answer, err := p.Start(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if chunk, err := answer.Next(); err != nil || chunk.Content {
				t.Fatalf("raw %v: chunk %+v, %v", raw, chunk, err)
			}
		}
		_ = answer.Close()
	}
}

// pings is a provider that sends nothing but signs of life, for ever.
type pings struct{ kind, bytes string }

func (p *pings) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {p.kind}}, Body: io.NopCloser(&endless{p.bytes, 0}), ContentLength: -1}, nil
}

// endless is a text again and again.
type endless struct {
	text string
	at   int
}

func (e *endless) Read(b []byte) (int, error) {
	n := copy(b, e.text[e.at:])
	e.at = (e.at + n) % len(e.text)
	return n, nil
}

func unknownUsageIsNotZero(t *testing.T, a Adapter) {
	r := newRig(t, a)
	for _, stream := range []bool{false, true} {
		got, err := r.play(t, stream, llmtest.Script{NoUsage: true})
		if err != nil || got.Usage != nil || got.PieceBytes == 0 {
			t.Errorf("stream %v: usage %+v, %d bytes, %v", stream, got.Usage, got.PieceBytes, err)
		}
	}
}

func promptFaultsAreNotSent(t *testing.T, a Adapter) {
	r := newRig(t, a)
	call := r.converted(r.BaseURL(r.server), true, llmtest.Script{})
	call.Request.Decode = func() (*completion.Prompt, error) { return nil, completion.ErrUnsupported }
	if _, err := r.provider.Start(t.Context(), call); !errors.Is(err, completion.ErrUnsupported) {
		t.Errorf("error %v", err)
	}
	if len(r.server.Ledger()) != 0 {
		t.Error("a prompt that cannot be carried was sent")
	}
}

func keysAreTested(t *testing.T, a Adapter) {
	r := newRig(t, a)
	for key, want := range map[string]string{
		Key:                              "active",
		"sk-invalid-0123456789":          "rejected",
		Key + "+script:error=scopes":     "degraded",
		Key + "+script:error=forbidden":  "degraded",
		Key + "+script:error=rate_limit": "",
		Key + "+script:error=server":     "",
		Key + "+script:error=gateway":    "",
	} {
		got := r.provider.Test(t.Context(), completion.Place{BaseURL: r.BaseURL(r.server), Secret: a.secret(key)})
		if got.State != want || got.Reason == "" || strings.Contains(got.Reason, key) {
			t.Errorf("Test(%s) = %+v, want state %q", key, got, want)
		}
	}
	if got := r.provider.Test(t.Context(), completion.Place{BaseURL: "http://127.0.0.1:1", Secret: a.secret(Key)}); got.State != "" || got.Reason == "" {
		t.Errorf("Test without a provider = %+v", got)
	}
	var calls atomic.Int64
	for _, status := range []int{200, 302, 404, 500} {
		page := a.New(fixed{status, http.Header{"Content-Type": {"text/html"}}, "<html>welcome</html>", &calls})
		if got := page.Test(t.Context(), completion.Place{BaseURL: "http://provider.invalid", Secret: a.secret(Key)}); got.State != "" || got.Reason == "" {
			t.Errorf("Test at a wrong address that answers %d = %+v", status, got)
		}
	}
}

// fixed is a provider that always answers the same.
type fixed struct {
	status int
	header http.Header
	body   string
	calls  *atomic.Int64
}

func (f fixed) RoundTrip(r *http.Request) (*http.Response, error) {
	f.calls.Add(1)
	return &http.Response{
		StatusCode: f.status, Header: f.header, Body: io.NopCloser(strings.NewReader(f.body)), ContentLength: -1, Request: r,
	}, nil
}

func redirectsAreNotFollowed(t *testing.T, a Adapter) {
	var calls atomic.Int64
	p := a.New(fixed{307, http.Header{"Location": {"http://elsewhere.invalid/"}}, "", &calls})
	_, err := p.Start(t.Context(), a.converted("http://provider.invalid", true, llmtest.Script{}))
	if failed := failure(t, "redirect", err); failed.Class != completion.ServerError || calls.Load() != 1 {
		t.Errorf("%+v after %d calls", failed, calls.Load())
	}
}

func nonsenseIsAProvidersFailure(t *testing.T, a Adapter) {
	var calls atomic.Int64
	for _, body := range []string{
		"", "null", "{}", "[]", "<html></html>", "data: nonsense\n\n", "data: {}\n\n", "data: [1]\n\n", "event: error\ndata: nonsense\n\n",
		`{"error":"out of order"}`, `{"error":{"message":7}}`, "data: {\"error\":\"out of order\"}\n\n",
	} {
		for kind, stream := range map[string]bool{"application/json": false, "text/event-stream": true, "text/html": true} {
			what := fmt.Sprintf("%q as %s", body, kind)
			p := a.New(fixed{200, http.Header{"Content-Type": {kind}}, body, &calls})
			answer, err := p.Start(t.Context(), a.converted("http://provider.invalid", stream, llmtest.Script{}))
			if err == nil {
				_, err = Collect(answer)
				_ = answer.Close()
			}
			if failed := failure(t, what, err); !failed.Sent || failed.Unbilled || failed.Message == "" {
				t.Errorf("%s: %+v", what, failed)
			}
		}
	}
}

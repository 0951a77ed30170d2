package provider_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
)

func TestScrubTakesOutSecrets(t *testing.T) {
	t.Parallel()
	key := secret.New("my odd key")
	for text, want := range map[string]string{
		"Incorrect API key provided: my odd key.":         "Incorrect API key provided: [removed].",
		"key sk-proj-abcdef0123 is wrong":                 "key [removed] is wrong",
		"Incorrect API key provided: sk-llmt****cdef. Go": "Incorrect API key provided: [removed] Go",
		"sent Authorization: Bearer abc.def/ghi now":      "sent Authorization: [removed] now",
		"bearer x": "[removed]",
		"token 0123456789abcdefABCDEF0123456789 leaked":         "token [removed] leaked",
		"clv_live_0123456789_abc":                               "[removed]",
		"The model `gpt-4o-mini-2024-07-18` does not exist":     "The model `gpt-4o-mini-2024-07-18` does not exist",
		"max_completion_tokens is too large: risk-free desk-to": "max_completion_tokens is too large: risk-free desk-to",
		"bad\x00byte\xff\x1b[31m":                               "badbyte[31m",
	} {
		if got := provider.Scrub(text, key); got != want {
			t.Errorf("Scrub(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestScrubBoundsBeforeAndAfter(t *testing.T) {
	t.Parallel()
	key := secret.New("canary-0123456789")
	// The key lies across the cut.
	got := provider.Scrub(strings.Repeat("é ", 680)+"12345 canary-0123456789 "+strings.Repeat("é ", 1<<20), key)
	if len(got) > 2048 || strings.Contains(got, "canary") {
		t.Errorf("%d bytes, end %q", len(got), got[len(got)-40:])
	}
	// Half of the key lies before the first cut, which is at 32 KiB, and all before it shrinks.
	got = provider.Scrub(strings.Repeat("0123456789", 3276)+" canary-0123456789", key)
	if got != "[removed] " {
		t.Errorf("half a key is left: %q", got)
	}
}

func FuzzScrub(f *testing.F) {
	f.Add("x canary-0123456789 y", 3)
	f.Fuzz(func(t *testing.T, text string, at int) {
		key := "canary-0123456789"
		if at < 0 || at > len(text) {
			return
		}
		got := provider.Scrub(text[:at]+key+text[at:], secret.New(key))
		if strings.Contains(got, key) || len(got) > 2048 {
			t.Fatalf("Scrub leaves %q", got)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		header map[string]string
		want   time.Duration
	}{
		"nothing":               {nil, 0},
		"seconds":               {map[string]string{"Retry-After": "7"}, 7 * time.Second},
		"fraction":              {map[string]string{"Retry-After": "0.5"}, 500 * time.Millisecond},
		"milliseconds first":    {map[string]string{"Retry-After": "2", "Retry-After-Ms": "1500"}, 1500 * time.Millisecond},
		"date":                  {map[string]string{"Retry-After": "Sun, 22 Nov 2026 10:00:30 GMT"}, 30 * time.Second},
		"past date":             {map[string]string{"Retry-After": "Sun, 22 Nov 2026 09:00:30 GMT"}, 0},
		"negative":              {map[string]string{"Retry-After": "-5"}, 0},
		"too long":              {map[string]string{"Retry-After": "1e30"}, 10 * time.Minute},
		"infinite":              {map[string]string{"Retry-After": "Inf"}, 10 * time.Minute},
		"no number":             {map[string]string{"Retry-After": "NaN"}, 0},
		"nonsense":              {map[string]string{"Retry-After": "soon"}, 0},
		"openai exhausted":      {map[string]string{"X-Ratelimit-Remaining-Tokens": "0", "X-Ratelimit-Reset-Tokens": "6m0s"}, 6 * time.Minute},
		"openai not exhausted":  {map[string]string{"X-Ratelimit-Remaining-Tokens": "5", "X-Ratelimit-Reset-Tokens": "6m0s"}, 0},
		"openai latest":         {map[string]string{"X-Ratelimit-Remaining-Tokens": "0", "X-Ratelimit-Reset-Tokens": "20ms", "X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Reset-Requests": "1s"}, time.Second},
		"plain seconds":         {map[string]string{"X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Reset-Requests": "12"}, 12 * time.Second},
		"anthropic":             {map[string]string{"Anthropic-Ratelimit-Requests-Remaining": "0", "Anthropic-Ratelimit-Requests-Reset": "2026-11-22T10:00:09Z"}, 9 * time.Second},
		"anthropic has remains": {map[string]string{"Anthropic-Ratelimit-Requests-Remaining": "1", "Anthropic-Ratelimit-Requests-Reset": "2026-11-22T10:00:09Z"}, 0},
	} {
		h := http.Header{}
		for key, value := range test.header {
			h.Set(key, value)
		}
		if got := provider.RetryAfter(h, now); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("7", "1s")
	f.Add("Sun, 22 Nov 2026 10:00:30 GMT", "")
	f.Fuzz(func(t *testing.T, after, reset string) {
		h := http.Header{"Retry-After": {after}, "X-Ratelimit-Remaining-Tokens": {"0"}, "X-Ratelimit-Reset-Tokens": {reset}}
		if got := provider.RetryAfter(h, time.Now()); got < 0 || got > 10*time.Minute {
			t.Fatalf("RetryAfter = %v", got)
		}
	})
}

// transport is an http.RoundTripper out of a function.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func outgoing() provider.Outgoing {
	return provider.Outgoing{
		Method: http.MethodPost, URL: "http://provider.invalid/v1/x", Body: []byte(`{}`), AttemptID: "att_1", Stream: true,
		Auth: provider.Bearer(secret.New("sk-1")),
	}
}

func TestOnlyOurHeadersGoOut(t *testing.T) {
	t.Parallel()
	var got http.Header
	client := provider.NewClient(transport(func(r *http.Request) (*http.Response, error) {
		got = r.Header
		return &http.Response{StatusCode: 200, Header: http.Header{"X-Request-Id": {"req\x00_1"}}, Body: http.NoBody}, nil
	}))
	res, err := client.Send(t.Context(), outgoing())
	if err != nil {
		t.Fatal(err)
	}
	if res.RequestID() != "req_1" {
		t.Errorf("RequestID = %q", res.RequestID())
	}
	want := http.Header{
		"User-Agent": {"claviger/1"}, "Accept-Encoding": {"identity"}, "Accept": {"text/event-stream"},
		"Content-Type": {"application/json"}, "X-Client-Request-Id": {"att_1"}, "Authorization": {"Bearer sk-1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestDialErrorsAreNotSent(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := "http://" + l.Addr().String()
	_ = l.Close()
	client := provider.NewClient(&http.Transport{})
	for url, want := range map[string]string{
		refused:               "the provider refused the connection",
		"http://::bad":        "the provider's address is malformed",
		"ftp://provider.test": "the connection to the provider failed",
	} {
		out := outgoing()
		out.URL = url
		_, err := client.Send(t.Context(), out)
		var failed *completion.ProviderError
		if !errors.As(err, &failed) || failed.Sent || failed.Class != completion.Network || failed.Message != want || failed.Unbilled {
			t.Errorf("%s: %+v (%v)", url, failed, err)
		}
	}
}

// TestWhatMayHaveBeenSentIsSent: a call that is ended between its connection and the word that it was written may have
// reached its provider, who takes money for it.
func TestWhatMayHaveBeenSentIsSent(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken pipe")
	for name, test := range map[string]struct {
		play func(*httptrace.ClientTrace)
		want bool
	}{
		"no connection":          {func(*httptrace.ClientTrace) {}, false},
		"ended while it is sent": {func(c *httptrace.ClientTrace) { c.GotConn(httptrace.GotConnInfo{}) }, true},
		"written, and then ended": {func(c *httptrace.ClientTrace) {
			c.GotConn(httptrace.GotConnInfo{})
			c.WroteRequest(httptrace.WroteRequestInfo{})
		}, true},
		"could not be written": {func(c *httptrace.ClientTrace) {
			c.GotConn(httptrace.GotConnInfo{})
			c.WroteRequest(httptrace.WroteRequestInfo{Err: broken})
		}, false},
		"another one is being sent": {func(c *httptrace.ClientTrace) {
			c.GotConn(httptrace.GotConnInfo{})
			c.WroteRequest(httptrace.WroteRequestInfo{Err: broken})
			c.GotConn(httptrace.GotConnInfo{})
		}, true},
	} {
		client := provider.NewClient(transport(func(r *http.Request) (*http.Response, error) {
			test.play(httptrace.ContextClientTrace(r.Context()))
			return nil, context.Canceled
		}))
		_, err := client.Send(t.Context(), provider.Outgoing{Method: http.MethodPost, URL: "https://x.example/", Body: []byte("{}")})
		if e, ok := errors.AsType[*completion.ProviderError](err); !ok || e.Sent != test.want {
			t.Errorf("%s: %+v, want sent: %v", name, err, test.want)
		}
	}
}

func TestConnectionsThatCloseAfterTheRequestAreSent(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		var b [4096]byte
		_, _ = conn.Read(b[:])
		_ = conn.Close()
	}()
	out := outgoing()
	out.URL = "http://" + l.Addr().String()
	_, err = provider.NewClient(&http.Transport{}).Send(t.Context(), out)
	var failed *completion.ProviderError
	if !errors.As(err, &failed) || !failed.Sent || failed.Class != completion.Network {
		t.Errorf("%+v (%v)", failed, err)
	}
}

func TestEndOfTheContextIsInTheError(t *testing.T) {
	t.Parallel()
	client := provider.NewClient(transport(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}))
	idle := errors.New("first byte too late")
	canceled, cancel := context.WithCancelCause(t.Context())
	cancel(idle)
	_, err := client.Send(canceled, outgoing())
	var failed *completion.ProviderError
	if !errors.Is(err, context.Canceled) || !errors.Is(err, idle) || !errors.As(err, &failed) || failed.Sent {
		t.Errorf("canceled: %v", err)
	}
	late, stop := context.WithTimeout(t.Context(), time.Millisecond)
	defer stop()
	_, err = client.Send(late, outgoing())
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &failed) || failed.Class != completion.TimedOut {
		t.Errorf("deadline: %v", err)
	}
}

func TestRefusalsOfTheWayOutAreExplained(t *testing.T) {
	t.Parallel()
	refused := fault.New(fault.Denied, "EGRESS_REFUSED", "the address is not allowed")
	client := provider.NewClient(transport(func(*http.Request) (*http.Response, error) { return nil, refused }))
	_, err := client.Send(t.Context(), outgoing())
	var failed *completion.ProviderError
	if !errors.As(err, &failed) || failed.Message != "the address is not allowed" {
		t.Errorf("%v", err)
	}
}

func TestCompressedAnswersAreRefused(t *testing.T) {
	t.Parallel()
	client := provider.NewClient(transport(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Encoding": {"gzip"}}, Body: http.NoBody}, nil
	}))
	_, err := client.Send(t.Context(), outgoing())
	var failed *completion.ProviderError
	if !errors.As(err, &failed) || failed.Class != completion.ServerError {
		t.Errorf("%v", err)
	}
}

// endless gives zeros for ever.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }
func (endless) Close() error               { return nil }

func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	client := provider.NewClient(transport(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: endless{}, ContentLength: -1}, nil
	}))
	res, err := client.Send(t.Context(), outgoing())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := res.Whole(); err == nil {
		t.Error("an endless answer was read")
	}
	if got := len(res.ErrorBody()); got != 64<<10 {
		t.Errorf("%d bytes of an endless error", got)
	}
	if err := res.Finish(); err != nil {
		t.Error(err)
	}
}

// stuck never gives anything until it is closed.
type stuck struct{ closed chan struct{} }

func (s stuck) Read([]byte) (int, error) { <-s.closed; return 0, io.EOF }

func (s stuck) Close() error {
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	return nil
}

func TestFinishDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	client := provider.NewClient(transport(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: stuck{make(chan struct{})}}, nil
	}))
	res, err := client.Send(t.Context(), outgoing())
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Finish(); err != nil {
		t.Error(err)
	}
}

func TestEverySecretOfACallIsTakenOut(t *testing.T) {
	t.Parallel()
	key := provider.Together(secret.New("one.of-them"), secret.Text{}, secret.New("an.other-one"))
	if got := provider.Scrub("a one.of-them b an.other-one c", key); got != "a [removed] b [removed] c" {
		t.Errorf("Scrub() = %q", got)
	}
	for _, begun := range []string{"one.of-the", "an.other-on"} { // where a long text is cut
		text := strings.Repeat("- ", 16<<10-len(begun)/2) + strings.Repeat(" ", len(begun)%2)
		if got := provider.Scrub(text[len(begun)%2*2:]+begun+"###", key); strings.Contains(got, begun[:6]) {
			t.Errorf("half of a secret is left in %q", got[len(got)-40:])
		}
	}
}

// TestANameOfACallThatHoldsTheKeyIsNone: a server that repeats the key as the name of the call would bring it
// into answers and accounts.
func TestANameOfACallThatHoldsTheKeyIsNone(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"req_1": "req_1", "a sk-canary-0123 b": "", "sk-can\x00ary-0123": "", strings.Repeat("x", 120) + "sk-canary-0123": "",
		"second-0123": "", strings.Repeat("y", 200): strings.Repeat("y", 128),
	} {
		client := provider.NewClient(transport(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{"X-Request-Id": {name}}, Body: http.NoBody}, nil
		}))
		out := outgoing()
		out.Auth = provider.Bearer(provider.Together(secret.New("sk-canary-0123"), secret.New("second-0123")))
		res, err := client.Send(t.Context(), out)
		if err != nil {
			t.Fatal(err)
		}
		if got := res.RequestID(); got != want {
			t.Errorf("RequestID of %q = %q, want %q", name, got, want)
		}
	}
}

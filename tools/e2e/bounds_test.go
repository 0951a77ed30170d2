package e2e_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/claviger/claviger/pkg/llmtest"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/tools/e2e/cluster"
)

// The bounds that callers meet.
const (
	bodyBound    = 20 << 20 // of a body at OpenAI's edge
	messageBound = 24 << 20 // of a message of the typed API
	prompt       = `"messages":[{"role":"user","content":"hi"}]`
)

// raw opens a connection below any HTTP client.
func raw(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// begin sends the head of a request to path, and what else there is.
func (w *edge) begin(t *testing.T, path, key, headers, body string) net.Conn {
	t.Helper()
	conn := raw(t, w.BaseURL)
	_, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\n%s\r\n%s", path, key, headers, body)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// answered reads the answer of a connection that has to come in time.
func answered(t *testing.T, conn net.Conn, within time.Duration) reply {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(within))
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no answer within %s: %v", within, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(body)}
}

// stillServes completes once, as everybody else would.
func (w *edge) stillServes(t *testing.T, after string) {
	t.Helper()
	begun := time.Now()
	got := w.post(t, "/v1/chat/completions", w.keys["acme"], chatBody("openai/gpt-4o-mini", "hi"))
	if took := time.Since(begun); got.status != http.StatusOK || took > 5*time.Second {
		t.Errorf("after %s: %d %s, in %s", after, got.status, got.body, took)
	}
}

func TestABodyBeyondTheBoundIsNotReadToItsEnd(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	tooLarge := refusal{413, "body_too_large", fmt.Sprint(bodyBound), "caller", "invalid_request_error", "", "shorten", nil}
	for _, declared := range []int64{bodyBound + 1, 1 << 40, 1<<63 - 1} {
		conn := w.begin(t, "/v1/chat/completions", w.keys["acme"], fmt.Sprintf("Content-Length: %d\r\n", declared), "")
		w.expect(t, fmt.Sprintf("%d bytes declared, none sent", declared), answered(t, conn, 5*time.Second), tooLarge)
	}

	conn := w.begin(t, "/v1/chat/completions", w.keys["acme"], "Transfer-Encoding: chunked\r\n", "")
	var sent atomic.Int64
	ended := make(chan struct{})
	go func() { // a body without an end
		defer close(ended)
		piece := fmt.Appendf(nil, "%x\r\n%s\r\n", 64<<10, strings.Repeat(" ", 64<<10))
		for sent.Load() < 1<<30 {
			n, err := conn.Write(piece)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	w.expect(t, "a body without an end", answered(t, conn, 20*time.Second), tooLarge)
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	<-ended
	if got := sent.Load(); got < bodyBound || got > bodyBound+(16<<20) { // what the kernel holds comes on top
		t.Errorf("%d bytes of a body without an end were taken, the bound is %d", got, bodyBound)
	}

	fits := `{"model":"openai/gpt-4o-mini",` + prompt + `,"user":"u"`
	fits += strings.Repeat(" ", bodyBound-len(fits)-1) + "}"
	if got := w.post(t, "/v1/chat/completions", w.keys["acme"], fits); got.status != http.StatusOK {
		t.Errorf("a body of exactly the bound: %d %s", got.status, got.body)
	}
	w.expect(t, "one byte more", w.post(t, "/v1/chat/completions", w.keys["acme"], fits+" "), tooLarge)
	w.stillServes(t, "bodies beyond the bound")
}

func TestHeadersBeyondTheBoundAreRefused(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	long := strings.Repeat("x", 40<<10)
	for name, head := range map[string]string{
		"one header":   "GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Long: " + long + "\r\n\r\n",
		"many headers": "GET /v1/models HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-Short: 0123456789\r\n", 3000) + "\r\n",
		"the path":     "GET /v1/models/" + long + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"the key":      "GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + long + "\r\n\r\n",
		"without end":  "GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Long: " + long, // no line end ever comes
	} {
		conn := raw(t, w.BaseURL)
		if _, err := conn.Write([]byte(head)); err != nil {
			t.Fatal(err)
		}
		if got := answered(t, conn, 5*time.Second); got.status != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: %d %s, want 431", name, got.status, got.body)
		}
	}
	for name, client := range w.dial(t) {
		ctx := metadata.AppendToOutgoingContext(bearer(t.Context(), w.keys["acme"]), "x-long", long)
		if _, err := client.ListModels(ctx, &routerv1.ListModelsRequest{}); err == nil {
			t.Errorf("%s: 40 KiB of metadata were taken", name)
		}
		if _, err := client.ListModels(bearer(t.Context(), w.keys["acme"]), &routerv1.ListModelsRequest{}); err != nil {
			t.Errorf("%s: after too much metadata: %v", name, err)
		}
	}
}

func TestOddShapesOfJSONAreAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	deep := func(n int) string { return strings.Repeat(`[`, n) + strings.Repeat(`]`, n) }
	objects := strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000)
	many := strings.Repeat(`{"role":"user","content":"hi"},`, 100_000) + `{"role":"user","content":"hi"}`
	tooDeep := refusal{400, "malformed_json", "deep", "caller", "invalid_request_error", "", "JSON object", nil}
	ok := refusal{status: 200}
	for _, model := range []string{"openai/gpt-4o-mini", "policy/claude"} {
		head := `{"model":"` + model + `",`
		for name, c := range map[string]struct {
			body string
			want refusal
		}{
			"10,000 lists as messages":    {head + `"messages":` + deep(10_000) + `}`, tooDeep},
			"10,000 objects in a field":   {head + prompt + `,"x":` + objects + `}`, tooDeep},
			"a million lists, never shut": {head + `"messages":` + strings.Repeat("[", 1_000_000), tooDeep},
			"100,000 messages":            {head + `"messages":[` + many + `]}`, ok},
			"a key of a megabyte":         {head + `"` + strings.Repeat("k", 1<<20) + `":1`, refusal{400, "malformed_json", "byte", "caller", "", "", "JSON object", nil}},
		} {
			begun := time.Now()
			got := w.post(t, "/v1/chat/completions", w.keys["acme"], c.body)
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("%s, %s: took %s", model, name, took)
			}
			if c.want.status == http.StatusOK {
				if got.status != http.StatusOK {
					t.Errorf("%s, %s: %d %.300s", model, name, got.status, got.body)
				}
				continue
			}
			w.expect(t, model+", "+name, got, c.want)
		}
	}
	messages := make([]*routerv1.Message, 100_000)
	for i := range messages {
		messages[i] = typed("", "hi").GetMessages()[0]
	}
	for name, transport := range w.listeners(t) {
		w.typedError(t, name+", 100,000 messages", transport, w.keys["acme"], &routerv1.CompletionInput{Messages: messages}, connect.CodeInvalidArgument, "FIELDS_INVALID", "caller", "input.messages")
	}
	got := w.post(t, "/claviger.router.v1.CompletionService/Complete", w.keys["acme"], `{"input":`+strings.Repeat(`{"input":`, 10_000))
	if got.status != http.StatusBadRequest || !strings.Contains(got.body, "invalid_argument") {
		t.Errorf("deep JSON for the typed API: %d %.300s", got.status, got.body)
	}
}

func TestTagsAndSessionsAreBounded(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	tags := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf("k%d=v", i)
		}
		return strings.Join(list, ",")
	}
	invalid := func(says, hint string) refusal {
		return refusal{400, "tags_invalid", says, "caller", "invalid_request_error", "", hint, nil}
	}
	key64, value256 := strings.Repeat("k", 64), strings.Repeat("v", 256)
	for _, c := range []struct {
		name, tags, session, metadata string
		want                          refusal
	}{
		{"16 tags", tags(16), "", "", refusal{status: 200}},
		{"17 tags", tags(17), "", "", invalid("16 tags, this one has 17", "-")},
		{"16 and one in the body", tags(16), "", `{"other":"v"}`, invalid("16 tags, this one has 17", "-")},
		{"the longest", key64 + "=" + value256, value256, "", refusal{status: 200}},
		{"a key too long", key64 + "k=v", "", "", invalid("x-claviger-tags", "1 to 64 bytes")},
		{"a value too long", "k=" + value256 + "v", "", "", invalid("x-claviger-tags", "at most 256")},
		{"no value", "team", "", "", invalid("x-claviger-tags", "1 to 64 bytes")},
		{"no key", "=v", "", "", invalid("x-claviger-tags", "1 to 64 bytes")},
		{"a session too long", "", value256 + "v", "", invalid("x-claviger-session", "-")},
		{"17 in the body", "", "", `{"` + strings.ReplaceAll(strings.ReplaceAll(tags(17), "=", `":"`), ",", `","`) + `"}`, refusal{400, "invalid_field", "16 tags", "caller", "", "metadata", "-", nil}},
	} {
		body := `{"model":"openai/gpt-4o-mini",` + prompt
		if c.metadata != "" {
			body += `,"metadata":` + c.metadata
		}
		got := w.do(t, w.request(t, http.MethodPost, "/v1/chat/completions", body+"}", map[string]string{
			"Authorization": "Bearer " + w.keys["acme"], "x-claviger-tags": c.tags, "x-claviger-session": c.session,
		}))
		if c.want.status == http.StatusOK {
			if got.status != http.StatusOK {
				t.Errorf("%s: %d %s", c.name, got.status, got.body)
			}
			continue
		}
		w.expect(t, c.name, got, c.want)
	}
}

func TestMessagesOfTheTypedAPIAreBounded(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	if encoding.GetCompressor("gzip") == nil {
		t.Fatal("the client cannot compress")
	}
	huge := &routerv1.CompleteRequest{Input: typed("openai/gpt-4o-mini", strings.Repeat("x", messageBound+1))}
	for name, client := range w.dial(t) {
		ctx := bearer(t.Context(), w.keys["acme"])
		for form, options := range map[string][]grpc.CallOption{"plain": nil, "compressed": {grpc.UseCompressor("gzip")}} {
			_, err := client.Complete(ctx, huge, options...)
			if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "larger than") {
				t.Errorf("%s, %s: %.300v, want resource exhausted", name, form, err)
			}
		}
		if _, err := client.Complete(ctx, &routerv1.CompleteRequest{Input: typed("openai/gpt-4o-mini", strings.Repeat("x", 4<<20))}); err != nil {
			t.Errorf("%s: a prompt of 4 MiB: %v", name, err)
		}
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	for range 64 {
		_, _ = z.Write(bytes.Repeat([]byte(" "), 1<<20)) // to memory
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	req := w.request(t, http.MethodPost, "/claviger.router.v1.CompletionService/Complete", bomb.String(), map[string]string{
		"Authorization": "Bearer " + w.keys["acme"], "Content-Type": "application/json", "Content-Encoding": "gzip",
	})
	if got := w.do(t, req); got.status != http.StatusTooManyRequests || !strings.Contains(got.body, "resource_exhausted") {
		t.Errorf("64 MiB in %d bytes: %d %.300s", bomb.Len(), got.status, got.body)
	}
	w.stillServes(t, "messages beyond the bound")
}

// TestWhoSendsSlowlyIsCutOff holds connections open in the cheapest ways there are.
func TestWhoSendsSlowlyIsCutOff(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	const announced = "\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"
	garbage := "Authorization: Bearer garbage" + announced
	connect := "Authorization: Bearer garbage\r\nConnect-Protocol-Version: 1" + announced
	const soon, whole = 15 * time.Second, 70 * time.Second // whole: a body may take 60 s
	cases := map[string]struct {
		address, head, drip string
		within              time.Duration
	}{
		"nothing at all":                   {w.BaseURL, "", "", soon},
		"nothing at all, grpc":             {w.GRPCAddress, "", "", soon},
		"nothing at all, operations":       {w.OpsURL, "", "", soon},
		"a header a letter at a time":      {w.BaseURL, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-", "x", soon},
		"headers without end":              {w.BaseURL, "GET /v1/models HTTP/1.1\r\nHost: x\r\n", "X-A: b\r\n", soon},
		"half a preface, grpc":             {w.GRPCAddress, "PRI * HTT", "", soon},
		"a body that does not come":        {w.BaseURL, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" + garbage, "", soon},
		"a body a letter at a time":        {w.BaseURL, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" + garbage, " ", soon},
		"a body on a route that is not":    {w.BaseURL, "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\n" + garbage, " ", soon},
		"a known caller's body":            {w.BaseURL, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + w.keys["acme"] + announced, " ", whole},
		"a body of the typed API":          {w.BaseURL, "POST /claviger.router.v1.CompletionService/Complete HTTP/1.1\r\nHost: x\r\n" + connect, " ", whole},
		"a body of another service":        {w.BaseURL, "POST /claviger.keys.v1.SessionService/SignIn HTTP/1.1\r\nHost: x\r\n" + connect, " ", whole},
		"a body for nobody":                {w.BaseURL, "POST /nowhere HTTP/1.1\r\nHost: x\r\n" + garbage, " ", whole},
		"a body for nobody, on operations": {w.OpsURL, "POST /nowhere HTTP/1.1\r\nHost: x\r\n" + garbage, " ", whole},
	}
	var all sync.WaitGroup
	for name, c := range cases {
		conn := raw(t, c.address)
		all.Go(func() {
			begun := time.Now()
			stop := make(chan struct{})
			defer close(stop)
			_, _ = conn.Write([]byte(c.head)) // the reader sees the end
			go drip(conn, c.drip, stop)
			_ = conn.SetReadDeadline(begun.Add(c.within))
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
				t.Errorf("%s: the connection is still open after %s", name, time.Since(begun).Round(time.Second))
			}
		})
	}
	w.stillServes(t, "slow senders came")
	all.Wait()
	w.stillServes(t, "slow senders went")
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// drip writes a little now and then, so that the connection is not idle.
func drip(conn net.Conn, text string, stop <-chan struct{}) {
	if text == "" {
		return
	}
	ticker := time.NewTicker(400 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			if _, err := conn.Write([]byte(text)); err != nil {
				return
			}
		}
	}
}

func TestACallerThatStopsReadingBlocksNobody(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	const stalled = 20
	script := llmtest.Script{Tokens: 400_000}.String() // far more than all buffers on the way hold
	body := strings.Replace(chatBody("openai/gpt-4o-mini", script), "{", `{"stream":true,`, 1)
	var conns []net.Conn
	for i := range stalled {
		headers := fmt.Sprintf("x-claviger-session: stalled-%d\r\nContent-Length: %d\r\n", i, len(body))
		conn := w.begin(t, "/v1/chat/completions", w.keys["acme"], headers, body)
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(4 << 10)
		}
		conns = append(conns, conn)
		first := make([]byte, 64)
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadFull(conn, first); err != nil || !bytes.HasPrefix(first, []byte("HTTP/1.1 200")) {
			t.Fatalf("stream %d: %q %v", i, first, err)
		}
	}
	for range 20 {
		w.stillServes(t, "callers stopped reading")
	}
	// On one HTTP/2 connection a stream that is not read must not stop the others.
	for name, client := range w.dial(t) {
		ctx, cancel := context.WithTimeout(bearer(t.Context(), w.keys["acme"]), 20*time.Second)
		defer cancel()
		for range 3 {
			if _, err := client.StreamCompletion(ctx, &routerv1.StreamCompletionRequest{Input: typed("openai/gpt-4o-mini", script)}); err != nil {
				t.Fatal(err)
			}
		}
		for range 10 {
			if _, err := client.Complete(ctx, &routerv1.CompleteRequest{Input: typed("openai/gpt-4o-mini", "hi")}); err != nil {
				t.Errorf("%s: beside streams that nobody reads: %v", name, err)
			}
		}
		cancel()
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	for i := range stalled {
		w.awaitOutcome(t, fmt.Sprintf("stalled-%d", i), eventsv1.Outcome_OUTCOME_CANCELED)
	}
	cluster.Eventually(t, 10*time.Second, "the provider's end of streams that nobody read", func() error {
		for _, e := range w.provider.Ledger() {
			if !e.Done {
				return fmt.Errorf("call %d goes on", e.Seq)
			}
			if e.Streamed && e.Written == 400_000 {
				t.Errorf("call %d was read to its end for a caller that did not read", e.Seq)
			}
		}
		return nil
	})
}

func TestWhatAProviderSendsIsBounded(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	long := func(provider string) refusal {
		return refusal{502, "provider_failed", "longer than the router takes", "provider", "provider_error", "", "try again", map[string]string{"provider": provider}}
	}
	for model, provider := range map[string]string{"openai/gpt-4o-mini": "openai", "policy/claude": "anthropic"} {
		body := func(script string) string {
			return strings.Replace(chatBody(model, "script:"+script), "{", `{"stream":true,`, 1)
		}
		if got := w.post(t, "/v1/chat/completions", w.keys["acme"], body("huge=1000000")); got.status != http.StatusOK || len(got.body) < 1_000_000 || !strings.Contains(got.body, "[DONE]") {
			t.Errorf("%s: an event of 1 MB: %d, %d bytes", model, got.status, len(got.body))
		}
		before := len(w.provider.Ledger())
		got := w.post(t, "/v1/chat/completions", w.keys["acme"], body("huge=5000000"))
		if calls := len(w.provider.Ledger()) - before; calls != 1 { // it would be as long again
			t.Errorf("%s: for an event of 5 MB the provider was called %d times, want once", model, calls)
		}
		if got.status == http.StatusOK { // the stream had begun with the role
			if e := streamError(got.body); e.Code != "answer_broken_off" || !strings.Contains(e.Message, "broke off") || strings.Contains(got.body, "[DONE]") {
				t.Errorf("%s: an event of 5 MB: %.500s", model, got.body)
			}
			continue
		}
		w.expect(t, model+", an event of 5 MB", got, long(provider))
	}
	tooLong := long("openai")
	tooLong.code = "provider_unreachable"
	w.provider.Control("gpt-4.1", "", 1, llmtest.Script{Text: strings.Repeat("x", 70<<20)})
	tooLong.facts = map[string]string{"provider": "openai", "model": "openai/gpt-4.1"}
	w.expect(t, "an answer of 70 MB", w.post(t, "/v1/chat/completions", w.keys["acme"], chatBody("openai/gpt-4.1", "hi")), tooLong)
	if calls := w.callsOf("gpt-4.1"); calls != 1 { // it would be as long again
		t.Errorf("an answer of 70 MB: the provider was called %d times, want once", calls)
	}
	w.stillServes(t, "a provider that sent too much")
}

// streamError is the error event of a stream, if there is one.
func streamError(body string) envelope {
	for line := range strings.Lines(body) {
		if data, ok := strings.CutPrefix(line, "data: "); ok && strings.HasPrefix(data, `{"error"`) {
			return reply{body: data}.failure()
		}
	}
	return envelope{}
}

func TestManyStreamsShareAConnection(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	const streams = 500
	h2 := new(http.Protocols)
	h2.SetUnencryptedHTTP2(true)
	var dials atomic.Int64
	client := &http.Client{Transport: &http.Transport{Protocols: h2, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}}}
	t.Cleanup(client.CloseIdleConnections)
	body := strings.Replace(chatBody("openai/gpt-4o-mini", "script:tokens=20,first=500ms,early,delay=5ms"), "{", `{"stream":true,`, 1)
	one := func() error {
		req := w.request(t, http.MethodPost, "/v1/chat/completions", body, map[string]string{"Authorization": "Bearer " + w.keys["acme"]})
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		raw, err := io.ReadAll(res.Body)
		if err == nil && (res.StatusCode != http.StatusOK || res.ProtoMajor != 2 || !bytes.HasSuffix(raw, []byte("data: [DONE]\n\n"))) {
			err = fmt.Errorf("%s %s: %s", res.Proto, res.Status, raw)
		}
		return err
	}
	if err := one(); err != nil { // the connection is there, and its settings are known
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var failed atomic.Int64
	for range streams {
		all.Go(func() {
			if err := one(); err != nil && failed.Add(1) == 1 {
				t.Errorf("a stream of many: %v", err)
			}
		})
	}
	all.Wait()
	if failed.Load() > 0 || dials.Load() != 1 {
		t.Errorf("%d of %d streams failed, on %d connections, want 1", failed.Load(), streams, dials.Load())
	}

	cc, err := grpc.NewClient(w.GRPCAddress, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	overGRPC := routerv1.NewCompletionServiceClient(cc)
	for range streams {
		all.Go(func() {
			stream, err := overGRPC.StreamCompletion(bearer(t.Context(), w.keys["acme"]), &routerv1.StreamCompletionRequest{Input: typed("openai/gpt-4o-mini", "script:tokens=20,first=500ms,early,delay=5ms")})
			if err == nil {
				_, _, err = pieces(stream)
			}
			if err != nil && failed.Add(1) == 1 {
				t.Errorf("a gRPC stream of many: %v", err)
			}
		})
	}
	all.Wait()
}

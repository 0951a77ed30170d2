package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/claviger/claviger/pkg/llmtest"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/tools/e2e/cluster"
	"github.com/claviger/claviger/tools/seed"
)

// example is one of the example clients in tools/examples, as a program.
type example struct {
	command []string
	// target says where the router is: at an address, with a certificate authority or without TLS.
	target func(address, ca string) []string
	// timeout is the flag of the budget.
	timeout func(time.Duration) []string
}

// examples builds the example clients.
func examples(t *testing.T) map[string]example {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "ask")
	build := func(folder, name string, args ...string) {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = folder
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s in %s: %v\n%s", name, folder, err, out)
		}
	}
	build("../examples/go", "go", "build", "-o", binary, ".")
	typescript := nodePackages(t, "../examples/typescript")
	build(typescript, filepath.Join("node_modules", ".bin", "tsc"))
	return map[string]example{
		"go": {
			command: []string{binary},
			target: func(address, ca string) []string {
				if ca == "" {
					return []string{"--address", address, "--loopback"}
				}
				return []string{"--address", address, "--ca", ca}
			},
			timeout: func(d time.Duration) []string { return []string{"--timeout", d.String()} },
		},
		"typescript": {
			command: []string{"node", filepath.Join(typescript, "dist", "main.js")},
			target: func(address, ca string) []string {
				if ca == "" {
					return []string{"--base-url", "http://" + address}
				}
				return []string{"--base-url", "https://" + address, "--ca", ca}
			},
			timeout: func(d time.Duration) []string {
				return []string{"--timeout-ms", strconv.FormatInt(d.Milliseconds(), 10)}
			},
		},
	}
}

// asked is what a run of an example said.
type asked struct {
	ok          bool
	text, notes string
	took        time.Duration
	// calls are the calls that the provider got meanwhile.
	calls []llmtest.Entry
}

// facts are what an example prints beside the answer.
type facts struct {
	RequestID, FinishReason, Model, CredentialClass, Policy, UsageSource string
	Attempts                                                             []struct{ Model, ErrorClass string }
	ToolCalls                                                            []struct{ Name, Arguments string }
	InputTokens, OutputTokens                                            int64
	CostNanoUsd                                                          *int64
}

func (a asked) facts(t *testing.T) facts {
	t.Helper()
	var f facts
	if err := json.Unmarshal([]byte(a.notes), &f); err != nil || !a.ok {
		t.Errorf("facts: %v in %q", err, a.notes)
	}
	return f
}

// user is an example with a suite to ask.
type user struct {
	example
	w   *edge
	key string // the API key's file
}

// start begins a run that can be interrupted.
func (u *user) start(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, u.command[0], append(u.command[1:len(u.command):len(u.command)], args...)...)
	cmd.Env, cmd.WaitDelay = append(os.Environ(), env...), 5*time.Second
	return cmd
}

// run runs the example against an address to its end.
func (u *user) run(t *testing.T, args []string, env ...string) asked {
	t.Helper()
	cmd := u.start(t, env, args...)
	var out, notes bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &notes
	before, began := len(u.w.provider.Ledger()), time.Now()
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatalf("%v: %v", u.command, err)
	}
	got := asked{ok: err == nil, text: out.String(), notes: notes.String(), took: time.Since(began)}
	// The provider closes its books a moment after the caller has the answer, or has left.
	cluster.Eventually(t, 10*time.Second, "the end of the provider's calls", func() error {
		got.calls = u.w.provider.Ledger()[before:]
		if i := slices.IndexFunc(got.calls, func(e llmtest.Entry) bool { return !e.Done }); i >= 0 {
			return fmt.Errorf("%+v", got.calls[i])
		}
		return nil
	})
	return got
}

// args are the arguments of a call of the suite.
func (u *user) args(model, prompt string, more ...string) []string {
	args := append(u.target(u.w.GRPCAddress, ""), "--key-file", u.key, "--model", model)
	return append(append(args, more...), prompt)
}

func (u *user) ask(t *testing.T, model, prompt string, more ...string) asked {
	t.Helper()
	return u.run(t, u.args(model, prompt, more...))
}

// both runs a check for an answer in one piece and for a streamed one.
func both(t *testing.T, check func(t *testing.T, flags ...string)) {
	t.Helper()
	t.Run("one piece", func(t *testing.T) { check(t) })
	t.Run("streamed", func(t *testing.T) { check(t, "--stream") })
}

const direct = "openai/gpt-4o-mini"

// TestTheExampleClientsKeepTheirPromises runs both example clients against a running suite. Whether a
// call was made again is read from the provider's ledger.
func TestTheExampleClientsKeepTheirPromises(t *testing.T) {
	t.Parallel()
	for name, e := range examples(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := &user{example: e, w: startEdge(t), key: filepath.Join(t.TempDir(), "api.key")}
			u.w.plant(t, &seed.Document{
				Organization: seed.Organization{Slug: "acme"},
				// Lines whose calls the router does not repeat, each with a model that nobody else asks for.
				Policies: []seed.Policy{
					{Name: "two", Spec: seed.Rule(onceOwn("openai/gpt-4.1"), seed.Platform("anthropic/claude-haiku-4-5"))},
					{Name: "impatient", Spec: seed.Rule(onceOwn("openai/gpt-4.1-mini"))},
					{Name: "once", Spec: seed.Rule(onceOwn("openai/gpt-4.1-nano"))},
				},
			})
			_, key := u.w.newKey(t, &keysv1.CreateApiKeyRequest{Name: "full", Provenance: keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL})
			u.w.await(t, key, "policy/once", 200, "")
			if err := os.WriteFile(u.key, []byte(key+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			for promise, check := range map[string]func(*testing.T, *user){
				"answers and says what served": answers, "asks for another model where one fails": asksForOthers, "assembles tool calls": toolCalls,
				"says why a key is refused and what to do": badKeys, "keeps the key off open networks": openNetworks,
				"speaks TLS": speaksTLS, "asks for health": asksHealth, "passes its trace on": passesTrace,
				"ends with its deadline": deadlines, "ends the provider's call when interrupted": interrupts,
				"calls again where nothing was paid":          callsAgain,
				"does not call again where money may be gone": callsOnce,
			} {
				t.Run(promise, func(t *testing.T) { check(t, u) })
			}
		})
	}
}

func answers(t *testing.T, u *user) {
	const text = "one two three “four” five"
	both(t, func(t *testing.T, flags ...string) {
		got := u.ask(t, direct, llmtest.Script{Text: text, Input: 40, Output: 7}.String(), flags...)
		f := got.facts(t)
		if got.text != text || f.FinishReason != "STOP" || f.InputTokens != 40 || f.OutputTokens != 7 || f.UsageSource != "PROVIDER_FINAL" {
			t.Errorf("got %q, %+v", got.text, f)
		}
		if f.Model != direct || f.CredentialClass != "OWN" || f.Policy != "" || len(f.Attempts) != 1 || !strings.HasPrefix(f.RequestID, "req_") {
			t.Errorf("provenance %+v", f)
		}
		u.w.provider.Control("gpt-4.1", "", 1, llmtest.Script{Error: llmtest.ErrServer})
		got = u.ask(t, "policy/two", llmtest.Script{Text: text}.String(), flags...)
		f = got.facts(t)
		if got.text != text || f.Model != "anthropic/claude-haiku-4-5" || f.CredentialClass != "PLATFORM" || f.Policy != "two" ||
			len(f.Attempts) != 2 || f.Attempts[0].ErrorClass != "server_error" || len(got.calls) != 2 {
			t.Errorf("a fallback: %q, %+v, %d calls", got.text, f, len(got.calls))
		}
	})
}

// asksForOthers names models to fall back to, and a bound of the price that leaves one of them.
func asksForOthers(t *testing.T, u *user) {
	both(t, func(t *testing.T, flags ...string) {
		u.w.provider.Control("gpt-4o-mini", "", 1, llmtest.Script{Error: llmtest.ErrModel})
		script := llmtest.Script{Text: "one two", Input: 40, Output: 7}.String()
		f := u.ask(t, direct, script, append(flags, "--fallback", "openai/gpt-4o,openai/gpt-4.1")...).facts(t)
		if f.Model != "openai/gpt-4o" || len(f.Attempts) != 2 || f.Attempts[0].ErrorClass != "model_not_found" || f.CostNanoUsd == nil || *f.CostNanoUsd != 170_000 {
			t.Errorf("a fallback: %+v", f)
		}
		f = u.ask(t, "openai/gpt-4o", script, append(flags, "--fallback", direct, "--max-price", "1000000000")...).facts(t)
		if f.Model != direct || len(f.Attempts) != 1 {
			t.Errorf("the cheaper one of two: %+v", f)
		}
		got := u.ask(t, direct, script, append(flags, "--fallback", "openai/gpt-4o,policy/nowhere")...)
		if got.ok || !strings.HasPrefix(got.notes, "NotFound POLICY_NOT_FOUND: ") || len(got.calls) != 0 {
			t.Errorf("a policy that is not there: %+v", got)
		}
	})
}

func toolCalls(t *testing.T, u *user) {
	both(t, func(t *testing.T, flags ...string) {
		script := llmtest.Script{Tool: "look", Args: `{"city":"Padova"}`, Calls: 2}
		f := u.ask(t, direct, script.String(), append(flags, "--tool", "look")...).facts(t)
		if f.FinishReason != "TOOL_CALLS" || len(f.ToolCalls) != 2 {
			t.Fatalf("got %+v", f)
		}
		for _, call := range f.ToolCalls {
			if call.Name != script.Tool || call.Arguments != script.Args {
				t.Errorf("tool call %+v", call)
			}
		}
	})
}

func badKeys(t *testing.T, u *user) {
	file := filepath.Join(t.TempDir(), "bad.key")
	if err := os.WriteFile(file, []byte(unknownKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	both(t, func(t *testing.T, flags ...string) {
		got := u.ask(t, direct, "hello", append(flags, "--key-file", file)...)
		if got.ok || !strings.HasPrefix(got.notes, "Unauthenticated API_KEY_INVALID: ") || !strings.Contains(got.notes, "\nnext: ") || len(got.calls) != 0 {
			t.Errorf("got %+v", got)
		}
	})
}

func openNetworks(t *testing.T, u *user) {
	args := append(u.target("router.example:7171", ""), "--key-file", u.key, "hello")
	if got := u.run(t, args); got.ok || !strings.Contains(got.notes, "router.example:7171 is not on this machine") {
		t.Errorf("got %+v", got)
	}
}

func speaksTLS(t *testing.T, u *user) {
	borrowed := httptest.NewTLSServer(nil) // for its certificate of 127.0.0.1
	t.Cleanup(borrowed.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: borrowed.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	tunnel := newTunnel(t, u.w.GRPCAddress, &tls.Config{Certificates: borrowed.TLS.Certificates, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12})
	both(t, func(t *testing.T, flags ...string) {
		args := append(append(u.target(tunnel.address, ca), "--key-file", u.key, "--model", direct), flags...)
		if got := u.run(t, append(args, llmtest.Script{Text: "good day"}.String())); got.text != "good day" || !got.ok {
			t.Errorf("got %+v", got)
		}
	})
}

func asksHealth(t *testing.T, u *user) {
	if got := u.ask(t, "", "", "--health"); got.text != "serving\n" || !got.ok {
		t.Errorf("got %+v", got)
	}
}

// passesTrace asks a server that keeps what callers send.
func passesTrace(t *testing.T, u *user) {
	seen := make(chan metadata.MD, 2)
	remaining := make(chan time.Duration, 2)
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		md, _ := metadata.FromIncomingContext(stream.Context())
		deadline, _ := stream.Context().Deadline()
		seen <- md
		remaining <- time.Until(deadline)
		return status.Error(codes.InvalidArgument, "seen")
	}))
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ln) })
	t.Cleanup(func() { server.Stop(); serving.Wait() })
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	both(t, func(t *testing.T, flags ...string) {
		args := append(append(u.target(ln.Addr().String(), ""), "--key-file", u.key), u.timeout(20*time.Second)...)
		got := u.run(t, append(append(args, flags...), "hello"), "TRACEPARENT="+parent)
		if got.ok || !strings.Contains(got.notes, "seen") {
			t.Fatalf("got %+v", got)
		}
		md, left := <-seen, <-remaining
		if trace := md.Get("traceparent"); len(trace) != 1 || trace[0] != parent {
			t.Errorf("traceparent = %v", trace)
		}
		if key := md.Get("authorization"); len(key) != 1 || !strings.HasPrefix(key[0], "Bearer ") {
			t.Errorf("%d authorizations", len(key))
		}
		if left < 10*time.Second || left > 20*time.Second {
			t.Errorf("the router was told a budget of %v, want a little less than 20s", left)
		}
	})
}

func deadlines(t *testing.T, u *user) {
	both(t, func(t *testing.T, flags ...string) {
		for name, script := range map[string]llmtest.Script{
			"a silent provider": {Hang: true},
			"a slow one":        {Tokens: 1000, Delay: 50 * time.Millisecond},
		} {
			got := u.ask(t, direct, script.String(), append(flags, u.timeout(600*time.Millisecond)...)...)
			if got.ok || !strings.HasPrefix(got.notes, "DeadlineExceeded ") {
				t.Errorf("%s: got %+v", name, got)
			}
			if got.took > 10*time.Second {
				t.Errorf("%s: it took %v", name, got.took)
			}
			u.awaitGone(t, name)
		}
	})
}

// awaitGone waits until the last call of the provider was ended by its caller.
func (u *user) awaitGone(t *testing.T, what string) {
	t.Helper()
	cluster.Eventually(t, 10*time.Second, what+": the end of the provider's call", func() error {
		ledger := u.w.provider.Ledger()
		if last := ledger[len(ledger)-1]; !last.ClientGone || last.Complete {
			return fmt.Errorf("the ledger's last entry is %+v", last)
		}
		return nil
	})
}

func interrupts(t *testing.T, u *user) {
	cmd := u.start(t, nil, u.args(direct, llmtest.Script{Tokens: 10_000, Delay: 20 * time.Millisecond}.String(), "--stream")...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadByte(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("an interrupted call ended well")
	}
	u.awaitGone(t, "interrupted")
}

func callsAgain(t *testing.T, u *user) {
	both(t, func(t *testing.T, flags ...string) {
		model := "short" + strings.Join(flags, "") // the router lets a credential cool down by model
		u.w.provider.Control("gpt-4.1-mini", "", 2, llmtest.Script{Error: llmtest.ErrOverloaded})
		got := u.ask(t, "policy/impatient", llmtest.Script{Text: "at last"}.String(), flags...)
		if !got.ok || got.text != "at last" || statuses(got.calls) != "503 503 200" {
			t.Errorf("overloaded twice: got %+v", got)
		}
		const wait = 1200 * time.Millisecond
		u.w.provider.Control(model, "", 1, llmtest.Script{Error: llmtest.ErrRateLimit, RetryAfter: wait})
		got = u.ask(t, "openai/"+model, llmtest.Script{Text: "patience"}.String(), flags...)
		if !got.ok || got.text != "patience" || statuses(got.calls) != "429 200" {
			t.Fatalf("rate limited: got %+v", got)
		}
		if pause := got.calls[1].Begun.Sub(got.calls[0].Ended); pause < wait {
			t.Errorf("the second call came after %v, the provider asked for %v", pause, wait)
		}
		// No time to wait: the error that says why, at once, and not a deadline.
		model = "long" + strings.Join(flags, "")
		u.w.provider.Control(model, "", 1, llmtest.Script{Error: llmtest.ErrRateLimit, RetryAfter: 50 * time.Second})
		got = u.ask(t, "openai/"+model, "hello", append(flags, u.timeout(40*time.Second)...)...)
		if got.ok || !strings.HasPrefix(got.notes, "ResourceExhausted PROVIDER_RATE_LIMITED") || got.took > 20*time.Second || len(got.calls) != 1 {
			t.Errorf("rate limited for longer than there is time: got %+v", got)
		}
	})
}

// statuses are the statuses of calls, in the order of their start.
func statuses(calls []llmtest.Entry) string {
	var out []string
	for _, c := range calls {
		out = append(out, strconv.Itoa(c.Status))
	}
	return strings.Join(out, " ")
}

func callsOnce(t *testing.T, u *user) {
	both(t, func(t *testing.T, flags ...string) {
		broken, want, came := "script:text=one%20two%20three%20four,cut=100", "Unavailable PROVIDER_UNREACHABLE", ""
		if len(flags) > 0 {
			broken, want, came = "script:text=one%20two%20three%20four,cutat=3", "Unavailable ANSWER_BROKEN_OFF", "one two three "
		}
		for script, want := range map[string]string{
			broken:                     want,
			"script:error=server":      "Unavailable PROVIDER_FAILED",
			"script:error=bad_request": "InvalidArgument PROVIDER_REFUSED_REQUEST",
		} {
			got := u.ask(t, "policy/once", script, flags...)
			if got.ok || !strings.HasPrefix(got.notes, want) || len(got.calls) != 1 {
				t.Errorf("%s: got %+v", script, got)
			}
			if script == broken && got.text != came {
				t.Errorf("%s: what came of the answer is %q", script, got.text)
			}
		}
		// The connection breaks while the provider thinks: UNAVAILABLE as well, and maybe paid.
		tunnel := newTunnel(t, u.w.GRPCAddress, nil)
		before := len(u.w.provider.Ledger())
		var cutting sync.WaitGroup
		cutting.Go(func() {
			cluster.Eventually(t, 20*time.Second, "the provider's call", func() error {
				if len(u.w.provider.Ledger()) == before {
					return errors.New("there is none")
				}
				return nil
			})
			tunnel.cut()
		})
		args := append(append(u.target(tunnel.address, ""), "--key-file", u.key, "--model", "policy/once"), flags...)
		got := u.run(t, append(args, "script:hang"))
		cutting.Wait()
		if got.ok || len(got.calls) != 1 || got.took > 20*time.Second {
			t.Errorf("a lost connection: got %+v", got)
		}
		u.awaitGone(t, "a lost connection")
	})
}

// tunnel passes connections on, and can cut them all.
type tunnel struct {
	address string
	mu      sync.Mutex
	open    []net.Conn
}

func newTunnel(t *testing.T, to string, tlsConfig *tls.Config) *tunnel {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out := &tunnel{address: ln.Addr().String()}
	if tlsConfig != nil {
		ln = tls.NewListener(ln, tlsConfig)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := new(net.Dialer).DialContext(t.Context(), "tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			out.mu.Lock()
			out.open = append(out.open, in, far)
			out.mu.Unlock()
			for _, pair := range [][2]net.Conn{{in, far}, {far, in}} {
				all.Go(func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = pair[0].Close()
				})
			}
		}
	})
	t.Cleanup(func() { _ = ln.Close(); out.cut(); all.Wait() })
	return out
}

// cut breaks every connection.
func (t *tunnel) cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.open {
		_ = c.Close()
	}
}

// snippet is a block of the client guide with the file it is taken from.
var snippet = regexp.MustCompile("(?s)\\[`?(tools/examples/[^`\\]]+)`?\\]\\([^)]*\\):\n\n```[a-z]+\n(.*?)```")

func TestTheClientGuideShowsTestedCode(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../proto/README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := snippet.FindAllStringSubmatch(string(guide), -1)
	if blocks := strings.Count(string(guide), "```go\n") + strings.Count(string(guide), "```ts\n"); len(found) != blocks || blocks < 4 {
		t.Errorf("%d blocks of code, %d of them name their file", blocks, len(found))
	}
	for _, match := range found {
		source, err := os.ReadFile(filepath.Join("..", "..", match[1]))
		if err != nil {
			t.Error(err)
		}
		if !strings.Contains(flush(string(source)), flush(match[2])) {
			t.Errorf("%s does not hold this text of the guide:\n%s", match[1], match[2])
		}
	}
}

// TestTheReadmesRequestIsAnswered sends the body that shows what a request may say of its route, and looks for the
// headers that the same page names.
func TestTheReadmesRequestIsAnswered(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```json\n(\\{\n.*?\n)```").FindStringSubmatch(string(page))
	if block == nil {
		t.Fatal("the page shows no request")
	}
	w := startEdge(t)
	w.plant(t, &seed.Document{
		Organization: seed.Organization{Slug: "acme"},
		Policies:     []seed.Policy{{Name: "main", Spec: seed.Rule(seed.Own("openai/gpt-4o"))}},
	})
	_, key := w.newKey(t, &keysv1.CreateApiKeyRequest{Name: "full", Provenance: keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL})
	w.await(t, key, "policy/main", 200, "")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.BaseURL+"/v1/chat/completions", strings.NewReader(block[1]))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("the answer is %d", res.StatusCode)
	}
	for _, name := range []string{
		"model", "class", "provider", "credential", "credential-revision", "config-version", "attempts", "attempt", "cost-nano-usd", "price-version",
	} {
		if res.Header.Get("X-Claviger-"+name) == "" {
			t.Errorf("the answer has no x-claviger-%s", name)
		}
		if !strings.Contains(string(page), "-"+name+"`") {
			t.Errorf("the page does not name x-claviger-%s", name)
		}
	}
}

// flush takes the indent from every line.
func flush(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimLeft(line, " \t"))
	}
	return b.String()
}

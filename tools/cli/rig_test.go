package cli_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/goccy/go-yaml"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/tools/cli"
	"github.com/claviger/claviger/tools/seed"
	"github.com/claviger/claviger/tools/suite"
)

// program is a grammar that holds nothing but the commands of the package.
func program() cli.Program {
	return cli.Program{Name: "claviger", Description: "The operator's terminal.", Grammar: &struct{ cli.Commands }{}}
}

// TestMain makes the test binary the program itself when it is called by its name: that is how real
// shells call it.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "claviger" {
		os.Exit(cli.Run(context.Background(), program(), os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv})) //nolint:forbidigo // this is main
	}
	code := m.Run()
	if stop := shared.stop; stop != nil {
		if err := stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the suite:", err)
			code = 1
		}
	}
	os.Exit(code)
}

const (
	goodKey     = "sk-good-SECRETMARK-0123456789abcdef"
	otherKey    = "sk-other-SECRETMARK-0123456789abcdef"
	badKey      = "sk-bad-SECRETMARK-0123456789abcdef"
	password    = "a password SECRETMARK"
	newPassword = "a new password SECRETMARK"
	mark        = "SECRETMARK"
	traceID     = "4bf92f3577b34da6a3ce929d0e0e4736"
)

// shared is the suite of all tests of the package; each test has an organization of its own.
var shared struct {
	once     sync.Once
	stop     func() error
	err      error
	running  *suite.Running
	provider string
	log      *safeBuffer
	dir      string
}

// safeBuffer may be written and read at the same time.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func startShared(ctx context.Context) error {
	provider, err := llmtest.NewProvider(llmtest.WithKeys("openai", goodKey, otherKey), llmtest.WithLedgerLimit(100))
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- llmtest.Serve(ctx, listener, provider) }()
	shared.log = &safeBuffer{}
	if shared.dir, err = os.MkdirTemp("", "claviger-cli-"); err != nil {
		end()
		return err
	}
	shared.provider = "http://" + listener.Addr().String() + "/openai/v1"
	shared.running, err = suite.Start(ctx, "127.0.0.1:0", suite.Options{
		Dir: shared.dir, EgressAllow: []string{listener.Addr().String()}, ProviderURLs: map[string]string{"openai": shared.provider},
		Log: slog.New(slog.NewTextHandler(shared.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	shared.stop = func() error {
		var err error
		if shared.running != nil {
			err = shared.running.Stop()
		}
		end()
		return errors.Join(err, <-served, os.RemoveAll(shared.dir))
	}
	return err
}

// world is an organization of its own in the shared suite.
type world struct {
	t            *testing.T
	organization string
	address      string
	owner        *person
}

func newWorld(t *testing.T) *world {
	t.Helper()
	shared.once.Do(func() { shared.err = startShared(context.WithoutCancel(t.Context())) })
	if shared.err != nil {
		t.Fatalf("start the suite: %v", shared.err)
	}
	w := &world{t: t, organization: "o" + strings.ToLower(rand.Text()[:12]), address: shared.running.BaseURL}
	operator := w.session("platform", shared.running.Operator())
	_, err := keysv1connect.NewOrganizationServiceClient(operator).CreateOrganization(t.Context(), &keysv1.CreateOrganizationRequest{
		Slug: w.organization, Name: "Acme", OwnerEmail: "owner@acme.example", OwnerPassword: password, IdempotencyKey: rand.Text(),
	})
	if err != nil {
		t.Fatalf("CreateOrganization: %v", err)
	}
	w.owner = w.person()
	return w
}

// session is a client of the API itself, beside the program under test.
func (w *world) session(organization string, login seed.Login) *connect.Client {
	w.t.Helper()
	transport := shared.running.Transport()
	answer, err := keysv1connect.NewSessionServiceClient(connect.NewClient(transport)).SignIn(w.t.Context(), &keysv1.SignInRequest{
		Organization: organization, Email: login.Email, Password: login.Password.Reveal(),
	})
	if err != nil {
		w.t.Fatalf("SignIn: %v", err)
	}
	return connect.NewClient(transport, seed.Bearer(secret.New(answer.GetAccessToken())))
}

func (w *world) ownerSession() *connect.Client {
	return w.session(w.organization, seed.Login{Email: "owner@acme.example", Password: secret.New(password)})
}

// person is somebody at a terminal, with a config file of their own.
type person struct {
	world  *world
	config string
	env    map[string]string
}

func (w *world) person() *person {
	config := filepath.Join(w.t.TempDir(), "config", "config.json")
	return &person{world: w, config: config, env: map[string]string{"CLAVIGER_CONFIG": config}}
}

// result is what a command did.
type result struct {
	t    *testing.T
	args []string
	code int
	out  string
	err  string
}

// run runs a command with stdin.
func (p *person) run(stdin string, args ...string) result {
	p.world.t.Helper()
	var out, errs bytes.Buffer
	code := p.start(p.world.t.Context(), strings.NewReader(stdin), &out, &errs, args...)
	return result{p.world.t, args, code, out.String(), errs.String()}
}

func (p *person) start(ctx context.Context, in io.Reader, out, errs io.Writer, args ...string) int {
	return cli.Run(ctx, program(), args, cli.Streams{In: in, Out: out, Err: errs, Getenv: func(name string) string { return p.env[name] }})
}

func (r result) fail(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf("claviger %s: %s\nexit code %d\n--- stdout\n%s--- stderr\n%s", strings.Join(r.args, " "), fmt.Sprintf(format, args...), r.code, r.out, r.err)
}

// exits checks the exit code.
func (r result) exits(code int) result {
	r.t.Helper()
	if r.code != code {
		r.fail("exit code = %d, want %d", r.code, code)
	}
	return r
}

// ok checks that it worked.
func (r result) ok() result { r.t.Helper(); return r.exits(0) }

// says checks that standard output holds each text.
func (r result) says(want ...string) result {
	r.t.Helper()
	for _, text := range want {
		if !strings.Contains(r.out, text) {
			r.fail("stdout does not hold %q", text)
		}
	}
	return r
}

// complains checks that standard error holds each text.
func (r result) complains(want ...string) result {
	r.t.Helper()
	for _, text := range want {
		if !strings.Contains(r.err, text) {
			r.fail("stderr does not hold %q", text)
		}
	}
	return r
}

// keepsSecrets checks that no secret was printed.
func (r result) keepsSecrets() result {
	r.t.Helper()
	if strings.Contains(r.out+r.err, mark) {
		r.fail("a secret was printed")
	}
	return r
}

// objects are the lines of JSON on standard output.
func (r result) objects() []map[string]any {
	r.t.Helper()
	var all []map[string]any
	for line := range strings.Lines(r.out) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			r.fail("%q is not a JSON object: %v", line, err)
		}
		if _, err := yaml.JSONToYAML([]byte(line)); err != nil { // it refuses a member that is there twice
			r.fail("%q cannot be written as YAML: %v", line, err)
		}
		all = append(all, object)
	}
	return all
}

func (r result) object() map[string]any {
	r.t.Helper()
	all := r.objects()
	if len(all) != 1 {
		r.fail("there are %d JSON objects, want 1", len(all))
	}
	return all[0]
}

// problem is the error on standard error.
func (r result) problem() (p struct {
	Code, Message, Hint, Blame, RequestID string
	Fields                                []struct{ Field, Message string }
},
) {
	r.t.Helper()
	var document struct{ Error any }
	document.Error = &p
	if err := json.Unmarshal([]byte(r.err), &document); err != nil {
		r.fail("stderr is not JSON: %v", err)
	}
	return p
}

// signIn signs a person in.
func (p *person) signIn(email, password string) {
	p.world.t.Helper()
	p.run(password+"\n", "sign-in", "--address", p.world.address, "--organization", p.world.organization, "--email", email, "--password-stdin").ok().keepsSecrets()
}

func (w *world) signedIn() *person {
	w.t.Helper()
	w.owner.signIn("owner@acme.example", password)
	return w.owner
}

// ready makes what a completion needs, and returns the API key.
func (w *world) ready() (apiKey string) {
	w.t.Helper()
	p := w.signedIn()
	p.run(goodKey, "credential", "create", "--provider", "openai", "--label", "main", "--secret-stdin", "--accept-terms").ok().keepsSecrets()
	p.run("", "policy", "create", "main", "--target", "openai/gpt-4o-mini=own").ok()
	return strings.TrimSpace(p.run("", "key", "create", "app", "--policy", "main").ok().out)
}

// complete asks the router for a completion, once it knows the key. It returns the request's id.
func (w *world) complete(apiKey, prompt string) string {
	w.t.Helper()
	body, err := json.Marshal(map[string]any{"model": "policy/main", "messages": []map[string]string{{"role": "user", "content": prompt}}})
	if err != nil {
		w.t.Fatal(err)
	}
	var id string
	eventually(w.t, "a completion", func() error {
		request, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, shared.running.BaseURL+"/v1/chat/completions", bytes.NewReader(body))
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+apiKey)
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("X-Claviger-Tags", "team=search")
		request.Header.Set("Traceparent", "00-"+traceID+"-00f067aa0ba902b7-01")
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		text, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode == http.StatusUnauthorized { // the router hears of a key a moment after it is made
			return fmt.Errorf("%s: %s", answer.Status, text)
		}
		id = answer.Header.Get("X-Request-Id")
		return nil
	})
	return id
}

// eventually waits until try returns nil.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(25 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s did not happen: %v", what, err)
		case <-ticker.C:
		}
	}
}

// between puts a server between the program and the suite that sees each call before it goes on. It
// returns its address. A handler that answers itself returns true.
func (w *world) between(see func(rw http.ResponseWriter, r *http.Request, pass http.Handler) bool) (*httptest.Server, string) {
	target, err := url.Parse(shared.running.BaseURL)
	if err != nil {
		w.t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, FlushInterval: -1, ErrorLog: nil}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !see(rw, r, proxy) {
			proxy.ServeHTTP(rw, r)
		}
	}))
	w.t.Cleanup(server.Close)
	return server, server.URL
}

package suite_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/claviger/claviger/pkg/llmtest"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/tools/seed"
	"github.com/claviger/claviger/tools/suite"
)

func start(t *testing.T, dir string, change func(*suite.Options)) *suite.Running {
	t.Helper()
	o := suite.Options{Dir: dir, Log: slog.New(slog.NewTextHandler(logTo{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	if change != nil {
		change(&o)
	}
	running, err := suite.Start(t.Context(), "127.0.0.1:0", o)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() {
		if err := running.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return running
}

// logTo is the test's own log.
type logTo struct{ t *testing.T }

func (l logTo) Write(p []byte) (int, error) {
	if l.t.Context().Err() == nil { // a test must not log after its end
		l.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

func TestASuiteListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.com:0"} {
		running, err := suite.Start(t.Context(), listen, suite.Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
		if !errors.Is(err, suite.ErrNotLoopback) {
			t.Errorf("Start(%s) = %v, %v, want ErrNotLoopback", listen, running, err)
		}
	}
}

// TestWebhooksAreServedIfTheyAreAskedFor: /hooks/ is the router's where a public URL is set, also for a
// sender that a browser would call foreign, and else a page that there is not.
func TestWebhooksAreServedIfTheyAreAskedFor(t *testing.T) {
	t.Parallel()
	for public, want := range map[string]map[string]int{
		"":                        {"/hooks/pollo": http.StatusForbidden, "/hooks/fal": http.StatusForbidden},
		"https://tunnel.example/": {"/hooks/pollo": http.StatusNoContent, "/hooks/fal": http.StatusUnauthorized, "/hooks/other": http.StatusNotFound},
	} {
		running := start(t, t.TempDir(), func(o *suite.Options) { o.PublicURL = public })
		for path, status := range want {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, running.BaseURL+path, strings.NewReader(`{"taskId":"another's"}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Origin", "https://provider.example")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != status {
				t.Errorf("public URL %q: POST %s = %d, want %d", public, path, res.StatusCode, status)
			}
		}
	}
	for _, public := range []string{"http://tunnel.example", "tunnel.example", "https://", "https://tunnel.example?x", "https://tunnel.example#x"} {
		running, err := suite.Start(t.Context(), "127.0.0.1:0", suite.Options{Dir: t.TempDir(), PublicURL: public, Log: slog.New(slog.DiscardHandler)})
		if !errors.Is(err, suite.ErrPublicURL) {
			t.Errorf("Start with the public URL %q = %v, %v, want ErrPublicURL", public, running, err)
		}
	}
}

func TestADataFolderBelongsToOneSuite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, dir, nil)
	_, err := suite.Start(t.Context(), "127.0.0.1:0", suite.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "another process is using it") {
		t.Fatalf("Start in a folder that is in use = %v", err)
	}
}

func TestEveryPublicProtocolAnswers(t *testing.T) {
	t.Parallel()
	running := start(t, t.TempDir(), nil)
	signIn := &keysv1.SignInRequest{Organization: "platform", Email: running.Operator().Email, Password: running.Operator().Password.Reveal()}
	for name, options := range map[string][]connecthttp.Option{
		"Connect":          nil,
		"Connect, as JSON": {connecthttp.WithProtoJSON()},
		"gRPC-Web":         {connecthttp.WithGRPCWeb()},
		"gRPC":             {connecthttp.WithGRPC()},
	} {
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
		t.Cleanup(client.CloseIdleConnections)
		transport := connecthttp.NewTransport(client, running.BaseURL, options...)
		answer, err := keysv1connect.NewSessionServiceClient(connect.NewClient(transport)).SignIn(t.Context(), signIn)
		if err != nil || answer.GetAccessToken() == "" {
			t.Errorf("SignIn by %s = %v", name, err)
		}
	}

	conn, err := grpc.NewClient(running.GRPCAddress, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	health, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: "claviger.router.v1.CompletionService"})
	if err != nil || health.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health on public gRPC = %v, %v", health, err)
	}
	if status, body := get(t, running.OpsURL+"/readyz", ""); status != http.StatusOK {
		t.Errorf("readyz = %d %s", status, body)
	}
}

func TestInternalMethodsAreOnNoListener(t *testing.T) {
	t.Parallel()
	running := start(t, t.TempDir(), nil)
	for _, url := range []string{running.BaseURL, running.OpsURL} {
		for _, method := range []string{
			"claviger.keys.v1.ConfigService/WatchConfig", "claviger.keys.v1.ConfigService/ReportRouterState", "claviger.metering.v1.PriceFeedService/WatchPrices",
		} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/"+method, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", "application/json")
			answer, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusNotFound {
				t.Errorf("%s on %s = %s, want 404", method, url, answer.Status)
			}
		}
	}
}

func TestOneOriginServesTheAdminAndTheAPIs(t *testing.T) {
	t.Parallel()
	running := start(t, t.TempDir(), nil)
	const foreign = "https://evil.example"
	for name, c := range map[string]struct {
		method, path, origin string
		status               int
		says                 string
	}{
		"the admin":                             {http.MethodGet, "/", "", 200, "<title>Claviger"},
		"a page of it":                          {http.MethodGet, "/o/acme/usage", "", 200, "<title>Claviger"},
		"a file that is not there":              {http.MethodGet, "/assets/nothing.js", "", 404, "nothing here"},
		"the router's edge":                     {http.MethodGet, "/v1/models", "", 401, "api_key_missing"},
		"an edge that the router has not":       {http.MethodPost, "/v1/files", "", 404, "route_not_supported"},
		"an edge, from another origin":          {http.MethodPost, "/v1/chat/completions", foreign, 401, "api_key_missing"},
		"the router's RPC, from another origin": {http.MethodPost, "/claviger.router.v1.CompletionService/Complete", foreign, 401, "unauthenticated"},
		"keys":                                  {http.MethodPost, "/claviger.keys.v1.SessionService/GetSession", "", 401, "unauthenticated"},
		"keys, from another origin":             {http.MethodPost, "/claviger.keys.v1.SessionService/GetSession", foreign, 403, "CROSS_ORIGIN"},
		"metering":                              {http.MethodPost, "/claviger.metering.v1.UsageService/QueryUsage", "", 401, "unauthenticated"},
		"metering, from another origin":         {http.MethodPost, "/claviger.metering.v1.UsageService/QueryUsage", foreign, 403, "CROSS_ORIGIN"},
		"a page, posted to from another origin": {http.MethodPost, "/", foreign, 403, ""},
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, running.BaseURL+c.path, strings.NewReader("{}"))
		if c.method == http.MethodGet {
			request, err = http.NewRequestWithContext(t.Context(), c.method, running.BaseURL+c.path, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		if c.method == http.MethodPost {
			request.Header.Set("Content-Type", "application/json")
		}
		if c.origin != "" {
			request.Header.Set("Origin", c.origin)
			request.Header.Set("Sec-Fetch-Site", "cross-site")
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || answer.StatusCode != c.status || !strings.Contains(string(text), c.says) {
			t.Errorf("%s: %s %s, want %d with %q", name, answer.Status, text, c.status, c.says)
		}
	}
}

const seedFile = `
organization: {slug: acme, name: Acme}
owner: {email: owner@acme.example, password: {value: correct horse battery}}
credentials:
  - {provider: openai, label: main, secret: {value: sk-0123456789abcdef}, base_url: "%s"}
policies:
  - {name: main, targets: [{model: openai/gpt-4o-mini, use: own}]}
api_keys:
  - {name: app, policy: main, write_to: app.key}
`

func TestASuiteGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	provider := llmtest.New(t)
	change := func(o *suite.Options) { o.EgressAllow = []string{strings.TrimPrefix(provider.URL, "http://")} }
	doc, _, err := seed.Parse("seed.yaml", fmt.Appendf(nil, seedFile, provider.OpenAIURL()), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	for round, want := range []seed.Action{seed.Created, seed.Unchanged} {
		running := start(t, dir, change)
		err := running.Seed(t.Context(), doc, func(c seed.Change) {
			if c.Action != want {
				t.Errorf("round %d: %s, want %s", round, c, want)
			}
		})
		if err != nil {
			t.Fatalf("Seed: %v", err)
		}
		complete(t, running.BaseURL, filepath.Join(dir, "app.key"))
		if err := running.Stop(); err != nil {
			t.Fatalf("Stop: %v", err)
		}
	}
	if got := len(provider.Ledger()); got != 2 {
		t.Errorf("the provider was called %d times, want 2", got)
	}
}

func TestAStopLetsOpenStreamsFinish(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	provider := llmtest.New(t)
	running := start(t, dir, func(o *suite.Options) { o.EgressAllow = []string{strings.TrimPrefix(provider.URL, "http://")} })
	doc, _, err := seed.Parse("seed.yaml", fmt.Appendf(nil, seedFile, provider.OpenAIURL()), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	if err := running.Seed(t.Context(), doc, func(seed.Change) {}); err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(dir, "app.key")
	complete(t, running.BaseURL, keyFile)
	answer := post(t.Context(), t, running.BaseURL, keyFile,
		`{"model": "policy/main", "stream": true, "messages": [{"role": "user", "content": "script:tokens=60,delay=10ms"}]}`)
	defer func() { _ = answer.Body.Close() }()
	lines := bufio.NewReader(answer.Body)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatalf("the stream does not begin: %v", err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- running.Stop() }()
	rest, err := io.ReadAll(lines)
	if err != nil || !strings.Contains(string(rest), "[DONE]") {
		t.Errorf("the stream broke off with %v after %d bytes", err, len(rest))
	}
	if err := <-stopped; err != nil {
		t.Errorf("Stop = %v", err)
	}
}

func TestOnlyTheOwnerCanReadTheKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, dir, nil)
	err := filepath.WalkDir(filepath.Join(dir, "keys"), func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// post asks for a completion.
func post(ctx context.Context, t *testing.T, baseURL, keyFile, body string) *http.Response {
	t.Helper()
	key, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, baseURL+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+string(bytes.TrimSpace(key)))
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// complete asks for a completion until the router has heard of the API key.
func complete(t *testing.T, baseURL, keyFile string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		answer := post(ctx, t, baseURL, keyFile, `{"model": "policy/main", "messages": [{"role": "user", "content": "Hello"}]}`)
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if answer.StatusCode == http.StatusOK {
			var completion struct {
				Choices []struct{ Message struct{ Content string } }
			}
			if err := json.Unmarshal(text, &completion); err != nil || len(completion.Choices) != 1 || completion.Choices[0].Message.Content == "" {
				t.Fatalf("completion = %s, %v", text, err)
			}
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("completion = %s %s", answer.Status, text)
		case <-ticker.C:
		}
	}
}

func get(t *testing.T, url, key string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	"github.com/claviger/claviger/tools/e2e/cluster"
	"github.com/claviger/claviger/tools/seed"
)

const (
	ownKey      = "sk-own-0123456789abcdefghij"
	platformKey = "sk-ant-platform-0123456789"
)

// world is a cluster with an organization that can complete: an own OpenAI credential, a platform
// Anthropic credential, a policy over both and an API key.
type world struct {
	*cluster.Cluster
	tb     testing.TB
	owner  seed.Login
	apiKey string
	client *http.Client
	began  time.Time
}

func newWorld(t *testing.T, o cluster.Options) *world {
	t.Helper()
	o.Provider = append(o.Provider, llmtest.WithKeys("openai", ownKey), llmtest.WithKeys("anthropic", platformKey))
	w := &world{
		Cluster: cluster.Start(t, o), tb: t, began: time.Now().Add(-time.Minute),
		owner:  seed.Login{Email: "owner@acme.example", Password: secret.New("a password for the owner")},
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}},
	}
	t.Cleanup(w.client.CloseIdleConnections)
	w.apiKey = w.seed("acme", w.owner, ownKey)
	for i := range w.Routers {
		cluster.Eventually(t, 20*time.Second, "the first completion", func() error {
			_, err := w.complete(t.Context(), i, call{})
			return err
		})
	}
	return w
}

// seed makes an organization and returns its API key.
func (w *world) seed(slug string, owner seed.Login, openAIKey string) string {
	w.tb.Helper()
	dir, err := os.MkdirTemp("", "claviger-e2e-keys-") // not below the test's folder: the API key in it is no leak
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	platform := []seed.Credential(nil)
	if slug == "acme" {
		platform = []seed.Credential{{Provider: "anthropic", Label: "house", Secret: secret.New(platformKey)}}
	}
	err = seed.Apply(w.tb.Context(), seed.Installation{Keys: w.Keys.Transport(), Operator: w.Operator, Dir: dir, FingerprintKey: []byte("a fingerprint key for the tests only")}, &seed.Document{
		Organization:        seed.Organization{Slug: slug, Name: slug},
		Owner:               seed.Owner(owner),
		PlatformCredentials: platform,
		Credentials:         []seed.Credential{{Provider: "openai", Label: "main", Secret: secret.New(openAIKey), BaseURL: w.Provider.OpenAIURL(), Priority: 1}},
		Policies: []seed.Policy{{Name: "main", Spec: seed.Rule(
			onceOwn("openai/gpt-4o-mini"), // where it fails the next line is the point
			seed.Platform("anthropic/claude-haiku-4-5"),
		)}},
		APIKeys: []seed.APIKey{{Name: "app", Policy: "main", WriteTo: "app.key"}},
	}, func(seed.Change) {})
	if err != nil {
		w.tb.Fatalf("seed %s: %v", slug, err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "app.key"))
	if err != nil {
		w.tb.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

// call says what to ask for.
type call struct {
	model  string // default "openai/gpt-4o-mini"
	script string
	prompt string
	stream bool
	key    string // default the organization's
}

// answer is what came.
type answer struct {
	requestID string
	text      string
	complete  bool // a finish reason and, in a stream, [DONE]
}

// finished finds the reason for the end of an answer.
var finished = regexp.MustCompile(`"finish_reason":\s*"`)

// httpError is an answer with an error status.
type httpError struct {
	status int
	body   string
}

func (e *httpError) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.body) }

// complete makes a chat completion at a router over OpenAI's HTTP.
func (w *world) complete(ctx context.Context, router int, c call) (answer, error) {
	if c.model == "" {
		c.model = "openai/gpt-4o-mini"
	}
	if c.key == "" {
		c.key = w.apiKey
	}
	if c.prompt == "" {
		c.prompt = "hello"
	}
	body, err := json.Marshal(map[string]any{
		"model": c.model, "stream": c.stream, "messages": []map[string]string{{"role": "user", "content": strings.TrimSpace(c.script + " " + c.prompt)}},
	})
	if err != nil {
		return answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.Routers[router].URL()+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := w.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	out := answer{requestID: res.Header.Get("x-request-id"), text: string(raw)}
	if res.StatusCode != http.StatusOK {
		return out, &httpError{res.StatusCode, string(raw)}
	}
	if err != nil {
		return out, err
	}
	out.complete = finished.Match(raw) && (!c.stream || bytes.Contains(raw, []byte("data: [DONE]")))
	if !out.complete {
		return out, errors.New("the answer is incomplete")
	}
	return out, nil
}

// attempts returns every usage event of the organization, once its usage is complete through now.
func (w *world) attempts(organization string, owner seed.Login) (map[string]*meteringv1.Attempt, *meteringv1.UsageTotals) {
	w.tb.Helper()
	now := time.Now()
	var totals *meteringv1.UsageTotals
	var usage meteringv1connect.UsageServiceClient
	cluster.Eventually(w.tb, 60*time.Second, "usage complete", func() error {
		usage = meteringv1connect.NewUsageServiceClient(w.SignIn(organization, owner).Metering)
		res, err := usage.QueryUsage(w.tb.Context(), &meteringv1.QueryUsageRequest{StartTime: timestamppb.New(w.began), EndTime: timestamppb.New(now.Add(time.Hour))})
		if err != nil {
			return err
		}
		totals = res.GetTotal()
		if through := res.GetCompleteThrough(); through == nil || through.AsTime().Before(now) {
			return fmt.Errorf("complete through %v, silent: %v", through.AsTime(), res.GetSilentRouters())
		}
		return nil
	})
	out := map[string]*meteringv1.Attempt{}
	for token := ""; ; {
		res, err := usage.ListRequests(w.tb.Context(), &meteringv1.ListRequestsRequest{
			StartTime: timestamppb.New(w.began), EndTime: timestamppb.New(now.Add(time.Hour)), PageSize: 500, PageToken: token,
		})
		if err != nil {
			w.tb.Fatalf("ListRequests: %v", err)
		}
		for _, a := range res.GetAttempts() {
			if out[a.GetEvent().GetAttemptId()] != nil {
				w.tb.Errorf("%s is listed twice", a.GetEvent().GetAttemptId())
			}
			out[a.GetEvent().GetAttemptId()] = a
		}
		if token = res.GetNextPageToken(); token == "" {
			return out, totals
		}
	}
}

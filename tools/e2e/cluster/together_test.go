package cluster_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	"github.com/claviger/claviger/tools/e2e/cluster"
)

// TestWhatAnOrganizationDecidesHoldsAtEveryRouter shares one cluster of two routers. Each part has an
// organization of its own, whose keys the provider's ledger tells from those of the others.
func TestWhatAnOrganizationDecidesHoldsAtEveryRouter(t *testing.T) {
	t.Parallel()
	p := &pair{Cluster: cluster.Start(t, cluster.Options{Routers: 2}), client: &http.Client{Transport: &http.Transport{Proxy: nil}}}
	t.Cleanup(p.client.CloseIdleConnections)
	parts := []struct {
		name  string
		slug  string
		keys  map[string]secret.Text
		holds func(*testing.T, *pair, *cluster.Organization)
	}{
		{"who is disabled is refused at once, and nobody else", "careful", map[string]secret.Text{"openai": secret.New("sk-careful-0123456789")}, whoIsDisabledIsRefused},
		{"the platform's keys serve by the organization's word alone", "wary", map[string]secret.Text{"anthropic": secret.New("sk-wary-0123456789")}, platformByItsWordAlone},
		{"the narrowest default policy decides, and a wider one can enforce that", "strict", map[string]secret.Text{"openai": secret.New("sk-strict-0123456789")}, defaultsDecide},
		{"a slow provider is rehearsed without calling it", "rehearsing", map[string]secret.Text{
			"openai": secret.New("sk-rehearsing-0123456789"), "anthropic": secret.New("sk-rehearsing-other-0123456789"),
		}, slownessIsRehearsed},
	}
	for _, part := range parts {
		line := own("anthropic/claude-haiku-4-5")
		if _, ok := part.keys["openai"]; ok {
			line = own("openai/gpt-4o-mini")
		}
		org := p.NewOrganization(part.slug, part.keys, line)
		t.Run(part.name, func(t *testing.T) {
			t.Parallel()
			part.holds(t, p, org)
		})
	}
}

// pair is a cluster of two routers and a plain HTTP client.
type pair struct {
	*cluster.Cluster
	client *http.Client
}

// reply is a whole answer over HTTP.
type reply struct {
	status int
	header http.Header
	body   string
}

// failure is what OpenAI's envelope says.
func (r reply) failure() (code, message string) {
	var body struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	_ = json.Unmarshal([]byte(r.body), &body)
	return body.Error.Code, body.Error.Message
}

// begun is an answer whose head has come. Its body is closed at the test's end.
type begun struct {
	status int
	header http.Header
	body   io.Reader
}

// begin sends a body to a path of a router and returns the answer's head.
func (p *pair) begin(t *testing.T, router *cluster.Service, path string, key secret.Text, body string) begun {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, router.URL()+path, strings.NewReader(body))
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+key.Reveal())
	req.Header.Set("Content-Type", "application/json")
	res, err := p.client.Do(req)
	must(t, err)
	t.Cleanup(func() { _ = res.Body.Close() })
	return begun{res.StatusCode, res.Header, res.Body}
}

// chat asks for a chat completion; without a model the API key's defaults decide.
func (p *pair) chat(t *testing.T, router *cluster.Service, key secret.Text, model string) reply {
	t.Helper()
	named := ""
	if model != "" {
		named = fmt.Sprintf(`"model":%q,`, model)
	}
	res := p.begin(t, router, "/v1/chat/completions", key, `{`+named+`"messages":[{"role":"user","content":"Hello"}]}`)
	text, err := io.ReadAll(res.body)
	must(t, err)
	return reply{res.status, res.header, string(text)}
}

// calls are the models that a provider's key was asked for, in order.
func (p *pair) calls(key string) (models []string) {
	for _, e := range p.Provider.Ledger() {
		if e.KeyHash == llmtest.HashKey(key) {
			models = append(models, e.Model)
		}
	}
	return models
}

// attempts are the usage events of a request, once there are as many as wanted.
func attempts(t *testing.T, org *cluster.Organization, requestID string, want int) []*eventsv1.UsageEvent {
	t.Helper()
	usage := meteringv1connect.NewUsageServiceClient(org.Session.Metering)
	var events []*eventsv1.UsageEvent
	cluster.Eventually(t, 60*time.Second, requestID+" is counted", func() error {
		answer, err := usage.GetRequest(t.Context(), &meteringv1.GetRequestRequest{RequestId: requestID})
		if err != nil {
			return err
		}
		events = nil
		for _, a := range answer.GetAttempts() {
			events = append(events, a.GetEvent())
		}
		if len(events) < want {
			return fmt.Errorf("%d attempts, want %d", len(events), want)
		}
		return nil
	})
	if len(events) != want {
		t.Errorf("%s has %d usage events, want %d", requestID, len(events), want)
	}
	return events
}

package suite_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/claviger/claviger/pkg/llmtest"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	"github.com/claviger/claviger/tools/seed"
	"github.com/claviger/claviger/tools/suite"
)

func TestARequestIsShownAsAWhole(t *testing.T) {
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
	complete(t, running.BaseURL, filepath.Join(dir, "app.key"))
	answer := post(t.Context(), t, running.BaseURL, filepath.Join(dir, "app.key"),
		`{"model": "policy/main", "messages": [{"role": "user", "content": "the-secret-prompt"}]}`)
	_, err = io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	requestID := answer.Header.Get("x-request-id")
	if err != nil || answer.StatusCode != http.StatusOK || requestID == "" {
		t.Fatalf("completion = %s, %v, request %q", answer.Status, err, requestID)
	}
	in, err := keysv1connect.NewSessionServiceClient(connect.NewClient(running.Transport())).SignIn(t.Context(), &keysv1.SignInRequest{
		Organization: "acme", Email: "owner@acme.example", Password: "correct horse battery",
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, info := connect.NewClientContext(t.Context())
	info.RequestHeader().Set("Authorization", "Bearer "+in.GetAccessToken())
	client := meteringv1connect.NewTraceServiceClient(connect.NewClient(running.Transport()))
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		shown, err := client.GetTrace(ctx, &meteringv1.GetTraceRequest{RequestId: requestID})
		names := map[string]string{} // of spans, with their services
		for _, s := range shown.GetSpans() {
			names[s.GetName()] = s.GetService()
			if text := fmt.Sprint(s.GetAttributes()); strings.Contains(text, "secret") {
				t.Fatalf("span %s tells of the prompt: %s", s.GetName(), text)
			}
		}
		if err == nil && names["apply usage"] == "metering" && len(names) > 3 {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("trace = %v, %v", shown, err)
		case <-tick.C:
		}
	}
	status, text := get(t, running.OpsURL+"/metrics", "")
	for _, service := range []string{"keys", "router", "metering"} {
		if want := `claviger_config_version{service_name="claviger-` + service + `"}`; status != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("metrics = %d, without %s:\n%s", status, want, text)
		}
	}
	if strings.Contains(text, "secret") || strings.Contains(text, "sk-0123456789abcdef") {
		t.Error("the metrics tell what was sent")
	}
}

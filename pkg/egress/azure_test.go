package egress_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/egress"
	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/secret"
)

// TestAnAzureEndpointThatLeadsInsideIsNotDialled sends an api-key to endpoints as tenants write them,
// past every check but the dialer's. Their names lead inside, by whoever owns them or their DNS.
func TestAnAzureEndpointThatLeadsInsideIsNotDialled(t *testing.T) {
	t.Parallel()
	sprung := newTrap(t)
	for _, inside := range []string{
		"127.0.0.1", "::1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "168.63.129.16", "fd00:ec2::254", "100.64.0.1", "0.0.0.0", "::",
		"::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "fe80::1",
	} {
		g := guard(t, egress.Options{Resolver: resolver(always(inside))})
		g.OpenPort(sprung.port) // so that nothing but the address can be the reason
		client, transport := g.Client(egress.TransportOptions{}), g.Transport(egress.TransportOptions{})
		for _, pasted := range []string{
			"https://acme.openai.azure.com:%d", "https://acme.services.ai.azure.com:%d/models", "https://acme.azure-api.net:%d/llm", "https://llm.acme.example:%d/v1",
		} {
			raw, err := json.Marshal([]map[string]string{{
				"model_slug": "m", "endpoint_url": fmt.Sprintf(pasted, sprung.port), "api_key": "canary-0123456789", "model_id": "d",
			}})
			if err != nil {
				t.Fatal(err)
			}
			list, err := keyform.ParseAzure(secret.New(string(raw)))
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := g.CheckURL(list[0].Endpoint); err != nil {
				t.Fatalf("%s is refused by its name (%v), so that the dialer is not put to the test", list[0].Endpoint, err)
			}
			for what, send := range map[string]func(*http.Request) (*http.Response, error){"client": client.Do, "transport": transport.RoundTrip} {
				request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, list[0].Endpoint+"/chat/completions", strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				request.Header.Set("Api-Key", "canary-0123456789")
				response, err := send(request)
				if err == nil {
					_ = response.Body.Close()
				}
				if !errors.Is(err, egress.ErrNotAllowed) {
					t.Fatalf("%s to %s at %s: %v, want ErrNotAllowed", what, pasted, inside, err)
				}
			}
		}
	}
	if n := sprung.accepted.Load(); n != 0 {
		t.Errorf("%d connections reached the trap", n)
	}
}

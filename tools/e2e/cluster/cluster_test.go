package cluster_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/claviger/claviger/pkg/secret"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/tools/e2e/cluster"
)

const providerKey = "sk-cluster-canary-0123456789"

// ask completes over the router's public gRPC port, with a stock gRPC client.
func ask(ctx context.Context, router *cluster.Service, key secret.Text) error {
	conn, err := grpc.NewClient(router.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key.Reveal())
	answer, err := routerv1.NewCompletionServiceClient(conn).Complete(ctx, &routerv1.CompleteRequest{Input: &routerv1.CompletionInput{
		Messages: []*routerv1.Message{{
			Role:  routerv1.MessageRole_MESSAGE_ROLE_USER,
			Parts: []*routerv1.Part{{Content: &routerv1.Part_Text{Text: "Hello"}}},
		}},
	}})
	if err != nil {
		return err
	}
	if len(answer.GetMessage().GetParts()) == 0 {
		return fmt.Errorf("the answer of %s is empty", answer.GetRequestId())
	}
	return nil
}

func requests(t *testing.T, org *cluster.Organization) (int64, error) {
	t.Helper()
	answer, err := meteringv1connect.NewUsageServiceClient(org.Session.Metering).QueryUsage(t.Context(), &meteringv1.QueryUsageRequest{})
	return answer.GetTotal().GetRequests(), err
}

func TestProcessesServeTogetherAndComeBackAfterAKill(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Routers: 2})
	org := c.NewOrganization("acme", map[string]secret.Text{"openai": secret.New(providerKey)},
		&keysv1.Target{Model: "openai/gpt-4o-mini", Use: eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN})

	want := int64(0)
	serves := func(what string) {
		t.Helper()
		for _, router := range c.Routers {
			cluster.Eventually(t, 30*time.Second, what+": "+router.Name+" answers", func() error { return ask(t.Context(), router, org.APIKey) })
			want++
		}
	}
	counted := func(what string) {
		t.Helper()
		cluster.Eventually(t, 60*time.Second, what+": usage is counted", func() error {
			got, err := requests(t, org)
			if err == nil && got > want {
				t.Fatalf("%s: %d requests are counted, want %d", what, got, want)
			}
			if err == nil && got < want {
				err = fmt.Errorf("%d requests are counted, want %d", got, want)
			}
			return err
		})
	}
	serves("at first")
	counted("at first")

	c.Keys.Kill()
	serves("without keys")
	c.Keys.Start()

	c.Metering.Kill()
	serves("without metering")
	c.Metering.Start()
	counted("after metering")

	c.NATS.Kill()
	serves("without NATS")
	c.NATS.Start()
	counted("after NATS")

	for _, router := range c.Routers {
		router.Kill()
		router.Start()
	}
	serves("after routers")
	counted("after routers")

	c.Vault.Seal(t)
	serves("with a sealed Vault")
	c.Vault.Unseal(t)

	for _, service := range append([]*cluster.Service{c.Keys, c.Metering}, c.Routers...) {
		service.Stop()
		if strings.Contains(service.Log(), providerKey) || strings.Contains(service.Log(), org.APIKey.Reveal()) {
			t.Errorf("the log of %s holds a secret", service.Name)
		}
	}
	if got := int64(len(c.Provider.Ledger())); got != want {
		t.Errorf("the provider was called %d times, want %d", got, want)
	}
}

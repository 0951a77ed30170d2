package cluster_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/claviger/claviger/pkg/secret"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	settingsv1 "github.com/claviger/claviger/proto/gen/claviger/settings/v1"
	"github.com/claviger/claviger/tools/e2e/cluster"
)

// TestARouterThatLeavesIsNotReadyAndServesUntilItDrains: after the first signal it says that it is not ready and
// takes requests all the same; the second one ends what runs, with an error inside, and all of it is counted.
func TestARouterThatLeavesIsNotReadyAndServesUntilItDrains(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Router: func(s *settingsv1.Router) {
		s.DrainDelay, s.DrainTimeout = durationpb.New(time.Minute), durationpb.New(5*time.Minute)
	}})
	org := c.NewOrganization("acme", map[string]secret.Text{"openai": secret.New(providerKey)}, own("openai/gpt-4o-mini"))
	router := c.Routers[0]
	cluster.Eventually(t, 30*time.Second, "it answers", func() error { return ask(t.Context(), router, org.APIKey) })
	ctx, client := dial(t, router, org.APIKey)
	stream, err := client.StreamCompletion(ctx, &routerv1.StreamCompletionRequest{Input: saying("", "script:tokens=60000,delay=10ms Hello")})
	must(t, err)
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	router.Leave()
	must(t, ask(t.Context(), router, org.APIKey))
	router.Hurry()
	for err == nil {
		_, err = stream.Recv()
	}
	if errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "shutting down") {
		t.Errorf("the stream ends with %v, want that the router is shutting down", err)
	}
	router.Start()
	cluster.Eventually(t, 60*time.Second, "all of it is counted", func() error {
		got, err := requests(t, org)
		if want := int64(len(c.Provider.Ledger())); err == nil && got != want {
			err = fmt.Errorf("%d requests are counted, want %d", got, want)
		}
		return err
	})
	router.Leave()
	router.Hurry() // there is a minute to wait else
}

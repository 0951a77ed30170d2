package rpc_test

import (
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"

	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/services/router/internal/completion"
)

// TestTypedRoutingIsThatOfBodies has every field: the planner is asked for what a body with the same would ask
// for, in conversations and for vectors, and for what it has to know of the prompt.
func TestTypedRoutingIsThatOfBodies(t *testing.T) {
	t.Parallel()
	price := int64(150_000_000)
	routing := &routerv1.Routing{
		Models: []string{"c/d", "policy/e"}, Order: []string{"azure", "amazon-bedrock"}, Only: []string{"azure", "bedrock", "google-vertex"}, Ignore: []string{"groq"},
		Sort: "latency", AllowFallbacks: new(false), RequireParameters: true, MaxPrice: &routerv1.MaxPrice{OutputNanoUsdPerMillion: &price},
	}
	want := completion.Routing{
		Models: []string{"c/d", "policy/e"}, Order: []string{"azure", "bedrock"}, Only: []string{"azure", "bedrock", "vertex"}, Ignore: []string{"groq"},
		Sort: "latency", NoFallbacks: true, RequireParameters: true, MaxOutput: &price,
	}
	w := &world{chunks: []completion.Chunk{{Content: true, Result: &completion.Result{Vectors: [][]float32{{1}}}}}}
	client := w.client(t)
	in := full()
	in.Routing = routing
	if _, err := client.Complete(t.Context(), &routerv1.CompleteRequest{Input: in}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, w.planned.Routing); diff != "" || w.planned.Model != "p/m" {
		t.Errorf("a conversation with %q asks for (-want +got):\n%s", w.planned.Model, diff)
	}
	states := []completion.StateFormat{completion.AnthropicState, completion.OpenAIState, completion.GoogleState}
	if w.planned.CacheKey != "k" || w.planned.MaxOutput != 5 || !cmp.Equal(w.planned.State, states) {
		t.Errorf("of the prompt is known: at most %d tokens, key %q, states %v", w.planned.MaxOutput, w.planned.CacheKey, w.planned.State)
	}
	if _, err := client.Embed(t.Context(), &routerv1.EmbedRequest{Texts: []string{"a"}, Routing: routing}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, w.planned.Routing); diff != "" || w.planned.Model != "" || w.planned.Named() != "c/d" {
		t.Errorf("vectors of models alone, of which the first is %q, ask for (-want +got):\n%s", w.planned.Named(), diff)
	}
}

func TestAProviderThatNobodyKnowsIsNamed(t *testing.T) {
	t.Parallel()
	in := full()
	in.Routing = &routerv1.Routing{Only: []string{"openai", "together"}}
	_, err := (&world{}).client(t).Complete(t.Context(), &routerv1.CompleteRequest{Input: in})
	if connect.CodeOf(err) != connect.CodeInvalidArgument || !strings.Contains(err.Error(), `routing.only[1] names no provider that is known here: "together"`) {
		t.Errorf("the error is %v", err)
	}
}

package e2e_test

import (
	"testing"

	"github.com/claviger/claviger/pkg/llmtest"
)

// TestFalsOwnClientReadsTheScriptedQueue: what the adapter is tested against is what fal's own client,
// used directly, understands.
func TestFalsOwnClientReadsTheScriptedQueue(t *testing.T) {
	t.Parallel()
	folder := nodePackages(t, "clients")
	provider := llmtest.New(t, llmtest.WithKeys("fal", "id:0123456789abcdef"))
	runChecks(t, folder, "fal.mjs", 7, map[string]any{"falURL": provider.FalURL(), "falKey": "id:0123456789abcdef"})
}

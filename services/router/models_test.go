package router

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/services/router/internal/completion"
)

// brought are an organization's credentials, by provider.
type brought map[string][]*completion.Credential

func (b brought) Providers(string) []string {
	return []string{"anthropic", "azure", "groq", "openai", "xai"}
}

func (b brought) Credentials(_, provider string) []*completion.Credential { return b[provider] }

// TestModelsAreThoseThatCredentialsMayUse: what a test found, Azure's deployments, and else what is known.
func TestModelsAreThoseThatCredentialsMayUse(t *testing.T) {
	t.Parallel()
	known := []string{"anthropic/claude-x", "anthropic/claude-y", "groq/llama", "mistral/large", "openai/gpt-x", "openai/gpt-y", "xai/grok"}
	got := owned(brought{
		"anthropic": {{}, {Models: []string{"claude-z", "claude-x"}}},
		"azure":     {{Settings: completion.Settings{Deployments: []completion.Deployment{{Model: "openai/gpt-4o", Name: "d1"}, {Model: "o3"}}}, Models: []string{"d1"}}},
		"openai":    {{Models: []string{"gpt-x", "ft:gpt-x:acme"}}},
		"xai":       {{Out: "was rejected"}},
	}, "org_1", known)
	want := []string{"anthropic/claude-x", "anthropic/claude-y", "anthropic/claude-z", "azure/o3", "azure/openai/gpt-4o", "openai/ft:gpt-x:acme", "openai/gpt-x"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

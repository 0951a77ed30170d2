package observe

import (
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// providers are the names that the conventions for generative AI give to providers, by our slugs. Those
// that they do not name have our slug.
var providers = map[string]string{
	"anthropic":        "anthropic",
	"azure":            "azure.ai.openai",
	"baseten":          "baseten",
	"bedrock":          "aws.bedrock",
	"deepinfra":        "deepinfra",
	"fal":              "fal",
	"google-ai-studio": "gcp.gemini",
	"groq":             "groq",
	"mistral":          "mistral_ai",
	"moonshot":         "moonshot_ai",
	"openai":           "openai",
	"perplexity":       "perplexity",
	"pollo":            "pollo",
	"vertex":           "gcp.vertex_ai",
	"xai":              "x_ai",
}

// ProviderName is the conventions' name of a provider.
func ProviderName(slug string) string {
	if name, ok := providers[slug]; ok {
		return name
	}
	return slug
}

// operations are what measurements tell apart. The conventions have words for the first two; the others
// are ours.
var operations = map[string]bool{
	string(completion.Chat): true, string(completion.Embeddings): true,
	string(completion.Images): true, string(completion.CountTokens): true, string(completion.Videos): true,
}

// operationOf is what an attempt asks for.
func operationOf(e *usage.Event) string {
	switch {
	case e.Operation == "":
		return string(completion.Chat)
	case operations[e.Operation]:
		return e.Operation
	}
	return other
}

// modelOf is the name that measurements give to a target's model: the one that the table of known models
// has for it, or other.
func (c *Completions) modelOf(t *completion.Target) string {
	if c.known[t.Model] {
		return t.Name
	}
	if c.o.Named != nil {
		if known, ok := c.o.Named(t.Model); ok {
			_, name, _ := strings.Cut(known, "/")
			return name
		}
	}
	return other
}

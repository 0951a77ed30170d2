package compat

import (
	"net/url"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
	"github.com/claviger/claviger/services/router/internal/provider/form/embeddings"
)

// baseten serves models that all its customers share, and with a base URL of the customer's own their
// dedicated deployments. Errors are texts without a code.
func baseten() Vendor {
	return Vendor{
		Facts: provider.Facts{ //nolint:gosec // what a key looks like, for people
			Slug: "baseten", Name: "Baseten", BaseURL: "https://inference.baseten.co/v1", Forms: []string{"chat completions", "embeddings of dedicated deployments"},
			Credential: "API key; a dedicated deployment besides with its own base URL, ending in `/sync/v1`", KeyTest: "lists the models; with a dedicated deployment, those of the workspace",
		},
		Chat: chat.Vendor{
			MaxTokens: "max_tokens",
			Lacks: []completion.Feature{
				completion.FeatureVerbosity, completion.FeatureServiceTier, completion.FeatureDocuments, completion.FeatureAudio, completion.FeatureName,
			},
			Of: func(model string) chat.Model {
				return chat.Model{NoEffort: !takesEffort(model), Efforts: []string{"none", "low", "medium", "high"}}
			},
			Extra: enableThinking,
			Errors: []chat.Rule{
				{Status: 403, Text: []string{"api key", "api-key", "unauthorized", "invalid key"}, Class: completion.AuthInvalid},
				{Text: []string{"no credits"}, Class: completion.QuotaExhausted},
				{Text: []string{"rate limit"}, Class: completion.RateLimited},
				{Words: []string{"MODEL_DOES_NOT_EXIST"}, Class: completion.ModelNotFound},
				{Status: 400, Text: []string{"check the model you provided"}, Class: completion.ModelNotFound},
				{Words: []string{"MODEL_UNAVAILABLE"}, Class: completion.Overloaded},
				{Words: []string{"MODEL_PREDICT_TIMEOUT"}, Class: completion.TimedOut},
				{Status: 502, Text: []string{"starting", "scaling"}, Class: completion.Overloaded},
			},
		},
		Embeddings: &embeddings.Vendor{},
		Listing:    managedModels,
		Lacks: func(op completion.Operation, _ string, c *completion.Credential) string {
			if op == completion.Embeddings && c != nil && c.BaseURL == "" {
				return "has embeddings on dedicated deployments only"
			}
			return ""
		},
	}
}

// takesEffort reports whether a model knows reasoning_effort; others are only told whether to think.
func takesEffort(model string) bool {
	return strings.Contains(model, "gpt-oss") || strings.Contains(model, "DeepSeek-V4")
}

func enableThinking(model string, p *completion.Prompt) []chat.Member {
	asked := asksToThink(p)
	if asked == nil || takesEffort(model) {
		return nil
	}
	return []chat.Member{{Name: "chat_template_args", Value: map[string]bool{"enable_thinking": *asked}}}
}

// managedModels is the workspace's own list, for the address of a dedicated deployment: a call to the
// deployment itself could start it, which costs.
func managedModels(base string) (string, func([]byte) completion.Verdict) {
	u, err := url.Parse(base)
	if err != nil || !strings.HasSuffix(u.Hostname(), ".api.baseten.co") {
		return "", nil
	}
	return "https://api.baseten.co/v1/models", func(body []byte) completion.Verdict {
		list := jsonscan.Get(body, "models")
		if jsonscan.KindOf(list) != jsonscan.ArrayKind {
			return completion.Verdict{Reason: "the address answers, but not with a list of models; check the endpoint"}
		}
		models := jsonscan.Array(list)
		for models.Next() {
			id, _ := jsonscan.Text(jsonscan.Get(models.Value, "id"))
			if name := "model-" + id; id != "" && (strings.HasPrefix(u.Hostname(), name+".") || strings.HasPrefix(u.Hostname(), name+"-")) {
				return completion.Verdict{State: "active", Reason: "the provider accepts the key"}
			}
		}
		if !strings.HasPrefix(u.Hostname(), "model-") {
			return completion.Verdict{State: "active", Reason: "the provider accepts the key"}
		}
		return completion.Verdict{State: "degraded", Reason: "the provider accepts the key, and its workspace has no model at this base URL; check the endpoint"}
	}
}

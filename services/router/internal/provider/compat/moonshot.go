package compat

import (
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
)

// moonshot is Kimi. Its newer models fix how they sample, want their thinking back with tool calls, and see
// only pictures that come with the request.
func moonshot() Vendor {
	return Vendor{
		Facts: provider.Facts{ //nolint:gosec // what a key looks like, for people
			Slug: "moonshot", Name: "Moonshot AI", BaseURL: "https://api.moonshot.ai/v1", Forms: []string{"chat completions"},
			Credential: "API key; keys of the platform in China need the base URL `https://api.moonshot.cn/v1`",
			KeyTest:    "asks for the balance, then lists the models",
		},
		Chat: chat.Vendor{
			MaxTokens: "max_completion_tokens",
			Efforts:   []string{"low", "high", "max"},
			Lacks: []completion.Feature{
				completion.FeatureTopK, completion.FeatureSeed, completion.FeatureLogprobs, completion.FeatureVerbosity,
				completion.FeatureServiceTier, completion.FeatureDocuments, completion.FeatureAudio,
			},
			Of:           kimi,
			Extra:        kimiThinking,
			CleanSchemas: true, InlineImages: true,
			Errors: []chat.Rule{
				{Words: []string{"exceeded_current_quota_error"}, Class: completion.QuotaExhausted},
				{Text: []string{"insufficient balance"}, Class: completion.QuotaExhausted},
				{Words: []string{"invalid_authentication_error", "incorrect_api_key_error"}, Class: completion.AuthInvalid},
				{Words: []string{"engine_overloaded_error", "server_unavailable"}, Class: completion.Overloaded},
				{Words: []string{"rate_limit_reached_error"}, Class: completion.RateLimited},
				{Words: []string{"permission_denied_error"}, Class: completion.AuthLimited},
				{Words: []string{"resource_not_found_error"}, Class: completion.ModelNotFound},
				{Words: []string{"unexpected_output"}, Class: completion.ServerError},
				{Status: 400, Text: []string{"token length too long", "exceeded model token limit"}, Class: completion.TooLarge},
			},
		},
		Account: []Question{{URL: below("/users/me/balance"), Read: readBalance}},
	}
}

// kimi is what a model takes.
func kimi(model string) chat.Model {
	has := func(prefixes ...string) bool {
		for _, p := range prefixes {
			if strings.HasPrefix(model, p) {
				return true
			}
		}
		return false
	}
	m := chat.Model{History: chat.AsReasoningContent}
	switch {
	case has("kimi-k3"):
		m.FixedSampling, m.NeedsReasoning = true, true
	case has("kimi-k2.5", "kimi-k2.6"):
		m.FixedSampling, m.NeedsReasoning, m.NoEffort = true, true, true // told by "thinking"
	case has("kimi-k2.7"):
		m.FixedSampling, m.NeedsReasoning, m.NoEffort = true, true, true // always thinks
	case has("kimi-k2-thinking"):
		m.NeedsReasoning, m.NoEffort = true, true
	default:
		m.History = chat.Forgotten
		m.Lacks = []completion.Feature{completion.FeatureReasoningEffort, completion.FeatureReasoningBudget}
	}
	return m
}

// kimiThinking tells the models that can be told whether to think.
func kimiThinking(model string, p *completion.Prompt) []chat.Member {
	if !strings.HasPrefix(model, "kimi-k2.5") && !strings.HasPrefix(model, "kimi-k2.6") {
		return nil
	}
	switch asked := asksToThink(p); {
	case asked == nil:
		return nil
	case *asked:
		return []chat.Member{{Name: "thinking", Value: map[string]string{"type": "enabled"}}}
	}
	return []chat.Member{{Name: "thinking", Value: map[string]string{"type": "disabled"}}}
}

// readBalance reads what is left. Nothing is answered for an account that is empty.
func readBalance(body []byte) completion.Verdict {
	code, ok := jsonscan.Int(jsonscan.Get(body, "code"))
	balance, told := jsonscan.Float(jsonscan.Get(body, "data", "available_balance"))
	switch {
	case !ok || code != 0 || !told:
		return completion.Verdict{Reason: "the address answers, but not with a balance; check the endpoint"}
	case balance <= 0:
		return completion.Verdict{State: "quota_exhausted", Reason: "the provider accepts the key, and its account is empty; add credit at the provider"}
	}
	return completion.Verdict{State: "active", Reason: "the provider accepts the key"}
}

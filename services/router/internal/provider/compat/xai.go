package compat

import (
	"math"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
	"github.com/claviger/claviger/services/router/internal/provider/form/embeddings"
	"github.com/claviger/claviger/services/router/internal/provider/form/images"
	"github.com/claviger/claviger/services/router/internal/provider/form/responses"
	"github.com/claviger/claviger/services/router/internal/provider/form/videos"
)

// xai is Grok. A wrong key is a 400 there, and an empty account a 403 or 429, so errors are told apart by
// their text.
func xai() Vendor {
	return Vendor{
		Facts: provider.Facts{
			Slug: "xai", Name: "xAI", BaseURL: "https://api.x.ai/v1", Forms: []string{"chat completions", "messages", "responses", "embeddings", "images", "videos"},
			Credential: "API key", KeyTest: "asks what the key may do, then lists the models",
		},
		Chat: chat.Vendor{
			MaxTokens: "max_completion_tokens",
			Efforts:   []string{"none", "low", "medium", "high", "xhigh"},
			Lacks: []completion.Feature{
				completion.FeatureTopK, completion.FeatureVerbosity, completion.FeatureDocuments, completion.FeatureAudio,
			},
			Of: grok,
			// Reasoning models refuse some of these, also where they say nothing.
			Fields: map[string]chat.Edit{
				"logit_bias": chat.Refused, "frequency_penalty": chat.Tidied, "presence_penalty": chat.Tidied, "stop": chat.Tidied,
			},
			Apart: chat.ByTotal, CachedApart: true, Cost: ticks,
			Errors: []chat.Rule{
				{Text: []string{"incorrect api key"}, Class: completion.AuthInvalid},
				{Words: []string{"personal-team-blocked:spending-limit"}, Class: completion.QuotaExhausted},
				{Text: []string{
					"used all available credits", "spending limit", "spending-limit", "run out of credits",
					"doesn't have any credits", "credits or licenses",
				}, Class: completion.QuotaExhausted},
				{Words: []string{"resource-exhausted"}, Class: completion.RateLimited},
				{Text: []string{"too many tokens for team", "too many requests"}, Class: completion.RateLimited},
				{Status: 200, Text: []string{"unavailable"}, Class: completion.Overloaded},
			},
		},
		Messages:   below("/messages"),
		Responses:  &responses.Vendor{Cost: ticks},
		Embeddings: &embeddings.Vendor{Cost: ticks},
		Images:     &images.Vendor{Members: grokPicture, PerImage: true, Cost: ticks},
		Videos:     &videos.Vendor{Cost: ticks},
		Converts:   []completion.Dialect{completion.OpenAIImages}, // "size" and more are refused there
		Account:    []Question{{URL: below("/api-key"), Read: readGrokKey}},
	}
}

// grok is what a model takes: reasoning models take neither penalties nor stops, and each its own efforts.
func grok(model string) chat.Model {
	var m chat.Model
	is := func(prefixes ...string) bool {
		for _, p := range prefixes {
			if model == p || strings.HasPrefix(model, p+"-") {
				return true
			}
		}
		return false
	}
	silent := strings.Contains(model, "non-reasoning") || is("grok-2", "grok-3") && !is("grok-3-mini")
	if !silent {
		m.Lacks = append(m.Lacks, completion.FeatureFrequencyPenalty, completion.FeaturePresencePenalty, completion.FeatureStop)
	}
	switch {
	case is("grok-4.6", "grok-4.7"):
		m.Efforts = []string{"low", "medium", "high", "xhigh"}
	case is("grok-4.5"):
		m.Efforts = []string{"low", "medium", "high"}
	case is("grok-4.3"):
		m.Efforts = []string{"none", "low", "medium", "high"}
	case is("grok-3-mini"):
		m.Efforts = []string{"low", "high"}
	case is("grok-4.20-multi-agent"):
	case silent, is("grok-4", "grok-4.20", "grok-build-0.1"):
		m.Lacks = append(m.Lacks, completion.FeatureReasoningEffort, completion.FeatureReasoningBudget)
	}
	return m
}

// grokPicture are the members of a request for pictures: shapes have names there, and no sizes.
func grokPicture(_ string, in *completion.ImageInput) (map[string]any, error) {
	out := map[string]any{}
	switch in.Size {
	case "", "auto":
	case "1024x1024":
		out["aspect_ratio"] = "1:1"
	case "1536x1024":
		out["aspect_ratio"] = "3:2"
	case "1024x1536":
		out["aspect_ratio"] = "2:3"
	default:
		return nil, provider.Uncarried("xAI", "size", "it takes aspect ratios only")
	}
	if err := withoutExtras("xAI", in); err != nil {
		return nil, err
	}
	if in.AspectRatio != "" {
		out["aspect_ratio"] = in.AspectRatio
	}
	if in.Count > 0 {
		out["n"] = in.Count
	}
	if in.Base64 {
		out["response_format"] = "b64_json"
	}
	return out, nil
}

// ticks are ten billionths of a dollar, after discounts and with the fees of tools.
func ticks(usage []byte) (int64, bool) {
	n, ok := jsonscan.Int(jsonscan.Get(usage, "cost_in_usd_ticks"))
	if !ok || n < 0 || n > 1e16 {
		return 0, false
	}
	return int64(math.RoundToEven(float64(n) / 10)), true
}

// readGrokKey reads what xAI says of a key. It does not say whether the team has credit.
func readGrokKey(body []byte) completion.Verdict {
	if jsonscan.KindOf(jsonscan.Get(body, "redacted_api_key")) != jsonscan.String && jsonscan.Get(body, "api_key_blocked") == nil {
		return completion.Verdict{Reason: "the address answers, but not as xAI does; check the endpoint"}
	}
	for name, reason := range map[string]string{
		"team_blocked":     "the provider has blocked the key's team; an owner has to settle it with the provider",
		"api_key_blocked":  "the provider has blocked the key; replace it",
		"api_key_disabled": "the key is disabled at the provider; enable it there, or replace it",
	} {
		if yes, _ := jsonscan.True(jsonscan.Get(body, name)); yes {
			return completion.Verdict{State: "rejected", Reason: reason}
		}
	}
	if acls := jsonscan.Get(body, "acls"); jsonscan.KindOf(acls) == jsonscan.ArrayKind && !strings.Contains(string(acls), "api-key:endpoint:") {
		return completion.Verdict{State: "degraded", Reason: "the key may call no endpoint; widen its access at the provider"}
	}
	return completion.Verdict{State: "active", Reason: "the provider accepts the key"}
}

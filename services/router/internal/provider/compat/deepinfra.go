package compat

import (
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
	"github.com/claviger/claviger/services/router/internal/provider/form/embeddings"
	"github.com/claviger/claviger/services/router/internal/provider/form/images"
)

// deepinfra lists its models for accounts that are empty, too, so it is asked for the account. Its address
// for messages and accounts is beside that of the form.
func deepinfra() Vendor {
	return Vendor{
		Facts: provider.Facts{ //nolint:gosec // what a key looks like, for people
			Slug: "deepinfra", Name: "DeepInfra", BaseURL: "https://api.deepinfra.com/v1/openai", Forms: []string{"chat completions", "messages", "embeddings", "images"},
			Credential: "API key or scoped token", KeyTest: "asks for the account and what it owes, then lists the models",
		},
		Chat: chat.Vendor{
			MaxTokens: "max_tokens",
			Efforts:   []string{"none", "low", "medium", "high", "xhigh"},
			Lacks:     []completion.Feature{completion.FeatureVerbosity, completion.FeatureDocuments, completion.FeatureAudio},
			Fields:    map[string]chat.Edit{"max_completion_tokens": chat.RenamedTo("max_tokens")},
			Apart:     chat.IfMore,
			Cost:      estimatedCost,
			Errors: []chat.Rule{
				{Text: []string{"positive balance"}, Class: completion.QuotaExhausted},
				{Text: []string{"not authenticated"}, Class: completion.AuthInvalid},
				{Text: []string{"model busy", "model is busy"}, Class: completion.Overloaded},
				{Text: []string{"rate limited"}, Class: completion.RateLimited},
			},
		},
		Messages:   func(base string) string { return deepinfraHost(base) + "/anthropic/v1/messages" },
		Counts:     true,
		Embeddings: &embeddings.Vendor{Cost: estimatedCost},
		Images:     &images.Vendor{Members: deepinfraPicture, PerImage: true, Cost: estimatedCost},
		Account: []Question{
			// Scoped tokens may be refused here. The method matters: DELETE would delete the account.
			{URL: func(base string) string { return deepinfraHost(base) + "/v1/me" }, Read: readAnyObject, Optional: true},
			{URL: func(base string) string { return deepinfraHost(base) + "/payment/checklist" }, Read: readChecklist, Optional: true},
		},
	}
}

// estimatedCost is in dollars.
func estimatedCost(usage []byte) (int64, bool) {
	return chat.Dollars(jsonscan.Get(usage, "estimated_cost"))
}

// deepinfraPicture are the members of a request for pictures, which are always bytes.
func deepinfraPicture(_ string, in *completion.ImageInput) (map[string]any, error) {
	if in.AspectRatio != "" {
		return nil, provider.Uncarried("DeepInfra", "aspect_ratio", "it takes sizes only")
	}
	if err := withoutExtras("DeepInfra", in); err != nil {
		return nil, err
	}
	out := map[string]any{"response_format": "b64_json"}
	if in.Size != "" && in.Size != "auto" {
		out["size"] = in.Size
	}
	if in.Count > 0 {
		out["n"] = in.Count
	}
	return out, nil
}

// deepinfraHost is the base URL without the path of the form.
func deepinfraHost(base string) string {
	return strings.TrimSuffix(strings.TrimSuffix(base, "/openai"), "/v1")
}

func readAnyObject(body []byte) completion.Verdict {
	if jsonscan.KindOf(trimmed(body)) != jsonscan.ObjectKind || !jsonscan.Valid(body) {
		return completion.Verdict{Reason: "the address answers, but not as the provider does; check the endpoint"}
	}
	return completion.Verdict{State: "active", Reason: "the provider accepts the key"}
}

// readChecklist reads what stands in the way of payment. A negative balance is credit; what was not billed
// yet comes off it.
func readChecklist(body []byte) completion.Verdict {
	suspended, _ := jsonscan.True(jsonscan.Get(body, "suspended"))
	card, _ := jsonscan.True(jsonscan.Get(body, "payment_method"))
	balance, told := jsonscan.Float(jsonscan.Get(body, "stripe_balance"))
	recent, _ := jsonscan.Float(jsonscan.Get(body, "recent"))
	switch {
	case suspended:
		why, _ := jsonscan.Text(jsonscan.Get(body, "suspend_reason"))
		return completion.Verdict{State: "quota_exhausted", Reason: "the provider accepts the key, and has suspended its account (" + provider.Bounded(why, 64) + "); settle it at the provider"}
	case told && !card && -balance-recent <= 0:
		return completion.Verdict{State: "quota_exhausted", Reason: "the provider accepts the key, and its account is empty; add credit at the provider"}
	}
	return readAnyObject(body)
}

package compat

import (
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
)

// perplexity grounds its answers in a search: it names sources, thinks in the text, repeats the whole answer
// and the count in every event, and says what a call costs. Its list of models tells nothing of a key, so
// keys are tried with the list of their own jobs.
func perplexity() Vendor {
	return Vendor{
		Facts: provider.Facts{
			Slug: "perplexity", Name: "Perplexity", BaseURL: "https://api.perplexity.ai", Forms: []string{"chat completions"},
			Credential: "API key", KeyTest: "lists the key's own asynchronous jobs",
		},
		Chat: chat.Vendor{
			MaxTokens: "max_tokens",
			Efforts:   []string{"minimal", "low", "medium", "high"},
			Lacks: []completion.Feature{
				completion.FeatureTools, completion.FeatureToolChoice, completion.FeatureParallelToolCalls, completion.FeatureSeed,
				completion.FeatureLogprobs, completion.FeatureVerbosity, completion.FeatureServiceTier,
				completion.FeatureJSONObject, completion.FeatureDocuments, completion.FeatureAudio, completion.FeatureName,
			},
			Fields: map[string]chat.Edit{
				"max_completion_tokens": chat.RenamedTo("max_tokens"),
				"tools":                 chat.Refused, "tool_choice": chat.Refused, "seed": chat.Refused, "logit_bias": chat.Refused,
				"parallel_tool_calls": chat.Dropped, "user": chat.Dropped, "store": chat.Dropped, "metadata": chat.Dropped,
				"prompt_cache_key": chat.Dropped,
			},
			NoStreamOptions: true, ThinkTags: true,
			Apart: chat.Always, Cost: totalCost,
			Errors: []chat.Rule{
				{Words: []string{"too_many_prompt_tokens"}, Class: completion.TooLarge},
			},
		},
		Account:  []Question{{URL: below("/async/chat/completions"), Read: readJobs}},
		Unlisted: true,
	}
}

// totalCost is in dollars. Until the last event it is 0, or counts no fee yet.
func totalCost(usage []byte) (int64, bool) {
	cost := jsonscan.Get(usage, "cost")
	nano, ok := chat.Dollars(jsonscan.Get(cost, "total_cost"))
	return nano, ok && nano > 0
}

func readJobs(body []byte) completion.Verdict {
	if jsonscan.KindOf(trimmed(body)) != jsonscan.ObjectKind || !jsonscan.Valid(body) {
		return completion.Verdict{Reason: "the address answers, but not as Perplexity does; check the endpoint"}
	}
	return completion.Verdict{State: "active", Reason: "the provider accepts the key"}
}

func trimmed(body []byte) []byte {
	if at := jsonscan.Trailing(body, 0); at >= 0 {
		return body[at:]
	}
	return nil
}

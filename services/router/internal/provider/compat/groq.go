package compat

import (
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
	"github.com/claviger/claviger/services/router/internal/provider/form/responses"
)

// groq refuses fields that others ignore, counts in x_groq, and ends a stream that failed with an event of
// its own name.
func groq() Vendor {
	return Vendor{
		Facts: provider.Facts{
			Slug: "groq", Name: "Groq", BaseURL: "https://api.groq.com/openai/v1", Forms: []string{"chat completions", "responses"},
			Credential: "API key", KeyTest: "lists the models",
		},
		Chat: chat.Vendor{
			MaxTokens: "max_completion_tokens",
			Lacks: []completion.Feature{
				completion.FeatureTopK, completion.FeatureFrequencyPenalty, completion.FeaturePresencePenalty,
				completion.FeatureLogprobs, completion.FeatureVerbosity, completion.FeatureDocuments, completion.FeatureAudio,
				completion.FeatureName,
			},
			Of:    groqModel,
			Extra: parsedReasoning,
			Fields: map[string]chat.Edit{
				"metadata": chat.Dropped, "store": chat.Dropped, "prompt_cache_key": chat.Dropped, "safety_identifier": chat.Dropped,
				"logprobs": chat.Refused, "top_logprobs": chat.Refused, "logit_bias": chat.Refused, "n": chat.Refused,
				"frequency_penalty": chat.Refused, "presence_penalty": chat.Refused,
			},
			InMessages: map[string]chat.Edit{
				"name": chat.Refused, "reasoning_content": chat.Dropped, "reasoning_details": chat.Dropped,
				"refusal": chat.Refused, "annotations": chat.Dropped, "audio": chat.Refused, "function_call": chat.Refused,
			},
			Errors: []chat.Rule{
				// One request over the limit per minute: waiting does not help, another key or model may.
				{Status: 413, Class: completion.Unsupported},
				{Words: []string{"tool_use_failed"}, Class: completion.ServerError}, // the model's mistake; it may do better
				{Status: 498, Class: completion.Overloaded},
				{Words: []string{"capacity_exceeded"}, Class: completion.Overloaded},
				{Status: 424, Class: completion.ServerError},
			},
		},
		Responses: &responses.Vendor{},
	}
}

func groqModel(model string) chat.Model {
	switch {
	case strings.Contains(model, "gpt-oss"):
		return chat.Model{Efforts: []string{"low", "medium", "high"}, History: chat.AsReasoning}
	case strings.Contains(model, "qwen3.8"):
		return chat.Model{Efforts: []string{"none", "low", "medium", "high"}}
	case strings.Contains(model, "qwen"):
		return chat.Model{NoEffort: true}
	}
	return chat.Model{}
}

// parsedReasoning asks Qwen's models, whose thinking else stands in the text, to give it apart; the older
// ones can only be told whether to think.
func parsedReasoning(model string, p *completion.Prompt) []chat.Member {
	if !strings.Contains(model, "qwen") {
		return nil
	}
	out := []chat.Member{{Name: "reasoning_format", Value: "parsed"}}
	if strings.Contains(model, "qwen3.8") {
		return out
	}
	switch asked := asksToThink(p); {
	case asked == nil:
	case *asked:
		out = append(out, chat.Member{Name: "reasoning_effort", Value: "default"})
	default:
		out = append(out, chat.Member{Name: "reasoning_effort", Value: "none"})
	}
	return out
}

// asksToThink says whether a prompt asks a model to think, or not to; nil if it says neither.
func asksToThink(p *completion.Prompt) *bool {
	switch {
	case p.ReasoningEffort != "":
		return new(p.ReasoningEffort != "none")
	case p.ReasoningBudget != nil:
		return new(*p.ReasoningBudget > 0)
	}
	return nil
}

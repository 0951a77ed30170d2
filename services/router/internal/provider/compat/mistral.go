package compat

import (
	"crypto/sha256"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
	"github.com/claviger/claviger/services/router/internal/provider/form/embeddings"
)

// mistral refuses every field that it does not know, gives thinking as parts of the content, and takes ids
// of tool calls of nine characters only.
func mistral() Vendor {
	return Vendor{
		Facts: provider.Facts{
			Slug: "mistral", Name: "Mistral", BaseURL: "https://api.mistral.ai/v1", Forms: []string{"chat completions", "embeddings"},
			Credential: "API key", KeyTest: "lists the models",
		},
		Chat: chat.Vendor{
			MaxTokens: "max_tokens", Seed: "random_seed",
			Efforts: []string{"none", "minimal", "low", "medium", "high", "xhigh"},
			Lacks: []completion.Feature{
				completion.FeatureTopK, completion.FeatureLogprobs, completion.FeatureVerbosity, completion.FeatureAudio, completion.FeatureName,
			},
			Of:           func(string) chat.Model { return chat.Model{History: chat.AsParts} },
			DocumentURLs: true,
			Fields: map[string]chat.Edit{
				"max_completion_tokens": chat.RenamedTo("max_tokens"), "seed": chat.RenamedTo("random_seed"),
				"user": chat.Dropped, "store": chat.Dropped, "safety_identifier": chat.Dropped, "prompt_cache_retention": chat.Dropped,
			},
			Only: []string{
				"messages", "stream", "stop", "metadata", "n", "temperature", "top_p", "max_tokens", "random_seed",
				"presence_penalty", "frequency_penalty", "response_format", "tools", "tool_choice", "parallel_tool_calls",
				"prediction", "safe_prompt", "guardrails", "prompt_cache_key", "service_tier", "reasoning_effort", "prompt_mode",
			},
			InMessages: map[string]chat.Edit{
				"name": chat.Refused, "reasoning_content": chat.Dropped, "reasoning": chat.Dropped, "reasoning_details": chat.Dropped,
				"refusal": chat.Refused, "annotations": chat.Dropped, "audio": chat.Refused, "function_call": chat.Refused,
			},
			Roles:           map[string]string{"developer": "system"},
			ToolID:          nineCharacters,
			NoStreamOptions: true,
			Errors: []chat.Rule{
				{Words: []string{"engine_max_pending_tokens", "3810"}, Class: completion.Overloaded},
				{Words: []string{"rate_limited", "1300"}, Class: completion.RateLimited},
				{Words: []string{"internal_server_error", "3800"}, Class: completion.ServerError},
				{Status: 400, Text: []string{"invalid model"}, Class: completion.ModelNotFound},
				{Status: 400, Text: []string{"too large for model", "context length", "too long"}, Class: completion.TooLarge},
			},
		},
		Embeddings: &embeddings.Vendor{Dimensions: "output_dimension", Floats: true, NoUser: true},
		Converts:   []completion.Dialect{completion.OpenAIEmbeddings}, // OpenAI's names are refused there
	}
}

const (
	toolIDLength = 9
	alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// nineCharacters leaves an id that Mistral takes as it is, and makes one of every other: always the same, so
// that a call and its result still belong together. The chance that two of a thousand ids become the same
// is below one in ten billion.
func nineCharacters(id string) string {
	fits := len(id) == toolIDLength
	for i := 0; fits && i < len(id); i++ {
		c := id[i]
		fits = c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
	}
	if fits {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	out := make([]byte, toolIDLength)
	for i := range out {
		out[i] = alphanumeric[int(sum[i])%len(alphanumeric)]
	}
	return string(out)
}

package bedrock

import "encoding/json"

// The wire form of a Converse request.
type (
	wireRequest struct {
		System     []wireSystem    `json:"system,omitempty"`
		Messages   []wireMessage   `json:"messages"`
		Inference  *wireInference  `json:"inferenceConfig,omitempty"`
		Tools      *wireToolConfig `json:"toolConfig,omitempty"`
		Output     *wireOutput     `json:"outputConfig,omitempty"`
		Tier       *wireTyped      `json:"serviceTier,omitempty"`
		Additional *wireAdditional `json:"additionalModelRequestFields,omitempty"`
	}
	wireSystem struct {
		Text  string     `json:"text,omitempty"`
		Cache *wireCache `json:"cachePoint,omitempty"`
	}
	wireMessage struct {
		Role    string      `json:"role"`
		Content []wireBlock `json:"content"`
	}
	// wireBlock is one of its fields.
	wireBlock struct {
		Text      string         `json:"text,omitempty"`
		Image     *wireFile      `json:"image,omitempty"`
		Document  *wireFile      `json:"document,omitempty"`
		Audio     *wireFile      `json:"audio,omitempty"`
		ToolUse   *wireToolUse   `json:"toolUse,omitempty"`
		Result    *wireResult    `json:"toolResult,omitempty"`
		Reasoning *wireReasoning `json:"reasoningContent,omitempty"`
		Cache     *wireCache     `json:"cachePoint,omitempty"`
	}
	wireFile struct {
		Format string     `json:"format"`
		Name   string     `json:"name,omitempty"`
		Source wireSource `json:"source"`
	}
	wireSource struct {
		Bytes []byte `json:"bytes"`
	}
	wireToolUse struct {
		ID    string          `json:"toolUseId"`
		Name  string          `json:"name"`
		Input json.RawMessage `json:"input"`
	}
	wireResult struct {
		ID      string      `json:"toolUseId"`
		Content []wireBlock `json:"content"`
		Status  string      `json:"status,omitempty"`
	}
	wireReasoning struct {
		Text     *wireReasoningText `json:"reasoningText,omitempty"`
		Redacted string             `json:"redactedContent,omitempty"`
	}
	wireReasoningText struct {
		Text      string `json:"text"`
		Signature string `json:"signature,omitempty"`
	}
	wireCache struct {
		Type string `json:"type"`
		TTL  string `json:"ttl,omitempty"`
	}
	wireTyped struct {
		Type string `json:"type"`
	}
	wireInference struct {
		MaxTokens     *int64   `json:"maxTokens,omitempty"`
		Temperature   *float64 `json:"temperature,omitempty"`
		TopP          *float64 `json:"topP,omitempty"`
		StopSequences []string `json:"stopSequences,omitempty"`
	}
	wireToolConfig struct {
		Tools  []wireTool  `json:"tools"`
		Choice *wireChoice `json:"toolChoice,omitempty"`
	}
	wireTool struct {
		Spec  *wireSpec  `json:"toolSpec,omitempty"`
		Cache *wireCache `json:"cachePoint,omitempty"`
	}
	wireSpec struct {
		Name        string     `json:"name"`
		Description string     `json:"description,omitempty"`
		Schema      wireSchema `json:"inputSchema"`
		Strict      *bool      `json:"strict,omitempty"`
	}
	wireSchema struct {
		JSON json.RawMessage `json:"json"`
	}
	// wireChoice is one of its fields.
	wireChoice struct {
		Auto *struct{}  `json:"auto,omitempty"`
		Any  *struct{}  `json:"any,omitempty"`
		Tool *wireNamed `json:"tool,omitempty"`
	}
	wireNamed struct {
		Name string `json:"name"`
	}
	wireOutput struct {
		Format *wireFormat `json:"textFormat,omitempty"`
	}
	wireFormat struct {
		Type      string        `json:"type"`
		Structure wireStructure `json:"structure"`
	}
	wireStructure struct {
		Schema wireJSONSchema `json:"jsonSchema"`
	}
	wireJSONSchema struct {
		Name string `json:"name,omitempty"`
		// Schema is a text that holds JSON.
		Schema string `json:"schema"`
	}
	// wireAdditional are the fields that only some makers know.
	wireAdditional struct {
		// Claude's.
		Thinking     json.RawMessage `json:"thinking,omitempty"`
		OutputConfig json.RawMessage `json:"output_config,omitempty"`
		TopK         *int64          `json:"top_k,omitempty"`
		// Cohere's.
		K *int64 `json:"k,omitempty"`
		// Nova's.
		Inference *wireNovaInference `json:"inferenceConfig,omitempty"`
		Reasoning *wireNovaReasoning `json:"reasoningConfig,omitempty"`
		// OpenAI's.
		ReasoningEffort string `json:"reasoning_effort,omitempty"`
	}
	wireNovaInference struct {
		TopK int64 `json:"topK"`
	}
	wireNovaReasoning struct {
		Type   string `json:"type"`
		Effort string `json:"maxReasoningEffort,omitempty"`
	}
)

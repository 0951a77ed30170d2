package completion

// Prompt is the neutral form of a request: what every provider adapter encodes from.
//
// What an adapter cannot carry it refuses by name, never drops: Features lists what a prompt uses.
type Prompt struct {
	Messages          []Message
	Tools             []Tool
	ToolChoice        ToolChoice
	ParallelToolCalls *bool
	MaxOutputTokens   *int64
	Temperature       *float64
	TopP              *float64
	TopK              *int64
	FrequencyPenalty  *float64
	PresencePenalty   *float64
	Stop              []string
	// ReasoningEffort is "none", "minimal", "low", "medium", "high", "xhigh", "max" or empty.
	ReasoningEffort string
	// ReasoningBudget is how many tokens the model may think, as Anthropic and Gemini know it. An adapter
	// that only knows efforts takes the nearest.
	ReasoningBudget *int64
	// ShowReasoning asks for the text of the thinking, or a summary, where it is not given unasked.
	ShowReasoning bool
	// Logprobs asks for the probabilities of the answer's tokens, with so many alternatives each.
	Logprobs    bool
	TopLogprobs int
	// Verbosity is "low", "medium", "high" or empty.
	Verbosity string
	// ServiceTier is the provider's own word for how fast and dear it is; empty is the default.
	ServiceTier    string
	ResponseFormat ResponseFormat
	Seed           *int64
	// User names the caller's end user. A provider that takes no such name does without.
	User string
	// CacheKey helps a provider find what it has cached; a hint that may be dropped.
	CacheKey string

	// Embedding, Image and Video are the input of their operations; then all above but User is empty.
	Embedding *EmbeddingInput
	Image     *ImageInput
	Video     *VideoInput
}

// Feature is something that a prompt uses and not every provider can carry, by the name that an error
// tells the caller.
type Feature string

// The features.
const (
	FeatureTemperature       Feature = "temperature"
	FeatureTopP              Feature = "top_p"
	FeatureTopK              Feature = "top_k"
	FeatureFrequencyPenalty  Feature = "frequency_penalty"
	FeaturePresencePenalty   Feature = "presence_penalty"
	FeatureStop              Feature = "stop"
	FeatureSeed              Feature = "seed"
	FeatureLogprobs          Feature = "logprobs"
	FeatureVerbosity         Feature = "verbosity"
	FeatureServiceTier       Feature = "service_tier"
	FeatureReasoningEffort   Feature = "reasoning_effort"
	FeatureReasoningBudget   Feature = "reasoning_budget"
	FeatureTools             Feature = "tools"
	FeatureToolChoice        Feature = "tool_choice"
	FeatureParallelToolCalls Feature = "parallel_tool_calls" // given as false; true is everybody's default
	FeatureJSONObject        Feature = "response_format.json_object"
	FeatureJSONSchema        Feature = "response_format.json_schema"
	FeatureImages            Feature = "images"
	FeatureToolImages        Feature = "images in tool results"
	FeatureDocuments         Feature = "documents"
	FeatureAudio             Feature = "audio"
	FeatureName              Feature = "messages.name"
)

// Features lists what p uses, in the order of the constants. Reasoning that comes back, cache marks,
// CacheKey and User are not among them: each adapter carries them as far as its provider knows them,
// and without them the answer is no other.
func (p *Prompt) Features() []Feature {
	var images, toolImages, documents, audio, names bool
	for i := range p.Messages {
		m := &p.Messages[i]
		names = names || m.Name != ""
		for j := range m.Parts {
			part := &m.Parts[j]
			switch {
			case part.IsImage() && m.Role == ToolRole:
				toolImages = true
			case part.IsImage():
				images = true
			case part.Document != nil:
				documents = true
			case part.Audio != nil:
				audio = true
			}
		}
	}
	var out []Feature
	for _, f := range [...]struct {
		used bool
		name Feature
	}{
		{p.Temperature != nil, FeatureTemperature},
		{p.TopP != nil, FeatureTopP},
		{p.TopK != nil, FeatureTopK},
		{p.FrequencyPenalty != nil, FeatureFrequencyPenalty},
		{p.PresencePenalty != nil, FeaturePresencePenalty},
		{len(p.Stop) > 0, FeatureStop},
		{p.Seed != nil, FeatureSeed},
		{p.Logprobs, FeatureLogprobs},
		{p.Verbosity != "", FeatureVerbosity},
		{p.ServiceTier != "", FeatureServiceTier},
		{p.ReasoningEffort != "", FeatureReasoningEffort},
		{p.ReasoningBudget != nil, FeatureReasoningBudget},
		{len(p.Tools) > 0, FeatureTools},
		{p.ToolChoice.Mode != "", FeatureToolChoice},
		{p.ParallelToolCalls != nil && !*p.ParallelToolCalls, FeatureParallelToolCalls},
		{p.ResponseFormat.Kind == "json_object", FeatureJSONObject},
		{p.ResponseFormat.Kind == "json_schema", FeatureJSONSchema},
		{images, FeatureImages},
		{toolImages, FeatureToolImages},
		{documents, FeatureDocuments},
		{audio, FeatureAudio},
		{names, FeatureName},
	} {
		if f.used {
			out = append(out, f.name)
		}
	}
	return out
}

// Role says who speaks in a Message.
type Role string

// The roles.
const (
	System    Role = "system"
	User      Role = "user"
	Assistant Role = "assistant"
	ToolRole  Role = "tool"
)

// Message is one turn. An assistant's tool calls come after its parts.
type Message struct {
	Role Role
	// Name tells speakers of one role apart, where a provider knows that.
	Name       string
	Parts      []Part
	ToolCalls  []ToolCall
	ToolCallID string // of a tool message
	// ToolFailed says that the tool message tells of a failure.
	ToolFailed bool
}

// Part is a piece of content: exactly one of a text, a picture (by URL or by bytes), a document, audio
// or, in an assistant's message, reasoning.
type Part struct {
	Text      string
	ImageURL  string
	ImageData []byte
	MediaType string // of ImageData, such as "image/png"
	// Detail is OpenAI's "low", "high" or "auto" for pictures, empty if not given.
	Detail    string
	Document  *Document
	Audio     *Audio
	Reasoning *Reasoning
	// CacheTTL marks the end of what a provider should cache, "5m" or "1h"; empty is no mark.
	CacheTTL string
}

// Document is a file for the model to read, by URL or by bytes.
type Document struct {
	Name, URL, MediaType string
	Data                 []byte
}

// Audio is sound for the model to hear. Format is "wav", "mp3" and the like.
type Audio struct {
	Data   []byte
	Format string
}

// Reasoning is a model's thinking, with what its provider needs to go on from it.
type Reasoning struct {
	// Text is visible thinking or, if Summary, a summary of it. It may be empty.
	Text    string
	Summary bool
	// Signature proves Text to its provider. Encrypted is thinking that only the provider can read.
	Signature, Encrypted string
	// ID is the provider's name for the block, if it has names.
	ID string
	// Format says whose signature or encrypted text it is: only adapters of that format send it back, all
	// others leave the state out. Empty if there is neither.
	Format StateFormat
}

// StateFormat says who can read a signature or encrypted thinking. Whether another credential of the same vendor can
// is the vendor's affair, and changes: nobody here relies on it. What was refused is left out, see Call.StripState.
//
//	anthropic  signatures are the model's, and newer models' the conversation's; by Anthropic's own words they are taken
//	           by other accounts, and at Bedrock and Vertex AI, too
//	google     signatures are the model's; whether other projects, or Vertex AI those of AI Studio, take them nobody says
//	openai     what is encrypted is the organization's (at Azure the resource's, at xAI the team's)
//	bedrock    of models other than Claude: nobody says
type StateFormat string

// The formats.
const (
	AnthropicState StateFormat = "anthropic"
	GoogleState    StateFormat = "google"
	OpenAIState    StateFormat = "openai"
	BedrockState   StateFormat = "bedrock" // of models other than Anthropic's
)

// IsImage reports whether the part is a picture.
func (p Part) IsImage() bool { return p.ImageURL != "" || p.ImageData != nil }

// Tool is a function that the model may call. Parameters is JSON Schema text.
type Tool struct {
	Name, Description, Parameters string
	Strict                        *bool
	CacheTTL                      string // as in Part
}

// ToolCall is a call that the model made. Arguments is JSON text and may be invalid.
type ToolCall struct {
	ID, Name, Arguments string
	// Signature is state that has to come back with the call, as Gemini's thoughtSignature; Format says whose.
	Signature string
	Format    StateFormat
	CacheTTL  string // as in Part
}

// ToolChoice says whether and which tool must be called: Mode is "", "auto", "none", "required" or
// "named", and then Name is the tool.
type ToolChoice struct{ Mode, Name string }

// ResponseFormat asks for JSON: Kind is "", "text", "json_object" or "json_schema".
type ResponseFormat struct {
	Kind, Name, Schema string
	Strict             *bool
}

// EmbeddingInput asks for the vectors of texts.
type EmbeddingInput struct {
	Texts []string
	// Dimensions shortens the vectors; nil is the model's own length.
	Dimensions *int64
	// Base64 says that the caller wants little-endian float32 in base64; providers are asked for what
	// they can, and the dialect encodes.
	Base64 bool
	// Purpose is "query", "document" or empty, where a provider tells them apart.
	Purpose string
}

// ImageInput asks for pictures.
type ImageInput struct {
	Text string
	// Count is how many, 0 is 1.
	Count int
	// Size is "1024x1024", "auto" or empty; AspectRatio "16:9" or empty.
	Size, AspectRatio string
	// Quality, Style, Background and Format are OpenAI's words ("high", "vivid", "transparent", "png").
	Quality, Style, Background, Format string
	// Base64 asks for bytes in place of a URL where there is a choice.
	Base64 bool
	Seed   *int64
}

// VideoInput submits a video job.
type VideoInput struct {
	Text string
	// Seconds is the length; 0 is the model's default. Size is "1280x720", Resolution "720p", AspectRatio "16:9".
	Seconds                       int
	Size, Resolution, AspectRatio string
	// ImageURL is the first frame, or ImageData with MediaType.
	ImageURL, MediaType string
	ImageData           []byte
	Seed                *int64
	// Parameters is JSON text of the model's own input, which wins over all above; empty is none.
	Parameters string
}

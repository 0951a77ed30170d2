// Package completion is the use case of the router: it answers one request through the targets that
// the organization's rules allow, one attempt after the other, and leaves a usage event for each.
//
// It knows no wire and no table: dialects decode into its types and encode from them, providers
// carry them to an upstream API. When caller and provider speak the same dialect, bytes pass as
// they are and nothing is decoded.
package completion

import "github.com/claviger/claviger/pkg/secret"

// Dialect names an API form that callers and providers speak.
type Dialect string

// The dialects.
const (
	OpenAIChat        Dialect = "openai.chat"
	AnthropicMessages Dialect = "anthropic.messages"
	Typed             Dialect = "grpc" // our own CompletionService, over gRPC, gRPC-Web or Connect
)

// Request is one client call.
type Request struct {
	// ID is "req_…".
	ID string
	// Dialect is what the caller speaks.
	Dialect Dialect
	// Model is what the caller asked for: "provider/model", "policy/<name>" or nothing.
	Model string
	// Stream says whether the caller wants the answer piece by piece.
	Stream bool
	// IncludeUsage says whether the caller asked for the usage chunk of an OpenAI stream.
	IncludeUsage bool
	// Raw is the caller's body, byte for byte, when Dialect is a provider's; nil for Typed. Nobody
	// changes it: attempts edit copies.
	Raw []byte
	// Decode returns the whole prompt in the neutral form. It is called only when a target speaks
	// another dialect. Its error is a fault that names what cannot be carried.
	Decode func() (*Prompt, error)
	// Tags, Session and User are kept with the usage.
	Tags    map[string]string
	Session string
	User    string
	// InputBytes is the size of the prompt, for estimates.
	InputBytes int
}

// Prompt is the neutral form of a request: what every provider adapter encodes from.
type Prompt struct {
	Messages          []Message
	Tools             []Tool
	ToolChoice        ToolChoice
	ParallelToolCalls *bool
	MaxOutputTokens   *int64
	Temperature       *float64
	TopP              *float64
	Stop              []string
	// ReasoningEffort is "none", "minimal", "low", "medium", "high", "xhigh", "max" or empty.
	ReasoningEffort string
	ResponseFormat  ResponseFormat
	Seed            *int64
	User            string
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

// Message is one turn.
type Message struct {
	Role       Role
	Parts      []Part
	ToolCalls  []ToolCall
	ToolCallID string // of a tool message
}

// Part is a piece of content: text, or a picture by URL or by bytes.
type Part struct {
	Text      string
	ImageURL  string
	ImageData []byte
	MediaType string
	// Detail is OpenAI's "low", "high" or "auto" for pictures, empty if not given.
	Detail string
}

// IsImage reports whether the part is a picture.
func (p Part) IsImage() bool { return p.ImageURL != "" || p.ImageData != nil }

// Tool is a function that the model may call. Parameters is JSON Schema text.
type Tool struct {
	Name, Description, Parameters string
	Strict                        *bool
}

// ToolCall is a call that the model made. Arguments is JSON text and may be invalid.
type ToolCall struct{ ID, Name, Arguments string }

// ToolChoice says whether and which tool must be called: Mode is "", "auto", "none", "required" or
// "named", and then Name is the tool.
type ToolChoice struct{ Mode, Name string }

// ResponseFormat asks for JSON: Kind is "", "text", "json_object" or "json_schema".
type ResponseFormat struct {
	Kind, Name, Schema string
	Strict             *bool
}

// Call is one attempt as a provider adapter sees it.
type Call struct {
	// AttemptID is sent along as x-client-request-id, for support cases and for proofs.
	AttemptID string
	// Model is the provider's own name of the model, without the provider's slug.
	Model string
	// BaseURL is where to send it, without a slash at the end: the tenant's, the operator's or the
	// provider's own.
	BaseURL string
	// Secret is the provider's API key.
	Secret secret.Text
	// Request is the client call.
	Request *Request
	// Raw says that the request's bytes may pass: caller and provider speak the same dialect. The
	// answer's chunks then carry Raw, and Delta is not filled.
	Raw bool
}

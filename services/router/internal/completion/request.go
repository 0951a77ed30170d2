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
	OpenAIResponses   Dialect = "openai.responses"
	OpenAIEmbeddings  Dialect = "openai.embeddings"
	OpenAIImages      Dialect = "openai.images"
	OpenAIVideos      Dialect = "openai.videos"
	AnthropicMessages Dialect = "anthropic.messages"
	AnthropicCount    Dialect = "anthropic.count_tokens"
	Typed             Dialect = "grpc" // our own services, over gRPC, gRPC-Web or Connect
)

// Operation is what a request asks for.
type Operation string

// The operations.
const (
	Chat        Operation = "chat" // the next turn of a conversation
	Embeddings  Operation = "embeddings"
	Images      Operation = "images"
	CountTokens Operation = "count_tokens" // of a prompt, without answering it
	Videos      Operation = "videos"       // submits a job
)

// Once reports whether an operation must not be sent a second time while nobody knows what became of the
// first: each call is work that is paid for whole, and no provider of it recognizes a repeated one.
func (o Operation) Once() bool { return o == Images || o == Videos }

// Request is one client call.
type Request struct {
	// ID is "req_…".
	ID string
	// Dialect is what the caller speaks.
	Dialect Dialect
	// Operation is what is asked for; empty is Chat.
	Operation Operation
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
	// Headers are what the caller's dialect says in headers and a provider that speaks it may be told; their
	// names are in the canonical form. Nil if there are none.
	Headers map[string]string
	// Gone reports whether nobody waits for the answer any more, of a request that is served to its end all
	// the same; nil is that the context tells.
	Gone func() bool
	// Tags, Session and User are kept with the usage.
	Tags    map[string]string
	Session string
	User    string
	// CacheKey is what the caller says by which its prompts share what a provider caches of them; empty is nothing.
	CacheKey string
	// InputBytes is the size of the prompt, for estimates.
	InputBytes int
	// MaxOutput is the bound of the answer in tokens, for estimates; 0 is none.
	MaxOutput int64
	// Routing is what the request asks of its route.
	Routing Routing
	// State are the formats of encrypted reasoning that the conversation carries; nil is none.
	State []StateFormat
}

// Routing is what a request asks of its route. It can only choose among what the organization allows.
type Routing struct {
	// Models are tried in order after the request's own, if it has one.
	Models []string
	// Order are providers to ask first; Only are those that may be asked, nil for all; Ignore are those that
	// may not.
	Order, Only, Ignore []string
	// Sort is "price", "latency" or empty for the order as it is.
	Sort string
	// NoFallbacks tries the first candidate alone.
	NoFallbacks bool
	// RequireParameters passes over providers that cannot carry everything in the request.
	RequireParameters bool
	// MaxInput and MaxOutput bound prices, in nano-USD per million tokens; nil is no bound.
	MaxInput, MaxOutput *int64
}

// Named is the model that is asked for first: of models alone the first.
func (r *Request) Named() string {
	if r.Model == "" && len(r.Routing.Models) > 0 {
		return r.Routing.Models[0]
	}
	return r.Model
}

// Asks is what is asked for.
func (r *Request) Asks() Operation {
	if r.Operation == "" {
		return Chat
	}
	return r.Operation
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
	// Credential is whose secret it is. Adapters name what they keep for it (tokens, what an address
	// understands) by its ID and Revision.
	Credential *Credential
	// Secret is the opened credential: the provider's API key, or the JSON text of package keyform.
	Secret secret.Text
	// Request is the client call.
	Request *Request
	// Overrides replace what the caller asked for; nil is nothing.
	Overrides *Overrides
	// StripState leaves out all encrypted reasoning of earlier turns: another credential made it.
	StripState bool
	// Raw says that the request's bytes may pass: caller and provider speak the same dialect. The
	// answer's chunks then carry Raw, and Delta is not filled.
	Raw bool
}

package completion

import (
	"context"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// Provider calls one upstream API.
type Provider interface {
	// Speaks is the dialect whose bodies and chunks are the provider's own.
	Speaks() Dialect
	// Start sends the call and returns once the provider has begun a good answer. Its error is a
	// *ProviderError, or the fault of a prompt that cannot be carried (then nothing was sent).
	Start(ctx context.Context, call Call) (Answer, error)
	// Test tries a key, free of tokens.
	Test(ctx context.Context, baseURL string, key secret.Text) Verdict
}

// Answer is a provider's answer, in pieces. A non-streamed answer is one piece.
type Answer interface {
	// Next returns the next piece. After the answer's complete end it returns io.EOF; an answer that
	// breaks off ends with a *ProviderError (or the context's error), never with io.EOF. The chunk's
	// bytes are valid until the next call.
	Next() (Chunk, error)
	// Close releases the connection; it may be called at any time, and ends a pending Next.
	Close() error
	// Head says what the provider named in its answer so far.
	Head() AnswerHead
}

// AnswerHead is what a provider says about an answer.
type AnswerHead struct {
	Status    int    // HTTP
	RequestID string // the provider's name for the call
	Model     string // as the provider names it
}

// Chunk is a piece of an answer. In a raw call it holds one or more whole events of the provider's
// framing, or the whole body of a non-streamed answer; else it holds one Delta.
type Chunk struct {
	// Raw are the bytes to pass on.
	Raw []byte
	// Content says that the chunk holds content (text, reasoning, refusal, a tool call): from here on
	// no other target can serve. A whole body always counts as content.
	Content bool
	// Pieces counts the content events in the chunk and PieceBytes their size, for estimates.
	Pieces, PieceBytes int
	// Delta is the decoded piece.
	Delta Delta
	// Finish is the reason for the end, once known.
	Finish FinishReason
	// Usage is the provider's count, once known; the last one holds.
	Usage *Usage
}

// Delta is a decoded piece of an answer. In a non-streamed answer it is the whole.
type Delta struct {
	Text      string
	Reasoning string
	Refusal   string
	ToolCalls []ToolCallDelta
}

// Empty reports whether the delta holds no content.
func (d Delta) Empty() bool {
	return d.Text == "" && d.Reasoning == "" && d.Refusal == "" && len(d.ToolCalls) == 0
}

// ToolCallDelta is a piece of a tool call: ID and Name stand in its first piece only.
type ToolCallDelta struct {
	Index               int // counts the tool calls of the answer from 0
	ID, Name, Arguments string
}

// FinishReason says why the model stopped, in OpenAI's words.
type FinishReason string

// The reasons. An unknown one of a provider becomes Stop.
const (
	Stop          FinishReason = "stop"
	Length        FinishReason = "length"
	ToolCalls     FinishReason = "tool_calls"
	ContentFilter FinishReason = "content_filter"
)

// Usage is a provider's count. Final says that no later one will come.
type Usage struct {
	Tokens usage.Tokens
	Final  bool
}

// Verdict is the result of a key test.
type Verdict struct {
	// State is "active", "degraded", "quota_exhausted", "rejected", or empty when none could be
	// reached (then Reason says why, and testing again may help).
	State string
	// Reason is for people: what the provider said and what to do, scrubbed of secrets.
	Reason string
}

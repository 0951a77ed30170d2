package completion

import (
	"context"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// Provider calls one upstream API.
type Provider interface {
	// Serves says why an operation cannot be done with a model and a credential, for people and without
	// the provider's name ("has no embeddings"); empty if it can, or if only trying can tell.
	Serves(op Operation, model string, c *Credential) string
	// Speaks reports whether bodies and chunks of a dialect pass to a target as they are.
	Speaks(d Dialect, t *Target) bool
	// Start sends the call and returns once the provider has begun a good answer. Its error is a
	// *ProviderError, or the fault of a prompt that cannot be carried (then nothing was sent).
	Start(ctx context.Context, call Call) (Answer, error)
	// Test tries a credential, free of tokens.
	Test(ctx context.Context, p Place) Verdict
}

// Place is where and with what a credential is tested.
type Place struct {
	// BaseURL is as in Call.
	BaseURL    string
	Credential *Credential
	Secret     secret.Text
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
	// Limits is what the provider says is left of its limits; nil is nothing.
	Limits ProviderLimits
}

// ProviderLimits reads what a provider says of its limits, once the caller has what it waits for.
type ProviderLimits interface {
	// Headroom is what was left at a moment that the answer came at.
	Headroom(at time.Time) Headroom
}

// Headroom is what is left of a provider's limits for a credential or model, as far as its answer tells.
type Headroom struct{ Requests, Tokens Allowance }

// Allowance is what is left of a limit. Known says that the provider told how much remains.
type Allowance struct {
	Known bool
	// Limit is 0 if it was not told.
	Limit, Remaining int64
	// Reset is how long until it is whole again, 0 if that was not told.
	Reset time.Duration
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
	// StopSequence is which of the caller's texts ended the answer, where the provider says it.
	StopSequence string
	// Usage is the provider's count, once known; the last one holds.
	Usage *Usage
	// Result is what operations other than Chat give, in one piece.
	Result *Result
}

// Result is the outcome of an operation that is no conversation. One of its fields is filled.
type Result struct {
	Vectors  [][]float32
	Pictures []Picture
	Count    int64 // of tokens
	Job      *Job
}

// Picture is a picture that a model drew, by URL or by bytes.
type Picture struct {
	URL, MediaType string
	Data           []byte
	// RevisedText is the prompt as the provider changed it.
	RevisedText string
}

// Job is a media job at a provider.
type Job struct {
	// ID is the provider's name of it.
	ID string
	// Ref is what the adapter needs besides to find it again, in the adapter's own form: no secret, and at
	// most 1 KiB.
	Ref string
	// Status is "queued", "in_progress", "completed", "failed" or "canceled".
	Status string
	// Progress is 0 to 100, where the provider says it.
	Progress int
	// Expected is what it takes if all goes well, as far as the request says that: the base of an estimate.
	Expected []usage.Unit
	// Seconds and Size are what was asked for, 0 and empty if nothing was.
	Seconds int
	Size    string
	// Token is our name of it, by which callers ask for it. Jobs gives it.
	Token string
}

// Delta is a decoded piece of an answer. In a non-streamed answer it is the whole.
type Delta struct {
	Text      string
	Reasoning string
	Refusal   string
	ToolCalls []ToolCallDelta
	// State ends a block of reasoning whose text came before: its signature, or its encrypted form. Its
	// Text is empty.
	State *Reasoning
	// Thoughts are, in an answer in one piece, all blocks of reasoning with their texts, where there is more
	// to say than Reasoning and State can: Reasoning is then their texts together, and State is nil.
	Thoughts []Reasoning
	// ThoughtsAt says of each of Thoughts how many bytes of Text came before it; nil is none. Among tool
	// calls reasoning has no place: a neutral prompt has none for it either.
	ThoughtsAt []int
	// Logprobs are the probabilities of the tokens in Text.
	Logprobs []Logprob
	// Citations are sources that the answer names.
	Citations []Citation
}

// Think adds a block of reasoning behind the text so far.
func (d *Delta) Think(r Reasoning) { d.ThinkAt(r, len(d.Text)) }

// ThinkAt adds a block of reasoning at a place in the text that is not before those of the others.
func (d *Delta) ThinkAt(r Reasoning, at int) {
	if at > 0 && d.ThoughtsAt == nil {
		d.ThoughtsAt = make([]int, len(d.Thoughts), len(d.Thoughts)+1)
	}
	if d.ThoughtsAt != nil {
		d.ThoughtsAt = append(d.ThoughtsAt, at)
	}
	d.Thoughts = append(d.Thoughts, r)
}

// Logprob is how probable a token was.
type Logprob struct {
	Token   string
	Logprob float64
	// Top are the most probable tokens at this place, if asked for; theirs are empty.
	Top []Logprob
}

// Citation is a source of an answer.
type Citation struct {
	URL, Title string
	// Start and End are where it belongs in the answer's text, in bytes; both 0 if not told.
	Start, End int
}

// Empty reports whether the delta holds no content.
func (d Delta) Empty() bool {
	return d.Text == "" && d.Reasoning == "" && d.Refusal == "" && len(d.ToolCalls) == 0 && d.State == nil &&
		len(d.Thoughts) == 0 && len(d.Citations) == 0
}

// ToolCallDelta is a piece of a tool call: ID and Name stand in its first piece only.
type ToolCallDelta struct {
	Index               int // counts the tool calls of the answer from 0
	ID, Name, Arguments string
	// Signature is as in ToolCall, in any piece.
	Signature string
	Format    StateFormat
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
	// Units are what the call took of other things than tokens, each name once.
	Units []usage.Unit
	// CostNanoUSD is what the provider itself says that the call costs; nil if it does not say.
	CostNanoUSD *int64
	Final       bool
}

// Verdict is the result of a key test.
type Verdict struct {
	// State is "active", "degraded", "quota_exhausted", "rejected", or empty when none could be
	// reached (then Reason says why, and testing again may help).
	State string
	// Reason is for people: what the provider said and what to do, scrubbed of secrets.
	Reason string
	// Models are what the credential may use, by the provider's own names, where the test told them.
	Models []string
}

// Package usage records what every attempt took, so that nothing is lost and nothing counts twice:
// an intent before the call and a result after it go into an append-only journal, and a publisher
// brings the results to metering and forgets them only when metering says they are applied.
package usage

import "time"

// Tokens are the token classes of an attempt. Subsets (Reasoning, Audio…, Image…) are parts of their totals.
type Tokens struct {
	InputTotal, InputUncached, CacheRead                         int64
	CacheWrite5m, CacheWrite30m, CacheWrite1h, CacheWrite12h     int64
	OutputTotal, Reasoning, AudioIn, AudioOut, ImageIn, ImageOut int64
}

// Source says where counts come from.
type Source uint8

// The sources, in the order of the contract.
const (
	SourceUnknown Source = iota
	ProviderFinal
	ProviderPartial
	Estimated
	None
)

// Outcome says how an attempt ended.
type Outcome uint8

// The outcomes, in the order of the contract.
const (
	OutcomeUnknown Outcome = iota
	OK
	Failed
	Broken
	Canceled
	NotSent
	RouterCrash
)

// String is the outcome in words, as usage is listed.
func (o Outcome) String() string {
	switch o {
	case OK:
		return "ok"
	case Failed:
		return "failed"
	case Broken:
		return "broken"
	case Canceled:
		return "canceled"
	case NotSent:
		return "not_sent"
	case RouterCrash:
		return "router_crash"
	case OutcomeUnknown:
	}
	return "unknown"
}

// Class says who pays the provider.
type Class uint8

// The classes, in the order of the contract.
const (
	ClassUnknown Class = iota
	Own
	Platform
)

// String is the class in words: "own", "platform", or nothing.
func (c Class) String() string {
	switch c {
	case Own:
		return "own"
	case Platform:
		return "platform"
	case ClassUnknown:
	}
	return ""
}

// Unit is how much of something other than tokens an attempt took.
type Unit struct {
	// Name is "image", "second", "megapixel", "request", "credit" or "character".
	Name string
	// Milli is the number in thousandths.
	Milli int64
}

// Event is the record of one attempt. It holds no prompt, no answer, no credential and no header.
type Event struct {
	AttemptID, RequestID string
	// Revision is 0 for what is known when the call has ended. A later truth has a higher one, and takes
	// the place of what was known before.
	Revision                      int
	AttemptNumber                 int
	OrgID, APIKeyID, MemberID     string
	CredentialID                  string
	CredentialRevision            int    // of its secret
	GroupID                       string // of the API key, empty for none
	Class                         Class
	Provider, Model               string // Model is the slug, "provider/name"
	ResponseModel, RequestedModel string
	PolicyID                      string
	PolicyVersion                 int64
	TargetIndex                   int
	ConfigVersion                 int64
	Dialect                       string
	Operation                     string // "chat", "embeddings", "images", "count_tokens", "videos"
	Streamed                      bool
	Tags                          map[string]string
	Session, User                 string
	Started, Ended                time.Time
	Duration, FirstContent        time.Duration
	Outcome                       Outcome
	ErrorClass                    string
	HTTPStatus                    int
	FinishReason                  string
	Source                        Source
	Tokens                        *Tokens // nil is unknown, which is not zero
	Units                         []Unit  // each name once
	CostNanoUSD                   *int64  // what the provider says that it costs; nil if it does not
	ReckonedNanoUSD               *int64  // what our price book says of it; nil is unknown. Metering reckons anew
	PriceVersion                  string  // the price that ReckonedNanoUSD rests on, empty for none
	ProviderRequestID             string
	// TraceID is the trace of the request, SpanID the span of the attempt, in hex. SpanID is empty
	// unless the trace is recorded.
	TraceID, SpanID string
}

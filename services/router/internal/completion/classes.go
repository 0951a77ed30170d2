package completion

import (
	"time"

	"github.com/claviger/claviger/pkg/fault"
)

// Effect is what an error says beyond its own request.
type Effect uint8

// The effects.
const (
	// NoEffect is of errors that are about this request alone.
	NoEffect Effect = iota
	// CoolsDown leaves the credential alone, for this model and for as long as the provider asks.
	CoolsDown
	// PutsOut leaves the secret alone for a minute, for all models, and tells keys of it.
	PutsOut
	// Tells keys of it, and nothing else: the credential serves other models all the same.
	Tells
	// Breaks counts against the credential with this model, and against the place that it was sent to.
	Breaks
)

// String is the effect in words.
func (e Effect) String() string {
	switch e {
	case CoolsDown:
		return "cools the credential down for this model"
	case PutsOut:
		return "puts the secret out, and tells keys"
	case Tells:
		return "tells keys"
	case Breaks:
		return "counts for the breaker"
	case NoEffect:
	}
	return "none"
}

// Handling is what is done about a class of errors. ERRORS.md is made from all of them.
type Handling struct {
	Class Class
	// Meaning is for people.
	Meaning string
	// Again says that the same credential may be tried again after a pause, MoveOn that another candidate may
	// serve, unless the line of the policy says otherwise.
	Again, MoveOn bool
	Effect        Effect
	// Fault is what a caller is told if nobody served. Its message goes behind the provider's name.
	Fault *fault.Error
}

// handlings are all classes in the order of the documentation. What is not here is treated as ServerError.
var handlings = []Handling{
	{
		Class: InvalidRequest, Meaning: "the request is malformed, or the provider does not take what it says",
		Fault: fault.New(fault.Invalid, "PROVIDER_REFUSED_REQUEST", "refused the request").Hinting("mend the request"),
	},
	{
		Class: TooLarge, Meaning: "the body or the context is longer than the model takes",
		Fault: fault.New(fault.Invalid, "REQUEST_TOO_LARGE", "finds the request too large").Hinting("send less, or choose a model with a longer context"),
	},
	{
		Class: ContentRefused, Meaning: "the provider refuses this content by its rules",
		Fault: fault.New(fault.Invalid, "CONTENT_REFUSED", "refuses this content").Hinting("change the content"),
	},
	{
		Class: StateRefused, Meaning: "the provider cannot read the encrypted reasoning of earlier turns, which another credential made",
		MoveOn: true,
		Fault:  fault.New(fault.Invalid, "STATE_REFUSED", "refuses the encrypted reasoning of earlier turns").Hinting("leave out the reasoning of earlier turns"),
	},
	{
		Class: Unsupported, Meaning: "this model cannot do what is asked; another may", MoveOn: true,
		Fault: fault.New(fault.Invalid, "UNSUPPORTED_BY_MODEL", "cannot do this with this model").Hinting("choose another model"),
	},
	{
		Class: ModelNotFound, Meaning: "the provider does not have the model, or not for this credential", MoveOn: true,
		Fault: fault.New(fault.NotFound, "MODEL_NOT_FOUND", "does not have this model, or not for this credential").With("param", "model").Hinting("GET /v1/models lists what this API key may use"),
	},
	{
		Class: AuthInvalid, Meaning: "the credential is wrong or revoked", MoveOn: true, Effect: PutsOut,
		Fault: fault.New(fault.Precondition, "CREDENTIAL_REJECTED", "rejected the credential").Blaming(fault.Provider).Hinting("an owner has to rotate the credential"),
	},
	{
		Class: AuthLimited, Meaning: "the credential may not use this model or endpoint", MoveOn: true, Effect: Tells,
		Fault: fault.New(fault.Precondition, "CREDENTIAL_LIMITED", "does not let the credential do this").Blaming(fault.Provider).Hinting("an owner has to widen the rights of the key at the provider"),
	},
	{
		Class: QuotaExhausted, Meaning: "the account at the provider has no money or quota left", MoveOn: true, Effect: PutsOut,
		Fault: fault.New(fault.Exhausted, "PROVIDER_QUOTA_EXHAUSTED", "says that the credential's money or quota is used up").Blaming(fault.Provider).Hinting("an owner has to look at the account at the provider"),
	},
	{
		Class: RateLimited, Meaning: "the provider limits the rate of this credential", MoveOn: true, Effect: CoolsDown,
		Fault: fault.New(fault.Exhausted, "PROVIDER_RATE_LIMITED", "limits the rate of this credential").Blaming(fault.Provider).Hinting("try again later"),
	},
	{
		Class: Overloaded, Meaning: "the provider has too much to do", Again: true, MoveOn: true, Effect: Breaks,
		Fault: fault.New(fault.Unavailable, "PROVIDER_OVERLOADED", "is overloaded").Blaming(fault.Provider).Hinting("try again"),
	},
	{
		Class: ServerError, Meaning: "something at the provider failed", Again: true, MoveOn: true, Effect: Breaks,
		Fault: fault.New(fault.Unavailable, "PROVIDER_FAILED", "failed").Blaming(fault.Provider).Hinting("try again"),
	},
	{
		Class: TimedOut, Meaning: "the provider said nothing for too long; after our own patience the same credential is not tried again", Again: true, MoveOn: true, Effect: Breaks,
		Fault: fault.New(fault.Timeout, "PROVIDER_TIMED_OUT", "did not answer in time").Blaming(fault.Provider).Hinting("try again"),
	},
	{
		Class: Network, Meaning: "no connection came about, or it broke", Again: true, MoveOn: true, Effect: Breaks,
		Fault: fault.New(fault.Unavailable, "PROVIDER_UNREACHABLE", "cannot be reached").Blaming(fault.Provider).Hinting("try again; if it lasts, look at the base URL and the egress rules"),
	},
	{
		Class: CredentialError, Meaning: "ours: the credential could not be opened, or no call can be signed with it", MoveOn: true,
		Fault: fault.New(fault.Unavailable, "CREDENTIAL_NOT_USABLE", "could not be called with the credential").Hinting("the fault is this router's or the credential's form; an owner or operator has to look"),
	},
}

// byClass finds a row of the table.
var byClass = func() map[Class]*Handling {
	out := make(map[Class]*Handling, len(handlings))
	for i := range handlings {
		out[handlings[i].Class] = &handlings[i]
	}
	return out
}()

// Handlings lists what is done about each class of errors.
func Handlings() []Handling { return append([]Handling(nil), handlings...) }

// Handling is what is done about errors of this class. One that nobody knows is a server error.
func (c Class) Handling() *Handling {
	if h := byClass[c]; h != nil {
		return h
	}
	return byClass[ServerError]
}

// MayMoveOn reports whether another candidate may serve after an error of this class, where a policy does
// not say otherwise.
func (c Class) MayMoveOn() bool { return c.Handling().MoveOn }

// maxPause is the longest pause before the same credential is tried again. A provider that asks for more is
// left for the next candidate: callers wait for an answer.
const maxPause = 10 * time.Second

package completion

import (
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// The faults of the use case. Dialects turn them into their own envelopes.
var (
	ErrModelRequired = fault.New(fault.Invalid, "MODEL_REQUIRED", "the request names no model, and the API key has no default policy").Hinting(`name a model as "provider/model" or "policy/<name>"`).With("param", "model")
	ErrModelUnknown  = fault.New(fault.NotFound, "MODEL_NOT_FOUND", "there is no such model").Hinting(`name a model as "provider/model" or "policy/<name>"; GET /v1/models lists what this API key may use`)
	ErrPolicyUnknown = fault.New(fault.NotFound, "POLICY_NOT_FOUND", "there is no such policy").Hinting("GET /v1/models lists the policies")
	ErrNoTarget      = fault.New(fault.Precondition, "NO_USABLE_CREDENTIAL", "no credential can serve this request").Hinting("an owner has to add or repair a credential")
	ErrUnsupported   = fault.New(fault.Invalid, "NOT_CONVERTIBLE", "the request holds something that the chosen provider cannot carry")
	ErrOverloaded    = fault.New(fault.Unavailable, "ROUTER_OVERLOADED", "the router serves as many requests as it may").Hinting("try again in a second; if it lasts, the operator has to add routers or raise max_streams").RetryingAfter(time.Second)
	ErrDraining      = fault.New(fault.Unavailable, "ROUTER_DRAINING", "this router is shutting down").Hinting("try again; another router will answer").RetryingAfter(time.Second)
	ErrNotReady      = fault.New(fault.Unavailable, "ROUTER_NOT_READY", "this router has no configuration yet").Hinting("try again; it waits for the control plane").RetryingAfter(time.Second)
	ErrBrokenOff     = fault.New(fault.Unavailable, "ANSWER_BROKEN_OFF", "the provider broke off the answer").Blaming(fault.Provider).Hinting("what came is incomplete; send the request again")
	ErrCredential    = fault.New(fault.Unavailable, "CREDENTIAL_NOT_OPENED", "the credential could not be opened")
)

// errShare is ErrOverloaded of an organization that has its share of the router. What others have is not told.
var errShare = ErrOverloaded.Blaming(fault.Limit).With("part", "organization").
	Hinting("let some of the organization's open requests end, and try again in a second; if it lasts, the operator has to add routers or raise max_streams")

// ErrRevoked ends what was switched off while it was served.
var ErrRevoked = fault.New(fault.Denied, "REVOKED", "the API key was switched off while the request was served").Hinting("an owner or admin can say why")

// errSwitchedOff is ErrRevoked of a credential: another one may serve.
var errSwitchedOff = ErrRevoked.Saying("the credential was switched off while it served").With("part", "credential")

// errRuledOut is that the organization's rules changed between the plan and the call.
var errRuledOut = fault.New(fault.Denied, "RULED_OUT", "the organization's rules changed while the request was served").Hinting("send it again")

// ErrNotAllowed is a mistake of ours that was noticed in time.
var ErrNotAllowed = fault.New(fault.Internal, "CLASS_NOT_ALLOWED", "the router chose a credential that the organization does not allow, and did not use it").Hinting("this is a defect; tell the operator")

// ErrCoolingDown is that time alone helps.
var ErrCoolingDown = fault.New(fault.Exhausted, "ALL_COOLING_DOWN", "everything that could serve this request was told to wait by its provider").Blaming(fault.Provider).Hinting("try again later, or let an owner add credentials")

// ErrUncertain is a timeout, which clients of RPCs do not send again by themselves.
var ErrUncertain = fault.New(fault.Timeout, "OUTCOME_UNKNOWN", "nobody knows whether the provider took the call").Blaming(fault.Provider).Hinting("it may be at work and will then be paid for; look at the account at the provider before you send it again")

// Fault is the fault of a provider's failure on a target, of a call that is no attempt.
func Fault(e *ProviderError, t *Target) *fault.Error { return failed(e, t) }

// failed is the fault of a provider's failure on a target. The ProviderError is its cause, for
// dialects that pass on the provider's own words.
func failed(e *ProviderError, t *Target) *fault.Error {
	f := e.Class.Handling().Fault
	message := t.Provider + " " + f.Message()
	if e.Message != "" {
		message += ": " + strings.TrimSuffix(e.Message, ".")
	}
	return named(f, t).Saying("%s", message).With("error_class", string(e.Class)).RetryingAfter(e.RetryAfter).Because(e)
}

// named adds which target it was. A platform credential's label is the operator's business.
func named(f *fault.Error, t *Target) *fault.Error {
	f = f.With("provider", t.Provider).With("model", t.Model).With("credential_class", t.Class.String())
	if t.Class == usage.Own {
		f = f.With("credential", t.Credential.Label)
	}
	if t.PolicyName != "" {
		f = f.With("policy", t.PolicyName)
	}
	return f
}

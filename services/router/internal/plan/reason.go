package plan

import (
	"fmt"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// Reason names why something is not tried. The names are told to callers and do not change.
type Reason string

// The reasons.
const (
	// Of the organization's rules.
	PolicyEnforced Reason = "POLICY_ENFORCED" // the caller's name does not count
	ConditionUnfit Reason = "CONDITION"       // the group is not for such requests
	NotApproved    Reason = "NOT_APPROVED"    // by the organization
	NotForGroup    Reason = "NOT_APPROVED_FOR_GROUP"
	Ignored        Reason = "PROVIDER_IGNORED"  // by the organization
	PlatformNever  Reason = "PLATFORM_NEVER"    // not even in policies
	PlatformPolicy Reason = "PLATFORM_POLICIES" // in policies alone
	// Of the policy itself.
	ProviderUnknown Reason = "PROVIDER_UNKNOWN"
	PolicyUnknown   Reason = "POLICY_UNKNOWN"
	PolicyLoop      Reason = "POLICY_LOOP"
	PolicyDeep      Reason = "POLICY_TOO_DEEP"
	PlanFull        Reason = "PLAN_FULL"
	Duplicate       Reason = "DUPLICATE" // it is tried before
	// Of credentials.
	NoCredential    Reason = "NO_CREDENTIAL"    //nolint:gosec // a reason's name
	CredentialGone  Reason = "CREDENTIAL_GONE"  //nolint:gosec // the one that the line names
	CredentialState Reason = "CREDENTIAL_STATE" //nolint:gosec // a reason's name
	Expired         Reason = "CREDENTIAL_EXPIRED"
	ModelScope      Reason = "SCOPE_MODEL"
	CallerScope     Reason = "SCOPE_CALLER"
	CoolingDown     Reason = "COOLING_DOWN" // for what was learned lately
	Unsupported     Reason = "UNSUPPORTED"  // the operation, by the provider, model or credential
	NotDrawn        Reason = "SECRET_NOT_DRAWN"
	// Of the request.
	NotInOnly    Reason = "REQUEST_ONLY"
	InIgnore     Reason = "REQUEST_IGNORE"
	PriceUnknown Reason = "PRICE_UNKNOWN"
	PriceTooHigh Reason = "PRICE_TOO_HIGH"
	Parameters   Reason = "PARAMETERS"
	NoFallbacks  Reason = "NO_FALLBACKS"
)

// whose says what has to change so that a reason goes away.
type whose uint8

const (
	ofCredentials whose = iota
	ofRules
	ofRequest
	ofModel
	ofTime
	ofNobody // it says nothing of why there is no target
)

var causes = map[Reason]whose{
	PolicyEnforced: ofNobody, Duplicate: ofNobody, NotDrawn: ofNobody, PlatformPolicy: ofNobody,
	ConditionUnfit: ofRules, NotApproved: ofRules, NotForGroup: ofRules, Ignored: ofRules, PlatformNever: ofRules,
	ProviderUnknown: ofRules, PolicyUnknown: ofRules, PolicyLoop: ofRules, PolicyDeep: ofRules, PlanFull: ofRules,
	NoCredential: ofCredentials, CredentialGone: ofCredentials, CredentialState: ofCredentials, Expired: ofCredentials,
	ModelScope: ofCredentials, CallerScope: ofCredentials,
	CoolingDown: ofTime, Unsupported: ofModel,
	NotInOnly: ofRequest, InIgnore: ofRequest, PriceUnknown: ofRequest, PriceTooHigh: ofRequest, Parameters: ofRequest, NoFallbacks: ofRequest,
}

// Exclusion is something that is not tried.
type Exclusion struct {
	// Provider, Model and Class are the line's; a line that names a policy has its name as Model.
	Provider, Model string
	Class           usage.Class
	// Credential is nil if it is about all of the line.
	Credential *completion.Credential
	// Line is the line of the policy that the caller asked for, from 0; -1 without a policy.
	Line   int
	Reason Reason
	// detail is what only the place of the decision knows.
	detail string
}

// Said says why, as a sentence about whoever the credential is told as, such as "the credential".
func (e *Exclusion) Said(credential string) string {
	switch e.Reason {
	case CredentialState, CoolingDown, Expired, ModelScope, CallerScope:
		return credential + " " + e.Words()
	case NotDrawn, Duplicate, NoFallbacks, PlanFull, Parameters:
		if e.Credential != nil {
			return credential + ": " + e.Words()
		}
	default:
	}
	return e.Words()
}

// Words say why, for people, without the name of the line and without that of the credential.
func (e *Exclusion) Words() string {
	switch e.Reason {
	case PolicyEnforced:
		return "every request goes through " + e.detail
	case ConditionUnfit:
		return "the group is for other requests: " + e.detail
	case NotApproved:
		return "the organization has not approved this model"
	case NotForGroup:
		return fmt.Sprintf("group %q has not approved this model", e.detail)
	case Ignored:
		return "the organization ignores " + e.Provider
	case PlatformNever:
		return "the organization never uses the platform's credentials for " + e.Provider
	case PlatformPolicy:
		return "the platform's credentials serve only where a policy says so"
	case ProviderUnknown:
		return fmt.Sprintf("there is no provider %q", e.Provider)
	case PolicyUnknown:
		return "there is no such policy"
	case PolicyLoop:
		return "the policy leads back to itself"
	case PolicyDeep:
		return fmt.Sprintf("policies name each other more than %d deep", maxDepth)
	case PlanFull:
		return "more than a request can try stands before it"
	case Duplicate:
		return "it is tried before"
	case NoCredential:
		return fmt.Sprintf("there is no %s credential for %s", e.Class, e.Provider)
	case CredentialGone:
		return "the credential that the line names is gone, or is no credential for " + e.Provider
	case CredentialState, CoolingDown:
		return e.detail
	case Expired:
		return "has expired"
	case ModelScope:
		return "is not for this model"
	case CallerScope:
		return "is not for this API key"
	case Unsupported:
		return e.Provider + " " + e.detail
	case NotDrawn:
		return "its second secret serves " + e.detail + " % of the requests, and not this one"
	case NotInOnly:
		return "the request asks other providers only"
	case InIgnore:
		return "the request ignores " + e.Provider
	case PriceUnknown:
		return "the request bounds the price, and nobody knows the model's"
	case PriceTooHigh:
		return "it costs more than the request allows"
	case Parameters:
		return fmt.Sprintf("the request requires all its parameters, and %s cannot carry %s", e.Provider, e.detail)
	case NoFallbacks:
		return "the request allows the first candidate only"
	}
	return string(e.Reason)
}

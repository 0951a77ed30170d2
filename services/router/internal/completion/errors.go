package completion

import (
	"fmt"
	"time"
)

// Class is a class of provider errors. Routing decides on classes, never on status codes.
type Class string

// The classes.
const (
	InvalidRequest  Class = "invalid_request"      // the caller's; stop
	TooLarge        Class = "too_large"            // the caller's: body or context too long; stop
	ContentRefused  Class = "content_refused"      // the provider refuses this content; stop
	Unsupported     Class = "unsupported_by_model" // this model cannot do it; another may
	AuthInvalid     Class = "auth_invalid"         // the credential is wrong or revoked
	AuthLimited     Class = "auth_limited"         // the credential may not use this model or endpoint
	QuotaExhausted  Class = "quota_exhausted"      // no money or quota left
	RateLimited     Class = "rate_limited"
	Overloaded      Class = "overloaded"
	ServerError     Class = "server_error"
	TimedOut        Class = "timeout"
	Network         Class = "network"
	ModelNotFound   Class = "model_not_found"
	StateRefused    Class = "state_refused"    // the encrypted reasoning of earlier turns is another's
	CredentialError Class = "credential_error" //nolint:gosec // ours: the credential could not be opened
)

// ProviderError is a provider's failure, with what a caller and the accounts need of it.
type ProviderError struct {
	Class Class
	// Status is the provider's HTTP status, 0 if none came.
	Status int
	// Type, Code and Param are the provider's own words, if it gave any.
	Type, Code, Param string
	// Message is the provider's, scrubbed of secrets and at most 2 KiB.
	Message string
	// RetryAfter is how long the provider asks to wait, 0 if it does not say.
	RetryAfter time.Duration
	// RequestID is the provider's name for the call.
	RequestID string
	// Sent says whether the whole request may have reached the provider, so that it may be billed.
	Sent bool
	// Unbilled says that the provider certainly generated nothing: an error status before any content.
	Unbilled bool
	// Ours says that the router ended the call, or that there was none.
	Ours bool
}

// Error names class and status; the message is in it, since it is scrubbed.
func (e *ProviderError) Error() string {
	return fmt.Sprintf("provider: %s (status %d): %s", e.Class, e.Status, e.Message)
}

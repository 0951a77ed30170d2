package client

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Failure is an error of the router, taken apart.
type Failure struct {
	Code codes.Code
	// Reason is a stable word, such as API_KEY_INVALID. Empty: the error is not the router's, but of
	// the way to it.
	Reason  string
	Message string
	// Blame is "caller", "limit", "provider" or "claviger".
	Blame string
	// Hint says what to do next.
	Hint string
	// RetryAfter is how long the router or the provider asks to wait.
	RetryAfter time.Duration
}

// Explain reads the details of err.
func Explain(err error) Failure {
	s := status.Convert(err)
	f := Failure{Code: s.Code(), Message: s.Message()}
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			f.Reason, f.Blame, f.Hint = d.GetReason(), d.GetMetadata()["blame"], d.GetMetadata()["hint"]
			f.Message = strings.TrimSuffix(f.Message, ": "+f.Hint) // the message ends with it, for clients that read no details
		case *errdetails.RetryInfo:
			f.RetryAfter = d.GetRetryDelay().AsDuration()
		}
	}
	return f
}

// unpaid are the reasons which say that no provider has begun an answer. A completion has no
// idempotency key: each call is thought out anew and costs anew. So the code UNAVAILABLE is not
// enough to call again: an answer that broke off (ANSWER_BROKEN_OFF), a connection that was lost (no
// reason at all) and a provider that fell silent have it too, and may be paid already.
var unpaid = []string{
	"ROUTER_OVERLOADED", "ROUTER_NOT_READY", "USAGE_SPOOL_FULL", "USAGE_SPOOL_BROKEN", "ALL_COOLING_DOWN", // before any provider was called
	"PROVIDER_OVERLOADED", "PROVIDER_RATE_LIMITED", // the provider turned the call away
}

const maxCalls = 4

// retry calls again where nothing can have been paid, within the budget that ctx leaves.
func retry(ctx context.Context, call func() error) error {
	backoff := 100 * time.Millisecond
	for n := 1; ; n++ {
		err := call()
		failure := Explain(err)
		if err == nil || n == maxCalls || !slices.Contains(unpaid, failure.Reason) {
			return err
		}
		// The hint is a minimum. Without jitter all clients would come back in the same moment.
		wait := failure.RetryAfter + backoff/2 + rand.N(backoff/2) //nolint:gosec // no secret: it spreads clients in time
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
			return err // it says more than a deadline that ran out while waiting
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
		backoff *= 2
	}
}

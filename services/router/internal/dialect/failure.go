package dialect

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// Problem is an error as all dialects tell it: the status that makes SDKs raise the right exception, and what
// is said. The words of Kind and Code are OpenAI's.
type Problem struct {
	Status     int
	RetryAfter time.Duration
	// NoRetry tells SDKs that sending the same again does not help, whatever the status says.
	NoRetry bool

	RequestID                        string
	Kind, Code, Param, Message, Hint string
	Blame                            fault.Blame
	// Details are a fault's facts, such as the label of a credential or a limit's name.
	Details map[string]string
}

// statusClientGone is what proxies log for a caller that went away; nobody gets it.
const statusClientGone = 499

// Explain turns any error into what is told of it. Errors that are neither faults nor a provider's are
// "internal error"; what they are is for the log.
func Explain(err error, requestID string) Problem {
	f := Problem{RequestID: requestID}
	known, isFault := fault.Of(err)
	if isFault {
		f.fromFault(known)
	}
	switch provider, isProvider := errors.AsType[*completion.ProviderError](err); {
	case isProvider:
		f.fromProvider(provider, isFault)
	case isFault:
	case errors.Is(err, context.Canceled):
		f.Status, f.Kind, f.Code, f.Message, f.Blame = statusClientGone, "canceled", "canceled", "the caller went away", fault.Caller
	case errors.Is(err, context.DeadlineExceeded):
		f.Status, f.Kind, f.Code, f.Message, f.Blame = http.StatusGatewayTimeout, "timeout", "timeout", "the time for the answer ran out", fault.Us
	default:
		f.Status, f.Kind, f.Code, f.Message, f.Blame = http.StatusInternalServerError, "server_error", "internal_error", "internal error", fault.Us
	}
	if errors.Is(err, completion.ErrUncertain) { // SDKs would send it again by themselves
		f.NoRetry = true
	}
	return f
}

func (f *Problem) fromFault(e *fault.Error) {
	f.Message, f.Hint, f.Blame, f.RetryAfter = e.Message(), e.Hint(), e.Blame(), e.RetryAfter()
	f.Code = strings.ToLower(e.Reason())
	f.Details = e.Facts()
	f.Param = f.Details["param"]
	switch e.Kind() {
	case fault.Invalid:
		f.Status, f.Kind = http.StatusBadRequest, "invalid_request_error"
		if strings.HasSuffix(e.Reason(), "TOO_LARGE") {
			f.Status = http.StatusRequestEntityTooLarge
		}
	case fault.Unauthenticated:
		f.Status, f.Kind = http.StatusUnauthorized, "authentication_error"
	case fault.Denied:
		f.Status, f.Kind = http.StatusForbidden, "permission_error"
	case fault.NotFound:
		f.Status, f.Kind = http.StatusNotFound, "invalid_request_error"
	case fault.Conflict:
		f.Status, f.Kind = http.StatusConflict, "conflict_error"
	case fault.Precondition:
		// Not 5xx: SDKs would send it again, and nothing would have changed.
		f.Status, f.Kind = http.StatusUnprocessableEntity, "precondition_error"
	case fault.Exhausted:
		f.Status, f.Kind = http.StatusTooManyRequests, "rate_limit_error"
		if f.RetryAfter == 0 { // a budget, not a rate
			f.Kind, f.NoRetry = "insufficient_quota", true
		}
	case fault.Unavailable:
		f.Status, f.Kind = http.StatusServiceUnavailable, "service_unavailable"
	case fault.Timeout:
		f.Status, f.Kind = http.StatusGatewayTimeout, "timeout"
	case fault.Canceled:
		f.Status, f.Kind = statusClientGone, "canceled"
	case fault.Internal:
		f.Status, f.Kind = http.StatusInternalServerError, "server_error"
	}
}

// fromProvider maps classes. What is the caller's to mend keeps the provider's own words, as if the
// provider had been called directly; of everything else the fault speaks, if there is one. A provider
// that refuses a credential does not refuse the caller: that is no 401 or 403, which would make
// callers doubt their own key.
func (f *Problem) fromProvider(e *completion.ProviderError, isFault bool) {
	switch e.Class {
	case completion.InvalidRequest:
		f.callers(e, "")
	case completion.TooLarge:
		f.callers(e, "context_length_exceeded")
		if e.Status == http.StatusRequestEntityTooLarge {
			f.Status = e.Status
		}
	case completion.ContentRefused:
		f.callers(e, "content_policy_violation")
	case completion.Unsupported:
		f.callers(e, "unsupported_value")
	case completion.StateRefused:
		f.callers(e, "state_refused")
	case completion.ModelNotFound:
		f.providers(e, isFault, http.StatusNotFound, "model_not_found")
		f.Kind = "invalid_request_error"
	case completion.RateLimited:
		f.providers(e, isFault, http.StatusTooManyRequests, "rate_limit_exceeded")
		f.Kind, f.Code = "rate_limit_error", "rate_limit_exceeded"
		f.NoRetry = false
	case completion.QuotaExhausted:
		f.providers(e, isFault, http.StatusTooManyRequests, "insufficient_quota")
		f.Kind, f.Code, f.NoRetry = "insufficient_quota", "insufficient_quota", true
	case completion.AuthInvalid:
		f.providers(e, isFault, http.StatusBadGateway, "credential_rejected")
		f.NoRetry = true
	case completion.AuthLimited:
		f.providers(e, isFault, http.StatusBadGateway, "credential_limited")
		f.NoRetry = true
	case completion.CredentialError:
		f.providers(e, isFault, http.StatusBadGateway, "credential_not_opened")
		f.NoRetry = true
		f.Blame = fault.Us
	case completion.Overloaded:
		f.providers(e, isFault, http.StatusServiceUnavailable, "provider_overloaded")
	case completion.TimedOut:
		f.providers(e, isFault, http.StatusGatewayTimeout, "provider_timed_out")
	case completion.Network:
		f.providers(e, isFault, http.StatusBadGateway, "provider_unreachable")
	case completion.ServerError:
		f.providers(e, isFault, http.StatusBadGateway, "provider_failed")
	default:
		f.providers(e, isFault, http.StatusBadGateway, "provider_failed")
	}
}

// callers is an error that the caller has to mend, in the provider's words.
func (f *Problem) callers(e *completion.ProviderError, code string) {
	f.Status, f.Kind, f.Code, f.Param, f.Message = http.StatusBadRequest, e.Type, e.Code, e.Param, e.Message
	f.Blame, f.NoRetry, f.RetryAfter = fault.Caller, false, 0
	if f.Kind == "" {
		f.Kind = "invalid_request_error"
	}
	if f.Code == "" {
		f.Code = code
	}
}

// providers is an error that the caller cannot mend.
func (f *Problem) providers(e *completion.ProviderError, isFault bool, status int, code string) {
	f.Status, f.Kind, f.NoRetry = status, "provider_error", false
	f.RetryAfter = max(f.RetryAfter, e.RetryAfter)
	if isFault {
		return
	}
	f.Code, f.Message, f.Blame = code, e.Message, fault.Provider
}

// Head implements Failure.
func (f Problem) Head() (status int, header http.Header) { return f.Status, f.header() }

func (f *Problem) header() http.Header {
	h := http.Header{"Content-Type": {"application/json"}}
	if f.RequestID != "" {
		h.Set("X-Request-Id", f.RequestID)
	}
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((f.RetryAfter+time.Second-1)/time.Second), 10))
		h.Set("Retry-After-Ms", strconv.FormatInt(max(1, f.RetryAfter.Milliseconds()), 10))
	}
	if f.NoRetry {
		h.Set("X-Should-Retry", "false")
	}
	return h
}

// AppendFacts appends the facts as members of an object that has begun; more says that it has some already.
// The fact "param" is told elsewhere.
func (f *Problem) AppendFacts(dst []byte, more bool) []byte {
	facts := f.Details
	for _, name := range slices.Sorted(maps.Keys(facts)) {
		if name == "param" {
			continue
		}
		if more {
			dst = append(dst, ',')
		}
		more = true
		dst = jsonscan.AppendText(dst, name)
		dst = append(dst, ':')
		dst = jsonscan.AppendText(dst, facts[name])
	}
	return dst
}

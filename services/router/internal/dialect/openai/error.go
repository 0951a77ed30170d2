package openai

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
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// Failure is an error as the caller gets it.
type Failure struct {
	Status     int
	RetryAfter time.Duration
	// NoRetry tells SDKs that sending the same again does not help, whatever the status says.
	NoRetry bool

	requestID                        string
	kind, code, param, message, hint string
	blame                            fault.Blame
	details                          map[string]string
}

var _ dialect.Failure = Failure{}

// statusClientGone is what proxies log for a caller that went away; nobody gets it.
const statusClientGone = 499

// Fail turns any error into the answer whose status makes an OpenAI SDK raise the right exception.
// Errors that are neither faults nor a provider's are "internal error"; what they are is for the log.
func Fail(err error, requestID string) Failure {
	f := Failure{requestID: requestID}
	known, isFault := fault.Of(err)
	if isFault {
		f.fromFault(known)
	}
	switch provider, isProvider := errors.AsType[*completion.ProviderError](err); {
	case isProvider:
		f.fromProvider(provider, isFault)
	case isFault:
	case errors.Is(err, context.Canceled):
		f.Status, f.kind, f.code, f.message, f.blame = statusClientGone, "canceled", "canceled", "the caller went away", fault.Caller
	case errors.Is(err, context.DeadlineExceeded):
		f.Status, f.kind, f.code, f.message, f.blame = http.StatusGatewayTimeout, "timeout", "timeout", "the time for the answer ran out", fault.Us
	default:
		f.Status, f.kind, f.code, f.message, f.blame = http.StatusInternalServerError, "server_error", "internal_error", "internal error", fault.Us
	}
	if errors.Is(err, completion.ErrUncertain) { // SDKs would send it again by themselves
		f.NoRetry = true
	}
	return f
}

func (f *Failure) fromFault(e *fault.Error) {
	f.message, f.hint, f.blame, f.RetryAfter = e.Message(), e.Hint(), e.Blame(), e.RetryAfter()
	f.code = strings.ToLower(e.Reason())
	f.details = e.Facts()
	f.param = f.details["param"]
	switch e.Kind() {
	case fault.Invalid:
		f.Status, f.kind = http.StatusBadRequest, "invalid_request_error"
		if strings.HasSuffix(e.Reason(), "TOO_LARGE") {
			f.Status = http.StatusRequestEntityTooLarge
		}
	case fault.Unauthenticated:
		f.Status, f.kind = http.StatusUnauthorized, "authentication_error"
	case fault.Denied:
		f.Status, f.kind = http.StatusForbidden, "permission_error"
	case fault.NotFound:
		f.Status, f.kind = http.StatusNotFound, "invalid_request_error"
	case fault.Conflict:
		f.Status, f.kind = http.StatusConflict, "conflict_error"
	case fault.Precondition:
		// Not 5xx: SDKs would send it again, and nothing would have changed.
		f.Status, f.kind = http.StatusUnprocessableEntity, "precondition_error"
	case fault.Exhausted:
		f.Status, f.kind = http.StatusTooManyRequests, "rate_limit_error"
		if f.RetryAfter == 0 { // a budget, not a rate
			f.kind, f.NoRetry = "insufficient_quota", true
		}
	case fault.Unavailable:
		f.Status, f.kind = http.StatusServiceUnavailable, "service_unavailable"
	case fault.Timeout:
		f.Status, f.kind = http.StatusGatewayTimeout, "timeout"
	case fault.Canceled:
		f.Status, f.kind = statusClientGone, "canceled"
	case fault.Internal:
		f.Status, f.kind = http.StatusInternalServerError, "server_error"
	}
}

// fromProvider maps classes. What is the caller's to mend keeps the provider's own words, as if the
// provider had been called directly; of everything else the fault speaks, if there is one. A provider
// that refuses a credential does not refuse the caller: that is no 401 or 403, which would make
// callers doubt their own key.
func (f *Failure) fromProvider(e *completion.ProviderError, isFault bool) {
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
	case completion.ModelNotFound:
		f.providers(e, isFault, http.StatusNotFound, "model_not_found")
		f.kind = "invalid_request_error"
	case completion.RateLimited:
		f.providers(e, isFault, http.StatusTooManyRequests, "rate_limit_exceeded")
		f.kind, f.code = "rate_limit_error", "rate_limit_exceeded"
		f.NoRetry = false
	case completion.QuotaExhausted:
		f.providers(e, isFault, http.StatusTooManyRequests, "insufficient_quota")
		f.kind, f.code, f.NoRetry = "insufficient_quota", "insufficient_quota", true
	case completion.AuthInvalid:
		f.providers(e, isFault, http.StatusBadGateway, "credential_rejected")
		f.NoRetry = true
	case completion.AuthLimited:
		f.providers(e, isFault, http.StatusBadGateway, "credential_limited")
		f.NoRetry = true
	case completion.CredentialError:
		f.providers(e, isFault, http.StatusBadGateway, "credential_not_opened")
		f.NoRetry = true
		f.blame = fault.Us
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
func (f *Failure) callers(e *completion.ProviderError, code string) {
	f.Status, f.kind, f.code, f.param, f.message = http.StatusBadRequest, e.Type, e.Code, e.Param, e.Message
	f.blame, f.NoRetry, f.RetryAfter = fault.Caller, false, 0
	if f.kind == "" {
		f.kind = "invalid_request_error"
	}
	if f.code == "" {
		f.code = code
	}
}

// providers is an error that the caller cannot mend.
func (f *Failure) providers(e *completion.ProviderError, isFault bool, status int, code string) {
	f.Status, f.kind, f.NoRetry = status, "provider_error", false
	f.RetryAfter = max(f.RetryAfter, e.RetryAfter)
	if isFault {
		return
	}
	f.code, f.message, f.blame = code, e.Message, fault.Provider
}

// Head are the status and the headers of the answer.
func (f Failure) Head() (status int, header http.Header) { return f.Status, f.header() }

func (f Failure) header() http.Header {
	h := http.Header{"Content-Type": {"application/json"}}
	if f.requestID != "" {
		h.Set("X-Request-Id", f.requestID)
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

// AppendBody appends OpenAI's envelope, with members of ours that SDKs ignore: whose fault it is, what
// to do next, and the request's id.
func (f Failure) AppendBody(dst []byte) []byte {
	dst = append(dst, `{"error":{"message":`...)
	dst = jsonscan.AppendText(dst, f.message)
	dst = append(dst, `,"type":`...)
	dst = jsonscan.AppendText(dst, f.kind)
	for _, m := range [...]struct{ name, value string }{{"param", f.param}, {"code", f.code}} {
		dst = append(dst, `,"`...)
		dst = append(dst, m.name...)
		dst = append(dst, `":`...)
		if m.value == "" {
			dst = append(dst, "null"...)
		} else {
			dst = jsonscan.AppendText(dst, m.value)
		}
	}
	for _, m := range [...]struct{ name, value string }{
		{"blame", string(f.blame)}, {"hint", f.hint}, {"request_id", f.requestID},
	} {
		if m.value != "" {
			dst = append(dst, `,"`...)
			dst = append(dst, m.name...)
			dst = append(dst, `":`...)
			dst = jsonscan.AppendText(dst, m.value)
		}
	}
	dst = appendDetails(dst, f.details)
	return append(dst, "}}"...)
}

// appendDetails appends a fault's facts, such as the label of a credential or a limit's name.
func appendDetails(dst []byte, facts map[string]string) []byte {
	names := slices.Sorted(maps.Keys(facts))
	names = slices.DeleteFunc(names, func(n string) bool { return n == "param" })
	for i, name := range names {
		if i == 0 {
			dst = append(dst, `,"details":{`...)
		} else {
			dst = append(dst, ',')
		}
		dst = jsonscan.AppendText(dst, name)
		dst = append(dst, ':')
		dst = jsonscan.AppendText(dst, facts[name])
	}
	if len(names) > 0 {
		dst = append(dst, '}')
	}
	return dst
}

// AppendEvent appends the failure as the last event of a stream that has begun. No [DONE] follows it:
// that would make the answer look whole.
func (f Failure) AppendEvent(dst []byte) []byte {
	dst = append(dst, "data: "...)
	dst = f.AppendBody(dst)
	return append(dst, "\n\n"...)
}

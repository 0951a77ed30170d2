package anthropic

import (
	"net/http"

	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// Failure is an error as the caller gets it.
type Failure struct{ dialect.Problem }

var _ dialect.Failure = Failure{}

// statusOverloaded is Anthropic's own.
const statusOverloaded = 529

// Fail turns any error into the answer whose status makes an Anthropic SDK raise the right exception.
func Fail(err error, requestID string) Failure {
	f := Failure{dialect.Explain(err, requestID)}
	switch {
	case f.Kind == "insufficient_quota":
		f.Status, f.NoRetry = http.StatusPaymentRequired, true
	case f.Code == "provider_overloaded" || f.Code == "router_overloaded":
		f.Status = statusOverloaded
	}
	return f
}

// Head implements dialect.Failure.
func (f Failure) Head() (status int, header http.Header) {
	status, header = f.Problem.Head()
	if f.RequestID != "" {
		header.Set("Request-Id", f.RequestID)
	}
	return status, header
}

// kind is the error's type in Anthropic's words.
func (f *Failure) kind() string {
	switch f.Status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusPaymentRequired:
		return "billing_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusConflict:
		return "conflict_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusGatewayTimeout:
		return "timeout_error"
	case statusOverloaded:
		return "overloaded_error"
	}
	if f.Status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}

// AppendBody appends Anthropic's envelope. Its details hold what is ours: the code, the field, whose fault it
// is, and what to do next.
func (f Failure) AppendBody(dst []byte) []byte {
	dst = append(dst, `{"type":"error","error":{"type":"`...)
	dst = append(dst, f.kind()...)
	code := f.Code
	if code == "" {
		code = f.kind()
	}
	dst = append(dst, `","message":`...)
	dst = jsonscan.AppendText(dst, f.Message)
	dst = append(dst, `,"details":{"error_code":`...)
	dst = jsonscan.AppendText(dst, code)
	for _, m := range [...]struct{ name, value string }{{"param", f.Param}, {"blame", string(f.Blame)}, {"hint", f.Hint}} {
		if m.value == "" {
			continue
		}
		dst = append(dst, `,"`...)
		dst = append(dst, m.name...)
		dst = append(dst, `":`...)
		dst = jsonscan.AppendText(dst, m.value)
	}
	dst = f.AppendFacts(dst, true)
	dst = append(dst, `}},"request_id":`...)
	dst = jsonscan.AppendText(dst, f.RequestID)
	return append(dst, '}')
}

// AppendEvent appends the failure as the last event of a stream that has begun. No message_stop follows it.
func (f Failure) AppendEvent(dst []byte) []byte {
	dst = append(dst, "event: error\ndata: "...)
	dst = f.AppendBody(dst)
	return append(dst, "\n\n"...)
}

package chat

import (
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// RefusedWith is the error of an error status in the envelope that all forms of OpenAI's share. Nothing was
// generated.
func RefusedWith(res *provider.Response, key secret.Text, now time.Time, rules ...Rule) *completion.ProviderError {
	failure := parseError(res.StatusCode, res.ErrorBody(), key, rules)
	failure.RequestID, failure.Sent, failure.Unbilled = res.RequestID(), true, true
	failure.RetryAfter = provider.RetryAfter(res.Header, now)
	return failure
}

// ReportedWith is an error in that envelope that came after status 200.
func ReportedWith(data []byte, key secret.Text, requestID string, rules ...Rule) *completion.ProviderError {
	failure := eventError(data, key, rules)
	failure.RequestID, failure.Sent = requestID, true
	return failure
}

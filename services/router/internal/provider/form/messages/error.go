package messages

import (
	"net/http"
	"strings"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// parseError reads the body of an error status. Some come from an edge in front of the API and are
// not the envelope.
func parseError(status int, body []byte, key secret.Text) *completion.ProviderError {
	failure := &completion.ProviderError{Status: status}
	readEnvelope(failure, body, key)
	if failure.Message == "" {
		failure.Message = provider.StatusMessage(status)
	}
	failure.Class = classify(failure)
	return failure
}

// readEnvelope reads {"type":"error","error":{"type","message","details":{"error_code"}},"request_id"}.
func readEnvelope(failure *completion.ProviderError, body []byte, key secret.Text) {
	m := jsonscan.Object(body)
	for m.Next() {
		switch string(m.Name) {
		case "request_id":
			failure.RequestID, _ = jsonscan.Text(m.Value)
			failure.RequestID = provider.Bounded(failure.RequestID, 128)
		case "error":
			if jsonscan.KindOf(m.Value) == jsonscan.String {
				failure.Message = provider.Words(m.Value, key, 0)
				continue
			}
			failure.Message = provider.Words(jsonscan.Get(m.Value, "message"), key, 0)
			failure.Type = provider.Words(jsonscan.Get(m.Value, "type"), key, 64)
			failure.Code = provider.Words(jsonscan.Get(m.Value, "details", "error_code"), key, 64)
		}
	}
}

// classify decides by code and type. Texts are read only where nothing else tells a case apart.
func classify(e *completion.ProviderError) completion.Class {
	switch e.Code {
	case "enforced_spend_limit_reached", "contract_spend_limit_reached",
		"linked_organization_spend_limit_reached", "linked_organization_billing_unavailable":
		return completion.QuotaExhausted
	case "api_key_scope_missing", "organization_on_hold":
		return completion.AuthLimited
	}
	switch e.Type {
	case "invalid_request_error":
		return classifyInvalid(e)
	case "authentication_error":
		return completion.AuthInvalid
	case "billing_error":
		return completion.QuotaExhausted
	case "permission_error":
		return completion.AuthLimited
	case "not_found_error":
		return completion.ModelNotFound
	case "request_too_large":
		return completion.TooLarge
	case "rate_limit_error":
		return completion.RateLimited
	case "overloaded_error":
		return completion.Overloaded
	case "timeout_error":
		return completion.TimedOut
	case "api_error", "conflict_error":
		return completion.ServerError
	}
	return classifyStatus(e.Status)
}

// classifyInvalid tells apart what comes as an invalid request. The credit message has no code of its
// own, and no status.
func classifyInvalid(e *completion.ProviderError) completion.Class {
	message := strings.ToLower(e.Message)
	switch {
	case RefusesState(message):
		return completion.StateRefused
	case strings.Contains(message, "credit balance is too low"), strings.Contains(message, "api usage limits"):
		return completion.QuotaExhausted
	case strings.Contains(message, "prompt is too long"), e.Status == http.StatusRequestEntityTooLarge:
		return completion.TooLarge
	case strings.Contains(message, "content filtering policy"):
		return completion.ContentRefused
	case strings.Contains(message, "not supported") && strings.Contains(message, "model"):
		return completion.Unsupported
	}
	return completion.InvalidRequest
}

// RefusesState reports whether a message, in lower case, is about thinking of earlier turns that cannot be
// verified: another credential's, another model's, or changed since. No code says so.
func RefusesState(message string) bool {
	if !strings.Contains(message, "thinking") {
		return false
	}
	return strings.Contains(message, "invalid `signature`") || strings.Contains(message, "invalid `data`") || strings.Contains(message, "invalid signature") ||
		strings.Contains(message, "cannot be modified")
}

func classifyStatus(status int) completion.Class {
	switch status {
	case http.StatusBadRequest:
		return completion.InvalidRequest
	case http.StatusUnauthorized:
		return completion.AuthInvalid
	case http.StatusPaymentRequired:
		return completion.QuotaExhausted
	case http.StatusForbidden:
		return completion.AuthLimited
	case http.StatusNotFound:
		return completion.ModelNotFound
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return completion.TimedOut
	case http.StatusRequestEntityTooLarge:
		return completion.TooLarge
	case http.StatusTooManyRequests:
		return completion.RateLimited
	case http.StatusServiceUnavailable, 529:
		return completion.Overloaded
	case http.StatusConflict:
		return completion.ServerError
	}
	if status >= 400 && status < 500 {
		return completion.InvalidRequest
	}
	return completion.ServerError
}

package chat

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// parseError reads the body of an error status. Bodies that are not the envelope come from proxies
// in front of the provider; what they say is for their operators.
func parseError(status int, body []byte, key secret.Text) *completion.ProviderError {
	failure := &completion.ProviderError{Status: status}
	if jsonscan.KindOf(trimmed(body)) == jsonscan.ObjectKind {
		readEnvelope(failure, body, key)
	}
	if failure.Message == "" {
		failure.Message = provider.StatusMessage(status)
	}
	failure.Class = classify(failure)
	return failure
}

// eventError reads an error that came after status 200.
func eventError(data []byte, key secret.Text) *completion.ProviderError {
	failure := &completion.ProviderError{Status: http.StatusOK}
	readEnvelope(failure, data, key)
	// Some compatible servers give the status as the code.
	if status, err := strconv.Atoi(failure.Code); err == nil && status >= 400 && status < 600 {
		failure.Status = status
	}
	if failure.Message == "" {
		failure.Message = "the provider reports an error without a message"
	}
	failure.Class = classify(failure)
	return failure
}

func trimmed(body []byte) []byte {
	for len(body) > 0 && (body[0] == ' ' || body[0] == '\n' || body[0] == '\r' || body[0] == '\t') {
		body = body[1:]
	}
	return body
}

// readEnvelope reads {"error":{"message","type","param","code"}}, and the forms of compatible servers:
// an error that is a string, or the members without the envelope.
func readEnvelope(failure *completion.ProviderError, body []byte, key secret.Text) {
	inner := jsonscan.Get(body, "error")
	if jsonscan.KindOf(inner) == jsonscan.String {
		failure.Message = provider.Words(inner, key, 0)
		return
	}
	if jsonscan.KindOf(inner) != jsonscan.ObjectKind {
		inner = body
	}
	m := jsonscan.Object(inner)
	for m.Next() {
		switch string(m.Name) {
		case "message", "detail":
			if failure.Message == "" {
				failure.Message = provider.Words(m.Value, key, 0)
			}
		case "type":
			failure.Type = provider.Words(m.Value, key, 64)
		case "code":
			failure.Code = provider.Words(m.Value, key, 64)
		case "param":
			failure.Param = provider.Words(m.Value, key, 128)
		}
	}
}

// noMoney are the codes of exhausted quotas, as type or as code.
var noMoney = []string{
	"insufficient_quota", "credit_balance_exhausted", "organization_spend_limit_exceeded", "project_spend_limit_exceeded",
	"organization_usage_limit_exceeded", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance",
}

// classify decides by type and code first, since one status means several things.
func classify(e *completion.ProviderError) completion.Class {
	is := func(words ...string) bool {
		return slices.Contains(words, e.Code) || slices.Contains(words, e.Type)
	}
	switch {
	case is(noMoney...):
		return completion.QuotaExhausted
	case is("content_policy_violation", "content_filter", "moderation_blocked", "invalid_prompt", "bio_policy", "cyber_policy_violation"):
		return completion.ContentRefused
	case is("context_length_exceeded", "string_above_max_length", "request_too_large"):
		return completion.TooLarge
	case is("invalid_api_key", "account_deactivated", "token_expired", "authentication_error"):
		return completion.AuthInvalid
	case is("model_not_found", "model_not_available"):
		return completion.ModelNotFound
	case is("server_is_overloaded", "overloaded_error", "engine_overloaded"):
		return completion.Overloaded
	case is("rate_limit_exceeded", "rate_limit_error", "slow_down"):
		return completion.RateLimited
	case is("server_error", "internal_error", "api_error"):
		return completion.ServerError
	}
	return classifyStatus(e, is)
}

func classifyStatus(e *completion.ProviderError, is func(...string) bool) completion.Class {
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return classifyBadRequest(e, is)
	case http.StatusUnauthorized:
		// OpenAI answers 401 for keys that are genuine too.
		if is("ip_not_authorized") || mentions(e, "missing scopes", "insufficient permissions", "ip address") {
			return completion.AuthLimited
		}
		return completion.AuthInvalid
	case http.StatusPaymentRequired:
		return completion.QuotaExhausted
	case http.StatusForbidden:
		return completion.AuthLimited
	case http.StatusNotFound:
		return completion.ModelNotFound
	case http.StatusRequestTimeout:
		return completion.TimedOut
	case http.StatusConflict, http.StatusTooEarly:
		return completion.ServerError // may pass when it is sent again
	case http.StatusRequestEntityTooLarge:
		return completion.TooLarge
	case http.StatusTooManyRequests:
		return completion.RateLimited
	case http.StatusServiceUnavailable, 529:
		return completion.Overloaded
	}
	if e.Status >= 400 && e.Status < 500 {
		return completion.InvalidRequest
	}
	return completion.ServerError
}

func classifyBadRequest(e *completion.ProviderError, is func(...string) bool) completion.Class {
	switch {
	case is("unsupported_parameter", "unsupported_value", "unsupported_model"):
		return completion.Unsupported
	case e.Param == "reasoning_effort" && mentions(e, "/v1/responses"):
		return completion.Unsupported // function tools with reasoning, see the facts about GPT-5.4 and later
	case mentions(e, "maximum context length"):
		return completion.TooLarge
	case mentions(e, "incorrect api key", "api key not valid", "api_key_invalid"):
		return completion.AuthInvalid // compatible servers that answer 400
	}
	return completion.InvalidRequest
}

// mentions looks for lower-case phrases in the message.
func mentions(e *completion.ProviderError, phrases ...string) bool {
	message := strings.ToLower(e.Message)
	return slices.ContainsFunc(phrases, func(p string) bool { return strings.Contains(message, p) })
}

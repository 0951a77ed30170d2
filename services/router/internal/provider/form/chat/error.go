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
func parseError(status int, body []byte, key secret.Text, rules []Rule) *completion.ProviderError {
	failure := &completion.ProviderError{Status: status}
	if body = unlisted(trimmed(body)); jsonscan.KindOf(body) == jsonscan.ObjectKind {
		readEnvelope(failure, body, key)
	}
	if failure.Message == "" {
		failure.Message = provider.StatusMessage(status)
	}
	failure.Class = classify(failure, rules)
	return failure
}

// eventError reads an error that came after status 200.
func eventError(data []byte, key secret.Text, rules []Rule) *completion.ProviderError {
	failure := &completion.ProviderError{Status: http.StatusOK}
	readEnvelope(failure, data, key)
	// Some compatible servers give the status as the code.
	if status, err := strconv.Atoi(failure.Code); err == nil && status >= 400 && status < 600 {
		failure.Status = status
	}
	if failure.Message == "" {
		failure.Message = "the provider reports an error without a message"
	}
	failure.Class = classify(failure, rules)
	return failure
}

func trimmed(body []byte) []byte {
	for len(body) > 0 && (body[0] == ' ' || body[0] == '\n' || body[0] == '\r' || body[0] == '\t') {
		body = body[1:]
	}
	return body
}

// unlisted takes an error out of the list that Google puts it in.
func unlisted(body []byte) []byte {
	if jsonscan.KindOf(body) != jsonscan.ArrayKind {
		return body
	}
	list := jsonscan.Array(body)
	if !list.Next() {
		return nil
	}
	return list.Value
}

// readEnvelope reads {"error":{"message","type","param","code"}}, and the forms of other vendors: an error
// that is a string, with or without code and type beside it; the members without the envelope; a message
// or detail that is an object or a list of what is wrong.
func readEnvelope(failure *completion.ProviderError, body []byte, key secret.Text) {
	inner := jsonscan.Get(body, "error")
	switch jsonscan.KindOf(inner) {
	case jsonscan.String:
		failure.Message = provider.Words(inner, key, 0)
		inner = body
	case jsonscan.ObjectKind:
	default:
		inner = body
	}
	m := jsonscan.Object(inner)
	for m.Next() {
		switch string(m.Name) {
		case "message", "detail":
			if failure.Message == "" {
				readMessage(failure, m.Value, key)
			}
		case "type":
			failure.Type = provider.Words(m.Value, key, 64)
		case "code":
			failure.Code = provider.Words(m.Value, key, 64)
		case "param":
			if param := provider.Words(m.Value, key, 128); param != "" {
				failure.Param = param
			}
		case "status_code", "statusCode", "raw_status_code":
			if status, ok := jsonscan.Int(m.Value); ok && failure.Status == http.StatusOK && status >= 400 && status < 600 {
				failure.Status = int(status)
			}
		}
	}
}

// readMessage reads a message: a text, an object around it, or a list of what is wrong where, of which
// the first is told.
func readMessage(failure *completion.ProviderError, v []byte, key secret.Text) {
	for range 4 { // no deeper
		switch jsonscan.KindOf(v) {
		case jsonscan.ObjectKind:
			if place := jsonscan.Get(v, "loc"); jsonscan.KindOf(place) == jsonscan.ArrayKind {
				failure.Param = lastWord(place, key)
			}
			inner := []byte(nil)
			for _, name := range []string{"message", "msg", "detail", "error"} {
				if inner = jsonscan.Get(v, name); jsonscan.Given(inner) {
					break
				}
			}
			v = inner
		case jsonscan.ArrayKind:
			list := jsonscan.Array(v)
			if !list.Next() {
				return
			}
			v = list.Value
		default:
			failure.Message = provider.Words(v, key, 0)
			if failure.Param != "" && failure.Message != "" && !strings.Contains(failure.Message, failure.Param) {
				failure.Message = failure.Param + ": " + failure.Message
			}
			return
		}
	}
}

// lastWord is the member that a place ends with: ["body", "seed"] is about "seed".
func lastWord(place []byte, key secret.Text) string {
	last := ""
	words := jsonscan.Array(place)
	for words.Next() {
		if word := provider.Words(words.Value, key, 128); word != "" {
			last = word
		}
	}
	return last
}

// noMoney are the codes of exhausted quotas, as type or as code.
var noMoney = []string{
	"insufficient_quota", "credit_balance_exhausted", "organization_spend_limit_exceeded", "project_spend_limit_exceeded",
	"organization_usage_limit_exceeded", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance",
}

// classify decides by the vendor's own rules, then by type and code, since one status means several
// things.
func classify(e *completion.ProviderError, rules []Rule) completion.Class {
	for i := range rules {
		if rules[i].fits(e) {
			return rules[i].Class
		}
	}
	is := func(words ...string) bool {
		return slices.Contains(words, e.Code) || slices.Contains(words, e.Type)
	}
	switch {
	case is(noMoney...):
		return completion.QuotaExhausted
	case is("content_policy_violation", "content_filter", "moderation_blocked", "invalid_prompt", "bio_policy", "cyber_policy_violation"):
		return completion.ContentRefused
	case is("invalid_encrypted_content"):
		return completion.StateRefused
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

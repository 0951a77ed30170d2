package fal

import (
	"net/http"
	"strings"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// refused is the error of an error status.
func (p *Provider) refused(res *provider.Response, key secret.Text) *completion.ProviderError {
	return p.parsed(res, res.ErrorBody(), key)
}

func (p *Provider) parsed(res *provider.Response, body []byte, key secret.Text) *completion.ProviderError {
	failure := parseError(res.StatusCode, body, key)
	failure.Sent = true
	failure.RetryAfter = provider.RetryAfter(res.Header, p.now())
	if id := res.Header.Get("X-Fal-Request-Id"); id != "" {
		failure.RequestID = provider.Bounded(id, maxID)
	} else {
		failure.RequestID = res.RequestID()
	}
	if failure.Type == "" {
		failure.Type = provider.Bounded(res.Header.Get("X-Fal-Error-Type"), 64)
	}
	return failure
}

// parseError reads {"detail": text or list of {loc, msg, type}, "error_type"}, and OpenAI's envelope, which
// some of fal's own tools believe in.
func parseError(status int, body []byte, key secret.Text) *completion.ProviderError {
	failure := &completion.ProviderError{Status: status}
	detail := jsonscan.Get(body, "detail")
	switch jsonscan.KindOf(detail) {
	case jsonscan.String:
		failure.Message = provider.Words(detail, key, 0)
	case jsonscan.ArrayKind:
		readDetails(failure, detail, key)
	default:
		failure.Message = provider.Words(jsonscan.Get(body, "error", "message"), key, 0)
	}
	if kind := provider.Words(jsonscan.Get(body, "error_type"), key, 64); kind != "" {
		failure.Type = kind
	}
	if failure.Message == "" {
		failure.Message = provider.StatusMessage(status)
	}
	failure.Class = classify(failure)
	return failure
}

// maxDetails bounds how many mistakes a message tells of.
const maxDetails = 4

func readDetails(failure *completion.ProviderError, list []byte, key secret.Text) {
	var said []string
	for e := jsonscan.Array(list); len(said) < maxDetails && e.Next(); {
		param := place(jsonscan.Get(e.Value, "loc"), key)
		if failure.Param == "" {
			failure.Param = param
		}
		if failure.Type == "" {
			failure.Type = provider.Words(jsonscan.Get(e.Value, "type"), key, 64)
		}
		message := provider.Words(jsonscan.Get(e.Value, "msg"), key, 512)
		if param != "" {
			message = param + ": " + message
		}
		said = append(said, message)
	}
	failure.Message = provider.Bounded(strings.Join(said, "; "), 2<<10)
}

// place is where a mistake is: ["body","prompt"] is the caller's prompt.
func place(loc []byte, key secret.Text) string {
	var parts []string
	for e := jsonscan.Array(loc); len(parts) < 8 && e.Next(); {
		if part := provider.Words(e.Value, key, 64); part != "" && (part != "body" || len(parts) > 0) {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ".")
}

// classify decides by status and words. 403 is money, most of the time.
func classify(e *completion.ProviderError) completion.Class {
	message := strings.ToLower(e.Message)
	switch e.Status {
	case http.StatusUnauthorized:
		return completion.AuthInvalid
	case http.StatusPaymentRequired:
		return completion.QuotaExhausted
	case http.StatusForbidden:
		if strings.Contains(message, "user is locked") && !strings.Contains(message, "admin lock") ||
			strings.Contains(message, "exhausted balance") || strings.Contains(message, "top up your balance") {
			return completion.QuotaExhausted
		}
		return completion.AuthLimited
	case http.StatusNotFound:
		return completion.ModelNotFound
	case http.StatusRequestEntityTooLarge:
		return completion.TooLarge
	case http.StatusTooManyRequests:
		return completion.RateLimited
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return completion.TimedOut
	case http.StatusServiceUnavailable:
		return completion.Overloaded
	}
	switch {
	case strings.Contains(e.Type, "content_policy"), strings.Contains(e.Type, "nsfw"), strings.Contains(message, "content policy"):
		return completion.ContentRefused
	case e.Status >= 400 && e.Status < 500:
		return completion.InvalidRequest
	}
	return completion.ServerError
}

// canceled reports whether a job failed because its end was asked for.
func canceled(e *completion.ProviderError) bool {
	message := strings.ToLower(e.Message)
	return strings.Contains(message, "cancelled") || strings.Contains(message, "canceled")
}

// failedByItself tells the error of a job, which its result's status repeats, from one of asking for it.
func failedByItself(status int, e *completion.ProviderError) bool {
	switch e.Class {
	case completion.AuthInvalid, completion.AuthLimited, completion.QuotaExhausted, completion.RateLimited, completion.ModelNotFound:
		return false
	case completion.InvalidRequest, completion.TooLarge, completion.ContentRefused, completion.StateRefused, completion.Unsupported:
		return true
	case completion.Overloaded, completion.ServerError, completion.TimedOut, completion.Network, completion.CredentialError:
	}
	// A proxy in front says nothing in fal's words.
	return e.Type != "" || e.Message != provider.StatusMessage(status)
}

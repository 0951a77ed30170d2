package gemini

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// maxWait bounds what a provider may ask for.
const maxWait = 10 * time.Minute

// problem is what an error says besides what is kept of it.
type problem struct {
	*completion.ProviderError
	quotas []string
}

// parseError reads the body of an error status. Bodies that are not the envelope come from a front end.
func parseError(status int, body []byte, key secret.Text) *completion.ProviderError {
	p := problem{ProviderError: &completion.ProviderError{Status: status}}
	p.read(body, key)
	if p.Message == "" {
		p.Message = provider.StatusMessage(status)
	}
	p.Class = p.classify()
	return p.ProviderError
}

// eventError reads an error that came after status 200. The code in it is the status that it would have.
func eventError(body []byte, key secret.Text) *completion.ProviderError {
	p := problem{ProviderError: &completion.ProviderError{Status: http.StatusOK}}
	p.read(body, key)
	if code, ok := jsonscan.Int(jsonscan.Get(envelope(body), "error", "code")); ok && code >= 400 && code < 600 {
		p.Status = int(code)
	}
	if p.Message == "" {
		p.Message = "the provider reports an error without a message"
	}
	p.Class = p.classify()
	p.Sent = true
	return p.ProviderError
}

// envelope takes an error out of the array that it sometimes comes in.
func envelope(body []byte) []byte {
	body = bytes.TrimSpace(body)
	if jsonscan.KindOf(body) == jsonscan.ArrayKind {
		list := jsonscan.Array(body)
		if !list.Next() {
			return nil
		}
		body = list.Value
	}
	if jsonscan.KindOf(body) != jsonscan.ObjectKind {
		return nil
	}
	return body
}

// read reads {"error":{"code","message","status","details":[{"@type",…}]}}.
func (p *problem) read(body []byte, key secret.Text) {
	inner := jsonscan.Get(envelope(body), "error")
	if jsonscan.KindOf(inner) == jsonscan.String {
		p.Message = provider.Words(inner, key, 0)
		return
	}
	if jsonscan.KindOf(inner) != jsonscan.ObjectKind {
		return
	}
	m := jsonscan.Object(inner)
	for m.Next() {
		switch string(m.Name) {
		case "message":
			p.Message = provider.Words(m.Value, key, 0)
		case "status":
			p.Type = provider.Words(m.Value, key, 64)
		case "details":
			details := jsonscan.Array(m.Value)
			for details.Next() {
				if jsonscan.KindOf(details.Value) == jsonscan.ObjectKind {
					p.detail(details.Value, key)
				}
			}
		}
	}
}

// detail reads one of ErrorInfo, QuotaFailure and RetryInfo. They are told apart by what they hold.
func (p *problem) detail(body []byte, key secret.Text) {
	m := jsonscan.Object(body)
	for m.Next() {
		switch string(m.Name) {
		case "reason":
			p.Code = provider.Words(m.Value, key, 64)
		case "retryDelay":
			text, _ := jsonscan.Text(m.Value)
			if d, err := time.ParseDuration(text); err == nil {
				p.RetryAfter = min(max(d, 0), maxWait)
			}
		case "violations":
			violations := jsonscan.Array(m.Value)
			for violations.Next() && len(p.quotas) < 16 {
				if jsonscan.KindOf(violations.Value) != jsonscan.ObjectKind {
					continue
				}
				if id, ok := jsonscan.Text(jsonscan.Get(violations.Value, "quotaId")); ok {
					p.quotas = append(p.quotas, id)
				}
			}
		}
	}
}

// classify decides by the reason first: a wrong key is an invalid argument, with status 400.
func (p *problem) classify() completion.Class {
	switch p.Code {
	case "API_KEY_INVALID", "API_KEY_EXPIRED", "CONSUMER_SUSPENDED", "CONSUMER_INVALID", "ACCOUNT_STATE_INVALID",
		"ACCESS_TOKEN_EXPIRED", "ACCESS_TOKEN_TYPE_UNSUPPORTED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "CREDENTIALS_MISSING":
		return completion.AuthInvalid
	case "BILLING_DISABLED":
		return completion.QuotaExhausted
	case "API_KEY_SERVICE_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED", "API_KEY_IP_ADDRESS_BLOCKED", "API_KEY_ANDROID_APP_BLOCKED",
		"API_KEY_IOS_APP_BLOCKED", "SERVICE_DISABLED", "IAM_PERMISSION_DENIED":
		return completion.AuthLimited
	}
	switch p.Type {
	case "INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE":
		return p.classifyInvalid()
	case "UNAUTHENTICATED":
		return completion.AuthInvalid
	case "PERMISSION_DENIED":
		return p.classifyDenied()
	case "NOT_FOUND":
		return completion.ModelNotFound
	case "RESOURCE_EXHAUSTED":
		return p.classifyQuota()
	case "UNIMPLEMENTED":
		return completion.Unsupported
	case "UNAVAILABLE":
		return completion.Overloaded
	case "DEADLINE_EXCEEDED":
		return completion.TimedOut
	case "INTERNAL", "UNKNOWN", "ABORTED", "DATA_LOSS", "CANCELLED":
		return completion.ServerError
	}
	return p.classifyStatus()
}

func (p *problem) mentions(texts ...string) bool {
	message := strings.ToLower(p.Message)
	for _, text := range texts {
		if strings.Contains(message, text) {
			return true
		}
	}
	return false
}

// classifyInvalid tells apart what comes as a wrong argument: only texts say it.
func (p *problem) classifyInvalid() completion.Class {
	switch {
	case p.mentions("api key not valid", "api key expired", "api key not found"):
		return completion.AuthInvalid
	case p.mentions("thought signature", "thought_signature", "thoughtsignature"):
		return completion.StateRefused
	case p.mentions("location is not supported", "free tier is not available"):
		return completion.AuthLimited
	case p.mentions("exceeds the maximum number of tokens", "payload size exceeds", "input token count", "request is too large"):
		return completion.TooLarge
	case p.mentions("responsible ai", "sensitive words", "safety filter", "violates google"):
		return completion.ContentRefused
	case p.mentions("is not supported", "not enabled for", "is unsupported", "only supported for", "does not support") && p.mentions("model"):
		return completion.Unsupported
	}
	return completion.InvalidRequest
}

func (p *problem) classifyDenied() completion.Class {
	if p.mentions("reported as leaked", "has been suspended", "has been denied access") {
		return completion.AuthInvalid
	}
	return completion.AuthLimited
}

// classifyQuota tells a rate from an account that is used up. A limit of 0 is a model that the account's
// tier does not have.
func (p *problem) classifyQuota() completion.Class {
	if p.mentions("limit: 0") && !p.mentions("limit: 0.") {
		return completion.AuthLimited
	}
	if p.mentions("spending cap", "prepayment credits", "credits are depleted", "prepaid credit") {
		return completion.QuotaExhausted
	}
	for _, id := range p.quotas {
		if strings.Contains(id, "PerDay") {
			return completion.QuotaExhausted
		}
	}
	return completion.RateLimited
}

func (p *problem) classifyStatus() completion.Class {
	switch p.Status {
	case http.StatusUnauthorized:
		return completion.AuthInvalid
	case http.StatusPaymentRequired:
		return completion.QuotaExhausted
	case http.StatusForbidden:
		return p.classifyDenied()
	case http.StatusNotFound:
		return completion.ModelNotFound
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return completion.TimedOut
	case http.StatusRequestEntityTooLarge:
		return completion.TooLarge
	case http.StatusTooManyRequests:
		return p.classifyQuota()
	case http.StatusServiceUnavailable, 529:
		return completion.Overloaded
	case http.StatusBadRequest:
		return p.classifyInvalid()
	case 499:
		return completion.ServerError
	}
	if p.Status >= 400 && p.Status < 500 {
		return completion.InvalidRequest
	}
	return completion.ServerError
}

// failureOf is the provider's failure in an error of a call, or a failure of the network's.
func failureOf(err error) *completion.ProviderError {
	if err == nil {
		return nil
	}
	if failure, ok := errors.AsType[*completion.ProviderError](err); ok {
		return failure
	}
	return &completion.ProviderError{Class: completion.Network, Message: "the call failed"}
}

package llmtest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Failure names an error that a script can answer with. Each provider form has its own envelope,
// status and words for it.
type Failure string

// The failures.
const (
	ErrAuth           Failure = "auth"           // wrong or revoked key
	ErrScopes         Failure = "scopes"         // a genuine key without the needed right
	ErrForbidden      Failure = "forbidden"      // country (OpenAI), model or hold (Anthropic)
	ErrModel          Failure = "model"          // unknown model
	ErrRateLimit      Failure = "rate_limit"     // too many requests or tokens for now
	ErrSlowDown       Failure = "slow_down"      // ramp too fast
	ErrQuota          Failure = "quota"          // no money left
	ErrSpendLimit     Failure = "spend_limit"    // the customer's own limit
	ErrBilling        Failure = "billing"        // Anthropic's 402
	ErrBadRequest     Failure = "bad_request"    // a field is wrong
	ErrUnsupported    Failure = "unsupported"    // the model does not take a field
	ErrContextLength  Failure = "context_length" // prompt too long for the model
	ErrTooLarge       Failure = "too_large"      // body too large, answered by an edge without JSON
	ErrContent        Failure = "content"        // content policy
	ErrState          Failure = "state"          // reasoning of earlier turns that cannot be verified
	ErrTimeout        Failure = "timeout"        // the provider's own timeout
	ErrServer         Failure = "server"
	ErrOverloaded     Failure = "overloaded"
	ErrGatewayHTML    Failure = "gateway" // a 502 with an HTML body, from a proxy in front
	ErrOrganizationIP Failure = "ip"      // caller's address is not on the organization's list
)

// wire is one form's answer to a failure.
type wire struct {
	status                     int
	kind, code, param, message string
}

// failures holds what OpenAI and Anthropic say, in this order.
var failures = map[Failure][2]wire{
	ErrAuth: {
		{401, "invalid_request_error", "invalid_api_key", "", "Incorrect API key provided: %KEY%. You can find your API key at https://platform.openai.com/account/api-keys."},
		{401, "authentication_error", "", "", "invalid x-api-key"},
	},
	ErrScopes: {
		{401, "invalid_request_error", "", "", "You have insufficient permissions for this operation. Missing scopes: model.request. Check that you have the correct role in your organization, and if you're using a restricted API key, that it has the necessary scopes."},
		{403, "permission_error", "api_key_scope_missing", "", "API key is missing a required scope."},
	},
	ErrForbidden: {
		{403, "request_forbidden", "unsupported_country_region_territory", "", "Country, region, or territory not supported"},
		{403, "permission_error", "organization_on_hold", "", "This organization is on hold."},
	},
	ErrOrganizationIP: {
		{401, "invalid_request_error", "ip_not_authorized", "", "Your request was blocked because your IP address is not on the organization's allow-list."},
		{403, "permission_error", "", "", "Your IP address is not allowed."},
	},
	ErrModel: {
		{404, "invalid_request_error", "model_not_found", "", "The model `%MODEL%` does not exist or you do not have access to it."},
		{404, "not_found_error", "", "", "model: %MODEL%"},
	},
	ErrRateLimit: {
		{429, "tokens", "rate_limit_exceeded", "", "Rate limit reached for %MODEL% in organization org-llmtest on tokens per min (TPM): Limit 30000, Used 29500, Requested 900. Please try again in 800ms."},
		{429, "rate_limit_error", "", "", "This request would exceed your organization's rate limit of 50 requests per minute."},
	},
	ErrSlowDown: {
		{429, "rate_limit_error", "slow_down", "", "Your request rate rises too fast. Please slow down."},
		{429, "rate_limit_error", "ramp_limit_exceeded", "", "Your request rate rises too fast."},
	},
	ErrQuota: {
		{429, "insufficient_quota", "insufficient_quota", "", "You exceeded your current quota, please check your plan and billing details."},
		{400, "invalid_request_error", "", "", "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."},
	},
	ErrSpendLimit: {
		{429, "insufficient_quota", "project_spend_limit_exceeded", "", "The project has reached its spend limit."},
		{429, "rate_limit_error", "enforced_spend_limit_reached", "", "You have reached your specified API usage limits."},
	},
	ErrBilling: {
		{429, "insufficient_quota", "credit_balance_exhausted", "", "Your credit balance is exhausted."},
		{402, "billing_error", "", "", "There is an issue with your organization's billing."},
	},
	ErrBadRequest: {
		{400, "invalid_request_error", "invalid_value", "temperature", "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead."},
		{400, "invalid_request_error", "", "", "temperature: Input should be less than or equal to 1"},
	},
	ErrUnsupported: {
		{400, "invalid_request_error", "unsupported_parameter", "max_tokens", "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."},
		{400, "invalid_request_error", "", "", "`temperature` is not supported by this model."},
	},
	ErrContextLength: {
		{400, "invalid_request_error", "context_length_exceeded", "messages", "This model's maximum context length is 128000 tokens. However, your messages resulted in 150000 tokens. Please reduce the length of the messages."},
		{400, "invalid_request_error", "", "", "prompt is too long: 250000 tokens > 200000 maximum"},
	},
	ErrTooLarge: {
		{413, "", "", "", "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>\r\n<center><h1>413 Request Entity Too Large</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n"},
		{413, "request_too_large", "", "", "Request exceeds the maximum size"},
	},
	ErrContent: {
		{400, "invalid_request_error", "content_policy_violation", "", "Your request was rejected as a result of our safety system."},
		{400, "invalid_request_error", "", "", "Output blocked by content filtering policy"},
	},
	ErrState: {
		{400, "invalid_request_error", "invalid_encrypted_content", "", "The encrypted content for item rs_0 could not be verified. Reason: Encrypted content could not be decrypted or parsed."},
		{400, "invalid_request_error", "", "", "messages.1.content.0: Invalid `signature` in `thinking` block"},
	},
	ErrTimeout: {
		{408, "timeout", "", "", "The request timed out."},
		{504, "timeout_error", "", "", "The request timed out while processing."},
	},
	ErrServer: {
		{500, "server_error", "", "", "The server had an error while processing your request. Sorry about that!"},
		{500, "api_error", "", "", "Internal server error"},
	},
	ErrOverloaded: {
		{503, "server_error", "server_is_overloaded", "", "That model is currently overloaded with other requests."},
		{529, "overloaded_error", "", "", "Overloaded"},
	},
	ErrGatewayHTML: {
		{502, "", "", "", "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"},
		{502, "", "", "", "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"},
	},
}

// failure returns what this call's error says.
func (c *call) failure() wire {
	name := c.script.Error
	if name == "" {
		name = ErrServer
	}
	var w wire
	if c.native != nil {
		w = c.native.failure(name)
	} else {
		w = failures[name][c.form]
	}
	s := c.script
	if s.Status != 0 {
		w.status = s.Status
	}
	if s.Type != "" {
		w.kind = s.Type
	}
	if s.Code != "" {
		w.code = s.Code
	}
	if s.Message != "" {
		w.message = s.Message
	}
	shown := maskKey(c.key)
	if s.Echo {
		shown = c.key
		if !strings.Contains(w.message, "%KEY%") {
			w.message += " (key: %KEY%)"
		}
	}
	w.message = strings.NewReplacer("%KEY%", shown, "%MODEL%", c.model).Replace(w.message)
	return w
}

// maskKey shows a key as OpenAI's own messages do.
func maskKey(key string) string {
	if len(key) < 16 {
		return "***"
	}
	return key[:8] + strings.Repeat("*", len(key)-12) + key[len(key)-4:]
}

// body renders the error in the form's envelope. Errors without a type come from a proxy, not
// from the API, and have no envelope.
func (w wire) body(form form, requestID string) []byte {
	if w.kind == "" {
		return []byte(w.message)
	}
	var envelope any
	if form == openAI {
		envelope = map[string]any{"error": map[string]any{
			"message": w.message, "type": w.kind, "param": orNil(w.param), "code": orNil(w.code),
		}}
	} else {
		var details any
		if w.code != "" {
			details = map[string]any{"error_code": w.code}
		}
		envelope = map[string]any{"type": "error", "request_id": requestID, "error": map[string]any{
			"type": w.kind, "message": w.message, "details": details,
		}}
	}
	b, err := json.Marshal(envelope)
	if err != nil {
		panic(err) // maps of strings always encode
	}
	return b
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// refuse answers with a failure, before anything else was sent.
func (c *call) refuse(w wire) {
	h := c.w.Header()
	if w.kind == "" {
		h.Set("Content-Type", "text/html")
	} else {
		h.Set("Content-Type", "application/json")
	}
	if d := c.script.RetryAfter; d > 0 {
		h.Set("Retry-After", strconv.Itoa(int((d+time.Second-1)/time.Second)))
		if c.form == openAI && d%time.Second != 0 {
			h.Set("Retry-After-Ms", strconv.FormatInt(d.Milliseconds(), 10))
		}
	}
	if w.status == http.StatusTooManyRequests {
		c.exhaustedHeaders()
	}
	body := []byte(w.message)
	switch {
	case c.native == nil:
		body = w.body(c.form, c.entry.RequestID)
	case w.kind != "":
		body = c.native.envelope(c, w) // may set headers
	}
	c.entry.Status = w.status
	c.status(w.status)
	_, err := c.w.Write(body) //nolint:gosec // for an API client, not for a browser
	c.entry.Complete = err == nil
}

func (c *call) exhaustedHeaders() {
	h := c.w.Header()
	if c.form == other {
		return
	}
	if c.form == openAI {
		h.Set("X-Ratelimit-Remaining-Tokens", "0")
		h.Set("X-Ratelimit-Reset-Tokens", "800ms")
		return
	}
	h.Set("Anthropic-Ratelimit-Requests-Remaining", "0")
}

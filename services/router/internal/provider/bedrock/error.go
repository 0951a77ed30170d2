package bedrock

import (
	"net/http"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/messages"
)

// refused is the error of an error status. Nothing was generated.
func (a account) refused(res *provider.Response) *completion.ProviderError {
	failure := &completion.ProviderError{
		Status: res.StatusCode, RequestID: res.RequestID(), Sent: true, Unbilled: true, RetryAfter: provider.RetryAfter(res.Header, a.now()),
	}
	name := res.Header.Get("X-Amzn-Errortype")
	a.describe(failure, name, res.ErrorBody())
	return failure
}

// failedInStream is the error of a frame that ends a stream.
func (a account) failedInStream(f frame, id string) *completion.ProviderError {
	failure := &completion.ProviderError{Status: http.StatusOK, RequestID: id, Sent: true}
	if f.Message == "error" {
		failure.Message = a.scrub(f.Text)
	}
	a.describe(failure, f.Name, f.Payload)
	return failure
}

// describe fills in what AWS says. Its name for an error stands in a header or in the body, with its own
// address before or behind it; in streams it begins with a small letter.
func (a account) describe(failure *completion.ProviderError, name string, body []byte) {
	original, message := 0, "" // as it came, for what only its words tell
	m := jsonscan.Object(body)
	for m.Next() {
		switch string(m.Name) {
		case "__type", "code":
			if name == "" {
				name, _ = jsonscan.Text(m.Value)
			}
		case "message", "Message":
			if text, ok := jsonscan.Text(m.Value); ok && text != "" {
				message, failure.Message = provider.Bounded(text, 16<<10), a.scrub(text)
			}
		case "originalStatusCode":
			if n, ok := jsonscan.Int(m.Value); ok && n >= 400 && n < 600 {
				original = int(n)
			}
		}
	}
	name, _, _ = strings.Cut(name, ":")
	name = name[strings.LastIndexByte(name, '#')+1:]
	if name != "" {
		name = strings.ToUpper(name[:1]) + name[1:]
	}
	failure.Type = provider.Bounded(a.scrub(name), 64)
	if failure.Message == "" {
		failure.Message = provider.StatusMessage(failure.Status)
		if failure.Status == http.StatusOK {
			failure.Message = "the provider reports an error without a message"
		}
	}
	failure.Class = classify(failure, message, original)
	if failure.Class == completion.CredentialError {
		failure.Message = "the clock of this router is wrong, so AWS takes no signature of it (" + failure.Message + ")"
	}
	if failure.Class == completion.RateLimited && contains(message, "per day") {
		failure.RetryAfter = max(failure.RetryAfter, dailyWait)
	}
}

// classify decides by the error's name. Messages are read only where nothing else tells a case apart.
func classify(e *completion.ProviderError, message string, original int) completion.Class {
	switch e.Type {
	case "ValidationException":
		return classifyInvalid(message)
	case "ConflictException", "SerializationException":
		return completion.InvalidRequest
	case "ServiceQuotaExceededException":
		return completion.QuotaExhausted
	case "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch", "ExpiredTokenException", "ExpiredToken",
		"IncompleteSignature", "IncompleteSignatureException", "MissingAuthenticationToken", "MissingAuthenticationTokenException", "NotAuthorizedException",
		"RequestExpired", "RequestExpiredException", "RequestTimeTooSkewed":
		return classifySignature(e.Type, message)
	case "AccessDeniedException", "AccessDenied", "OptInRequired":
		return classifyDenied(message)
	case "ResourceNotFoundException":
		if contains(message, "use case details") {
			return completion.AuthLimited // the account has not told Anthropic what it is for
		}
		return completion.ModelNotFound
	case "UnknownOperationException":
		return completion.ModelNotFound
	case "ModelTimeoutException":
		return completion.TimedOut
	case "ModelErrorException", "ModelStreamErrorException":
		if original != 0 {
			return classifyStatus(original)
		}
		return completion.ServerError
	case "ThrottlingException", "TooManyRequestsException":
		return completion.RateLimited
	case "ModelNotReadyException", "ServiceUnavailableException", "ServiceUnavailable":
		return completion.Overloaded
	case "InternalServerException", "InternalFailure", "InternalServerError":
		return completion.ServerError
	}
	if e.Status == http.StatusForbidden {
		return classifyDenied(message)
	}
	return classifyStatus(e.Status)
}

// classifyInvalid tells apart what comes as a request that is not valid.
func classifyInvalid(message string) completion.Class {
	switch {
	case messages.RefusesState(strings.ToLower(message)):
		return completion.StateRefused
	case contains(message, "on-demand throughput", "model identifier is invalid", "model id is invalid"):
		return completion.ModelNotFound
	case contains(message, "too long", "too many input tokens", "too many total text bytes", "maximum context length", "context window", "exceeds the maximum number of tokens"):
		return completion.TooLarge
	case contains(message, "content filter", "guardrail"):
		return completion.ContentRefused
	case contains(message, "not supported", "isn't supported", "doesn't support", "does not support", "isn’t supported", "doesn’t support"):
		return completion.Unsupported
	}
	return completion.InvalidRequest
}

// classifySignature tells a wrong key from a wrong clock, which is no fault of the key's owner.
func classifySignature(name, message string) completion.Class {
	if strings.HasPrefix(name, "Request") || contains(message, "signature expired", "not yet current") {
		return completion.CredentialError
	}
	return completion.AuthInvalid
}

// classifyDenied tells a key that is wrong from one that may not do this. Bedrock's API keys have no
// errors of their own.
func classifyDenied(message string) completion.Class {
	if contains(message, "api key", "bearer token", "security token included in the request is") {
		return completion.AuthInvalid
	}
	return completion.AuthLimited
}

func contains(message string, any ...string) bool {
	message = strings.ToLower(message)
	for _, s := range any {
		if strings.Contains(message, s) {
			return true
		}
	}
	return false
}

func classifyStatus(status int) completion.Class {
	switch status {
	case http.StatusUnauthorized:
		return completion.AuthInvalid
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
	}
	if status >= 400 && status < 500 {
		return completion.InvalidRequest
	}
	return completion.ServerError
}

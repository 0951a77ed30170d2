package bedrock_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/bedrock"
)

// failure returns the provider error that err must be.
func failure(t *testing.T, err error) *completion.ProviderError {
	t.Helper()
	var failed *completion.ProviderError
	if !errors.As(err, &failed) {
		t.Fatalf("error %v, want a ProviderError", err)
	}
	return failed
}

// TestErrorsAreClassifiedByTheirNames: the name stands in a header or in the body, each with something
// around it, and in streams begins with a small letter.
func TestErrorsAreClassifiedByTheirNames(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status     int
		name, body string
		want       completion.Class
	}{
		{400, "ValidationException", `{"message":"Invocation of model ID anthropic.claude-sonnet-5 with on-demand throughput isn’t supported. Retry your request with the ID or ARN of an inference profile that contains this model."}`, completion.ModelNotFound},
		{400, "ValidationException", `{"message":"The provided model identifier is invalid."}`, completion.ModelNotFound},
		{400, "ValidationException", `{"message":"The model returned the following errors: prompt is too long: 250000 tokens > 200000 maximum"}`, completion.TooLarge},
		{400, "ValidationException", `{"message":"Input is too long for requested model."}`, completion.TooLarge},
		{400, "ValidationException", "{\"message\":\"This model doesn't support the stopSequences field. Remove stopSequences and try again.\"}", completion.Unsupported},
		{400, "ValidationException", `{"message":"The model returned the following errors: temperature: Input should be less than or equal to 1"}`, completion.InvalidRequest},
		{400, "ConflictException", `{}`, completion.InvalidRequest},
		{400, "ServiceQuotaExceededException", `{}`, completion.QuotaExhausted},
		{400, "IncompleteSignatureException", `{}`, completion.AuthInvalid},
		{403, "UnrecognizedClientException", `{"message":"The security token included in the request is invalid."}`, completion.AuthInvalid},
		{403, "InvalidClientTokenId", `{}`, completion.AuthInvalid},
		{403, "ExpiredTokenException", `{"message":"The security token included in the request is expired"}`, completion.AuthInvalid},
		{403, "InvalidSignatureException", `{"message":"The request signature we calculated does not match the signature you provided."}`, completion.AuthInvalid},
		{403, "InvalidSignatureException", `{"message":"Signature expired: 20261122T120000Z is now earlier than 20261122T130000Z (20261122T130500Z - 5 min.)"}`, completion.CredentialError},
		{403, "InvalidSignatureException", `{"message":"Signature not yet current: 20261122T120000Z is still later than 20261122T110000Z (20261122T110500Z + 5 min.)"}`, completion.CredentialError},
		{403, "RequestExpired", `{}`, completion.CredentialError},
		{403, "AccessDeniedException", `{"message":"User: arn:aws:iam::123456789012:user/x is not authorized to perform: bedrock:InvokeModel"}`, completion.AuthLimited},
		{403, "AccessDeniedException", `{"message":"Authentication failed: Please make sure your API Key is valid."}`, completion.AuthInvalid},
		{403, "", `{"Message":"Authentication failed: Please make sure your API Key is valid."}`, completion.AuthInvalid},
		{403, "", `{"Message":"Invalid API Key format: Must start with pre-defined prefix"}`, completion.AuthInvalid},
		{403, "", `{"Message":"Bearer Token has expired"}`, completion.AuthInvalid},
		{403, "", `<html>`, completion.AuthLimited},
		{404, "ResourceNotFoundException", `{"message":"Model use case details have not been submitted for this account."}`, completion.AuthLimited},
		{404, "ResourceNotFoundException", `{"message":"The requested model is not found"}`, completion.ModelNotFound},
		{408, "ModelTimeoutException", `{}`, completion.TimedOut},
		{424, "ModelErrorException", `{"message":"x","originalStatusCode":429,"resourceName":"y"}`, completion.RateLimited},
		{424, "ModelErrorException", `{"message":"x","originalStatusCode":400}`, completion.InvalidRequest},
		{424, "ModelErrorException", `{"message":"x"}`, completion.ServerError},
		{429, "ThrottlingException", `{}`, completion.RateLimited},
		{429, "ModelNotReadyException", `{}`, completion.Overloaded},
		{500, "InternalServerException", `{}`, completion.ServerError},
		{503, "ServiceUnavailableException", `{}`, completion.Overloaded},
		{413, "", `<html>`, completion.TooLarge},
		{418, "SomethingNew", `{}`, completion.InvalidRequest},
	} {
		small := test.name
		if small != "" {
			small = strings.ToLower(small[:1]) + small[1:]
		}
		for kind, r := range map[string]*replay{
			"header": {status: test.status, stream: test.body, header: http.Header{"X-Amzn-Errortype": {test.name + ":http://internal.amazon.com/coral/com.amazon.bedrock/"}, "X-Amzn-Requestid": {"r1"}}},
			"body":   {status: test.status, stream: strings.Replace(test.body, "{", `{"__type":"com.amazonaws.bedrock#`+test.name+`",`, 1), header: http.Header{"X-Amzn-Requestid": {"r1"}}},
		} {
			r.kind = "application/json"
			r.stream = strings.Replace(r.stream, ",}", "}", 1)
			_, err := collect(t, bedrock.New(r), asked(nova, true, said("hi")))
			failed := failure(t, err)
			if failed.Class != test.want || failed.Status != test.status || failed.Type != test.name || failed.RequestID != "r1" || !failed.Unbilled || failed.Message == "" {
				t.Errorf("%d %s in the %s: %+v, want class %s", test.status, test.name, kind, failed, test.want)
			}
		}
		if test.name == "" {
			continue
		}
		r := &replay{stream: string(llmtest.AWSException(small, []byte(test.body))), header: http.Header{"X-Amzn-Requestid": {"r1"}}}
		_, err := collect(t, bedrock.New(r), asked(nova, true, said("hi")))
		want := test.want
		if test.name == "SomethingNew" {
			want = completion.ServerError // no status says whose fault it is
		}
		if failed := failure(t, err); failed.Class != want || failed.Status != 200 || failed.Unbilled || failed.Type != test.name || failed.RequestID != "r1" {
			t.Errorf("%s in the stream: %+v, want class %s", test.name, failed, want)
		}
	}
}

// TestADaysLimitIsWaitedOutLong: it does not recover in a minute.
func TestADaysLimitIsWaitedOutLong(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]time.Duration{
		"Too many tokens per day, please wait before trying again.": 10 * time.Minute, "Too many tokens, please wait before trying again.": 0,
	} {
		r := &replay{status: 429, kind: "application/json", stream: `{"message":"` + message + `"}`, header: http.Header{"X-Amzn-Errortype": {"ThrottlingException"}}}
		_, err := collect(t, bedrock.New(r), asked(nova, true, said("hi")))
		if failed := failure(t, err); failed.RetryAfter != want || failed.Class != completion.RateLimited {
			t.Errorf("%s: %+v", message, failed)
		}
	}
}

// TestAWrongClockIsOurs: the key is not blamed for it.
func TestAWrongClockIsOurs(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	for _, off := range []time.Duration{-10 * time.Minute, 10 * time.Minute} {
		p := bedrock.New(&http.Transport{}).At(time.Now().Add(off))
		call := asked(nova, false, said("hi"))
		call.BaseURL = s.BedrockURL()
		_, err := collect(t, p, call)
		if failed := failure(t, err); failed.Class != completion.CredentialError || !strings.Contains(failed.Message, "the clock of this router") {
			t.Errorf("%+v", failed)
		}
		got := p.Test(t.Context(), completion.Place{BaseURL: s.BedrockURL(), Secret: call.Secret})
		if got.State != "" || !strings.Contains(got.Reason, "the clock of this router") {
			t.Errorf("%+v", got)
		}
	}
}

package bedrock_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/bedrock"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// TestCallsAreSignedAsAWSDoes: the signatures of the published example key, over exactly the bytes and the
// address that go out.
func TestCallsAreSignedAsAWSDoes(t *testing.T) {
	t.Parallel()
	example := map[string]string{"accessKeyId": "AKIDEXAMPLE", "secretAccessKey": llmtest.AWSSecret("AKIDEXAMPLE"), "region": "us-east-1"}
	temporary := map[string]string{"sessionToken": "TOKENEXAMPLE"}
	maps.Copy(temporary, example)
	const scope = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/us-east-1/bedrock/aws4_request, SignedHeaders="
	for key, want := range map[string]string{
		credential(example):   scope + "content-length;content-type;host;x-amz-date, Signature=59237ee91f391adc6fc5acfae55662c8f813509c0440bf1d2334f910a4a85946",
		credential(temporary): scope + "content-length;content-type;host;x-amz-date;x-amz-security-token, Signature=41226d74ad95cd7cee38c39d798295acd966fc405479369a6eea084cc89bbb86",
	} {
		r := &replay{kind: "application/json"}
		call := asked("us.amazon.nova-lite-v1:0", false, said("hi"))
		call.Secret = secret.New(key)
		if _, err := bedrock.New(r).At(noon).Start(t.Context(), call); err != nil {
			t.Fatal(err)
		}
		sent := r.sent[0]
		if got := sent.Header.Get("Authorization"); got != want {
			t.Errorf("signed\n%s, want\n%s", got, want)
		}
		if got := sent.URL.String(); got != "https://bedrock-runtime.us-east-1.amazonaws.com/model/us.amazon.nova-lite-v1%3A0/converse" {
			t.Errorf("sent to %s", got)
		}
		if got := r.bodies[0]; got != `{"messages":[{"role":"user","content":[{"text":"hi"}]}]}` || sent.ContentLength != int64(len(got)) {
			t.Errorf("sent %s, of %d bytes", got, sent.ContentLength)
		}
		if (sent.Header.Get("X-Amz-Security-Token") == "TOKENEXAMPLE") != strings.Contains(key, "sessionToken") {
			t.Errorf("token %q", sent.Header.Get("X-Amz-Security-Token"))
		}
	}
	r := &replay{kind: "application/json", stream: `{"modelSummaries":[]}`}
	bedrock.New(r).At(noon).Test(t.Context(), completion.Place{Secret: secret.New(credential(example))})
	want := scope + "host;x-amz-date, Signature=d921a5a634dbe70fd7da7557b07050b073f996f2cb8518edf96294f2658aa8af"
	if got := r.sent[0].Header.Get("Authorization"); got != want || r.sent[0].URL.String() != "https://bedrock.us-east-1.amazonaws.com/foundation-models" {
		t.Errorf("%s signed\n%s, want\n%s", r.sent[0].URL, got, want)
	}
}

// TestAKeyOfAnotherOrganizationSignsNothing: whoever knows an access key id and not its secret must not
// get a signature with the secret, also not right after its owner did.
func TestAKeyOfAnotherOrganizationSignsNothing(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	p := bedrock.New(&http.Transport{})
	call := asked(nova, false, said("hi"))
	call.BaseURL = s.BedrockURL()
	if _, err := collect(t, p, call); err != nil {
		t.Fatal(err)
	}
	call.Secret = secret.New(credential(map[string]string{
		"accessKeyId": llmtest.AWSKeyID(providertest.Key), "secretAccessKey": "not-the-secret-of-this-key", "region": "us-east-1",
	}))
	_, err := collect(t, p, call)
	if failed := failure(t, err); failed.Class != completion.AuthInvalid || failed.Type != "InvalidSignatureException" {
		t.Errorf("%+v", failed)
	}
}

// TestRegionsHaveTheirHosts: also where an operator or a tenant gives another address.
func TestRegionsHaveTheirHosts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ region, baseURL, runtime, control string }{
		{"eu-central-1", "", "https://bedrock-runtime.eu-central-1.amazonaws.com/model/", "https://bedrock.eu-central-1.amazonaws.com/foundation-models"},
		{"us-gov-west-1", "", "https://bedrock-runtime.us-gov-west-1.amazonaws.com/model/", "https://bedrock.us-gov-west-1.amazonaws.com/foundation-models"},
		{"cn-north-1", "", "https://bedrock-runtime.cn-north-1.amazonaws.com.cn/model/", "https://bedrock.cn-north-1.amazonaws.com.cn/foundation-models"},
		{
			"us-east-1", "https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com",
			"https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com/model/", "https://vpce-1.bedrock.us-east-1.vpce.amazonaws.com/foundation-models",
		},
		{"eusc-de-east-1", "", "https://bedrock-runtime.eusc-de-east-1.amazonaws.eu/model/", "https://bedrock.eusc-de-east-1.amazonaws.eu/foundation-models"},
		{"us-east-1", "https://bedrock-runtime-fips.us-east-1.amazonaws.com", "https://bedrock-runtime-fips.us-east-1.amazonaws.com/model/", "https://bedrock-fips.us-east-1.amazonaws.com/foundation-models"},
		{"us-east-1", "https://gateway.acme.example/aws", "https://gateway.acme.example/aws/model/", "https://gateway.acme.example/aws/foundation-models"},
	} {
		r := &replay{kind: "application/json", stream: `{"modelSummaries":[]}`}
		key := secret.New(credential(map[string]string{"apiKey": "ABSK-0123456789", "region": test.region}))
		call := asked("openai.gpt-oss-20b-1:0", false, said("hi"))
		call.Secret, call.BaseURL = key, test.baseURL
		if _, err := bedrock.New(r).Start(t.Context(), call); err != nil {
			t.Fatal(err)
		}
		if got, want := r.sent[0].URL.String(), test.runtime+"openai.gpt-oss-20b-1%3A0/converse"; got != want || r.sent[0].Header.Get("Authorization") != "Bearer ABSK-0123456789" {
			t.Errorf("%s: %s, want %s", test.region, got, want)
		}
		bedrock.New(r).Test(t.Context(), completion.Place{BaseURL: test.baseURL, Secret: key})
		if got := r.sent[1].URL.String(); got != test.control {
			t.Errorf("%s: %s, want %s", test.region, got, test.control)
		}
	}
}

// TestCredentialsOfAnotherFormAreNotSent: the control plane lets none pass; one that came by another way
// is ours to report.
func TestCredentialsOfAnotherFormAreNotSent(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"", "sk-1", "{}", `{"accessKeyId":"AKIA1","secretAccessKey":"x","region":"us-east-1.evil.example/"}`, `{"apiKey":"x"}`} {
		r := &replay{}
		call := asked(nova, true, said("hi"))
		call.Secret = secret.New(key)
		_, err := bedrock.New(r).Start(t.Context(), call)
		if failed := failure(t, err); failed.Class != completion.CredentialError || failed.Sent || len(r.sent) != 0 {
			t.Errorf("%q: %+v after %d calls", key, failed, len(r.sent))
		}
		if got := bedrock.New(r).Test(t.Context(), completion.Place{Secret: secret.New(key)}); got.State != "rejected" || len(r.sent) != 0 {
			t.Errorf("%q: %+v", key, got)
		}
	}
}

// TestNothingOfACredentialIsInWhatAWSSays: its complaints repeat what was signed.
func TestNothingOfACredentialIsInWhatAWSSays(t *testing.T) {
	t.Parallel()
	fields := map[string]string{
		"accessKeyId": "AKIACANARY1234567890", "secretAccessKey": "canary/secret+0123456789", "sessionToken": "canary:token:0123456789", "region": "us-east-1",
	}
	all := strings.Join([]string{fields["accessKeyId"], fields["secretAccessKey"], fields["sessionToken"]}, " and ")
	for _, r := range []*replay{
		{kind: "application/json", status: 403, stream: `{"message":"The Canonical String for this request should have been ` + all + `"}`, header: http.Header{"X-Amzn-Errortype": {all}}},
		{stream: string(llmtest.AWSException("throttlingException", []byte(`{"message":"`+all+`"}`)))},
	} {
		call := asked(nova, true, said("hi"))
		call.Secret = secret.New(credential(fields))
		_, err := collect(t, bedrock.New(r), call)
		failed := failure(t, err)
		for _, v := range []string{fields["accessKeyId"], fields["secretAccessKey"], fields["sessionToken"]} {
			if strings.Contains(failed.Message+failed.Type+failed.Code+err.Error(), v) {
				t.Errorf("%s is in %+v", v, failed)
			}
		}
	}
}

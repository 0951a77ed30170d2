package llmtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestSignaturesAreThoseOfTheExamples: what the scripted server takes as a good signature is what AWS's
// own signer makes.
func TestSignaturesAreThoseOfTheExamples(t *testing.T) {
	t.Parallel()
	const converse = "https://bedrock-runtime.us-east-1.amazonaws.com/model/us.amazon.nova-lite-v1%3A0/converse"
	body := []byte(`{"messages":[{"role":"user","content":[{"text":"hi"}]}]}`)
	for name, test := range map[string]struct {
		method, url, token string
		body               []byte
		names              string
		canonical, want    string
	}{
		"a call": {
			http.MethodPost, converse, "", body, "content-length;content-type;host;x-amz-date",
			"7d5b41f82b8aa8058e4752994647827be08754dce6ab712a9733e080dceda1b6", "59237ee91f391adc6fc5acfae55662c8f813509c0440bf1d2334f910a4a85946",
		},
		"a call with a session token": {
			http.MethodPost, converse, "TOKENEXAMPLE", body, "content-length;content-type;host;x-amz-date;x-amz-security-token",
			"b535ac36840ff75627801df05137a9e150cef507da02f7e1e938fa1cac6771da", "41226d74ad95cd7cee38c39d798295acd966fc405479369a6eea084cc89bbb86",
		},
		"a list": {
			http.MethodGet, "https://bedrock.us-east-1.amazonaws.com/foundation-models", "", nil, "host;x-amz-date",
			"c2a09d7a6eb41d43ee7b09a42f1cc23644e578d17d707e64978ac1633675dbf8", "d921a5a634dbe70fd7da7557b07050b073f996f2cb8518edf96294f2658aa8af",
		},
	} {
		r, err := http.NewRequestWithContext(t.Context(), test.method, test.url, bytes.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Date", "20261122T120000Z")
		if test.body != nil {
			r.Header.Set("Content-Type", "application/json")
		}
		if test.token != "" {
			r.Header.Set("X-Amz-Security-Token", test.token)
		}
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/us-east-1/bedrock/aws4_request, SignedHeaders="+test.names+", Signature="+test.want)
		canonical := sha256.Sum256([]byte(canonicalRequest(r, strings.Split(test.names, ";"), test.body)))
		if got := hex.EncodeToString(canonical[:]); got != test.canonical {
			t.Errorf("%s: the canonical request's hash is %s, want %s", name, got, test.canonical)
		}
		at := time.Date(2026, 11, 22, 12, 3, 0, 0, time.UTC)
		if w := verifySignature(r, test.body, at); w != nil {
			t.Errorf("%s: refused: %+v", name, w)
		}
		if w := verifySignature(r, append(test.body, ' '), at); w == nil || w.kind != "InvalidSignatureException" {
			t.Errorf("%s: another body under the same signature: %+v", name, w)
		}
		for _, late := range []time.Duration{-9 * time.Minute, 6 * time.Minute} {
			if w := verifySignature(r, test.body, at.Add(late)); w == nil || !strings.HasPrefix(w.message, "Signature ") {
				t.Errorf("%s: %s off: %+v", name, late, w)
			}
		}
	}
}

// TestFramesAreThoseOfTheExamples: the frames are, byte for byte, what AWS's own encoder makes.
func TestFramesAreThoseOfTheExamples(t *testing.T) {
	t.Parallel()
	for want, got := range map[string][]byte{
		"000000760000005296d5fade0b3a6576656e742d7479706507000c6d65737361676553746172740d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b22726f6c65223a22617373697374616e74227d6fa8c599":                                                                           AWSEvent("messageStart", []byte(`{"role":"assistant"}`)),
		"0000009400000057b4ab9aee0b3a6576656e742d74797065070011636f6e74656e74426c6f636b44656c74610d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b22636f6e74656e74426c6f636b496e646578223a302c2264656c7461223a7b2274657874223a224869227d7d1f944657":               AWSEvent("contentBlockDelta", []byte(`{"contentBlockIndex":0,"delta":{"text":"Hi"}}`)),
		"0000007a00000051ca2c46650b3a6576656e742d7479706507000b6d65737361676553746f700d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b2273746f70526561736f6e223a22656e645f7475726e227d5fbf09fc":                                                                   AWSEvent("messageStop", []byte(`{"stopReason":"end_turn"}`)),
		"0000009b0000004e5290a5ff0b3a6576656e742d747970650700086d657461646174610d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b227573616765223a7b22696e707574546f6b656e73223a392c226f7574707574546f6b656e73223a322c22746f74616c546f6b656e73223a31317d7dbbd3c8cf": AWSEvent("metadata", []byte(`{"usage":{"inputTokens":9,"outputTokens":2,"totalTokens":11}}`)),
		"0000008800000061de0175f40f3a657863657074696f6e2d747970650700137468726f74746c696e67457863657074696f6e0d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d74797065070009657863657074696f6e7b226d657373616765223a22736c6f7720646f776e227d832ee072":                                       AWSException("throttlingException", []byte(`{"message":"slow down"}`)),
	} {
		if hex.EncodeToString(got) != want {
			t.Errorf("got %x, want %s", got, want)
		}
	}
}

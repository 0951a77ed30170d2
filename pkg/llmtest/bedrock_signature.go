package llmtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// awsPrefix begins access key ids that stand for a key.
const awsPrefix = "LLMT"

// AWSKeyID is an access key id that stands for a key, whatever that holds.
func AWSKeyID(key string) string { return awsPrefix + hex.EncodeToString([]byte(key)) }

// awsKey is the key that an access key id stands for, or the id itself.
func awsKey(id string) string {
	if text, ok := strings.CutPrefix(id, awsPrefix); ok {
		if key, err := hex.DecodeString(text); err == nil {
			return string(key)
		}
	}
	return id
}

// AWSSecret is the secret of an access key id.
func AWSSecret(keyID string) string {
	if keyID == "AKIDEXAMPLE" { // of the published examples
		return "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	}
	sum := sha256.Sum256([]byte("secret of " + keyID))
	return base64.StdEncoding.EncodeToString(sum[:30])
}

// signature is what an Authorization header says.
type signature struct {
	keyID, date, region, service string
	names                        []string
	hex                          string
}

// signatureOf reads "AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…"; all empty if it is
// something else.
func signatureOf(authorization string) signature {
	rest, ok := strings.CutPrefix(authorization, "AWS4-HMAC-SHA256 ")
	if !ok {
		return signature{}
	}
	var s signature
	for part := range strings.SplitSeq(rest, ", ") {
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "Credential":
			scope := strings.Split(value, "/")
			if len(scope) != 5 || scope[4] != "aws4_request" {
				return signature{}
			}
			s.keyID, s.date, s.region, s.service = scope[0], scope[1], scope[2], scope[3]
		case "SignedHeaders":
			s.names = strings.Split(value, ";")
		case "Signature":
			s.hex = value
		}
	}
	return s
}

// authority is what HTTP/2 has in place of the header Host; AWS's SDK for JavaScript signs it there.
const authority = ":authority"

const awsTime = "20060102T150405Z"

// verifySignature computes the signature anew, as AWS does.
func verifySignature(r *http.Request, body []byte, now time.Time) *wire {
	refuse := func(kind, message string) *wire {
		return &wire{status: http.StatusForbidden, kind: kind, message: message}
	}
	s := signatureOf(r.Header.Get("Authorization"))
	if r.Header.Get("Authorization") == "" {
		return refuse("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	named := slices.Contains(s.names, "host") || slices.Contains(s.names, authority)
	if s.keyID == "" || s.hex == "" || !named || !slices.Contains(s.names, "x-amz-date") {
		w := refuse("IncompleteSignatureException", "Authorization header requires 'Credential', 'Signature' and 'SignedHeaders' parameters.")
		w.status = http.StatusBadRequest
		return w
	}
	at, err := time.Parse(awsTime, r.Header.Get("X-Amz-Date"))
	if err != nil || at.Format("20060102") != s.date {
		return refuse("InvalidSignatureException", "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP")
	}
	const skew = 5 * time.Minute
	switch {
	case now.Sub(at) > skew:
		return refuse("InvalidSignatureException", fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - 5 min.)", at.Format(awsTime), now.Add(-skew).UTC().Format(awsTime), now.UTC().Format(awsTime)))
	case at.Sub(now) > skew:
		return refuse("InvalidSignatureException", fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + 5 min.)", at.Format(awsTime), now.Add(skew).UTC().Format(awsTime), now.UTC().Format(awsTime)))
	case s.service != "bedrock":
		return refuse("InvalidSignatureException", "Credential should be scoped to correct service: 'bedrock'.")
	}
	token := r.Header.Get("X-Amz-Security-Token")
	if token != "" && !slices.Contains(s.names, "x-amz-security-token") || strings.HasPrefix(s.keyID, "ASIA") && token == "" {
		return refuse("UnrecognizedClientException", "The security token included in the request is invalid.")
	}
	canonical := canonicalRequest(r, s.names, body)
	if !hmac.Equal([]byte(s.hex), []byte(s.sign(canonical, r.Header.Get("X-Amz-Date")))) {
		return refuse("InvalidSignatureException", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.\n\nThe Canonical String for this request should have been\n'"+canonical+"'")
	}
	return nil
}

// canonicalRequest is what is signed: the path is encoded again on top of its form on the wire.
func canonicalRequest(r *http.Request, names []string, body []byte) string {
	var b strings.Builder
	b.WriteString(r.Method + "\n" + awsEscape(r.URL.EscapedPath()) + "\n")
	query := r.URL.Query()
	var pairs []string
	for name, values := range query {
		for _, v := range values {
			pairs = append(pairs, strings.ReplaceAll(url.QueryEscape(name), "+", "%20")+"="+strings.ReplaceAll(url.QueryEscape(v), "+", "%20"))
		}
	}
	slices.Sort(pairs)
	b.WriteString(strings.Join(pairs, "&") + "\n")
	for _, name := range names {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host", authority:
			value = r.Host
		case "content-length":
			value = fmt.Sprint(len(body))
		}
		b.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	sum := sha256.Sum256(body)
	b.WriteString("\n" + strings.Join(names, ";") + "\n" + hex.EncodeToString(sum[:]))
	return b.String()
}

// awsEscape escapes a path but for its slashes.
func awsEscape(path string) string {
	var b strings.Builder
	for i := range len(path) {
		switch c := path[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.~/", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// sign is the signature of a canonical request.
func (s signature) sign(canonical, date string) string {
	sum := sha256.Sum256([]byte(canonical))
	scope := strings.Join([]string{s.date, s.region, s.service, "aws4_request"}, "/")
	key := []byte("AWS4" + AWSSecret(s.keyID))
	for _, part := range []string{s.date, s.region, s.service, "aws4_request", "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + hex.EncodeToString(sum[:])} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	return hex.EncodeToString(key)
}

package bedrock

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// service is the name that calls are signed for, at both of Bedrock's hosts.
const service = "bedrock"

// account is an opened credential, with where its calls go.
type account struct {
	keyform.AWS
	// runtime and control are the addresses of inference and of the lists.
	runtime, control string
	now              func() time.Time
}

// open reads a credential.
func (p *Provider) open(text secret.Text, baseURL string) (account, error) {
	key, err := keyform.ParseAWS(text)
	if err != nil || !isRegion(key.Region) {
		return account{}, &completion.ProviderError{
			Class: completion.CredentialError, Message: "the credential is not a Bedrock credential; an owner has to enter it again",
		}
	}
	a := account{AWS: key, now: p.now}
	a.runtime, a.control = addresses(key.Region, baseURL)
	return a, nil
}

// isRegion reports whether a text may stand in the name of a host.
func isRegion(region string) bool {
	return region != "" && strings.Trim(region, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// addresses are the addresses of a region, or those that an operator or a tenant gave in their place:
// one of a private endpoint of inference stands beside one of the lists.
func addresses(region, instead string) (runtime, control string) {
	if instead != "" {
		return instead, strings.NewReplacer("bedrock-runtime", "bedrock").Replace(instead)
	}
	domain := ".amazonaws.com"
	switch area, _, _ := strings.Cut(region, "-"); area {
	case "cn":
		domain = ".amazonaws.com.cn"
	case "eusc":
		domain = ".amazonaws.eu"
	}
	return "https://bedrock-runtime." + region + domain, "https://bedrock." + region + domain
}

// auth says how the account's calls are signed.
func (a account) auth() provider.Auth {
	if !a.APIKey.Empty() {
		return provider.Bearer(a.APIKey)
	}
	return provider.Auth{Key: a.hidden(), Sign: a.sign}
}

// hidden is everything of the account that may not show: complaints about signatures repeat what was signed,
// the session token included.
func (a account) hidden() secret.Text {
	return provider.Together(a.SecretAccessKey, a.SessionToken, a.APIKey, secret.New(a.AccessKeyID))
}

// sign adds the signature. Only the headers that AWS asks for are signed, so that no proxy on the way
// breaks the signature by rewriting others.
func (a account) sign(req *http.Request, body []byte) error {
	signed := &http.Request{
		Method: req.Method, URL: req.URL, Host: req.URL.Host, ContentLength: int64(len(body)), Header: http.Header{},
	}
	if kind := req.Header.Get("Content-Type"); kind != "" {
		signed.Header.Set("Content-Type", kind)
	}
	sum := sha256.Sum256(body)
	// A signer remembers derived keys by the id alone, without the secret: one that served two tenants
	// would sign for whoever knows the other's id.
	err := v4.NewSigner().SignHTTP(context.WithoutCancel(req.Context()), aws.Credentials{
		AccessKeyID: a.AccessKeyID, SecretAccessKey: a.SecretAccessKey.Reveal(), SessionToken: a.SessionToken.Reveal(),
	}, signed, hex.EncodeToString(sum[:]), service, a.Region, a.now())
	if err != nil {
		return err
	}
	for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token"} {
		if v := signed.Header.Get(name); v != "" {
			req.Header.Set(name, v)
		}
	}
	return nil
}

// scrub takes everything of the account out of what AWS says.
func (a account) scrub(text string) string { return provider.Scrub(text, a.hidden()) }

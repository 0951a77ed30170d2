package keyform

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"regexp"
	"strings"

	"github.com/claviger/claviger/pkg/secret"
)

var (
	// googleProject goes into paths: an id, perhaps with its domain, or a number.
	googleProject = regexp.MustCompile(`^[a-z0-9]([a-z0-9.:-]{0,126}[a-z0-9])?$`)
	// googleLocation is what a host name is made of: "global", "eu", "us-central1".
	googleLocation = regexp.MustCompile(`^[a-z]{2,20}(-[a-z0-9]{1,20}){0,3}$`)
	googleEmail    = regexp.MustCompile(`^[A-Za-z0-9._+:-]{1,128}@[A-Za-z0-9.-]{1,128}$`)
	googleKeyID    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
)

const (
	googleHint     = "paste the service account's JSON file as Google Cloud gives it, or an API key of express mode"
	googleTokenURI = "https://oauth2.googleapis.com/token" //nolint:gosec // an address, no credential
	googleUniverse = "googleapis.com"
	globalLocation = "global"
)

func parseGoogle(text secret.Text) (Google, error) {
	var p problems
	out := Google{}
	if bare := text.Reveal(); bare != "" && !strings.ContainsAny(bare, "{[\"") { // express mode's key alone
		p.secret("secret", strings.TrimSpace(bare))
		out = Google{Location: globalLocation, APIKey: secret.New(strings.TrimSpace(bare))}
	} else if raw := readDocument(text, &p); raw != nil {
		out = readGoogle(raw, &p)
	}
	if err := p.err(googleHint); err != nil {
		return Google{}, err
	}
	return out, nil
}

func readGoogle(raw []byte, p *problems) Google {
	o := readObject(raw, "", []string{
		"type", "project_id", "private_key_id", "private_key", "client_email", "token_uri", "universe_domain", "location", "project", "api_key",
	}, []string{"client_id", "auth_uri", "auth_provider_x509_cert_url", "client_x509_cert_url"}, p)
	if o == nil {
		return Google{}
	}
	out := Google{ProjectID: o.text("project"), Location: o.text("location"), APIKey: o.secret(p, "api_key")}
	if out.Location == "" {
		out.Location = globalLocation
	}
	if !googleLocation.MatchString(out.Location) {
		p.add("location", `is not a location's code such as "global" or "us-central1"`)
	}
	if o.has("api_key") {
		for _, field := range []string{"project", "project_id", "private_key", "private_key_id", "client_email", "type"} {
			if o.has(field) {
				p.add(field, "cannot stand beside api_key: a key of express mode stands alone")
			}
		}
		if out.Location != globalLocation {
			p.add("location", "cannot be chosen with a key of express mode")
		}
		return out
	}
	out.account(o, p)
	return out
}

// account reads a service account.
func (g *Google) account(o *object, p *problems) {
	if kind := o.text("type"); kind != "" && kind != "service_account" {
		// Other types name addresses that would have to be called.
		p.add("type", `is not "service_account": make a key of a service account`)
	} else {
		o.required(p, "type")
	}
	if !o.has("project") {
		o.required(p, "project_id")
	}
	o.required(p, "client_email", "private_key")
	if uri := o.text("token_uri"); uri != "" && uri != googleTokenURI {
		p.add("token_uri", "is not Google's: it is "+googleTokenURI+", or left out")
	}
	if universe := o.text("universe_domain"); universe != "" && universe != googleUniverse {
		p.add("universe_domain", "is not "+googleUniverse+", the only one that is called")
	}
	for _, rule := range []struct {
		field, problem string
		pattern        *regexp.Regexp
	}{
		{"project_id", "is not a project's id", googleProject},
		{"project", "is not a project's id", googleProject},
		{"client_email", "is not a service account's address", googleEmail},
		{"private_key_id", "is not a key's id", googleKeyID},
	} {
		if value := o.text(rule.field); value != "" && !rule.pattern.MatchString(value) {
			p.add(rule.field, "%s", rule.problem)
		}
	}
	if g.ProjectID == "" {
		g.ProjectID = o.text("project_id")
	}
	g.ClientEmail, g.PrivateKeyID = o.text("client_email"), o.text("private_key_id")
	if text := o.text("private_key"); text != "" && !o.bad["private_key"] {
		key, problem := privateKey(text)
		if problem != "" {
			p.add("private_key", "%s", problem)
		}
		g.PrivateKey = secret.New(key)
	}
}

// privateKey returns a key in its normal form, or says what is wrong with it. Line breaks may be
// written out, as they are in a JSON file that was pasted into another text.
func privateKey(text string) (normal, problem string) {
	block, rest := pem.Decode([]byte(strings.ReplaceAll(strings.ReplaceAll(text, `\r`, ""), `\n`, "\n") + "\n"))
	if block == nil {
		return "", "is not a key in PEM form: copy all of it, from -----BEGIN to END-----"
	}
	if strings.TrimSpace(string(rest)) != "" {
		return "", "has something after the key"
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	if err != nil {
		return "", "is not a whole private key: copy it again"
	}
	if _, ok := key.(*rsa.PrivateKey); !ok {
		return "", "is not an RSA key, as Google's are"
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "is not a whole private key: copy it again"
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), ""
}

func (g Google) form() Form {
	f := Form{Settings: Settings{Project: g.ProjectID, Location: g.Location, ClientEmail: g.ClientEmail}}
	if !g.APIKey.Empty() {
		f.Hint = g.APIKey.Hint()
		f.Settings.Secrets = []Masked{{"api_key", f.Hint}}
		f.Normal = write(struct {
			APIKey string `json:"api_key"`
		}{g.APIKey.Reveal()})
		return f
	}
	// A private key's end is the same in all; its id is what Google Cloud's console
	// lists.
	f.Hint = secret.New(g.PrivateKeyID).Hint()
	f.Settings.Secrets = []Masked{{"private_key", f.Hint}}
	f.Normal = write(struct {
		Type         string `json:"type"`
		ProjectID    string `json:"project_id"`
		Location     string `json:"location"`
		PrivateKeyID string `json:"private_key_id,omitempty"`
		PrivateKey   string `json:"private_key"`
		ClientEmail  string `json:"client_email"`
	}{"service_account", g.ProjectID, g.Location, g.PrivateKeyID, g.PrivateKey.Reveal(), g.ClientEmail})
	return f
}

package seed

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/claviger/claviger/pkg/secret"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

// ParseFile reads the seed file at path. Secrets that it names come from the environment, or from
// files that are looked for beside it.
func ParseFile(path string) (*Document, []Problem, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	return Parse(path, text, os.LookupEnv)
}

// Parse reads a seed file. It returns warnings beside the document; the error is a FileError if the file
// has mistakes.
func Parse(path string, text []byte, lookup func(string) (string, bool)) (*Document, []Problem, error) {
	p := &parsing{
		reader: reader{file: filepath.Base(path), lines: strings.Split(string(text), "\n")},
		dir:    filepath.Dir(path),
		lookup: lookup,
	}
	doc := &Document{}
	if root := p.parse(text); root != nil {
		p.document(root, doc)
	}
	if len(p.problems) == 0 {
		return doc, p.warnings, nil
	}
	slices.SortStableFunc(p.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return nil, p.warnings, p.problems
}

type parsing struct {
	reader
	dir    string
	lookup func(string) (string, bool)
}

func (p *parsing) document(n ast.Node, doc *Document) {
	keys, policies := map[string]bool{}, map[string]bool{}
	uses := map[ast.Node]string{}
	p.object(n, "the file", map[string]field{
		"organization":         {required: true, read: func(n ast.Node) { p.organization(n, &doc.Organization) }},
		"owner":                {required: true, read: func(n ast.Node) { p.owner(n, &doc.Owner) }},
		"platform_credentials": {read: func(n ast.Node) { doc.PlatformCredentials = p.credentials(n, "platform_credentials") }},
		"credentials":          {read: func(n ast.Node) { doc.Credentials = p.credentials(n, "credentials") }},
		"policies": {read: func(n ast.Node) {
			p.list(n, "policies", func(n ast.Node) { doc.Policies = append(doc.Policies, p.policy(n, policies)) })
		}},
		"api_keys": {read: func(n ast.Node) {
			p.list(n, "api_keys", func(n ast.Node) { doc.APIKeys = append(doc.APIKeys, p.apiKey(n, keys, uses)) })
		}},
	})
	for place, policy := range uses {
		if !policies[policy] {
			p.fail(place, "the policy %q is not in the file", policy)
		}
	}
}

func (p *parsing) organization(n ast.Node, to *Organization) {
	places := p.object(n, "organization", map[string]field{
		"slug": required(p.text(&to.Slug)),
		"name": p.text(&to.Name),
	})
	if to.Name == "" {
		to.Name = to.Slug
	}
	p.check(&keysv1.CreateOrganizationRequest{Slug: to.Slug, Name: to.Name}, places)
	if to.Slug == "platform" {
		p.fail(places["slug"], `"platform" is the operator's own organization`)
	}
}

func (p *parsing) owner(n ast.Node, to *Owner) {
	places := p.object(n, "owner", map[string]field{
		"email":    required(p.text(&to.Email)),
		"password": required(p.secret("the owner's password", &to.Password)),
	})
	request := &keysv1.CreateOrganizationRequest{OwnerEmail: to.Email, OwnerPassword: to.Password.Reveal()}
	if to.Password.Empty() {
		delete(places, "password") // reported where it was read
	}
	p.check(request, map[string]ast.Node{"owner_email": places["email"], "owner_password": places["password"]})
}

func (p *parsing) credentials(n ast.Node, what string) []Credential {
	var all []Credential
	seen := map[string]bool{}
	p.list(n, what, func(n ast.Node) {
		var c Credential
		places := p.object(n, "a credential", map[string]field{
			"provider": required(p.text(&c.Provider)),
			"label":    required(p.text(&c.Label)),
			"secret":   required(p.secret("the key", &c.Secret)),
			"base_url": p.text(&c.BaseURL),
			"priority": p.number(&c.Priority),
		})
		request := &keysv1.CreateCredentialRequest{
			Provider: c.Provider, Label: c.Label, Secret: c.Secret.Reveal(), BaseUrl: c.BaseURL, Priority: c.Priority,
		}
		if c.Secret.Empty() {
			delete(places, "secret") // reported where it was read
		}
		p.check(request, places)
		if c.Label != "" && seen[c.Label] {
			p.fail(places["label"], "the label %q is there twice", c.Label)
		}
		seen[c.Label] = true
		all = append(all, c)
	})
	return all
}

func (p *parsing) policy(n ast.Node, seen map[string]bool) Policy {
	var policy Policy
	places := p.object(n, "a policy", map[string]field{
		"name": required(p.text(&policy.Name)),
		"targets": {required: true, read: func(n ast.Node) {
			p.list(n, "targets", func(n ast.Node) { policy.Targets = append(policy.Targets, p.target(n)) })
		}},
	})
	request := &keysv1.CreatePolicyRequest{Name: policy.Name, Spec: Rule()}
	for range policy.Targets { // each has been checked where it stands
		request.Spec.Groups[0].Targets = append(request.Spec.Groups[0].Targets, &keysv1.Target{Model: "openai/any", Use: eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN})
	}
	p.check(request, places)
	if policy.Name != "" && seen[policy.Name] {
		p.fail(places["name"], "the policy %q is there twice", policy.Name)
	}
	seen[policy.Name] = true
	return policy
}

func (p *parsing) target(n ast.Node) Target {
	target := Target{Use: eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN}
	places := p.object(n, "a target", map[string]field{
		"model": required(p.text(&target.Model)),
		"use": {read: func(n ast.Node) {
			switch n.GetToken().Value {
			case "own":
				target.Use = eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN
			case "platform":
				target.Use = eventsv1.CredentialClass_CREDENTIAL_CLASS_PLATFORM
			default:
				p.fail(n, `use must be "own" or "platform"`)
			}
		}},
	})
	p.check(&keysv1.Target{Model: target.Model, Use: target.Use}, places)
	return target
}

// apiKey reads an API key and notes in uses where it names a policy.
func (p *parsing) apiKey(n ast.Node, seen map[string]bool, uses map[ast.Node]string) APIKey {
	var key APIKey
	places := p.object(n, "an API key", map[string]field{
		"name":     required(p.text(&key.Name)),
		"policy":   p.text(&key.Policy),
		"write_to": required(p.text(&key.WriteTo)),
	})
	p.check(&keysv1.CreateApiKeyRequest{Name: key.Name}, places)
	if place := places["write_to"]; place != nil && key.WriteTo != "" && !filepath.IsLocal(filepath.FromSlash(key.WriteTo)) {
		p.fail(place, "write_to must be a path inside the data folder, without \"..\" and not absolute")
	}
	if place := places["policy"]; place != nil && key.Policy != "" {
		uses[place] = key.Policy
	}
	if key.Name != "" && seen[key.Name] {
		p.fail(places["name"], "the API key %q is there twice", key.Name)
	}
	seen[key.Name] = true
	return key
}

// secret reads {value}, {env} or {file}.
func (p *parsing) secret(what string, to *secret.Text) field {
	return field{read: func(n ast.Node) {
		var value, env, file string
		places := p.object(n, what, map[string]field{"value": p.text(&value), "env": p.text(&env), "file": p.text(&file)})
		if places == nil {
			return
		}
		if len(places) != 1 {
			p.fail(n, `%s must be one of {env: NAME}, {file: PATH} or {value: TEXT}`, what)
			return
		}
		switch {
		case places["value"] != nil:
			p.warn(n, "%s stands in the file in clear: better {env: NAME} or {file: PATH}", what)
		case places["env"] != nil:
			value = p.fromEnvironment(places["env"], env)
		default:
			value = p.fromFile(places["file"], file)
		}
		*to = secret.New(value)
	}}
}

func (p *parsing) fromEnvironment(place ast.Node, name string) string {
	value, _ := p.lookup(name)
	if value == "" && name != "" {
		p.fail(place, "the environment variable %s is not set or empty", name)
	}
	return value
}

func (p *parsing) fromFile(place ast.Node, name string) string {
	if name == "" {
		return ""
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(p.dir, name)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		p.fail(place, "%v", err)
		return ""
	}
	value := strings.TrimRight(string(text), "\r\n")
	if value == "" {
		p.fail(place, "the file %s is empty", name)
	}
	return value
}

package seed

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/claviger/claviger/pkg/secret"
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
	return nil, p.warnings, p.sorted()
}

type parsing struct {
	reader
	dir    string
	lookup func(string) (string, bool)
	names  []reference
}

// sorted are the problems as they stand in the file.
func (p *parsing) sorted() FileError {
	slices.SortStableFunc(p.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return p.problems
}

// reference is a place that names another object of the file.
type reference struct {
	kind, name string
	place      ast.Node
}

// name notes that a place names objects.
func (p *parsing) name(kind string, place ast.Node, names ...string) {
	for _, name := range names {
		if place != nil && name != "" {
			p.names = append(p.names, reference{kind, name, place})
		}
	}
}

func (p *parsing) document(n ast.Node, doc *Document) {
	known := map[string]map[string]bool{"policy": {}, "API key": {}, "group": {}, "credential": {}}
	p.object(n, "the file", map[string]field{
		"organization": {required: true, read: func(n ast.Node) { p.organization(n, &doc.Organization) }},
		"owner":        {required: true, read: func(n ast.Node) { p.owner(n, &doc.Owner) }},
		"platform_credentials": {read: func(n ast.Node) {
			doc.PlatformCredentials = p.credentials(n, "platform_credentials", map[string]bool{})
		}},
		"credentials": {read: func(n ast.Node) { doc.Credentials = p.credentials(n, "credentials", known["credential"]) }},
		"groups": {read: func(n ast.Node) {
			p.list(n, "groups", func(n ast.Node) { doc.Groups = append(doc.Groups, p.group(n, known["group"])) })
		}},
		"policies": {read: func(n ast.Node) {
			p.list(n, "policies", func(n ast.Node) { doc.Policies = append(doc.Policies, p.policy(n, known["policy"])) })
		}},
		"api_keys": {read: func(n ast.Node) {
			p.list(n, "api_keys", func(n ast.Node) { doc.APIKeys = append(doc.APIKeys, p.apiKey(n, known["API key"])) })
		}},
		"preferences":     {read: func(n ast.Node) { doc.Preferences = p.preferences(n) }},
		"approved_models": {read: func(n ast.Node) { doc.ApprovedModels = p.approved(n) }},
	})
	for _, named := range p.names {
		if !known[named.kind][named.name] {
			p.fail(named.place, "the %s %q is not in the file", named.kind, named.name)
		}
	}
	p.inOrder(doc.Policies)
}

// inOrder puts policies behind those that they name, so that each can be saved.
func (p *parsing) inOrder(policies []Policy) {
	state, out := map[string]int{}, make([]Policy, 0, len(policies))
	var add func(policy Policy) bool
	add = func(policy Policy) bool {
		switch state[policy.Name] {
		case 1:
			return false
		case 2:
			return true
		}
		state[policy.Name] = 1
		for _, group := range policy.Spec.GetGroups() {
			for _, target := range group.GetTargets() {
				name, isPolicy := strings.CutPrefix(target.GetModel(), policyPrefix)
				i := slices.IndexFunc(policies, func(other Policy) bool { return other.Name == name })
				if isPolicy && i >= 0 && !add(policies[i]) {
					place := slices.IndexFunc(p.names, func(r reference) bool { return r.kind == "policy" && r.name == name })
					p.fail(p.names[place].place, "the policy %q names itself in the end: no request would leave it", name)
					state[policy.Name] = 2
					return true
				}
			}
		}
		state[policy.Name] = 2
		out = append(out, policy)
		return true
	}
	for _, policy := range policies {
		add(policy)
	}
	if len(out) == len(policies) {
		copy(policies, out)
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

func (p *parsing) credentials(n ast.Node, what string, seen map[string]bool) []Credential {
	var all []Credential
	p.list(n, what, func(n ast.Node) {
		var c Credential
		places := p.object(n, "a credential", map[string]field{
			"provider": required(p.text(&c.Provider)),
			"label":    required(p.text(&c.Label)),
			"secret":   required(p.secret("the key", &c.Secret)),
			"base_url": p.text(&c.BaseURL),
			"priority": p.number(&c.Priority),
			"weight":   p.number(&c.Weight),
			"scope":    {read: func(n ast.Node) { c.Scope = p.scope(n) }},
			"expires":  p.moment(&c.Expires),
		})
		request := &keysv1.CreateCredentialRequest{
			Provider: c.Provider, Label: c.Label, Secret: c.Secret.Reveal(), BaseUrl: c.BaseURL, Priority: c.Priority,
			Weight: c.Weight,
		}
		request.Scope, _ = c.Scope.proto(Naming{}) // names in place of ids break no rule
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

func (p *parsing) scope(n ast.Node) Scope {
	var scope Scope
	places := p.object(n, "scope", map[string]field{
		"models":   p.texts("models", &scope.Models),
		"api_keys": p.texts("api_keys", &scope.APIKeys),
		"groups":   p.texts("groups", &scope.Groups),
	})
	p.name("API key", places["api_keys"], scope.APIKeys...)
	p.name("group", places["groups"], scope.Groups...)
	return scope
}

func (p *parsing) group(n ast.Node, seen map[string]bool) Group {
	var group Group
	places := p.object(n, "a group", map[string]field{
		"name":            required(p.text(&group.Name)),
		"policy":          p.text(&group.Policy),
		"enforce":         p.flag(&group.Enforce),
		"approved_models": p.texts("approved_models", &group.ApprovedModels),
	})
	p.check(&keysv1.CreateGroupRequest{Name: group.Name, ApprovedModels: group.ApprovedModels}, places)
	p.name("policy", places["policy"], group.Policy)
	p.enforced(places, group.Policy, group.Enforce)
	if group.Name != "" && seen[group.Name] {
		p.fail(places["name"], "the group %q is there twice", group.Name)
	}
	seen[group.Name] = true
	return group
}

// enforced checks that there is a policy to enforce.
func (p *parsing) enforced(places map[string]ast.Node, policy string, enforce bool) {
	if enforce && policy == "" {
		p.fail(places["enforce"], "there is no policy here that could be enforced")
	}
}

func (p *parsing) apiKey(n ast.Node, seen map[string]bool) APIKey {
	var key APIKey
	places := p.object(n, "an API key", map[string]field{
		"name":       required(p.text(&key.Name)),
		"policy":     p.text(&key.Policy),
		"enforce":    p.flag(&key.Enforce),
		"group":      p.text(&key.Group),
		"provenance": choice(&p.reader, "provenance", &key.Provenance, levels),
		"write_to":   required(p.text(&key.WriteTo)),
	})
	p.check(&keysv1.CreateApiKeyRequest{Name: key.Name}, places)
	if place := places["write_to"]; place != nil && key.WriteTo != "" && !filepath.IsLocal(filepath.FromSlash(key.WriteTo)) {
		p.fail(place, "write_to must be a path inside the data folder, without \"..\" and not absolute")
	}
	p.name("policy", places["policy"], key.Policy)
	p.name("group", places["group"], key.Group)
	p.enforced(places, key.Policy, key.Enforce)
	if key.Name != "" && seen[key.Name] {
		p.fail(places["name"], "the API key %q is there twice", key.Name)
	}
	seen[key.Name] = true
	return key
}

var (
	levels = map[string]keysv1.ProvenanceLevel{
		"none":  keysv1.ProvenanceLevel_PROVENANCE_LEVEL_NONE,
		"basic": keysv1.ProvenanceLevel_PROVENANCE_LEVEL_BASIC,
		"full":  keysv1.ProvenanceLevel_PROVENANCE_LEVEL_FULL,
	}
	platformRules = map[string]keysv1.PlatformRule{
		"policies":   keysv1.PlatformRule_PLATFORM_RULE_POLICIES,
		"never":      keysv1.PlatformRule_PLATFORM_RULE_NEVER,
		"after_own":  keysv1.PlatformRule_PLATFORM_RULE_AFTER_OWN,
		"before_own": keysv1.PlatformRule_PLATFORM_RULE_BEFORE_OWN,
	}
)

func (p *parsing) preferences(n ast.Node) *Preferences {
	prefs := &Preferences{Platform: keysv1.PlatformRule_PLATFORM_RULE_POLICIES, Providers: map[string]keysv1.PlatformRule{}}
	places := p.object(n, "preferences", map[string]field{
		"order":     p.texts("order", &prefs.Order),
		"ignore":    p.texts("ignore", &prefs.Ignore),
		"platform":  choice(&p.reader, "platform", &prefs.Platform, platformRules),
		"providers": {read: func(n ast.Node) { p.providerRules(n, prefs.Providers) }},
		"policy":    p.text(&prefs.Policy),
		"enforce":   p.flag(&prefs.Enforce),
	})
	if places == nil {
		return prefs
	}
	p.check(prefs.proto(""), places)
	p.name("policy", places["policy"], prefs.Policy)
	p.enforced(places, prefs.Policy, prefs.Enforce)
	return prefs
}

func (p *parsing) providerRules(n ast.Node, rules map[string]keysv1.PlatformRule) {
	mapping, ok := n.(ast.MapNode)
	if !ok {
		p.fail(n, "providers must be an object, such as {openai: never}")
		return
	}
	for i := mapping.MapRange(); i.Next(); {
		var rule keysv1.PlatformRule
		choice(&p.reader, "the rule of a provider", &rule, platformRules).read(i.Value())
		rules[i.Key().GetToken().Value] = rule
	}
}

func (p *parsing) approved(n ast.Node) *[]string {
	models := []string{}
	p.texts("approved_models", &models).read(n)
	p.check(&keysv1.UpdateApprovedModelsRequest{ApprovedModels: models}, map[string]ast.Node{"approved_models": n})
	return &models
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

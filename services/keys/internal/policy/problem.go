package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/provider"
)

// The reasons of problems.
const (
	UnknownProvider   = "UNKNOWN_PROVIDER"
	UnknownModel      = "UNKNOWN_MODEL"
	UseMissing        = "USE_MISSING"
	UseMisplaced      = "USE_MISPLACED"
	UnknownCredential = "UNKNOWN_CREDENTIAL"
	ForeignCredential = "FOREIGN_CREDENTIAL"
	DisabledCred      = "CREDENTIAL_DISABLED"
	NoCredential      = "NO_CREDENTIAL"
	PlatformForbidden = "PLATFORM_FORBIDDEN"
	ProviderIgnored   = "PROVIDER_IGNORED"
	NotApproved       = "MODEL_NOT_APPROVED"
	Unreachable       = "UNREACHABLE"
	Impossible        = "CONDITION_IMPOSSIBLE"
	UnknownKey        = "UNKNOWN_API_KEY"
	DeadKey           = "API_KEY_DEAD"
	UnknownGroup      = "UNKNOWN_GROUP"
	NeverMovesOn      = "NEVER_MOVES_ON"
	Loop              = "LOOP"
	TooDeep           = "TOO_DEEP"
	TooManyLines      = "TOO_MANY_LINES"
	UnknownPolicy     = "UNKNOWN_POLICY"
	Unpublished       = "POLICY_NOT_PUBLISHED"
	NestedField       = "NESTED_FIELD"
	NoPrice           = "NO_PRICE"
	NeedlessSticky    = "STICKY_BY_NEEDLESS"
	NeedlessWeight    = "WEIGHT_NEEDLESS"
	TimeoutsOverlap   = "TIMEOUTS_OVERLAP"
)

const (
	// maxDepth bounds how far policies name each other, and maxLines how many lines that makes. The router
	// has bounds of its own; these tell the author.
	maxDepth = 8
	maxLines = 512
)

// checking is one check.
type checking struct {
	s    *Service
	name string
	spec *Spec
	// policies are all that can be reached from spec, by name; the one that is checked has its new rule.
	policies    map[string]*Policy
	credentials []credential.Credential
	rules       Rules
	keys        map[string]KeyFact
	groups      map[string]string
	problems    []Problem
}

// gather reads what the check of spec needs.
func (s *Service) gather(ctx context.Context, facts Facts, name string, spec *Spec) (*checking, error) {
	c := &checking{s: s, name: name, spec: spec, policies: map[string]*Policy{}}
	if err := c.reach(ctx, facts); err != nil {
		return nil, err
	}
	var providers, ids, keys, groups []string
	for _, l := range spec.lines() {
		if l.Policy() == "" && !slices.Contains(providers, l.Provider()) {
			providers = append(providers, l.Provider())
		}
		if l.CredentialID != "" {
			ids = append(ids, l.CredentialID)
		}
	}
	for _, g := range spec.Groups {
		if g.When != nil {
			keys, groups = append(keys, g.When.APIKeys...), append(groups, g.When.Groups...)
		}
	}
	var err error
	if c.rules, err = facts.RoutingRules(ctx); err != nil {
		return nil, err
	}
	if c.credentials, err = facts.CredentialsFor(ctx, providers, ids); err != nil {
		return nil, err
	}
	if c.keys, err = facts.KeyFacts(ctx, keys); err != nil {
		return nil, err
	}
	c.groups, err = facts.GroupNames(ctx, groups)
	return c, err
}

// reach reads the policies that the rule names, and those that they name, level by level.
func (c *checking) reach(ctx context.Context, facts Facts) error {
	next := c.spec.names()
	for depth := 0; len(next) > 0 && depth <= maxDepth; depth++ {
		missing := slices.DeleteFunc(next, func(n string) bool { return c.policies[n] != nil || n == c.name })
		if len(missing) == 0 {
			return nil
		}
		found, err := facts.PoliciesByName(ctx, missing)
		if err != nil {
			return err
		}
		next = nil
		for i := range found {
			c.policies[found[i].Name] = &found[i]
			next = append(next, found[i].Spec.names()...)
		}
	}
	return nil
}

// names are the policies that the rule names, each once.
func (s *Spec) names() []string {
	var out []string
	for _, l := range s.lines() {
		if name := l.Policy(); name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func (c *checking) add(warning bool, line int, field, reason, format string, args ...any) {
	c.problems = append(c.problems, Problem{Line: line, Field: field, Reason: reason, Description: fmt.Sprintf(format, args...), Warning: warning})
}

func (l line) field(name string) string {
	return fmt.Sprintf("groups[%d].targets[%d].%s", l.group, l.place, name)
}

func (c *checking) bad(l line, field, reason, format string, args ...any) {
	c.add(false, l.number, l.field(field), reason, format, args...)
}

func (c *checking) warn(l line, field, reason, format string, args ...any) {
	c.add(true, l.number, l.field(field), reason, format, args...)
}

func (c *checking) all() {
	for _, l := range c.spec.lines() {
		if l.Policy() != "" {
			c.nested(l)
			continue
		}
		c.model(l)
	}
	c.reachable()
}

// nested checks a line that names a policy.
func (c *checking) nested(l line) {
	p := c.policies[l.Policy()]
	switch {
	case l.Policy() == c.name:
		c.bad(l, "model", Loop, "the policy names itself")
	case p == nil:
		c.bad(l, "model", UnknownPolicy, "there is no policy %q", l.Policy())
	case p.Version == 0:
		c.bad(l, "model", Unpublished, "policy %s was never published: publish it first", p.Name)
	}
}

// model checks a line that names a model.
func (c *checking) model(l line) {
	if err := provider.Check(l.Provider()); err != nil {
		c.bad(l, "model", UnknownProvider, "%s", err.Error())
	}
}

// reachable finds lines that can never be tried.
func (c *checking) reachable() {
	type identity struct {
		model, credential string
		use               Class
	}
	first := map[identity]int{}
	for _, l := range c.spec.lines() {
		who := identity{l.Model, l.CredentialID, l.class()}
		if seen, twice := first[who]; twice {
			c.bad(l, "model", Unreachable, "the same as line %d", seen)
			continue
		}
		first[who] = l.number
	}
}

var _ = strings.Cut

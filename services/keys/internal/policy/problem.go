package policy

import (
	"context"
	"fmt"
	"slices"

	"github.com/claviger/claviger/services/keys/internal/credential"
)

// The reasons of problems. Those of the second half are warnings wherever they appear.
const (
	UnknownProvider   = "UNKNOWN_PROVIDER"
	UnknownModel      = "UNKNOWN_MODEL" // a warning where nobody can tell
	UseMissing        = "USE_MISSING"
	UseMisplaced      = "USE_MISPLACED"
	UnknownCredential = "UNKNOWN_CREDENTIAL" //nolint:gosec // a name of a problem
	ForeignCredential = "FOREIGN_CREDENTIAL" //nolint:gosec // a name of a problem
	PlatformForbidden = "PLATFORM_FORBIDDEN"
	ProviderIgnored   = "PROVIDER_IGNORED"
	NotApproved       = "MODEL_NOT_APPROVED"
	Unreachable       = "UNREACHABLE"
	Impossible        = "CONDITION_IMPOSSIBLE" // a warning where it may become possible
	UnknownKey        = "UNKNOWN_API_KEY"
	UnknownGroup      = "UNKNOWN_GROUP"
	Loop              = "LOOP"
	TooDeep           = "TOO_DEEP"
	TooManyLines      = "TOO_MANY_LINES"
	TooLarge          = "TOO_LARGE"
	UnknownPolicy     = "UNKNOWN_POLICY"
	Unpublished       = "POLICY_NOT_PUBLISHED" // a warning in a draft
	NestedField       = "NESTED_FIELD"
	NoPrice           = "NO_PRICE"

	CredentialOut   = "CREDENTIAL_OUT" //nolint:gosec // a name of a problem
	NoCredential    = "NO_CREDENTIAL"  //nolint:gosec // a name of a problem
	OutOfScope      = "CREDENTIAL_OUT_OF_SCOPE"
	NotListed       = "MODEL_NOT_LISTED"
	DeadKey         = "API_KEY_DEAD"
	NeverMovesOn    = "NEVER_MOVES_ON"
	NeedlessSticky  = "STICKY_BY_NEEDLESS"
	NeedlessWeight  = "WEIGHT_NEEDLESS"
	TimeoutsOverlap = "TIMEOUTS_OVERLAP"
)

const (
	// maxDepth bounds how far policies name each other, and maxLines how many lines that makes. The router
	// has bounds of its own; these tell the author.
	maxDepth = 7 // below the one that is asked for
	maxLines = 512
	// maxBytes bounds a rule as text. A message of the configuration has 1 MiB.
	maxBytes = 256 << 10
	// maxAbove is how many policies that name one are looked at.
	maxAbove = 50
	// maxGuesses is for how many unknown models the one that was meant is looked for.
	maxGuesses = 10
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
	// straight are policies from which no way leads back, unpriced the first model of unknown price behind
	// each policy: each is looked at once, however often it is named.
	straight map[string]bool
	unpriced map[string]string
	guesses  int
}

func newChecking(s *Service, name string, spec *Spec) *checking {
	return &checking{s: s, name: name, spec: spec, policies: map[string]*Policy{}, straight: map[string]bool{}, unpriced: map[string]string{}}
}

// gather reads what the check of spec needs.
func (s *Service) gather(ctx context.Context, facts Facts, name string, spec *Spec) (*checking, error) {
	c := newChecking(s, name, spec)
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
	seen := map[string]bool{c.name: true}
	next := c.spec.names()
	for depth := 0; len(next) > 0 && depth <= maxDepth; depth++ {
		next = slices.DeleteFunc(next, func(n string) bool { was := seen[n]; seen[n] = true; return was })
		missing := slices.DeleteFunc(slices.Clone(next), func(n string) bool { return c.policies[n] != nil })
		found, err := facts.PoliciesByName(ctx, missing)
		if err != nil {
			return err
		}
		for i := range found {
			c.policies[found[i].Name] = &found[i]
		}
		level := next
		next = nil
		for _, name := range level {
			if p := c.policies[name]; p != nil {
				next = append(next, p.Spec.names()...)
			}
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

// all looks at everything, so that the author sees all that is wrong at once.
func (c *checking) all() {
	for g := range c.spec.Groups {
		c.condition(g)
		c.strategy(g)
	}
	for _, l := range c.spec.lines() {
		if l.Policy() != "" {
			c.nested(l)
		} else {
			c.model(l)
		}
		c.rule(l)
	}
	c.reachable()
	c.size()
}

package policy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/keys/internal/credential"
)

// Problem is something wrong with a rule.
type Problem struct {
	// Line counts from 1; 0 is the rule as a whole or a group.
	Line int
	// Field is its path in the spec.
	Field string
	// Reason is its stable name.
	Reason string
	// Description says what is wrong and what to do.
	Description string
	// Warning says that the rule may be saved all the same.
	Warning bool
}

// words are the problem as an error shows it.
func (p Problem) words() string {
	if p.Line == 0 {
		return p.Description
	}
	return fmt.Sprintf("line %d: %s", p.Line, p.Description)
}

// Prices is what a check asks the price book.
type Prices interface {
	// Known reports whether the book names a model, Priced whether the cost of a request can be told in advance.
	Known(model string) bool
	Priced(model string) bool
	// Offers returns the names under which providers serve a model that its maker or a list calls otherwise.
	Offers(model string) []string
	// Models lists the models of a provider that have a price.
	Models(provider string) []string
}

// Rules are what holds for all requests of the organization.
type Rules interface {
	// Ignored reports whether a provider is never asked.
	Ignored(provider string) bool
	// ForbidsPlatform reports whether the platform's keys never serve for a provider.
	ForbidsPlatform(provider string) bool
	// Approves reports whether a model may be used.
	Approves(model string) bool
}

// KeyFact is what a check needs of an API key.
type KeyFact struct {
	Name, GroupID string
	// Usable is false once it is revoked or has died.
	Usable bool
}

// Facts is what a check needs of the organization, as it is inside the transaction of the change.
type Facts interface {
	// PoliciesByName returns those of the named policies that exist.
	PoliciesByName(ctx context.Context, names []string) ([]Policy, error)
	// PoliciesNaming returns the names of up to limit policies whose version that serves names target:
	// "policy/<name>", or the id of a credential or a group.
	PoliciesNaming(ctx context.Context, target string, limit int) ([]string, error)
	// CredentialsFor returns the organization's credentials of some providers, and those with the given ids.
	CredentialsFor(ctx context.Context, providers, ids []string) ([]credential.Credential, error)
	// RoutingRules returns what holds for all requests.
	RoutingRules(ctx context.Context) (Rules, error)
	// KeyFacts returns those of the API keys that exist, by id.
	KeyFacts(ctx context.Context, ids []string) (map[string]KeyFact, error)
	// GroupNames returns the names of those of the groups that exist, by id.
	GroupNames(ctx context.Context, ids []string) (map[string]string, error)
}

// Check tells what is wrong with a rule for the policy of that name, by line; an empty name is a new one.
// The rule is checked as if it were to serve.
func (s *Service) Check(ctx context.Context, facts Facts, name string, spec Spec) ([]Problem, error) {
	c, err := s.gather(ctx, facts, name, &spec)
	if err != nil {
		return nil, err
	}
	c.all()
	if err := c.above(ctx, facts); err != nil {
		return nil, err
	}
	slices.SortStableFunc(c.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return c.problems, nil
}

// checked returns the warnings, or all that is wrong as one error. A draft may name a policy that is
// still to be published.
func (s *Service) checked(ctx context.Context, facts Facts, name string, spec Spec, publish bool) ([]Problem, error) {
	problems, err := s.Check(ctx, facts, name, spec)
	if err != nil {
		return nil, err
	}
	for i := range problems {
		if !publish && problems[i].Reason == Unpublished {
			problems[i].Warning = true
		}
	}
	return warnings(problems), invalid(problems)
}

// warnings are the problems that are no errors.
func warnings(all []Problem) []Problem {
	return slices.DeleteFunc(slices.Clone(all), func(p Problem) bool { return !p.Warning })
}

// shown is how many problems the words of an error name, and listed how many its violations.
const shown, listed = 10, 50

// invalid is the error that the problems are, nil if all are warnings.
func invalid(all []Problem) error {
	broken := slices.DeleteFunc(slices.Clone(all), func(p Problem) bool { return p.Warning })
	if len(broken) == 0 {
		return nil
	}
	var words []string
	out := ErrInvalid.With("problems", fmt.Sprint(len(broken)))
	for i, p := range broken {
		if i < shown {
			words = append(words, p.words())
		}
		if i < listed {
			out = out.Violating(fault.Violation{Field: "spec." + p.Field, Description: p.words()})
		}
	}
	if more := len(broken) - shown; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return out.Saying("%s", strings.Join(words, "; "))
}

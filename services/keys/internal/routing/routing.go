// Package routing holds what is true for all requests of an organization: which providers are asked and
// in which order, whether the platform's keys may serve, which policy is the default, and which models
// are approved.
package routing

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/etag"
	"github.com/claviger/claviger/services/keys/internal/group"
	"github.com/claviger/claviger/services/keys/internal/policy"
	"github.com/claviger/claviger/services/keys/internal/provider"
)

// ErrInvalid means that preferences contradict themselves or name what is not there.
var ErrInvalid = fault.New(fault.Invalid, "PREFERENCES_INVALID", "the preferences are not valid").Hinting("mend the fields that are named and save again")

// Rule says when the platform's keys may serve.
type Rule string

// The rules. Empty is Policies.
const (
	Policies  Rule = "policies" // only in policies that say so
	Never     Rule = "never"    // never, in policies neither
	AfterOwn  Rule = "after_own"
	BeforeOwn Rule = "before_own"
)

// ProviderRule is the rule for one provider.
type ProviderRule struct {
	Provider string `json:"provider"`
	// Platform is that of all others where it is empty: what says nothing widens nothing.
	Platform Rule `json:"platform,omitempty"`
}

// Preferences hold for all requests of an organization.
type Preferences struct {
	// Order are providers in the order in which they are asked for a model that several have.
	Order []string `json:"order,omitempty"`
	// Ignore are providers that are never asked.
	Ignore []string `json:"ignore,omitempty"`
	// Providers are the rules of single providers, Platform is that of all others.
	Providers []ProviderRule `json:"providers,omitempty"`
	Platform  Rule           `json:"platform,omitempty"`
	// PolicyID is the default policy; Enforce sends every request through it.
	PolicyID string `json:"policy_id,omitempty"`
	Enforce  bool   `json:"enforce_policy,omitempty"`
	// MemberGroupID is the group of API keys that members create, "" for none.
	MemberGroupID string `json:"member_group_id,omitempty"`
}

// State is all of it, with the counts of its changes.
type State struct {
	Preferences Preferences
	// Approved are patterns of models that may be used; none is every model.
	Approved                            []string
	PreferencesVersion, ApprovedVersion int64
}

// PreferencesETag and ApprovedETag name the states of the two parts, which change by themselves.
func (s State) PreferencesETag() string { return etag.Of(s.PreferencesVersion) }

// ApprovedETag names the state of the approved models.
func (s State) ApprovedETag() string { return etag.Of(s.ApprovedVersion) }

var _ policy.Rules = State{}

// Ignored reports whether a provider is never asked.
func (s State) Ignored(slug string) bool { return slices.Contains(s.Preferences.Ignore, slug) }

// ForbidsPlatform reports whether the platform's keys never serve for a provider.
func (s State) ForbidsPlatform(slug string) bool {
	for _, r := range s.Preferences.Providers {
		if r.Provider == slug && r.Platform != "" {
			return r.Platform == Never
		}
	}
	return s.Preferences.Platform == Never
}

// Approves reports whether a model may be used.
func (s State) Approves(model string) bool { return policy.Fits(s.Approved, model) }

// Tx is what changes of routing need from the store.
type Tx interface {
	audit.Recorder
	policy.Library
	Group(ctx context.Context, id string) (group.Group, error)
	Routing(ctx context.Context) (State, error)
	// UpdateRouting stores all of s.
	UpdateRouting(ctx context.Context, s State) error
}

// Service changes preferences and approved models.
type Service struct{}

// UpdatePreferences replaces the preferences. What they take from published policies is no error: an
// owner who forbids a provider means it. It is told as warnings.
func (*Service) UpdatePreferences(ctx context.Context, tx Tx, in Preferences, tag string) (State, []policy.Loss, error) {
	s, err := tx.Routing(ctx)
	if err != nil {
		return State{}, nil, err
	}
	if err := etag.Check("preferences", s.PreferencesVersion, tag); err != nil {
		return State{}, nil, err
	}
	if err := check(in); err != nil {
		return State{}, nil, err
	}
	if err := policy.CheckDefault(ctx, tx, in.PolicyID, in.Enforce); err != nil {
		return State{}, nil, err
	}
	if in.MemberGroupID != "" {
		if _, err := tx.Group(ctx, in.MemberGroupID); err != nil {
			return State{}, nil, err
		}
	}
	before := s
	s.Preferences, s.PreferencesVersion = in, s.PreferencesVersion+1
	if err := tx.UpdateRouting(ctx, s); err != nil {
		return State{}, nil, err
	}
	losses, err := policy.Losses(ctx, tx, before, s)
	if err != nil {
		return State{}, nil, err
	}
	return s, losses, tx.Record(ctx, "preferences.update", "", changes(before.Preferences, in))
}

// UpdateApproved replaces the approved models. Published policies whose lines are not approved any more
// stay as they are; those lines do not serve, which is told as warnings.
func (*Service) UpdateApproved(ctx context.Context, tx Tx, patterns []string, tag string) (State, []policy.Loss, error) {
	s, err := tx.Routing(ctx)
	if err != nil {
		return State{}, nil, err
	}
	if err := etag.Check("list of approved models", s.ApprovedVersion, tag); err != nil {
		return State{}, nil, err
	}
	before := s
	s.Approved, s.ApprovedVersion = patterns, s.ApprovedVersion+1
	if err := tx.UpdateRouting(ctx, s); err != nil {
		return State{}, nil, err
	}
	losses, err := policy.Losses(ctx, tx, before, s)
	if err != nil {
		return State{}, nil, err
	}
	return s, losses, tx.Record(ctx, "approved_models.update", "", audit.Detail{"approved_models": audit.Change{From: before.Approved, To: patterns}})
}

// check gathers what is wrong with the preferences.
func check(p Preferences) error {
	var broken []fault.Violation
	var words []string
	bad := func(field, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		broken = append(broken, fault.Violation{Field: "preferences." + field, Description: text})
		words = append(words, field+": "+text)
	}
	known := func(field, slug string) {
		if err := provider.Check(slug); err != nil {
			bad(field, "%s", err.Error())
		}
	}
	for i, slug := range p.Order {
		known(fmt.Sprintf("order[%d]", i), slug)
		if slices.Contains(p.Ignore, slug) {
			bad(fmt.Sprintf("order[%d]", i), "%s is ignored, too: take it out of one of the lists", slug)
		}
	}
	for i, slug := range p.Ignore {
		known(fmt.Sprintf("ignore[%d]", i), slug)
	}
	for i, r := range p.Providers {
		field := fmt.Sprintf("providers[%d].provider", i)
		known(field, r.Provider)
		if slices.ContainsFunc(p.Providers[:i], func(other ProviderRule) bool { return other.Provider == r.Provider }) {
			bad(field, "%s has a rule already", r.Provider)
		}
	}
	if len(words) == 0 {
		return nil
	}
	return ErrInvalid.Saying("%s", strings.Join(words, "; ")).Violating(broken...)
}

// changes notes what is another than before.
func changes(from, to Preferences) audit.Detail {
	detail := audit.Detail{}
	if !slices.Equal(from.Order, to.Order) {
		detail["order"] = audit.Change{From: from.Order, To: to.Order}
	}
	if !slices.Equal(from.Ignore, to.Ignore) {
		detail["ignore"] = audit.Change{From: from.Ignore, To: to.Ignore}
	}
	if !slices.Equal(from.Providers, to.Providers) {
		detail["providers"] = audit.Change{From: from.Providers, To: to.Providers}
	}
	if from.Platform != to.Platform {
		detail["platform"] = audit.Change{From: from.Platform, To: to.Platform}
	}
	if from.PolicyID != to.PolicyID {
		detail["policy_id"] = audit.Change{From: from.PolicyID, To: to.PolicyID}
	}
	if from.Enforce != to.Enforce {
		detail["enforce_policy"] = audit.Change{From: from.Enforce, To: to.Enforce}
	}
	if from.MemberGroupID != to.MemberGroupID {
		detail["member_group_id"] = audit.Change{From: from.MemberGroupID, To: to.MemberGroupID}
	}
	return detail
}

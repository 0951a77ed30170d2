// Package group holds groups of API keys: what such keys may use, and by which policy.
package group

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/services/keys/internal/audit"
	"github.com/claviger/claviger/services/keys/internal/bound"
	"github.com/claviger/claviger/services/keys/internal/etag"
	"github.com/claviger/claviger/services/keys/internal/label"
	"github.com/claviger/claviger/services/keys/internal/member"
	"github.com/claviger/claviger/services/keys/internal/policy"
)

// The errors of this package.
var (
	ErrNotFound = fault.New(fault.NotFound, "GROUP_NOT_FOUND", "group not found")
	ErrExists   = fault.New(fault.Conflict, "GROUP_EXISTS", "a group with this name exists already").Hinting("choose another name or update that group")
	ErrInUse    = fault.New(fault.Precondition, "GROUP_IN_USE", "the group is in use").Hinting("take it out of what names it first")
)

// Group is a set of API keys.
type Group struct {
	OrgID string
	ID    string
	Name  string
	// PolicyID is the default policy of its API keys that have none of their own, "" for the
	// organization's; Enforce sends all their requests through it.
	PolicyID string
	Enforce  bool
	// Approved are patterns of models within those that the organization approves; none is all of them.
	Approved  []string
	CreatedAt time.Time
	Version   int64
}

// ETag names the state of g.
func (g Group) ETag() string { return etag.Of(g.Version) }

// Users are what names a group.
type Users struct {
	// APIKeys that can still be used are in it; Policies ask for it in a condition of the version that
	// serves; Credentials are for it alone. All by name.
	APIKeys, Policies, Credentials []string
	// Members says that API keys which members create are put into it.
	Members bool
}

// Tx is what changes of groups need from the store.
type Tx interface {
	audit.Recorder
	bound.Counter
	policy.Library
	Group(ctx context.Context, id string) (Group, error)
	InsertGroup(ctx context.Context, g Group) error
	UpdateGroup(ctx context.Context, g Group) error
	DeleteGroup(ctx context.Context, id string) error
	// DefaultPolicy returns the id of the organization's default policy, "" for none.
	DefaultPolicy(ctx context.Context) (string, error)
	// GroupUsers returns what names a group, up to limit of each kind.
	GroupUsers(ctx context.Context, groupID string, at time.Time, limit int) (Users, error)
}

// Service changes groups.
type Service struct {
	Now func() time.Time
}

// New is what people say of a group.
type New struct {
	Name     string
	PolicyID string
	Enforce  bool
	Approved []string
}

func (n New) check(ctx context.Context, tx Tx) error {
	if err := label.Check("name", n.Name); err != nil {
		return err
	}
	return policy.CheckDefault(ctx, tx, n.PolicyID, n.Enforce)
}

// own are the rules of a group alone.
type own []string

func (own) Ignored(string) bool                 { return false }
func (own) ForbidsPlatform(string) bool         { return false }
func (patterns own) Approves(model string) bool { return policy.Fits(patterns, model) }

// losses are the lines of the default policy that the group's API keys may not use. It is no error: the
// same policy may serve others with more.
func (g Group) losses(ctx context.Context, tx Tx) ([]policy.Loss, error) {
	policyID := g.PolicyID
	if policyID == "" {
		var err error
		if policyID, err = tx.DefaultPolicy(ctx); err != nil || policyID == "" {
			return nil, err
		}
	}
	p, err := tx.Policy(ctx, policyID)
	if err != nil {
		return nil, err
	}
	const most = 100
	all := p.Losses(nil, own(g.Approved))
	for i := range all {
		all[i].Problem.Reason = NotForGroup
		all[i].Problem.Description = fmt.Sprintf("a model on this line is not among those that group %s may use, so the line never serves its API keys", g.Name)
	}
	return all[:min(len(all), most)], nil
}

// NotForGroup is the reason of a line that a group may not use.
const NotForGroup = "MODEL_NOT_FOR_GROUP"

// Create adds a group. The losses are warnings.
func (s *Service) Create(ctx context.Context, tx Tx, caller member.Caller, in New) (Group, []policy.Loss, error) {
	if err := in.check(ctx, tx); err != nil {
		return Group{}, nil, err
	}
	g := Group{
		OrgID: caller.OrgID, ID: id.New("grp"), Name: in.Name, PolicyID: in.PolicyID, Enforce: in.Enforce, Approved: in.Approved,
		CreatedAt: s.Now(), Version: 1,
	}
	if err := bound.Keep(ctx, tx, func() error { return tx.InsertGroup(ctx, g) }, bound.Groups, bound.GroupBytes); err != nil {
		return Group{}, nil, err
	}
	losses, err := g.losses(ctx, tx)
	if err != nil {
		return Group{}, nil, err
	}
	return g, losses, tx.Record(ctx, "group.create", g.ID, audit.Detail{
		"name": g.Name, "policy_id": g.PolicyID, "enforce_policy": g.Enforce, "approved_models": g.Approved,
	})
}

// Update replaces all that a group says. The losses are warnings.
func (s *Service) Update(ctx context.Context, tx Tx, groupID string, in New, tag string) (Group, []policy.Loss, error) {
	g, err := tx.Group(ctx, groupID)
	if err != nil {
		return Group{}, nil, err
	}
	if err := etag.Check("group", g.Version, tag); err != nil {
		return Group{}, nil, err
	}
	if err := in.check(ctx, tx); err != nil {
		return Group{}, nil, err
	}
	detail := audit.Detail{"name": g.Name}
	if in.Name != g.Name {
		detail["name"] = audit.Change{From: g.Name, To: in.Name}
	}
	if in.PolicyID != g.PolicyID {
		detail["policy_id"] = audit.Change{From: g.PolicyID, To: in.PolicyID}
	}
	if in.Enforce != g.Enforce {
		detail["enforce_policy"] = audit.Change{From: g.Enforce, To: in.Enforce}
	}
	if !slices.Equal(in.Approved, g.Approved) {
		detail["approved_models"] = audit.Change{From: g.Approved, To: in.Approved}
	}
	g.Name, g.PolicyID, g.Enforce, g.Approved, g.Version = in.Name, in.PolicyID, in.Enforce, in.Approved, g.Version+1
	if err := bound.Keep(ctx, tx, func() error { return tx.UpdateGroup(ctx, g) }, bound.GroupBytes); err != nil {
		return Group{}, nil, err
	}
	losses, err := g.losses(ctx, tx)
	if err != nil {
		return Group{}, nil, err
	}
	return g, losses, tx.Record(ctx, "group.update", g.ID, detail)
}

// Delete removes a group that no usable API key is in and that no policy or credential names: its keys
// would be let loose, and a line or a credential that is for it alone would serve nobody.
func (s *Service) Delete(ctx context.Context, tx Tx, groupID string) error {
	g, err := tx.Group(ctx, groupID)
	if err != nil {
		return err
	}
	const named = 5
	users, err := tx.GroupUsers(ctx, g.ID, s.Now(), named+1)
	if err != nil {
		return err
	}
	var why []string
	refused := ErrInUse
	for _, kind := range []struct {
		fact, words string
		names       []string
	}{
		{"api_keys", "the API keys %s are in it", users.APIKeys},
		{"policies", "the policies %s ask for it", users.Policies},
		{"credentials", "the credentials %s are for it", users.Credentials},
	} {
		if len(kind.names) > 0 {
			why = append(why, fmt.Sprintf(kind.words, policy.Names(kind.names)))
			refused = refused.With(kind.fact, policy.Names(kind.names))
		}
	}
	if users.Members {
		why = append(why, "the organization's preferences put API keys into it that members create")
		refused = refused.With("preferences", "member_group_id")
	}
	if len(why) > 0 {
		return refused.Saying("group %s is in use: %s", g.Name, strings.Join(why, "; "))
	}
	if err := tx.DeleteGroup(ctx, g.ID); err != nil {
		return err
	}
	return tx.Record(ctx, "group.delete", g.ID, audit.Detail{"name": g.Name})
}

package store

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/services/keys/internal/organization"
	"github.com/claviger/claviger/services/keys/internal/routing"
	"github.com/claviger/claviger/services/keys/internal/snapshot"
)

// routingRow are the columns of an organization that say what holds for all its requests.
type routingRow struct {
	bun.BaseModel `bun:"table:organization"`

	ID                 string `bun:"id,pk"`
	Slug               string `bun:"slug"`
	Preferences        string `bun:"preferences"`
	PreferencesVersion int64  `bun:"preferences_version"`
	Approved           string `bun:"approved_models"`
	ApprovedVersion    int64  `bun:"approved_version"`
}

func (r routingRow) domain() routing.State {
	return routing.State{
		Preferences: fromJSON[routing.Preferences](r.Preferences), PreferencesVersion: r.PreferencesVersion,
		Approved: fromJSON[[]string](r.Approved), ApprovedVersion: r.ApprovedVersion,
	}
}

// organization is what routers know of one.
func (r routingRow) organization() snapshot.Organization {
	return snapshot.Organization{ID: r.ID, Slug: r.Slug, Routing: r.domain()}
}

var _ routing.Tx = (*Tx)(nil)

// Routing returns what holds for all requests of the organization.
func (t *Tx) Routing(ctx context.Context) (routing.State, error) {
	row := routingRow{ID: t.orgID}
	err := t.tx.NewSelect().Model(&row).WherePK().Scan(ctx)
	return row.domain(), orMissing(err, organization.ErrNotFound, "read preferences")
}

// DefaultPolicy returns the id of the organization's default policy.
func (t *Tx) DefaultPolicy(ctx context.Context) (string, error) {
	state, err := t.Routing(ctx)
	return state.Preferences.PolicyID, err
}

// UpdateRouting stores all of s.
func (t *Tx) UpdateRouting(ctx context.Context, s routing.State) error {
	t.touch(t.orgID, t.orgID)
	row := routingRow{
		ID: t.orgID, Preferences: toJSON(s.Preferences), PreferencesVersion: s.PreferencesVersion,
		Approved: listJSON(s.Approved), ApprovedVersion: s.ApprovedVersion,
	}
	err := affected(t.tx.NewUpdate().Model(&row).ExcludeColumn("slug").WherePK().Exec(ctx))
	return orMissing(err, organization.ErrNotFound, "update preferences")
}

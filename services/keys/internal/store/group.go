package store

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/services/keys/internal/group"
	"github.com/claviger/claviger/services/keys/internal/snapshot"
)

type groupRow struct {
	bun.BaseModel `bun:"table:key_group"`

	OrgID     string `bun:"org_id,pk"`
	ID        string `bun:"id,pk"`
	Name      string `bun:"name"`
	PolicyID  string `bun:"policy_id"`
	Enforce   bool   `bun:"enforce_policy"`
	Approved  string `bun:"approved_models"`
	CreatedAt int64  `bun:"created_at"`
	Version   int64  `bun:"version"`
}

func (r groupRow) domain() group.Group {
	return group.Group{
		OrgID: r.OrgID, ID: r.ID, Name: r.Name, PolicyID: r.PolicyID, Enforce: r.Enforce, Approved: fromJSON[[]string](r.Approved),
		CreatedAt: fromMicros(r.CreatedAt), Version: r.Version,
	}
}

func toGroupRow(g group.Group) *groupRow {
	return &groupRow{
		OrgID: g.OrgID, ID: g.ID, Name: g.Name, PolicyID: g.PolicyID, Enforce: g.Enforce, Approved: listJSON(g.Approved),
		CreatedAt: micros(g.CreatedAt), Version: g.Version,
	}
}

func (r groupRow) ref() snapshot.Ref { return snapshot.Ref{OrgID: r.OrgID, ID: r.ID} }

func (groupRow) orgColumn() bun.Ident { return "org_id" }

// listJSON writes a list; "" is none.
func listJSON(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return toJSON(list)
}

var _ group.Tx = (*Tx)(nil)

// Group returns one group.
func (t *Tx) Group(ctx context.Context, groupID string) (group.Group, error) {
	row := groupRow{OrgID: t.orgID, ID: groupID}
	err := t.tx.NewSelect().Model(&row).WherePK().Scan(ctx)
	return row.domain(), orMissing(err, group.ErrNotFound, "read group")
}

// Groups lists up to limit groups after an id.
func (t *Tx) Groups(ctx context.Context, after string, limit int) ([]group.Group, error) {
	var rows []groupRow
	err := t.tx.NewSelect().Model(&rows).Where("org_id = ? AND id > ?", t.orgID, after).Order("id").Limit(int64(limit)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	return each(rows, groupRow.domain), nil
}

// InsertGroup adds a group.
func (t *Tx) InsertGroup(ctx context.Context, g group.Group) error {
	g.OrgID = t.orgID
	t.touch(t.orgID, g.ID)
	_, err := t.tx.NewInsert().Model(toGroupRow(g)).Exec(ctx)
	return orTaken(err, group.ErrExists, "insert group")
}

// UpdateGroup stores all of g. Its API keys look as before: routers join them with it.
func (t *Tx) UpdateGroup(ctx context.Context, g group.Group) error {
	g.OrgID = t.orgID
	t.touch(t.orgID, g.ID)
	result, err := t.tx.NewUpdate().Model(toGroupRow(g)).WherePK().Exec(ctx)
	if err != nil {
		return orTaken(err, group.ErrExists, "update group")
	}
	return orMissing(affected(result, nil), group.ErrNotFound, "update group")
}

// DeleteGroup removes a group. Dead API keys keep its id: nobody is let in with them.
func (t *Tx) DeleteGroup(ctx context.Context, groupID string) error {
	t.touch(t.orgID, groupID)
	err := affected(t.tx.NewDelete().Model(&groupRow{OrgID: t.orgID, ID: groupID}).WherePK().Exec(ctx))
	return orMissing(err, group.ErrNotFound, "delete group")
}

// GroupUsers returns what names a group.
func (t *Tx) GroupUsers(ctx context.Context, groupID string, at time.Time, limit int) (users group.Users, err error) {
	if users.APIKeys, err = t.usableKeys(ctx, "group_id", groupID, at, limit); err != nil {
		return group.Users{}, err
	}
	if users.Policies, err = t.PoliciesNaming(ctx, groupID, limit); err != nil {
		return group.Users{}, err
	}
	// Scopes are JSON, and an id is no part of another. An organization has few credentials.
	err = t.tx.NewSelect().Model((*credentialRow)(nil)).Column("label").Where("org_id = ? AND scope LIKE ?", t.orgID, "%\""+groupID+"\"%").
		Order("label").Limit(int64(limit)).Scan(ctx, &users.Credentials)
	if err != nil {
		return group.Users{}, fmt.Errorf("look for credentials of a group: %w", err)
	}
	state, err := t.Routing(ctx)
	users.Members = state.Preferences.MemberGroupID == groupID
	return users, err
}

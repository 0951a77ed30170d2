package store

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/services/keys/internal/member"
)

type memberRow struct {
	bun.BaseModel `bun:"table:member"`

	OrgID        string `bun:"org_id,pk"`
	ID           string `bun:"id,pk"`
	Email        string `bun:"email"`
	Role         string `bun:"role"`
	PasswordHash string `bun:"password_hash"`
	CreatedAt    int64  `bun:"created_at"`
	LastSignInAt int64  `bun:"last_sign_in_at"`
	DisabledAt   int64  `bun:"disabled_at"`
	Version      int64  `bun:"version"`
}

func (r memberRow) domain() member.Member {
	return member.Member{
		OrgID: r.OrgID, ID: r.ID, Email: r.Email, Role: member.Role(r.Role), PasswordHash: r.PasswordHash,
		CreatedAt: fromMicros(r.CreatedAt), LastSignInAt: fromMicros(r.LastSignInAt), DisabledAt: fromMicros(r.DisabledAt), Version: r.Version,
	}
}

func toMemberRow(m member.Member) *memberRow {
	return &memberRow{
		OrgID: m.OrgID, ID: m.ID, Email: m.Email, Role: string(m.Role), PasswordHash: m.PasswordHash,
		CreatedAt: micros(m.CreatedAt), LastSignInAt: micros(m.LastSignInAt), DisabledAt: micros(m.DisabledAt), Version: m.Version,
	}
}

var _ member.Tx = (*Tx)(nil)

// Member returns one member.
func (t *Tx) Member(ctx context.Context, memberID string) (member.Member, error) {
	row := memberRow{OrgID: t.orgID, ID: memberID}
	err := t.tx.NewSelect().Model(&row).WherePK().Scan(ctx)
	return row.domain(), orMissing(err, member.ErrNotFound, "read member")
}

// Members lists up to limit members after an id.
func (t *Tx) Members(ctx context.Context, after string, limit int) ([]member.Member, error) {
	var rows []memberRow
	err := t.tx.NewSelect().Model(&rows).Where("org_id = ? AND id > ?", t.orgID, after).Order("id").Limit(int64(limit)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	return each(rows, memberRow.domain), nil
}

// InsertMember adds a member.
func (t *Tx) InsertMember(ctx context.Context, m member.Member) error {
	m.OrgID = t.orgID
	t.touch(t.orgID, m.ID)
	_, err := t.tx.NewInsert().Model(toMemberRow(m)).Exec(ctx)
	return orTaken(err, member.ErrExists, "insert member")
}

// UpdateMember stores role, DisabledAt and version, and ends the member's sessions.
func (t *Tx) UpdateMember(ctx context.Context, m member.Member) error {
	m.OrgID = t.orgID
	err := affected(t.tx.NewUpdate().Model(toMemberRow(m)).Column("role", "disabled_at", "version").WherePK().Exec(ctx))
	if err != nil {
		return orMissing(err, member.ErrNotFound, "update member")
	}
	return t.EndSessions(ctx, m.ID, "")
}

// SuspendAPIKeys suspends a member's API keys that are not revoked, or ends that, and returns their ids; cut ends the
// answers that they are being given.
func (t *Tx) SuspendAPIKeys(ctx context.Context, memberID string, suspended, cut bool) ([]string, error) {
	var ids []string
	err := t.tx.NewRaw("UPDATE api_key SET suspended = ?, cut = ?, version = version + 1 WHERE org_id = ? AND member_id = ? AND revoked_at = 0 RETURNING id",
		suspended, cut, t.orgID, memberID).Scan(ctx, &ids)
	if err != nil {
		return nil, fmt.Errorf("suspend the member's API keys: %w", err)
	}
	for _, key := range ids {
		t.touch(t.orgID, key)
	}
	return ids, nil
}

// DeleteMember removes a member and their sessions, and revokes their API keys; cut ends the answers that
// those are being given.
func (t *Tx) DeleteMember(ctx context.Context, memberID string, at time.Time, cut bool) ([]string, error) {
	if err := t.EndSessions(ctx, memberID, ""); err != nil {
		return nil, err
	}
	var revoked []string
	err := t.tx.NewRaw("UPDATE api_key SET revoked_at = ?, cut = ?, version = version + 1 WHERE org_id = ? AND member_id = ? AND revoked_at = 0 RETURNING id",
		micros(at), cut, t.orgID, memberID).Scan(ctx, &revoked)
	if err != nil {
		return nil, fmt.Errorf("revoke the member's API keys: %w", err)
	}
	for _, key := range revoked {
		t.touch(t.orgID, key)
	}
	t.touch(t.orgID, memberID)
	err = affected(t.tx.NewDelete().Model(&memberRow{OrgID: t.orgID, ID: memberID}).WherePK().Exec(ctx))
	return revoked, orMissing(err, member.ErrNotFound, "delete member")
}

// Owners counts the owners who are not disabled.
func (t *Tx) Owners(ctx context.Context) (int, error) {
	n, err := t.tx.NewSelect().Model((*memberRow)(nil)).Where("org_id = ? AND role = ? AND disabled_at = 0", t.orgID, string(member.Owner)).Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("count owners: %w", err)
	}
	return int(n), nil
}

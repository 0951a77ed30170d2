package store

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/services/keys/internal/apikey"
)

type apiKeyRow struct {
	bun.BaseModel `bun:"table:api_key"`

	OrgID      string `bun:"org_id,pk"`
	ID         string `bun:"id,pk"`
	Name       string `bun:"name"`
	PublicID   string `bun:"public_id"`
	Hash       string `bun:"hash"`
	MemberID   string `bun:"member_id"`
	PolicyID   string `bun:"policy_id"`
	Provenance string `bun:"provenance"`
	CreatedAt  int64  `bun:"created_at"`
	ExpiresAt  int64  `bun:"expires_at"`
	RevokedAt  int64  `bun:"revoked_at"`
	GroupID    string `bun:"group_id"`
	Enforce    bool   `bun:"enforce_policy"`
	Version    int64  `bun:"version"`
	Cut        bool   `bun:"cut"`
	Suspended  bool   `bun:"suspended"`
}

func (r apiKeyRow) domain() apikey.Key {
	// What is no hexadecimal was not written here. Its bytes are no hash, and no key fits them.
	hash, _ := hex.DecodeString(r.Hash)
	return apikey.Key{
		OrgID: r.OrgID, ID: r.ID, Name: r.Name, PublicID: r.PublicID, Hash: hash, MemberID: r.MemberID, PolicyID: r.PolicyID,
		Provenance: apikey.Provenance(r.Provenance), CreatedAt: fromMicros(r.CreatedAt), ExpiresAt: fromMicros(r.ExpiresAt),
		RevokedAt: fromMicros(r.RevokedAt), GroupID: r.GroupID, Enforce: r.Enforce, Version: r.Version, Cut: r.Cut, Suspended: r.Suspended,
	}
}

func toAPIKeyRow(k apikey.Key) *apiKeyRow {
	return &apiKeyRow{
		OrgID: k.OrgID, ID: k.ID, Name: k.Name, PublicID: k.PublicID, Hash: hex.EncodeToString(k.Hash), MemberID: k.MemberID,
		PolicyID: k.PolicyID, Provenance: string(k.Provenance), CreatedAt: micros(k.CreatedAt), ExpiresAt: micros(k.ExpiresAt),
		RevokedAt: micros(k.RevokedAt), GroupID: k.GroupID, Enforce: k.Enforce, Version: k.Version, Cut: k.Cut, Suspended: k.Suspended,
	}
}

var _ apikey.Tx = (*Tx)(nil)

// APIKey returns one API key.
func (t *Tx) APIKey(ctx context.Context, keyID string) (apikey.Key, error) {
	row := apiKeyRow{OrgID: t.orgID, ID: keyID}
	err := t.tx.NewSelect().Model(&row).WherePK().Scan(ctx)
	return row.domain(), orMissing(err, apikey.ErrNotFound, "read API key")
}

// APIKeys lists up to limit API keys after an id, of one member unless memberID is empty.
func (t *Tx) APIKeys(ctx context.Context, memberID, after string, limit int) ([]apikey.Key, error) {
	var rows []apiKeyRow
	if err := apiKeysQuery(t.tx, &rows, t.orgID, memberID, after, limit).Scan(ctx); err != nil {
		return nil, fmt.Errorf("list API keys: %w", err)
	}
	return each(rows, apiKeyRow.domain), nil
}

func apiKeysQuery(tx bun.Tx, rows *[]apiKeyRow, orgID, memberID, after string, limit int) *bun.SelectQuery {
	query := tx.NewSelect().Model(rows).Where("org_id = ? AND id > ?", orgID, after).Order("id").Limit(int64(limit))
	if memberID != "" {
		query = query.Where("member_id = ?", memberID)
	}
	return query
}

// InsertAPIKey adds an API key.
func (t *Tx) InsertAPIKey(ctx context.Context, k apikey.Key) error {
	return t.InsertAPIKeys(ctx, []apikey.Key{k})
}

// InsertAPIKeys adds many API keys at once.
func (t *Tx) InsertAPIKeys(ctx context.Context, keys []apikey.Key) error {
	rows := make([]*apiKeyRow, len(keys))
	for i, k := range keys {
		k.OrgID = t.orgID
		t.touch(t.orgID, k.ID)
		rows[i] = toAPIKeyRow(k)
	}
	_, err := t.tx.NewInsert().Model(&rows).Exec(ctx)
	return orTaken(err, apikey.ErrExists, "insert API key")
}

// UpdateAPIKey stores what people set of k.
func (t *Tx) UpdateAPIKey(ctx context.Context, k apikey.Key) error {
	k.OrgID = t.orgID
	t.touch(t.orgID, k.ID)
	result, err := t.tx.NewUpdate().Model(toAPIKeyRow(k)).
		Column("name", "policy_id", "enforce_policy", "group_id", "provenance", "expires_at", "version").WherePK().Exec(ctx)
	if err != nil {
		return orTaken(err, apikey.ErrExists, "update API key")
	}
	return orMissing(affected(result, nil), apikey.ErrNotFound, "update API key")
}

// RevokeAPIKey ends a key; cut also ends the answers that it is being given.
func (t *Tx) RevokeAPIKey(ctx context.Context, keyID string, at time.Time, cut bool) error {
	t.touch(t.orgID, keyID)
	err := affected(t.tx.NewUpdate().Model(&apiKeyRow{OrgID: t.orgID, ID: keyID}).
		Set("revoked_at = ?", micros(at)).Set("cut = ?", cut).Set("version = version + 1").WherePK().Exec(ctx))
	return orMissing(err, apikey.ErrNotFound, "revoke API key")
}

// deadKeys are those that were revoked before a time, or before the last so many that were.
const deadKeys = `
	SELECT id FROM api_key WHERE org_id = ? AND revoked_at > 0 AND (revoked_at < ? OR revoked_at <=
		(SELECT revoked_at FROM api_key WHERE org_id = ? AND revoked_at > 0 ORDER BY revoked_at DESC LIMIT 1 OFFSET ?))
	LIMIT ?`

// ForgetAPIKeys removes keys that were revoked before a time, and those beyond the keep that were revoked last; up
// to limit of them. It returns how many it was.
func (t *Tx) ForgetAPIKeys(ctx context.Context, before time.Time, keep, limit int) (int, error) {
	var dead []string
	if err := t.tx.NewRaw(deadKeys, t.orgID, micros(before), t.orgID, keep, limit).Scan(ctx, &dead); err != nil {
		return 0, fmt.Errorf("look for dead API keys: %w", err)
	}
	if len(dead) == 0 {
		return 0, nil
	}
	if _, err := t.tx.NewRaw("DELETE FROM api_key WHERE org_id = ? AND id IN (?)", t.orgID, bun.List(dead)).Exec(ctx); err != nil {
		return 0, fmt.Errorf("forget API keys: %w", err)
	}
	for _, id := range dead {
		t.touch(t.orgID, id)
	}
	return len(dead), nil
}

// DeadAPIKeys returns up to limit organizations that ForgetAPIKeys has something to do for. It reads all keys.
func (s *Store) DeadAPIKeys(ctx context.Context, before time.Time, keep, limit int) (orgIDs []string, err error) {
	err = s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		return tx.NewRaw(`SELECT org_id FROM api_key WHERE revoked_at > 0 GROUP BY org_id HAVING min(revoked_at) < ? OR count(*) > ? ORDER BY org_id LIMIT ?`,
			micros(before), keep, limit).Scan(ctx, &orgIDs)
	})
	if err != nil {
		return nil, translate(fmt.Errorf("look for dead API keys: %w", err))
	}
	return orgIDs, nil
}

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
}

func (r apiKeyRow) domain() apikey.Key {
	// What is no hexadecimal was not written here. Its bytes are no hash, and no key fits them.
	hash, _ := hex.DecodeString(r.Hash)
	return apikey.Key{
		OrgID: r.OrgID, ID: r.ID, Name: r.Name, PublicID: r.PublicID, Hash: hash, MemberID: r.MemberID, PolicyID: r.PolicyID,
		Provenance: apikey.Provenance(r.Provenance), CreatedAt: fromMicros(r.CreatedAt), ExpiresAt: fromMicros(r.ExpiresAt),
		RevokedAt: fromMicros(r.RevokedAt), GroupID: r.GroupID, Enforce: r.Enforce, Version: r.Version, Cut: r.Cut,
	}
}

func toAPIKeyRow(k apikey.Key) *apiKeyRow {
	return &apiKeyRow{
		OrgID: k.OrgID, ID: k.ID, Name: k.Name, PublicID: k.PublicID, Hash: hex.EncodeToString(k.Hash), MemberID: k.MemberID,
		PolicyID: k.PolicyID, Provenance: string(k.Provenance), CreatedAt: micros(k.CreatedAt), ExpiresAt: micros(k.ExpiresAt),
		RevokedAt: micros(k.RevokedAt), GroupID: k.GroupID, Enforce: k.Enforce, Version: k.Version, Cut: k.Cut,
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

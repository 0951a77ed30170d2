package store

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/services/keys/internal/headroom"
)

type headroomRow struct {
	bun.BaseModel `bun:"table:headroom"`

	OrgID             string `bun:"org_id,pk"`
	ID                string `bun:"id,pk"`
	CredentialID      string `bun:"credential_id"`
	Model             string `bun:"model"`
	Router            string `bun:"router"`
	At                int64  `bun:"at"`
	HasRequests       bool   `bun:"has_requests"`
	RequestsLimit     int64  `bun:"requests_limit"`
	RequestsRemaining int64  `bun:"requests_remaining"`
	RequestsResetAt   int64  `bun:"requests_reset_at"`
	HasTokens         bool   `bun:"has_tokens"`
	TokensLimit       int64  `bun:"tokens_limit"`
	TokensRemaining   int64  `bun:"tokens_remaining"`
	TokensResetAt     int64  `bun:"tokens_reset_at"`
	CoolingUntil      int64  `bun:"cooling_until"`
}

func (r headroomRow) domain() headroom.Headroom {
	h := headroom.Headroom{
		CredentialID: r.CredentialID, Model: r.Model, Router: r.Router, CoolingUntil: fromMicros(r.CoolingUntil), At: fromMicros(r.At),
	}
	if r.HasRequests {
		h.Requests = &headroom.Allowance{Limit: r.RequestsLimit, Remaining: r.RequestsRemaining, ResetAt: fromMicros(r.RequestsResetAt)}
	}
	if r.HasTokens {
		h.Tokens = &headroom.Allowance{Limit: r.TokensLimit, Remaining: r.TokensRemaining, ResetAt: fromMicros(r.TokensResetAt)}
	}
	return h
}

func toHeadroomRow(orgID string, h headroom.Headroom) headroomRow {
	row := headroomRow{
		OrgID: orgID, ID: h.ID(), CredentialID: h.CredentialID, Model: h.Model, Router: h.Router, At: micros(h.At), CoolingUntil: micros(h.CoolingUntil),
	}
	if a := h.Requests; a != nil {
		row.HasRequests, row.RequestsLimit, row.RequestsRemaining, row.RequestsResetAt = true, a.Limit, a.Remaining, micros(a.ResetAt)
	}
	if a := h.Tokens; a != nil {
		row.HasTokens, row.TokensLimit, row.TokensRemaining, row.TokensResetAt = true, a.Limit, a.Remaining, micros(a.ResetAt)
	}
	return row
}

// SaveHeadroom keeps what a router was told, unless something newer of the same router is there. What is
// not of a credential of the organization is passed over. It takes no lock of the organization and makes no
// version of the configuration: routers steer by their own.
func (s *Store) SaveHeadroom(ctx context.Context, orgID string, told []headroom.Headroom) error {
	latest, of := map[string]headroom.Headroom{}, map[string]bool{}
	for _, h := range told { // an insert must not meet one row twice
		id := h.ID()
		if have, ok := latest[id]; !ok || have.At.Before(h.At) {
			latest[id], of[h.CredentialID] = h, true
		}
	}
	err := s.db.InOrgTx(ctx, orgID, func(ctx context.Context, tx bun.Tx) error {
		var ids []string
		if err := tx.NewSelect().Model((*credentialRow)(nil)).Column("id").Where("org_id = ?", orgID).
			Where("id IN (?)", bun.List(slices.Sorted(maps.Keys(of)))).Scan(ctx, &ids); err != nil {
			return err
		}
		var rows []headroomRow
		for _, id := range slices.Sorted(maps.Keys(latest)) { // in an order, so that two replicas do not wait for each other
			if h := latest[id]; slices.Contains(ids, h.CredentialID) {
				rows = append(rows, toHeadroomRow(orgID, h))
			}
		}
		if len(rows) == 0 {
			return nil
		}
		insert := tx.NewInsert().Model(&rows).On("CONFLICT (org_id, id) DO UPDATE").Where("?TableAlias.at < EXCLUDED.at")
		for _, column := range []string{
			"at", "has_requests", "requests_limit", "requests_remaining", "requests_reset_at",
			"has_tokens", "tokens_limit", "tokens_remaining", "tokens_reset_at", "cooling_until",
		} {
			insert = insert.Set("? = EXCLUDED.?", bun.Ident(column), bun.Ident(column))
		}
		_, err := insert.Exec(ctx)
		return err
	})
	if err != nil {
		return translate(fmt.Errorf("store headroom: %w", err))
	}
	return nil
}

// Headroom lists up to limit after an id, of one credential unless credentialID is empty.
func (t *Tx) Headroom(ctx context.Context, credentialID, after string, limit int) ([]headroom.Headroom, error) {
	var rows []headroomRow
	query := t.tx.NewSelect().Model(&rows).Where("org_id = ? AND id > ?", t.orgID, after).Order("id").Limit(int64(limit))
	if credentialID != "" {
		query = query.Where("credential_id = ?", credentialID)
	}
	if err := query.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list headroom: %w", err)
	}
	return each(rows, headroomRow.domain), nil
}

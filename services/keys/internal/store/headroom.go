package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

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
		OrgID: r.OrgID, CredentialID: r.CredentialID, Model: r.Model, Router: r.Router, CoolingUntil: fromMicros(r.CoolingUntil), At: fromMicros(r.At),
	}
	if r.HasRequests {
		h.Requests = &headroom.Allowance{Limit: r.RequestsLimit, Remaining: r.RequestsRemaining, ResetAt: fromMicros(r.RequestsResetAt)}
	}
	if r.HasTokens {
		h.Tokens = &headroom.Allowance{Limit: r.TokensLimit, Remaining: r.TokensRemaining, ResetAt: fromMicros(r.TokensResetAt)}
	}
	return h
}

func toHeadroomRow(h headroom.Headroom) headroomRow {
	row := headroomRow{
		OrgID: h.OrgID, ID: h.ID(), CredentialID: h.CredentialID, Model: h.Model, Router: h.Router, At: micros(h.At), CoolingUntil: micros(h.CoolingUntil),
	}
	if a := h.Requests; a != nil {
		row.HasRequests, row.RequestsLimit, row.RequestsRemaining, row.RequestsResetAt = true, a.Limit, a.Remaining, micros(a.ResetAt)
	}
	if a := h.Tokens; a != nil {
		row.HasTokens, row.TokensLimit, row.TokensRemaining, row.TokensResetAt = true, a.Limit, a.Remaining, micros(a.ResetAt)
	}
	return row
}

// insertHeadroom stores what routers were told of credentials that exist, unless something newer is there.
const (
	insertHeadroom = `
		INSERT INTO headroom (org_id, id, credential_id, model, router, at, has_requests, requests_limit, requests_remaining, requests_reset_at,
			has_tokens, tokens_limit, tokens_remaining, tokens_reset_at, cooling_until)
		SELECT h.org_id, h.id, h.credential_id, h.model, h.router, h.at, h.has_requests, h.requests_limit, h.requests_remaining, h.requests_reset_at,
			h.has_tokens, h.tokens_limit, h.tokens_remaining, h.tokens_reset_at, h.cooling_until
		FROM (`
	aHeadroom = `SELECT ? AS org_id, ? AS id, ? AS credential_id, ? AS model, ? AS router, ? AS at,
		? AS has_requests, ? AS requests_limit, ? AS requests_remaining, ? AS requests_reset_at,
		? AS has_tokens, ? AS tokens_limit, ? AS tokens_remaining, ? AS tokens_reset_at, ? AS cooling_until`
	intoHeadroom = `) AS h
		JOIN credential AS c ON c.org_id = h.org_id AND c.id = h.credential_id
		WHERE true
		ON CONFLICT (org_id, id) DO UPDATE SET at = EXCLUDED.at,
			has_requests = EXCLUDED.has_requests, requests_limit = EXCLUDED.requests_limit,
			requests_remaining = EXCLUDED.requests_remaining, requests_reset_at = EXCLUDED.requests_reset_at,
			has_tokens = EXCLUDED.has_tokens, tokens_limit = EXCLUDED.tokens_limit,
			tokens_remaining = EXCLUDED.tokens_remaining, tokens_reset_at = EXCLUDED.tokens_reset_at, cooling_until = EXCLUDED.cooling_until
		WHERE headroom.at < EXCLUDED.at`
	headroomAtOnce = 200
)

// SaveHeadroom keeps what a router was told, of all organizations together, unless something newer of the same
// router is there. What is of no credential is passed over. It takes no lock of an organization and makes no
// version of the configuration: routers steer by their own. What a router with a fast clock says of the future
// is taken as of now.
func (s *Store) SaveHeadroom(ctx context.Context, told []headroom.Headroom) error {
	now := s.now()
	latest := make(map[string]headroomRow, len(told)) // an insert must not meet one row twice
	for _, h := range told {
		if h.At.After(now) {
			h.At = now
		}
		row := toHeadroomRow(h)
		if have, ok := latest[row.OrgID+row.ID]; !ok || have.At < row.At {
			latest[row.OrgID+row.ID] = row
		}
	}
	// In one order for all, so that two replicas never wait for each other crosswise.
	for part := range slices.Chunk(slices.Sorted(maps.Keys(latest)), headroomAtOnce) {
		args := make([]any, 0, 15*len(part))
		for _, key := range part {
			r := latest[key]
			args = append(args, r.OrgID, r.ID, r.CredentialID, r.Model, r.Router, r.At, r.HasRequests, r.RequestsLimit, r.RequestsRemaining,
				r.RequestsResetAt, r.HasTokens, r.TokensLimit, r.TokensRemaining, r.TokensResetAt, r.CoolingUntil)
		}
		rows := strings.Repeat(aHeadroom+" UNION ALL ", len(part)-1) + aHeadroom
		err := s.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
			_, err := tx.NewRaw(insertHeadroom+rows+intoHeadroom, args...).Exec(ctx)
			return err
		})
		if err != nil {
			return translate(fmt.Errorf("store headroom: %w", err))
		}
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

package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/services/keys/internal/drill"
	"github.com/claviger/claviger/services/keys/internal/headroom"
	"github.com/claviger/claviger/services/keys/internal/idempotency"
	"github.com/claviger/claviger/services/keys/internal/route"
	"github.com/claviger/claviger/services/keys/internal/routerstate"
	"github.com/claviger/claviger/services/keys/internal/session"
)

type answerRow struct {
	bun.BaseModel `bun:"table:idempotency"`

	OrgID     string `bun:"org_id,pk"`
	Method    string `bun:"method,pk"`
	Key       string `bun:"key,pk"`
	Digest    string `bun:"digest"`
	Response  string `bun:"response"`
	CreatedAt int64  `bun:"created_at"`
}

// answered returns the kept answer of an earlier run of the same change.
func (t *Tx) answered(ctx context.Context, k idempotency.Key) ([]byte, bool, error) {
	row := answerRow{OrgID: t.orgID, Method: k.Method, Key: k.Value}
	err := t.tx.NewSelect().Model(&row).WherePK().Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("look for earlier answer: %w", err)
	}
	if err := k.Check(row.Digest); err != nil {
		return nil, false, err
	}
	answer, err := base64.StdEncoding.DecodeString(row.Response)
	if err != nil {
		return nil, false, fmt.Errorf("decode earlier answer: %w", err)
	}
	return answer, true, nil
}

func (t *Tx) keepAnswer(ctx context.Context, k idempotency.Key, answer []byte) error {
	row := answerRow{
		OrgID: t.orgID, Method: k.Method, Key: k.Value, Digest: k.Digest,
		Response: base64.StdEncoding.EncodeToString(answer), CreatedAt: micros(t.now),
	}
	if _, err := t.tx.NewInsert().Model(&row).Exec(ctx); err != nil {
		return fmt.Errorf("keep answer: %w", err)
	}
	return nil
}

// Expire forgets what has served its time: answers for retries, ended sessions, old probes and drills, silent
// routers and what they were told, and all but the last keepVersions changes of the configuration.
func (s *Store) Expire(ctx context.Context, keepVersions int64) error {
	now := s.now()
	return translate(s.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		for _, q := range []struct {
			statement string
			args      []any
		}{
			{"DELETE FROM idempotency WHERE created_at < ?", []any{micros(now.Add(-idempotency.Retention))}},
			{"DELETE FROM session WHERE ends_at <= ? OR used_at <= ?", []any{micros(now), micros(session.IdleSince(now))}},
			{"DELETE FROM probe WHERE created_at < ?", []any{micros(now.Add(-probeLifetime))}},
			{"DELETE FROM route_question WHERE created_at < ?", []any{micros(now.Add(-route.Retention))}},
			{"DELETE FROM router_state WHERE seen_at < ?", []any{micros(now.Add(-routerstate.Retention))}},
			{"DELETE FROM headroom WHERE at < ?", []any{micros(now.Add(-headroom.Retention))}},
			{
				"DELETE FROM drill_report WHERE EXISTS (SELECT 1 FROM drill d WHERE d.org_id = drill_report.org_id AND d.id = drill_report.drill_id AND d.ends_at < ?)",
				[]any{micros(now.Add(-drill.Retention))},
			},
			{"DELETE FROM drill WHERE NOT running AND ends_at < ?", []any{micros(now.Add(-drill.Retention))}},
			{"DELETE FROM config_change WHERE version <= (SELECT version FROM config_version) - ?", []any{keepVersions}},
			{
				"UPDATE config_version SET compacted = version - ? WHERE version - ? > compacted",
				[]any{keepVersions, keepVersions},
			},
		} {
			if _, err := tx.NewRaw(q.statement, q.args...).Exec(ctx); err != nil {
				return fmt.Errorf("expire: %w", err)
			}
		}
		return nil
	}))
}

const probeLifetime = 24 * time.Hour

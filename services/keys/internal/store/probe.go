package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/services/keys/internal/credential"
)

type probeRow struct {
	bun.BaseModel `bun:"table:probe"`

	OrgID        string `bun:"org_id,pk"`
	ID           string `bun:"id,pk"`
	CredentialID string `bun:"credential_id"`
	Revision     int    `bun:"revision"`
	CreatedAt    int64  `bun:"created_at"`
	ClaimedAt    int64  `bun:"claimed_at"`
	Attempts     int    `bun:"attempts"`
	DoneAt       int64  `bun:"done_at"`
}

func (r probeRow) domain() credential.Probe {
	return credential.Probe{OrgID: r.OrgID, ID: r.ID, CredentialID: r.CredentialID, Revision: r.Revision, CreatedAt: fromMicros(r.CreatedAt)}
}

// RequestProbe stores p, or asks again for the unanswered one of the same revision.
func (t *Tx) RequestProbe(ctx context.Context, p credential.Probe) (string, error) {
	t.probed = true
	var pending []string
	err := t.tx.NewRaw("UPDATE probe SET claimed_at = 0, attempts = 0, created_at = ? WHERE org_id = ? AND credential_id = ? AND revision = ? AND done_at = 0 RETURNING id",
		micros(p.CreatedAt), t.orgID, p.CredentialID, p.Revision).Scan(ctx, &pending)
	if err != nil {
		return "", fmt.Errorf("ask for probe again: %w", err)
	}
	if len(pending) > 0 {
		return pending[0], nil
	}
	row := probeRow{OrgID: t.orgID, ID: p.ID, CredentialID: p.CredentialID, Revision: p.Revision, CreatedAt: micros(p.CreatedAt)}
	if _, err := t.tx.NewInsert().Model(&row).Exec(ctx); err != nil {
		return "", fmt.Errorf("insert probe: %w", err)
	}
	return p.ID, nil
}

// ProbeAsked returns when a probe was last asked for, and whether it was answered; zero and true if it is not known.
func (t *Tx) ProbeAsked(ctx context.Context, probeID string) (at time.Time, answered bool, err error) {
	row := probeRow{OrgID: t.orgID, ID: probeID}
	err = t.tx.NewSelect().Model(&row).Column("created_at", "done_at").WherePK().Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, true, nil
	}
	if err != nil {
		return time.Time{}, false, fmt.Errorf("read probe: %w", err)
	}
	return fromMicros(row.CreatedAt), row.DoneAt != 0, nil
}

// FinishProbes marks the probes of a credential's revision as answered.
func (t *Tx) FinishProbes(ctx context.Context, credentialID string, revision int, at time.Time) error {
	_, err := t.tx.NewRaw("UPDATE probe SET done_at = ? WHERE org_id = ? AND credential_id = ? AND revision = ? AND done_at = 0",
		micros(at), t.orgID, credentialID, revision).Exec(ctx)
	if err != nil {
		return fmt.Errorf("finish probes: %w", err)
	}
	return nil
}

// ProbeState reports whether a probe still waits for an answer, and if not, whether there was one. A
// probe of a secret that was replaced in between gets none.
func (t *Tx) ProbeState(ctx context.Context, probeID string) (waiting, answered bool, err error) {
	row := probeRow{OrgID: t.orgID, ID: probeID}
	err = t.tx.NewSelect().Model(&row).WherePK().Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return false, false, nil
	}
	if err != nil {
		return false, false, fmt.Errorf("read probe: %w", err)
	}
	return row.DoneAt == 0, row.DoneAt != 0, nil
}

// Probes are given to a router again if there is no answer in time, a few times.
const (
	probePatience = 5 * time.Second
	probeAttempts = 5
)

// ClaimProbes takes up to limit probes that wait for a router. Of several replicas one gets each.
func (s *Store) ClaimProbes(ctx context.Context, limit int) ([]credential.Probe, error) {
	waiting := func(tx bun.Tx) *bun.SelectQuery {
		return tx.NewSelect().Model((*probeRow)(nil)).
			Where("done_at = 0 AND claimed_at < ? AND attempts < ?", micros(s.now().Add(-probePatience)), probeAttempts)
	}
	some := false
	err := s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
		some, err = waiting(tx).Exists(ctx) // mostly there are none, and then nothing is locked
		return err
	})
	if err != nil || !some {
		return nil, translate(err)
	}
	var claimed []credential.Probe
	err = s.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		claimed = nil
		var rows []probeRow
		if err := waiting(tx).Model(&rows).Order("claimed_at", "created_at").Limit(int64(limit)).Scan(ctx); err != nil {
			return err
		}
		for _, r := range rows {
			// The condition is checked again: another replica may have committed in between.
			err := affected(tx.NewRaw("UPDATE probe SET claimed_at = ?, attempts = attempts + 1 WHERE org_id = ? AND id = ? AND claimed_at = ? AND done_at = 0",
				micros(s.now()), r.OrgID, r.ID, r.ClaimedAt).Exec(ctx))
			switch {
			case err == nil:
				claimed = append(claimed, r.domain())
			case !errors.Is(err, sql.ErrNoRows):
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, translate(fmt.Errorf("claim probes: %w", err))
	}
	return claimed, nil
}

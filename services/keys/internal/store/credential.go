package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/snapshot"
)

type credentialRow struct {
	bun.BaseModel `bun:"table:credential"`

	OrgID       string `bun:"org_id,pk"`
	ID          string `bun:"id,pk"`
	Provider    string `bun:"provider"`
	Label       string `bun:"label"`
	BaseURL     string `bun:"base_url"`
	Settings    string `bun:"settings"`
	Models      string `bun:"models"`
	Priority    int    `bun:"priority"`
	Hint        string `bun:"hint"`
	Revision    int    `bun:"revision"`
	Sealed      string `bun:"sealed"`
	Disabled    bool   `bun:"disabled"`
	Verdict     string `bun:"verdict"`
	StateReason string `bun:"state_reason"`
	StateAt     int64  `bun:"state_at"`
	Setbacks    int    `bun:"setbacks"`
	NextProbeAt int64  `bun:"next_probe_at"`
	CreatedAt   int64  `bun:"created_at"`
	CreatedBy   string `bun:"created_by"`
	UpdatedAt   int64  `bun:"updated_at"`
	UpdatedBy   string `bun:"updated_by"`
	Version     int64  `bun:"version"`
}

func (r credentialRow) domain() credential.Credential {
	return credential.Credential{
		OrgID: r.OrgID, ID: r.ID, Provider: r.Provider, Label: r.Label, BaseURL: r.BaseURL, Priority: r.Priority,
		Settings: fromJSON[keyform.Settings](r.Settings), Models: fromJSON[[]string](r.Models),
		Hint: r.Hint, Revision: r.Revision, Sealed: r.Sealed, Disabled: r.Disabled,
		Verdict: credential.State(r.Verdict), StateReason: r.StateReason, StateAt: fromMicros(r.StateAt),
		Setbacks: r.Setbacks, NextProbeAt: fromMicros(r.NextProbeAt),
		CreatedAt: fromMicros(r.CreatedAt), CreatedBy: r.CreatedBy, UpdatedAt: fromMicros(r.UpdatedAt), UpdatedBy: r.UpdatedBy,
		Version: r.Version,
	}
}

func toCredentialRow(c credential.Credential) *credentialRow {
	return &credentialRow{
		OrgID: c.OrgID, ID: c.ID, Provider: c.Provider, Label: c.Label, BaseURL: c.BaseURL, Priority: c.Priority,
		Settings: toJSON(c.Settings), Models: toJSON(c.Models),
		Hint: c.Hint, Revision: c.Revision, Sealed: c.Sealed, Disabled: c.Disabled,
		Verdict: string(c.Verdict), StateReason: c.StateReason, StateAt: micros(c.StateAt),
		Setbacks: c.Setbacks, NextProbeAt: micros(c.NextProbeAt),
		CreatedAt: micros(c.CreatedAt), CreatedBy: c.CreatedBy, UpdatedAt: micros(c.UpdatedAt), UpdatedBy: c.UpdatedBy,
		Version: c.Version,
	}
}

// toJSON writes what is only read as a whole; ” is nothing.
func toJSON(value any) string {
	raw, err := json.Marshal(value)
	if err != nil || string(raw) == "{}" || string(raw) == "null" {
		return "" // it is made of texts alone: there is no other error
	}
	return string(raw)
}

// fromJSON reads what toJSON has written. What somebody else has put there is nothing: a credential
// whose settings are lost does not open.
func fromJSON[T any](text string) T {
	var value T
	if text == "" || json.Unmarshal([]byte(text), &value) != nil {
		var none T
		return none
	}
	return value
}

var _ credential.Tx = (*Tx)(nil)

// Credential returns one credential.
func (t *Tx) Credential(ctx context.Context, credentialID string) (credential.Credential, error) {
	row := credentialRow{OrgID: t.orgID, ID: credentialID}
	err := t.tx.NewSelect().Model(&row).WherePK().Scan(ctx)
	return row.domain(), orMissing(err, credential.ErrNotFound, "read credential")
}

// Credentials lists up to limit credentials after an id.
func (t *Tx) Credentials(ctx context.Context, after string, limit int) ([]credential.Credential, error) {
	var rows []credentialRow
	err := t.tx.NewSelect().Model(&rows).Where("org_id = ? AND id > ?", t.orgID, after).Order("id").Limit(int64(limit)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("list credentials: %w", err)
	}
	return each(rows, credentialRow.domain), nil
}

// InsertCredential adds a credential.
func (t *Tx) InsertCredential(ctx context.Context, c credential.Credential) error {
	c.OrgID = t.orgID
	t.touch(t.orgID, c.ID)
	_, err := t.tx.NewInsert().Model(toCredentialRow(c)).Exec(ctx)
	return orTaken(err, credential.ErrExists, "insert credential")
}

// UpdateCredential stores all of c.
func (t *Tx) UpdateCredential(ctx context.Context, c credential.Credential) error {
	c.OrgID = t.orgID
	t.touch(t.orgID, c.ID)
	result, err := t.tx.NewUpdate().Model(toCredentialRow(c)).WherePK().Exec(ctx)
	if err != nil {
		return orTaken(err, credential.ErrExists, "update credential")
	}
	return orMissing(affected(result, nil), credential.ErrNotFound, "update credential")
}

// UpdateSchedule stores what routers need not know.
func (t *Tx) UpdateSchedule(ctx context.Context, c credential.Credential) error {
	c.OrgID = t.orgID
	err := affected(t.tx.NewUpdate().Model(toCredentialRow(c)).Column("state_reason", "state_at", "setbacks", "next_probe_at").WherePK().Exec(ctx))
	return orMissing(err, credential.ErrNotFound, "update credential")
}

// DeleteCredential removes a credential and its probes.
func (t *Tx) DeleteCredential(ctx context.Context, credentialID string) error {
	if _, err := t.tx.NewRaw("DELETE FROM probe WHERE org_id = ? AND credential_id = ?", t.orgID, credentialID).Exec(ctx); err != nil {
		return fmt.Errorf("delete probes: %w", err)
	}
	t.touch(t.orgID, credentialID)
	err := affected(t.tx.NewDelete().Model(&credentialRow{OrgID: t.orgID, ID: credentialID}).WherePK().Exec(ctx))
	return orMissing(err, credential.ErrNotFound, "delete credential")
}

// DueCredentials returns up to limit credentials whose next test is due.
func (s *Store) DueCredentials(ctx context.Context, limit int) ([]snapshot.Ref, error) {
	var due []snapshot.Ref
	err := s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var rows []credentialRow
		err := tx.NewSelect().Model(&rows).Column("org_id", "id").Where("next_probe_at > 0 AND next_probe_at <= ?", micros(s.now())).
			Order("next_probe_at").Limit(int64(limit)).Scan(ctx)
		due = each(rows, func(r credentialRow) snapshot.Ref { return snapshot.Ref{OrgID: r.OrgID, ID: r.ID} })
		return err
	})
	if err != nil {
		return nil, translate(fmt.Errorf("look for due tests: %w", err))
	}
	return due, nil
}

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
	Cut         bool   `bun:"cut"`
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

	Weight       int    `bun:"weight"`
	Scope        string `bun:"scope"`
	ExpiresAt    int64  `bun:"expires_at"`
	Expired      bool   `bun:"expired"`
	Doubt        string `bun:"doubt"`
	LastRevision int    `bun:"last_revision"`
	// Next is the second secret as JSON, but for its sealed text and its revision, which is 0 without one.
	Next         string `bun:"next"`
	NextSealed   string `bun:"next_sealed"`
	NextRevision int    `bun:"next_revision"`
	// Previous is what is known of the secret before, as JSON, and the version since which it is not in use.
	Previous        string `bun:"previous"`
	PreviousVersion int64  `bun:"previous_version"`
	DueAt           int64  `bun:"due_at"`
}

func (r credentialRow) domain() credential.Credential {
	c := credential.Credential{
		OrgID: r.OrgID, ID: r.ID, Provider: r.Provider, Label: r.Label, BaseURL: r.BaseURL, Priority: r.Priority,
		Settings: fromJSON[keyform.Settings](r.Settings), Models: fromJSON[[]string](r.Models),
		Hint: r.Hint, Revision: r.Revision, Sealed: r.Sealed, Disabled: r.Disabled, Cut: r.Cut,
		Verdict: credential.State(r.Verdict), StateReason: r.StateReason, StateAt: fromMicros(r.StateAt),
		Setbacks: r.Setbacks, NextProbeAt: fromMicros(r.NextProbeAt),
		CreatedAt: fromMicros(r.CreatedAt), CreatedBy: r.CreatedBy, UpdatedAt: fromMicros(r.UpdatedAt), UpdatedBy: r.UpdatedBy,
		Version: r.Version,
		Weight:  r.Weight, Scope: fromJSON[credential.Scope](r.Scope), ExpiresAt: fromMicros(r.ExpiresAt), Expired: r.Expired,
		Doubt: fromJSON[credential.Doubt](r.Doubt), LastRevision: r.LastRevision,
		Next: fromJSON[*credential.Staged](r.Next), Previous: fromJSON[*credential.Previous](r.Previous),
	}
	if c.Next != nil {
		c.Next.Sealed = r.NextSealed
	}
	if c.Previous != nil {
		c.Previous.Version = r.PreviousVersion
	}
	return c
}

func toCredentialRow(c credential.Credential) *credentialRow {
	row := &credentialRow{
		OrgID: c.OrgID, ID: c.ID, Provider: c.Provider, Label: c.Label, BaseURL: c.BaseURL, Priority: c.Priority,
		Settings: toJSON(c.Settings), Models: toJSON(c.Models),
		Hint: c.Hint, Revision: c.Revision, Sealed: c.Sealed, Disabled: c.Disabled, Cut: c.Cut,
		Verdict: string(c.Verdict), StateReason: c.StateReason, StateAt: micros(c.StateAt),
		Setbacks: c.Setbacks, NextProbeAt: micros(c.NextProbeAt),
		CreatedAt: micros(c.CreatedAt), CreatedBy: c.CreatedBy, UpdatedAt: micros(c.UpdatedAt), UpdatedBy: c.UpdatedBy,
		Version: c.Version,
		Weight:  c.Weight, Scope: toJSON(c.Scope), ExpiresAt: micros(c.ExpiresAt), Expired: c.Expired, Doubt: toJSON(c.Doubt), LastRevision: c.LastRevision,
		Next: toJSON(c.Next), Previous: toJSON(c.Previous), DueAt: micros(c.DueAt()),
	}
	if c.Next != nil {
		row.NextSealed, row.NextRevision = c.Next.Sealed, c.Next.Revision
	}
	if c.Previous != nil {
		row.PreviousVersion = c.Previous.Version
	}
	return row
}

// toJSON writes what is only read as a whole; ” is nothing.
func toJSON(value any) string {
	raw, err := json.Marshal(value)
	if err != nil || string(raw) == "{}" || string(raw) == "null" {
		return "" // it is made of texts, numbers and times: there is no other error
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
	if err := orMissing(affected(result, nil), credential.ErrNotFound, "update credential"); err != nil {
		return err
	}
	return t.forgetSecrets(ctx, c)
}

// UpdateSchedule stores what routers need not know.
func (t *Tx) UpdateSchedule(ctx context.Context, c credential.Credential) error {
	c.OrgID = t.orgID
	err := affected(t.tx.NewUpdate().Model(toCredentialRow(c)).Column("state_reason", "state_at", "setbacks", "next_probe_at", "doubt", "next", "due_at").WherePK().Exec(ctx))
	return orMissing(err, credential.ErrNotFound, "update credential")
}

// DeleteCredential removes a credential, its probes, uses and headroom; cut ends the answers that it gives.
func (t *Tx) DeleteCredential(ctx context.Context, credentialID string, cut bool) error {
	for _, table := range []bun.Ident{"probe", "secret_use", "headroom"} {
		if _, err := t.tx.NewRaw("DELETE FROM ? WHERE org_id = ? AND credential_id = ?", table, t.orgID, credentialID).Exec(ctx); err != nil {
			return fmt.Errorf("delete from %s: %w", table, err)
		}
	}
	t.touchCut(t.orgID, credentialID, cut)
	err := affected(t.tx.NewDelete().Model(&credentialRow{OrgID: t.orgID, ID: credentialID}).WherePK().Exec(ctx))
	return orMissing(err, credential.ErrNotFound, "delete credential")
}

// DueCredentials returns up to limit credentials whose next test is due, or whose time is up.
func (s *Store) DueCredentials(ctx context.Context, limit int) ([]snapshot.Ref, error) {
	var due []snapshot.Ref
	err := s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var rows []credentialRow
		err := tx.NewSelect().Model(&rows).Column("org_id", "id").
			Where("next_probe_at > 0 AND next_probe_at <= ?", micros(s.now())).
			WhereOr("due_at > 0 AND due_at <= ?", micros(s.now())).Limit(int64(limit)).Scan(ctx)
		due = each(rows, func(r credentialRow) snapshot.Ref { return snapshot.Ref{OrgID: r.OrgID, ID: r.ID} })
		return err
	})
	if err != nil {
		return nil, translate(fmt.Errorf("look for due tests: %w", err))
	}
	return due, nil
}

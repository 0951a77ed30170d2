package store

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/services/keys/internal/policy"
)

type policyRow struct {
	bun.BaseModel `bun:"table:policy"`

	OrgID     string  `bun:"org_id,pk"`
	ID        string  `bun:"id,pk"`
	Name      string  `bun:"name"`
	Version   int64   `bun:"version"`
	Targets   targets `bun:"targets,type:text"`
	CreatedAt int64   `bun:"created_at"`
	UpdatedAt int64   `bun:"updated_at"`
	UpdatedBy string  `bun:"updated_by"`
}

func (r policyRow) domain() policy.Policy {
	return policy.Policy{
		OrgID: r.OrgID, ID: r.ID, Name: r.Name, Version: r.Version, Targets: r.Targets,
		CreatedAt: fromMicros(r.CreatedAt), UpdatedAt: fromMicros(r.UpdatedAt), UpdatedBy: r.UpdatedBy,
	}
}

func toPolicyRow(p policy.Policy) *policyRow {
	return &policyRow{
		OrgID: p.OrgID, ID: p.ID, Name: p.Name, Version: p.Version, Targets: p.Targets,
		CreatedAt: micros(p.CreatedAt), UpdatedAt: micros(p.UpdatedAt), UpdatedBy: p.UpdatedBy,
	}
}

// targets is a list in a column, as JSON text.
type targets []policy.Target

// Value encodes.
func (t targets) Value() (driver.Value, error) {
	text, err := json.Marshal([]policy.Target(t))
	return string(text), err
}

// Scan decodes.
func (t *targets) Scan(src any) error {
	switch text := src.(type) {
	case string:
		return json.Unmarshal([]byte(text), (*[]policy.Target)(t))
	case []byte:
		return json.Unmarshal(text, (*[]policy.Target)(t))
	}
	return fmt.Errorf("targets: cannot read a %T", src)
}

var _ policy.Tx = (*Tx)(nil)

// Policy returns one policy.
func (t *Tx) Policy(ctx context.Context, policyID string) (policy.Policy, error) {
	row := policyRow{OrgID: t.orgID, ID: policyID}
	err := t.tx.NewSelect().Model(&row).WherePK().Scan(ctx)
	return row.domain(), orMissing(err, policy.ErrNotFound, "read policy")
}

// Policies lists up to limit policies after an id.
func (t *Tx) Policies(ctx context.Context, after string, limit int) ([]policy.Policy, error) {
	var rows []policyRow
	err := t.tx.NewSelect().Model(&rows).Where("org_id = ? AND id > ?", t.orgID, after).Order("id").Limit(int64(limit)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("list policies: %w", err)
	}
	return each(rows, policyRow.domain), nil
}

// InsertPolicy adds a policy.
func (t *Tx) InsertPolicy(ctx context.Context, p policy.Policy) error {
	p.OrgID = t.orgID
	t.touch(t.orgID, p.ID)
	_, err := t.tx.NewInsert().Model(toPolicyRow(p)).Exec(ctx)
	return orTaken(err, policy.ErrExists, "insert policy")
}

// UpdatePolicy stores all of p.
func (t *Tx) UpdatePolicy(ctx context.Context, p policy.Policy) error {
	p.OrgID = t.orgID
	t.touch(t.orgID, p.ID)
	return orMissing(affected(t.tx.NewUpdate().Model(toPolicyRow(p)).WherePK().Exec(ctx)), policy.ErrNotFound, "update policy")
}

// DeletePolicy removes a policy.
func (t *Tx) DeletePolicy(ctx context.Context, policyID string) error {
	t.touch(t.orgID, policyID)
	err := affected(t.tx.NewDelete().Model(&policyRow{OrgID: t.orgID, ID: policyID}).WherePK().Exec(ctx))
	return orMissing(err, policy.ErrNotFound, "delete policy")
}

// KeysWithDefault names API keys that can still be used and have the policy as their default.
func (t *Tx) KeysWithDefault(ctx context.Context, policyID string, at time.Time, limit int) ([]string, error) {
	var names []string
	err := t.tx.NewSelect().Model((*apiKeyRow)(nil)).Column("name").
		Where("org_id = ? AND policy_id = ? AND revoked_at = 0 AND (expires_at = 0 OR expires_at > ?)", t.orgID, policyID, micros(at)).
		Order("id").Limit(int64(limit)).Scan(ctx, &names)
	if err != nil {
		return nil, fmt.Errorf("look for keys of a policy: %w", err)
	}
	return names, nil
}

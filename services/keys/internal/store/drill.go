package store

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/services/keys/internal/drill"
	"github.com/claviger/claviger/services/keys/internal/snapshot"
)

type drillRow struct {
	bun.BaseModel `bun:"table:drill"`

	OrgID        string `bun:"org_id,pk"`
	ID           string `bun:"id,pk"`
	CredentialID string `bun:"credential_id"`
	APIKeyID     string `bun:"api_key_id"`
	Fault        string `bun:"fault"`
	StartedAt    int64  `bun:"started_at"`
	EndsAt       int64  `bun:"ends_at"`
	StartedBy    string `bun:"started_by"`
	Running      bool   `bun:"running"`
}

func (r drillRow) domain() drill.Drill {
	return drill.Drill{
		OrgID: r.OrgID, ID: r.ID, CredentialID: r.CredentialID, APIKeyID: r.APIKeyID, Fault: drill.Fault(r.Fault),
		StartedAt: fromMicros(r.StartedAt), EndsAt: fromMicros(r.EndsAt), StartedBy: r.StartedBy, Running: r.Running,
	}
}

func toDrillRow(d drill.Drill) *drillRow {
	return &drillRow{
		OrgID: d.OrgID, ID: d.ID, CredentialID: d.CredentialID, APIKeyID: d.APIKeyID, Fault: string(d.Fault),
		StartedAt: micros(d.StartedAt), EndsAt: micros(d.EndsAt), StartedBy: d.StartedBy, Running: d.Running,
	}
}

type drillReportRow struct {
	bun.BaseModel `bun:"table:drill_report"`

	OrgID       string `bun:"org_id,pk"`
	DrillID     string `bun:"drill_id,pk"`
	Router      string `bun:"router,pk"`
	Epoch       string `bun:"epoch,pk"`
	Requests    int64  `bun:"requests"`
	FailedCalls int64  `bun:"failed_calls"`
	Unserved    int64  `bun:"unserved"`
	Served      string `bun:"served"`
}

func (r drillReportRow) report() drill.Report {
	return drill.Report{Requests: r.Requests, FailedCalls: r.FailedCalls, Unserved: r.Unserved, Served: fromJSON[[]drill.Served](r.Served)}
}

func (r drillRow) ref() snapshot.Ref { return snapshot.Ref{OrgID: r.OrgID, ID: r.ID} }

func (drillRow) orgColumn() bun.Ident { return "org_id" }

var _ drill.Tx = (*Tx)(nil)

// Drill returns one drill with its report.
func (t *Tx) Drill(ctx context.Context, drillID string) (drill.Drill, error) {
	row := drillRow{OrgID: t.orgID, ID: drillID}
	if err := t.tx.NewSelect().Model(&row).WherePK().Scan(ctx); err != nil {
		return drill.Drill{}, orMissing(err, drill.ErrNotFound, "read drill")
	}
	drills := []drill.Drill{row.domain()}
	err := t.reports(ctx, drills)
	return drills[0], err
}

// Drills lists up to limit drills with their reports, newest first, from before one unless that is empty.
func (t *Tx) Drills(ctx context.Context, before string, limit int) ([]drill.Drill, error) {
	var rows []drillRow
	query := t.tx.NewSelect().Model(&rows).Where("org_id = ?", t.orgID).Order("id DESC").Limit(int64(limit))
	if before != "" {
		query = query.Where("id < ?", before)
	}
	if err := query.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list drills: %w", err)
	}
	drills := each(rows, drillRow.domain)
	return drills, t.reports(ctx, drills)
}

// reports adds up what routers told.
func (t *Tx) reports(ctx context.Context, drills []drill.Drill) error {
	if len(drills) == 0 {
		return nil
	}
	index := map[string]*drill.Drill{}
	ids := make([]string, len(drills))
	for i := range drills {
		ids[i], index[drills[i].ID] = drills[i].ID, &drills[i]
	}
	var rows []drillReportRow
	err := t.tx.NewSelect().Model(&rows).Where("org_id = ? AND drill_id IN (?)", t.orgID, bun.List(ids)).Order("drill_id", "router", "epoch").Scan(ctx)
	if err != nil {
		return fmt.Errorf("read reports of drills: %w", err)
	}
	for _, r := range rows {
		index[r.DrillID].Report.Add(r.report())
	}
	return nil
}

// InsertDrill adds a drill.
func (t *Tx) InsertDrill(ctx context.Context, d drill.Drill) error {
	d.OrgID = t.orgID
	t.touch(t.orgID, d.ID)
	_, err := t.tx.NewInsert().Model(toDrillRow(d)).Exec(ctx)
	return orTaken(err, drill.ErrRunning, "insert drill")
}

// oldDrills are those that are over, but for the newest of all.
const oldDrills = `
	SELECT id FROM drill WHERE org_id = ? AND NOT running
		AND id <= (SELECT id FROM drill WHERE org_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?)
	ORDER BY id LIMIT 1000`

// ForgetDrills removes drills that are over, and their reports, but for the newest of all: the oldest thousand.
func (t *Tx) ForgetDrills(ctx context.Context, keep int) error {
	var old []string
	if err := t.tx.NewRaw(oldDrills, t.orgID, t.orgID, keep).Scan(ctx, &old); err != nil {
		return fmt.Errorf("look for old drills: %w", err)
	}
	if len(old) == 0 {
		return nil
	}
	for _, q := range []string{"DELETE FROM drill_report WHERE org_id = ? AND drill_id IN (?)", "DELETE FROM drill WHERE org_id = ? AND id IN (?)"} {
		if _, err := t.tx.NewRaw(q, t.orgID, bun.List(old)).Exec(ctx); err != nil {
			return fmt.Errorf("forget old drills: %w", err)
		}
	}
	return nil
}

// EndDrill tells routers no more of a drill that has ended at a time.
func (t *Tx) EndDrill(ctx context.Context, drillID string, at time.Time) error {
	t.touch(t.orgID, drillID)
	err := affected(t.tx.NewRaw("UPDATE drill SET running = ?, ends_at = ? WHERE org_id = ? AND id = ?", false, micros(at), t.orgID, drillID).Exec(ctx))
	return orMissing(err, drill.ErrNotFound, "end drill")
}

// EndDrills tells routers no more of the drills whose time is over, and returns how many still run.
func (t *Tx) EndDrills(ctx context.Context, now time.Time) (running int, err error) {
	var over []string
	err = t.tx.NewRaw("UPDATE drill SET running = ? WHERE org_id = ? AND running AND ends_at <= ? RETURNING id", false, t.orgID, micros(now)).Scan(ctx, &over)
	if err != nil {
		return 0, fmt.Errorf("end drills: %w", err)
	}
	for _, id := range over {
		t.touch(t.orgID, id)
	}
	n, err := t.tx.NewSelect().Model((*drillRow)(nil)).Where("org_id = ? AND running", t.orgID).Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("count drills: %w", err)
	}
	return int(n), nil
}

// OverdueDrills returns the organizations with drills whose time is over and of which routers are told.
func (s *Store) OverdueDrills(ctx context.Context, limit int) (orgIDs []string, err error) {
	err = s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		return tx.NewRaw("SELECT DISTINCT org_id FROM drill WHERE running AND ends_at <= ? LIMIT ?", micros(s.now()), limit).Scan(ctx, &orgIDs)
	})
	if err != nil {
		return nil, translate(fmt.Errorf("look for drills that are over: %w", err))
	}
	return orgIDs, nil
}

// SaveDrillProgress keeps what routers told of drills of an organization, in place of what the same runs of
// the same routers told before. What is of no drill, or of one that ended long ago, is passed over. Counts
// never go down, so that two reports may overtake each other.
func (s *Store) SaveDrillProgress(ctx context.Context, orgID string, told []drill.Progress) error {
	ids := make([]string, len(told))
	for i, p := range told {
		ids[i] = p.DrillID
	}
	err := s.db.InOrgTx(ctx, orgID, func(ctx context.Context, tx bun.Tx) error {
		var open []string
		err := tx.NewSelect().Model((*drillRow)(nil)).Column("id").Where("org_id = ? AND ends_at > ?", orgID, micros(s.now().Add(-drill.Lateness))).
			Where("id IN (?)", bun.List(ids)).Scan(ctx, &open)
		if err != nil {
			return err
		}
		known := map[string]bool{}
		for _, id := range open {
			known[id] = true
		}
		for _, p := range told {
			if !known[p.DrillID] {
				continue
			}
			row := drillReportRow{
				OrgID: orgID, DrillID: p.DrillID, Router: p.Router, Epoch: p.Epoch, Requests: p.Report.Requests,
				FailedCalls: p.Report.FailedCalls, Unserved: p.Report.Unserved, Served: toJSON(p.Report.Served),
			}
			_, err := tx.NewInsert().Model(&row).On("CONFLICT (org_id, drill_id, router, epoch) DO UPDATE").
				Set("requests = EXCLUDED.requests").Set("failed_calls = EXCLUDED.failed_calls").Set("unserved = EXCLUDED.unserved").Set("served = EXCLUDED.served").
				Where("?TableAlias.requests <= EXCLUDED.requests AND ?TableAlias.failed_calls <= EXCLUDED.failed_calls").Exec(ctx)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return translate(fmt.Errorf("store progress of drills: %w", err))
	}
	return nil
}

// runningDrills reads those of which routers are told, of all organizations. There are few: none lasts.
func runningDrills(ctx context.Context, tx bun.Tx) (snapshot.Objects, error) {
	var rows []drillRow
	if err := tx.NewSelect().Model(&rows).Where("running").Order("org_id", "id").Scan(ctx); err != nil {
		return snapshot.Objects{}, fmt.Errorf("read drills: %w", err)
	}
	return snapshot.Objects{Drills: each(rows, drillRow.domain)}, nil
}

package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/services/keys/internal/audit"
)

type auditRow struct {
	bun.BaseModel `bun:"table:audit_event"`

	OrgID     string `bun:"org_id,pk"`
	Sequence  int64  `bun:"sequence,pk"`
	ID        string `bun:"id"`
	At        int64  `bun:"at"`
	Actor     string `bun:"actor"`
	Action    string `bun:"action"`
	Target    string `bun:"target"`
	RequestID string `bun:"request_id"`
	Detail    string `bun:"detail"`
	PrevHash  string `bun:"prev_hash"`
	Hash      string `bun:"hash"`
}

// head is the end of an organization's chain.
type head struct {
	sequence int64
	hash     string
	moved    bool
}

var _ audit.Recorder = (*Tx)(nil)

// Record appends an event to the organization's chain.
func (t *Tx) Record(ctx context.Context, action, target string, detail audit.Detail) error {
	return t.record(ctx, t.orgID, &t.head, action, target, detail)
}

func (t *Tx) record(ctx context.Context, orgID string, h *head, action, target string, detail audit.Detail) error {
	text := []byte("{}")
	if len(detail) > 0 {
		var err error
		if text, err = json.Marshal(detail); err != nil {
			return fmt.Errorf("encode audit detail: %w", err)
		}
	}
	e := audit.Event{
		OrgID: orgID, ID: id.New("aud"), Sequence: h.sequence + 1, Time: t.now, Actor: t.cmd.Actor, Action: action,
		Target: target, RequestID: t.cmd.RequestID, Detail: string(text), PrevHash: h.hash,
	}
	e.Hash = audit.Sum(e)
	row := auditRow{
		OrgID: e.OrgID, Sequence: e.Sequence, ID: e.ID, At: micros(e.Time), Actor: e.Actor, Action: e.Action,
		Target: e.Target, RequestID: e.RequestID, Detail: e.Detail, PrevHash: e.PrevHash, Hash: e.Hash,
	}
	if _, err := t.tx.NewInsert().Model(&row).Exec(ctx); err != nil {
		return fmt.Errorf("insert audit event: %w", err)
	}
	h.sequence, h.hash, h.moved = e.Sequence, e.Hash, true
	return nil
}

func (t *Tx) storeHead(ctx context.Context) error {
	if !t.head.moved {
		return nil
	}
	_, err := t.tx.NewRaw("UPDATE audit_head SET sequence = ?, hash = ? WHERE org_id = ?", t.head.sequence, t.head.hash, t.orgID).Exec(ctx)
	if err != nil {
		return fmt.Errorf("store audit head: %w", err)
	}
	return nil
}

var _ audit.Chain = (*Tx)(nil)

// AuditHead returns the number and hash of the last event.
func (t *Tx) AuditHead(ctx context.Context) (sequence int64, hash string, err error) {
	err = t.tx.NewRaw("SELECT sequence, hash FROM audit_head WHERE org_id = ?", t.orgID).Scan(ctx, &sequence, &hash)
	if err != nil {
		return 0, "", fmt.Errorf("read audit head: %w", err)
	}
	return sequence, hash, nil
}

// AuditEvents returns up to limit events after sequence, in order.
func (t *Tx) AuditEvents(ctx context.Context, after int64, limit int) ([]audit.Event, error) {
	var rows []auditRow
	err := t.tx.NewSelect().Model(&rows).Where("org_id = ? AND sequence > ?", t.orgID, after).Order("sequence").Limit(int64(limit)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read audit events: %w", err)
	}
	events := make([]audit.Event, len(rows))
	for i, r := range rows {
		events[i] = audit.Event{
			OrgID: r.OrgID, ID: r.ID, Sequence: r.Sequence, Time: fromMicros(r.At), Actor: r.Actor, Action: r.Action,
			Target: r.Target, RequestID: r.RequestID, Detail: r.Detail, PrevHash: r.PrevHash, Hash: r.Hash,
		}
	}
	return events, nil
}

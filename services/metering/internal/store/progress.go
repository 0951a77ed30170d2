package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/services/metering/internal/spool"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

func isNoRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }

// Position returns how far the stream is applied; false is nothing yet.
func (s *Store) Position(ctx context.Context) (usage.Position, bool, error) {
	var row positionRow
	err := s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		row = positionRow{}
		return tx.NewSelect().Model(&row).Where("stream = ?", streamName).Scan(ctx)
	})
	if isNoRows(err) {
		return usage.Position{}, false, nil
	}
	if err != nil {
		return usage.Position{}, false, fmt.Errorf("read stream position: %w", err)
	}
	return usage.Position{StreamCreated: fromMicros(row.CreatedAt), Sequence: uint64(row.Sequence)}, true, nil
}

// Marks returns all watermarks.
func (s *Store) Marks(ctx context.Context) (map[spool.Key]spool.Mark, error) {
	marks := map[spool.Key]spool.Mark{}
	err := s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		clear(marks)
		var rows []markRow
		if err := tx.NewSelect().Model(&rows).Scan(ctx); err != nil {
			return err
		}
		for i := range rows {
			mark, err := rows[i].mark()
			if err != nil {
				return err
			}
			marks[rows[i].key()] = mark
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read watermarks: %w", err)
	}
	return marks, nil
}

// routerRow is a row of spool_router.
type routerRow struct {
	bun.BaseModel `bun:"table:spool_router"`

	Router     string `bun:"router,pk"`
	HeadAt     int64  `bun:"head_at"`
	Heads      string `bun:"heads"`
	HeardAt    int64  `bun:"heard_at"`
	CompleteAt int64  `bun:"complete_at"`
	Closing    bool   `bun:"closing"`
	Gone       bool   `bun:"gone"`
}

// headJSON is one sequence of a heartbeat, as it is stored.
type headJSON struct {
	Epoch     string `json:"epoch"`
	Partition int    `json:"partition"`
	Sequence  int64  `json:"sequence"`
}

// SaveRouters stores what is known of routers.
func (s *Store) SaveRouters(ctx context.Context, routers []spool.Router) error {
	if len(routers) == 0 {
		return nil
	}
	rows := make([]*routerRow, len(routers))
	for i, r := range routers {
		heads := make([]headJSON, 0, len(r.Head.Sequences))
		for key, sequence := range r.Head.Sequences {
			heads = append(heads, headJSON{Epoch: key.Epoch, Partition: key.Partition, Sequence: sequence})
		}
		rows[i] = &routerRow{
			Router: r.Name, HeadAt: micros(r.Head.Time), Heads: toJSON(heads), HeardAt: micros(r.HeardAt),
			CompleteAt: micros(r.CompleteAt), Closing: r.Head.Closing, Gone: r.Gone,
		}
	}
	err := s.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		for part := range slices.Chunk(rows, chunk) {
			_, err := tx.NewInsert().Model(&part).On("CONFLICT (router) DO UPDATE").
				Set("head_at = EXCLUDED.head_at, heads = EXCLUDED.heads, heard_at = EXCLUDED.heard_at").
				Set("complete_at = EXCLUDED.complete_at, closing = EXCLUDED.closing, gone = EXCLUDED.gone").Exec(ctx)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("save routers: %w", err)
	}
	return nil
}

// Routers returns what is known of all routers.
func (s *Store) Routers(ctx context.Context) ([]spool.Router, error) {
	var rows []routerRow
	err := s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		rows = nil
		return tx.NewSelect().Model(&rows).OrderExpr("router").Scan(ctx)
	})
	if err != nil {
		return nil, fmt.Errorf("read routers: %w", err)
	}
	routers := make([]spool.Router, len(rows))
	for i, r := range rows {
		var heads []headJSON
		if err := json.Unmarshal([]byte(r.Heads), &heads); err != nil {
			return nil, fmt.Errorf("decode heads of a router: %w", err)
		}
		sequences := make(map[spool.Key]int64, len(heads))
		for _, h := range heads {
			sequences[spool.Key{Router: r.Router, Epoch: h.Epoch, Partition: h.Partition}] = h.Sequence
		}
		routers[i] = spool.Router{
			Name:    r.Router,
			Head:    spool.Head{Router: r.Router, Time: fromMicros(r.HeadAt), Sequences: sequences, Closing: r.Closing},
			HeardAt: fromMicros(r.HeardAt), CompleteAt: fromMicros(r.CompleteAt), Gone: r.Gone,
		}
	}
	return routers, nil
}

// Waiting returns events that wait for configuration, the oldest first.
func (s *Store) Waiting(ctx context.Context, limit int) ([]usage.Waiting, error) {
	var rows []waitingRow
	err := s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		rows = nil
		return tx.NewSelect().Model(&rows).OrderExpr("since, org_id, attempt_id, revision").Limit(int64(limit)).Scan(ctx)
	})
	if err != nil {
		return nil, fmt.Errorf("read waiting events: %w", err)
	}
	waiting := make([]usage.Waiting, len(rows))
	for i, r := range rows {
		waiting[i] = usage.Waiting{
			WaitingKey: usage.WaitingKey{OrgID: r.OrgID, AttemptID: r.AttemptID, Revision: r.Revision},
			Origin: usage.Origin{
				Key: spool.Key{Router: r.Router, Epoch: r.Epoch, Partition: r.PartitionID}, Sequence: r.Sequence,
			},
			Entry: r.Entry, Since: fromMicros(r.Since),
		}
	}
	return waiting, nil
}

const (
	// keepProgress is how long progress is kept: longer than an event may be late.
	keepProgress = 40 * 24 * time.Hour
	// keepQuarantine leaves time to find out what went wrong.
	keepQuarantine = 400 * 24 * time.Hour
)

// Clean removes progress and quarantine that nobody can need any more. Usage is never removed.
func (s *Store) Clean(ctx context.Context, now time.Time) error {
	routers, err := s.Routers(ctx)
	if err != nil {
		return err
	}
	listed := map[spool.Key]bool{}
	for _, r := range routers {
		for key := range r.Head.Sequences {
			listed[key] = true
		}
	}
	old := micros(now.Add(-keepProgress))
	err = s.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		var marks []markRow
		if err := tx.NewSelect().Model(&marks).Column("router", "epoch", "partition_id").Where("updated_at < ?", old).Scan(ctx); err != nil {
			return err
		}
		for i := range marks {
			// A router that is quiet still lists its sequences; without the mark they would look lost.
			if listed[marks[i].key()] {
				continue
			}
			if _, err := tx.NewDelete().Model(&marks[i]).WherePK().Exec(ctx); err != nil {
				return err
			}
		}
		for _, d := range []struct {
			statement string
			before    int64
		}{
			{"DELETE FROM spool_router WHERE heard_at < ?", old},
			{"DELETE FROM idempotency WHERE created_at < ?", old},
			{"DELETE FROM usage_quarantine WHERE received_at < ?", micros(now.Add(-keepQuarantine))},
		} {
			if _, err := tx.ExecContext(ctx, d.statement, d.before); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	return nil
}

// Quarantine returns what is quarantined, the newest first.
func (s *Store) Quarantine(ctx context.Context, limit int) ([]usage.Quarantined, error) {
	var rows []quarantineRow
	err := s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		rows = nil
		return tx.NewSelect().Model(&rows).OrderExpr("received_at DESC, id").Limit(int64(limit)).Scan(ctx)
	})
	if err != nil {
		return nil, fmt.Errorf("read quarantine: %w", err)
	}
	out := make([]usage.Quarantined, len(rows))
	for i, r := range rows {
		out[i] = usage.Quarantined{
			ID: r.ID, Reason: usage.Reason(r.Reason), Detail: r.Detail, Subject: r.Subject, Payload: r.Payload,
			Entry: r.IsEntry, OrgID: r.OrgID, AttemptID: r.AttemptID,
			Origin: usage.Origin{Key: spool.Key{Router: r.Router, Epoch: r.Epoch, Partition: r.PartitionID}, Sequence: r.Sequence},
		}
	}
	return out, nil
}

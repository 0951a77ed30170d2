package store

import (
	"context"
	"reflect"
	"strings"
	"testing/fstest"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// Plans returns how the database would answer the queries that people make.
func (s *Store) Plans(ctx context.Context, q usage.Query, l usage.List, requestID string) (map[string]string, error) {
	plans := map[string]string{}
	err := s.db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		page, total := pageQuery(s.db.Engine(), &q, sumNames), totalQuery(s.db.Engine(), &q, sumNames)
		own := l
		own.MemberID = "mem_1"
		var rows []eventRow
		filtered, whole := l, span{start: micros(l.Start), end: micros(l.End)}
		filtered.Filters, filtered.ErrorsOnly = q.Filters, true
		quarters, days := bucketsQuery(&filtered, rollupTable, quarter, []span{whole, whole}, 10), bucketsQuery(&filtered, dayTable, day, []span{whole}, 10)
		months := q
		months.Start, months.Bucket = q.Start.Add(-30*24*time.Hour), usage.PerDay
		perDay := pageQuery(s.db.Engine(), &months, sumNames)
		rare := rareQuery(&months)
		uses := usage.Uses{OrgID: l.OrgID, Dimension: usage.ByAPIKey, IDs: []string{"key_1", "key_2"}}
		for name, query := range map[string]string{
			"rows":     tx.NewRaw(page.String(), page.args...).String(),
			"total":    tx.NewRaw(total.String(), total.args...).String(),
			"list":     listQuery(tx, &rows, &l, whole).String(),
			"own":      listQuery(tx, &rows, &own, whole).String(),
			"quarters": tx.NewRaw(quarters.String(), quarters.args...).String(),
			"days":     tx.NewRaw(days.String(), days.args...).String(),
			"rare":     tx.NewRaw(rare.String(), rare.args...).String(),
			"months":   tx.NewRaw(perDay.String(), perDay.args...).String(),
			"spans":    spansQuery(tx, &filtered, []span{{start: whole.end - 2e9, end: whole.end - 1e9}, {start: whole.start, end: whole.start + 1e9}}),
			"counted":  countedQuery(tx, &rows, l.OrgID, 100, 200, 10).String(),
			"uses":     usesQuery(tx, new([]useRow), &uses).String(),
			"request":  requestQuery(tx, &rows, l.OrgID, requestID).String(),
		} {
			plan, err := explain(ctx, tx, s.db.Engine(), query)
			if err != nil {
				return err
			}
			plans[name] = plan
		}
		return nil
	})
	return plans, err
}

func explain(ctx context.Context, tx bun.Tx, engine sqldb.Engine, query string) (string, error) {
	prefix := "EXPLAIN QUERY PLAN "
	if engine == sqldb.Postgres {
		prefix = "EXPLAIN "
	}
	rows, err := tx.QueryContext(ctx, prefix+strings.ReplaceAll(query, "?", "\\?"))
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return "", err
	}
	var plan strings.Builder
	for rows.Next() {
		dest := make([]any, len(columns))
		var text string
		for i := range dest {
			dest[i] = new(any)
		}
		dest[len(dest)-1] = &text
		if err := rows.Scan(dest...); err != nil {
			return "", err
		}
		plan.WriteString(text + "\n")
	}
	return plan.String(), rows.Err()
}

// Multiply adds n copies of every event and of the sums per quarter of an hour, each 30 hours before the one before it.
func (s *Store) Multiply(ctx context.Context, n int) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		for table, row := range map[string]reflect.Type{"usage_event": reflect.TypeFor[eventRow](), "usage_rollup": reflect.TypeFor[rollupRow]()} {
			var columns, values []string
			for _, f := range tx.Dialect().Tables().Get(row).Fields {
				columns = append(columns, f.Name)
				switch f.Name {
				case "attempt_id", "request_id":
					values = append(values, f.Name+" || '_' || i")
				case "ended_at", "bucket":
					values = append(values, f.Name+" - i * 108000000000")
				default:
					values = append(values, f.Name)
				}
			}
			_, err := tx.ExecContext(ctx, "INSERT INTO "+table+" ("+strings.Join(columns, ", ")+
				") WITH RECURSIVE copy(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM copy WHERE i < ?) SELECT "+
				strings.Join(values, ", ")+" FROM "+table+" CROSS JOIN copy", n)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Exec runs a statement.
func (s *Store) Exec(ctx context.Context, statement string) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.ExecContext(ctx, statement)
		return err
	})
}

// ApplyUnlocked counts a batch as Apply does, without the lock that makes all transactions wait for each
// other: what holds then rests on the rows that it locks.
func (s *Store) ApplyUnlocked(ctx context.Context, b usage.Batch) (usage.Applied, error) {
	var out usage.Applied
	err := s.db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		out = usage.Applied{}
		return s.count(ctx, tx, b, &out)
	})
	return out, err
}

// MigrateFirst makes the schema that the first version had.
func MigrateFirst(ctx context.Context, db *sqldb.DB) error {
	first, err := migrations.ReadFile("migrations/00001_usage.sql")
	if err != nil {
		return err
	}
	return db.Migrate(ctx, fstest.MapFS{"00001_usage.sql": {Data: first}})
}

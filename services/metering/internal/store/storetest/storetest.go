// Package storetest looks after databases of tests and measurements, where the store's own methods do not.
package storetest

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/pkg/sqldb"
)

// Analyze tells the planner what is in the tables, as the server does by itself a minute later.
func Analyze(ctx context.Context, db *sqldb.DB) error {
	err := db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.ExecContext(ctx, "ANALYZE")
		return err
	})
	if err != nil {
		return fmt.Errorf("analyze: %w", err)
	}
	return nil
}

// Count returns how many rows a table has.
func Count(ctx context.Context, db *sqldb.DB, table string) (n int64, err error) {
	err = db.InReadTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		return tx.NewSelect().TableExpr("?", bun.Ident(table)).ColumnExpr("COUNT(*)").Scan(ctx, &n)
	})
	return n, err
}

// week is seven days, in microseconds.
const week = 7 * 24 * 60 * 60 * 1_000_000

// Repeat puts copies of all events and of their sums into the weeks before theirs, as if the same had been
// done each week: events have ids of their own, and no number, like those counted before there were any.
// It is ten times as fast as applying them, and leaves sums that Verify finds right.
func Repeat(ctx context.Context, db *sqldb.DB, weeks int) error {
	shifted := func(column string) string { return fmt.Sprintf("%s - i * %d", column, week) }
	// Ids end in the number of the copy.
	renamed := func(column string) string {
		return fmt.Sprintf("SUBSTR(%s, 1, 28) || SUBSTR('abcdefghjkmnpqrstvwxyz', CAST(i AS INTEGER), 1) || SUBSTR(%[1]s, 30, 1)", column)
	}
	changes := map[string]string{
		"attempt_id": renamed("attempt_id"), "request_id": renamed("request_id"), "day": "day - 7 * i", "counted": "0",
		"started_at": shifted("started_at"), "ended_at": shifted("ended_at"), "applied_at": shifted("applied_at"), "bucket": shifted("bucket"),
	}
	err := db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
		for _, table := range []string{"usage_event", "usage_rollup", "usage_day"} {
			columns, err := columnsOf(ctx, tx, table)
			if err != nil {
				return err
			}
			values := make([]string, len(columns))
			for i, c := range columns {
				values[i] = cmp.Or(changes[c], c)
			}
			_, err = tx.ExecContext(ctx, "INSERT INTO "+table+" ("+strings.Join(columns, ", ")+
				") WITH RECURSIVE copy(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM copy WHERE i < ?) SELECT "+
				strings.Join(values, ", ")+" FROM copy CROSS JOIN "+table, weeks)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("repeat usage: %w", err)
	}
	return nil
}

func columnsOf(ctx context.Context, tx bun.Tx, table string) ([]string, error) {
	rows, err := tx.QueryContext(ctx, "SELECT * FROM "+table+" LIMIT 0")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	return columns, rows.Err()
}

// Package storetest looks after databases of tests and measurements, where the store's own methods do not.
package storetest

import (
	"context"
	"fmt"

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

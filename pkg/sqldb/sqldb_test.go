package sqldb_test

import (
	"context"
	"errors"
	"testing"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/pkg/sqldb/sqltest"
)

func exec(t *testing.T, db *sqldb.DB, statement string, args ...any) {
	t.Helper()
	err := db.InTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.ExecContext(ctx, statement, args...)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func count(t *testing.T, db *sqldb.DB, query string) (n int) {
	t.Helper()
	err := db.InReadTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		return tx.QueryRowContext(ctx, query).Scan(&n)
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func TestFailedTransactionLeavesNothing(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		db := open(t)
		exec(t, db, "CREATE TABLE thing (id TEXT PRIMARY KEY)")
		boom := errors.New("boom")
		err := db.InTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
			if _, err := tx.ExecContext(ctx, "INSERT INTO thing VALUES ('a')"); err != nil {
				return err
			}
			return boom
		})
		if !errors.Is(err, boom) {
			t.Fatalf("InTx = %v, want %v", err, boom)
		}
		if got := count(t, db, "SELECT count(*) FROM thing"); got != 0 {
			t.Fatalf("rows after a failed transaction = %d, want 0", got)
		}
	})
}

package sqldb_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"golang.org/x/sync/errgroup"

	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	"github.com/claviger/claviger/pkg/telemetry"
)

func TestFailedTransactionLeavesNothing(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		db := open(t)
		exec(t, db, "CREATE TABLE thing (id TEXT PRIMARY KEY)")
		boom := errors.New("boom")
		insert := func(ctx context.Context, tx bun.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO thing VALUES ('a')")
			return errors.Join(err, boom)
		}
		if err := db.InTx(t.Context(), insert); !errors.Is(err, boom) {
			t.Fatalf("InTx = %v, want %v", err, boom)
		}
		func() {
			defer func() { _ = recover() }()
			_ = db.InTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
				_ = insert(ctx, tx)
				panic("boom")
			})
		}()
		if got := scan[int](t, db, "SELECT count(*) FROM thing"); got != 0 {
			t.Fatalf("rows after failed transactions = %d, want 0", got)
		}
		exec(t, db, "INSERT INTO thing VALUES ('a')") // the connection is free again
	})
}

func TestCanceledTransactionLeavesNothingAndIsNotAnOutage(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		db := open(t)
		exec(t, db, "CREATE TABLE thing (id TEXT PRIMARY KEY)")
		ctx, cancel := context.WithCancel(t.Context())
		err := db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO thing VALUES ('a')")
			cancel()
			return err
		})
		if !errors.Is(err, context.Canceled) || sqldb.Unavailable(err) {
			t.Fatalf("InTx = %v (unavailable %v), want canceled", err, sqldb.Unavailable(err))
		}
		if got := scan[int](t, db, "SELECT count(*) FROM thing"); got != 0 {
			t.Fatalf("rows = %d, want 0", got)
		}
	})
}

func TestConcurrentChangesAreAllCounted(t *testing.T) {
	t.Parallel()
	const workers, rounds = 8, 25
	for name, url := range map[string]func(testing.TB) string{"sqlite": sqltest.SQLite, "postgres": sqltest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Two handles, as two processes would have: on SQLite they meet at the file's lock.
			at := url(t)
			handles := []*sqldb.DB{sqltest.Open(t, at), sqltest.Open(t, at)}
			exec(t, handles[0], "CREATE TABLE counter (id TEXT PRIMARY KEY, n BIGINT NOT NULL)")
			exec(t, handles[0], "INSERT INTO counter VALUES ('a', 0)")
			g, ctx := errgroup.WithContext(t.Context())
			for i := range workers {
				g.Go(func() error {
					for range rounds {
						err := handles[i%2].InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
							_, err := tx.ExecContext(ctx, "UPDATE counter SET n = n + 1 WHERE id = 'a'")
							return err
						})
						if err != nil {
							return err
						}
					}
					return nil
				})
			}
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			if got := scan[int](t, handles[0], "SELECT n FROM counter"); got != workers*rounds {
				t.Fatalf("n = %d, want %d", got, workers*rounds)
			}
		})
	}
}

func TestDeadlockedTransactionRunsAgain(t *testing.T) {
	t.Parallel()
	db := sqltest.Open(t, sqltest.Postgres(t))
	exec(t, db, "CREATE TABLE counter (id TEXT PRIMARY KEY, n BIGINT NOT NULL)")
	exec(t, db, "INSERT INTO counter VALUES ('a', 0), ('b', 0)")
	var runs atomic.Int32
	var first sync.WaitGroup // both hold their first row before they want the other's
	first.Add(2)
	var g errgroup.Group
	for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
		g.Go(func() error {
			var met sync.Once
			return db.InTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
				runs.Add(1)
				for _, id := range order {
					if _, err := tx.ExecContext(ctx, "UPDATE counter SET n = n + 1 WHERE id = ?", id); err != nil {
						return err
					}
					met.Do(func() { first.Done(); first.Wait() })
				}
				return nil
			})
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatalf("InTx = %v, want both to succeed", err)
	}
	if got := runs.Load(); got != 3 {
		t.Errorf("runs = %d, want 3: two, and the victim again", got)
	}
	if got := scan[int](t, db, "SELECT sum(n) FROM counter"); got != 4 {
		t.Errorf("sum = %d, want 4", got)
	}
}

func TestTransactionThatKeepsLosingFails(t *testing.T) {
	t.Parallel()
	db := sqltest.Open(t, sqltest.Postgres(t))
	runs := 0
	err := db.InTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		runs++
		_, err := tx.ExecContext(ctx, "DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END $$")
		return err
	})
	if err == nil || runs < 3 || runs > 10 {
		t.Fatalf("InTx = %v after %d runs, want an error after a few", err, runs)
	}
}

func TestReadTransactionSeesOneMoment(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		db := open(t)
		exec(t, db, "CREATE TABLE thing (id TEXT PRIMARY KEY)")
		exec(t, db, "INSERT INTO thing VALUES ('a')")
		err := db.InReadTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
			for i := range 3 {
				var got int
				if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM thing").Scan(&got); err != nil {
					return err
				}
				if got != 1 {
					t.Errorf("rows at look %d = %d, want 1", i, got)
				}
				// A reader does not hold up a writer.
				exec(t, db, "INSERT INTO thing VALUES (?)", strings.Repeat("x", i+1)) // beside the transaction, not in it
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := scan[int](t, db, "SELECT count(*) FROM thing"); got != 4 {
			t.Fatalf("rows afterwards = %d, want 4", got)
		}
	})
}

func TestReadersDoNotWaitForAWriter(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		db := open(t)
		exec(t, db, "CREATE TABLE thing (id TEXT PRIMARY KEY)")
		err := db.InTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
			if _, err := tx.ExecContext(ctx, "INSERT INTO thing VALUES ('a')"); err != nil {
				return err
			}
			if got := scan[int](t, db, "SELECT count(*) FROM thing"); got != 0 { // beside the transaction, not in it
				t.Errorf("rows before the commit = %d, want 0", got)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestReadTransactionCannotWrite(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		db := open(t)
		exec(t, db, "CREATE TABLE thing (id TEXT PRIMARY KEY)")
		for _, statement := range []string{"INSERT INTO thing VALUES ('a')", "CREATE TABLE other (id TEXT)", "DROP TABLE thing"} {
			err := db.InReadTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
				_, err := tx.ExecContext(ctx, statement)
				return err
			})
			if err == nil {
				t.Errorf("%q succeeded in a read transaction", statement)
			}
		}
	})
}

func TestTransactionInsideATransactionIsRefused(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		db := open(t)
		nothing := func(context.Context, bun.Tx) error { return nil }
		for name, inner := range map[string]func(context.Context, sqldb.Func) error{"InTx": db.InTx, "InReadTx": db.InReadTx} {
			err := db.InTx(t.Context(), func(ctx context.Context, _ bun.Tx) error { return inner(ctx, nothing) })
			if !errors.Is(err, sqldb.ErrNested) {
				t.Errorf("%s inside InTx = %v, want ErrNested", name, err)
			}
		}
	})
}

func TestOrganizationTransactionNeedsAnOrganization(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		db := open(t)
		ran := false
		f := func(context.Context, bun.Tx) error { ran = true; return nil }
		if err := db.InOrgTx(t.Context(), "", f); !errors.Is(err, sqldb.ErrNoOrg) {
			t.Errorf("InOrgTx(empty) = %v, want ErrNoOrg", err)
		}
		if err := db.InOrgReadTx(t.Context(), "", f); !errors.Is(err, sqldb.ErrNoOrg) {
			t.Errorf("InOrgReadTx(empty) = %v, want ErrNoOrg", err)
		}
		if ran {
			t.Error("the function ran")
		}
		if err := db.InOrgTx(t.Context(), "org_a", f); err != nil || !ran {
			t.Errorf("InOrgTx(org_a) = %v, ran %v", err, ran)
		}
	})
}

func TestRowLevelSecurityShowsOnlyTheTransactionsOrganization(t *testing.T) {
	t.Parallel()
	db := sqltest.Open(t, sqltest.Postgres(t))
	role := "test_" + strings.ToLower(rand.Text()) // a superuser sees all rows
	for _, statement := range []string{
		"CREATE TABLE thing (org_id TEXT, id TEXT)",
		"INSERT INTO thing VALUES ('org_a', '1'), ('org_a', '2'), ('org_b', '3')",
		"ALTER TABLE thing ENABLE ROW LEVEL SECURITY",
		"CREATE POLICY own ON thing USING (org_id = current_setting('claviger.org_id', true))",
		"CREATE ROLE " + role, "GRANT ALL ON thing TO " + role,
	} {
		exec(t, db, statement)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		err := db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
			_, err := tx.ExecContext(ctx, "DROP OWNED BY "+role+"; DROP ROLE "+role)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	var seen int
	look := func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.ExecContext(ctx, "SET LOCAL ROLE "+role); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, "SELECT count(*) FROM thing").Scan(&seen)
	}
	for _, c := range []struct {
		name string
		run  func() error
		want int
	}{
		{"write as org_a", func() error { return db.InOrgTx(t.Context(), "org_a", look) }, 2},
		{"read as org_b", func() error { return db.InOrgReadTx(t.Context(), "org_b", look) }, 1},
		{"write as nobody, on a connection that was org_a's", func() error { return db.InTx(t.Context(), look) }, 0},
		{"write as a quote", func() error { return db.InOrgTx(t.Context(), "org_a' OR 'a'='a", look) }, 0},
	} {
		if err := c.run(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if seen != c.want {
			t.Errorf("%s: rows seen = %d, want %d", c.name, seen, c.want)
		}
	}
}

func TestDeadlineEndsAWaitingTransaction(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		db := open(t)
		exec(t, db, "CREATE TABLE thing (id TEXT PRIMARY KEY, n BIGINT)")
		exec(t, db, "INSERT INTO thing VALUES ('a', 0)")
		update := func(ctx context.Context, tx bun.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE thing SET n = n + 1 WHERE id = 'a'")
			return err
		}
		err := db.InTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
			if err := update(ctx, tx); err != nil {
				return err
			}
			short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := db.InTx(short, update); !errors.Is(err, context.DeadlineExceeded) || !sqldb.Unavailable(err) { // beside the transaction, not in it
				t.Errorf("InTx behind a lock = %v, want deadline exceeded, which is Unavailable", err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestATransactionOfATraceIsAStepOfItWithoutItsStatements(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		db, memory := open(t), telemetry.NewMemory(telemetry.MemoryLimits{})
		tel, err := telemetry.Start(t.Context(), telemetry.Options{Service: "keys", Memory: memory})
		if err != nil {
			t.Fatal(err)
		}
		ctx, span := tel.Tracer().Start(t.Context(), "call")
		ctx = telemetry.WithOrganization(ctx, "org_1")
		read := func(ctx context.Context, tx bun.Tx) error {
			var got string
			return tx.NewSelect().ColumnExpr("?", "the-secret-value").Scan(ctx, &got)
		}
		if err := errors.Join(db.InTx(ctx, read), db.InOrgReadTx(ctx, "org_1", read)); err != nil {
			t.Fatal(err)
		}
		span.End()
		spans := memory.Trace(span.SpanContext().TraceID().String())
		if len(spans) != 3 || spans[1].Name != "transaction" || spans[2].Name != "read transaction" {
			t.Fatalf("spans = %+v", spans)
		}
		for _, got := range spans[1:] {
			if got.ParentID != spans[0].SpanID || !strings.HasPrefix(got.Attributes["db.system.name"], string(db.Engine())) ||
				got.Attributes["claviger.org_id"] != "org_1" || got.Attributes["claviger.db.runs"] != "1" {
				t.Errorf("span = %+v", got)
			}
			for _, value := range got.Attributes {
				if strings.Contains(value, "secret") {
					t.Errorf("a value is told: %s", value)
				}
			}
		}
	})
}

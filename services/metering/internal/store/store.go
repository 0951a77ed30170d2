// Package store keeps usage, prices and progress in SQL, on Postgres and SQLite.
//
// Apply is the heart: one transaction that counts what is new, and nothing twice. The other methods
// read, or keep small state. Drivers' errors that a domain cares about are turned into its errors here.
//
// # Ten million attempts
//
// As an estimate from smaller tables on Postgres, at 650 bytes a row usage_event is 6.5 GB then, its primary key 1.6 GB and its
// four indexes 4.8 GB. usage_rollup has one row per quarter of an hour and set of dimensions in use: a few
// percent of the events if few API keys do most of the work, nearly as many as events if two hundred keys
// with tags share it; usage_day has a tenth of that. Queries over time never touch usage_event: QueryUsage
// scans the primary keys of usage_day and, at the ends of a range, of usage_rollup, for one organization and
// range, GetRequest, WatchRequests and ListRequests scan one index of usage_event for one organization,
// ListLastUses looks up keys of last_use, all of which TestQueriesUseIndexes holds to; list.go says what
// filters cost, and `make bench-usage` what all of it takes with a million events. What grows with the table
// is the depth of its indexes and the time of Verify and Rebuild (minutes). The next step then is to
// partition usage_event by range of day, which its key allows, so that old days can be detached; the step
// after it is to distribute the tables by org_id, with which every key begins.
package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/services/metering/internal/price"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

//go:embed migrations
var migrations embed.FS

// Store is the service's database.
type Store struct{ db *sqldb.DB }

var (
	_ usage.Store = (*Store)(nil)
	_ price.Store = (*Store)(nil)
)

// New returns a store on db.
func New(db *sqldb.DB) *Store { return &Store{db: db} }

// Migrate brings the schema up to date.
func (s *Store) Migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	return s.db.Migrate(ctx, files)
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.db.Ping(ctx) }

// Refused reports whether err says that the database will not take these values, now or later: a number
// or a text out of its bounds. It is never true of a database that is away or not what it should be.
func Refused(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.HasPrefix(pg.Code, "22") || strings.HasPrefix(pg.Code, "23")
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_RANGE:
			return true
		}
	}
	return false
}

// Advisory locks of Postgres, in a space of their own.
const (
	lockSpace  = 0x636c766d // "clvm"
	lockWorker = 1          // held by the one process that applies usage
	lockApply  = 2          // held while a transaction changes usage

	lockTimeout = 10 * time.Second
)

// serialize makes transactions that change usage wait for each other, so that two workers, should there
// ever be two, cannot lose each other's watermarks. SQLite has one writer anyway.
func (s *Store) serialize(ctx context.Context, tx bun.Tx) error {
	if s.db.Engine() != sqldb.Postgres {
		return nil
	}
	_, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(?, ?)", lockSpace, lockApply)
	if err != nil {
		return fmt.Errorf("lock usage: %w", err)
	}
	return nil
}

// ErrTaken is returned by HoldWorker when another process is the worker.
var ErrTaken = errors.New("another process applies usage")

// HoldWorker runs work as the one worker of all processes on this database. When the lock is lost,
// because its connection is, work's context ends. SQLite belongs to one process, which is the worker.
func (s *Store) HoldWorker(ctx context.Context, beat time.Duration, work func(ctx context.Context) error) error {
	if s.db.Engine() != sqldb.Postgres {
		return work(ctx)
	}
	return s.db.InTx(ctx, func(txCtx context.Context, tx bun.Tx) error {
		var got bool
		// The transaction is only a connection of our own: it reads and writes nothing, so it keeps no
		// old rows alive.
		if _, err := tx.ExecContext(txCtx, "SET LOCAL idle_in_transaction_session_timeout = 0"); err != nil {
			return fmt.Errorf("hold worker lock: %w", err)
		}
		if err := tx.QueryRowContext(txCtx, "SELECT pg_try_advisory_xact_lock(?, ?)", lockSpace, lockWorker).Scan(&got); err != nil {
			return fmt.Errorf("take worker lock: %w", err)
		}
		if !got {
			return ErrTaken
		}
		workCtx, cancel := context.WithCancelCause(ctx) // not txCtx: work has transactions of its own
		defer cancel(nil)
		done := make(chan error, 1)
		go func() { done <- work(workCtx) }()
		ticker := time.NewTicker(beat)
		defer ticker.Stop()
		for {
			select {
			case err := <-done:
				return err
			case <-ticker.C:
				if err := stillThere(txCtx, tx); err != nil {
					cancel(fmt.Errorf("worker lock lost: %w", err))
					return errors.Join(fmt.Errorf("keep worker lock: %w", err), <-done)
				}
			}
		}
	})
}

// stillThere asks over the connection that holds the lock. One that does not answer is as good as lost:
// the server may have given the lock to another.
func stillThere(ctx context.Context, tx bun.Tx) error {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	_, err := tx.ExecContext(ctx, "SELECT 1")
	return err
}

// micros is how times are stored.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/pkg/telemetry"
)

const (
	maxRuns      = 6
	firstBackoff = 10 * time.Millisecond
	maxBackoff   = 500 * time.Millisecond
	// A lock that SQLite could not get in its busy timeout is not waited for six times over.
	maxRetrying = 10 * time.Second
)

// Func is what runs inside a transaction. It must use the given context and tx alone, and have no
// effect outside the database, since it may run again.
type Func = func(ctx context.Context, tx bun.Tx) error

// ErrNested is returned for a transaction inside another one. On SQLite the inner one would wait
// for the outer one for ever, and on Postgres too once the pool is used up.
var ErrNested = errors.New("sqldb: transaction inside a transaction")

// ErrNoOrg is returned when an organization's transaction is asked for without an organization.
var ErrNoOrg = errors.New("sqldb: transaction of no organization")

type inTx struct{}

// InTx runs fn in a write transaction and commits it if fn returns nil. When the database could not
// serialize it with another one, or broke a deadlock, it runs fn again, a few times.
func (db *DB) InTx(ctx context.Context, fn Func) error {
	return db.run(ctx, db.write, nil, fn)
}

// InReadTx runs fn on one consistent picture of the database. Writing in it fails.
func (db *DB) InReadTx(ctx context.Context, fn Func) error {
	opts := &sql.TxOptions{ReadOnly: true}
	if db.engine == Postgres {
		opts.Isolation = sql.LevelRepeatableRead
	}
	return db.run(ctx, db.read, opts, fn)
}

// InOrgTx is InTx for the rows of one organization. On Postgres the setting claviger.org_id holds
// orgID until the transaction ends, so that row-level security can be a second net.
func (db *DB) InOrgTx(ctx context.Context, orgID string, fn Func) error {
	if orgID == "" {
		return ErrNoOrg
	}
	return db.InTx(ctx, db.scoped(orgID, fn))
}

// InOrgReadTx is InReadTx for the rows of one organization.
func (db *DB) InOrgReadTx(ctx context.Context, orgID string, fn Func) error {
	if orgID == "" {
		return ErrNoOrg
	}
	return db.InReadTx(ctx, db.scoped(orgID, fn))
}

func (db *DB) scoped(orgID string, fn Func) Func {
	if db.engine != Postgres {
		return fn
	}
	return func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.ExecContext(ctx, "SELECT set_config('claviger.org_id', ?, true)", orgID); err != nil {
			return fmt.Errorf("set organization: %w", err)
		}
		return fn(ctx, tx)
	}
}

// run gives a transaction a span if it is part of a recorded trace. Statements have none: with their
// values in them they must not be shown, and without they say little.
func (db *DB) run(ctx context.Context, handle *bun.DB, opts *sql.TxOptions, fn Func) error {
	if ctx.Value(inTx{}) != nil {
		return ErrNested
	}
	name := "transaction"
	if opts != nil && opts.ReadOnly {
		name = "read transaction"
	}
	ctx, span := telemetry.Child(ctx, name, telemetry.Client...)
	defer span.End()
	runs, err := db.repeat(ctx, handle, opts, fn)
	if span.IsRecording() {
		span.SetAttributes(telemetry.DBSystem.String(db.engine.semantic()), telemetry.DBRuns.Int(runs))
		if Unavailable(err) {
			telemetry.Failed(span, "unavailable")
		}
	}
	return err
}

// repeat runs fn until it does not lose a race, and says how often it ran.
func (db *DB) repeat(ctx context.Context, handle *bun.DB, opts *sql.TxOptions, fn Func) (int, error) {
	start, backoff := time.Now(), firstBackoff
	for i := 1; ; i++ {
		err := once(ctx, handle, opts, fn)
		if err == nil || i == maxRuns || !lostRace(err) || time.Since(start) > maxRetrying {
			return i, err
		}
		select {
		case <-ctx.Done():
			return i, err
		case <-time.After(backoff/2 + rand.N(backoff)): //nolint:gosec // spreads load, hides nothing
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

func once(ctx context.Context, handle *bun.DB, opts *sql.TxOptions, fn Func) error {
	tx, err := handle.BeginTx(ctx, opts)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	done := false
	defer func() {
		if !done { // fn failed or panicked
			_ = tx.Rollback() // what matters is fn's error; the driver drops a connection it cannot roll back
		}
	}()
	if err := fn(context.WithValue(ctx, inTx{}, true), tx); err != nil {
		return err
	}
	done = true
	if err := tx.Commit(); err != nil {
		if errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil {
			err = ctx.Err() // it was rolled back because the time ran out or the caller went away
		}
		return fmt.Errorf("commit transaction: %w", err)
	}
	return nil
}

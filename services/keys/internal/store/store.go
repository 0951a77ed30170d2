// Package store keeps the control plane in SQL, on Postgres and SQLite alike.
//
// Reads and changes of an organization run in a Tx, which knows the organization: none of its
// methods takes another, so no caller can ask for another one's rows by mistake. A change holds its
// organization's lock, and leaves with its audit events, the answer for retries and the next version
// of the configuration, or not at all.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/services/keys/internal/idempotency"
	"github.com/claviger/claviger/services/keys/internal/organization"
	"github.com/claviger/claviger/services/keys/internal/session"
)

// ErrUnavailable means that the database does not answer.
var ErrUnavailable = fault.New(fault.Unavailable, "DATABASE_UNAVAILABLE", "the database does not answer").
	Hinting("try again with the same idempotency key; if it lasts, an operator has to look at the database")

//go:embed migrations/*.sql
var migrations embed.FS

// Store is the control plane's database.
type Store struct {
	db  *sqldb.DB
	now func() time.Time

	committed func(version int64)
	requested func()
}

// New returns a Store on db.
func New(db *sqldb.DB, now func() time.Time) *Store {
	return &Store{db: db, now: now, committed: func(int64) {}, requested: func() {}}
}

// Notify sets who is told, right after a commit, of a new version of the configuration and of a
// requested probe. Call it before the store is used.
func (s *Store) Notify(version func(int64), probe func()) { s.committed, s.requested = version, probe }

// Migrate brings the schema up to date.
func (s *Store) Migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	return s.db.Migrate(ctx, files)
}

// Command says who changes something, and how a retry is recognised.
type Command struct {
	OrgID string
	// Actor is the id of a member or the name of a service.
	Actor string
	// SessionID is the session that asks. The change is refused if it has ended. It is empty for
	// services, and for signing in and out.
	SessionID   string
	RequestID   string
	Idempotency idempotency.Key
}

// Tx is a transaction of one organization.
type Tx struct {
	tx    bun.Tx
	orgID string
	now   time.Time
	cmd   Command

	head    head
	changed map[change]bool
	probed  bool
	version int64
	// stamped are the credentials whose previous secret is out of use from this version on.
	stamped []string
}

// Read runs fn on one consistent picture of an organization.
func (s *Store) Read(ctx context.Context, orgID string, fn func(ctx context.Context, tx *Tx) error) error {
	return translate(s.db.InOrgReadTx(ctx, orgID, func(ctx context.Context, tx bun.Tx) error {
		return fn(ctx, &Tx{tx: tx, orgID: orgID, now: s.now()})
	}))
}

// Change runs fn as the one change of its organization at this time, and keeps the answer that fn
// returns for retries. A retry gets the kept answer, and fn does not run. Fn may run more than once
// before it counts, so it has no effects but those on tx.
func (s *Store) Change(ctx context.Context, cmd Command, fn func(ctx context.Context, tx *Tx) ([]byte, error)) (answer []byte, replayed bool, err error) {
	var done *Tx
	err = s.db.InOrgTx(ctx, cmd.OrgID, func(ctx context.Context, tx bun.Tx) (err error) {
		t := &Tx{tx: tx, orgID: cmd.OrgID, now: s.now(), cmd: cmd}
		done, replayed = t, false
		if err := t.begin(ctx); err != nil {
			return err
		}
		if !cmd.Idempotency.None() {
			if answer, replayed, err = t.answered(ctx, cmd.Idempotency); err != nil || replayed {
				return err
			}
		}
		if answer, err = fn(ctx, t); err != nil {
			return err
		}
		if !cmd.Idempotency.None() {
			if err := t.keepAnswer(ctx, cmd.Idempotency, answer); err != nil {
				return err
			}
		}
		return t.finish(ctx)
	})
	if err != nil {
		return nil, false, translate(err)
	}
	if done.version > 0 {
		s.committed(done.version)
	}
	if done.probed {
		s.requested()
	}
	return answer, replayed, nil
}

// Answered returns the kept answer of a change, before any work is done for a retry of it.
func (s *Store) Answered(ctx context.Context, cmd Command) (answer []byte, found bool, err error) {
	err = s.Read(ctx, cmd.OrgID, func(ctx context.Context, tx *Tx) (err error) {
		answer, found, err = tx.answered(ctx, cmd.Idempotency)
		return err
	})
	return answer, found, err
}

// begin locks the organization and makes sure that the session may still change it.
func (t *Tx) begin(ctx context.Context) error {
	// An update is a lock on both engines.
	err := t.tx.NewRaw("UPDATE audit_head SET sequence = sequence WHERE org_id = ? RETURNING sequence, hash", t.orgID).
		Scan(ctx, &t.head.sequence, &t.head.hash)
	if errors.Is(err, sql.ErrNoRows) {
		return organization.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("lock organization: %w", err)
	}
	if t.cmd.SessionID == "" {
		return nil
	}
	alive, err := t.tx.NewSelect().Model((*sessionRow)(nil)).Where("org_id = ? AND id = ?", t.orgID, t.cmd.SessionID).Exists(ctx)
	if err != nil {
		return fmt.Errorf("look for session: %w", err)
	}
	if !alive {
		return session.ErrEnded
	}
	return nil
}

// finish stores the end of the audit chain and, last because all organizations wait for it, the
// next version of the configuration.
func (t *Tx) finish(ctx context.Context) error {
	if err := t.storeHead(ctx); err != nil {
		return err
	}
	if len(t.changed) == 0 {
		return nil
	}
	version, err := nextVersion(ctx, t.tx, t.changed)
	if err != nil {
		return err
	}
	t.version = version
	return t.stamp(ctx)
}

// affected reports ErrNoRows if an update or delete found nothing.
func affected(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		return sql.ErrNoRows
	}
	return err
}

// orMissing turns "no rows" into a domain's error.
func orMissing(err error, missing *fault.Error, doing string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return missing
	}
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// orTaken turns a broken unique key into a domain's error.
func orTaken(err error, taken *fault.Error, doing string) error {
	if _, ok := sqldb.UniqueViolation(err); ok {
		return taken.Because(err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

func translate(err error) error {
	if _, ok := fault.Of(err); ok || err == nil {
		return err
	}
	if sqldb.Unavailable(err) {
		return ErrUnavailable.Because(err)
	}
	return err
}

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

// Package sqldb opens Postgres and SQLite under one API.
//
// Work happens in transactions only: InTx for changes, InReadTx for one consistent picture, and
// their Org forms, which also tell Postgres whose rows are wanted. A transaction that lost a race is
// run again, so its function must have no effect outside the database. SQLite has one write
// connection and a separate pool of readers; nothing above this package needs to know which engine
// it talks to, and nothing here knows a table.
package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// Engine is the kind of database.
type Engine string

// The engines.
const (
	Postgres Engine = "postgres"
	SQLite   Engine = "sqlite"
)

// semantic is the engine's name in OpenTelemetry's conventions.
func (e Engine) semantic() string {
	if e == Postgres {
		return "postgresql"
	}
	return string(e)
}

const (
	defaultConns    = 16
	connectTimeout  = 10 * time.Second
	connMaxIdleTime = 5 * time.Minute
	// A connection is replaced now and then, so that load spreads again after a failover.
	connMaxLifetime = time.Hour
)

// DB is an open database. It is safe for concurrent use.
type DB struct {
	engine Engine
	write  *bun.DB
	read   *bun.DB // the same as write on Postgres
	// single opens a pool of its own for migrations, which hold one connection for the lock and
	// must not wait for connections that the service has in use.
	single func() (*sql.DB, error)
}

// Open opens the database at url: "postgres://…" or "sqlite:<file>". It holds at most maxConns
// connections, 16 if maxConns is zero. A SQLite file is created, readable by its owner alone. A
// Postgres server is not called yet, so a service can start while it is away; Ping says whether it
// answers. Errors never hold the url, which may hold a password.
func Open(ctx context.Context, url string, maxConns int) (*DB, error) {
	if maxConns <= 0 {
		maxConns = defaultConns
	}
	switch {
	case strings.HasPrefix(url, "postgres://"), strings.HasPrefix(url, "postgresql://"):
		return openPostgres(url, maxConns)
	case strings.HasPrefix(url, "sqlite:"):
		return openSQLite(ctx, strings.TrimPrefix(url, "sqlite:"), maxConns)
	}
	return nil, errors.New(`open database: the url must begin with "postgres://" or "sqlite:"`)
}

func openPostgres(url string, maxConns int) (*DB, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		// The cause quotes the url and hides the password as well as it can, which is not enough.
		return nil, errors.New("open database: the postgres url cannot be understood; write postgres://user:password@host:port/database, with special characters percent-encoded")
	}
	// bun writes values into the statement, quoted by doubling "'". That is safe only with standard
	// strings, so the session does not take the server's word for it.
	cfg.RuntimeParams["standard_conforming_strings"] = "on"
	cfg.RuntimeParams["timezone"] = "UTC"
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "claviger"
	}
	// As each statement has its values in it, a cache of prepared ones would never hit.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	open := func(conns int) *sql.DB {
		pool := stdlib.OpenDB(*cfg)
		pool.SetMaxOpenConns(conns)
		pool.SetMaxIdleConns(conns)
		pool.SetConnMaxIdleTime(connMaxIdleTime)
		pool.SetConnMaxLifetime(connMaxLifetime)
		return pool
	}
	handle := bun.NewDB(open(maxConns), pgdialect.New())
	return &DB{
		engine: Postgres, write: handle, read: handle,
		single: func() (*sql.DB, error) { return open(2), nil },
	}, nil
}

// Engine returns the kind of database.
func (db *DB) Engine() Engine { return db.engine }

// Close closes all connections. Transactions that run are waited for.
func (db *DB) Close() error {
	if db.read == db.write {
		return db.write.Close()
	}
	// Readers first: the last connection to close folds the write-ahead log into the file.
	return errors.Join(db.read.Close(), db.write.Close())
}

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.write.PingContext(ctx); err != nil {
		return fmt.Errorf("ping database: %w", err)
	}
	return nil
}

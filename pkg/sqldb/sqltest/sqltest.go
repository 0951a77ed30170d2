// Package sqltest gives tests fresh, real databases on both engines.
//
// Postgres comes from CLAVIGER_TEST_POSTGRES, the url of an administrator, or else from a server that
// this package starts from the machine's own binaries, once per test process. It ends with the
// process, however that ends. A machine with neither fails the test and says what to install.
package sqltest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/claviger/claviger/pkg/sqldb"
)

// AdminURL is the environment variable with the url of a Postgres to use.
const AdminURL = "CLAVIGER_TEST_POSTGRES"

// maxConns is small, so that many tests share one server.
const maxConns = 8

// cleanupTimeout bounds what happens after a test, when its context is gone.
const cleanupTimeout = 30 * time.Second

// Run runs f as the subtests "sqlite" and "postgres". Each call of open gives another empty
// database, which is closed and removed when the test ends.
func Run(t *testing.T, f func(t *testing.T, open func(t *testing.T) *sqldb.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		f(t, func(t *testing.T) *sqldb.DB { t.Helper(); return Open(t, SQLite(t)) })
	})
	t.Run("postgres", func(t *testing.T) {
		f(t, func(t *testing.T) *sqldb.DB { t.Helper(); return Open(t, Postgres(t)) })
	})
}

// Open opens the database at url and closes it when the test ends.
func Open(tb testing.TB, url string) *sqldb.DB {
	tb.Helper()
	db, err := sqldb.Open(tb.Context(), url, maxConns)
	if err != nil {
		tb.Fatalf("sqldb.Open: %v", err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Errorf("close database: %v", err)
		}
	})
	return db
}

// SQLite returns the url of a file that does not exist yet.
func SQLite(tb testing.TB) string {
	tb.Helper()
	return "sqlite:" + filepath.Join(tb.TempDir(), "test.db")
}

// Postgres returns the url of a fresh, empty database.
func Postgres(tb testing.TB) string {
	tb.Helper()
	return createDatabase(tb, sharedURL(tb))
}

// shared is the server of this test process.
var shared struct {
	once   sync.Once
	server *PostgresServer // kept: were it collected, its lifeline would close
	err    error
}

func sharedURL(tb testing.TB) string {
	tb.Helper()
	if admin := os.Getenv(AdminURL); admin != "" {
		return admin
	}
	shared.once.Do(func() {
		if shared.server, shared.err = newServer(false); shared.err == nil {
			shared.err = shared.server.start()
		}
	})
	if shared.err != nil {
		tb.Fatalf("start postgres: %v", shared.err)
	}
	return shared.server.adminURL()
}

// createDatabase makes a database beside the one that admin names, and returns its url.
func createDatabase(tb testing.TB, admin string) string {
	tb.Helper()
	target, err := url.Parse(admin)
	if err != nil {
		tb.Fatalf("%s is no url", AdminURL)
	}
	name := "test_" + strings.ToLower(rand.Text())
	if err := adminExec(tb.Context(), admin, "CREATE DATABASE "+name); err != nil {
		tb.Fatalf("create database: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), cleanupTimeout)
		defer cancel()
		if err := adminExec(ctx, admin, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			tb.Errorf("drop database: %v", err)
		}
	})
	target.Path = "/" + name
	return target.String()
}

func adminExec(ctx context.Context, admin, statement string) error {
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, statement)
	return err
}

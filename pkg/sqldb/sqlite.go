package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"modernc.org/sqlite"
)

// busyTimeout is how long SQLite waits for another process's lock before it says SQLITE_BUSY.
const busyTimeout = "busy_timeout(5000)"

func openSQLite(ctx context.Context, path string, maxConns int) (*DB, error) {
	path, err := sqlitePath(path)
	if err != nil {
		return nil, err
	}
	if err := createPrivate(path); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	// FULL makes a commit wait for the disk: in WAL mode less can lose the last commits in a power cut.
	writer := url.Values{
		"_pragma": {busyTimeout, "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"},
		"_txlock": {"immediate"},
	}
	reader := url.Values{"_pragma": {busyTimeout, "query_only(1)", "foreign_keys(1)"}, "_txlock": {"deferred"}}

	write, err := sqlitePool(path, writer, 1)
	if err != nil {
		return nil, err
	}
	// The writer first: it makes the file a database in WAL mode.
	if err := write.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", err), write.Close())
	}
	read, err := sqlitePool(path, reader, maxConns)
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	return &DB{
		engine: SQLite,
		write:  bun.NewDB(write, sqlitedialect.New()),
		read:   bun.NewDB(read, sqlitedialect.New()),
		single: func() (*sql.DB, error) { return sqlitePool(path, writer, 1) },
	}, nil
}

func sqlitePool(path string, params url.Values, conns int) (*sql.DB, error) {
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: params.Encode()}).String()
	connector, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	return pool, nil
}

// sqlitePath returns the file that the part of a url after "sqlite:" names.
func sqlitePath(path string) (string, error) {
	if strings.HasPrefix(path, "//") && !strings.HasPrefix(path, "///") {
		return "", errors.New("open database: write sqlite:<file> or sqlite:///<absolute file>")
	}
	path = strings.TrimPrefix(path, "//")
	if path == "" || strings.Contains(path, ":memory:") || strings.ContainsAny(path, "?#\x00") {
		return "", errors.New("open database: sqlite needs the name of a file, without parameters")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("open database: %w", err)
	}
	return abs, nil
}

// createPrivate makes sure that the file exists and that its owner alone can read it. SQLite gives
// the files beside it, -wal and -shm, the same mode.
func createPrivate(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = f.Chmod(0o600)
	}
	return errors.Join(err, f.Close())
}

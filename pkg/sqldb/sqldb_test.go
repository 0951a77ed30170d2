package sqldb_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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

func scan[T any](t *testing.T, db *sqldb.DB, query string, args ...any) (v T) {
	t.Helper()
	err := db.InReadTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		return tx.QueryRowContext(ctx, query, args...).Scan(&v)
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

func TestSQLiteFilesAreReadableByTheirOwnerAlone(t *testing.T) {
	t.Parallel()
	// A name that means something in an url, in a folder that is not there yet.
	path := filepath.Join(t.TempDir(), "new folder", "50% größer; a&b.db")
	db := sqltest.Open(t, "sqlite:"+path)
	exec(t, db, "CREATE TABLE thing (id TEXT)")
	exec(t, db, "INSERT INTO thing VALUES ('a')")
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, f.Name())
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("mode of %s = %o, want 600", f.Name(), got)
		}
	}
	if len(names) != 3 || names[0] != filepath.Base(path) {
		t.Errorf("files = %q, want the database with its -shm and -wal", names)
	}
}

func TestSQLiteFileThatOthersCanReadIsTightened(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "loose.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	sqltest.Open(t, "sqlite:"+path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode(); got.Perm() != 0o600 || got.Type() != fs.FileMode(0) {
		t.Fatalf("mode = %v, want a file of mode 0600", got)
	}
}

func TestSQLiteSettingsAreWhatDurabilityNeeds(t *testing.T) {
	t.Parallel()
	db := sqltest.Open(t, sqltest.SQLite(t))
	err := db.InTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
		for pragma, want := range map[string]string{
			"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000", "query_only": "0",
		} {
			var got string
			if err := tx.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(&got); err != nil {
				return err
			}
			if got != want {
				t.Errorf("pragma %s = %s, want %s", pragma, got, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesWhatItCannotOpenWithoutShowingPasswords(t *testing.T) {
	t.Parallel()
	const canary = "hunter2canary"
	for _, url := range []string{
		"", "mysql://u:" + canary + "@h/db", canary, "sqlite:", "sqlite::memory:", "sqlite:file::memory:?cache=shared",
		"sqlite://relative/file", "sqlite:x.db?mode=" + canary, "postgres://u:" + canary + "@h:port/db",
		"postgres://u:" + canary + "/x@h/db?sslmode=nonsense", "postgres://u:%zz" + canary + "@h/db",
		"postgres://u:" + canary + "@h/db?sslrootcert=/does/not/exist",
	} {
		db, err := sqldb.Open(t.Context(), url, 0)
		if err == nil {
			_ = db.Close()
			t.Errorf("Open(%q) succeeded", url)
			continue
		}
		if strings.Contains(err.Error(), canary) {
			t.Errorf("Open(%q) error shows the password: %v", url, err)
		}
	}
}

func TestPostgresMayBeAwayWhenOpened(t *testing.T) {
	t.Parallel()
	db, err := sqldb.Open(t.Context(), "postgres://u:p@127.0.0.1:1/db", 0)
	if err != nil {
		t.Fatalf("Open = %v, want a database that does not answer yet", err)
	}
	defer func() { _ = db.Close() }()
	if err := db.Ping(t.Context()); !sqldb.Unavailable(err) {
		t.Fatalf("Ping = %v, want an error that is Unavailable", err)
	}
}

func TestValuesAreQuotedWhateverTheServersDefaultIs(t *testing.T) {
	t.Parallel()
	url := sqltest.Postgres(t)
	exec(t, sqltest.Open(t, url), "DO $$ BEGIN EXECUTE 'ALTER DATABASE '||current_database()||' SET standard_conforming_strings = off'; END $$")
	db := sqltest.Open(t, url)
	const nasty = `\' OR 1=1; DROP TABLE thing; --`
	exec(t, db, "CREATE TABLE thing (v TEXT)")
	exec(t, db, "INSERT INTO thing VALUES (?)", nasty)
	if got := scan[string](t, db, "SELECT v FROM thing WHERE v = ?", nasty); got != nasty {
		t.Fatalf("read back %q, want %q", got, nasty)
	}
}

func TestEngineSaysWhatIsOpen(t *testing.T) {
	t.Parallel()
	var got []sqldb.Engine
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		db := open(t)
		if err := db.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		got = append(got, db.Engine())
	})
	if len(got) != 2 || got[0] != sqldb.SQLite || got[1] != sqldb.Postgres {
		t.Fatalf("engines = %v, want sqlite and postgres", got)
	}
}

func TestOpenedDatabasesAreSeparate(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		for range 2 {
			exec(t, open(t), "CREATE TABLE thing (id TEXT)")
		}
	})
}

func TestClosedDatabaseIsUnavailable(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		db := open(t)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		nothing := func(context.Context, bun.Tx) error { return nil }
		for name, err := range map[string]error{
			"InTx": db.InTx(t.Context(), nothing), "InReadTx": db.InReadTx(t.Context(), nothing), "Ping": db.Ping(t.Context()),
		} {
			if !sqldb.Unavailable(err) {
				t.Errorf("%s on a closed database = %v, want Unavailable", name, err)
			}
		}
		if errors.Is(db.InTx(t.Context(), nothing), sqldb.ErrNested) {
			t.Error("a closed database is taken for a nested transaction")
		}
	})
}

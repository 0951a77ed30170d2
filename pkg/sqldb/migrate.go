package sqldb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Waiting for another replica's migrations: look once a second, for ten minutes.
const (
	lockProbeSeconds = 1
	lockProbes       = 600
)

// Migrate brings the schema up to date. The root of fsys holds numbered goose files (00001_x.sql)
// for both engines; folders "postgres" and "sqlite" hold what only one of them needs, in the same
// series of numbers. Several replicas may call it at once: one works, the others wait and find
// nothing left to do.
func (db *DB) Migrate(ctx context.Context, fsys fs.FS) error {
	files, err := forEngine(fsys, db.engine)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	// Two openers of one SQLite file have no lock to wait for. The loser of the race fails on what
	// the winner made, and finds on its next look that it is there.
	tries := 3
	if db.engine == Postgres {
		tries = 1
	}
	for range tries {
		if err = db.migrate(ctx, files); err == nil {
			return nil
		}
	}
	return fmt.Errorf("migrate database: %w", err)
}

func (db *DB) migrate(ctx context.Context, files fs.FS) (err error) {
	pool, err := db.single()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()

	dialect := goose.DialectSQLite3
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if db.engine == Postgres {
		dialect = goose.DialectPostgres
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(lockProbeSeconds, lockProbes))
		if err != nil {
			return err
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	provider, err := goose.NewProvider(dialect, pool, files, options...)
	if errors.Is(err, goose.ErrNoMigrations) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// engineFS shows the shared files and those of one engine as one folder.
type engineFS struct {
	fs.FS
	engine  Engine
	entries []fs.DirEntry
	own     map[string]bool // names that are in the engine's folder
}

func forEngine(fsys fs.FS, engine Engine) (*engineFS, error) {
	shared, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, err
	}
	own, err := fs.ReadDir(fsys, string(engine))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	merged := &engineFS{FS: fsys, engine: engine, own: map[string]bool{}}
	for _, e := range own {
		if !e.IsDir() && strings.HasSuffix(e.Name(), ".sql") {
			merged.own[e.Name()] = true
			merged.entries = append(merged.entries, e)
		}
	}
	for _, e := range shared {
		if e.IsDir() || !strings.HasSuffix(e.Name(), ".sql") {
			continue
		}
		if merged.own[e.Name()] {
			return nil, fmt.Errorf("%s stands in the root and in %s", e.Name(), engine)
		}
		merged.entries = append(merged.entries, e)
	}
	slices.SortFunc(merged.entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return merged, nil
}

// Open opens a file from the place where it is.
func (m *engineFS) Open(name string) (fs.File, error) {
	if m.own[name] {
		return m.FS.Open(string(m.engine) + "/" + name)
	}
	return m.FS.Open(name)
}

// ReadDir lists the merged folder.
func (m *engineFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if name != "." {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	return slices.Clone(m.entries), nil
}

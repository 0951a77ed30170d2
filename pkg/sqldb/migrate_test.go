package sqldb_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"testing/fstest"

	"golang.org/x/sync/errgroup"

	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/pkg/sqldb/sqltest"
)

func up(statements string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte("-- +goose Up\n" + statements + "\n")}
}

func TestReplicasThatMigrateAtOnceApplyEachFileOnce(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{}
	for i := range 5 {
		files[fmt.Sprintf("%05d_table.sql", i+1)] = up(fmt.Sprintf("CREATE TABLE t%d (id TEXT); INSERT INTO t%d VALUES ('once');", i, i))
	}
	for name, url := range map[string]func(testing.TB) string{"sqlite": sqltest.SQLite, "postgres": sqltest.Postgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := url(t)
			replicas := 4
			if name == "sqlite" {
				replicas = 2
			}
			var g errgroup.Group
			for range replicas {
				db := sqltest.Open(t, at)
				g.Go(func() error { return db.Migrate(t.Context(), files) })
			}
			if err := g.Wait(); err != nil {
				t.Fatalf("Migrate = %v", err)
			}
			db := sqltest.Open(t, at)
			for i := range 5 {
				if got := scan[int](t, db, fmt.Sprintf("SELECT count(*) FROM t%d", i)); got != 1 {
					t.Errorf("rows in t%d = %d, want 1", i, got)
				}
			}
		})
	}
}

func TestMigrateTakesSharedFilesAndThoseOfItsEngine(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{
		"00001_thing.sql":             up("CREATE TABLE thing (id TEXT);"),
		"postgres/00002_extra.sql":    up("ALTER TABLE thing ADD COLUMN extra JSONB;\nINSERT INTO thing VALUES ('postgres', '{}');"),
		"sqlite/00002_extra.sql":      up("ALTER TABLE thing ADD COLUMN extra TEXT;\nINSERT INTO thing VALUES ('sqlite', '');"),
		"00003_last.sql":              up("UPDATE thing SET id = id || '!';"),
		"README.md":                   {Data: []byte("not a migration")},
		"postgres/nested/00009_x.sql": up("nonsense"),
	}
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		db := open(t)
		for range 2 { // the second time there is nothing to do
			if err := db.Migrate(t.Context(), files); err != nil {
				t.Fatalf("Migrate = %v", err)
			}
		}
		if got, want := scan[string](t, db, "SELECT id FROM thing"), string(db.Engine())+"!"; got != want {
			t.Fatalf("id = %q, want %q", got, want)
		}
	})
}

func TestFailedMigrationLeavesItsFileUndone(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		db := open(t)
		files := fstest.MapFS{
			"00001_good.sql": up("CREATE TABLE good (id TEXT);"),
			"00002_bad.sql":  up("CREATE TABLE half (id TEXT);\nINSERT INTO nowhere VALUES (1);"),
		}
		if err := db.Migrate(t.Context(), files); err == nil {
			t.Fatal("Migrate of a wrong file succeeded")
		}
		files["00002_bad.sql"] = up("CREATE TABLE half (id TEXT);")
		if err := db.Migrate(t.Context(), files); err != nil {
			t.Fatalf("Migrate of the corrected file = %v", err)
		}
		if got := scan[int](t, db, "SELECT count(*) FROM half"); got != 0 {
			t.Fatalf("rows = %d, want 0", got)
		}
	})
}

func TestMigrateRefusesTwoFilesOfOneNumber(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		db := open(t)
		for name, files := range map[string]fstest.MapFS{
			"other name": {"00001_a.sql": up("SELECT 1;"), string(db.Engine()) + "/00001_b.sql": up("SELECT 1;")},
			"same name":  {"00001_a.sql": up("SELECT 1;"), string(db.Engine()) + "/00001_a.sql": up("SELECT 1;")},
		} {
			if err := db.Migrate(t.Context(), files); err == nil {
				t.Errorf("Migrate with two files of number 1 (%s) succeeded", name)
			}
		}
	})
}

func TestMigrateWithoutFilesDoesNothing(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		if err := open(t).Migrate(t.Context(), fstest.MapFS{}); err != nil {
			t.Fatalf("Migrate of an empty folder = %v", err)
		}
		err := open(t).Migrate(t.Context(), fstest.MapFS{"00001_a.sql": {Mode: fs.ModeDir}})
		if errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("Migrate of a folder named like a file = %v", err)
		}
	})
}

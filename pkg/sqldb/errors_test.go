package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/pkg/sqldb/sqltest"
)

func TestUniqueViolationNamesWhatWasTaken(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		db := open(t)
		for _, statement := range []string{
			"CREATE TABLE parent (id TEXT PRIMARY KEY)",
			`CREATE TABLE member (org_id TEXT NOT NULL, id TEXT NOT NULL, email TEXT NOT NULL, parent TEXT REFERENCES parent(id),
				n BIGINT CHECK (n > 0), CONSTRAINT member_key PRIMARY KEY (org_id, id))`,
			"CREATE UNIQUE INDEX member_email ON member (org_id, email)",
			"CREATE UNIQUE INDEX member_lower ON member (lower(parent))",
			"INSERT INTO parent VALUES ('p'), ('r')",
			"INSERT INTO member VALUES ('o', '1', 'a@x', 'p', 1)",
		} {
			exec(t, db, statement)
		}
		for _, c := range []struct {
			statement        string
			sqlite, postgres string
		}{
			{"INSERT INTO member VALUES ('o', '1', 'b@x', 'r', 1)", "member.org_id, member.id", "member_key"},
			{"INSERT INTO member VALUES ('o', '2', 'a@x', 'r', 1)", "member.org_id, member.email", "member_email"},
			{"INSERT INTO member VALUES ('q', '1', 'c@x', 'p', 1)", "index 'member_lower'", "member_lower"},
			{"INSERT INTO member VALUES ('q', '1', 'c@x', 'none', 1)", "", ""},
			{"INSERT INTO member VALUES ('q', '1', 'c@x', 'r', 0)", "", ""},
			{"INSERT INTO member (org_id, id) VALUES ('q', '1')", "", ""},
			{"INSERT INTO nowhere VALUES (1)", "", ""},
		} {
			want := c.sqlite
			if db.Engine() == sqldb.Postgres {
				want = c.postgres
			}
			err := db.InTx(t.Context(), func(ctx context.Context, tx bun.Tx) error {
				_, err := tx.ExecContext(ctx, c.statement)
				return err
			})
			if err == nil {
				t.Fatalf("%s succeeded", c.statement)
			}
			got, ok := sqldb.UniqueViolation(fmt.Errorf("insert: %w", err))
			if got != want || ok != (want != "") {
				t.Errorf("UniqueViolation(%v) = %q, %v, want %q", err, got, ok, want)
			}
			if sqldb.Unavailable(err) {
				t.Errorf("Unavailable(%v), want a mistake of the caller", err)
			}
		}
	})
}

func TestUnavailableIsNotWhatTheCallerDid(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]bool{
		nil:                                            false,
		errors.New("boom"):                             false,
		context.Canceled:                               false,
		context.DeadlineExceeded:                       true,
		fmt.Errorf("x: %w", io.ErrUnexpectedEOF):       true,
		fmt.Errorf("x: %w", context.Canceled):          false,
		errors.Join(io.EOF, context.Canceled):          false,
		fmt.Errorf("query: %w", errors.New("no rows")): false,
	} {
		if got := sqldb.Unavailable(err); got != want {
			t.Errorf("Unavailable(%v) = %v, want %v", err, got, want)
		}
	}
}

func TestRefusedLoginIsAnOutage(t *testing.T) {
	t.Parallel()
	target, err := url.Parse(sqltest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	target.User = url.UserPassword(target.User.Username(), "wrong")
	if os.Getenv(sqltest.AdminURL) != "" {
		target.Path += "_that_is_not_there" // somebody else's server may ask for no password
	}
	if err := sqltest.Open(t, target.String()).Ping(t.Context()); !sqldb.Unavailable(err) {
		t.Fatalf("Ping = %v, want Unavailable", err)
	}
}

// TestDatabaseThatGoesAwayComesBack is about what services need of an outage: every error is
// Unavailable, no committed change is lost, and the open handle works again by itself.
func TestDatabaseThatGoesAwayComesBack(t *testing.T) {
	t.Parallel()
	server := sqltest.Server(t)
	db := sqltest.Open(t, server.URL())
	exec(t, db, "CREATE TABLE thing (id BIGINT PRIMARY KEY)")
	for name, goAway := range map[string]func(){"killed": server.Kill, "stopped": server.Stop} {
		t.Run(name, func(t *testing.T) {
			exec(t, db, "DELETE FROM thing")
			var committed, attempted atomic.Int64
			outage, ended := make(chan error, 1), make(chan struct{})
			go func() {
				defer close(ended)
				for n := int64(1); ; n++ {
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					attempted.Store(n)
					err := db.InTx(ctx, func(ctx context.Context, tx bun.Tx) error {
						_, err := tx.ExecContext(ctx, "INSERT INTO thing VALUES (?)", n)
						return err
					})
					cancel()
					if err != nil {
						outage <- err
						return
					}
					committed.Store(n)
				}
			}()
			for deadline := time.Now().Add(20 * time.Second); committed.Load() < 20; {
				if time.Now().After(deadline) {
					t.Fatal("20 rows take more than 20 s")
				}
			}
			goAway()
			if err := <-outage; !sqldb.Unavailable(err) {
				t.Errorf("the change in flight failed with %v, want Unavailable", err)
			}
			<-ended
			if err := db.Ping(t.Context()); !sqldb.Unavailable(err) {
				t.Errorf("Ping = %v, want Unavailable", err)
			}
			server.Start()
			got := scan[int64](t, db, "SELECT count(*) FROM thing")
			if got < committed.Load() || got > attempted.Load() {
				t.Errorf("rows = %d, want all %d that were committed, and at most the %d that were tried", got, committed.Load(), attempted.Load())
			}
		})
	}
}

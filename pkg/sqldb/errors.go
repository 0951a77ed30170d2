package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// UniqueViolation reports whether err says that a row with this key exists. On Postgres constraint
// is the constraint's name, on SQLite "table.column", or "table.column, table.column" in the order
// of the constraint.
func UniqueViolation(err error) (constraint string, ok bool) {
	if pg, is := errors.AsType[*pgconn.PgError](err); is && pg.Code == "23505" {
		return pg.ConstraintName, true
	}
	lite, is := errors.AsType[*sqlite.Error](err)
	if !is {
		return "", false
	}
	switch lite.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		// constraint failed: UNIQUE constraint failed: member.org_id, member.email (2067)
		_, columns, _ := strings.Cut(lite.Error(), "UNIQUE constraint failed: ")
		if i := strings.LastIndex(columns, " ("); i >= 0 {
			columns = columns[:i]
		}
		return columns, true
	}
	return "", false
}

// Unavailable reports whether err says that the database is away or cannot work now: refused or
// cut connections, a full disk, a server that starts or stops, time that ran out. A caller that went
// away is not such an error. Whether a commit took place is unknown after it.
func Unavailable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if _, is := errors.AsType[*pgconn.ConnectError](err); is {
		return true // also when it is the password that the server refuses: no caller can mend that
	}
	if pg, is := errors.AsType[*pgconn.PgError](err); is {
		return unavailableState(pg.Code)
	}
	if lite, is := errors.AsType[*sqlite.Error](err); is {
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
			sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL:
			return true
		}
		return false
	}
	for _, target := range []error{
		context.DeadlineExceeded, driver.ErrBadConn, sql.ErrConnDone, net.ErrClosed,
		io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.EPIPE,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	if _, is := errors.AsType[net.Error](err); is {
		return true
	}
	// database/sql and pgconn do not export these.
	text := err.Error()
	return strings.Contains(text, "sql: database is closed") || strings.Contains(text, "conn closed")
}

// unavailableState says which SQLSTATEs mean that the server cannot work now.
func unavailableState(code string) bool {
	switch code {
	case "57P01", "57P02", "57P03", "57P05", // shutdown, crash, starting up, idle for too long
		"57014", // canceled by a statement timeout; our own cancellation is a context error
		"25006": // read-only: a standby, or a primary that was demoted
		return true
	}
	return strings.HasPrefix(code, "08") || // connection
		strings.HasPrefix(code, "53") || // disk, memory or connections used up
		strings.HasPrefix(code, "58") // the server's own input and output
}

// lostRace reports whether running the transaction again may help.
func lostRace(err error) bool {
	if pg, is := errors.AsType[*pgconn.PgError](err); is {
		return pg.Code == "40001" || pg.Code == "40P01"
	}
	if lite, is := errors.AsType[*sqlite.Error](err); is {
		return lite.Code()&0xff == sqlite3.SQLITE_BUSY
	}
	return false
}

package store

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/uptrace/bun"
)

// On Postgres events and sums go in as one array per column: reading 500 rows of 51 values as text costs
// the server three times as much as storing them. SQLite has no arrays, and no network to spare.

// column is a column of a table and where it stands in the struct of a row.
type column struct {
	name   string
	sql    string // its type
	goType reflect.Type
	index  []int
}

// columnsOf lists the columns of a row.
func columnsOf(row reflect.Type) []column {
	var columns []column
	for _, f := range reflect.VisibleFields(row) {
		name, _, _ := strings.Cut(f.Tag.Get("bun"), ",")
		if f.Anonymous || name == "" {
			continue
		}
		c := column{name: name, goType: f.Type, index: f.Index}
		switch f.Type.Kind() {
		case reflect.String:
			c.sql = "text"
		case reflect.Bool:
			c.sql = "boolean"
		default: // int, int64 and *int64
			c.sql = "bigint"
		}
		columns = append(columns, c)
	}
	return columns
}

var (
	eventColumns  = sync.OnceValue(func() []column { return columnsOf(reflect.TypeFor[eventRow]()) })
	rollupColumns = sync.OnceValue(func() []column { return columnsOf(reflect.TypeFor[rollupRow]()) })
)

// insertFrom begins a statement that inserts rows from arrays.
func insertFrom(table string, columns []column) string {
	var names, arrays []string
	for i, c := range columns {
		names = append(names, c.name)
		arrays = append(arrays, fmt.Sprintf("$%d::%s[]", i+1, c.sql))
	}
	return "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") SELECT * FROM unnest(" + strings.Join(arrays, ", ") + ")"
}

var insertEventArrays = sync.OnceValue(func() string {
	return insertFrom("usage_event", eventColumns()) + " ON CONFLICT (org_id, day, attempt_id) DO NOTHING RETURNING org_id, day, attempt_id"
})

// upsertSums are the statements that add to the tables of sums.
var upsertSums = sync.OnceValue(func() map[string]string {
	statements := map[string]string{}
	for _, table := range []string{rollupTable, dayTable} {
		statements[table] = insertFrom(table+" AS r", rollupColumns()) + " ON " + conflictKey + " SET " + strings.Join(addToSums, ", ")
	}
	return statements
})

// arraysOf turns rows into one array per column.
func arraysOf[T any](columns []column, rows []*T) []any {
	arrays := make([]any, len(columns))
	for i, c := range columns {
		array := reflect.MakeSlice(reflect.SliceOf(c.goType), len(rows), len(rows))
		for n, row := range rows {
			array.Index(n).Set(reflect.ValueOf(row).Elem().FieldByIndex(c.index))
		}
		arrays[i] = array.Interface()
	}
	return arrays
}

// insertArrays inserts the rows that are not there and adds their keys to fresh.
func insertArrays(ctx context.Context, tx bun.Tx, rows []*eventRow, fresh map[eventKey]bool) error {
	inserted, err := tx.Tx.QueryContext(ctx, insertEventArrays(), arraysOf(eventColumns(), rows)...) // past bun, which would write the values out
	if err != nil {
		return err
	}
	defer func() { _ = inserted.Close() }()
	for inserted.Next() {
		var key eventKey
		if err := inserted.Scan(&key.orgID, &key.day, &key.attemptID); err != nil {
			return err
		}
		fresh[key] = true
	}
	return inserted.Err()
}

// upsertArrays adds rows to a table of sums.
func upsertArrays(ctx context.Context, tx bun.Tx, table string, rows []*rollupRow) error {
	_, err := tx.Tx.ExecContext(ctx, upsertSums()[table], arraysOf(rollupColumns(), rows)...)
	return err
}

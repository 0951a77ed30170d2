package store

import (
	"context"
	"fmt"
	"reflect"
	"slices"
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
	rare   bool
}

// columnsOf lists the columns of a row.
func columnsOf(row reflect.Type) []column {
	var columns []column
	for _, f := range reflect.VisibleFields(row) {
		name, _, _ := strings.Cut(f.Tag.Get("bun"), ",")
		if f.Anonymous || name == "" {
			continue
		}
		c := column{name: name, goType: f.Type, index: f.Index, rare: f.Tag.Get("rare") != ""}
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

// rare are the columns that most rows do not have. Statements name them only if a row of theirs has one,
// so that others pay nothing for them: left out, they get their default, which is nothing.
type rare bool

var (
	eventColumns  = sync.OnceValue(func() map[rare][]column { return bothOf(columnsOf(reflect.TypeFor[eventRow]())) })
	rollupColumns = sync.OnceValue(func() map[rare][]column { return bothOf(columnsOf(reflect.TypeFor[rollupRow]())) })
	rareEvents    = namesOf(columnsOf(reflect.TypeFor[eventRow]()))
	rareSums      = namesOf(columnsOf(reflect.TypeFor[rollupRow]()))
)

// bothOf returns the columns without the rare ones, and all.
func bothOf(columns []column) map[rare][]column {
	return map[rare][]column{false: slices.DeleteFunc(slices.Clone(columns), func(c column) bool { return c.rare }), true: columns}
}

// namesOf returns the names of the rare columns.
func namesOf(columns []column) (names []string) {
	for _, c := range columns {
		if c.rare {
			names = append(names, c.name)
		}
	}
	return names
}

// anyRare reports whether a row has something in a rare column.
func anyRare[T interface{ rare() bool }](rows []T) rare {
	return rare(slices.ContainsFunc(rows, T.rare))
}

// insertFrom begins a statement that inserts rows from arrays.
func insertFrom(table string, columns []column) string {
	var names, arrays []string
	for i, c := range columns {
		names = append(names, c.name)
		arrays = append(arrays, fmt.Sprintf("$%d::%s[]", i+1, c.sql))
	}
	return "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") SELECT * FROM unnest(" + strings.Join(arrays, ", ") + ")"
}

var insertEventArrays = sync.OnceValue(func() map[rare]string {
	statements := map[rare]string{}
	for r, columns := range eventColumns() {
		statements[r] = insertFrom("usage_event", columns) + " ON CONFLICT (org_id, day, attempt_id) DO NOTHING RETURNING org_id, day, attempt_id"
	}
	return statements
})

// sumsTable names a statement that adds to a table of sums.
type sumsTable struct {
	table string
	rare  rare
}

// upsertSums are the statements that add to the tables of sums.
var upsertSums = sync.OnceValue(func() map[sumsTable]string {
	statements := map[sumsTable]string{}
	for _, table := range []string{rollupTable, dayTable} {
		for r, columns := range rollupColumns() {
			statements[sumsTable{table, r}] = insertFrom(table+" AS r", columns) + " ON " + conflictKey + " SET " + strings.Join(addToSums[r], ", ")
		}
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
	r := anyRare(rows)
	inserted, err := tx.Tx.QueryContext(ctx, insertEventArrays()[r], arraysOf(eventColumns()[r], rows)...) // past bun, which would write the values out
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
	r := anyRare(rows)
	_, err := tx.Tx.ExecContext(ctx, upsertSums()[sumsTable{table, r}], arraysOf(rollupColumns()[r], rows)...)
	return err
}

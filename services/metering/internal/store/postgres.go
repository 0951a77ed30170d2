package store

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/uptrace/bun"
)

// On Postgres events go in as one array per column: reading 500 rows of 51 values as text costs the
// server three times as much as storing them. SQLite has no arrays, and no network to spare.

// eventColumn is a column of usage_event and where it stands in eventRow.
type eventColumn struct {
	name   string
	sql    string // its type
	goType reflect.Type
	index  []int
}

var eventColumns = sync.OnceValue(func() []eventColumn {
	var columns []eventColumn
	for _, f := range reflect.VisibleFields(reflect.TypeFor[eventRow]()) {
		name, _, _ := strings.Cut(f.Tag.Get("bun"), ",")
		if f.Anonymous || name == "" {
			continue
		}
		c := eventColumn{name: name, goType: f.Type, index: f.Index}
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
})

var insertEventArrays = sync.OnceValue(func() string {
	var names, arrays []string
	for i, c := range eventColumns() {
		names = append(names, c.name)
		arrays = append(arrays, fmt.Sprintf("$%d::%s[]", i+1, c.sql))
	}
	return "INSERT INTO usage_event (" + strings.Join(names, ", ") + ") SELECT * FROM unnest(" + strings.Join(arrays, ", ") + ")" +
		" ON CONFLICT (org_id, day, attempt_id) DO NOTHING RETURNING org_id, day, attempt_id"
})

// insertArrays inserts the rows that are not there and adds their keys to fresh.
func insertArrays(ctx context.Context, tx bun.Tx, rows []*eventRow, fresh map[eventKey]bool) error {
	columns := eventColumns()
	arrays := make([]any, len(columns))
	for i, c := range columns {
		array := reflect.MakeSlice(reflect.SliceOf(c.goType), len(rows), len(rows))
		for n, row := range rows {
			array.Index(n).Set(reflect.ValueOf(row).Elem().FieldByIndex(c.index))
		}
		arrays[i] = array.Interface()
	}
	inserted, err := tx.Tx.QueryContext(ctx, insertEventArrays(), arrays...) // past bun, which would write the values out
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

package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// dimensionColumns are the columns of the dimensions that are columns, in the rollup and in usage_event
// alike. Tags are not: they are reached over their set.
var dimensionColumns = map[usage.Dimension]string{
	usage.ByAPIKey: "api_key_id", usage.ByMember: "member_id", usage.ByCredential: "credential_id",
	usage.ByClass: "credential_class", usage.ByProvider: "provider", usage.ByModel: "model", usage.ByPolicy: "policy_id",
}

// statement is one that is being written: text with "?" and the values for them.
type statement struct {
	strings.Builder
	args []any
}

func (s *statement) add(text string, args ...any) {
	s.WriteString(text)
	s.args = append(s.args, args...)
}

// sums writes the sums of the columns. Postgres sums BIGINT to NUMERIC, hence the cast; a sum beyond 63
// bits is an error on both engines.
func (s *statement) sums(engine sqldb.Engine, table string, columns []string) {
	for i, c := range columns {
		if i > 0 {
			s.add(", ")
		}
		s.add("COALESCE(SUM(" + table + c + "), 0)")
		if engine == sqldb.Postgres {
			s.add("::BIGINT")
		}
		s.add(" AS " + c)
	}
}

// from writes the tables and conditions of a query: one range of the rollup's primary key, whose columns
// begin with org_id and bucket. Where it makes no difference, whole days are read from the sums per day,
// which are a tenth as many, and only what is left at both ends from those per quarter of an hour.
//
// Each table is grouped by itself before the few rows of both are put together: Postgres knows how many
// groups a table has, and not how many a union has, which it would sort on disk.
func (s *statement) from(engine sqldb.Engine, q *usage.Query, sums []string) {
	start, end := micros(q.Start), micros(q.End)
	first, last := start+(day-start%day)%day, end-end%day // the whole days
	parts := []sumsPart{{rollupTable, span{start, end}}}
	if (q.Bucket == usage.Whole || q.Bucket == usage.PerDay) && first < last {
		parts = []sumsPart{{rollupTable, span{start, first}}, {dayTable, span{first, last}}, {rollupTable, span{last, end}}}
	}
	written := 0
	s.add(" FROM (")
	for _, p := range parts {
		if p.start == p.end {
			continue
		}
		if written++; written > 1 {
			s.add(" UNION ALL ")
		}
		columns, exprs := inner(q)
		s.add("SELECT ")
		for i, c := range columns {
			s.add(exprs[i] + " AS " + c + ", ")
		}
		s.sums(engine, "t.", sums)
		s.add(" FROM "+p.table+" AS t WHERE t.org_id = ? AND t.bucket >= ? AND t.bucket < ?", q.OrgID, p.start, p.end)
		s.scope("t.", q.OrgID, q.MemberID, q.Filters)
		s.add(" GROUP BY " + strings.Join(exprs, ", "))
	}
	s.add(") AS r")
	if q.TagKey != "" {
		s.add(" LEFT JOIN tagset_tag AS g ON g.org_id = r.org_id AND g.tagset_id = r.tagset_id AND g.tag_key = ?", q.TagKey)
	}
	s.add(" WHERE r.org_id = ?", q.OrgID)
}

// inner returns what a table of sums is grouped by: all that the question needs of it.
func inner(q *usage.Query) (columns, exprs []string) {
	columns, exprs = []string{"org_id"}, []string{"t.org_id"}
	if width := q.Bucket.Width().Microseconds(); width > 0 {
		columns, exprs = append(columns, "bucket"), append(exprs, cut("t.bucket", width))
	}
	for _, d := range q.GroupBy {
		if d != usage.ByTag {
			columns, exprs = append(columns, dimensionColumns[d]), append(exprs, "t."+dimensionColumns[d])
		}
	}
	if q.TagKey != "" {
		columns, exprs = append(columns, "tagset_id"), append(exprs, "t.tagset_id")
	}
	return columns, exprs
}

// cut cuts a time down to a multiple of width. Both sides are BIGINT: the column is, and a literal of this
// size is taken for one where it has to be. Times are not before 1970, so this rounds down.
func cut(column string, width int64) string {
	return fmt.Sprintf("%s - %s %% %d", column, column, width)
}

// sumsPart is a range of a table of sums.
type sumsPart struct {
	table string
	span
}

// allSums are the columns of the tables of sums.
var allSums = strings.Join(keyNames, ", ") + ", " + strings.Join(sumNames, ", ")

// scope writes the conditions of who is asked about, on the rollup or on usage_event.
func (s *statement) scope(table, orgID, memberID string, filters []usage.Filter) {
	if memberID != "" {
		s.add(" AND "+table+"member_id = ?", memberID)
	}
	for _, f := range filters {
		if f.Dimension != usage.ByTag {
			s.add(" AND "+table+dimensionColumns[f.Dimension]+" IN (?)", bun.List(f.Values))
			continue
		}
		s.add(" AND ("+table+"tagset_id IN (SELECT tagset_id FROM tagset_tag WHERE org_id = ? AND tag_key = ? AND tag_value IN (?))",
			orgID, f.TagKey, bun.List(f.Values))
		if slices.Contains(f.Values, "") { // empty is "none": the sets without the key
			s.add(" OR "+table+"tagset_id NOT IN (SELECT tagset_id FROM tagset_tag WHERE org_id = ? AND tag_key = ?)", orgID, f.TagKey)
		}
		s.add(")")
	}
}

// groups returns the expressions to group by, in the order of the answer: the bucket, if time is cut,
// then the dimensions.
func groups(q *usage.Query) []string {
	var exprs []string
	if width := q.Bucket.Width().Microseconds(); width > 0 {
		exprs = append(exprs, cut("r.bucket", width))
	}
	for _, d := range q.GroupBy {
		if d == usage.ByTag {
			exprs = append(exprs, "COALESCE(g.tag_value, '')")
			continue
		}
		exprs = append(exprs, "r."+dimensionColumns[d])
	}
	return exprs
}

// rareQuery asks whether a range has anything in the rare columns: one look into usage_day_rare. Summing
// them takes a tenth of the time of a question, which most organizations need not spend.
func rareQuery(q *usage.Query) *statement {
	s := &statement{}
	start := micros(q.Start)
	s.add("SELECT EXISTS (SELECT 1 FROM "+dayTable+" AS t WHERE t.org_id = ? AND t.bucket >= ? AND t.bucket < ? AND COALESCE("+
		strings.Join(rareSums, ", ")+") IS NOT NULL)", q.OrgID, start-start%day, micros(q.End))
	return s
}

// summed are the columns that a question has to sum.
func summed(ctx context.Context, tx bun.Tx, q *usage.Query) ([]string, error) {
	query := rareQuery(q)
	var rare bool
	if err := tx.QueryRowContext(ctx, query.String(), query.args...).Scan(&rare); err != nil {
		return nil, fmt.Errorf("look for units: %w", err)
	}
	if rare {
		return sumNames, nil
	}
	return sumNames[:len(sumNames)-len(rareSums)], nil
}

// pageQuery writes the query for one page of rows.
func pageQuery(engine sqldb.Engine, q *usage.Query, sums []string) *statement {
	s := &statement{}
	exprs := groups(q)
	s.add("SELECT ")
	for i, e := range exprs {
		s.add(fmt.Sprintf("%s AS k%d, ", e, i))
	}
	s.sums(engine, "r.", sums)
	s.from(engine, q, sums)
	if q.After != nil && len(exprs) > 0 {
		s.add(" AND (" + strings.Join(exprs, ", ") + ") > (")
		n := 0
		if q.Bucket != usage.Whole {
			s.add("?", q.After.Bucket)
			n++
		}
		for _, value := range q.After.Group {
			if n > 0 {
				s.add(", ")
			}
			s.add("?", value)
			n++
		}
		s.add(")")
	}
	if len(exprs) > 0 {
		s.add(" GROUP BY " + strings.Join(exprs, ", "))
	}
	// A revision can leave a row behind in which nothing is counted any more.
	s.add(" HAVING SUM(r.attempts) > 0")
	if len(exprs) > 0 {
		s.add(" ORDER BY " + strings.Join(exprs, ", "))
	}
	s.add(" LIMIT ?", q.PageSize+1)
	return s
}

// totalQuery writes the query for the sum over all pages.
func totalQuery(engine sqldb.Engine, q *usage.Query, sums []string) *statement {
	s := &statement{}
	s.add("SELECT ")
	s.sums(engine, "r.", sums)
	whole := *q
	whole.GroupBy, whole.TagKey, whole.Bucket = nil, "", usage.Whole // grouping changes no total
	s.from(engine, &whole, sums)
	return s
}

// QueryUsage answers q. Rows and total are of one moment.
func (s *Store) QueryUsage(ctx context.Context, q usage.Query) (usage.Page, error) {
	var page usage.Page
	err := s.db.InOrgReadTx(ctx, q.OrgID, func(ctx context.Context, tx bun.Tx) error {
		page = usage.Page{}
		columns, err := summed(ctx, tx, &q)
		if err != nil {
			return err
		}
		rows, err := s.rows(ctx, tx, &q, columns)
		if err != nil {
			return err
		}
		if page.More = len(rows) > q.PageSize; page.More {
			rows = rows[:q.PageSize]
		}
		page.Rows = rows
		if sum, ok := sumOf(rows); ok && q.After == nil && !page.More {
			page.Total = sum
			return nil
		}
		total := totalQuery(s.db.Engine(), &q, columns)
		var sums sumColumns
		if err := tx.QueryRowContext(ctx, total.String(), total.args...).Scan(sums.scan()[:len(columns)]...); err != nil {
			return fmt.Errorf("sum all: %w", err)
		}
		page.Total = sums.totals()
		return nil
	})
	return page, err
}

// sumOf adds rows up. It is false when that leaves 63 bits, of which the database makes an error.
func sumOf(rows []usage.Row) (sum usage.Totals, ok bool) {
	for i := range rows {
		if sum = sum.Plus(rows[i].Totals, 1); sum.Negative() {
			return usage.Totals{}, false
		}
	}
	return sum, true
}

func (s *Store) rows(ctx context.Context, tx bun.Tx, q *usage.Query, columns []string) ([]usage.Row, error) {
	query := pageQuery(s.db.Engine(), q, columns)
	found, err := tx.QueryContext(ctx, query.String(), query.args...)
	if err != nil {
		return nil, fmt.Errorf("sum groups: %w", err)
	}
	defer func() { _ = found.Close() }()
	var rows []usage.Row
	for found.Next() {
		var sums sumColumns
		row := usage.Row{RowKey: usage.RowKey{Group: make([]string, len(q.GroupBy))}}
		var dest []any
		if q.Bucket != usage.Whole {
			dest = append(dest, &row.Bucket)
		}
		for i := range row.Group {
			dest = append(dest, &row.Group[i])
		}
		if err := found.Scan(append(dest, sums.scan()[:len(columns)]...)...); err != nil {
			return nil, fmt.Errorf("read groups: %w", err)
		}
		row.Totals = sums.totals()
		rows = append(rows, row)
	}
	if err := found.Err(); err != nil {
		return nil, fmt.Errorf("read groups: %w", err)
	}
	return rows, nil
}

// scan returns where to read the columns of sumNames.
func (s *sumColumns) scan() []any {
	return []any{
		&s.Requests, &s.Attempts, &s.Errors, &s.InputTotal, &s.InputUncached, &s.CacheRead, &s.CacheWrite5m, &s.CacheWrite30m,
		&s.CacheWrite1h, &s.CacheWrite12h, &s.OutputTotal, &s.Reasoning, &s.AudioIn, &s.AudioOut, &s.ImageIn, &s.ImageOut,
		&s.CostNanoUSD, &s.UnknownCostAttempts, &s.EstimatedAttempts, &s.EstimatedCostNanoUSD,
		&s.UnitImage, &s.UnitSecond, &s.UnitMegapixel, &s.UnitRequest, &s.UnitCredit, &s.UnitCharacter,
		&s.ReportedCostNanoUSD, &s.ProviderCostNanoUSD,
	}
}

// requestQuery selects the attempts of one request: a few rows of an index.
func requestQuery(tx bun.IDB, rows *[]eventRow, orgID, requestID string) *bun.SelectQuery {
	return tx.NewSelect().Model(rows).Where("e.org_id = ? AND e.request_id = ?", orgID, requestID).
		OrderExpr("e.attempt_number, e.started_at, e.attempt_id").Limit(maxAttempts)
}

// maxAttempts bounds the attempts of one request that are shown; routers make a handful.
const maxAttempts = 1000

// AttemptsOfRequest returns the attempts of one request, in order.
func (s *Store) AttemptsOfRequest(ctx context.Context, orgID, requestID string) ([]usage.Attempt, error) {
	var attempts []usage.Attempt
	err := s.db.InOrgReadTx(ctx, orgID, func(ctx context.Context, tx bun.Tx) error {
		var rows []eventRow
		err := requestQuery(tx, &rows, orgID, requestID).Scan(ctx)
		if err != nil {
			return err
		}
		attempts, err = withTags(ctx, tx, orgID, rows)
		return err
	})
	return attempts, err
}

// withTags reads the tags of rows and turns both into attempts.
func withTags(ctx context.Context, tx bun.Tx, orgID string, rows []eventRow) ([]usage.Attempt, error) {
	sets := map[string]map[string]string{}
	for i := range rows {
		if rows[i].TagsetID != "" {
			sets[rows[i].TagsetID] = nil
		}
	}
	if len(sets) > 0 {
		ids := make([]string, 0, len(sets))
		for id := range sets {
			ids = append(ids, id)
		}
		var found []tagsetRow
		err := tx.NewSelect().Model(&found).Where("org_id = ? AND tagset_id IN (?)", orgID, bun.List(ids)).Scan(ctx)
		if err != nil {
			return nil, fmt.Errorf("read tags: %w", err)
		}
		for _, f := range found {
			var tags map[string]string
			if err := json.Unmarshal([]byte(f.Tags), &tags); err != nil {
				return nil, fmt.Errorf("decode tags: %w", err)
			}
			sets[f.TagsetID] = tags
		}
	}
	attempts := make([]usage.Attempt, len(rows))
	for i := range rows {
		attempts[i] = rows[i].attempt(sets[rows[i].TagsetID])
	}
	return attempts, nil
}

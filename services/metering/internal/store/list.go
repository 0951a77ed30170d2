package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/services/metering/internal/usage"
)

// # What a list costs
//
// Without filters a page is one range of usage_event_ended (or of usage_event_member), read backwards: as
// many rows as the page has, however deep it is.
//
// With filters an index per dimension would make each of them as cheap and applying usage half as fast.
// Instead the rollup is the index: its rows say exactly how many attempts of each quarter of an hour
// match, failed ones too, so only quarters that have some are read. A page of n attempts reads the rollup
// of the organization backwards until it has found them (all of the range, if nothing matches: of ten
// million events that is a few hundred thousand rows, some 200 ms), and then at most n+1 quarters of
// usage_event. The worst case is one match in each of n busy quarters: with ten million events in a
// month, that is 3,500 rows a quarter, half a second for a page of 50.

// span is a range of time, in microseconds; its end is not in it.
type span struct{ start, end int64 }

// listQuery selects attempts of one organization in a span, the newest first: one range of an index.
func listQuery(tx bun.IDB, rows *[]eventRow, l *usage.List, in span) *bun.SelectQuery {
	query := tx.NewSelect().Model(rows).Where("e.org_id = ?", l.OrgID)
	more := &statement{}
	more.scope("e.", l.OrgID, l.MemberID, l.Filters)
	if conditions, ok := strings.CutPrefix(more.String(), " AND "); ok {
		query = query.Where(conditions, more.args...)
	}
	if l.ErrorsOnly {
		query = query.Where("e.outcome NOT IN ('ok', 'canceled')") // what usage.Event.Failed says
	}
	query = query.Where("e.ended_at >= ? AND e.ended_at < ?", in.start, in.end)
	if l.After != nil {
		query = query.Where("(e.ended_at, e.attempt_id) < (?, ?)", l.After.Ended, l.After.AttemptID)
	}
	return query.OrderExpr("e.ended_at DESC, e.attempt_id DESC").Limit(int64(l.PageSize) + 1)
}

// quartersQuery selects the quarters of an hour that have matches, the newest first, and how many. A page
// needs no more of them than it has attempts, and the two that the range and the page before cut.
func quartersQuery(l *usage.List, in span) *statement {
	count := "r.attempts"
	if l.ErrorsOnly {
		count = "r.errors"
	}
	width := usage.Quarter.Microseconds()
	s := &statement{}
	s.add("SELECT r.bucket, SUM("+count+") FROM usage_rollup AS r WHERE r.org_id = ? AND r.bucket >= ? AND r.bucket < ?",
		l.OrgID, in.start-in.start%width, in.end)
	s.scope("r.", l.OrgID, l.MemberID, l.Filters)
	s.add(" GROUP BY r.bucket HAVING SUM("+count+") > 0 ORDER BY r.bucket DESC LIMIT ?", l.PageSize+3)
	return s
}

// spansPerQuery bounds the parts of one statement.
const spansPerQuery = 16

// ListAttempts answers l.
func (s *Store) ListAttempts(ctx context.Context, l usage.List) (attempts []usage.Attempt, more bool, err error) {
	err = s.db.InOrgReadTx(ctx, l.OrgID, func(ctx context.Context, tx bun.Tx) error {
		rows, err := list(ctx, tx, &l)
		if err != nil {
			return err
		}
		if more = len(rows) > l.PageSize; more {
			rows = rows[:l.PageSize]
		}
		attempts, err = withTags(ctx, tx, l.OrgID, rows)
		return err
	})
	return attempts, more, err
}

// list reads one row more than the page has, if there are as many.
func list(ctx context.Context, tx bun.Tx, l *usage.List) ([]eventRow, error) {
	whole := span{start: micros(l.Start), end: micros(l.End)}
	if l.After != nil {
		whole.end = min(whole.end, l.After.Ended+1)
	}
	if len(l.Filters) == 0 && !l.ErrorsOnly {
		var rows []eventRow
		err := listQuery(tx, &rows, l, whole).Scan(ctx)
		return rows, err
	}
	spans, err := matchingSpans(ctx, tx, l, whole)
	if err != nil {
		return nil, err
	}
	var rows []eventRow
	for len(spans) > 0 && len(rows) <= l.PageSize {
		n := min(len(spans), spansPerQuery)
		var found []eventRow
		if err := tx.NewRaw("?", bun.Safe(spansQuery(tx, l, spans[:n]))).Scan(ctx, &found); err != nil {
			return nil, err
		}
		rows, spans = append(rows, found...), spans[n:]
	}
	return rows[:min(len(rows), l.PageSize+1)], nil
}

// spansQuery selects what matches in several spans, the newest first.
func spansQuery(tx bun.IDB, l *usage.List, spans []span) string {
	parts := make([]string, len(spans))
	for i, in := range spans {
		parts[i] = fmt.Sprintf("SELECT * FROM (%s) AS s%d", listQuery(tx, new([]eventRow), l, in), i)
	}
	return strings.Join(parts, " UNION ALL ") + " ORDER BY ended_at DESC, attempt_id DESC"
}

// matchingSpans returns where the matches of a page are, the newest first.
func matchingSpans(ctx context.Context, tx bun.Tx, l *usage.List, whole span) ([]span, error) {
	query := quartersQuery(l, whole)
	found, err := tx.QueryContext(ctx, query.String(), query.args...)
	if err != nil {
		return nil, fmt.Errorf("find quarters: %w", err)
	}
	defer func() { _ = found.Close() }()
	var spans []span
	width, sum := usage.Quarter.Microseconds(), int64(0)
	for found.Next() && sum <= int64(l.PageSize) {
		var bucket, matches int64
		if err := found.Scan(&bucket, &matches); err != nil {
			return nil, fmt.Errorf("find quarters: %w", err)
		}
		quarter := span{start: max(bucket, whole.start), end: min(bucket+width, whole.end)}
		if quarter.start == bucket && quarter.end == bucket+width { // of one that is cut, nobody knows how many are left
			sum += matches
		}
		if n := len(spans); n > 0 && spans[n-1].start == quarter.end {
			spans[n-1].start = quarter.start
		} else {
			spans = append(spans, quarter)
		}
	}
	if err := found.Err(); err != nil {
		return nil, fmt.Errorf("find quarters: %w", err)
	}
	return spans, nil
}

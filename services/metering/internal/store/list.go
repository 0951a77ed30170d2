package store

import (
	"context"
	"fmt"
	"strconv"
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
// Instead the sums are the index: they say exactly how many attempts of each day, and of each quarter of
// an hour, match, failed ones too, so only quarters that have some are read. A page of n attempts reads
// the organization's sums per day backwards until it has found them (all of the range, if nothing matches:
// of ten million events that is some hundred thousand rows, an estimated 100 ms), the sums per quarter of those days,
// and then at most n+1 quarters of usage_event. The worst case is one match in each of n busy quarters: with
// ten million events in a month, that is 3,500 rows a quarter, an estimated half a second for a page of 50.

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

// bucketsQuery selects the buckets of a table of sums that have matches in one of some spans, the newest
// first, and how many; at most limit of each span.
func bucketsQuery(l *usage.List, table string, width int64, within []span, limit int) *statement {
	count := "t.attempts"
	if l.ErrorsOnly {
		count = "t.errors"
	}
	s := &statement{}
	for i, in := range within {
		if i > 0 {
			s.add(" UNION ALL ")
		}
		s.add("SELECT * FROM (SELECT t.bucket, SUM("+count+") AS matches FROM "+table+" AS t WHERE t.org_id = ? AND t.bucket >= ? AND t.bucket < ?",
			l.OrgID, in.start-in.start%width, in.end)
		s.scope("t.", l.OrgID, l.MemberID, l.Filters)
		s.add(" GROUP BY t.bucket HAVING SUM("+count+") > 0 ORDER BY t.bucket DESC LIMIT ?) AS s"+strconv.Itoa(i), limit)
	}
	s.add(" ORDER BY bucket DESC")
	return s
}

const (
	// spansPerQuery bounds the parts of one statement.
	spansPerQuery = 16
	// fewBuckets are looked at before all that a page could need.
	fewBuckets = 4
)

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
	within := []span{whole}
	if whole.end-whole.start > day {
		var err error
		if within, err = narrow(ctx, tx, l, dayTable, day, whole, within); err != nil {
			return nil, err
		}
	}
	return narrow(ctx, tx, l, rollupTable, quarter, whole, within)
}

// narrow returns the buckets that have the matches of a page, in one or more of some spans.
func narrow(ctx context.Context, tx bun.Tx, l *usage.List, table string, width int64, whole span, within []span) ([]span, error) {
	var spans []span
	sum := int64(0)
	// A page needs no more buckets than it has attempts, and the two that the range and the page before
	// cut. Mostly the newest few are enough.
	n, limit, first := 1, fewBuckets, true
	for len(within) > 0 && sum <= int64(l.PageSize) {
		n = min(n, len(within))
		found, err := buckets(ctx, tx, bucketsQuery(l, table, width, within[:n], limit))
		if err != nil {
			return nil, err
		}
		if first && len(found) == limit {
			within = append([]span{{within[0].start, found[limit-1].start}}, within[1:]...)
		} else {
			within = within[n:]
		}
		n, limit, first = spansPerQuery, l.PageSize+3, false
		for _, b := range found {
			if sum > int64(l.PageSize) {
				break
			}
			part := span{start: max(b.start, whole.start), end: min(b.start+width, whole.end)}
			if part.start == b.start && part.end == b.start+width { // of one that is cut, nobody knows how many are left
				sum += b.matches
			}
			if n := len(spans); n > 0 && spans[n-1].start == part.end {
				spans[n-1].start = part.start
			} else {
				spans = append(spans, part)
			}
		}
	}
	return spans, nil
}

// bucket is a row of bucketsQuery.
type bucket struct{ start, matches int64 }

func buckets(ctx context.Context, tx bun.Tx, query *statement) ([]bucket, error) {
	rows, err := tx.QueryContext(ctx, query.String(), query.args...)
	if err != nil {
		return nil, fmt.Errorf("find matches: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var found []bucket
	for rows.Next() {
		var b bucket
		if err := rows.Scan(&b.start, &b.matches); err != nil {
			return nil, fmt.Errorf("find matches: %w", err)
		}
		found = append(found, b)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("find matches: %w", err)
	}
	return found, nil
}

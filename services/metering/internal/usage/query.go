package usage

import (
	"fmt"
	"time"

	"github.com/claviger/claviger/pkg/fault"
)

// Dimension is something to group or filter by.
type Dimension int

// The dimensions.
const (
	ByAPIKey Dimension = iota + 1
	ByMember
	ByCredential
	ByClass
	ByProvider
	ByModel
	ByPolicy
	ByTag
)

// Bucket is the width of a row in time.
type Bucket int

// The buckets.
const (
	Whole Bucket = iota // one row for the whole range
	PerQuarter
	PerHour
	PerDay
)

// Width is the length of a bucket; Whole has none.
func (b Bucket) Width() time.Duration {
	switch b {
	case PerQuarter:
		return Quarter
	case PerHour:
		return time.Hour
	case PerDay:
		return 24 * time.Hour
	case Whole:
	}
	return 0
}

// Filter keeps what has one of the values in a dimension. The empty value is "none".
type Filter struct {
	Dimension Dimension
	TagKey    string
	Values    []string
}

// Query asks for sums.
type Query struct {
	// OrgID is the tenant; MemberID, if not empty, the only member whose usage may be seen.
	OrgID, MemberID string
	Start, End      time.Time
	GroupBy         []Dimension
	TagKey          string
	Bucket          Bucket
	Filters         []Filter
	PageSize        int
	// After is the row that the page before ended with.
	After *RowKey
}

// RowKey is the place of a row in the order of the answer.
type RowKey struct {
	Bucket int64 // microseconds; 0 for Whole
	Group  []string
}

// Row is the usage of one group in one bucket.
type Row struct {
	RowKey
	Totals
}

// Page is one page of rows, and the sum over all pages.
type Page struct {
	Rows  []Row
	More  bool
	Total Totals
}

// Bounds of a query.
const (
	maxRange        = 400 * 24 * time.Hour
	defaultRange    = 24 * time.Hour
	defaultPageSize = 1000
	maxGroups       = 4
)

// ErrQuery is a query that breaks a rule.
var ErrQuery = fault.New(fault.Invalid, "USAGE_QUERY_INVALID", "the usage query is not valid")

// normalize fills in defaults and says everything that is wrong.
func (q *Query) normalize(now time.Time) error {
	if q.End.IsZero() {
		q.End = now
	}
	if q.Start.IsZero() {
		q.Start = q.End.Add(-defaultRange)
	}
	var broken []fault.Violation
	broken = append(broken, checkRange(q.Start, q.End)...)
	q.Start = q.Start.Truncate(Quarter)
	if up := q.End.Truncate(Quarter); up.Before(q.End) {
		q.End = up.Add(Quarter)
	}
	if q.PageSize == 0 {
		q.PageSize = defaultPageSize
	}
	broken = append(broken, q.checkGroups()...)
	broken = append(broken, checkFilters(q.Filters)...)
	if len(broken) > 0 {
		return ErrQuery.Violating(broken...)
	}
	return nil
}

func (q *Query) checkGroups() (broken []fault.Violation) {
	seen := map[Dimension]bool{}
	for _, d := range q.GroupBy {
		if d < ByAPIKey || d > ByTag || seen[d] {
			broken = append(broken, fault.Violation{Field: "group_by", Description: "names each dimension once"})
		}
		seen[d] = true
	}
	if len(q.GroupBy) > maxGroups {
		broken = append(broken, fault.Violation{Field: "group_by", Description: "has at most four dimensions"})
	}
	if seen[ByTag] != (q.TagKey != "") {
		broken = append(broken, fault.Violation{Field: "tag_key", Description: "stands with DIMENSION_TAG, and only there"})
	}
	return broken
}

func checkFilters(filters []Filter) (broken []fault.Violation) {
	for i, f := range filters {
		if f.Dimension < ByAPIKey || f.Dimension > ByTag {
			broken = append(broken, fault.Violation{Field: fmt.Sprintf("filters[%d].dimension", i), Description: "is not known"})
		}
		if (f.Dimension == ByTag) != (f.TagKey != "") {
			broken = append(broken, fault.Violation{
				Field: fmt.Sprintf("filters[%d].tag_key", i), Description: "stands with DIMENSION_TAG, and only there",
			})
		}
	}
	return broken
}

func checkRange(start, end time.Time) (broken []fault.Violation) {
	if !end.After(start) {
		broken = append(broken, fault.Violation{Field: "end_time", Description: "is not after start_time"})
	}
	if end.Sub(start) > maxRange {
		broken = append(broken, fault.Violation{Field: "start_time", Description: "is more than 400 days before end_time"})
	}
	if start.Unix() < 0 || end.Year() > 9999 {
		broken = append(broken, fault.Violation{Field: "start_time", Description: "is not a time that usage can have"})
	}
	return broken
}

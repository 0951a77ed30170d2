package usage

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/claviger/claviger/pkg/fault"
)

// List asks for attempts, the newest first.
type List struct {
	OrgID, MemberID string
	Start, End      time.Time
	Filters         []Filter
	// ErrorsOnly keeps attempts that did not end well.
	ErrorsOnly bool
	PageSize   int
	// After is the attempt that the page before ended with.
	After *AttemptKey
}

// AttemptKey is the place of an attempt in the order of a list.
type AttemptKey struct {
	Ended     int64 // microseconds
	AttemptID string
}

const defaultListSize = 50

func (l *List) normalize(now time.Time) error {
	if l.End.IsZero() {
		l.End = now
	}
	if l.Start.IsZero() {
		l.Start = l.End.Add(-defaultRange)
	}
	if l.PageSize == 0 {
		l.PageSize = defaultListSize
	}
	if broken := append(checkRange(l.Start, l.End), checkFilters(l.Filters)...); len(broken) > 0 {
		return ErrQuery.Violating(broken...)
	}
	return nil
}

// List lists attempts, the newest first. It returns the list with its defaults filled in.
func (s *Service) List(ctx context.Context, l List) ([]Attempt, bool, List, error) {
	if err := l.normalize(s.now()); err != nil {
		return nil, false, l, err
	}
	attempts, more, err := s.store.ListAttempts(ctx, l)
	if err != nil {
		return nil, false, l, fmt.Errorf("list attempts: %w", err)
	}
	return attempts, more, l, nil
}

// Uses asks when API keys or credentials were last used. With MemberID only that member's uses are seen,
// as in a query: of a credential those that went through their own API keys.
type Uses struct {
	OrgID, MemberID string
	// Dimension is ByAPIKey or ByCredential.
	Dimension Dimension
	IDs       []string
}

// Use is the last use of something.
type Use struct {
	ID   string
	Last time.Time
}

// LastUses answers u. What was never used, or is not to be seen, is left out.
func (s *Service) LastUses(ctx context.Context, u Uses) ([]Use, error) {
	if u.Dimension != ByAPIKey && u.Dimension != ByCredential {
		return nil, ErrQuery.Violating(fault.Violation{Field: "dimension", Description: "is DIMENSION_API_KEY or DIMENSION_CREDENTIAL"})
	}
	return s.store.LastUses(ctx, u)
}

// Match reports whether the filter keeps e. It says in Go what the store says in SQL.
func (f *Filter) Match(e *Event) bool {
	var value string
	switch f.Dimension {
	case ByAPIKey:
		value = e.APIKeyID
	case ByMember:
		value = e.MemberID
	case ByCredential:
		value = e.CredentialID
	case ByClass:
		value = string(e.Class)
	case ByProvider:
		value = e.Provider
	case ByModel:
		value = e.Model
	case ByPolicy:
		value = e.PolicyID
	case ByTag:
		value = e.Tags[f.TagKey]
	}
	return slices.Contains(f.Values, value)
}

package usage

import (
	"context"
	"fmt"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/metering/internal/spool"
)

// ErrRequestNotFound is a request that the caller may not see or that is not there.
var ErrRequestNotFound = fault.New(fault.NotFound, "REQUEST_NOT_FOUND", "request not found").
	Hinting("usage of a request appears some seconds after it ended")

// Store answers questions. Each is about one organization.
type Store interface {
	QueryUsage(ctx context.Context, q Query) (Page, error)
	ListAttempts(ctx context.Context, l List) (attempts []Attempt, more bool, err error)
	AttemptsOfRequest(ctx context.Context, orgID, requestID string) ([]Attempt, error)
	LastUses(ctx context.Context, u Uses) ([]Use, error)
	Routers(ctx context.Context) ([]spool.Router, error)
}

// Service answers questions about usage.
type Service struct {
	store Store
	now   func() time.Time
}

// NewService returns a service on store.
func NewService(store Store, now func() time.Time) *Service { return &Service{store: store, now: now} }

// Answer is a page of sums, and how complete they are.
type Answer struct {
	Page
	spool.Completeness
	// Query is what was asked, with its defaults filled in.
	Query Query
}

// Query sums usage.
func (s *Service) Query(ctx context.Context, q Query) (Answer, error) {
	if err := q.normalize(s.now()); err != nil {
		return Answer{}, err
	}
	// How complete the sums are is read first: what is applied meanwhile may be in the sums, but
	// nothing that is promised can be missing.
	routers, err := s.store.Routers(ctx)
	if err != nil {
		return Answer{}, fmt.Errorf("read routers: %w", err)
	}
	page, err := s.store.QueryUsage(ctx, q)
	if err != nil {
		return Answer{}, fmt.Errorf("query usage: %w", err)
	}
	return Answer{Page: page, Completeness: spool.Complete(routers, s.now()), Query: q}, nil
}

// Request returns the attempts of one request, in order. A caller who may see one member's usage
// alone does not learn that another's request exists.
func (s *Service) Request(ctx context.Context, orgID, memberID, requestID string) ([]Attempt, error) {
	attempts, err := s.store.AttemptsOfRequest(ctx, orgID, requestID)
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	if len(attempts) == 0 {
		return nil, ErrRequestNotFound
	}
	for i := range attempts {
		if memberID != "" && attempts[i].MemberID != memberID {
			return nil, ErrRequestNotFound
		}
	}
	return attempts, nil
}

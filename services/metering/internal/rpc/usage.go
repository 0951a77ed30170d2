// Package rpc serves the contracts claviger.metering.v1: it turns messages into questions of the domain
// and the answers back. Generated messages stop here. The tenant comes from who is calling, never from
// the message.
package rpc

import (
	"context"
	"time"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/fault"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// UsageServer serves UsageService.
type UsageServer struct {
	Usage *usage.Service
	Feed  *usage.Feed
	Now   func() time.Time
}

var _ meteringv1connect.UsageServiceHandler = (*UsageServer)(nil)

// ErrNobody is a caller who may see a member's usage and is no member.
var ErrNobody = fault.New(fault.Denied, "MEMBER_REQUIRED", "the caller is no member, and may not see the usage of others")

// scope is whose usage the caller may see: of one organization, and if memberID is not empty, of that
// member alone. Only roles that are known to see all do.
func scope(ctx context.Context) (orgID, memberID string, err error) {
	p := authn.FromContext(ctx)
	switch p.Role {
	case authn.Owner, authn.Admin, authn.Viewer:
		return p.OrgID, "", nil
	default:
		if p.MemberID == "" {
			return "", "", ErrNobody
		}
		return p.OrgID, p.MemberID, nil
	}
}

// usagePage is where a page of QueryUsage begins.
type usagePage struct {
	Start, End int64 // microseconds; "now" must not move between pages
	Bucket     int64
	Group      []string
}

// QueryUsage sums usage over a time range, by groups and time buckets.
func (s *UsageServer) QueryUsage(ctx context.Context, req *meteringv1.QueryUsageRequest) (*meteringv1.QueryUsageResponse, error) {
	if err := checkTexts(req); err != nil {
		return nil, err
	}
	orgID, memberID, err := scope(ctx)
	if err != nil {
		return nil, err
	}
	q := fromQuery(req)
	q.OrgID, q.MemberID = orgID, memberID
	asked := digest(req, func(r *meteringv1.QueryUsageRequest) { r.PageToken, r.PageSize = "", 0 })
	if req.GetPageToken() != "" {
		var at usagePage
		if err := readToken(req.GetPageToken(), asked, &at); err != nil {
			return nil, err
		}
		if len(at.Group) != len(q.GroupBy) {
			return nil, ErrToken
		}
		q.Start, q.End = fromMicros(at.Start), fromMicros(at.End)
		q.After = &usage.RowKey{Bucket: at.Bucket, Group: at.Group}
	}
	answer, err := s.Usage.Query(ctx, q)
	if err != nil {
		return nil, err
	}
	res := &meteringv1.QueryUsageResponse{
		Total: toTotals(answer.Total), CompleteThrough: toTime(answer.Through), SilentRouters: answer.Silent,
	}
	for i := range answer.Rows {
		res.Rows = append(res.Rows, toRow(&answer.Rows[i], &answer.Query))
	}
	if answer.More {
		last := answer.Rows[len(answer.Rows)-1]
		res.NextPageToken = token(asked, usagePage{
			Start: answer.Query.Start.UnixMicro(), End: answer.Query.End.UnixMicro(), Bucket: last.Bucket, Group: last.Group,
		})
	}
	return res, nil
}

// listPage is where a page of ListRequests begins.
type listPage struct {
	Start, End, Ended int64 // microseconds
	AttemptID         string
}

// ListRequests lists the newest requests first.
func (s *UsageServer) ListRequests(ctx context.Context, req *meteringv1.ListRequestsRequest) (*meteringv1.ListRequestsResponse, error) {
	if err := checkTexts(req); err != nil {
		return nil, err
	}
	orgID, memberID, err := scope(ctx)
	if err != nil {
		return nil, err
	}
	l := usage.List{
		OrgID: orgID, MemberID: memberID, Start: fromTime(req.GetStartTime()), End: fromTime(req.GetEndTime()),
		Filters: fromFilters(req.GetFilters()), ErrorsOnly: req.GetErrorsOnly(), PageSize: int(req.GetPageSize()),
	}
	asked := digest(req, func(r *meteringv1.ListRequestsRequest) { r.PageToken, r.PageSize = "", 0 })
	if req.GetPageToken() != "" {
		var at listPage
		if err := readToken(req.GetPageToken(), asked, &at); err != nil {
			return nil, err
		}
		l.Start, l.End = fromMicros(at.Start), fromMicros(at.End)
		l.After = &usage.AttemptKey{Ended: at.Ended, AttemptID: at.AttemptID}
	}
	attempts, more, l, err := s.Usage.List(ctx, l)
	if err != nil {
		return nil, err
	}
	res := &meteringv1.ListRequestsResponse{Attempts: toAttempts(attempts)}
	if more {
		last := attempts[len(attempts)-1]
		res.NextPageToken = token(asked, listPage{
			Start: l.Start.UnixMicro(), End: l.End.UnixMicro(), Ended: last.Ended.UnixMicro(), AttemptID: last.AttemptID,
		})
	}
	return res, nil
}

// GetRequest returns one request with its attempts.
func (s *UsageServer) GetRequest(ctx context.Context, req *meteringv1.GetRequestRequest) (*meteringv1.GetRequestResponse, error) {
	if err := checkTexts(req); err != nil {
		return nil, err
	}
	orgID, memberID, err := scope(ctx)
	if err != nil {
		return nil, err
	}
	attempts, err := s.Usage.Request(ctx, orgID, memberID, req.GetRequestId())
	if err != nil {
		return nil, err
	}
	res := &meteringv1.GetRequestResponse{RequestId: req.GetRequestId(), Attempts: toAttempts(attempts), CostKnown: true}
	for i := range attempts {
		if cost := attempts[i].CostNano; cost != nil {
			res.CostNanoUsd += *cost
		} else {
			res.CostKnown = false
		}
	}
	return res, nil
}

// ListLastUses says when API keys or credentials were last used.
func (s *UsageServer) ListLastUses(ctx context.Context, req *meteringv1.ListLastUsesRequest) (*meteringv1.ListLastUsesResponse, error) {
	if err := checkTexts(req); err != nil {
		return nil, err
	}
	orgID, memberID, err := scope(ctx)
	if err != nil {
		return nil, err
	}
	uses, err := s.Usage.LastUses(ctx, usage.Uses{
		OrgID: orgID, MemberID: memberID, Dimension: dimensions[req.GetDimension()], IDs: req.GetIds(),
	})
	if err != nil {
		return nil, err
	}
	res := &meteringv1.ListLastUsesResponse{}
	for _, u := range uses {
		res.LastUses = append(res.LastUses, &meteringv1.LastUse{Id: u.ID, LastTime: toTime(u.Last)})
	}
	return res, nil
}

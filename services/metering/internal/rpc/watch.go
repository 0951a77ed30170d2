package rpc

import (
	"context"
	"time"

	"github.com/claviger/claviger/pkg/authn"
	accesstoken "github.com/claviger/claviger/pkg/token"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// beforeExpiry is how long before its access token a stream ends, so that the caller can get another one
// in time.
const beforeExpiry = 10 * time.Second

// watchPlace is where a watch goes on.
type watchPlace struct{ After int64 }

// WatchRequests sends attempts as they are counted.
func (s *UsageServer) WatchRequests(ctx context.Context, req *meteringv1.WatchRequestsRequest, out meteringv1connect.UsageServiceWatchRequestsServerStream) error {
	if err := checkTexts(req); err != nil {
		return err
	}
	orgID, memberID, err := scope(ctx)
	if err != nil {
		return err
	}
	p := authn.FromContext(ctx)
	w := usage.Watch{
		OrgID: orgID, MemberID: memberID, Who: p.Actor(), Filters: fromFilters(req.GetFilters()), ErrorsOnly: req.GetErrorsOnly(), After: -1,
	}
	if !p.ExpiresAt.IsZero() {
		w.Until = p.ExpiresAt.Add(-beforeExpiry)
		if !s.Now().Before(w.Until) { // it would end at once, and again
			return accesstoken.ErrExpired.Saying("the access token expires in a few seconds, too soon to watch with it")
		}
	}
	// A number means something in its own organization alone.
	asked := orgID + " " + digest(req, func(r *meteringv1.WatchRequestsRequest) { r.ResumeToken = "" })
	if req.GetResumeToken() != "" {
		var at watchPlace
		if err := readToken(req.GetResumeToken(), asked, &at); err != nil || at.After < 0 {
			return usage.ErrResume
		}
		w.After = at.After
	}
	return s.Feed.Watch(ctx, w, func(attempts []usage.Attempt, at int64) error {
		return out.Send(&meteringv1.WatchRequestsResponse{Attempts: toAttempts(attempts), ResumeToken: token(asked, watchPlace{After: at})})
	})
}

package rpc

import (
	"context"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/services/keys/internal/drill"
	"github.com/claviger/claviger/services/keys/internal/page"
	"github.com/claviger/claviger/services/keys/internal/store"
)

type drillServer struct{ *API }

var _ keysv1connect.DrillServiceHandler = (*drillServer)(nil)

// StartDrill begins a drill.
func (s *drillServer) StartDrill(ctx context.Context, req *keysv1.StartDrillRequest) (*keysv1.StartDrillResponse, error) {
	in := drill.New{CredentialID: req.GetCredentialId(), APIKeyID: req.GetApiKeyId(), Fault: from(drillFaults, req.GetFault(), drill.RateLimited)}
	if req.GetDuration() != nil {
		in.Duration = req.GetDuration().AsDuration()
	}
	return answer(change(ctx, s.API, req, steps[*keysv1.StartDrillResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.StartDrillResponse, error) {
			d, err := s.Drills.Start(ctx, tx, caller(ctx), in)
			return &keysv1.StartDrillResponse{Drill: drillToProto(d)}, err
		},
	}))
}

// GetDrill returns a drill with what routers have told of it.
func (s *drillServer) GetDrill(ctx context.Context, req *keysv1.GetDrillRequest) (*keysv1.GetDrillResponse, error) {
	return read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (*keysv1.GetDrillResponse, error) {
		d, err := tx.Drill(ctx, req.GetId())
		return &keysv1.GetDrillResponse{Drill: drillToProto(d)}, err
	})
}

// ListDrills lists the drills, newest first.
func (s *drillServer) ListDrills(ctx context.Context, req *keysv1.ListDrillsRequest) (*keysv1.ListDrillsResponse, error) {
	return read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (*keysv1.ListDrillsResponse, error) {
		items, next, err := page.OfLarge("drills", req.GetPageSize(), req.GetPageToken(), (*keysv1.Drill).GetId, weight[*keysv1.Drill],
			func(before string, limit int) ([]*keysv1.Drill, error) {
				found, err := tx.Drills(ctx, before, limit)
				return each(found, drillToProto), err
			})
		return &keysv1.ListDrillsResponse{Drills: items, NextPageToken: next}, err
	})
}

// StopDrill ends a drill before its time.
func (s *drillServer) StopDrill(ctx context.Context, req *keysv1.StopDrillRequest) (*keysv1.StopDrillResponse, error) {
	return answer(change(ctx, s.API, req, steps[*keysv1.StopDrillResponse]{
		Apply: func(ctx context.Context, tx *store.Tx) (*keysv1.StopDrillResponse, error) {
			d, err := s.Drills.Stop(ctx, tx, req.GetId())
			return &keysv1.StopDrillResponse{Drill: drillToProto(d)}, err
		},
	}))
}

var drillFaults = map[drill.Fault]keysv1.DrillFault{
	drill.RateLimited:  keysv1.DrillFault_DRILL_FAULT_RATE_LIMITED,
	drill.Unauthorized: keysv1.DrillFault_DRILL_FAULT_UNAUTHORIZED,
	drill.Slow:         keysv1.DrillFault_DRILL_FAULT_SLOW,
}

func drillToProto(d drill.Drill) *keysv1.Drill {
	out := &keysv1.Drill{
		Id: d.ID, CredentialId: d.CredentialID, ApiKeyId: d.APIKeyID, Fault: drillFaults[d.Fault],
		StartTime: timestamp(d.StartedAt), EndTime: timestamp(d.EndsAt), StartedBy: d.StartedBy,
		Report: &keysv1.DrillReport{Requests: d.Report.Requests, FailedCalls: d.Report.FailedCalls, Unserved: d.Report.Unserved},
	}
	for _, s := range d.Report.Served {
		out.Report.Served = append(out.Report.Served, &keysv1.DrillServed{
			Model: s.Model, CredentialId: s.CredentialID, PolicyId: s.PolicyID, Line: int32(s.Line), Requests: s.Requests,
		})
	}
	return out
}

func fromDrillReport(r *keysv1.DrillReport) drill.Report {
	out := drill.Report{Requests: r.GetRequests(), FailedCalls: r.GetFailedCalls(), Unserved: r.GetUnserved()}
	for _, s := range r.GetServed() {
		out.Served = append(out.Served, drill.Served{
			Model: s.GetModel(), CredentialID: s.GetCredentialId(), PolicyID: s.GetPolicyId(), Line: int(s.GetLine()), Requests: s.GetRequests(),
		})
	}
	return out
}

func drillConfig(d drill.Drill) *keysv1.DrillConfig {
	return &keysv1.DrillConfig{
		OrgId: d.OrgID, Id: d.ID, CredentialId: d.CredentialID, ApiKeyId: d.APIKeyID, Fault: drillFaults[d.Fault], EndTime: timestamp(d.EndsAt),
	}
}

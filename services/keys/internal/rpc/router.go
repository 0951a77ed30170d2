package rpc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/authn"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/services/keys/internal/drill"
	"github.com/claviger/claviger/services/keys/internal/headroom"
	"github.com/claviger/claviger/services/keys/internal/page"
	"github.com/claviger/claviger/services/keys/internal/routerstate"
	"github.com/claviger/claviger/services/keys/internal/store"
)

// maxMissing bounds the names in a receipt.
const maxMissing = 20

// receipt waits for the routers that have yet to hear of what the caller has just switched off. The
// change has been committed: a call that fails here has worked, and its retry waits again.
func (a *API) receipt(ctx context.Context, switchedOff ...string) (*keysv1.Receipt, error) {
	r, err := a.Routers.Await(ctx, switchedOff...)
	if err != nil {
		return nil, err
	}
	out := &keysv1.Receipt{
		ConfigVersion: r.Version, Connected: int32(r.Connected), Confirmed: int32(r.Confirmed), Unreachable: int32(r.Unreachable),
		StreamsCut: int32(r.StreamsCut), Elapsed: durationpb.New(r.Elapsed),
	}
	// How the installation's routers are called is the operator's business.
	if a.operates(ctx) {
		out.Missing = r.Missing[:min(len(r.Missing), maxMissing)]
	}
	return out, nil
}

// operates reports whether the caller is of the operator's organization.
func (a *API) operates(ctx context.Context) bool {
	return authn.FromContext(ctx).OrgID == a.PlatformOrgID
}

func routerOf(req *keysv1.ReportRouterStateRequest) routerstate.Router {
	r := routerstate.Router{Name: req.GetRouter(), Epoch: req.GetEpoch(), Applied: req.GetAppliedVersion(), Closed: req.GetClosing()}
	for _, c := range req.GetCuts() {
		r.Cuts = append(r.Cuts, routerstate.Cut{ID: c.GetId(), Streams: int(c.GetStreams())})
	}
	return r
}

func headroomOf(req *keysv1.ReportRouterStateRequest) (out []headroom.Headroom) {
	for _, h := range req.GetHeadroom() {
		told := h.GetHeadroom()
		if h.GetOrgId() == "" || told.GetCredentialId() == "" || told.GetTime() == nil {
			continue
		}
		out = append(out, headroom.Headroom{
			OrgID: h.GetOrgId(), CredentialID: told.GetCredentialId(), Model: told.GetModel(), Router: req.GetRouter(), Requests: fromAllowance(told.GetRequests()),
			Tokens: fromAllowance(told.GetTokens()), CoolingUntil: toldTime(told.GetCoolingUntil()), At: toldTime(told.GetTime()),
		})
	}
	return out
}

// toldTime is a time that a router tells; one that no calendar holds is none. It could neither be kept as JSON nor
// be shown, and what stands beside it would be lost with it.
func toldTime(t *timestamppb.Timestamp) time.Time {
	if t.CheckValid() != nil {
		return time.Time{}
	}
	return fromTimestamp(t)
}

func fromAllowance(a *keysv1.Allowance) *headroom.Allowance {
	if a == nil {
		return nil
	}
	return &headroom.Allowance{Limit: a.GetLimit(), Remaining: a.GetRemaining(), ResetAt: toldTime(a.GetResetTime())}
}

func allowanceToProto(a *headroom.Allowance) *keysv1.Allowance {
	if a == nil {
		return nil
	}
	return &keysv1.Allowance{Limit: a.Limit, Remaining: a.Remaining, ResetTime: timestamp(a.ResetAt)}
}

// ListHeadroom lists what routers were told of the limits of the organization's credentials.
func (s *credentialServer) ListHeadroom(ctx context.Context, req *keysv1.ListHeadroomRequest) (*keysv1.ListHeadroomResponse, error) {
	operates := s.operates(ctx)
	return read(ctx, s.API, func(ctx context.Context, tx *store.Tx) (*keysv1.ListHeadroomResponse, error) {
		if req.GetCredentialId() != "" {
			if _, err := tx.Credential(ctx, req.GetCredentialId()); err != nil {
				return nil, err
			}
		}
		items, next, err := page.Of("headroom", req.GetPageSize(), req.GetPageToken(), headroom.Headroom.ID,
			func(after string, limit int) ([]headroom.Headroom, error) {
				return tx.Headroom(ctx, req.GetCredentialId(), after, limit)
			})
		out := each(items, headroomToProto)
		for i := range out {
			if !operates {
				out[i].Router = alias(authn.FromContext(ctx).OrgID, out[i].GetRouter())
			}
		}
		return &keysv1.ListHeadroomResponse{Headroom: out, NextPageToken: next}, err
	})
}

// alias tells routers apart without their names, differently for each organization.
func alias(orgID, router string) string {
	sum := sha256.Sum256([]byte(orgID + "\x00" + router))
	return "router " + hex.EncodeToString(sum[:4])
}

func headroomToProto(h headroom.Headroom) *keysv1.Headroom {
	return &keysv1.Headroom{
		CredentialId: h.CredentialID, Model: h.Model, Router: h.Router, Requests: allowanceToProto(h.Requests),
		Tokens: allowanceToProto(h.Tokens), CoolingUntil: timestamp(h.CoolingUntil), Time: timestamp(h.At),
	}
}

func progressByOrg(req *keysv1.ReportRouterStateRequest) map[string][]drill.Progress {
	byOrg := map[string][]drill.Progress{}
	for _, d := range req.GetDrills() {
		if d.GetOrgId() == "" {
			continue
		}
		byOrg[d.GetOrgId()] = append(byOrg[d.GetOrgId()], drill.Progress{
			DrillID: d.GetDrillId(), Router: req.GetRouter(), Epoch: req.GetEpoch(), Report: fromDrillReport(d.GetReport()),
		})
	}
	return byOrg
}

package keys_test

import (
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

func TestAnOldVerdictThatComesAgainUndoesNoNewerOne(t *testing.T) {
	t.Parallel()
	for engine, open := range map[string]func(testing.TB) string{"sqlite": sqltest.SQLite, "postgres": sqltest.Postgres} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			r := newRigOn(t, open(t))
			w := r.watch(r.app, "router", 0)
			c := r.owner.credential("main")
			w.until("the first test", func() bool { return len(w.probes) == 1 })
			earlier := timestamp(r.clock.Now())
			tell := func(probeID string, state keysv1.CredentialState, at *timestamppb.Timestamp) {
				t.Helper()
				_, err := r.internal(r.app, "router", "router-1").ReportRouterState(t.Context(), &keysv1.ReportRouterStateRequest{
					Router: "router-1", Closing: true, ProbeResults: []*keysv1.ProbeResult{{
						ProbeId: probeID, OrgId: r.orgID, CredentialId: c.GetId(), Revision: 1, State: state, Reason: "because", Time: at,
					}},
				})
				r.must(err)
			}
			tell(w.probes[0].GetId(), active, earlier)
			r.clock.Advance(time.Minute)
			res := r.test(c.GetId(), func() {
				w.until("the second test", func() bool { return len(w.probes) == 2 })
				r.report(r.app, w.probes[1], rejected)
			})
			if got := res.GetCredential().GetState(); got != rejected {
				t.Fatalf("after the second test: %v, want rejected", got)
			}
			tell(w.probes[0].GetId(), active, earlier)
			tell("probe_forged", active, earlier)
			if got := r.get(c.GetId()).GetState(); got != rejected {
				t.Errorf("after the first verdict came again: %v, want rejected", got)
			}
		})
	}
}

func TestAnEndThatIsNoTimeIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	never := &timestamppb.Timestamp{Seconds: 1 << 40} // of the year 36,812: JSON cannot say it
	_, err := r.owner.creds.CreateCredential(t.Context(), &keysv1.CreateCredentialRequest{
		Provider: "openai", Label: "x", Secret: second, AcceptTerms: true, ExpireTime: never, IdempotencyKey: "1",
	})
	refused(t, "a new credential", err, connect.CodeInvalidArgument, "EXPIRE_TIME_INVALID")
	c := r.owner.credential("main")
	for what, req := range map[string]*keysv1.UpdateCredentialRequest{
		"no time":           {ExpireTime: never},
		"cleared, and more": {ExpireTime: timestamp(r.clock.Now().Add(time.Hour)), ClearExpireTime: true},
	} {
		req.Id, req.Etag, req.IdempotencyKey = c.GetId(), c.GetEtag(), what
		_, err := r.owner.creds.UpdateCredential(t.Context(), req)
		refused(t, what, err, connect.CodeInvalidArgument, "EXPIRE_TIME_INVALID")
	}
}

// TestATimeThatIsNoneLosesNothing has a broken router tell times that no calendar holds. They stand beside the
// second secret in one text, which would be lost as a whole.
func TestATimeThatIsNoneLosesNothing(t *testing.T) {
	t.Parallel()
	x := newRotating(t)
	staged := x.stage()
	x.w.until("its test", func() bool { return len(x.w.probes) == 2 })
	for _, seconds := range []int64{-1 << 50, 1 << 50} {
		none := &timestamppb.Timestamp{Seconds: seconds}
		_, err := x.internal(x.app, "router", "router-1").ReportRouterState(t.Context(), &keysv1.ReportRouterStateRequest{
			Router: "router-1", Closing: true,
			ProbeResults: []*keysv1.ProbeResult{{
				ProbeId: x.w.probes[1].GetId(), OrgId: x.orgID, CredentialId: x.id, Revision: staged.GetNext().GetRevision(), State: active, Time: none,
			}},
			Evidence: []*keysv1.CredentialEvidence{{OrgId: x.orgID, CredentialId: x.id, Revision: 1, ErrorClass: "auth_invalid", Time: none}},
			Headroom: []*keysv1.HeadroomReport{{OrgId: x.orgID, Headroom: &keysv1.Headroom{
				CredentialId: x.id, Model: "openai/a", Time: timestamp(x.clock.Now()), CoolingUntil: none, Requests: &keysv1.Allowance{Remaining: 1, ResetTime: none},
			}}},
		})
		x.must(err)
		if got := x.now().GetNext(); got.GetRevision() != staged.GetNext().GetRevision() {
			t.Fatalf("the second secret = %v after a time of %d seconds, want it kept", got, seconds)
		}
	}
	res, err := x.owner.creds.ListHeadroom(t.Context(), &keysv1.ListHeadroomRequest{})
	x.must(err)
	for _, h := range res.GetHeadroom() {
		if h.GetCoolingUntil() != nil || h.GetRequests().GetResetTime() != nil {
			t.Errorf("headroom = %v, want no times that are none", h)
		}
	}
	if len(res.GetHeadroom()) != 1 {
		t.Errorf("%d reports of headroom, want 1", len(res.GetHeadroom()))
	}
}

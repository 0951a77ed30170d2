package meteringtest_test

import (
	"net/http"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/pkg/sqldb/sqltest"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	"github.com/claviger/claviger/services/metering/internal/store"
	"github.com/claviger/claviger/services/metering/meteringtest"
)

func TestWhatIsFilledInIsServed(t *testing.T) {
	t.Parallel()
	sqltest.Run(t, func(t *testing.T, open func(t *testing.T) *sqldb.DB) {
		db := open(t)
		server := meteringtest.Start(t, db)
		now := time.Now().UTC()
		filled, err := meteringtest.Fill(t.Context(), db, meteringtest.Size{Events: 3000, Weeks: 3, APIKeys: 20}, now)
		if err != nil {
			t.Fatalf("Fill: %v", err)
		}
		client := meteringv1connect.NewUsageServiceClient(connect.NewClient(connecthttp.NewTransport(http.DefaultClient, server.URL),
			meteringtest.Bearer(server.Owner(filled.OrgID, filled.MemberID))))
		sums, err := client.QueryUsage(t.Context(), &meteringv1.QueryUsageRequest{StartTime: timestamppb.New(now.Add(-22 * 24 * time.Hour))})
		if err != nil || sums.GetTotal().GetAttempts() != 3000 || filled.Events < 3250 {
			t.Errorf("QueryUsage = %v, %v, of %d rows, want 3000 attempts and others' rows beside", sums.GetTotal(), err, filled.Events)
		}
		wrong, err := store.New(db).Verify(t.Context())
		if err != nil || len(wrong) > 0 {
			t.Errorf("Verify = %d differences, %v", len(wrong), err)
		}
		list, err := client.ListRequests(t.Context(), &meteringv1.ListRequestsRequest{StartTime: timestamppb.New(now.Add(-8 * 24 * time.Hour))})
		if err != nil || len(list.GetAttempts()) != 50 {
			t.Fatalf("ListRequests = %d attempts, %v", len(list.GetAttempts()), err)
		}
		e := list.GetAttempts()[0].GetEvent()
		at, ok := id.Time(e.GetAttemptId())
		if off := e.GetStartedTime().AsTime().Sub(at).Abs(); !ok || off > time.Millisecond {
			t.Errorf("attempt id %q carries %v, %v off its start", e.GetAttemptId(), at, off)
		}
		uses, err := client.ListLastUses(t.Context(), &meteringv1.ListLastUsesRequest{Dimension: meteringv1.Dimension_DIMENSION_API_KEY, Ids: filled.APIKeys})
		if err != nil || len(uses.GetLastUses()) < 15 {
			t.Errorf("ListLastUses = %d, %v", len(uses.GetLastUses()), err)
		}
	})
}

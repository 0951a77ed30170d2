package prices_test

import (
	"context"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/pricefeed"
	"github.com/claviger/claviger/pkg/pricing"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	"github.com/claviger/claviger/services/keys/internal/prices"
)

// feed is metering: it says what it was told to say.
type feed struct {
	messages []*meteringv1.WatchPricesResponse
	since    chan string
}

func (f feed) WatchPrices(_ context.Context, req *meteringv1.WatchPricesRequest, out meteringv1connect.PriceFeedServiceWatchPricesServerStream) error {
	f.since <- req.GetSinceEtag()
	for _, m := range f.messages {
		if err := out.Send(m); err != nil {
			return err
		}
	}
	return nil
}

// TestAVersionComesOverTheWireWithAllThatIsReckonedWith gives every field of a price a value of its own.
func TestAVersionComesOverTheWireWithAllThatIsReckonedWith(t *testing.T) {
	t.Parallel()
	rate := func(n int64) *int64 { return &n }
	from := time.Date(2026, 11, 22, 1, 2, 3, 4000, time.UTC)
	server := connect.NewServer()
	f := feed{since: make(chan string, 1), messages: []*meteringv1.WatchPricesResponse{
		{Message: &meteringv1.WatchPricesResponse_Prices{Prices: &meteringv1.PriceBatch{
			FromEtag: "a", ToEtag: "b", Part: 2, Last: true, Prices: []*meteringv1.Price{{
				Id: "price_1", Model: "p/m", ValidFrom: timestamppb.New(from), Source: "not kept", Reported: true,
				Tiers: []*meteringv1.PriceTier{{
					MinInputTokens: 100, Input: rate(1), Output: rate(2), CacheRead: rate(3), CacheWrite_5M: rate(4), CacheWrite_30M: rate(5), CacheWrite_1H: rate(6),
					CacheWrite_12H: rate(7), AudioIn: rate(8), AudioOut: rate(9), ImageIn: rate(10), ImageOut: rate(11),
				}, {MinInputTokens: 200, Input: rate(0)}},
				Units: []*meteringv1.UnitRate{{Name: "image", NanoUsd: rate(12)}, {Name: "second"}},
			}},
		}}},
		{Message: &meteringv1.WatchPricesResponse_Heartbeat{Heartbeat: &meteringv1.PriceHeartbeat{Etag: "c"}}},
	}}
	meteringv1connect.RegisterPriceFeedServiceHandler(server, f)
	stream, err := prices.Open(connectinprocess.New(server))(t.Context(), "since")
	if err != nil {
		t.Fatal(err)
	}
	want := []pricefeed.Message{
		{From: "a", To: "b", Part: 2, Last: true, Prices: []pricing.Price{{
			ID: "price_1", Model: "p/m", ValidFrom: from, Reported: true,
			Tiers: []pricing.Tier{{
				MinInput: 100, Input: rate(1), Output: rate(2), CacheRead: rate(3), CacheWrite5m: rate(4), CacheWrite30m: rate(5), CacheWrite1h: rate(6),
				CacheWrite12h: rate(7), AudioIn: rate(8), AudioOut: rate(9), ImageIn: rate(10), ImageOut: rate(11),
			}, {MinInput: 200, Input: rate(0)}},
			Units: []pricing.UnitRate{{Name: "image", Rate: rate(12)}, {Name: "second"}},
		}}},
		{Newest: "c"},
	}
	var got []pricefeed.Message
	for range want {
		m, err := stream.Receive()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what comes (-want +got):\n%s", diff)
	}
	if since := <-f.since; since != "since" {
		t.Errorf("the watch begins at %q", since)
	}
	if _, err := stream.Receive(); err == nil {
		t.Error("a stream that has ended goes on")
	}
	if err := stream.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}

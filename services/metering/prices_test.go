package metering_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/pkg/serve"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
)

// watchPrices follows the price book as one of our services.
func (r *rig) watchPrices(ctx context.Context, as authn.Principal, since string) (meteringv1connect.PriceFeedServiceWatchPricesClientStream, error) {
	r.t.Helper()
	client := meteringv1connect.NewPriceFeedServiceClient(connect.NewClient(connectinprocess.New(r.app.Internal(intercept.Fixed(as)))))
	return client.WatchPrices(ctx, &meteringv1.WatchPricesRequest{SinceEtag: since})
}

// book receives a book, or what was added to one, up to its last part.
func book(t *testing.T, stream meteringv1connect.PriceFeedServiceWatchPricesClientStream) (from, to string, prices []*meteringv1.Price) {
	t.Helper()
	for part := int32(0); ; {
		message, err := stream.Receive()
		if err != nil {
			t.Fatalf("WatchPrices: %v", err)
		}
		batch := message.GetPrices()
		if batch == nil {
			continue // a heartbeat
		}
		if batch.GetPart() != part || len(batch.GetPrices()) == 0 || len(batch.GetPrices()) > 500 {
			t.Fatalf("part %d has %d prices, want part %d with 1 to 500", batch.GetPart(), len(batch.GetPrices()), part)
		}
		part++
		prices = append(prices, batch.GetPrices()...)
		if batch.GetLast() {
			return batch.GetFromEtag(), batch.GetToEtag(), prices
		}
	}
}

// TestRoutersAndKeysAreToldThePriceBook: the whole book, then what the operator adds, and nothing that is anybody's
// but the installation's. Nobody else is told.
func TestRoutersAndKeysAreToldThePriceBook(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		r.ready()
		router := authn.Principal{Kind: authn.Service, Service: "router", Instance: "router-1"}
		stream, err := r.watchPrices(t.Context(), router, "")
		if err != nil {
			t.Fatal(err)
		}
		from, etag, prices := book(t, stream)
		if from != "" || etag != pricing.Book().Etag() || len(prices) != len(pricing.Book().Rows()) {
			t.Errorf("the first book has %d versions from %q to %q, want the %d that ship", len(prices), from, etag, len(pricing.Book().Rows()))
		}
		rate := int64(7_000_000)
		created, err := r.operator().CreatePrice(t.Context(), &meteringv1.CreatePriceRequest{IdempotencyKey: "1", Price: &meteringv1.Price{
			Model: "openai/gpt-4o-mini", ValidFrom: timestamppb.New(time.Now()), Source: "contract", Tiers: []*meteringv1.PriceTier{{Input: &rate, Output: &rate}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		from, newest, more := book(t, stream)
		if diff := cmp.Diff([]*meteringv1.Price{created.GetPrice()}, more, protocmp.Transform()); diff != "" || from != etag || newest == etag {
			t.Errorf("the addition leads from %q to %q (-want +got):\n%s", from, newest, diff)
		}

		// keys is told, too; who has the book hears that it is the newest.
		stream, err = r.watchPrices(t.Context(), authn.Principal{Kind: authn.Service, Service: "keys", Instance: "keys-1"}, newest)
		if err != nil {
			t.Fatal(err)
		}
		if first, err := stream.Receive(); err != nil || first.GetHeartbeat().GetEtag() != newest {
			t.Errorf("who has the newest book is told %v, %v", first, err)
		}
		stream, err = r.watchPrices(t.Context(), router, etag)
		if err != nil {
			t.Fatal(err)
		}
		if from, to, all := book(t, stream); from != "" || to != newest || len(all) != len(prices)+1 {
			t.Errorf("who has an older book is told %d versions from %q to %q, want all", len(all), from, to)
		}

		for _, p := range []authn.Principal{
			{Kind: authn.Service, Service: "metering"},
			{Kind: authn.Service},
			{Kind: authn.APIKey, OrgID: r.org},
			{Kind: authn.Session, OrgID: r.op, MemberID: "mem_1", Role: authn.Owner},
		} {
			stream, err := r.watchPrices(t.Context(), p, "")
			if err == nil {
				_, err = stream.Receive()
			}
			// In process a refusal may be the end of what is sent; TestRunServesWhatTheSettingsSay has its words.
			if connect.CodeOf(err) != connect.CodePermissionDenied && !errors.Is(err, io.EOF) {
				t.Errorf("%s %q is told %v, want that it may not", p.Kind, p.Service, err)
			}
		}
		if names := serve.ServiceNames(r.app.Public()); slices.Contains(names, "claviger.metering.v1.PriceFeedService") {
			t.Errorf("the public server serves %v", names)
		}

		r.app.Drain()
		for err = nil; err == nil; {
			_, err = stream.Receive()
		}
		if connect.CodeOf(err) != connect.CodeUnavailable {
			t.Errorf("after Drain a watch ends with %v, want unavailable", err)
		}
	})
}

package keys_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/pricing"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
)

// priceFeed is metering with one price, which it tells once told to.
type priceFeed struct{ told chan struct{} }

// WatchPrices sends a book of one version.
func (f priceFeed) WatchPrices(ctx context.Context, _ *meteringv1.WatchPricesRequest, out meteringv1connect.PriceFeedServiceWatchPricesServerStream) error {
	select {
	case <-f.told:
	case <-ctx.Done():
		return nil
	}
	rate, from := int64(1_000_000), time.Unix(0, 0).UTC()
	book := pricing.NewTable([]pricing.Price{{ID: "price_own", Model: "openai/contract", ValidFrom: from, Tiers: []pricing.Tier{{Input: &rate, Output: &rate}}}})
	if err := out.Send(&meteringv1.WatchPricesResponse{Message: &meteringv1.WatchPricesResponse_Prices{Prices: &meteringv1.PriceBatch{
		ToEtag: book.Etag(), Last: true, Prices: []*meteringv1.Price{{
			Id: "price_own", Model: "openai/contract", ValidFrom: timestamppb.New(from), Source: "contract", Tiers: []*meteringv1.PriceTier{{Input: &rate, Output: &rate}},
		}},
	}}}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// TestPoliciesAreCheckedByMeteringsPriceBook: a line under lowest_cost that only the operator has priced is told to
// have no price, until metering has said that it has one.
func TestPoliciesAreCheckedByMeteringsPriceBook(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	feed := priceFeed{told: make(chan struct{})}
	server := connect.NewServer()
	meteringv1connect.RegisterPriceFeedServiceHandler(server, feed)
	r.metering = connectinprocess.New(server)
	r.app = r.replica(r.db)
	owner := r.signIn("acme", "owner@acme.example")
	problems := func() (out []string) {
		answer, err := owner.policies.CheckPolicy(t.Context(), &keysv1.CheckPolicyRequest{Spec: &keysv1.PolicySpec{Groups: []*keysv1.TargetGroup{{
			Strategy: keysv1.Strategy_STRATEGY_LOWEST_COST, Targets: []*keysv1.Target{{Model: "openai/contract", Use: 2}, {Model: "openai/typo", Use: 2}},
		}}}})
		r.must(err)
		for _, p := range answer.GetProblems() {
			out = append(out, fmt.Sprint(p.GetLine(), " ", p.GetReason()))
		}
		slices.Sort(out)
		return out
	}
	unknown := []string{"1 NO_PRICE", "1 UNKNOWN_MODEL", "2 NO_PRICE", "2 UNKNOWN_MODEL"}
	if got := problems(); !slices.Equal(got, unknown) {
		t.Errorf("by the book that ships: %q, want %q", got, unknown)
	}
	close(feed.told)
	got := problems()
	for deadline := time.Now().Add(30 * time.Second); !slices.Equal(got, unknown[2:]); got = problems() {
		if time.Now().After(deadline) {
			t.Fatalf("by metering's book: %q, want %q", got, unknown[2:])
		}
	}
}

// Package prices follows metering's price book over WatchPrices. What it means is in pkg/pricefeed; here is the wire.
package prices

import (
	"context"

	"connectrpc.com/connect/v2"

	"github.com/claviger/claviger/pkg/pricefeed"
	"github.com/claviger/claviger/pkg/pricing"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
)

// Open returns what opens a watch over transport.
func Open(transport connect.Transport) func(context.Context, string) (pricefeed.Stream, error) {
	client := meteringv1connect.NewPriceFeedServiceClient(connect.NewClient(transport))
	return func(ctx context.Context, since string) (pricefeed.Stream, error) {
		watch, err := client.WatchPrices(ctx, &meteringv1.WatchPricesRequest{SinceEtag: since})
		if err != nil {
			return nil, err
		}
		return stream{watch}, nil
	}
}

type stream struct {
	watch meteringv1connect.PriceFeedServiceWatchPricesClientStream
}

// Receive returns the next message.
func (s stream) Receive() (pricefeed.Message, error) {
	message, err := s.watch.Receive()
	if err != nil {
		return pricefeed.Message{}, err
	}
	batch := message.GetPrices()
	if batch == nil {
		return pricefeed.Message{Newest: message.GetHeartbeat().GetEtag()}, nil
	}
	out := pricefeed.Message{From: batch.GetFromEtag(), To: batch.GetToEtag(), Part: int(batch.GetPart()), Last: batch.GetLast()}
	for _, p := range batch.GetPrices() {
		out.Prices = append(out.Prices, priceOf(p))
	}
	return out, nil
}

// Close ends the watch.
func (s stream) Close() error { return s.watch.Close() }

// priceOf leaves out where the rates come from, which no check asks.
func priceOf(p *meteringv1.Price) pricing.Price {
	out := pricing.Price{ID: p.GetId(), Model: p.GetModel(), ValidFrom: p.GetValidFrom().AsTime(), Reported: p.GetReported()}
	for _, t := range p.GetTiers() {
		out.Tiers = append(out.Tiers, pricing.Tier{
			MinInput: t.GetMinInputTokens(), Input: t.Input, Output: t.Output, CacheRead: t.CacheRead,
			CacheWrite5m: t.CacheWrite_5M, CacheWrite30m: t.CacheWrite_30M, CacheWrite1h: t.CacheWrite_1H, CacheWrite12h: t.CacheWrite_12H,
			AudioIn: t.AudioIn, AudioOut: t.AudioOut, ImageIn: t.ImageIn, ImageOut: t.ImageOut,
		})
	}
	for _, u := range p.GetUnits() {
		out.Units = append(out.Units, pricing.UnitRate{Name: u.GetName(), Rate: u.NanoUsd})
	}
	return out
}

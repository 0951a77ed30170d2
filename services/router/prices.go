package router

import (
	"context"
	"path/filepath"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/claviger/claviger/pkg/config"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/pricefeed"
	"github.com/claviger/claviger/pkg/rpcmount"
	"github.com/claviger/claviger/pkg/serve"
	"github.com/claviger/claviger/pkg/telemetry"
	settingsv1 "github.com/claviger/claviger/proto/gen/claviger/settings/v1"
	"github.com/claviger/claviger/services/router/internal/prices"
)

// priceSource is where the price book that holds comes from.
const priceSource = attribute.Key("claviger.prices.source")

// openPrices returns the price book that plans and costs rest on: metering's, or the one that ships if there is no
// metering to follow.
func openPrices(d Deps) *pricefeed.Follower {
	if d.Metering == nil {
		return pricefeed.Fixed()
	}
	return pricefeed.New(pricefeed.Options{Open: prices.Open(d.Metering), Path: filepath.Join(d.DataDir, "prices.json"), Log: d.Log, Now: d.Now})
}

// dialMetering connects to metering if the settings say where it is.
func dialMetering(s *settingsv1.Router, identity *config.Identity, told *telemetry.Telemetry) (_ connect.Transport, hangUp func(), err error) {
	if s.GetMeteringAddress() == "" {
		return nil, func() {}, nil
	}
	conn, err := serve.Dial(s.GetMeteringAddress(), identity.Client(s.GetMeteringAddress()))
	if err != nil {
		return nil, nil, err
	}
	return intercept.NewTransport(told, rpcmount.NewTransport(conn)), func() { _ = conn.Close() }, nil
}

// measurePrices tells of the price book.
func (a *App) measurePrices(t *telemetry.Telemetry) error {
	m := t.Meter()
	versions, _ := m.Int64ObservableGauge("claviger.prices.versions", metric.WithUnit("{version}"),
		metric.WithDescription("Versions in the price book that holds, by where it comes from."))
	refused, _ := m.Int64ObservableCounter("claviger.prices.refused", metric.WithUnit("{book}"),
		metric.WithDescription("Price books and additions that were refused because they cannot be. The last book holds."))
	silence, _ := m.Float64ObservableGauge("claviger.prices.silence", metric.WithUnit("s"),
		metric.WithDescription("How long metering has said nothing about prices, heartbeats included."))
	_, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		book := a.prices.Book()
		o.ObserveInt64(versions, int64(len(book.Rows())), metric.WithAttributes(priceSource.String(string(book.Source))))
		o.ObserveInt64(refused, a.prices.Refused())
		if a.prices.Following() {
			o.ObserveFloat64(silence, a.secondsSince(a.prices.Heard()))
		}
		return nil
	}, versions, refused, silence)
	return err
}

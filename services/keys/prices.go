package keys

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/claviger/claviger/pkg/catalog"
	"github.com/claviger/claviger/pkg/config"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/pricefeed"
	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/pkg/rpcmount"
	"github.com/claviger/claviger/pkg/serve"
	"github.com/claviger/claviger/pkg/telemetry"
	settingsv1 "github.com/claviger/claviger/proto/gen/claviger/settings/v1"
	"github.com/claviger/claviger/services/keys/internal/policy"
	"github.com/claviger/claviger/services/keys/internal/prices"
)

// book is the price book that metering keeps, or the one that ships if there is no metering to follow, and the
// catalogue of models, as checks of policies ask them. Routers compare by the same book.
type book struct {
	prices *pricefeed.Follower
	now    func() time.Time
}

// openPrices returns the price book that policies are checked by.
func openPrices(d Deps) *pricefeed.Follower {
	if d.Metering == nil {
		return pricefeed.Fixed()
	}
	path := ""
	if d.DataDir != "" {
		path = filepath.Join(d.DataDir, "prices.json")
	}
	return pricefeed.New(pricefeed.Options{Open: prices.Open(d.Metering), Path: path, Log: d.Log, Now: d.Now})
}

// dialMetering connects to metering if the settings say where it is.
func dialMetering(s *settingsv1.Keys, identity *config.Identity, tel *telemetry.Telemetry) (_ connect.Transport, hangUp func(), err error) {
	if s.GetMeteringAddress() == "" {
		return nil, func() {}, nil
	}
	conn, err := serve.Dial(s.GetMeteringAddress(), identity.Client(s.GetMeteringAddress()))
	if err != nil {
		return nil, nil, err
	}
	return intercept.NewTransport(tel, rpcmount.NewTransport(conn)), func() { _ = conn.Close() }, nil
}

var _ policy.Prices = book{}

// Known reports whether the book or the catalogue of models names one that a provider can be called by.
func (b book) Known(model string) bool {
	if catalog.Known(model) {
		return true
	}
	_, ours := slices.BinarySearch(b.prices.Book().Names, model)
	return ours
}

// Offers returns the names under which providers serve a model.
func (book) Offers(model string) []string { return catalog.Offers(model) }

// Priced reports whether the cost of a request can be told in advance.
func (b book) Priced(model string) bool {
	p, ok := b.prices.Table().At(model, b.now())
	if !ok {
		return false
	}
	// A call with a prompt alone, as an embedding is; pictures and videos can never be reckoned beforehand.
	_, known, _ := pricing.CostOf(p, pricing.Used{
		Tokens: &pricing.Counts{InputTotal: 1000, InputUncached: 1000}, Units: []pricing.Unit{{Name: "request", Milli: 1000}},
	})
	return known
}

// Models lists the models of a provider that have a price.
func (b book) Models(provider string) []string {
	return slices.DeleteFunc(slices.Clone(b.prices.Book().Names), func(m string) bool { return !strings.HasPrefix(m, provider+"/") })
}

// Package price keeps the price book: immutable, dated versions of what models cost, and the cost of
// an attempt by them.
//
// Versions are only ever added, so the cost of what was applied never changes. The book that ships
// with the product is added at start; what an operator adds stands beside it, and the version with the
// latest valid_from that is not after the end of an attempt holds.
package price

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// The errors of the price book.
var (
	ErrInvalid = fault.New(fault.Invalid, "PRICE_INVALID", "the price is not valid")
	ErrExists  = fault.New(fault.Conflict, "PRICE_EXISTS", "the model has a price from that moment on").
			Hinting("versions never change; add one with a later valid_from")
	ErrKeyReused = fault.New(fault.Conflict, "IDEMPOTENCY_KEY_REUSED", "the idempotency key was used for another request").
			Hinting("use a new key for a new request")
)

// Version is a row of the price book.
type Version struct {
	pricing.Price
	// CreatedBy is who added it: a member's id, or "seed".
	CreatedBy string
	CreatedAt time.Time
}

// Idempotency makes a retry return the first answer.
type Idempotency struct{ OrgID, Method, Key, Digest string }

// List asks for versions, by model, the newest first for each.
type List struct {
	Model    string
	PageSize int
	// After is the version that the page before ended with.
	After *VersionKey
}

// VersionKey is the place of a version in the order of a list.
type VersionKey struct {
	Model     string
	ValidFrom int64 // microseconds
}

// Store keeps the versions.
type Store interface {
	// InsertPrice adds a version. When the same request was answered before it returns that answer;
	// when the model has a version from that moment on, ErrExists.
	InsertPrice(ctx context.Context, v Version, once Idempotency) (Version, error)
	// SeedPrices adds the versions that are not there.
	SeedPrices(ctx context.Context, versions []Version) error
	ListPrices(ctx context.Context, l List) (versions []Version, more bool, err error)
	// PriceCount counts the versions. As they only ever get more, it tells whether there are new ones.
	PriceCount(ctx context.Context) (int64, error)
	AllPrices(ctx context.Context) ([]pricing.Price, error)
}

// Book is the price book in memory, over the store.
type Book struct {
	store  Store
	now    func() time.Time
	newest atomic.Pointer[edition]
	closed chan struct{}
	once   sync.Once

	mu      sync.Mutex // one load at a time
	count   int64
	checked time.Time // when the store was asked last
	watches atomic.Int64
}

// NewBook returns an empty book over store; Refresh fills it.
func NewBook(store Store, now func() time.Time) *Book {
	b := &Book{store: store, now: now, closed: make(chan struct{})}
	b.newest.Store(newEdition(pricing.NewTable(nil)))
	return b
}

// Seed adds the shipped price book to the store. It alters nothing that is there.
func (b *Book) Seed(ctx context.Context) error {
	rows := pricing.Book().Rows()
	versions := make([]Version, len(rows))
	for i, p := range rows {
		versions[i] = Version{Price: p, CreatedBy: "seed", CreatedAt: b.now()}
	}
	if err := b.store.SeedPrices(ctx, versions); err != nil {
		return fmt.Errorf("seed prices: %w", err)
	}
	return nil
}

// Refresh loads the book again if it has changed, here or by another process.
func (b *Book) Refresh(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refresh(ctx)
}

// refresh is Refresh for who holds mu.
func (b *Book) refresh(ctx context.Context) error {
	count, err := b.store.PriceCount(ctx)
	if err != nil {
		return fmt.Errorf("count prices: %w", err)
	}
	b.checked = b.now()
	if count == b.count {
		return nil
	}
	prices, err := b.store.AllPrices(ctx)
	if err != nil {
		return fmt.Errorf("load prices: %w", err)
	}
	b.advance(pricing.NewTable(prices))
	b.count = int64(len(prices))
	return nil
}

// Price sets cost, its source, price and flags of an attempt from its event, as pricing.Table.Settle says.
func (b *Book) Price(a *usage.Attempt) {
	if a.Tokens != nil && !a.Tokens.Consistent() {
		a.Flags = append(a.Flags, usage.FlagCounts)
	}
	settled := b.newest.Load().table.Settle(pricing.Bill{
		Model: a.Model, Ended: a.Ended, Used: pricing.Used{Tokens: a.Tokens, Units: a.Units}, Reported: a.ReportedNano, Nothing: a.Source == usage.NoUsage,
	})
	a.CostNano, a.CostSource, a.PriceID = nil, sources[settled.Basis], settled.PriceID
	if settled.Basis != pricing.Unknown {
		a.CostNano = &settled.Nano
	}
}

var sources = map[pricing.Basis]usage.CostSource{
	pricing.Unknown: usage.CostUnknown, pricing.ByPrice: usage.CostByPrice, pricing.ByProvider: usage.CostByProvider, pricing.Free: usage.CostNothing,
}

// Create adds a version.
func (b *Book) Create(ctx context.Context, p pricing.Price, by string, once Idempotency) (Version, error) {
	var broken []fault.Violation
	if provider, name, ok := strings.Cut(p.Model, "/"); !ok || provider == "" || name == "" {
		broken = append(broken, fault.Violation{Field: "price.model", Description: `is not "provider/name"`})
	}
	if len(p.Tiers) == 0 && len(p.Units) == 0 {
		broken = append(broken, fault.Violation{Field: "price.tiers", Description: "has no rates, and neither has price.units"})
	}
	if len(p.Tiers) > 0 {
		if err := pricing.CheckTiers(p.Tiers); err != nil {
			broken = append(broken, fault.Violation{Field: "price.tiers", Description: err.Error()})
		}
	}
	if err := pricing.CheckUnits(p.Units); err != nil {
		broken = append(broken, fault.Violation{Field: "price.units", Description: err.Error()})
	}
	if p.ValidFrom.Unix() < 0 || p.ValidFrom.Year() > 9999 {
		broken = append(broken, fault.Violation{Field: "price.valid_from", Description: "is before 1970 or after 9999"})
	}
	if len(broken) > 0 {
		return Version{}, ErrInvalid.Violating(broken...)
	}
	now := b.now()
	p.ID = id.New("price")
	p.ValidFrom = p.ValidFrom.UTC().Truncate(time.Microsecond)
	v, err := b.store.InsertPrice(ctx, Version{Price: p, CreatedBy: by, CreatedAt: now}, once)
	if err != nil {
		return Version{}, fmt.Errorf("insert price: %w", err)
	}
	_ = b.Refresh(context.WithoutCancel(ctx)) // tells who watches at once; what fails here is found within a second
	return v, nil
}

const defaultPageSize = 100

// List lists versions.
func (b *Book) List(ctx context.Context, l List) ([]Version, bool, error) {
	if l.PageSize == 0 {
		l.PageSize = defaultPageSize
	}
	versions, more, err := b.store.ListPrices(ctx, l)
	if err != nil {
		return nil, false, fmt.Errorf("list prices: %w", err)
	}
	return versions, more, nil
}

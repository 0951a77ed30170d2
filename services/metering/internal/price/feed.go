package price

import (
	"context"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/pricing"
)

// ErrDraining ends a watch that goes on elsewhere.
var ErrDraining = fault.New(fault.Unavailable, "METERING_DRAINING", "this replica of metering is going away").Hinting("connect again")

const (
	// aliveEvery is how often somebody who watches hears of us.
	aliveEvery = 10 * time.Second
	// pollEvery is how late versions that other processes add are seen.
	pollEvery = time.Second
)

// edition is the whole book at one moment.
type edition struct {
	table *pricing.Table
	at    *place
}

// place is a moment in the book's history. Those that nobody stands at any more are forgotten: who is slow holds what
// was added since, and no whole book.
type place struct {
	etag  string
	moved chan struct{} // closed once the rest is known
	next  *place
	added []pricing.Price // what the next has more; none if it is another book
}

func newEdition(table *pricing.Table) *edition {
	return &edition{table: table, at: &place{etag: table.Etag(), moved: make(chan struct{})}}
}

// advance makes a table the newest and tells who watches.
func (b *Book) advance(table *pricing.Table) {
	from, to := b.newest.Load(), newEdition(table)
	from.at.next, from.at.added = to.at, additions(from.table, table)
	b.newest.Store(to)
	close(from.at.moved)
}

// additions are the versions that one table has more than another; none if it lacks any.
func additions(from, to *pricing.Table) []pricing.Price {
	had := make(map[string]bool, len(from.Rows()))
	for _, p := range from.Rows() {
		had[p.ID] = true
	}
	var added []pricing.Price
	for _, p := range to.Rows() {
		if !had[p.ID] {
			added = append(added, p)
		}
	}
	if len(to.Rows()) != len(from.Rows())+len(added) {
		return nil
	}
	return added
}

// News is what a watch says. It must not be changed: all watches share it.
type News struct {
	// From is the etag of the book that Prices are added to, empty if they are a whole book. To is the etag of what
	// comes out.
	From, To string
	// Prices are the versions; none is a sign of life.
	Prices []pricing.Price
}

// Watch calls send with the whole book, if since is not its etag, and then with every change, until ctx or the
// process ends.
//
// There is one copy of the book for all watches, and one question a second to the database, not one for each: a
// change closes a channel that they all wait at. A thousand routers that connect at once cost one reading.
func (b *Book) Watch(ctx context.Context, since string, send func(News) error) error {
	b.watches.Add(1)
	defer b.watches.Add(-1)
	now, err := b.current(ctx)
	if err != nil {
		return err
	}
	if now.at.etag != since {
		if err := send(now.whole()); err != nil {
			return err
		}
	}
	at := now.at
	if err := send(News{To: at.etag}); err != nil { // at once: who watches may have been up to date
		return err
	}
	silence := time.NewTimer(aliveEvery)
	defer silence.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-b.closed:
			return ErrDraining
		case <-at.moved:
			at, err = b.follow(at, send)
		case <-silence.C:
			err = send(News{To: at.etag})
		}
		if err != nil {
			return err
		}
		silence.Reset(aliveEvery)
	}
}

// follow tells what came after a place.
func (b *Book) follow(at *place, send func(News) error) (*place, error) {
	if len(at.added) > 0 {
		return at.next, send(News{From: at.etag, To: at.next.etag, Prices: at.added})
	}
	now := b.newest.Load()
	return now.at, send(now.whole())
}

func (e *edition) whole() News { return News{To: e.at.etag, Prices: e.table.Rows()} }

// current is the newest book, as the database was a moment ago. While that is away the last one holds.
func (b *Book) current(ctx context.Context) (*edition, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now().Sub(b.checked) < pollEvery {
		return b.newest.Load(), nil
	}
	err := b.refresh(ctx)
	now := b.newest.Load()
	if len(now.table.Rows()) > 0 {
		return now, nil //nolint:nilerr // the last book holds
	}
	return now, err
}

// Run looks for versions that other processes have added, while somebody watches.
func (b *Book) Run(ctx context.Context) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if b.watches.Load() > 0 {
				_ = b.Refresh(ctx) // the next one may work; until then the last book holds
			}
		}
	}
}

// Close ends all watches: they go on elsewhere.
func (b *Book) Close() { b.once.Do(func() { close(b.closed) }) }

// Watches counts who watches.
func (b *Book) Watches() int64 { return b.watches.Load() }

// Size counts the versions.
func (b *Book) Size() int { return len(b.newest.Load().table.Rows()) }

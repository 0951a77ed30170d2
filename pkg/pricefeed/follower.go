// Package pricefeed follows the price book that metering keeps, so that whoever tells or compares costs reckons with
// the same versions as the one who decides them.
//
// The book is one immutable table behind one atomic pointer: whoever reads it takes no lock and allocates nothing.
// What comes is checked before it counts: a version that cannot be, or an etag that is not that of what was sent, is
// refused whole, and the last book holds. The last book also lies on disk, so that a start without metering goes on
// with it. Before there is any, the book that ships holds. The package knows no wire: who uses it opens the stream.
package pricefeed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/claviger/claviger/pkg/pricing"
)

const (
	minBackoff = 500 * time.Millisecond
	maxBackoff = 5 * time.Second
	// refusedBackoff bounds the wait after a book that was refused: the next one will hardly be better.
	refusedBackoff = 30 * time.Second
	// silence is how long metering may say nothing, heartbeats included, before we dial again.
	silence = 35 * time.Second
)

// errRefused means that what came is no book, or not the one that it says it is.
var errRefused = errors.New("the price book is refused")

// Message is one message of the feed.
type Message struct {
	// Newest is the etag of the newest book, in a sign of life; the rest is then empty.
	Newest string
	// From is the etag of the book that Prices are added to, empty for a whole book, and To that of what comes out.
	From, To string
	// Part counts from 0; Last says that no part follows.
	Part   int
	Last   bool
	Prices []pricing.Price
}

// Stream is an open watch.
type Stream interface {
	Receive() (Message, error)
	Close() error
}

// Options configures a Follower. All fields but Path are required.
type Options struct {
	// Open watches from a book on; an empty etag is none.
	Open func(ctx context.Context, sinceEtag string) (Stream, error)
	// Path is the file that keeps the last book; empty keeps none.
	Path string
	Log  *slog.Logger
	Now  func() time.Time
}

// Source says where a book comes from.
type Source string

// The sources.
const (
	Shipped  Source = "shipped"  // with the product
	Kept     Source = "kept"     // by metering, before this start
	Followed Source = "followed" // by metering, since
)

// Book is a price book. It never changes.
type Book struct {
	*pricing.Table
	Source Source
	// Names are the models that have a price, sorted.
	Names []string

	etag string // empty for the one that ships: metering's may be another
}

func newBook(table *pricing.Table, source Source, etag string) *Book {
	return &Book{Table: table, Source: source, Names: table.Models(), etag: etag}
}

// Follower follows metering and has the newest book.
type Follower struct {
	o       Options
	book    atomic.Pointer[Book]
	heard   atomic.Pointer[time.Time]
	refused atomic.Int64

	rows []pricing.Price // of parts that are not complete yet
	part int
}

// Fixed returns a follower of nobody: it has the book that ships.
func Fixed() *Follower {
	f := &Follower{}
	f.book.Store(newBook(pricing.Book(), Shipped, ""))
	return f
}

// New loads the last book from disk, if there is one.
func New(o Options) *Follower {
	f := Fixed()
	f.o = o
	switch table, etag, err := load(o.Path); {
	case err != nil:
		f.refused.Add(1)
		o.Log.Error("kept price book refused; the one that ships holds until metering answers", "error", err)
	case table != nil:
		f.book.Store(newBook(table, Kept, etag))
		o.Log.Info("price book loaded from disk", "versions", len(table.Rows()))
	}
	return f
}

// Book returns the book to reckon with.
func (f *Follower) Book() *Book { return f.book.Load() }

// Table returns the prices to reckon with.
func (f *Follower) Table() *pricing.Table { return f.book.Load().Table }

// Following reports whether there is anybody to follow.
func (f *Follower) Following() bool { return f.o.Open != nil }

// Heard is when metering has said something last; zero is never.
func (f *Follower) Heard() time.Time {
	if at := f.heard.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// Refused counts the books and additions that were refused.
func (f *Follower) Refused() int64 { return f.refused.Load() }

// Run follows metering until ctx ends. While it is away the last book holds.
func (f *Follower) Run(ctx context.Context) error {
	if !f.Following() {
		<-ctx.Done()
		return nil
	}
	backoff := minBackoff
	for ctx.Err() == nil {
		began := f.o.Now()
		err := f.watch(ctx)
		if ctx.Err() != nil {
			break
		}
		if f.o.Now().Sub(began) > maxBackoff {
			backoff = minBackoff
		}
		if errors.Is(err, errRefused) {
			f.refused.Add(1)
			f.o.Log.ErrorContext(ctx, "prices from metering refused; the last book holds", "error", err)
			backoff = refusedBackoff
		} else {
			f.o.Log.DebugContext(ctx, "price feed ended", "error", err)
		}
		sleep(ctx, backoff/2+rand.N(backoff/2)) //nolint:gosec // jitter
		backoff = min(2*backoff, maxBackoff)
	}
	return nil
}

// watch reads one stream of the feed until it ends.
func (f *Follower) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	alarm := time.AfterFunc(silence, cancel)
	defer alarm.Stop()
	stream, err := f.o.Open(ctx, f.Book().etag)
	if err != nil {
		return fmt.Errorf("watch prices: %w", err)
	}
	defer func() { _ = stream.Close() }()
	f.rows, f.part = nil, 0
	for {
		message, err := stream.Receive()
		if err != nil {
			return fmt.Errorf("watch prices: %w", err)
		}
		alarm.Reset(silence)
		now := f.o.Now()
		f.heard.Store(&now)
		if err := f.take(message); err != nil {
			return err
		}
	}
}

// take takes one message.
func (f *Follower) take(m Message) error {
	ours := f.Book()
	if m.Newest != "" {
		if m.Newest != ours.etag {
			return fmt.Errorf("%w: metering's is %s and ours %s, which nothing has led to", errRefused, m.Newest, ours.etag)
		}
		if ours.Source == Kept { // metering says that it is the newest
			f.book.Store(newBook(ours.Table, Followed, ours.etag))
		}
		return nil
	}
	switch {
	case m.Part != f.part || m.From != "" && m.From != ours.etag:
		return fmt.Errorf("%w: part %d from %q does not follow part %d of %q", errRefused, m.Part, m.From, f.part-1, ours.etag)
	case m.Part == 0 && m.From != "":
		f.rows = append(f.rows[:0], ours.Rows()...)
	}
	f.rows = append(f.rows, m.Prices...)
	f.part++
	if !m.Last {
		return nil
	}
	table := pricing.NewTable(f.rows)
	f.rows, f.part = nil, 0
	if err := checked(table, m.To); err != nil {
		return err
	}
	f.book.Store(newBook(table, Followed, m.To))
	f.o.Log.Info("price book taken", "versions", len(table.Rows()), "models", len(f.Book().Names))
	if f.o.Path == "" {
		return nil
	}
	if err := save(f.o.Path, table, m.To); err != nil { // it counts all the same
		f.o.Log.Error("price book not kept on disk", "error", err)
	}
	return nil
}

// checked refuses a table that cannot be, or that is not the one of an etag.
func checked(table *pricing.Table, etag string) error {
	if err := table.Check(); err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	if got := table.Etag(); got != etag {
		return fmt.Errorf("%w: its etag is %s and not %s", errRefused, got, etag)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

package price_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/metering/internal/price"
)

// shelf is a store that is shared by processes, counts what it is asked, and may be away.
type shelf struct {
	price.Store
	mu     sync.Mutex
	prices []pricing.Price
	asked  int
	read   int
	away   error
}

func (s *shelf) put(p pricing.Price) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prices = append(s.prices, p)
}

func (s *shelf) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = err
}

func (s *shelf) PriceCount(context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return int64(len(s.prices)), s.away
}

func (s *shelf) AllPrices(context.Context) ([]pricing.Price, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read++
	return append([]pricing.Price(nil), s.prices...), s.away
}

func (s *shelf) InsertPrice(_ context.Context, v price.Version, _ price.Idempotency) (price.Version, error) {
	s.put(v.Price)
	return v, nil
}

// told is what a watch was told and when, since the beginning.
type told struct {
	mu  sync.Mutex
	all []string
}

func (l *told) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.all
	l.all = nil
	return all
}

// watch watches until ctx ends and notes what comes: "12s alive", "3s whole 2", "4s plus 1". Each batch must lead
// from the book that the watch has to the one that it names.
func watch(ctx context.Context, t *testing.T, b *price.Book, since string) *told {
	t.Helper()
	l, began := &told{}, time.Now()
	var rows []pricing.Price
	go func() {
		err := b.Watch(ctx, since, func(n price.News) error {
			what := "alive"
			switch {
			case n.From != "":
				if n.From != since {
					t.Errorf("a change builds on %s, not on %s", n.From, since)
				}
				rows = append(rows, n.Prices...)
				what = fmt.Sprint("plus ", len(n.Prices))
			case len(n.Prices) > 0:
				rows = append([]pricing.Price(nil), n.Prices...)
				what = fmt.Sprint("whole ", len(n.Prices))
			}
			if len(n.Prices) > 0 && pricing.NewTable(rows).Etag() != n.To {
				t.Errorf("after %s the book is not %s", what, n.To)
			}
			since = n.To
			l.mu.Lock()
			defer l.mu.Unlock()
			l.all = append(l.all, fmt.Sprintf("%s %s", time.Since(began), what))
			return nil
		})
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = append(l.all, fmt.Sprintf("end %v", err))
	}()
	return l
}

func wantTold(t *testing.T, l *told, want ...string) {
	t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, l.take()); diff != "" {
		t.Errorf("the watch was told (-want +got):\n%s", diff)
	}
}

func added(id string) pricing.Price {
	return version(id, time.Unix(0, 0).Add(time.Duration(len(id))*time.Hour), 7)
}

func TestAWatchHasTheBookAndThenEachVersionAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := &shelf{prices: []pricing.Price{added("price_1"), added("price_12")}}
		ours, theirs := price.NewBook(s, time.Now), price.NewBook(s, time.Now)
		go func() { _ = ours.Run(ctx) }()
		l := watch(ctx, t, ours, "")
		wantTold(t, l, "0s whole 2", "0s alive")

		time.Sleep(10 * time.Second) //nolint:forbidigo // the time of a synctest bubble
		wantTold(t, l, "10s alive")

		// Here it is told at once; another process is asked once a second.
		time.Sleep(2500 * time.Millisecond) //nolint:forbidigo // the time of a synctest bubble
		mine := added("-")
		mine.Model, mine.ValidFrom = "p/new", time.Now()
		if _, err := ours.Create(ctx, mine, "mem_1", price.Idempotency{}); err != nil {
			t.Fatal(err)
		}
		wantTold(t, l, "12.5s plus 1")
		mine.Model = "p/newer"
		if _, err := theirs.Create(ctx, mine, "mem_1", price.Idempotency{}); err != nil {
			t.Fatal(err)
		}
		wantTold(t, l)
		time.Sleep(500 * time.Millisecond) //nolint:forbidigo // the time of a synctest bubble
		wantTold(t, l, "13s plus 1")
		time.Sleep(10*time.Second - time.Millisecond) //nolint:forbidigo // the time of a synctest bubble
		wantTold(t, l)
		time.Sleep(time.Millisecond) //nolint:forbidigo // the time of a synctest bubble
		wantTold(t, l, "23s alive")

		// Who has the newest book is sent none of it, who has another one all of it.
		etag := pricing.NewTable(s.prices).Etag()
		wantTold(t, watch(ctx, t, ours, etag), "0s alive")
		wantTold(t, watch(ctx, t, ours, "of another life"), "0s whole 4", "0s alive")

		// A database that was set back is another book.
		s.mu.Lock()
		s.prices = s.prices[:1]
		s.mu.Unlock()
		time.Sleep(time.Second) //nolint:forbidigo // the time of a synctest bubble
		wantTold(t, l, "24s whole 1")

		ours.Close()
		wantTold(t, l, "end "+price.ErrDraining.Error())
	})
}

func TestWhileTheDatabaseIsAwayTheLastBookIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		away := errors.New("away")
		s := &shelf{prices: []pricing.Price{added("price_1")}, away: away}
		b := price.NewBook(s, time.Now)
		go func() { _ = b.Run(ctx) }()
		wantTold(t, watch(ctx, t, b, ""), "end count prices: away")
		s.fail(nil)
		time.Sleep(time.Second) //nolint:forbidigo // the time of a synctest bubble
		l := watch(ctx, t, b, "")
		wantTold(t, l, "0s whole 1", "0s alive")
		s.fail(away)
		time.Sleep(5 * time.Second) //nolint:forbidigo // the time of a synctest bubble
		wantTold(t, watch(ctx, t, b, ""), "0s whole 1", "0s alive")
		s.put(added("price_12"))
		s.fail(nil)
		time.Sleep(time.Second) //nolint:forbidigo // the time of a synctest bubble
		wantTold(t, l, "6s plus 1")
	})
}

// TestAThousandWatchesAskTheDatabaseAsOne counts what the database is asked: the number of watches is no part of it.
func TestAThousandWatchesAskTheDatabaseAsOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := &shelf{prices: []pricing.Price{added("price_1")}}
		b := price.NewBook(s, time.Now)
		go func() { _ = b.Run(ctx) }()
		time.Sleep(time.Minute) //nolint:forbidigo // the time of a synctest bubble
		if s.asked != 0 {
			t.Errorf("the database was asked %d times though nobody watches", s.asked)
		}
		var all []*told
		for range 1000 {
			all = append(all, watch(ctx, t, b, ""))
		}
		synctest.Wait()
		if s.asked > 2 || s.read != 1 || b.Watches() != 1000 {
			t.Errorf("%d watches asked %d times and read %d times, want 1000, one or two and one", b.Watches(), s.asked, s.read)
		}
		s.asked = 0
		s.put(added("price_12"))
		time.Sleep(10*time.Second + time.Millisecond) //nolint:forbidigo // the time of a synctest bubble
		synctest.Wait()
		if s.asked > 11 || s.read != 2 {
			t.Errorf("in ten seconds the database was asked %d times and read %d times, want once a second and once", s.asked, s.read-1)
		}
		for _, l := range all {
			if got := l.take(); len(got) < 3 || got[2] != "1s plus 1" {
				t.Fatalf("a watch was told %v", got)
			}
		}
		cancel()
		synctest.Wait()
		if b.Watches() != 0 {
			t.Errorf("%d watches are left", b.Watches())
		}
	})
}

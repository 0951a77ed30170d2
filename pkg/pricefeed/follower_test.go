package pricefeed_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/pricefeed"
	"github.com/claviger/claviger/pkg/pricing"
)

// metering is the other end: each stream is given to the test, which says what comes.
type metering struct {
	streams chan *stream
	away    atomic.Bool
}

// stream is what a follower has opened.
type stream struct {
	ctx      context.Context
	since    string
	messages chan pricefeed.Message
}

func (m *metering) open(ctx context.Context, since string) (pricefeed.Stream, error) {
	if m.away.Load() {
		return nil, errors.New("away")
	}
	s := &stream{ctx: ctx, since: since, messages: make(chan pricefeed.Message)}
	m.streams <- s
	return s, nil
}

func (s *stream) Receive() (pricefeed.Message, error) {
	select {
	case <-s.ctx.Done():
		return pricefeed.Message{}, s.ctx.Err()
	case m, ok := <-s.messages:
		if !ok {
			return m, io.EOF
		}
		return m, nil
	}
}

func (*stream) Close() error { return nil }

// whole says a book in one part, and that it is the newest.
func (s *stream) whole(rows ...pricing.Price) {
	etag := pricing.NewTable(rows).Etag()
	s.messages <- pricefeed.Message{To: etag, Last: true, Prices: rows}
	s.messages <- pricefeed.Message{Newest: etag}
}

func row(id, model string, rate int64) pricing.Price {
	return pricing.Price{ID: "price_" + id, Model: model, ValidFrom: time.Unix(0, 0).UTC(), Tiers: []pricing.Tier{{Input: &rate, Output: &rate}}}
}

func etagOf(rows ...pricing.Price) string { return pricing.NewTable(rows).Etag() }

// rig is a follower of a metering, in a synctest bubble.
type rig struct {
	*pricefeed.Follower
	metering *metering
	path     string
	log      bytes.Buffer
	stop     context.CancelFunc
}

func follow(t *testing.T, path string) *rig {
	t.Helper()
	r := &rig{metering: &metering{streams: make(chan *stream)}, path: path}
	r.Follower = pricefeed.New(pricefeed.Options{Open: r.metering.open, Path: path, Log: slog.New(slog.NewTextHandler(&r.log, nil)), Now: time.Now})
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	done := make(chan struct{})
	go func() { _ = r.Run(ctx); close(done) }()
	t.Cleanup(func() {
		stop()
		select {
		case <-r.metering.streams: // a last one, whose context has ended
			<-done
		case <-done:
		}
	})
	return r
}

// want compares what holds with the versions, by source.
func (r *rig) want(t *testing.T, source pricefeed.Source, rows ...pricing.Price) {
	t.Helper()
	synctest.Wait()
	b := r.Book()
	if b.Source != source || b.Etag() != etagOf(rows...) || !cmp.Equal(b.Names, pricing.NewTable(rows).Models()) {
		t.Errorf("the book is %s with %v, want %s with %v", b.Source, b.Names, source, pricing.NewTable(rows).Models())
	}
}

func TestABookIsFollowedFromPartToPartAndFromVersionToVersion(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "prices.json")
	a, b, c := row("a", "p/a", 1), row("b", "p/b", 2), row("c", "p/c", 3)
	synctest.Test(t, func(t *testing.T) {
		r := follow(t, path)
		r.want(t, pricefeed.Shipped, pricing.Book().Rows()...)
		s := <-r.metering.streams
		if s.since != "" {
			t.Errorf("a first watch begins at %q", s.since)
		}
		s.messages <- pricefeed.Message{To: etagOf(a, b), Prices: []pricing.Price{a}}
		r.want(t, pricefeed.Shipped, pricing.Book().Rows()...)
		s.messages <- pricefeed.Message{To: etagOf(a, b), Part: 1, Last: true, Prices: []pricing.Price{b}}
		r.want(t, pricefeed.Followed, a, b)
		s.messages <- pricefeed.Message{Newest: etagOf(a, b)}
		s.messages <- pricefeed.Message{From: etagOf(a, b), To: etagOf(a, b, c), Last: true, Prices: []pricing.Price{c}}
		r.want(t, pricefeed.Followed, a, b, c)
		heard := time.Now()
		close(s.messages)
		s = <-r.metering.streams
		if s.since != etagOf(a, b, c) || !r.Heard().Equal(heard) || r.Refused() != 0 {
			t.Errorf("the next watch begins at %q; metering was heard at %s; %d were refused", s.since, r.Heard(), r.Refused())
		}
	})

	// The next start goes on with it, with nobody to follow.
	synctest.Test(t, func(t *testing.T) {
		r := follow(t, path)
		r.want(t, pricefeed.Kept, a, b, c)
		s := <-r.metering.streams
		if s.since != etagOf(a, b, c) {
			t.Errorf("a watch after a start begins at %q", s.since)
		}
		s.messages <- pricefeed.Message{Newest: etagOf(a, b, c)}
		r.want(t, pricefeed.Followed, a, b, c)
	})
}

// TestABookThatIsToBeKeptNowhereIsFollowedAllTheSame is a service without a data folder.
func TestABookThatIsToBeKeptNowhereIsFollowedAllTheSame(t *testing.T) {
	t.Parallel()
	a := row("a", "p/a", 1)
	synctest.Test(t, func(t *testing.T) {
		r := follow(t, "")
		(<-r.metering.streams).whole(a)
		r.want(t, pricefeed.Followed, a)
		if r.Refused() != 0 || strings.Contains(r.log.String(), "ERROR") {
			t.Errorf("%d refused, and the log says\n%s", r.Refused(), r.log.String())
		}
	})
}

// TestWhatCannotBeAPriceBookIsRefusedAndTheLastOneHolds has every way in which a message can be wrong. Each is
// counted and logged, changes nothing in memory or on disk, and is asked for again, but not in a hurry.
func TestWhatCannotBeAPriceBookIsRefusedAndTheLastOneHolds(t *testing.T) {
	t.Parallel()
	a, b, broken := row("a", "p/a", 1), row("b", "p/b", 2), row("b", "p/b", -2)
	last := func(from, to string, rows ...pricing.Price) pricefeed.Message {
		return pricefeed.Message{From: from, To: to, Last: true, Prices: rows}
	}
	for name, c := range map[string]struct {
		message pricefeed.Message
		says    string
	}{
		"a negative price":             {last("", etagOf(a, broken), a, broken), "rate for input is -2"},
		"a negative price is added":    {last(etagOf(a), etagOf(a, broken), broken), "rate for input is -2"},
		"no price at all":              {last("", etagOf()), "the book is empty"},
		"a version twice":              {last(etagOf(a), etagOf(a, a), a), "stands there twice"},
		"another book than it says":    {last("", etagOf(a), b), "its etag is"},
		"an addition to another book":  {last(etagOf(b), etagOf(a, b), a), "does not follow"},
		"a part without its beginning": {pricefeed.Message{To: etagOf(b), Part: 1, Last: true, Prices: []pricing.Price{b}}, "does not follow"},
		"a newer one was not sent":     {pricefeed.Message{Newest: etagOf(b)}, "which nothing has led to"},
	} {
		path := filepath.Join(t.TempDir(), "prices.json")
		synctest.Test(t, func(t *testing.T) {
			r := follow(t, path)
			s := <-r.metering.streams
			s.whole(a)
			s.messages <- c.message
			r.want(t, pricefeed.Followed, a)
			began := time.Now()
			if r.Refused() != 1 || !strings.Contains(r.log.String(), c.says) {
				t.Errorf("%s: %d refused, and the log says\n%s", name, r.Refused(), r.log.String())
			}
			s = <-r.metering.streams
			if waited := time.Since(began); waited < 15*time.Second || waited > 30*time.Second || s.since != etagOf(a) {
				t.Errorf("%s: after %s the next watch begins at %q", name, waited, s.since)
			}
			s.whole(a, b)
			r.want(t, pricefeed.Followed, a, b)
		})
	}
}

func TestASilentOrAbsentMeteringIsDialedAgainAndTheLastBookHolds(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "prices.json")
	a := row("a", "p/a", 1)
	synctest.Test(t, func(t *testing.T) {
		r := follow(t, path)
		s := <-r.metering.streams
		s.whole(a)
		synctest.Wait()
		began := time.Now()
		<-s.ctx.Done()
		if waited := time.Since(began); waited != 35*time.Second {
			t.Errorf("a silent metering is left after %s, want 35 s", waited)
		}
		s = <-r.metering.streams
		r.metering.away.Store(true)
		close(s.messages)
		time.Sleep(time.Hour) //nolint:forbidigo // the time of a synctest bubble
		r.want(t, pricefeed.Followed, a)
		r.metering.away.Store(false)
		began = time.Now()
		(<-r.metering.streams).whole(a)
		if waited := time.Since(began); waited > 5*time.Second {
			t.Errorf("metering is found again after %s, want within 5 s", waited)
		}
		if r.Refused() != 0 {
			t.Errorf("%d refused", r.Refused())
		}
	})
}

// TestAKeptBookIsCheckedAnew breaks what lies on disk: what is then not believed is replaced by what ships, and by
// metering's as soon as it answers.
func TestAKeptBookIsCheckedAnew(t *testing.T) {
	t.Parallel()
	a := row("a", "p/a", 1_000)
	good := filepath.Join(t.TempDir(), "prices.json")
	synctest.Test(t, func(t *testing.T) {
		r := follow(t, good)
		(<-r.metering.streams).whole(a)
		r.want(t, pricefeed.Followed, a)
	})
	raw, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"nothing in it": {}, "no JSON": []byte("{"), "half of it": raw[:len(raw)/2],
		"another rate":    bytes.Replace(raw, []byte(`"Input":1000`), []byte(`"Input":1001`), 1),
		"a negative rate": bytes.Replace(raw, []byte(`"Input":1000`), []byte(`"Input":-100`), 1),
		"another model":   bytes.Replace(raw, []byte(`"p/a"`), []byte(`"p/b"`), 1),
		"another etag":    bytes.Replace(raw, []byte(etagOf(a)), []byte(strings.Repeat("A", len(etagOf(a)))), 1),
	} {
		if bytes.Equal(content, raw) {
			t.Fatalf("%s: nothing was changed of\n%s", name, raw)
		}
		path := filepath.Join(t.TempDir(), "prices.json")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			r := follow(t, path)
			r.want(t, pricefeed.Shipped, pricing.Book().Rows()...)
			if r.Refused() != 1 || !strings.Contains(r.log.String(), "kept price book refused") {
				t.Errorf("%s: %d refused, and the log says\n%s", name, r.Refused(), r.log.String())
			}
			s := <-r.metering.streams
			if s.since != "" {
				t.Errorf("%s: the watch begins at %q", name, s.since)
			}
			s.whole(a)
			r.want(t, pricefeed.Followed, a)
		})
	}
}

// TestAFollowerOfNobodyHasTheBookThatShips is what an empty address means.
func TestAFollowerOfNobodyHasTheBookThatShips(t *testing.T) {
	t.Parallel()
	f := pricefeed.Fixed()
	if f.Following() || f.Book().Source != pricefeed.Shipped || f.Table() != pricing.Book() || !f.Heard().IsZero() {
		t.Errorf("it follows (%t) and has a book that is %s", f.Following(), f.Book().Source)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Run(ctx); err != nil {
		t.Errorf("Run = %v", err)
	}
}

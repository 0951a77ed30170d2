package usage

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/claviger/claviger/pkg/fault"
)

// Counted is an attempt with its place in the order in which those of its organization were counted.
// Numbers may be left out. A revision of an attempt is counted again, under a new number.
type Counted struct {
	Number int64
	Attempt
}

// FeedStore reads what was counted. Whoever sees a number must see all below it, except those of
// attempts that were revised since, which have a higher one.
type FeedStore interface {
	// Counters returns the highest number of each organization.
	Counters(ctx context.Context, orgIDs []string) (map[string]int64, error)
	// Counted returns attempts with numbers above after, up to through, in order.
	Counted(ctx context.Context, orgID string, after, through int64, limit int) ([]Counted, error)
}

// The errors of Watch.
var (
	ErrWatches = fault.New(fault.Exhausted, "WATCHES_EXHAUSTED", "too many watches of live requests are open").
			Hinting("close pages or terminals that show live requests, or list requests instead").RetryingAfter(30 * time.Second)
	ErrResume = fault.New(fault.Invalid, "RESUME_TOKEN_INVALID", "the resume token is not one of this watch").
			Hinting("watch without a token, and list what came meanwhile")
)

// Bounds and waits of a feed.
const (
	MaxWatchesOfMember = 20
	MaxWatchesOfOrg    = 100
	MaxWatches         = 2000

	// watchPage is how many attempts are read, and at most sent, at once.
	watchPage = 500
	// aliveEvery is how often somebody who watches hears of us, so that dead connections are noticed.
	aliveEvery = 15 * time.Second
	// pollEvery is how late what other processes count is seen.
	pollEvery = time.Second
	// gather is the least time between two batches of a watch that has caught up.
	gather = 100 * time.Millisecond
	// watchFor is the longest life of a watch; some end sooner, so that not all come back at once.
	watchFor, watchSpread = 5 * time.Minute, 20 * time.Second
)

// Watch asks for attempts as they are counted.
type Watch struct {
	// OrgID is the tenant; MemberID, if not empty, the only member whose usage may be seen.
	OrgID, MemberID string
	// Who is the person that watches.
	Who        string
	Filters    []Filter
	ErrorsOnly bool
	// After is the number to go on after; below zero is the newest.
	After int64
	// Until is when the watch has to end at the latest; zero is the longest that there is.
	Until time.Time
}

func (w *Watch) keeps(e *Event) bool {
	if w.MemberID != "" && e.MemberID != w.MemberID || w.ErrorsOnly && !e.Failed() {
		return false
	}
	for i := range w.Filters {
		if !w.Filters[i].Match(e) {
			return false
		}
	}
	return true
}

// Feed tells those who watch what is counted, by this process or another.
//
// Each organization that is watched has one reader, whose pages all its watches share: a batch costs one
// query per process and organization, not per watch. Other processes are noticed by one query a second for
// all organizations. So 1,000 open watches that nothing happens for cost one query and 67 signs of life a
// second; BenchmarkThousandWatches measures them at about 6 KiB each here, besides what the connection
// takes (an estimate: 20 KiB in HTTP/2).
type Feed struct {
	store  FeedStore
	now    func() time.Time
	log    *slog.Logger
	closed chan struct{}
	once   sync.Once

	mu      sync.Mutex
	lines   map[string]*line
	watches int
}

// NewFeed returns a feed on store. Run has to run.
func NewFeed(store FeedStore, now func() time.Time, log *slog.Logger) *Feed {
	return &Feed{store: store, now: now, log: log, closed: make(chan struct{}), lines: map[string]*line{}}
}

// line is an organization that is watched.
type line struct {
	orgID   string
	watches map[string]int // by who watches
	total   int
	// counted is the highest number that is known; moved is closed when it grows.
	counted int64
	moved   chan struct{}

	reading chan struct{} // holds one token: whoever has it may read and change page
	page    page
}

// page are attempts with numbers above after, all of them up to through.
type page struct {
	after, through int64
	counted        []Counted
}

// Run looks once a second what other processes have counted, until ctx ends.
func (f *Feed) Run(ctx context.Context) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		orgs := f.watched()
		if len(orgs) == 0 {
			continue
		}
		counters, err := f.store.Counters(ctx, orgs)
		if err != nil && !failing && ctx.Err() == nil {
			f.log.WarnContext(ctx, "live requests stand still", "error", err)
		}
		failing = err != nil
		f.Advance(counters)
	}
}

func (f *Feed) watched() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Keys(f.lines))
}

// Advance says up to which numbers attempts are counted, and wakes those who watch.
func (f *Feed) Advance(counters map[string]int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for orgID, n := range counters {
		if l := f.lines[orgID]; l != nil && n > l.counted {
			l.counted = n
			close(l.moved)
			l.moved = make(chan struct{})
		}
	}
}

// Close ends all watches; their callers may go on elsewhere with the last number they were given.
func (f *Feed) Close() { f.once.Do(func() { close(f.closed) }) }

func (f *Feed) join(w *Watch) (*line, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.lines[w.OrgID]
	if l == nil {
		l = &line{orgID: w.OrgID, watches: map[string]int{}, moved: make(chan struct{}), reading: make(chan struct{}, 1)}
	}
	switch {
	case l.watches[w.Who] >= MaxWatchesOfMember:
		return nil, ErrWatches.Saying("you have %d watches of live requests open, which is the limit", MaxWatchesOfMember).With("limit", "member")
	case l.total >= MaxWatchesOfOrg:
		return nil, ErrWatches.Saying("your organization has %d watches of live requests open, which is the limit", MaxWatchesOfOrg).With("limit", "organization")
	case f.watches >= MaxWatches:
		return nil, ErrWatches.Saying("this process has %d watches of live requests open, which is the limit", MaxWatches).With("limit", "process").
			Hinting("try again, or list requests instead").Blaming(fault.Us)
	}
	f.lines[w.OrgID] = l
	l.watches[w.Who]++
	l.total++
	f.watches++
	return l, nil
}

func (f *Feed) leave(w *Watch, l *line) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watches--
	l.total--
	if l.watches[w.Who]--; l.watches[w.Who] == 0 {
		delete(l.watches, w.Who)
	}
	if l.total == 0 {
		delete(f.lines, w.OrgID)
	}
}

// state returns how far l is, and what is closed when it goes on.
func (f *Feed) state(l *line) (counted int64, moved <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return l.counted, l.moved
}

// read returns what follows after, at most up to through and a page long. The page that was read last is
// used if it has it: those who watch are mostly at the same place.
func (f *Feed) read(ctx context.Context, l *line, after, through int64) (page, error) {
	select {
	case l.reading <- struct{}{}:
	case <-ctx.Done():
		return page{}, ctx.Err()
	}
	defer func() { <-l.reading }()
	if after < l.page.after || after >= l.page.through {
		counted, err := f.store.Counted(ctx, l.orgID, after, through, watchPage)
		if err != nil {
			return page{}, err
		}
		if len(counted) == watchPage {
			through = counted[len(counted)-1].Number
		}
		l.page = page{after: after, through: through, counted: counted}
	}
	from, found := slices.BinarySearchFunc(l.page.counted, after, func(c Counted, n int64) int { return cmp.Compare(c.Number, n) })
	if found {
		from++
	}
	return page{after: after, through: l.page.through, counted: l.page.counted[from:]}, nil
}

// Watch sends attempts as they are counted, each once and in that order, and every 15 seconds without any
// a sign of life; at is the number to go on after. It begins with a sign of life. It returns nil when its
// time is up or the process ends.
func (f *Feed) Watch(ctx context.Context, w Watch, send func(attempts []Attempt, at int64) error) error {
	if broken := checkFilters(w.Filters); len(broken) > 0 {
		return ErrQuery.Violating(broken...)
	}
	l, err := f.join(&w)
	if err != nil {
		return err
	}
	defer f.leave(&w, l)
	counters, err := f.store.Counters(ctx, []string{w.OrgID})
	if err != nil {
		return err
	}
	f.Advance(counters)
	at := w.After
	switch newest := counters[w.OrgID]; {
	case at < 0:
		at = newest
	case at > newest:
		return ErrResume // of another database, or of this one before it was restored
	}
	if err := send(nil, at); err != nil {
		return err
	}
	return f.follow(ctx, &w, l, at, send)
}

func (f *Feed) follow(ctx context.Context, w *Watch, l *line, at int64, send func([]Attempt, int64) error) error {
	life := watchFor
	if !w.Until.IsZero() {
		life = min(life, w.Until.Sub(f.now()))
	}
	if life > 2*watchSpread {
		life -= rand.N(watchSpread) //nolint:gosec // spreads load, hides nothing
	}
	end := time.NewTimer(life)
	defer end.Stop()
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	rest := time.NewTimer(0) // until it ends nothing is read
	defer rest.Stop()
	for {
		counted, moved := f.state(l)
		var rested <-chan time.Time
		if at < counted {
			moved, rested = nil, rest.C
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.closed:
			return nil
		case <-end.C:
			return nil
		case <-alive.C:
			if err := send(nil, at); err != nil {
				return err
			}
			continue
		case <-moved:
			continue
		case <-rested:
		}
		p, err := f.read(ctx, l, at, counted)
		if err != nil {
			return fmt.Errorf("watch requests: %w", err)
		}
		at = p.through
		if at < counted {
			rest.Reset(0)
		} else {
			rest.Reset(gather)
		}
		var kept []Attempt
		for i := range p.counted {
			if w.keeps(&p.counted[i].Event) {
				kept = append(kept, p.counted[i].Attempt)
			}
		}
		if len(kept) == 0 {
			continue
		}
		if err := send(kept, at); err != nil {
			return err
		}
		alive.Reset(aliveEvery)
	}
}

// Package routerstate knows which routers are connected and under which configuration they serve, and
// waits for them on behalf of those who switch something off.
//
// Every replica of keys takes reports and shares them through one row per router. A router is connected
// from its first report until its lease ends, which every report renews, or until it says goodbye. So a
// router that was cut off delays receipts for some seconds and not for hours, and is then counted among
// those that nobody can reach.
//
// What a fleet costs: a router reports every five seconds and whenever it has applied something. A
// replica writes what it heard as one statement, at most ten a second whatever is going on, and one a
// second when routers have nothing to say but that they are there; each lease is written about every ten
// seconds. So 100 idle routers are one statement a second with ten rows in it, no version of the
// configuration and no lock that anything else waits for.
package routerstate

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// lease is how long a router counts as connected after a report.
	lease = 20 * time.Second
	// A lease is written again when less than this is left of it.
	renewal = 12 * time.Second
	// pace is the time between two writes, and patient is that between two which nobody waits for.
	pace, patient = 100 * time.Millisecond, time.Second
	// memory is how long a replica, and a receipt, remember a router that says nothing.
	memory = time.Hour
	// Retention is how long the database does.
	Retention   = 24 * time.Hour
	lastWords   = 2 * time.Second
	saveTimeout = 5 * time.Second
)

// Router is what is known of one.
type Router struct {
	Name string
	// Epoch is one run of its process.
	Epoch string
	// Applied is the version of the configuration that it serves.
	Applied int64
	// Cuts are the answers that it ended within the last minute.
	Cuts []Cut
	// Closed says that it goes away for good.
	Closed bool
	// LeaseUntil is when it does not count as connected any more.
	LeaseUntil time.Time
	SeenAt     time.Time
}

// Cut counts the answers that were ended because a credential or an API key was switched off.
type Cut struct {
	ID      string `json:"id"`
	Streams int    `json:"streams"`
}

// same reports whether r says what other says.
func (r Router) same(other Router) bool {
	return r.Epoch == other.Epoch && r.Applied == other.Applied && r.Closed == other.Closed && slices.Equal(r.Cuts, other.Cuts)
}

// Store shares routers among replicas.
type Store interface {
	// SaveRouters stores what routers said last. It passes over those that have closed in the same epoch.
	SaveRouters(ctx context.Context, routers []Router) error
	// Routers returns those that were seen since a time, by name, and the newest version of the
	// configuration. A router that says it serves a newer one than there is, serves none of ours: its
	// Applied is 0.
	Routers(ctx context.Context, since time.Time) (version int64, routers []Router, err error)
}

// Registry hears routers and tells of them.
type Registry struct {
	store Store
	now   func() time.Time
	log   *slog.Logger
	wake  chan struct{}

	mu      sync.Mutex
	pending map[string]Router // not written yet
	written map[string]Router // as this replica wrote them
	news    chan struct{}     // closed with the next write
}

// New returns a Registry. It works while Run runs.
func New(store Store, now func() time.Time, log *slog.Logger) *Registry {
	return &Registry{
		store: store, now: now, log: log, wake: make(chan struct{}, 1),
		pending: map[string]Router{}, written: map[string]Router{}, news: make(chan struct{}),
	}
}

// Report takes what a router says of itself. It never waits.
func (g *Registry) Report(r Router) {
	now := g.now()
	r.SeenAt, r.LeaseUntil = now, now.Add(lease)
	g.mu.Lock()
	defer g.mu.Unlock()
	last, waiting := g.pending[r.Name]
	if !waiting {
		last = g.written[r.Name]
	}
	same := last.Name != "" && last.same(r)
	if same && !waiting && last.LeaseUntil.Sub(now) >= renewal {
		return
	}
	g.pending[r.Name] = r
	if !same {
		select {
		case g.wake <- struct{}{}:
		default: // it is awake already
		}
	}
}

// Run writes what routers say until ctx ends.
func (g *Registry) Run(ctx context.Context) {
	tick := time.NewTicker(patient)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
			defer cancel()
			if err := g.write(last); err != nil {
				g.log.WarnContext(ctx, "last states of routers not stored", "error", err)
			}
			return
		case <-g.wake:
		case <-tick.C:
		}
		err := g.write(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			g.log.WarnContext(ctx, "states of routers not stored", "error", err)
		}
		failing = err != nil
		pause(ctx, pace)
	}
}

// write stores what is pending. What could not be stored stays, unless there is newer.
func (g *Registry) write(ctx context.Context) error {
	now := g.now()
	g.mu.Lock()
	routers := slices.SortedFunc(maps.Values(g.pending), func(a, b Router) int { return cmp.Compare(a.Name, b.Name) })
	clear(g.pending)
	maps.DeleteFunc(g.written, func(_ string, r Router) bool { return now.Sub(r.SeenAt) > memory })
	g.mu.Unlock()
	if len(routers) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	err := g.store.SaveRouters(ctx, routers)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range routers {
		if err == nil {
			g.written[r.Name] = r
		} else if _, newer := g.pending[r.Name]; !newer {
			g.pending[r.Name] = r
		}
	}
	if err == nil {
		close(g.news)
		g.news = make(chan struct{})
	}
	return err
}

// heard returns a channel that is closed when this replica has stored something.
func (g *Registry) heard() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.news
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

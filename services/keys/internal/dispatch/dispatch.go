// Package dispatch hands jobs to the routers that are connected to this replica: key tests, and questions
// about routes.
//
// A job is a row that waits until some replica claims it and gives it to one of its routers. A job
// that nobody answers in time is claimed again, so neither a lost router nor a lost replica loses it.
// While there is none, a replica with routers asks its database twice a second, and locks nothing.
package dispatch

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	pollEvery = 500 * time.Millisecond
	atOnce    = 32
	backlog   = 64
)

// Claim takes up to limit waiting jobs for this replica.
type Claim[Job any] func(ctx context.Context, limit int) ([]Job, error)

// Dispatcher knows the connected routers.
type Dispatcher[Job any] struct {
	claim Claim[Job]
	what  string
	log   *slog.Logger
	kick  chan struct{}

	mu       sync.Mutex
	routers  []chan Job
	next     int
	answered chan struct{}
}

// New returns a Dispatcher of what, a word for the log. It works while Run runs.
func New[Job any](what string, claim Claim[Job], log *slog.Logger) *Dispatcher[Job] {
	return &Dispatcher[Job]{claim: claim, what: what, log: log, kick: make(chan struct{}, 1), answered: make(chan struct{})}
}

// Connect adds a router. Its jobs come through the channel until disconnect is called.
func (d *Dispatcher[Job]) Connect() (jobs <-chan Job, disconnect func()) {
	router := make(chan Job, backlog)
	d.mu.Lock()
	d.routers = append(d.routers, router)
	d.mu.Unlock()
	d.Kick()
	return router, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.routers = slices.DeleteFunc(d.routers, func(r chan Job) bool { return r == router })
	}
}

// Kick says that there may be a job to claim.
func (d *Dispatcher[Job]) Kick() {
	select {
	case d.kick <- struct{}{}:
	default: // it is awake already
	}
}

// Answered returns a channel that is closed when the next answers have been stored.
func (d *Dispatcher[Job]) Answered() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.answered
}

// Announce says that answers have been stored.
func (d *Dispatcher[Job]) Announce() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.answered)
	d.answered = make(chan struct{})
}

// Run claims and hands out jobs until ctx ends.
func (d *Dispatcher[Job]) Run(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.kick:
		case <-tick.C:
		}
		d.mu.Lock()
		alone := len(d.routers) == 0
		d.mu.Unlock()
		if alone {
			continue // another replica's routers may take them
		}
		jobs, err := d.claim(ctx, atOnce)
		if err != nil {
			if ctx.Err() == nil {
				d.log.WarnContext(ctx, "jobs of routers not claimed", "jobs", d.what, "error", err)
			}
			continue
		}
		for _, job := range jobs {
			d.give(job)
		}
		if len(jobs) == atOnce {
			d.Kick()
		}
	}
}

// give hands job to the next router that has room. If none has, it will be claimed again.
func (d *Dispatcher[Job]) give(job Job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for range d.routers {
		d.next = (d.next + 1) % len(d.routers)
		select {
		case d.routers[d.next] <- job:
			return
		default:
		}
	}
}

// Package probe hands key tests to the routers that are connected to this replica.
//
// A test is a row that waits until some replica claims it and gives it to one of its routers. A test
// that nobody answers in time is claimed again, so neither a lost router nor a lost replica loses it.
package probe

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/claviger/claviger/services/keys/internal/credential"
)

const (
	pollEvery = 500 * time.Millisecond
	atOnce    = 32
	backlog   = 64
)

// Claimer takes up to limit waiting tests for this replica.
type Claimer interface {
	ClaimProbes(ctx context.Context, limit int) ([]credential.Probe, error)
}

// Dispatcher knows the connected routers.
type Dispatcher struct {
	claimer Claimer
	log     *slog.Logger
	kick    chan struct{}

	mu       sync.Mutex
	routers  []chan credential.Probe
	next     int
	answered chan struct{}
}

// New returns a Dispatcher. It works while Run runs.
func New(claimer Claimer, log *slog.Logger) *Dispatcher {
	return &Dispatcher{claimer: claimer, log: log, kick: make(chan struct{}, 1), answered: make(chan struct{})}
}

// Connect adds a router. Its tests come through the channel until disconnect is called.
func (d *Dispatcher) Connect() (jobs <-chan credential.Probe, disconnect func()) {
	router := make(chan credential.Probe, backlog)
	d.mu.Lock()
	d.routers = append(d.routers, router)
	d.mu.Unlock()
	d.Kick()
	return router, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.routers = slices.DeleteFunc(d.routers, func(r chan credential.Probe) bool { return r == router })
	}
}

// Kick says that there may be a test to claim.
func (d *Dispatcher) Kick() {
	select {
	case d.kick <- struct{}{}:
	default: // it is awake already
	}
}

// Answered returns a channel that is closed when the next answers have been stored.
func (d *Dispatcher) Answered() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.answered
}

// Announce says that answers have been stored.
func (d *Dispatcher) Announce() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.answered)
	d.answered = make(chan struct{})
}

// Run claims and hands out tests until ctx ends.
func (d *Dispatcher) Run(ctx context.Context) {
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
		jobs, err := d.claimer.ClaimProbes(ctx, atOnce)
		if err != nil {
			if ctx.Err() == nil {
				d.log.WarnContext(ctx, "key tests not claimed", "error", err)
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
func (d *Dispatcher) give(job credential.Probe) {
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

package rpc

import (
	"sync"
	"time"

	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
)

const (
	// patience is how long a caller waits for the first event, and silence for the next one, before a sign of
	// life comes: proxies on the way close what is silent, and pings reach only the next of them.
	patience = 10 * time.Second
	silence  = 15 * time.Second
)

// pulse sends the events of a stream, and signs of life when there are none. Until the first event another
// target may still serve, and an error is still the call's status.
type pulse struct {
	send func(*routerv1.StreamCompletionResponse) error

	mu      sync.Mutex // keeps signs of life out of what is being sent
	every   time.Duration
	last    time.Time
	timer   *time.Timer
	stopped bool
}

// start begins to watch over a stream. Nothing may be sent after stop.
func (p *pulse) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.every, p.last = patience, time.Now()
	p.timer = time.AfterFunc(p.every, p.beat)
}

func (p *pulse) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.timer.Stop()
}

// event sends an event.
func (p *pulse) event(m *routerv1.StreamCompletionResponse) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.every, p.last = silence, time.Now()
	return p.send(m)
}

// beat sends a sign of life, if one is due: an event without anything in it.
func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	if quiet := time.Since(p.last); quiet < p.every {
		p.timer.Reset(p.every - quiet)
		return
	}
	p.every, p.last = silence, time.Now()
	if p.send(&routerv1.StreamCompletionResponse{}) == nil { // else the caller is gone, and the next event says so
		p.timer.Reset(p.every)
	}
}

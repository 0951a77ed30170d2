package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// callEvery is the time between two requests of one caller of a victim.
	callEvery = 10 * time.Millisecond
	// A victim is switched off after so many requests served on each router, and so many have to be
	// refused after the receipt.
	callsBefore, callsAfter = 3, 3
	// streamsEach is how many answers a victim is being given on each router.
	streamsEach = 2
	// openScript takes a minute, and victimScript begins sooner and takes longer than its victim is watched.
	openScript, victimScript = "script:tokens=1200,delay=50ms", "script:tokens=3000,delay=10ms"
)

// served makes one request of the victim and reports whether it was served. What is neither an answer nor
// the refusal that is due is an error.
func (r *rig) served(ctx context.Context, router string, v *victim) (bool, error) {
	req, err := r.post(ctx, question{target: router, key: v.key, model: v.model, script: "script:tokens=5"})
	if err != nil {
		return false, err
	}
	res, err := r.client.Do(req)
	if err != nil {
		return false, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, 10_000))
	switch {
	case err != nil:
		return false, err
	case res.StatusCode == http.StatusOK:
		return true, nil
	case res.StatusCode == v.refusal:
		return false, nil
	case res.StatusCode == http.StatusForbidden && (bytes.Contains(text, []byte(`"revoked"`)) || bytes.Contains(text, []byte(`"ruled_out"`))):
		return false, nil // it was under way
	}
	return false, fmt.Errorf("answered %s: %s", res.Status, text)
}

// caller makes a victim's requests to one router, one after the other, until enough of them were refused
// after the receipt.
type caller struct {
	router string
	warm   chan struct{}  // closed when it has been served
	given  chan time.Time // takes when the receipt came
	found  chan finding   // has one in the end
}

// finding is what a caller has seen.
type finding struct {
	refused time.Time // the first time
	late    int       // requests sent after that or after the receipt, and served
	err     error
}

func (r *rig) calling(ctx context.Context, c *caller, v *victim) (f finding) {
	tick := time.NewTicker(callEvery)
	defer tick.Stop()
	known := false // there is a receipt
	for before, after := 0, 0; after < callsAfter; {
		served, err := r.served(ctx, c.router, v)
		switch {
		case err != nil:
			return finding{err: err}
		case served && (known || !f.refused.IsZero()):
			f.late++
		case served:
			if before++; before == callsBefore {
				close(c.warm)
			}
		case before < callsBefore:
			return finding{err: errors.New("refused before it was switched off")}
		case f.refused.IsZero():
			f.refused = time.Now()
		}
		if known && !served {
			after++
		}
		select {
		case <-c.given:
			known = true
		case <-tick.C:
		case <-ctx.Done():
			return finding{err: ctx.Err()}
		}
	}
	return f
}

// stream is an answer that a victim is being given.
type stream struct {
	router string
	ended  chan struct{}
	// What holds once it has ended.
	at   time.Time
	tail []byte
	err  error
}

// open begins an answer and returns when it has begun.
func (r *rig) open(ctx context.Context, q question, reading *sync.WaitGroup) (*stream, error) {
	q.stream = true
	req, err := r.post(ctx, q)
	if err != nil {
		return nil, err
	}
	res, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	n, err := res.Body.Read(buf)
	if err != nil || res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		return nil, errors.Join(fmt.Errorf("%s: an answer did not begin: %s: %s", q.target, res.Status, buf[:n]), err)
	}
	s := &stream{router: q.target, ended: make(chan struct{})}
	reading.Go(func() {
		defer func() { _ = res.Body.Close() }()
		defer close(s.ended)
		for {
			n, err := res.Body.Read(buf)
			s.tail = append(s.tail, buf[:n]...)
			s.tail = s.tail[max(0, len(s.tail)-1000):]
			if err != nil {
				s.at, s.err = time.Now(), err
				return
			}
		}
	})
	return s, nil
}

// end waits until an answer that is to be cut has ended, and returns when. One that is not to be cut has to
// be open.
func (s *stream) end(ctx context.Context, cut bool) (time.Time, error) {
	if !cut {
		select {
		case <-s.ended:
			return time.Time{}, fmt.Errorf("an answer ended that was not to be cut: %w (after %q)", s.err, s.tail)
		default:
			return time.Time{}, nil
		}
	}
	select {
	case <-ctx.Done():
		return time.Time{}, errors.New("an answer was not cut")
	case <-s.ended:
	}
	if !errors.Is(s.err, io.EOF) || !bytes.Contains(s.tail, []byte(`"error"`)) || bytes.Contains(s.tail, []byte("[DONE]")) {
		return time.Time{}, fmt.Errorf("an answer was cut without an error in it: %w (after %q)", s.err, s.tail)
	}
	return s.at, nil
}

// use lets a victim be used on both routers, and returns when it is.
func (r *rig) use(ctx context.Context, v *victim, using *sync.WaitGroup) (callers []*caller, streams []*stream, err error) {
	var opening errgroup.Group
	streams = make([]*stream, streamsEach*len(through))
	for i := range streams {
		opening.Go(func() (err error) {
			streams[i], err = r.open(ctx, question{target: through[i%len(through)], key: v.key, model: v.model, script: victimScript}, using)
			return err
		})
	}
	for _, router := range through {
		c := &caller{router: router, warm: make(chan struct{}), given: make(chan time.Time, 1), found: make(chan finding, 1)}
		using.Go(func() { c.found <- r.calling(ctx, c, v) })
		callers = append(callers, c)
	}
	if err := opening.Wait(); err != nil {
		return nil, nil, err
	}
	for _, c := range callers {
		select {
		case <-c.warm:
		case f := <-c.found:
			return nil, nil, fmt.Errorf("%s: %w", c.router, f.err)
		}
	}
	if v.before != nil {
		err = v.before(ctx)
	}
	return callers, streams, err
}

// load is what others do meanwhile.
type load struct {
	cancel context.CancelFunc
	work   sync.WaitGroup
	served atomic.Int64
	failed chan error // has the first failure
}

// load lets others begin a request every loadEvery and be given loadStreams answers, until it is stopped.
func (r *rig) load(ctx context.Context) (*load, error) {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{cancel: cancel, failed: make(chan error, 1)}
	for i := range loadStreams {
		if err := l.stream(ctx, r, through[i%len(through)]); err != nil {
			return nil, errors.Join(err, l.stop())
		}
	}
	l.work.Go(func() {
		tick := time.NewTicker(loadEvery)
		defer tick.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			l.work.Go(func() {
				if err := r.call(ctx, through[i%len(through)], "script:tokens=20", false); err != nil {
					l.fail(ctx, err)
					return
				}
				l.served.Add(1)
			})
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	return l, nil
}

// stream keeps one answer open: when it is at its end another begins.
func (l *load) stream(ctx context.Context, r *rig, router string) error {
	q := question{target: router, key: r.key[router], model: modelName, script: openScript}
	s, err := r.open(ctx, q, &l.work)
	if err != nil {
		return err
	}
	l.work.Go(func() {
		for {
			<-s.ended
			if ctx.Err() != nil {
				return
			}
			if !bytes.Contains(s.tail, []byte("[DONE]")) {
				l.fail(ctx, fmt.Errorf("%s: an answer broke off: %w (after %q)", router, s.err, s.tail))
				return
			}
			if s, err = r.open(ctx, q, &l.work); err != nil {
				l.fail(ctx, err)
				return
			}
		}
	})
	return nil
}

// fail notes a failure that is not the end of the load.
func (l *load) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	select {
	case l.failed <- err:
	default:
	}
}

// stop ends the load and returns the first failure of it.
func (l *load) stop() error {
	l.cancel()
	l.work.Wait()
	select {
	case err := <-l.failed:
		return err
	default:
		return nil
	}
}

package media

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

const (
	// tick is how often due jobs are looked for.
	tick = time.Second
	// pollsAtOnce bounds the questions of the follower; callers' own come besides.
	pollsAtOnce = 16
	// maxSettled bounds what is remembered of revisions that were written. What is forgotten may be written
	// again, and counts once all the same.
	maxSettled = 100_000
)

// Run follows open jobs until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var working sync.WaitGroup
	defer working.Wait()
	slots := make(chan struct{}, pollsAtOnce)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-s.wake:
		}
		for _, j := range s.due() {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			working.Go(func() {
				defer func() { <-slots }()
				s.turn(ctx, j)
			})
		}
	}
}

// due takes the jobs whose time has come, and forgets those whose revision is safe on disk by now.
func (s *Service) due() []*job {
	now := s.o.Now()
	var out, over []*job
	s.mu.Lock()
	for _, j := range s.open {
		switch {
		case j.busy:
		case !j.settled.IsZero():
			if now.Sub(j.settled) >= tick {
				over = append(over, j)
				delete(s.open, j.record.Attempt)
				delete(s.byName, j.record.Provider+"/"+j.record.JobID)
			}
		case !now.Before(j.next):
			j.busy = true
			out = append(out, j)
		}
	}
	s.mu.Unlock()
	for _, j := range over {
		if err := s.spool.forget(j.record); err != nil {
			s.o.Log.Error("job that ended not removed", "attempt_id", j.record.Attempt, "error", err)
		}
	}
	return out
}

// turn asks for one job and decides when to ask again.
func (s *Service) turn(ctx context.Context, j *job) {
	r := j.record
	state, err := s.look(ctx, r)
	wait := time.Duration(0)
	if failure, ok := errors.AsType[*completion.ProviderError](err); ok {
		wait = failure.RetryAfter
	}
	if err != nil && ctx.Err() == nil {
		s.o.Log.WarnContext(ctx, "job not asked for", "attempt_id", r.Attempt, "org_id", r.Org, "provider", r.Provider, "error", err)
	}
	if ended := err == nil && state.Status.Final(); !ended && ctx.Err() == nil && s.o.Now().Sub(r.created()) >= s.o.Limits.MaxAge {
		s.o.Log.WarnContext(ctx, "job given up, its usage is an estimate", "attempt_id", r.Attempt, "org_id", r.Org, "provider", r.Provider)
		s.settle(r, r.abandoned(s.o.Now()))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	j.busy = false
	j.next = s.o.Now().Add(max(j.pause, wait))
	j.pause = min(j.pause*3/2, s.o.Limits.Longest)
}

// look asks the provider for a job, once for all who ask at the same time and shortly after. Whoever sees
// the end writes the revision.
func (s *Service) look(ctx context.Context, r *record) (State, error) {
	if state, ok := s.recent(r); ok {
		return state, nil
	}
	flight := s.flights.DoChan(r.Attempt, func() (any, error) {
		// Whoever came first may go away; the others still want it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pollTime)
		defer cancel()
		return s.ask(ctx, r)
	})
	select {
	case result := <-flight:
		state, _ := result.Val.(State)
		return state, result.Err
	case <-ctx.Done():
		return State{}, ctx.Err()
	}
}

// ask is look without memory.
func (s *Service) ask(ctx context.Context, r *record) (State, error) {
	at, err := s.at(ctx, r)
	if err != nil {
		return State{}, err
	}
	state, err := s.o.Providers[r.Provider].Poll(ctx, at)
	now := s.o.Now()
	switch {
	case errors.Is(err, ErrUnknown) && now.Sub(r.created()) >= unknownAfter:
		// It was there, since it was taken; what it cost can only be guessed. Should the provider know it
		// again, who asks then learns the truth.
		state = State{Status: Failed, Failure: &completion.ProviderError{
			Class: completion.ModelNotFound, Status: 404, Code: "job_unknown", Message: "the provider no longer knows the job", Sent: true,
		}}
		s.settle(r, r.abandoned(now))
	case errors.Is(err, ErrUnknown):
		state = State{Status: Queued}
	case err != nil:
		return State{}, s.failed(r, at.Credential, err)
	case state.Status.Final():
		s.settle(r, r.revision(state, now))
	}
	if !state.small() { // a file that stands in its address
		return state, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.cache) >= maxCached {
		clear(s.cache)
	}
	s.cache[r.Attempt] = cached{state, now}
	return state, nil
}

// maxKept bounds the addresses of an answer that is kept.
const maxKept = 64 << 10

// small reports whether a state may be kept in memory.
func (s *State) small() bool {
	size := 0
	for i := range s.Outputs {
		size += len(s.Outputs[i].URL)
	}
	return size <= maxKept
}

// recent is what was answered a moment ago.
func (s *Service) recent(r *record) (State, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.cache[r.Attempt]
	if !ok {
		return State{}, false
	}
	lifetime := fresh
	if s.settled[r.Attempt].revision == truthRevision && c.state.Status.Final() {
		lifetime = kept
	}
	return c.state, s.o.Now().Sub(c.at) < lifetime
}

// settle writes the revision that ends a job, once in this process and never one below what it wrote. A
// journal that takes none now is tried again with the next look.
func (s *Service) settle(r *record, e *usage.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Revision > s.settled[r.Attempt].revision {
		if err := s.o.Recorder.Revise(e); err != nil {
			s.o.Log.Error("usage of a job not written", "attempt_id", r.Attempt, "org_id", r.Org, "error", err)
			return
		}
		if len(s.settled) >= maxSettled {
			clear(s.settled)
		}
		s.settled[r.Attempt] = settlement{e.Revision, e.Ended}
	}
	if j := s.open[r.Attempt]; j != nil && j.settled.IsZero() {
		j.settled = s.o.Now()
	}
}

// endSeen is when a job's end was seen here, or now.
func (s *Service) endSeen(r *record) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if written, ok := s.settled[r.Attempt]; ok {
		return written.at
	}
	return s.o.Now()
}

// Hint says that somebody claims to know of a job's end. Nothing of it is believed: if the job is one that
// this router follows, the provider is asked at once, but not more than once a second. A hint that reaches
// another router is let go and nothing is lost with it: the one that follows the job asks all the same.
func (s *Service) Hint(provider, jobID string) { s.hint(provider, jobID) }

func (s *Service) hint(provider, jobID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.byName[provider+"/"+jobID]
	if j == nil || j.busy || !j.settled.IsZero() {
		return
	}
	now := s.o.Now()
	if next := j.asked.Add(fresh); now.Before(next) {
		if j.next.After(next) {
			j.next = next
		}
		return
	}
	j.asked, j.next, j.pause = now, now, s.o.Limits.First
	delete(s.cache, j.record.Attempt)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

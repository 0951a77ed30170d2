package spool

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Head is a router's heartbeat: at Time, its sequences went as far as Sequences say.
type Head struct {
	Router    string
	Time      time.Time
	Sequences map[Key]int64
	// Closing says that the router is going away for good.
	Closing bool
}

// Router is what is known of a router's progress. It is kept in the store, so that a metering that
// starts knows whom to wait for.
type Router struct {
	Name string
	// Head is the newest heartbeat.
	Head Head
	// HeardAt is our clock when it came.
	HeardAt time.Time
	// CompleteAt is the time of the newest heartbeat whose numbers are all applied; zero is none yet.
	CompleteAt time.Time
	// Gone says that the router was closing and all of it is applied: nobody waits for it any more.
	Gone bool
}

// Timing says when a gap is reported.
type Timing struct {
	// Stall is how long a sequence may stand still before its gap is reported, when nothing waits in
	// the stream that could fill it.
	Stall time.Duration
	// Backlogged is the same when something waits in the stream.
	Backlogged time.Duration
	// Repeat is how often the same gap is reported.
	Repeat time.Duration
}

// DefaultTiming asks for a lost frame after five seconds.
var DefaultTiming = Timing{Stall: 5 * time.Second, Backlogged: time.Minute, Repeat: 5 * time.Second}

// maxGaps bounds the gaps of one sequence in one answer, and maxPending the heartbeats that wait for
// their numbers; beyond it every second one is left out, which only makes CompleteAt coarser.
const (
	maxGaps    = 64
	maxPending = 512
)

// Applied is the answer to a router for one of its sequences.
type Applied struct {
	Key        Key
	Contiguous int64
	Missing    []Range
}

// Tracker follows the heartbeats of all routers and the numbers that are applied. It is not safe for
// concurrent use.
type Tracker struct {
	timing  Timing
	routers map[string]*routerState
	marks   map[Key]Mark
	stalls  map[Key]stall
}

type routerState struct {
	Router
	pending []Head // newer than CompleteAt, waiting for their numbers, oldest first
	changed bool
}

// stall says since when a sequence stands at a number below its head.
type stall struct {
	at       int64
	since    time.Time
	reported time.Time
}

// NewTracker returns a tracker that goes on from what the store knows.
func NewTracker(timing Timing, routers []Router, marks map[Key]Mark) *Tracker {
	t := &Tracker{timing: timing, routers: map[string]*routerState{}, marks: maps.Clone(marks), stalls: map[Key]stall{}}
	if t.marks == nil {
		t.marks = map[Key]Mark{}
	}
	for _, r := range routers {
		state := &routerState{Router: r}
		if r.Head.Time.After(r.CompleteAt) {
			state.pending = []Head{r.Head}
		}
		t.routers[r.Name] = state
		t.settle(state)
	}
	return t
}

// Heard takes a heartbeat. It returns the gaps of sequences that the router no longer lists although
// not all of their numbers came: it has lost that part of its journal. Heads come in order; an earlier
// time than before is a clock that was set back, and moves CompleteAt no more than it would stand still.
func (t *Tracker) Heard(h Head, now time.Time) (lost map[Key][]Range) {
	if h.Time.After(now) {
		h.Time = now // a clock that runs ahead must not promise completeness of the future
	}
	r := t.routers[h.Router]
	if r == nil {
		r = &routerState{Router: Router{Name: h.Router}}
		t.routers[h.Router] = r
	}
	r.HeardAt, r.changed = now, true
	for key, last := range r.Head.Sequences {
		if _, listed := h.Sequences[key]; listed {
			continue
		}
		if gaps := t.marks[key].Missing(last, maxGaps); len(gaps) > 0 {
			if lost == nil {
				lost = map[Key][]Range{}
			}
			lost[key] = gaps
		}
		delete(t.stalls, key)
	}
	r.Head, r.Gone = h, false
	r.pending = append(r.pending, h)
	if len(r.pending) > maxPending {
		kept := r.pending[:0]
		for i, p := range r.pending {
			if (len(r.pending)-1-i)%2 == 0 { // the newest stays
				kept = append(kept, p)
			}
		}
		r.pending = kept
	}
	t.settle(r)
	return lost
}

// Applied takes the marks as they are after a transaction.
func (t *Tracker) Applied(marks map[Key]Mark) {
	touched := map[string]bool{}
	for key, m := range marks {
		t.marks[key] = m
		touched[key.Router] = true
	}
	for name := range touched {
		if r := t.routers[name]; r != nil {
			t.settle(r)
		}
	}
}

// settle moves CompleteAt to the newest heartbeat whose numbers are all applied.
func (t *Tracker) settle(r *routerState) {
	for i, head := range slices.Backward(r.pending) {
		if !t.covers(head) {
			continue
		}
		if head.Time.After(r.CompleteAt) {
			r.CompleteAt, r.changed = head.Time, true
		}
		r.pending = slices.Delete(r.pending, 0, i+1)
		break
	}
	if r.Head.Closing && !r.Gone && t.covers(r.Head) {
		r.Gone, r.changed = true, true
	}
}

func (t *Tracker) covers(h Head) bool {
	for key, last := range h.Sequences {
		if !t.marks[key].Covers(last) {
			return false
		}
	}
	return true
}

// Settled reports whether everything that the router has announced is applied.
func (t *Tracker) Settled(router string) bool {
	r := t.routers[router]
	return r == nil || t.covers(r.Head)
}

// Unsettled lists the routers of which something is not applied yet.
func (t *Tracker) Unsettled() []string {
	var names []string
	for name, r := range t.routers {
		if !t.covers(r.Head) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Feedback returns what is applied of a router's sequences, in order. Gaps that have stood for a while
// are named; drained says that nothing waits in the stream that could fill them.
func (t *Tracker) Feedback(router string, drained bool, now time.Time) []Applied {
	r := t.routers[router]
	if r == nil {
		return nil
	}
	keys := slices.SortedFunc(maps.Keys(r.Head.Sequences), func(a, b Key) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Partition, b.Partition))
	})
	out := make([]Applied, 0, len(keys))
	for _, key := range keys {
		head, mark := r.Head.Sequences[key], t.marks[key]
		a := Applied{Key: key, Contiguous: mark.Contiguous}
		if mark.Covers(head) {
			delete(t.stalls, key)
		} else if t.due(key, mark, drained, now) {
			if !drained { // the end of the sequence may still be on its way
				head = min(head, mark.Highest())
			}
			a.Missing = mark.Missing(head, maxGaps)
		}
		out = append(out, a)
	}
	return out
}

// due reports whether the gap of a sequence is to be named now.
func (t *Tracker) due(key Key, mark Mark, drained bool, now time.Time) bool {
	s, ok := t.stalls[key]
	if !ok || s.at != mark.Contiguous {
		s = stall{at: mark.Contiguous, since: now}
	}
	patience := t.timing.Backlogged
	if drained {
		patience = t.timing.Stall
	}
	due := now.Sub(s.since) >= patience && now.Sub(s.reported) >= t.timing.Repeat
	if due {
		s.reported = now
	}
	t.stalls[key] = s
	return due
}

// Routers returns what is known of all routers, by name.
func (t *Tracker) Routers() []Router {
	out := make([]Router, 0, len(t.routers))
	for _, r := range t.routers {
		out = append(out, r.Router)
	}
	slices.SortFunc(out, func(a, b Router) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Changed returns the routers whose state is not stored yet, in order, and takes them as stored.
func (t *Tracker) Changed() []Router {
	var out []Router
	for _, r := range t.routers {
		if r.changed {
			r.changed = false
			out = append(out, r.Router)
		}
	}
	slices.SortFunc(out, func(a, b Router) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Restore marks routers as not stored, after storing failed.
func (t *Tracker) Restore(routers []Router) {
	for _, r := range routers {
		if state := t.routers[r.Name]; state != nil {
			state.changed = true
		}
	}
}

// Completeness is how far the usage of all routers is known to be in.
type Completeness struct {
	// Through is the moment up to which everything is applied; zero is not known.
	Through time.Time
	// Silent are routers that have not been heard of for a while, and hold Through back.
	Silent []string
}

const (
	// silentAfter is when a router is named as silent.
	silentAfter = 30 * time.Second
	// forgottenAfter is when a router that never came back holds nothing back any more: its usage
	// would be refused as too late.
	forgottenAfter = 35 * 24 * time.Hour
)

// Complete derives the completeness from what is known of all routers.
func Complete(routers []Router, now time.Time) Completeness {
	var c Completeness
	unknown := false
	for _, r := range routers {
		if r.Gone || now.Sub(r.HeardAt) > forgottenAfter {
			continue
		}
		if now.Sub(r.HeardAt) > silentAfter {
			c.Silent = append(c.Silent, r.Name)
		}
		if r.CompleteAt.IsZero() {
			unknown = true
		} else if c.Through.IsZero() || r.CompleteAt.Before(c.Through) {
			c.Through = r.CompleteAt
		}
	}
	if unknown {
		c.Through = time.Time{}
	}
	slices.Sort(c.Silent)
	return c
}

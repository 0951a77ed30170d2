package plan

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// One request in exploreUnmeasured tries a line first that nobody has measured, one in exploreAny any line.
const (
	exploreUnmeasured = 10
	exploreAny        = 50
)

// segment are the targets of a line, and what orders them among those of the group's other lines: class
// before rank.
type segment struct {
	line     *Line
	from, to int
	class    int
	rank     float64
	streams  bool // whose latency the rank is
}

// standing is why a target stands where it does.
type standing struct {
	// Of the credential: it has little left, and it is the current secret behind the second one, or one of two.
	low, second, rotating bool
	depth                 int
	class                 usage.Class
	// Of the line in its group.
	strategy Strategy
	grouped  bool
	weight   int
	alone    bool // nothing to choose from
	sticks   bool
	explored bool
	latency  time.Duration
	streams  bool // whose latency it is
	cost     cost
	// Of the request.
	wished string // "order", "price" or "latency"
}

// stuck is what the draws of a group hash, and whether that is what the request sticks to.
func (w *walk) stuck(g *TargetGroup) (seed uint64, sticks bool) {
	if g.Strategy != Sticky {
		return w.seed, false
	}
	by, text := g.StickyBy, ""
	switch by {
	case "", "session":
		by, text = "session", w.req.Session
	case "user":
		text = w.req.User
	default:
		key, _ := strings.CutPrefix(by, "tag:")
		text = w.req.Tags[key]
	}
	if text == "" {
		return w.seed, false // drawn anew
	}
	return hash("sticky", by, text), true
}

// arrange puts the lines of a group into the order of its strategy.
func (w *walk) arrange(g *TargetGroup, segments []segment, seed uint64) {
	explored := -1
	switch g.Strategy {
	case Weighted, Sticky:
		for i := range segments {
			s := &segments[i]
			switch {
			case s.line.Weight <= 0:
				s.class, s.rank = 2, float64(i)
				continue
			case g.Strategy == Weighted && w.low(&w.targets[s.from]):
				s.class = 1
			}
			s.rank = ticket(seed, hash(s.line.Policy, s.line.Model, s.line.Class.String(), s.line.CredentialID), s.line.Weight)
		}
	case LowestLatency:
		explored = w.byLatency(segments, seed)
	case LowestCost:
		for i := range segments {
			s := &segments[i]
			if c := w.compared(&w.targets[s.from]); c.known {
				s.rank = float64(c.nano)
			} else {
				s.class = 1
			}
		}
	case Fallback:
	}
	if w.told != nil {
		w.tell(g, segments, explored)
	}
	if g.Strategy != Fallback && len(segments) > 1 {
		slices.SortStableFunc(segments, func(a, b segment) int { return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.rank, b.rank)) })
		w.reorder(segments)
	}
}

// low reports whether a target's credential has next to nothing left of its limits.
func (w *walk) low(t *completion.Target) bool { return w.p.Health.Low(t.Credential, t.Model) }

// latency is that of a target, by the streams or by the whole answers that it gave. A whole answer is as late as its
// last token: the two are never compared with each other. A request is planned by its own kind, and by the other
// where none of the targets that are compared has an own one yet.
func (w *walk) latency(t *completion.Target, streams bool) time.Duration {
	return w.p.Health.Latency(t.Credential, t.Model, streams)
}

// byLatency ranks lines by the latency of their first targets. It returns the line that is explored, or -1.
func (w *walk) byLatency(segments []segment, seed uint64) int {
	unmeasured := w.measured(segments, w.req.Stream)
	if unmeasured == len(segments) {
		unmeasured = w.measured(segments, !w.req.Stream)
	}
	draw := mix(seed ^ fnvPrime)
	explored := -1
	switch {
	case unmeasured > 0 && unmeasured < len(segments) && one(draw, exploreUnmeasured):
		at := int(mix(draw) % uint64(unmeasured))
		for i := range segments {
			if segments[i].class == 2 {
				if at == 0 {
					explored = i
				}
				at--
			}
		}
	case unmeasured == len(segments):
		// Nobody knows any: they are drawn alike, so that all become known.
		for i := range segments {
			segments[i].rank = ticket(seed, uint64(i), 1)
		}
	case one(mix(draw+1), exploreAny):
		explored = int(mix(draw) % uint64(len(segments)))
	}
	if explored >= 0 {
		segments[explored].class = 0
	}
	return explored
}

// measured ranks lines by their latency in one kind of answers, and says how many have none.
func (w *walk) measured(segments []segment, streams bool) (unmeasured int) {
	for i := range segments {
		s := &segments[i]
		s.streams = streams
		if latency := w.latency(&w.targets[s.from], streams); latency > 0 {
			s.class, s.rank = 1, float64(latency)
		} else {
			s.class, s.rank = 2, float64(i)
			unmeasured++
		}
	}
	return unmeasured
}

// compared is the cost by which a target is compared with others.
func (w *walk) compared(t *completion.Target) cost {
	output := outputTokens(w.req, t.Rule)
	if output == 0 {
		output = assumedOutput
	}
	return w.costOf(t.Model, w.req.Asks(), inputTokens(w.req), output)
}

// reorder moves the targets of segments, which are neighbours, into the order of the segments.
func (w *walk) reorder(segments []segment) {
	at := segments[0].from
	for _, s := range segments {
		at = min(at, s.from)
	}
	for i := range segments {
		s := segments[i]
		if s.from != at {
			w.rotate(at, s.from, s.to)
			for j := i + 1; j < len(segments); j++ {
				if other := &segments[j]; other.from < s.from {
					other.from, other.to = other.from+s.to-s.from, other.to+s.to-s.from
				}
			}
		}
		at += s.to - s.from
	}
}

// rotate puts what is from middle to end before what is from begin to middle.
func (w *walk) rotate(begin, middle, end int) {
	rotate(w.targets[begin:end], middle-begin)
	if w.told != nil {
		rotate(w.told.standing[begin:end], middle-begin)
	}
}

func rotate[T any](s []T, by int) {
	slices.Reverse(s[:by])
	slices.Reverse(s[by:])
	slices.Reverse(s)
}

// choose orders the targets from start on as the request wishes: first by its providers, then by price or
// latency. It chooses among neighbours of one class only: the platform's credentials never come before own
// ones because a caller wishes so.
func (w *walk) choose(start int) {
	r := &w.req.Routing
	if len(r.Order) == 0 && r.Sort == "" || w.listing {
		return
	}
	for from := start; from < len(w.targets); {
		to := from + 1
		for to < len(w.targets) && w.targets[to].Class == w.targets[from].Class {
			to++
		}
		w.sortRun(from, to)
		from = to
	}
}

// wish is where a request wishes a target to be.
type wish struct {
	provider int
	unknown  bool
	value    int64
}

func (w *walk) wishFor(t *completion.Target, streams bool) (out wish) {
	out.provider = rank(w.req.Routing.Order, t.Provider)
	switch w.req.Routing.Sort {
	case "price":
		c := w.compared(t)
		out.unknown, out.value = !c.known, c.nano
	case "latency":
		latency := w.latency(t, streams)
		out.unknown, out.value = latency == 0, int64(latency)
	}
	return out
}

// sortRun sorts stably, by insertion: runs are short, and where they stand has to move with them.
func (w *walk) sortRun(from, to int) {
	var room [16]wish
	wishes, streams := room[:0], w.req.Stream
	if w.req.Routing.Sort == "latency" && !w.anyMeasured(from, to, streams) {
		streams = !streams
	}
	for i := from; i < to; i++ {
		wishes = append(wishes, w.wishFor(&w.targets[i], streams))
		if w.told != nil {
			w.told.standing[i].wished = w.wished()
		}
		for j := i; j > from && compareWish(wishes[j-from], wishes[j-from-1]) < 0; j-- {
			wishes[j-from], wishes[j-from-1] = wishes[j-from-1], wishes[j-from]
			w.targets[j], w.targets[j-1] = w.targets[j-1], w.targets[j]
			if w.told != nil {
				w.told.standing[j], w.told.standing[j-1] = w.told.standing[j-1], w.told.standing[j]
			}
		}
	}
}

// anyMeasured reports whether one of the targets has a latency in a kind of answers.
func (w *walk) anyMeasured(from, to int, streams bool) bool {
	for i := from; i < to; i++ {
		if w.latency(&w.targets[i], streams) > 0 {
			return true
		}
	}
	return false
}

func compareWish(a, b wish) int {
	return cmp.Or(cmp.Compare(a.provider, b.provider), compareBool(a.unknown, b.unknown), cmp.Compare(a.value, b.value))
}

// wished names what a request orders by.
func (w *walk) wished() string {
	if w.req.Routing.Sort != "" {
		return w.req.Routing.Sort
	}
	return "order"
}

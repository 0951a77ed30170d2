package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
)

// told is what a walk keeps for Explain. standing has the same order as the walk's targets.
type told struct {
	standing   []standing
	exclusions []Exclusion
}

// Explanation is a plan with its reasons.
type Explanation struct {
	Plan completion.Plan
	// Policy is the one that decides, nil if the first model was named without one.
	Policy *Policy
	// Candidates are in the order of Plan.Targets.
	Candidates []Candidate
	// Exclusions are in the order in which they were found.
	Exclusions []Exclusion
}

// Candidate is a target that would be tried.
type Candidate struct {
	Target *completion.Target
	// Reason says why it stands where it does, for people.
	Reason string
	// Cost is what a call of the request's sizes takes, in nano-USD; nil is unknown. PriceVersion names the
	// price.
	Cost         *int64
	PriceVersion string
	// Latency is the moving average of the time to the first token, by answers of the request's kind (streams, or
	// whole ones) if there were any; 0 is not measured yet.
	Latency time.Duration
}

// Explain tells what Make would plan, and why. There may be no candidate; its error is of names that mean
// nothing.
func (p *Planner) Explain(c Config, caller completion.Caller, req *completion.Request) (Explanation, error) {
	w := p.walk(c, caller, req)
	w.told = &told{}
	if err := w.run(); err != nil {
		return Explanation{}, err
	}
	out := Explanation{Plan: w.plan(), Policy: w.first, Exclusions: w.told.exclusions}
	for i := range out.Plan.Targets {
		t := &out.Plan.Targets[i]
		candidate := Candidate{Target: t, Reason: w.reason(i), Latency: w.latency(t, req.Stream)}
		if candidate.Latency == 0 {
			candidate.Latency = w.latency(t, !req.Stream)
		}
		given := w.req.InputBytes > 0 || w.req.MaxOutput > 0
		if cost := w.costOf(t.Model, req.Asks(), inputTokens(req), outputTokens(req, t.Rule)); cost.version != "" {
			candidate.PriceVersion = cost.version
			if cost.known && given {
				candidate.Cost = &cost.nano
			}
		}
		out.Candidates = append(out.Candidates, candidate)
	}
	return out, nil
}

// reason says why a target stands where it does, and what keeps it from being called.
func (w *walk) reason(i int) string {
	t := &w.targets[i]
	text := w.told.standing[i].words(t)
	if holding, ok := w.p.Health.(Holding); ok {
		if hold := holding.Held(t); hold.Why == completion.Broken {
			text += "; passed over until " + hold.Until.UTC().Format(time.TimeOnly) + " UTC if anybody else can serve, since calls fail again and again"
		}
	}
	if t.Drill != nil {
		text += "; a drill makes it fail until " + t.Drill.Until.UTC().Format(time.TimeOnly) + " UTC"
	}
	return text
}

// tell keeps how the lines of a group were ordered. Of a line that names a policy, what was decided inside
// stays said where there was something to choose.
func (w *walk) tell(g *TargetGroup, segments []segment, explored int) {
	for i, s := range segments {
		for at := s.from; at < s.to; at++ {
			stands := &w.told.standing[at]
			if stands.grouped && len(segments) == 1 {
				continue
			}
			stands.grouped, stands.strategy, stands.weight, stands.explored = true, g.Strategy, s.line.Weight, i == explored
			stands.alone = len(segments) == 1
			_, stands.sticks = w.stuck(g)
			first := &w.targets[s.from]
			stands.latency, stands.streams, stands.cost = w.latency(first, s.streams), s.streams, w.compared(first)
		}
	}
}

// words say why a target stands where it does.
func (s *standing) words(t *completion.Target) string {
	var out []string
	if s.depth > 1 {
		out = append(out, "by a policy that the line names")
	}
	if t.PolicyID == "" {
		out = append(out, fmt.Sprintf("an %s credential for the model that was named", t.Class))
		if t.Class.String() == "platform" {
			out[len(out)-1] = "the platform's, as the organization's rule for " + t.Provider + " says"
		}
	} else {
		out = append(out, s.strategyWords())
	}
	switch s.wished {
	case "order":
		out = append(out, "in the request's order of providers")
	case "price", "latency":
		out = append(out, "sorted by "+s.wished+" as the request asks")
	}
	if s.low {
		out = append(out, "behind its equals, since little is left of the provider's limits")
	}
	switch {
	case s.second:
		out = append(out, "the current secret, behind the second one that was drawn")
	case s.rotating:
		out = append(out, "the second secret, drawn by its share")
	}
	return strings.Join(out, "; ")
}

func (s *standing) strategyWords() string {
	switch {
	case s.alone:
		return "the only line of its group that can serve"
	case s.explored:
		return "tried first to learn how quick it is"
	}
	switch s.strategy {
	case Weighted, Sticky:
		drawn := fmt.Sprintf("drawn with weight %d", s.weight)
		if s.weight <= 0 {
			drawn = "weight 0 comes after all others"
		}
		if s.sticks {
			return drawn + ", the same for what the request sticks to"
		}
		return drawn
	case LowestLatency:
		if s.latency == 0 {
			return "its latency is not measured yet"
		}
		until := "the first token"
		if !s.streams {
			until = "a whole answer"
		}
		return fmt.Sprintf("by latency: %v to %s", s.latency.Round(time.Millisecond), until)
	case LowestCost:
		if !s.cost.known {
			return "its price is unknown, so it comes last"
		}
		return fmt.Sprintf("by cost: about %d nano-USD for this request", s.cost.nano)
	case Fallback:
	}
	return "in the order of the lines"
}

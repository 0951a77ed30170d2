package credential

import (
	"slices"
	"time"
)

// Event is what can move a credential to another state.
type Event string

// The events. Findings are about the secret that serves: what is said of another one moves nothing.
const (
	// TestPassed, TestWarned, TestUnfunded, TestRefused and TestUnclear are the verdicts of key tests.
	TestPassed   Event = "test_passed"
	TestWarned   Event = "test_warned"
	TestUnfunded Event = "test_unfunded"
	TestRefused  Event = "test_refused"
	TestUnclear  Event = "test_unclear"
	// Doubted, Refused, Contradicted, Unfunded and Limited are made of what providers say while serving.
	Doubted      Event = "doubted"
	Refused      Event = "refused"
	Contradicted Event = "contradicted"
	Unfunded     Event = "unfunded"
	Limited      Event = "limited"
	// TimeUp is the end of the time that its owner gave it.
	TimeUp Event = "time_up"
	// The rest is what owners do.
	SwitchedOff   Event = "switched_off"
	SwitchedOn    Event = "switched_on"
	Extended      Event = "extended"
	NewSecret     Event = "new_secret"
	Promoted      Event = "promoted"
	EndpointMoved Event = "endpoint_moved"
)

// Cause is who can cause an event.
type Cause string

// The causes.
const (
	ByRouter Cause = "a router"
	ByTime   Cause = "time"
	ByOwner  Cause = "an owner"
)

// about says of each event who causes it, and when, in words for the docs.
var about = map[Event]struct {
	by   Cause
	when string
}{
	TestPassed:    {ByRouter, "a key test passes"},
	TestWarned:    {ByRouter, "a key test passes with a warning, such as a missing right"},
	TestUnfunded:  {ByRouter, "a key test finds no funds or quota"},
	TestRefused:   {ByRouter, "the provider refuses the key in a test"},
	TestUnclear:   {ByRouter, "a key test reaches no verdict: the provider is away, or has none"},
	Doubted:       {ByRouter, "the provider refuses the key for a request (401)"},
	Refused:       {ByRouter, "it does so again after half a minute and within ten, and no test has passed in between"},
	Contradicted:  {ByRouter, "it does so for the third time within an hour, although tests pass"},
	Unfunded:      {ByRouter, "the provider says for a request that there are no funds or quota left"},
	Limited:       {ByRouter, "the provider says for a request that the key lacks a right (403)"},
	TimeUp:        {ByTime, "expire_time comes"},
	SwitchedOff:   {ByOwner, "disabled is set"},
	SwitchedOn:    {ByOwner, "disabled is cleared"},
	Extended:      {ByOwner, "expire_time is moved or cleared"},
	NewSecret:     {ByOwner, "RotateCredential"},
	Promoted:      {ByOwner, "PromoteSecret"},
	EndpointMoved: {ByOwner, "another base_url, which discards the secret"},
}

// condition narrows a rule. It looks at a credential as it is after what the event changes besides the state.
type condition struct {
	words string
	holds func(c Credential, now time.Time) bool
}

var (
	always  condition
	empty   = condition{"without a secret", func(c Credential, _ time.Time) bool { return c.Sealed == "" }}
	late    = condition{"past expire_time", func(c Credential, now time.Time) bool { return c.late(now) }}
	refused = condition{"its secret was rejected before", func(c Credential, _ time.Time) bool { return c.Verdict == Rejected }}
	warned  = condition{"its test had a warning", func(c Credential, _ time.Time) bool { return c.Verdict == Degraded }}
)

// testing says which key test follows a rule.
type testing string

// The tests.
const (
	noTest    testing = ""
	testNow   testing = "at once"
	testLater testing = "by itself, ever more rarely"
	testBoth  testing = "at once and until there is a verdict"
)

// rule is a line of the table.
type rule struct {
	from  []State
	event Event
	when  condition
	to    State // "" stays
	test  testing
}

var (
	usable = []State{Unverified, Active, Degraded, QuotaExhausted}
	judged = []State{Unverified, Active, Degraded, QuotaExhausted, Rejected}
)

// rules is the whole machine. The first line that fits holds; an event that no line fits changes nothing.
var rules = []rule{
	{judged, TestPassed, always, Active, noTest},
	{judged, TestWarned, always, Degraded, noTest},
	{judged, TestUnfunded, always, QuotaExhausted, testLater},
	{judged, TestRefused, always, Rejected, testLater},
	{judged, TestUnclear, always, "", noTest},

	{usable, Doubted, always, "", testNow},
	{usable, Refused, always, Rejected, testLater},
	{[]State{Unverified, Active}, Contradicted, always, Degraded, testLater},
	{[]State{Unverified, Active, Degraded}, Unfunded, always, QuotaExhausted, testLater},
	{[]State{Unverified, Active}, Limited, always, Degraded, testLater},

	{judged, TimeUp, always, Expired, noTest},

	{[]State{Unverified, Active, Degraded, QuotaExhausted, Rejected, Expired, NoSecret}, SwitchedOff, always, Disabled, noTest},
	{[]State{Disabled}, SwitchedOn, empty, NoSecret, noTest},
	{[]State{Disabled}, SwitchedOn, late, Expired, noTest},
	{[]State{Disabled}, SwitchedOn, refused, Rejected, testBoth},
	{[]State{Disabled}, SwitchedOn, always, Unverified, testBoth},

	{[]State{Expired}, Extended, late, "", noTest},
	{[]State{Expired}, Extended, refused, Rejected, testBoth},
	{[]State{Expired}, Extended, always, Unverified, testBoth},

	{judged, NewSecret, always, Unverified, testBoth},
	{[]State{NoSecret}, NewSecret, late, Expired, noTest},
	{[]State{NoSecret}, NewSecret, always, Unverified, testBoth},

	{judged, Promoted, warned, Degraded, noTest},
	{judged, Promoted, always, Active, noTest},

	{[]State{Unverified, Active, Degraded, QuotaExhausted, Rejected, Expired}, EndpointMoved, always, NoSecret, noTest},
}

// Serves reports whether requests may be served in a state. Routers keep to it.
func (s State) Serves() bool { return s == Unverified || s == Active || s == Degraded }

// tells reports whether the person who added a credential has to know of a move to s that nobody of their
// organization has made.
func (s State) tells() bool {
	return s == Degraded || s == QuotaExhausted || s == Rejected || s == Expired
}

// ruleOf returns the line for an event in a state.
func ruleOf(from State, e Event, c Credential, now time.Time) (rule, bool) {
	for _, r := range rules {
		if r.event == e && slices.Contains(r.from, from) && (r.when.holds == nil || r.when.holds(c, now)) {
			if r.to == "" {
				r.to = from
			}
			return r, true
		}
	}
	return rule{}, false
}

// move does what the table says of an event. C is as the event has left it but for its state, which was from.
// It reports whether a line fits, and the test that has to be asked for.
func (s *Service) move(c *Credential, from State, e Event, reason string) (fits, test bool) {
	now := s.Now()
	r, fits := ruleOf(from, e, *c, now)
	if !fits {
		return false, false
	}
	c.Disabled, c.Expired = r.to == Disabled, r.to == Expired
	switch r.to {
	case Disabled, Expired, NoSecret: // the verdict is remembered
	case Unverified, Active, Degraded, QuotaExhausted, Rejected:
		c.Verdict = r.to
	}
	if r.test == testNow {
		c.StateReason = reason
		return true, true
	}
	if now.Sub(c.StateAt) > forgiven {
		c.Setbacks = 0
	}
	c.StateReason, c.StateAt, c.NextProbeAt = reason, now, noTime
	switch r.test {
	case testLater:
		c.NextProbeAt = now.Add(backoff(r.to, c.Setbacks))
		c.Setbacks++
	case testBoth:
		c.Setbacks, c.NextProbeAt = 1, now.Add(firstProbe)
	case noTest, testNow:
	}
	return true, r.test == testBoth
}

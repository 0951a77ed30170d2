package policy

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// condition checks for which requests a group is there.
func (c *checking) condition(g int) {
	when := c.spec.Groups[g].When
	if when.None() {
		return
	}
	field := func(name string) string { return fmt.Sprintf("groups[%d].when.%s", g, name) }
	say := func(warning bool, name, reason, format string, args ...any) {
		c.add(warning, 0, field(name), reason, "group %d: "+format, append([]any{g + 1}, args...)...)
	}
	if when.MaxInput > 0 && when.MinInput > when.MaxInput {
		say(false, "max_input_tokens", Impossible, "no prompt has at least %d tokens and at most %d", when.MinInput, when.MaxInput)
	}
	for i, tag := range when.Tags {
		for _, other := range when.Tags[:i] {
			if tag.Key == other.Key && disjoint(tag.Values, other.Values) {
				say(false, fmt.Sprintf("tags[%d]", i), Impossible, "a request has one value of tag %s, and none of %s is one of %s",
					tag.Key, strings.Join(tag.Values, ", "), strings.Join(other.Values, ", "))
			}
		}
	}
	for i, id := range when.Groups {
		if _, ok := c.groups[id]; !ok {
			say(false, fmt.Sprintf("group_ids[%d]", i), UnknownGroup, "there is no group %s", id)
		}
	}
	joined := false
	for i, id := range when.APIKeys {
		key, ok := c.keys[id]
		joined = joined || !ok || slices.Contains(when.Groups, key.GroupID)
		switch at := fmt.Sprintf("api_key_ids[%d]", i); {
		case !ok:
			say(false, at, UnknownKey, "there is no API key %s", id)
		case !key.Usable:
			say(true, at, DeadKey, "API key %s is revoked or has expired", key.Name)
		}
	}
	if len(when.APIKeys) > 0 && len(when.Groups) > 0 && !joined {
		say(true, "group_ids", Impossible, "none of its API keys is in one of its groups")
	}
}

// disjoint reports whether two lists of values exclude each other; an empty one is any value.
func disjoint(a, b []string) bool {
	return len(a) > 0 && len(b) > 0 && !slices.ContainsFunc(a, func(v string) bool { return slices.Contains(b, v) })
}

// strategy checks what only some strategies look at.
func (c *checking) strategy(g int) {
	group := &c.spec.Groups[g]
	if group.StickyBy != "" && group.strategy() != Sticky {
		c.add(true, 0, fmt.Sprintf("groups[%d].sticky_by", g), NeedlessSticky, "group %d: sticky_by says something under the strategy sticky alone", g+1)
	}
}

// outages are the classes of errors that a provider's bad day brings.
var outages = []string{"rate_limited", "overloaded", "server_error", "timeout", "network"}

// rule checks what a line says of its calls, in the light of its group.
func (c *checking) rule(l line) {
	group := &c.spec.Groups[l.group]
	if l.Weight != nil && !group.strategy().draws() {
		c.warn(l, "weight", NeedlessWeight, "the strategy %s does not draw, so the weight says nothing", group.strategy())
	}
	if group.strategy() == LowestCost {
		if model, where := c.priced(l.Target, 0); model != "" {
			c.bad(l, "model", NoPrice, "the price of %s%s is unknown, and the strategy lowest_cost needs it", model, where)
		}
	}
	c.within(l, "timeouts.first_byte", l.Timeouts.FirstByte)
	c.within(l, "timeouts.between_chunks", l.Timeouts.BetweenChunks)
	last := l.group == len(c.spec.Groups)-1 && l.place == len(group.Targets)-1
	if len(l.MoveOn) > 0 && !last && disjoint(l.MoveOn, outages) {
		c.warn(l, "move_on", NeverMovesOn, "it moves on after %s alone, so the lines behind it never stand in when %s is overloaded or down",
			strings.Join(l.MoveOn, ", "), l.Provider())
	}
}

// within checks that a part of a call may not take longer than the whole.
func (c *checking) within(l line, field string, d time.Duration) {
	if l.Timeouts.Total > 0 && d > l.Timeouts.Total {
		c.warn(l, field, TimeoutsOverlap, "%s is longer than the whole call may take, which is %s", d, l.Timeouts.Total)
	}
}

// reachable finds lines that can never be tried: whatever they would try has been tried before, and no
// request is sent to the same place twice.
func (c *checking) reachable() {
	lines := c.spec.lines()
	for i, l := range lines {
		for _, e := range lines[:i] {
			if e.Model != l.Model || !c.before(e, l) {
				continue
			}
			if e.class() == l.class() && e.CredentialID == l.CredentialID {
				c.bad(l, "model", Unreachable, "the same as line %d, so it is never tried", e.number)
				break
			}
			ordered := e.group != l.group || c.spec.Groups[l.group].strategy() == Fallback
			if ordered && e.CredentialID == "" && e.class() == Own && l.class() == Own {
				c.bad(l, "credential_id", Unreachable, "line %d has tried all credentials of %s by then, this one too", e.number, l.Provider())
				break
			}
		}
	}
}

// before reports whether every request that comes to l has come to e.
func (c *checking) before(e, l line) bool {
	if e.group == l.group {
		return true
	}
	when := c.spec.Groups[e.group].When
	return when.None() || reflect.DeepEqual(when, c.spec.Groups[l.group].When)
}

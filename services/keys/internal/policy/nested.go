package policy

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
)

// nested checks a line that names another policy, whose lines stand in its place.
func (c *checking) nested(l line) {
	c.bare(l)
	p := c.policies[l.Policy()]
	switch {
	case l.Policy() == c.name:
		c.bad(l, "model", Loop, "the policy names itself")
	case p == nil:
		c.bad(l, "model", UnknownPolicy, "there is no policy %q", l.Policy())
	case p.Version == 0:
		c.bad(l, "model", Unpublished, "policy %s was never published: publish it first", p.Name)
	default:
		if path := c.back(p, []string{c.shown()}); path != nil {
			c.bad(l, "model", Loop, "the policies name each other in a circle: %s", strings.Join(path, " → "))
		}
	}
}

// shown is the policy's name, which a new one may not have yet.
func (c *checking) shown() string {
	if c.name == "" {
		return "this policy"
	}
	return c.name
}

// bare refuses what only a line with a model can say: the lines of the other policy say it themselves.
func (c *checking) bare(l line) {
	t := *l.Target
	for _, f := range []struct {
		field string
		there bool
	}{
		{"use", t.Use != ""},
		{"credential_id", t.CredentialID != ""},
		{"timeouts", t.Timeouts != Timeouts{}},
		{"retries", t.Retries != nil},
		{"backoff", t.Backoff != nil},
		{"move_on", len(t.MoveOn) > 0},
		{"overrides", t.Overrides != nil},
	} {
		if f.there {
			c.bad(l, f.field, NestedField, "%s is said by the lines of policy %s, not by the line that names it", f.field, l.Policy())
		}
	}
}

// back returns the way from p to the policy that is checked, or to one that was passed, nil if there is none.
func (c *checking) back(p *Policy, path []string) []string {
	path = append(slices.Clone(path), p.Name)
	if c.straight[p.Name] || len(path) > maxDepth+1 { // too deep is for size to tell
		return nil
	}
	for _, name := range p.Spec.names() {
		if name == c.name || slices.Contains(path, name) {
			return append(path, name)
		}
		if next := c.policies[name]; next != nil {
			if found := c.back(next, path); found != nil {
				return found
			}
		}
	}
	c.straight[p.Name] = true
	return nil
}

// size bounds the rule, and what the policies that it names make of it.
func (c *checking) size() {
	if text, err := json.Marshal(c.spec); err != nil || len(text) > maxBytes {
		c.add(false, 0, "groups", TooLarge, "the rule takes %d KiB to write down, and %d are the most: routers keep all of them in memory", len(text)>>10, maxBytes>>10)
	}
	if slices.ContainsFunc(c.problems, func(p Problem) bool { return p.Reason == Loop }) {
		return
	}
	total := 0
	for _, l := range c.spec.lines() {
		lines, depth := c.reckon(l.Target, 0)
		if depth > maxDepth {
			c.bad(l, "model", TooDeep, "policies name each other more than %d levels deep from here", maxDepth)
			return
		}
		total += lines
	}
	if total > maxLines {
		c.add(false, 0, "groups", TooManyLines, "with the lines of the policies that it names it has more than %d lines, which are the most", maxLines)
	}
}

// above checks the policies that name this one, straight or through others: they grow with it, and what they
// need of every line they need of its lines, too.
func (c *checking) above(ctx context.Context, facts Facts) error {
	seen := []string{c.name}
	for i := 0; i < len(seen) && len(seen) <= maxAbove && c.name != ""; i++ {
		names, err := facts.PoliciesNaming(ctx, Prefix+seen[i], maxAbove)
		if err != nil {
			return err
		}
		for _, name := range names {
			if !slices.Contains(seen, name) {
				seen = append(seen, name)
			}
		}
	}
	if len(seen) == 1 || len(c.problems) > 0 && invalid(c.problems) != nil {
		return nil
	}
	found, err := facts.PoliciesByName(ctx, seen[1:])
	if err != nil {
		return err
	}
	for i := range found {
		parent := newChecking(c.s, found[i].Name, &found[i].Spec)
		parent.policies[c.name] = &Policy{Name: c.name, Version: 1, Spec: *c.spec}
		if err := parent.reach(ctx, facts); err != nil {
			return err
		}
		if parent.size(); len(parent.problems) > 0 {
			p := parent.problems[0]
			c.add(false, 0, "groups", p.Reason, "policy %s names this one and would grow too large: %s", parent.name, p.Description)
		}
		for _, l := range parent.spec.lines() {
			if parent.spec.Groups[l.group].strategy() != LowestCost {
				continue
			}
			if model, _ := parent.priced(l.Target, 0); model != "" {
				c.add(false, 0, "groups", NoPrice, "policy %s names this one under the strategy lowest_cost, which needs the price of %s", parent.name, model)
				break
			}
		}
	}
	return nil
}

// reckon counts the lines that a target stands for, and how deep they lie. It gives up beyond the bounds.
func (c *checking) reckon(t *Target, depth int) (lines, deepest int) {
	p := c.policies[t.Policy()]
	if t.Policy() == "" || p == nil || depth > maxDepth {
		return 1, depth
	}
	for _, l := range p.Spec.lines() {
		n, d := c.reckon(l.Target, depth+1)
		lines, deepest = lines+n, max(deepest, d)
		if lines > maxLines {
			break
		}
	}
	return lines, deepest
}

// priced tells the first model behind a line whose price is unknown, and where it stands; "" if there is none.
func (c *checking) priced(t *Target, depth int) (model, where string) {
	if t.Policy() == "" {
		if c.s.Prices.Priced(t.Model) {
			return "", ""
		}
		return t.Model, ""
	}
	p := c.policies[t.Policy()]
	if p == nil || depth > maxDepth {
		return "", ""
	}
	model, known := c.unpriced[p.Name]
	for _, l := range p.Spec.lines() {
		if known || model != "" {
			break
		}
		model, _ = c.priced(l.Target, depth+1)
	}
	c.unpriced[p.Name] = model
	return model, " in policy " + p.Name
}

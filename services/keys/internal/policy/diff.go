package policy

import (
	"cmp"
	"fmt"
	"slices"
)

// Kind says what happened to a part of a rule.
type Kind string

// The kinds.
const (
	Added   Kind = "added"
	Removed Kind = "removed"
	Changed Kind = "changed"
	Moved   Kind = "moved"
)

// Change is one difference between two rules.
type Change struct {
	Kind Kind `json:"kind"`
	// FromLine is its line in the older rule and ToLine that in the newer, from 1; 0 if it is no line.
	FromLine int `json:"from_line,omitempty"`
	ToLine   int `json:"to_line,omitempty"`
	// Field is its path: in the newer rule, or in the older if it is removed.
	Field string `json:"field"`
	// From and To are what it was and is, in words for people.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// Diff tells how two rules differ: first what is of the rule as a whole, then group by group and line by
// line in the order of the newer rule, then what is gone. Equal rules have no difference, and a default
// that is written out is none. names are the names of credentials, API keys and groups by id, for the words.
func Diff(from, to Spec, names map[string]string) []Change {
	d := newDiff(&from, &to, names)
	d.whole()
	for g := range to.Groups {
		d.group(g)
		for _, l := range d.new {
			if l.group == g {
				d.line(l)
			}
		}
	}
	for g := range from.Groups {
		if !slices.Contains(d.groups, g) {
			d.add(Change{Kind: Removed, Field: fmt.Sprintf("groups[%d]", g), From: d.head(&from.Groups[g])})
		}
	}
	for _, l := range d.old {
		if d.newOf[l.number] == 0 {
			d.add(Change{Kind: Removed, FromLine: l.number, Field: l.path(), From: d.describe(l.Target)})
		}
	}
	return d.changes
}

func (l line) path() string { return fmt.Sprintf("groups[%d].targets[%d]", l.group, l.place) }

type diff struct {
	from, to *Spec
	names    map[string]string
	old, new []line
	// oldOf and newOf are the lines that are the same line in the other rule, by number; 0 is none.
	oldOf, newOf []int
	// groups are the older groups that the newer ones were, -1 for none. They keep their order.
	groups []int
	// moved are lines of the newer rule that stand at another place than before.
	moved   map[int]bool
	changes []Change
}

func newDiff(from, to *Spec, names map[string]string) *diff {
	d := &diff{from: from, to: to, names: names, old: from.lines(), new: to.lines()}
	d.oldOf, d.newOf = make([]int, len(d.new)+1), make([]int, len(d.old)+1)
	both := func(key func(l line) string) { d.pair(key, key) }
	both(func(l line) string { return fmt.Sprintf("%q", d.wordsOfTarget(l.Target)) })
	both(func(l line) string { return fmt.Sprintf("%q", []string{l.Model, string(l.class()), l.CredentialID}) })
	both(func(l line) string { return l.Model })
	d.groups = d.matchGroups()
	// What is left at the same place of the same group is the same line with another model.
	at := func(group, place int) string { return fmt.Sprint(group, " ", place) }
	d.pair(func(a line) string { return at(a.group, a.place) }, func(b line) string { return at(d.groups[b.group], b.place) })
	d.moved = d.findMoved()
	return d
}

func (d *diff) add(c Change) { d.changes = append(d.changes, c) }

// pair makes each free line of the newer rule the same as the first free line of the older with the same key.
func (d *diff) pair(older, newer func(l line) string) {
	free := map[string][]int{}
	for _, a := range d.old {
		if d.newOf[a.number] == 0 {
			key := older(a)
			free[key] = append(free[key], a.number)
		}
	}
	for _, b := range d.new {
		if d.oldOf[b.number] != 0 {
			continue
		}
		if key := newer(b); len(free[key]) > 0 {
			was := free[key][0]
			free[key] = free[key][1:]
			d.oldOf[b.number], d.newOf[was] = was, b.number
		}
	}
}

// matchGroups finds which older group each newer one was, in order, so that as many lines as possible
// stay in their group; among equals, groups whose heads are alike.
func (d *diff) matchGroups() []int {
	n, m := len(d.to.Groups), len(d.from.Groups)
	worth := func(g, f int) int {
		w := 0
		for _, b := range d.new {
			if b.group == g && d.oldOf[b.number] != 0 && d.old[d.oldOf[b.number]-1].group == f {
				w += 4
			}
		}
		if d.sameHead(g, f) {
			w++
		}
		if g == f {
			w++
		}
		return w
	}
	best := make([][]int, n+1) // best[g][f] is the worth of the groups from g and f on
	for g := range best {
		best[g] = make([]int, m+1)
	}
	for g := n - 1; g >= 0; g-- {
		for f := m - 1; f >= 0; f-- {
			best[g][f] = max(best[g+1][f], best[g][f+1], best[g+1][f+1]+worth(g, f))
		}
	}
	out := make([]int, n)
	f := 0
	for g := range n {
		out[g] = -1
		for f < m && best[g][f] == best[g][f+1] && best[g][f] != best[g+1][f] {
			f++
		}
		if f < m && best[g][f] == best[g+1][f+1]+worth(g, f) && worth(g, f) > 0 {
			out[g] = f
			f++
		}
	}
	return out
}

// findMoved finds which lines have to be taken out and put elsewhere: those that came from another group,
// and of the others those that are not in the longest row that kept its order.
func (d *diff) findMoved() map[int]bool {
	moved := map[int]bool{}
	var stay []line
	for _, b := range d.new {
		switch was := d.oldOf[b.number]; {
		case was == 0:
		case d.groups[b.group] != d.old[was-1].group:
			moved[b.number] = true
		default:
			stay = append(stay, b)
		}
	}
	length, before := make([]int, len(stay)), make([]int, len(stay))
	end := -1
	for i, b := range stay {
		length[i], before[i] = 1, -1
		for j := range i {
			if d.oldOf[stay[j].number] < d.oldOf[b.number] && length[j]+1 > length[i] {
				length[i], before[i] = length[j]+1, j
			}
		}
		if end < 0 || length[i] > length[end] {
			end = i
		}
	}
	kept := map[int]bool{}
	for i := end; i >= 0; i = before[i] {
		kept[stay[i].number] = true
	}
	for _, b := range stay {
		if !kept[b.number] {
			moved[b.number] = true
		}
	}
	return moved
}

// whole compares what is of the rule as a whole.
func (d *diff) whole() {
	a, b := wordsOfSpec(d.from), wordsOfSpec(d.to)
	for i := range a {
		if a[i].words != b[i].words {
			d.add(Change{Kind: Changed, Field: a[i].field, From: a[i].words, To: b[i].words})
		}
	}
}

// group compares the head of a group.
func (d *diff) group(g int) {
	field := fmt.Sprintf("groups[%d]", g)
	f := d.groups[g]
	if f < 0 {
		d.add(Change{Kind: Added, Field: field, To: d.head(&d.to.Groups[g])})
		return
	}
	a, b := d.wordsOfGroup(&d.from.Groups[f]), d.wordsOfGroup(&d.to.Groups[g])
	for i := range a {
		if a[i].words != b[i].words {
			d.add(Change{Kind: Changed, Field: field + "." + a[i].field, From: a[i].words, To: b[i].words})
		}
	}
}

func (d *diff) sameHead(g, f int) bool {
	return slices.Equal(d.wordsOfGroup(&d.to.Groups[g]), d.wordsOfGroup(&d.from.Groups[f]))
}

// line compares a line with what it was.
func (d *diff) line(b line) {
	was := d.oldOf[b.number]
	if was == 0 {
		d.add(Change{Kind: Added, ToLine: b.number, Field: b.path(), To: d.describe(b.Target)})
		return
	}
	a := d.old[was-1]
	if d.moved[b.number] {
		d.add(Change{Kind: Moved, FromLine: a.number, ToLine: b.number, Field: b.path(), From: place(a), To: place(b)})
	}
	for _, c := range d.fields(a, b) {
		c.Kind, c.FromLine, c.ToLine, c.Field = Changed, a.number, b.number, b.path()+"."+c.Field
		d.add(c)
	}
}

func place(l line) string { return fmt.Sprintf("line %d, in group %d", l.number, l.group+1) }

// fields are the fields in which two lines differ.
func (d *diff) fields(a, b line) []Change {
	var out []Change
	x, y := d.wordsOfTarget(a.Target), d.wordsOfTarget(b.Target)
	for i := range x {
		if x[i].words != y[i].words {
			out = append(out, Change{Field: x[i].field, From: x[i].words, To: y[i].words})
		}
	}
	return out
}

// maxSummary bounds what the audit keeps of one difference.
const maxSummary = 50

// Summary is a difference as the audit keeps it: the changes, each as one sentence.
func Summary(changes []Change) []string {
	out := []string{}
	for i, c := range changes {
		if i == maxSummary {
			return append(out, fmt.Sprintf("and %d more", len(changes)-i))
		}
		out = append(out, c.String())
	}
	return out
}

// String is the change as a sentence.
func (c Change) String() string {
	what := c.Field
	if line := cmp.Or(c.ToLine, c.FromLine); line > 0 {
		what = fmt.Sprintf("line %d", line)
	}
	switch c.Kind {
	case Added:
		return fmt.Sprintf("%s: added %s", what, c.To)
	case Removed:
		return fmt.Sprintf("%s: removed %s", what, c.From)
	case Moved:
		return fmt.Sprintf("%s: moved from %s to %s", what, c.From, c.To)
	case Changed:
	}
	if c.ToLine > 0 {
		what = fmt.Sprintf("line %d, %s", c.ToLine, lastPart(c.Field))
	}
	return fmt.Sprintf("%s: from %s to %s", what, c.From, c.To)
}

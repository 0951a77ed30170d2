package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/claviger/claviger/services/keys/internal/policy"
)

func own(models ...string) []policy.Target {
	out := make([]policy.Target, len(models))
	for i, m := range models {
		out[i] = policy.Target{Model: m, Use: policy.Own}
	}
	return out
}

func spec(groups ...policy.Group) policy.Spec { return policy.Spec{Groups: groups} }

func of(targets ...policy.Target) policy.Group { return policy.Group{Targets: targets} }

func TestDifferencesAreToldInPlainWords(t *testing.T) {
	t.Parallel()
	from := spec(of(own("openai/gpt-4o", "anthropic/claude-opus-5", "groq/llama-3.3-70b")...), of(own("mistral/mistral-large")...))
	to := spec(
		policy.Group{Strategy: policy.Weighted, When: &policy.Condition{Tags: []policy.Tag{{Key: "team", Values: []string{"search"}}}, Groups: []string{"grp_1"}}, Targets: []policy.Target{
			{Model: "anthropic/claude-opus-5", CredentialID: "cred_1", Weight: new(3)},
			{Model: "openai/gpt-4.1", Use: policy.Own, Timeouts: policy.Timeouts{Total: 90 * time.Second}},
			{Model: "groq/llama-3.3-70b", Use: policy.Platform, Retries: new(0), Overrides: &policy.Overrides{Temperature: new(0.5)}},
		}},
		of(policy.Target{Model: "policy/cheap"}),
	)
	to.MaxAttempts, to.Hedge = 6, &policy.Hedge{MaxPercent: 10}
	got := policy.Summary(policy.Diff(from, to, map[string]string{"cred_1": "main", "grp_1": "Search"}))
	want := []string{
		"max_attempts: from 4 to 6",
		"hedge: from never to after the 95th percentile, for 10 % of requests at most",
		"groups[0].strategy: from fallback to weighted",
		`groups[0].when.tags: from any to "team" is "search"`,
		"groups[0].when.group_ids: from any to Search (grp_1)",
		"line 1, credential_id: from any to main (cred_1)",
		"line 1, weight: from 1 to 3",
		"line 2: added openai/gpt-4.1, own keys, total 1m30s",
		"line 3, use: from own keys to platform's keys",
		"line 3, retries: from 2 to 0",
		"line 3, overrides.temperature: from as asked for to 0.5",
		"line 4, model: from mistral/mistral-large to policy/cheap",
		"line 4, use: from own keys to as the policy's lines say",
		"line 1: removed openai/gpt-4o, own keys",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestALineThatChangesPlacesHasMoved(t *testing.T) {
	t.Parallel()
	from := spec(of(own("openai/a", "openai/b", "openai/c")...), of(own("openai/d")...))
	for name, c := range map[string]struct {
		to   policy.Spec
		want []string
	}{
		"to the front": {
			spec(of(own("openai/c", "openai/a", "openai/b")...), of(own("openai/d")...)),
			[]string{"line 1: moved from line 3, in group 1 to line 1, in group 1"},
		},
		"to another group": {
			spec(of(own("openai/a", "openai/b")...), of(own("openai/c", "openai/d")...)),
			[]string{"line 3: moved from line 3, in group 1 to line 3, in group 2"},
		},
		"behind a new group": {
			spec(of(own("openai/e")...), of(own("openai/a", "openai/b", "openai/c")...), of(own("openai/d")...)),
			[]string{"groups[0]: added fallback", "line 1: added openai/e, own keys"},
		},
		"its group is gone": {
			spec(of(own("openai/a", "openai/b", "openai/c", "openai/d")...)),
			[]string{"line 4: moved from line 4, in group 2 to line 4, in group 1", "groups[1]: removed fallback"},
		},
	} {
		if diff := cmp.Diff(c.want, policy.Summary(policy.Diff(from, c.to, nil))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestADefaultThatIsWrittenOutIsNoDifference(t *testing.T) {
	t.Parallel()
	short := spec(of(policy.Target{Model: "openai/a", Use: policy.Own, MoveOn: []string{"timeout", "network"}}))
	long := spec(policy.Group{Strategy: policy.Fallback, When: &policy.Condition{}, Targets: []policy.Target{{
		Model: "openai/a", Use: policy.Own, Weight: new(1), Retries: new(2), Backoff: new(250 * time.Millisecond),
		MoveOn: []string{"network", "timeout"}, Overrides: &policy.Overrides{},
	}}})
	long.MaxAttempts = 4
	if got := policy.Diff(short, long, nil); len(got) > 0 {
		t.Errorf("differences = %v, want none", got)
	}
}

// specs draws rules that are alike enough for lines to be found again.
func specs() *rapid.Generator[policy.Spec] {
	optional := func(rt *rapid.T, name string) *int {
		if rapid.Bool().Draw(rt, name) {
			return nil
		}
		return new(rapid.IntRange(0, 3).Draw(rt, name))
	}
	target := rapid.Custom(func(rt *rapid.T) policy.Target {
		out := policy.Target{
			Model: rapid.SampledFrom([]string{"openai/a", "openai/b", "groq/a", "policy/p"}).Draw(rt, "model"),
			Use:   rapid.SampledFrom([]policy.Class{"", policy.Own, policy.Platform}).Draw(rt, "use"), Weight: optional(rt, "weight"),
			Retries: optional(rt, "retries"), CredentialID: rapid.SampledFrom([]string{"", "cred_1", "cred_2"}).Draw(rt, "credential"),
			MoveOn:   rapid.SampledFrom([][]string{nil, {"timeout"}, {"timeout", "network"}}).Draw(rt, "move on"),
			Timeouts: policy.Timeouts{Total: rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute}).Draw(rt, "total")},
		}
		if rapid.Bool().Draw(rt, "overrides") {
			out.Overrides = &policy.Overrides{Temperature: new(rapid.SampledFrom([]float64{0, 0.5}).Draw(rt, "temperature"))}
		}
		return out
	})
	group := rapid.Custom(func(rt *rapid.T) policy.Group {
		out := policy.Group{
			Strategy: rapid.SampledFrom([]policy.Strategy{"", policy.Fallback, policy.Weighted, policy.Sticky}).Draw(rt, "strategy"),
			StickyBy: rapid.SampledFrom([]string{"", "session", "tag:a"}).Draw(rt, "sticky by"), Targets: rapid.SliceOfN(target, 1, 4).Draw(rt, "targets"),
		}
		if rapid.Bool().Draw(rt, "condition") {
			out.When = &policy.Condition{
				MinInput: int64(rapid.IntRange(0, 1).Draw(rt, "min")), Models: rapid.SampledFrom([][]string{nil, {"a*"}, {"a", "b"}, {`a" or "b`}}).Draw(rt, "models"),
			}
		}
		return out
	})
	return rapid.Custom(func(rt *rapid.T) policy.Spec {
		out := policy.Spec{Groups: rapid.SliceOfN(group, 1, 4).Draw(rt, "groups"), MaxAttempts: rapid.SampledFrom([]int{0, 2}).Draw(rt, "attempts")}
		if rapid.Bool().Draw(rt, "hedge") {
			out.Hedge = &policy.Hedge{MaxPercent: rapid.IntRange(0, 2).Draw(rt, "percent")}
		}
		return out
	})
}

// normal writes defaults out, so that rules that mean the same are equal.
func normal(s policy.Spec) policy.Spec {
	groups := slices.Clone(s.Groups)
	for g := range groups {
		group := &groups[g]
		group.Strategy = orDefault(group.Strategy, policy.Fallback)
		if group.Strategy == policy.Sticky {
			group.StickyBy = orDefault(group.StickyBy, "session")
		}
		if group.When == nil {
			group.When = &policy.Condition{}
		}
		group.Targets = slices.Clone(group.Targets)
		for i := range group.Targets {
			target := &group.Targets[i]
			target.Weight, target.Retries = written(target.Weight, 1), written(target.Retries, 2)
			if target.Overrides == nil {
				target.Overrides = &policy.Overrides{}
			}
			if target.Use == "" && target.Policy() == "" {
				target.Use = policy.Own
			}
		}
	}
	s.Groups, s.MaxAttempts = groups, orDefault(s.MaxAttempts, 4)
	if s.Hedge != nil {
		s.Hedge = &policy.Hedge{After: s.Hedge.After, MaxPercent: orDefault(s.Hedge.MaxPercent, 5)}
	}
	return s
}

func orDefault[T comparable](v, otherwise T) T {
	var none T
	if v == none {
		return otherwise
	}
	return v
}

func written(n *int, otherwise int) *int {
	if n == nil {
		return &otherwise
	}
	return n
}

// place is a line of a rule, or its group's head where index is -1.
type flat struct {
	group  int
	target policy.Target
}

func flatten(s policy.Spec) (out []flat) {
	for g := range s.Groups {
		for _, target := range s.Groups[g].Targets {
			out = append(out, flat{g, target})
		}
	}
	return out
}

// explain plays the changes on the older rule. Where a change names a field it takes the newer's, and
// nothing else: what comes out is the newer rule only if every difference is named.
func explain(from, to policy.Spec, changes []policy.Change) (policy.Spec, error) {
	var out policy.Spec
	named := map[string]policy.Change{}
	origin, gone := map[int]int{}, map[int]bool{} // lines that are named, and those that have left their place
	goneGroups, newGroups := map[int]bool{}, map[int]bool{}
	for _, c := range changes {
		named[string(c.Kind)+" "+c.Field] = c
		var g int
		switch {
		case c.Kind == policy.Removed && c.FromLine > 0:
			gone[c.FromLine] = true
		case c.Kind == policy.Added && c.ToLine > 0:
			origin[c.ToLine] = 0
		case c.Kind == policy.Moved:
			origin[c.ToLine], gone[c.FromLine] = c.FromLine, true
		case c.Kind == policy.Added || c.Kind == policy.Removed:
			if _, err := fmt.Sscanf(c.Field, "groups[%d]", &g); err != nil {
				return out, err
			}
			(map[policy.Kind]map[int]bool{policy.Added: newGroups, policy.Removed: goneGroups})[c.Kind][g] = true
		}
	}
	changed := func(field string) bool { _, ok := named["changed "+field]; return ok }
	pick := func(field string, old, new any) any {
		if changed(field) {
			return new
		}
		return old
	}
	out.MaxAttempts, _ = pick("max_attempts", from.MaxAttempts, to.MaxAttempts).(int)
	out.Hedge, _ = pick("hedge", from.Hedge, to.Hedge).(*policy.Hedge)
	// Groups and lines that are not named stay in their order.
	var stayed, kept []int
	for g := range from.Groups {
		if !goneGroups[g] {
			stayed = append(stayed, g)
		}
	}
	old, news := flatten(from), flatten(to)
	for i := range old {
		if !gone[i+1] {
			kept = append(kept, i)
		}
	}
	wasGroup := map[int]int{}
	for g := range to.Groups {
		head := policy.Group{Strategy: to.Groups[g].Strategy, StickyBy: to.Groups[g].StickyBy, When: to.Groups[g].When}
		wasGroup[g] = -1
		if !newGroups[g] {
			if len(stayed) == 0 {
				return out, fmt.Errorf("group %d was nowhere", g)
			}
			was, is := from.Groups[stayed[0]], to.Groups[g]
			wasGroup[g], stayed = stayed[0], stayed[1:]
			at := func(field string) string { return fmt.Sprintf("groups[%d].%s", g, field) }
			head.Strategy, _ = pick(at("strategy"), was.Strategy, is.Strategy).(policy.Strategy)
			head.StickyBy, _ = pick(at("sticky_by"), was.StickyBy, is.StickyBy).(string)
			when := *was.When
			when.MinInput, _ = pick(at("when.min_input_tokens"), was.When.MinInput, is.When.MinInput).(int64)
			when.Models, _ = pick(at("when.models"), was.When.Models, is.When.Models).([]string)
			head.When = &when
		}
		out.Groups = append(out.Groups, head)
	}
	for i, n := range news {
		was, mentioned := origin[i+1]
		target := n.target
		if !mentioned {
			if len(kept) == 0 {
				return out, fmt.Errorf("line %d was nowhere", i+1)
			}
			if old[kept[0]].group != wasGroup[n.group] {
				return out, fmt.Errorf("line %d came from another group and has not moved", i+1)
			}
			was, kept = kept[0]+1, kept[1:]
		}
		if was > 0 {
			target = old[was-1].target
			at := func(field string) string {
				return fmt.Sprintf("groups[%d].targets[%d].%s", n.group, place(to, i), field)
			}
			target.Model, _ = pick(at("model"), target.Model, n.target.Model).(string)
			target.Use, _ = pick(at("use"), target.Use, n.target.Use).(policy.Class)
			target.CredentialID, _ = pick(at("credential_id"), target.CredentialID, n.target.CredentialID).(string)
			target.Weight, _ = pick(at("weight"), target.Weight, n.target.Weight).(*int)
			target.Retries, _ = pick(at("retries"), target.Retries, n.target.Retries).(*int)
			target.MoveOn, _ = pick(at("move_on"), target.MoveOn, n.target.MoveOn).([]string)
			target.Timeouts.Total, _ = pick(at("timeouts.total"), target.Timeouts.Total, n.target.Timeouts.Total).(time.Duration)
			target.Overrides, _ = pick(at("overrides.temperature"), target.Overrides, n.target.Overrides).(*policy.Overrides)
		}
		out.Groups[n.group].Targets = append(out.Groups[n.group].Targets, target)
	}
	if len(kept)+len(stayed) > 0 {
		return out, fmt.Errorf("%d lines and %d groups are gone without a word", len(kept), len(stayed))
	}
	return out, nil
}

// place is where in its group the line with that index stands.
func place(s policy.Spec, index int) int {
	for _, g := range s.Groups {
		if index < len(g.Targets) {
			return index
		}
		index -= len(g.Targets)
	}
	return -1
}

func TestTheChangesExplainEveryDifference(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		from, to := specs().Draw(rt, "from"), specs().Draw(rt, "to")
		changes := policy.Diff(from, to, nil)
		if again := policy.Diff(from, to, nil); !slices.Equal(changes, again) {
			rt.Fatalf("two runs differ:\n%v\n%v", changes, again)
		}
		got, err := explain(normal(from), normal(to), changes)
		if diff := cmp.Diff(normal(to), got); err != nil || diff != "" {
			rt.Fatalf("%v\n%s\nleave (-want +got):\n%s", err, strings.Join(policy.Summary(changes), "\n"), diff)
		}
		for _, c := range changes {
			if c.Kind == policy.Changed && c.From == c.To {
				rt.Fatalf("%s changed from %q to itself", c.Field, c.From)
			}
		}
		if same := policy.Diff(from, normal(from), nil); len(same) > 0 {
			rt.Fatalf("a rule differs from itself: %v", same)
		}
	})
}

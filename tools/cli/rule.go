package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

// Rules in plain words. Objects are called as the rule calls them: by id, or by name after naming.

// linesOf are the lines of a rule, counted from 1 through all groups.
func linesOf(spec *keysv1.PolicySpec) []*keysv1.Target {
	var out []*keysv1.Target
	for _, group := range spec.GetGroups() {
		out = append(out, group.GetTargets()...)
	}
	return out
}

// specOf is the rule of the version that serves, or the draft's where none serves yet.
func specOf(p *keysv1.Policy) *keysv1.PolicySpec {
	if p.GetSpec() == nil {
		return p.GetDraft()
	}
	return p.GetSpec()
}

// lineText is a line in the form of --target, without details.
func lineText(t *keysv1.Target) string {
	switch {
	case t.GetCredentialId() != "":
		return t.GetModel() + "=" + t.GetCredentialId()
	case t.GetUse() == 0:
		return t.GetModel()
	default:
		return t.GetModel() + "=" + word(t.GetUse())
	}
}

// lineTexts are the lines of a rule.
func lineTexts(spec *keysv1.PolicySpec) []string {
	var texts []string
	for _, t := range linesOf(spec) {
		texts = append(texts, lineText(t))
	}
	return texts
}

// lineDetails is what a line says besides its model and whose key serves.
func lineDetails(t *keysv1.Target) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if t.Weight != nil {
		add("weight %d", t.GetWeight())
	}
	for _, limit := range []struct {
		name string
		of   *durationpb.Duration
	}{
		{"first byte within", t.GetTimeouts().GetFirstByte()},
		{"pauses up to", t.GetTimeouts().GetBetweenChunks()},
		{"in all within", t.GetTimeouts().GetTotal()},
	} {
		if limit.of != nil {
			add("%s %s", limit.name, span(limit.of))
		}
	}
	switch {
	case t.Retries == nil:
	case t.GetRetries() == 1:
		add("1 retry")
	default:
		add("%d retries", t.GetRetries())
	}
	if t.GetBackoff() != nil {
		add("back-off %s", span(t.GetBackoff()))
	}
	if len(t.GetMoveOn()) > 0 {
		add("moves on after %s", strings.ReplaceAll(strings.Join(t.GetMoveOn(), ", "), "_", " "))
	}
	o := t.GetOverrides()
	if o != nil && o.Temperature != nil {
		add("temperature %s", strconv.FormatFloat(o.GetTemperature(), 'g', -1, 64))
	}
	if o != nil && o.TopP != nil {
		add("top_p %s", strconv.FormatFloat(o.GetTopP(), 'g', -1, 64))
	}
	if o != nil && o.MaxOutputTokens != nil {
		add("at most %s tokens out", number(o.GetMaxOutputTokens()))
	}
	if o != nil && o.ReasoningEffort != nil {
		add("effort %s", o.GetReasoningEffort())
	}
	return strings.Join(parts, ", ")
}

// span is a time span of a setting.
func span(d *durationpb.Duration) string {
	if d.AsDuration()%time.Second == 0 && d.AsDuration() < 2*time.Minute {
		return fmt.Sprintf("%d s", int(d.AsDuration().Seconds()))
	}
	return took(d.AsDuration())
}

// strategyText says in which order the lines of a group are tried.
func strategyText(g *keysv1.TargetGroup) string {
	strategy := max(g.GetStrategy(), keysv1.Strategy_STRATEGY_FALLBACK)
	text := word(strategy)
	if strategy == keysv1.Strategy_STRATEGY_STICKY {
		by := g.GetStickyBy()
		if by == "" {
			by = "session"
		}
		text += " by " + strings.Replace(by, "tag:", "tag ", 1)
	}
	return text
}

// conditionText says for which requests a group is there; empty is all.
func conditionText(c *keysv1.Condition) string {
	var parts []string
	for _, tag := range c.GetTags() {
		if len(tag.GetValues()) == 0 {
			parts = append(parts, "tag "+tag.GetKey())
			continue
		}
		parts = append(parts, "tag "+tag.GetKey()+"="+strings.Join(tag.GetValues(), "|"))
	}
	if len(c.GetModels()) > 0 {
		parts = append(parts, "model "+strings.Join(c.GetModels(), "|"))
	}
	if n := c.GetMinInputTokens(); n > 0 {
		parts = append(parts, "at least "+number(n)+" tokens in")
	}
	if n := c.GetMaxInputTokens(); n > 0 {
		parts = append(parts, "at most "+number(n)+" tokens in")
	}
	if len(c.GetApiKeyIds()) > 0 {
		parts = append(parts, "API key "+strings.Join(c.GetApiKeyIds(), "|"))
	}
	if len(c.GetGroupIds()) > 0 {
		parts = append(parts, "group "+strings.Join(c.GetGroupIds(), "|"))
	}
	return strings.Join(parts, ", ")
}

// groupText is a group without its lines.
func groupText(g *keysv1.TargetGroup) string {
	text := strategyText(g)
	if when := conditionText(g.GetWhen()); when != "" {
		text += ", for " + when
	}
	return text
}

// hedgeText says when a second call is sent.
func hedgeText(h *keysv1.Hedge) string {
	if h == nil {
		return "none"
	}
	after := "the 95th percentile"
	if h.GetAfter() != nil {
		after = span(h.GetAfter())
	}
	percent := h.GetMaxPercent()
	if percent == 0 {
		percent = 5
	}
	return fmt.Sprintf("after %s, for at most %d %% of the requests", after, percent)
}

// ruleChanges says how two rules differ, line by line.
func ruleChanges(before, after *keysv1.PolicySpec) []string {
	switch {
	case proto.Equal(before, after):
		return nil
	case before == nil:
		return []string{"it is new: " + strings.Join(lineTexts(after), ", then ")}
	case after == nil:
		return []string{"it is gone: " + strings.Join(lineTexts(before), ", then ")}
	}
	whole := func(t *keysv1.Target) string {
		if details := lineDetails(t); details != "" {
			return lineText(t) + " (" + details + ")"
		}
		return lineText(t)
	}
	list := compare("line", texts(linesOf(before), whole), texts(linesOf(after), whole))
	list = append(list, compare("group", texts(before.GetGroups(), groupText), texts(after.GetGroups(), groupText))...)
	if a, b := sizes(before), sizes(after); len(a) == len(b) && len(linesOf(before)) == len(linesOf(after)) && !slices.Equal(a, b) {
		list = append(list, fmt.Sprintf("lines per group were %s, are %s", strings.Join(a, ", "), strings.Join(b, ", ")))
	}
	if a, b := before.GetMaxAttempts(), after.GetMaxAttempts(); a != b {
		list = append(list, fmt.Sprintf("most calls was %s, is %s", attemptsText(a), attemptsText(b)))
	}
	if a, b := hedgeText(before.GetHedge()), hedgeText(after.GetHedge()); a != b {
		list = append(list, fmt.Sprintf("hedging was %s, is %s", a, b))
	}
	return list
}

func attemptsText(n int32) string {
	if n == 0 {
		n = 4
	}
	return strconv.Itoa(int(n))
}

func texts[T any](of []T, text func(T) string) []string {
	out := make([]string, len(of))
	for i, o := range of {
		out[i] = text(o)
	}
	return out
}

// sizes are how many lines each group has.
func sizes(spec *keysv1.PolicySpec) []string {
	return texts(spec.GetGroups(), func(g *keysv1.TargetGroup) string { return strconv.Itoa(len(g.GetTargets())) })
}

// compare says what differs between two lists whose items are counted from 1.
func compare(what string, before, after []string) []string {
	var list []string
	for i := range max(len(before), len(after)) {
		switch {
		case i >= len(before):
			list = append(list, fmt.Sprintf("%s %d is new: %s", what, i+1, after[i]))
		case i >= len(after):
			list = append(list, fmt.Sprintf("%s %d is gone: %s", what, i+1, before[i]))
		case before[i] != after[i]:
			list = append(list, fmt.Sprintf("%s %d was %s, is %s", what, i+1, before[i], after[i]))
		}
	}
	return list
}

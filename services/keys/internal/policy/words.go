package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// word is a field of a rule, in words for people. Two fields that mean the same have the same words.
type word struct{ field, words string }

// The defaults that stand in words. The router's own are not known here.
const (
	defaultAttempts = 4
	defaultPercent  = 5
	defaultRetries  = 2
	defaultBackoff  = 250 * time.Millisecond
)

func wordsOfSpec(s *Spec) []word {
	out := []word{{"max_attempts", number(s.MaxAttempts, defaultAttempts)}, {"hedge", "never"}}
	if s.Hedge != nil {
		after := "the 95th percentile"
		if s.Hedge.After > 0 {
			after = s.Hedge.After.String()
		}
		out[1].words = fmt.Sprintf("after %s, for %s %% of requests at most", after, number(s.Hedge.MaxPercent, defaultPercent))
	}
	return out
}

// number is a number whose 0 stands for a default.
func number(n, otherwise int) string {
	if n == 0 {
		n = otherwise
	}
	return strconv.Itoa(n)
}

func (d *diff) wordsOfGroup(g *Group) []word {
	sticky := "nothing"
	if g.strategy() == Sticky {
		sticky = "session"
	}
	if g.StickyBy != "" {
		sticky = g.StickyBy
	}
	out := []word{{"strategy", strings.ReplaceAll(string(g.strategy()), "_", " ")}, {"sticky_by", sticky}}
	when := g.When
	if when == nil {
		when = &Condition{}
	}
	tags := make([]string, len(when.Tags))
	for i, t := range when.Tags {
		tags[i] = strconv.Quote(t.Key)
		if len(t.Values) > 0 {
			tags[i] += " is " + strings.Join(quoted(t.Values), " or ")
		}
	}
	return append(out,
		word{"when.tags", list(tags, " and ", "any")},
		word{"when.models", list(quoted(when.Models), " or ", "any")},
		word{"when.min_input_tokens", strconv.FormatInt(when.MinInput, 10)},
		word{"when.max_input_tokens", limit(when.MaxInput)},
		word{"when.api_key_ids", list(d.named(when.APIKeys), ", ", "any")},
		word{"when.group_ids", list(d.named(when.Groups), ", ", "any")},
	)
}

// head is a group in a few words.
func (d *diff) head(g *Group) string {
	out := []string{strings.ReplaceAll(string(g.strategy()), "_", " ")}
	none := d.wordsOfGroup(&Group{Strategy: g.Strategy})
	for i, w := range d.wordsOfGroup(g) {
		if w != none[i] {
			out = append(out, strings.TrimPrefix(w.field, "when.")+" "+w.words)
		}
	}
	return strings.Join(out, ", ")
}

func (d *diff) wordsOfTarget(t *Target) []word {
	o := t.Overrides
	if o == nil {
		o = &Overrides{}
	}
	credential := "any"
	if t.CredentialID != "" {
		credential = d.named([]string{t.CredentialID})[0]
	}
	retries, backoff := defaultRetries, defaultBackoff
	if t.Retries != nil {
		retries = *t.Retries
	}
	if t.Backoff != nil {
		backoff = *t.Backoff
	}
	return []word{
		{"model", t.Model},
		{"use", use(t.class())},
		{"credential_id", credential},
		{"weight", strconv.Itoa(t.weight())},
		{"timeouts.first_byte", within(t.Timeouts.FirstByte)},
		{"timeouts.between_chunks", within(t.Timeouts.BetweenChunks)},
		{"timeouts.total", within(t.Timeouts.Total)},
		{"retries", strconv.Itoa(retries)},
		{"backoff", backoff.String()},
		{"move_on", list(slices.Sorted(slices.Values(t.MoveOn)), ", ", "the default of each error")},
		{"overrides.temperature", optional(o.Temperature)},
		{"overrides.top_p", optional(o.TopP)},
		{"overrides.max_output_tokens", optional(o.MaxOutputTokens)},
		{"overrides.reasoning_effort", optional(o.ReasoningEffort)},
	}
}

// describe is a line in a few words: what is not as usual.
func (d *diff) describe(t *Target) string {
	out := []string{t.Model}
	usual := d.wordsOfTarget(&Target{Model: t.Model, Use: Own})
	if t.class() == Own && t.CredentialID == "" && t.Policy() == "" {
		out = append(out, "own keys")
	}
	for i, w := range d.wordsOfTarget(t) {
		switch {
		case w == usual[i] || w.field == "use" && t.Policy() != "":
		case w.field == "use":
			out = append(out, w.words)
		default:
			out = append(out, strings.ReplaceAll(lastPart(w.field), "_", " ")+" "+w.words)
		}
	}
	return strings.Join(out, ", ")
}

func use(c Class) string {
	switch c {
	case Own:
		return "own keys"
	case Platform:
		return "platform's keys"
	}
	return "as the policy's lines say"
}

// named gives ids their names.
func (d *diff) named(ids []string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id
		if name := d.names[id]; name != "" {
			out[i] = fmt.Sprintf("%s (%s)", name, id)
		}
	}
	return out
}

func list(items []string, between, none string) string {
	if len(items) == 0 {
		return none
	}
	return strings.Join(items, between)
}

func quoted(items []string) []string {
	out := make([]string, len(items))
	for i, s := range items {
		out[i] = strconv.Quote(s)
	}
	return out
}

func limit(n int64) string {
	if n == 0 {
		return "any"
	}
	return strconv.FormatInt(n, 10)
}

func within(d time.Duration) string {
	if d == 0 {
		return "the router's default"
	}
	return d.String()
}

func optional[T any](v *T) string {
	if v == nil {
		return "as asked for"
	}
	return fmt.Sprint(*v)
}

// lastPart is what stands behind "groups[0].targets[1].".
func lastPart(field string) string {
	if _, rest, ok := strings.Cut(field, "]."); ok {
		if _, inner, ok := strings.Cut(rest, "]."); ok {
			return inner
		}
		return rest
	}
	return strings.TrimPrefix(strings.TrimPrefix(field, "overrides."), "timeouts.")
}

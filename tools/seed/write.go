package seed

import (
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

// FormatPolicy writes a policy as a file that ParsePolicy reads. A rule of one plain group has the short form.
func FormatPolicy(p Policy) []byte {
	w := &writer{}
	if p.Name != "" {
		w.line(0, "name: "+quote(p.Name))
	}
	if n := p.Spec.GetMaxAttempts(); n != 0 {
		w.line(0, "max_attempts: "+strconv.Itoa(int(n)))
	}
	if h := p.Spec.GetHedge(); h != nil {
		fields := list{}
		fields.span("after", h.GetAfter())
		if n := h.GetMaxPercent(); n != 0 {
			fields.put("max_percent", strconv.Itoa(int(n)))
		}
		w.line(0, "hedge: "+fields.text())
	}
	groups := p.Spec.GetGroups()
	if len(groups) == 1 && plainGroup(groups[0]) {
		w.targets(0, groups[0])
		return []byte(w.String())
	}
	w.line(0, "groups:")
	for _, g := range groups {
		w.group(g)
	}
	return []byte(w.String())
}

// plainGroup reports whether a group is nothing but its lines in order.
func plainGroup(g *keysv1.TargetGroup) bool {
	return g.GetStrategy() <= keysv1.Strategy_STRATEGY_FALLBACK && g.GetWhen() == nil && g.GetStickyBy() == ""
}

type writer struct{ strings.Builder }

func (w *writer) line(depth int, text string) {
	w.WriteString(strings.Repeat("  ", depth) + text + "\n")
}

func (w *writer) group(g *keysv1.TargetGroup) {
	strategy := max(g.GetStrategy(), keysv1.Strategy_STRATEGY_FALLBACK)
	w.line(1, "- strategy: "+wordOf(strategies, strategy))
	if by := g.GetStickyBy(); by != "" {
		w.line(2, "sticky_by: "+quote(by))
	}
	if c := g.GetWhen(); c != nil {
		w.line(2, "when: "+conditionText(c))
	}
	w.targets(2, g)
}

func (w *writer) targets(depth int, g *keysv1.TargetGroup) {
	w.line(depth, "targets:")
	for _, t := range g.GetTargets() {
		w.line(depth+1, "- "+targetText(t))
	}
}

func conditionText(c *keysv1.Condition) string {
	fields := list{}
	tags := list{}
	for _, tag := range c.GetTags() {
		if len(tag.GetValues()) == 0 {
			tags.put(quote(tag.GetKey()), `"*"`)
			continue
		}
		tags.put(quote(tag.GetKey()), texts(tag.GetValues()))
	}
	if len(tags) > 0 {
		fields.put("tags", tags.text())
	}
	fields.texts("models", c.GetModels())
	if n := c.GetMinInputTokens(); n != 0 {
		fields.put("min_input_tokens", strconv.FormatInt(n, 10))
	}
	if n := c.GetMaxInputTokens(); n != 0 {
		fields.put("max_input_tokens", strconv.FormatInt(n, 10))
	}
	fields.texts("api_keys", c.GetApiKeyIds())
	fields.texts("groups", c.GetGroupIds())
	return fields.text()
}

func targetText(t *keysv1.Target) string {
	fields := list{}
	fields.put("model", quote(t.GetModel()))
	if t.GetUse() != eventsv1.CredentialClass_CREDENTIAL_CLASS_UNSPECIFIED {
		fields.put("use", wordOf(uses, t.GetUse()))
	}
	if t.GetCredentialId() != "" {
		fields.put("credential", quote(t.GetCredentialId()))
	}
	if t.Weight != nil {
		fields.put("weight", strconv.Itoa(int(t.GetWeight())))
	}
	if o := t.GetTimeouts(); o != nil {
		spans := list{}
		spans.span("first_byte", o.GetFirstByte())
		spans.span("between_chunks", o.GetBetweenChunks())
		spans.span("total", o.GetTotal())
		fields.put("timeouts", spans.text())
	}
	if t.Retries != nil {
		fields.put("retries", strconv.Itoa(int(t.GetRetries())))
	}
	fields.span("backoff", t.GetBackoff())
	fields.texts("move_on", t.GetMoveOn())
	if o := t.GetOverrides(); o != nil {
		values := list{}
		if o.Temperature != nil {
			values.put("temperature", strconv.FormatFloat(o.GetTemperature(), 'g', -1, 64))
		}
		if o.TopP != nil {
			values.put("top_p", strconv.FormatFloat(o.GetTopP(), 'g', -1, 64))
		}
		if o.MaxOutputTokens != nil {
			values.put("max_output_tokens", strconv.FormatInt(o.GetMaxOutputTokens(), 10))
		}
		if o.ReasoningEffort != nil {
			values.put("reasoning_effort", quote(o.GetReasoningEffort()))
		}
		fields.put("overrides", values.text())
	}
	return fields.text()
}

// list are the fields of an object that stands in one line.
type list []string

func (l *list) put(name, value string) { *l = append(*l, name+": "+value) }

func (l *list) span(name string, d *durationpb.Duration) {
	if d != nil {
		l.put(name, shortSpan(d.AsDuration()))
	}
}

func (l *list) texts(name string, values []string) {
	if len(values) > 0 {
		l.put(name, texts(values))
	}
}

func (l *list) text() string { return "{" + strings.Join(*l, ", ") + "}" }

func texts(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = quote(v)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// shortSpan is a time span without parts that are zero: "2m" and not "2m0s".
func shortSpan(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// quote is a text as YAML takes it for one: plain where that is safe.
func quote(text string) string {
	safe := func(r rune) bool {
		return r == '-' || r == '_' || r == '/' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	letter := text != "" && (text[0] >= 'a' && text[0] <= 'z' || text[0] >= 'A' && text[0] <= 'Z')
	if letter && strings.IndexFunc(text, func(r rune) bool { return !safe(r) }) < 0 && !taken[strings.ToLower(text)] {
		return text
	}
	return strconv.Quote(text)
}

// taken are words that YAML takes for something else than a text.
var taken = map[string]bool{"true": true, "false": true, "null": true, "yes": true, "no": true, "on": true, "off": true, "y": true, "n": true, "inf": true, "nan": true}

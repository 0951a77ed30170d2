package credential

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// all are the states in the order of the docs.
var all = []State{Unverified, Active, Degraded, QuotaExhausted, Rejected, Expired, Disabled, NoSecret}

// meaning says of each state what it is, in words for the docs.
var meaning = map[State]string{
	Unverified:     "no test of its secret has ended yet",
	Active:         "it has passed its test",
	Degraded:       "it works with a warning: a right is missing, or tests and requests contradict each other",
	QuotaExhausted: "the provider says that there are no funds or quota left",
	Rejected:       "the provider refuses it",
	Expired:        "its `expire_time` is over",
	Disabled:       "an owner has switched it off",
	NoSecret:       "its secret was discarded because its base URL changed",
}

// Table renders the machine for the docs.
func Table() string {
	var b strings.Builder
	b.WriteString("# States of credentials\n\nMade from the code's own table by a test: `CLAVIGER_UPDATE_GOLDEN=1 go test -run TheDocsShowTheTable ./services/keys/internal/credential`.\n\n" +
		"Keys alone decides the state of a credential, from what routers report and what owners do. Each arrow that leads to\n" +
		"another state is one audited event: `credential.state` with from, to, event and reason, or, if an owner caused it, part of the\n" +
		"event of that change. What is said of another secret than the one that serves moves nothing here. The graph leaves out\n" +
		"events that stay in a state.\n\n")
	graph(&b)
	b.WriteString("\n| state | serves | the person who added it is told | meaning |\n|---|---|---|---|\n")
	for _, s := range all {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s, yes(s.Serves()), yes(s.tells()), meaning[s])
	}
	b.WriteString("\nTold means: `state_reason` says what the provider said, on the credential's page and in the list, and the audited event names\n" +
		"the person as `tell`. Of the events below the first line that fits holds; an event that no line fits changes nothing.\n\n" +
		"| event | caused by | when | in the states | if | leads to | a key test follows |\n|---|---|---|---|---|---|---|\n")
	for _, r := range rules {
		to := "stays"
		if r.to != "" {
			to = "`" + string(r.to) + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s |\n", r.event, about[r.event].by, about[r.event].when, names(r.from), r.when.words, to, r.test)
	}
	fmt.Fprintf(&b, "\nTests that follow by themselves come after %s, then twice as late each time: at most %s, or %s if funds are missing.\n"+
		"A day without a setback begins anew. A state that an event of a router or of time makes is never `%s` or `%s`: those are owners' alone.\n",
		minutes(firstProbe), hours(rarestProbe), minutes(rarestUnpaid), Disabled, NoSecret)
	second(&b)
	return b.String()
}

func second(b *strings.Builder) {
	fmt.Fprintf(b, `
## The second secret

While a secret is being replaced, the next one stands beside it, with a revision, a state and tests of its own. It changes
nothing about the state of the credential.

%sstateDiagram-v2
    [*] --> staged: StageSecret, and a key test
    staged --> tested: its test passes
    tested --> sharing: SetSecretShare (1, 10, 100 %%)
    sharing --> rolled_back: one refusal (401, 403), no funds, or a failed test
    rolled_back --> tested: its test passes again
    sharing --> promoted: PromoteSecret
    tested --> promoted: PromoteSecret
    staged --> [*]: DiscardSecret, RotateCredential, another base URL
    promoted --> [*]
%s
A roll-back takes its share away at once; requests that met the refusal are served by the first secret. After the promotion
the old secret is kept nowhere; its hint and last use are told as `+"`previous`"+` until they are discarded. It is safe to revoke it at
the provider %s after its last use, once every connected router has confirmed a configuration without it.
`, "```mermaid\n", "```\n", hours(Quiet))
}

// graph draws each pair of states once, with all that leads from one to the other.
func graph(b *strings.Builder) {
	b.WriteString("```mermaid\nstateDiagram-v2\n    [*] --> unverified: created\n")
	for _, from := range all {
		for _, to := range all {
			var labels []string
			for _, r := range rules {
				if from == to || r.to != to || !slices.Contains(r.from, from) {
					continue
				}
				label := string(r.event)
				if r.when.words != "" {
					label += " (" + r.when.words + ")"
				}
				labels = append(labels, label)
			}
			if len(labels) > 0 {
				fmt.Fprintf(b, "    %s --> %s: %s\n", from, to, strings.Join(labels, ", "))
			}
		}
	}
	b.WriteString("```\n")
}

func names(states []State) string {
	quoted := make([]string, len(states))
	for i, s := range states {
		quoted[i] = "`" + string(s) + "`"
	}
	return strings.Join(quoted, ", ")
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func minutes(d time.Duration) string { return fmt.Sprintf("%d minutes", int(d.Minutes())) }
func hours(d time.Duration) string   { return fmt.Sprintf("%d hours", int(d.Hours())) }

// Gaps tells what the table forgets.
func Gaps() (gaps []string) {
	say := func(format string, args ...any) { gaps = append(gaps, fmt.Sprintf(format, args...)) }
	reached, left, used := map[State]bool{Unverified: true}, map[State]bool{}, map[Event]bool{}
	closed := map[string]bool{} // a state and event that an unconditional line has taken
	for _, r := range rules {
		used[r.event] = true
		reached[r.to] = true
		if about[r.event].by == "" {
			say("%s is not explained", r.event)
		}
		if about[r.event].by != ByOwner && (r.to == Disabled || r.to == NoSecret) {
			say("%s leads to %s, and no owner caused it", r.event, r.to)
		}
		for _, from := range r.from {
			left[from] = true
			key := string(from) + " " + string(r.event)
			if closed[key] {
				say("the line of %s with %q is never reached", key, r.when.words)
			}
			closed[key] = closed[key] || r.when.holds == nil
		}
	}
	for _, s := range all {
		if !reached[s] || !left[s] {
			say("%s: reached %v, left %v", s, reached[s], left[s])
		}
		if meaning[s] == "" {
			say("%s has no meaning", s)
		}
	}
	for e := range about {
		if !used[e] {
			say("%s has no line", e)
		}
	}
	return gaps
}

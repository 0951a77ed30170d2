package plan_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/plan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// firsts counts which model comes first in n requests.
func firsts(t *testing.T, w *world, n int, req func(i int) *completion.Request) map[string]int {
	t.Helper()
	p, count := planner(w), map[string]int{}
	for i := range n {
		got, err := p.Make(w, app, req(i))
		if err != nil {
			t.Fatal(err)
		}
		count[got.Targets[0].Model+"@"+got.Targets[0].Credential.ID]++
	}
	return count
}

// within2 fails unless shares are within 2 % of all draws of what the weights say.
func within2(t *testing.T, what string, count map[string]int, weights map[string]int) {
	t.Helper()
	all, total := 0, 0
	for _, n := range count {
		all += n
	}
	for _, weight := range weights {
		total += weight
	}
	for of, weight := range weights {
		got, want := float64(count[of])/float64(all), float64(weight)/float64(total)
		if math.Abs(got-want) > 0.02 {
			t.Errorf("%s: %s comes first for %.3f of %d requests, want %.3f", what, of, got, all, want)
		}
	}
}

// ids are requests with ids of their own.
func ids(model string) func(int) *completion.Request {
	return func(i int) *completion.Request {
		return &completion.Request{ID: fmt.Sprintf("req_%d", i), Model: model}
	}
}

// draws is for what weights promise; fewer show the rest as well.
const draws, fewer = 100_000, 20_000

func TestWeightsHoldOver100000Draws(t *testing.T) {
	t.Parallel()
	w := basic()
	weighed := group(plan.Weighted, weighing(own("anthropic/c"), 1), weighing(own("groq/l"), 3), weighing(shared("openai/m"), 6), weighing(own("openai/last"), 0))
	w.policies = []*plan.Policy{policy("main", weighed)}
	within2(t, "lines", firsts(t, w, draws, ids("policy/main")), map[string]int{"anthropic/c@cred_a": 1, "groq/l@cred_g": 3, "openai/m@cred_po": 6, "openai/last@cred_1": 0})

	// What is out leaves its share to the others in proportion.
	w.out = map[string]string{"cred_po": "x"}
	within2(t, "lines, one out", firsts(t, w, draws, ids("policy/main")), map[string]int{"anthropic/c@cred_a": 1, "groq/l@cred_g": 3})
	w.out = nil

	for i, weight := range []int{5, 1, 4} {
		c := cred(fmt.Sprintf("w%d", i), "openai")
		c.Weight = weight
		w.credentials["openai"] = append(w.credentials["openai"][:i:i], c)
	}
	within2(t, "credentials", firsts(t, w, draws, ids("openai/m")), map[string]int{"openai/m@cred_w0": 5, "openai/m@cred_w1": 1, "openai/m@cred_w2": 4})
}

// TestInnerWeightsHoldWhateverTheOuterDrew: a draw in a policy knows nothing of the one that led to it.
func TestInnerWeightsHoldWhateverTheOuterDrew(t *testing.T) {
	t.Parallel()
	w := basic()
	w.credentials["openai"] = w.credentials["openai"][:1]
	w.policies = []*plan.Policy{
		policy("main", group(plan.Weighted, line("policy/inner", usage.ClassUnknown), own("openai/m"))),
		policy("inner", group(plan.Weighted, own("openai/m"), own("groq/l"))),
	}
	count := firsts(t, w, fewer, ids("policy/main"))
	within2(t, "nested", count, map[string]int{"openai/m@cred_1": 3, "groq/l@cred_g": 1})
}

// TestDrawsAreWithoutReplacement: behind what was drawn stands what is drawn from the rest.
func TestDrawsAreWithoutReplacement(t *testing.T) {
	t.Parallel()
	w := basic()
	w.policies = []*plan.Policy{policy("main", group(plan.Weighted, weighing(own("anthropic/c"), 2), weighing(own("groq/l"), 1), weighing(shared("openai/m"), 1)))}
	p, second := planner(w), map[string]int{}
	for i := range fewer {
		got, err := p.Make(w, app, ids("policy/main")(i))
		if err != nil || len(got.Targets) != 3 {
			t.Fatalf("Make = %s, %v", order(got.Targets), err)
		}
		if got.Targets[0].Model == "anthropic/c" {
			second[got.Targets[1].Model]++
		}
	}
	within2(t, "second of two alike", second, map[string]int{"groq/l": 1, "openai/m": 1})
}

// TestAConversationStaysWithOneAccount as far as the caller says which requests belong together; conversations are
// spread over the accounts by their weights.
func TestAConversationStaysWithOneAccount(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]func(key string, turn int) *completion.Request{
		"by its session":            func(key string, _ int) *completion.Request { return &completion.Request{Session: key} },
		"by what its prompts share": func(key string, _ int) *completion.Request { return &completion.Request{CacheKey: key} },
		"by its session before its keys": func(key string, turn int) *completion.Request {
			return &completion.Request{Session: key, CacheKey: fmt.Sprint(turn)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := basic()
			var accounts []*completion.Credential
			for i, weight := range []int{5, 1, 4} {
				c := cred(fmt.Sprint("w", i), "openai")
				c.Weight = weight
				accounts = append(accounts, c)
			}
			w.credentials["openai"] = accounts
			ask := func(key, turn int) *completion.Request {
				req := of(fmt.Sprint("k", key), turn)
				req.ID, req.Model = fmt.Sprint("req", key, "_", turn), "openai/m"
				return req
			}
			for key := range 50 {
				first := planned(t, w, app, ask(key, 0))
				for turn := range 10 {
					if got := planned(t, w, app, ask(key, turn)); got != first {
						t.Fatalf("turn %d of conversation %d: %s, before %s", turn, key, got, first)
					}
				}
			}
			within2(t, "conversations", firsts(t, w, fewer, func(i int) *completion.Request { return ask(i, 0) }),
				map[string]int{"openai/m@cred_w0": 5, "openai/m@cred_w1": 1, "openai/m@cred_w2": 4})
		})
	}
}

// TestTheSamePromptIsSpreadByWeights if nobody says that its requests belong together, the same keys of other
// organizations are no conversation of theirs, and a key changes nothing where a policy's lines are drawn.
func TestTheSamePromptIsSpreadByWeights(t *testing.T) {
	t.Parallel()
	w := basic()
	w.policies = []*plan.Policy{policy("main", group(plan.Weighted, own("anthropic/c"), own("groq/l")))}
	w.credentials["openai"] = []*completion.Credential{cred("1", "openai"), cred("2", "openai")}
	same := func(model, key string) func(int) *completion.Request {
		return func(i int) *completion.Request {
			return &completion.Request{
				ID: fmt.Sprint("req_", i), Model: model, Raw: []byte("{}"), User: "app", CacheKey: key, State: []completion.StateFormat{completion.OpenAIState},
			}
		}
	}
	within2(t, "the same prompt", firsts(t, w, fewer, same("openai/m", "")), map[string]int{"openai/m@cred_1": 1, "openai/m@cred_2": 1})
	within2(t, "lines", firsts(t, w, fewer, same("policy/main", "k")), map[string]int{"anthropic/c@cred_a": 1, "groq/l@cred_g": 1})
	p, count := planner(w), map[string]int{}
	for i := range fewer {
		caller := app
		caller.OrgID = fmt.Sprint("org_", i)
		got, err := p.Make(everybody{w}, caller, same("openai/m", "default")(0))
		if err != nil {
			t.Fatal(err)
		}
		count["openai/m@"+got.Targets[0].Credential.ID]++
	}
	within2(t, "the same key of others", count, map[string]int{"openai/m@cred_1": 1, "openai/m@cred_2": 1})
}

// everybody is a world in which each organization has the same credentials, as all have the platform's.
type everybody struct{ *world }

func (e everybody) Credentials(_, provider string) []*completion.Credential {
	return e.world.Credentials(app.OrgID, provider)
}

// TestStickyMovesOnlyTheShareThatChanged: a line that comes takes its own share from the others, and when it
// goes, nothing else moves; what a request sticks to is what the group says.
func TestStickyMovesOnlyTheShareThatChanged(t *testing.T) {
	t.Parallel()
	lines := []plan.Line{weighing(own("anthropic/c"), 2), weighing(own("groq/l"), 1), weighing(own("openai/m"), 1)}
	more := slices.Insert(slices.Clone(lines), 1, weighing(own("openai/new"), 1))
	for by, request := range map[string]func(key string) *completion.Request{
		"":        func(key string) *completion.Request { return &completion.Request{Session: key} },
		"session": func(key string) *completion.Request { return &completion.Request{Session: key, User: "u"} },
		"user":    func(key string) *completion.Request { return &completion.Request{User: key, Session: "s"} },
		"tag:tenant": func(key string) *completion.Request {
			return &completion.Request{Tags: map[string]string{"tenant": key}}
		},
	} {
		const keys = 2000
		first := func(lines []plan.Line, i int) string {
			w := basic()
			g := group(plan.Sticky, lines...)
			g.StickyBy = by
			w.policies = []*plan.Policy{policy("main", g)}
			req := request(fmt.Sprint("key-", i))
			req.Model = "policy/main"
			got := map[string]bool{}
			for _, id := range []string{"req_1", "req_2"} {
				req.ID = id
				p, err := planner(w).Make(w, app, req)
				if err != nil {
					t.Fatal(err)
				}
				got[p.Targets[0].Model] = true
			}
			if len(got) != 1 {
				t.Fatalf("by %q: two requests go to %v", by, got)
			}
			for model := range got {
				return model
			}
			return ""
		}
		moved := 0
		for i := range keys {
			before, after := first(lines, i), first(more, i)
			if before == after {
				continue
			}
			moved++
			if after != "openai/new" {
				t.Errorf("by %q: a key moves from %s to %s, and not to the new line", by, before, after)
			}
		}
		if share := float64(moved) / keys; math.Abs(share-0.2) > 0.03 {
			t.Errorf("by %q: %.3f of the keys move, want the new line's 0.2", by, share)
		}
	}
}

func TestWhatHasNothingToStickToIsDrawnAnew(t *testing.T) {
	t.Parallel()
	w := basic()
	g := group(plan.Sticky, weighing(own("anthropic/c"), 1), weighing(own("groq/l"), 3))
	g.StickyBy = "user"
	w.policies = []*plan.Policy{policy("main", g)}
	within2(t, "sticky without a user", firsts(t, w, fewer, ids("policy/main")), map[string]int{"anthropic/c@cred_a": 1, "groq/l@cred_g": 3})
}

func TestTheQuickestComesFirst(t *testing.T) {
	t.Parallel()
	w := basic()
	w.policies = []*plan.Policy{policy("main", group(plan.LowestLatency, own("anthropic/c"), own("groq/l"), shared("openai/m")))}
	w.latency = map[string]time.Duration{"anthropic/c": 300 * time.Millisecond, "groq/l": 100 * time.Millisecond, "openai/m": 200 * time.Millisecond}
	count := map[string]int{}
	for i := range fewer {
		count[planned(t, w, app, ids("policy/main")(i))]++
	}
	if got := float64(count["groq/l@g#1 openai/m@po!#2 anthropic/c@a#0"]) / fewer; got < 0.97 {
		t.Errorf("%.3f of the requests go by latency: %v", got, count)
	}
	within2(t, "measured again", firsts(t, w, fewer, ids("policy/main")), map[string]int{"anthropic/c@cred_a": 1, "groq/l@cred_g": 148, "openai/m@cred_po": 1})

	// One request in ten goes first to what nobody has measured.
	w.latency = map[string]time.Duration{"anthropic/c": 300 * time.Millisecond}
	within2(t, "explored", firsts(t, w, fewer, ids("policy/main")), map[string]int{"anthropic/c@cred_a": 90, "groq/l@cred_g": 5, "openai/m@cred_po": 5})
	w.latency = nil
	within2(t, "nothing measured", firsts(t, w, fewer, ids("policy/main")), map[string]int{"anthropic/c@cred_a": 1, "groq/l@cred_g": 1, "openai/m@cred_po": 1})
}

// TestTimesOfStreamsAndOfWholeAnswersAreNeverCompared with each other: a request is planned by its own kind, and by the
// other one where no line has an own one yet.
func TestTimesOfStreamsAndOfWholeAnswersAreNeverCompared(t *testing.T) {
	t.Parallel()
	ms := func(c, l int) map[string]time.Duration {
		out := map[string]time.Duration{}
		for model, n := range map[string]int{"anthropic/c": c, "groq/l": l} {
			if n > 0 {
				out[model] = time.Duration(n) * time.Millisecond
			}
		}
		return out
	}
	for name, test := range map[string]struct {
		streams, wholes       map[string]time.Duration
		stream                bool
		want                  map[string]int
		told, latency, sorted string
	}{
		"a stream":                           {ms(300, 100), ms(1000, 9000), true, map[string]int{"groq/l@cred_g": 99, "anthropic/c@cred_a": 1}, "100ms to the first token", "100ms", "groq/l"},
		"a whole answer":                     {ms(300, 100), ms(1000, 9000), false, map[string]int{"groq/l@cred_g": 1, "anthropic/c@cred_a": 99}, "9s to a whole answer", "9s", "anthropic/c"},
		"a stream, and none was measured":    {ms(0, 0), ms(9000, 1000), true, map[string]int{"groq/l@cred_g": 99, "anthropic/c@cred_a": 1}, "1s to a whole answer", "1s", "groq/l"},
		"a whole one, and none was measured": {ms(100, 300), ms(0, 0), false, map[string]int{"groq/l@cred_g": 1, "anthropic/c@cred_a": 99}, "300ms to the first token", "300ms", "anthropic/c"},
		// Not nine seconds against three: one of the lines gave no streams yet, and is tried for one request in ten.
		"a stream, measured of one": {ms(3000, 0), ms(0, 1000), true, map[string]int{"groq/l@cred_g": 10, "anthropic/c@cred_a": 90}, "its latency is not measured yet", "1s", "anthropic/c"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := basic()
			w.latency, w.wholes = test.streams, test.wholes
			w.policies = []*plan.Policy{policy("main", group(plan.LowestLatency, own("anthropic/c"), own("groq/l"))), policy("plain", group(plan.Fallback, own("anthropic/c"), own("groq/l")))}
			within2(t, "first", firsts(t, w, fewer, func(i int) *completion.Request {
				req := ids("policy/main")(i)
				req.Stream = test.stream
				return req
			}), test.want)
			e, err := planner(w).Explain(w, app, &completion.Request{ID: "req_1", Model: "policy/main", Stream: test.stream})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range e.Candidates {
				if c.Target.Model == "groq/l" && (!strings.Contains(c.Reason, test.told) || c.Latency.String() != test.latency) {
					t.Errorf("told %q and %v, want %q and %s", c.Reason, c.Latency, test.told, test.latency)
				}
			}
			sorted := &completion.Request{ID: "req_1", Model: "policy/plain", Stream: test.stream, Routing: completion.Routing{Sort: "latency"}}
			if got := planned(t, w, app, sorted); !strings.HasPrefix(got, test.sorted) {
				t.Errorf("sorted by latency: %s, want %s first", got, test.sorted)
			}
		})
	}
}

// TestTheCheapestForTheRequestComesFirst, and what has no known price last, never as if it cost nothing.
func TestTheCheapestForTheRequestComesFirst(t *testing.T) {
	t.Parallel()
	w := basic()
	bounded := own("openai/dear")
	bounded.Rule = &completion.Rule{Overrides: &completion.Overrides{MaxOutputTokens: new(int64(1))}}
	w.credentials["openai"] = w.credentials["openai"][:1]
	w.policies = []*plan.Policy{policy("main", group(plan.LowestCost, own("openai/unknown"), own("anthropic/c"), own("groq/talks"), own("groq/l"), own("openai/m"), bounded))}
	for _, test := range []struct {
		req  completion.Request
		want string
	}{
		// A long prompt and a short answer: talks is cheap to read. A long answer makes it the dearest.
		{completion.Request{InputBytes: 4_000_000, MaxOutput: 1}, "groq/talks@g#2 groq/l@g#3 openai/m@1#4 anthropic/c@a#1 openai/dear@1#5 openai/unknown@1#0"},
		{completion.Request{InputBytes: 4, MaxOutput: 10_000}, "openai/dear@1#5 groq/l@g#3 openai/m@1#4 anthropic/c@a#1 groq/talks@g#2 openai/unknown@1#0"},
		// Without a bound an answer of 500 tokens is assumed.
		{completion.Request{InputBytes: 4}, "openai/dear@1#5 groq/l@g#3 openai/m@1#4 anthropic/c@a#1 groq/talks@g#2 openai/unknown@1#0"},
	} {
		test.req.Model = "policy/main"
		if got := planned(t, w, app, &test.req); got != test.want {
			t.Errorf("Make(%d bytes, %d tokens) = %s, want %s", test.req.InputBytes, test.req.MaxOutput, got, test.want)
		}
	}
	e, err := planner(w).Explain(w, app, &completion.Request{Model: "policy/main", InputBytes: 4})
	if err != nil || !strings.Contains(e.Candidates[5].Reason, "price is unknown, so it comes last") || e.Candidates[5].Cost != nil {
		t.Errorf("Explain = %+v, %v, want that the unknown price is said", e.Candidates, err)
	}
}

// TestASecondSecretHasItsShare of the requests, and the current one stands right behind it.
func TestASecondSecretHasItsShare(t *testing.T) {
	t.Parallel()
	for _, share := range []int{0, 1, 10, 50, 100} {
		w := basic()
		c := w.credentials["openai"][0]
		next := *c
		next.Revision = 2
		c.Next, c.Share = &next, share
		p, drawn := planner(w), 0
		for i := range fewer {
			got, err := p.Make(w, app, ids("openai/m")(i))
			if err != nil {
				t.Fatal(err)
			}
			switch text := order(got.Targets); text {
			case "openai/m@1.2 openai/m@1 openai/m@2":
				drawn++
			case "openai/m@1 openai/m@2":
			default:
				t.Fatalf("share %d: Make = %s", share, text)
			}
		}
		want := float64(share) / 100
		slack := 0.015
		switch share {
		case 0, 100:
			slack = 0
		case 1:
			slack = 0.0025
		}
		if got := float64(drawn) / fewer; math.Abs(got-want) > slack {
			t.Errorf("share %d: drawn for %.4f of the requests", share, got)
		}
		// A secret that is refused is not its credential's other one.
		w.out = map[string]string{}
		c.Out = "was rejected"
		want2 := "openai/m@2"
		if share == 100 {
			want2 = "openai/m@1.2 openai/m@2"
		}
		if got := planned(t, w, app, &completion.Request{ID: "req_0", Model: "openai/m"}); (share == 0 || share == 100) && got != want2 {
			t.Errorf("share %d, current out: Make = %s, want %s", share, got, want2)
		}
	}
}

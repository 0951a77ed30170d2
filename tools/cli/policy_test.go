package cli_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/tools/cli"
	"github.com/claviger/claviger/tools/seed"
)

func TestAPolicyGoesFromDraftToVersionsAndBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.signedIn()
	p.run("", "policy", "create", "main", "--target", "openai/gpt-4o-mini=own", "--draft").ok().says("none is published yet", "openai/gpt-4o-mini")
	p.run("", "policy", "list").ok().says("main", "draft")
	p.run("", "policy", "publish", "main").ok().says("version     1")
	p.run("", "policy", "update", "main", "--draft", "--target", "openai/gpt-4o-mini=own", "--target", "anthropic/claude-haiku-4-5=platform").
		ok().says("version     1", "draft", "line 2 is new: anthropic/claude-haiku-4-5=platform")
	p.run("", "policy", "list").ok().says("1 + draft")
	p.run("", "policy", "diff", "main").ok().says("+ line 2", "anthropic/claude-haiku-4-5").complains("From version 1 to the draft of main")
	p.run("", "policy", "publish", "main").ok().says("version     2")
	p.run("", "policy", "diff", "main", "--from", "2", "--to", "2").ok().says("They are the same.")
	diff := p.run("", "policy", "diff", "main", "--from", "1", "--to", "2", "-o", "json").ok().object()
	if changes, _ := diff["changes"].([]any); len(changes) != 1 || diff["toVersion"] != "2" {
		t.Errorf("policy diff -o json = %v", diff)
	}
	p.run("", "policy", "rollback", "main", "--version", "1").ok().says("version     3", "openai/gpt-4o-mini")
	versions := p.run("", "policy", "versions", "main").ok().says("serves, version 1 again", "openai/gpt-4o-mini=own, then anthropic/claude-haiku-4-5=platform", "owner@acme.example")
	if lines := strings.Count(versions.out, "\n"); lines != 4 {
		versions.fail("there are %d lines, want a head and three versions", lines)
	}
	if got := p.run("", "policy", "versions", "main", "-q").ok().out; got != "3\n2\n1\n" {
		t.Errorf("policy versions -q = %q, want the newest first", got)
	}
	p.run("", "policy", "update", "main", "--target", "openai/gpt-4o=own", "--draft").ok()
	p.run("", "policy", "discard", "main").exits(2).complains("nobody is there to ask")
	if r := p.run("", "policy", "discard", "main", "--yes").ok(); strings.Contains(r.out, "draft") {
		r.fail("the draft is still there")
	}
}

func TestAWholePolicyComesFromAFileAndGoesBackIntoOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ready()
	p := w.owner
	p.run("", "group", "create", "research").ok()
	p.run("", "policy", "create", "spare", "--target", "openai/gpt-4o-mini=own").ok()
	const text = `name: whole
max_attempts: 6
hedge: {after: 2s, max_percent: 10}
groups:
  - strategy: weighted
    when: {tags: {env: [prod]}, min_input_tokens: 100, api_keys: [app], groups: [research]}
    targets:
      - {model: openai/gpt-4o, use: own, weight: 3, timeouts: {first_byte: 5s}, retries: 0, backoff: 250ms, move_on: [rate_limited], overrides: {temperature: 0.2}}
      - {model: openai/gpt-4o-mini, credential: main}
  - strategy: fallback
    targets:
      - {model: policy/spare}
`
	p.run(text, "policy", "check", "--file", "-").ok().says("The rule can be saved.")
	p.run(text, "policy", "create", "--file", "-").ok().
		says("weighted, for tag env=prod, at least 100 tokens in, API key app, group research", "weight 3, first byte within 5 s, 0 retries, back-off 250 ms, moves on after rate limited, temperature 0.2", "main", "policy/spare", "2: fallback",
			"6, retries included", "after 2 s, for at most 10 % of the requests")
	if diff := cmp.Diff(text, p.run("", "policy", "get", "whole", "--as-file").ok().out); diff != "" {
		t.Errorf("policy get --as-file (-want +got):\n%s", diff)
	}
	p.run("", "policy", "list").ok().says("openai/gpt-4o=own or openai/gpt-4o-mini=main, then policy/spare")

	p.run(strings.Replace(text, "credential: main", "credential: nobody", 1), "policy", "create", "--file", "-").exits(1).complains(`line 2: there is no credential "nobody"`)
	p.run(strings.Replace(text, "strategy: weighted", "strategy: random", 1), "policy", "create", "--file", "-").exits(2).complains("-:5:15: strategy must be")
	problem := p.run(strings.Replace(text, "retries: 0", "retries: lots", 1), "policy", "check", "--file", "-", "-o", "json").exits(2).problem()
	if len(problem.Fields) != 1 || problem.Fields[0].Field != "-:8:90" || problem.Code != "USAGE" {
		t.Errorf("the JSON of a mistake in a file is %+v", problem)
	}
	p.run("", "policy", "create", "x", "--file", "x.yaml", "--strategy", "weighted").exits(2).complains("--file says the whole rule")
}

func TestCheckingARuleSaysWhatIsWrongByItsLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ready()
	p := w.owner
	p.run("", "policy", "check", "main", "--target", "openai/gpt-4o-mini=own", "--target", "policy/main").exits(1).says("2", "LOOP", "wrong").complains("could not be saved")
	p.run("", "policy", "create", "other", "--target", "anthropic/claude-haiku-4-5=credential:main").exits(1).complains("credential")
	objects := p.run("", "policy", "check", "--target", "anthropic/claude-haiku-4-5=credential:main", "-o", "json").exits(1).objects()
	if len(objects) != 1 || objects[0]["line"] != 1.0 || objects[0]["reason"] != "FOREIGN_CREDENTIAL" {
		t.Errorf("policy check -o json = %v", objects)
	}
	if names := p.run("", "policy", "list").ok().out; strings.Contains(names, "other") {
		t.Error("a rule that was refused was kept")
	}
}

func TestLinesFromFlagsSayWhatAFileWould(t *testing.T) {
	t.Parallel()
	got, err := cli.RuleOf("weighted", "openai/gpt-4o=own,weight=3,retries=1,first-byte=5s,between-chunks=10s,total=1m,backoff=100ms", "openai/gpt-4o=credential:spare", "policy/other", "openai/a=platform", "openai/b")
	if err != nil {
		t.Fatal(err)
	}
	want := `groups:
  - strategy: weighted
    targets:
      - {model: openai/gpt-4o, use: own, weight: 3, timeouts: {first_byte: 5s, between_chunks: 10s, total: 1m}, retries: 1, backoff: 100ms}
      - {model: openai/gpt-4o, credential: spare}
      - {model: policy/other}
      - {model: openai/a, use: platform}
      - {model: openai/b, use: own}
`
	if diff := cmp.Diff(want, string(seed.FormatPolicy(got))); diff != "" {
		t.Errorf("the rule (-want +got):\n%s", diff)
	}
	for _, line := range []string{"gpt", "openai/a=mine", "openai/a=credential:", "policy/x=own", "openai/a,weight=much", "openai/a,total=soon", "openai/a,colour=red", "openai/a,"} {
		if got, err := cli.RuleOf("", line); err == nil && line != "openai/a," {
			t.Errorf("%q is taken for the line %v", line, got)
		}
	}
}

func TestDifferencesOfRulesAreSaidInPlainWords(t *testing.T) {
	t.Parallel()
	base := func() *keysv1.PolicySpec { return seed.Rule(seed.Own("openai/a"), seed.Platform("openai/b")) }
	for want, change := range map[string]func(*keysv1.PolicySpec){
		"":                                  func(*keysv1.PolicySpec) {},
		"line 2 is gone: openai/b=platform": func(s *keysv1.PolicySpec) { s.Groups[0].Targets = s.Groups[0].Targets[:1] },
		"line 3 is new: openai/c=own":       func(s *keysv1.PolicySpec) { s.Groups[0].Targets = append(s.Groups[0].Targets, seed.Own("openai/c")) },
		"line 1 was openai/a=own, is openai/a=own (weight 2, in all within 90 s)": func(s *keysv1.PolicySpec) {
			s.Groups[0].Targets[0].Weight, s.Groups[0].Targets[0].Timeouts = new(int32(2)), &keysv1.Timeouts{Total: durationpb.New(90e9)}
		},
		"group 1 was fallback, is sticky by tag user": func(s *keysv1.PolicySpec) {
			s.Groups[0].Strategy, s.Groups[0].StickyBy = keysv1.Strategy_STRATEGY_STICKY, "tag:user"
		},
		"group 1 was fallback, is fallback, for model openai/*": func(s *keysv1.PolicySpec) { s.Groups[0].When = &keysv1.Condition{Models: []string{"openai/*"}} },
		"group 2 is new: fallback": func(s *keysv1.PolicySpec) {
			s.Groups = []*keysv1.TargetGroup{{Targets: s.Groups[0].Targets[:1]}, {Targets: s.Groups[0].Targets[1:]}}
		},
		"most calls was 4, is 6": func(s *keysv1.PolicySpec) { s.MaxAttempts = 6 },
		"hedging was none, is after the 95th percentile, for at most 5 % of the requests": func(s *keysv1.PolicySpec) { s.Hedge = &keysv1.Hedge{} },
	} {
		after := base()
		change(after)
		if got := strings.Join(cli.RuleChanges(base(), after), "; "); got != want {
			t.Errorf("RuleChanges = %q, want %q", got, want)
		}
	}
}

func TestGroupsPreferencesAndModelsAreManaged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ready()
	p := w.owner
	p.run("", "group", "create", "research", "--policy", "main", "--enforce", "--approve", "openai/*").ok().says("main, for every request", "openai/*")
	p.run("", "group", "create", "research").exits(1).complains("GROUP_EXISTS")
	p.run("", "group", "update", "research", "--rename", "science", "--no-enforce", "--approve", "none").ok().says("science", "policy   main\n", "all that the organization approves")
	p.run("", "group", "list").ok().says("NAME", "science", "main")
	p.run("", "key", "create", "lab", "--group", "science").ok()
	p.run("", "key", "list").ok().says("GROUP", "science")
	p.run("", "group", "delete", "science", "--yes").exits(1).complains("GROUP_IN_USE")
	p.run("", "key", "update", "lab", "--group", "none", "--policy", "main", "--enforce", "--provenance", "full", "--rename", "laboratory").
		ok().says("laboratory", "main, for every request", "full")
	p.run("", "key", "update", "laboratory").exits(2).complains("nothing to change")
	p.run("", "group", "delete", "science", "--yes").ok()
	p.run("", "group", "get", "science").exits(1).complains(`no group "science"`)

	p.run("", "routing", "get").ok().says("only where a policy says so", "the provider that the model's name begins with")
	p.run("", "routing", "update", "--order", "anthropic,openai", "--ignore", "fal", "--platform", "after-own", "--at", "openai=never", "--policy", "main").
		ok().says("anthropic, openai", "fal", "when none of your own can serve", "at openai", "never, in policies neither", "main")
	p.run("", "routing", "update", "--order", "none", "--at", "openai=none").ok().says("the provider that the model's name begins with", "fal")
	if got := p.run("", "routing", "get", "-o", "json").ok().object(); fmt.Sprintln(got["ignore"], got["platform"], got["providers"]) != "[fal] PLATFORM_RULE_AFTER_OWN []\n" {
		t.Errorf("routing get -o json = %v", got)
	}
	p.run("", "routing", "update", "--at", "openai=sometimes").exits(2).complains("is no rule")
	p.run("", "routing", "update").exits(2).complains("nothing to change")
	p.run("", "routing", "get").ok().says("members' keys", "are in no group")
	p.run("", "group", "create", "everybody").ok()
	p.run("", "routing", "update", "--member-group", "everybody").ok().says("join group everybody", "fal")
	p.run("", "group", "delete", "everybody", "--yes").exits(1).complains("GROUP_IN_USE", "that members create")
	p.run("", "routing", "update", "--member-group", "nobody").exits(1).complains(`no group "nobody"`)
	p.run("", "routing", "update", "--member-group", "none").ok().says("are in no group")

	p.run("", "model", "list").ok().complains("Every model may be used.")
	p.run("", "model", "approve", "openai/*").exits(2).complains("from then on only openai/* could", "--yes")
	p.run("", "model", "approve", "openai/*", "--yes").ok().says("openai/*")
	p.run("", "model", "approve", "anthropic/claude-haiku-4-5").ok().says("openai/*", "anthropic/claude-haiku-4-5")
	p.run("", "model", "withdraw", "groq/*").exits(1).complains("not in the list")
	p.run("", "model", "withdraw", "anthropic/claude-haiku-4-5").ok()
	p.run("", "model", "withdraw", "openai/*").exits(2).complains("lets every model be used")
	if got := p.run("", "model", "list", "-o", "json").ok().object(); fmt.Sprint(got["approvedModels"]) != "[openai/*]" {
		t.Errorf("model list -o json = %v", got)
	}
}

func TestASecondSecretIsStagedSharedAndPromoted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.signedIn()
	p.run(goodKey, "credential", "create", "--provider", "openai", "--label", "main", "--secret-stdin", "--accept-terms", "--no-test",
		"--weight", "3", "--only-model", "openai/gpt-4o*", "--expires", "90d").ok().says("weight 3", "openai/gpt-4o*", "in 90 days").keepsSecrets()
	p.run("", "credential", "update", "main", "--weight", "5", "--only-model", "none", "--expires", "never").ok().says("weight 5")
	if r := p.run("", "credential", "get", "main").ok(); strings.Contains(r.out, "only models") || strings.Contains(r.out, "expires") {
		r.fail("the scope or the end is still there")
	}
	p.run("", "credential", "share", "main", "10").exits(1).complains("no second secret", "claviger credential stage main")
	p.run("", "credential", "promote", "main").exits(1).complains("no second secret")
	p.run("", "credential", "test", "main", "--next").exits(1).complains("no second secret")
	p.run(otherKey, "credential", "stage", "main", "--secret-stdin").ok().says("next secret", "revision 2", "0 % of the requests").complains("serves nobody yet").keepsSecrets()
	p.run("", "credential", "test", "main", "--next").ok().says("The key works.")
	p.run("", "credential", "share", "main", "10").ok().says("10 % of the requests")
	p.run("", "credential", "discard", "main").exits(2).complains("The second secret of main (revision 2)")
	p.run("", "credential", "promote", "main").ok().says("revision 2", "old secret", "revision 1")
	p.run("", "credential", "discard", "main", "--yes").ok()
	if r := p.run("", "credential", "get", "main").ok(); strings.Contains(r.out, "old secret") {
		r.fail("the old secret is still there")
	}
	p.run("", "credential", "headroom").ok().complains("Nothing is known yet")
}

func TestReceiptsAreSaidInPlainWords(t *testing.T) {
	t.Parallel()
	for want, receipt := range map[string]*keysv1.Receipt{
		"":                                      nil,
		"2 of 2 routers confirmed after 0.3 s.": {Connected: 2, Confirmed: 2, Elapsed: durationpb.New(312e6)},
		"1 of 1 router confirmed after less than 0.1 s. 3 running answers ended.": {Connected: 1, Confirmed: 1, StreamsCut: 3},
		"1 of 2 routers confirmed within 5.0 s (not router-b); the change holds, and the others follow as soon as they hear of it.": {
			Connected: 2, Confirmed: 1, Elapsed: durationpb.New(5e9), Missing: []string{"router-b"},
		},
		"No router is connected: each hears of it before it serves again. 1 other router fell silent within the last hour: where they still run, they serve as before.": {Unreachable: 1},
	} {
		if got := cli.ReceiptText(receipt); got != want {
			t.Errorf("ReceiptText = %q, want %q", got, want)
		}
	}
}

func TestSwitchingOffSaysWhichRoutersConfirmed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.complete(w.ready(), "hello")
	p := w.owner
	p.run("", "credential", "update", "main", "--disable", "--cut").ok().says("disabled", "1 of 1 router confirmed after")
	p.run("", "credential", "update", "main", "--cut").exits(2).complains("nothing to change")
	revoked := p.run("", "key", "revoke", "app", "--yes", "-o", "json").ok().object()
	if receipt, _ := revoked["receipt"].(map[string]any); receipt["connected"] != 1.0 || receipt["confirmed"] != 1.0 || revoked["revokeTime"] == nil {
		t.Errorf("key revoke -o json = %v", revoked)
	}
	deleted := p.run("", "credential", "delete", "main", "--yes", "-o", "json").ok().object()
	if receipt, _ := deleted["receipt"].(map[string]any); deleted["id"] == nil || receipt["confirmed"] != 1.0 {
		t.Errorf("credential delete -o json = %v", deleted)
	}
	p.run(newPassword, "member", "add", "dev@acme.example", "--role", "member", "--password-stdin").ok()
	p.run("", "member", "remove", "dev@acme.example", "--yes").ok().says("1 of 1 router confirmed after")
}

func TestADrillRunsFromTheTerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	apiKey := w.ready()
	w.complete(apiKey, "hello")
	p := w.owner
	p.run("", "drill", "list").ok().complains("There was no drill yet")
	p.run("", "drill", "show").exits(1).complains("there was no drill yet")
	p.run("", "drill", "start", "main", "--key", "app", "--for", "9m").exits(2).complains("no time up to 5m")
	p.run(otherKey, "credential", "create", "--provider", "openai", "--label", "spare", "--secret-stdin", "--accept-terms").ok()
	p.run("", "policy", "update", "main", "--target", "openai/gpt-4o-mini=credential:main", "--target", "openai/gpt-4o-mini=credential:spare").ok()
	p.run("", "drill", "start", "main", "--key", "app", "--fault", "rate-limited", "--for", "2m").ok().says("rate limited (429)", "main", "app", "ends in").complains("for nobody else")
	p.run("", "drill", "list").ok().says("main", "app")
	eventually(t, "a report of the drill", func() error { // the router hears of it a moment after it began
		w.complete(apiKey, "hello")
		r := p.run("", "drill", "show").ok()
		if !strings.Contains(r.out, "SERVED BY") {
			return errors.New(r.out)
		}
		r.says("spare", "main", "openai/gpt-4o-mini", "not served  0")
		return nil
	})
	p.run("", "drill", "stop").ok().says("ended")
	p.run("", "drill", "show", "-o", "json").ok().says(`"fault":"DRILL_FAULT_RATE_LIMITED"`)
	eventually(t, "what is left of the limits", func() error {
		if r := p.run("", "credential", "headroom").ok(); !strings.Contains(r.out, "spare") {
			return errors.New(r.out + r.err)
		}
		return nil
	})
	p.run("", "credential", "headroom", "spare").ok().says("REQUESTS LEFT", "openai/gpt-4o-mini", " of ", "serves")
	for _, o := range p.run("", "credential", "headroom", "-o", "json").ok().objects() {
		if o["model"] != "openai/gpt-4o-mini" || o["requests"] == nil {
			t.Errorf("credential headroom -o json = %v", o)
		}
	}
}

func TestPlacesOfARuleAreSaidInWords(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]*keysv1.PolicyChange{
		"~ group 1, strategy: fallback → weighted": {Kind: keysv1.PolicyChange_KIND_CHANGED, Field: "groups[0].strategy", From: "fallback", To: "weighted"},
		"~ max attempts: nothing → 6":              {Kind: keysv1.PolicyChange_KIND_CHANGED, Field: "max_attempts", To: "6"},
		"+ group 2: fallback":                      {Kind: keysv1.PolicyChange_KIND_ADDED, Field: "groups[1]", To: "fallback"},
		"~ line 3, first byte: 5s → 6s":            {Kind: keysv1.PolicyChange_KIND_CHANGED, FromLine: 2, ToLine: 3, Field: "groups[0].targets[2].timeouts.first_byte", From: "5s", To: "6s"},
		"~ line 1: openai/a, was line 2":           {Kind: keysv1.PolicyChange_KIND_MOVED, FromLine: 2, ToLine: 1, Field: "groups[0].targets[0]", To: "openai/a"},
		"- line 2: openai/b":                       {Kind: keysv1.PolicyChange_KIND_REMOVED, FromLine: 2, Field: "groups[0].targets[1]", From: "openai/b"},
	} {
		if got := cli.ChangeText(change); got != want {
			t.Errorf("ChangeText = %q, want %q", got, want)
		}
	}
}

func TestCuttingEndsARunningAnswerAndSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	apiKey := w.ready()
	w.complete(apiKey, "hello")
	begun, ended := make(chan struct{}), make(chan string, 1)
	body := `{"model":"policy/main","stream":true,"messages":[{"role":"user","content":"script:tokens=5000,delay=20ms"}]}`
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, shared.running.BaseURL+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+apiKey)
	request.Header.Set("Content-Type", "application/json")
	go func() {
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			close(begun)
			ended <- err.Error()
			return
		}
		defer func() { _ = answer.Body.Close() }()
		first := make([]byte, 1)
		_, _ = io.ReadFull(answer.Body, first)
		close(begun)
		text, _ := io.ReadAll(answer.Body)
		ended <- string(text)
	}()
	<-begun
	w.owner.run("", "credential", "update", "main", "--disable", "--cut").ok().says("1 of 1 router confirmed", "1 running answer ended.")
	if text := <-ended; !strings.Contains(text, `"error"`) {
		t.Errorf("the answer that was cut ends with %q", text[max(0, len(text)-400):])
	}
}

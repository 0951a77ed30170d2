package cli

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

type policyCheckCommand struct {
	Common      common      `embed:""`
	Name        string      `arg:"" optional:"" complete:"policy" help:"The policy that the rule is for, so that loops through it are found. The file may say it instead."`
	PolicyFlags policyFlags `embed:""`
}

// Help is the long help.
func (policyCheckCommand) Help() string {
	return `The exit code is 1 if the rule could not be saved. Warnings do not count.

Examples:

    claviger policy check --file policy.yaml
    claviger policy check main --target openai/gpt-4o=credential:spare -o json`
}

// Run checks a rule.
func (c *policyCheckCommand) Run(ctx context.Context, t *terminal) error {
	rule, err := c.PolicyFlags.rule(t)
	if err != nil {
		return err
	}
	if c.Name != "" {
		rule.Name = strings.TrimPrefix(c.Name, "policy/")
	}
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	spec, err := api.resolved(ctx, rule.Spec)
	if err != nil {
		return err
	}
	answer, err := call(ctx, api, api.policies.CheckPolicy, &keysv1.CheckPolicyRequest{Name: rule.Name, Spec: spec})
	if err != nil {
		return err
	}
	tab := &table{columns: []column{{title: "LINE", right: true}, {title: "WHAT"}, {title: "REASON", drop: 1}, {title: "DESCRIPTION", shrink: true}}}
	wrong := 0
	for _, p := range answer.GetProblems() {
		if t.structured() {
			if err := t.emit(p); err != nil {
				return err
			}
		}
		line, what := "-", cell{"wrong", red}
		if p.GetLine() > 0 {
			line = strconv.Itoa(int(p.GetLine()))
		}
		if p.GetWarning() {
			what = cell{"warning", yellow}
		} else {
			wrong++
		}
		tab.add(plain(line), what, plain(p.GetReason()), plain(p.GetDescription()))
	}
	if !t.structured() && !t.Quiet && len(tab.rows) > 0 {
		if err := t.printTable(tab); err != nil {
			return err
		}
	}
	if wrong > 0 {
		return &failure{code: "POLICY_INVALID", message: "the rule could not be saved: " + count(wrong, "problem")}
	}
	if !t.structured() && !t.Quiet {
		return t.print("The rule can be saved.")
	}
	return nil
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return number(int64(n)) + " " + noun + "s"
}

type policyPublishCommand struct {
	Common common `embed:""`
	Name   string `arg:"" complete:"policy" help:"Name or id."`
}

// Help is the long help.
func (policyPublishCommand) Help() string {
	return `Routers serve by it within a second. 'claviger policy diff NAME' shows what would change.

Examples:

    claviger policy publish main`
}

// Run publishes the draft.
func (c *policyPublishCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	return t.changePolicy(ctx, api, c.Name, func(ctx context.Context, read *keysv1.Policy, key string) (*keysv1.Policy, []*keysv1.PolicyProblem, error) {
		answer, err := call(ctx, api, api.policies.PublishPolicy, &keysv1.PublishPolicyRequest{Id: read.GetId(), Etag: read.GetEtag(), IdempotencyKey: key})
		return answer.GetPolicy(), answer.GetWarnings(), err
	})
}

type policyDiscardCommand struct {
	Common common `embed:""`
	Name   string `arg:"" complete:"policy" help:"Name or id."`
	Yes    bool   `short:"y" help:"Do not ask."`
}

// Help is the long help.
func (policyDiscardCommand) Help() string {
	return `The version that serves stays. A policy that was never published is removed by 'claviger policy delete'.

Examples:

    claviger policy discard main`
}

// Run forgets the draft.
func (c *policyDiscardCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	if err := t.confirmed(ctx, c.Yes, "The draft of %s would be forgotten", c.Name); err != nil {
		return err
	}
	return t.changePolicy(ctx, api, c.Name, func(ctx context.Context, read *keysv1.Policy, key string) (*keysv1.Policy, []*keysv1.PolicyProblem, error) {
		answer, err := call(ctx, api, api.policies.DiscardPolicyDraft, &keysv1.DiscardPolicyDraftRequest{Id: read.GetId(), Etag: read.GetEtag(), IdempotencyKey: key})
		return answer.GetPolicy(), nil, err
	})
}

type policyVersionsCommand struct {
	Common common `embed:""`
	Name   string `arg:"" complete:"policy" help:"Name or id."`
}

// Help is the long help.
func (policyVersionsCommand) Help() string {
	return `Examples:

    claviger policy versions main`
}

func (c *client) eachVersion(ctx context.Context, policyID string) iter.Seq2[*keysv1.PolicyVersion, error] {
	return pages(func(token string) ([]*keysv1.PolicyVersion, string, error) {
		page, err := call(ctx, c, c.policies.ListPolicyVersions, &keysv1.ListPolicyVersionsRequest{Id: policyID, PageSize: pageSize, PageToken: token})
		return page.GetVersions(), page.GetNextPageToken(), err
	})
}

// Run lists.
func (c *policyVersionsCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findPolicy(ctx, c.Name)
	if err != nil {
		return err
	}
	now, named := time.Now(), namesOf(api)
	tab := &table{columns: []column{
		{title: "VERSION", right: true},
		{title: "LINES", shrink: true},
		{title: "PUBLISHED", drop: 1},
		{title: "BY", shrink: true, drop: 2},
		{title: "NOTE", drop: 3},
	}}
	for v, err := range api.eachVersion(ctx, found.GetId()) {
		switch {
		case err != nil:
			return err
		case t.structured():
			err = t.emit(v)
		case t.Quiet:
			err = t.print("%d", v.GetVersion())
		}
		if err != nil {
			return err
		}
		note := ""
		if v.GetVersion() == found.GetVersion() {
			note = "serves"
		}
		if v.GetRolledBackTo() > 0 {
			note = strings.TrimPrefix(note+", version "+number(v.GetRolledBackTo())+" again", ", ")
		}
		tab.add(plain(number(v.GetVersion())), plain(named.ruleText(ctx, v.GetSpec())), plain(ago(v.GetPublishTime(), now)), plain(named.member(ctx, v.GetPublishedBy())), plain(note))
	}
	if t.structured() || t.Quiet {
		return nil
	}
	if len(tab.rows) == 0 {
		t.note("No version was published yet: claviger policy publish %s", quoted(found.GetName()))
		return nil
	}
	return t.printTable(tab)
}

type policyDiffCommand struct {
	Common common `embed:""`
	Name   string `arg:"" complete:"policy" help:"Name or id."`
	From   int64  `placeholder:"N" help:"The older version. Default: the one that serves."`
	To     int64  `placeholder:"N" help:"The newer version. Default: the draft."`
}

// Help is the long help.
func (policyDiffCommand) Help() string {
	return `Examples:

    claviger policy diff main
    claviger policy diff main --from 2 --to 5`
}

// Run compares.
func (c *policyDiffCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findPolicy(ctx, c.Name)
	if err != nil {
		return err
	}
	answer, err := call(ctx, api, api.policies.DiffPolicy, &keysv1.DiffPolicyRequest{Id: found.GetId(), FromVersion: c.From, ToVersion: c.To})
	if err != nil {
		return err
	}
	if t.structured() {
		return t.emit(answer)
	}
	to := "the draft"
	if answer.GetToVersion() > 0 {
		to = "version " + number(answer.GetToVersion())
	}
	t.note("From version %d to %s of %s:", answer.GetFromVersion(), to, found.GetName())
	if len(answer.GetChanges()) == 0 {
		return t.print("They are the same.")
	}
	style := t.styled(t.Out)
	for _, change := range answer.GetChanges() {
		color := map[keysv1.PolicyChange_Kind]string{
			keysv1.PolicyChange_KIND_ADDED: green, keysv1.PolicyChange_KIND_REMOVED: red, keysv1.PolicyChange_KIND_CHANGED: yellow,
		}[change.GetKind()]
		if err := t.print("%s", style(color, clean(changeText(change)))); err != nil {
			return err
		}
	}
	return nil
}

// changeText is a difference in plain words.
func changeText(c *keysv1.PolicyChange) string {
	place := placeText(c.GetField())
	switch {
	case c.GetToLine() > 0:
		place = "line " + strconv.Itoa(int(c.GetToLine()))
	case c.GetFromLine() > 0:
		place = "line " + strconv.Itoa(int(c.GetFromLine()))
	}
	switch c.GetKind() {
	case keysv1.PolicyChange_KIND_ADDED:
		return "+ " + place + ": " + c.GetTo()
	case keysv1.PolicyChange_KIND_REMOVED:
		return "- " + place + ": " + c.GetFrom()
	case keysv1.PolicyChange_KIND_MOVED:
		return "~ " + place + ": " + c.GetTo() + ", was line " + strconv.Itoa(int(c.GetFromLine()))
	case keysv1.PolicyChange_KIND_CHANGED, keysv1.PolicyChange_KIND_UNSPECIFIED:
	}
	text := "~ " + place
	if name := lastField(c.GetField()); c.GetToLine() > 0 && name != "" {
		text += ", " + name
	}
	return text + ": " + orNothing(c.GetFrom()) + " → " + orNothing(c.GetTo())
}

// placeText is a path in a rule that is of no line, in words: "group 1, strategy" of "groups[0].strategy".
func placeText(path string) string {
	var group int
	if n, _ := fmt.Sscanf(path, "groups[%d]", &group); n == 0 {
		return strings.ReplaceAll(path, "_", " ")
	}
	_, rest, _ := strings.Cut(path, "].")
	return strings.TrimSuffix(fmt.Sprintf("group %d, %s", group+1, strings.ReplaceAll(rest, "_", " ")), ", ")
}

// lastField is the end of a path in a rule, in words; empty if the path is of a whole line.
func lastField(path string) string {
	name := path[strings.LastIndexByte(path, '.')+1:]
	if strings.HasSuffix(name, "]") {
		return ""
	}
	return strings.ReplaceAll(name, "_", " ")
}

func orNothing(text string) string {
	if text == "" {
		return "nothing"
	}
	return text
}

type policyRollbackCommand struct {
	Common  common `embed:""`
	Name    string `arg:"" complete:"policy" help:"Name or id."`
	Version int64  `required:"" placeholder:"N" help:"The version to publish again."`
}

// Help is the long help.
func (policyRollbackCommand) Help() string {
	return `It becomes the next version and serves within a second. The draft stays.

Examples:

    claviger policy versions main
    claviger policy rollback main --version 3`
}

// Run publishes an older version.
func (c *policyRollbackCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	return t.changePolicy(ctx, api, c.Name, func(ctx context.Context, read *keysv1.Policy, key string) (*keysv1.Policy, []*keysv1.PolicyProblem, error) {
		answer, err := call(ctx, api, api.policies.RollBackPolicy, &keysv1.RollBackPolicyRequest{Id: read.GetId(), Version: c.Version, Etag: read.GetEtag(), IdempotencyKey: key})
		return answer.GetPolicy(), answer.GetWarnings(), err
	})
}

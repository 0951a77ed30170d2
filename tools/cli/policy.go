package cli

import (
	"context"
	"crypto/rand"
	"iter"
	"strconv"
	"strings"
	"time"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/tools/seed"
)

type policyCommands struct {
	List     policyListCommand     `cmd:"" help:"List the policies."`
	Get      policyGetCommand      `cmd:"" help:"Show one policy with its lines."`
	Create   policyCreateCommand   `cmd:"" help:"Create a policy, usable as model policy/NAME."`
	Update   policyUpdateCommand   `cmd:"" help:"Replace the rule of a policy, or its draft."`
	Check    policyCheckCommand    `cmd:"" help:"Say what is wrong with a rule, and keep nothing."`
	Publish  policyPublishCommand  `cmd:"" help:"Make the draft the version that serves."`
	Discard  policyDiscardCommand  `cmd:"" help:"Forget the draft."`
	Versions policyVersionsCommand `cmd:"" help:"List the published versions."`
	Diff     policyDiffCommand     `cmd:"" help:"Say how two versions differ."`
	Rollback policyRollbackCommand `cmd:"" help:"Publish an older version again."`
	Delete   policyDeleteCommand   `cmd:"" help:"Remove a policy."`
}

// Help is the long help.
func (policyCommands) Help() string {
	return `A policy is groups of lines, each a model and whose key serves: own, platform or one credential. Groups are
tried in order until one line serves. Applications use it as the model policy/NAME.`
}

func (c *client) eachPolicy(ctx context.Context) iter.Seq2[*keysv1.Policy, error] {
	return pages(func(token string) ([]*keysv1.Policy, string, error) {
		page, err := call(ctx, c, c.policies.ListPolicies, &keysv1.ListPoliciesRequest{PageSize: pageSize, PageToken: token})
		return page.GetPolicies(), page.GetNextPageToken(), err
	})
}

func (c *client) policy(ctx context.Context, id string) (*keysv1.Policy, error) {
	answer, err := call(ctx, c, c.policies.GetPolicy, &keysv1.GetPolicyRequest{Id: id})
	return answer.GetPolicy(), err
}

// findPolicy is the policy with a name or id.
func (c *client) findPolicy(ctx context.Context, name string) (*keysv1.Policy, error) {
	if strings.HasPrefix(name, "pol_") {
		if found, err := c.policy(ctx, name); err == nil || reason(err) != "POLICY_NOT_FOUND" {
			return found, err
		}
	}
	return lookUp(c.eachPolicy(ctx), "policy", strings.TrimPrefix(name, "policy/"), (*keysv1.Policy).GetName)
}

type policyListCommand struct {
	Common common `embed:""`
}

// Help is the long help.
func (policyListCommand) Help() string {
	return `Examples:

    claviger policy list
    claviger policy list -o json | jq -r '.name'`
}

// Run lists.
func (c *policyListCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	tab := &table{columns: []column{
		{title: "NAME", shrink: true},
		{title: "LINES", shrink: true},
		{title: "VERSION", drop: 2},
		{title: "CHANGED", drop: 1},
		{title: "ID", drop: 3},
	}}
	now, named := time.Now(), namesOf(api)
	for o, err := range api.eachPolicy(ctx) {
		switch {
		case err != nil:
			return err
		case t.structured():
			err = t.emit(o)
		case t.Quiet:
			err = t.print("%s", o.GetId())
		}
		if err != nil {
			return err
		}
		tab.add(plain(o.GetName()), plain(named.ruleText(ctx, specOf(o))), plain(versionText(o)), plain(ago(o.GetUpdateTime(), now)), cell{o.GetId(), dim})
	}
	if t.structured() || t.Quiet {
		return nil
	}
	if len(tab.rows) == 0 {
		t.note("There is no policy yet: claviger policy create main --target openai/gpt-4o-mini=own")
		return nil
	}
	return t.printTable(tab)
}

// versionText is the version that serves, and whether a draft waits.
func versionText(p *keysv1.Policy) string {
	switch {
	case p.GetVersion() == 0:
		return "draft"
	case p.GetDraft() != nil:
		return number(p.GetVersion()) + " + draft"
	default:
		return number(p.GetVersion())
	}
}

// named is a rule with what people call the objects in it.
func (n *names) rule(ctx context.Context, spec *keysv1.PolicySpec) *keysv1.PolicySpec {
	name := func(kind string) func(string) (string, error) {
		return func(id string) (string, error) { return n.of(ctx, kind, id), nil }
	}
	out, err := seed.Resolve(spec, seed.Naming{Credential: name("credential"), APIKey: name("key"), Group: name("group")})
	if err != nil { // naming does not fail
		return spec
	}
	return out
}

// ruleText is a rule in one line.
func (n *names) ruleText(ctx context.Context, spec *keysv1.PolicySpec) string {
	var groups []string
	for _, g := range n.rule(ctx, spec).GetGroups() {
		lines := texts(g.GetTargets(), lineText)
		joint := ", then "
		if g.GetStrategy() > keysv1.Strategy_STRATEGY_FALLBACK {
			joint = " or "
		}
		groups = append(groups, strings.Join(lines, joint))
	}
	return strings.Join(groups, ", then ")
}

func (t *terminal) showPolicy(ctx context.Context, api *client, o *keysv1.Policy) error {
	switch {
	case t.structured():
		return t.emit(o)
	case t.Quiet:
		return t.print("%s", o.GetId())
	}
	now, named := time.Now(), namesOf(api)
	version := number(o.GetVersion())
	if o.GetVersion() == 0 {
		version = "none is published yet"
	}
	var draft [][2]string // what would change, one a line
	if o.GetDraft() != nil && o.GetSpec() != nil {
		for _, change := range ruleChanges(named.rule(ctx, o.GetSpec()), named.rule(ctx, o.GetDraft())) {
			draft = append(draft, [2]string{"", change})
		}
		if len(draft) == 0 {
			draft = [][2]string{{"", "the same"}}
		}
		draft[0][0] = "draft"
	}
	spec := named.rule(ctx, specOf(o))
	most := ""
	if spec.GetMaxAttempts() > 0 {
		most = number(int64(spec.GetMaxAttempts())) + ", retries included"
	}
	hedge := ""
	if spec.GetHedge() != nil {
		hedge = "a second call " + hedgeText(spec.GetHedge())
	}
	facts := append([][2]string{
		{"id", o.GetId()},
		{"name", o.GetName()},
		{"model", "policy/" + o.GetName()},
		{"version", version},
	}, draft...)
	err := t.printFacts(append(
		facts,
		[2]string{"changed", moment(o.GetUpdateTime(), now) + by(named.member(ctx, o.GetUpdatedBy()))},
		[2]string{"most calls", most},
		[2]string{"hedging", hedge},
	)...)
	if err != nil {
		return err
	}
	if err := t.print(""); err != nil {
		return err
	}
	return t.printTable(ruleTable(spec))
}

// ruleTable is a rule line by line. Columns in which nothing stands are left out.
func ruleTable(spec *keysv1.PolicySpec) *table {
	grouped, detailed := len(spec.GetGroups()) > 1, false
	for _, g := range spec.GetGroups() {
		grouped = grouped || groupText(g) != "fallback"
		for _, target := range g.GetTargets() {
			detailed = detailed || lineDetails(target) != ""
		}
	}
	tab := &table{columns: []column{{title: "LINE", right: true}, {title: "MODEL", shrink: true}, {title: "KEY", shrink: true}}}
	if grouped {
		tab.columns = append(tab.columns, column{title: "GROUP", shrink: true})
	}
	if detailed {
		tab.columns = append(tab.columns, column{title: "DETAILS", shrink: true})
	}
	line := 0
	for i, g := range spec.GetGroups() {
		for j, target := range g.GetTargets() {
			line++
			key := target.GetCredentialId()
			if key == "" && target.GetUse() != 0 {
				key = word(target.GetUse())
			}
			row := []cell{plain(strconv.Itoa(line)), plain(target.GetModel()), plain(key)}
			if grouped {
				group := ""
				if j == 0 {
					group = strconv.Itoa(i+1) + ": " + groupText(g)
				}
				row = append(row, plain(group))
			}
			if detailed {
				row = append(row, plain(lineDetails(target)))
			}
			tab.add(row...)
		}
	}
	return tab
}

type policyGetCommand struct {
	Common common `embed:""`
	Name   string `arg:"" complete:"policy" help:"Name or id."`
	AsFile bool   `help:"Print it in the form that --file reads: the draft, if there is one."`
}

// Help is the long help.
func (policyGetCommand) Help() string {
	return `Examples:

    claviger policy get main
    claviger policy get main --as-file > main.yaml`
}

// Run shows one.
func (c *policyGetCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findPolicy(ctx, c.Name)
	if err != nil {
		return err
	}
	if c.AsFile {
		spec := found.GetDraft()
		if spec == nil {
			spec = found.GetSpec()
		}
		_, err := t.Out.Write(seed.FormatPolicy(seed.Policy{Name: found.GetName(), Spec: namesOf(api).rule(ctx, spec)}))
		return err
	}
	return t.showPolicy(ctx, api, found)
}

type policyCreateCommand struct {
	Common      common      `embed:""`
	Name        string      `arg:"" optional:"" help:"Its name: a-z, 0-9, '-', '_' and '.'. The file may say it instead."`
	PolicyFlags policyFlags `embed:""`
	Draft       bool        `help:"Keep it as a draft: it serves nobody until it is published."`
}

// Help is the long help.
func (policyCreateCommand) Help() string {
	return `A rule that cannot work (an unknown model, a line that is never reached, a loop) is refused with the
line's number.

Examples:

    claviger policy create main --target openai/gpt-4o-mini=own --target anthropic/claude-haiku-4-5=platform
    claviger policy create shared --strategy weighted --target openai/gpt-4o=own,weight=3 --target openai/gpt-4o=credential:spare
    claviger policy create main --file policy.yaml --draft

` + policyFileHelp
}

// policyFileHelp describes the file.
const policyFileHelp = `The file, where "targets" alone is the short form of one group:

    name: main
    groups:
      - strategy: weighted       # fallback, weighted, lowest_latency, lowest_cost or sticky
        when: {tags: {env: [prod]}, min_input_tokens: 1000, groups: [research]}
        targets:
          - {model: openai/gpt-4o, use: own, weight: 3, retries: 1, timeouts: {first_byte: 5s}}
          - {model: openai/gpt-4o, credential: spare, overrides: {temperature: 0.2}}
      - targets: [{model: anthropic/claude-haiku-4-5, use: platform}]`

// Run creates one.
func (c *policyCreateCommand) Run(ctx context.Context, t *terminal) error {
	rule, err := c.PolicyFlags.rule(t)
	switch {
	case err != nil:
		return err
	case c.Name == "" && rule.Name == "":
		return usagef("the policy has no name")
	case c.Name != "":
		rule.Name = c.Name
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
	answer, err := call(ctx, api, api.policies.CreatePolicy, &keysv1.CreatePolicyRequest{Name: rule.Name, Spec: spec, Publish: !c.Draft, IdempotencyKey: rand.Text()})
	if err != nil {
		return err
	}
	t.warnOfRule(answer.GetWarnings())
	return t.showPolicy(ctx, api, answer.GetPolicy())
}

// warnOfRule says what was accepted and may not be meant.
func (t *terminal) warnOfRule(problems []*keysv1.PolicyProblem) {
	for _, p := range problems {
		t.warn("%s", problemText(p))
	}
}

// problemText is something wrong with a rule, with its line.
func problemText(p *keysv1.PolicyProblem) string {
	if p.GetLine() > 0 {
		return "line " + strconv.Itoa(int(p.GetLine())) + ": " + p.GetDescription()
	}
	return p.GetDescription()
}

type policyUpdateCommand struct {
	Common      common      `embed:""`
	Name        string      `arg:"" complete:"policy" help:"Name or id."`
	PolicyFlags policyFlags `embed:""`
	Draft       bool        `help:"Keep it as the draft: what serves stays until 'policy publish'."`
}

// Help is the long help.
func (policyUpdateCommand) Help() string {
	return `The whole rule is replaced by the one that is given, and serves at once as the next version, or waits as
the draft.

Examples:

    claviger policy update main --target anthropic/claude-haiku-4-5=own
    claviger policy get main --as-file > main.yaml; vi main.yaml; claviger policy update main --file main.yaml --draft
    claviger policy diff main; claviger policy publish main

` + policyFileHelp
}

// Run replaces the rule.
func (c *policyUpdateCommand) Run(ctx context.Context, t *terminal) error {
	rule, err := c.PolicyFlags.rule(t)
	if err != nil {
		return err
	}
	if rule.Name != "" && rule.Name != strings.TrimPrefix(c.Name, "policy/") && !strings.HasPrefix(c.Name, "pol_") {
		return usagef("the file is about the policy %q, not %q", rule.Name, c.Name)
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
	return t.changePolicy(ctx, api, c.Name, func(ctx context.Context, read *keysv1.Policy, key string) (*keysv1.Policy, []*keysv1.PolicyProblem, error) {
		answer, err := call(ctx, api, api.policies.UpdatePolicy, &keysv1.UpdatePolicyRequest{
			Id: read.GetId(), Spec: spec, Publish: !c.Draft, Etag: read.GetEtag(), IdempotencyKey: key,
		})
		return answer.GetPolicy(), answer.GetWarnings(), err
	})
}

// changePolicy changes a policy and shows it.
func (t *terminal) changePolicy(ctx context.Context, api *client, name string,
	change func(ctx context.Context, read *keysv1.Policy, key string) (*keysv1.Policy, []*keysv1.PolicyProblem, error),
) error {
	found, err := api.findPolicy(ctx, name)
	if err != nil {
		return err
	}
	key := rand.Text()
	var changed *keysv1.Policy
	var warnings []*keysv1.PolicyProblem
	err = updating("the policy "+found.GetName(),
		func() (*keysv1.Policy, error) { return api.policy(ctx, found.GetId()) },
		func(read *keysv1.Policy) error {
			var err error
			changed, warnings, err = change(ctx, read, key)
			return err
		})
	if err != nil {
		return err
	}
	t.warnOfRule(warnings)
	return t.showPolicy(ctx, api, changed)
}

type policyDeleteCommand struct {
	Common common `embed:""`
	Name   string `arg:"" complete:"policy" help:"Name or id."`
	Yes    bool   `short:"y" help:"Do not ask."`
}

// Help is the long help.
func (policyDeleteCommand) Help() string {
	return `A policy that is somebody's default, or that another policy names, is not removed.

Examples:

    claviger policy delete old --yes`
}

// Run removes one.
func (c *policyDeleteCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findPolicy(ctx, c.Name)
	if err != nil {
		return err
	}
	if err := t.confirmed(ctx, c.Yes, "The policy %s would be removed, and requests for policy/%s would fail", found.GetName(), found.GetName()); err != nil {
		return err
	}
	if _, err := call(ctx, api, api.policies.DeletePolicy, &keysv1.DeletePolicyRequest{Id: found.GetId(), IdempotencyKey: rand.Text()}); err != nil {
		return err
	}
	return t.done(found.GetId(), "The policy %s is removed.", found.GetName())
}

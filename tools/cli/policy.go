package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/tools/seed"
)

type policyCommands struct {
	List   policyListCommand   `cmd:"" help:"List the policies."`
	Get    policyGetCommand    `cmd:"" help:"Show one policy with its lines."`
	Create policyCreateCommand `cmd:"" help:"Create a policy, usable at once as model policy/NAME."`
	Update policyUpdateCommand `cmd:"" help:"Replace the lines of a policy."`
	Delete policyDeleteCommand `cmd:"" help:"Remove a policy."`
}

// Help is the long help.
func (policyCommands) Help() string {
	return `A policy is an ordered list of lines, each a model and whose key serves: own or platform. They are tried
in order until one serves. Applications use it as the model policy/NAME.`
}

type policyFlags struct {
	Target []string `sep:"none" complete:"target" placeholder:"MODEL=USE" help:"A line, such as openai/gpt-4o-mini=own or anthropic/claude-haiku-4-5=platform; repeat it for more. Without =USE it is own."`
	File   string   `type:"path" placeholder:"FILE" help:"Read the lines from a YAML file; - is standard input."`
}

// policyFile is the form of --file.
type policyFile struct {
	Name    string `yaml:"name"`
	Targets []struct {
		Model string `yaml:"model"`
		Use   string `yaml:"use"`
	} `yaml:"targets"`
}

// lines are what the flags say, and the name if the file has one.
func (f *policyFlags) lines(t *terminal) (name string, targets []*keysv1.Target, err error) {
	switch {
	case f.File != "" && len(f.Target) > 0:
		return "", nil, usagef("--target and --file do not go together")
	case f.File != "":
		return f.fromFile(t)
	case len(f.Target) == 0:
		return "", nil, &usageError{message: "the policy has no lines", hint: "add --target openai/gpt-4o-mini=own, or --file policy.yaml"}
	}
	for _, text := range f.Target {
		model, use := text, "own"
		if i := strings.LastIndexByte(text, '='); i >= 0 {
			model, use = text[:i], text[i+1:]
		}
		target, err := newTarget(model, use)
		if err != nil {
			return "", nil, err
		}
		targets = append(targets, target)
	}
	return "", targets, nil
}

func newTarget(model, use string) (*keysv1.Target, error) {
	class := map[string]eventsv1.CredentialClass{
		"": eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN, "own": eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN,
		"platform": eventsv1.CredentialClass_CREDENTIAL_CLASS_PLATFORM,
	}[use]
	if class == 0 {
		return nil, &usageError{message: fmt.Sprintf("%q is not whose key serves", use), hint: "write MODEL=own or MODEL=platform"}
	}
	if !strings.Contains(model, "/") {
		return nil, &usageError{message: fmt.Sprintf("%q is not a model", model), hint: "write it with its provider, such as openai/gpt-4o-mini"}
	}
	return &keysv1.Target{Model: model, Use: class}, nil
}

func (f *policyFlags) fromFile(t *terminal) (name string, targets []*keysv1.Target, err error) {
	in := io.NopCloser(t.In)
	if f.File != "-" {
		if in, err = os.Open(f.File); err != nil {
			return "", nil, &usageError{message: err.Error()}
		}
	}
	defer in.Close()
	var form policyFile
	if err := yaml.NewDecoder(in, yaml.Strict()).Decode(&form); err != nil {
		if errors.Is(err, io.EOF) {
			return "", nil, usagef("%s is empty", f.File)
		}
		return "", nil, &usageError{message: fmt.Sprintf("%s cannot be read as a policy", f.File), hint: yaml.FormatError(err, false, false)}
	}
	for _, line := range form.Targets {
		target, err := newTarget(line.Model, line.Use)
		if err != nil {
			return "", nil, err
		}
		targets = append(targets, target)
	}
	if len(targets) == 0 {
		return "", nil, usagef("%s has no targets", f.File)
	}
	return form.Name, targets, nil
}

func targetText(target *keysv1.Target) string { return target.GetModel() + "=" + word(target.GetUse()) }

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
		{title: "VERSION", right: true, drop: 2},
		{title: "CHANGED", drop: 1},
		{title: "ID", drop: 3},
	}}
	now := time.Now()
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
		lines := make([]string, len(targetsOf(o)))
		for i, target := range targetsOf(o) {
			lines[i] = targetText(target)
		}
		tab.add(plain(o.GetName()), plain(strings.Join(lines, ", then ")), plain(number(o.GetVersion())), plain(ago(o.GetUpdateTime(), now)), cell{o.GetId(), dim})
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

// targetsOf are the lines of the version that serves.
func targetsOf(p *keysv1.Policy) []*keysv1.Target {
	var out []*keysv1.Target
	for _, group := range p.GetSpec().GetGroups() {
		out = append(out, group.GetTargets()...)
	}
	return out
}

func (t *terminal) showPolicy(ctx context.Context, api *client, o *keysv1.Policy) error {
	switch {
	case t.structured():
		return t.emit(o)
	case t.Quiet:
		return t.print("%s", o.GetId())
	}
	now := time.Now()
	err := t.printFacts(
		[2]string{"id", o.GetId()},
		[2]string{"name", o.GetName()},
		[2]string{"model", "policy/" + o.GetName()},
		[2]string{"version", number(o.GetVersion())},
		[2]string{"changed", moment(o.GetUpdateTime(), now) + by(namesOf(api).member(ctx, o.GetUpdatedBy()))},
	)
	if err != nil {
		return err
	}
	tab := &table{columns: []column{{title: "LINE", right: true}, {title: "MODEL", shrink: true}, {title: "KEY"}}}
	for i, target := range targetsOf(o) {
		tab.add(plain(strconv.Itoa(i+1)), plain(target.GetModel()), plain(word(target.GetUse())))
	}
	if err := t.print(""); err != nil {
		return err
	}
	return t.printTable(tab)
}

type policyGetCommand struct {
	Common common `embed:""`
	Name   string `arg:"" complete:"policy" help:"Name or id."`
}

// Help is the long help.
func (policyGetCommand) Help() string {
	return `Examples:

    claviger policy get main`
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
	return t.showPolicy(ctx, api, found)
}

type policyCreateCommand struct {
	Common      common      `embed:""`
	Name        string      `arg:"" optional:"" help:"Its name: a-z, 0-9, '-', '_' and '.'. The file may say it instead."`
	PolicyFlags policyFlags `embed:""`
}

// Help is the long help.
func (policyCreateCommand) Help() string {
	return `Examples:

    claviger policy create main --target openai/gpt-4o-mini=own --target anthropic/claude-haiku-4-5=platform
    claviger policy create main --file policy.yaml

The file:

    name: main
    targets:
      - {model: openai/gpt-4o-mini, use: own}
      - {model: anthropic/claude-haiku-4-5, use: platform}`
}

// Run creates one.
func (c *policyCreateCommand) Run(ctx context.Context, t *terminal) error {
	name, targets, err := c.PolicyFlags.lines(t)
	switch {
	case err != nil:
		return err
	case c.Name == "" && name == "":
		return usagef("the policy has no name")
	case c.Name != "":
		name = c.Name
	}
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	answer, err := call(ctx, api, api.policies.CreatePolicy, &keysv1.CreatePolicyRequest{Name: name, Spec: seed.Rule(targets...), Publish: true, IdempotencyKey: rand.Text()})
	if err != nil {
		return err
	}
	return t.showPolicy(ctx, api, answer.GetPolicy())
}

type policyUpdateCommand struct {
	Common      common      `embed:""`
	Name        string      `arg:"" complete:"policy" help:"Name or id."`
	PolicyFlags policyFlags `embed:""`
}

// Help is the long help.
func (policyUpdateCommand) Help() string {
	return `All lines are replaced by those that are given.

Examples:

    claviger policy update main --target anthropic/claude-haiku-4-5=own
    claviger policy update main --file policy.yaml`
}

// Run replaces the lines.
func (c *policyUpdateCommand) Run(ctx context.Context, t *terminal) error {
	named, targets, err := c.PolicyFlags.lines(t)
	if err != nil {
		return err
	}
	if named != "" && named != strings.TrimPrefix(c.Name, "policy/") && !strings.HasPrefix(c.Name, "pol_") {
		return usagef("the file is about the policy %q, not %q", named, c.Name)
	}
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findPolicy(ctx, c.Name)
	if err != nil {
		return err
	}
	key := rand.Text()
	var changed *keysv1.Policy
	err = updating("the policy "+found.GetName(),
		func() (*keysv1.Policy, error) { return api.policy(ctx, found.GetId()) },
		func(read *keysv1.Policy) error {
			answer, err := call(ctx, api, api.policies.UpdatePolicy, &keysv1.UpdatePolicyRequest{
				Id: read.GetId(), Spec: seed.Rule(targets...), Publish: true, Etag: read.GetEtag(), IdempotencyKey: key,
			})
			changed = answer.GetPolicy()
			return err
		})
	if err != nil {
		return err
	}
	return t.showPolicy(ctx, api, changed)
}

type policyDeleteCommand struct {
	Common common `embed:""`
	Name   string `arg:"" complete:"policy" help:"Name or id."`
	Yes    bool   `short:"y" help:"Do not ask."`
}

// Help is the long help.
func (policyDeleteCommand) Help() string {
	return `A policy that API keys have as their default is not removed.

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

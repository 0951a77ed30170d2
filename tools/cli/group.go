package cli

import (
	"context"
	"crypto/rand"
	"iter"
	"strings"
	"time"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

type groupCommands struct {
	List   groupListCommand   `cmd:"" help:"List the groups."`
	Get    groupGetCommand    `cmd:"" help:"Show one group."`
	Create groupCreateCommand `cmd:"" help:"Create a group."`
	Update groupUpdateCommand `cmd:"" help:"Change a group."`
	Delete groupDeleteCommand `cmd:"" help:"Remove a group that has no API keys."`
}

// Help is the long help.
func (groupCommands) Help() string {
	return `A group gives its API keys a default policy and narrows the models that they may use. An API key joins
one with 'claviger key create --group' or 'claviger key update --group'.`
}

func (c *client) eachGroup(ctx context.Context) iter.Seq2[*keysv1.Group, error] {
	return pages(func(token string) ([]*keysv1.Group, string, error) {
		page, err := call(ctx, c, c.groups.ListGroups, &keysv1.ListGroupsRequest{PageSize: pageSize, PageToken: token})
		return page.GetGroups(), page.GetNextPageToken(), err
	})
}

func (c *client) group(ctx context.Context, id string) (*keysv1.Group, error) {
	answer, err := call(ctx, c, c.groups.GetGroup, &keysv1.GetGroupRequest{Id: id})
	return answer.GetGroup(), err
}

// findGroup is the group with a name or id.
func (c *client) findGroup(ctx context.Context, name string) (*keysv1.Group, error) {
	if strings.HasPrefix(name, "grp_") {
		if found, err := c.group(ctx, name); err == nil || reason(err) != "GROUP_NOT_FOUND" {
			return found, err
		}
	}
	return lookUp(c.eachGroup(ctx), "group", name, (*keysv1.Group).GetName)
}

type groupListCommand struct {
	Common common `embed:""`
}

// Help is the long help.
func (groupListCommand) Help() string {
	return `Examples:

    claviger group list`
}

// Run lists.
func (c *groupListCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	tab := &table{columns: []column{
		{title: "NAME", shrink: true},
		{title: "POLICY", shrink: true},
		{title: "MODELS", shrink: true},
		{title: "CREATED", drop: 1},
		{title: "ID", drop: 2},
	}}
	now, named := time.Now(), namesOf(api)
	for o, err := range api.eachGroup(ctx) {
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
		tab.add(plain(o.GetName()), plain(defaultText(named.policy(ctx, o.GetPolicyId()), o.GetEnforcePolicy())), plain(approvedText(o.GetApprovedModels(), "all approved")),
			plain(ago(o.GetCreateTime(), now)), cell{o.GetId(), dim})
	}
	if t.structured() || t.Quiet {
		return nil
	}
	if len(tab.rows) == 0 {
		t.note("There is no group yet: claviger group create research --policy main")
		return nil
	}
	return t.printTable(tab)
}

// defaultText is a default policy, and whether it is more than a default.
func defaultText(policy string, enforced bool) string {
	switch {
	case policy == "":
		return "-"
	case enforced:
		return policy + ", for every request"
	default:
		return policy
	}
}

// approvedText is a list of patterns; none are all.
func approvedText(patterns []string, all string) string {
	if len(patterns) == 0 {
		return all
	}
	return strings.Join(patterns, ", ")
}

func (t *terminal) showGroup(ctx context.Context, api *client, o *keysv1.Group) error {
	switch {
	case t.structured():
		return t.emit(o)
	case t.Quiet:
		return t.print("%s", o.GetId())
	}
	return t.printFacts(
		[2]string{"id", o.GetId()},
		[2]string{"name", o.GetName()},
		[2]string{"policy", defaultText(namesOf(api).policy(ctx, o.GetPolicyId()), o.GetEnforcePolicy())},
		[2]string{"models", approvedText(o.GetApprovedModels(), "all that the organization approves")},
		[2]string{"created", moment(o.GetCreateTime(), time.Now())},
	)
}

type groupGetCommand struct {
	Common common `embed:""`
	Name   string `arg:"" complete:"group" help:"Name or id."`
}

// Help is the long help.
func (groupGetCommand) Help() string {
	return `Examples:

    claviger group get research`
}

// Run shows one.
func (c *groupGetCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findGroup(ctx, c.Name)
	if err != nil {
		return err
	}
	return t.showGroup(ctx, api, found)
}

// defaultFlags are a default policy and what it is.
type defaultFlags struct {
	Policy    *string `complete:"policy" placeholder:"NAME" help:"Default policy, for requests that name no model; 'none' for none of its own."`
	Enforce   bool    `xor:"enforce" help:"Send every request through the policy, whatever model it names."`
	NoEnforce bool    `name:"no-enforce" xor:"enforce" help:"Use the policy only for requests that name no model."`
}

func (f *defaultFlags) given() bool { return f.Policy != nil || f.Enforce || f.NoEnforce }

// of is what the flags make of a default policy that is already there.
func (f *defaultFlags) of(ctx context.Context, api *client, policyID string, enforce bool) (string, bool, error) {
	if f.Policy != nil {
		policyID = ""
		if *f.Policy != none {
			found, err := api.findPolicy(ctx, *f.Policy)
			if err != nil {
				return "", false, err
			}
			policyID = found.GetId()
		} else if !f.Enforce {
			enforce = false
		}
	}
	if f.Enforce || f.NoEnforce {
		enforce = f.Enforce
	}
	return policyID, enforce, nil
}

// none is the word for no value of a flag.
const none = "none"

// listOf is a list from flags: what was there if none is given, and nothing for the word "none".
func listOf(given, before []string) []string {
	switch {
	case len(given) == 0:
		return before
	case len(given) == 1 && given[0] == none:
		return nil
	}
	return given
}

type groupCreateCommand struct {
	Common  common       `embed:""`
	Name    string       `arg:"" help:"Its name for people."`
	Default defaultFlags `embed:""`
	Approve []string     `complete:"model" placeholder:"PATTERN" help:"Models that its API keys may use, such as 'openai/*'; repeat it for more. All that the organization approves if not given."`
}

// Help is the long help.
func (groupCreateCommand) Help() string {
	return `Examples:

    claviger group create research --policy main --enforce
    claviger group create interns --approve 'openai/gpt-4o-mini' --approve 'groq/*'`
}

// Run creates one.
func (c *groupCreateCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	policyID, enforce, err := c.Default.of(ctx, api, "", false)
	if err != nil {
		return err
	}
	answer, err := call(ctx, api, api.groups.CreateGroup, &keysv1.CreateGroupRequest{
		Name: c.Name, PolicyId: policyID, EnforcePolicy: enforce, ApprovedModels: listOf(c.Approve, nil), IdempotencyKey: rand.Text(),
	})
	if err != nil {
		return err
	}
	return t.showGroup(ctx, api, answer.GetGroup())
}

type groupUpdateCommand struct {
	Common  common       `embed:""`
	Name    string       `arg:"" complete:"group" help:"Name or id."`
	Rename  string       `placeholder:"NAME" help:"Another name."`
	Default defaultFlags `embed:""`
	Approve []string     `complete:"model" placeholder:"PATTERN" help:"The models that its API keys may use, in place of those before; 'none' lifts the limit."`
}

// Help is the long help.
func (groupUpdateCommand) Help() string {
	return `What is not named stays.

Examples:

    claviger group update research --policy cheap --no-enforce
    claviger group update interns --approve 'openai/*'`
}

// Run changes one.
func (c *groupUpdateCommand) Run(ctx context.Context, t *terminal) error {
	if c.Rename == "" && !c.Default.given() && len(c.Approve) == 0 {
		return &usageError{message: "nothing to change", hint: "name what to change, such as --policy or --approve"}
	}
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findGroup(ctx, c.Name)
	if err != nil {
		return err
	}
	key := rand.Text()
	var changed *keysv1.Group
	err = updating("the group "+found.GetName(),
		func() (*keysv1.Group, error) { return api.group(ctx, found.GetId()) },
		func(read *keysv1.Group) error {
			policyID, enforce, err := c.Default.of(ctx, api, read.GetPolicyId(), read.GetEnforcePolicy())
			if err != nil {
				return err
			}
			name := read.GetName()
			if c.Rename != "" {
				name = c.Rename
			}
			answer, err := call(ctx, api, api.groups.UpdateGroup, &keysv1.UpdateGroupRequest{
				Id: read.GetId(), Name: name, PolicyId: policyID, EnforcePolicy: enforce, ApprovedModels: listOf(c.Approve, read.GetApprovedModels()),
				Etag: read.GetEtag(), IdempotencyKey: key,
			})
			changed = answer.GetGroup()
			return err
		})
	if err != nil {
		return err
	}
	return t.showGroup(ctx, api, changed)
}

type groupDeleteCommand struct {
	Common common `embed:""`
	Name   string `arg:"" complete:"group" help:"Name or id."`
	Yes    bool   `short:"y" help:"Do not ask."`
}

// Help is the long help.
func (groupDeleteCommand) Help() string {
	return `A group that API keys are in, or that a rule or a credential names, is not removed.

Examples:

    claviger group delete interns --yes`
}

// Run removes one.
func (c *groupDeleteCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findGroup(ctx, c.Name)
	if err != nil {
		return err
	}
	if err := t.confirmed(ctx, c.Yes, "The group %s would be removed", found.GetName()); err != nil {
		return err
	}
	if _, err := call(ctx, api, api.groups.DeleteGroup, &keysv1.DeleteGroupRequest{Id: found.GetId(), IdempotencyKey: rand.Text()}); err != nil {
		return err
	}
	return t.done(found.GetId(), "The group %s is removed.", found.GetName())
}

package cli

import (
	"context"
	"crypto/rand"
	"iter"
	"strings"
	"time"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	optionsv1 "github.com/claviger/claviger/proto/gen/claviger/options/v1"
)

type memberCommands struct {
	List    memberListCommand    `cmd:"" help:"List the members."`
	Add     memberAddCommand     `cmd:"" help:"Add a person."`
	Update  memberUpdateCommand  `cmd:"" help:"Change a person's role."`
	Disable memberDisableCommand `cmd:"" help:"Suspend a person, with their API keys, until they are enabled again."`
	Enable  memberEnableCommand  `cmd:"" help:"Enable a person again, with their API keys."`
	Remove  memberRemoveCommand  `cmd:"" help:"Remove a person, with their sessions and API keys."`
}

// Help is the long help.
func (memberCommands) Help() string {
	return `Roles: an owner manages everything and alone the credentials; an admin manages members, policies and API
keys; a member has own API keys and sees what they used; a viewer sees all and changes nothing.`
}

func (c *client) eachMember(ctx context.Context) iter.Seq2[*keysv1.Member, error] {
	return pages(func(token string) ([]*keysv1.Member, string, error) {
		page, err := call(ctx, c, c.members.ListMembers, &keysv1.ListMembersRequest{PageSize: pageSize, PageToken: token})
		return page.GetMembers(), page.GetNextPageToken(), err
	})
}

func (c *client) member(ctx context.Context, id string) (*keysv1.Member, error) {
	answer, err := call(ctx, c, c.members.GetMember, &keysv1.GetMemberRequest{Id: id})
	return answer.GetMember(), err
}

// findMember is the member with an address or id.
func (c *client) findMember(ctx context.Context, name string) (*keysv1.Member, error) {
	if strings.HasPrefix(name, "mem_") {
		if found, err := c.member(ctx, name); err == nil || reason(err) != "MEMBER_NOT_FOUND" {
			return found, err
		}
	}
	return lookUp(c.eachMember(ctx), "member", name, func(m *keysv1.Member) string {
		if strings.EqualFold(m.GetEmail(), name) {
			return name
		}
		return m.GetEmail()
	})
}

func roleOf(name string) optionsv1.Role {
	return enumOf[optionsv1.Role](optionsv1.Role_value, "ROLE_", name)
}

type memberListCommand struct {
	Common common `embed:""`
}

// Help is the long help.
func (memberListCommand) Help() string {
	return `Examples:

    claviger member list`
}

// Run lists.
func (c *memberListCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	tab := &table{columns: []column{
		{title: "EMAIL", shrink: true},
		{title: "ROLE"},
		{title: "STATE", drop: 4},
		{title: "LAST SIGN-IN", drop: 1},
		{title: "ADDED", drop: 2},
		{title: "ID", drop: 3},
	}}
	now := time.Now()
	for o, err := range api.eachMember(ctx) {
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
		tab.add(plain(o.GetEmail()), plain(word(o.GetRole())), plain(stateOfMember(o)), plain(ago(o.GetLastSignInTime(), now)), plain(ago(o.GetCreateTime(), now)), cell{o.GetId(), dim})
	}
	if t.structured() || t.Quiet {
		return nil
	}
	return t.printTable(tab)
}

func (t *terminal) showMember(o *keysv1.Member, format string, args ...any) error {
	if t.structured() {
		return t.emit(o)
	}
	return t.done(o.GetId(), format, args...)
}

type memberAddCommand struct {
	Common        common        `embed:""`
	PasswordFlags passwordFlags `embed:""`
	Email         string        `arg:"" help:"The person's address."`
	Role          string        `required:"" enum:"owner,admin,member,viewer" help:"What the person may do: owner, admin, member or viewer."`
}

// Help is the long help.
func (memberAddCommand) Help() string {
	return `The first password has 12 to 256 bytes; it is typed twice, or read with --password-stdin or
--password-file. The person changes it with 'claviger change-password'.

Examples:

    claviger member add dev@acme.example --role member
    pass generate -n acme/dev 24 | claviger member add dev@acme.example --role member --password-stdin`
}

// Run adds one.
func (c *memberAddCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	password, err := t.secret(ctx, c.PasswordFlags.source("first password", true))
	if err != nil {
		return err
	}
	answer, err := call(ctx, api, api.members.CreateMember, &keysv1.CreateMemberRequest{
		Email: c.Email, Role: roleOf(c.Role), Password: password.Reveal(), IdempotencyKey: rand.Text(),
	})
	if err != nil {
		return err
	}
	return t.showMember(answer.GetMember(), "%s is now %s of %s.", c.Email, c.Role, api.place.Organization)
}

type memberUpdateCommand struct {
	Common common `embed:""`
	Email  string `arg:"" complete:"member" help:"The person's address or id."`
	Role   string `required:"" enum:"owner,admin,member,viewer" help:"The new role: owner, admin, member or viewer."`
}

// Help is the long help.
func (memberUpdateCommand) Help() string {
	return `Examples:

    claviger member update dev@acme.example --role admin`
}

// Run changes the role.
func (c *memberUpdateCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findMember(ctx, c.Email)
	if err != nil {
		return err
	}
	key := rand.Text()
	var changed *keysv1.Member
	err = updating("the member "+found.GetEmail(),
		func() (*keysv1.Member, error) { return api.member(ctx, found.GetId()) },
		func(read *keysv1.Member) error {
			answer, err := call(ctx, api, api.members.UpdateMember, &keysv1.UpdateMemberRequest{
				Id: read.GetId(), Role: roleOf(c.Role), Etag: read.GetEtag(), IdempotencyKey: key,
			})
			changed = answer.GetMember()
			return err
		})
	if err != nil {
		return err
	}
	return t.showMember(changed, "%s is now %s.", changed.GetEmail(), word(changed.GetRole()))
}

func stateOfMember(m *keysv1.Member) string {
	if m.GetDisableTime() != nil {
		return "disabled"
	}
	return "active"
}

type memberDisableCommand struct {
	Common common `embed:""`
	Email  string `arg:"" complete:"member" help:"The person's address or id."`
	Cut    bool   `help:"End answers that their API keys are being given, too."`
	Yes    bool   `short:"y" help:"Do not ask."`
}

// Help is the long help.
func (memberDisableCommand) Help() string {
	return `Their sessions end, they cannot sign in, and their API keys are refused, until 'claviger member enable'. It waits up to
five seconds and says how many routers confirmed.

Examples:

    claviger member disable dev@acme.example --cut`
}

// Run disables one.
func (c *memberDisableCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findMember(ctx, c.Email)
	if err != nil {
		return err
	}
	if err := t.confirmed(ctx, c.Yes, "%s would be disabled, their sessions ended and their API keys suspended", found.GetEmail()); err != nil {
		return err
	}
	return t.setDisabled(ctx, api, found, true, c.Cut)
}

type memberEnableCommand struct {
	Common common `embed:""`
	Email  string `arg:"" complete:"member" help:"The person's address or id."`
}

// Help is the long help.
func (memberEnableCommand) Help() string {
	return `They can sign in again, and their API keys that are not revoked serve again.

Examples:

    claviger member enable dev@acme.example`
}

// Run enables one.
func (c *memberEnableCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findMember(ctx, c.Email)
	if err != nil {
		return err
	}
	return t.setDisabled(ctx, api, found, false, false)
}

func (t *terminal) setDisabled(ctx context.Context, api *client, found *keysv1.Member, disabled, cut bool) error {
	key := rand.Text()
	var answer *keysv1.UpdateMemberResponse
	err := updating("the member "+found.GetEmail(),
		func() (*keysv1.Member, error) { return api.member(ctx, found.GetId()) },
		func(read *keysv1.Member) (err error) {
			answer, err = call(ctx, api, api.members.UpdateMember, &keysv1.UpdateMemberRequest{
				Id: read.GetId(), Disabled: &disabled, CutStreams: cut, Etag: read.GetEtag(), IdempotencyKey: key,
			})
			return err
		})
	if err != nil {
		return err
	}
	said := "enabled"
	if disabled {
		said = "disabled"
	}
	return t.doneWith(found.GetId(), answer.GetReceipt(), "%s is %s.", found.GetEmail(), said)
}

type memberRemoveCommand struct {
	Common common `embed:""`
	Email  string `arg:"" complete:"member" help:"The person's address or id."`
	Cut    bool   `help:"End answers that their API keys are being given, too."`
	Yes    bool   `short:"y" help:"Do not ask."`
}

// Help is the long help.
func (memberRemoveCommand) Help() string {
	return `Their sessions end and their API keys are revoked. It waits up to five seconds and says how many routers
confirmed.

Examples:

    claviger member remove dev@acme.example`
}

// Run removes one.
func (c *memberRemoveCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	found, err := api.findMember(ctx, c.Email)
	if err != nil {
		return err
	}
	if err := t.confirmed(ctx, c.Yes, "%s would be removed, their sessions ended and their API keys revoked", found.GetEmail()); err != nil {
		return err
	}
	answer, err := call(ctx, api, api.members.DeleteMember, &keysv1.DeleteMemberRequest{Id: found.GetId(), CutStreams: c.Cut, IdempotencyKey: rand.Text()})
	if err != nil {
		return err
	}
	return t.doneWith(found.GetId(), answer.GetReceipt(), "%s is removed.", found.GetEmail())
}

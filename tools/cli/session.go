package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
)

// localAddress is where 'claviger dev' and 'claviger demo' listen unless told otherwise.
const localAddress = "http://127.0.0.1:8080"

type passwordFlags struct {
	PasswordStdin bool   `xor:"password" help:"Read the password from standard input."`
	PasswordFile  string `xor:"password" type:"path" placeholder:"FILE" help:"Read the password from a file."`
	Password      string `hidden:""`
}

// AfterApply refuses a password in an argument.
func (f *passwordFlags) AfterApply() error {
	if f.Password != "" {
		return refuseSecretArgument("--password is not a flag")
	}
	return nil
}

func (f *passwordFlags) source(what string, twice bool) source {
	return source{what: what, flag: "password", stdin: f.PasswordStdin, file: f.PasswordFile, twice: twice}
}

type signInCommand struct {
	Common        common        `embed:""`
	PasswordFlags passwordFlags `embed:""`
	Address       string        `placeholder:"URL" help:"Address of the installation; that of the context if it exists, else http://127.0.0.1:8080."`
	Organization  string        `placeholder:"SLUG" help:"The organization's slug."`
	Email         string        `placeholder:"ADDRESS" help:"Your address."`
	Insecure      bool          `help:"Allow http to another machine, unencrypted."`
}

// Help is the long help.
func (signInCommand) Help() string {
	return `The password is asked without showing it, or read with --password-stdin or --password-file. The session
is kept in a file that only you can read, as a context that carries the organization's name; --context
gives it another. Without flags the current context is signed in to again.

Examples:

    claviger sign-in --address https://claviger.example.com --organization acme --email owner@acme.example
    pass show acme | claviger sign-in --organization acme --email owner@acme.example --password-stdin
    claviger sign-in --context staging`
}

// Run signs in.
func (c *signInCommand) Run(ctx context.Context, t *terminal) error {
	file, err := t.contextFile()
	if err != nil {
		return err
	}
	known, err := file.load() // a file that cannot be used is no reason to ask for a password first
	if err != nil {
		return err
	}
	p, err := c.target(t, known)
	if err != nil {
		return err
	}
	for _, missing := range []struct {
		value          *string
		question, flag string
	}{{&p.Organization, "Organization: ", "organization"}, {&p.Email, "Email: ", "email"}} {
		if *missing.value != "" {
			continue
		}
		if !t.interactive() || c.PasswordFlags.PasswordStdin {
			return usagef("--%s is missing", missing.flag)
		}
		if *missing.value, err = t.ask(ctx, missing.question, false); err != nil {
			return err
		}
	}
	password, err := t.secret(ctx, c.PasswordFlags.source("password", false))
	if err != nil {
		return err
	}
	api := newClient(p)
	defer api.close()
	answer, err := call(ctx, api, api.sessions.SignIn, &keysv1.SignInRequest{
		Organization: p.Organization, Email: p.Email, Password: password.Reveal(),
	})
	if err != nil {
		return err
	}
	p.Session = secret.New(answer.GetSessionToken())
	p.Name = cmp.Or(p.Name, freeName(known, p))
	var before place
	err = file.update(func(all *contexts) error {
		before, _ = all.find(p.Name)
		all.put(p)
		all.Current = p.Name
		return nil
	})
	if err != nil {
		return err
	}
	endReplaced(ctx, before)
	if t.structured() {
		return t.emitWho(p, answer.GetMember(), answer.GetOrganization())
	}
	if t.Quiet {
		return t.print("%s", answer.GetMember().GetId())
	}
	return t.print("Signed in to %s at %s as %s, %s. Context: %s.", clean(answer.GetOrganization().GetSlug()), p.Address,
		clean(answer.GetMember().GetEmail()), word(answer.GetMember().GetRole()), clean(p.Name))
}

// target is where to sign in: what the flags say, and else what the context knows.
func (c *signInCommand) target(t *terminal, known *contexts) (place, error) {
	p := place{Name: t.wantedContext(), Address: c.Address, Organization: c.Organization, Email: c.Email, Insecure: c.Insecure}
	name := p.Name
	if name == "" && c.Address == "" && c.Organization == "" { // again where one is
		name = known.Current
		p.Name = name
	}
	old, exists := known.find(name)
	if exists {
		if c.Organization == "" || c.Organization == old.Organization {
			p.Email = cmp.Or(p.Email, old.Email)
		}
		p.Organization = cmp.Or(p.Organization, old.Organization)
	} else {
		old, exists = known.find(known.Current)
	}
	if exists && c.Address == "" {
		p.Address, p.Insecure = old.Address, p.Insecure || old.Insecure
	}
	address, err := checkAddress(cmp.Or(p.Address, localAddress), p.Insecure)
	p.Address = address
	return p, err
}

// freeName is the name of a new context: the organization's, with the host if that name means another
// installation already.
func freeName(known *contexts, p place) string {
	if old, ok := known.find(p.Organization); !ok || old.Address == p.Address && old.Organization == p.Organization {
		return p.Organization
	}
	u, err := url.Parse(p.Address)
	if err != nil {
		return p.Organization
	}
	return p.Organization + "@" + u.Host
}

// endReplaced ends the session that a new one takes the place of. It would end by itself; that it cannot
// be reached is no reason to fail.
func endReplaced(ctx context.Context, before place) {
	if before.Session.Empty() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	api := newClient(before)
	defer api.close()
	_, _ = api.session.SignOut(ctx, &keysv1.SignOutRequest{})
}

type signOutCommand struct {
	Common common `embed:""`
}

// Help is the long help.
func (signOutCommand) Help() string {
	return `The session ends at the installation and is forgotten here. The context stays, for the next sign-in.

Examples:

    claviger sign-out
    claviger sign-out --context staging`
}

// Run signs out.
func (c *signOutCommand) Run(ctx context.Context, t *terminal) error {
	p, err := t.place()
	if err != nil {
		return err
	}
	if err := endSession(ctx, p); err != nil {
		return err
	}
	file, err := t.contextFile()
	if err != nil {
		return err
	}
	err = file.update(func(all *contexts) error {
		if now, ok := all.find(p.Name); ok {
			now.Session = secret.Text{}
			all.put(now)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if t.structured() {
		return t.emitValue(contextView{Name: p.Name, Address: p.Address, Organization: p.Organization, Email: p.Email})
	}
	if t.Quiet {
		return nil
	}
	return t.print("Signed out of %s.", clean(p.Name))
}

// endSession ends a session at its installation. One that has ended already is as good.
func endSession(ctx context.Context, p place) error {
	if p.Session.Empty() {
		return nil
	}
	api := newClient(p)
	defer api.close()
	_, err := call(ctx, api, api.session.SignOut, &keysv1.SignOutRequest{})
	if connect.CodeOf(err) == connect.CodeUnauthenticated {
		return nil
	}
	return err
}

type whoamiCommand struct {
	Common common `embed:""`
}

// Help is the long help.
func (whoamiCommand) Help() string {
	return `Examples:

    claviger whoami
    claviger whoami --context staging --output json`
}

// Run says who is signed in.
func (c *whoamiCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	answer, err := call(ctx, api, api.session.GetSession, &keysv1.GetSessionRequest{})
	if err != nil {
		return err
	}
	member, organization := answer.GetMember(), answer.GetOrganization()
	switch {
	case t.structured():
		return t.emitWho(api.place, member, organization)
	case t.Quiet:
		return t.print("%s", member.GetId())
	}
	return t.printFacts(
		[2]string{"who", member.GetEmail()},
		[2]string{"role", word(member.GetRole())},
		[2]string{"organization", fmt.Sprintf("%s (%s)", organization.GetSlug(), organization.GetName())},
		[2]string{"address", api.place.Address},
		[2]string{"context", api.place.Name},
	)
}

func (t *terminal) emitWho(p place, member *keysv1.Member, organization *keysv1.Organization) error {
	return t.emit(&keysv1.GetSessionResponse{Member: member, Organization: organization}, field{"address", p.Address}, field{"context", p.Name})
}

type changePasswordCommand struct {
	Common          common `embed:""`
	OldPasswordFile string `type:"path" placeholder:"FILE" help:"Read the old password from a file."`
	NewPasswordFile string `type:"path" placeholder:"FILE" help:"Read the new password from a file."`
}

// Help is the long help.
func (changePasswordCommand) Help() string {
	return `Your other sessions end. A password has 12 to 256 bytes.

Examples:

    claviger change-password
    claviger change-password --old-password-file old.txt --new-password-file new.txt`
}

// Run changes the password.
func (c *changePasswordCommand) Run(ctx context.Context, t *terminal) error {
	api, err := t.connect()
	if err != nil {
		return err
	}
	defer api.close()
	before, err := t.secret(ctx, source{what: "old password", flag: "old-password", file: c.OldPasswordFile})
	if err != nil {
		return err
	}
	after, err := t.secret(ctx, source{what: "new password", flag: "new-password", file: c.NewPasswordFile, twice: true})
	if err != nil {
		return err
	}
	_, err = call(ctx, api, api.session.ChangePassword, &keysv1.ChangePasswordRequest{
		OldPassword: before.Reveal(), NewPassword: after.Reveal(), IdempotencyKey: rand.Text(),
	})
	if err != nil {
		return err
	}
	t.note("The password is changed; your other sessions have ended.")
	return nil
}

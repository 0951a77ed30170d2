package cli

import (
	"context"
)

type contextCommands struct {
	List   contextListCommand   `cmd:"" help:"List the contexts."`
	Use    contextUseCommand    `cmd:"" help:"Make a context the current one."`
	Remove contextRemoveCommand `cmd:"" help:"Sign out of a context and forget it."`
}

// Help is the long help.
func (contextCommands) Help() string {
	return `A context is an organization at an installation, and your session there. 'claviger sign-in' makes one.
CLAVIGER_CONTEXT or --context chooses one for a single command.`
}

// contextView is a context as scripts see it.
type contextView struct {
	Name         string `json:"name"`
	Address      string `json:"address"`
	Organization string `json:"organization"`
	Email        string `json:"email"`
	Current      bool   `json:"current"`
	SignedIn     bool   `json:"signedIn"`
}

type contextListCommand struct {
	Common common `embed:""`
}

// Help is the long help.
func (contextListCommand) Help() string {
	return `Examples:

    claviger context list`
}

// Run lists.
func (c *contextListCommand) Run(t *terminal) error {
	file, err := t.contextFile()
	if err != nil {
		return err
	}
	all, err := file.load()
	if err != nil {
		return err
	}
	tab := &table{columns: []column{{}, {title: "NAME", shrink: true}, {title: "ADDRESS", shrink: true}, {title: "ORGANIZATION", shrink: true}, {title: "EMAIL", shrink: true, drop: 2}, {title: "SESSION", drop: 1}}}
	for _, p := range all.Places {
		view := contextView{p.Name, p.Address, p.Organization, p.Email, p.Name == all.Current, !p.Session.Empty()}
		switch {
		case t.structured():
			if err := t.emitValue(view); err != nil {
				return err
			}
		case t.Quiet:
			if err := t.print("%s", p.Name); err != nil {
				return err
			}
		}
		mark, session := plain(""), cell{"signed out", dim}
		if view.Current {
			mark = cell{"*", green}
		}
		if view.SignedIn {
			session = plain("signed in")
		}
		tab.add(mark, plain(p.Name), plain(p.Address), plain(p.Organization), plain(p.Email), session)
	}
	if t.structured() || t.Quiet {
		return nil
	}
	if len(tab.rows) == 0 {
		t.note("There is no context yet: claviger sign-in makes one.")
		return nil
	}
	return t.printTable(tab)
}

type contextUseCommand struct {
	Common common `embed:""`
	Name   string `arg:"" complete:"context" help:"Name of the context."`
}

// Help is the long help.
func (contextUseCommand) Help() string {
	return `Examples:

    claviger context use staging`
}

// Run switches.
func (c *contextUseCommand) Run(t *terminal) error {
	file, err := t.contextFile()
	if err != nil {
		return err
	}
	err = file.update(func(all *contexts) error {
		if _, ok := all.find(c.Name); !ok {
			return unknownContext(c.Name, all)
		}
		all.Current = c.Name
		return nil
	})
	if err != nil {
		return err
	}
	t.note("The context is now %s.", c.Name)
	return nil
}

type contextRemoveCommand struct {
	Common common `embed:""`
	Name   string `arg:"" complete:"context" help:"Name of the context."`
}

// Help is the long help.
func (contextRemoveCommand) Help() string {
	return `If the installation cannot be reached the context is forgotten all the same, and the session ends there
by itself.

Examples:

    claviger context remove staging`
}

// Run removes.
func (c *contextRemoveCommand) Run(ctx context.Context, t *terminal) error {
	file, err := t.contextFile()
	if err != nil {
		return err
	}
	var removed place
	err = file.update(func(all *contexts) error {
		p, ok := all.find(c.Name)
		if !ok {
			return unknownContext(c.Name, all)
		}
		removed = p
		all.remove(c.Name)
		if all.Current == c.Name {
			all.Current = ""
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := endSession(ctx, removed); err != nil {
		t.warn("the session could not be ended at %s (%s) and goes on until it ends by itself", removed.Address, explain(err).Message)
	}
	t.note("The context %s is forgotten.", c.Name)
	return nil
}

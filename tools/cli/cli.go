// Package cli is the operator's terminal: the commands of claviger that talk to a running installation
// through its public API.
//
// It promises that a secret is never taken from the command line and never printed, but for an API key
// in the moment it is created; that what needs a person's consent asks for it or is refused; and that
// scripts get stable output: one JSON object per line with --output json, errors as JSON on standard
// error, and the exit codes 0 (done), 1 (it did not work) and 2 (the command line makes no sense).
// Calls are repeated when the installation is away for a moment, which is safe because every change
// carries an idempotency key.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Commands are the commands that talk to an installation. A program embeds them into its grammar.
type Commands struct {
	SignIn         signInCommand         `cmd:"" group:"Sign in:" help:"Begin a session at an installation."`
	SignOut        signOutCommand        `cmd:"" group:"Sign in:" help:"End the session."`
	Whoami         whoamiCommand         `cmd:"" group:"Sign in:" help:"Say who is signed in, where and as what."`
	ChangePassword changePasswordCommand `cmd:"" group:"Sign in:" help:"Change your own password."`
	Context        contextCommands       `cmd:"" group:"Sign in:" help:"Switch between installations and organizations."`

	Credential credentialCommands `cmd:"" group:"Manage an organization:" help:"Provider keys that the organization brings."`
	Policy     policyCommands     `cmd:"" group:"Manage an organization:" help:"Which models serve, in which order, on whose keys."`
	Group      groupCommands      `cmd:"" group:"Manage an organization:" help:"Groups of API keys, with their policy and models."`
	Routing    routingCommands    `cmd:"" group:"Manage an organization:" help:"What holds for all requests: providers, platform keys, default policy."`
	Model      modelCommands      `cmd:"" group:"Manage an organization:" help:"Which models may be used."`
	Key        keyCommands        `cmd:"" group:"Manage an organization:" help:"API keys that applications present."`
	Member     memberCommands     `cmd:"" group:"Manage an organization:" help:"People and their roles."`

	Usage   usageCommand    `cmd:"" group:"See what happens:" help:"Tokens and cost over a time range."`
	Request requestCommands `cmd:"" group:"See what happens:" help:"Single requests with their attempts."`
	Tail    tailCommand     `cmd:"" group:"See what happens:" help:"Follow requests as they are counted."`
	Explain explainCommand  `cmd:"" group:"See what happens:" help:"Say what would serve a request, in order, and what not and why."`
	Drill   drillCommands   `cmd:"" group:"See what happens:" help:"Rehearse that a credential fails, without calling its provider."`

	Completion completionCommand `cmd:"" group:"Other:" help:"Print the completion script of a shell."`
}

// Streams are what a command reads, writes and asks.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
	// Getenv looks into the environment. Nil is an empty one.
	Getenv func(string) string
}

func (s Streams) env(name string) string {
	if s.Getenv == nil {
		return ""
	}
	return s.Getenv(name)
}

// Program is a command line: its grammar, which embeds Commands, and what to say about it.
type Program struct {
	Name        string
	Description string
	Grammar     any
	// Options are further options of the parser, such as what other commands of the grammar need.
	Options []kong.Option
}

// Run runs the command that args name and returns the exit code.
func Run(ctx context.Context, p Program, args []string, std Streams) int {
	t := &terminal{Streams: std, program: p.Name}
	t.Output = outputOf(args)
	code := -1
	options := append([]kong.Option{
		kong.Name(p.Name), kong.Description(p.Description),
		kong.Writers(std.Out, std.Err), kong.Exit(func(c int) { code = c }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 110}),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(t),
	}, p.Options...)
	parser, err := kong.New(p.Grammar, options...)
	if err != nil {
		return t.fail(err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	if args[0] == completeCommand {
		complete(ctx, t, parser.Model.Node, args[1:])
		return 0
	}
	command, err := parser.Parse(args)
	if code >= 0 { // --help has been answered
		return code
	}
	if err != nil {
		return t.fail(parseError(p.Name, args, err))
	}
	return t.fail(command.Run())
}

// outputOf finds the wanted form of output in args, for mistakes that the parser stumbles over before it
// gets there.
func outputOf(args []string) string {
	for i, arg := range args {
		switch name, value, found := strings.Cut(arg, "="); {
		case arg == "--":
			return ""
		case (name == "--output" || name == "-o") && found:
			return value
		case (arg == "--output" || arg == "-o") && i+1 < len(args):
			return args[i+1]
		case arg == "-ojson":
			return outputJSON
		}
	}
	return ""
}

// secretBearing are commands that are given secrets: what stands too much on their command line may be
// one.
var secretBearing = []string{"sign-in", "change-password", "credential create", "credential rotate", "credential stage", "member add", "explain"}

// parseError is what the parser says, without the values that it quotes: one of them may be a secret.
func parseError(program string, args []string, err error) error {
	if own, ok := errors.AsType[*usageError](err); ok { // from a hook
		return own
	}
	message, hint := err.Error(), fmt.Sprintf("'%s --help' lists the commands", program)
	path := program
	if parsed, ok := errors.AsType[*kong.ParseError](err); ok && parsed.Context != nil {
		if node := parsed.Context.Selected(); node != nil {
			path = node.FullPath()
			hint = fmt.Sprintf("'%s --help' shows how it is used; '%s --help' lists the commands", path, program)
		}
	}
	bearing := slices.Contains(secretBearing, strings.TrimPrefix(path, program+" "))
	for _, arg := range args {
		value := arg
		if strings.HasPrefix(arg, "-") {
			_, value, _ = strings.Cut(arg, "=")
		}
		if len(value) >= 20 || bearing && len(value) >= 4 && !strings.Contains(path, value) {
			message = strings.ReplaceAll(message, value, "[…]")
		}
	}
	if bearing && strings.Contains(message, "unexpected argument") {
		return refuseSecretArgument(message)
	}
	return &usageError{message: clean(message), hint: hint}
}

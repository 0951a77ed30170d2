// Command claviger is the one binary that people run: the operator's terminal, the whole product in one
// process for trying out (dev, demo), or one of its services (keys, router, metering).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"github.com/claviger/claviger/pkg/config"
	"github.com/claviger/claviger/tools/cli"
)

const description = `Claviger lets an organization bring its own LLM provider keys, routes completions through them under its own rules, and counts to the cent what each of them was used for.`

type grammar struct {
	Demo demoCommand `cmd:"" group:"Try it out:" help:"Start everything, play the story through the public APIs, stay up."`
	Dev  devCommand  `cmd:"" group:"Try it out:" help:"Run everything in one process, for trying out and development. Loopback only."`

	cli.Commands

	Keys     keysCommand     `cmd:"" passthrough:"" group:"Run a service:" help:"Run the control plane. 'claviger keys --help' lists its settings."`
	Router   routerCommand   `cmd:"" passthrough:"" group:"Run a service:" help:"Run the data plane. 'claviger router --help' lists its settings."`
	Metering meteringCommand `cmd:"" passthrough:"" group:"Run a service:" help:"Run the usage service. 'claviger metering --help' lists its settings."`
	Config   struct {
		Check checkCommand `cmd:"" help:"Check the settings of a service and start nothing."`
	} `cmd:"" group:"Run a service:" help:"Work with settings."`
	Version versionCommand `cmd:"" group:"Other:" help:"Print the version."`
}

// streams are where a command writes.
type streams struct{ out, err io.Writer }

func main() {
	ctx, stop := config.Signals(context.Background())
	code := run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// run is main with its surroundings passed in. It returns the exit code: 0 for success, 2 for a command
// or settings that cannot be understood, 1 for everything else.
func run(ctx context.Context, args []string, std streams) int {
	return cli.Run(ctx, cli.Program{
		Name: "claviger", Description: description, Grammar: &grammar{}, Options: []kong.Option{kong.Bind(std)},
	}, args, cli.Streams{In: os.Stdin, Out: std.out, Err: std.err, Getenv: os.Getenv})
}

// usageError is an error of what the person wrote, not of what the program did.
type usageError struct{ error }

// ExitCode is what the program ends with.
func (usageError) ExitCode() int { return 2 }

// Unwrap returns the error.
func (e usageError) Unwrap() error { return e.error }

type versionCommand struct{}

// Run prints the version, what it was built from and with what.
func (versionCommand) Run(std streams) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("the binary does not know what it was built from")
	}
	version, revision := info.Main.Version, ""
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = " " + s.Value
		}
	}
	if version == "" || version == "(devel)" {
		version = "development"
	}
	_, err := fmt.Fprintf(std.out, "claviger %s%s %s\n", version, revision, info.GoVersion)
	return err
}

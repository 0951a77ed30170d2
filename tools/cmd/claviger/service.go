package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"google.golang.org/protobuf/proto"

	"github.com/claviger/claviger/pkg/config"
	"github.com/claviger/claviger/services/keys"
	"github.com/claviger/claviger/services/metering"
	"github.com/claviger/claviger/services/router"
)

type keysCommand struct {
	Args []string `arg:"" optional:"" help:"Settings, --config FILE, --check or --help."`
}

// Run runs the control plane.
func (c keysCommand) Run(ctx context.Context, std streams) error {
	return service(ctx, std, "keys", c.Args, keys.Defaults(), keys.Run)
}

type routerCommand struct {
	Args []string `arg:"" optional:"" help:"Settings, --config FILE, --check or --help."`
}

// Run runs the data plane.
func (c routerCommand) Run(ctx context.Context, std streams) error {
	return service(ctx, std, "router", c.Args, router.Defaults(), router.Run)
}

type meteringCommand struct {
	Args []string `arg:"" optional:"" help:"Settings, --config FILE, --check or --help."`
}

// Run runs the usage service.
func (c meteringCommand) Run(ctx context.Context, std streams) error {
	return service(ctx, std, "metering", c.Args, metering.Defaults(), metering.Run)
}

type checkCommand struct {
	Keys     checkKeysCommand     `cmd:"" passthrough:"" help:"Check the settings of the control plane."`
	Router   checkRouterCommand   `cmd:"" passthrough:"" help:"Check the settings of the data plane."`
	Metering checkMeteringCommand `cmd:"" passthrough:"" help:"Check the settings of the usage service."`
}

type checkKeysCommand struct{ keysCommand }

// Run checks.
func (c checkKeysCommand) Run(ctx context.Context, std streams) error {
	c.Args = append(c.Args, "--check")
	return c.keysCommand.Run(ctx, std)
}

type checkRouterCommand struct{ routerCommand }

// Run checks.
func (c checkRouterCommand) Run(ctx context.Context, std streams) error {
	c.Args = append(c.Args, "--check")
	return c.routerCommand.Run(ctx, std)
}

type checkMeteringCommand struct{ meteringCommand }

// Run checks.
func (c checkMeteringCommand) Run(ctx context.Context, std streams) error {
	c.Args = append(c.Args, "--check")
	return c.meteringCommand.Run(ctx, std)
}

// settings are the settings of a service.
type settings interface {
	proto.Message
	GetLogFormat() string
}

// service reads the settings of a service, which begin as its defaults, and runs it.
func service[S settings](ctx context.Context, std streams, name string, args []string, s S, run func(context.Context, S, *slog.Logger) error) error {
	usage := config.Usage(s)
	err := config.Load(s, config.Source{Args: args, Environ: os.Environ(), File: name + ".yaml"})
	switch {
	case errors.Is(err, config.ErrHelp):
		_, err = io.WriteString(std.out, usage)
		return err
	case errors.Is(err, config.ErrCheck):
		_, err = fmt.Fprintf(std.out, "%v:\n\n%s", err, config.Print(s))
		return err
	case err != nil:
		return usageError{err}
	}
	var handler slog.Handler = slog.NewJSONHandler(std.err, nil)
	if s.GetLogFormat() == "text" {
		handler = slog.NewTextHandler(std.err, nil)
	}
	log := slog.New(handler)
	log.InfoContext(ctx, "service starts", "service", name, "settings", config.Print(s))
	return run(ctx, s, log)
}

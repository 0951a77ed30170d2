package main

import (
	"context"
	"errors"
	"log/slog"

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

// service runs a service, as its own binary would.
func service[S config.Settings](ctx context.Context, std streams, name string, args []string, s S, run func(context.Context, S, *slog.Logger) error) error {
	err := config.Run(ctx, std.out, std.err, name, args, s, run)
	if mistake, ok := errors.AsType[config.UsageError](err); ok {
		return usageError{mistake}
	}
	return err
}

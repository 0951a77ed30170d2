// Command keys runs the control plane.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/claviger/claviger/pkg/config"
	settingsv1 "github.com/claviger/claviger/proto/gen/claviger/settings/v1"
	"github.com/claviger/claviger/services/keys"
)

func main() {
	settings := keys.Defaults()
	err := config.Load(settings, config.Source{Args: os.Args[1:], Environ: os.Environ(), File: "keys.yaml"})
	switch {
	case errors.Is(err, config.ErrHelp):
		_, _ = fmt.Fprint(os.Stdout, config.Usage(keys.Defaults()))
		return
	case errors.Is(err, config.ErrCheck):
		_, _ = fmt.Fprintln(os.Stdout, err)
		return
	case err != nil:
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if err := run(settings); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "keys:", err)
		os.Exit(1)
	}
}

func run(settings *settingsv1.Keys) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var handler slog.Handler = slog.NewJSONHandler(os.Stderr, nil)
	if settings.GetLogFormat() == "text" {
		handler = slog.NewTextHandler(os.Stderr, nil)
	}
	log := slog.New(handler)
	log.InfoContext(ctx, "keys starts", "settings", config.Print(settings))
	return keys.Run(ctx, settings, log)
}

// Command metering runs the usage service.
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
	"github.com/claviger/claviger/services/metering"
)

func main() {
	settings := metering.Defaults()
	err := config.Load(settings, config.Source{Args: os.Args[1:], Environ: os.Environ(), File: "metering.yaml"})
	switch {
	case errors.Is(err, config.ErrHelp):
		_, _ = fmt.Fprint(os.Stdout, config.Usage(metering.Defaults()))
		return
	case errors.Is(err, config.ErrCheck):
		_, _ = fmt.Fprintln(os.Stdout, err)
		return
	case err != nil:
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if err := run(settings); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "metering:", err)
		os.Exit(1)
	}
}

func run(settings *settingsv1.Metering) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var handler slog.Handler = slog.NewJSONHandler(os.Stderr, nil)
	if settings.GetLogFormat() == "text" {
		handler = slog.NewTextHandler(os.Stderr, nil)
	}
	log := slog.New(handler)
	log.InfoContext(ctx, "metering starts", "settings", config.Print(settings))
	return metering.Run(ctx, settings, log)
}

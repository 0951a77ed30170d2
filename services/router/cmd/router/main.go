// Command router runs the data plane.
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
	"github.com/claviger/claviger/services/router"
)

func main() {
	settings := router.Defaults()
	err := config.Load(settings, config.Source{Args: os.Args[1:], Environ: os.Environ(), File: "router.yaml"})
	switch {
	case errors.Is(err, config.ErrHelp):
		_, _ = fmt.Fprint(os.Stdout, config.Usage(router.Defaults()))
		return
	case errors.Is(err, config.ErrCheck):
		_, _ = fmt.Fprintln(os.Stdout, err)
		return
	case err != nil:
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if err := run(settings); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "router:", err)
		os.Exit(1)
	}
}

func run(settings *settingsv1.Router) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	log.InfoContext(ctx, "router starts", "settings", config.Print(settings))
	return router.Run(ctx, settings, log)
}

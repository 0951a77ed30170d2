package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"google.golang.org/protobuf/proto"
)

// Settings are the settings of a service.
type Settings interface {
	proto.Message
	GetLogFormat() string
}

// UsageError is a mistake in what a service was told, in place of a failure of its work.
type UsageError struct{ Err error }

// Error lists the mistakes.
func (e UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the mistakes.
func (e UsageError) Unwrap() error { return e.Err }

// Run reads the settings of a service, which begin as its defaults, from args, the environment and
// <name>.yaml, says on out what --help and --check ask for, and else runs the service with a log to
// errOut. Its error is a UsageError if the settings are at fault.
func Run[S Settings](ctx context.Context, out, errOut io.Writer, name string, args []string, s S, run func(context.Context, S, *slog.Logger) error) error {
	usage := Usage(s)
	err := Load(s, Source{Args: args, Environ: os.Environ(), File: name + ".yaml"})
	switch {
	case errors.Is(err, ErrHelp):
		_, err = io.WriteString(out, usage)
		return err
	case errors.Is(err, ErrCheck):
		_, err = fmt.Fprintf(out, "%v:\n\n%s", err, Print(s))
		return err
	case err != nil:
		return UsageError{err}
	}
	var handler slog.Handler = slog.NewJSONHandler(errOut, nil)
	if s.GetLogFormat() == "text" {
		handler = slog.NewTextHandler(errOut, nil)
	}
	log := slog.New(handler)
	log.InfoContext(ctx, "service starts", "service", name, "settings", Print(s))
	return run(ctx, s, log)
}

// Main is the main of a service: it runs it until a signal stops it, and exits with 2 if the settings
// are at fault, with 1 if the work failed.
func Main[S Settings](name string, s S, run func(context.Context, S, *slog.Logger) error) {
	ctx, stop := Signals(context.Background())
	err := Run(ctx, os.Stdout, os.Stderr, name, os.Args[1:], s, run)
	stop()
	if err == nil {
		return
	}
	_, _ = fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	if _, ok := errors.AsType[UsageError](err); ok {
		os.Exit(2)
	}
	os.Exit(1)
}

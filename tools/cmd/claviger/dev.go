package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lmittmann/tint"

	"github.com/claviger/claviger/tools/demo"
	"github.com/claviger/claviger/tools/seed"
	"github.com/claviger/claviger/tools/suite"
)

type devCommand struct {
	Listen           string            `default:"127.0.0.1:8080" placeholder:"ADDRESS" help:"Public HTTP listener, on loopback. Public gRPC is one port above it, operations two. Port 0 takes free ports."`
	Data             string            `default:"claviger-dev" placeholder:"DIR" help:"Data folder. It is made if it does not exist."`
	Seed             string            `placeholder:"FILE" help:"Make the installation hold what this YAML file says. Seeding a credential accepts the terms for it."`
	EgressAllow      []string          `placeholder:"ADDRESS:PORT" help:"Private address that providers may be called at; may be repeated."`
	ProviderURL      map[string]string `placeholder:"PROVIDER=URL" mapsep:"none" help:"Another address for a provider, such as anthropic=http://127.0.0.1:9002; may be repeated."`
	PublicURL        string            `placeholder:"URL" help:"Where providers reach the public HTTP listener from the internet, such as https://tunnel.example: forward /hooks/ alone, since the admin listens there, too. They are then asked to tell of the end of media jobs; without it jobs are polled, as they are anyway."`
	ScriptedProvider bool              `help:"Start a scripted provider that speaks as OpenAI and Anthropic, and send their calls to it."`
	LogFormat        string            `enum:"text,json" default:"text" help:"Form of the log on standard error: text or json."`
	LogLevel         slog.Level        `default:"info" help:"Least level of the log: debug, info, warn or error."`
}

// Run serves until a signal comes.
func (c *devCommand) Run(ctx context.Context, std streams) (err error) {
	var doc *seed.Document
	if c.Seed != "" { // read before anything starts
		var warnings []seed.Problem
		doc, warnings, err = seed.ParseFile(c.Seed)
		for _, w := range warnings {
			fmt.Fprintln(std.err, "warning:", w)
		}
		if err != nil {
			return usageError{err}
		}
	}
	data, err := filepath.Abs(c.Data)
	if err != nil {
		return err
	}
	options := suite.Options{Dir: data, EgressAllow: c.EgressAllow, ProviderURLs: c.ProviderURL, PublicURL: c.PublicURL, Log: c.logger(std.err)}
	if c.ScriptedProvider {
		provider, failure := demo.StartProvider(ctx)
		if failure != nil {
			return failure
		}
		defer func() { err = errors.Join(err, provider.Stop()) }()
		options = provider.Serving(options)
	}
	running, err := suite.Start(ctx, c.Listen, options)
	if err != nil {
		if errors.Is(err, suite.ErrNotLoopback) || errors.Is(err, suite.ErrPublicURL) {
			return usageError{err}
		}
		return err
	}
	err = c.serve(ctx, std, running, options, doc)
	return errors.Join(err, running.Stop())
}

func (c *devCommand) serve(ctx context.Context, std streams, running *suite.Running, options suite.Options, doc *seed.Document) error {
	if doc != nil {
		err := running.Seed(ctx, doc, func(change seed.Change) { fmt.Fprintln(std.out, "seed:", change) })
		if err != nil {
			return fmt.Errorf("seed: %w", err)
		}
	}
	c.announce(std.out, running, options)
	select {
	case <-ctx.Done():
		fmt.Fprintln(std.out, "stopping: open requests may finish; a second signal ends at once")
	case <-running.Done():
	}
	return nil
}

func (c *devCommand) announce(out io.Writer, running *suite.Running, options suite.Options) {
	lines := [][2]string{
		{"admin", running.BaseURL + "/sign-in, in a browser"},
		{"public HTTP", running.BaseURL + "  (OpenAI API under /v1, Connect, gRPC-Web, gRPC)"},
		{"public gRPC", running.GRPCAddress},
		{"operations", running.OpsURL + "/readyz"},
		{"operator", fmt.Sprintf("%s of the organization \"platform\", password in %s", suite.OperatorEmail, filepath.Join(options.Dir, "keys", "operator.password"))},
		{"data", options.Dir},
	}
	for _, slug := range slices.Sorted(maps.Keys(options.ProviderURLs)) {
		lines = append(lines, [2]string{"provider", slug + " is called at " + options.ProviderURLs[slug]})
	}
	if options.PublicURL != "" {
		lines = append(lines, [2]string{"webhooks", "asked for at " + strings.TrimSuffix(options.PublicURL, "/") + "/hooks/"})
	}
	var b strings.Builder
	b.WriteString("\nClaviger is ready, for trying out only: the keys that protect credentials lie in clear in\n" +
		"the data folder, and everything runs in this one process. Production runs the services with Vault.\n\n")
	for _, line := range lines {
		fmt.Fprintf(&b, "  %-12s %s\n", line[0], line[1])
	}
	fmt.Fprintln(out, b.String())
}

// logger is a log for a terminal, or lines of JSON for a machine.
func (c *devCommand) logger(w io.Writer) *slog.Logger {
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: c.LogLevel}))
	}
	_, plain := os.LookupEnv("NO_COLOR")
	return slog.New(tint.NewTextHandler(w, &tint.Options{Level: c.LogLevel, NoColor: plain || !demo.IsTerminal(w), TimeFormat: "15:04:05.000"}))
}

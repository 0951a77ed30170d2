package main

import (
	"context"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/tools/demo"
)

type demoCommand struct {
	Port         int    `env:"PORT" default:"8080" help:"Port of the public HTTP listener on loopback; the next two are public gRPC and operations. 0 takes free ports."`
	Data         string `env:"DEMO_DATA" placeholder:"DIR" help:"Data folder; default is a new one that is removed at the end."`
	Exit         bool   `env:"DEMO_EXIT" help:"End after the story, with an error if a step did not work."`
	OpenAIKey    string `name:"openai-api-key" env:"OPENAI_API_KEY" hidden:"" help:"Use OpenAI itself."`
	AnthropicKey string `name:"anthropic-api-key" env:"ANTHROPIC_API_KEY" hidden:"" help:"Use Anthropic itself."`
}

// Run tells the story.
func (c *demoCommand) Run(ctx context.Context, std streams) error {
	return demo.Run(ctx, demo.Options{
		Out: std.out, Port: c.Port, Dir: c.Data, Exit: c.Exit,
		OpenAIKey: secret.New(c.OpenAIKey), AnthropicKey: secret.New(c.AnthropicKey),
	})
}

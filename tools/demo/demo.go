// Package demo plays the story of the product: an organization brings its own provider key, an
// application asks for a completion through it, and the usage is there to the cent.
//
// Everything goes through the public APIs of a suite that it starts, so what works here works for
// everybody. Without a key of a real provider the scripted one answers, on a loopback address.
package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/tools/suite"
)

// Options say how the demo runs.
type Options struct {
	Out io.Writer
	// Port of the public HTTP listener; 0 takes free ports.
	Port int
	// Dir is the data folder; empty is a new one that is removed at the end.
	Dir string
	// Exit ends the demo after its story.
	Exit bool
	// OpenAIKey and AnthropicKey are keys of real providers. The first that is set is used.
	OpenAIKey, AnthropicKey secret.Text
	// ScriptedKey is the key for the scripted provider, which refuses one that holds "invalid".
	ScriptedKey secret.Text
}

// Run starts the suite, tells the story and stays up until ctx ends.
func Run(ctx context.Context, o Options) (err error) {
	console := NewConsole(o.Out)
	console.Title("Claviger", "bring your own LLM keys; route by your own rules; know what was used, to the cent")
	dir, remove, err := folder(o.Dir)
	if err != nil {
		return err
	}
	keep := false // somebody will want to look
	defer func() {
		if !keep {
			err = errors.Join(err, remove())
		}
	}()
	log, closeLog, err := logFile(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()

	options := suite.Options{Dir: dir, Log: log}
	providers, scripted, err := chooseProviders(ctx, o)
	if err != nil {
		return err
	}
	if scripted != nil {
		defer func() { err = errors.Join(err, scripted.Stop()) }()
		options = scripted.Serving(options)
	}
	var running *suite.Running
	err = console.Step("Keys, router, metering, NATS and two databases start in this process", func(step *Step) error {
		running, err = suite.Start(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(o.Port)), options)
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("%w: choose another port and the two above it with PORT=…, or free ones with PORT=0", err)
		}
		if err != nil {
			keep = true
			return fmt.Errorf("%w\nthe log is in %s", err, filepath.Join(dir, logName))
		}
		kept := "kept"
		if o.Dir == "" {
			kept = "removed at the end"
		}
		step.Note("%s, gRPC on %s, data in %s, %s", running.BaseURL, running.GRPCAddress, dir, kept)
		if scripted != nil {
			step.Note("a scripted provider answers at http://%s; with OPENAI_API_KEY or ANTHROPIC_API_KEY set, the real one does", scripted.Address)
			step.Note("it takes %s to its first word and %s to each further one, which is in the times below", duration(answer.FirstByte+answer.Delay), duration(answer.Delay))
		} else {
			step.Note("the provider is %s itself, with the key from the environment", providers[0].Slug)
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, running.Stop()) }()

	story := &Story{
		Console: console, BaseURL: running.BaseURL, Operator: running.Operator(), Provider: providers[0],
		Organization: "acme", OwnerPassword: secret.New(rand.Text()), KeyFile: filepath.Join(dir, "app.key"),
	}
	if len(providers) > 1 {
		story.Fallback = &providers[1]
	}
	if scripted != nil {
		story.Refuse = scripted.Refuse
	}
	if o.Dir != "" { // a folder that stays has the organization of the last time
		story.Organization += "-" + strconv.FormatInt(time.Now().Unix(), 36)
	}
	if err := story.Tell(ctx); err != nil {
		keep = true
		return fmt.Errorf("%w\nthe log is in %s", err, filepath.Join(dir, logName))
	}
	admin(console, story)
	examples(console, running, story.KeyFile)
	if o.Exit {
		return nil
	}
	fmt.Fprintf(o.Out, "\n  Ctrl-C ends it.\n")
	select {
	case <-ctx.Done():
		fmt.Fprintln(o.Out)
	case <-running.Done():
	}
	return nil
}

const logName = "claviger.log"

// folder returns the data folder and how to remove it, which is done for a temporary one only.
func folder(dir string) (string, func() error, error) {
	if dir != "" {
		dir, err := filepath.Abs(dir)
		if err == nil {
			err = os.MkdirAll(dir, 0o700)
		}
		return dir, func() error { return nil }, err
	}
	dir, err := os.MkdirTemp("", "claviger-demo-")
	return dir, func() error { return os.RemoveAll(dir) }, err
}

func logFile(dir string) (*slog.Logger, func() error, error) {
	file, err := os.OpenFile(filepath.Join(dir, logName), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	return slog.New(slog.NewJSONHandler(file, nil)), file.Close, nil
}

// chooseProviders are the real providers if there are keys of them, and else a scripted one that speaks as
// both. The first is the organization's, the second the operator's; there may be only one.
func chooseProviders(ctx context.Context, o Options) ([]Provider, *Scripted, error) {
	providers := []Provider{{Slug: "openai", Key: o.OpenAIKey, Model: "gpt-4o-mini"}, {Slug: "anthropic", Key: o.AnthropicKey, Model: "claude-haiku-4-5"}}
	given := slices.DeleteFunc(slices.Clone(providers), func(p Provider) bool { return p.Key.Empty() })
	if len(given) > 0 {
		return given, nil, nil
	}
	scripted, err := StartProvider(ctx)
	if err != nil {
		return nil, nil, err
	}
	providers[0].Key, providers[1].Key = o.ScriptedKey, secret.New("sk-ant-demo-0123456789abcdef77b0")
	if providers[0].Key.Empty() {
		providers[0].Key = secret.New("sk-demo-0123456789abcdef4f2a")
	}
	return providers, scripted, nil
}

// Scripted is a scripted provider on a loopback address.
type Scripted struct {
	// Address is "127.0.0.1:port".
	Address string

	provider *llmtest.Provider
	stop     context.CancelFunc
	done     chan error
}

// answer is what the scripted provider says unless it is told otherwise.
var answer = llmtest.Script{
	Text:      "A key bearer carries the keys of a house, opens a door when its owner asks for it, and never hands a key out. Whoever wants to know may read in the book which door was opened, for whom, and what was behind it.",
	Input:     18,
	FirstByte: 120 * time.Millisecond,
	Delay:     18 * time.Millisecond,
}

// StartProvider starts a scripted provider. It ends with ctx or Stop.
func StartProvider(ctx context.Context) (*Scripted, error) {
	provider, err := llmtest.NewProvider(llmtest.WithDefault(answer), llmtest.WithLedgerLimit(1000))
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	// It outlives ctx a little: open streams end before their provider does.
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Scripted{Address: listener.Addr().String(), provider: provider, stop: stop, done: make(chan error, 1)}
	go func() { s.done <- llmtest.Serve(ctx, listener, provider) }()
	return s, nil
}

// Refuse lets the next call of a model be refused with 429, and the next of the other be answered in few words.
func (s *Scripted) Refuse(model, other string) {
	s.provider.Control(model, "", 1, llmtest.Script{Error: llmtest.ErrRateLimit, RetryAfter: time.Second})
	s.provider.Control(other, "", 1, llmtest.Script{Text: "It knows another way in.", Input: 16, FirstByte: 40 * time.Millisecond})
}

// Serving returns options whose calls to OpenAI and Anthropic go to s, but for those that have
// another address already.
func (s *Scripted) Serving(o suite.Options) suite.Options {
	urls := map[string]string{"openai": "http://" + s.Address + "/openai/v1", "anthropic": "http://" + s.Address + "/anthropic"}
	maps.Copy(urls, o.ProviderURLs)
	o.ProviderURLs = urls
	o.EgressAllow = append([]string{s.Address}, o.EgressAllow...)
	return o
}

// Stop ends it.
func (s *Scripted) Stop() error {
	s.stop()
	return <-s.done
}

// admin prints where the owner signs in with a browser. The password is shown because it is of this run,
// for an account that only this machine reaches.
func admin(console *Console, story *Story) {
	console.Block("The admin, in a browser",
		story.BaseURL+"/sign-in?org="+story.Organization,
		"organization  "+story.Organization,
		"address       "+OwnerEmail,
		"password      "+story.OwnerPassword.Reveal())
}

// examples prints lines that work as they stand.
func examples(console *Console, running *suite.Running, keyFile string) {
	console.Example("curl", fmt.Sprintf(`curl -N %s/v1/chat/completions \
  -H "Authorization: Bearer $(cat %s)" -H "Content-Type: application/json" \
  -d '{"model": "policy/main", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}'
`, running.BaseURL, keyFile))
	console.Example("Python, with the OpenAI SDK (pip install openai)", fmt.Sprintf(`python3 - <<'EOF'
from openai import OpenAI
client = OpenAI(base_url="%s/v1", api_key=open("%s").read().strip())
answer = client.chat.completions.create(model="policy/main", messages=[{"role": "user", "content": "Hello"}])
print(answer.choices[0].message.content)
EOF
`, running.BaseURL, keyFile))
	console.Example("What would serve a request, and what it would cost, without asking a provider", fmt.Sprintf(`.bin/claviger explain policy/main --key-file %s --address %s --in 1000 --out 200
`, keyFile, running.BaseURL))
	console.Example("gRPC, with grpcurl (make tools puts it into .bin)", fmt.Sprintf(`.bin/grpcurl -plaintext -H "Authorization: Bearer $(cat %s)" \
  -d '{"input": {"model": "policy/main", "messages": [{"role": "MESSAGE_ROLE_USER", "parts": [{"text": "Hello"}]}]}}' \
  %s claviger.router.v1.CompletionService/StreamCompletion
`, keyFile, running.GRPCAddress))
}

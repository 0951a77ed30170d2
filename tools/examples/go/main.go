// Command go asks a router one question and prints the answer, what served it and what it took. It
// shows how package client is used.
package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc/codes"

	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/tools/examples/go/client"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt) // Ctrl-C cancels the call
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, facts io.Writer) error {
	flags := flag.NewFlagSet("go", flag.ContinueOnError)
	flags.SetOutput(facts)
	address := flags.String("address", "localhost:8081", "the router's gRPC `host:port`")
	loopback := flags.Bool("loopback", false, "no TLS, for a router on this machine")
	authority := flags.String("ca", "", "`file` with the certificate authority of the router")
	keyFile := flags.String("key-file", "", "`file` with the API key")
	model := flags.String("model", "", "provider/model or policy/name; empty takes the API key's policy")
	fallback := flags.String("fallback", "", "comma-separated `models` to try after that")
	maxPrice := flags.Int64("max-price", 0, "pass over models whose output costs more `nano-USD` per million tokens")
	stream := flags.Bool("stream", false, "print the answer as it comes")
	tool := flags.String("tool", "", "`name` of a tool that the model may call")
	timeout := flags.Duration("timeout", time.Minute, "budget for everything")
	health := flags.Bool("health", false, "ask whether the router serves, and nothing else")
	if err := flags.Parse(args); err != nil {
		return err
	}
	// From a file: flags and environments are seen by other processes.
	key, err := os.ReadFile(*keyFile)
	if err != nil {
		return report(facts, err)
	}
	roots, err := readRoots(*authority)
	if err != nil {
		return report(facts, err)
	}
	c, err := client.Dial(client.Options{Address: *address, APIKey: strings.TrimSpace(string(key)), Roots: roots, Loopback: *loopback})
	if err != nil {
		return report(facts, err)
	}
	defer func() { _ = c.Close() }() // every call has ended
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	if *health {
		if err := c.Healthy(ctx); err != nil {
			return report(facts, err)
		}
		fmt.Fprintln(out, "serving")
		return nil
	}
	// A service has the span of its own request in ctx; a command is given one by its environment.
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": os.Getenv("TRACEPARENT")})

	in := &routerv1.CompletionInput{Model: *model, Messages: []*routerv1.Message{{
		Role:  routerv1.MessageRole_MESSAGE_ROLE_USER,
		Parts: []*routerv1.Part{{Content: &routerv1.Part_Text{Text: strings.Join(flags.Args(), " ")}}},
	}}}
	if *fallback != "" || *maxPrice != 0 {
		// It can only choose among what the organization allows.
		in.Routing = &routerv1.Routing{Models: strings.FieldsFunc(*fallback, func(r rune) bool { return r == ',' })}
		if *maxPrice != 0 {
			in.Routing.MaxPrice = &routerv1.MaxPrice{OutputNanoUsdPerMillion: maxPrice}
		}
	}
	if *tool != "" {
		in.Tools = []*routerv1.Tool{{Name: *tool, ParametersJson: `{"type":"object"}`}}
	}
	show := func(text string) error { _, err := io.WriteString(out, text); return err }
	var answer *client.Answer
	if *stream {
		answer, err = c.Stream(ctx, in, show)
	} else if answer, err = c.Complete(ctx, in); err == nil {
		err = show(answer.Text)
	}
	if err != nil {
		return report(facts, err)
	}
	return printFacts(facts, answer)
}

// printFacts prints what is known of the answer beside its text.
func printFacts(w io.Writer, a *client.Answer) error {
	type attempt struct {
		Model      string `json:"model"`
		ErrorClass string `json:"errorClass,omitempty"`
	}
	attempts := []attempt{}
	for _, t := range a.Provenance.GetAttempts() {
		attempts = append(attempts, attempt{t.GetModel(), t.GetErrorClass()})
	}
	calls := []map[string]string{}
	for _, t := range a.ToolCalls {
		calls = append(calls, map[string]string{"name": t.GetName(), "arguments": t.GetArguments()})
	}
	return json.NewEncoder(w).Encode(map[string]any{
		"requestId": a.RequestID, "finishReason": strings.TrimPrefix(a.FinishReason.String(), "FINISH_REASON_"),
		"model": a.Provenance.GetModel(), "credentialClass": strings.TrimPrefix(a.Provenance.GetCredentialClass().String(), "CREDENTIAL_CLASS_"),
		"policy": a.Provenance.GetPolicy(), "costNanoUsd": a.Provenance.CostNanoUsd, "attempts": attempts, "toolCalls": calls,
		"inputTokens": a.Usage.GetTokens().GetInputTotal(), "outputTokens": a.Usage.GetTokens().GetOutputTotal(),
		"usageSource": strings.TrimPrefix(a.Usage.GetSource().String(), "USAGE_SOURCE_"),
	})
}

// report prints err for people and gives it back.
func report(w io.Writer, err error) error {
	failure := client.Explain(err)
	if failure.Code == codes.Unknown { // no answer of a router: a file, a flag
		fmt.Fprintln(w, err)
		return err
	}
	fmt.Fprintf(w, "%s %s: %s\n", failure.Code, failure.Reason, failure.Message)
	if failure.Hint != "" {
		fmt.Fprintln(w, "next:", failure.Hint)
	}
	return err
}

func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // none means the machine's own
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New(file + " holds no certificate")
	}
	return pool, nil
}

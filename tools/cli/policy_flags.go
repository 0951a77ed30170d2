package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/tools/seed"
)

// policyFlags are a rule: from a file, or one group from flags.
type policyFlags struct {
	Target      []string `sep:"none" complete:"target" placeholder:"MODEL=USE" help:"A line, such as openai/gpt-4o-mini=own, anthropic/claude-haiku-4-5=platform, openai/gpt-4o=credential:LABEL or policy/NAME; repeat it for more. Without =USE it is own. Details follow: ,weight=3,retries=1,first-byte=5s,total=1m."`
	Strategy    string   `enum:",fallback,weighted,lowest-latency,lowest-cost,sticky" default:"" placeholder:"WORD" help:"In which order the lines are tried: fallback (as they stand), weighted, lowest-latency, lowest-cost or sticky."`
	StickyBy    string   `placeholder:"WHAT" help:"What sticks: session, user or tag:KEY."`
	MaxAttempts int32    `placeholder:"N" help:"Bound the calls to providers for one request, retries included. Default: 4."`
	File        string   `type:"path" placeholder:"FILE" help:"Read the rule from a YAML file; - is standard input."`
}

// rule is what the flags say, with names where the API has ids, and the name if the file has one.
func (f *policyFlags) rule(t *terminal) (seed.Policy, error) {
	switch {
	case f.File != "" && (len(f.Target) > 0 || f.Strategy != "" || f.StickyBy != "" || f.MaxAttempts != 0):
		return seed.Policy{}, usagef("--file says the whole rule: --target, --strategy, --sticky-by and --max-attempts do not go with it")
	case f.File != "":
		return f.fromFile(t)
	case len(f.Target) == 0:
		return seed.Policy{}, &usageError{message: "the policy has no lines", hint: "add --target openai/gpt-4o-mini=own, or --file policy.yaml"}
	}
	group := &keysv1.TargetGroup{
		Strategy: enumOf[keysv1.Strategy](keysv1.Strategy_value, "STRATEGY_", f.Strategy), StickyBy: f.StickyBy,
	}
	for _, text := range f.Target {
		target, err := newTarget(text)
		if err != nil {
			return seed.Policy{}, err
		}
		group.Targets = append(group.Targets, target)
	}
	return seed.Policy{Spec: &keysv1.PolicySpec{Groups: []*keysv1.TargetGroup{group}, MaxAttempts: f.MaxAttempts}}, nil
}

// newTarget reads MODEL[=USE][,DETAIL=VALUE…].
func newTarget(text string) (*keysv1.Target, error) {
	first, details, _ := strings.Cut(text, ",")
	model, use, said := strings.Cut(first, "=")
	if !strings.Contains(model, "/") {
		return nil, &usageError{message: fmt.Sprintf("%q is not a model", model), hint: "write it with its provider, such as openai/gpt-4o-mini"}
	}
	target := seed.Own(model)
	credential, isCredential := strings.CutPrefix(use, "credential:")
	switch {
	case strings.HasPrefix(model, "policy/"):
		if said {
			return nil, &usageError{message: model + " does not say whose keys serve: the policy's lines do", hint: "leave =" + use + " out"}
		}
		target.Use = 0
	case isCredential && credential != "":
		target.Use, target.CredentialId = 0, credential
	case use == "platform":
		target = seed.Platform(model)
	case said && use != "own":
		return nil, &usageError{message: fmt.Sprintf("%q is not whose key serves", use), hint: "write MODEL=own, MODEL=platform or MODEL=credential:LABEL"}
	}
	if details == "" {
		return target, nil
	}
	for detail := range strings.SplitSeq(details, ",") {
		if err := addDetail(target, detail); err != nil {
			return nil, err
		}
	}
	return target, nil
}

func addDetail(target *keysv1.Target, detail string) error {
	name, value, _ := strings.Cut(detail, "=")
	switch name {
	case "weight", "retries":
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			return usagef("%s=%s: %q is no whole number", name, value, value)
		}
		count := int32(n)
		if name == "weight" {
			target.Weight = &count
		} else {
			target.Retries = &count
		}
		return nil
	case "first-byte", "between-chunks", "total", "backoff":
		d, err := time.ParseDuration(value)
		if err != nil {
			return usagef("%s=%s: %q is no time span such as 250ms, 5s or 1m30s", name, value, value)
		}
		if name == "backoff" {
			target.Backoff = durationpb.New(d)
			return nil
		}
		if target.Timeouts == nil {
			target.Timeouts = &keysv1.Timeouts{}
		}
		*map[string]**durationpb.Duration{
			"first-byte": &target.Timeouts.FirstByte, "between-chunks": &target.Timeouts.BetweenChunks, "total": &target.Timeouts.Total,
		}[name] = durationpb.New(d)
		return nil
	default:
		return &usageError{message: fmt.Sprintf("a line knows no %q", name), hint: "weight, retries, first-byte, between-chunks, total and backoff; a file can say more"}
	}
}

func (f *policyFlags) fromFile(t *terminal) (seed.Policy, error) {
	in := io.NopCloser(t.In)
	if f.File != "-" {
		file, err := os.Open(f.File)
		if err != nil {
			return seed.Policy{}, &usageError{message: err.Error()}
		}
		in = file
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, maxPolicyFile+1))
	switch {
	case err != nil:
		return seed.Policy{}, &usageError{message: err.Error()}
	case len(text) > maxPolicyFile:
		return seed.Policy{}, usagef("%s is too long to be a policy", f.File)
	case len(strings.TrimSpace(string(text))) == 0:
		return seed.Policy{}, usagef("%s is empty", f.File)
	}
	policy, err := seed.ParsePolicy(f.File, text)
	if err != nil {
		return seed.Policy{}, fileProblem(f.File, err)
	}
	return policy, nil
}

// maxPolicyFile is more than the largest rule takes.
const maxPolicyFile = 1 << 20

// resolved is a rule with ids where a person wrote names.
func (c *client) resolved(ctx context.Context, spec *keysv1.PolicySpec) (*keysv1.PolicySpec, error) {
	return seed.Resolve(spec, seed.Naming{
		Credential: func(name string) (string, error) {
			o, err := c.findCredential(ctx, name)
			return o.GetId(), err
		},
		APIKey: func(name string) (string, error) {
			o, err := c.findKey(ctx, name)
			return o.GetId(), err
		},
		Group: func(name string) (string, error) {
			o, err := c.findGroup(ctx, name)
			return o.GetId(), err
		},
	})
}

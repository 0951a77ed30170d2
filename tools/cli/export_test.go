package cli

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/alecthomas/kong"
	"google.golang.org/protobuf/types/known/timestamppb"

	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/tools/seed"
)

// What the tests look at from outside.
var (
	Money      = money
	Amounts    = amounts
	Took       = took
	Relative   = relative
	Instant    = instant
	Clean      = clean
	Cut        = cut
	Cells      = cells
	ShellWords = shellWords
	Escaped    = escaped
	UnitText   = unitText
)

// ShownAttempts is the table of a request's attempts, whose names of things are empty.
func ShownAttempts(ctx context.Context, answer *meteringv1.GetRequestResponse) (string, error) {
	var out bytes.Buffer
	t := &terminal{Streams: Streams{Out: &out}}
	err := t.showAttempts(ctx, namesOf(nil), answer)
	return out.String(), err
}

// ShownUsage is the table of a sum, and what is said of its certainty.
func ShownUsage(ctx context.Context, answer *meteringv1.QueryUsageResponse) (string, error) {
	var out bytes.Buffer
	t := &terminal{Streams: Streams{Out: &out}}
	if err := t.printTable((&usageCommand{}).table(ctx, nil, &meteringv1.QueryUsageRequest{}, answer)); err != nil {
		return "", err
	}
	err := t.printCertainty(answer, time.Now())
	return out.String(), err
}

// CredentialObject is a credential in a form for programs, with when metering saw credentials last.
func CredentialObject(form string, o *keysv1.Credential, uses map[string]*timestamppb.Timestamp) (string, error) {
	var out bytes.Buffer
	t := &terminal{Streams: Streams{Out: &out}, common: common{Output: form}}
	err := t.emit(usedAt(o, uses))
	return out.String(), err
}

// What is said of rules and receipts.
var (
	RuleChanges = ruleChanges
	ReceiptText = receiptText
	ChangeText  = changeText
)

// RuleOf is what lines from flags say.
func RuleOf(strategy string, targets ...string) (seed.Policy, error) {
	return (&policyFlags{Strategy: strategy, Target: targets}).rule(nil)
}

// Parses says whether a command line makes sense, and runs nothing.
func Parses(args []string) error {
	t := &terminal{}
	parser, err := kong.New(&struct{ Commands }{}, kong.Name("claviger"), kong.Bind(t), kong.Exit(func(int) {}), kong.Writers(io.Discard, io.Discard))
	if err != nil {
		return err
	}
	_, err = parser.Parse(args)
	return err
}

// PolicyFileHelp is the file as help texts show it.
const PolicyFileHelp = policyFileHelp

package router

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/plan"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// ownFaults are what the router says of requests by itself, by their names in the code.
var ownFaults = map[string]*fault.Error{
	"ErrModelRequired": completion.ErrModelRequired, "ErrModelUnknown": completion.ErrModelUnknown, "ErrPolicyUnknown": completion.ErrPolicyUnknown,
	"ErrNoTarget": completion.ErrNoTarget, "ErrUnsupported": completion.ErrUnsupported, "ErrOverloaded": completion.ErrOverloaded,
	"ErrDraining": completion.ErrDraining, "ErrNotReady": completion.ErrNotReady, "ErrBrokenOff": completion.ErrBrokenOff,
	"ErrCredential": completion.ErrCredential, "ErrRevoked": completion.ErrRevoked, "ErrNotAllowed": completion.ErrNotAllowed,
	"ErrCoolingDown": completion.ErrCoolingDown, "ErrUncertain": completion.ErrUncertain,
	"plan.ErrNotAllowed": plan.ErrNotAllowed, "plan.ErrNotWished": plan.ErrNotWished,
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// surfaces are how an error looks over HTTP and over gRPC.
func surfaces(t *testing.T, err error) (http, grpc string) {
	t.Helper()
	code := connect.CodeOf(intercept.ToConnect(t.Context(), err))
	return fmt.Sprint(dialect.Explain(err, "").Status), code.String()
}

// errorTable is ERRORS.md.
func errorTable(t *testing.T) string {
	t.Helper()
	target := &completion.Target{Provider: "openai", Model: "openai/gpt-4o", Class: usage.Own, Credential: &completion.Credential{Label: "main"}}
	var b strings.Builder
	b.WriteString("# Errors\n\nMade from the code by a test of this package: `CLAVIGER_UPDATE_GOLDEN=1 go test -run TheTableOfErrors ./services/router`.\n\n" +
		"## What a provider's errors do\n\n" +
		"Adapters sort what a provider says into these classes, and everything else is decided by the class. *Again* is whether the same\n" +
		"credential may be tried again: twice by default, after a pause of 250 ms that doubles, or as long as the provider asks, 10 s at most.\n" +
		"*Next* is whether another candidate may serve; a line of a policy can say otherwise (`move_on`). Both only before the first content has gone\n" +
		"out. Of the calls of a provider a fifth are made again at most, or one a second if that is more, and of that half at most for one organization\n" +
		"beside others. The status and code are those of a request that nobody else served.\n\n" +
		"| class | what it means | whose fault | again | next | what it says of the credential | HTTP | gRPC | reason | what to do |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, h := range completion.Handlings() {
		http, grpc := surfaces(t, completion.Fault(&completion.ProviderError{Class: h.Class}, target))
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s | %s | `%s` | %s |\n",
			h.Class, h.Meaning, h.Fault.Blame(), yes(h.Again), yes(h.MoveOn), h.Effect, http, grpc, h.Fault.Reason(), h.Fault.Hint())
	}
	b.WriteString("\n*Cools down*: for as long as `Retry-After` or the reset of a used-up limit says, 1 s to 10 minutes, and 5 s if nothing is said.\n" +
		"*Counts for the breaker*: after five failures in a row the credential is left alone for this model, for 15 s and then ever longer, up to 4 minutes. A provider's\n" +
		"region or address is left alone for this model when half of at least 20 calls in 30 s failed; after 15 s three calls try it out. If nobody else is left, the best of them is called all\n" +
		"the same. *Puts out*: for a minute at this router, and until keys has decided.\n*Tells keys*: once a minute at most; the credential goes on serving, and its owner is told.\n\n" +
		"## What the router says by itself\n\n| reason | what it means | whose fault | HTTP | gRPC | what to do |\n|---|---|---|---|---|---|\n")
	for _, name := range slices.SortedFunc(maps.Keys(ownFaults), func(x, y string) int { return strings.Compare(ownFaults[x].Reason(), ownFaults[y].Reason()) }) {
		f := ownFaults[name]
		http, grpc := surfaces(t, f)
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", f.Reason(), f.Message(), f.Blame(), http, grpc, f.Hint())
	}
	b.WriteString("\n`ROUTER_OVERLOADED` is of one organization if the detail `part` says `organization`: when fewer than a tenth of `max_streams` are free, those that have\n" +
		"most requests open are refused first, so that others still get in. It is to be blamed on that limit then, and `open_requests` says how many they are.\n")
	return b.String()
}

func TestTheTableOfErrorsIsThatOfTheCode(t *testing.T) {
	t.Parallel()
	const path = "ERRORS.md"
	got := errorTable(t)
	if os.Getenv("CLAVIGER_UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s is not what the code says; CLAVIGER_UPDATE_GOLDEN=1 rewrites it. The code says:\n%s", path, got)
	}
}

// TestEveryErrorIsDocumented: each class has a row that says everything, and each fault of the use case is in the table.
func TestEveryErrorIsDocumented(t *testing.T) {
	t.Parallel()
	rows := map[string]bool{}
	for _, h := range completion.Handlings() {
		if rows[string(h.Class)] || h.Meaning == "" || h.Fault.Message() == "" || h.Fault.Hint() == "" {
			t.Errorf("the row of %s stands twice or does not say everything: %+v", h.Class, h)
		}
		rows[string(h.Class)] = true
	}
	for _, name := range declared(t, "internal/completion/errors.go", func(v *ast.ValueSpec, i int) string {
		if kind, ok := v.Type.(*ast.Ident); !ok || kind.Name != "Class" {
			return ""
		}
		value, _ := v.Values[i].(*ast.BasicLit)
		return strings.Trim(value.Value, `"`)
	}) {
		if !rows[name] {
			t.Errorf("class %s has no row", name)
		}
	}
	for _, name := range declared(t, "internal/completion/faults.go", func(v *ast.ValueSpec, i int) string { return v.Names[i].Name }) {
		if ast.IsExported(name) && ownFaults[name] == nil {
			t.Errorf("%s is not in the table", name)
		}
	}
}

// declared lists what is declared in a file, by what of returns of each.
func declared(t *testing.T, path string, of func(v *ast.ValueSpec, i int) string) (out []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		group, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range group.Specs {
			if v, ok := spec.(*ast.ValueSpec); ok {
				for i := range v.Names {
					if name := of(v, i); name != "" {
						out = append(out, name)
					}
				}
			}
		}
	}
	if len(out) < 10 {
		t.Fatalf("%s declares %v", path, out)
	}
	return out
}

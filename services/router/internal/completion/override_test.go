package completion_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

func TestOverridesReplaceAndTheBoundOnlyLowers(t *testing.T) {
	t.Parallel()
	asked := completion.Prompt{Temperature: new(1.0), TopP: new(1.0), MaxOutputTokens: new(int64(50)), ReasoningBudget: new(int64(9000)), ShowReasoning: true, Seed: new(int64(3))}
	for name, c := range map[string]struct {
		op   completion.Operation
		o    *completion.Overrides
		want completion.Prompt
	}{
		"nothing": {"", nil, asked},
		"all": {"", &completion.Overrides{Temperature: new(0.0), TopP: new(0.5), MaxOutputTokens: new(int64(10)), ReasoningEffort: new("none")}, completion.Prompt{
			Temperature: new(0.0), TopP: new(0.5), MaxOutputTokens: new(int64(10)), ReasoningEffort: "none", Seed: new(int64(3)),
		}},
		"a higher bound": {"", &completion.Overrides{MaxOutputTokens: new(int64(100))}, asked},
		"no answer":      {completion.CountTokens, &completion.Overrides{Temperature: new(0.0), MaxOutputTokens: new(int64(10))}, asked},
		"vectors":        {completion.Embeddings, &completion.Overrides{Temperature: new(0.0)}, asked},
	} {
		given := asked
		call := completion.Call{Overrides: c.o, Request: &completion.Request{Operation: c.op, Decode: func() (*completion.Prompt, error) { return &given, nil }}}
		got, err := call.Prompt()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(asked, given); diff != "" {
			t.Errorf("%s changed what the caller asked for, which other attempts share:\n%s", name, diff)
		}
	}
}

// TestStateIsLeftOutAndWhatCanBeReadStays has reasoning with signatures, encrypted, of several formats, and tool
// calls with state.
func TestStateIsLeftOutAndWhatCanBeReadStays(t *testing.T) {
	t.Parallel()
	prompt := func() *completion.Prompt {
		return &completion.Prompt{Messages: []completion.Message{
			{Role: completion.User, Parts: []completion.Part{{Text: "hi"}}},
			{Role: completion.Assistant, Parts: []completion.Part{
				{Reasoning: &completion.Reasoning{Text: "hm", Signature: "s", Format: completion.AnthropicState}},
				{Text: "a"},
				{Reasoning: &completion.Reasoning{Encrypted: "e", ID: "rs_1", Format: completion.OpenAIState}},
				{Reasoning: &completion.Reasoning{Text: "in short", Summary: true, Encrypted: "e", Format: completion.OpenAIState}},
			}, ToolCalls: []completion.ToolCall{{ID: "c", Name: "f", Arguments: "{}", Signature: "g", Format: completion.GoogleState}}},
		}}
	}
	given := prompt()
	call := completion.Call{StripState: true, Request: &completion.Request{Decode: func() (*completion.Prompt, error) { return given, nil }}}
	got, err := call.Prompt()
	if err != nil {
		t.Fatal(err)
	}
	want := prompt()
	want.Messages[1].Parts = []completion.Part{{Reasoning: &completion.Reasoning{Text: "hm"}}, {Text: "a"}, {Reasoning: &completion.Reasoning{Text: "in short", Summary: true}}}
	want.Messages[1].ToolCalls[0].Signature, want.Messages[1].ToolCalls[0].Format = "", ""
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is sent (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(prompt(), given); diff != "" {
		t.Errorf("what the caller sent was changed:\n%s", diff)
	}
}

// refusing cannot carry a parameter.
type refusing struct {
	completion.Provider
	param string
}

func (refusing) Speaks(completion.Dialect, *completion.Target) bool { return false }
func (r refusing) Start(context.Context, completion.Call) (completion.Answer, error) {
	return nil, completion.ErrUnsupported.Saying("%s cannot be sent to Acme", r.param).With("param", r.param)
}

// TestAnOverrideThatCannotBeCarriedIsTheLines: the error names policy and line, and not the caller, who cannot
// leave it out; what the caller asked for stays the caller's.
func TestAnOverrideThatCannotBeCarriedIsTheLines(t *testing.T) {
	t.Parallel()
	for param, lines := range map[string]bool{"temperature": true, "top_k": false} {
		r := newRig(nil, "a")
		o := completion.Options{
			Planner: planned{{
				Provider: "p", Model: "p/a", Name: "a", Class: usage.Own, Credential: &completion.Credential{ID: "cred_a"}, PolicyName: "main", Line: 2,
				Rule: &completion.Rule{Overrides: &completion.Overrides{Temperature: new(0.5)}},
			}},
			Keyring: r.keys, Recorder: r.recorder, Evidence: r.evidence, Providers: map[string]completion.Provider{"p": refusing{param: param}},
			Log: slog.New(slog.DiscardHandler), Now: time.Now,
		}
		err := completion.New(o).Complete(t.Context(), told, request(), &sink{})
		f, ok := fault.Of(err)
		if !ok || strings.Contains(f.Message(), `policy "main", line 3, overrides what cannot be`) != lines || f.Facts()["param"] != param {
			t.Errorf("%s: %v", param, err)
		}
	}
}

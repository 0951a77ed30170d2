package completion_test

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/health"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// quiet is everything that a plain call needs, and allocates nothing by itself.
type quiet struct {
	completion.Provider
	plan   completion.Plan
	ticket usage.Ticket
	answer quietAnswer
}

type quietAnswer struct {
	chunk completion.Chunk
	left  int
}

func (q *quiet) Plan(completion.Caller, *completion.Request) (completion.Plan, error) {
	return q.plan, nil
}
func (q *quiet) Speaks(completion.Dialect, *completion.Target) bool { return true }
func (q *quiet) Start(context.Context, completion.Call) (completion.Answer, error) {
	q.answer.left = 10
	return &q.answer, nil
}

func (a *quietAnswer) Next() (completion.Chunk, error) {
	if a.left--; a.left < 0 {
		return completion.Chunk{}, io.EOF
	}
	return a.chunk, nil
}
func (a *quietAnswer) Close() error                { return nil }
func (a *quietAnswer) Head() completion.AnswerHead { return completion.AnswerHead{Status: 200} }

func (q *quiet) Begin(*usage.Event) (*usage.Ticket, error)                              { return &q.ticket, nil }
func (q *quiet) Checkpoint(string, usage.Tokens, usage.Source)                          {}
func (q *quiet) Done(*usage.Ticket, *usage.Event) error                                 { return nil }
func (q *quiet) Refused(*completion.Credential, usage.Class, *completion.ProviderError) {}
func (q *quiet) Limited(*completion.Credential, usage.Class, *completion.ProviderError) {}

type quietSink struct{}

func (quietSink) Begin(completion.Served) error { return nil }
func (quietSink) Chunk(*completion.Chunk) error { return nil }
func (quietSink) End(completion.Final) error    { return nil }

func newQuiet() (*quiet, *completion.Service) {
	q := &quiet{plan: completion.Plan{Targets: []completion.Target{{
		Provider: "openai", Model: "openai/m", Name: "m", Class: usage.Own,
		Credential: &completion.Credential{ID: "cred_1", Provider: "openai", Label: "main"},
	}}}}
	q.answer.chunk = text("hello")
	return q, completion.New(completion.Options{
		Planner: q, Keyring: keyring{}, Recorder: q, Evidence: q, Providers: map[string]completion.Provider{"openai": q},
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Health: health.New(health.Options{Now: time.Now}),
	})
}

// plainAllocations is what a call takes that is answered by its first target. It was 18 before there were
// retries, breakers and cuts: what ends a request from outside costs it nothing any more.
const plainAllocations = 14

func TestAPlainCallAllocatesNoMoreThanItDid(t *testing.T) {
	_, service := newQuiet()
	req, ctx := request(), t.Context()
	if n := testing.AllocsPerRun(200, func() {
		if err := service.Complete(ctx, completion.Caller{}, req, quietSink{}); err != nil {
			t.Fatal(err)
		}
	}); n > plainAllocations {
		t.Errorf("a call allocates %v times, want %v at most", n, plainAllocations)
	}
}

func BenchmarkComplete(b *testing.B) {
	_, service := newQuiet()
	req := request()
	b.ReportAllocs()
	for b.Loop() {
		if err := service.Complete(b.Context(), completion.Caller{}, req, quietSink{}); err != nil {
			b.Fatal(err)
		}
	}
}

package completion_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/transit"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// scripted is a provider that does as each target's model name says.
type scripted struct {
	completion.Provider
	scripts map[string]script
	mu      sync.Mutex
	calls   []string
}

type script struct {
	start  error
	chunks []completion.Chunk
	end    error             // nil is a complete end
	hang   bool              // waits for the end of the context in place of ending
	took   *completion.Usage // comes with end
}

func (p *scripted) Speaks(d completion.Dialect, _ *completion.Target) bool {
	return d == completion.OpenAIChat
}

func (p *scripted) Start(ctx context.Context, call completion.Call) (completion.Answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, call.Model)
	s := p.scripts[call.Model]
	if s.start != nil {
		return nil, s.start
	}
	return &scriptedAnswer{ctx: ctx, script: s}, nil
}

type scriptedAnswer struct {
	ctx    context.Context
	script script
	next   int
}

func (a *scriptedAnswer) Next() (completion.Chunk, error) {
	if a.next < len(a.script.chunks) {
		a.next++
		return a.script.chunks[a.next-1], nil
	}
	if a.script.hang {
		<-a.ctx.Done()
		return completion.Chunk{}, a.ctx.Err()
	}
	if a.script.end != nil {
		return completion.Chunk{Usage: a.script.took}, a.script.end
	}
	return completion.Chunk{}, io.EOF
}
func (a *scriptedAnswer) Close() error { return nil }
func (a *scriptedAnswer) Head() completion.AnswerHead {
	return completion.AnswerHead{Status: 200, Model: "m"}
}

// recorder keeps events and checks that each intent gets one result.
type recorder struct {
	mu     sync.Mutex
	open   int
	events []usage.Event
	full   bool
}

func (r *recorder) Begin(*usage.Event) (*usage.Ticket, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.full {
		return nil, usage.ErrFull
	}
	r.open++
	return &usage.Ticket{}, nil
}
func (r *recorder) Checkpoint(string, usage.Tokens, usage.Source) {}
func (r *recorder) Done(_ *usage.Ticket, e *usage.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open--
	r.events = append(r.events, *e)
	return nil
}

type sink struct {
	begun, ended bool
	served       completion.Served
	raw, text    string
	final        completion.Final
	fail         error
}

func (s *sink) Begin(served completion.Served) error {
	if s.begun {
		return errors.New("begun twice")
	}
	s.begun, s.served = true, served
	return s.fail
}

func (s *sink) Chunk(c *completion.Chunk) error {
	s.raw += string(c.Raw)
	s.text += c.Delta.Text
	return s.fail
}
func (s *sink) End(f completion.Final) error { s.ended, s.final = true, f; return nil }

type keyring map[string]error

func (k keyring) Secret(_ context.Context, c *completion.Credential) (secret.Text, error) {
	return secret.New("sk"), k[c.ID]
}

type evidence struct{ refused, limited []string }

func (e *evidence) Limited(c *completion.Credential, _ usage.Class, p *completion.ProviderError) {
	e.limited = append(e.limited, c.ID+" "+string(p.Class))
}

func (e *evidence) Refused(c *completion.Credential, _ usage.Class, p *completion.ProviderError) {
	e.refused = append(e.refused, c.ID+" "+string(p.Class))
}

// fixed plans models, each of which is tried once.
type fixed []string

func (f fixed) Plan(completion.Caller, *completion.Request) (completion.Plan, error) {
	p := completion.Plan{ConfigVersion: 7}
	for i, m := range f {
		p.Targets = append(p.Targets, completion.Target{
			Provider: "openai", Model: "openai/" + m, Name: m, Class: usage.Own, Line: i, Rule: &completion.Rule{},
			Credential: &completion.Credential{ID: "cred_" + m, Label: "label-" + m, Provider: "openai"},
		})
	}
	return p, nil
}

type rig struct {
	*completion.Service
	provider *scripted
	recorder *recorder
	evidence *evidence
	keys     keyring
}

func newRig(scripts map[string]script, targets ...string) *rig {
	r := &rig{provider: &scripted{scripts: scripts}, recorder: &recorder{}, evidence: &evidence{}, keys: keyring{}}
	r.Service = completion.New(completion.Options{
		Planner: fixed(targets), Keyring: r.keys, Recorder: r.recorder, Evidence: r.evidence,
		Providers: map[string]completion.Provider{"openai": r.provider}, BaseURLs: map[string]string{"openai": "https://api.openai.com/v1"},
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Limits: completion.Limits{Streams: 10},
	})
	return r
}

func text(s string) completion.Chunk {
	return completion.Chunk{Raw: []byte(s), Content: true, Pieces: 1, PieceBytes: len(s), Delta: completion.Delta{Text: s}}
}

func request() *completion.Request {
	return &completion.Request{ID: "req_1", Dialect: completion.OpenAIChat, Stream: true, Raw: []byte("{}"), InputBytes: 40}
}

func failure(c completion.Class) *completion.ProviderError {
	return &completion.ProviderError{Class: c, Status: 500, Message: "no", Sent: true, Unbilled: true}
}

func TestEachClassMovesOnOrStops(t *testing.T) {
	t.Parallel()
	for class, moves := range map[completion.Class]bool{
		completion.InvalidRequest: false, completion.TooLarge: false, completion.ContentRefused: false,
		completion.Unsupported: true, completion.AuthInvalid: true, completion.AuthLimited: true, completion.QuotaExhausted: true,
		completion.RateLimited: true, completion.Overloaded: true, completion.ServerError: true, completion.TimedOut: true,
		completion.Network: true, completion.ModelNotFound: true,
	} {
		r := newRig(map[string]script{"a": {start: failure(class)}, "b": {chunks: []completion.Chunk{text("hi")}}}, "a", "b")
		out := &sink{}
		err := r.Complete(t.Context(), told, request(), out)
		if moves != (err == nil) || moves != out.ended {
			t.Errorf("%s: err = %v, ended = %v, want moving on: %v", class, err, out.ended, moves)
		}
		if want := map[bool]int{true: 2, false: 1}[moves]; len(r.recorder.events) != want || r.recorder.open != 0 {
			t.Errorf("%s: %d events, %d open intents, want %d and 0", class, len(r.recorder.events), r.recorder.open, want)
		}
		first := r.recorder.events[0]
		if first.Outcome != usage.Failed || first.Source != usage.None || *first.Tokens != (usage.Tokens{}) || first.ErrorClass != string(class) {
			t.Errorf("%s: first event %+v", class, first)
		}
		if !moves {
			if f, ok := fault.Of(err); !ok || f.Facts()["credential"] != "label-a" || f.Blame() == "" {
				t.Errorf("%s: error %v does not name the credential", class, err)
			}
		}
		if refused := class == completion.AuthInvalid || class == completion.QuotaExhausted; refused != (len(r.evidence.refused) == 1) {
			t.Errorf("%s: evidence = %v", class, r.evidence.refused)
		}
		if limited := class == completion.AuthLimited; limited != (len(r.evidence.limited) == 1) {
			t.Errorf("%s: evidence of limits = %v", class, r.evidence.limited)
		}
	}
}

func TestNothingOfAFailedTargetReachesTheCaller(t *testing.T) {
	t.Parallel()
	role := completion.Chunk{Raw: []byte("role-a ")}
	r := newRig(map[string]script{
		"a": {chunks: []completion.Chunk{role}, end: failure(completion.ServerError)},
		"b": {chunks: []completion.Chunk{{Raw: []byte("role-b ")}, text("hi")}},
	}, "a", "b")
	out := &sink{}
	if err := r.Complete(t.Context(), completion.Caller{}, request(), out); err != nil {
		t.Fatal(err)
	}
	if out.raw != "role-b hi" || out.served.Target.Name != "b" || len(out.served.Attempts) != 2 || out.served.Attempts[0].ErrorClass != "server_error" {
		t.Errorf("raw = %q, served %+v", out.raw, out.served)
	}
}

func TestAfterTheFirstContentThereIsNoSecondTarget(t *testing.T) {
	t.Parallel()
	r := newRig(map[string]script{
		"a": {chunks: []completion.Chunk{text("he")}, end: failure(completion.Overloaded)},
		"b": {chunks: []completion.Chunk{text("hello")}},
	}, "a", "b")
	out := &sink{}
	err := r.Complete(t.Context(), completion.Caller{}, request(), out)
	if !errors.Is(err, completion.ErrBrokenOff) || out.ended || out.raw != "he" || len(r.provider.calls) != 1 {
		t.Fatalf("err = %v, ended = %v, raw = %q, calls %v", err, out.ended, out.raw, r.provider.calls)
	}
	if e := r.recorder.events[0]; e.Outcome != usage.Broken || e.Source != usage.Estimated || e.Tokens.InputTotal != 10 || e.Tokens.OutputTotal != 1 {
		t.Errorf("event = %+v, tokens %+v", e, e.Tokens)
	}
}

// TestNoMoreThan64KiBAreHeldBack before the first content: up to there another target may serve, behind it the answer
// has begun.
func TestNoMoreThan64KiBAreHeldBack(t *testing.T) {
	t.Parallel()
	silent := func(bytes int) []completion.Chunk {
		return []completion.Chunk{{Raw: make([]byte, 1)}, {Raw: make([]byte, bytes-1)}}
	}
	for bytes, moves := range map[int]bool{64 << 10: true, 64<<10 + 1: false} {
		r := newRig(map[string]script{
			"a": {chunks: silent(bytes), end: failure(completion.Overloaded)}, "b": {chunks: []completion.Chunk{text("hello")}},
		}, "a", "b")
		out := &sink{}
		err := r.Complete(t.Context(), completion.Caller{}, request(), out)
		if moves != (err == nil) || moves != out.ended || !moves && !errors.Is(err, completion.ErrBrokenOff) {
			t.Errorf("an error behind %d bytes: %v, ended %v, want another target %v", bytes, err, out.ended, moves)
		}
		if moves && out.raw != "hello" || !moves && len(out.raw) != bytes {
			t.Errorf("an error behind %d bytes: the caller has %d bytes", bytes, len(out.raw))
		}
	}
}

func TestUsageIsTheProvidersWhereItGaveAny(t *testing.T) {
	t.Parallel()
	partial := text("a")
	partial.Usage = &completion.Usage{Tokens: usage.Tokens{InputTotal: 9, InputUncached: 9, OutputTotal: 5}}
	final := completion.Chunk{Usage: &completion.Usage{Final: true, Tokens: usage.Tokens{InputTotal: 9, InputUncached: 9}}}
	for name, c := range map[string]struct {
		script script
		source usage.Source
		output int64
	}{
		"final, zero is a value": {script{chunks: []completion.Chunk{text("a"), final}}, usage.ProviderFinal, 0},
		"cut after a count":      {script{chunks: []completion.Chunk{partial}, end: failure(completion.Network)}, usage.ProviderPartial, 5},
		"failed, with a count":   {script{end: &completion.ProviderError{Class: completion.ServerError, Sent: true}, took: &completion.Usage{Final: true, Tokens: usage.Tokens{OutputTotal: 7}}}, usage.ProviderFinal, 7},
		"complete, no count":     {script{chunks: []completion.Chunk{text("a"), text("b")}}, usage.Estimated, 2},
	} {
		r := newRig(map[string]script{"a": c.script}, "a")
		_ = r.Complete(t.Context(), completion.Caller{}, request(), &sink{}) // the events are what matters here
		if e := r.recorder.events[0]; e.Source != c.source || e.Tokens.OutputTotal != c.output {
			t.Errorf("%s: source %v, output %d, want %v, %d", name, e.Source, e.Tokens.OutputTotal, c.source, c.output)
		}
	}
}

func TestACallerWhoLeavesIsAccountedFor(t *testing.T) {
	t.Parallel()
	r := newRig(map[string]script{"a": {chunks: []completion.Chunk{text("a")}, hang: true}, "b": {}}, "a", "b")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := r.Complete(ctx, completion.Caller{}, request(), &sink{}); err == nil {
		t.Fatal("Complete = nil")
	}
	if e := r.recorder.events[0]; len(r.recorder.events) != 1 || e.Outcome != usage.Canceled || e.Tokens.OutputTotal != 1 {
		t.Errorf("events = %+v", r.recorder.events)
	}
	broken := newRig(map[string]script{"a": {chunks: []completion.Chunk{text("a"), text("b")}}, "b": {}}, "a", "b")
	if err := broken.Complete(t.Context(), completion.Caller{}, request(), &sink{fail: io.ErrClosedPipe}); err == nil {
		t.Fatal("Complete into a closed pipe = nil")
	}
	if e := broken.recorder.events[0]; len(broken.recorder.events) != 1 || e.Outcome != usage.Canceled {
		t.Errorf("events = %+v", broken.recorder.events)
	}
}

func TestSlowProvidersAreLeftAfterTheirTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(map[string]script{
			"silent": {hang: true},
			"pauses": {chunks: []completion.Chunk{text("a")}, hang: true},
		}, "silent", "pauses")
		began := time.Now()
		err := r.Complete(t.Context(), completion.Caller{}, request(), &sink{})
		if took := time.Since(began); took != 360*time.Second || !errors.Is(err, completion.ErrBrokenOff) {
			t.Fatalf("Complete = %v after %v, want a broken answer after 300 s + 60 s", err, took)
		}
		if e := r.recorder.events; e[0].Outcome != usage.Failed || e[0].ErrorClass != "timeout" || e[0].Source != usage.Estimated || e[1].Outcome != usage.Broken {
			t.Errorf("events = %+v", e)
		}
	})
}

func TestACredentialThatDoesNotOpenIsNamedAndNotSwitchedSilently(t *testing.T) {
	t.Parallel()
	r := newRig(map[string]script{"b": {chunks: []completion.Chunk{text("hi")}}}, "a", "b")
	r.keys["cred_a"] = transit.ErrSealed
	out := &sink{}
	if err := r.Complete(t.Context(), completion.Caller{}, request(), out); err != nil || out.served.Target.Name != "b" {
		t.Fatalf("Complete = %v, want the next line of the policy", err)
	}
	r.keys["cred_b"] = transit.ErrSealed
	err := r.Complete(t.Context(), told, request(), &sink{})
	if f, ok := fault.Of(err); !ok || !errors.Is(err, completion.ErrCredential) || f.Facts()["credential"] != "label-b" || f.Kind() != fault.Unavailable {
		t.Fatalf("Complete = %v, want the credential's name", err)
	}
	if len(r.recorder.events) != 1 {
		t.Errorf("%d events, want 1: nothing was sent with a credential that did not open", len(r.recorder.events))
	}
}

func TestRefusesWhatItCannotRecord(t *testing.T) {
	t.Parallel()
	r := newRig(map[string]script{"a": {chunks: []completion.Chunk{text("hi")}}}, "a", "a")
	r.recorder.full = true
	if err := r.Complete(t.Context(), completion.Caller{}, request(), &sink{}); !errors.Is(err, usage.ErrFull) || len(r.provider.calls) != 0 {
		t.Fatalf("Complete = %v after %d calls, want ErrFull and no call", err, len(r.provider.calls))
	}
}

func TestDrainRefusesTheNewAndEndsTheOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(map[string]script{"a": {chunks: []completion.Chunk{text("a")}, hang: true}}, "a")
		ended := make(chan error, 1)
		go func() { ended <- r.Complete(t.Context(), completion.Caller{}, request(), &sink{}) }()
		synctest.Wait()
		if n := r.Open(); n != 1 {
			t.Fatalf("Open = %d, want 1", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		go func() {
			<-time.After(time.Second)
			if err := r.Complete(t.Context(), completion.Caller{}, request(), &sink{}); !errors.Is(err, completion.ErrDraining) {
				t.Errorf("new request while draining = %v", err)
			}
		}()
		r.Drain(ctx)
		if err := <-ended; !errors.Is(err, completion.ErrDraining) {
			t.Errorf("open request = %v, want ErrDraining", err)
		}
		if r.recorder.open != 0 || len(r.recorder.events) != 1 {
			t.Errorf("%d open intents, %d events", r.recorder.open, len(r.recorder.events))
		}
	})
}

func TestMoreStreamsThanAllowedAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(map[string]script{"a": {hang: true}}, "a")
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() { _ = r.Complete(ctx, completion.Caller{}, request(), &sink{}) })
		}
		synctest.Wait()
		if err := r.Complete(ctx, completion.Caller{}, request(), &sink{}); !errors.Is(err, completion.ErrOverloaded) {
			t.Errorf("one too many = %v, want ErrOverloaded", err)
		}
		cancel()
		group.Wait()
		if n := r.Open(); n != 0 {
			t.Errorf("Open = %d, want 0", n)
		}
	})
}

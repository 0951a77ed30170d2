package completion_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/health"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// scene is what a provider does in one call.
type scene struct {
	wait  time.Duration // before it begins to answer
	fails error         // in place of an answer
	steps []step
	loops bool // the last step comes again and again
}

type step struct {
	after time.Duration
	chunk completion.Chunk
	err   error
}

// stage is a provider that plays a scene for each call, and notes when what was asked.
type stage struct {
	completion.Provider
	play  func(n int, call completion.Call) scene // n counts the calls from 0
	raw   bool
	begun time.Time

	mu    sync.Mutex
	calls []string // "1.5s model@credential"
	asked []completion.Call
	gone  []string // calls that were ended from our side
}

func (s *stage) Speaks(completion.Dialect, *completion.Target) bool { return s.raw }

func (s *stage) Start(ctx context.Context, call completion.Call) (completion.Answer, error) {
	s.mu.Lock()
	n := len(s.calls)
	s.calls = append(s.calls, fmt.Sprintf("%v %s@%s", time.Since(s.begun), call.Model, call.Credential.ID))
	s.asked = append(s.asked, call)
	s.mu.Unlock()
	a := &acted{stage: s, ctx: ctx, name: call.Model + "@" + call.Credential.ID, scene: s.play(n, call)}
	if err := a.pause(a.scene.wait); err != nil {
		return nil, err
	}
	if a.scene.fails != nil {
		return nil, a.scene.fails
	}
	return a, nil
}

type acted struct {
	*stage
	ctx   context.Context
	name  string
	scene scene
	next  int
}

func (a *acted) pause(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-a.ctx.Done():
		a.mu.Lock()
		a.gone = append(a.gone, fmt.Sprintf("%v %s", time.Since(a.begun), a.name))
		a.mu.Unlock()
		return a.ctx.Err()
	}
}

func (a *acted) Next() (completion.Chunk, error) {
	if a.next == len(a.scene.steps) {
		if !a.scene.loops {
			return completion.Chunk{}, io.EOF
		}
		a.next--
	}
	s := a.scene.steps[a.next]
	a.next++
	if err := a.pause(s.after); err != nil {
		return completion.Chunk{}, err
	}
	return s.chunk, s.err
}
func (a *acted) Close() error                { return nil }
func (a *acted) Head() completion.AnswerHead { return completion.AnswerHead{Status: 200, Model: "m"} }

// says is a scene that answers with a text after a while.
func says(after time.Duration, words ...string) scene {
	s := scene{}
	for _, w := range words {
		s.steps = append(s.steps, step{after: after, chunk: text(w)})
		after = 0
	}
	return s
}

func fails(class completion.Class) scene { return scene{fails: failure(class)} }

// asksToWait fails with a time after which to come again.
func asksToWait(class completion.Class, wait time.Duration) scene {
	e := failure(class)
	e.RetryAfter = wait
	return scene{fails: e}
}

// drills notes what is heard of rehearsals.
type drills []string

func (d *drills) Met(of *completion.Drill, first bool) {
	*d = append(*d, fmt.Sprintf("met %s %v", of.ID, first))
}

func (d *drills) Served(of *completion.Drill, by *completion.Target) {
	*d = append(*d, "served "+of.ID+" "+by.Name)
}
func (d *drills) Unserved(of *completion.Drill) { *d = append(*d, "unserved "+of.ID) }

// moves notes what an observer is told of the loop.
type moves struct {
	completion.Observer
	mu   sync.Mutex
	seen []string
}

func (m *moves) note(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = append(m.seen, text)
}

func (m *moves) Planned(context.Context, time.Time, completion.Plan, error) {}
func (m *moves) Attempt(context.Context, *completion.Target, *usage.Event) completion.AttemptObserver {
	return deaf{}
}
func (m *moves) MovedOn(t *completion.Target, _ error) { m.note("moved on from " + t.Name) }
func (m *moves) Retried(t *completion.Target, _ error) { m.note("again " + t.Name) }
func (m *moves) Spent(t *completion.Target)            { m.note("spent " + t.Name) }
func (m *moves) Hedged(a, b *completion.Target)        { m.note("hedged " + a.Name + " by " + b.Name) }

type deaf struct{}

func (deaf) Calling(ctx context.Context, _ string) context.Context { return ctx }
func (deaf) Piece(time.Time)                                       {}
func (deaf) Recorded(error)                                        {}
func (deaf) Ended(*usage.Event)                                    {}

// theatre is a service in front of a stage.
type theatre struct {
	*completion.Service
	*stage
	plan     completion.Plan
	recorder *recorder
	evidence *evidence
	health   *health.Health
	drills   drills
	moves    moves
	log      strings.Builder
	allowed  func(*completion.Caller, *completion.Target) (bool, int64)
	stopped  atomic.Bool // somebody has ended all drills
	planning func()      // while a plan is made
}

func (h *theatre) Plan(completion.Caller, *completion.Request) (completion.Plan, error) {
	if h.planning != nil {
		h.planning()
	}
	return h.plan, nil
}

// perform puts up a theatre whose targets are "model" or "model@credential".
func perform(play func(n int, call completion.Call) scene, targets ...string) *theatre {
	h := &theatre{
		stage: &stage{play: play, begun: time.Now()}, recorder: &recorder{}, evidence: &evidence{},
		health: health.New(health.Options{Now: time.Now, Jitter: func() float64 { return 0 }}), plan: completion.Plan{ConfigVersion: 7},
	}
	for i, name := range targets {
		model, credential, ok := strings.Cut(name, "@")
		if !ok {
			credential = "cred_" + model
		}
		h.plan.Targets = append(h.plan.Targets, completion.Target{
			Provider: "openai", Model: "openai/" + model, Name: model, Class: usage.Own, Line: i,
			Credential: &completion.Credential{ID: credential, Label: "label-" + credential, Provider: "openai", Revision: 1},
		})
	}
	h.Service = completion.New(completion.Options{
		Planner: h, Keyring: keyring{}, Recorder: h.recorder, Evidence: h.evidence, Health: h.health, Drills: &h.drills, Observer: &h.moves,
		Providers: map[string]completion.Provider{"openai": h.stage}, Log: slog.New(slog.NewTextHandler(&h.log, nil)), Now: time.Now,
		Limits: completion.Limits{Streams: 20_000}, Rehearsed: func(*completion.Drill) bool { return !h.stopped.Load() },
		Allowed: func(caller *completion.Caller, target *completion.Target) (bool, int64) {
			if h.allowed == nil {
				return true, 7
			}
			return h.allowed(caller, target)
		},
	})
	return h
}

// complete is one streamed request.
func (h *theatre) complete(ctx context.Context) (*sink, error) {
	out := &sink{}
	return out, h.Complete(ctx, completion.Caller{OrgID: "org_1", APIKeyID: "key_1", Provenance: completion.ProvenanceBasic}, request(), out)
}

// models are the calls without their times.
func (h *theatre) models() string {
	var out []string
	for _, c := range h.calls {
		_, name, _ := strings.Cut(c, " ")
		name, _, _ = strings.Cut(name, "@")
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

// accounted checks that each call left one event, and nothing is open.
func (h *theatre) accounted(t *testing.T) {
	t.Helper()
	if len(h.recorder.events) != len(h.calls) || h.recorder.open != 0 || h.Open() != 0 {
		t.Errorf("%d events for %d calls, %d intents and %d requests are open", len(h.recorder.events), len(h.calls), h.recorder.open, h.Open())
	}
	seen := map[string]bool{}
	for _, e := range h.recorder.events {
		if seen[e.AttemptID] {
			t.Errorf("attempt %s is told twice", e.AttemptID)
		}
		seen[e.AttemptID] = true
	}
}

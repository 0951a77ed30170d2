package completion_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// TestAnEventNamesAllThatDecidedAndServed: the usage event has what a caller may not be told.
func TestAnEventNamesAllThatDecidedAndServed(t *testing.T) {
	t.Parallel()
	h := perform(func(int, completion.Call) scene {
		stop := completion.Chunk{Finish: completion.Stop, StopSequence: "END"}
		count := completion.Chunk{Usage: &completion.Usage{Final: true, Tokens: usage.Tokens{InputTotal: 9, InputUncached: 9, OutputTotal: 1}}}
		return scene{steps: []step{{chunk: text("hi")}, {chunk: stop}, {chunk: count}}}
	}, "m")
	target := &h.plan.Targets[0]
	target.Class, target.PolicyID, target.PolicyName, target.PolicyVersion, target.Line = usage.Platform, "pol_1", "main", 3, 2
	target.Credential.Revision = 4
	caller := completion.Caller{OrgID: "org_1", APIKeyID: "key_1", MemberID: "mem_1", GroupID: "grp_1"}
	req := request()
	req.Model, req.Tags, req.Session, req.User = "policy/main", map[string]string{"env": "prod"}, "s1", "u1"
	out := &sink{}
	if err := h.Complete(t.Context(), caller, req, out); err != nil {
		t.Fatal(err)
	}
	e := h.recorder.events[0]
	got := usage.Event{
		RequestID: e.RequestID, AttemptNumber: e.AttemptNumber, OrgID: e.OrgID, APIKeyID: e.APIKeyID, MemberID: e.MemberID, GroupID: e.GroupID,
		CredentialID: e.CredentialID, CredentialRevision: e.CredentialRevision, Class: e.Class, Provider: e.Provider, Model: e.Model,
		RequestedModel: e.RequestedModel, ResponseModel: e.ResponseModel, PolicyID: e.PolicyID, PolicyVersion: e.PolicyVersion, TargetIndex: e.TargetIndex,
		ConfigVersion: e.ConfigVersion, Dialect: e.Dialect, Streamed: e.Streamed, Tags: e.Tags, Session: e.Session, User: e.User,
		Outcome: e.Outcome, HTTPStatus: e.HTTPStatus, FinishReason: e.FinishReason, Source: e.Source,
	}
	want := usage.Event{
		RequestID: "req_1", AttemptNumber: 1, OrgID: "org_1", APIKeyID: "key_1", MemberID: "mem_1", GroupID: "grp_1",
		CredentialID: "cred_m", CredentialRevision: 4, Class: usage.Platform, Provider: "openai", Model: "openai/m",
		RequestedModel: "policy/main", ResponseModel: "m", PolicyID: "pol_1", PolicyVersion: 3, TargetIndex: 2,
		ConfigVersion: 7, Dialect: string(completion.OpenAIChat), Streamed: true, Tags: map[string]string{"env": "prod"}, Session: "s1", User: "u1",
		Outcome: usage.OK, HTTPStatus: 200, FinishReason: "stop", Source: usage.ProviderFinal,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the event (-want +got):\n%s", diff)
	}
	if out.final.Finish != completion.Stop || out.final.StopSequence != "END" {
		t.Errorf("the end = %q by %q: what came behind the reason must not take it away", out.final.Finish, out.final.StopSequence)
	}
}

// TestWhatIsNotCountedIsEstimatedFromWhatCame: a count that stopped on the way is no less than the pieces that came
// after it, and a piece that is larger than a token is more than one.
func TestWhatIsNotCountedIsEstimatedFromWhatCame(t *testing.T) {
	t.Parallel()
	early := completion.Chunk{Usage: &completion.Usage{Tokens: usage.Tokens{InputTotal: 9, InputUncached: 9, OutputTotal: 3}}}
	piece := func(bytes int) completion.Chunk { return text(strings.Repeat("x", bytes)) }
	cut := failure(completion.Network)
	for name, c := range map[string]struct {
		script script
		source usage.Source
		input  int64
		output int64
	}{
		"as many as were counted":  {script{chunks: []completion.Chunk{early, text("a"), text("b"), text("c")}, end: cut}, usage.ProviderPartial, 9, 3},
		"more than were counted":   {script{chunks: []completion.Chunk{early, text("a"), text("b"), text("c"), text("d")}, end: cut}, usage.Estimated, 9, 4},
		"a piece as a token is":    {script{chunks: []completion.Chunk{piece(16)}}, usage.Estimated, 10, 1},
		"a piece that holds more":  {script{chunks: []completion.Chunk{piece(17)}}, usage.Estimated, 10, 5},
		"large pieces and a break": {script{chunks: []completion.Chunk{piece(400), piece(400)}, end: cut}, usage.Estimated, 10, 200},
	} {
		r := newRig(map[string]script{"a": c.script}, "a")
		_ = r.Complete(t.Context(), completion.Caller{}, request(), &sink{}) // the events are what matters here
		if e := r.recorder.events[0]; e.Source != c.source || e.Tokens.InputTotal != c.input || e.Tokens.OutputTotal != c.output {
			t.Errorf("%s: source %v, %+v, want %v, %d and %d", name, e.Source, *e.Tokens, c.source, c.input, c.output)
		}
	}
}

// TestWhatTakesNothingIsSaidToTakeNothing: counting tokens, and a prompt that a provider cannot carry.
func TestWhatTakesNothingIsSaidToTakeNothing(t *testing.T) {
	t.Parallel()
	counting := request()
	counting.Operation = completion.CountTokens
	for name, c := range map[string]struct {
		req     *completion.Request
		script  script
		outcome usage.Outcome
		class   string
	}{
		"counting":          {counting, script{chunks: []completion.Chunk{text("12")}}, usage.OK, ""},
		"cannot be carried": {request(), script{start: completion.ErrUnsupported.Saying("no audio")}, usage.NotSent, "unsupported"},
	} {
		r := newRig(map[string]script{"a": c.script}, "a")
		_ = r.Complete(t.Context(), completion.Caller{}, c.req, &sink{}) // the events are what matters here
		e := r.recorder.events[0]
		if e.Tokens == nil || *e.Tokens != (usage.Tokens{}) || e.Outcome != c.outcome || e.ErrorClass != c.class {
			t.Errorf("%s: %v %q took %+v", name, e.Outcome, e.ErrorClass, e.Tokens)
		}
		if c.outcome == usage.NotSent && e.Source != usage.None {
			t.Errorf("%s: source %v, want that it certainly took nothing", name, e.Source)
		}
	}
}

// checkpoints is a recorder that keeps those, too.
type checkpoints struct {
	*recorder
	mu   sync.Mutex
	kept []string
}

func (c *checkpoints) Checkpoint(_ string, tokens usage.Tokens, source usage.Source) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = append(c.kept, fmt.Sprint(tokens.OutputTotal, source == usage.Estimated))
}

// TestACheckpointComesAfter64PiecesOrASecond: what a kill would leave uncounted.
func TestACheckpointComesAfter64PiecesOrASecond(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pieces int
		every  time.Duration
		want   []string
	}{
		"63 at once":       {63, 0, nil},
		"130 at once":      {130, 0, []string{"64 true", "128 true"}},
		"slower than that": {4, 400 * time.Millisecond, []string{"3 true"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := perform(func(int, completion.Call) scene {
				s := scene{}
				for range c.pieces {
					s.steps = append(s.steps, step{after: c.every, chunk: text("x")})
				}
				return s
			}, "m")
			kept := &checkpoints{recorder: h.recorder}
			h.Service = completion.New(completion.Options{
				Planner: h, Keyring: keyring{}, Recorder: kept, Evidence: h.evidence,
				Providers: map[string]completion.Provider{"openai": h.stage}, Now: time.Now,
			})
			if _, err := h.complete(t.Context()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, kept.kept); diff != "" {
				t.Errorf("%s: checkpoints (-want +got):\n%s", name, diff)
			}
		})
	}
}

// late is a sink that keeps its answer back until it is let go.
type late struct {
	sink
	recorder *recorder
	onRecord []int // events that were written when it was let go
}

func (l *late) Flush() { l.onRecord = append(l.onRecord, len(l.recorder.events)) }

// TestAnAnswerIsLetGoOnceItIsOnRecord, and one that failed is not: a kill takes no event of an answer that somebody has.
func TestAnAnswerIsLetGoOnceItIsOnRecord(t *testing.T) {
	t.Parallel()
	r := newRig(map[string]script{"a": {start: failure(completion.RateLimited)}, "b": {chunks: []completion.Chunk{text("hi")}}}, "a", "b")
	out := &late{recorder: r.recorder}
	if err := r.Complete(t.Context(), completion.Caller{}, request(), out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{2}, out.onRecord); diff != "" {
		t.Errorf("events on record when the answer was let go (-want +got):\n%s", diff)
	}
	broken := newRig(map[string]script{"a": {chunks: []completion.Chunk{text("hi")}, end: failure(completion.Network)}}, "a")
	out = &late{recorder: broken.recorder}
	if err := broken.Complete(t.Context(), completion.Caller{}, request(), out); !errors.Is(err, completion.ErrBrokenOff) || len(out.onRecord) != 0 {
		t.Errorf("%v, let go %d times: what broke off is told of otherwise", err, len(out.onRecord))
	}
}

// TestAttemptsAreNumberedFromOneWithoutDrills: metering counts a request by its first attempt.
func TestAttemptsAreNumberedFromOneWithoutDrills(t *testing.T) {
	t.Parallel()
	h := perform(func(_ int, call completion.Call) scene {
		if call.Model == "b" {
			return fails(completion.RateLimited)
		}
		return says(0, "hi")
	}, "a", "b", "c")
	h.plan.Targets[0].Drill = &completion.Drill{ID: "drill_1", Class: completion.RateLimited, Until: time.Now().Add(time.Hour)}
	if _, err := h.complete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e := h.recorder.events; len(e) != 2 || e[0].AttemptNumber != 1 || e[1].AttemptNumber != 2 {
		t.Errorf("%d events, numbered %d and on", len(e), e[0].AttemptNumber)
	}
}

// TestWhatCameBeforeTheFirstContentGoesOutBeforeIt in a converted answer, in its order.
func TestWhatCameBeforeTheFirstContentGoesOutBeforeIt(t *testing.T) {
	t.Parallel()
	early := func(s string) step { return step{chunk: completion.Chunk{Delta: completion.Delta{Text: s}}} }
	h := perform(func(int, completion.Call) scene {
		return scene{steps: []step{early("a"), {chunk: completion.Chunk{}}, early("b"), {chunk: text("c")}}}
	}, "m")
	if out, err := h.complete(t.Context()); err != nil || out.text != "abc" {
		t.Errorf("%v, the caller has %q", err, out.text)
	}
}

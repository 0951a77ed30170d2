package completion_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// jobs notes what is opened.
type jobs struct{ opened []string }

func (j *jobs) Opened(e *usage.Event, t *completion.Target, job *completion.Job) string {
	j.opened = append(j.opened, e.AttemptID+" "+t.Name+" "+job.ID)
	return "token-of-" + job.ID
}

func submit() *completion.Request {
	return &completion.Request{ID: "req_1", Dialect: completion.OpenAIVideos, Operation: completion.Videos, Model: "openai/a", InputBytes: 40}
}

func TestSubmittedJobIsKeptAndItsUsageIsUnknown(t *testing.T) {
	t.Parallel()
	r, kept := newRig(nil), &jobs{}
	r.provider.scripts = map[string]script{"a": {chunks: []completion.Chunk{{
		Content: true, Pieces: 1, Result: &completion.Result{Job: &completion.Job{ID: "7f", Status: "queued"}},
	}}}}
	service := completion.New(completion.Options{
		Planner: fixed{"a"}, Keyring: r.keys, Recorder: r.recorder, Evidence: r.evidence, Jobs: kept,
		Providers: map[string]completion.Provider{"openai": r.provider}, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	for _, leaves := range []error{nil, errors.New("the caller left")} {
		kept.opened, r.recorder.events = nil, nil
		out := &tokenSink{sink: sink{fail: leaves}}
		if err := service.Complete(t.Context(), completion.Caller{OrgID: "org_1"}, submit(), out); (err != nil) != (leaves != nil) {
			t.Fatal(err)
		}
		e := r.recorder.events[0]
		if len(kept.opened) != 1 || kept.opened[0] != e.AttemptID+" a 7f" {
			t.Errorf("opened %v of attempt %s", kept.opened, e.AttemptID)
		}
		if e.Tokens != nil || e.Source != usage.SourceUnknown || e.Units != nil || e.Revision != 0 || e.Operation != "videos" {
			t.Errorf("event of the submit = %+v, want usage unknown", e)
		}
		if leaves == nil && out.token != "token-of-7f" {
			t.Errorf("the caller gets the token %q", out.token)
		}
	}
}

type tokenSink struct {
	sink
	token string
}

func (s *tokenSink) Chunk(c *completion.Chunk) error {
	s.token = c.Result.Job.Token
	return s.sink.Chunk(c)
}

func TestNoSecondTargetForWhoHasGone(t *testing.T) {
	t.Parallel()
	for _, gone := range []bool{false, true} {
		r := newRig(map[string]script{"a": {start: failure(completion.RateLimited)}, "b": {chunks: []completion.Chunk{text("hi")}}}, "a", "b")
		req := submit()
		req.Gone = func() bool { return gone }
		if err := r.Complete(t.Context(), completion.Caller{}, req, &sink{}); (err != nil) != gone || len(r.provider.calls) == 1 != gone {
			t.Errorf("gone %v: %v after trying %v", gone, err, r.provider.calls)
		}
	}
}

func TestSubmitOfUnknownOutcomeIsNotSentTwice(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		op       completion.Operation
		failure  completion.ProviderError
		movesOn  bool
		estimate bool
	}{
		"cut after it was sent":  {completion.Videos, completion.ProviderError{Class: completion.Network, Sent: true}, false, true},
		"timeout of pictures":    {completion.Images, completion.ProviderError{Class: completion.TimedOut, Sent: true}, false, true},
		"gateway error":          {completion.Videos, completion.ProviderError{Class: completion.ServerError, Status: 502, Sent: true}, false, true},
		"no connection":          {completion.Videos, completion.ProviderError{Class: completion.Network}, true, false},
		"refused for its rate":   {completion.Videos, completion.ProviderError{Class: completion.RateLimited, Status: 429, Sent: true, Unbilled: true}, true, false},
		"conversation, cut":      {completion.Chat, completion.ProviderError{Class: completion.Network, Sent: true}, true, true},
		"refused as no good one": {completion.Videos, completion.ProviderError{Class: completion.InvalidRequest, Status: 422, Sent: true, Unbilled: true}, false, false},
	} {
		r := newRig(map[string]script{"a": {start: &test.failure}, "b": {chunks: []completion.Chunk{text("hi")}}}, "a", "b")
		req := submit()
		req.Operation = test.op
		err := r.Complete(t.Context(), completion.Caller{}, req, &sink{})
		if moved := len(r.provider.calls) == 2; moved != test.movesOn {
			t.Errorf("%s: tried %v, want a second target: %v", name, r.provider.calls, test.movesOn)
		}
		unknown := test.estimate && test.op.Once()
		if errors.Is(err, completion.ErrUncertain) != unknown {
			t.Errorf("%s: %v, want it called uncertain: %v", name, err, unknown)
		}
		if e := r.recorder.events[0]; (e.Source == usage.Estimated) != test.estimate || unknown && e.Tokens != nil {
			t.Errorf("%s: event %+v", name, e)
		}
	}
}

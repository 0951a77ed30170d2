package media_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/media"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// world is a provider with its jobs, and what metering makes of what routers write.
type world struct {
	mu     sync.Mutex
	jobs   map[string]media.State
	fails  error // of each question
	polls  []time.Time
	keys   []string
	cancel []string
	// counted are the attempts as metering has them: a higher revision replaces one, no other does. written is
	// how often one came, replaced how often that changed what was counted.
	counted  map[string]usage.Event
	written  int
	replaced int
	full     bool
	gone     bool // the credential
}

func newWorld() *world {
	return &world{jobs: map[string]media.State{}, counted: map[string]usage.Event{}}
}

func (w *world) Poll(_ context.Context, at media.At) (media.State, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.polls, w.keys = append(w.polls, time.Now()), append(w.keys, at.Secret.Reveal()+" "+at.BaseURL+at.Ref)
	state, ok := w.jobs[at.ID]
	switch {
	case w.fails != nil:
		return media.State{}, w.fails
	case !ok:
		return media.State{}, media.ErrUnknown
	}
	return state, nil
}

func (w *world) Cancel(_ context.Context, at media.At) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.jobs[at.ID].Status.Final() {
		return media.ErrEnded
	}
	w.cancel = append(w.cancel, at.ID)
	w.jobs[at.ID] = media.State{Status: media.Canceled}
	return nil
}

func (w *world) set(id string, s media.State) { w.mu.Lock(); w.jobs[id] = s; w.mu.Unlock() }

func (w *world) Revise(e *usage.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full {
		return usage.ErrFull
	}
	w.written++
	known, again := w.counted[e.AttemptID]
	switch {
	case !again:
	case e.Revision <= known.Revision:
		return nil
	default:
		w.replaced++
	}
	w.counted[e.AttemptID] = *e
	return nil
}

// tally says how often the provider was asked, revisions came, and one replaced another.
func (w *world) tally() (polls, written, replaced int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.polls), w.written, w.replaced
}

func (w *world) event(t *testing.T, attempt string) usage.Event {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.counted[attempt]
	if !ok {
		t.Fatalf("no revision of %s is written; %d of others", attempt, len(w.counted))
	}
	return e
}

func (w *world) Secret(context.Context, *completion.Credential) (secret.Text, error) {
	return secret.New("key"), nil
}

func (w *world) Fetch(_ context.Context, url string) (media.Content, error) {
	if strings.Contains(url, "10.0.0.1") {
		return media.Content{}, errors.New("not allowed: 10.0.0.1")
	}
	return media.Content{Body: io.NopCloser(strings.NewReader("bytes of " + url)), MediaType: "application/octet-stream", Length: -1}, nil
}

// nocancel hides Cancel.
type nocancel struct{ media.Provider }

func (w *world) router(t *testing.T, dir string) *media.Service {
	t.Helper()
	s, err := media.New(media.Options{
		Environment: "test", Dir: dir, Keyring: w, Recorder: w, Fetcher: w,
		Credential: func(orgID, id string) (*completion.Credential, bool) {
			return &completion.Credential{ID: id, OrgID: orgID, Provider: strings.TrimPrefix(id, "cred_")}, !w.gone && orgID == "org_a"
		},
		Providers: map[string]media.Provider{"fal": w, "pollo": nocancel{w}},
		BaseURLs:  map[string]string{"fal": "https://queue.fal.run", "pollo": "https://pollo.ai"},
		Log:       slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.UsePepper(secret.New("pepper-of-all-routers")); err != nil {
		t.Fatal(err)
	}
	return s
}

// loop is the attempt loop: it submits a job of an id.
type loop struct {
	s        *media.Service
	provider string
	id       string
	begun    func()
}

func (l loop) Complete(ctx context.Context, caller completion.Caller, req *completion.Request, out completion.Sink) error {
	if l.begun != nil {
		l.begun()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	target := &completion.Target{
		Provider: l.provider, Model: l.provider + "/a/b", Name: "a/b", Class: usage.Own,
		Credential: &completion.Credential{ID: "cred_" + l.provider, OrgID: caller.OrgID, Provider: l.provider},
	}
	job := &completion.Job{ID: l.id, Ref: "/a/b/requests/" + l.id, Status: "queued", Seconds: 5, Expected: []usage.Unit{{Name: "second", Milli: 5000}}}
	event := &usage.Event{
		AttemptID: "att_" + l.id, RequestID: req.ID, OrgID: caller.OrgID, APIKeyID: caller.APIKeyID, MemberID: "mem_1",
		CredentialID: "cred_" + l.provider, Class: usage.Own, Provider: l.provider, Model: l.provider + "/a/b", RequestedModel: req.Model,
		Tags: req.Tags, Session: req.Session, User: req.User, Started: time.Now().Add(-time.Second), AttemptNumber: 2, ConfigVersion: 7,
		PolicyID: "pol_1", PolicyVersion: 3, TargetIndex: 1, Dialect: "openai.videos", TraceID: "0af7", SpanID: "b7ad",
	}
	job.Token = l.s.Opened(event, target, job)
	if err := out.Begin(completion.Served{Target: target}); err != nil {
		return err
	}
	if err := out.Chunk(&completion.Chunk{Result: &completion.Result{Job: job}}); err != nil {
		return err
	}
	return out.End(completion.Final{})
}

var owner = completion.Caller{OrgID: "org_a", APIKeyID: "key_1"}

func request() *completion.Request {
	return &completion.Request{
		ID: "req_1", Operation: completion.Videos, Dialect: completion.OpenAIVideos, Model: "policy/films",
		Tags: map[string]string{"team": "search", "odd": "\"<é>\""}, Session: "s", User: "u",
	}
}

func submit(t *testing.T, s *media.Service, provider, id string) string {
	t.Helper()
	v, _, err := s.Submit(t.Context(), loop{s: s, provider: provider, id: id}, owner, request())
	if err != nil {
		t.Fatal(err)
	}
	return v.Token
}

func done(seconds int64) media.State {
	cost := int64(1_500_000)
	return media.State{
		Status: media.Completed, Progress: 100, Outputs: []media.Output{{URL: "https://v3.fal.media/x.mp4", MediaType: "video/mp4"}},
		Usage: &completion.Usage{Units: []usage.Unit{{Name: "second", Milli: seconds * 1000}}, CostNanoUSD: &cost, Final: true},
	}
}

// run follows jobs until the returned function is called.
func run(t *testing.T, s *media.Service) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// pass lets time pass, and all who work in it come to rest.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestUsageIsKnownAlthoughNobodyAsks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, dir := newWorld(), t.TempDir()
		s := w.router(t, dir)
		defer run(t, s)()
		began := time.Now()
		w.set("7f", media.State{Status: media.InProgress})
		submit(t, s, "fal", "7f")
		pass(3 * time.Minute)
		w.set("7f", done(6))
		pass(61 * time.Second)
		e := w.event(t, "att_7f")
		cost := int64(1_500_000)
		want := usage.Event{
			AttemptID: "att_7f", Revision: 2, RequestID: "req_1", AttemptNumber: 2, OrgID: "org_a", APIKeyID: "key_1", MemberID: "mem_1",
			CredentialID: "cred_fal", Class: usage.Own, Provider: "fal", Model: "fal/a/b", RequestedModel: "policy/films", PolicyID: "pol_1",
			PolicyVersion: 3, TargetIndex: 1, ConfigVersion: 7, Dialect: "openai.videos", Operation: "videos",
			Tags: map[string]string{"team": "search", "odd": "\"<é>\""}, Session: "s", User: "u", Started: began.Add(-time.Second),
			Ended: e.Ended, Duration: e.Ended.Sub(began.Add(-time.Second)), FirstContent: time.Second, Outcome: usage.OK, HTTPStatus: 200,
			FinishReason: "stop", Source: usage.ProviderFinal, Tokens: &usage.Tokens{}, Units: []usage.Unit{{Name: "second", Milli: 6000}},
			CostNanoUSD: &cost, ProviderRequestID: "7f", TraceID: "0af7", SpanID: "b7ad",
		}
		if diff := cmp.Diff(want, e); diff != "" {
			t.Errorf("later truth (-want +got):\n%s", diff)
		}
		pass(5 * time.Second)
		if left, _ := os.ReadDir(dir); len(left) != 0 || s.Open() != 0 || w.written != 1 {
			t.Errorf("%d files, %d open jobs, %d revisions written; want none, none and one", len(left), s.Open(), w.written)
		}
		// Questions come after 5 s, ever more slowly, and a minute apart at most.
		if first := w.polls[0].Sub(began); first < 5*time.Second || first > 6*time.Second {
			t.Errorf("first asked after %v", first)
		}
		for i := 2; i < len(w.polls); i++ {
			pause := w.polls[i].Sub(w.polls[i-1])
			if before := w.polls[i-1].Sub(w.polls[i-2]); pause < before-time.Second || pause > 61*time.Second {
				t.Errorf("pause %d is %v, the one before %v", i, pause, before)
			}
		}
		if len(w.polls) > 12 {
			t.Errorf("asked %d times in four minutes", len(w.polls))
		}
	})
}

func TestJobsAreTakenUpAgainAfterAKill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, dir := newWorld(), t.TempDir()
		killed := w.router(t, dir)
		stop := run(t, killed)
		w.set("7f", media.State{Status: media.InProgress})
		submit(t, killed, "fal", "7f")
		stop() // whatever it held in memory is gone
		if err := os.WriteFile(filepath.Join(dir, "att_bad.job"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "new-123"), []byte(`{"p":`), 0o600); err != nil {
			t.Fatal(err)
		}
		w.set("7f", done(6))
		again := w.router(t, dir)
		defer run(t, again)()
		pass(10 * time.Second)
		if e := w.event(t, "att_7f"); e.Outcome != usage.OK || e.Units[0].Milli != 6000 || e.OrgID != "org_a" || e.Tags["team"] != "search" {
			t.Errorf("event after the restart: %+v", e)
		}
	})
}

func TestEveryRouterAnswersForEveryJobAndItCountsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		one, two := w.router(t, t.TempDir()), w.router(t, t.TempDir())
		w.set("7f", media.State{Status: media.InProgress, Progress: 40})
		token := submit(t, one, "fal", "7f")
		v, err := two.Get(t.Context(), owner, token)
		if err != nil || v.Status != media.InProgress || v.Progress != 40 || v.Token != token || v.Model != "fal/a/b" || v.Seconds != 5 {
			t.Fatalf("Get on another router = %+v, %v", v, err)
		}
		w.set("7f", done(6))
		pass(2 * time.Second)
		for range 3 {
			if v, err = two.Get(t.Context(), owner, token); err != nil || v.Status != media.Completed || len(v.Outputs) != 1 || v.Estimated {
				t.Fatalf("Get = %+v, %v", v, err)
			}
			pass(time.Second)
		}
		if w.written != 1 {
			t.Errorf("the end was written %d times by one router, want once", w.written)
		}
		polls := len(w.polls)
		defer run(t, one)()
		pass(10 * time.Second)
		if w.written != 2 || w.replaced != 0 || len(w.counted) != 1 || w.counted["att_7f"].Revision != 2 {
			t.Errorf("%d writes count as %d events of revision %d, want 2 as one of revision 2", w.written, len(w.counted), w.counted["att_7f"].Revision)
		}
		if len(w.polls) != polls+1 {
			t.Errorf("its own router asked %d times after the end", len(w.polls)-polls)
		}
		for _, k := range w.keys {
			if k != "key https://queue.fal.run/a/b/requests/7f" {
				t.Errorf("asked with %q", k)
			}
		}
	})
}

func TestLargeAnswersAreNotKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.router(t, t.TempDir())
		large := done(5)
		large.Outputs[0].URL = "data:video/mp4;base64," + strings.Repeat("A", 1<<20)
		for _, state := range []media.State{done(5), large} {
			w.set("7f", state)
			pass(10 * time.Minute)
			token, before := submit(t, s, "fal", "7f"), len(w.polls)
			for range 3 {
				if v, err := s.Get(t.Context(), owner, token); err != nil || v.Outputs[0].URL != state.Outputs[0].URL {
					t.Fatal(err)
				}
			}
			if got, want := len(w.polls)-before, map[bool]int{true: 1, false: 3}[len(state.Outputs[0].URL) < 1000]; got != want {
				t.Errorf("an answer of %d bytes is asked for %d times, want %d", len(state.Outputs[0].URL), got, want)
			}
		}
	})
}

func TestManyWhoAskAreOneQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.router(t, t.TempDir())
		w.set("7f", media.State{Status: media.InProgress})
		token := submit(t, s, "fal", "7f")
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if _, err := s.Get(t.Context(), owner, token); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if len(w.polls) != 1 {
			t.Errorf("50 callers are %d questions", len(w.polls))
		}
	})
}

func TestJobThatNeverEndsBecomesAnEstimate(t *testing.T) {
	t.Parallel()
	for name, break_ := range map[string]func(w *world){
		"it runs for ever":        func(w *world) { w.set("7f", media.State{Status: media.InProgress}) },
		"nobody can be asked":     func(w *world) { w.fails = &completion.ProviderError{Class: completion.Network, Message: "no"} },
		"the credential is gone":  func(w *world) { w.gone = true },
		"the provider forgets it": func(*world) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				s := w.router(t, t.TempDir())
				defer run(t, s)()
				break_(w)
				submit(t, s, "fal", "7f")
				pass(25 * time.Hour)
				e := w.event(t, "att_7f")
				if e.Source != usage.Estimated || e.Outcome != usage.Failed || e.ErrorClass != "timeout" || e.Revision != 1 {
					t.Errorf("event = %+v, want a marked estimate", e)
				}
				if diff := cmp.Diff([]usage.Unit{{Name: "second", Milli: 5000}}, e.Units); diff != "" {
					t.Errorf("units (-want +got):\n%s", diff)
				}
				if s.Open() != 0 || w.written != 1 {
					t.Errorf("%d jobs are open, %d revisions written", s.Open(), w.written)
				}
			})
		})
	}
}

// TestTruthReplacesTheEstimateWhicheverRouterFindsIt: a job outlives the time for which it is followed, so
// that an estimate is counted. Its end is seen later by the router that gave it up, by another one, or by
// both, and takes the estimate's place once.
func TestTruthReplacesTheEstimateWhicheverRouterFindsIt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lost  bool  // the provider forgets the job for a while, in place of working on it for ever
		asked []int // in which order routers are asked for it; 0 is the one that followed it
	}{
		"the router that gave it up": {false, []int{0}},
		"another router":             {false, []int{1}},
		"both, its own first":        {false, []int{0, 1}},
		"both, another one first":    {false, []int{1, 0}},
		"after the provider lost it": {true, []int{0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				routers := []*media.Service{w.router(t, t.TempDir()), w.router(t, t.TempDir())}
				defer run(t, routers[0])()
				defer run(t, routers[1])()
				if !test.lost {
					w.set("7f", media.State{Status: media.InProgress})
				}
				token := submit(t, routers[0], "fal", "7f")
				pass(25 * time.Hour)
				if e := w.event(t, "att_7f"); e.Revision != 1 || e.Source != usage.Estimated || e.Units[0].Milli != 5000 {
					t.Fatalf("before its end is seen the event is %+v, want the estimate as revision 1", e)
				}
				if routers[0].Open() != 0 {
					t.Fatal("the job is still followed")
				}
				w.set("7f", done(6))
				for _, i := range test.asked {
					for range 2 { // whoever found it writes it once
						if v, err := routers[i].Get(t.Context(), owner, token); err != nil || v.Status != media.Completed || v.Estimated || v.Units[0].Milli != 6000 {
							t.Fatalf("Get at router %d = %+v, %v", i, v, err)
						}
						pass(2 * time.Second)
					}
				}
				e := w.event(t, "att_7f")
				if e.Revision != 2 || e.Source != usage.ProviderFinal || e.Outcome != usage.OK || e.ErrorClass != "" || e.Units[0].Milli != 6000 || *e.CostNanoUSD != 1_500_000 {
					t.Errorf("afterwards the event is %+v, want the truth as revision 2", e)
				}
				if _, written, replaced := w.tally(); replaced != 1 || written != 1+len(test.asked) {
					t.Errorf("%d revisions are written and change what is counted %d times, want %d and once", written, replaced, 1+len(test.asked))
				}
				// Long after that the provider has forgotten the job. That is no news.
				w.mu.Lock()
				delete(w.jobs, "7f")
				w.mu.Unlock()
				pass(time.Hour)
				for _, router := range append(routers, w.router(t, t.TempDir())) {
					if v, err := router.Get(t.Context(), owner, token); err != nil || v.Status != media.Failed {
						t.Errorf("Get of what is forgotten = %+v, %v", v, err)
					}
				}
				if diff := cmp.Diff(e, w.event(t, "att_7f")); diff != "" {
					t.Errorf("what is forgotten changes what was counted (-before +after):\n%s", diff)
				}
			})
		})
	}
}

func TestFullJournalLosesNoRevision(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.router(t, t.TempDir())
		defer run(t, s)()
		w.set("7f", done(6))
		w.full = true
		token := submit(t, s, "fal", "7f")
		pass(20 * time.Second)
		if v, err := s.Get(t.Context(), owner, token); err != nil || v.Status != media.Completed {
			t.Fatalf("Get = %+v, %v", v, err)
		}
		w.mu.Lock()
		w.full = false
		w.mu.Unlock()
		pass(2 * time.Minute)
		w.event(t, "att_7f")
		if s.Open() != 0 {
			t.Error("the job is still open")
		}
	})
}

func TestOutcomesOfJobs(t *testing.T) {
	t.Parallel()
	failure := func(class completion.Class, unbilled bool) media.State {
		return media.State{Status: media.Failed, Failure: &completion.ProviderError{Class: class, Status: 422, Message: "no", Unbilled: unbilled}}
	}
	plain := media.State{Status: media.Completed}
	for name, test := range map[string]struct {
		state   media.State
		outcome usage.Outcome
		source  usage.Source
		class   string
		units   []usage.Unit
		unknown bool // tokens
	}{
		"done, and it says what it took": {done(4), usage.OK, usage.ProviderFinal, "", []usage.Unit{{Name: "second", Milli: 4000}}, false},
		"done, and it does not say":      {plain, usage.OK, usage.Estimated, "", []usage.Unit{{Name: "second", Milli: 5000}}, false},
		"failed, may be billed":          {failure(completion.ContentRefused, false), usage.Failed, usage.Estimated, "content_refused", nil, true},
		"failed, not billed":             {failure(completion.ServerError, true), usage.Failed, usage.None, "server_error", nil, false},
		"canceled":                       {media.State{Status: media.Canceled}, usage.Canceled, usage.Estimated, "canceled", nil, true},
	} {
		w := newWorld()
		s := w.router(t, t.TempDir())
		w.set("7f", test.state)
		token := submit(t, s, "fal", "7f")
		v, err := s.Get(t.Context(), owner, token)
		if err != nil || v.Status != test.state.Status || v.Estimated != (test.source == usage.Estimated) {
			t.Errorf("%s: Get = %+v, %v", name, v, err)
		}
		e := w.event(t, "att_7f")
		if e.Outcome != test.outcome || e.Source != test.source || e.ErrorClass != test.class || !cmp.Equal(e.Units, test.units) || (e.Tokens == nil) != test.unknown {
			t.Errorf("%s: event %+v", name, e)
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.router(t, t.TempDir())
	w.set("7f", media.State{Status: media.InProgress})
	token := submit(t, s, "fal", "7f")
	if v, err := s.Cancel(t.Context(), owner, token); err != nil || v.Status != media.Canceled || len(w.cancel) != 1 {
		t.Errorf("Cancel = %+v, %v; the provider heard of %v", v, err, w.cancel)
	}
	if _, err := s.Cancel(t.Context(), owner, token); !errors.Is(err, media.ErrEnded) {
		t.Errorf("Cancel of what has ended = %v", err)
	}
	_, err := s.Cancel(t.Context(), owner, submit(t, s, "pollo", "8a"))
	if !errors.Is(err, media.ErrNoCancel) || !strings.Contains(err.Error(), "pollo has no call that cancels") {
		t.Errorf("Cancel where there is none = %v, want it refused by name", err)
	}
}

func TestSubmitGoesOnWithoutItsCallerAndIsCanceled(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.router(t, t.TempDir())
	w.set("7f", media.State{Status: media.Queued})
	ctx, leave := context.WithCancel(t.Context())
	_, _, err := s.Submit(ctx, loop{s: s, provider: "fal", id: "7f", begun: leave}, owner, request())
	if !errors.Is(err, context.Canceled) || s.Open() != 1 || !cmp.Equal(w.cancel, []string{"7f"}) {
		t.Errorf("Submit = %v, %d jobs are followed, canceled %v", err, s.Open(), w.cancel)
	}
}

func TestContentIsOfCompletedJobsOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.router(t, t.TempDir())
		w.set("7f", media.State{Status: media.InProgress})
		token := submit(t, s, "fal", "7f")
		inner := done(5)
		inner.Outputs = append(inner.Outputs, media.Output{URL: "https://10.0.0.1/latest/meta-data"})
		for _, step := range []struct {
			state media.State
			index int
			want  error
		}{
			{media.State{Status: media.InProgress}, 0, media.ErrNotDone},
			{inner, 0, nil},
			{inner, 1, media.ErrContentFetch},
			{inner, 2, media.ErrNoContent},
			{inner, -1, media.ErrNoContent},
		} {
			w.set("7f", step.state)
			pass(2 * time.Second)
			got, err := s.Content(t.Context(), owner, token, step.index)
			if !errors.Is(err, step.want) {
				t.Fatalf("Content(%d) of %s = %v, want %v", step.index, step.state.Status, err, step.want)
			}
			if err != nil {
				if f, _ := fault.Of(err); strings.Contains(f.Message()+f.Hint(), "10.0.0.1") {
					t.Errorf("the caller is told what lies inside: %s", f.Message())
				}
				continue
			}
			if b, _ := io.ReadAll(got.Body); string(b) != "bytes of https://v3.fal.media/x.mp4" || got.MediaType != "video/mp4" {
				t.Errorf("content %q of type %s", b, got.MediaType)
			}
		}
	})
}

func TestHintsAskAtOnceAndNoMoreThanThat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := w.router(t, t.TempDir())
		defer run(t, s)()
		w.set("7f", media.State{Status: media.InProgress})
		submit(t, s, "fal", "7f")
		pass(2 * time.Minute) // pauses are long by now
		before := len(w.polls)
		s.Hint("fal", "another")
		s.Hint("pollo", "7f")
		synctest.Wait()
		if len(w.polls) != before {
			t.Error("a hint of a job that is not ours asks a provider")
		}
		for range 100 {
			s.Hint("fal", "7f")
		}
		synctest.Wait()
		if got := len(w.polls) - before; got != 1 {
			t.Errorf("100 hints at once ask %d times", got)
		}
		if len(w.counted) != 0 {
			t.Error("a hint is believed")
		}
	})
}

// TestWebhookAtARouterThatDoesNotFollowTheJobLosesNothing: behind a balancer a webhook comes to any router.
// One that does not follow the job lets it go, asks nobody and keeps nothing of it; the one that does asks
// at its own pace, and usage is known at most a pause later.
func TestWebhookAtARouterThatDoesNotFollowTheJobLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		follows, other := w.router(t, t.TempDir()), w.router(t, t.TempDir())
		defer run(t, follows)()
		defer run(t, other)()
		w.set("7f", media.State{Status: media.InProgress})
		submit(t, follows, "fal", "7f")
		pass(10 * time.Minute) // pauses are as long as they get
		w.set("7f", done(6))
		before, _, _ := w.tally()
		other.Hint("fal", "7f")
		synctest.Wait()
		if polls, written, _ := w.tally(); polls != before || other.Open() != 0 || written != 0 {
			t.Errorf("the router that does not follow it asks %d times, follows %d jobs, and wrote %d revisions; want nothing of it", polls-before, other.Open(), written)
		}
		pass(61 * time.Second)
		_, written, _ := w.tally()
		if e := w.event(t, "att_7f"); e.Revision != 2 || e.Units[0].Milli != 6000 || written != 1 {
			t.Errorf("a pause later the event is %+v, written %d times; want the truth, once", e, written)
		}
	})
}

func TestSubmitsAreRefusedBeforeTheyCannotBeFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld()
	s := w.router(t, t.TempDir())
	req := request()
	for i := range 16 {
		req.Tags[strings.Repeat("k", 60)+string(rune('a'+i))] = strings.Repeat("v", 256)
	}
	if _, _, err := s.Submit(t.Context(), loop{s: s, provider: "fal", id: "7f"}, owner, req); !errors.Is(err, media.ErrLabels) || s.Open() != 0 {
		t.Errorf("Submit with 5 KiB of tags = %v", err)
	}
	unready, err := media.New(media.Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := unready.Submit(t.Context(), loop{s: unready}, owner, request()); !errors.Is(err, media.ErrSealing) {
		t.Errorf("Submit without a key for tokens = %v", err)
	}
}

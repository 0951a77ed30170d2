package report_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/report"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// ear is a keys that hears reports, or fails.
type ear struct {
	keysv1connect.ConfigServiceClient
	mu    sync.Mutex
	fails error
	tries int
	heard []*keysv1.ReportRouterStateRequest
	at    []time.Duration // since the start
	began time.Time
	out   []string // the credentials that were put out
}

func (e *ear) ReportRouterState(_ context.Context, req *keysv1.ReportRouterStateRequest) (*keysv1.ReportRouterStateResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tries++
	if e.fails != nil {
		return nil, e.fails
	}
	e.heard, e.at = append(e.heard, req), append(e.at, time.Since(e.began))
	return &keysv1.ReportRouterStateResponse{}, nil
}

func (e *ear) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fails = err
}

// last is the newest report, and how many there were.
func (e *ear) last() (*keysv1.ReportRouterStateRequest, int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.heard) == 0 {
		return nil, 0
	}
	return e.heard[len(e.heard)-1], len(e.heard)
}

// reporting runs a reporter inside a bubble until the test's story is over.
func reporting(t *testing.T, learned report.Learned, story func(t *testing.T, r *report.Reporter, keys *ear)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		keys := &ear{began: time.Now()}
		r := report.New(report.Options{
			Router: "router-1", Client: keys, Learned: learned, Log: slog.New(slog.DiscardHandler), Now: time.Now,
			Out: func(c *completion.Credential, _ string) { keys.out = append(keys.out, c.ID) },
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		synctest.Wait()
		story(t, r, keys)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// wait lets time pass.
func wait(d time.Duration) { <-time.After(d); synctest.Wait() }

func TestWhatARouterAppliesIsToldAtOnceAndAtMostFiveTimesASecond(t *testing.T) {
	reporting(t, nil, func(t *testing.T, r *report.Reporter, keys *ear) {
		wait(time.Second) // the first report is over
		_, before := keys.last()
		r.Applied(7)
		synctest.Wait()
		if got, n := keys.last(); n != before+1 || got.GetAppliedVersion() != 7 || got.GetEpoch() == "" || got.GetRouter() != "router-1" {
			t.Errorf("after %d reports more the last is %v, want one at once with version 7", n-before, got)
		}
		for v := range int64(100) { // ten a second
			r.Applied(8 + v)
			wait(100 * time.Millisecond)
		}
		wait(time.Second)
		got, n := keys.last()
		if got.GetAppliedVersion() != 107 || n-before > 60 || n-before < 40 {
			t.Errorf("%d reports in eleven seconds, the last of version %d; want some five a second and 107", n-before, got.GetAppliedVersion())
		}
		for i := 1; i < len(keys.at); i++ {
			if keys.at[i]-keys.at[i-1] < 200*time.Millisecond {
				t.Errorf("reports %d and %d are %s apart", i-1, i, keys.at[i]-keys.at[i-1])
			}
		}
	})
}

func TestAnIdleRouterReportsEveryFiveSecondsAndSaysGoodbye(t *testing.T) {
	var heard *ear
	reporting(t, nil, func(t *testing.T, _ *report.Reporter, keys *ear) {
		heard = keys
		wait(31 * time.Second)
		if _, n := keys.last(); n != 7 {
			t.Errorf("%d reports in 31 seconds, want 7", n)
		}
	})
	if got, n := heard.last(); n != 8 || !got.GetClosing() {
		t.Errorf("the last of %d reports is closing %v, want a goodbye", n, got.GetClosing())
	}
	for _, req := range heard.heard[:7] {
		if req.GetClosing() {
			t.Error("a report before the last says goodbye")
		}
	}
}

func TestNothingPilesUpWhileKeysIsAway(t *testing.T) {
	reporting(t, nil, func(t *testing.T, r *report.Reporter, keys *ear) {
		wait(time.Second)
		keys.fail(errors.New("connection refused"))
		_, before := keys.last()
		tries := keys.tries
		for i := range 3000 {
			r.Applied(int64(i), report.Cut{ID: fmt.Sprint("key_", i), Streams: 1})
			c := &completion.Credential{ID: fmt.Sprint("cred_", i), OrgID: "org_1", Provider: "acme", Revision: 1}
			r.Refused(c, usage.Own, &completion.ProviderError{Class: completion.AuthInvalid, Message: "no\xff"})
			wait(time.Second / 10)
		}
		if n := keys.tries - tries; n > 70 { // of five minutes
			t.Errorf("%d tries in five minutes, want one each five seconds", n)
		}
		keys.fail(nil)
		wait(5 * time.Second)
		first, evidence := keys.heard[before], 0
		for _, req := range keys.heard[before:] {
			evidence += len(req.GetEvidence())
		}
		if first.GetAppliedVersion() != 2999 || evidence != 1000 || len(first.GetCuts()) > 600 {
			t.Errorf("then it is told of version %d, %d pieces of evidence and %d cuts; want 2999, 1000 once and those of a minute",
				first.GetAppliedVersion(), evidence, len(first.GetCuts()))
		}
	})
}

// TestALackOfARightIsToldOnceAMinuteAndPutsNothingOut, however often it is met, and each secret's by itself.
func TestALackOfARightIsToldOnceAMinuteAndPutsNothingOut(t *testing.T) {
	reporting(t, nil, func(t *testing.T, r *report.Reporter, keys *ear) {
		wait(time.Second)
		_, before := keys.last()
		c := &completion.Credential{ID: "cred_1", OrgID: "org_1", Provider: "acme", Revision: 1}
		second := &completion.Credential{ID: "cred_1", OrgID: "org_1", Provider: "acme", Revision: 2}
		no := &completion.ProviderError{Class: completion.AuthLimited, Message: "no access to this model", Status: 403}
		for range 1200 { // ten a second for two minutes
			r.Limited(c, usage.Own, no)
			wait(time.Second / 10)
		}
		r.Limited(second, usage.Own, no)
		wait(time.Second)
		var told []string
		for i, req := range keys.heard[before:] {
			for _, e := range req.GetEvidence() {
				told = append(told, fmt.Sprintf("%s.%d %s %q of %s at %s",
					e.GetCredentialId(), e.GetRevision(), e.GetErrorClass(), e.GetReason(), e.GetOrgId(), keys.at[before+i]))
			}
		}
		const word = ` auth_limited "no access to this model" of org_1 at `
		if want := []string{"cred_1.1" + word + "1s", "cred_1.1" + word + "1m1s", "cred_1.2" + word + "2m1s"}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		if len(keys.out) != 0 {
			t.Errorf("put out %v, want that it goes on serving", keys.out)
		}
		r.Refused(c, usage.Own, &completion.ProviderError{Class: completion.AuthInvalid})
		if !slices.Equal(keys.out, []string{"cred_1"}) {
			t.Errorf("after a refusal %v are out, want cred_1", keys.out)
		}
	})
}

func TestAReportThatKeysRefusesDoesNotStopTheOthers(t *testing.T) {
	reporting(t, nil, func(t *testing.T, r *report.Reporter, keys *ear) {
		wait(time.Second)
		keys.fail(connect.NewError(connect.CodeInvalidArgument, "evidence[0].credential_id: too long"))
		c := &completion.Credential{ID: "cred_1", OrgID: "org_1", Provider: "acme", Revision: 1}
		r.Refused(c, usage.Own, &completion.ProviderError{Class: completion.AuthInvalid})
		wait(time.Second / 10)
		keys.fail(nil)
		r.Applied(9)
		wait(time.Second)
		if got, _ := keys.last(); got.GetAppliedVersion() != 9 || len(got.GetEvidence()) != 0 {
			t.Errorf("the report after a refused one is %v, want version 9 and nothing of the refused", got)
		}
	})
}

func TestCutsAreToldForAMinute(t *testing.T) {
	reporting(t, nil, func(t *testing.T, r *report.Reporter, keys *ear) {
		wait(time.Second)
		r.Applied(1, report.Cut{ID: "cred_1", Streams: 2}, report.Cut{ID: "key_1", Streams: 3})
		wait(30 * time.Second)
		r.Applied(2, report.Cut{ID: "cred_1", Streams: 1})
		wait(time.Second)
		want := func(want ...*keysv1.StreamsCut) {
			t.Helper()
			got, _ := keys.last()
			if diff := cmp.Diff(want, got.GetCuts(), protocmp.Transform()); diff != "" {
				t.Errorf("cuts (-want +got):\n%s", diff)
			}
		}
		want(&keysv1.StreamsCut{Id: "cred_1", Streams: 3}, &keysv1.StreamsCut{Id: "key_1", Streams: 3})
		wait(35 * time.Second)
		want(&keysv1.StreamsCut{Id: "cred_1", Streams: 1})
		wait(30 * time.Second)
		want()
	})
}

func TestHeadroomIsToldOfTheNewestAndNotTooOften(t *testing.T) {
	type lesson struct {
		model     string
		remaining int64
		cooling   bool
	}
	var mu sync.Mutex
	var lessons []lesson
	learn := func(l ...lesson) { mu.Lock(); defer mu.Unlock(); lessons = append(lessons, l...) }
	learned := func(visit func(c *completion.Credential, model string, left completion.Headroom, coolingUntil, at time.Time)) {
		mu.Lock()
		defer mu.Unlock()
		for i, l := range lessons {
			at, until := time.Now().Add(time.Duration(i)*time.Microsecond), time.Time{}
			if l.cooling {
				until = at.Add(time.Minute)
			}
			_, of, _ := strings.Cut(l.model, "many ") // each of another credential
			visit(&completion.Credential{ID: "cred_1" + of, OrgID: "org_1"}, l.model,
				completion.Headroom{Requests: completion.Allowance{Known: true, Limit: 10, Remaining: l.remaining, Reset: time.Second}}, until, at)
		}
		lessons = nil
	}
	reporting(t, learned, func(t *testing.T, _ *report.Reporter, keys *ear) {
		told := func() (out []lesson) {
			keys.mu.Lock()
			defer keys.mu.Unlock()
			for _, req := range keys.heard {
				for _, h := range req.GetHeadroom() {
					if h.GetOrgId() != "org_1" || !strings.HasPrefix(h.GetHeadroom().GetCredentialId(), "cred_1") || h.GetHeadroom().GetTokens() != nil || h.GetHeadroom().GetRequests().GetResetTime() == nil {
						t.Errorf("told of %v", h)
					}
					out = append(out, lesson{h.GetHeadroom().GetModel(), h.GetHeadroom().GetRequests().GetRemaining(), h.GetHeadroom().GetCoolingUntil() != nil})
				}
			}
			keys.heard = nil
			return out
		}
		want := func(what string, want ...lesson) {
			t.Helper()
			if diff := cmp.Diff(want, told(), cmp.AllowUnexported(lesson{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		wait(time.Second)
		learn(lesson{"a", 9, false}, lesson{"b", 5, false})
		wait(5 * time.Second)
		want("at the next report, the newest first", lesson{"b", 5, false}, lesson{"a", 9, false})
		learn(lesson{"a", 8, false})
		wait(5 * time.Second)
		want("so soon again")
		learn(lesson{"a", 7, true})
		wait(5 * time.Second)
		want("a cooldown begins", lesson{"a", 7, true})
		learn(lesson{"a", 6, true})
		wait(5 * time.Second)
		learn(lesson{"a", 5, true})
		wait(15 * time.Second)
		want("it lasts")
		keys.fail(errors.New("away"))
		wait(10 * time.Second)
		keys.fail(nil)
		wait(5 * time.Second)
		want("half a minute later, though keys was away", lesson{"a", 5, true})
		for i := range 1500 {
			learn(lesson{fmt.Sprint("many ", i), int64(i), false})
		}
		wait(5 * time.Second)
		if got := told(); len(got) != 1000 || got[0].remaining != 1499 || got[999].remaining != 500 {
			t.Errorf("told of %d places of 1,500, want the newest 1,000", len(got))
		}
		wait(5 * time.Second)
		if got := told(); len(got) != 500 {
			t.Errorf("then told of %d places, want the other 500", len(got))
		}
	})
}

func TestDrillsAreCountedFromTheirBeginning(t *testing.T) {
	reporting(t, nil, func(t *testing.T, r *report.Reporter, keys *ear) {
		own := &completion.Target{
			Model: "openai/gpt-4o", Class: usage.Own, Credential: &completion.Credential{ID: "cred_2"}, PolicyID: "pol_1", Line: 1,
		}
		platform := &completion.Target{Model: "openai/gpt-4o", Class: usage.Platform, Credential: &completion.Credential{ID: "cred_platform"}}
		drill := &completion.Drill{ID: "drill_1", OrgID: "org_1", CredentialID: "cred_1", Until: time.Now().Add(time.Minute)}
		want := func(what string, want ...*keysv1.DrillProgress) {
			t.Helper()
			var got []*keysv1.DrillProgress
			keys.mu.Lock()
			defer keys.mu.Unlock()
			for _, req := range keys.heard {
				got = append(got, req.GetDrills()...)
			}
			keys.heard = nil
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		report := &keysv1.DrillReport{Requests: 3, FailedCalls: 4, Unserved: 1, Served: []*keysv1.DrillServed{
			{Model: "openai/gpt-4o", CredentialId: "cred_2", PolicyId: "pol_1", Line: 2, Requests: 1}, {Model: "openai/gpt-4o", Requests: 1},
		}}
		wait(time.Second)
		r.Drills().Met(drill, true)
		r.Drills().Met(drill, false)
		r.Drills().Served(drill, own)
		r.Drills().Met(drill, true)
		r.Drills().Served(drill, platform)
		r.Drills().Met(drill, true)
		r.Drills().Unserved(drill)
		keys.fail(errors.New("away"))
		wait(10 * time.Second)
		want("keys is away")
		keys.fail(nil)
		wait(5 * time.Second)
		want("keys is back", &keysv1.DrillProgress{OrgId: "org_1", DrillId: "drill_1", Report: report})
		wait(5 * time.Second)
		want("nothing new")
		r.Drills().Met(drill, true)
		r.Drills().Served(drill, own)
		report.Requests, report.FailedCalls, report.Served[0].Requests = 4, 5, 2
		wait(5 * time.Second)
		want("more of it", &keysv1.DrillProgress{OrgId: "org_1", DrillId: "drill_1", Report: report})
	})
}

func TestVerdictsWithManyModelsComeInReportsThatKeysTakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		models := make([]string, 1000)
		for i := range models {
			models[i] = fmt.Sprintf("%0200d", i)
		}
		const credentials = 40 // of 200 KB each
		upstream := &ear{began: time.Now()}
		r := report.New(report.Options{
			Router: "router-1", Client: upstream, Log: slog.New(slog.DiscardHandler), Now: time.Now,
			Providers: map[string]completion.Provider{"acme": vendor{verdict: completion.Verdict{State: "active", Models: models}}},
			Credential: func(_, id string) (*completion.Credential, bool) {
				return &completion.Credential{ID: id, OrgID: "org_1", Provider: "acme", Revision: 1, Sealed: "s"}, true
			},
			Secret: func(context.Context, *completion.Credential) (secret.Text, error) { return secret.New("k"), nil },
		})
		for i := range credentials {
			r.Probe(&keysv1.ProbeJob{Id: fmt.Sprint("probe_", i), OrgId: "org_1", CredentialId: fmt.Sprint("cred_", i), Revision: 1})
		}
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
		told := map[string]bool{}
		for _, req := range upstream.heard {
			if size := proto.Size(req); size > 2<<20 {
				t.Errorf("a report has %d bytes", size)
			}
			for _, result := range req.GetProbeResults() {
				if told[result.GetProbeId()] {
					t.Errorf("%s is told twice", result.GetProbeId())
				}
				told[result.GetProbeId()] = true
			}
		}
		if len(told) != credentials {
			t.Errorf("%d verdicts are told, want %d", len(told), credentials)
		}
	})
}

// TestACredentialWithEndlessModelsLeavesRoomForOthers: a caller invents names, and an address answers to all.
func TestACredentialWithEndlessModelsLeavesRoomForOthers(t *testing.T) {
	turn := 0
	learned := func(visit func(c *completion.Credential, model string, left completion.Headroom, coolingUntil, at time.Time)) {
		turn++
		left := completion.Headroom{Requests: completion.Allowance{Known: true, Remaining: 7}}
		if turn == 1 {
			visit(&completion.Credential{ID: "cred_quiet", OrgID: "org_1"}, "openai/m", left, time.Time{}, time.Now())
		}
		for i := range 3000 {
			visit(&completion.Credential{ID: "cred_loud", OrgID: "org_2"}, fmt.Sprint("openai/", turn, "-", i), left, time.Time{}, time.Now().Add(time.Millisecond))
		}
	}
	reporting(t, learned, func(t *testing.T, _ *report.Reporter, keys *ear) {
		wait(time.Second)
		got, _ := keys.last()
		quiet := slices.ContainsFunc(got.GetHeadroom(), func(h *keysv1.HeadroomReport) bool { return h.GetHeadroom().GetCredentialId() == "cred_quiet" })
		if n := len(got.GetHeadroom()); !quiet || n > 101 {
			t.Errorf("a report of %d models has the other credential: %v", n, quiet)
		}
	})
}

func TestAnswersAreToldAtOnceAndLetGoIfNobodyHears(t *testing.T) {
	reporting(t, nil, func(t *testing.T, r *report.Reporter, keys *ear) {
		wait(time.Second)
		_, before := keys.last()
		r.Answer(&keysv1.RouteAnswer{Id: "rq_1"})
		synctest.Wait()
		if got, n := keys.last(); n != before+1 || len(got.GetRouteAnswers()) != 1 || got.GetRouteAnswers()[0].GetId() != "rq_1" {
			t.Errorf("after %d reports more the last has %v, want the answer at once", n-before, got.GetRouteAnswers())
		}
		wait(time.Second)
		keys.fail(errors.New("keys is away"))
		for i := range 200 { // more than are kept
			r.Answer(&keysv1.RouteAnswer{Id: fmt.Sprint("rq_lost_", i)})
		}
		wait(time.Minute)
		keys.fail(nil)
		_, before = keys.last()
		wait(10 * time.Second)
		for _, report := range keys.heard[before:] {
			if len(report.GetRouteAnswers()) > 0 {
				t.Errorf("%d answers are told that nobody waits for any more", len(report.GetRouteAnswers()))
			}
		}
		_, before = keys.last()
		for i := range 3 {
			r.Answer(&keysv1.RouteAnswer{Id: fmt.Sprint("rq_long_", i), Route: make([]byte, 700<<10)})
		}
		wait(time.Second)
		var told []string
		for _, report := range keys.heard[before:] {
			if proto.Size(report) > 2<<20 {
				t.Errorf("a report of %d bytes, want less than two MiB", proto.Size(report))
			}
			for _, a := range report.GetRouteAnswers() {
				told = append(told, a.GetId())
			}
		}
		if want := []string{"rq_long_0", "rq_long_1", "rq_long_2"}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}

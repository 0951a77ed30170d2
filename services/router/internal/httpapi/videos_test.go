package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/egress"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/httpapi"
	"github.com/claviger/claviger/services/router/internal/media"
	"github.com/claviger/claviger/services/router/internal/provider/compat"
	"github.com/claviger/claviger/services/router/internal/provider/download"
	"github.com/claviger/claviger/services/router/internal/provider/fal"
	"github.com/claviger/claviger/services/router/internal/provider/pollo"
	"github.com/claviger/claviger/services/router/internal/snapshot"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// studio is a router with real adapters, in front of scripted providers of media.
type studio struct {
	*httptest.Server
	provider *llmtest.Server
	media    *media.Service
	log      bytes.Buffer // complete once the server is closed

	mu     sync.Mutex
	events []usage.Event
}

func (s *studio) Begin(*usage.Event) (*usage.Ticket, error)                              { return &usage.Ticket{}, nil }
func (s *studio) Checkpoint(string, usage.Tokens, usage.Source)                          {}
func (s *studio) Done(_ *usage.Ticket, e *usage.Event) error                             { return s.Revise(e) }
func (s *studio) Refused(*completion.Credential, usage.Class, *completion.ProviderError) {}
func (s *studio) Limited(*completion.Credential, usage.Class, *completion.ProviderError) {}
func (s *studio) Revise(e *usage.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, *e)
	return nil
}

func (s *studio) recorded() []usage.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]usage.Event(nil), s.events...)
}

var mediaKeys = map[string]string{"fal": "id:secret", "pollo": "pollo_key", "xai": "xai-key"}

func (s *studio) Secret(_ context.Context, c *completion.Credential) (secret.Text, error) {
	return secret.New(mediaKeys[c.Provider]), nil
}

func (s *studio) Plan(caller completion.Caller, req *completion.Request) (completion.Plan, error) {
	slug, name, _ := strings.Cut(req.Model, "/")
	if mediaKeys[slug] == "" {
		return completion.Plan{}, completion.ErrModelUnknown
	}
	return completion.Plan{Targets: []completion.Target{{
		Provider: slug, Model: req.Model, Name: name, Class: usage.Own, Credential: credentialOf(caller.OrgID, slug),
	}}}, nil
}

func credentialOf(orgID, slug string) *completion.Credential {
	return &completion.Credential{ID: "cred_" + slug, OrgID: orgID, Provider: slug, Revision: 3}
}

// openStudio starts it. Its webhooks come to /hooks/ if tell is set.
func openStudio(t *testing.T, tell bool) *studio {
	t.Helper()
	s := &studio{provider: llmtest.New(t)}
	log := slog.New(slog.NewJSONHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	falAdapter, polloAdapter := fal.New(http.DefaultTransport), pollo.New(http.DefaultTransport)
	vendors := compat.Vendors()
	xai := compat.New(http.DefaultTransport, vendors[slices.IndexFunc(vendors, func(v compat.Vendor) bool { return v.Facts.Slug == "xai" })])
	urls := map[string]string{"fal": s.provider.FalURL(), "pollo": s.provider.PolloURL(), "xai": s.provider.XAIURL()}
	guard, err := egress.New(egress.Options{Allow: []string{strings.TrimPrefix(s.provider.URL, "http://")}})
	if err != nil {
		t.Fatal(err)
	}
	s.media, err = media.New(media.Options{
		Environment: "test", Dir: t.TempDir(), Keyring: s, Recorder: s, Evidence: s, BaseURLs: urls,
		Credential: func(orgID, id string) (*completion.Credential, bool) {
			return credentialOf(orgID, strings.TrimPrefix(id, "cred_")), true
		},
		Providers: map[string]media.Provider{"fal": falAdapter, "pollo": polloAdapter, "xai": xai},
		Fetcher:   download.New(guard.Client(egress.TransportOptions{}), time.Minute), Log: log, Now: time.Now,
	})
	if err == nil {
		err = s.media.UsePepper(secret.New("pepper"))
	}
	if err != nil {
		t.Fatal(err)
	}
	completions := completion.New(completion.Options{
		Planner: s, Keyring: s, Recorder: s, Evidence: s, Jobs: s.media, BaseURLs: urls, Log: log, Now: time.Now,
		Providers: map[string]completion.Provider{"fal": falAdapter, "pollo": polloAdapter, "xai": xai},
	})
	told, err := telemetry.Start(t.Context(), telemetry.Options{Service: "router"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { told.Shutdown(context.WithoutCancel(t.Context())) })
	o := httpapi.Options{
		Completions: completions, Media: s.media, MaxBodyBytes: 1 << 20, Log: log, Now: time.Now, Telemetry: told,
		Caller: func(presented string) (completion.Caller, error) {
			if !strings.HasPrefix(presented, "org_") {
				return completion.Caller{}, snapshot.ErrKeyInvalid
			}
			return completion.Caller{OrgID: presented, APIKeyID: "key_" + presented, Provenance: completion.ProvenanceBasic}, nil
		},
		Models:   func(completion.Caller) ([]string, error) { return []string{"fal/a/b"}, nil },
		Webhooks: map[string]httpapi.Webhook{},
	}
	if tell {
		o.Webhooks["fal"] = fal.NewWebhooks(http.DefaultTransport, []string{s.provider.FalURL() + "/.well-known/jwks.json"}, time.Now).Verify
		o.Webhooks["pollo"] = func(_ context.Context, _ http.Header, body []byte) (string, error) { return pollo.TaskOf(body), nil }
	}
	s.Server = httptest.NewServer(httpapi.New(o))
	t.Cleanup(s.Close)
	if tell {
		falAdapter.NotifyAt(s.URL + "/hooks/fal")
		polloAdapter.NotifyAt(s.URL + "/hooks/pollo")
	}
	return s
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
	video  struct {
		ID, Object, Status, Model, Seconds string
		Progress                           int
		Deleted                            bool
		Outputs                            []struct{ URL string }
		Usage                              map[string]any
		Error                              *struct{ Code, Type, Message, Hint string }
	}
}

func (s *studio) ask(t *testing.T, caller, method, path, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+caller)
	req.Header.Set("Content-Type", "application/json")
	res, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	out := answer{status: res.StatusCode, header: res.Header}
	if out.body, err = io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(out.body, &out.video); err != nil {
			t.Fatalf("%s %s = %q: %v", method, path, out.body, err)
		}
	}
	return out
}

// jobOf is what the provider calls the job that was submitted last.
func (s *studio) jobOf(t *testing.T) string {
	t.Helper()
	events := s.recorded()
	return events[len(events)-1].ProviderRequestID
}

const falFilm = `{"model":"fal/minimax/h3-max/text-to-video","prompt":"a red kite","seconds":"6"}`

func TestVideoFromSubmitToContent(t *testing.T) {
	t.Parallel()
	s := openStudio(t, false)
	for slug, body := range map[string]string{
		"fal":   falFilm,
		"pollo": `{"model":"pollo/kling-ai/kling-v1-5","prompt":"waves","seconds":5,"parameters":{"mode":"std"}}`,
		"xai":   `{"model":"xai/grok-imagine-video","prompt":"waves","seconds":7,"size":"1280x720"}`,
	} {
		got := s.ask(t, "org_a", http.MethodPost, "/v1/videos", body)
		if got.status != 200 || got.video.Status != "queued" || got.video.Object != "video" || !strings.HasPrefix(got.video.ID, "video_") ||
			got.header.Get("X-Claviger-Model") == "" || got.header.Get("Openai-Poll-After-Ms") != "5000" {
			t.Fatalf("%s: submit = %d %s", slug, got.status, got.body)
		}
		path := "/v1/videos/" + got.video.ID
		if content := s.ask(t, "org_a", http.MethodGet, path+"/content", ""); content.status != 422 || content.video.Error.Code != "job_not_done" {
			t.Errorf("%s: content before the end = %d %s", slug, content.status, content.body)
		}
		s.provider.EndJob(s.jobOf(t))
		s.media.Hint(slug, s.jobOf(t)) // forgets what was answered a moment ago
		got = s.ask(t, "org_a", http.MethodGet, path, "")
		if got.status != 200 || got.video.Status != "completed" || got.video.Progress != 100 || len(got.video.Outputs) != 1 || got.video.Usage["estimated"] != false {
			t.Fatalf("%s: job at its end = %d %s", slug, got.status, got.body)
		}
		content := s.ask(t, "org_a", http.MethodGet, path+"/content?variant=video&index=0", "")
		if content.status != 200 || !bytes.Contains(content.body, []byte("a film of keys")) || content.header.Get("Content-Type") != "video/mp4" ||
			content.header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(content.header.Get("Content-Security-Policy"), "sandbox") {
			t.Errorf("%s: content = %d %v %q", slug, content.status, content.header, content.body)
		}
		events := s.recorded()
		first, last := events[len(events)-2], events[len(events)-1]
		if first.Revision != 0 || first.Tokens != nil || first.Source != usage.SourceUnknown || first.Operation != "videos" ||
			last.Revision != 2 || last.AttemptID != first.AttemptID || last.Source != usage.ProviderFinal || len(last.Units) != 2 || last.OrgID != "org_a" {
			t.Errorf("%s: events\n%+v\n%+v", slug, first, last)
		}
		ledger := s.provider.Ledger()
		for _, u := range last.Units {
			if declared := ledger[len(ledger)-1].Units[u.Name]; u.Name != "request" && float64(u.Milli) != 1000*declared {
				t.Errorf("%s: %s = %d, declared %v", slug, u.Name, u.Milli, declared)
			}
		}
		if ticks, ok := ledger[len(ledger)-1].Units["usd_tick"]; ok != (slug == "xai") || ok && (last.CostNanoUSD == nil || float64(*last.CostNanoUSD) != ticks/10) {
			t.Errorf("%s: cost %v, declared %v ten billionths of a dollar", slug, last.CostNanoUSD, ticks)
		}
	}
}

// TestJobThatFailsSaysWhyAndCountsOnce: the provider took the job, and it came to nothing.
func TestJobThatFailsSaysWhyAndCountsOnce(t *testing.T) {
	t.Parallel()
	s := openStudio(t, false)
	for _, test := range []struct{ model, script, class string }{
		{"fal/minimax/h3-max/text-to-video", "error=content", "content_refused"},
		{"pollo/kling-ai/kling-v1-5", "error=server", "server_error"},
		{"xai/grok-imagine-video", "error=server", "server_error"},
		{"xai/grok-imagine-video", "error=content", "content_refused"},
		{"xai/grok-imagine-video", "finish=expired", "timeout"},
	} {
		token := s.ask(t, "org_a", http.MethodPost, "/v1/videos", `{"model":"`+test.model+`","prompt":"script:`+test.script+`,at=0 a kite"}`).video.ID
		job, before := s.jobOf(t), len(s.recorded())
		s.provider.EndJob(job)
		for range 2 {
			got := s.ask(t, "org_a", http.MethodGet, "/v1/videos/"+token, "")
			if got.status != 200 || got.video.Status != "failed" || got.video.Error == nil || got.video.Error.Message == "" || len(got.video.Outputs) != 0 {
				t.Errorf("%s of %s = %d %s", test.script, test.model, got.status, got.body)
			}
		}
		events := s.recorded()
		if last := events[len(events)-1]; len(events) != before+1 || last.Revision != 2 || last.Outcome != usage.Failed || last.ErrorClass != test.class || last.ProviderRequestID != job {
			t.Errorf("%s of %s: %d events, the last %+v", test.script, test.model, len(events)-before, last)
		}
		if content := s.ask(t, "org_a", http.MethodGet, "/v1/videos/"+token+"/content", ""); content.status != 422 || content.video.Error.Code != "job_failed" {
			t.Errorf("%s of %s: content = %d %s", test.script, test.model, content.status, content.body)
		}
	}
}

func TestErrorsOfVideosAreNamed(t *testing.T) {
	t.Parallel()
	s := openStudio(t, false)
	for name, test := range map[string]struct {
		method, path, body string
		status             int
		code               string
	}{
		"a list":             {"GET", "/v1/videos", "", 400, "jobs_not_listed"},
		"another method":     {"PUT", "/v1/videos", "", 405, "method_not_supported"},
		"remix":              {"POST", "/v1/videos/video_x/remix", "", 404, "route_not_supported"},
		"no model":           {"POST", "/v1/videos", `{"prompt":"x"}`, 404, "model_not_found"},
		"an unknown field":   {"POST", "/v1/videos", `{"model":"fal/a/b","prompt":"x","n":2}`, 400, "invalid_field"},
		"an unknown family":  {"POST", "/v1/videos", `{"model":"fal/a/b","prompt":"x","seconds":5}`, 400, "not_convertible"},
		"no money":           {"POST", "/v1/videos", `{"model":"fal/a/b","prompt":"script:error=quota"}`, 429, "insufficient_quota"},
		"a wrong key":        {"POST", "/v1/videos", `{"model":"fal/a/b","prompt":"script:error=auth"}`, 502, "credential_rejected"},
		"refused content":    {"POST", "/v1/videos", `{"model":"fal/a/b","prompt":"script:error=content"}`, 400, "content_policy_violation"},
		"a seed for xAI":     {"POST", "/v1/videos", `{"model":"xai/grok-imagine-video","prompt":"x","seed":7}`, 400, "not_convertible"},
		"too long for xAI":   {"POST", "/v1/videos", `{"model":"xai/grok-imagine-video","prompt":"x","seconds":60}`, 400, "invalid-argument"},
		"no money at xAI":    {"POST", "/v1/videos", `{"model":"xai/grok-imagine-video","prompt":"script:error=quota"}`, 429, "insufficient_quota"},
		"a wrong xAI key":    {"POST", "/v1/videos", `{"model":"xai/grok-imagine-video","prompt":"script:error=auth"}`, 502, "credential_rejected"},
		"xAI's own error":    {"POST", "/v1/videos", `{"model":"xai/grok-imagine-video","prompt":"script:error=server"}`, 502, "outcome_unknown"},
		"a cut xAI answer":   {"POST", "/v1/videos", `{"model":"xai/grok-imagine-video","prompt":"script:cut=5"}`, 502, "outcome_unknown"},
		"a server's error":   {"POST", "/v1/videos", `{"model":"fal/a/b","prompt":"script:error=server"}`, 502, "outcome_unknown"},
		"an answer that cut": {"POST", "/v1/videos", `{"model":"pollo/a/b","prompt":"script:cut=10"}`, 502, "outcome_unknown"},
		"a forged id":        {"GET", "/v1/videos/video_AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "", 404, "job_not_found"},
		"no id":              {"DELETE", "/v1/videos/7f", "", 404, "job_not_found"},
		"a thumbnail":        {"GET", "/v1/videos/7f/content?variant=thumbnail", "", 400, "variant_not_supported"},
		"a strange index":    {"GET", "/v1/videos/7f/content?index=-1", "", 400, "invalid_field"},
	} {
		got := s.ask(t, "org_a", test.method, test.path, test.body)
		if got.status != test.status || got.video.Error == nil || got.video.Error.Code != test.code {
			t.Errorf("%s = %d %s, want %d %s", name, got.status, got.body, test.status, test.code)
		}
		// SDKs send again by themselves what may help; a second submit would be paid twice.
		if test.code == "outcome_unknown" && (got.header.Get("X-Should-Retry") != "false" || !strings.Contains(got.video.Error.Hint, "before you send it again")) {
			t.Errorf("%s: SDKs are not kept from sending it again: %v %s", name, got.header, got.body)
		}
	}
	if got := s.ask(t, "nobody", http.MethodPost, "/v1/videos", falFilm); got.status != 401 {
		t.Errorf("without a key = %d %s", got.status, got.body)
	}
	if got := s.ask(t, "nobody", http.MethodGet, "/v1/videos/7f", ""); got.status != 401 {
		t.Errorf("without a key = %d %s", got.status, got.body)
	}
}

func TestNobodyElseReachesAJob(t *testing.T) {
	t.Parallel()
	s := openStudio(t, false)
	token := s.ask(t, "org_a", http.MethodPost, "/v1/videos", falFilm).video.ID
	job := s.jobOf(t)
	for _, r := range []struct{ method, suffix string }{{"GET", ""}, {"GET", "/content"}, {"DELETE", ""}, {"POST", "/cancel"}} {
		if got := s.ask(t, "org_b", r.method, "/v1/videos/"+token+r.suffix, ""); got.status != 404 || got.video.Error.Code != "job_not_found" {
			t.Errorf("%s %s by another organization = %d %s", r.method, r.suffix, got.status, got.body)
		}
	}
	if state, _ := s.provider.Job(job); state.Questions != 0 || state.Canceled {
		t.Errorf("the provider heard of it: %+v", state)
	}
}

// TestNoLogLineHoldsAToken fails on every route with a job's token in the path, in all ways that are logged.
func TestNoLogLineHoldsAToken(t *testing.T) {
	t.Parallel()
	s := openStudio(t, true)
	token := s.ask(t, "org_a", http.MethodPost, "/v1/videos", falFilm).video.ID
	short := token[:40] // a part of it that would do to find it
	want := map[string]int{}
	for _, r := range []struct {
		method, path, route string
		logged              bool
	}{
		{"GET", "/v1/videos/" + token, "/v1/videos/{id}", true},
		{"DELETE", "/v1/videos/" + token, "/v1/videos/{id}", true},
		{"PATCH", "/v1/videos/" + token, "/v1/videos/{id}", true},
		{"POST", "/v1/videos/" + token + "/cancel", "/v1/videos/{id}/cancel", true},
		{"GET", "/v1/videos/" + token + "/content?index=7", "/v1/videos/{id}/content", true},
		{"GET", "/v1/videos/" + token + "/content?variant=" + token, "/v1/videos/{id}/content", true},
		{"POST", "/v1/videos/" + token + "/remix", "/v1/", true},
		{"GET", "/v1/" + token, "/v1/", true},
		{"GET", "/v1/models/" + token, "/v1/models/{model}", true},
		{"POST", "/hooks/fal?job=" + token, "/hooks/fal", true},
		{"POST", "/hooks/" + token, "", false}, // no route, so nothing is logged
	} {
		if got := s.ask(t, "org_b", r.method, r.path, ""); got.status/100 == 2 {
			t.Errorf("%s %s = %d", r.method, r.path, got.status)
		}
		if r.logged {
			want[r.route]++
		}
	}
	s.media.Hint("fal", s.jobOf(t)) // forgets what was answered a moment ago
	s.provider.EndJob(s.jobOf(t))
	for path, route := range map[string]string{"/content": "/v1/videos/{id}/content", "/content?index=7": "/v1/videos/{id}/content", "/cancel": "/v1/videos/{id}/cancel"} {
		if got := s.ask(t, "org_a", http.MethodPut, "/v1/videos/"+token+path, ""); got.status != 405 {
			t.Errorf("PUT %s = %d", path, got.status)
		}
		want[route]++
	}
	s.Close()
	got := map[string]int{}
	for line := range strings.Lines(s.log.String()) {
		var of struct{ Msg, Route string }
		if err := json.Unmarshal([]byte(line), &of); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, short) || strings.Contains(line, "video_") {
			t.Errorf("a log line holds a token: %s", line)
		}
		if of.Msg == "request failed" {
			got[of.Route]++
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("failures logged by route (-want +got):\n%s", diff)
	}
}

// TestPanicIsLoggedByItsRoute: a defect's log line names the route, and neither the path nor its token.
func TestPanicIsLoggedByItsRoute(t *testing.T) {
	t.Parallel()
	var lines bytes.Buffer
	told, err := telemetry.Start(t.Context(), telemetry.Options{Service: "router"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { told.Shutdown(context.WithoutCancel(t.Context())) })
	server := httptest.NewServer(httpapi.New(httpapi.Options{
		Media: (*media.Service)(nil), Log: slog.New(slog.NewJSONHandler(&lines, nil)), Now: time.Now, Telemetry: told,
		Caller: func(string) (completion.Caller, error) { panic("a defect that holds video_secret") },
	}))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v1/videos/video_secret", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer clv")
	if res, err := server.Client().Do(req); err == nil {
		_ = res.Body.Close()
		t.Errorf("a defect answers %d", res.StatusCode)
	}
	server.Close()
	if got := lines.String(); !strings.Contains(got, `"route":"/v1/videos/{id}"`) || strings.Contains(got, "video_secret") {
		t.Errorf("the log of a defect is %s", got)
	}
}

func TestDeleteCancels(t *testing.T) {
	t.Parallel()
	s := openStudio(t, false)
	token := s.ask(t, "org_a", http.MethodPost, "/v1/videos", falFilm).video.ID
	if got := s.ask(t, "org_a", http.MethodDelete, "/v1/videos/"+token, ""); got.status != 200 || !got.video.Deleted || got.video.ID != token {
		t.Errorf("delete = %d %s", got.status, got.body)
	}
	if state, _ := s.provider.Job(s.recorded()[0].ProviderRequestID); !state.Canceled {
		t.Error("the provider did not hear of it")
	}
	if got := s.ask(t, "org_a", http.MethodGet, "/v1/videos/"+token, ""); got.video.Status != "failed" || got.video.Error.Code != "canceled" {
		t.Errorf("afterwards = %s", got.body)
	}
	if got := s.ask(t, "org_a", http.MethodPost, "/v1/videos/"+token+"/cancel", ""); got.status != 422 || got.video.Error.Code != "job_ended" {
		t.Errorf("again = %d %s", got.status, got.body)
	}
	for slug, model := range map[string]string{"pollo": "pollo/a/b", "xai": "xai/grok-imagine-video"} {
		token = s.ask(t, "org_a", http.MethodPost, "/v1/videos", `{"model":"`+model+`","prompt":"waves"}`).video.ID
		got := s.ask(t, "org_a", http.MethodPost, "/v1/videos/"+token+"/cancel", "")
		if got.status != 400 || got.video.Error.Code != "cancel_not_supported" || !strings.HasPrefix(got.video.Error.Message, slug+" has no call that cancels") {
			t.Errorf("where there is no cancel = %d %s", got.status, got.body)
		}
		if got := s.ask(t, "org_a", http.MethodGet, "/v1/videos/"+token, ""); got.status != 200 || got.video.Status == "failed" {
			t.Errorf("afterwards = %d %s", got.status, got.body)
		}
	}
}

func TestWebhooksMakeTheRouterAskAndNothingElse(t *testing.T) {
	t.Parallel()
	s := openStudio(t, true)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.media.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	send := func(req *http.Request, err error, change func(*http.Request)) int {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		change(req)
		res, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	asIs := func(*http.Request) {}
	if got := s.ask(t, "org_a", http.MethodPost, "/v1/videos", falFilm); got.status != 200 {
		t.Fatalf("%s", got.body)
	}
	job := s.jobOf(t)
	req, err := s.provider.FalWebhook(t.Context(), job, time.Now())
	if got := send(req, err, func(r *http.Request) { r.Header.Set("X-Fal-Webhook-Signature", strings.Repeat("ab", 64)) }); got != 401 {
		t.Errorf("a forged webhook = %d", got)
	}
	if state, _ := s.provider.Job(job); state.Questions != 0 {
		t.Error("a forged webhook makes the router ask")
	}
	// A genuine one of a job that still runs says that it is done: the provider is asked, and it is not.
	at := time.Now()
	req, err = s.provider.FalWebhook(t.Context(), job, at)
	if got := send(req, err, asIs); got != 204 {
		t.Errorf("a genuine webhook = %d", got)
	}
	s.await(t, func() bool { state, _ := s.provider.Job(job); return state.Questions == 1 })
	if events := s.recorded(); len(events) != 1 {
		t.Errorf("a webhook is believed: %+v", events)
	}
	req, err = s.provider.FalWebhook(t.Context(), job, at)
	if got := send(req, err, asIs); got != 409 {
		t.Errorf("a webhook that was here before = %d", got)
	}
	s.provider.EndJob(job)
	req, err = s.provider.FalWebhook(t.Context(), job, at.Add(time.Second))
	if got := send(req, err, asIs); got != 204 {
		t.Errorf("the last webhook = %d", got)
	}
	s.await(t, func() bool { events := s.recorded(); return len(events) == 2 && events[1].Revision == 2 })

	s.ask(t, "org_a", http.MethodPost, "/v1/videos", `{"model":"pollo/a/b","prompt":"waves"}`)
	task := s.jobOf(t)
	s.provider.EndJob(task)
	req, err = s.provider.PolloWebhook(t.Context(), task, time.Now())
	if got := send(req, err, asIs); got != 204 {
		t.Errorf("Pollo's webhook = %d", got)
	}
	s.await(t, func() bool { events := s.recorded(); return len(events) == 4 && events[3].Provider == "pollo" })
	for _, path := range []string{"/hooks/fal", "/hooks/pollo"} {
		if got := s.ask(t, "", http.MethodPost, path, strings.Repeat("x", 2<<20)); got.status/100 != 4 {
			t.Errorf("a webhook of 2 MiB at %s = %d", path, got.status)
		}
		if got := s.ask(t, "", http.MethodGet, path, ""); got.status != 405 {
			t.Errorf("GET %s = %d", path, got.status)
		}
	}
	if off := openStudio(t, false).ask(t, "", http.MethodPost, "/hooks/fal", "{}"); off.status != 404 {
		t.Errorf("a webhook where none is asked for = %d", off.status)
	}
}

// await waits until something is so.
func (s *studio) await(t *testing.T, so func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it does not come; events: %+v", s.recorded())
		}
	}
}

func TestPicturesOfAQueueOverOpenAIsImages(t *testing.T) {
	t.Parallel()
	s := openStudio(t, false)
	for format, want := range map[string]string{"": `"url":"` + s.provider.FalURL(), "b64_json": `"b64_json":"`, "url": `"url":"` + s.provider.FalURL()} {
		body := `{"model":"fal/fal-ai/flux/dev","prompt":"script:polls=1 a red kite","n":2,"size":"1024x1024"`
		if format != "" {
			body += `,"response_format":"` + format + `"`
		}
		got := s.ask(t, "org_a", http.MethodPost, "/v1/images/generations", body+"}")
		if got.status != 200 || strings.Count(string(got.body), want) != 2 {
			t.Errorf("response_format %q = %d %s", format, got.status, got.body)
		}
		e := s.recorded()[len(s.recorded())-1]
		if e.Operation != "images" || e.Source != usage.ProviderFinal || len(e.Units) != 3 || e.Units[2] != (usage.Unit{Name: "megapixel", Milli: 4000}) {
			t.Errorf("event %+v", e)
		}
	}
	if got := s.ask(t, "org_a", http.MethodPost, "/v1/images/generations", `{"model":"fal/fal-ai/flux/dev","prompt":"x","quality":"high"}`); got.status != 400 || !strings.Contains(string(got.body), "quality cannot be sent to fal") {
		t.Errorf("what fal does not know = %d %s", got.status, got.body)
	}
	if got := s.ask(t, "org_a", http.MethodPost, "/v1/images/generations", `{"model":"fal/fal-ai/flux/dev","prompt":"script:error=server"}`); got.status != 502 || got.header.Get("X-Should-Retry") != "false" {
		t.Errorf("a submit of unknown outcome = %d %v %s", got.status, got.header, got.body)
	}
}

//nolint:staticcheck // OpenAI calls its videos deprecated since it ended its own; the form lives on with others
package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/proto/gen/claviger/router/v1/routerv1connect"
	"github.com/claviger/claviger/tools/e2e/cluster"
	"github.com/claviger/claviger/tools/seed"
	"github.com/claviger/claviger/tools/suite"
)

// studio is a suite with organizations that have keys of fal, Pollo and xAI. Its providers are asked to tell
// of the end of jobs at publicURL, which leads nowhere: tests carry what they say.
type studio struct {
	town
	began time.Time
}

const publicURL = "https://router.example"

func startStudio(t *testing.T) *studio {
	t.Helper()
	provider, dir := llmtest.New(t), t.TempDir()
	s, err := suite.Start(t.Context(), "127.0.0.1:0", suite.Options{
		Dir: dir, Log: slog.New(slog.DiscardHandler), EgressAllow: []string{strings.TrimPrefix(provider.URL, "http://")},
		ProviderURLs: map[string]string{"fal": provider.FalURL(), "pollo": provider.PolloURL(), "xai": provider.XAIURL()}, PublicURL: publicURL,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("suite: %v", err)
		}
	})
	out := &studio{town{Running: s, dir: dir, provider: provider, tokens: map[string]string{}, keys: map[string]string{}}, time.Now().Add(-time.Minute)}
	for _, slug := range []string{"acme", "rival"} {
		doc := &seed.Document{
			Organization: seed.Organization{Slug: slug, Name: slug},
			Owner:        seed.Owner{Email: ownerOf(slug).Email, Password: ownerOf(slug).Password},
			Credentials: []seed.Credential{
				{Provider: "fal", Label: "films", Secret: secret.New("id-" + slug + ":0123456789abcdef"), Priority: 1},
				{Provider: "pollo", Label: "more films", Secret: secret.New("pollo_" + slug + "_0123456789abcdef"), Priority: 1},
				{Provider: "xai", Label: "grok", Secret: secret.New("xai-" + slug + "-0123456789abcdef"), Priority: 1},
			},
			Policies: []seed.Policy{{Name: "films", Spec: seed.Rule(
				seed.Own("fal/minimax/h3-max/text-to-video"),
				seed.Own("pollo/kling-ai/kling-v1-5"),
			)}},
			APIKeys: []seed.APIKey{{Name: "app", Policy: "films", WriteTo: slug + ".key"}},
		}
		if err := s.Seed(t.Context(), doc, func(seed.Change) {}); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join(dir, slug+".key"))
		if err != nil {
			t.Fatal(err)
		}
		out.keys[slug] = strings.TrimSpace(string(raw))
	}
	return out
}

// openAI is OpenAI's own SDK, with an API key of an organization.
func (s *studio) openAI(slug string) openai.Client {
	return openai.NewClient(option.WithBaseURL(s.BaseURL+"/v1"), option.WithAPIKey(s.keys[slug]), option.WithMaxRetries(0))
}

// attempt waits until an organization's attempt is as it should be, and returns it.
func (s *studio) attempt(t *testing.T, slug, what string, is func(*eventsv1.UsageEvent) bool) *meteringv1.Attempt {
	t.Helper()
	client := meteringv1connect.NewUsageServiceClient(s.as(s.Transport(), s.signIn(t, slug, ownerOf(slug))))
	var found *meteringv1.Attempt
	cluster.Eventually(t, 60*time.Second, what, func() error {
		res, err := client.ListRequests(t.Context(), &meteringv1.ListRequestsRequest{StartTime: timestamppb.New(s.began), EndTime: timestamppb.New(time.Now().Add(time.Hour))})
		if err != nil {
			return err
		}
		for _, a := range res.GetAttempts() {
			if is(a.GetEvent()) {
				found = a
				return nil
			}
		}
		return fmt.Errorf("it is not among %v", res.GetAttempts())
	})
	return found
}

// TestVideosThroughOpenAIsOwnSDK makes videos as a program does that was written for OpenAI.
func TestVideosThroughOpenAIsOwnSDK(t *testing.T) {
	s := startStudio(t)
	client := s.openAI("acme")
	var video *openai.Video
	cluster.Eventually(t, 20*time.Second, "the first submit", func() (err error) {
		video, err = client.Videos.New(t.Context(), openai.VideoNewParams{
			Model: "fal/minimax/h3-max/image-to-video", Prompt: "a red kite", Seconds: "8", Size: "1280x720",
			InputReference: openai.VideoNewParamsInputReferenceUnion{OfFile: openai.File(bytes.NewReader([]byte("\x89PNG")), "a.png", "image/png")},
		})
		return err
	})
	if video.Status != openai.VideoStatusQueued || video.Seconds != "8" || video.Model != "fal/minimax/h3-max/image-to-video" {
		t.Fatalf("submit = %s", video.RawJSON())
	}
	// What it takes is not known yet, and is not called nothing.
	pending := s.attempt(t, "acme", "the submit", func(e *eventsv1.UsageEvent) bool {
		return e.GetOperation() == "videos" && e.GetOutcome() == eventsv1.Outcome_OUTCOME_OK
	})
	if e := pending.GetEvent(); e.GetTokens() != nil || len(e.GetUnits()) != 0 || pending.CostNanoUsd != nil {
		t.Errorf("attempt of the submit = %v", pending)
	}
	job := pending.GetEvent().GetProviderRequestId()
	s.provider.EndJob(job)
	done, err := client.Videos.PollStatus(t.Context(), video.ID, 1100)
	if err != nil || done.Status != openai.VideoStatusCompleted || done.Progress != 100 || done.CompletedAt == 0 {
		t.Fatalf("poll = %v, %v", done, err)
	}
	content, err := client.Videos.DownloadContent(t.Context(), video.ID, openai.VideoDownloadContentParams{})
	if err != nil {
		t.Fatal(err)
	}
	film, err := io.ReadAll(content.Body)
	_ = content.Body.Close()
	if err != nil || !bytes.Contains(film, []byte("a film of keys")) || content.Header.Get("Content-Type") != "video/mp4" {
		t.Errorf("content %q of %s, %v", film, content.Header.Get("Content-Type"), err)
	}
	truth := s.attempt(t, "acme", "the later truth", func(e *eventsv1.UsageEvent) bool { return e.GetRevision() == 2 }).GetEvent()
	if truth.GetAttemptId() != pending.GetEvent().GetAttemptId() || truth.GetUsageSource() != eventsv1.UsageSource_USAGE_SOURCE_PROVIDER_FINAL {
		t.Errorf("later truth = %v", truth)
	}
	units := map[string]int64{}
	for _, u := range truth.GetUnits() {
		units[u.GetName()] = u.GetMilli()
	}
	if declared := s.provider.Ledger()[0].Units["second"]; units["second"] != int64(1000*declared) || declared != 8 {
		t.Errorf("units %v, declared %v", units, declared)
	}
	rival := s.openAI("rival")
	_, err = rival.Videos.Get(t.Context(), video.ID)
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != http.StatusNotFound || e.Code != "job_not_found" {
		t.Errorf("another organization gets %v", err)
	}
	_, err = client.Videos.List(t.Context(), openai.VideoListParams{})
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.Code != "jobs_not_listed" {
		t.Errorf("a list = %v", err)
	}
	second, err := client.Videos.New(t.Context(), openai.VideoNewParams{Prompt: "script:polls=1000000"}) // the API key's policy
	if err != nil {
		t.Fatal(err)
	}
	if deleted, err := client.Videos.Delete(t.Context(), second.ID); err != nil || !deleted.Deleted {
		t.Errorf("delete = %v, %v", deleted, err)
	}
	if got, err := client.Videos.Get(t.Context(), second.ID); err != nil || got.Status != openai.VideoStatusFailed || got.Error.Code != "canceled" {
		t.Errorf("what was deleted = %v, %v", got, err)
	}
}

// TestVideoOfXAI makes one where the provider neither tells of a job's end nor ends one early, and says in
// its answer what it cost.
func TestVideoOfXAI(t *testing.T) {
	s := startStudio(t)
	client := s.openAI("acme")
	submit := func(prompt string) (video *openai.Video) {
		t.Helper()
		cluster.Eventually(t, 20*time.Second, "a submit", func() (err error) {
			video, err = client.Videos.New(t.Context(), openai.VideoNewParams{Model: "xai/grok-imagine-video", Prompt: prompt, Seconds: "7", Size: "1280x720"})
			return err
		})
		return video
	}
	jobOf := func() string { ledger := s.provider.Ledger(); return ledger[len(ledger)-1].Job }
	video := submit("a red kite")
	if video.Status != openai.VideoStatusQueued || video.Seconds != "7" || video.Model != "xai/grok-imagine-video" {
		t.Fatalf("submit = %s", video.RawJSON())
	}
	_, err := client.Videos.Delete(t.Context(), video.ID)
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != http.StatusBadRequest || e.Code != "cancel_not_supported" || !strings.Contains(e.Message, "xai has no call that cancels") {
		t.Errorf("cancel = %v, want it refused by name", err)
	}
	s.provider.EndJob(jobOf())
	done, err := client.Videos.PollStatus(t.Context(), video.ID, 1100)
	if err != nil || done.Status != openai.VideoStatusCompleted || done.Progress != 100 {
		t.Fatalf("poll = %v, %v", done, err)
	}
	content, err := client.Videos.DownloadContent(t.Context(), video.ID, openai.VideoDownloadContentParams{})
	if err != nil {
		t.Fatal(err)
	}
	film, err := io.ReadAll(content.Body)
	_ = content.Body.Close()
	if err != nil || !bytes.Contains(film, []byte("a film of keys")) {
		t.Errorf("content %q, %v", film, err)
	}
	truth := s.attempt(t, "acme", "the later truth", func(e *eventsv1.UsageEvent) bool { return e.GetProvider() == "xai" && e.GetRevision() == 2 })
	units := map[string]int64{}
	for _, u := range truth.GetEvent().GetUnits() {
		units[u.GetName()] = u.GetMilli()
	}
	declared := s.provider.Ledger()[0].Units
	if units["second"] != int64(1000*declared["second"]) || declared["second"] != 7 || truth.GetEvent().GetUsageSource() != eventsv1.UsageSource_USAGE_SOURCE_PROVIDER_FINAL {
		t.Errorf("units %v, declared %v: %v", units, declared, truth)
	}
	if nano := int64(declared["usd_tick"] / 10); truth.GetCostNanoUsd() != nano || truth.GetEvent().GetReportedCostNanoUsd() != nano || nano != 350_000_000 {
		t.Errorf("it costs %d, and the provider says %d of declared %d", truth.GetCostNanoUsd(), truth.GetEvent().GetReportedCostNanoUsd(), nano)
	}
	refused := submit("script:error=content,at=0")
	s.provider.EndJob(jobOf())
	got, err := client.Videos.Get(t.Context(), refused.ID)
	if err != nil || got.Status != openai.VideoStatusFailed || got.Error.Code == "" || got.Error.Message == "" {
		t.Errorf("a job that failed = %v, %v", got, err)
	}
	s.attempt(t, "acme", "the job that failed", func(e *eventsv1.UsageEvent) bool {
		return e.GetProvider() == "xai" && e.GetRevision() == 2 && e.GetOutcome() == eventsv1.Outcome_OUTCOME_ERROR && e.GetErrorClass() == "content_refused"
	})
}

// TestWebhookReachesTheSuite carries a provider's word of a job's end to the listener that the public URL leads to.
func TestWebhookReachesTheSuite(t *testing.T) {
	s := startStudio(t)
	client := s.openAI("acme")
	cluster.Eventually(t, 20*time.Second, "a submit", func() error {
		_, err := client.Videos.New(t.Context(), openai.VideoNewParams{Model: "pollo/kling-ai/kling-v1-5", Prompt: "script:polls=1000000 waves"})
		return err
	})
	ledger := s.provider.Ledger()
	job := ledger[len(ledger)-1].Job
	s.provider.EndJob(job)
	hook, err := s.provider.PolloWebhook(t.Context(), job, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	path, asked := strings.CutPrefix(hook.URL.String(), publicURL)
	if !asked || path != "/hooks/pollo" {
		t.Fatalf("the provider was asked to tell %s", hook.URL)
	}
	body, err := io.ReadAll(hook.Body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), hook.Method, s.BaseURL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = hook.Header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		t.Errorf("the webhook is answered with %d", res.StatusCode)
	}
	s.attempt(t, "acme", "the later truth", func(e *eventsv1.UsageEvent) bool { return e.GetProviderRequestId() == job && e.GetRevision() == 2 })
}

// TestKilledRouterLosesNoJob kills the router that submitted jobs: another one answers for them, and what they
// took is counted once, asked for or not.
func TestKilledRouterLosesNoJob(t *testing.T) {
	w := newWorld(t, cluster.Options{Routers: 2})
	_, err := keysv1connect.NewCredentialServiceClient(w.SignIn("acme", w.owner).Keys).CreateCredential(t.Context(), &keysv1.CreateCredentialRequest{
		Provider: "fal", Label: "films", Secret: "id-acme:0123456789abcdef", AcceptTerms: true, IdempotencyKey: "films",
	})
	if err != nil {
		t.Fatal(err)
	}
	at := func(router int) openai.VideoService {
		c := openai.NewClient(option.WithBaseURL(w.Routers[router].URL()+"/v1"), option.WithAPIKey(w.apiKey), option.WithMaxRetries(0))
		return c.Videos
	}
	first, second := at(0), at(1)
	var ids []string
	for range 3 {
		cluster.Eventually(t, 20*time.Second, "a submit", func() error {
			video, err := first.New(t.Context(), openai.VideoNewParams{Model: "fal/minimax/h3-max/text-to-video", Prompt: "script:polls=1000000 a kite", Seconds: "8"})
			if err == nil {
				ids = append(ids, video.ID)
			}
			return err
		})
	}
	w.Routers[0].Kill()
	jobs := map[string]bool{}
	for _, e := range w.Provider.Ledger() {
		if e.Provider == "fal" && e.Job != "" {
			jobs[e.Job] = true
			w.Provider.EndJob(e.Job)
		}
	}
	if len(jobs) != 3 {
		t.Fatalf("the provider has the jobs %v", jobs)
	}
	video, err := second.Get(t.Context(), ids[0])
	if err != nil || video.Status != openai.VideoStatusCompleted {
		t.Errorf("the other router says %v, %v", video, err)
	}
	w.Routers[0].Start()
	cluster.Eventually(t, 60*time.Second, "the later truths", func() error {
		attempts, totals := w.attempts("acme", w.owner)
		known := 0
		for _, a := range attempts {
			e := a.GetEvent()
			if !jobs[e.GetProviderRequestId()] {
				continue
			}
			if e.GetRevision() == 2 && e.GetUsageSource() == eventsv1.UsageSource_USAGE_SOURCE_PROVIDER_FINAL {
				known++
			}
		}
		seconds := int64(0)
		for _, u := range totals.GetUnits() {
			if u.GetName() == "second" {
				seconds = u.GetMilli()
			}
		}
		if known != 3 || seconds != 3*8*1000 {
			return fmt.Errorf("%d jobs are known with %d milliseconds in all, want 3 with 24,000", known, seconds)
		}
		return nil
	})
}

// TestVideosAndPicturesOverRPC does the same with typed calls, and asks for nothing: usage comes by itself.
func TestVideosAndPicturesOverRPC(t *testing.T) {
	s := startStudio(t)
	client := routerv1connect.NewMediaServiceClient(s.as(s.Transport(), s.keys["acme"]))
	parameters, err := structpb.NewStruct(map[string]any{"mode": "std"})
	if err != nil {
		t.Fatal(err)
	}
	var job *routerv1.Job
	cluster.Eventually(t, 20*time.Second, "the first submit", func() error {
		res, err := client.SubmitVideo(t.Context(), &routerv1.SubmitVideoRequest{
			Model: "pollo/kling-ai/kling-v1-5", Prompt: "script:polls=1 waves", Seconds: 10, Parameters: parameters, Tags: map[string]string{"team": "films"},
		})
		job = res.GetJob()
		return err
	})
	if job.GetStatus() != routerv1.JobStatus_JOB_STATUS_QUEUED || job.GetId() == "" || job.GetModel() != "pollo/kling-ai/kling-v1-5" {
		t.Fatalf("submit = %v", job)
	}
	truth := s.attempt(t, "acme", "usage that nobody asked for", func(e *eventsv1.UsageEvent) bool {
		return e.GetRevision() == 2 && e.GetProvider() == "pollo"
	})
	if e := truth.GetEvent(); e.GetTags()["team"] != "films" || e.GetReportedCostNanoUsd() != 3_000_000_000 || truth.GetCostNanoUsd() != 3_000_000_000 {
		t.Errorf("later truth = %v", truth)
	}
	stream, err := client.WatchJob(t.Context(), &routerv1.WatchJobRequest{Id: job.GetId()})
	if err != nil {
		t.Fatal(err)
	}
	var last *routerv1.Job
	for {
		res, err := stream.Receive()
		if err != nil {
			break
		}
		last = res.GetJob()
	}
	if last.GetStatus() != routerv1.JobStatus_JOB_STATUS_COMPLETED || len(last.GetOutputs()) != 1 || last.GetCostNanoUsd() != 3_000_000_000 || last.GetUsageEstimated() {
		t.Errorf("the watched job ends as %v", last)
	}
	if _, err := client.CancelJob(t.Context(), &routerv1.CancelJobRequest{Id: job.GetId()}); !strings.Contains(fmt.Sprint(err), "pollo has no call that cancels") {
		t.Errorf("cancel = %v", err)
	}
	rival := routerv1connect.NewMediaServiceClient(s.as(s.Transport(), s.keys["rival"]))
	if _, err := rival.GetJob(t.Context(), &routerv1.GetJobRequest{Id: job.GetId()}); !strings.Contains(fmt.Sprint(err), "there is no such job") {
		t.Errorf("another organization gets %v", err)
	}
	drawn, err := client.GenerateImage(t.Context(), &routerv1.GenerateImageRequest{Model: "fal/fal-ai/flux/dev", Prompt: "script:polls=1 a key", Count: 2, Size: "1024x1024", Inline: true})
	if err != nil || len(drawn.GetPictures()) != 2 || len(drawn.GetPictures()[0].GetData()) == 0 {
		t.Fatalf("pictures = %v, %v", drawn, err)
	}
	pictures := s.attempt(t, "acme", "usage of the pictures", func(e *eventsv1.UsageEvent) bool { return e.GetOperation() == "images" })
	if got := pictures.GetCostNanoUsd(); got != 100_000_000 { // two pictures of 1.05 megapixels, rounded up, at $0.025
		t.Errorf("two pictures cost %d, want $0.10: %v", got, pictures)
	}
}

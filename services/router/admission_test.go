package router

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/openai"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// silent is a transport that answers nobody.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// TestOneOrganizationCannotTakeTheRouterFromOthers: with its share it is refused at once, on both faces as a router that
// is busy and with whose limit it is; a small one still gets in, and only the last place makes the router full.
func TestOneOrganizationCannotTakeTheRouterFromOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &eventLog{}
		service := completion.New(completion.Options{
			Planner: planned{completion.Plan{Targets: []completion.Target{{
				Provider: "openai", Model: "openai/m", Name: "m", Class: usage.Own, Credential: &completion.Credential{ID: "cred_1", Provider: "openai"},
			}}}},
			Keyring: openKeyring("sk-1"), Recorder: log, Evidence: log, Providers: providers(silent{}), BaseURLs: baseURLs(nil),
			Log: slog.New(slog.DiscardHandler), Now: time.Now, Limits: completion.Limits{Streams: 20},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 20)
		ask := func(orgID string) error {
			req, err := openai.Decode([]byte(`{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}`))
			if err != nil {
				t.Fatal(err)
			}
			req.ID = "req_1"
			return service.Complete(ctx, completion.Caller{OrgID: orgID}, &req, nothing{})
		}
		stays := func(orgID string, n int) {
			before := service.Open()
			for range n {
				go func() { ended <- ask(orgID) }()
			}
			if synctest.Wait(); service.Open() != before+int64(n) {
				t.Fatalf("%d of %d requests of %s are in", service.Open()-before, n, orgID)
			}
		}
		refused := func(orgID string, blame fault.Blame, open, hint string) {
			t.Helper()
			err := ask(orgID)
			if http, grpc := surfaces(t, err); http != "503" || grpc != "unavailable" {
				t.Errorf("%s: %s, %s: %v", orgID, http, grpc, err)
			}
			p := dialect.Explain(err, "")
			if p.Code != "router_overloaded" || p.Blame != blame || p.RetryAfter != time.Second || p.Details["open_requests"] != open || !strings.Contains(p.Hint, hint) {
				t.Errorf("%s is told %+v", orgID, p)
			}
		}
		stays("org_large", 18)
		refused("org_large", fault.Limit, "18", "the organization's open requests")
		stays("org_small", 1)
		stays("org_smaller", 1)
		refused("org_large", fault.Us, "", "try again in a second")
		refused("org_late", fault.Us, "", "try again in a second")
		if full, share := service.Refused(); full != 2 || share != 1 {
			t.Errorf("%d were refused by a full router, %d by their share", full, share)
		}
		cancel()
		for range 20 {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("one that was in: %v", err)
			}
		}
		if n := service.Open(); n != 0 {
			t.Errorf("%d are open", n)
		}
	})
}

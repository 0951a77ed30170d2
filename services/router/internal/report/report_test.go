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

	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/report"
	"github.com/claviger/claviger/services/router/internal/uses"
)

// vendor gives one verdict about every key.
type vendor struct {
	completion.Provider
	verdict completion.Verdict
}

func (v vendor) Test(context.Context, completion.Place) completion.Verdict { return v.verdict }

// keys takes reports.
type keys struct {
	keysv1connect.ConfigServiceClient
	got chan *keysv1.ReportRouterStateRequest
}

func (k keys) ReportRouterState(_ context.Context, req *keysv1.ReportRouterStateRequest) (*keysv1.ReportRouterStateResponse, error) {
	if len(req.GetProbeResults()) > 0 {
		k.got <- req
	}
	return &keysv1.ReportRouterStateResponse{}, nil
}

func TestAKeyTestTellsTheModelsThatItFound(t *testing.T) {
	t.Parallel()
	many := make([]string, 1001)
	for i := range many {
		many[i] = fmt.Sprint("m", i)
	}
	for name, c := range map[string]struct{ found, want []string }{
		"some, in any order":     {[]string{"b", "a", "b"}, []string{"a", "b"}},
		"none":                   {nil, nil},
		"as many as fit":         {many[:1000], slices.Sorted(slices.Values(many[:1000]))},
		"more than fit":          {many, nil}, // a part would say that the rest cannot be used
		"a name that is long":    {[]string{"a", strings.Repeat("x", 257)}, nil},
		"a name that is no text": {[]string{"a", "\xff"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				upstream := keys{got: make(chan *keysv1.ReportRouterStateRequest, 1)}
				cred := &completion.Credential{ID: "cred_1", OrgID: "org_1", Provider: "acme", Revision: 3, Sealed: "s"}
				reporter := report.New(report.Options{
					Router: "router-1", Client: upstream, Log: slog.New(slog.DiscardHandler), Now: time.Now,
					Providers:  map[string]completion.Provider{"acme": vendor{verdict: completion.Verdict{State: "active", Reason: "it works", Models: c.found}}},
					Credential: func(string, string) (*completion.Credential, bool) { return cred, true },
					Secret:     func(context.Context, *completion.Credential) (secret.Text, error) { return secret.New("k"), nil },
				})
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- reporter.Run(ctx) }()
				reporter.Probe(&keysv1.ProbeJob{Id: "probe_1", OrgId: "org_1", CredentialId: "cred_1", Revision: 3})
				result := (<-upstream.got).GetProbeResults()[0]
				if result.GetState() != keysv1.CredentialState_CREDENTIAL_STATE_ACTIVE || result.GetReason() != "it works" || !slices.Equal(result.GetModels(), c.want) {
					t.Errorf("result = %v %q, %d models, want %d", result.GetState(), result.GetReason(), len(result.GetModels()), len(c.want))
				}
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// flaky fails the first report and keeps those that follow.
type flaky struct {
	keysv1connect.ConfigServiceClient
	failed bool
	got    [][]*keysv1.SecretUse
}

func (k *flaky) ReportRouterState(_ context.Context, req *keysv1.ReportRouterStateRequest) (*keysv1.ReportRouterStateResponse, error) {
	if !k.failed {
		k.failed = true
		return nil, errors.New("keys is away")
	}
	if len(req.GetUses()) > 0 {
		k.got = append(k.got, req.GetUses())
	}
	return &keysv1.ReportRouterStateResponse{}, nil
}

func TestLastUsesAreToldOnceAMinuteAndAgainAfterAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		upstream, used := &flaky{}, uses.New()
		reporter := report.New(report.Options{
			Router: "router-1", Client: upstream, Log: slog.New(slog.DiscardHandler), Now: time.Now, Uses: used,
		})
		cred := &completion.Credential{ID: "cred_1", OrgID: "org_1", Revision: 2}
		used.Used(cred, time.Now())
		ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
		defer stop()
		var requests sync.WaitGroup
		requests.Go(func() {
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					used.Used(cred, time.Now())
				}
			}
		})
		if err := reporter.Run(ctx); err != nil {
			t.Error(err)
		}
		if len(upstream.got) != 4 {
			t.Fatalf("told %d times, want once a minute for three minutes, and at the goodbye", len(upstream.got))
		}
		if rest := time.Since(upstream.got[3][0].GetTime().AsTime()); rest < 0 || rest > time.Second {
			t.Errorf("the last use told is %s old, want the last there was", rest)
		}
		for _, got := range upstream.got {
			if len(got) != 1 || got[0].GetOrgId() != "org_1" || got[0].GetCredentialId() != "cred_1" || got[0].GetRevision() != 2 {
				t.Errorf("told of %v", got)
			}
		}
		requests.Wait()
	})
}

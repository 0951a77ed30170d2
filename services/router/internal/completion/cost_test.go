package completion_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// TestACallerIsToldWhatTheEventSays has models with and without a price, streamed and whole: the event, the end
// of the answer and, of a whole one, its beginning say the same cost by the same price, and what is not known is
// nothing and never zero.
func TestACallerIsToldWhatTheEventSays(t *testing.T) {
	t.Parallel()
	rate, said := int64(2_000_000), int64(77)
	counted := completion.Chunk{Content: true, Delta: completion.Delta{Text: "a"}, Pieces: 1, Usage: &completion.Usage{
		Final: true, Tokens: usage.Tokens{InputTotal: 3, InputUncached: 3, OutputTotal: 2},
	}}
	reported := counted
	reported.Usage = &completion.Usage{Final: true, Tokens: counted.Usage.Tokens, CostNanoUSD: &said}
	priced := int64(10)
	book := pricing.NewTable([]pricing.Price{{ID: "price_1", Model: "p/known", ValidFrom: time.Unix(0, 0), Tiers: []pricing.Tier{{Input: &rate, Output: &rate}}}})
	for name, c := range map[string]struct {
		model string
		chunk completion.Chunk
		cost  *int64
		price string
	}{
		"a price":                     {"p/known", counted, &priced, "price_1"},
		"no price":                    {"p/unknown", counted, nil, ""},
		"no price, the provider says": {"p/unknown", reported, &said, ""},
		"a price goes before it":      {"p/known", reported, &priced, "price_1"},
	} {
		for _, stream := range []bool{false, true} {
			r := newRig(map[string]script{"a": {chunks: []completion.Chunk{c.chunk}}}, "a")
			r.Service = completion.New(completion.Options{
				Planner: reckoned{book, planned{{Provider: "p", Model: c.model, Name: "a", Class: usage.Own, Credential: &completion.Credential{ID: "cred_a", Revision: 4}}}},
				Keyring: r.keys, Recorder: r.recorder, Evidence: r.evidence, Providers: map[string]completion.Provider{"p": r.provider},
				Log: slog.New(slog.DiscardHandler), Now: time.Now,
			})
			req, out := request(), &sink{}
			req.Stream = stream
			if err := r.Complete(t.Context(), completion.Caller{GroupID: "grp_1"}, req, out); err != nil {
				t.Fatal(err)
			}
			e := r.recorder.events[0]
			if diff := cmp.Diff(c.cost, e.ReckonedNanoUSD); diff != "" || e.PriceVersion != c.price {
				t.Errorf("%s, streamed %t: the event's cost by %q (-want +got):\n%s", name, stream, e.PriceVersion, diff)
			}
			if diff := cmp.Diff(c.cost, out.final.Cost); diff != "" || out.final.PriceVersion != c.price {
				t.Errorf("%s, streamed %t: the caller's cost by %q (-want +got):\n%s", name, stream, out.final.PriceVersion, diff)
			}
			if !stream && (!cmp.Equal(out.served.Cost, c.cost) || out.served.PriceVersion != c.price) {
				t.Errorf("%s: a whole answer begins with a cost by %q", name, out.served.PriceVersion)
			}
			if e.GroupID != "grp_1" || e.CredentialRevision != 4 || out.served.Attempts[0].CredentialID != "cred_a" || out.served.Attempts[0].Class != usage.Own {
				t.Errorf("%s: group %q, revision %d, attempts %+v", name, e.GroupID, e.CredentialRevision, out.served.Attempts)
			}
		}
	}
}

// planned are the targets of every request.
type planned []completion.Target

func (p planned) Plan(completion.Caller, *completion.Request) (completion.Plan, error) {
	return completion.Plan{ConfigVersion: 7, Targets: p}, nil
}

// reckoned plans by a price book.
type reckoned struct {
	book *pricing.Table
	planned
}

func (r reckoned) Plan(caller completion.Caller, req *completion.Request) (completion.Plan, error) {
	p, err := r.planned.Plan(caller, req)
	p.Prices = r.book
	return p, err
}

// TestAnAttemptThatTookNothingCostsNothing has a provider that refuses before it generates anything: that is
// free, and known to be.
func TestAnAttemptThatTookNothingCostsNothing(t *testing.T) {
	t.Parallel()
	refused := failure(completion.RateLimited)
	refused.Unbilled = true
	r := newRig(map[string]script{"a": {start: refused}}, "a")
	_ = r.Complete(t.Context(), completion.Caller{}, request(), &sink{}) // the events are what matters here
	if e := r.recorder.events[0]; e.ReckonedNanoUSD == nil || *e.ReckonedNanoUSD != 0 || e.PriceVersion != "" {
		t.Errorf("the event's cost = %v by %q, want a known zero", e.ReckonedNanoUSD, e.PriceVersion)
	}
}

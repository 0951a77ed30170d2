package ingest

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/pricing"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// FuzzDecodeEvent reads events as a router that is broken into may send them: what is not refused is within
// its bounds and can be stored.
func FuzzDecodeEvent(f *testing.F) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	good := &eventsv1.UsageEvent{
		AttemptId: id.New("att"), RequestId: "req_1", AttemptNumber: 1, OrgId: id.New("org"), ApiKeyId: "key_1", Provider: "fal", Model: "fal/clip",
		EndedTime: timestamppb.New(now), Revision: 1, Operation: "videos", ReportedCostNanoUsd: new(int64(7)),
		Units: []*eventsv1.UnitCount{{Name: "second", Milli: 5040}, {Name: "parsec", Milli: 1}}, Tokens: &eventsv1.TokenCounts{InputTotal: 3, InputUncached: 3},
	}
	for _, change := range []func(*eventsv1.UsageEvent){
		func(*eventsv1.UsageEvent) {},
		func(e *eventsv1.UsageEvent) { e.ReportedCostNanoUsd = new(int64(-1)) },
		func(e *eventsv1.UsageEvent) {
			e.CredentialRevision, e.GroupId, e.CostNanoUsd, e.PriceVersion = 2, id.New("grp"), new(int64(-1)), "p"
		},
		func(e *eventsv1.UsageEvent) { e.Units = append(e.Units, e.Units...) },
		func(e *eventsv1.UsageEvent) { e.Operation, e.User = strings.Repeat("x", 5000), "\x00" },
	} {
		e := proto.CloneOf(good)
		change(e)
		raw, err := proto.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var e eventsv1.UsageEvent
		if proto.Unmarshal(raw, &e) != nil {
			return
		}
		a, r := decodeEvent(&e, jetstream.Partition(e.GetOrgId()), now)
		if r != nil {
			return
		}
		if _, ok := a.Day(); !ok || a.Ended.After(now.Add(maxAhead)) || a.Started.After(a.Ended) || a.Operation == "" {
			t.Fatalf("%+v passed", a.Event)
		}
		for _, text := range []string{a.Operation, a.Model, a.Session, a.User, a.Dialect, a.GroupID, a.RouterPrice} {
			if !utf8.ValidString(text) || strings.Contains(text, "\x00") || len(text) > maxText {
				t.Fatalf("a text of %d bytes passed", len(text))
			}
		}
		if err := pricing.ValidateUnits(a.Units); err != nil {
			t.Fatal(err)
		}
		if n := a.ReportedNano; n != nil && (*n < 0 || *n > usage.MaxCost) {
			t.Fatalf("a reported cost of %d passed", *n)
		}
		if n := a.ReckonedNano; n != nil && (*n < 0 || *n > usage.MaxCost) || a.CredentialRevision < 0 {
			t.Fatalf("a reckoned cost, or revision %d, passed", a.CredentialRevision)
		}
		if _, totals := a.Contribution(); totals.Negative() {
			t.Fatalf("a sum below zero: %+v", totals)
		}
	})
}

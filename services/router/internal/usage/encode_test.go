package usage

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
)

// full has another value in every field.
func full() (*Event, *eventsv1.UsageEvent) {
	at, cost, ours := time.Unix(1_790_000_000, 123_456_000).UTC(), int64(5_000_001), int64(4_000_002)
	e := &Event{
		AttemptID: "att_1", Revision: 6, RequestID: "req_1", AttemptNumber: 2, OrgID: "org_1", APIKeyID: "key_1", MemberID: "mem_1",
		CredentialID: "cred_1", Class: Platform, Provider: "openai", Model: "openai/gpt-4o-mini", ResponseModel: "gpt-4o-mini-2024",
		RequestedModel: "policy/main", PolicyID: "pol_1", PolicyVersion: 3, TargetIndex: 4, ConfigVersion: 5, Dialect: "grpc",
		Streamed: true, Tags: map[string]string{"team": "search", "env": "", "a": "b"}, Session: "s", User: "u", Started: at, Ended: at.Add(time.Second),
		Duration: time.Second, FirstContent: 300 * time.Millisecond, Outcome: Broken, ErrorClass: "server_error", HTTPStatus: 200,
		FinishReason: "stop", Source: ProviderPartial, Tokens: &Tokens{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13},
		ProviderRequestID: "p", TraceID: "t", SpanID: "s",
		Operation: "images", Units: []Unit{{"image", 2000}, {"megapixel", 1_572}}, CostNanoUSD: &cost,
		CredentialRevision: 7, GroupID: "grp_1", ReckonedNanoUSD: &ours, PriceVersion: "price_1",
	}
	return e, &eventsv1.UsageEvent{
		AttemptId: "att_1", Revision: 6, RequestId: "req_1", AttemptNumber: 2, OrgId: "org_1", ApiKeyId: "key_1", MemberId: "mem_1",
		CredentialId: "cred_1", CredentialClass: eventsv1.CredentialClass_CREDENTIAL_CLASS_PLATFORM, Provider: "openai", Model: "openai/gpt-4o-mini",
		ResponseModel: "gpt-4o-mini-2024", RequestedModel: "policy/main", PolicyId: "pol_1", PolicyVersion: 3, TargetIndex: 4, ConfigVersion: 5,
		Dialect: "grpc", Streamed: true, Tags: map[string]string{"team": "search", "env": "", "a": "b"}, Session: "s", User: "u",
		StartedTime: timestamppb.New(at), EndedTime: timestamppb.New(at.Add(time.Second)), DurationMicros: 1_000_000, FirstContentMicros: 300_000,
		Outcome: eventsv1.Outcome_OUTCOME_BROKEN, ErrorClass: "server_error", HttpStatus: 200, FinishReason: "stop",
		UsageSource: eventsv1.UsageSource_USAGE_SOURCE_PROVIDER_PARTIAL,
		Tokens: &eventsv1.TokenCounts{
			InputTotal: 1, InputUncached: 2, CacheRead: 3, CacheWrite_5M: 4, CacheWrite_30M: 5, CacheWrite_1H: 6, CacheWrite_12H: 7,
			OutputTotal: 8, Reasoning: 9, AudioIn: 10, AudioOut: 11, ImageIn: 12, ImageOut: 13,
		},
		ProviderRequestId: "p", TraceId: "t", SpanId: "s",
		Operation: "images", Units: []*eventsv1.UnitCount{{Name: "image", Milli: 2000}, {Name: "megapixel", Milli: 1_572}}, ReportedCostNanoUsd: &cost,
		CredentialRevision: 7, GroupId: "grp_1", CostNanoUsd: &ours, PriceVersion: "price_1",
	}
}

func TestEncodedEventIsTheContracts(t *testing.T) {
	t.Parallel()
	e, want := full()
	want.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool { return true })
	if n := want.ProtoReflect().Descriptor().Fields().Len(); n != 42 {
		t.Fatalf("the contract has %d fields now: teach appendEvent and this test the new ones", n)
	}
	nothing := int64(0)
	for _, c := range []struct {
		event *Event
		want  *eventsv1.UsageEvent
	}{{e, want}, {&Event{}, &eventsv1.UsageEvent{}}, {&Event{Tokens: &Tokens{}}, &eventsv1.UsageEvent{Tokens: &eventsv1.TokenCounts{}}}, {
		&Event{CostNanoUSD: &nothing, ReckonedNanoUSD: &nothing, Units: []Unit{{}}}, // free is known, and an empty unit stays one
		&eventsv1.UsageEvent{ReportedCostNanoUsd: &nothing, CostNanoUsd: &nothing, Units: []*eventsv1.UnitCount{{}}},
	}} {
		var got eventsv1.UsageEvent
		if err := proto.Unmarshal(appendEvent(nil, c.event), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, &got, protocmp.Transform()); diff != "" {
			t.Errorf("decoded event (-want +got):\n%s", diff)
		}
	}
}

func TestEncodedFrameIsTheContracts(t *testing.T) {
	t.Parallel()
	e, want := full()
	at := time.Unix(1_790_000_001, 0).UTC()
	raw := appendFrame(nil, "router-1", "e1", 7, []entry{{5, appendEvent(nil, e)}, {6, appendEvent(nil, &Event{})}}, at)
	var got eventsv1.UsageFrame
	if err := proto.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	frame := &eventsv1.UsageFrame{
		Schema: 1, Router: "router-1", Epoch: "e1", Partition: 7, SentTime: timestamppb.New(at),
		Entries: []*eventsv1.UsageEntry{{Sequence: 5, Event: want}, {Sequence: 6, Event: &eventsv1.UsageEvent{}}},
	}
	if diff := cmp.Diff(frame, &got, protocmp.Transform()); diff != "" {
		t.Errorf("decoded frame (-want +got):\n%s", diff)
	}
}

func TestHostileTextsNeverSpoilAFrame(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("é", 1<<20)
	e := &Event{
		AttemptID: "att_1", OrgID: "org_1", RequestedModel: "openai/\xff\x00x", ResponseModel: huge, ProviderRequestID: huge, User: "\x00\x00",
		Session: "a" + huge, Tags: map[string]string{"k\xff": "v\x00w", huge: huge},
	}
	raw := appendEvent(nil, e)
	if len(raw) > 4096 {
		t.Errorf("the event has %d bytes", len(raw))
	}
	var got eventsv1.UsageEvent
	if err := proto.Unmarshal(raw, &got); err != nil {
		t.Fatalf("the event cannot be decoded: %v", err)
	}
	if got.GetRequestedModel() != "openai/x" || got.GetUser() != "" || got.GetTags()["k"] != "vw" || len(got.GetSession()) > maxText {
		t.Errorf("decoded: model %q, user %q, tags %d, session of %d bytes", got.GetRequestedModel(), got.GetUser(), len(got.GetTags()), len(got.GetSession()))
	}
}

func TestEncodingAllocatesNothing(t *testing.T) {
	e, _ := full()
	e.Tags = nil
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { buf = appendEvent(buf[:0], e) }); n != 0 {
		t.Fatalf("appendEvent allocates %v times", n)
	}
}

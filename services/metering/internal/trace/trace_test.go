package trace_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/services/metering/internal/trace"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

const traceID = "0af7651916cd43dd8448eb211c80319c"

// requests are what is counted: one request per id, seen by its organization alone.
type requests map[string]usage.Attempt

func (r requests) Request(_ context.Context, orgID, memberID, requestID string) ([]usage.Attempt, error) {
	a, ok := r[requestID]
	if !ok || a.OrgID != orgID || memberID != "" && a.MemberID != memberID {
		return nil, usage.ErrRequestNotFound
	}
	return []usage.Attempt{a}, nil
}

// spans are kept without regard to whose they are.
type spans []trace.Span

func (s spans) Spans(id string) []trace.Span {
	if id != traceID {
		return nil
	}
	return s
}

var begin = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// span is one of an organization, n milliseconds after the first.
func span(n int, spanID, parentID, orgID, requestID string) trace.Span {
	s := trace.Span{SpanID: spanID, ParentID: parentID, Name: spanID, Start: begin.Add(time.Duration(n) * time.Millisecond), Attributes: map[string]string{}}
	if orgID != "" {
		s.Attributes[trace.OrgAttribute] = orgID
	}
	if requestID != "" {
		s.Attributes[trace.RequestAttribute] = requestID
	}
	return s
}

// TestATraceIDThatIsSharedShowsNothingOfOthers has two organizations, and two members of one, send the same
// trace id, and each other's span ids as their parents.
func TestATraceIDThatIsSharedShowsNothingOfOthers(t *testing.T) {
	t.Parallel()
	of := func(org, member, spanID string) usage.Attempt {
		return usage.Attempt{Event: usage.Event{OrgID: org, MemberID: member, TraceID: traceID, SpanID: spanID}}
	}
	counted := requests{
		"req_alice": of("org_a", "mem_alice", "alice-attempt"), "req_bob": of("org_a", "mem_bob", "bob-attempt"),
		"req_carol": of("org_b", "mem_carol", "carol-attempt"), "req_alice2": of("org_a", "mem_alice", "alice2-attempt"),
	}
	kept := spans{
		// Alice's request, down to the row that was applied. Its parent is a span of her own program.
		span(5, "alice-apply", "alice-publish", "org_a", ""),
		span(1, "alice-edge", "program", "org_a", "req_alice"),
		span(2, "alice-plan", "alice-edge", "org_a", ""),
		span(3, "alice-attempt", "alice-edge", "org_a", ""),
		span(4, "alice-publish", "alice-attempt", "org_a", ""),
		// Carol says that she is called by Alice's attempt, and Bob says so too.
		span(6, "carol-edge", "alice-attempt", "org_b", "req_carol"),
		span(7, "carol-attempt", "carol-edge", "org_b", ""),
		span(8, "bob-edge", "alice-attempt", "org_a", "req_bob"),
		span(9, "bob-attempt", "bob-edge", "org_a", ""),
		// Alice's second request was made on behalf of Carol's: its parent is Carol's span.
		span(10, "alice2-edge", "carol-attempt", "org_a", "req_alice2"),
		span(11, "alice2-attempt", "alice2-edge", "org_a", ""),
		// Carol forges a mark of Alice's request: it stays in her own organization.
		span(12, "carol-forged", "alice-edge", "org_b", "req_alice"),
		// A span of a batch, and one below it that is Alice's organization's and nobody's request.
		span(13, "batch", "alice-attempt", "", ""),
		span(14, "below-batch", "batch", "org_a", ""),
		// Spans that name each other as parents.
		span(15, "circle-1", "circle-2", "org_a", ""),
		span(16, "circle-2", "circle-1", "org_a", ""),
	}
	service := trace.NewService(counted, kept, "https://traces.example/trace/{trace_id}?open={trace_id}")
	for name, c := range map[string]struct {
		org, member, request string
		want                 []string
	}{
		"alice":             {"org_a", "mem_alice", "req_alice", []string{"alice-edge", "alice-plan", "alice-attempt", "alice-publish", "alice-apply"}},
		"alice, the second": {"org_a", "mem_alice", "req_alice2", []string{"alice2-edge", "alice2-attempt"}},
		"bob":               {"org_a", "mem_bob", "req_bob", []string{"bob-edge", "bob-attempt"}},
		"owner, bob's":      {"org_a", "", "req_bob", []string{"bob-edge", "bob-attempt"}},
		"carol":             {"org_b", "", "req_carol", []string{"carol-edge", "carol-attempt"}},
	} {
		got, err := service.Of(t.Context(), c.org, c.member, c.request)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var names []string
		for _, s := range got.Spans {
			names = append(names, s.Name)
		}
		if diff := cmp.Diff(c.want, names); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if want := "https://traces.example/trace/" + traceID + "?open=" + traceID; got.ID != traceID || got.Link != want {
			t.Errorf("%s: trace %q, link %q", name, got.ID, got.Link)
		}
	}
	for name, c := range map[string][3]string{
		"another organization's": {"org_b", "", "req_alice"}, "another member's": {"org_a", "mem_bob", "req_alice"}, "none": {"org_a", "", "req_x"},
	} {
		if got, err := service.Of(t.Context(), c[0], c[1], c[2]); !errors.Is(err, usage.ErrRequestNotFound) || got.ID != "" {
			t.Errorf("%s: %+v, %v, want not found", name, got, err)
		}
	}
}

// TestTheAttemptsSpanIsMarkEnough: the span id in the usage event is ours, so what hangs below it is found
// without the edge's mark.
func TestTheAttemptsSpanIsMarkEnough(t *testing.T) {
	t.Parallel()
	a := usage.Attempt{Event: usage.Event{OrgID: "org_a", TraceID: traceID, SpanID: "attempt"}}
	service := trace.NewService(requests{"req_a": a}, spans{
		span(1, "edge", "", "org_a", ""), span(2, "attempt", "edge", "org_a", ""), span(3, "call", "attempt", "org_a", ""),
	}, "")
	got, err := service.Of(t.Context(), "org_a", "", "req_a")
	if err != nil || len(got.Spans) != 2 || got.Spans[0].Name != "attempt" || got.Spans[1].Name != "call" || got.Link != "" {
		t.Errorf("Of = %+v, %v, want the attempt and its call", got, err)
	}
}

func TestATraceIDThatIsNoneMakesNoLink(t *testing.T) {
	t.Parallel()
	for _, id := range []string{
		"", "x", "0AF7651916CD43DD8448EB211C80319C", "00000000000000000000000000000000", "../../admin?x=0af7651916cd43dd8448", traceID + "0",
	} {
		a := usage.Attempt{Event: usage.Event{OrgID: "org_a", TraceID: id}}
		got, err := trace.NewService(requests{"req_a": a}, nil, "https://traces.example/{trace_id}").Of(t.Context(), "org_a", "", "req_a")
		if err != nil || got.ID != "" || got.Link != "" || got.Spans != nil {
			t.Errorf("trace id %q: %+v, %v, want nothing", id, got, err)
		}
	}
}

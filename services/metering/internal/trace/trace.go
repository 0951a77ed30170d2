// Package trace shows how the time of one request was spent, where spans are kept, and where else to look.
//
// A trace id is the caller's choice, and so is the span that a caller says is above theirs: two
// organizations, or two members of one, can share both, by accident or to look at each other. So a span is
// shown only if it says of itself that it belongs to the caller's organization, and if it belongs to the
// request by a mark that is ours to make: the request's id on the span or on the nearest span above it that
// has one, or the span id that the router wrote into the usage event. Spans without an organization, such
// as those of a batch, are not shown at all.
package trace

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/claviger/claviger/services/metering/internal/usage"
)

// The attributes that decide who sees a span. They are those of pkg/telemetry, on every span of ours that
// belongs to an organization and on the first one of a request.
const (
	OrgAttribute     = "claviger.org_id"
	RequestAttribute = "claviger.request_id"
)

// Span is one step of a trace.
type Span struct {
	// SpanID and ParentID are in hex. ParentID is empty for the first step of a trace.
	SpanID, ParentID string
	Name             string
	// Service is who did it: "keys", "router" or "metering".
	Service    string
	Start      time.Time
	Duration   time.Duration
	Error      bool
	Attributes map[string]string
}

// Source keeps spans for a while.
type Source interface {
	// Spans returns what it has of a trace, of whomever, in any order.
	Spans(traceID string) []Span
}

// Requests finds a request as a caller may see it.
type Requests interface {
	Request(ctx context.Context, orgID, memberID, requestID string) ([]usage.Attempt, error)
}

// Trace is what can be said of a request.
type Trace struct {
	// ID is the W3C trace id, empty if the request has none.
	ID string
	// Spans are by start time.
	Spans []Span
	// Link is the trace in the operator's viewer, empty if none is configured.
	Link string
}

// Service answers what happened in a request.
type Service struct {
	requests Requests
	source   Source
	link     string
}

// NewService returns a service. source may be nil, which keeps nothing; link is the address of a trace in
// a viewer with "{trace_id}" in it, or empty.
func NewService(requests Requests, source Source, link string) *Service {
	return &Service{requests: requests, source: source, link: link}
}

// maxSpans bounds an answer; a request has some dozen.
const maxSpans = 1000

// Of returns the trace of a request of one organization; with memberID only that member's requests are
// there to be found.
func (s *Service) Of(ctx context.Context, orgID, memberID, requestID string) (Trace, error) {
	attempts, err := s.requests.Request(ctx, orgID, memberID, requestID)
	if err != nil {
		return Trace{}, err
	}
	var t Trace
	ours := map[string]bool{}
	for i := range attempts {
		a := &attempts[i]
		if t.ID == "" && valid(a.TraceID) {
			t.ID = a.TraceID
		}
		if a.SpanID != "" && a.TraceID == t.ID {
			ours[a.SpanID] = true
		}
	}
	if t.ID == "" {
		return t, nil
	}
	if s.link != "" {
		t.Link = strings.ReplaceAll(s.link, "{trace_id}", t.ID)
	}
	if s.source != nil {
		t.Spans = belonging(s.source.Spans(t.ID), orgID, requestID, ours)
	}
	return t, nil
}

// valid reports whether id is a W3C trace id, and so may stand in an address.
func valid(id string) bool {
	return len(id) == 32 && strings.Trim(id, "0123456789abcdef") == "" && strings.Trim(id, "0") != ""
}

// belonging returns the spans of one request of one organization. ours are the spans of its attempts.
func belonging(all []Span, orgID, requestID string, ours map[string]bool) []Span {
	byID := make(map[string]*Span, len(all))
	for i := range all {
		if all[i].Attributes[OrgAttribute] == orgID {
			byID[all[i].SpanID] = &all[i]
		}
	}
	var spans []Span
	for i := range all {
		if all[i].Attributes[OrgAttribute] == orgID && inRequest(&all[i], byID, requestID, ours) {
			spans = append(spans, all[i])
		}
	}
	slices.SortStableFunc(spans, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return spans[:min(len(spans), maxSpans)]
}

// inRequest reports whether the nearest mark on s or above it says that it is of the request. What is
// above is looked for among spans of the same organization only.
func inRequest(s *Span, byID map[string]*Span, requestID string, ours map[string]bool) bool {
	for range len(byID) + 1 { // a circle has no mark
		if s == nil {
			return false
		}
		if id := s.Attributes[RequestAttribute]; id != "" {
			return id == requestID
		}
		if ours[s.SpanID] {
			return true
		}
		s = byID[s.ParentID]
	}
	return false
}

package rpc

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	"github.com/claviger/claviger/services/metering/internal/trace"
)

// TraceServer serves TraceService.
type TraceServer struct{ Traces *trace.Service }

var _ meteringv1connect.TraceServiceHandler = (*TraceServer)(nil)

// GetTrace returns the spans of a request, where they are kept, and where else to look.
func (s *TraceServer) GetTrace(ctx context.Context, req *meteringv1.GetTraceRequest) (*meteringv1.GetTraceResponse, error) {
	if err := checkTexts(req); err != nil {
		return nil, err
	}
	orgID, memberID, err := scope(ctx)
	if err != nil {
		return nil, err
	}
	t, err := s.Traces.Of(ctx, orgID, memberID, req.GetRequestId())
	if err != nil {
		return nil, err
	}
	res := &meteringv1.GetTraceResponse{TraceId: t.ID, Link: t.Link}
	for i := range t.Spans {
		span := &t.Spans[i]
		res.Spans = append(res.Spans, &meteringv1.Span{
			SpanId: span.SpanID, ParentSpanId: span.ParentID, Name: span.Name, Service: span.Service,
			StartTime: timestamppb.New(span.Start), DurationMicros: span.Duration.Microseconds(),
			Error: span.Error, Attributes: span.Attributes,
		})
	}
	return res, nil
}

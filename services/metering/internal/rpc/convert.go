package rpc

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/claviger/claviger/pkg/pricing"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/services/metering/internal/price"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

func fromTime(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

func toTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

var dimensions = map[meteringv1.Dimension]usage.Dimension{
	meteringv1.Dimension_DIMENSION_API_KEY:    usage.ByAPIKey,
	meteringv1.Dimension_DIMENSION_MEMBER:     usage.ByMember,
	meteringv1.Dimension_DIMENSION_CREDENTIAL: usage.ByCredential,
	meteringv1.Dimension_DIMENSION_CLASS:      usage.ByClass,
	meteringv1.Dimension_DIMENSION_PROVIDER:   usage.ByProvider,
	meteringv1.Dimension_DIMENSION_MODEL:      usage.ByModel,
	meteringv1.Dimension_DIMENSION_POLICY:     usage.ByPolicy,
	meteringv1.Dimension_DIMENSION_TAG:        usage.ByTag,
}

var buckets = map[meteringv1.TimeBucket]usage.Bucket{
	meteringv1.TimeBucket_TIME_BUCKET_UNSPECIFIED:  usage.Whole,
	meteringv1.TimeBucket_TIME_BUCKET_QUARTER_HOUR: usage.PerQuarter,
	meteringv1.TimeBucket_TIME_BUCKET_HOUR:         usage.PerHour,
	meteringv1.TimeBucket_TIME_BUCKET_DAY:          usage.PerDay,
}

// fromQuery reads the question. What is not known becomes nothing, which the domain refuses.
func fromQuery(req *meteringv1.QueryUsageRequest) usage.Query {
	q := usage.Query{
		Start: fromTime(req.GetStartTime()), End: fromTime(req.GetEndTime()), TagKey: req.GetTagKey(),
		Bucket: buckets[req.GetBucket()], PageSize: int(req.GetPageSize()),
	}
	for _, d := range req.GetGroupBy() {
		q.GroupBy = append(q.GroupBy, dimensions[d])
	}
	q.Filters = fromFilters(req.GetFilters())
	return q
}

func fromFilters(in []*meteringv1.DimensionFilter) []usage.Filter {
	filters := make([]usage.Filter, len(in))
	for i, f := range in {
		filters[i] = usage.Filter{Dimension: dimensions[f.GetDimension()], TagKey: f.GetTagKey(), Values: f.GetValues()}
	}
	return filters
}

func toRow(r *usage.Row, q *usage.Query) *meteringv1.UsageRow {
	at := q.Start
	if q.Bucket != usage.Whole {
		at = fromMicros(r.Bucket)
	}
	return &meteringv1.UsageRow{BucketTime: timestamppb.New(at), Group: r.Group, Totals: toTotals(r.Totals)}
}

func toTotals(t usage.Totals) *meteringv1.UsageTotals {
	return &meteringv1.UsageTotals{
		Requests: t.Requests, Attempts: t.Attempts, Errors: t.Errors, Tokens: toCounts(&t.Tokens), CostNanoUsd: t.CostNano,
		UnknownCostAttempts: t.UnknownCost, EstimatedAttempts: t.Estimated, EstimatedCostNanoUsd: t.EstimatedCostNano,
		Units: toSums(t.Units), ProviderCostNanoUsd: t.ProviderCostNano, ReportedCostNanoUsd: t.ReportedNano,
	}
}

// toSums leaves out what there is nothing of.
func toSums(sums pricing.Units) []*eventsv1.UnitCount {
	var units []*eventsv1.UnitCount
	for i, milli := range sums {
		if milli != 0 {
			units = append(units, &eventsv1.UnitCount{Name: pricing.UnitNames[i], Milli: milli})
		}
	}
	return units
}

func toUnits(in []pricing.Unit) []*eventsv1.UnitCount {
	var units []*eventsv1.UnitCount
	for _, u := range in {
		units = append(units, &eventsv1.UnitCount{Name: u.Name, Milli: u.Milli})
	}
	return units
}

func toCounts(c *pricing.Counts) *eventsv1.TokenCounts {
	if c == nil {
		return nil
	}
	return &eventsv1.TokenCounts{
		InputTotal: c.InputTotal, InputUncached: c.InputUncached, CacheRead: c.CacheRead,
		CacheWrite_5M: c.CacheWrite5m, CacheWrite_30M: c.CacheWrite30m, CacheWrite_1H: c.CacheWrite1h, CacheWrite_12H: c.CacheWrite12h,
		OutputTotal: c.OutputTotal, Reasoning: c.Reasoning,
		AudioIn: c.AudioIn, AudioOut: c.AudioOut, ImageIn: c.ImageIn, ImageOut: c.ImageOut,
	}
}

var classes = map[usage.Class]eventsv1.CredentialClass{
	usage.Own:      eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN,
	usage.Platform: eventsv1.CredentialClass_CREDENTIAL_CLASS_PLATFORM,
}

var outcomes = map[usage.Outcome]eventsv1.Outcome{
	usage.OK:          eventsv1.Outcome_OUTCOME_OK,
	usage.Failed:      eventsv1.Outcome_OUTCOME_ERROR,
	usage.Broken:      eventsv1.Outcome_OUTCOME_BROKEN,
	usage.Canceled:    eventsv1.Outcome_OUTCOME_CANCELED,
	usage.NotSent:     eventsv1.Outcome_OUTCOME_NOT_SENT,
	usage.RouterCrash: eventsv1.Outcome_OUTCOME_ROUTER_CRASH,
}

var sources = map[usage.Source]eventsv1.UsageSource{
	usage.ProviderFinal:   eventsv1.UsageSource_USAGE_SOURCE_PROVIDER_FINAL,
	usage.ProviderPartial: eventsv1.UsageSource_USAGE_SOURCE_PROVIDER_PARTIAL,
	usage.Estimated:       eventsv1.UsageSource_USAGE_SOURCE_ESTIMATED,
	usage.NoUsage:         eventsv1.UsageSource_USAGE_SOURCE_NONE,
}

var costSources = map[usage.CostSource]meteringv1.CostSource{
	usage.CostByPrice:    meteringv1.CostSource_COST_SOURCE_PRICE,
	usage.CostByProvider: meteringv1.CostSource_COST_SOURCE_PROVIDER,
	usage.CostNothing:    meteringv1.CostSource_COST_SOURCE_NONE,
}

func toAttempts(attempts []usage.Attempt) []*meteringv1.Attempt {
	out := make([]*meteringv1.Attempt, len(attempts))
	for i := range attempts {
		a := &attempts[i]
		out[i] = &meteringv1.Attempt{
			Event: toEvent(&a.Event), CostNanoUsd: a.CostNano, PriceId: a.PriceID, AppliedTime: toTime(a.AppliedAt), Flags: a.Flags,
			CostSource: costSources[a.CostSource],
		}
	}
	return out
}

// toEvent turns an event back; its numbers were bounded when it was taken.
func toEvent(e *usage.Event) *eventsv1.UsageEvent {
	return &eventsv1.UsageEvent{
		AttemptId: e.AttemptID, Revision: int32(e.Revision), RequestId: e.RequestID, AttemptNumber: int32(e.AttemptNumber),
		OrgId: e.OrgID, ApiKeyId: e.APIKeyID, MemberId: e.MemberID, CredentialId: e.CredentialID, CredentialClass: classes[e.Class],
		Provider: e.Provider, Model: e.Model, ResponseModel: e.ResponseModel, RequestedModel: e.RequestedModel,
		PolicyId: e.PolicyID, PolicyVersion: e.PolicyVersion, TargetIndex: int32(e.TargetIndex), ConfigVersion: e.ConfigVersion,
		Dialect: e.Dialect, Streamed: e.Streamed, Tags: e.Tags, Session: e.Session, User: e.User,
		StartedTime: toTime(e.Started), EndedTime: toTime(e.Ended),
		DurationMicros: e.Duration.Microseconds(), FirstContentMicros: e.FirstContent.Microseconds(),
		Outcome: outcomes[e.Outcome], ErrorClass: e.ErrorClass, HttpStatus: int32(e.HTTPStatus), FinishReason: e.FinishReason,
		UsageSource: sources[e.Source], Tokens: toCounts(e.Tokens), ProviderRequestId: e.ProviderRequestID, TraceId: e.TraceID, SpanId: e.SpanID,
		Operation: e.Operation, Units: toUnits(e.Units), ReportedCostNanoUsd: e.ReportedNano,
		CredentialRevision: int32(e.CredentialRevision), GroupId: e.GroupID, CostNanoUsd: e.ReckonedNano, PriceVersion: e.RouterPrice,
	}
}

func toPrice(v *price.Version) *meteringv1.Price {
	p := &meteringv1.Price{Id: v.ID, Model: v.Model, ValidFrom: timestamppb.New(v.ValidFrom), Source: v.Source, Reported: v.Reported}
	for _, u := range v.Units {
		p.Units = append(p.Units, &meteringv1.UnitRate{Name: u.Name, NanoUsd: u.Rate})
	}
	for _, t := range v.Tiers {
		p.Tiers = append(p.Tiers, &meteringv1.PriceTier{
			MinInputTokens: t.MinInput, Input: t.Input, Output: t.Output, CacheRead: t.CacheRead,
			CacheWrite_5M: t.CacheWrite5m, CacheWrite_30M: t.CacheWrite30m, CacheWrite_1H: t.CacheWrite1h, CacheWrite_12H: t.CacheWrite12h,
			AudioIn: t.AudioIn, AudioOut: t.AudioOut, ImageIn: t.ImageIn, ImageOut: t.ImageOut,
		})
	}
	return p
}

func fromPrice(p *meteringv1.Price) pricing.Price {
	out := pricing.Price{Model: p.GetModel(), ValidFrom: fromTime(p.GetValidFrom()), Source: p.GetSource(), Reported: p.GetReported()}
	for _, u := range p.GetUnits() {
		out.Units = append(out.Units, pricing.UnitRate{Name: u.GetName(), Rate: u.NanoUsd})
	}
	for _, t := range p.GetTiers() {
		out.Tiers = append(out.Tiers, pricing.Tier{
			MinInput: t.GetMinInputTokens(), Input: t.Input, Output: t.Output, CacheRead: t.CacheRead,
			CacheWrite5m: t.CacheWrite_5M, CacheWrite30m: t.CacheWrite_30M, CacheWrite1h: t.CacheWrite_1H, CacheWrite12h: t.CacheWrite_12H,
			AudioIn: t.AudioIn, AudioOut: t.AudioOut, ImageIn: t.ImageIn, ImageOut: t.ImageOut,
		})
	}
	return out
}

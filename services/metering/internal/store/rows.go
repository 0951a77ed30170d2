package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// eventRow is a row of usage_event.
type eventRow struct {
	bun.BaseModel `bun:"table:usage_event,alias:e"`

	OrgID              string `bun:"org_id,pk"`
	Day                int64  `bun:"day,pk"`
	AttemptID          string `bun:"attempt_id,pk"`
	Revision           int    `bun:"revision"`
	RequestID          string `bun:"request_id"`
	AttemptNumber      int    `bun:"attempt_number"`
	APIKeyID           string `bun:"api_key_id"`
	MemberID           string `bun:"member_id"`
	CredentialID       string `bun:"credential_id"`
	CredentialClass    string `bun:"credential_class"`
	Provider           string `bun:"provider"`
	Model              string `bun:"model"`
	ResponseModel      string `bun:"response_model"`
	RequestedModel     string `bun:"requested_model"`
	PolicyID           string `bun:"policy_id"`
	PolicyVersion      int64  `bun:"policy_version"`
	TargetIndex        int    `bun:"target_index"`
	ConfigVersion      int64  `bun:"config_version"`
	Dialect            string `bun:"dialect"`
	Streamed           bool   `bun:"streamed"`
	TagsetID           string `bun:"tagset_id"`
	Session            string `bun:"session"`
	EndUser            string `bun:"end_user"`
	StartedAt          int64  `bun:"started_at"`
	EndedAt            int64  `bun:"ended_at"`
	DurationMicros     int64  `bun:"duration_micros"`
	FirstContentMicros int64  `bun:"first_content_micros"`
	Outcome            string `bun:"outcome"`
	ErrorClass         string `bun:"error_class"`
	HTTPStatus         int    `bun:"http_status"`
	FinishReason       string `bun:"finish_reason"`
	UsageSource        string `bun:"usage_source"`
	InputTotal         *int64 `bun:"input_total"`
	InputUncached      *int64 `bun:"input_uncached"`
	CacheRead          *int64 `bun:"cache_read"`
	CacheWrite5m       *int64 `bun:"cache_write_5m"`
	CacheWrite30m      *int64 `bun:"cache_write_30m"`
	CacheWrite1h       *int64 `bun:"cache_write_1h"`
	CacheWrite12h      *int64 `bun:"cache_write_12h"`
	OutputTotal        *int64 `bun:"output_total"`
	Reasoning          *int64 `bun:"reasoning"`
	AudioIn            *int64 `bun:"audio_in"`
	AudioOut           *int64 `bun:"audio_out"`
	ImageIn            *int64 `bun:"image_in"`
	ImageOut           *int64 `bun:"image_out"`
	CostNanoUSD        *int64 `bun:"cost_nano_usd"`
	PriceID            string `bun:"price_id"`
	ProviderRequestID  string `bun:"provider_request_id"`
	TraceID            string `bun:"trace_id"`
	SpanID             string `bun:"span_id"`
	CredentialRevision int    `bun:"credential_revision"`
	RouterCostNanoUSD  *int64 `bun:"router_cost_nano_usd"`
	RouterPriceID      string `bun:"router_price_id"`
	Flags              string `bun:"flags"`
	AppliedAt          int64  `bun:"applied_at"`
	Counted            int64  `bun:"counted"` // given out in the transaction, see number
	// What most attempts do not have, see rare.
	Operation           string `bun:"operation" rare:"yes"` // empty is usage.Chat
	UnitImage           *int64 `bun:"unit_image" rare:"yes"`
	UnitSecond          *int64 `bun:"unit_second" rare:"yes"`
	UnitMegapixel       *int64 `bun:"unit_megapixel" rare:"yes"`
	UnitRequest         *int64 `bun:"unit_request" rare:"yes"`
	UnitCredit          *int64 `bun:"unit_credit" rare:"yes"`
	UnitCharacter       *int64 `bun:"unit_character" rare:"yes"`
	ReportedCostNanoUSD *int64 `bun:"reported_cost_nano_usd" rare:"yes"`
	CostIsReported      bool   `bun:"cost_is_reported" rare:"yes"`
	GroupID             string `bun:"group_id" rare:"yes"`
}

// rare reports whether the row has something in a rare column.
func (r *eventRow) rare() bool {
	return r.Operation != "" || r.UnitImage != nil || r.UnitSecond != nil || r.UnitMegapixel != nil || r.UnitRequest != nil ||
		r.UnitCredit != nil || r.UnitCharacter != nil || r.ReportedCostNanoUSD != nil || r.CostIsReported || r.GroupID != ""
}

// units are the columns of units, in the order of pricing.UnitNames.
func (r *eventRow) units() [len(pricing.UnitNames)]**int64 {
	return [...]**int64{&r.UnitImage, &r.UnitSecond, &r.UnitMegapixel, &r.UnitRequest, &r.UnitCredit, &r.UnitCharacter}
}

func toEventRow(a *usage.Attempt) *eventRow {
	n, _ := a.Day() // checked when it was decoded
	r := &eventRow{
		OrgID: a.OrgID, Day: n, AttemptID: a.AttemptID, Revision: a.Revision, RequestID: a.RequestID,
		AttemptNumber: a.AttemptNumber, APIKeyID: a.APIKeyID, MemberID: a.MemberID, CredentialID: a.CredentialID,
		CredentialClass: string(a.Class), Provider: a.Provider, Model: a.Model, ResponseModel: a.ResponseModel,
		RequestedModel: a.RequestedModel, PolicyID: a.PolicyID, PolicyVersion: a.PolicyVersion,
		TargetIndex: a.TargetIndex, ConfigVersion: a.ConfigVersion, Dialect: a.Dialect, Streamed: a.Streamed,
		TagsetID: usage.TagsetID(a.Tags), Session: a.Session, EndUser: a.User,
		StartedAt: micros(a.Started), EndedAt: micros(a.Ended),
		DurationMicros: a.Duration.Microseconds(), FirstContentMicros: a.FirstContent.Microseconds(),
		Outcome: string(a.Outcome), ErrorClass: a.ErrorClass, HTTPStatus: a.HTTPStatus, FinishReason: a.FinishReason,
		UsageSource: string(a.Source), CostNanoUSD: a.CostNano, PriceID: a.PriceID,
		ProviderRequestID: a.ProviderRequestID, TraceID: a.TraceID, SpanID: a.SpanID, Flags: strings.Join(a.Flags, " "), AppliedAt: micros(a.AppliedAt),
		CredentialRevision: a.CredentialRevision, RouterCostNanoUSD: a.ReckonedNano, RouterPriceID: a.RouterPrice, GroupID: a.GroupID,
	}
	if k := a.Tokens; k != nil {
		r.InputTotal, r.InputUncached, r.CacheRead = &k.InputTotal, &k.InputUncached, &k.CacheRead
		r.CacheWrite5m, r.CacheWrite30m = &k.CacheWrite5m, &k.CacheWrite30m
		r.CacheWrite1h, r.CacheWrite12h = &k.CacheWrite1h, &k.CacheWrite12h
		r.OutputTotal, r.Reasoning = &k.OutputTotal, &k.Reasoning
		r.AudioIn, r.AudioOut, r.ImageIn, r.ImageOut = &k.AudioIn, &k.AudioOut, &k.ImageIn, &k.ImageOut
	}
	if a.Operation != usage.Chat {
		r.Operation = a.Operation
	}
	for i := range a.Units {
		if n, ok := pricing.UnitIndex(a.Units[i].Name); ok {
			*r.units()[n] = &a.Units[i].Milli
		}
	}
	r.ReportedCostNanoUSD, r.CostIsReported = a.ReportedNano, a.CostSource == usage.CostByProvider
	return r
}

// costSource says where the cost of a row comes from.
func (r *eventRow) costSource() usage.CostSource {
	switch {
	case r.CostNanoUSD == nil:
		return usage.CostUnknown
	case r.CostIsReported:
		return usage.CostByProvider
	case r.PriceID != "":
		return usage.CostByPrice
	}
	return usage.CostNothing
}

// attempt turns a row back; its tags are read apart.
func (r *eventRow) attempt(tags map[string]string) usage.Attempt {
	a := usage.Attempt{
		Event: usage.Event{
			OrgID: r.OrgID, AttemptID: r.AttemptID, Revision: r.Revision, RequestID: r.RequestID,
			AttemptNumber: r.AttemptNumber, APIKeyID: r.APIKeyID, MemberID: r.MemberID, CredentialID: r.CredentialID,
			Class: usage.Class(r.CredentialClass), Provider: r.Provider, Model: r.Model, ResponseModel: r.ResponseModel,
			RequestedModel: r.RequestedModel, PolicyID: r.PolicyID, PolicyVersion: r.PolicyVersion,
			TargetIndex: r.TargetIndex, ConfigVersion: r.ConfigVersion, Dialect: r.Dialect, Operation: cmp.Or(r.Operation, usage.Chat),
			Streamed: r.Streamed, Tags: tags, Session: r.Session, User: r.EndUser, Started: fromMicros(r.StartedAt), Ended: fromMicros(r.EndedAt),
			Duration:     time.Duration(r.DurationMicros) * time.Microsecond,
			FirstContent: time.Duration(r.FirstContentMicros) * time.Microsecond,
			Outcome:      usage.Outcome(r.Outcome), ErrorClass: r.ErrorClass, HTTPStatus: r.HTTPStatus,
			FinishReason: r.FinishReason, Source: usage.Source(r.UsageSource),
			ReportedNano:      r.ReportedCostNanoUSD,
			ProviderRequestID: r.ProviderRequestID, TraceID: r.TraceID, SpanID: r.SpanID,
			CredentialRevision: r.CredentialRevision, GroupID: r.GroupID, ReckonedNano: r.RouterCostNanoUSD, RouterPrice: r.RouterPriceID,
		},
		CostNano: r.CostNanoUSD, CostSource: r.costSource(), PriceID: r.PriceID, Flags: strings.Fields(r.Flags), AppliedAt: fromMicros(r.AppliedAt),
	}
	if r.InputTotal != nil {
		a.Tokens = &pricing.Counts{
			InputTotal: *r.InputTotal, InputUncached: deref(r.InputUncached), CacheRead: deref(r.CacheRead),
			CacheWrite5m: deref(r.CacheWrite5m), CacheWrite30m: deref(r.CacheWrite30m),
			CacheWrite1h: deref(r.CacheWrite1h), CacheWrite12h: deref(r.CacheWrite12h),
			OutputTotal: deref(r.OutputTotal), Reasoning: deref(r.Reasoning),
			AudioIn: deref(r.AudioIn), AudioOut: deref(r.AudioOut), ImageIn: deref(r.ImageIn), ImageOut: deref(r.ImageOut),
		}
	}
	for i, milli := range r.units() {
		if *milli != nil {
			a.Units = append(a.Units, pricing.Unit{Name: pricing.UnitNames[i], Milli: **milli})
		}
	}
	return a
}

func deref(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

// rollupRow is a row of usage_rollup.
type rollupRow struct {
	bun.BaseModel `bun:"table:usage_rollup,alias:r"`

	OrgID           string `bun:"org_id,pk"`
	Bucket          int64  `bun:"bucket,pk"`
	APIKeyID        string `bun:"api_key_id,pk"`
	MemberID        string `bun:"member_id,pk"`
	CredentialID    string `bun:"credential_id,pk"`
	CredentialClass string `bun:"credential_class,pk"`
	Provider        string `bun:"provider,pk"`
	Model           string `bun:"model,pk"`
	PolicyID        string `bun:"policy_id,pk"`
	TagsetID        string `bun:"tagset_id,pk"`
	sumColumns
}

// sumColumns are the sums of a row.
type sumColumns struct {
	Requests             int64 `bun:"requests"`
	Attempts             int64 `bun:"attempts"`
	Errors               int64 `bun:"errors"`
	InputTotal           int64 `bun:"input_total"`
	InputUncached        int64 `bun:"input_uncached"`
	CacheRead            int64 `bun:"cache_read"`
	CacheWrite5m         int64 `bun:"cache_write_5m"`
	CacheWrite30m        int64 `bun:"cache_write_30m"`
	CacheWrite1h         int64 `bun:"cache_write_1h"`
	CacheWrite12h        int64 `bun:"cache_write_12h"`
	OutputTotal          int64 `bun:"output_total"`
	Reasoning            int64 `bun:"reasoning"`
	AudioIn              int64 `bun:"audio_in"`
	AudioOut             int64 `bun:"audio_out"`
	ImageIn              int64 `bun:"image_in"`
	ImageOut             int64 `bun:"image_out"`
	CostNanoUSD          int64 `bun:"cost_nano_usd"`
	UnknownCostAttempts  int64 `bun:"unknown_cost_attempts"`
	EstimatedAttempts    int64 `bun:"estimated_attempts"`
	EstimatedCostNanoUSD int64 `bun:"estimated_cost_nano_usd"`
	// What most sums do not have, see rare. NULL is nothing.
	UnitImage           *int64 `bun:"unit_image" rare:"yes"`
	UnitSecond          *int64 `bun:"unit_second" rare:"yes"`
	UnitMegapixel       *int64 `bun:"unit_megapixel" rare:"yes"`
	UnitRequest         *int64 `bun:"unit_request" rare:"yes"`
	UnitCredit          *int64 `bun:"unit_credit" rare:"yes"`
	UnitCharacter       *int64 `bun:"unit_character" rare:"yes"`
	ReportedCostNanoUSD *int64 `bun:"reported_cost_nano_usd" rare:"yes"`
	ProviderCostNanoUSD *int64 `bun:"provider_cost_nano_usd" rare:"yes"`
}

// rare reports whether the sums have something in a rare column.
func (s *sumColumns) rare() bool {
	return s.UnitImage != nil || s.UnitSecond != nil || s.UnitMegapixel != nil || s.UnitRequest != nil ||
		s.UnitCredit != nil || s.UnitCharacter != nil || s.ReportedCostNanoUSD != nil || s.ProviderCostNanoUSD != nil
}

// sumNames are the columns of sumColumns, in the same order; the rare ones are the last.
var sumNames = []string{
	"requests", "attempts", "errors",
	"input_total", "input_uncached", "cache_read", "cache_write_5m", "cache_write_30m", "cache_write_1h", "cache_write_12h",
	"output_total", "reasoning", "audio_in", "audio_out", "image_in", "image_out",
	"cost_nano_usd", "unknown_cost_attempts", "estimated_attempts", "estimated_cost_nano_usd",
	"unit_image", "unit_second", "unit_megapixel", "unit_request", "unit_credit", "unit_character",
	"reported_cost_nano_usd", "provider_cost_nano_usd",
}

// keyNames are the columns of a rollup's key.
var keyNames = []string{
	"org_id", "bucket", "api_key_id", "member_id", "credential_id", "credential_class", "provider", "model", "policy_id", "tagset_id",
}

func toSums(t usage.Totals) sumColumns {
	k := t.Tokens
	sums := sumColumns{
		Requests: t.Requests, Attempts: t.Attempts, Errors: t.Errors,
		InputTotal: k.InputTotal, InputUncached: k.InputUncached, CacheRead: k.CacheRead,
		CacheWrite5m: k.CacheWrite5m, CacheWrite30m: k.CacheWrite30m, CacheWrite1h: k.CacheWrite1h, CacheWrite12h: k.CacheWrite12h,
		OutputTotal: k.OutputTotal, Reasoning: k.Reasoning, AudioIn: k.AudioIn, AudioOut: k.AudioOut, ImageIn: k.ImageIn, ImageOut: k.ImageOut,
		CostNanoUSD: t.CostNano, UnknownCostAttempts: t.UnknownCost,
		EstimatedAttempts: t.Estimated, EstimatedCostNanoUSD: t.EstimatedCostNano,
	}
	if u := t.Units; u != (pricing.Units{}) || t.ReportedNano != 0 || t.ProviderCostNano != 0 {
		sums.UnitImage, sums.UnitSecond, sums.UnitMegapixel = some(u[0]), some(u[1]), some(u[2])
		sums.UnitRequest, sums.UnitCredit, sums.UnitCharacter = some(u[3]), some(u[4]), some(u[5])
		sums.ReportedCostNanoUSD, sums.ProviderCostNanoUSD = some(t.ReportedNano), some(t.ProviderCostNano)
	}
	return sums
}

// some is n, or nil for nothing.
func some(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}

func (s *sumColumns) totals() usage.Totals {
	return usage.Totals{
		Requests: s.Requests, Attempts: s.Attempts, Errors: s.Errors,
		Tokens: pricing.Counts{
			InputTotal: s.InputTotal, InputUncached: s.InputUncached, CacheRead: s.CacheRead,
			CacheWrite5m: s.CacheWrite5m, CacheWrite30m: s.CacheWrite30m, CacheWrite1h: s.CacheWrite1h, CacheWrite12h: s.CacheWrite12h,
			OutputTotal: s.OutputTotal, Reasoning: s.Reasoning, AudioIn: s.AudioIn, AudioOut: s.AudioOut, ImageIn: s.ImageIn, ImageOut: s.ImageOut,
		},
		CostNano: s.CostNanoUSD, UnknownCost: s.UnknownCostAttempts, Estimated: s.EstimatedAttempts, EstimatedCostNano: s.EstimatedCostNanoUSD,
		Units: pricing.Units{
			deref(s.UnitImage), deref(s.UnitSecond), deref(s.UnitMegapixel), deref(s.UnitRequest), deref(s.UnitCredit), deref(s.UnitCharacter),
		},
		ReportedNano: deref(s.ReportedCostNanoUSD), ProviderCostNano: deref(s.ProviderCostNanoUSD),
	}
}

func toRollupRow(k usage.Key, t usage.Totals) *rollupRow {
	return &rollupRow{
		OrgID: k.OrgID, Bucket: k.Bucket, APIKeyID: k.APIKeyID, MemberID: k.MemberID, CredentialID: k.CredentialID,
		CredentialClass: string(k.Class), Provider: k.Provider, Model: k.Model, PolicyID: k.PolicyID, TagsetID: k.TagsetID,
		sumColumns: toSums(t),
	}
}

// tagsetRow is a row of tagset.
type tagsetRow struct {
	bun.BaseModel `bun:"table:tagset"`

	OrgID    string `bun:"org_id,pk"`
	TagsetID string `bun:"tagset_id,pk"`
	Tags     string `bun:"tags"`
}

// tagRow is a row of tagset_tag.
type tagRow struct {
	bun.BaseModel `bun:"table:tagset_tag"`

	OrgID    string `bun:"org_id,pk"`
	TagKey   string `bun:"tag_key,pk"`
	TagsetID string `bun:"tagset_id,pk"`
	TagValue string `bun:"tag_value"`
}

func toJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("store: encode %T: %v", v, err)) // maps and structs of strings and numbers cannot fail
	}
	return string(text)
}

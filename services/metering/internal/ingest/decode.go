package ingest

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/jetstream"
	"github.com/claviger/claviger/pkg/pricing"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	"github.com/claviger/claviger/services/metering/internal/spool"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

const (
	frameSchema = 1
	// An event may be this late, and its clock this far ahead.
	maxLate  = 35 * 24 * time.Hour
	maxAhead = 5 * time.Minute

	maxEpoch    = 64
	maxAttempts = 1000 // of one request
	maxRevision = 1_000_000
	maxTags     = 16
	maxTagKey   = 64
	maxText     = 256
	maxWord     = 64
	maxStatus   = 999
	maxUnits    = 16
	maxSecrets  = 1_000_000 // revisions of a credential's secret
)

// refusal says why something is not counted.
type refusal struct {
	reason usage.Reason
	detail string
}

func refuse(reason usage.Reason, format string, args ...any) *refusal {
	return &refusal{reason: reason, detail: fmt.Sprintf(format, args...)}
}

// frame is a frame whose form is right: its events may still be refused one by one.
type frame struct {
	subject string
	router  string
	epoch   string
	part    int
	sent    time.Time // zero if it does not say
	entries []*eventsv1.UsageEntry
}

// decodeFrame checks a message as a whole. Who sent it is what the subject says, since the broker lets
// each router publish under its own name only; a frame that says otherwise is forged.
func decodeFrame(subject string, header nats.Header, payload []byte) (*frame, *refusal) {
	router, partition, err := jetstream.CheckFrame(subject, header, payload)
	switch {
	case errors.Is(err, jetstream.ErrChecksum):
		return nil, refuse(usage.ReasonCRC, "%v", err)
	case errors.Is(err, jetstream.ErrTooLarge):
		return nil, refuse(usage.ReasonTooLarge, "%v", err)
	case err != nil:
		return nil, refuse(usage.ReasonSubject, "%v", err)
	}
	var f eventsv1.UsageFrame
	if err := proto.Unmarshal(payload, &f); err != nil {
		return nil, refuse(usage.ReasonDecode, "the frame cannot be decoded")
	}
	switch {
	case f.GetSchema() != frameSchema:
		return nil, refuse(usage.ReasonSchema, "schema %d is not known", f.GetSchema())
	case f.GetRouter() != router:
		return nil, refuse(usage.ReasonRouterMismatch, "the frame names router %q", clip(f.GetRouter(), maxWord))
	case int(f.GetPartition()) != partition:
		return nil, refuse(usage.ReasonPartitionMismatch, "the frame names partition %d", f.GetPartition())
	case !validEpoch(f.GetEpoch()):
		return nil, refuse(usage.ReasonDecode, "the epoch is no word")
	}
	last := int64(0)
	for _, e := range f.GetEntries() {
		if e.GetSequence() <= last {
			return nil, refuse(usage.ReasonSequence, "%d follows %d", e.GetSequence(), last)
		}
		last = e.GetSequence()
	}
	decoded := &frame{subject: subject, router: router, epoch: f.GetEpoch(), part: partition, entries: f.GetEntries()}
	if f.GetSentTime().IsValid() {
		decoded.sent = f.GetSentTime().AsTime()
	}
	return decoded, nil
}

func validEpoch(s string) bool {
	return s != "" && len(s) <= maxEpoch && strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyz-") == ""
}

// key is the sequence that the frame belongs to.
func (f *frame) key() spool.Key {
	return spool.Key{Router: f.router, Epoch: f.epoch, Partition: f.part}
}

// item is an entry of a frame with where it came from.
type item struct {
	subject string
	origin  usage.Origin
	entry   *eventsv1.UsageEntry
}

// encoded is the entry as it is kept aside: the same bytes for the same entry.
func (i *item) encoded() []byte {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(i.entry)
	if err != nil {
		return nil // it was decoded a moment ago
	}
	return data
}

// quarantined is the entry with the reason why it is not counted.
func (i *item) quarantined(r *refusal) usage.Quarantined {
	data := i.encoded()
	e := i.entry.GetEvent()
	return usage.Quarantined{
		ID: contentID(i.subject, i.origin.Router, i.origin.Epoch, string(data)), Reason: r.reason, Detail: r.detail,
		Subject: i.subject, Payload: data, Entry: true,
		OrgID: clip(e.GetOrgId(), maxWord), AttemptID: clip(e.GetAttemptId(), maxWord), Origin: i.origin,
	}
}

// quarantinedMessage is a whole message with the reason why it is not counted.
func quarantinedMessage(subject string, payload []byte, r *refusal) usage.Quarantined {
	return usage.Quarantined{
		ID: contentID(subject, string(payload)), Reason: r.reason, Detail: r.detail, Subject: clip(subject, maxText), Payload: payload,
	}
}

func contentID(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(p), p) // a hash takes everything
	}
	return hex.EncodeToString(h.Sum(nil))
}

// decodeEvent reads an event and bounds everything in it. What is wrong with who and how much is
// refused; what is only too long or unprintable in the database is cut and flagged.
func decodeEvent(e *eventsv1.UsageEvent, partition int, now time.Time) (usage.Attempt, *refusal) {
	var a usage.Attempt
	if r := checkEvent(e, partition, now); r != nil {
		return a, r
	}
	c := cleaner{}
	a.Event = usage.Event{
		OrgID: e.GetOrgId(), AttemptID: e.GetAttemptId(), Revision: int(e.GetRevision()), RequestID: c.text(e.GetRequestId(), maxWord),
		AttemptNumber: int(e.GetAttemptNumber()), APIKeyID: e.GetApiKeyId(), MemberID: e.GetMemberId(), CredentialID: e.GetCredentialId(),
		CredentialRevision: int(e.GetCredentialRevision()), GroupID: e.GetGroupId(),
		Class: classes[e.GetCredentialClass()], Provider: c.text(e.GetProvider(), maxWord), Model: c.text(e.GetModel(), maxText),
		ResponseModel: c.text(e.GetResponseModel(), maxText), RequestedModel: c.text(e.GetRequestedModel(), maxText),
		PolicyID: e.GetPolicyId(), PolicyVersion: e.GetPolicyVersion(), TargetIndex: int(e.GetTargetIndex()), ConfigVersion: e.GetConfigVersion(),
		Dialect: c.text(e.GetDialect(), maxWord), Operation: cmp.Or(c.text(e.GetOperation(), maxWord), usage.Chat), Streamed: e.GetStreamed(), Tags: c.tags(e.GetTags()),
		Session: c.text(e.GetSession(), maxText), User: c.text(e.GetUser(), maxText),
		Ended: e.GetEndedTime().AsTime().Truncate(time.Microsecond), Started: e.GetStartedTime().AsTime().Truncate(time.Microsecond),
		Duration:     time.Duration(bounded(e.GetDurationMicros())) * time.Microsecond,
		FirstContent: time.Duration(bounded(e.GetFirstContentMicros())) * time.Microsecond,
		Outcome:      outcomes[e.GetOutcome()], ErrorClass: c.text(e.GetErrorClass(), maxWord), HTTPStatus: int(e.GetHttpStatus()),
		FinishReason: c.text(e.GetFinishReason(), maxWord), Source: sources[e.GetUsageSource()], Tokens: countsOf(e.GetTokens()),
		Units: unitsOf(e.GetUnits()), ReportedNano: e.ReportedCostNanoUsd,
		ReckonedNano: e.CostNanoUsd, RouterPrice: c.text(e.GetPriceVersion(), maxWord),
		ProviderRequestID: c.text(e.GetProviderRequestId(), maxText), TraceID: c.text(e.GetTraceId(), maxWord), SpanID: c.text(e.GetSpanId(), maxWord),
	}
	a.AppliedAt = now
	if a.Ended.After(now.Add(maxAhead)) {
		a.Ended = now
		a.Flags = append(a.Flags, usage.FlagClockSkew)
	}
	if e.GetStartedTime() == nil || a.Started.Unix() < 0 || a.Started.After(a.Ended) {
		a.Started = a.Ended
	}
	if c.cut {
		a.Flags = append(a.Flags, usage.FlagTextCut)
	}
	if len(a.Units) < len(e.GetUnits()) {
		a.Flags = append(a.Flags, usage.FlagUnit)
	}
	if r := a.ReportedNano; r != nil && (*r < 0 || *r > usage.MaxCost) { // what a provider says is no reason to lose the rest
		a.ReportedNano = nil
		a.Flags = append(a.Flags, usage.FlagReported)
	}
	if r := a.ReckonedNano; r != nil && (*r < 0 || *r > usage.MaxCost) {
		a.ReckonedNano = nil
		a.Flags = append(a.Flags, usage.FlagReckoned)
	}
	return a, nil
}

func checkEvent(e *eventsv1.UsageEvent, partition int, now time.Time) *refusal {
	switch {
	case !id.Valid("att", e.GetAttemptId()):
		return refuse(usage.ReasonID, "attempt_id is no id")
	case !id.Valid("org", e.GetOrgId()):
		return refuse(usage.ReasonID, "org_id is no id")
	case jetstream.Partition(e.GetOrgId()) != partition:
		return refuse(usage.ReasonPartitionMismatch, "the organization belongs to partition %d", jetstream.Partition(e.GetOrgId()))
	case e.GetRequestId() == "":
		return refuse(usage.ReasonID, "request_id is missing")
	case e.GetEndedTime() == nil || e.GetEndedTime().CheckValid() != nil || e.GetEndedTime().AsTime().Unix() < 0:
		return refuse(usage.ReasonTime, "ended_time is missing or no time")
	case now.Sub(e.GetEndedTime().AsTime()) > maxLate:
		return refuse(usage.ReasonLate, "it ended more than 35 days ago")
	case e.GetRevision() < 0 || e.GetRevision() > maxRevision:
		return refuse(usage.ReasonValue, "revision is %d", e.GetRevision())
	case e.GetAttemptNumber() < 1 || e.GetAttemptNumber() > maxAttempts:
		return refuse(usage.ReasonValue, "attempt_number is %d", e.GetAttemptNumber())
	case e.GetHttpStatus() < 0 || e.GetHttpStatus() > maxStatus:
		return refuse(usage.ReasonValue, "http_status is %d", e.GetHttpStatus())
	case e.GetCredentialRevision() < 0 || e.GetCredentialRevision() > maxSecrets:
		return refuse(usage.ReasonValue, "credential_revision is %d", e.GetCredentialRevision())
	case e.GetGroupId() != "" && !id.Valid("grp", e.GetGroupId()):
		return refuse(usage.ReasonID, "group_id is no id")
	case e.GetProvider() == "" || e.GetModel() == "":
		return refuse(usage.ReasonValue, "provider or model is missing")
	}
	if c := countsOf(e.GetTokens()); c != nil {
		if err := pricing.Validate(*c); err != nil {
			return refuse(usage.ReasonCounts, "%v", err)
		}
	}
	if len(e.GetUnits()) > maxUnits {
		return refuse(usage.ReasonCounts, "%d units", len(e.GetUnits()))
	}
	if err := pricing.ValidateUnits(unitsOf(e.GetUnits())); err != nil {
		return refuse(usage.ReasonCounts, "%v", err)
	}
	return nil
}

// unitsOf returns the units that we know, in our order.
func unitsOf(in []*eventsv1.UnitCount) []pricing.Unit {
	if len(in) == 0 {
		return nil
	}
	var units []pricing.Unit
	for _, name := range pricing.UnitNames {
		for _, u := range in {
			if u.GetName() == name {
				units = append(units, pricing.Unit{Name: name, Milli: u.GetMilli()})
			}
		}
	}
	return units
}

func countsOf(t *eventsv1.TokenCounts) *pricing.Counts {
	if t == nil {
		return nil
	}
	return &pricing.Counts{
		InputTotal: t.GetInputTotal(), InputUncached: t.GetInputUncached(), CacheRead: t.GetCacheRead(),
		CacheWrite5m: t.GetCacheWrite_5M(), CacheWrite30m: t.GetCacheWrite_30M(),
		CacheWrite1h: t.GetCacheWrite_1H(), CacheWrite12h: t.GetCacheWrite_12H(),
		OutputTotal: t.GetOutputTotal(), Reasoning: t.GetReasoning(),
		AudioIn: t.GetAudioIn(), AudioOut: t.GetAudioOut(), ImageIn: t.GetImageIn(), ImageOut: t.GetImageOut(),
	}
}

// Values of a newer router that we do not know are taken as unknown.
var (
	classes = map[eventsv1.CredentialClass]usage.Class{
		eventsv1.CredentialClass_CREDENTIAL_CLASS_OWN:      usage.Own,
		eventsv1.CredentialClass_CREDENTIAL_CLASS_PLATFORM: usage.Platform,
	}
	outcomes = map[eventsv1.Outcome]usage.Outcome{
		eventsv1.Outcome_OUTCOME_OK:           usage.OK,
		eventsv1.Outcome_OUTCOME_ERROR:        usage.Failed,
		eventsv1.Outcome_OUTCOME_BROKEN:       usage.Broken,
		eventsv1.Outcome_OUTCOME_CANCELED:     usage.Canceled,
		eventsv1.Outcome_OUTCOME_NOT_SENT:     usage.NotSent,
		eventsv1.Outcome_OUTCOME_ROUTER_CRASH: usage.RouterCrash,
	}
	sources = map[eventsv1.UsageSource]usage.Source{
		eventsv1.UsageSource_USAGE_SOURCE_PROVIDER_FINAL:   usage.ProviderFinal,
		eventsv1.UsageSource_USAGE_SOURCE_PROVIDER_PARTIAL: usage.ProviderPartial,
		eventsv1.UsageSource_USAGE_SOURCE_ESTIMATED:        usage.Estimated,
		eventsv1.UsageSource_USAGE_SOURCE_NONE:             usage.NoUsage,
	}
)

// bounded keeps a length in microseconds between nothing and a year.
func bounded(micros int64) int64 {
	const year = 366 * 24 * int64(time.Hour/time.Microsecond)
	return min(max(micros, 0), year)
}

// cleaner makes texts fit for the database and remembers whether it had to.
type cleaner struct{ cut bool }

// text bounds s and takes zero bytes out: Postgres stores none, and callers can send them.
func (c *cleaner) text(s string, limit int) string {
	t := clip(s, limit)
	c.cut = c.cut || t != s
	return t
}

func (c *cleaner) tags(in map[string]string) map[string]string {
	if len(in) == 0 {
		return nil
	}
	keys := slices.Sorted(maps.Keys(in))
	if len(keys) > maxTags {
		keys, c.cut = keys[:maxTags], true
	}
	out := make(map[string]string, len(keys))
	for _, key := range keys {
		out[c.text(key, maxTagKey)] = c.text(in[key], maxText)
	}
	return out
}

// clip cuts s to at most limit bytes, at a character, and replaces what Postgres does not store: zero
// bytes, and bytes that are no UTF-8, which a subject can have.
func clip(s string, limit int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

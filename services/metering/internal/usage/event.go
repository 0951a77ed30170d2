// Package usage is what the service is about: the record of each attempt, the sums over them, and the
// questions that people ask of both.
//
// An attempt is counted once, at the time it ended, with the highest revision that came. Sums are kept
// per quarter of an hour and set of dimensions, and always equal what adding up the attempts gives.
// What is not known (tokens, cost) stays unknown and is counted as such; it is never zero.
package usage

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/pricing"
)

// Quarter is the width of the smallest bucket that sums are kept for.
const Quarter = 15 * time.Minute

// Class says who pays the provider.
type Class string

// The classes. Empty is an attempt that no credential served.
const (
	NoClass  Class = ""
	Own      Class = "own"
	Platform Class = "platform"
)

// Source says where token counts come from.
type Source string

// The sources.
const (
	SourceUnknown   Source = ""
	ProviderFinal   Source = "provider_final"
	ProviderPartial Source = "provider_partial"
	Estimated       Source = "estimated"
	NoUsage         Source = "none"
)

// Outcome says how an attempt ended.
type Outcome string

// The outcomes.
const (
	OutcomeUnknown Outcome = ""
	OK             Outcome = "ok"
	Failed         Outcome = "error"
	Broken         Outcome = "broken"
	Canceled       Outcome = "canceled"
	NotSent        Outcome = "not_sent"
	RouterCrash    Outcome = "router_crash"
)

// What may be noticed about an attempt.
const (
	// FlagClockSkew marks an end in the future, which was counted at the time it came.
	FlagClockSkew = "clock_skew"
	// FlagTextCut marks a text that was cut or cleaned because it could not be stored as it was.
	FlagTextCut = "text_cut"
	// FlagCounts marks counts that contradict each other; they are summed, but have no cost.
	FlagCounts = "inconsistent_counts"
	// FlagUnit marks a unit of a newer router that is not known here; it is left out.
	FlagUnit = "unknown_unit"
	// FlagReported marks a cost of the provider's own that no call can have; it is left out.
	FlagReported = "reported_cost_out_of_bounds"
	// FlagReckoned marks a cost of the router's that no call can have; it is left out.
	FlagReckoned = "reckoned_cost_out_of_bounds"
)

// MaxCost bounds the cost of an attempt; see pricing.MaxCost.
const MaxCost = pricing.MaxCost

// CostSource says where the cost of an attempt comes from.
type CostSource string

// The sources of costs.
const (
	CostUnknown CostSource = ""
	// CostByPrice is computed with a version of the price book.
	CostByPrice CostSource = "price"
	// CostByProvider is what the provider itself says.
	CostByProvider CostSource = "provider"
	// CostNothing is that of an attempt that took nothing.
	CostNothing CostSource = "none"
)

// Chat is the operation that attempts are of unless they say another one.
const Chat = "chat"

// Event is what a router recorded of one attempt.
type Event struct {
	OrgID, AttemptID              string
	Revision                      int
	RequestID                     string
	AttemptNumber                 int
	APIKeyID, MemberID            string
	CredentialID                  string
	CredentialRevision            int    // of its secret; 0 is not told
	GroupID                       string // of the API key; empty is none
	Class                         Class
	Provider, Model               string // Model is the slug, "provider/name"
	ResponseModel, RequestedModel string
	PolicyID                      string
	PolicyVersion                 int64
	TargetIndex                   int
	ConfigVersion                 int64
	Dialect                       string
	Operation                     string // never empty: Chat, "embeddings", "images", …
	Streamed                      bool
	Tags                          map[string]string
	Session, User                 string
	Started, Ended                time.Time
	Duration, FirstContent        time.Duration
	Outcome                       Outcome
	ErrorClass                    string
	HTTPStatus                    int
	FinishReason                  string
	Source                        Source
	Tokens                        *pricing.Counts // nil is unknown, which is not zero
	Units                         []pricing.Unit  // those that are known, in the order of pricing.UnitNames
	ReportedNano                  *int64          // what the provider says that it costs; nil if it does not
	ReckonedNano                  *int64          // what the router told its caller that it costs; nil is unknown
	RouterPrice                   string          // the price version that the router reckoned with
	ProviderRequestID             string
	TraceID, SpanID               string // of the attempt, in hex; empty if it was not traced
}

// Attempt is an event with its price, as it is counted.
type Attempt struct {
	Event
	// CostNano is the cost in nano-USD; nil is unknown, which is not zero.
	CostNano *int64
	// CostSource says where the cost comes from. Of one by the provider PriceID is the version that says
	// so, or that lacks a rate, if there is any.
	CostSource CostSource
	PriceID    string
	Flags      []string
	AppliedAt  time.Time
}

// Day is the day of the attempt's id, counted from 1970-01-01. It never changes, whatever clocks do, so
// that a unique key over it is unique for ever. It is false for something that is no attempt's id.
func (e *Event) Day() (int64, bool) {
	t, ok := id.Time(e.AttemptID)
	return t.Unix() / 86_400, ok
}

// Failed reports whether the attempt did not end well. A caller who goes away is no error.
func (e *Event) Failed() bool { return e.Outcome != OK && e.Outcome != Canceled }

// Bucket is the start of the quarter of an hour that the attempt counts in.
func (e *Event) Bucket() time.Time { return e.Ended.Truncate(Quarter) }

// TagsetID names a set of tags; no tags are "".
func TagsetID(tags map[string]string) string {
	if len(tags) == 0 {
		return ""
	}
	h := sha256.New()
	var size [8]byte
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		for _, part := range [...]string{key, tags[key]} {
			binary.BigEndian.PutUint64(size[:], uint64(len(part))) // so that "ab","c" is not "a","bc"
			h.Write(size[:])
			h.Write([]byte(part))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Key are the dimensions of a sum. Empty is "none".
type Key struct {
	OrgID           string
	Bucket          int64 // microseconds since 1970
	APIKeyID        string
	MemberID        string
	CredentialID    string
	Class           Class
	Provider, Model string
	PolicyID        string
	TagsetID        string
}

// Totals are sums over attempts.
type Totals struct {
	Requests, Attempts, Errors int64
	Tokens                     pricing.Counts
	CostNano                   int64
	UnknownCost                int64
	Estimated                  int64
	EstimatedCostNano          int64
	Units                      pricing.Units
	// ReportedNano is what providers say of the attempts of which they say it; ProviderCostNano the part
	// of CostNano that rests on it.
	ReportedNano, ProviderCostNano int64
}

// Contribution is what the attempt adds to the sums.
func (a *Attempt) Contribution() (Key, Totals) {
	key := Key{
		OrgID: a.OrgID, Bucket: a.Bucket().UnixMicro(), APIKeyID: a.APIKeyID, MemberID: a.MemberID,
		CredentialID: a.CredentialID, Class: a.Class, Provider: a.Provider, Model: a.Model,
		PolicyID: a.PolicyID, TagsetID: TagsetID(a.Tags),
	}
	t := Totals{Attempts: 1}
	if a.AttemptNumber == 1 {
		t.Requests = 1
	}
	if a.Failed() {
		t.Errors = 1
	}
	if a.Tokens != nil {
		t.Tokens = *a.Tokens
	}
	for _, u := range a.Units {
		if i, ok := pricing.UnitIndex(u.Name); ok {
			t.Units[i] = u.Milli
		}
	}
	if a.ReportedNano != nil {
		t.ReportedNano = *a.ReportedNano
	}
	estimated := a.Source != ProviderFinal && a.Source != NoUsage
	if estimated {
		t.Estimated = 1
	}
	if a.CostNano == nil {
		t.UnknownCost = 1
		return key, t
	}
	t.CostNano = *a.CostNano
	if a.CostSource == CostByProvider {
		t.ProviderCostNano = *a.CostNano
	}
	if estimated {
		t.EstimatedCostNano = *a.CostNano
	}
	return key, t
}

// Plus returns the sum of t and u; sign -1 takes u away.
func (t Totals) Plus(u Totals, sign int64) Totals {
	from := u.fields()
	for i, into := range t.fields() {
		*into += sign * *from[i]
	}
	return t
}

// IsZero reports whether nothing is counted.
func (t Totals) IsZero() bool { return t == Totals{} }

// Negative reports whether any sum is below zero, as it is after an addition that left 63 bits.
func (t Totals) Negative() bool {
	for _, n := range t.fields() {
		if *n < 0 {
			return true
		}
	}
	return false
}

// fields lists all sums, always in the same order. It is an array, so that adding up allocates nothing.
func (t *Totals) fields() [28]*int64 {
	k, u := &t.Tokens, &t.Units
	return [...]*int64{
		&t.Requests, &t.Attempts, &t.Errors,
		&k.InputTotal, &k.InputUncached, &k.CacheRead, &k.CacheWrite5m, &k.CacheWrite30m, &k.CacheWrite1h,
		&k.CacheWrite12h, &k.OutputTotal, &k.Reasoning, &k.AudioIn, &k.AudioOut, &k.ImageIn, &k.ImageOut,
		&t.CostNano, &t.UnknownCost, &t.Estimated, &t.EstimatedCostNano,
		&u[0], &u[1], &u[2], &u[3], &u[4], &u[5], &t.ReportedNano, &t.ProviderCostNano,
	}
}

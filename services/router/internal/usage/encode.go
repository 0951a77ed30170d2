package usage

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// appendEvent appends e as an encoded claviger.events.v1.UsageEvent. It is written by hand because
// it runs twice per attempt: it allocates nothing but the sorted tag keys. The test compares it with
// the generated type, field by field.
func appendEvent(b []byte, e *Event) []byte {
	b = appendString(b, 1, e.AttemptID)
	b = appendInt(b, 2, int64(e.Revision))
	b = appendString(b, 3, e.RequestID)
	b = appendInt(b, 4, int64(e.AttemptNumber))
	b = appendString(b, 5, e.OrgID)
	b = appendString(b, 6, e.APIKeyID)
	b = appendString(b, 7, e.MemberID)
	b = appendString(b, 8, e.CredentialID)
	b = appendInt(b, 9, int64(e.Class))
	b = appendString(b, 10, e.Provider)
	b = appendString(b, 11, e.Model)
	b = appendString(b, 12, e.ResponseModel)
	b = appendString(b, 13, e.RequestedModel)
	b = appendString(b, 14, e.PolicyID)
	b = appendInt(b, 15, e.PolicyVersion)
	b = appendInt(b, 16, int64(e.TargetIndex))
	b = appendInt(b, 17, e.ConfigVersion)
	b = appendString(b, 18, e.Dialect)
	if e.Streamed {
		b = appendInt(b, 19, 1)
	}
	if len(e.Tags) > 0 {
		for _, k := range slices.Sorted(maps.Keys(e.Tags)) {
			k, v := clean(k), clean(e.Tags[k])
			b = protowire.AppendTag(b, 20, protowire.BytesType)
			b = protowire.AppendVarint(b, uint64(sizeString(1, k)+sizeString(2, v)))
			b = protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), k)
			b = protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), v)
		}
	}
	b = appendString(b, 21, e.Session)
	b = appendString(b, 22, e.User)
	b = appendTime(b, 23, e.Started)
	b = appendTime(b, 24, e.Ended)
	b = appendInt(b, 25, e.Duration.Microseconds())
	b = appendInt(b, 26, e.FirstContent.Microseconds())
	b = appendInt(b, 27, int64(e.Outcome))
	b = appendString(b, 28, e.ErrorClass)
	b = appendInt(b, 29, int64(e.HTTPStatus))
	b = appendString(b, 30, e.FinishReason)
	b = appendInt(b, 31, int64(e.Source))
	if e.Tokens != nil {
		b = appendTokens(b, 32, e.Tokens)
	}
	b = appendString(b, 33, e.ProviderRequestID)
	b = appendString(b, 34, e.TraceID)
	b = appendString(b, 36, e.Operation)
	for i := range min(len(e.Units), maxUnits) {
		b = appendUnit(b, 37, &e.Units[i])
	}
	if e.CostNanoUSD != nil { // zero is a value
		b = protowire.AppendVarint(protowire.AppendTag(b, 38, protowire.VarintType), uint64(*e.CostNanoUSD))
	}
	b = appendInt(b, 39, int64(e.CredentialRevision))
	if e.ReckonedNanoUSD != nil {
		b = protowire.AppendVarint(protowire.AppendTag(b, 40, protowire.VarintType), uint64(*e.ReckonedNanoUSD))
	}
	b = appendString(b, 41, e.PriceVersion)
	b = appendString(b, 42, e.GroupID)
	return appendString(b, spanIDField, e.SpanID) // last, where traced looks for it
}

// maxUnits bounds the kinds of units of an event; there are fewer kinds.
const maxUnits = 8

func appendUnit(b []byte, field protowire.Number, u *Unit) []byte {
	size := 0
	name := clean(u.Name)
	if name != "" {
		size += sizeString(1, name)
	}
	if u.Milli != 0 {
		size += 1 + protowire.SizeVarint(uint64(u.Milli))
	}
	b = protowire.AppendVarint(protowire.AppendTag(b, field, protowire.BytesType), uint64(size))
	return appendInt(appendString(b, 1, name), 2, u.Milli)
}

func appendTokens(b []byte, field protowire.Number, t *Tokens) []byte {
	counts := [...]int64{
		t.InputTotal, t.InputUncached, t.CacheRead, t.CacheWrite5m, t.CacheWrite30m, t.CacheWrite1h, t.CacheWrite12h,
		t.OutputTotal, t.Reasoning, t.AudioIn, t.AudioOut, t.ImageIn, t.ImageOut,
	}
	size := 0
	for i, n := range counts {
		if n != 0 {
			size += protowire.SizeTag(protowire.Number(i+1)) + protowire.SizeVarint(uint64(n))
		}
	}
	b = protowire.AppendVarint(protowire.AppendTag(b, field, protowire.BytesType), uint64(size))
	for i, n := range counts {
		b = appendInt(b, protowire.Number(i+1), n)
	}
	return b
}

// maxText bounds every text of an event. Callers' texts are bounded at the edge; what providers call
// their models and requests is bounded here.
const maxText = 256

// clean makes a text fit for a message and a database: valid UTF-8, without zero bytes, bounded. One
// text that is not would spoil the whole frame, other organizations' events in it included.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText] // a rune that is cut in two is mended below
	}
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\x00", "")
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	if s = clean(s); s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func appendInt(b []byte, field protowire.Number, n int64) []byte {
	if n == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(n))
}

func appendTime(b []byte, field protowire.Number, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	seconds, nanos := t.Unix(), int64(t.Nanosecond())
	size := 0
	if seconds != 0 {
		size += 1 + protowire.SizeVarint(uint64(seconds))
	}
	if nanos != 0 {
		size += 1 + protowire.SizeVarint(uint64(nanos))
	}
	b = protowire.AppendVarint(protowire.AppendTag(b, field, protowire.BytesType), uint64(size))
	return appendInt(appendInt(b, 1, seconds), 2, nanos)
}

func sizeString(field protowire.Number, s string) int {
	return protowire.SizeTag(field) + protowire.SizeBytes(len(s))
}

// appendFrame appends an encoded claviger.events.v1.UsageFrame of events that are encoded already.
func appendFrame(b []byte, router, epoch string, partition int, entries []entry, sent time.Time) []byte {
	b = appendInt(b, 1, 1)
	b = appendString(b, 2, router)
	b = appendString(b, 3, epoch)
	b = appendInt(b, 4, int64(partition))
	for _, e := range entries {
		size := 1 + protowire.SizeVarint(uint64(e.sequence)) + 1 + protowire.SizeBytes(len(e.event))
		b = protowire.AppendVarint(protowire.AppendTag(b, 5, protowire.BytesType), uint64(size))
		b = protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), uint64(e.sequence))
		b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), e.event)
	}
	return appendTime(b, 6, sent)
}

// entry is an encoded event with its place in the sequence.
type entry struct {
	sequence int64
	event    []byte
}

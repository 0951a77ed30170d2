package meteringtest

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/pkg/sqldb"
	"github.com/claviger/claviger/services/metering/internal/store"
	"github.com/claviger/claviger/services/metering/internal/store/storetest"
	"github.com/claviger/claviger/services/metering/internal/usage"
)

// Size says how much there is to be.
type Size struct {
	// Events of the one organization, at least, over Weeks up to midnight; a tenth as many belong to others.
	Events, Weeks int
	// APIKeys of the organization.
	APIKeys int
}

// Filled is what is there.
type Filled struct {
	// OrgID is the organization with the events, and MemberID one of its members.
	OrgID, MemberID string
	// APIKeys and Models are used, the most used first.
	APIKeys, Models []string
	// Own are the events of the organization, Events all rows of usage_event, Sums those of usage_rollup.
	Own, Events, Sums int64
}

const fillBatch = 4096

// Fill applies usage as an organization of some dozen people makes it: most of it on weekdays by day, few
// API keys with most of it, each key with a model or three, every second request with tags, one in fifty
// failed. The last week goes through the store's own Apply, and the weeks before are copies of it. The
// schema has to be there.
func Fill(ctx context.Context, db *sqldb.DB, size Size, now time.Time) (Filled, error) {
	f := newFiller(size)
	s := store.New(db)
	batch := usage.Batch{At: now}
	apply := func() error {
		if len(batch.Attempts) == 0 {
			return nil
		}
		_, err := s.Apply(ctx, batch)
		batch.Attempts = batch.Attempts[:0]
		return err
	}
	const quarters = 7 * 24 * 4
	events := (size.Events + size.Weeks - 1) / size.Weeks
	start := now.Truncate(24 * time.Hour).Add(-time.Duration(quarters) * usage.Quarter)
	total := 0.0
	for q := range quarters {
		total += busy(start.Add(time.Duration(q) * usage.Quarter))
	}
	due, made := 0.0, 0
	for q := range quarters {
		at := start.Add(time.Duration(q) * usage.Quarter)
		due += busy(at) / total * float64(events)
		if q == quarters-1 {
			due = float64(events)
		}
		var offsets []time.Duration
		for ; made < int(math.Round(due)); made++ {
			offsets = append(offsets, time.Duration(f.rng.Int64N(int64(usage.Quarter))))
		}
		slices.Sort(offsets)
		for i, offset := range offsets {
			batch.Attempts = append(batch.Attempts, f.attempt(f.org, at.Add(offset)))
			if i%10 == 0 {
				batch.Attempts = append(batch.Attempts, f.attempt(f.others[f.rng.IntN(len(f.others))], at.Add(offset)))
			}
			if len(batch.Attempts) >= fillBatch {
				if err := apply(); err != nil {
					return Filled{}, err
				}
			}
		}
	}
	if err := apply(); err != nil {
		return Filled{}, err
	}
	if size.Weeks > 1 {
		if err := storetest.Repeat(ctx, db, size.Weeks-1); err != nil {
			return Filled{}, err
		}
	}
	if err := storetest.Analyze(ctx, db); err != nil {
		return Filled{}, err
	}
	out := Filled{OrgID: f.org.id, MemberID: f.org.keys[0].member, Models: models, Own: int64(events * size.Weeks)}
	for _, k := range f.org.keys {
		out.APIKeys = append(out.APIKeys, k.id)
	}
	var err error
	if out.Events, err = storetest.Count(ctx, db, "usage_event"); err != nil {
		return Filled{}, err
	}
	out.Sums, err = storetest.Count(ctx, db, "usage_rollup")
	return out, err
}

// busy is how much goes on at a time, in some unit.
func busy(at time.Time) float64 {
	weight := 0.1
	if h := at.Hour(); h >= 7 && h < 19 {
		weight = 1
	}
	if d := at.Weekday(); d == time.Saturday || d == time.Sunday {
		weight /= 4
	}
	return weight
}

var models = []string{
	"openai/gpt-5.6-sol", "anthropic/claude-sonnet-4-5", "openai/gpt-4o-mini", "gemini/gemini-2.5-flash", "anthropic/claude-haiku-4-5",
	"openai/gpt-4o", "gemini/gemini-2.5-pro", "openai/text-embedding-3-small", "anthropic/claude-opus-4-1", "openai/o4-mini",
	"bedrock/nova-pro", "openai/gpt-4.1",
}

// fillKey is an API key with who owns it and what it is used for.
type fillKey struct {
	id, member, policy string
	models             []string
	tags               []map[string]string
}

type fillOrg struct {
	id          string
	keys        []fillKey
	credentials map[string]string // by provider
	platform    map[string]string
	zipf        *rand.Zipf
}

type filler struct {
	rng    *rand.Rand
	org    *fillOrg
	others []*fillOrg
}

func newFiller(size Size) *filler {
	f := &filler{rng: rand.New(rand.NewPCG(20261122, 3))} //nolint:gosec // the same events every time
	platform := map[string]string{}
	for _, m := range models {
		provider, _, _ := strings.Cut(m, "/")
		platform[provider] = id.New("cred")
	}
	f.org = f.organization(size.APIKeys, platform)
	for range 20 {
		f.others = append(f.others, f.organization(5, platform))
	}
	return f
}

func (f *filler) organization(keys int, platform map[string]string) *fillOrg {
	o := &fillOrg{id: id.New("org"), credentials: map[string]string{}, platform: platform, zipf: rand.NewZipf(f.rng, 1.2, 4, uint64(keys-1))}
	for provider := range platform {
		o.credentials[provider] = id.New("cred")
	}
	members := make([]string, max(keys/4, 1))
	for i := range members {
		members[i] = id.New("mem")
	}
	policies := []string{id.New("pol"), id.New("pol"), ""}
	for i := range keys {
		k := fillKey{id: id.New("key"), member: members[i%len(members)], policy: policies[i%3]}
		for range 1 + f.rng.IntN(3) {
			k.models = append(k.models, models[f.rng.IntN(len(models))])
		}
		k.tags = []map[string]string{nil, nil, {"team": fmt.Sprintf("team-%d", i%12), "env": "prod"}, {"team": fmt.Sprintf("team-%d", i%12), "env": "dev"}}
		o.keys = append(o.keys, k)
	}
	return o
}

func (f *filler) attempt(o *fillOrg, ended time.Time) usage.Attempt {
	k := &o.keys[o.zipf.Uint64()]
	model := k.models[0]
	if f.rng.IntN(4) == 0 {
		model = k.models[f.rng.IntN(len(k.models))]
	}
	provider, name, _ := strings.Cut(model, "/")
	took := time.Duration(500+f.rng.IntN(9000)) * time.Millisecond
	ended = ended.Truncate(time.Microsecond)
	in, out := 50+f.rng.Int64N(6000), 1+f.rng.Int64N(900)
	cost := in*150 + out*600
	a := usage.Attempt{
		Event: usage.Event{
			OrgID: o.id, AttemptID: f.idAt("att", ended.Add(-took)), RequestID: f.idAt("req", ended.Add(-took)), AttemptNumber: 1,
			APIKeyID: k.id, MemberID: k.member, CredentialID: o.credentials[provider], Class: usage.Own, Provider: provider, Model: model,
			ResponseModel: name, RequestedModel: model, PolicyID: k.policy, PolicyVersion: 3, ConfigVersion: 17, Dialect: "openai.chat",
			Streamed: f.rng.IntN(2) == 0, Tags: k.tags[f.rng.IntN(len(k.tags))], Started: ended.Add(-took), Ended: ended, Duration: took,
			FirstContent: took / 4, Outcome: usage.OK, HTTPStatus: 200, FinishReason: "stop", Source: usage.ProviderFinal,
			Tokens:            &pricing.Counts{InputTotal: in, InputUncached: in, OutputTotal: out},
			ProviderRequestID: fmt.Sprintf("chatcmpl-%016x", f.rng.Uint64()), TraceID: fmt.Sprintf("%016x%016x", f.rng.Uint64(), f.rng.Uint64()),
			SpanID: fmt.Sprintf("%016x", f.rng.Uint64()), CredentialRevision: 1, ReckonedNano: &cost, RouterPrice: "price_2026",
		},
		CostNano: &cost, PriceID: "price_2026", AppliedAt: ended.Add(time.Second),
	}
	if f.rng.IntN(6) == 0 {
		a.Class, a.CredentialID = usage.Platform, o.platform[provider]
	}
	if f.rng.IntN(50) == 0 {
		a.Outcome, a.ErrorClass, a.HTTPStatus, a.Source, a.Tokens, a.CostNano = usage.Failed, "rate_limited", 429, usage.Estimated, nil, nil
	}
	return a
}

// idAt returns an id that carries a time that is not now.
func (f *filler) idAt(prefix string, at time.Time) string {
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	var random [16]byte
	binary.LittleEndian.PutUint64(random[:8], f.rng.Uint64())
	binary.LittleEndian.PutUint64(random[8:], f.rng.Uint64())
	text := make([]byte, 26)
	for i, ms := 9, uint64(at.UnixMilli()); i >= 0; i, ms = i-1, ms>>5 {
		text[i] = alphabet[ms&31]
	}
	for i, b := range random {
		text[10+i] = alphabet[b&31]
	}
	return prefix + "_" + string(text)
}

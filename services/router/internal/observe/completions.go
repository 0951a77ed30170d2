// Package observe tells OpenTelemetry of completions: a span for the plan, and for each attempt one with
// the journal and the provider's call in it, and the measurements of the conventions for generative AI.
//
// A request whose trace nobody records costs a few measurements and no span. What a caller or a provider
// wrote is on no span but for names of models, and on no measurement at all.
package observe

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// The attributes that are the router's own.
const (
	policyVersion = attribute.Key("claviger.policy.version")
	targetIndex   = attribute.Key("claviger.target.index")
	targets       = attribute.Key("claviger.plan.targets")
	configVersion = attribute.Key("claviger.config.version")
	attemptNumber = attribute.Key("claviger.attempt.number")
	record        = attribute.Key("claviger.journal.record")
)

// operation is what all calls are so far.
const operation = "chat"

// other stands for a model that only a caller has named: callers must not be able to make series.
const other = "other"

// Options configures a Completions.
type Options struct {
	Telemetry *telemetry.Telemetry
	// Models are models, as "provider/name", that measurements tell apart whoever names them.
	Models []string
	// Hosts are the hosts of base URLs that everybody knows. Any other address is its tenant's business.
	Hosts map[string]string
	Now   func() time.Time
}

// Completions observes completions.
type Completions struct {
	o      Options
	tracer trace.Tracer
	known  map[string]bool

	duration, first, piece, tokens recorder
	attempts, fallbacks            counter
}

var _ completion.Observer = (*Completions)(nil)

// served is what measurements of an attempt are told apart by.
type served struct {
	provider, model string
	class           usage.Class
	failure         string // a class of errors, empty for none
	detail          string // the type of tokens, or the outcome
}

// New returns an observer.
func New(o Options) *Completions {
	c := &Completions{o: o, tracer: o.Telemetry.Tracer(), known: make(map[string]bool, len(o.Models))}
	for _, m := range o.Models {
		c.known[m] = true
	}
	c.instruments(o.Telemetry.Meter())
	return c
}

// Planned implements completion.Observer.
func (c *Completions) Planned(ctx context.Context, began time.Time, p completion.Plan, err error) {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return
	}
	_, span := c.tracer.Start(ctx, "plan", trace.WithTimestamp(began))
	defer span.End()
	if err != nil {
		judge(span, err)
		return
	}
	span.SetAttributes(targets.Int(len(p.Targets)), configVersion.Int64(p.ConfigVersion))
	if t := &p.Targets[0]; t.PolicyID != "" {
		span.SetAttributes(telemetry.Policy.String(t.PolicyName), policyVersion.Int64(t.PolicyVersion))
	}
}

// judge says on a span why something of ours failed. What a caller got wrong is no error.
func judge(span trace.Span, err error) {
	f, ok := fault.Of(err)
	if !ok {
		telemetry.Failed(span, "internal")
		return
	}
	span.SetAttributes(telemetry.Reason.String(f.Reason()))
	switch f.Kind() {
	case fault.Internal, fault.Unavailable, fault.Timeout:
		telemetry.Failed(span, f.Reason())
	case fault.Invalid, fault.Unauthenticated, fault.Denied, fault.NotFound, fault.Conflict, fault.Precondition, fault.Exhausted, fault.Canceled:
	}
}

// MovedOn implements completion.Observer.
func (c *Completions) MovedOn(ctx context.Context, from *completion.Target, failure error) {
	c.fallbacks.add(ctx, served{provider: from.Provider, class: from.Class, failure: classOf(failure)})
}

// classOf is the class of an error after which another target is tried.
func classOf(err error) string {
	if e, ok := errors.AsType[*completion.ProviderError](err); ok {
		return string(e.Class)
	}
	if errors.Is(err, completion.ErrCredential) {
		return string(completion.CredentialError)
	}
	return "unsupported"
}

// Attempt implements completion.Observer.
func (c *Completions) Attempt(ctx context.Context, t *completion.Target, e *usage.Event) completion.AttemptObserver {
	a := &attempt{c: c, ctx: ctx, target: t, of: served{provider: t.Provider, model: t.Name, class: t.Class}}
	if t.PolicyID == "" && !c.known[t.Model] { // else an owner has named it
		a.of.model = other
	}
	above := trace.SpanFromContext(ctx)
	if above.IsRecording() {
		below, span := c.tracer.Start(ctx, "attempt", trace.WithTimestamp(e.Started))
		a.ctx, a.span = below, span
		e.SpanID = a.span.SpanContext().SpanID().String()
		a.began = e.Started
		a.describe(e)
	}
	if of := above.SpanContext(); of.HasTraceID() {
		e.TraceID = of.TraceID().String()
	}
	return a
}

// attempt observes one attempt.
type attempt struct {
	c      *Completions
	ctx    context.Context //nolint:containedctx // an attempt is one piece of work, and this is its trace
	target *completion.Target
	of     served

	last  time.Time // when the last piece came
	piece []metric.RecordOption

	span, call trace.Span // nil unless the trace is recorded
	began      time.Time  // writing to the journal
}

// describe says what is tried. It comes first, so that a sampler or a crash does not lose it.
func (a *attempt) describe(e *usage.Event) {
	t := a.target
	a.span.SetAttributes(
		telemetry.AttemptID.String(e.AttemptID), telemetry.RequestID.String(e.RequestID), attemptNumber.Int(e.AttemptNumber),
		telemetry.GenAIProvider.String(t.Provider), telemetry.GenAIRequestModel.String(t.Name),
		telemetry.CredentialClass.String(t.Class.String()), telemetry.CredentialID.String(e.CredentialID),
		configVersion.Int64(e.ConfigVersion))
	if t.PolicyID != "" {
		a.span.SetAttributes(telemetry.Policy.String(t.PolicyName), policyVersion.Int64(t.PolicyVersion), targetIndex.Int(t.Line))
	}
}

// Calling implements completion.AttemptObserver.
func (a *attempt) Calling(ctx context.Context, baseURL string) context.Context {
	if a.span == nil {
		return ctx
	}
	now := a.c.o.Now()
	a.wrote("intent", now, nil)
	ctx = trace.ContextWithSpan(ctx, a.span)
	ctx, call := a.c.tracer.Start(ctx, operation+" "+a.target.Name, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(now))
	a.call = call
	a.call.SetAttributes(
		telemetry.GenAIOperation.String(operation), telemetry.GenAIProvider.String(a.target.Provider),
		telemetry.GenAIRequestModel.String(a.target.Name), telemetry.CredentialClass.String(a.target.Class.String()))
	if host := a.c.o.Hosts[baseURL]; host != "" {
		a.call.SetAttributes(telemetry.ServerAddress.String(host))
	}
	return ctx
}

// wrote gives the journal's record a span that ends now.
func (a *attempt) wrote(what string, now time.Time, err error) {
	_, span := a.c.tracer.Start(a.ctx, "journal", trace.WithTimestamp(a.began))
	span.SetAttributes(record.String(what))
	if err != nil {
		judge(span, err)
	}
	span.End(trace.WithTimestamp(now))
}

// Piece implements completion.AttemptObserver. Pieces that come together count as one.
func (a *attempt) Piece(at time.Time) {
	if a.piece == nil {
		a.piece = a.c.piece.sets.Of(a.of).Record
	} else {
		a.c.piece.seconds.Record(a.ctx, at.Sub(a.last).Seconds(), a.piece...)
	}
	a.last = at
}

// Answered implements completion.AttemptObserver.
func (a *attempt) Answered(e *usage.Event) {
	a.measure(e)
	if a.span == nil {
		return
	}
	a.began = e.Ended
	set := a.call.SetAttributes
	set(telemetry.GenAIRequestStream.Bool(e.Streamed))
	if e.HTTPStatus != 0 {
		set(telemetry.HTTPStatusCode.Int(e.HTTPStatus))
	}
	if e.ResponseModel != "" {
		set(telemetry.GenAIResponseModel.String(e.ResponseModel))
	}
	if e.FinishReason != "" {
		set(telemetry.GenAIFinishReasons.StringSlice([]string{e.FinishReason}))
	}
	if e.Streamed && e.FirstContent > 0 {
		set(telemetry.GenAITimeToFirstChunk.Float64(e.FirstContent.Seconds()))
	}
	if t := counted(e); t != nil {
		set(telemetry.GenAIInputTokens.Int64(t.InputTotal), telemetry.GenAIOutputTokens.Int64(t.OutputTotal))
		for key, n := range map[attribute.Key]int64{
			telemetry.GenAICacheReadTokens:     t.CacheRead,
			telemetry.GenAICacheCreationTokens: t.CacheWrite5m + t.CacheWrite30m + t.CacheWrite1h + t.CacheWrite12h,
			telemetry.GenAIReasoningTokens:     t.Reasoning,
		} {
			if n > 0 {
				set(key.Int64(n))
			}
		}
	}
	for _, span := range []trace.Span{a.call, a.span} {
		span.SetAttributes(telemetry.Outcome.String(e.Outcome.String()))
		switch {
		case e.ErrorClass == "":
		case blameless(e):
			span.SetAttributes(telemetry.ErrorType.String(e.ErrorClass))
		default:
			telemetry.Failed(span, e.ErrorClass)
		}
	}
	a.call.End(trace.WithTimestamp(e.Ended))
}

// blameless reports whether an attempt ended badly through the caller: who went away, or sent what no
// provider would take.
func blameless(e *usage.Event) bool {
	if e.Outcome == usage.Canceled {
		return true
	}
	switch completion.Class(e.ErrorClass) {
	case completion.InvalidRequest, completion.TooLarge, completion.ContentRefused, completion.Unsupported, completion.ModelNotFound, "unsupported":
		return true
	case completion.AuthInvalid, completion.AuthLimited, completion.QuotaExhausted, completion.RateLimited, completion.Overloaded,
		completion.ServerError, completion.TimedOut, completion.Network, completion.CredentialError:
	}
	return false
}

// counted returns the tokens that the provider has counted. An estimate is for the accounts, and would
// spoil a distribution.
func counted(e *usage.Event) *usage.Tokens {
	if e.Source != usage.ProviderFinal && e.Source != usage.ProviderPartial {
		return nil
	}
	return e.Tokens
}

// Ended implements completion.AttemptObserver.
func (a *attempt) Ended(err error) {
	if a.span == nil {
		return
	}
	now := a.c.o.Now()
	what := "result"
	if a.call == nil {
		what = "intent"
	}
	a.wrote(what, now, err)
	if err != nil {
		judge(a.span, err)
	}
	a.span.End(trace.WithTimestamp(now))
}

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
)

// client is the kind of a provider's call.
var client = trace.WithSpanKind(trace.SpanKindClient)

// other stands for a model that only a caller or an owner has named: no tenant may be able to make series,
// which would take the place of others.
const other = "other"

// Options configures a Completions.
type Options struct {
	Telemetry *telemetry.Telemetry
	// Models are models, as "provider/name", that measurements tell apart whoever names them.
	Models []string
	// Named finds the one of the models that another name means, such as that of a region. Nil finds none.
	Named func(model string) (known string, ok bool)
	// Hosts are the hosts of base URLs that everybody knows. Any other address is its tenant's business.
	Hosts map[string]string
	Now   func() time.Time
}

// Completions observes completions.
type Completions struct {
	o        Options
	tracer   trace.Tracer
	known    map[string]bool
	measures *measures
	// quiet is the context of measurements that have no span. Those of requests are deep, and instruments
	// look through them for one.
	quiet context.Context //nolint:containedctx // it holds nothing
}

var _ completion.Observer = (*Completions)(nil)

// New returns an observer.
func New(o Options) *Completions {
	c := &Completions{
		o: o, tracer: o.Telemetry.Tracer(), known: make(map[string]bool, len(o.Models)), measures: newMeasures(o.Telemetry.Meter()),
		quiet: context.Background(), //nolint:forbidigo // no request's, on purpose
	}
	for _, m := range o.Models {
		c.known[m] = true
	}
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
func (c *Completions) MovedOn(from *completion.Target, failure error) {
	c.measures.fallbacks.add(failed{served{provider: from.Provider, class: from.Class}, classOf(failure)})
}

// Retried implements completion.Observer.
func (c *Completions) Retried(t *completion.Target, failure error) {
	c.measures.retries.add(failed{served{provider: t.Provider, class: t.Class}, classOf(failure)})
}

// Spent implements completion.Observer.
func (c *Completions) Spent(t *completion.Target) { c.measures.spent.add(t.Provider) }

// Hedged implements completion.Observer.
func (c *Completions) Hedged(first, _ *completion.Target) { c.measures.hedges.add(first.Provider) }

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
	a := &attempt{c: c, ctx: c.quiet, target: t, of: served{operationOf(e), t.Provider, c.modelOf(t), t.Class}}
	a.sets = c.measures.known.of(a.of)
	above := trace.SpanFromContext(ctx)
	if above.IsRecording() {
		below, span := c.tracer.Start(ctx, "attempt", trace.WithTimestamp(e.Started))
		a.ctx, a.span = below, span
		e.SpanID = a.span.SpanContext().SpanID().String()
		a.event = e
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
	sets   *sets

	pieces int
	last   time.Time // when the last piece came

	span, call trace.Span // nil unless the trace is recorded
	host       string     // that is called, if everybody knows it
	written    time.Time  // when the result was, or could not be
	unwritten  error
	event      *usage.Event
}

// Calling implements completion.AttemptObserver.
func (a *attempt) Calling(ctx context.Context, baseURL string) context.Context {
	if a.span == nil {
		return ctx
	}
	now := a.c.o.Now()
	a.span.AddEvent("intent written", trace.WithTimestamp(now))
	ctx = trace.ContextWithSpan(ctx, a.span)
	ctx, call := a.c.tracer.Start(ctx, a.of.operation+" "+a.target.Name, client, trace.WithTimestamp(now)) //nolint:spancheck // Answered ends it
	a.call, a.host = call, a.c.o.Hosts[baseURL]
	return ctx //nolint:spancheck // Answered ends it
}

// Piece implements completion.AttemptObserver. Pieces that come together count as one.
func (a *attempt) Piece(at time.Time) {
	if a.pieces++; a.pieces%pieceEvery == 2 {
		a.c.measures.piece.Record(a.ctx, at.Sub(a.last).Seconds(), a.sets.plain...)
	}
	a.last = at
}

// Recorded implements completion.AttemptObserver.
func (a *attempt) Recorded(err error) {
	if a.span != nil {
		a.written, a.unwritten = a.c.o.Now(), err
	}
}

// called says what the call of a provider was and gave. Attributes are set at once: a span grows with
// each time.
func (a *attempt) called(e *usage.Event) []attribute.KeyValue {
	t := a.target
	out := append(make([]attribute.KeyValue, 0, 18),
		telemetry.GenAIOperation.String(a.of.operation), telemetry.GenAIProvider.String(ProviderName(t.Provider)),
		telemetry.GenAIRequestModel.String(t.Name), telemetry.GenAIRequestStream.Bool(e.Streamed),
		telemetry.CredentialClass.String(t.Class.String()))
	if a.host != "" {
		out = append(out, telemetry.ServerAddress.String(a.host))
	}
	if e.HTTPStatus != 0 {
		out = append(out, telemetry.HTTPStatusCode.Int(e.HTTPStatus))
	}
	if e.ResponseModel != "" {
		out = append(out, telemetry.GenAIResponseModel.String(e.ResponseModel))
	}
	if e.FinishReason != "" {
		out = append(out, telemetry.GenAIFinishReasons.StringSlice([]string{e.FinishReason}))
	}
	if e.Streamed && e.FirstContent > 0 {
		out = append(out, telemetry.GenAITimeToFirstChunk.Float64(e.FirstContent.Seconds()))
	}
	if k := counted(e); k != nil {
		out = append(out, telemetry.GenAIInputTokens.Int64(k.InputTotal), telemetry.GenAIOutputTokens.Int64(k.OutputTotal))
		for _, part := range [...]struct {
			key attribute.Key
			n   int64
		}{
			{telemetry.GenAICacheReadTokens, k.CacheRead},
			{telemetry.GenAICacheCreationTokens, k.CacheWrite5m + k.CacheWrite30m + k.CacheWrite1h + k.CacheWrite12h},
			{telemetry.GenAIReasoningTokens, k.Reasoning},
		} {
			if part.n > 0 {
				out = append(out, part.key.Int64(part.n))
			}
		}
	}
	return out
}

// tried says what was tried, and how it ended.
func (a *attempt) tried(e *usage.Event) []attribute.KeyValue {
	t := a.target
	out := append(make([]attribute.KeyValue, 0, 14),
		telemetry.AttemptID.String(e.AttemptID), telemetry.RequestID.String(e.RequestID), attemptNumber.Int(e.AttemptNumber),
		telemetry.GenAIProvider.String(ProviderName(t.Provider)), telemetry.GenAIRequestModel.String(t.Name),
		telemetry.CredentialClass.String(t.Class.String()), telemetry.CredentialID.String(e.CredentialID),
		configVersion.Int64(e.ConfigVersion))
	if t.PolicyID != "" {
		out = append(out, telemetry.Policy.String(t.PolicyName), policyVersion.Int64(t.PolicyVersion), targetIndex.Int(t.Line))
	}
	if a.call != nil {
		out = append(out, telemetry.Outcome.String(e.Outcome.String()))
	}
	return out
}

// mark marks a span of an attempt that went wrong. What a caller did is no error.
func mark(span trace.Span, e *usage.Event) {
	switch {
	case e.ErrorClass == "":
	case blameless(e):
		span.SetAttributes(telemetry.ErrorType.String(e.ErrorClass))
	default:
		telemetry.Failed(span, e.ErrorClass)
	}
}

// blameless reports whether an attempt ended badly through the caller: who went away, or sent what no
// provider would take.
func blameless(e *usage.Event) bool {
	if e.Outcome == usage.Canceled {
		return true
	}
	class := completion.Class(e.ErrorClass)
	return class == "unsupported" || class.Handling().Fault.Blame() == fault.Caller
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
func (a *attempt) Ended(e *usage.Event) {
	if e != nil {
		a.measure(e)
	}
	if a.span == nil {
		return
	}
	began := a.event.Started
	if e != nil {
		began = e.Ended
		a.call.SetAttributes(a.called(e)...)
		mark(a.call, e)
		a.call.End(trace.WithTimestamp(e.Ended))
	}
	_, journal := a.c.tracer.Start(a.ctx, "journal", trace.WithTimestamp(began))
	a.span.SetAttributes(a.tried(a.event)...)
	mark(a.span, a.event)
	if a.unwritten != nil {
		judge(journal, a.unwritten)
		judge(a.span, a.unwritten)
	}
	at := trace.WithTimestamp(a.written)
	journal.End(at)
	a.span.End(at)
}

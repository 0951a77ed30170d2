package observe_test

import (
	"context"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/observe"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// BenchmarkAttempt is what observing an attempt with ten pieces costs. Most traces are not recorded.
func BenchmarkAttempt(b *testing.B) {
	for name, sampler := range map[string]string{"unrecorded": "parentbased_always_off", "recorded": "parentbased_always_on"} {
		b.Run(name, func(b *testing.B) {
			b.Setenv("OTEL_TRACES_SAMPLER", sampler)
			t, err := telemetry.Start(b.Context(), telemetry.Options{Service: "router", Memory: telemetry.NewMemory(telemetry.MemoryLimits{})})
			if err != nil {
				b.Fatal(err)
			}
			defer t.Shutdown(b.Context())
			c := observe.New(observe.Options{Telemetry: t, Models: []string{"openai/gpt-4o-mini"}, Now: time.Now})
			target := &completion.Target{Provider: "openai", Model: "openai/gpt-4o-mini", Name: "gpt-4o-mini", Class: usage.Own}
			event := usage.Event{
				AttemptID: "att_1", RequestID: "req_1", Started: time.Now(), Ended: time.Now(), Duration: time.Second, FirstContent: time.Millisecond,
				Streamed: true, Outcome: usage.OK, Source: usage.ProviderFinal, Tokens: &usage.Tokens{InputTotal: 10, OutputTotal: 20},
			}
			at := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				ctx, span := t.Tracer().Start(context.WithoutCancel(b.Context()), "POST", telemetry.Server...)
				e := event
				a := c.Attempt(ctx, target, &e)
				a.Calling(ctx, "")
				for range 10 {
					a.Piece(at)
				}
				a.Recorded(nil)
				a.Ended(&e)
				span.End()
			}
		})
	}
}

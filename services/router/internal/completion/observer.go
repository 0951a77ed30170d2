package completion

import (
	"context"
	"time"

	"github.com/claviger/claviger/services/router/internal/usage"
)

// Observer is told what becomes of requests, for traces and measurements. It changes nothing, never
// waits and never fails.
type Observer interface {
	// Planned comes after planning, which began at a moment, or failed with err.
	Planned(ctx context.Context, began time.Time, p Plan, err error)
	// Attempt comes before the intent of an attempt is written. It puts into the event under which ids
	// the attempt can be found in traces.
	Attempt(ctx context.Context, t *Target, e *usage.Event) AttemptObserver
	// MovedOn comes when a target has failed and the next one is tried.
	MovedOn(from *Target, failure error)
	// Retried comes when a target has failed and is tried again.
	Retried(t *Target, failure error)
	// Spent comes when a target is passed over because enough calls of its provider were made again.
	Spent(t *Target)
	// Hedged comes when a second target is called because the first one is slow.
	Hedged(first, second *Target)
}

// AttemptObserver is told what becomes of one attempt, in this order. Of an attempt whose intent cannot
// be written it hears the end alone.
type AttemptObserver interface {
	// Calling comes once the intent is written and before the provider is called at baseURL. It returns
	// the context of the call.
	Calling(ctx context.Context, baseURL string) context.Context
	// Piece comes with content of a streamed answer, whose pieces may be many.
	Piece(at time.Time)
	// Recorded comes when the result is written, or with the error for which it, or the intent, could not be. The
	// caller may still wait for the answer.
	Recorded(err error)
	// Ended comes behind everything else, with the event of the call; nil if there was none.
	Ended(e *usage.Event)
}

// unobserved is an Observer that does nothing.
type unobserved struct{}

func (unobserved) Planned(context.Context, time.Time, Plan, error) {}
func (unobserved) Attempt(context.Context, *Target, *usage.Event) AttemptObserver {
	return unobserved{}
}
func (unobserved) MovedOn(*Target, error)                                {}
func (unobserved) Retried(*Target, error)                                {}
func (unobserved) Spent(*Target)                                         {}
func (unobserved) Hedged(_, _ *Target)                                   {}
func (unobserved) Calling(ctx context.Context, _ string) context.Context { return ctx }
func (unobserved) Piece(time.Time)                                       {}
func (unobserved) Recorded(error)                                        {}
func (unobserved) Ended(*usage.Event)                                    {}

package completion

import "time"

// Health is what calls teach of credentials and providers, for all requests of the router. It decides who may
// be called now. Targets are told apart by credential and model; what is about a provider, by provider, place
// and model.
type Health interface {
	// Held says whether a target had better not be called now. It neither waits nor allocates.
	Held(t *Target) Hold
	// Begin notes a call of an organization's. It is false if the target is being tried out after failures, by
	// enough calls. What became of a trial is told once, by one of Answered, Failed and Left.
	Begin(orgID string, t *Target) (Trial, bool)
	// Answered comes with the first content of an answer, which took so long.
	Answered(t *Target, trial Trial, took time.Duration, left Headroom)
	// Failed comes with a provider's error, after so long. An answer that breaks off after its first content
	// fails with the zero Trial.
	Failed(t *Target, trial Trial, e *ProviderError, took time.Duration)
	// Left comes for a call that says nothing of its target: the caller went away, or the request was no good.
	Left(trial Trial)
	// Again asks whether a provider may be called once more for an organization's request for which it has failed:
	// retries must not double a storm, nor those of one organization use up all that may be.
	Again(orgID string, t *Target) bool
	// Usual is how long 95 of 100 streams of a target take to their first content; 0 is not known.
	Usual(t *Target) time.Duration
}

// Hold says why a target had better not be called.
type Hold struct {
	Why HeldFor
	// Until is when that ends.
	Until time.Time
}

// HeldFor is a reason.
type HeldFor uint8

// The reasons.
const (
	NotHeld HeldFor = iota
	// Cooling targets were told by their provider to wait.
	Cooling
	// Broken targets have failed again and again. If there is nobody else, one is called all the same.
	Broken
)

// Trial is a call of which Health waits to hear. The zero Trial is of a call of which it does not.
type Trial struct {
	// Done is told how the call ended; nil is nobody.
	Done func(error)
	// Whole says that the answer comes in one piece, which is later than the first piece of a stream.
	Whole bool
}

// unlearned is a Health that knows nothing.
type unlearned struct{}

func (unlearned) Held(*Target) Hold                                    { return Hold{} }
func (unlearned) Begin(string, *Target) (Trial, bool)                  { return Trial{}, true }
func (unlearned) Answered(*Target, Trial, time.Duration, Headroom)     {}
func (unlearned) Failed(*Target, Trial, *ProviderError, time.Duration) {}
func (unlearned) Left(Trial)                                           {}
func (unlearned) Again(string, *Target) bool                           { return true }
func (unlearned) Usual(*Target) time.Duration                          { return 0 }

// Package media is the use case of media jobs: a provider takes a submit and works on it for minutes, and
// callers ask for it by a token until it is done.
//
// The token says everything about the job, sealed, so that any router can ask the provider for it and a
// caller can neither read nor forge one. What a job took becomes known when it ends: whichever router sees
// that first writes it as revision 2 of the submit's usage event. The router that submitted a job keeps it
// on disk and asks for it by itself, so that usage is known although nobody asks. A job whose end it does
// not see becomes an estimate, which is revision 1: the truth replaces it whenever somebody finds it.
//
// It knows no wire: adapters of providers implement Provider, edges write Views.
package media

import (
	"context"
	"io"
	"time"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// Status says how far a job is.
type Status string

// The states. All but the first two are final.
const (
	Queued     Status = "queued"
	InProgress Status = "in_progress"
	Completed  Status = "completed"
	Failed     Status = "failed"
	Canceled   Status = "canceled"
)

// Final reports whether nothing changes any more.
func (s Status) Final() bool { return s == Completed || s == Failed || s == Canceled }

// Provider asks a provider for jobs. Adapters of providers that have jobs implement it besides
// completion.Provider.
type Provider interface {
	// Poll asks how far a job is. Its error is a *completion.ProviderError when the provider could not be
	// asked, and ErrUnknown when it answers that it has no such job.
	Poll(ctx context.Context, at At) (State, error)
}

// Canceler is a Provider that can end jobs early.
type Canceler interface {
	// Cancel asks for a job's end. It may end well all the same, and cost. ErrEnded says that it has.
	Cancel(ctx context.Context, at At) error
}

// At is a job as an adapter sees it.
type At struct {
	// BaseURL, Credential and Secret are as in completion.Call.
	BaseURL    string
	Credential *completion.Credential
	Secret     secret.Text
	// ID and Ref are what the adapter said of the job when it was submitted, Model the provider's name.
	ID, Ref, Model string
}

// State is what a provider says of a job.
type State struct {
	Status   Status
	Progress int // 0 to 100, where it says that
	Outputs  []Output
	// Filtered says that the provider's filter of unsafe content has hit.
	Filtered bool
	// Usage is what the job took, of a final state; nil if the provider does not say. Unless it is Final, it
	// is a guess.
	Usage *completion.Usage
	// Failure is why a job failed; Unbilled in it says that it certainly costs nothing.
	Failure *completion.ProviderError
}

// Output is a file that a job made.
type Output struct {
	URL, MediaType string
	Width, Height  int
	Seconds        float64
}

// View is a job as its caller sees it.
type View struct {
	// Token is its name.
	Token     string
	RequestID string
	// Model is the slug that serves.
	Model    string
	Status   Status
	Progress int
	Created  time.Time
	// Ended is when its end was seen; zero before.
	Ended time.Time
	// Seconds and Size are what was asked for.
	Seconds int
	Size    string
	Outputs []Output
	Failure *completion.ProviderError
	// Units and CostNanoUSD are what it took, as far as the provider says; Estimated says that it does not.
	Units       []usage.Unit
	CostNanoUSD *int64
	Estimated   bool
}

// Content is a file on its way to a caller, who closes it.
type Content struct {
	Body      io.ReadCloser
	MediaType string
	Length    int64 // -1 is unknown
}

// Fetcher gets files from where a provider says that they are. It sends no credential and dials nothing
// that may not be dialled.
type Fetcher interface {
	Fetch(ctx context.Context, url string) (Content, error)
}

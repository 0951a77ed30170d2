package media

import (
	"strings"
	"time"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// record is all there is to know of a job: where to ask for it, and what its usage event says besides what
// it took. It is what a token seals and what the disk keeps. The names are short because tokens are long;
// a name that was given out keeps its meaning, since tokens outlive an update.
type record struct {
	Provider string        `json:"p"`
	JobID    string        `json:"j"`
	Ref      string        `json:"r,omitempty"`
	Expected []usage.Unit  `json:"x,omitempty"`
	Created  int64         `json:"c"` // Unix microseconds
	Seconds  int           `json:"s,omitempty"`
	Size     string        `json:"z,omitempty"`
	Name     string        `json:"n"` // the provider's own name of the model
	CredOrg  string        `json:"co"`
	CredRev  int           `json:"cr,omitempty"`
	Cred     string        `json:"ci"`
	Class    usage.Class   `json:"cc"`
	Attempt  string        `json:"a"`
	Request  string        `json:"q"`
	Number   int           `json:"an,omitempty"`
	Org      string        `json:"o"`
	Key      string        `json:"k,omitempty"`
	Member   string        `json:"m,omitempty"`
	Model    string        `json:"mo"`
	Asked    string        `json:"mr,omitempty"`
	Policy   string        `json:"po,omitempty"`
	PolicyV  int64         `json:"pv,omitempty"`
	Line     int           `json:"ln,omitempty"`
	Group    string        `json:"g,omitempty"`
	Config   int64         `json:"cv,omitempty"`
	Dialect  string        `json:"d,omitempty"`
	Started  int64         `json:"st"`
	First    time.Duration `json:"fc,omitempty"`
	Trace    string        `json:"ti,omitempty"`
	Span     string        `json:"si,omitempty"`
	labels
}

// labels are what of a record is the caller's own.
type labels struct {
	Tags    map[string]string `json:"t,omitempty"`
	Session string            `json:"se,omitempty"`
	User    string            `json:"u,omitempty"`
}

func newRecord(e *usage.Event, t *completion.Target, j *completion.Job, now time.Time) *record {
	return &record{
		Provider: t.Provider, JobID: j.ID, Ref: j.Ref, Expected: j.Expected, Created: now.UnixMicro(),
		Seconds: j.Seconds, Size: j.Size, Name: t.Name,
		CredOrg: t.Credential.OrgID, CredRev: t.Credential.Revision, Cred: t.Credential.ID, Class: t.Class,
		Attempt: e.AttemptID, Request: e.RequestID, Number: e.AttemptNumber, Org: e.OrgID, Key: e.APIKeyID, Member: e.MemberID,
		Model: t.Model, Asked: e.RequestedModel, Policy: e.PolicyID, PolicyV: e.PolicyVersion, Line: e.TargetIndex, Group: e.GroupID,
		Config: e.ConfigVersion, Dialect: e.Dialect, Started: e.Started.UnixMicro(), First: now.Sub(e.Started),
		Trace: e.TraceID, Span: e.SpanID, labels: labels{e.Tags, e.Session, e.User},
	}
}

// The revisions of a job's usage event; the submit's own is 0. All routers write the same one of the same
// thing, so that what many of them see counts once, and a truth that comes late takes an estimate's place.
const (
	estimateRevision = 1
	truthRevision    = 2
)

// revision is the usage event of the job's end: everything that the submit's said, and what it took.
func (r *record) revision(state State, now time.Time) *usage.Event {
	started := time.UnixMicro(r.Started)
	e := &usage.Event{
		AttemptID: r.Attempt, Revision: truthRevision, RequestID: r.Request, AttemptNumber: r.Number,
		OrgID: r.Org, APIKeyID: r.Key, MemberID: r.Member, CredentialID: r.Cred, CredentialRevision: r.CredRev, GroupID: r.Group, Class: r.Class,
		Provider: r.Provider, Model: r.Model, RequestedModel: r.Asked, PolicyID: r.Policy, PolicyVersion: r.PolicyV,
		TargetIndex: r.Line, ConfigVersion: r.Config, Dialect: r.Dialect, Operation: string(completion.Videos),
		Tags: r.Tags, Session: r.Session, User: r.User, Started: started, Ended: now, Duration: now.Sub(started),
		FirstContent: r.First, HTTPStatus: 200, ProviderRequestID: r.JobID, TraceID: r.Trace, SpanID: r.Span,
		Source: usage.Estimated,
	}
	if state.Usage != nil {
		e.Tokens, e.Units, e.CostNanoUSD = &state.Usage.Tokens, state.Usage.Units, state.Usage.CostNanoUSD
		if state.Usage.Final {
			e.Source = usage.ProviderFinal
		}
	}
	switch state.Status {
	case Completed:
		e.Outcome, e.FinishReason = usage.OK, string(completion.Stop)
		if state.Usage == nil {
			r.estimate(e)
		}
	case Canceled:
		e.Outcome, e.ErrorClass = usage.Canceled, "canceled"
	case Failed, Queued, InProgress: // an end that nobody saw is a failure, too
		e.Outcome = usage.Failed
	}
	if f := state.Failure; f != nil {
		e.ErrorClass = string(f.Class)
		if f.Status != 0 {
			e.HTTPStatus = f.Status
		}
		if f.Unbilled {
			e.Tokens, e.Units, e.CostNanoUSD, e.Source = &usage.Tokens{}, nil, nil, usage.None
		}
	}
	return e
}

// estimate says what the request lets expect, marked.
func (r *record) estimate(e *usage.Event) {
	e.Source = usage.Estimated
	if len(r.Expected) > 0 {
		e.Tokens, e.Units = &usage.Tokens{}, r.Expected
	}
}

// abandoned is the usage event of a job whose end nobody has seen: an estimate until somebody does.
func (r *record) abandoned(now time.Time) *usage.Event {
	e := r.revision(State{Status: Failed, Failure: &completion.ProviderError{Class: completion.TimedOut}}, now)
	r.estimate(e)
	e.Revision = estimateRevision
	return e
}

func (r *record) created() time.Time { return time.UnixMicro(r.Created) }

// fileName is what the disk knows the job by.
func (r *record) fileName() string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' {
			return c
		}
		return '-'
	}, r.Attempt) + fileSuffix
}

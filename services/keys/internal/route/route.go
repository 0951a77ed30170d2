// Package route asks routers what they would do with a request, on behalf of people who have no API key in
// their hands.
//
// keys holds the rules and not what routers have learned: cooldowns, latencies, what is left of limits. So a
// question travels to one connected router with the configuration, as a key test does, and its answer comes
// back with the router's reports. A router opens no listener for this and sees nobody's session. A question is
// a row for as long as somebody waits for it, seconds, so that any replica may take the answer.
package route

import (
	"context"
	"time"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/id"
	"github.com/claviger/claviger/services/keys/internal/apikey"
	"github.com/claviger/claviger/services/keys/internal/member"
)

// The errors of this package.
var (
	ErrNoRouter = fault.New(fault.Unavailable, "NO_ROUTER_CONNECTED", "no router is connected, so nobody can plan the request").
			Hinting("an operator has to look why routers do not reach keys; what they serve meanwhile they plan by what they know")
	ErrSilent = fault.New(fault.Unavailable, "ROUTER_SILENT", "no router has answered in time").Hinting("try again")
	// ErrTooMany means that an organization asks more at once than routers are to be kept busy with.
	ErrTooMany = fault.New(fault.Exhausted, "TOO_MANY_QUESTIONS", "your organization waits for too many previews already").Hinting("try again in a moment")
	// ErrExpired means that an API key cannot call any more.
	ErrExpired = fault.New(fault.Precondition, "API_KEY_EXPIRED", "the API key has expired, so all its requests are refused").Hinting("choose another API key")
)

const (
	// patience is how long a question waits for its answer.
	patience = 5 * time.Second
	// What another replica was told is looked for soon at first, then more rarely.
	firstLook, rarestLook = 50 * time.Millisecond, 500 * time.Millisecond
	// Waiting bounds the questions of an organization that wait at once.
	Waiting = 10
	// Retention is how long a question can stay that whoever asked it has not removed.
	Retention = time.Hour
)

// Question is one request of an API key that a router is to plan.
type Question struct {
	OrgID, ID, APIKeyID string
	// Whole says that everything is told, but the operator's credentials; else what the API key would be.
	Whole bool
	// Request is encoded, for routers.
	Request   []byte
	CreatedAt time.Time
}

// Answer is what a router said: an encoded route, or a refusal.
type Answer struct {
	Router  string
	Route   []byte
	Refusal *Refusal
}

// Refusal is the error that the API key's caller would get, since there is nothing to plan.
type Refusal struct {
	// Code is the number of a google.rpc.Code.
	Code    int32  `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

// Store keeps questions while they wait.
type Store interface {
	// InsertQuestion adds a question, or fails with ErrTooMany if Waiting others of its organization wait.
	InsertQuestion(ctx context.Context, q Question) error
	// Answer returns what was answered; false is nothing yet.
	Answer(ctx context.Context, orgID, questionID string) (Answer, bool, error)
	DeleteQuestion(ctx context.Context, orgID, questionID string) error
}

// Routers knows which routers are connected.
type Routers interface {
	Applied(ctx context.Context) (version int64, known bool, err error)
}

// Dispatcher hands questions to routers.
type Dispatcher interface {
	// Kick says that there is a question.
	Kick()
	// Answered returns a channel that is closed with the next answer that this replica takes.
	Answered() <-chan struct{}
}

// Service asks.
type Service struct {
	Store     Store
	Routers   Routers
	Questions Dispatcher
	Now       func() time.Time
}

// Tx is what Draft needs of the caller's organization.
type Tx interface {
	APIKey(ctx context.Context, keyID string) (apikey.Key, error)
}

// Draft makes the question of what would serve a request of an API key. A member may ask for their own, and is
// told what these are; others see everything, and so are told everything.
func (s *Service) Draft(ctx context.Context, tx Tx, caller member.Caller, keyID string, request []byte) (Question, error) {
	key, err := tx.APIKey(ctx, keyID)
	if err != nil {
		return Question{}, err
	}
	ordinary := caller.Role == member.Ordinary
	now := s.Now()
	switch {
	case ordinary && key.MemberID != caller.MemberID:
		return Question{}, apikey.ErrNotFound
	case !key.RevokedAt.IsZero():
		return Question{}, apikey.ErrRevoked
	case key.Suspended:
		return Question{}, apikey.ErrSuspended
	case !key.ExpiresAt.IsZero() && !now.Before(key.ExpiresAt):
		return Question{}, ErrExpired
	}
	return Question{OrgID: caller.OrgID, ID: id.New("rq"), APIKeyID: key.ID, Whole: !ordinary, Request: request, CreatedAt: now}, nil
}

// Ask has a router answer, and waits five seconds at most.
func (s *Service) Ask(ctx context.Context, q Question) (Answer, error) {
	if _, connected, err := s.Routers.Applied(ctx); err != nil {
		return Answer{}, err
	} else if !connected {
		return Answer{}, ErrNoRouter
	}
	if err := s.Store.InsertQuestion(ctx, q); err != nil {
		return Answer{}, err
	}
	answer, err := s.await(ctx, q)
	// Whoever asked may have left. What cannot be removed now is forgotten with time.
	if gone := s.Store.DeleteQuestion(context.WithoutCancel(ctx), q.OrgID, q.ID); err == nil && gone != nil {
		return Answer{}, gone
	}
	return answer, err
}

func (s *Service) await(ctx context.Context, q Question) (Answer, error) {
	over := time.NewTimer(patience)
	defer over.Stop()
	s.Questions.Kick()
	last := false
	for look := firstLook; ; look = min(look*3/2, rarestLook) {
		heard := s.Questions.Answered()
		answer, ok, err := s.Store.Answer(ctx, q.OrgID, q.ID)
		switch {
		case err != nil || ok:
			return answer, err
		case last:
			return Answer{}, ErrSilent
		}
		again := time.NewTimer(look)
		select {
		case <-heard:
		case <-again.C:
		case <-over.C:
			last = true
		case <-ctx.Done():
			again.Stop()
			return Answer{}, ctx.Err()
		}
		again.Stop()
	}
}

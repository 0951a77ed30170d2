package transit

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/claviger/claviger/pkg/secret"
)

const (
	// Failed logins are repeated after firstBackoff, doubling to lastBackoff, each time between half
	// and all of it, so that a fleet does not come back at once.
	firstBackoff = 250 * time.Millisecond
	lastBackoff  = 10 * time.Second
	// lastChance is the remaining life of a token at which renewing gives way to a new login.
	lastChance = time.Second
	// youngToken is the age below which a plain "permission denied" is believed to be about the
	// policy and not about the token.
	youngToken = time.Minute
)

// session keeps a client logged in by AppRole. One goroutine, run, logs in and renews; calls only
// wait for it, so that a thousand of them make one login.
type session struct {
	client   *api.Client // gets the token
	login    *api.Client // has none
	roleID   string
	secretID secret.Text
	log      *slog.Logger
	again    chan struct{} // asks run for a new login

	mu         sync.Mutex
	generation int           // counts logins; 0 is none yet
	since      time.Time     // of the last login
	attempts   int           // counts tries to log in
	failed     error         // of the last try, nil if it worked
	changed    chan struct{} // closed after each try
}

func newSession(client, login *api.Client, roleID string, secretID secret.Text, log *slog.Logger) *session {
	return &session{
		client: client, login: login, roleID: roleID, secretID: secretID, log: log,
		again: make(chan struct{}, 1), changed: make(chan struct{}),
	}
}

// staticSession is one whose token is given, and never replaced.
func staticSession() *session {
	return &session{generation: 1, changed: make(chan struct{})}
}

// run logs in and stays so until ctx ends.
func (s *session) run(ctx context.Context) {
	for {
		granted, ok := s.logIn(ctx)
		if !ok {
			return
		}
		s.hold(ctx, granted)
	}
}

// lease is how long a token lives, and whether it can live longer.
type lease struct {
	length    time.Duration // 0 is without end
	renewable bool
}

// logIn tries until it works; it is false if ctx ends first.
func (s *session) logIn(ctx context.Context) (granted lease, ok bool) {
	for backoff := firstBackoff; ; backoff = min(2*backoff, lastBackoff) {
		auth, err := s.tryLogIn(ctx)
		if ctx.Err() != nil {
			return lease{}, false
		}
		if err == nil {
			s.client.SetToken(auth.ClientToken)
			// Who asked until now asked for this login.
			select {
			case <-s.again:
			default:
			}
		}
		s.tell(err)
		if err == nil {
			granted = lease{length: time.Duration(auth.LeaseDuration) * time.Second, renewable: auth.Renewable}
			s.log.InfoContext(ctx, "vault login succeeded", "lease", granted.length)
			return granted, true
		}
		s.log.WarnContext(ctx, "vault login failed", "error", err)
		if !pause(ctx, backoff/2+jitter(backoff/2)) {
			return lease{}, false
		}
	}
}

func (s *session) tryLogIn(ctx context.Context) (*api.SecretAuth, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := s.login.Logical().WriteWithContext(ctx, "auth/approle/login", map[string]any{
		"role_id": s.roleID, "secret_id": s.secretID.Reveal(),
	})
	if err == nil && (answer == nil || answer.Auth == nil || answer.Auth.ClientToken == "") {
		err = errUnreadable
	}
	if err != nil {
		return nil, failure(ctx, opLogin, err)
	}
	return answer.Auth, nil
}

// tell records the outcome of a try and wakes those who wait for it.
func (s *session) tell(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts++
	s.failed = err
	if err == nil {
		s.generation++
		s.since = time.Now()
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// hold renews the token at two thirds of its lease, until a new login is the better way: Vault has
// forgotten the token, or the maximum lifetime has made renewals short.
func (s *session) hold(ctx context.Context, granted lease) {
	expires := time.Now().Add(granted.length)
	wait := renewAfter(granted.length)
	for {
		var due <-chan time.Time // never, for a token without end
		if granted.length > 0 {
			due = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.again:
			s.log.WarnContext(ctx, "vault refused the token")
			return
		case <-due:
		}
		if !granted.renewable { // a batch token
			return
		}
		renewed, err := s.renew(ctx)
		switch {
		case err == nil && renewed >= granted.length/2:
			expires, wait = time.Now().Add(renewed), renewAfter(renewed)
			s.log.DebugContext(ctx, "vault token renewed", "lease", renewed)
		case err != nil && !errors.Is(err, ErrDenied) && time.Until(expires) > lastChance:
			s.log.WarnContext(ctx, "vault token renewal failed", "error", err)
			wait = renewAfter(time.Until(expires) / 2)
		default:
			return
		}
	}
}

// renewAfter is two thirds of the lease, give or take a tenth of it.
func renewAfter(lease time.Duration) time.Duration {
	wait := lease * 2 / 3
	return wait - wait/10 + jitter(wait/5)
}

func jitter(most time.Duration) time.Duration {
	return rand.N(most + 1) //nolint:gosec // only spreads calls over time; nothing is kept secret with it
}

func (s *session) renew(ctx context.Context) (time.Duration, error) {
	bounded, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := s.client.Auth().Token().RenewSelfWithContext(bounded, 0)
	if err == nil && (answer == nil || answer.Auth == nil) {
		err = errUnreadable
	}
	if err != nil {
		return 0, failure(ctx, opRenew, err)
	}
	return time.Duration(answer.Auth.LeaseDuration) * time.Second, nil
}

// wait returns the number of the login whose token the client has. Without one it waits for the
// first try, and after that tells at once why the last one failed.
func (s *session) wait(ctx context.Context) (generation int, err error) {
	for {
		s.mu.Lock()
		generation, failed, changed := s.generation, s.failed, s.changed
		s.mu.Unlock()
		switch {
		case generation > 0:
			return generation, nil
		case failed != nil:
			return 0, failed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// stale reports whether err, got with the token of that login, calls for a new login. Vault answers
// 403 both to a token that it does not know and to one that may not do this; only newer ones say
// which, so an old token is doubted and a young one believed.
func (s *session) stale(generation int, err error) bool {
	answer, ok := errors.AsType[*api.ResponseError](err)
	if !ok || answer.StatusCode != http.StatusForbidden || s.again == nil {
		return false
	}
	said := strings.Join(answer.Errors, "\n")
	if strings.Contains(said, "invalid token") || strings.Contains(said, "bad token") {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.generation > generation || time.Since(s.since) > youngToken
}

// renewed asks for a login after that generation and waits until it has worked or failed.
func (s *session) renewed(ctx context.Context, generation int) error {
	s.mu.Lock()
	before, failed := s.attempts, error(nil)
	s.mu.Unlock()
	for {
		s.mu.Lock()
		current, attempts, changed := s.generation, s.attempts, s.changed
		failed = s.failed
		s.mu.Unlock()
		switch {
		case current > generation:
			return nil
		case attempts > before && failed != nil:
			return failed
		}
		select {
		case s.again <- struct{}{}:
		default: // asked already
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pause waits for d; it is false if ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

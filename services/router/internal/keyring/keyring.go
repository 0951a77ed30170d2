// Package keyring opens sealed credentials and keeps them in memory for a while.
//
// Credentials are opened when the configuration brings them, so that requests find them open.
// A vault that is away does no harm to what is open: it is opened again when it is back. Removal
// comes with the configuration, not from the vault, so it acts at once.
package keyring

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/telemetry"
	"github.com/claviger/claviger/pkg/transit"
	"github.com/claviger/claviger/services/router/internal/completion"
)

const (
	// fresh is how long an opened credential is used without asking the vault again.
	fresh = 15 * time.Minute
	// maxStale is how long it is used while the vault does not answer.
	maxStale = 24 * time.Hour
	// askAgain is how often a vault that does not answer is asked for the same secret.
	askAgain = 5 * time.Second
	// openers bounds how many credentials are opened at once ahead of requests.
	openers     = 16
	openTimeout = 5 * time.Second
)

// Keyring opens credentials.
type Keyring struct {
	environment string
	opener      transit.Opener
	now         func() time.Time
	log         *slog.Logger
	seen        observer
	flight      singleflight.Group

	memory memory // nil if opener is none

	mu   sync.RWMutex
	open map[name]opened
}

// name tells secrets apart: while a second one takes the place of the first, a credential has two.
type name struct {
	credentialID string
	revision     int
}

func nameOf(c *completion.Credential) name { return name{c.ID, c.Revision} }

type opened struct {
	of     *completion.Credential // what it was opened as: other bytes or another place are another secret
	secret secret.Text
	at     time.Time     // when the vault said so
	asked  *atomic.Int64 // when it was last asked again, in nanoseconds since 1970
}

// due reports whether the vault should be asked again now, to one of all who want to know.
func (o opened) due(now time.Time) bool {
	last := o.asked.Load()
	return now.UnixNano()-last >= int64(askAgain) && o.asked.CompareAndSwap(last, now.UnixNano())
}

// fits reports whether it was opened as c says. A row that was changed since, in what is sealed or in
// where it leads, has to be opened anew, which fails if somebody tampered with it.
func (o opened) fits(c *completion.Credential) bool {
	return o.of == c || o.of.Sealed == c.Sealed && o.of.OrgID == c.OrgID && o.of.Revision == c.Revision && o.of.Provider == c.Provider &&
		o.of.BaseURL == c.BaseURL && settings(o.of).SameUse(settings(c))
}

// memory is an opener that also knows what the vault said before this process.
type memory interface {
	transit.Opener
	// Confirmed is when the vault has last opened a text.
	Confirmed(sealed string, bound transit.Context) time.Time
	// Retain forgets all texts but those given.
	Retain(texts iter.Seq2[string, transit.Context])
}

// New returns an empty keyring.
func New(environment string, opener transit.Opener, now func() time.Time, log *slog.Logger, t *telemetry.Telemetry) *Keyring {
	k := &Keyring{environment: environment, opener: opener, now: now, log: log, seen: newObserver(t), open: map[name]opened{}}
	k.memory, _ = opener.(memory)
	return k
}

// Len is how many secrets are open.
func (k *Keyring) Len() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return len(k.open)
}

// Secret returns a credential's plaintext, opening it if it is not open yet.
func (k *Keyring) Secret(ctx context.Context, c *completion.Credential) (secret.Text, error) {
	k.mu.RLock()
	o, ok := k.open[nameOf(c)]
	k.mu.RUnlock()
	if ok && o.fits(c) {
		age := k.now().Sub(o.at)
		if age < fresh {
			return o.secret, nil
		}
		if age < maxStale {
			if o.due(k.now()) {
				go k.refresh(context.WithoutCancel(ctx), c)
			}
			return o.secret, nil
		}
	}
	return k.openNow(ctx, c)
}

// openNow asks the vault, once for all who wait for the same credential.
func (k *Keyring) openNow(ctx context.Context, c *completion.Credential) (secret.Text, error) {
	bound := k.bound(c)
	result := k.flight.DoChan(c.ID+"/"+strconv.Itoa(c.Revision)+"/"+bound.Binding+"/"+c.Sealed, func() (any, error) {
		// Whoever came first may go away; the others still want it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), openTimeout)
		defer cancel()
		ctx, ended := k.seen.opening(ctx)
		plain, err := k.opener.Open(ctx, c.Sealed, bound)
		if err == nil {
			err = leadsThere(c, plain)
		}
		ended(err)
		if err != nil {
			return secret.Text{}, err
		}
		at := k.now()
		if k.memory != nil {
			at = k.memory.Confirmed(c.Sealed, bound)
		}
		k.mu.Lock()
		k.open[nameOf(c)] = opened{of: c, secret: plain, at: at, asked: new(atomic.Int64)}
		k.mu.Unlock()
		return plain, nil
	})
	select {
	case r := <-result:
		plain, _ := r.Val.(secret.Text)
		return plain, r.Err
	case <-ctx.Done():
		return secret.Text{}, ctx.Err()
	}
}

func (k *Keyring) refresh(ctx context.Context, c *completion.Credential) {
	_, err := k.openNow(ctx, c)
	if err != nil && (errors.Is(err, transit.ErrForeign) || errors.Is(err, transit.ErrDenied)) {
		k.log.ErrorContext(ctx, "credential no longer opens", "credential_id", c.ID, "org_id", c.OrgID, "error", err)
		k.mu.Lock()
		delete(k.open, nameOf(c))
		k.mu.Unlock()
	}
}

// bound is what the sealed text must be bound to: recomputed here from what would be dialled.
func (k *Keyring) bound(c *completion.Credential) transit.Context {
	places := append(settings(c).Places(), originOf(c.BaseURL))
	return transit.Context{
		Environment: k.environment, OrgID: c.OrgID, CredentialID: c.ID, Revision: c.Revision,
		Binding: transit.Bind(c.Provider, places...),
	}
}

// leadsThere compares where an opened text leads with what the configuration says of it. The binding
// holds the places, but not which model goes to which of them.
func leadsThere(c *completion.Credential, plain secret.Text) error {
	if keyform.KindOf(c.Provider) == keyform.Key {
		return nil
	}
	form, err := keyform.Parse(c.Provider, plain)
	if err != nil {
		return transit.ErrForeign.Because(err)
	}
	if !form.Settings.SameUse(settings(c)) {
		return transit.ErrForeign.Because(errElsewhere)
	}
	return nil
}

var errElsewhere = errors.New("the settings are not those of the sealed text")

// settings are a credential's in the words of the form.
func settings(c *completion.Credential) keyform.Settings {
	out := keyform.Settings{Region: c.Settings.Region, Project: c.Settings.Project, Location: c.Settings.Location}
	if n := len(c.Settings.Deployments); n > 0 {
		out.Deployments = make([]keyform.Deployment, n)
		for i, d := range c.Settings.Deployments {
			out.Deployments[i] = keyform.Deployment{ModelSlug: d.Model, EndpointURL: d.Endpoint, ModelID: d.Name}
		}
	}
	return out
}

func originOf(baseURL string) string {
	if baseURL == "" {
		return ""
	}
	u, err := url.Parse(baseURL)
	if err != nil {
		return baseURL // binds to something that nothing was sealed under
	}
	return u.Scheme + "://" + u.Host
}

// Keep forgets all secrets but those of the given credentials, and opens those that are not open, in
// the background. It is called with every new configuration. A credential with two secrets is given twice.
func (k *Keyring) Keep(ctx context.Context, credentials []*completion.Credential) {
	wanted := make(map[name]*completion.Credential, len(credentials))
	for _, c := range credentials {
		wanted[nameOf(c)] = c
	}
	var missing []*completion.Credential
	k.mu.Lock()
	for n, o := range k.open {
		switch c := wanted[n]; {
		case c == nil || !o.fits(c):
			delete(k.open, n)
		default: // the older configuration can be forgotten
			o.of = c
			k.open[n] = o
		}
	}
	for n, c := range wanted {
		if _, ok := k.open[n]; !ok {
			missing = append(missing, c)
		}
	}
	k.mu.Unlock()
	if k.memory != nil {
		k.memory.Retain(func(yield func(string, transit.Context) bool) {
			for _, c := range wanted {
				if !yield(c.Sealed, k.bound(c)) {
					return
				}
			}
		})
	}
	if len(missing) == 0 {
		return
	}
	go func() {
		var group errgroup.Group
		group.SetLimit(openers)
		for _, c := range missing {
			group.Go(func() error {
				if _, err := k.openNow(ctx, c); err != nil && ctx.Err() == nil {
					k.log.WarnContext(ctx, "credential not opened ahead", "credential_id", c.ID, "org_id", c.OrgID, "error", err)
				}
				return nil
			})
		}
		_ = group.Wait() // every error was logged
	}()
}

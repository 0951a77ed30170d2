// Package keyring opens sealed credentials and keeps them in memory for a while.
//
// Credentials are opened when the configuration brings them, so that requests find them open.
// A vault that is away does no harm to what is open: it is opened again when it is back. Removal
// comes with the configuration, not from the vault, so it acts at once.
package keyring

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

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

	mu   sync.RWMutex
	open map[string]opened // by credential id
}

type opened struct {
	sealed string // what it was opened from: another sealed text is another secret
	secret secret.Text
	at     time.Time
}

// New returns an empty keyring.
func New(environment string, opener transit.Opener, now func() time.Time, log *slog.Logger, t *telemetry.Telemetry) *Keyring {
	return &Keyring{environment: environment, opener: opener, now: now, log: log, seen: newObserver(t), open: map[string]opened{}}
}

// Len is how many credentials are open.
func (k *Keyring) Len() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return len(k.open)
}

// Secret returns a credential's plaintext, opening it if it is not open yet.
func (k *Keyring) Secret(ctx context.Context, c *completion.Credential) (secret.Text, error) {
	k.mu.RLock()
	o, ok := k.open[c.ID]
	k.mu.RUnlock()
	if ok && o.sealed == c.Sealed {
		age := k.now().Sub(o.at)
		if age < fresh {
			return o.secret, nil
		}
		if age < maxStale {
			go k.refresh(context.WithoutCancel(ctx), c)
			return o.secret, nil
		}
	}
	return k.openNow(ctx, c)
}

// openNow asks the vault, once for all who wait for the same credential.
func (k *Keyring) openNow(ctx context.Context, c *completion.Credential) (secret.Text, error) {
	result := k.flight.DoChan(c.ID+"/"+c.Sealed, func() (any, error) {
		// Whoever came first may go away; the others still want it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), openTimeout)
		defer cancel()
		ctx, ended := k.seen.opening(ctx)
		plain, err := k.opener.Open(ctx, c.Sealed, k.bound(c))
		ended(err)
		if err != nil {
			return secret.Text{}, err
		}
		k.mu.Lock()
		k.open[c.ID] = opened{c.Sealed, plain, k.now()}
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
		delete(k.open, c.ID)
		k.mu.Unlock()
	}
}

// bound is what the sealed text must be bound to: recomputed here from what would be dialled.
func (k *Keyring) bound(c *completion.Credential) transit.Context {
	return transit.Context{
		Environment: k.environment, OrgID: c.OrgID, CredentialID: c.ID, Revision: c.Revision,
		Binding: transit.Bind(c.Provider, originOf(c.BaseURL)),
	}
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

// Keep forgets all credentials but those given, and opens those that are not open, in the
// background. It is called with every new configuration.
func (k *Keyring) Keep(ctx context.Context, credentials []*completion.Credential) {
	wanted := make(map[string]*completion.Credential, len(credentials))
	for _, c := range credentials {
		wanted[c.ID] = c
	}
	var missing []*completion.Credential
	k.mu.Lock()
	for id, o := range k.open {
		if c := wanted[id]; c == nil || c.Sealed != o.sealed {
			delete(k.open, id)
		}
	}
	for id, c := range wanted {
		if _, ok := k.open[id]; !ok {
			missing = append(missing, c)
		}
	}
	k.mu.Unlock()
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

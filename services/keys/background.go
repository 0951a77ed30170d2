package keys

import (
	"context"
	"crypto/ed25519"
	"errors"
	"sync"
	"time"

	"github.com/claviger/claviger/services/keys/internal/apikey"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/store"
)

const (
	// followEvery is how soon this replica hears of what another one has changed.
	followEvery = 500 * time.Millisecond
	tendEvery   = 30 * time.Second
	// dueEvery is how late keys notices that something of a credential is due. Routers keep to the time of
	// an expiry by themselves.
	dueEvery    = 2 * time.Second
	expireEvery = time.Hour
	// A replica says again and again which key it signs access tokens with; a key that none has
	// spoken of for a while is dropped. Tokens live for five minutes.
	announceEvery = 10 * time.Minute
	keyUnseen     = time.Hour
	// keepVersions are the changes of the configuration that a router may miss before it has to read
	// all of it again.
	keepVersions = 100_000
	dueAtOnce    = 100
)

// Run does what nobody asks for: it follows the changes of other replicas, hands key tests to
// routers, repeats those that are due and forgets what has served its time. When ctx ends it sends
// the watchers of the configuration away and returns.
func (a *App) Run(ctx context.Context) error {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	tasks.Go(func() { a.probes.Run(ctx) })
	tasks.Go(func() { a.asked.Run(ctx) })
	tasks.Go(func() { a.routers.Run(ctx) })
	tasks.Go(func() { _ = a.prices.Run(ctx) }) // ends with ctx alone
	for _, task := range []struct {
		name  string
		every time.Duration
		do    func(context.Context) error
	}{
		{"follow the configuration", followEvery, a.follow},
		{"tend credentials", dueEvery, a.tend},
		{"end drills", tendEvery, a.endDrills},
		{"look after the vault", tendEvery, a.lookAfterSealer()},
		{"announce the token key", announceEvery, a.announce},
		{"forget API keys", expireEvery, a.forgetAPIKeys},
		{"expire", expireEvery, func(ctx context.Context) error { return a.store.Expire(ctx, keepVersions) }},
		{"forget whole configurations", tendEvery, func(context.Context) error { a.feed.Forget(); return nil }},
	} {
		tasks.Go(func() { a.repeat(ctx, task.name, task.every, task.do) })
	}
	<-ctx.Done()
	a.Drain()
	return nil
}

// Drain sends the watchers of the configuration away, to other replicas. Their streams would
// otherwise outlast any patience of a shutdown.
func (a *App) Drain() { a.news.Close() }

// repeat runs a task until ctx ends. A failure is logged when it begins and when it is over.
func (a *App) repeat(ctx context.Context, name string, every time.Duration, do func(context.Context) error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	failing := false
	for {
		err := do(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			a.deps.Log.WarnContext(ctx, "background task failing", "task", name, "error", err)
		case err == nil && failing:
			a.deps.Log.InfoContext(ctx, "background task working again", "task", name)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// follow takes over what other replicas have changed.
func (a *App) follow(ctx context.Context) error {
	version, err := a.store.Version(ctx)
	if err != nil {
		return err
	}
	if version == a.followed {
		return nil
	}
	keys, err := a.store.TokenKeys(ctx)
	if err != nil {
		return err
	}
	public := map[string]ed25519.PublicKey{}
	for _, k := range keys {
		public[k.KeyID] = k.PublicKey
	}
	a.tokenKeys.Store(&public)
	a.news.Advance(version)
	a.followed = version
	return nil
}

// announce says which key this replica signs access tokens with.
func (a *App) announce(ctx context.Context) error {
	return a.store.AnnounceTokenKey(ctx, a.ownKey, a.now().Add(-keyUnseen))
}

// tend asks for the key tests that are due, and ends what is past its time.
func (a *App) tend(ctx context.Context) error {
	due, err := a.store.DueCredentials(ctx, dueAtOnce)
	if err != nil {
		return err
	}
	for _, c := range due {
		_, _, err := a.store.Change(ctx, store.Command{OrgID: c.OrgID, Actor: actor}, func(ctx context.Context, tx *store.Tx) ([]byte, error) {
			return nil, a.creds.Tend(ctx, tx, c.ID)
		})
		if err != nil && !errors.Is(err, credential.ErrNotFound) { // removed in between
			return err
		}
	}
	return nil
}

// endDrills tells routers no more of drills whose time is over. They know the time themselves.
func (a *App) endDrills(ctx context.Context) error {
	overdue, err := a.store.OverdueDrills(ctx, dueAtOnce)
	if err != nil {
		return err
	}
	for _, orgID := range overdue {
		_, _, err := a.store.Change(ctx, store.Command{OrgID: orgID, Actor: actor}, func(ctx context.Context, tx *store.Tx) ([]byte, error) {
			_, err := tx.EndDrills(ctx, a.now())
			return nil, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// forgetAPIKeys removes keys that were revoked long ago: routers keep those, too.
func (a *App) forgetAPIKeys(ctx context.Context) error {
	orgs, err := a.store.DeadAPIKeys(ctx, a.now().Add(-apikey.Retention), apikey.Kept, dueAtOnce)
	if err != nil {
		return err
	}
	for _, orgID := range orgs {
		for forgotten := apikey.AtOnce; forgotten == apikey.AtOnce; {
			_, _, err := a.store.Change(ctx, store.Command{OrgID: orgID, Actor: actor}, func(ctx context.Context, tx *store.Tx) (_ []byte, err error) {
				forgotten, err = a.api.APIKeys.Forget(ctx, tx)
				return nil, err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// lookAfterSealer returns a task that fails while nothing can be sealed, so that the log says so.
func (a *App) lookAfterSealer() func(context.Context) error {
	if a.deps.SealerReady == nil {
		return func(context.Context) error { return nil }
	}
	return a.deps.SealerReady
}

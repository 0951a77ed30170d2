package snapshot

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/claviger/claviger/pkg/secret"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/services/router/internal/completion"
)

const (
	minBackoff = 500 * time.Millisecond
	maxBackoff = 5 * time.Second
	// silence is how long keys may say nothing, heartbeats included, before we dial again.
	silence = 35 * time.Second
)

// Options configures a Follower.
type Options struct {
	Environment string
	// Dir keeps the last configuration.
	Dir string
	// Key verifies the configuration.
	Key ed25519.PublicKey
	// Pepper returns the pepper of API keys; it is asked for until it is there.
	Pepper func(ctx context.Context) (secret.Text, error)
	Client keysv1connect.ConfigServiceClient
	Log    *slog.Logger
	Now    func() time.Time
	// OnChange is called with every new State, before it is served, from one goroutine.
	OnChange func(*State)
	// OnServed is called with every State once it is served, and with what was switched off in it together with
	// the answers under way; from the same goroutine. Nil is nobody.
	OnServed func(*State, Off)
	// OnProbe is called for every key test that keys asks for; it must not block.
	OnProbe func(*keysv1.ProbeJob)
	// OnQuestion is called for everything that keys asks about routes, once the configuration that came before it
	// is served; it must not block. Nil answers nothing.
	OnQuestion func(context.Context, *keysv1.RouteQuestion)
}

// Follower follows keys and serves the newest State.
type Follower struct {
	o      Options
	disk   disk
	asm    assembler
	state  atomic.Pointer[State]
	hasher atomic.Pointer[hasher]

	connected atomic.Bool
	heard     atomic.Pointer[time.Time]
	wantFull  bool
}

// New loads the last configuration from disk, if there is one.
func New(o Options) (*Follower, error) {
	f := &Follower{o: o, disk: disk{path: filepath.Join(o.Dir, "config.signed")}, asm: assembler{state: emptyState(o.Environment)}}
	err := f.disk.load(func(piece *keysv1.SignedConfig) error {
		batch, err := verify(o.Key, o.Environment, piece)
		if err != nil {
			return err
		}
		if batch.GetFromVersion() > 0 && batch.GetPart() == 0 {
			f.disk.deltas++
		}
		next, err := f.asm.add(batch)
		if err == nil && next != nil {
			f.state.Store(next)
		}
		return err
	})
	if err != nil {
		// What is on disk cannot be trusted any further; keys has the truth.
		o.Log.Error("kept configuration refused", "error", err)
		if f.state.Load() == nil {
			f.asm.state = emptyState(o.Environment)
		}
		f.wantFull = true
	}
	if s := f.state.Load(); s != nil {
		o.OnChange(s)
		f.served(s, Off{}) // nothing is being answered yet
		o.Log.Info("configuration loaded from disk", "version", s.version)
	}
	return f, nil
}

// State returns the configuration to serve under, or ErrNotReady.
func (f *Follower) State() (*State, error) {
	s := f.state.Load()
	if s == nil {
		return nil, completion.ErrNotReady
	}
	return s, nil
}

// Caller says who presents an API key.
func (f *Follower) Caller(presented string) (completion.Caller, error) {
	s, h := f.state.Load(), f.hasher.Load()
	if s == nil {
		return completion.Caller{}, completion.ErrNotReady
	}
	if h == nil {
		return completion.Caller{}, completion.ErrNotReady.Saying("this router cannot check API keys yet").Hinting("try again; it waits for the vault")
	}
	return s.caller(h, presented, f.o.Now())
}

// Ready says what is missing to serve.
func (f *Follower) Ready() error {
	switch {
	case f.state.Load() == nil:
		return errors.New("no configuration yet: waiting for keys")
	case f.hasher.Load() == nil:
		return errors.New("no API-key pepper yet: waiting for the vault")
	}
	return nil
}

// Connected reports whether keys is being heard.
func (f *Follower) Connected() bool { return f.connected.Load() }

// Heard is when keys has said something last; zero is never.
func (f *Follower) Heard() time.Time {
	if at := f.heard.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// Run follows keys until ctx ends. When keys is away, the last State goes on being served.
func (f *Follower) Run(ctx context.Context) error {
	defer f.disk.close()
	pepperDone := make(chan struct{})
	go func() { defer close(pepperDone); f.awaitPepper(ctx) }()
	defer func() { <-pepperDone }()
	backoff := minBackoff
	for ctx.Err() == nil {
		began := time.Now()
		err := f.watch(ctx)
		f.connected.Store(false)
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > maxBackoff {
			backoff = minBackoff
		}
		if isRefusal(err) {
			f.wantFull = true
			f.o.Log.ErrorContext(ctx, "configuration refused", "error", err)
		} else {
			f.o.Log.DebugContext(ctx, "configuration feed ended", "error", err)
		}
		sleep(ctx, rand.N(backoff)) //nolint:gosec // jitter
		backoff = min(2*backoff, maxBackoff)
	}
	return nil
}

func isRefusal(err error) bool {
	return errors.Is(err, errSignature) || errors.Is(err, errForeign) || errors.Is(err, errGap) || errors.Is(err, errOlder)
}

func (f *Follower) awaitPepper(ctx context.Context) {
	for wait := 100 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 5*time.Second) {
		pepper, err := f.o.Pepper(ctx)
		if err == nil {
			f.hasher.Store(newHasher(pepper))
			return
		}
		f.o.Log.WarnContext(ctx, "pepper of API keys not available yet", "error", err)
		sleep(ctx, wait)
	}
}

// watch reads one stream of the feed until it ends.
func (f *Follower) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	alarm := time.AfterFunc(silence, cancel)
	defer alarm.Stop()
	since := f.asm.state.version
	if f.wantFull {
		since = 0
	}
	stream, err := f.o.Client.WatchConfig(ctx, &keysv1.WatchConfigRequest{SinceVersion: since})
	if err != nil {
		return fmt.Errorf("watch configuration: %w", err)
	}
	defer func() { _ = stream.Close() }()
	f.asm.b = nil
	var pieces []*keysv1.SignedConfig // of a whole configuration that is not complete yet
	for {
		msg, err := stream.Receive()
		if err != nil {
			return fmt.Errorf("watch configuration: %w", err)
		}
		alarm.Reset(silence)
		f.connected.Store(true)
		now := f.o.Now()
		f.heard.Store(&now)
		switch m := msg.GetMessage().(type) {
		case *keysv1.WatchConfigResponse_Config:
			if pieces, err = f.apply(m.Config, pieces); err != nil {
				return err
			}
			if f.wantFull && len(pieces) == 0 && f.disk.deltas > maxDeltas {
				return nil // dial again for a whole configuration
			}
		case *keysv1.WatchConfigResponse_Probe:
			f.o.OnProbe(m.Probe)
		case *keysv1.WatchConfigResponse_Question:
			if f.o.OnQuestion != nil {
				f.o.OnQuestion(ctx, m.Question)
			}
		case *keysv1.WatchConfigResponse_Heartbeat:
		}
	}
}

// apply takes one piece: checked, kept on disk, served.
func (f *Follower) apply(piece *keysv1.SignedConfig, pieces []*keysv1.SignedConfig) ([]*keysv1.SignedConfig, error) {
	batch, err := verify(f.o.Key, f.o.Environment, piece)
	if err != nil {
		return nil, err
	}
	next, err := f.asm.add(batch)
	if err != nil {
		return nil, err
	}
	pieces = append(pieces, piece)
	if next == nil {
		return pieces, nil
	}
	if batch.GetFromVersion() == 0 {
		err = f.disk.replace(pieces)
		f.wantFull = false
	} else {
		for _, p := range pieces {
			var full bool
			if full, err = f.disk.add(p); full {
				f.wantFull = true
			}
		}
	}
	if err != nil { // serve it all the same: an old configuration in memory is worse than one on disk
		f.o.Log.Error("configuration not kept on disk", "error", err)
		f.wantFull = true
	}
	f.o.OnChange(next)
	f.state.Store(next)
	f.served(next, f.asm.off)
	f.o.Log.Debug("configuration applied", "version", next.version)
	return nil, nil
}

func (f *Follower) served(s *State, off Off) {
	if f.o.OnServed != nil {
		f.o.OnServed(s, off)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// NewClient returns a client of keys over transport.
func NewClient(transport connect.Transport) keysv1connect.ConfigServiceClient {
	return keysv1connect.NewConfigServiceClient(connect.NewClient(transport))
}

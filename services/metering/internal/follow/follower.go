package follow

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	"github.com/claviger/claviger/pkg/configsig"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
)

// What a piece of configuration can be refused for.
var (
	errSignature = errors.New("the configuration is not signed by the configured key")
	errForeign   = errors.New("the configuration is for another environment or service")
	errGap       = errors.New("the configuration does not follow the one before it")
)

const (
	view = "metering"
	// Between tries to connect: full jitter over a bound that doubles.
	firstDelay = 500 * time.Millisecond
	maxDelay   = 5 * time.Second
	// silence is how long the feed may say nothing; keys sends a heartbeat every ten seconds.
	silence = 45 * time.Second
	// maxDeltas is after how many changes the whole configuration is asked for again, so that what is on
	// disk stays small and quick to read.
	maxDeltas = 10_000
)

// Options configure a Follower.
type Options struct {
	// Keys reaches keys' ConfigService.
	Keys connect.Transport
	// Key verifies the configuration.
	Key         ed25519.PublicKey
	Environment string
	// Dir is where the configuration is kept.
	Dir string
	Log *slog.Logger
	Now func() time.Time
}

// Follower follows the configuration. Its methods are safe for concurrent use.
type Follower struct {
	options Options
	client  keysv1connect.ConfigServiceClient
	current atomic.Pointer[View]
	heard   atomic.Pointer[time.Time]
	disk    *disk

	mu      sync.Mutex
	changed chan struct{} // closed at the next change

	// Of the goroutine in Run alone, after New.
	pending batch // not complete yet
	deltas  int   // since the last whole configuration
	whole   bool  // ask for the whole configuration next
}

// batch is a whole configuration or a change, in its parts.
type batch struct {
	parts  []*keysv1.ConfigBatch
	signed []*keysv1.SignedConfig // the same, as they came
}

func (b *batch) whole() bool { return b.parts[0].GetFromVersion() == 0 }

// New returns a follower that knows what is on disk.
func New(o Options) (*Follower, error) {
	d, err := openDisk(o.Dir)
	if err != nil {
		return nil, err
	}
	f := &Follower{options: o, client: keysv1connect.NewConfigServiceClient(connect.NewClient(o.Keys)), disk: d, changed: make(chan struct{})}
	v := emptyView()
	err = d.read(func(signed *keysv1.SignedConfig) error {
		b, err := f.assemble(signed, v.version)
		if b != nil {
			v = v.next(b.parts)
		}
		if err != nil {
			o.Log.Warn("stored configuration is cut", "version", v.version, "error", err)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	f.pending = batch{}
	g, err := d.loadGraves()
	if err != nil {
		o.Log.Warn("removed objects are forgotten", "error", err)
	}
	if v.version > 0 {
		f.current.Store(v.with(g))
		o.Log.Info("configuration loaded", "version", v.version)
	}
	return f, nil
}

// View returns the configuration, nil if none has ever come.
func (f *Follower) View() *View { return f.current.Load() }

// HeardAt is when keys was last heard of; what it had said by then is in View. Zero is never, since the
// start.
func (f *Follower) HeardAt() time.Time {
	if at := f.heard.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// TokenKey returns the public key that verifies access tokens with a key id.
func (f *Follower) TokenKey(keyID string) (ed25519.PublicKey, bool) {
	v := f.View()
	if v == nil {
		return nil, false
	}
	return v.TokenKey(keyID)
}

// Changed returns a channel that is closed when there is another view than now.
func (f *Follower) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// Run follows until ctx ends.
func (f *Follower) Run(ctx context.Context) error {
	defer func() { _ = f.disk.close() }() // each record was synced
	delay := firstDelay
	for {
		heard, err := f.watch(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // an end that was asked for
		}
		if heard {
			delay = firstDelay
		}
		level := slog.LevelWarn
		if errors.Is(err, errSignature) || errors.Is(err, errForeign) {
			level = slog.LevelError // nobody but an operator can mend this
		}
		f.options.Log.Log(ctx, level, "configuration feed ended", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rand.N(delay)): //nolint:gosec // jitter is no secret
		}
		delay = min(2*delay, maxDelay)
	}
}

// watch reads the feed until it ends. It reports whether anything came.
func (f *Follower) watch(ctx context.Context) (heard bool, err error) {
	since := int64(0)
	if v := f.View(); v != nil && !f.whole {
		since = v.version
	}
	f.pending = batch{}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(silence, func() { cancel(errors.New("keys says nothing")) })
	defer quiet.Stop()
	stream, err := f.client.WatchConfig(ctx, &keysv1.WatchConfigRequest{SinceVersion: since})
	if err != nil {
		return false, fmt.Errorf("watch configuration: %w", err)
	}
	defer func() { _ = stream.Close() }()
	for {
		msg, err := stream.Receive()
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return heard, fmt.Errorf("receive configuration: %w", err)
		}
		heard = true
		quiet.Reset(silence)
		at := f.options.Now()
		if signed := msg.GetConfig(); signed != nil {
			if err := f.take(ctx, signed); err != nil {
				if errors.Is(err, errGap) {
					f.whole = true
				}
				return heard, err
			}
		}
		f.heard.Store(&at)
		if f.deltas > maxDeltas {
			f.whole = true
			return heard, errors.New("time for the whole configuration")
		}
	}
}

// take verifies a piece and, when its batch is complete, makes it the current view.
func (f *Follower) take(ctx context.Context, signed *keysv1.SignedConfig) error {
	old := f.View()
	if old == nil {
		old = emptyView()
	}
	b, err := f.assemble(signed, old.version)
	if b == nil || err != nil {
		return err
	}
	v := old.next(b.parts)
	f.store(ctx, old, v, b)
	f.current.Store(v)
	f.mu.Lock()
	close(f.changed)
	f.changed = make(chan struct{})
	f.mu.Unlock()
	f.options.Log.InfoContext(ctx, "configuration applied", "version", v.version)
	return nil
}

// store keeps the configuration on disk. When that fails it says so and goes on: the next start asks keys.
func (f *Follower) store(ctx context.Context, old, v *View, b *batch) {
	var errs []error
	// What is gone first: a whole configuration no longer has it.
	if g := v.graves(); len(g.Objects)+len(g.Organizations) > 0 && !sameGraves(g, old.graves()) {
		errs = append(errs, f.disk.saveGraves(g))
	}
	if b.whole() {
		f.deltas, f.whole = 0, false
		errs = append(errs, f.disk.replace(b.signed))
	} else {
		f.deltas++
		errs = append(errs, f.disk.appendDelta(b.signed))
	}
	if err := errors.Join(errs...); err != nil {
		f.whole = true // a delta behind a missing one is of no use
		f.options.Log.ErrorContext(ctx, "configuration not stored", "error", err)
	}
}

func sameGraves(a, b graves) bool {
	if len(a.Objects) != len(b.Objects) || len(a.Organizations) != len(b.Organizations) {
		return false
	}
	for id := range a.Objects {
		if _, ok := b.Objects[id]; !ok {
			return false
		}
	}
	for id := range a.Organizations {
		if _, ok := b.Organizations[id]; !ok {
			return false
		}
	}
	return true
}

// assemble verifies a piece and returns its batch once that is complete. A whole configuration of an older
// version is taken too: keys was restored from a backup, and it alone decides.
func (f *Follower) assemble(signed *keysv1.SignedConfig, version int64) (*batch, error) {
	if !configsig.Verify(f.options.Key, signed.GetPayload(), signed.GetSignature()) {
		return nil, errSignature
	}
	var part keysv1.ConfigBatch
	if err := proto.Unmarshal(signed.GetPayload(), &part); err != nil {
		return nil, fmt.Errorf("decode configuration: %w", err)
	}
	if part.GetEnvironment() != f.options.Environment || part.GetView() != view {
		return nil, errForeign
	}
	if part.GetPart() == 0 {
		f.pending = batch{}
		if from := part.GetFromVersion(); from != 0 && from != version {
			return nil, errGap
		}
	} else if !f.pending.continuedBy(&part) {
		return nil, errGap
	}
	f.pending.parts, f.pending.signed = append(f.pending.parts, &part), append(f.pending.signed, signed)
	if !part.GetLast() {
		return nil, nil
	}
	complete := f.pending
	f.pending = batch{}
	return &complete, nil
}

func (b *batch) continuedBy(part *keysv1.ConfigBatch) bool {
	return len(b.parts) > 0 && int(part.GetPart()) == len(b.parts) &&
		part.GetToVersion() == b.parts[0].GetToVersion() && part.GetFromVersion() == b.parts[0].GetFromVersion()
}

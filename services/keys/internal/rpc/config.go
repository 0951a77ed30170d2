package rpc

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"sync"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/intercept"
	keysv1 "github.com/claviger/claviger/proto/gen/claviger/keys/v1"
	"github.com/claviger/claviger/proto/gen/claviger/keys/v1/keysv1connect"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/dispatch"
	"github.com/claviger/claviger/services/keys/internal/organization"
	"github.com/claviger/claviger/services/keys/internal/route"
	"github.com/claviger/claviger/services/keys/internal/routerstate"
	"github.com/claviger/claviger/services/keys/internal/snapshot"
	"github.com/claviger/claviger/services/keys/internal/store"
)

const (
	heartbeatEvery = 10 * time.Second
	// wholeLifetime is how long a whole configuration is given to further watchers.
	wholeLifetime = time.Minute
)

// The errors of the feed.
var (
	ErrDraining   = fault.New(fault.Unavailable, "KEYS_DRAINING", "this replica of keys is going away").Hinting("connect again")
	ErrRouterName = fault.New(fault.Denied, "ROUTER_NAME_MISMATCH", "the router's name is not the one in its certificate")
)

// Feed serves ConfigService, the internal one.
//
// A whole configuration is read in one transaction, a page of rows at a time, and packed into signed
// parts of at most 1 MiB; those parts are all that stays. An API key takes some 250 bytes, so
// 100,000 of them are 25 MiB in 25 parts, one or two seconds of one core, and the same again for
// metering's view. The parts are kept for a minute, so that a fleet of routers which connects at
// once after a restart costs one reading and one copy, not one each. Beyond some hundred thousand
// keys an installation is better split into several.
type Feed struct {
	store       *store.Store
	credentials *credential.Service
	news        *snapshot.Feed
	probes      *dispatch.Dispatcher[credential.Probe]
	questions   *dispatch.Dispatcher[route.Question]
	routers     *routerstate.Registry
	sign        *signer
	log         *slog.Logger
	wholes      map[view]*whole
}

// FeedDeps is what a Feed needs.
type FeedDeps struct {
	Store       *store.Store
	Credentials *credential.Service
	News        *snapshot.Feed
	Probes      *dispatch.Dispatcher[credential.Probe]
	Questions   *dispatch.Dispatcher[route.Question]
	Routers     *routerstate.Registry
	Key         ed25519.PrivateKey
	Environment string
	Now         func() time.Time
	Log         *slog.Logger
}

// NewFeed returns a Feed.
func NewFeed(d FeedDeps) *Feed {
	return &Feed{
		store: d.Store, credentials: d.Credentials, news: d.News, probes: d.Probes, questions: d.Questions, routers: d.Routers, log: d.Log,
		sign: newSigner(d.Key, d.Environment, d.Now), wholes: map[view]*whole{routerView: {}, meteringView: {}},
	}
}

// Register puts the service on server.
func (f *Feed) Register(server *connect.Server) {
	keysv1connect.RegisterConfigServiceHandler(server, f)
}

var _ keysv1connect.ConfigServiceHandler = (*Feed)(nil)

// WatchConfig sends the configuration, then every change.
func (f *Feed) WatchConfig(ctx context.Context, req *keysv1.WatchConfigRequest, out keysv1connect.ConfigServiceWatchConfigServerStream) error {
	w := watcher{feed: f, view: meteringView, at: req.GetSinceVersion(), out: out}
	var jobs <-chan credential.Probe
	var questions <-chan route.Question
	if authn.FromContext(ctx).Service == string(routerView) {
		w.view = routerView
		var disconnect, mute func()
		jobs, disconnect = f.probes.Connect()
		defer disconnect()
		questions, mute = f.questions.Connect()
		defer mute()
	}
	if err := w.catchUp(ctx); err != nil {
		return err
	}
	if err := w.heartbeat(); err != nil { // at once: the watcher may have been up to date
		return err
	}
	silence := time.NewTimer(heartbeatEvery)
	defer silence.Stop()
	for {
		newest, changed, open := f.news.Newest()
		if !open {
			return ErrDraining
		}
		var err error
		if newest > w.at {
			err = w.catchUp(ctx)
		} else {
			select {
			case <-ctx.Done():
				return nil
			case <-changed:
				continue
			case job := <-jobs:
				err = w.probe(ctx, job)
			case question := <-questions:
				err = w.ask(ctx, question)
			case <-silence.C:
				err = w.heartbeat()
			}
		}
		if err != nil {
			return err
		}
		silence.Reset(heartbeatEvery)
	}
}

// watcher is one stream.
type watcher struct {
	feed *Feed
	view view
	// at is the version that the watcher has.
	at  int64
	out keysv1connect.ConfigServiceWatchConfigServerStream
}

// catchUp sends what the watcher lacks: one delta if it is known and fits into one part, else the
// whole configuration.
func (w *watcher) catchUp(ctx context.Context) error {
	delta, err := w.feed.store.Delta(ctx, w.at)
	if err != nil {
		return err
	}
	if delta.Known {
		if delta.Version == w.at {
			return nil
		}
		batch := w.feed.sign.pack(w.view, w.at, delta.Header)
		if err := batch.add(delta.Objects); err != nil {
			return err
		}
		parts, err := batch.finish()
		if err != nil {
			return err
		}
		if len(parts) == 1 {
			return w.send(parts, delta.Version)
		}
	}
	atLeast := w.at
	if atLeast > delta.Version {
		atLeast = 0 // a version of another life of the database
	}
	parts, version, err := w.feed.whole(ctx, w.view, atLeast)
	if err != nil {
		return err
	}
	return w.send(parts, version)
}

func (w *watcher) send(parts []*keysv1.SignedConfig, version int64) error {
	for _, part := range parts {
		err := w.out.Send(&keysv1.WatchConfigResponse{Message: &keysv1.WatchConfigResponse_Config{Config: part}})
		if err != nil {
			return err
		}
	}
	w.at = version
	return nil
}

func (w *watcher) heartbeat() error {
	return w.out.Send(&keysv1.WatchConfigResponse{Message: &keysv1.WatchConfigResponse_Heartbeat{Heartbeat: &keysv1.Heartbeat{Version: w.at}}})
}

// probe sends a key test, after the configuration that it is about.
func (w *watcher) probe(ctx context.Context, job credential.Probe) error {
	if err := w.catchUp(ctx); err != nil {
		return err
	}
	return w.out.Send(&keysv1.WatchConfigResponse{Message: &keysv1.WatchConfigResponse_Probe{Probe: &keysv1.ProbeJob{
		Id: job.ID, OrgId: job.OrgID, CredentialId: job.CredentialID, Revision: int32(job.Revision),
	}}})
}

// whole is a whole configuration, encoded.
type whole struct {
	mu      sync.Mutex // also held while it is made, so that others wait instead of making their own
	parts   []*keysv1.SignedConfig
	version int64
	madeAt  time.Time
}

// whole returns a whole configuration of at least a version.
func (f *Feed) whole(ctx context.Context, v view, atLeast int64) ([]*keysv1.SignedConfig, int64, error) {
	w := f.wholes[v]
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.parts != nil && w.version >= atLeast && f.sign.now().Sub(w.madeAt) < wholeLifetime {
		return w.parts, w.version, nil
	}
	w.parts = nil
	var batch *packer
	err := f.store.Whole(ctx,
		func(h snapshot.Header) { batch = f.sign.pack(v, 0, h) },
		func(o snapshot.Objects) error { return batch.add(o) })
	if err != nil {
		return nil, 0, err
	}
	parts, err := batch.finish()
	if err != nil {
		return nil, 0, err
	}
	w.parts, w.version, w.madeAt = parts, batch.batch.GetToVersion(), f.sign.now()
	return w.parts, w.version, nil
}

// Forget drops the whole configurations that are too old to be given to anybody.
func (f *Feed) Forget() {
	for _, w := range f.wholes {
		if w.mu.TryLock() { // else one is being made
			if f.sign.now().Sub(w.madeAt) >= wholeLifetime {
				w.parts = nil
			}
			w.mu.Unlock()
		}
	}
}

// ReportRouterState takes what a router has learned. The organizations in it are those of the
// credentials that the router was given; what does not exist any more is passed over.
func (f *Feed) ReportRouterState(ctx context.Context, req *keysv1.ReportRouterStateRequest) (*keysv1.ReportRouterStateResponse, error) {
	p := authn.FromContext(ctx)
	if p.Instance != "" && p.Instance != req.GetRouter() {
		return nil, ErrRouterName.Saying("the router calls itself %q and its certificate says %q", req.GetRouter(), p.Instance)
	}
	f.log.DebugContext(ctx, "router state", "router", req.GetRouter(), "applied_version", req.GetAppliedVersion(),
		"verdicts", len(req.GetProbeResults()), "evidence", len(req.GetEvidence()))
	f.routers.Report(routerOf(req)) // first: somebody may wait for it
	if err := f.store.NoteUses(ctx, usesOf(req)); err != nil {
		return nil, err
	}
	for orgID, findings := range findingsByOrg(req) {
		if err := f.learn(ctx, orgID, findings); err != nil && !errors.Is(err, organization.ErrNotFound) {
			return nil, err
		}
	}
	if err := f.store.SaveHeadroom(ctx, headroomOf(req)); err != nil {
		return nil, err
	}
	for orgID, told := range progressByOrg(req) {
		if err := f.store.SaveDrillProgress(ctx, orgID, told); err != nil {
			return nil, err
		}
	}
	if len(req.GetProbeResults()) > 0 {
		f.probes.Announce()
	}
	if err := f.answer(ctx, req); err != nil {
		return nil, err
	}
	return &keysv1.ReportRouterStateResponse{}, nil
}

func findingsByOrg(req *keysv1.ReportRouterStateRequest) map[string][]credential.Finding {
	byOrg := map[string][]credential.Finding{}
	for _, r := range req.GetProbeResults() {
		byOrg[r.GetOrgId()] = append(byOrg[r.GetOrgId()], credential.Finding{
			CredentialID: r.GetCredentialId(), Revision: int(r.GetRevision()), State: fromVerdict(r.GetState()), Tested: true,
			Reason: r.GetReason(), Models: r.GetModels(), At: toldTime(r.GetTime()), ProbeID: r.GetProbeId(),
		})
	}
	for _, e := range req.GetEvidence() {
		if credential.IsEvidence(e.GetErrorClass()) {
			byOrg[e.GetOrgId()] = append(byOrg[e.GetOrgId()], credential.Finding{
				CredentialID: e.GetCredentialId(), Revision: int(e.GetRevision()), Class: e.GetErrorClass(), Reason: e.GetReason(), At: toldTime(e.GetTime()),
			})
		}
	}
	delete(byOrg, "")
	return byOrg
}

// learn applies findings in one transaction of their organization. Routers repeat themselves, so it
// first looks whether any of them would change something.
func (f *Feed) learn(ctx context.Context, orgID string, findings []credential.Finding) error {
	news := false
	err := f.store.Read(ctx, orgID, func(ctx context.Context, tx *store.Tx) error {
		for _, finding := range findings {
			c, err := tx.Credential(ctx, finding.CredentialID)
			if err != nil && !errors.Is(err, credential.ErrNotFound) {
				return err
			}
			news = news || err == nil && (finding.Tested || f.credentials.News(c, finding))
		}
		return nil
	})
	if err != nil || !news {
		return err
	}
	cmd := store.Command{OrgID: orgID, Actor: authn.FromContext(ctx).Actor(), RequestID: intercept.RequestID(ctx)}
	_, _, err = f.store.Change(ctx, cmd, func(ctx context.Context, tx *store.Tx) ([]byte, error) {
		for _, finding := range findings {
			if err := f.credentials.Learn(ctx, tx, finding); err != nil && !errors.Is(err, credential.ErrNotFound) {
				return nil, err
			}
		}
		return nil, nil
	})
	return err
}

package router

import (
	"context"
	"net/http"
	"path/filepath"
	"time"

	"github.com/claviger/claviger/pkg/egress"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/httpapi"
	"github.com/claviger/claviger/services/router/internal/media"
	"github.com/claviger/claviger/services/router/internal/provider/download"
	"github.com/claviger/claviger/services/router/internal/provider/fal"
	"github.com/claviger/claviger/services/router/internal/provider/pollo"
)

// Media configures how jobs are followed.
type Media struct {
	// PublicURL is where providers reach this router; empty asks none to tell of the end of jobs.
	PublicURL string
	// FalKeys are where the keys of fal's webhooks are published. Default fal's own addresses.
	FalKeys []string
	Limits  media.Limits
}

// contentIdle is how long a file's storage may pause.
const contentIdle = time.Minute

// notified is an adapter whose provider can be asked to tell of the end of jobs.
type notified interface{ NotifyAt(url string) }

// openMedia builds the use case of jobs for the adapters that have any.
func (a *App) openMedia(adapters map[string]completion.Provider, urls map[string]string, transport http.RoundTripper) error {
	with := map[string]media.Provider{}
	for slug, adapter := range adapters {
		if jobs, ok := adapter.(media.Provider); ok {
			with[slug] = jobs
		}
	}
	var err error
	a.media, err = media.New(media.Options{
		Environment: a.d.Environment, Dir: filepath.Join(a.d.DataDir, "jobs"), Credential: a.credential, Keyring: a.used,
		Recorder: a.journal, Evidence: a.reporter, Providers: with, BaseURLs: urls,
		Fetcher: download.New(a.d.Egress.Client(egress.TransportOptions{MaxIdleConnsPerHost: 16}), contentIdle),
		Log:     a.d.Log, Now: a.d.Now, Limits: a.d.Media.Limits,
	})
	if err != nil || a.d.Media.PublicURL == "" {
		return err
	}
	keys := a.d.Media.FalKeys
	if len(keys) == 0 {
		keys = fal.JWKS
	}
	a.webhooks = map[string]httpapi.Webhook{
		"fal": fal.NewWebhooks(transport, keys, a.d.Now).Verify,
		// Only the owner of a Pollo account has what its signatures can be checked with.
		"pollo": func(_ context.Context, _ http.Header, body []byte) (string, error) { return pollo.TaskOf(body), nil },
	}
	for slug := range a.webhooks {
		if adapter, ok := adapters[slug].(notified); ok {
			adapter.NotifyAt(a.d.Media.PublicURL + "/hooks/" + slug)
		}
	}
	return nil
}

// pepper gives the pepper of API keys to whoever checks keys, and to jobs, whose tokens are sealed with a
// key that is derived from it.
func (a *App) pepper(ctx context.Context) (secret.Text, error) {
	pepper, err := a.d.Pepper(ctx)
	if err == nil {
		err = a.media.UsePepper(pepper)
	}
	return pepper, err
}

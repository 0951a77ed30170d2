package azure

import (
	"slices"
	"sync"
	"time"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/services/router/internal/completion"
)

const (
	// shortPause is how long a deployment is left alone that does not say for how long.
	shortPause = 5 * time.Second
	// maxRemembered bounds what is kept of deployments.
	maxRemembered = 10_000
)

// place is a deployment, or an endpoint if it has no name, of one revision of a credential. Limits and
// states belong to it, not to the organization.
type place struct {
	credential     string
	revision       int
	endpoint, name string
}

// known is what was learned of a place.
type known struct {
	until time.Time // it cools down until then
	// classic says that an endpoint has no v1 API; silent that it refuses to be asked for usage.
	classic, silent bool
}

// memory is what was learned of deployments, in this process only: it can be learned again.
type memory struct {
	now func() time.Time
	mu  sync.Mutex
	all map[place]known
}

func newMemory(now func() time.Time) *memory { return &memory{now: now, all: map[place]known{}} }

func placeOf(c *completion.Credential, endpoint, name string) place {
	at := place{endpoint: endpoint, name: name}
	if c != nil {
		at.credential, at.revision = c.ID, c.Revision
	}
	return at
}

func (m *memory) get(at place) known {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all[at]
}

func (m *memory) change(at place, change func(*known)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.all) >= maxRemembered {
		clear(m.all)
	}
	k := m.all[at]
	change(&k)
	m.all[at] = k
}

// inOrder puts deployments that are cooling down behind the others, and keeps the order else.
func (m *memory) inOrder(c *completion.Credential, list []keyform.AzureDeployment) []keyform.AzureDeployment {
	now := m.now()
	cooling := func(d keyform.AzureDeployment) int {
		if m.get(placeOf(c, d.Endpoint, d.ModelID)).until.After(now) {
			return 1
		}
		return 0
	}
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(a, b keyform.AzureDeployment) int { return cooling(a) - cooling(b) })
	return out
}

// next notes why a deployment did not serve, and reports whether another one of the model may: nothing
// was generated, and the reason is the deployment's own.
func (m *memory) next(c *completion.Credential, d keyform.AzureDeployment, failed *completion.ProviderError) bool {
	switch failed.Class {
	case completion.RateLimited, completion.Overloaded, completion.QuotaExhausted:
		pause := max(failed.RetryAfter, shortPause)
		m.change(placeOf(c, d.Endpoint, d.ModelID), func(k *known) { k.until = m.now().Add(pause) })
	case completion.AuthInvalid, completion.AuthLimited, completion.ModelNotFound, completion.Unsupported:
	case completion.Network:
		if failed.Sent {
			return false // it may have been generated, and billed
		}
	case completion.InvalidRequest, completion.TooLarge, completion.ContentRefused, completion.StateRefused, completion.ServerError, completion.TimedOut, completion.CredentialError:
		return false
	}
	return failed.Unbilled || !failed.Sent
}

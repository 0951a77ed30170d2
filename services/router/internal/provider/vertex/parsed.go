package vertex

import (
	"maps"
	"sync"
	"time"

	"github.com/claviger/claviger/pkg/keyform"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
)

// parsedFor is how long a credential is kept once it was read: reading one checks its private key, which
// takes a quarter of a millisecond, and callers should not wait for that each time.
const parsedFor = 5 * time.Minute

// parsed keeps credentials that were read, as they are in memory in any case, for a short time.
type parsed struct {
	now func() time.Time

	mu   sync.Mutex
	kept map[string]reading
}

type reading struct {
	text       secret.Text
	credential keyform.Google
	ends       time.Time
}

func newParsed() *parsed { return &parsed{now: time.Now, kept: map[string]reading{}} }

// read reads a credential. Only the very same text is the one that was read before.
func (p *parsed) read(c *completion.Credential, text secret.Text) (keyform.Google, error) {
	if c == nil {
		return keyform.ParseGoogle(text)
	}
	now := p.now()
	p.mu.Lock()
	r, found := p.kept[c.ID]
	p.mu.Unlock()
	if found && now.Before(r.ends) && r.text.Equal(text) {
		return r.credential, nil
	}
	credential, err := keyform.ParseGoogle(text)
	if err != nil {
		return keyform.Google{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.kept, func(_ string, r reading) bool { return !now.Before(r.ends) })
	p.kept[c.ID] = reading{text, credential, now.Add(parsedFor)}
	return credential, nil
}

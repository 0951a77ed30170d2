// Package snapshot is what routers and metering need to know, as a version and what has changed
// since another one.
//
// A version is a number that goes up by one with each transaction that changes the configuration.
// What changed between two versions is a set of object ids; their content is always read as it is
// at the newer version. So a delta holds each object once, and applying it to the older
// configuration gives the newer one.
package snapshot

import (
	"sync"

	"github.com/claviger/claviger/services/keys/internal/apikey"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/drill"
	"github.com/claviger/claviger/services/keys/internal/group"
	"github.com/claviger/claviger/services/keys/internal/policy"
	"github.com/claviger/claviger/services/keys/internal/routing"
)

// Ref names an object. The prefix of the id tells its kind.
type Ref struct{ OrgID, ID string }

// Organization is what is to be known of one.
type Organization struct {
	ID, Slug string
	Routing  routing.State
}

// Objects are objects of the configuration, as they are at one version.
type Objects struct {
	Organizations []Organization
	Members       []Ref
	Policies      []policy.Policy
	Credentials   []credential.Credential
	APIKeys       []apikey.Key
	Groups        []group.Group
	// Drills are those that run.
	Drills []drill.Drill
	// Removed are gone. In a whole configuration there are those alone that were removed together with the
	// answers that they gave: whoever has missed it still has to end them.
	Removed []Removal
}

// Removal is of an object that is gone.
type Removal struct {
	Ref
	// Cut ends the answers that it gives.
	Cut bool
}

// TokenKey verifies access tokens.
type TokenKey struct {
	KeyID     string
	PublicKey []byte
}

// Header says what the objects that follow it are.
type Header struct {
	Version   int64
	TokenKeys []TokenKey
}

// Delta is what changed since a version.
type Delta struct {
	Header
	Objects
	// Known is false if the changes since that version are not known any more, too many, or if there
	// never was such a version. Then there is nothing else in the delta but its Version.
	Known bool
}

// Feed tells watchers that there is a newer version. The zero Feed is ready for use.
type Feed struct {
	mu      sync.Mutex
	version int64
	changed chan struct{}
	closed  bool
}

// Advance tells that version is there. Older news are ignored.
func (f *Feed) Advance(version int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if version > f.version {
		f.version = version
		f.wake()
	}
}

// Close tells watchers to go away.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.wake()
}

func (f *Feed) wake() {
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

// Newest returns the newest version that this replica has heard of, a channel that is closed when
// that changes, and whether watchers are still welcome.
func (f *Feed) Newest() (version int64, changed <-chan struct{}, open bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed == nil {
		f.changed = make(chan struct{})
	}
	return f.version, f.changed, !f.closed
}

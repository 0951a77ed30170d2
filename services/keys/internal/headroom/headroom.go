// Package headroom keeps what providers' answers told routers of their limits, for people to look at.
// Routers steer by what they learned themselves; nothing is decided by what is kept here.
package headroom

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Retention is how long a report is kept that no newer one has replaced.
const Retention = 24 * time.Hour

// Headroom is what is left of a provider's limits for one credential and model, as one router was told.
type Headroom struct {
	OrgID, CredentialID string
	// Model is "provider/model".
	Model  string
	Router string
	// Requests and Tokens are nil if nothing was told.
	Requests, Tokens *Allowance
	// CoolingUntil is until when the router leaves the credential alone for the model; zero if it does not.
	CoolingUntil time.Time
	At           time.Time
}

// Allowance is what is left of a limit.
type Allowance struct {
	// Limit is 0, and ResetAt zero, if it was not told.
	Limit, Remaining int64
	ResetAt          time.Time
}

// ID names what h is of: credential, model and router. It sorts by credential.
func (h Headroom) ID() string {
	sum := sha256.Sum256([]byte(h.Model + "\x00" + h.Router))
	return h.CredentialID + "_" + hex.EncodeToString(sum[:16])
}

package credential

import "time"

const (
	// Quiet is how long a secret must not have been used before it is safe to revoke it.
	Quiet = 24 * time.Hour
	// UseStep is how far apart two stored uses of a secret are. A use in between is not stored, so the last
	// one may be that much later than what is stored.
	UseStep = time.Minute
)

// Use is the last use of a secret, as a router tells it.
type Use struct {
	OrgID        string
	CredentialID string
	Revision     int
	At           time.Time
}

// SafeAt is from when nobody uses p any more, given that all routers know so.
func (p Previous) SafeAt() time.Time {
	last := p.ReplacedAt
	if used := p.LastUseAt.Add(UseStep); !p.LastUseAt.IsZero() && used.After(last) {
		last = used
	}
	return last.Add(Quiet)
}

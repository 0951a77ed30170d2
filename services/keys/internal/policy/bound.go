package policy

import (
	"context"

	"github.com/claviger/claviger/services/keys/internal/bound"
)

// KeptVersions is how many of a policy's versions are kept, the one that serves among them. The audit keeps
// the story of all.
const KeptVersions = 100

// kept makes a change of the organization's policies, unless they are too many or too large then.
func kept(ctx context.Context, tx Tx, change func() error) error {
	return bound.Keep(ctx, tx, change, bound.Policies, bound.PolicyLines, bound.PolicyBytes)
}

// at reads a published version.
func at(ctx context.Context, tx Tx, p Policy, version int64) (Version, error) {
	if version < 1 || version > p.Version {
		return Version{}, ErrVersion.Saying("policy %s has no version %d: its newest is %d", p.Name, version, p.Version)
	}
	if oldest := p.Version - KeptVersions + 1; version < oldest {
		return Version{}, ErrVersion.Saying("version %d of policy %s is not kept any more: the newest %d are, from %d on", version, p.Name, KeptVersions, oldest).
			Hinting("name a newer version; the audit tells what each version changed")
	}
	return tx.PolicyVersion(ctx, p.ID, version)
}

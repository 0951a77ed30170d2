package store

import (
	"context"
	"fmt"

	"github.com/claviger/claviger/services/keys/internal/bound"
)

// have counts what the bounds are of, by their reasons. A line of a policy is found by the member that each of
// them has and nothing else: in texts its quotes are escaped. The largest take some 20 ms.
var have = map[string]string{
	bound.Policies.Err().Reason(): "SELECT count(*) FROM policy WHERE org_id = ?",
	bound.PolicyLines.Err().Reason(): `SELECT coalesce(sum((octet_length(spec) - octet_length(replace(spec, '"model":', ''))) / 8), 0)
		FROM policy WHERE org_id = ?`,
	bound.PolicyBytes.Err().Reason():       "SELECT coalesce(sum(octet_length(spec) + octet_length(draft)), 0) FROM policy WHERE org_id = ?",
	bound.Groups.Err().Reason():            "SELECT count(*) FROM key_group WHERE org_id = ?",
	bound.GroupBytes.Err().Reason():        "SELECT coalesce(sum(octet_length(approved_models)), 0) FROM key_group WHERE org_id = ?",
	bound.Credentials.Err().Reason():       "SELECT count(*) FROM credential WHERE org_id = ?",
	bound.CredentialsOf("").Err().Reason(): "SELECT count(*) FROM credential WHERE org_id = ? AND provider = ?",
	bound.ScopeBytes.Err().Reason():        "SELECT coalesce(sum(octet_length(scope)), 0) FROM credential WHERE org_id = ?",
	bound.Members.Err().Reason():           "SELECT count(*) FROM member WHERE org_id = ?",
	bound.APIKeys.Err().Reason():           "SELECT count(*) FROM api_key WHERE org_id = ? AND revoked_at = 0",
}

var _ bound.Counter = (*Tx)(nil)

// Have returns how much the organization has of what b bounds.
func (t *Tx) Have(ctx context.Context, b bound.Bound) (n int64, err error) {
	args := []any{t.orgID}
	if b.Of != "" {
		args = append(args, b.Of)
	}
	if err := t.tx.NewRaw(have[b.Err().Reason()], args...).Scan(ctx, &n); err != nil {
		return 0, fmt.Errorf("count %s: %w", b.What, err)
	}
	return n, nil
}

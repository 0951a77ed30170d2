package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/policy"
)

type policyRow struct {
	bun.BaseModel `bun:"table:policy"`

	OrgID       string `bun:"org_id,pk"`
	ID          string `bun:"id,pk"`
	Name        string `bun:"name"`
	Version     int64  `bun:"version"`
	Spec        string `bun:"spec"`
	PublishedAt int64  `bun:"published_at"`
	PublishedBy string `bun:"published_by"`
	Draft       string `bun:"draft"`
	Revision    int64  `bun:"revision"`
	CreatedAt   int64  `bun:"created_at"`
	UpdatedAt   int64  `bun:"updated_at"`
	UpdatedBy   string `bun:"updated_by"`
}

func (r policyRow) domain() policy.Policy {
	p := policy.Policy{
		OrgID: r.OrgID, ID: r.ID, Name: r.Name, Version: r.Version, Spec: fromJSON[policy.Spec](r.Spec),
		PublishedAt: fromMicros(r.PublishedAt), PublishedBy: r.PublishedBy, Revision: r.Revision,
		CreatedAt: fromMicros(r.CreatedAt), UpdatedAt: fromMicros(r.UpdatedAt), UpdatedBy: r.UpdatedBy,
	}
	if r.Draft != "" {
		p.Draft = new(fromJSON[policy.Spec](r.Draft))
	}
	return p
}

func toPolicyRow(p policy.Policy) *policyRow {
	row := &policyRow{
		OrgID: p.OrgID, ID: p.ID, Name: p.Name, Version: p.Version, PublishedAt: micros(p.PublishedAt), PublishedBy: p.PublishedBy,
		Revision: p.Revision, CreatedAt: micros(p.CreatedAt), UpdatedAt: micros(p.UpdatedAt), UpdatedBy: p.UpdatedBy,
	}
	if p.Version > 0 {
		row.Spec = toJSON(p.Spec)
	}
	if p.Draft != nil {
		row.Draft = toJSON(p.Draft)
	}
	return row
}

// published leaves out policies that cannot serve yet: nobody is told of them.
func published(rows []policyRow) []policyRow {
	return slices.DeleteFunc(rows, func(r policyRow) bool { return r.Version == 0 })
}

type policyVersionRow struct {
	bun.BaseModel `bun:"table:policy_version"`

	OrgID        string `bun:"org_id,pk"`
	PolicyID     string `bun:"policy_id,pk"`
	Version      int64  `bun:"version,pk"`
	Spec         string `bun:"spec"`
	PublishedAt  int64  `bun:"published_at"`
	PublishedBy  string `bun:"published_by"`
	RolledBackTo int64  `bun:"rolled_back_to"`
}

func (r policyVersionRow) domain() policy.Version {
	return policy.Version{
		Version: r.Version, Spec: fromJSON[policy.Spec](r.Spec), PublishedAt: fromMicros(r.PublishedAt), PublishedBy: r.PublishedBy,
		RolledBackTo: r.RolledBackTo,
	}
}

// referenceRow says that the version of a policy that serves names something.
type referenceRow struct {
	bun.BaseModel `bun:"table:policy_reference"`

	OrgID    string `bun:"org_id,pk"`
	Target   string `bun:"target,pk"`
	PolicyID string `bun:"policy_id,pk"`
}

var _ policy.Tx = (*Tx)(nil)

// Policy returns one policy.
func (t *Tx) Policy(ctx context.Context, policyID string) (policy.Policy, error) {
	row := policyRow{OrgID: t.orgID, ID: policyID}
	err := t.tx.NewSelect().Model(&row).WherePK().Scan(ctx)
	return row.domain(), orMissing(err, policy.ErrNotFound, "read policy")
}

// Policies lists up to limit policies after an id.
func (t *Tx) Policies(ctx context.Context, after string, limit int) ([]policy.Policy, error) {
	var rows []policyRow
	err := t.tx.NewSelect().Model(&rows).Where("org_id = ? AND id > ?", t.orgID, after).Order("id").Limit(int64(limit)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("list policies: %w", err)
	}
	return each(rows, policyRow.domain), nil
}

// PoliciesByName returns those of the named policies that exist.
func (t *Tx) PoliciesByName(ctx context.Context, names []string) ([]policy.Policy, error) {
	if len(names) == 0 {
		return nil, nil
	}
	var rows []policyRow
	if err := byNameQuery(t.tx, &rows, t.orgID, names).Scan(ctx); err != nil {
		return nil, fmt.Errorf("find policies: %w", err)
	}
	return each(rows, policyRow.domain), nil
}

func byNameQuery(tx bun.Tx, rows *[]policyRow, orgID string, names []string) *bun.SelectQuery {
	return tx.NewSelect().Model(rows).Where("org_id = ? AND name IN (?)", orgID, bun.List(names)).Order("name")
}

// InsertPolicy adds a policy. Routers hear of one that can serve.
func (t *Tx) InsertPolicy(ctx context.Context, p policy.Policy) error {
	p.OrgID = t.orgID
	if p.Version > 0 {
		t.touch(t.orgID, p.ID)
	}
	_, err := t.tx.NewInsert().Model(toPolicyRow(p)).Exec(ctx)
	return orTaken(err, policy.ErrExists, "insert policy")
}

// UpdatePolicy stores all of p. Routers hear of a version that is another than before, and not of drafts.
func (t *Tx) UpdatePolicy(ctx context.Context, p policy.Policy) error {
	p.OrgID = t.orgID
	var before int64
	err := t.tx.NewSelect().Model((*policyRow)(nil)).Column("version").Where("org_id = ? AND id = ?", t.orgID, p.ID).Scan(ctx, &before)
	if err != nil {
		return orMissing(err, policy.ErrNotFound, "read policy")
	}
	if p.Version != before {
		t.touch(t.orgID, p.ID)
	}
	return orMissing(affected(t.tx.NewUpdate().Model(toPolicyRow(p)).WherePK().Exec(ctx)), policy.ErrNotFound, "update policy")
}

// DeletePolicy removes a policy, its versions and what they name.
func (t *Tx) DeletePolicy(ctx context.Context, policyID string) error {
	for _, table := range []string{"policy_version", "policy_reference"} {
		if _, err := t.tx.NewRaw("DELETE FROM ? WHERE org_id = ? AND policy_id = ?", bun.Ident(table), t.orgID, policyID).Exec(ctx); err != nil {
			return fmt.Errorf("delete versions of policy: %w", err)
		}
	}
	t.touch(t.orgID, policyID) // of a mere draft nobody knows, and its removal does no harm
	err := affected(t.tx.NewDelete().Model(&policyRow{OrgID: t.orgID, ID: policyID}).WherePK().Exec(ctx))
	return orMissing(err, policy.ErrNotFound, "delete policy")
}

// InsertPolicyVersion adds a version. What it names takes the place of what the version before named.
func (t *Tx) InsertPolicyVersion(ctx context.Context, policyID string, v policy.Version) error {
	row := policyVersionRow{
		OrgID: t.orgID, PolicyID: policyID, Version: v.Version, Spec: toJSON(v.Spec), PublishedAt: micros(v.PublishedAt),
		PublishedBy: v.PublishedBy, RolledBackTo: v.RolledBackTo,
	}
	if _, err := t.tx.NewInsert().Model(&row).Exec(ctx); err != nil {
		return fmt.Errorf("insert version of policy: %w", err)
	}
	if _, err := t.tx.NewRaw("DELETE FROM policy_reference WHERE org_id = ? AND policy_id = ?", t.orgID, policyID).Exec(ctx); err != nil {
		return fmt.Errorf("forget what the policy named: %w", err)
	}
	names := v.Spec.References()
	if len(names) == 0 {
		return nil
	}
	rows := make([]referenceRow, len(names))
	for i, name := range names {
		rows[i] = referenceRow{OrgID: t.orgID, Target: name, PolicyID: policyID}
	}
	if _, err := t.tx.NewInsert().Model(&rows).Exec(ctx); err != nil {
		return fmt.Errorf("note what the policy names: %w", err)
	}
	return nil
}

// ForgetPolicyVersions removes the versions up to one.
func (t *Tx) ForgetPolicyVersions(ctx context.Context, policyID string, upTo int64) error {
	_, err := t.tx.NewRaw("DELETE FROM policy_version WHERE org_id = ? AND policy_id = ? AND version <= ?", t.orgID, policyID, upTo).Exec(ctx)
	if err != nil {
		return fmt.Errorf("forget versions of policy: %w", err)
	}
	return nil
}

// PolicyVersion returns one published version.
func (t *Tx) PolicyVersion(ctx context.Context, policyID string, version int64) (policy.Version, error) {
	row := policyVersionRow{OrgID: t.orgID, PolicyID: policyID, Version: version}
	err := t.tx.NewSelect().Model(&row).WherePK().Scan(ctx)
	return row.domain(), orMissing(err, policy.ErrVersion, "read version of policy")
}

// PolicyVersions lists up to limit versions of a policy before one, newest first; before 0 begins with
// the newest.
func (t *Tx) PolicyVersions(ctx context.Context, policyID string, before int64, limit int) ([]policy.Version, error) {
	var rows []policyVersionRow
	if err := versionsQuery(t.tx, &rows, t.orgID, policyID, before, limit).Scan(ctx); err != nil {
		return nil, fmt.Errorf("list versions of policy: %w", err)
	}
	return each(rows, policyVersionRow.domain), nil
}

func versionsQuery(tx bun.Tx, rows *[]policyVersionRow, orgID, policyID string, before int64, limit int) *bun.SelectQuery {
	query := tx.NewSelect().Model(rows).Where("org_id = ? AND policy_id = ?", orgID, policyID).OrderExpr("version DESC").Limit(int64(limit))
	if before > 0 {
		query = query.Where("version < ?", before)
	}
	return query
}

// PoliciesNaming returns the names of up to limit policies whose version that serves names target:
// "policy/<name>", or the id of a credential or a group.
func (t *Tx) PoliciesNaming(ctx context.Context, target string, limit int) ([]string, error) {
	var names []string
	if err := namingQuery(t.tx, t.orgID, target, limit).Scan(ctx, &names); err != nil {
		return nil, fmt.Errorf("look for policies that name something: %w", err)
	}
	return names, nil
}

func namingQuery(tx bun.Tx, orgID, target string, limit int) *bun.RawQuery {
	return tx.NewRaw(`SELECT p.name FROM policy_reference r JOIN policy p ON p.org_id = r.org_id AND p.id = r.policy_id
		WHERE r.org_id = ? AND r.target = ? ORDER BY p.name LIMIT ?`, orgID, target, limit)
}

// PolicyUsers returns what names a policy.
func (t *Tx) PolicyUsers(ctx context.Context, p policy.Policy, at time.Time, limit int) (users policy.Users, err error) {
	if users.APIKeys, err = t.usableKeys(ctx, "policy_id", p.ID, at, limit); err != nil {
		return policy.Users{}, err
	}
	if err := groupsOfQuery(t.tx, t.orgID, p.ID, limit).Scan(ctx, &users.Groups); err != nil {
		return policy.Users{}, fmt.Errorf("look for groups of a policy: %w", err)
	}
	state, err := t.Routing(ctx)
	if err != nil {
		return policy.Users{}, err
	}
	users.Organization = state.Preferences.PolicyID == p.ID
	users.Policies, err = t.PoliciesNaming(ctx, policy.Prefix+p.Name, limit)
	return users, err
}

func groupsOfQuery(tx bun.Tx, orgID, policyID string, limit int) *bun.SelectQuery {
	return tx.NewSelect().Model((*groupRow)(nil)).Column("name").Where("org_id = ? AND policy_id = ?", orgID, policyID).Order("name").Limit(int64(limit))
}

// usableKeys names API keys that can still be used and have a value in a column.
func (t *Tx) usableKeys(ctx context.Context, column, value string, at time.Time, limit int) ([]string, error) {
	var names []string
	if err := usableQuery(t.tx, t.orgID, column, value, at, limit).Scan(ctx, &names); err != nil {
		return nil, fmt.Errorf("look for API keys: %w", err)
	}
	return names, nil
}

func usableQuery(tx bun.Tx, orgID, column, value string, at time.Time, limit int) *bun.SelectQuery {
	return tx.NewSelect().Model((*apiKeyRow)(nil)).Column("name").
		Where("org_id = ? AND ? = ? AND revoked_at = 0 AND (expires_at = 0 OR expires_at > ?)", orgID, bun.Ident(column), value, micros(at)).
		Order("id").Limit(int64(limit))
}

// RoutingRules returns what holds for all requests.
func (t *Tx) RoutingRules(ctx context.Context) (policy.Rules, error) { return t.Routing(ctx) }

// CredentialsFor returns the credentials of some providers, and those with the given ids.
func (t *Tx) CredentialsFor(ctx context.Context, providers, ids []string) ([]credential.Credential, error) {
	var rows []credentialRow
	// An empty list is no SQL, and no object has an empty id.
	err := t.tx.NewSelect().Model(&rows).Where("org_id = ? AND (provider IN (?) OR id IN (?))",
		t.orgID, bun.List(append(slices.Clone(providers), "")), bun.List(append(slices.Clone(ids), ""))).Order("id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("find credentials: %w", err)
	}
	return each(rows, credentialRow.domain), nil
}

// KeyFacts returns those of the API keys that exist, by id.
func (t *Tx) KeyFacts(ctx context.Context, ids []string) (map[string]policy.KeyFact, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var rows []apiKeyRow
	err := t.tx.NewSelect().Model(&rows).Column("id", "name", "group_id", "revoked_at", "expires_at").
		Where("org_id = ? AND id IN (?)", t.orgID, bun.List(ids)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("find API keys: %w", err)
	}
	out := make(map[string]policy.KeyFact, len(rows))
	for _, r := range rows {
		usable := r.RevokedAt == 0 && (r.ExpiresAt == 0 || r.ExpiresAt > micros(t.now))
		out[r.ID] = policy.KeyFact{Name: r.Name, GroupID: r.GroupID, Usable: usable}
	}
	return out, nil
}

// GroupNames returns the names of those of the groups that exist, by id.
func (t *Tx) GroupNames(ctx context.Context, ids []string) (map[string]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var rows []groupRow
	err := t.tx.NewSelect().Model(&rows).Column("id", "name").Where("org_id = ? AND id IN (?)", t.orgID, bun.List(ids)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("find groups: %w", err)
	}
	out := make(map[string]string, len(rows))
	for _, r := range rows {
		out[r.ID] = r.Name
	}
	return out, nil
}

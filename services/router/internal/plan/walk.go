package plan

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// walk makes one plan.
type walk struct {
	p      *Planner
	c      Config
	caller completion.Caller
	req    *completion.Request
	prefs  *Preferences
	group  *Group // nil if the API key is in none
	now    time.Time
	prices *pricing.Table
	// seed is what draws hash, accounts what draws between credentials do.
	seed, accounts uint64

	// asked is the policy that the caller asked for, nil for a model; line is its line from 0, or -1; named is
	// what the caller wrote.
	asked *Policy
	line  int
	named string
	// path are the policies that lead to here.
	path  [maxDepth]*Policy
	depth int
	lines int // looked at

	// prompt is what RequireParameters looks into; nil asks for nothing.
	prompt *completion.Prompt

	first   *Policy // of the first name that was asked for
	targets []completion.Target
	// told keeps what Explain tells; nil keeps nothing.
	told *told
	// listing asks only whether there is a target at all, whatever the request will be.
	listing bool
}

func (p *Planner) walk(c Config, caller completion.Caller, req *completion.Request) walk {
	w := walk{p: p, c: c, caller: caller, req: req, line: -1, seed: hash("request", req.ID), prefs: c.Preferences(caller.OrgID)}
	w.accounts = conversation(&caller, req, w.seed)
	if caller.GroupID != "" {
		w.group = c.Group(caller.OrgID, caller.GroupID)
	}
	if p.Now == nil {
		w.now = time.Now()
	} else {
		w.now = p.Now()
	}
	if p.Prices == nil {
		w.prices = pricing.Book()
	} else {
		w.prices = p.Prices()
	}
	return w
}

// conversation is what draws between the accounts of a provider hash, so that a conversation stays with one: its
// prompt cache and its encrypted reasoning are there. That is the session, or by what the caller says that prompts
// share a cache, or else nothing: then each request is drawn anew.
//
// The beginning of the conversation itself is not taken, although it would cost little: whoever sends the same prompt
// again and again, as tests and scheduled tasks do, would use one account alone whatever the weights say, and a mark
// for the cache, a date or a summary in it would move the conversation. Nor is the user: one who stands for a whole
// application would do the same. A state cannot tell which account made it.
func conversation(caller *completion.Caller, req *completion.Request, otherwise uint64) uint64 {
	switch {
	case req.Session != "":
		return hash("session", req.Session)
	case req.CacheKey != "": // others' keys may be the same, and platform accounts are for all
		return hash("cache", caller.OrgID, req.CacheKey)
	}
	return otherwise
}

// run walks through everything that may be tried.
func (w *walk) run() error {
	if w.lost() {
		return ErrNotAllowed.Saying("the group of API key %q is not known, so nobody can say what it may use", w.caller.KeyName).
			Hinting("an admin has to put the API key into a group that there is, or into none")
	}
	if err := w.needs(); err != nil {
		return err
	}
	if err := w.names(); err != nil {
		return err
	}
	w.distinct()
	if w.req.Routing.NoFallbacks {
		w.cut(min(1, len(w.targets)), NoFallbacks)
	}
	w.rehearse()
	return nil
}

// lost reports whether the API key is in a group that the configuration does not have. What the group would forbid
// is unknown then, so nothing is allowed.
func (w *walk) lost() bool { return w.caller.GroupID != "" && w.group == nil }

// names walks through what the caller named, or the policy that stands in its place.
func (w *walk) names() error {
	models := w.req.Routing.Models
	if w.req.Model == "" && len(models) == 0 || w.enforced() {
		policy, err := w.standard()
		if err != nil {
			return err
		}
		w.named = w.req.Model
		if w.named == "" && len(models) > 0 {
			w.named = models[0]
		}
		w.passedOver(policy)
		w.first, w.asked = policy, policy
		w.policy(policy)
		return nil
	}
	if w.req.Model != "" {
		if err := w.name(w.req.Model); err != nil {
			return err
		}
		w.first = w.asked
	}
	for i, model := range models {
		if err := w.name(model); err != nil {
			return inField(err, i)
		}
		if i == 0 && w.req.Model == "" {
			w.first = w.asked
		}
	}
	return nil
}

// enforced reports whether every request goes through the default policy. What a wider level enforces holds for
// an API key that has a default of its own, too: that one then stands in.
func (w *walk) enforced() bool {
	return w.caller.EnforcePolicy || w.group != nil && w.group.EnforcePolicy || w.prefs.EnforcePolicy
}

// standard is the default policy: the API key's, else its group's, else the organization's.
func (w *walk) standard() (*Policy, error) {
	policyID, whose, name := w.caller.PolicyID, "API key", w.caller.KeyName
	if policyID == "" && w.group != nil {
		policyID, whose, name = w.group.PolicyID, "group", w.group.Name
	}
	if policyID == "" {
		policyID, whose, name = w.prefs.PolicyID, "the organization", ""
	}
	if policyID == "" {
		if w.enforced() {
			return nil, completion.ErrPolicyUnknown.Saying("every request of API key %q has to go through a policy, and there is none", w.caller.KeyName).
				Hinting("an admin has to choose a default policy")
		}
		return nil, completion.ErrModelRequired
	}
	policy, ok := w.c.PolicyByID(w.caller.OrgID, policyID)
	if !ok {
		if name != "" {
			whose += " " + strconv.Quote(name)
		}
		return nil, completion.ErrPolicyUnknown.Saying("the default policy of %s is gone", whose).With("param", "model")
	}
	return policy, nil
}

// name walks through a policy or a model.
func (w *walk) name(model string) error {
	w.named, w.asked, w.line = model, nil, -1
	if name, ok := strings.CutPrefix(model, PolicyPrefix); ok {
		policy, ok := w.c.PolicyByName(w.caller.OrgID, name)
		if !ok {
			return completion.ErrPolicyUnknown.Saying("there is no policy %q in this organization", shown(name)).With("param", "model")
		}
		w.asked = policy
		w.policy(policy)
		return nil
	}
	return w.model(model)
}

// policy walks through the groups of a policy.
func (w *walk) policy(policy *Policy) {
	w.path[w.depth] = policy
	w.depth++
	for i := range policy.Groups {
		if w.step(policy, &policy.Groups[i]); w.listing && len(w.targets) > 0 {
			break
		}
	}
	w.depth--
}

// step walks through a group.
func (w *walk) step(policy *Policy, g *TargetGroup) {
	unfit := ""
	if g.When != nil {
		unfit = w.unfit(g.When)
	}
	start, accounts := len(w.targets), w.accounts
	seed, sticks := w.stuck(g)
	if sticks {
		w.accounts = seed
	}
	var room [32]segment
	segments := room[:0]
	for i := range g.Lines {
		l := &g.Lines[i]
		if w.depth == 1 {
			w.line = l.Index
		}
		from := len(w.targets)
		if unfit != "" {
			w.exclude(l, nil, ConditionUnfit, unfit)
		} else {
			w.expand(l)
		}
		if w.listing && len(w.targets) > 0 {
			return
		}
		if len(w.targets) > from {
			segments = append(segments, segment{line: l, from: from, to: len(w.targets)})
		}
	}
	w.accounts = accounts
	w.arrange(g, segments, mix(seed^hash(policy.ID)))
	w.choose(start)
}

// unfit says which part of a condition does not hold; empty if all do.
func (w *walk) unfit(c *Condition) string {
	if len(c.APIKeys) > 0 && !slices.Contains(c.APIKeys, w.caller.APIKeyID) {
		return "other API keys"
	}
	if len(c.Groups) > 0 && (w.caller.GroupID == "" || !slices.Contains(c.Groups, w.caller.GroupID)) {
		return "API keys of other groups"
	}
	if w.listing {
		return ""
	}
	for i := range c.Tags {
		t := &c.Tags[i]
		value, ok := w.req.Tags[t.Key]
		if !ok || len(t.Values) > 0 && !slices.Contains(t.Values, value) {
			return "other tags"
		}
	}
	if len(c.Models) > 0 && !fitsAny(c.Models, w.named) {
		return "other models"
	}
	size := inputTokens(w.req)
	if size < c.MinInput {
		return "longer prompts"
	}
	if c.MaxInput > 0 && size > c.MaxInput {
		return "shorter prompts"
	}
	return ""
}

// expand puts the targets of a line behind the others.
func (w *walk) expand(l *Line) {
	if w.lines++; w.lines > maxLines {
		w.exclude(l, nil, PlanFull, "")
		return
	}
	if l.Policy == "" {
		if reason, detail := w.barred(l); reason != "" {
			w.exclude(l, nil, reason, detail)
			return
		}
		w.credentials(l)
		return
	}
	policy, ok := w.c.PolicyByName(w.caller.OrgID, l.Policy)
	switch {
	case !ok:
		w.exclude(l, nil, PolicyUnknown, "")
	case slices.Contains(w.path[:w.depth], policy):
		w.exclude(l, nil, PolicyLoop, "")
	case w.depth == maxDepth:
		w.exclude(l, nil, PolicyDeep, "")
	default:
		w.policy(policy)
	}
}

// barred says why a line cannot be tried whatever the credential.
func (w *walk) barred(l *Line) (reason Reason, detail string) {
	r := &w.req.Routing
	switch {
	case w.p.Providers[l.Provider] == nil:
		return ProviderUnknown, ""
	case slices.Contains(w.prefs.Ignore, l.Provider):
		return Ignored, ""
	case !w.prefs.Approved.Fit(l.Model):
		return NotApproved, ""
	case w.group != nil && !w.group.Approved.Fit(l.Model):
		return NotForGroup, w.group.Name
	case l.Class == usage.Platform && w.prefs.platform(l.Provider) == Never:
		return PlatformNever, ""
	case len(r.Only) > 0 && !slices.Contains(r.Only, l.Provider):
		return NotInOnly, ""
	case slices.Contains(r.Ignore, l.Provider):
		return InIgnore, ""
	case r.MaxInput != nil || r.MaxOutput != nil:
		return w.dearer(l.Model, r, inputTokens(w.req)), ""
	}
	return "", ""
}

// exclude tells of something that is not tried. It is about all of a line if there is no credential.
func (w *walk) exclude(l *Line, c *completion.Credential, reason Reason, detail string) {
	if w.told == nil {
		return
	}
	model := l.Model
	if model == "" && l.Policy != "" {
		model = PolicyPrefix + l.Policy
	}
	w.told.exclusions = append(w.told.exclusions, Exclusion{
		Provider: l.Provider, Model: model, Class: l.Class, Credential: c, Line: w.line, Reason: reason, detail: detail,
	})
}

// passedOver tells that the names that the caller wrote do not count.
func (w *walk) passedOver(policy *Policy) {
	if w.told == nil {
		return
	}
	for _, name := range append([]string{w.req.Model}, w.req.Routing.Models...) {
		if name != "" && name != PolicyPrefix+policy.Name {
			w.told.exclusions = append(w.told.exclusions, Exclusion{
				Model: shown(name), Line: -1, Reason: PolicyEnforced, detail: PolicyPrefix + policy.Name,
			})
		}
	}
}

// distinct leaves each target once, where it comes first.
func (w *walk) distinct() {
	type identity struct {
		model, credentialID string
		revision            int
	}
	of := func(t *completion.Target) identity { return identity{t.Model, t.Credential.ID, t.Credential.Revision} }
	var seen map[identity]bool
	if len(w.targets) > 32 { // fewer are compared quicker than hashed
		seen = make(map[identity]bool, len(w.targets))
	}
	kept := 0
	for i := range w.targets {
		t := &w.targets[i]
		again := false
		if seen != nil {
			again, seen[of(t)] = seen[of(t)], true
		} else {
			again = slices.ContainsFunc(w.targets[:kept], func(k completion.Target) bool { return of(&k) == of(t) })
		}
		if again {
			w.excludeTarget(t, Duplicate)
			continue
		}
		if kept != i {
			w.targets[kept] = *t
			if w.told != nil {
				w.told.standing[kept] = w.told.standing[i]
			}
		}
		kept++
	}
	w.cut(kept, "")
}

// cut leaves the first n targets, for a reason unless it was told before.
func (w *walk) cut(n int, reason Reason) {
	if reason != "" {
		for i := n; i < len(w.targets); i++ {
			w.excludeTarget(&w.targets[i], reason)
		}
	}
	w.targets = w.targets[:n]
	if w.told != nil {
		w.told.standing = w.told.standing[:n]
	}
}

func (w *walk) excludeTarget(t *completion.Target, reason Reason) {
	if w.told == nil {
		return
	}
	line := t.Line
	if t.PolicyID == "" {
		line = -1
	}
	w.told.exclusions = append(w.told.exclusions, Exclusion{
		Provider: t.Provider, Model: t.Model, Class: t.Class, Credential: t.Credential, Line: line, Reason: reason,
	})
}

// rehearse marks the targets that fail in a drill.
func (w *walk) rehearse() {
	drills := w.c.Drills(w.caller.OrgID)
	for i := range drills {
		d := &drills[i]
		if d.OrgID != w.caller.OrgID || d.APIKeyID != w.caller.APIKeyID || !w.now.Before(d.Until) {
			continue
		}
		for j := range w.targets {
			if t := &w.targets[j]; t.Credential.ID == d.CredentialID && t.Drill == nil {
				t.Drill = d
			}
		}
	}
}

// plan is what came of the walk.
func (w *walk) plan() completion.Plan {
	out := completion.Plan{Targets: w.targets, ConfigVersion: w.c.Version(), Prices: w.prices}
	if w.first != nil {
		out.MaxAttempts, out.Hedge = w.first.MaxAttempts, w.first.Hedge
	}
	return out
}

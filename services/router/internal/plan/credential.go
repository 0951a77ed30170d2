package plan

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// usable is a credential that can serve a line, with one secret or both.
type usable struct {
	first, second *completion.Credential
	low           bool
	ticket        float64
}

// credentials puts the targets of a line that names a model behind the others: by priority, what has next to
// nothing left of its limits behind its equals, and else drawn by weight.
func (w *walk) credentials(l *Line) {
	orgID := w.caller.OrgID
	if l.Class == usage.Platform {
		orgID = w.c.PlatformOrgID()
	}
	all := w.c.Credentials(orgID, l.Provider)
	if l.CredentialID != "" {
		i := slices.IndexFunc(all, func(c *completion.Credential) bool { return c.ID == l.CredentialID })
		if i < 0 {
			w.exclude(l, nil, CredentialGone, "")
			return
		}
		all = all[i : i+1]
	}
	if len(all) == 0 {
		w.exclude(l, nil, NoCredential, "")
		return
	}
	var room [8]usable
	list := room[:0]
	for _, c := range all {
		u := w.secrets(l, c)
		if u.first == nil {
			continue
		}
		u.low = w.p.Health.Low(u.first, l.Model)
		if len(all) > 1 {
			u.ticket = ticket(w.accounts, hash(c.ID), max(c.Weight, 1))
		}
		list = append(list, u)
	}
	slices.SortStableFunc(list, func(a, b usable) int {
		return cmp.Or(cmp.Compare(a.first.Priority, b.first.Priority), compareBool(a.low, b.low), cmp.Compare(a.ticket, b.ticket))
	})
	if w.targets == nil && len(list) > 0 {
		w.targets = make([]completion.Target, 0, w.room(list))
	}
	for i := range list {
		w.add(l, list[i].first, &list[i])
		if list[i].second != nil {
			w.add(l, list[i].second, &list[i])
		}
	}
}

// room is how many targets a plan will mostly have that begins with a line's credentials.
func (w *walk) room(list []usable) int {
	n := len(list)
	for i := range list {
		if list[i].second != nil {
			n++
		}
	}
	if w.asked != nil { // other lines follow
		n = max(n, roomFor)
	}
	return min(n, maxTargets)
}

// secrets are those secrets of a credential that serve a request, in order: the second one comes first where
// it was drawn, and the current one stands right behind it.
func (w *walk) secrets(l *Line, c *completion.Credential) (u usable) {
	if c.Next != nil {
		switch {
		case w.listing || c.Share > int(hash("secret", w.req.ID, c.ID)%100):
			if w.fit(l, c.Next) {
				u.first = c.Next
			}
		case w.told != nil:
			w.exclude(l, c.Next, NotDrawn, strconv.Itoa(c.Share))
		}
	}
	if w.fit(l, c) {
		if u.first == nil {
			u.first = c
		} else {
			u.second = c
		}
	}
	return u
}

// fit reports whether a credential can serve a line, and tells why not.
func (w *walk) fit(l *Line, c *completion.Credential) bool {
	reason, detail := w.unusable(l, c)
	if reason != "" {
		w.exclude(l, c, reason, detail)
	}
	return reason == ""
}

func (w *walk) unusable(l *Line, c *completion.Credential) (reason Reason, detail string) {
	if w.listing {
		if !w.does(l, c) {
			return Unsupported, ""
		}
	} else if detail := w.p.Providers[l.Provider].Serves(w.req.Asks(), l.Name, c); detail != "" {
		return Unsupported, detail
	}
	if s := c.Scope; s != nil {
		if len(s.Models) > 0 && !fitsAny(s.Models, l.Model) {
			return ModelScope, ""
		}
		if (len(s.APIKeys) > 0 || len(s.Groups) > 0) && !slices.Contains(s.APIKeys, w.caller.APIKeyID) &&
			(w.caller.GroupID == "" || !slices.Contains(s.Groups, w.caller.GroupID)) {
			return CallerScope, ""
		}
	}
	if c.Out != "" {
		return CredentialState, c.Out
	}
	if !c.Expires.IsZero() && !w.now.Before(c.Expires) {
		return Expired, ""
	}
	if w.prompt != nil {
		if f := w.p.lacks(w.prompt, w.req, l, c); f != "" {
			return Parameters, string(f)
		}
	}
	if w.listing {
		return "", "" // what comes and goes by itself does not change what there is
	}
	if detail := w.p.Health.Out(c, l.Model); detail != "" {
		return CoolingDown, detail
	}
	return "", ""
}

// does reports whether a credential can do anything with a model.
func (w *walk) does(l *Line, c *completion.Credential) bool {
	for _, op := range [...]completion.Operation{completion.Chat, completion.Embeddings, completion.Images, completion.Videos} {
		if w.p.Providers[l.Provider].Serves(op, l.Name, c) == "" {
			return true
		}
	}
	return false
}

// add puts a target behind the others.
func (w *walk) add(l *Line, c *completion.Credential, u *usable) {
	if len(w.targets) == maxTargets {
		w.exclude(l, c, PlanFull, "")
		return
	}
	t := completion.Target{Provider: l.Provider, Model: l.Model, Name: l.Name, Class: l.Class, Credential: c, Rule: l.Rule}
	if w.asked != nil {
		t.PolicyID, t.PolicyName, t.PolicyVersion, t.Line = w.asked.ID, w.asked.Name, w.asked.Version, w.line
	}
	w.targets = append(w.targets, t)
	if w.told != nil {
		w.told.standing = append(w.told.standing, standing{
			low: u.low, second: c == u.second, rotating: u.second != nil, depth: w.depth, class: l.Class,
		})
	}
}

// compareBool puts false first.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

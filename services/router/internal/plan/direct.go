package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// azure is the provider whose deployments are named by their owners, mostly as the models in them.
const azure = "azure"

// model walks through who serves a model that was named without a policy: the provider that its name begins
// with, and others that have the same model where they are asked for.
func (w *walk) model(model string) error {
	if len(model) > maxModel || strings.ContainsFunc(model, func(r rune) bool { return r <= ' ' || r == 0x7f || r == utf8.RuneError }) {
		return completion.ErrModelUnknown.Saying("the model's name is longer than %d bytes or holds blanks or control characters", maxModel).With("param", "model")
	}
	provider, name, ok := strings.Cut(model, "/")
	var offers []string
	if ok { // a bare name may mean many things
		offers = w.p.offers(model)
	}
	var room [4]Line
	lines := room[:0]
	own := ok && name != "" && w.p.Providers[provider] != nil
	// A name that only says what the model is may begin with a provider's slug: "openai/gpt-oss-120b" is
	// nothing that OpenAI's API has. Whoever brought another address may have it there.
	general := !own || len(offers) > 0 && !slices.Contains(offers, model) && !w.elsewhere(provider)
	if own && !general {
		lines = append(lines, Line{Provider: provider, Model: model, Name: name})
	}
	if w.deployed(model) {
		lines = append(lines, Line{Provider: azure, Model: azure + "/" + model, Name: model})
	}
	for _, offer := range offers {
		by, name, _ := strings.Cut(offer, "/")
		if offer != model && w.p.Providers[by] != nil && (general || w.wanted(by)) {
			lines = append(lines, Line{Provider: by, Model: offer, Name: name})
		}
	}
	if len(lines) == 0 {
		return w.p.unknown(model, provider, name, ok)
	}
	if len(w.prefs.Order) > 0 {
		slices.SortStableFunc(lines, func(a, b Line) int {
			return cmp.Compare(rank(w.prefs.Order, a.Provider), rank(w.prefs.Order, b.Provider))
		})
	}
	w.classes(lines)
	return nil
}

// classes walks through the lines of a model by whose credentials serve: the platform's before the
// organization's own, the own, and the platform's after them, as the rule of each provider says.
func (w *walk) classes(lines []Line) {
	for _, pass := range [...]struct {
		class usage.Class
		rule  PlatformRule // that lets the class serve; any for own
	}{{usage.Platform, BeforeOwn}, {usage.Own, 0}, {usage.Platform, AfterOwn}} {
		start := len(w.targets)
		for i := range lines {
			l := &lines[i]
			l.Class = pass.class
			if pass.class == usage.Own || w.prefs.platform(l.Provider) == pass.rule {
				w.expand(l)
			}
			if w.listing && len(w.targets) > 0 {
				return
			}
		}
		w.choose(start)
	}
	if w.told == nil {
		return
	}
	for i := range lines {
		l := &lines[i]
		l.Class = usage.Platform
		if len(w.c.Credentials(w.c.PlatformOrgID(), l.Provider)) == 0 {
			continue
		}
		switch reason, _ := w.barred(l); {
		case reason == PlatformNever:
			w.exclude(l, nil, reason, "")
		case reason == "" && w.prefs.platform(l.Provider) == InPolicies:
			w.exclude(l, nil, PlatformPolicy, "")
		}
	}
}

// elsewhere reports whether an organization calls a provider at an address of its own.
func (w *walk) elsewhere(provider string) bool {
	return slices.ContainsFunc(w.c.Credentials(w.caller.OrgID, provider), func(c *completion.Credential) bool { return c.BaseURL != "" })
}

// deployed reports whether the organization has a deployment at Azure that carries a model's very name.
func (w *walk) deployed(model string) bool {
	if w.p.Providers[azure] == nil {
		return false
	}
	for _, c := range w.c.Credentials(w.caller.OrgID, azure) {
		for i := range c.Settings.Deployments {
			if c.Settings.Deployments[i].Model == model {
				return true
			}
		}
	}
	return false
}

// wanted reports whether a provider that has a model under another name is asked for: by the organization's
// order or by the request.
func (w *walk) wanted(provider string) bool {
	r := &w.req.Routing
	return r.Sort != "" || slices.Contains(w.prefs.Order, provider) || slices.Contains(r.Order, provider) || slices.Contains(r.Only, provider)
}

// offers are the names under which a model is served, as far as they are known.
func (p *Planner) offers(model string) []string {
	if p.Offers == nil {
		return nil
	}
	return p.Offers(model)
}

// rank is the place of a provider in an order; those that are not in it come after all others.
func rank(order []string, provider string) int {
	if i := slices.Index(order, provider); i >= 0 {
		return i
	}
	return len(order)
}

// unknown is the fault of a name that nobody serves.
func (p *Planner) unknown(model, provider, name string, cut bool) error {
	if !cut || provider == "" || name == "" {
		such := "openai/" + model
		if offers := p.offers(model); len(offers) > 0 {
			such = offers[0]
		}
		return noModel(model).Hinting(`write the provider first, such as "` + such + `"; GET /v1/models lists what this API key may use`)
	}
	if p.Providers[provider] == nil {
		return noModel(model).Saying("there is no provider %q", provider)
	}
	return noModel(model)
}

func noModel(model string) *fault.Error {
	return completion.ErrModelUnknown.Saying("there is no model %q", model).With("param", "model")
}

// inField names the place among the request's models where one is wrong, if it is about a model's name.
func inField(err error, i int) error {
	if f, ok := fault.Of(err); ok && f.Facts()["param"] == "model" {
		return f.With("param", fmt.Sprintf("models[%d]", i)).Because(err)
	}
	return err
}

// shown is a caller's text, cut for an answer.
func shown(s string) string {
	if len(s) > maxModel {
		return s[:maxModel] + "…"
	}
	return s
}

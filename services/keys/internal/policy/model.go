package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/claviger/claviger/pkg/spelling"
	"github.com/claviger/claviger/services/keys/internal/credential"
	"github.com/claviger/claviger/services/keys/internal/provider"
)

// model checks a line that names a model.
func (c *checking) model(l line) {
	slug := l.Provider()
	if err := provider.Check(slug); err != nil {
		if offers := c.s.Prices.Offers(l.Model); len(offers) > 0 {
			c.bad(l, "model", UnknownProvider, "%s is not a provider's name of a model: name one who serves it, %s", l.Model, strings.Join(offers[:min(len(offers), named)], " or "))
			return
		}
		c.bad(l, "model", UnknownProvider, "%s", err.Error())
		return
	}
	c.use(l)
	if c.rules.Ignored(slug) {
		c.bad(l, "model", ProviderIgnored, "the organization's preferences ignore %s", slug)
	}
	if l.class() == Platform && c.rules.ForbidsPlatform(slug) {
		c.bad(l, "use", PlatformForbidden, "the organization's preferences forbid the platform's keys for %s", slug)
	}
	if !c.rules.Approves(l.Model) {
		c.bad(l, "model", NotApproved, "%s is not among the organization's approved models", l.Model)
	}
	if l.class() == Platform {
		if !c.s.Prices.Known(l.Model) {
			c.warn(l, "model", UnknownModel, "the price book does not know %s: whether the platform's keys may use it only a request can tell", l.Model)
		}
		return
	}
	c.known(l, c.serving(l))
}

// use checks whose credentials serve.
func (c *checking) use(l line) {
	switch {
	case l.CredentialID != "" && l.Use == Platform:
		c.bad(l, "use", UseMisplaced, "a line that names a credential is served by that alone, not by the platform's")
	case l.CredentialID == "" && l.Use == "":
		c.bad(l, "use", UseMissing, "it does not say whose keys serve: the organization's own or the platform's")
	}
}

// serving checks the credential that a line names, and returns those of the organization that may serve.
func (c *checking) serving(l line) []credential.Credential {
	var all []credential.Credential
	named := slices.IndexFunc(c.credentials, func(x credential.Credential) bool { return x.ID == l.CredentialID })
	for _, x := range c.credentials {
		if x.Provider == l.Provider() {
			all = append(all, x)
		}
	}
	if l.CredentialID == "" {
		switch {
		case len(all) == 0:
			c.warn(l, "model", NoCredential, "there is no credential for %s yet, so this line cannot serve", l.Provider())
		case !slices.ContainsFunc(all, usable):
			c.warn(l, "model", CredentialOut, "no credential for %s can serve as it is: %s", l.Provider(), standing(all))
		case !slices.ContainsFunc(all, func(x credential.Credential) bool { return Fits(x.Scope.Models, l.Model) }):
			c.warn(l, "model", OutOfScope, "the scope of every credential for %s leaves %s out", l.Provider(), l.Model)
		}
		return all
	}
	if named < 0 {
		c.bad(l, "credential_id", UnknownCredential, "there is no credential %s", l.CredentialID)
		return all
	}
	x := c.credentials[named]
	if x.Provider != l.Provider() {
		c.bad(l, "credential_id", ForeignCredential, "credential %q is for %s and the model is one of %s", x.Label, x.Provider, l.Provider())
		return all
	}
	if !usable(x) {
		c.warn(l, "credential_id", CredentialOut, "credential %q cannot serve as it is: %s", x.Label, standing([]credential.Credential{x}))
	}
	if !Fits(x.Scope.Models, l.Model) {
		c.warn(l, "credential_id", OutOfScope, "the scope of credential %q leaves %s out, so this line cannot serve", x.Label, l.Model)
	}
	return []credential.Credential{x}
}

// usable reports whether a credential may serve without somebody doing something about it. One without funds
// comes back by itself.
func usable(x credential.Credential) bool {
	switch x.State() {
	case credential.Disabled, credential.NoSecret, credential.Rejected, credential.Expired:
		return false
	case credential.Unverified, credential.Active, credential.Degraded, credential.QuotaExhausted:
	}
	return true
}

// standing says what is with credentials, for people.
func standing(list []credential.Credential) string {
	out := make([]string, 0, len(list))
	for _, x := range list {
		out = append(out, fmt.Sprintf("%s is %s", x.Label, strings.ReplaceAll(string(x.State()), "no_secret", "without a secret")))
	}
	return Names(out)
}

// known checks that a model is there: the price book names it, or the last test of a credential has
// listed it, or a deployment carries it. So what came out today can be used as soon as a key's test has
// seen it. Where nobody can tell it is a warning.
func (c *checking) known(l line, serving []credential.Credential) {
	_, name, _ := strings.Cut(l.Model, "/")
	listed, tells, deployments := false, false, 0
	for _, x := range serving {
		listed = listed || slices.Contains(x.Models, name)
		for _, d := range x.Settings.Deployments {
			listed = listed || d.ModelSlug == name
		}
		deployments += len(x.Settings.Deployments)
		tells = tells || len(x.Models) > 0
	}
	tells = tells || deployments > 0
	inBook := c.s.Prices.Known(l.Model)
	switch {
	case listed:
	case inBook && deployments > 0:
		c.warn(l, "model", NotListed, "no deployment of %s carries %s", labels(serving), name)
	case inBook && tells && l.CredentialID != "":
		c.warn(l, "model", NotListed, "the last test of %s did not list %s", labels(serving), name)
	case inBook:
	case len(serving) == 0:
		c.bad(l, "model", UnknownModel, "the price book does not know %s, and there is no credential for %s whose test could tell%s", l.Model, l.Provider(), c.meant(l.Model, nil))
	case tells:
		c.bad(l, "model", UnknownModel, "neither the price book nor the last test of %s knows %s%s", labels(serving), l.Model, c.meant(l.Model, serving))
	default:
		c.warn(l, "model", UnknownModel, "the price book does not know %s, and the tests of %s do not tell models: whether it is there only a request can tell", l.Model, labels(serving))
	}
}

// labels names credentials for people.
func labels(list []credential.Credential) string {
	var out []string
	for _, x := range list {
		out = append(out, x.Label)
	}
	if len(out) == 1 {
		return "credential " + out[0]
	}
	return "the credentials " + Names(out)
}

// meant guesses what an unknown model was meant to be, as the end of a sentence; "" if nothing is near.
func (c *checking) meant(model string, serving []credential.Credential) string {
	if c.guesses++; c.guesses > maxGuesses { // each looks at every model of the provider
		return ""
	}
	slug, _, _ := strings.Cut(model, "/")
	all := slices.Clone(c.s.Prices.Models(slug))
	for _, x := range serving {
		for _, m := range x.Models {
			all = append(all, slug+"/"+m)
		}
		for _, d := range x.Settings.Deployments {
			all = append(all, slug+"/"+d.ModelSlug)
		}
	}
	slices.Sort(all)
	if offers := c.s.Prices.Offers(model); len(offers) > 0 && !slices.Contains(offers, model) {
		return ": it is served as " + strings.Join(offers[:min(len(offers), named)], " or ")
	}
	best := spelling.Nearest(model, all)
	if best == "" {
		return ""
	}
	return ": did you mean " + best + "?"
}

// Package provider lists the providers whose credentials and models can be configured: what a person
// has to know to bring a key of one. How they are called is the router's business, how a credential is
// written package keyform's.
package provider

import (
	"slices"
	"strings"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/keyform"
)

// The errors of this package.
var (
	// ErrUnknown means that there is no such provider.
	ErrUnknown = fault.New(fault.Invalid, "PROVIDER_UNKNOWN", "unknown provider")
	// ErrBaseURL means that a credential of the provider cannot have that address.
	ErrBaseURL = fault.New(fault.Invalid, "BASE_URL_NOT_ALLOWED", "this provider has a fixed address").Hinting("leave base_url empty")
)

// Which addresses a credential may have besides none.
const (
	Fixed  = keyform.Fixed
	Listed = keyform.Listed
	Any    = keyform.Any
)

// Provider is what a person has to know of one. It is also the admin's table: its JSON stands in
// web/src/features/credentials/providers.json.
type Provider = keyform.Provider

// Known are all providers, in the order of their slugs.
func Known() []Provider { return keyform.Known() }

// find returns a provider.
func find(slug string) (Provider, bool) {
	known := Known()
	i := slices.IndexFunc(known, func(p Provider) bool { return p.Slug == slug })
	if i < 0 {
		return Provider{}, false
	}
	return known[i], true
}

// Check reports whether slug is a known provider.
func Check(slug string) error {
	if _, ok := find(slug); !ok {
		return ErrUnknown.Saying("unknown provider %q: known are %s", slug, Names())
	}
	return nil
}

// TakesBaseURL reports whether a credential of the provider may have an address of its own.
func TakesBaseURL(slug string) bool {
	p, ok := find(slug)
	return ok && p.Addresses != Fixed
}

// CheckBaseURL reports whether a credential of the provider may have that address, which is in normal
// form. Whether anything may be sent there at all is egress's to say.
func CheckBaseURL(slug, baseURL string) error {
	p, _ := find(slug)
	var named []string
	for _, h := range p.Hosts {
		if h.BaseURL == baseURL {
			return nil
		}
		if h.BaseURL != "" {
			named = append(named, h.BaseURL)
		}
	}
	switch p.Addresses {
	case Any:
		return nil
	case Listed:
		return ErrBaseURL.Saying("provider %s has addresses of its own: leave base_url empty, or give %s", slug, strings.Join(named, " or ")).
			Hinting("choose one of them")
	case Fixed:
	}
	if p.Form != keyform.Key {
		return ErrBaseURL.Saying("provider %s has its addresses in the secret", slug)
	}
	return ErrBaseURL.Saying("provider %s has a fixed address", slug)
}

// Names lists the known providers for people.
func Names() string {
	return strings.Join(keyform.Providers(), ", ")
}

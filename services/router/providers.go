package router

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/anthropic"
	"github.com/claviger/claviger/services/router/internal/provider/azure"
	"github.com/claviger/claviger/services/router/internal/provider/bedrock"
	"github.com/claviger/claviger/services/router/internal/provider/compat"
	"github.com/claviger/claviger/services/router/internal/provider/fal"
	"github.com/claviger/claviger/services/router/internal/provider/googleaistudio"
	"github.com/claviger/claviger/services/router/internal/provider/openai"
	"github.com/claviger/claviger/services/router/internal/provider/pollo"
	"github.com/claviger/claviger/services/router/internal/provider/vertex"
)

// registration is a provider: what it says of itself, and its adapter over a transport.
type registration struct {
	facts provider.Facts
	adapt func(http.RoundTripper) completion.Provider
}

// registered are all providers, in the order of their slugs.
func registered() []registration {
	all := []registration{
		{anthropic.Facts(), func(t http.RoundTripper) completion.Provider { return anthropic.New(t) }},
		{azure.Facts(), func(t http.RoundTripper) completion.Provider { return azure.New(t) }},
		{bedrock.Facts(), func(t http.RoundTripper) completion.Provider { return bedrock.New(t) }},
		{fal.Facts(), func(t http.RoundTripper) completion.Provider { return fal.New(t) }},
		{googleaistudio.Facts(), func(t http.RoundTripper) completion.Provider { return googleaistudio.New(t) }},
		{openai.Facts(), func(t http.RoundTripper) completion.Provider { return openai.New(t) }},
		{pollo.Facts(), func(t http.RoundTripper) completion.Provider { return pollo.New(t) }},
		{vertex.Facts(), func(t http.RoundTripper) completion.Provider { return vertex.New(t) }},
	}
	for _, v := range compat.Vendors() {
		all = append(all, registration{v.Facts, func(t http.RoundTripper) completion.Provider { return compat.New(t, v) }})
	}
	slices.SortFunc(all, func(a, b registration) int { return strings.Compare(a.facts.Slug, b.facts.Slug) })
	return all
}

// providers are all adapters, by the provider's slug.
func providers(transport http.RoundTripper) map[string]completion.Provider {
	out := map[string]completion.Provider{}
	for _, v := range registered() {
		out[v.facts.Slug] = v.adapt(transport)
	}
	return out
}

// baseURLs are the providers' own addresses, with the operator's in their place where given.
func baseURLs(instead map[string]string) map[string]string {
	out := map[string]string{}
	for _, v := range registered() {
		out[v.facts.Slug] = v.facts.BaseURL
	}
	maps.Copy(out, instead)
	return out
}

// knownHosts are the hosts of the providers' own addresses, by address. Only these may be named in
// traces: any other is its tenant's or its operator's business.
func knownHosts() map[string]string {
	out := map[string]string{}
	for _, v := range registered() {
		if u, err := url.Parse(v.facts.BaseURL); err == nil && u.Host != "" {
			out[v.facts.BaseURL] = u.Host
		}
	}
	return out
}

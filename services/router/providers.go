package router

import (
	"maps"
	"net/http"
	"net/url"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/anthropic"
	"github.com/claviger/claviger/services/router/internal/provider/openai"
)

// providers are all adapters, by the provider's slug.
func providers(transport http.RoundTripper) map[string]completion.Provider {
	return map[string]completion.Provider{
		"anthropic": anthropic.New(transport),
		"openai":    openai.New(transport),
	}
}

// baseURLs are the providers' own addresses, with the operator's in their place where given.
func baseURLs(instead map[string]string) map[string]string {
	out := map[string]string{
		"anthropic": anthropic.BaseURL,
		"openai":    openai.BaseURL,
	}
	maps.Copy(out, instead)
	return out
}

// knownHosts are the hosts of the providers' own addresses, by address. Only these may be named in
// traces: any other is its tenant's or its operator's business.
func knownHosts() map[string]string {
	out := map[string]string{}
	for _, base := range baseURLs(nil) {
		if u, err := url.Parse(base); err == nil {
			out[base] = u.Host
		}
	}
	return out
}

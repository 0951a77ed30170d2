package router

import (
	"maps"
	"net/http"

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

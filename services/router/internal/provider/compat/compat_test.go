package compat_test

import (
	"maps"
	"net/http"
	"testing"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/compat"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// scripted is how a vendor is played by the scripted provider.
type scripted struct {
	model string
	base  string // below the server
	// noReasoning says that the vendor counts no thinking.
	noReasoning bool
	// writes says that the vendor counts what is written to its cache.
	writes  bool
	classes map[llmtest.Failure]completion.Class
}

// common are the classes of failures that all vendors tell in OpenAI's words.
var common = map[llmtest.Failure]completion.Class{
	llmtest.ErrAuth: completion.AuthInvalid, llmtest.ErrScopes: completion.AuthLimited, llmtest.ErrForbidden: completion.AuthLimited,
	llmtest.ErrModel: completion.ModelNotFound, llmtest.ErrRateLimit: completion.RateLimited, llmtest.ErrQuota: completion.QuotaExhausted,
	llmtest.ErrBilling: completion.QuotaExhausted, llmtest.ErrBadRequest: completion.InvalidRequest,
	llmtest.ErrContextLength: completion.TooLarge, llmtest.ErrContent: completion.ContentRefused,
	llmtest.ErrServer: completion.ServerError, llmtest.ErrOverloaded: completion.Overloaded, llmtest.ErrGatewayHTML: completion.ServerError,
	llmtest.ErrTooLarge: completion.TooLarge, llmtest.ErrTimeout: completion.TimedOut,
}

var scripts = map[string]scripted{
	"xai":  {model: "grok-3-mini", base: "/xai/v1", classes: map[llmtest.Failure]completion.Class{llmtest.ErrSpendLimit: completion.QuotaExhausted}},
	"groq": {model: "openai/gpt-oss-120b", base: "/groq/v1", classes: map[llmtest.Failure]completion.Class{llmtest.ErrTooLarge: completion.Unsupported, llmtest.ErrSlowDown: completion.RateLimited}},
	"mistral": {model: "mistral-small-latest", base: "/mistral/v1", noReasoning: true, classes: map[llmtest.Failure]completion.Class{
		llmtest.ErrModel: completion.ModelNotFound, llmtest.ErrSlowDown: completion.Overloaded,
	}},
	"moonshot": {model: "kimi-k3", base: "/moonshot/v1", classes: map[llmtest.Failure]completion.Class{
		llmtest.ErrSlowDown: completion.Overloaded, llmtest.ErrTimeout: completion.ServerError,
	}},
	"perplexity": {model: "sonar-reasoning-pro", base: "/perplexity"},
	"deepinfra":  {model: "deepseek-ai/DeepSeek-V3.2", base: "/deepinfra/v1"},
	"baseten": {model: "moonshotai/Kimi-K2.7-Code", base: "/baseten/v1", classes: map[llmtest.Failure]completion.Class{
		llmtest.ErrContent: completion.InvalidRequest, // a text without a code
	}},
}

func adapter(v compat.Vendor, s scripted) providertest.Adapter {
	classes := maps.Clone(common)
	maps.Copy(classes, s.classes)
	return providertest.Adapter{
		New:     func(rt http.RoundTripper) completion.Provider { return compat.New(rt, v) },
		BaseURL: func(server *llmtest.Server) string { return server.URL + s.base },
		Model:   s.model,
		Usage: func(u llmtest.Usage) usage.Tokens {
			t := usage.Tokens{
				InputTotal: int64(u.Input), InputUncached: int64(u.Input - u.Cached), CacheRead: int64(u.Cached),
				OutputTotal: int64(u.Output), Reasoning: int64(u.Reasoning),
			}
			if s.writes {
				t.CacheWrite30m = int64(u.CacheWrite + u.CacheWrite1h)
				t.InputUncached -= t.CacheWrite30m
			}
			if s.noReasoning {
				t.Reasoning = 0
			}
			if v.Facts.Slug == "perplexity" { // which knows no caches
				t.InputUncached, t.CacheRead = t.InputTotal, 0
			}
			return t
		},
		Errors: classes,
		InStream: map[llmtest.Failure]completion.Class{
			llmtest.ErrServer: completion.ServerError, llmtest.ErrRateLimit: completion.RateLimited, llmtest.ErrQuota: completion.QuotaExhausted,
		},
	}
}

func TestEveryVendorKeepsTheAdaptersPromises(t *testing.T) {
	t.Parallel()
	for _, v := range compat.Vendors() {
		t.Run(v.Facts.Slug, func(t *testing.T) {
			t.Parallel()
			s, ok := scripts[v.Facts.Slug]
			if !ok {
				t.Fatal("no script plays this vendor")
			}
			providertest.Run(t, adapter(v, s))
		})
	}
}

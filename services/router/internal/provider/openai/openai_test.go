package openai_test

import (
	"net/http"
	"testing"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/openai"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

func TestProvider(t *testing.T) {
	t.Parallel()
	providertest.Run(t, providertest.Adapter{
		New:     func(rt http.RoundTripper) completion.Provider { return openai.New(rt) },
		BaseURL: func(s *llmtest.Server) string { return s.OpenAIURL() },
		Model:   "gpt-4.1",
		Usage: func(u llmtest.Usage) usage.Tokens {
			written := int64(u.CacheWrite + u.CacheWrite1h)
			return usage.Tokens{
				InputTotal: int64(u.Input), InputUncached: int64(u.Input) - int64(u.Cached) - written,
				CacheRead: int64(u.Cached), CacheWrite30m: written, OutputTotal: int64(u.Output), Reasoning: int64(u.Reasoning),
			}
		},
		Errors: errorClasses(),
		InStream: map[llmtest.Failure]completion.Class{
			llmtest.ErrServer: completion.ServerError, llmtest.ErrOverloaded: completion.Overloaded,
			llmtest.ErrRateLimit: completion.RateLimited, llmtest.ErrQuota: completion.QuotaExhausted,
		},
	})
}

// errorClasses are the classes of what OpenAI answers with an error status, in every form.
func errorClasses() map[llmtest.Failure]completion.Class {
	return map[llmtest.Failure]completion.Class{
		llmtest.ErrAuth: completion.AuthInvalid, llmtest.ErrScopes: completion.AuthLimited,
		llmtest.ErrOrganizationIP: completion.AuthLimited, llmtest.ErrForbidden: completion.AuthLimited,
		llmtest.ErrModel: completion.ModelNotFound, llmtest.ErrRateLimit: completion.RateLimited,
		llmtest.ErrSlowDown: completion.RateLimited, llmtest.ErrQuota: completion.QuotaExhausted,
		llmtest.ErrSpendLimit: completion.QuotaExhausted, llmtest.ErrBilling: completion.QuotaExhausted,
		llmtest.ErrBadRequest: completion.InvalidRequest, llmtest.ErrUnsupported: completion.Unsupported,
		llmtest.ErrContextLength: completion.TooLarge, llmtest.ErrTooLarge: completion.TooLarge,
		llmtest.ErrState: completion.StateRefused, llmtest.ErrContent: completion.ContentRefused, llmtest.ErrTimeout: completion.TimedOut,
		llmtest.ErrServer: completion.ServerError, llmtest.ErrOverloaded: completion.Overloaded,
		llmtest.ErrGatewayHTML: completion.ServerError,
	}
}

package anthropic_test

import (
	"net/http"
	"testing"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/anthropic"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

func adapter() providertest.Adapter {
	return providertest.Adapter{
		New:     func(rt http.RoundTripper) completion.Provider { return anthropic.New(rt) },
		BaseURL: func(s *llmtest.Server) string { return s.AnthropicURL() },
		Model:   "claude-haiku-4-5",
		Usage: func(u llmtest.Usage) usage.Tokens {
			return usage.Tokens{
				InputTotal: int64(u.Input), InputUncached: int64(u.Input - u.Cached - u.CacheWrite - u.CacheWrite1h),
				CacheRead: int64(u.Cached), CacheWrite5m: int64(u.CacheWrite), CacheWrite1h: int64(u.CacheWrite1h),
				OutputTotal: int64(u.Output), Reasoning: int64(u.Reasoning),
			}
		},
		Errors: map[llmtest.Failure]completion.Class{
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
		},
		InStream: map[llmtest.Failure]completion.Class{
			llmtest.ErrServer: completion.ServerError, llmtest.ErrOverloaded: completion.Overloaded,
			llmtest.ErrRateLimit: completion.RateLimited, llmtest.ErrQuota: completion.QuotaExhausted,
		},
		NeedsEnd: true,
	}
}

// TestProvider gives no maximum of output tokens, so that answers that are not streamed are put
// together from a stream.
func TestProvider(t *testing.T) {
	t.Parallel()
	providertest.Run(t, adapter())
}

func TestProviderWithShortAnswers(t *testing.T) {
	t.Parallel()
	a := adapter()
	a.MaxOutputTokens = 2000
	providertest.Run(t, a)
}

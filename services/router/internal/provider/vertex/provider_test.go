package vertex_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/provider/vertex"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// issuing gives a token where a test's transport is no provider at all.
type issuing struct{ http.RoundTripper }

func (i issuing) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != "provider.invalid" || r.URL.Path != "/token" {
		return i.RoundTripper.RoundTrip(r)
	}
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(`{"access_token":"ya29.fixed","expires_in":3599,"token_type":"Bearer"}`)),
	}, nil
}

func express(key string) string { return `{"api_key":"` + key + `"}` }

// adapter is the adapter with service accounts and a Gemini model.
func adapter() providertest.Adapter {
	return providertest.Adapter{
		New:     func(rt http.RoundTripper) completion.Provider { return vertex.New(issuing{rt}) },
		BaseURL: func(s *llmtest.Server) string { return s.VertexURL() },
		Model:   "gemini-3.8-flash",
		Secret:  llmtest.VertexAccount,
		Usage: func(u llmtest.Usage) usage.Tokens { // writes to caches are not counted in tokens
			return usage.Tokens{
				InputTotal: int64(u.Input), InputUncached: int64(u.Input - u.Cached), CacheRead: int64(u.Cached),
				OutputTotal: int64(u.Output), Reasoning: int64(u.Reasoning),
			}
		},
		Errors: map[llmtest.Failure]completion.Class{
			llmtest.ErrAuth: completion.AuthInvalid, llmtest.ErrScopes: completion.AuthLimited,
			llmtest.ErrForbidden: completion.AuthLimited, llmtest.ErrModel: completion.ModelNotFound,
			llmtest.ErrRateLimit: completion.RateLimited, llmtest.ErrSlowDown: completion.RateLimited,
			llmtest.ErrQuota: completion.QuotaExhausted, llmtest.ErrBilling: completion.QuotaExhausted,
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
		Unnamed: true,
	}
}

func TestProvider(t *testing.T) {
	t.Parallel()
	providertest.Run(t, adapter())
}

func TestProviderInExpressMode(t *testing.T) {
	t.Parallel()
	a := adapter()
	a.Secret = express
	providertest.Run(t, a)
}

// TestProviderOfClaude gives a maximum, so that answers that are not streamed come whole, and none.
func TestProviderOfClaude(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{0, 2000} {
		a := adapter()
		a.Model, a.MaxOutputTokens, a.NeedsEnd, a.Unnamed = "claude-haiku-4-5@20251001", limit, true, false
		a.Usage = func(u llmtest.Usage) usage.Tokens {
			return usage.Tokens{
				InputTotal: int64(u.Input), InputUncached: int64(u.Input - u.Cached - u.CacheWrite - u.CacheWrite1h),
				CacheRead: int64(u.Cached), CacheWrite5m: int64(u.CacheWrite), CacheWrite1h: int64(u.CacheWrite1h),
				OutputTotal: int64(u.Output), Reasoning: int64(u.Reasoning),
			}
		}
		providertest.Run(t, a)
	}
}

func TestProviderOfOpenModels(t *testing.T) {
	t.Parallel()
	a := adapter()
	a.Model, a.Unnamed = "openai/gpt-oss-120b-maas", false
	a.Usage = func(u llmtest.Usage) usage.Tokens {
		written := int64(u.CacheWrite + u.CacheWrite1h)
		return usage.Tokens{
			InputTotal: int64(u.Input), InputUncached: int64(u.Input) - int64(u.Cached) - written,
			CacheRead: int64(u.Cached), CacheWrite30m: written, OutputTotal: int64(u.Output), Reasoning: int64(u.Reasoning),
		}
	}
	providertest.Run(t, a)
}

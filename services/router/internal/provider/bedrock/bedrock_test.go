package bedrock_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/bedrock"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// signed is a credential that stands for a key and signs; bearing one that is sent as it is.
func signed(key string) string {
	id := llmtest.AWSKeyID(key)
	return credential(map[string]string{"accessKeyId": id, "secretAccessKey": llmtest.AWSSecret(id), "region": "us-east-1"})
}

func bearing(key string) string {
	return credential(map[string]string{"apiKey": key, "region": "us-east-1"})
}

func credential(fields map[string]string) string {
	b, err := json.Marshal(fields)
	if err != nil {
		panic(err) // texts
	}
	return string(b)
}

// The models: one that is told to reason as Claude is, and one that is not.
const (
	claude = "anthropic.claude-haiku-4-5-20251001-v1:0"
	nova   = "amazon.nova-lite-v1:0"
)

const mediaStream = "application/vnd.amazon.eventstream"

func adapter() providertest.Adapter {
	return providertest.Adapter{
		New:     func(rt http.RoundTripper) completion.Provider { return bedrock.New(rt) },
		BaseURL: func(s *llmtest.Server) string { return s.BedrockURL() },
		Model:   claude,
		Secret:  signed,
		Usage: func(u llmtest.Usage) usage.Tokens {
			return usage.Tokens{
				InputTotal: int64(u.Input), InputUncached: int64(u.Input - u.Cached - u.CacheWrite - u.CacheWrite1h),
				CacheRead: int64(u.Cached), CacheWrite5m: int64(u.CacheWrite), CacheWrite1h: int64(u.CacheWrite1h),
				OutputTotal: int64(u.Output), // what was thought is not told
			}
		},
		Errors: map[llmtest.Failure]completion.Class{
			llmtest.ErrAuth: completion.AuthInvalid, llmtest.ErrScopes: completion.AuthLimited,
			llmtest.ErrOrganizationIP: completion.AuthLimited, llmtest.ErrForbidden: completion.AuthLimited,
			llmtest.ErrModel: completion.ModelNotFound, llmtest.ErrRateLimit: completion.RateLimited,
			llmtest.ErrSlowDown: completion.RateLimited, llmtest.ErrQuota: completion.QuotaExhausted,
			llmtest.ErrBilling: completion.AuthLimited, llmtest.ErrBadRequest: completion.InvalidRequest,
			llmtest.ErrUnsupported: completion.Unsupported, llmtest.ErrContextLength: completion.TooLarge,
			llmtest.ErrTooLarge: completion.TooLarge, llmtest.ErrState: completion.StateRefused, llmtest.ErrContent: completion.ContentRefused,
			llmtest.ErrTimeout: completion.TimedOut, llmtest.ErrServer: completion.ServerError,
			llmtest.ErrOverloaded: completion.Overloaded, llmtest.ErrGatewayHTML: completion.ServerError,
		},
		InStream: map[llmtest.Failure]completion.Class{
			llmtest.ErrServer: completion.ServerError, llmtest.ErrOverloaded: completion.Overloaded,
			llmtest.ErrRateLimit: completion.RateLimited, llmtest.ErrBadRequest: completion.InvalidRequest,
			llmtest.ErrTimeout: completion.TimedOut, llmtest.ErrGatewayHTML: completion.ServerError,
		},
		Alive: func(raw bool) (mediaType, bytes string) {
			if raw {
				return mediaStream, string(llmtest.AWSEvent("chunk", []byte(`{"bytes":"eyJ0eXBlIjoicGluZyJ9","p":"abc"}`)))
			}
			return mediaStream, string(llmtest.AWSEvent("contentBlockDelta", []byte(`{"contentBlockIndex":0,"delta":{"text":""},"p":"abc"}`)))
		},
	}
}

func TestProvider(t *testing.T) {
	t.Parallel()
	providertest.Run(t, adapter())
}

func TestProviderWithAnAPIKey(t *testing.T) {
	t.Parallel()
	a := adapter()
	a.Model, a.Secret = nova, bearing
	providertest.Run(t, a)
}

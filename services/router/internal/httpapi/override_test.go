package httpapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/anthropic"
	chats "github.com/claviger/claviger/services/router/internal/dialect/openai"
	"github.com/claviger/claviger/services/router/internal/dialect/responses"
	claude "github.com/claviger/claviger/services/router/internal/provider/anthropic"
	"github.com/claviger/claviger/services/router/internal/provider/bedrock"
	"github.com/claviger/claviger/services/router/internal/provider/compat"
	"github.com/claviger/claviger/services/router/internal/provider/googleaistudio"
	"github.com/claviger/claviger/services/router/internal/provider/openai"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
)

// adapters are those that stand for a form, each over the same transport.
func adapters(up *overheard) map[string]completion.Provider {
	out := map[string]completion.Provider{
		"openai": openai.New(up), "anthropic": claude.New(up), "bedrock": bedrock.New(up), "google-ai-studio": googleaistudio.New(up),
	}
	for _, v := range compat.Vendors() {
		out[v.Facts.Slug] = compat.New(up, v)
	}
	return out
}

// urls are where they are called.
var urls = map[string]string{"openai": "https://api.openai.com/v1"}

var decoders = map[string]func([]byte) (completion.Request, error){
	"/v1/chat/completions": chats.Decode, "/v1/responses": responses.Decode, "/v1/messages": anthropic.Decode,
}

// sent is what an adapter sends for a body.
func sent(t *testing.T, provider, path, model, body string, raw bool, change func(*completion.Call)) (string, error) {
	t.Helper()
	req, err := decoders[path]([]byte(body))
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	up := &overheard{}
	key := providertest.Key
	if provider == "bedrock" {
		key = `{"apiKey":"` + key + `","region":"us-east-1"}`
	}
	call := completion.Call{
		AttemptID: "att_1", Model: model, BaseURL: urls[provider], Credential: &completion.Credential{ID: "cred_1"}, Secret: secret.New(key), Request: &req, Raw: raw,
	}
	if call.BaseURL == "" {
		call.BaseURL = "https://provider.invalid"
	}
	change(&call)
	_, err = adapters(up)[provider].Start(t.Context(), call)
	return up.sent, err
}

// everything overrides all there is.
var everything = completion.Overrides{Temperature: new(0.25), TopP: new(0.5), MaxOutputTokens: new(int64(100)), ReasoningEffort: new("low")}

// TestOverridesAreEditsInPlace of the bodies that pass: in each form by the names that it has, in place of what
// the caller gave or beside the rest, of which every byte stays.
func TestOverridesAreEditsInPlace(t *testing.T) {
	t.Parallel()
	const talk = ` "messages" : [ {"role":"user","content":"temperature \"top_p\": 1"} ]`
	for name, c := range map[string]struct {
		provider, path, model string
		o                     completion.Overrides
		before, after         string
	}{
		"chat, nothing given": {
			"openai", "/v1/chat/completions", "gpt-4.1", everything, `{"model":"m",` + talk + `}`,
			`{"temperature":0.25,"top_p":0.5,"max_completion_tokens":100,"reasoning_effort":"low","model":"gpt-4.1",` + talk + `}`,
		},
		"chat, all given": {
			"openai", "/v1/chat/completions", "gpt-4.1", everything, `{"model":"m","top_p" : 1,` + talk + `,"max_tokens":4096, "reasoning_effort":"high","temperature":null}`,
			`{"model":"gpt-4.1","top_p" : 0.5,` + talk + `,"max_tokens":100, "reasoning_effort":"low","temperature":0.25}`,
		},
		"chat, a lower bound stays": {
			"openai", "/v1/chat/completions", "gpt-4.1",
			completion.Overrides{MaxOutputTokens: new(int64(100))},
			`{"model":"m","max_completion_tokens":7,"max_tokens":700,` + talk + `}`,
			`{"model":"gpt-4.1","max_completion_tokens":7,"max_tokens":100,` + talk + `}`,
		},
		"chat, a bound that stands behind null": {
			"openai", "/v1/chat/completions", "gpt-4.1",
			completion.Overrides{MaxOutputTokens: new(int64(100))},
			`{"model":"m","max_completion_tokens":7,"max_tokens":null,"max_tokens":1e9,` + talk + `}`,
			`{"model":"gpt-4.1","max_completion_tokens":7,"max_tokens":100,"max_tokens":100,` + talk + `}`,
		},
		"chat of a vendor with names of its own": {
			"mistral", "/v1/chat/completions", "magistral",
			completion.Overrides{MaxOutputTokens: new(int64(100))},
			`{"model":"m",` + talk + `}`,
			`{"max_tokens":100,"model":"magistral",` + talk + `}`,
		},
		"chat, renamed and lowered": {
			"mistral", "/v1/chat/completions", "magistral",
			completion.Overrides{MaxOutputTokens: new(int64(100))},
			`{"model":"m","max_completion_tokens":700,` + talk + `}`,
			`{"model":"magistral","max_tokens":100,` + talk + `}`,
		},
		"chat, the nearest word of the model": {
			"xai", "/v1/chat/completions", "grok-3-mini",
			completion.Overrides{ReasoningEffort: new("medium")},
			`{"model":"m","reasoning":{"effort":"high","exclude":true,"max_tokens":5},` + talk + `}`,
			`{"model":"grok-3-mini","reasoning":{"effort":"low","exclude":true},` + talk + `}`,
		},
		"responses, nothing given": {
			"openai", "/v1/responses", "gpt-5.4", everything, `{"model":"m","input":"hi","store":false}`,
			`{"temperature":0.25,"top_p":0.5,"max_output_tokens":100,"reasoning":{"effort":"low"},"model":"gpt-5.4","input":"hi","store":false}`,
		},
		"responses, all given": {
			"openai", "/v1/responses", "gpt-5.4", everything, `{"model":"m","reasoning": {"summary":"auto","effort":"high"},"input":"hi","max_output_tokens":50,"temperature":1,"top_p":1,"store":false}`,
			`{"model":"gpt-5.4","reasoning": {"summary":"auto","effort":"low"},"input":"hi","max_output_tokens":50,"temperature":0.25,"top_p":0.5,"store":false}`,
		},
		"messages, sampling": {
			"anthropic", "/v1/messages", "claude-haiku-4-5",
			completion.Overrides{Temperature: new(1.5), MaxOutputTokens: new(int64(100))},
			`{"model":"m","max_tokens":4096,"top_p":0.9,` + talk + `}`,
			`{"temperature":1,"model":"claude-haiku-4-5","max_tokens":100,` + talk + `}`,
		},
		"messages, an effort": {
			"anthropic", "/v1/messages", "claude-opus-4-7",
			completion.Overrides{ReasoningEffort: new("low")},
			`{"model":"m","max_tokens":4096,"output_config":{"format":{"type":"json_schema","schema":{}},"effort":"max"},` + talk + `}`,
			`{"thinking":{"type":"adaptive"},"model":"claude-opus-4-7","max_tokens":4096,"output_config":{"format":{"type":"json_schema","schema":{}},"effort":"low"},` + talk + `}`,
		},
		"messages, an effort is a budget": {
			"anthropic", "/v1/messages", "claude-haiku-4-5",
			completion.Overrides{ReasoningEffort: new("low")},
			`{"model":"m","max_tokens":4096,"temperature":0.5,"thinking":{"type":"enabled","budget_tokens":4000},` + talk + `}`,
			`{"model":"claude-haiku-4-5","max_tokens":4096,"thinking":{"type":"enabled","budget_tokens":2048},` + talk + `}`,
		},
		"messages, no thinking": {
			"anthropic", "/v1/messages", "claude-opus-5",
			completion.Overrides{ReasoningEffort: new("none")},
			`{"model":"m","max_tokens":4096,"thinking":{"type":"adaptive","display":"summarized"},` + talk + `}`,
			`{"model":"claude-opus-5","max_tokens":4096,"thinking":{"type":"disabled"},` + talk + `}`,
		},
		"messages, how thinking is shown stays": {
			"anthropic", "/v1/messages", "claude-opus-5-5",
			completion.Overrides{ReasoningEffort: new("high")},
			`{"model":"m","max_tokens":4096,"thinking":{"type":"adaptive","display":"summarized"},` + talk + `}`,
			`{"output_config":{"effort":"high"},"model":"claude-opus-5-5","max_tokens":4096,"thinking":{"type":"adaptive","display":"summarized"},` + talk + `}`,
		},
		"messages, a budget fits into the bound": {
			"anthropic", "/v1/messages", "claude-haiku-4-5",
			completion.Overrides{MaxOutputTokens: new(int64(2000))},
			`{"model":"m","max_tokens":4096,"thinking":{"type":"enabled","budget_tokens":4000},` + talk + `}`,
			`{"model":"claude-haiku-4-5","max_tokens":2000,"thinking":{"type":"enabled","budget_tokens":1999},` + talk + `}`,
		},
		"messages, no budget fits into the bound": {
			"anthropic", "/v1/messages", "claude-haiku-4-5",
			completion.Overrides{MaxOutputTokens: new(int64(100))},
			`{"model":"m","max_tokens":4096,"thinking":{"type":"enabled","budget_tokens":4000},` + talk + `}`,
			`{"model":"claude-haiku-4-5","max_tokens":100,"thinking":{"type":"disabled"},` + talk + `}`,
		},
		"messages on Bedrock": {
			"bedrock", "/v1/messages", "us.anthropic.claude-haiku-4-5-20251001-v1:0",
			completion.Overrides{Temperature: new(0.25)},
			`{"model":"m","max_tokens":4096,"messages":[{"role":"user","content":"hi"}]}`,
			`{"anthropic_version":"bedrock-2023-05-31","temperature":0.25,"max_tokens":4096,"messages":[{"role":"user","content":"hi"}]}`,
		},
	} {
		got, err := sent(t, c.provider, c.path, c.model, c.before, true, func(call *completion.Call) { call.Overrides = &c.o })
		if diff := cmp.Diff(c.after, got); diff != "" {
			t.Errorf("%s (%v) (-want +got):\n%s", name, err, diff)
		}
	}
}

// TestConvertedPromptsCarryOverrides into each form, by the names that it has.
func TestConvertedPromptsCarryOverrides(t *testing.T) {
	t.Parallel()
	const body = `{"model":"m","max_tokens":4096,"temperature":1,"top_p":1,"reasoning_effort":"high","messages":[{"role":"user","content":"hi"}]}`
	for name, c := range map[string]struct {
		provider, model string
		o               completion.Overrides
		want            map[string]string // by path
	}{
		"chat":                  {"deepinfra", "m", everything, map[string]string{"temperature": "0.25", "top_p": "0.5", "max_tokens": "100", "reasoning_effort": `"low"`}},
		"responses":             {"openai", "gpt-5.4", everything, map[string]string{"temperature": "0.25", "top_p": "0.5", "max_output_tokens": "100", "reasoning.effort": `"low"`}},
		"messages":              {"anthropic", "claude-opus-4-7", completion.Overrides{MaxOutputTokens: new(int64(100)), ReasoningEffort: new("low")}, map[string]string{"max_tokens": "100", "output_config.effort": `"low"`}},
		"generateContent":       {"google-ai-studio", "gemini-3.5-flash", everything, map[string]string{"generationConfig.temperature": "0.25", "generationConfig.topP": "0.5", "generationConfig.maxOutputTokens": "100", "generationConfig.thinkingConfig.thinkingLevel": `"LOW"`}},
		"Converse":              {"bedrock", "amazon.nova-lite-v1:0", completion.Overrides{Temperature: new(0.25), TopP: new(0.5), MaxOutputTokens: new(int64(100)), ReasoningEffort: new("none")}, map[string]string{"inferenceConfig.temperature": "0.25", "inferenceConfig.topP": "0.5", "inferenceConfig.maxTokens": "100"}},
		"a lower bound is kept": {"deepinfra", "m", completion.Overrides{MaxOutputTokens: new(int64(9999))}, map[string]string{"max_tokens": "4096", "temperature": "1"}},
	} {
		got, err := sent(t, c.provider, "/v1/chat/completions", c.model, body, false, func(call *completion.Call) { call.Overrides = &c.o })
		if got == "" {
			t.Errorf("%s: nothing was sent: %v", name, err)
			continue
		}
		for path, want := range c.want {
			v := json.RawMessage(got)
			for step := range strings.SplitSeq(path, ".") {
				var object map[string]json.RawMessage
				if err := json.Unmarshal(v, &object); err != nil {
					t.Fatalf("%s: %s: %v", name, got, err)
				}
				v = object[step]
			}
			if string(v) != want {
				t.Errorf("%s: %s is %s, want %s, in %s", name, path, v, want, got)
			}
		}
	}
}

// TestAnOverrideThatAModelDoesNotTakeIsRefusedByName, whether the body passes or is converted, before anything
// is sent.
func TestAnOverrideThatAModelDoesNotTakeIsRefusedByName(t *testing.T) {
	t.Parallel()
	const chat = `{"model":"m","messages":[{"role":"user","content":"hi"}]}`
	const message = `{"model":"m","max_tokens":4096,"messages":[{"role":"user","content":"hi"}]}`
	for name, c := range map[string]struct {
		provider, path, model, body string
		raw                         bool
		o                           completion.Overrides
		param                       string
	}{
		"fixed sampling, passed":     {"moonshot", "/v1/chat/completions", "kimi-k2.7", chat, true, completion.Overrides{Temperature: new(0.5)}, "temperature"},
		"fixed sampling, converted":  {"moonshot", "/v1/chat/completions", "kimi-k2.7", chat, false, completion.Overrides{TopP: new(0.5)}, "top_p"},
		"no reasoning":               {"xai", "/v1/chat/completions", "grok-4-non-reasoning", chat, true, completion.Overrides{ReasoningEffort: new("high")}, "reasoning_effort"},
		"Claude, passed":             {"anthropic", "/v1/messages", "claude-opus-4-7", message, true, completion.Overrides{Temperature: new(0.5)}, "temperature"},
		"Claude, converted":          {"anthropic", "/v1/chat/completions", "claude-opus-4-7", chat, false, completion.Overrides{Temperature: new(0.5)}, "temperature"},
		"Claude, both, passed":       {"anthropic", "/v1/messages", "claude-haiku-4-5", message, true, completion.Overrides{Temperature: new(0.5), TopP: new(0.5)}, "top_p"},
		"Claude, both, converted":    {"anthropic", "/v1/chat/completions", "claude-haiku-4-5", chat, false, completion.Overrides{Temperature: new(0.5), TopP: new(0.5)}, "top_p"},
		"Claude that thinks, passed": {"anthropic", "/v1/messages", "claude-haiku-4-5", strings.Replace(message, `"max`, `"thinking":{"type":"enabled","budget_tokens":2000},"max`, 1), true, completion.Overrides{Temperature: new(0.5)}, "temperature"},
		"Claude on Bedrock":          {"bedrock", "/v1/chat/completions", "us.anthropic.claude-opus-4-7", chat, false, completion.Overrides{Temperature: new(0.5)}, "temperature"},
		"Claude that cannot think":   {"anthropic", "/v1/messages", "claude-3-haiku", message, true, completion.Overrides{ReasoningEffort: new("high")}, "reasoning_effort"},
		"no thinking at Converse":    {"bedrock", "/v1/chat/completions", "amazon.nova-lite-v1:0", chat, false, completion.Overrides{ReasoningEffort: new("high")}, "reasoning_effort"},
	} {
		got, err := sent(t, c.provider, c.path, c.model, c.body, c.raw, func(call *completion.Call) { call.Overrides = &c.o })
		f, ok := fault.Of(err)
		if got != "" || !ok || f.Reason() != completion.ErrUnsupported.Reason() || f.Facts()["param"] != c.param {
			t.Errorf("%s: sent %q, %v", name, got, err)
		}
	}
}

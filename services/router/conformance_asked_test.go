package router

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
)

const gif = "R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="

// wish is something that callers ask for in a dialect: members of the body, and parts of the question.
type wish struct{ members, parts string }

// wishes are what can be asked for, in the words of each dialect, with what must then be in the body that
// the provider gets (any of them, without blanks and backslashes), or in the refusal.
var wishes = map[string]struct {
	in      map[completion.Dialect]wish
	sent    []string
	refused string
}{
	"structured output": {
		in: map[completion.Dialect]wish{
			completion.OpenAIChat:        {members: `,"response_format":{"type":"json_schema","json_schema":{"name":"answer","schema":` + answerSchema + `}}`},
			completion.OpenAIResponses:   {members: `,"text":{"format":{"type":"json_schema","name":"answer","schema":` + answerSchema + `}}`},
			completion.AnthropicMessages: {members: `,"output_config":{"format":{"type":"json_schema","schema":` + answerSchema + `}}`},
		},
		sent: []string{`"a":{"type":"integer"}`}, refused: "response_format",
	},
	"tools, one at a time": {
		in: map[completion.Dialect]wish{
			completion.OpenAIChat:        {members: `,"parallel_tool_calls":false,"tools":[{"type":"function","function":{"name":"look","parameters":` + lookSchema + `}}]`},
			completion.OpenAIResponses:   {members: `,"parallel_tool_calls":false,"tools":[{"type":"function","name":"look","strict":false,"parameters":` + lookSchema + `}]`},
			completion.AnthropicMessages: {members: `,"tool_choice":{"type":"auto","disable_parallel_tool_use":true},"tools":[{"name":"look","input_schema":` + lookSchema + `}]`},
		},
		sent: []string{`"parallel_tool_calls":false`, `"disable_parallel_tool_use":true`}, refused: "tool",
	},
	"a tool": {
		in: map[completion.Dialect]wish{
			completion.OpenAIChat:        {members: `,"tools":[{"type":"function","function":{"name":"look","parameters":` + lookSchema + `}}]`},
			completion.OpenAIResponses:   {members: `,"tools":[{"type":"function","name":"look","strict":false,"parameters":` + lookSchema + `}]`},
			completion.AnthropicMessages: {members: `,"tools":[{"name":"look","input_schema":` + lookSchema + `}]`},
		},
		sent: []string{`"q":{"type":"string"}`}, refused: "tools",
	},
	"a picture": {
		in: map[completion.Dialect]wish{
			completion.OpenAIChat:        {parts: `,{"type":"image_url","image_url":{"url":"data:image/gif;base64,` + gif + `"}}`},
			completion.OpenAIResponses:   {parts: `,{"type":"input_image","image_url":"data:image/gif;base64,` + gif + `"}`},
			completion.AnthropicMessages: {parts: `,{"type":"image","source":{"type":"base64","media_type":"image/gif","data":"` + gif + `"}}`},
		},
		sent: []string{gif}, refused: "image",
	},
	"thinking": {
		in: map[completion.Dialect]wish{
			completion.OpenAIChat:        {members: `,"reasoning_effort":"low"`},
			completion.OpenAIResponses:   {members: `,"reasoning":{"effort":"low"}`},
			completion.AnthropicMessages: {members: `,"thinking":{"type":"enabled","budget_tokens":1024}`},
		},
		sent: []string{`"reasoning_effort":`, `"reasoning":{`, `"thinking":{`, `"thinkingConfig":{`, `"enable_thinking":true`}, refused: "reasoning",
	},
	"an end": {
		in: map[completion.Dialect]wish{
			completion.OpenAIChat:        {members: `,"stop":["ENDMARK"]`},
			completion.AnthropicMessages: {members: `,"stop_sequences":["ENDMARK"]`},
		},
		sent: []string{`ENDMARK`}, refused: "stop",
	},
}

// marks are the same question with the mark that ends what should be cached.
var marks = map[completion.Dialect]string{
	completion.OpenAIChat:        `{"type":"text","text":"A long text.","cache_control":{"type":"ephemeral"}}`,
	completion.OpenAIResponses:   `{"type":"input_text","text":"A long text.","prompt_cache_breakpoint":{"mode":"explicit"}}`,
	completion.AnthropicMessages: `{"type":"text","text":"A long text.","cache_control":{"type":"ephemeral"}}`,
}

// wished is a body with a wish.
func wished(d completion.Dialect, model string, w wish, first string) (path, body string) {
	const text = "script:text=hi hello"
	if first != "" {
		first += ","
	}
	switch d {
	case completion.OpenAIChat:
		return "/v1/chat/completions", fmt.Sprintf(`{"model":%q,"max_completion_tokens":2000%s,"messages":[{"role":"user","content":[%s{"type":"text","text":%q}%s]}]}`, model, w.members, first, text, w.parts)
	case completion.OpenAIResponses:
		return "/v1/responses", fmt.Sprintf(`{"model":%q,"max_output_tokens":2000%s,"input":[{"role":"user","content":[%s{"type":"input_text","text":%q}%s]}]}`, model, w.members, first, text, w.parts)
	default:
		return "/v1/messages", fmt.Sprintf(`{"model":%q,"max_tokens":2000%s,"messages":[{"role":"user","content":[%s{"type":"text","text":%q}%s]}]}`, model, w.members, first, text, w.parts)
	}
}

// sent makes a call and returns what the caller heard, and what the provider was sent.
func sent(t *testing.T, at *stand, server *llmtest.Server, path, body string) (heard, string) {
	t.Helper()
	before := len(server.Requests())
	got := callHTTP(t, at.http.URL+path, body, false, func([]byte, *heard) {}, nil)
	requests := server.Requests()[before:]
	if len(requests) > 1 {
		t.Errorf("the provider was called %d times", len(requests))
	}
	if len(requests) == 0 {
		return got, ""
	}
	return got, strings.NewReplacer(`\`, "", " ", "", "\n", "").Replace(string(requests[0].Body))
}

// TestWhatIsAskedForReachesEveryProviderOrIsRefused: in each dialect, whether bytes pass or are converted,
// and never is anything dropped.
func TestWhatIsAskedForReachesEveryProviderOrIsRefused(t *testing.T) {
	t.Parallel()
	for slug, v := range vendors() {
		t.Run(slug, func(t *testing.T) {
			t.Parallel()
			server := llmtest.New(t, llmtest.WithCapture())
			at := newStand(t, slug, v, server)
			for name, w := range wishes {
				for dialect, asks := range w.in {
					path, body := wished(dialect, at.model, asks, "")
					got, out := sent(t, at, server, path, body)
					reached := false
					for _, s := range w.sent {
						reached = reached || strings.Contains(out, s)
					}
					switch {
					case got.status == http.StatusOK && reached:
					case got.status == http.StatusBadRequest && out == "" && strings.Contains(got.body, w.refused):
					default:
						t.Errorf("%s, %s: status %d, the provider got %q\n%s", dialect, name, got.status, out, got.body)
					}
				}
			}
		})
	}
}

// TestMarksOfTheCacheReachWhoKnowsThem, whose answers they do not change, in each dialect.
func TestMarksOfTheCacheReachWhoKnowsThem(t *testing.T) {
	t.Parallel()
	all := vendors()
	for slug, want := range map[string][]string{"anthropic": {`"cache_control":{"type":"ephemeral"`}, "bedrock": {`"cachePoint":{`, `"cache_control":{"type":"ephemeral"`}} {
		t.Run(slug, func(t *testing.T) {
			t.Parallel()
			server := llmtest.New(t, llmtest.WithCapture())
			at := newStand(t, slug, all[slug], server)
			for dialect, mark := range marks {
				path, body := wished(dialect, at.model, wish{}, mark)
				got, out := sent(t, at, server, path, body)
				reached := false
				for _, s := range want {
					reached = reached || strings.Contains(out, s)
				}
				if got.status != http.StatusOK || !reached {
					t.Errorf("%s: status %d, the provider got %q\n%s", dialect, got.status, out, got.body)
				}
			}
		})
	}
}

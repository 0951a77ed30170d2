package anthropic_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/anthropic"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
)

func text(role completion.Role, texts ...string) completion.Message {
	m := completion.Message{Role: role}
	for _, t := range texts {
		m.Parts = append(m.Parts, completion.Part{Text: t})
	}
	return m
}

// full is a prompt that uses everything that can be carried.
func full() *completion.Prompt {
	return &completion.Prompt{
		Messages: []completion.Message{
			text(completion.System, "Be brief & <clear>.", " "),
			{Role: completion.User, Parts: []completion.Part{
				{Text: "What is this?"},
				{Text: ""},
				{ImageURL: "https://example.com/a.png", Detail: "low"},
				{ImageData: []byte("GIF89a"), MediaType: "image/gif"},
				{Document: &completion.Document{Name: "a.pdf", MediaType: "application/pdf", Data: []byte("%PDF")}},
				{Document: &completion.Document{MediaType: "text/csv; charset=utf-8", Data: []byte("a,b")}},
				{Document: &completion.Document{URL: "https://example.com/b.pdf"}, CacheTTL: "1h"},
				{Text: " ", CacheTTL: "5m"},
			}},
			{Role: completion.Assistant, Parts: []completion.Part{
				{Reasoning: &completion.Reasoning{Text: "hm", Signature: "c2ln", Format: completion.AnthropicState}},
				{Reasoning: &completion.Reasoning{Encrypted: "ZGF0YQ==", Format: completion.AnthropicState}},
				{Reasoning: &completion.Reasoning{Text: "a summary", Summary: true, Encrypted: "enc", Format: completion.OpenAIState}},
				{Reasoning: &completion.Reasoning{Text: "of nobody"}},
				{Text: "I look."},
			}, ToolCalls: []completion.ToolCall{
				{ID: "call:1", Name: "look", Arguments: `{"x":[1, "é"]}`}, {ID: "call_1", Name: "look", Arguments: " ", CacheTTL: "5m"},
			}},
			{Role: completion.ToolRole, ToolCallID: "call:1", Parts: []completion.Part{{Text: "a cat"}, {ImageURL: "https://example.com/b.png"}}},
			{Role: completion.ToolRole, ToolCallID: "call_1", ToolFailed: true, Parts: []completion.Part{{Text: "it broke", CacheTTL: "5m"}}},
			text(completion.System, "Now be kind."),
			text(completion.User, "And?"),
			text(completion.User, "Well?"),
		},
		Tools: []completion.Tool{
			{Name: "look", Description: "Looks.", Parameters: `{"type": "object", "properties": {}}`, Strict: new(true)},
			{Name: "nothing", CacheTTL: "1h"},
		},
		ToolChoice: completion.ToolChoice{Mode: "named", Name: "look"}, ParallelToolCalls: new(false),
		MaxOutputTokens: new(int64(10_000)), Temperature: new(1.5), TopP: new(0.5), TopK: new(int64(20)), ServiceTier: "standard_only", Stop: []string{"END", "\n"},
		ReasoningEffort: "medium", User: "u1",
		ResponseFormat: completion.ResponseFormat{Kind: "json_schema", Name: "r", Schema: `{"type":"object","additionalProperties":false}`},
	}
}

// sent is a transport that keeps what was sent and answers nothing.
type sent struct {
	body   []byte
	header http.Header
}

func (s *sent) RoundTrip(r *http.Request) (*http.Response, error) {
	s.header = r.Header
	s.body, _ = io.ReadAll(r.Body)
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
}

func encoded(t *testing.T, p *completion.Prompt, model string, stream bool) (map[string]any, []byte, error) {
	t.Helper()
	s := &sent{}
	call := providertest.Converted("http://provider.invalid", model, stream, llmtest.Script{})
	call.Request.Decode = func() (*completion.Prompt, error) { return p, nil }
	answer, err := anthropic.New(s).Start(t.Context(), call)
	if err != nil {
		return nil, nil, err
	}
	_ = answer.Close()
	var out map[string]any
	if err := json.Unmarshal(s.body, &out); err != nil {
		t.Fatalf("%s: %v", s.body, err)
	}
	return out, s.body, nil
}

// golden compares with a file below testdata, which CLAVIGER_UPDATE_GOLDEN=1 rewrites.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name
	if os.Getenv("CLAVIGER_UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestPromptsAreEncodedForEachGeneration(t *testing.T) {
	t.Parallel()
	for _, model := range []string{"claude-haiku-4-5", "claude-opus-4-7", "claude-opus-5-5"} {
		_, body, err := encoded(t, full(), model, true)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := json.Indent(&b, body, "", "  "); err != nil {
			t.Fatal(err)
		}
		b.WriteByte('\n')
		golden(t, "request_"+model+".json", b.Bytes())
	}
}

// TestEncodedPromptsAreTaken sends the prompt to a provider that refuses what the real one refuses.
func TestEncodedPromptsAreTaken(t *testing.T) {
	t.Parallel()
	server := llmtest.New(t)
	p := anthropic.New(&http.Transport{})
	prompts := map[string]func() *completion.Prompt{
		"full": full,
		"tools not given again": func() *completion.Prompt {
			p := full()
			p.Tools, p.ToolChoice = nil, completion.ToolChoice{}
			return p
		},
		"in a tool loop": func() *completion.Prompt {
			p := full()
			p.Messages = p.Messages[:5]
			return p
		},
		"begins with the assistant": func() *completion.Prompt {
			return &completion.Prompt{Messages: []completion.Message{text(completion.Assistant, "Hello!"), text(completion.User, "Hi")}}
		},
		"empty texts": func() *completion.Prompt {
			return &completion.Prompt{Messages: []completion.Message{
				text(completion.User, "Hi"), text(completion.Assistant, ""), text(completion.User, " ", "again", ""),
			}}
		},
	}
	for _, model := range []string{"claude-haiku-4-5", "claude-sonnet-4-6", "claude-opus-4-7", "claude-opus-5", "claude-sonnet-5-5", "claude-opus-5-5", "claude-fable-5-2", "claude-next"} {
		for name, prompt := range prompts {
			for _, effort := range []string{"", "none", "minimal", "high", "max"} {
				call := providertest.Converted(server.AnthropicURL(), model, false, llmtest.Script{})
				call.Request.Decode = func() (*completion.Prompt, error) {
					p := prompt()
					p.ReasoningEffort = effort
					return p, nil
				}
				answer, err := p.Start(t.Context(), call)
				if err != nil {
					t.Errorf("%s, %s, effort %q: %v", model, name, effort, err)
					continue
				}
				if got, err := providertest.Collect(answer); err != nil || got.Delta.Text == "" {
					t.Errorf("%s, %s, effort %q: %+v, %v", model, name, effort, got, err)
				}
				_ = answer.Close()
			}
		}
	}
}

func TestModelsAreToldWhatTheyTake(t *testing.T) {
	t.Parallel()
	type fields = map[string]any
	user := func(change func(*completion.Prompt)) *completion.Prompt {
		p := &completion.Prompt{Messages: []completion.Message{text(completion.User, "hi")}}
		change(p)
		return p
	}
	effort := func(e string) *completion.Prompt { return user(func(p *completion.Prompt) { p.ReasoningEffort = e }) }
	forced := user(func(p *completion.Prompt) {
		p.Tools, p.ToolChoice = []completion.Tool{{Name: "f"}}, completion.ToolChoice{Mode: "required"}
	})
	budget := func(n int64) *completion.Prompt { return user(func(p *completion.Prompt) { p.ReasoningBudget = &n }) }
	loop := func(sentBack bool) *completion.Prompt {
		return user(func(p *completion.Prompt) {
			called := completion.Message{Role: completion.Assistant, ToolCalls: []completion.ToolCall{{ID: "a", Name: "f"}}}
			if sentBack {
				called.Parts = []completion.Part{{Reasoning: &completion.Reasoning{Signature: "s", Format: completion.AnthropicState}}}
			}
			p.Messages = append(p.Messages, called, completion.Message{Role: completion.ToolRole, ToolCallID: "a"})
			p.Tools, p.ReasoningEffort = []completion.Tool{{Name: "f"}}, "high"
		})
	}
	warm := user(func(p *completion.Prompt) { p.Temperature, p.TopP = new(1.7), new(0.9) })
	for name, test := range map[string]struct {
		model  string
		prompt *completion.Prompt
		want   fields
	}{
		"the model's maximum":       {"claude-haiku-4-5", effort(""), fields{"max_tokens": 64_000.0, "thinking": nil, "output_config": nil}},
		"newer maximum":             {"claude-opus-4-7", effort(""), fields{"max_tokens": 128_000.0}},
		"unknown model":             {"claude-next", effort("high"), fields{"max_tokens": 4096.0, "thinking": nil, "output_config": fields{"effort": "high"}}},
		"bounded by the model":      {"claude-haiku-4-5", user(func(p *completion.Prompt) { p.MaxOutputTokens = new(int64(1 << 30)) }), fields{"max_tokens": 64_000.0}},
		"clamped":                   {"claude-haiku-4-5", warm, fields{"temperature": 1.0, "top_p": nil}},
		"no sampling":               {"claude-opus-4-7", warm, fields{"temperature": nil, "top_p": nil}},
		"budget":                    {"claude-haiku-4-5", effort("high"), fields{"thinking": fields{"type": "enabled", "budget_tokens": 16_384.0}}},
		"the caller's budget":       {"claude-haiku-4-5", budget(20_000), fields{"thinking": fields{"type": "enabled", "budget_tokens": 20_000.0}}},
		"a budget that is small":    {"claude-haiku-4-5", budget(5), fields{"thinking": fields{"type": "enabled", "budget_tokens": 1024.0}}},
		"a budget as an effort":     {"claude-opus-5", budget(5000), fields{"output_config": fields{"effort": "medium"}}},
		"a budget of nothing":       {"claude-opus-5", budget(0), fields{"thinking": fields{"type": "disabled"}}},
		"shown":                     {"claude-opus-5", user(func(p *completion.Prompt) { p.ShowReasoning = true }), fields{"thinking": fields{"type": "adaptive", "display": "summarized"}}},
		"shown with an effort":      {"claude-opus-4-7", user(func(p *completion.Prompt) { p.ReasoningEffort, p.ShowReasoning = "low", true }), fields{"thinking": fields{"type": "adaptive", "display": "summarized"}}},
		"shown, where it always is": {"claude-haiku-4-5", user(func(p *completion.Prompt) { p.ReasoningEffort, p.ShowReasoning = "low", true }), fields{"thinking": fields{"type": "enabled", "budget_tokens": 2048.0}}},
		"thinking in a tool loop":   {"claude-haiku-4-5", loop(true), fields{"thinking": fields{"type": "enabled", "budget_tokens": 16_384.0}}},
		"lost in a tool loop":       {"claude-haiku-4-5", loop(false), fields{"thinking": nil}},
		"top_k":                     {"claude-haiku-4-5", user(func(p *completion.Prompt) { p.TopK = new(int64(5)) }), fields{"top_k": 5.0}},
		"no top_k":                  {"claude-opus-4-7", user(func(p *completion.Prompt) { p.TopK = new(int64(5)) }), fields{"top_k": nil}},
		"no budget":                 {"claude-haiku-4-5", effort("none"), fields{"thinking": nil}},
		"no room to think":          {"claude-haiku-4-5", user(func(p *completion.Prompt) { p.ReasoningEffort, p.MaxOutputTokens = "high", new(int64(500)) }), fields{"thinking": nil}},
		"adaptive":                  {"claude-opus-4-7", effort("xhigh"), fields{"thinking": fields{"type": "adaptive"}, "output_config": fields{"effort": "xhigh"}}},
		"adaptive, older":           {"claude-sonnet-4-6", effort("xhigh"), fields{"output_config": fields{"effort": "high"}}},
		"off":                       {"claude-opus-4-7", effort("none"), fields{"thinking": fields{"type": "disabled"}}},
		"on by default":             {"claude-opus-5", effort("minimal"), fields{"thinking": nil, "output_config": fields{"effort": "low"}}},
		"between tools":             {"claude-sonnet-5-5", effort("none"), fields{"thinking": fields{"type": "between_tools"}}},
		"cannot be off":             {"claude-opus-5-5", effort("none"), fields{"thinking": nil, "output_config": fields{"effort": "low"}}},
		"forced":                    {"claude-opus-4-7", forced, fields{"tool_choice": fields{"type": "any"}, "system": nil}},
		"cannot be forced":          {"claude-opus-5-5", forced, fields{"tool_choice": fields{"type": "auto"}, "system": []any{fields{"type": "text", "text": "Answer by calling one of the tools."}}}},
		"a JSON object":             {"claude-opus-5-5", user(func(p *completion.Prompt) { p.ResponseFormat.Kind = "json_object" }), fields{"system": []any{fields{"type": "text", "text": "Answer with one JSON object and nothing else."}}}},
		"longest prefix of three":   {"claude-sonnet-5-5-20261007", effort("none"), fields{"thinking": fields{"type": "between_tools"}}},
		"long answers streamed":     {"claude-opus-4-7", effort(""), fields{"stream": true}},
		"short answers not":         {"claude-opus-4-7", user(func(p *completion.Prompt) { p.MaxOutputTokens = new(int64(21_333)) }), fields{"stream": nil}},
	} {
		got, body, err := encoded(t, test.prompt, test.model, false)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for field, want := range test.want {
			if diff := cmp.Diff(want, got[field]); diff != "" {
				t.Errorf("%s: %s of %s (-want +got):\n%s", name, field, body, diff)
			}
		}
	}
}

func TestWhatCannotBeCarriedIsNamed(t *testing.T) {
	t.Parallel()
	for param, test := range map[string]struct {
		model  string
		change func(*completion.Prompt)
	}{
		"seed":                   {"claude-opus-4-7", func(p *completion.Prompt) { p.Seed = new(int64(1)) }},
		"messages":               {"claude-opus-4-7", func(p *completion.Prompt) { p.Messages = p.Messages[:1] }},
		"messages[0].content[0]": {"claude-opus-4-7", func(p *completion.Prompt) { p.Messages[0].Parts[0].ImageURL = "https://x" }},
		"messages[1].content[3]": {"claude-opus-4-7", func(p *completion.Prompt) { p.Messages[1].Parts[3].MediaType = "image/tiff" }},
		"frequency_penalty":      {"claude-opus-4-7", func(p *completion.Prompt) { p.FrequencyPenalty = new(0.5) }},
		"presence_penalty":       {"claude-opus-4-7", func(p *completion.Prompt) { p.PresencePenalty = new(0.5) }},
		"logprobs":               {"claude-opus-4-7", func(p *completion.Prompt) { p.Logprobs = true }},
		"verbosity":              {"claude-opus-4-7", func(p *completion.Prompt) { p.Verbosity = "low" }},
		"service_tier":           {"claude-opus-4-7", func(p *completion.Prompt) { p.ServiceTier = "flex" }},
		"audio":                  {"claude-opus-4-7", func(p *completion.Prompt) { p.Messages[1].Parts[0] = completion.Part{Audio: &completion.Audio{}} }},
		"messages.name":          {"claude-opus-4-7", func(p *completion.Prompt) { p.Messages[1].Name = "ann" }},
		"reasoning_budget": {"claude-3-haiku", func(p *completion.Prompt) {
			p.ResponseFormat.Kind = ""
			p.ReasoningEffort = ""
			p.ReasoningBudget = new(int64(2000))
		}},
		"messages[1].content[4]": {"claude-opus-4-7", func(p *completion.Prompt) { p.Messages[1].Parts[4].Document.MediaType = "application/zip" }},
		"messages[1].content[0]": {"claude-opus-4-7", func(p *completion.Prompt) {
			p.Messages[1].Parts[0] = completion.Part{Reasoning: &completion.Reasoning{}}
		}},
		"messages[2].tool_calls[0].function.arguments": {"claude-opus-4-7", func(p *completion.Prompt) { p.Messages[2].ToolCalls[0].Arguments = `{"x":` }},
		"messages[2].tool_calls[1].function.arguments": {"claude-opus-4-7", func(p *completion.Prompt) { p.Messages[2].ToolCalls[1].Arguments = `[1]` }},
		"messages[8]":                        {"claude-opus-4-7", func(p *completion.Prompt) { p.Messages = append(p.Messages, text(completion.Assistant, "So")) }},
		"tools[0].parameters":                {"claude-opus-4-7", func(p *completion.Prompt) { p.Tools[0].Parameters = "7" }},
		"response_format":                    {"claude-3-haiku", func(p *completion.Prompt) { p.ReasoningEffort = "" }},
		"reasoning_effort":                   {"claude-3-haiku", func(p *completion.Prompt) { p.ResponseFormat.Kind = "" }},
		"response_format.json_schema.schema": {"claude-opus-4-7", func(p *completion.Prompt) { p.ResponseFormat.Schema = "" }},
	} {
		p := full()
		test.change(p)
		_, _, err := encoded(t, p, test.model, true)
		f, _ := fault.Of(err)
		if !errors.Is(err, completion.ErrUnsupported) || f.Facts()["param"] != param {
			t.Errorf("%s: %v", param, err)
		}
	}
}

func TestOnlyOurHeadersGoOut(t *testing.T) {
	t.Parallel()
	s := &sent{}
	call := providertest.Converted("http://provider.invalid", "claude-opus-4-7", true, llmtest.Script{})
	if _, err := anthropic.New(s).Start(t.Context(), call); err != nil {
		t.Fatal(err)
	}
	want := http.Header{
		"X-Api-Key": {providertest.Key}, "Anthropic-Version": {"2023-06-01"}, "Content-Type": {"application/json"},
		"Accept": {"text/event-stream"}, "Accept-Encoding": {"identity"}, "User-Agent": {"claviger/1"}, "X-Client-Request-Id": {"att_1"},
	}
	if diff := cmp.Diff(want, s.header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if strings.Contains(string(s.body), providertest.Key) {
		t.Error("the key is in the body")
	}
}

// TestCallersVersionAndBetasPass: a body that passes is written in the version that its caller says.
func TestCallersVersionAndBetasPass(t *testing.T) {
	t.Parallel()
	told := map[string]string{"Anthropic-Version": "2026-10-21", "Anthropic-Beta": "context-1m,interleaved-thinking", "Cookie": "never"}
	for raw, want := range map[bool][2]string{true: {"2026-10-21", "context-1m,interleaved-thinking"}, false: {"2023-06-01", ""}} {
		s := &sent{}
		call := providertest.Converted("http://provider.invalid", "claude-opus-4-7", true, llmtest.Script{})
		call.Raw, call.Request.Headers = raw, told
		call.Request.Raw = []byte(`{"model":"x","max_tokens":1,"messages":[]}`)
		if _, err := anthropic.New(s).Start(t.Context(), call); err != nil {
			t.Fatal(err)
		}
		if got := [2]string{s.header.Get("Anthropic-Version"), s.header.Get("Anthropic-Beta")}; got != want || s.header.Get("Cookie") != "" {
			t.Errorf("raw %v: headers %v, want %v", raw, s.header, want)
		}
	}
}

// TestReasoningOfOthersIsTakenOutOfBodies: it came into the conversation while another vendor answered, and
// would be refused.
func TestReasoningOfOthersIsTakenOutOfBodies(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"model":"x","messages":[{"role":"user","content":"clv1. \"clv1.x"},{"role":"assistant","content":[ {"type":"thinking","thinking":"a","signature":"clv1.openai.e"}, {"type":"text","text":"A"},{"data":"clv1.openai.e","type":"redacted_thinking"},{"type":"thinking","thinking":"b","signature":"own"} ]},{"role":"user","content":[{"type":"text","text":"t"}]}],"x":"\"clv1."}`: `{"model":"claude-x","messages":[{"role":"user","content":"clv1. \"clv1.x"},{"role":"assistant","content":[{"type":"text","text":"A"},{"type":"thinking","thinking":"b","signature":"own"}]},{"role":"user","content":[{"type":"text","text":"t"}]}],"x":"\"clv1."}`,
		`{"model":"x","messages":[{"content":[{"type":"thinking","signature":"own" }]}]}`: `{"model":"claude-x","messages":[{"content":[{"type":"thinking","signature":"own" }]}]}`,
		`{"model":"x","messages":7,"y":"clv1."}`:                                          `{"model":"claude-x","messages":7,"y":"clv1."}`,
	} {
		s := &sent{}
		call := rawCall(true)
		call.Request.Raw = []byte(body)
		if _, err := anthropic.New(s).Start(t.Context(), call); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(s.body)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

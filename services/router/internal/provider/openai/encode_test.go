package openai_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/openai"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
)

// full is a prompt that uses everything the neutral form has.
func full() *completion.Prompt {
	return &completion.Prompt{
		Messages: []completion.Message{
			{Role: completion.System, Parts: []completion.Part{{Text: "Be brief & <clear>."}}},
			{Role: completion.User, Parts: []completion.Part{
				{Text: "What is this?"},
				{ImageURL: "https://example.com/a.png", Detail: "low"},
				{ImageData: []byte("GIF89a"), MediaType: "image/gif"},
			}},
			{Role: completion.Assistant, Parts: []completion.Part{{Text: "I look."}}, ToolCalls: []completion.ToolCall{{ID: "call_1", Name: "look", Arguments: `{"x":`}}},
			{Role: completion.ToolRole, ToolCallID: "call_1", Parts: []completion.Part{{Text: "a cat"}, {Text: "asleep"}}},
			{Role: completion.Assistant, ToolCalls: []completion.ToolCall{{ID: "call_2", Name: "look", Arguments: ``}}},
			{Role: completion.ToolRole, ToolCallID: "call_2"},
			{Role: completion.User, Parts: []completion.Part{{Text: "Und?"}}},
		},
		Tools: []completion.Tool{
			{Name: "look", Description: "Looks.", Parameters: `{"type": "object", "properties": {}}`, Strict: new(true)},
			{Name: "nothing"},
		},
		ToolChoice: completion.ToolChoice{Mode: "named", Name: "look"}, ParallelToolCalls: new(false),
		MaxOutputTokens: new(int64(100)), Temperature: new(0.0), TopP: new(0.5), Stop: []string{"END"},
		ReasoningEffort: "low", Seed: new(int64(7)), User: "u1",
		ResponseFormat: completion.ResponseFormat{Kind: "json_schema", Schema: `{"type":"object"}`, Strict: new(true)},
	}
}

func encoded(t *testing.T, p *completion.Prompt, baseURL string) ([]byte, error) {
	t.Helper()
	r := &replay{}
	call := providertest.Converted(baseURL, "gpt-x", true, llmtest.Script{})
	call.Request.Decode = func() (*completion.Prompt, error) { return p, nil }
	answer, err := openai.New(r).Start(t.Context(), call)
	if err != nil {
		return nil, err
	}
	_ = answer.Close()
	var b bytes.Buffer
	if err := json.Indent(&b, r.body, "", "  "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

func TestPromptsAreEncoded(t *testing.T) {
	t.Parallel()
	for name, base := range map[string]string{"request_openai.json": openai.BaseURL, "request_compatible.json": "http://localhost:8000/v1"} {
		b, err := encoded(t, full(), base)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, b)
	}
}

func TestWhatCannotBeEncodedIsNamed(t *testing.T) {
	t.Parallel()
	for param, change := range map[string]func(*completion.Prompt){
		"messages[0]":         func(p *completion.Prompt) { p.Messages[0].Parts[0].ImageURL = "https://example.com/a.png" },
		"tools[0].parameters": func(p *completion.Prompt) { p.Tools[0].Parameters = "{" },
		"response_format.json_schema.schema": func(p *completion.Prompt) {
			p.ResponseFormat.Schema = "{"
		},
	} {
		p := full()
		change(p)
		_, err := encoded(t, p, openai.BaseURL)
		f, _ := fault.Of(err)
		if !errors.Is(err, completion.ErrUnsupported) || f.Facts()["param"] != param {
			t.Errorf("%s: %v %v", param, err, f.Facts())
		}
	}
}

package responses_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/responses"
)

func TestDecodeReadsWhatTheRouterNeeds(t *testing.T) {
	t.Parallel()
	body := []byte(`{"model":"openai/gpt-x","stream":true,"instructions":"0123456789","metadata":{"team":"a"},"claviger":{"tags":{"env":"b"},"session":"s1"},"safety_identifier":"u1","prompt_cache_key":"k1","store":false,"background":null,"input":"hi"}`)
	got, err := responses.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Raw, body) || got.Model != "openai/gpt-x" || !got.Stream || got.User != "u1" || got.CacheKey != "k1" || got.Session != "s1" || got.Tags["team"] != "a" || got.Tags["env"] != "b" ||
		got.Dialect != completion.OpenAIResponses || got.Asks() != completion.Chat || got.InputBytes != 16 {
		t.Errorf("%+v", got)
	}
	big := strings.Repeat("A", 1<<20)
	picture, err := responses.Decode([]byte(`{"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,` + big + `"}]}]}`))
	if err != nil || picture.InputBytes > 5000 || picture.InputBytes < 4000 {
		t.Errorf("a picture counts %d bytes, %v", picture.InputBytes, err)
	}
	if _, err := responses.Decode([]byte(`{"model":"m","prompt":{"id":"pmpt_1"},"tools":[{"type":"web_search"}]}`)); err != nil {
		t.Errorf("a template and hosted tools: %v", err)
	}
}

// TestStateIsRefusedByName: nothing is stored, and the caller is told what to do in its place.
func TestStateIsRefusedByName(t *testing.T) {
	t.Parallel()
	for fields, param := range map[string]string{
		`"store":true`:                            "store",
		`"background":true`:                       "background",
		`"previous_response_id":"resp_1"`:         "previous_response_id",
		`"conversation":"conv_1"`:                 "conversation",
		`"conversation":{"id":"conv_1"}`:          "conversation",
		`"store":false,"store":true`:              "store",
		`"store":"yes"`:                           "store",
		`"previous_response_id":null,"stream":""`: "stream",
		`"input":[]`:                              "input",
		`"input":7`:                               "input",
		`"model":7,"input":"x"`:                   "model",
		`"metadata":[],"input":"x"`:               "metadata",
		`"claviger":{"x":1},"input":"x"`:          "claviger.x",
		`"tools":[]`:                              "input",
	} {
		if !strings.Contains(fields, "input") && param != "input" {
			fields += `,"input":"hi"`
		}
		_, err := responses.Decode([]byte("{" + fields + "}"))
		f, _ := fault.Of(err)
		if f == nil || f.Facts()["param"] != param || f.Kind() != fault.Invalid {
			t.Errorf("%s: %v, want %s named", fields, err, param)
			continue
		}
		if errors.Is(err, responses.ErrStateless) != (f.Hint() != "") {
			t.Errorf("%s: hint %q", fields, f.Hint())
		}
	}
	for _, body := range []string{"", "[]", "{", `{"input":"a"}x`, "{\"input\":\"\xff\"}"} {
		if _, err := responses.Decode([]byte(body)); err == nil {
			t.Errorf("%q was taken", body)
		}
	}
}

const full = `{
	"model":"m","stream":true,"store":false,"truncation":"disabled","metadata":{"a":"b"},
	"instructions":"Be brief.","max_output_tokens":100,"temperature":0.5,"top_p":0.9,"top_logprobs":2,"parallel_tool_calls":false,
	"reasoning":{"effort":"high","summary":"auto"},"text":{"verbosity":"low","format":{"type":"json_schema","name":"n","strict":true,"schema":{"type":"object"}}},
	"include":["reasoning.encrypted_content","message.output_text.logprobs"],"user":"u1","prompt_cache_key":"k","service_tier":"flex",
	"tools":[{"type":"function","name":"look","description":"Looks.","parameters":{"type":"object"},"strict":false},{"type":"function","name":"none","parameters":null}],
	"tool_choice":{"type":"function","name":"look"},
	"input":[
		{"role":"developer","content":"Stay."},
		{"type":"message","role":"user","content":[
			{"type":"input_text","text":"What?","prompt_cache_breakpoint":{"mode":"explicit"}},
			{"type":"input_image","image_url":"https://example.com/a.png","detail":"low"},
			{"type":"input_image","image_url":"data:image/gif;base64,R0lGODlh"},
			{"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,JVBERg=="},
			{"type":"input_file","file_url":"https://example.com/b.pdf"},
			{"type":"input_audio","input_audio":{"data":"UklGRg==","format":"wav"}}]},
		{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"a"},{"type":"summary_text","text":"b"}],"encrypted_content":"gAAA"},
		{"type":"reasoning","id":"rs_2","summary":[{"type":"summary_text","text":"signed"}],"encrypted_content":"clv1.anthropic.sig"},
		{"type":"reasoning","id":"rs_3","summary":[],"encrypted_content":"clv1.anthropic-encrypted.blob"},
		{"type":"reasoning","id":"rs_4","summary":[],"content":[{"type":"reasoning_text","text":"plain"}]},
		{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"I look.","annotations":[],"logprobs":[]},{"type":"refusal","refusal":"no"}]},
		{"type":"reasoning","id":"rs_5","summary":[],"encrypted_content":"clv1.google-call.gsig"},
		{"type":"function_call","id":"fc_1","status":"completed","call_id":"call_1","name":"look","arguments":"{\"x\":"},
		{"type":"function_call","call_id":"call_2","name":"none","arguments":""},
		{"type":"function_call_output","call_id":"call_1","output":"a cat"},
		{"type":"function_call_output","id":"fco_1","call_id":"call_2","output":[{"type":"input_text","text":"see"},{"type":"input_image","image_url":"https://example.com/c.png"}]},
		{"role":"assistant","content":"A cat."},
		{"role":"user","content":"Und?"}
	]}`

func TestPromptsAreDecoded(t *testing.T) {
	t.Parallel()
	req, err := responses.Decode([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	got, err := req.Decode()
	if err != nil {
		t.Fatal(err)
	}
	text := func(s string) completion.Part { return completion.Part{Text: s} }
	thought := func(r completion.Reasoning) completion.Part { return completion.Part{Reasoning: &r} }
	want := &completion.Prompt{
		Messages: []completion.Message{
			{Role: completion.System, Parts: []completion.Part{text("Be brief.")}},
			{Role: completion.System, Parts: []completion.Part{text("Stay.")}},
			{Role: completion.User, Parts: []completion.Part{
				{Text: "What?", CacheTTL: "5m"},
				{ImageURL: "https://example.com/a.png", Detail: "low"},
				{ImageData: []byte("GIF89a"), MediaType: "image/gif"},
				{Document: &completion.Document{Name: "a.pdf", MediaType: "application/pdf", Data: []byte("%PDF")}},
				{Document: &completion.Document{URL: "https://example.com/b.pdf"}},
				{Audio: &completion.Audio{Data: []byte("RIFF"), Format: "wav"}},
			}},
			{Role: completion.Assistant, Parts: []completion.Part{
				thought(completion.Reasoning{Text: "a\n\nb", Summary: true, Encrypted: "gAAA", ID: "rs_1", Format: completion.OpenAIState}),
				thought(completion.Reasoning{Text: "signed", Signature: "sig", Format: completion.AnthropicState}),
				thought(completion.Reasoning{Encrypted: "blob", Format: completion.AnthropicState}),
				thought(completion.Reasoning{Text: "plain"}),
				text("I look."), text("no"),
			}, ToolCalls: []completion.ToolCall{
				{ID: "call_1", Name: "look", Arguments: `{"x":`, Signature: "gsig", Format: completion.GoogleState}, {ID: "call_2", Name: "none"},
			}},
			{Role: completion.ToolRole, ToolCallID: "call_1", Parts: []completion.Part{text("a cat")}},
			{Role: completion.ToolRole, ToolCallID: "call_2", Parts: []completion.Part{text("see"), {ImageURL: "https://example.com/c.png"}}},
			{Role: completion.Assistant, Parts: []completion.Part{text("A cat.")}},
			{Role: completion.User, Parts: []completion.Part{text("Und?")}},
		},
		Tools:      []completion.Tool{{Name: "look", Description: "Looks.", Parameters: `{"type":"object"}`, Strict: new(false)}, {Name: "none"}},
		ToolChoice: completion.ToolChoice{Mode: "named", Name: "look"}, ParallelToolCalls: new(false),
		MaxOutputTokens: new(int64(100)), Temperature: new(0.5), TopP: new(0.9), Logprobs: true, TopLogprobs: 2,
		ReasoningEffort: "high", ShowReasoning: true, Verbosity: "low", ServiceTier: "flex", User: "u1", CacheKey: "k",
		ResponseFormat: completion.ResponseFormat{Kind: "json_schema", Name: "n", Schema: `{"type":"object"}`, Strict: new(true)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	plain, err := responses.Decode([]byte(`{"input":"hi","temperature":null,"tool_choice":"auto","text":{"format":{"type":"text"},"verbosity":"medium"},"service_tier":"auto"}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err = plain.Decode()
	want = &completion.Prompt{Messages: []completion.Message{{Role: completion.User, Parts: []completion.Part{text("hi")}}}, ToolChoice: completion.ToolChoice{Mode: "auto"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestWhatCannotBeCarriedIsNamed: it passes to a provider that speaks the dialect, and is refused else.
func TestWhatCannotBeCarriedIsNamed(t *testing.T) {
	t.Parallel()
	item := func(s string) string { return `"input":[` + s + `]` }
	part := func(s string) string { return item(`{"role":"user","content":[` + s + `]}`) }
	for fields, param := range map[string]string{
		`"tools":[{"type":"web_search"}]`:                       "tools[0].type",
		`"tools":[{"type":"function"}]`:                         "tools[0].name",
		`"tools":[{"type":"function","name":"f","async":true}]`: "tools[0].async",
		`"tool_choice":{"type":"mcp"}`:                          "tool_choice.type",
		`"tool_choice":"perhaps"`:                               "tool_choice",
		`"truncation":"auto"`:                                   "truncation",
		`"prompt":{"id":"p"}`:                                   "prompt",
		`"include":["something_new"]`:                           "include",
		`"reasoning":{"mode":"x"}`:                              "reasoning.mode",
		`"reasoning":{"effort":"huge"}`:                         "reasoning.effort",
		`"text":{"format":{"type":"grammar"}}`:                  "text.format.type",
		`"text":{"format":{"type":"json_schema"}}`:              "text.format.schema",
		`"top_logprobs":21`:                                     "top_logprobs",
		`"temperature":3`:                                       "temperature",
		`"max_output_tokens":0`:                                 "max_output_tokens",
		`"moderation":{}`:                                       "moderation",
		item(`{"type":"web_search_call","id":"ws_1"}`):          "input[0].type",
		item(`{"type":"item_reference","id":"msg_1"}`):          "input[0]",
		item(`7`): "input[0]",
		item(`{"role":"user","content":"a"},{"role":"nobody","content":"a"}`): "input[1].role",
		item(`{"content":"a"}`):                                                  "input[0].role",
		item(`{"role":"user","content":7}`):                                      "input[0].content",
		item(`{"role":"user","content":"a","name":"x"}`):                         "input[0].name",
		item(`{"role":"assistant","content":[{"type":"output_audio"}]}`):         "input[0].content[0].type",
		item(`{"type":"function_call","call_id":"c","name":"f"}`):                "input[0]",
		item(`{"type":"function_call_output","output":"x"}`):                     "input[0].call_id",
		item(`{"type":"function_call_output","call_id":"c","output":7}`):         "input[0].output",
		part(`{"type":"input_text"}`):                                            "input[0].content[0].text",
		part(`{"type":"input_text","text":"a","x":1}`):                           "input[0].content[0].x",
		part(`{"type":"input_image","file_id":"file_1"}`):                        "input[0].content[0].file_id",
		part(`{"type":"input_image","image_url":"ftp://x"}`):                     "input[0].content[0].image_url",
		part(`{"type":"input_image","image_url":"data:image/png;base64,?"}`):     "input[0].content[0].image_url",
		part(`{"type":"input_file","filename":"a"}`):                             "input[0].content[0]",
		part(`{"type":"input_file","file_data":"?"}`):                            "input[0].content[0].file_data",
		part(`{"type":"input_audio","input_audio":{"data":"?","format":"mp3"}}`): "input[0].content[0].input_audio",
		part(`{"type":"video"}`):                                                 "input[0].content[0].type",
	} {
		if !strings.Contains(fields, `"input"`) {
			fields += `,"input":"hi"`
		}
		req, err := responses.Decode([]byte("{" + fields + "}"))
		if err != nil {
			t.Errorf("%s: does not pass: %v", fields, err)
			continue
		}
		_, err = req.Decode()
		f, _ := fault.Of(err)
		if f == nil || f.Facts()["param"] != param || f.Kind() != fault.Invalid {
			t.Errorf("%s: %v, want %s named", fields, err, param)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(full))
	for _, s := range []string{`{"input":"hi"}`, `{"input":[{"type":"reasoning","encrypted_content":"clv1.."}]}`, `{"input":[{"role":"user","content":[{}]}],"tools":[7]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := responses.Decode(body)
		if err != nil {
			if _, ok := fault.Of(err); !ok {
				t.Fatalf("%q: %v is no fault", body, err)
			}
			return
		}
		if !json.Valid(body) {
			t.Fatalf("%q was taken", body)
		}
		prompt, err := req.Decode()
		if err != nil {
			if _, ok := fault.Of(err); !ok {
				t.Fatalf("%q: %v is no fault", body, err)
			}
			return
		}
		if len(prompt.Messages) == 0 {
			t.Fatalf("%q: a prompt without messages", body)
		}
		_ = prompt.Features()
	})
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

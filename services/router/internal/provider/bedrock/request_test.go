package bedrock_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/bedrock"
)

// golden compares with a file below testdata, which CLAVIGER_UPDATE_GOLDEN=1 rewrites.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, got, "", "  "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	path := filepath.Join("testdata", name+".json")
	if os.Getenv("CLAVIGER_UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// png is a picture of one dot.
var png, _ = base64.StdEncoding.DecodeString("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")

// foreign is a tool call's id as another provider makes it.
const foreign = "fc_68e1:call|0123456789012345678901234567890123456789012345678901234567890123456789"

// talk is a conversation with everything in it.
func talk() []completion.Message {
	return []completion.Message{
		{Role: completion.System, Parts: []completion.Part{{Text: "Be brief."}, {Text: "Be kind.", CacheTTL: "1h"}}},
		{Role: completion.User, Parts: []completion.Part{
			{Text: "What is this?", CacheTTL: "5m"},
			{Text: " \n"},
			{ImageData: png, MediaType: "image/png"},
			{Document: &completion.Document{Name: "the_plan (v2).pdf", MediaType: "application/pdf", Data: []byte("%PDF-")}},
			{Document: &completion.Document{Name: "the plan (v2).md", Data: []byte("# plan")}},
		}},
		{Role: completion.User, Parts: []completion.Part{{Text: "Look it up."}}},
		{
			Role: completion.Assistant, Parts: []completion.Part{
				{Reasoning: &completion.Reasoning{Text: "hm", Signature: llmtest.BedrockSignature, Format: completion.AnthropicState}},
				{Reasoning: &completion.Reasoning{Text: "so", Signature: llmtest.BedrockSignature, Format: completion.BedrockState}},
				{Reasoning: &completion.Reasoning{Encrypted: "cmVk", Format: completion.AnthropicState}},
				{Reasoning: &completion.Reasoning{Text: "shown", Signature: "g", Format: completion.GoogleState}},
				{Reasoning: &completion.Reasoning{Text: "nobody's"}},
				{Text: "Let me look."},
			},
			ToolCalls: []completion.ToolCall{{ID: foreign, Name: "docs.look up", Arguments: `{"q":"x"}`}, {ID: "tooluse_2", Name: "now", CacheTTL: "5m"}},
		},
		{Role: completion.ToolRole, ToolCallID: foreign, Parts: []completion.Part{{Text: "found"}, {ImageData: png, MediaType: "image/png", CacheTTL: "5m"}}},
		{Role: completion.ToolRole, ToolCallID: "tooluse_2", ToolFailed: true},
		{Role: completion.User, Parts: []completion.Part{{Text: "And?"}}},
	}
}

// everything is a prompt with all that the model knows.
func everything() *completion.Prompt {
	return &completion.Prompt{
		Messages: talk(),
		Tools: []completion.Tool{
			{Name: "docs.look up", Description: "Looks up.", Parameters: `{"type":"object","properties":{"q":{"type":"string"}}}`, Strict: new(true)},
			{Name: "now", CacheTTL: "1h"},
		},
		ToolChoice: completion.ToolChoice{Mode: "auto"}, MaxOutputTokens: new(int64(8000)), Temperature: new(1.5), TopP: new(0.9), TopK: new(int64(40)),
		Stop: []string{"END", " "}, ServiceTier: "priority", ReasoningEffort: "medium", ShowReasoning: true, User: "u-1", CacheKey: "k-1",
	}
}

func without(features ...func(*completion.Prompt)) *completion.Prompt {
	p := everything()
	for _, f := range features {
		f(p)
	}
	return p
}

// Parts of a prompt that not every model knows.
func noTopK(p *completion.Prompt)   { p.TopK = nil }
func noEffort(p *completion.Prompt) { p.ReasoningEffort, p.ShowReasoning = "", false }

func noFiles(p *completion.Prompt) {
	for i := range p.Messages {
		var kept []completion.Part
		for _, part := range p.Messages[i].Parts {
			if !part.IsImage() && part.Document == nil {
				kept = append(kept, part)
			}
		}
		p.Messages[i].Parts = kept
	}
}

func schema(p *completion.Prompt) {
	p.ResponseFormat = completion.ResponseFormat{Kind: "json_schema", Name: "answer", Schema: `{"type":"object","properties":{"a":{"type":"string"}}}`}
}

func jsonObject(p *completion.Prompt) {
	p.ResponseFormat = completion.ResponseFormat{Kind: "json_object"}
}

func forced(p *completion.Prompt) {
	p.ToolChoice = completion.ToolChoice{Mode: "named", Name: "docs.look up"}
}

// TestRequestsAreThoseOfTheFiles: and the scripted server takes each, which knows what AWS refuses.
func TestRequestsAreThoseOfTheFiles(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		model  string
		prompt *completion.Prompt
	}{
		"claude_haiku_4_5":   {"anthropic.claude-haiku-4-5-20251001-v1:0", without(schema)},
		"claude_opus_4_7":    {"claude-opus-4-7", without(forced)},
		"claude_opus_5_5":    {"global.anthropic.claude-opus-5-5", without(forced, jsonObject)},
		"nova":               {nova, without(noEffort, forced)},
		"nova_2":             {"amazon.nova-2-lite-v1:0", without(jsonObject)},
		"gpt_oss":            {"openai.gpt-oss-120b-1:0", without(noTopK, noFiles, schema)},
		"mistral":            {"mistral.mistral-large-3-675b-instruct", without(noEffort)},
		"titan":              {"amazon.titan-text-premier-v1:0", &completion.Prompt{Messages: append(talk()[:1:1], talk()[2])}},
		"tools_forbidden":    {nova, &completion.Prompt{Messages: talk(), ToolChoice: completion.ToolChoice{Mode: "none"}, Tools: []completion.Tool{{Name: "now"}}}},
		"tools_only_talked":  {claude, &completion.Prompt{Messages: talk()}},
		"tools_not_needed":   {nova, &completion.Prompt{Messages: talk()[1:2], ToolChoice: completion.ToolChoice{Mode: "none"}, Tools: []completion.Tool{{Name: "now"}}}},
		"document_alone":     {nova, &completion.Prompt{Messages: []completion.Message{{Role: completion.User, Parts: talk()[1].Parts[4:]}}}},
		"assistant_begins":   {nova, &completion.Prompt{Messages: []completion.Message{{Role: completion.Assistant, Parts: []completion.Part{{Text: "Hello."}}}, talk()[2]}}},
		"budget_for_efforts": {"amazon.nova-2-lite-v1:0", &completion.Prompt{Messages: talk()[2:3], ReasoningBudget: new(int64(2000))}},
		"effort_none":        {"amazon.nova-2-lite-v1:0", &completion.Prompt{Messages: talk()[2:3], ReasoningEffort: "none"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := llmtest.New(t, llmtest.WithCapture())
			call := asked(test.model, false, test.prompt)
			call.BaseURL = s.BedrockURL()
			if _, err := collect(t, bedrock.New(&http.Transport{}), call); err != nil {
				t.Error(err)
			}
			golden(t, name, s.Requests()[0].Body)
		})
	}
}

// TestWhatConverseCannotCarryIsRefusedByName: nothing is dropped, and nothing is sent.
func TestWhatConverseCannotCarryIsRefusedByName(t *testing.T) {
	t.Parallel()
	user := func(parts ...completion.Part) *completion.Prompt {
		return &completion.Prompt{Messages: []completion.Message{{Role: completion.User, Parts: append(parts, completion.Part{Text: "hi"})}}}
	}
	with := func(change func(*completion.Prompt)) *completion.Prompt {
		p := user()
		change(p)
		return p
	}
	for _, test := range []struct {
		model, param string
		prompt       *completion.Prompt
	}{
		{nova, "seed", with(func(p *completion.Prompt) { p.Seed = new(int64(1)) })},
		{nova, "frequency_penalty", with(func(p *completion.Prompt) { p.FrequencyPenalty = new(1.0) })},
		{nova, "presence_penalty", with(func(p *completion.Prompt) { p.PresencePenalty = new(1.0) })},
		{nova, "logprobs", with(func(p *completion.Prompt) { p.Logprobs = true })},
		{nova, "verbosity", with(func(p *completion.Prompt) { p.Verbosity = "low" })},
		{claude, "parallel_tool_calls", with(func(p *completion.Prompt) { p.ParallelToolCalls = new(false) })},
		{nova, "messages.name", with(func(p *completion.Prompt) { p.Messages[0].Name = "x" })},
		{nova, "service_tier", with(func(p *completion.Prompt) { p.ServiceTier = "scale" })},
		{nova, "reasoning_effort", with(func(p *completion.Prompt) { p.ReasoningEffort = "low" })},
		{nova, "reasoning_budget", with(func(p *completion.Prompt) { p.ReasoningBudget = new(int64(2000)) })},
		{nova, "response_format.json_schema", with(schema)},
		{"anthropic.claude-3-haiku-20240307-v1:0", "response_format.json_schema", with(schema)},
		{"meta.llama4-scout-17b-instruct-v1:0", "top_k", with(func(p *completion.Prompt) { p.TopK = new(int64(1)) })},
		{"deepseek.r1-v1:0", "tools", with(func(p *completion.Prompt) { p.Tools = []completion.Tool{{Name: "f"}} })},
		{"deepseek.v3.2", "images", user(completion.Part{ImageData: png, MediaType: "image/png"})},
		{"amazon.nova-micro-v1:0", "documents", user(completion.Part{Document: &completion.Document{Name: "x.pdf", Data: []byte("x")}})},
		{claude, "audio", user(completion.Part{Audio: &completion.Audio{Data: []byte("x"), Format: "wav"}})},
		{nova, "messages[0].content[0]", user(completion.Part{ImageData: png, MediaType: "image/tiff"})},
		{nova, "messages[0].content[0]", user(completion.Part{Document: &completion.Document{URL: "https://acme.example/x.pdf"}})},
		{nova, "messages[0].content[0]", user(completion.Part{Document: &completion.Document{Name: "x.zip", MediaType: "application/zip", Data: []byte("x")}})},
		{nova, "messages", &completion.Prompt{Messages: []completion.Message{{Role: completion.System, Parts: []completion.Part{{Text: "x"}}}}}},
		{nova, "messages[0].tool_calls[0].function.arguments", &completion.Prompt{Messages: []completion.Message{{Role: completion.Assistant, ToolCalls: []completion.ToolCall{{ID: "1", Name: "f", Arguments: "[]"}}}}}},
		{nova, "tools[0].parameters", with(func(p *completion.Prompt) { p.Tools = []completion.Tool{{Name: "f", Parameters: "{"}} })},
	} {
		r := &replay{}
		_, err := bedrock.New(r).Start(t.Context(), asked(test.model, false, test.prompt))
		f, ok := fault.Of(err)
		if !ok || f.Kind() != fault.Invalid || f.Facts()["param"] != test.param || f.Hint() == "" || len(r.sent) != 0 {
			t.Errorf("%s of %s: %v (param %q) after %d calls", test.param, test.model, err, f.Facts()["param"], len(r.sent))
		}
	}
}

// TestPicturesByAddressAreFetched: AWS takes bytes only.
func TestPicturesByAddressAreFetched(t *testing.T) {
	t.Parallel()
	prompt := &completion.Prompt{Messages: []completion.Message{{Role: completion.User, Parts: []completion.Part{{Text: "hi"}, {ImageURL: "https://pictures.acme.example/dot.png"}}}}}
	r := &replay{kind: "image/png", stream: string(png)}
	if _, err := bedrock.New(r).Start(t.Context(), asked(nova, false, prompt)); err != nil {
		t.Fatal(err)
	}
	if len(r.sent) != 2 || r.sent[0].URL.Host != "pictures.acme.example" || r.sent[0].Header.Get("Authorization") != "" {
		t.Fatalf("%d calls", len(r.sent))
	}
	if want := `{"image":{"format":"png","source":{"bytes":"` + base64.StdEncoding.EncodeToString(png); !strings.Contains(r.bodies[1], want) {
		t.Errorf("sent %s", r.bodies[1])
	}
	if prompt.Messages[0].Parts[1].ImageData != nil {
		t.Error("the caller's prompt was changed")
	}
	r = &replay{status: 404}
	_, err := bedrock.New(r).Start(t.Context(), asked(nova, false, prompt))
	if f, ok := fault.Of(err); !ok || f.Kind() != fault.Invalid || len(r.sent) != 1 {
		t.Errorf("a picture that is missing: %v after %d calls", err, len(r.sent))
	}
}

// TestIDsAndNamesAreStable: what AWS would refuse is renamed the same way in every request, differently
// for different names, and answers have the caller's names.
func TestIDsAndNamesAreStable(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t, llmtest.WithCapture())
	send := func(model string, ids []string, tool string) []string {
		t.Helper()
		prompt := said("hi")
		turn, results := completion.Message{Role: completion.Assistant}, []completion.Message(nil)
		for _, id := range ids {
			turn.ToolCalls = append(turn.ToolCalls, completion.ToolCall{ID: id, Name: tool})
			results = append(results, completion.Message{Role: completion.ToolRole, ToolCallID: id, Parts: []completion.Part{{Text: "x"}}})
		}
		prompt.Messages = append(append(prompt.Messages, turn), results...)
		prompt.Tools = []completion.Tool{{Name: tool}}
		call := asked(model, false, prompt)
		call.BaseURL = s.BedrockURL()
		if _, err := collect(t, bedrock.New(&http.Transport{}), call); err != nil {
			t.Fatalf("%s: %v", model, err)
		}
		sent := s.Requests()
		var got []string
		for _, m := range regexp.MustCompile(`"toolUse":{"toolUseId":"([^"]*)"`).FindAllSubmatch(sent[len(sent)-1].Body, -1) {
			got = append(got, string(m[1]))
		}
		return got
	}
	ids := []string{foreign, foreign + "x", "", "call.1", "call:1", "tooluse_AbC-1", "ünï"}
	for _, model := range []string{nova, "mistral.mistral-large-3-675b-instruct"} {
		first := send(model, ids, "f")
		if diff := cmp.Diff(first, send(model, ids, "f")); diff != "" {
			t.Errorf("%s: another time (-first +second):\n%s", model, diff)
		}
		seen := map[string]bool{}
		for _, id := range first {
			seen[id] = true
		}
		if len(seen) != len(ids) {
			t.Errorf("%s: %d ids of %d: %v", model, len(seen), len(ids), first)
		}
	}
	if got := send(nova, []string{"tooluse_AbC-1"}, "f"); got[0] != "tooluse_AbC-1" {
		t.Errorf("AWS's own id became %s", got[0])
	}
	if got := send("mistral.mistral-large-3-675b-instruct", []string{"a1B2c3D4e"}, "f"); got[0] != "a1B2c3D4e" {
		t.Errorf("Mistral's own id became %s", got[0])
	}
	for _, tool := range []string{"docs.look up", strings.Repeat("long_", 20), "mcp__docs__look_up", "größe"} {
		send(nova, []string{"1"}, tool) // the server refuses a name that does not fit
		var sent struct {
			Tools struct {
				Tools []struct {
					Spec struct {
						Name string `json:"name"`
					} `json:"toolSpec"`
				} `json:"tools"`
			} `json:"toolConfig"`
		}
		all := s.Requests()
		if err := json.Unmarshal(all[len(all)-1].Body, &sent); err != nil {
			t.Fatal(err)
		}
		name := sent.Tools.Tools[0].Spec.Name
		prompt := said(llmtest.Script{Tool: name}.String())
		prompt.Tools = []completion.Tool{{Name: tool}}
		for _, stream := range []bool{false, true} {
			call := asked(nova, stream, prompt)
			call.BaseURL = s.BedrockURL()
			got, err := collect(t, bedrock.New(&http.Transport{}), call)
			if err != nil || len(got.Delta.ToolCalls) != 1 || got.Delta.ToolCalls[0].Name != tool {
				t.Errorf("%s, sent as %s, came back as %+v, %v", tool, name, got.Delta.ToolCalls, err)
			}
		}
	}
}

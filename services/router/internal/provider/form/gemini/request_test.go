package gemini_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/form/gemini"
)

// full is a prompt that uses everything that can be carried.
func full() *completion.Prompt {
	signed := &completion.Reasoning{Text: "hm", Signature: llmtest.GeminiSignature, Format: completion.GoogleState}
	foreign := &completion.Reasoning{Text: "hm", Signature: "elsewhere", Format: completion.AnthropicState}
	return &completion.Prompt{
		Messages: []completion.Message{
			{Role: completion.System, Parts: []completion.Part{{Text: "Be brief & <clear>."}, {Text: "Be kind.", CacheTTL: "5m"}}},
			{Role: completion.User, Parts: []completion.Part{
				{Text: "What is this?"},
				{Text: ""},
				{ImageURL: "https://example.com/a.png", Detail: "low"},
				{ImageData: []byte("GIF89a"), MediaType: "image/gif"},
			}},
			{Role: completion.User, Parts: []completion.Part{
				{Document: &completion.Document{Name: "a.pdf", Data: []byte("%PDF")}},
				{Document: &completion.Document{URL: "https://example.com/b.txt"}},
				{Audio: &completion.Audio{Data: []byte("RIFF"), Format: "wav"}},
			}},
			{
				Role: completion.Assistant, Parts: []completion.Part{{Reasoning: foreign}, {Reasoning: signed}, {Text: "I look."}},
				ToolCalls: []completion.ToolCall{
					{ID: "call_1", Name: "look", Arguments: `{"x": 1}`, Signature: llmtest.GeminiSignature, Format: completion.GoogleState},
					{ID: "call_2", Name: "listen", Arguments: ``},
				},
			},
			{Role: completion.ToolRole, ToolCallID: "call_2", ToolFailed: true, Parts: []completion.Part{{Text: "deaf"}}},
			{Role: completion.ToolRole, ToolCallID: "call_1", Parts: []completion.Part{{Text: "a cat, "}, {Text: "asleep"}}},
			{Role: completion.Assistant, Parts: []completion.Part{{Text: "A cat."}, {Reasoning: signed}}},
			{Role: completion.User, Parts: []completion.Part{{Text: "Und?"}}},
			{Role: completion.Assistant, ToolCalls: []completion.ToolCall{
				{ID: "call_3", Name: "look", Arguments: `{}`, Signature: "elsewhere", Format: completion.OpenAIState},
			}},
			{Role: completion.ToolRole, ToolCallID: "call_3"},
		},
		Tools: []completion.Tool{
			{Name: "look", Description: "Looks.", Parameters: `{"type": "object", "properties": {}}`, Strict: new(true)},
			{Name: "listen"},
		},
		ToolChoice: completion.ToolChoice{Mode: "named", Name: "look"}, ParallelToolCalls: new(true),
		MaxOutputTokens: new(int64(100)), Temperature: new(0.0), TopP: new(0.5), TopK: new(int64(40)), Stop: []string{"END"},
		FrequencyPenalty: new(0.1), PresencePenalty: new(-0.1), Logprobs: true, TopLogprobs: 3,
		ReasoningEffort: "low", ShowReasoning: true, Seed: new(int64(7)), User: "u1", CacheKey: "k", ServiceTier: "flex",
		ResponseFormat: completion.ResponseFormat{Kind: "json_schema", Schema: `{"type":"object"}`, Strict: new(true)},
	}
}

// older leaves out what models before Gemini 3 do not take.
func older() *completion.Prompt {
	p := full()
	p.ResponseFormat, p.ServiceTier = completion.ResponseFormat{}, ""
	p.ToolChoice = completion.ToolChoice{Mode: "required"}
	return p
}

func TestPromptsAreEncoded(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	draw := &completion.Prompt{Image: &completion.ImageInput{Text: "a cat", Size: "2048x2048", Seed: new(int64(3)), Format: "png"}}
	embed := &completion.Prompt{Embedding: &completion.EmbeddingInput{Texts: []string{"a", "b"}, Dimensions: new(int64(4)), Purpose: "query"}}
	for name, c := range map[string]struct {
		o      gemini.Options
		model  string
		op     completion.Operation
		method string
		prompt *completion.Prompt
	}{
		"studio.json":        {studio, "gemini-3.8-flash", completion.Chat, "generateContent", full()},
		"studio_older.json":  {studio, "gemini-2.5-flash", completion.Chat, "generateContent", older()},
		"studio_count.json":  {studio, "gemini-3.8-flash", completion.CountTokens, "countTokens", full()},
		"studio_images.json": {studio, "gemini-3.1-flash-image", completion.Images, "generateContent", draw},
		"studio_embed.json":  {studio, "gemini-embedding-001", completion.Embeddings, "batchEmbedContents", embed},
		"vertex.json":        {vertex, "gemini-3.8-flash", completion.Chat, "generateContent", older()},
		"vertex_count.json":  {vertex, "gemini-3.8-flash", completion.CountTokens, "countTokens", older()},
	} {
		b, err := sent(t, c.o, c.model, c.op, c.prompt)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		golden(t, name, b)
		// What the scripted provider, and so Google's own SDK, knows, is taken as it is.
		base := s.GeminiURL() + "/models/"
		if strings.HasPrefix(name, "vertex") {
			base = s.VertexURL() + "/v1/publishers/google/models/"
		}
		if status, answer := post(t, base+c.model+":"+c.method, b); status != 200 {
			t.Errorf("%s is refused: %s", name, answer)
		}
	}
}

func post(t *testing.T, url string, body []byte) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Goog-Api-Key", key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer json.RawMessage
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(answer)
}

func TestWhatCannotBeEncodedIsNamed(t *testing.T) {
	t.Parallel()
	for param, change := range map[string]func(*completion.Prompt){
		"messages[0].content[0]": func(p *completion.Prompt) {
			p.Messages[0].Parts[0] = completion.Part{ImageURL: "https://example.com/a.png"}
		},
		"messages[1].content[2]":                       func(p *completion.Prompt) { p.Messages[1].Parts[2].ImageURL = "ftp://example.com/a.png" },
		"messages[2].content[0]":                       func(p *completion.Prompt) { p.Messages[2].Parts[0].Document.Name = "a" },
		"messages[2].content[2]":                       func(p *completion.Prompt) { p.Messages[2].Parts[2].Audio.Format = "midi" },
		"messages[3].tool_calls[0].function.arguments": func(p *completion.Prompt) { p.Messages[3].ToolCalls[0].Arguments = `{"x":` },
		"messages[3].content[2]":                       func(p *completion.Prompt) { p.Messages[3].Parts[2] = completion.Part{ImageData: []byte("x")} },
		"messages[4].tool_call_id":                     func(p *completion.Prompt) { p.Messages[4].ToolCallID = "call_9" },
		"messages":                                     func(p *completion.Prompt) { p.Messages = p.Messages[:1] },
		"messages.name":                                func(p *completion.Prompt) { p.Messages[1].Name = "bob" },
		"tools[0].parameters":                          func(p *completion.Prompt) { p.Tools[0].Parameters = "{" },
		"tools[1].name":                                func(p *completion.Prompt) { p.Tools[1].Name = "a b" },
		"parallel_tool_calls":                          func(p *completion.Prompt) { p.ParallelToolCalls = new(false) },
		"verbosity":                                    func(p *completion.Prompt) { p.Verbosity = "low" },
		"service_tier":                                 func(p *completion.Prompt) { p.ServiceTier = "scale" },
		"stop":                                         func(p *completion.Prompt) { p.Stop = []string{"1", "2", "3", "4", "5", "6"} },
		"seed":                                         func(p *completion.Prompt) { p.Seed = new(int64(1) << 40) },
		"response_format.json_schema.schema":           func(p *completion.Prompt) { p.ResponseFormat.Schema = "{" },
	} {
		p := full()
		change(p)
		_, err := sent(t, studio, "gemini-3.8-flash", completion.Chat, p)
		f, _ := fault.Of(err)
		if !errors.Is(err, completion.ErrUnsupported) || f.Facts()["param"] != param {
			t.Errorf("%s: %v", param, err)
		}
	}
}

func TestWhatAModelCannotDoIsNamed(t *testing.T) {
	t.Parallel()
	picture := completion.Part{ImageData: []byte(png), MediaType: "image/png"}
	for name, c := range map[string]struct {
		o      gemini.Options
		model  string
		param  string
		change func(*completion.Prompt)
	}{
		"schema with tools":    {studio, "gemini-2.5-flash", "response_format", func(p *completion.Prompt) { p.ResponseFormat.Kind = "json_object" }},
		"pictures of tools":    {studio, "gemini-2.5-flash", "messages[5].content[0]", func(p *completion.Prompt) { p.Messages[5].Parts[0] = picture }},
		"no thinking":          {studio, "gemini-2.0-flash", "reasoning_effort", func(*completion.Prompt) {}},
		"no budget":            {studio, "gemini-2.0-flash", "reasoning_budget", func(p *completion.Prompt) { p.ReasoningEffort, p.ReasoningBudget = "", new(int64(9)) }},
		"no tiers in the body": {vertex, "gemini-3.8-flash", "service_tier", func(p *completion.Prompt) { p.ServiceTier = "flex" }},
	} {
		p := older()
		c.change(p)
		_, err := sent(t, c.o, c.model, completion.Chat, p)
		if f, _ := fault.Of(err); !errors.Is(err, completion.ErrUnsupported) || f.Facts()["param"] != c.param {
			t.Errorf("%s: %v, want param %s", name, err, c.param)
		}
	}
	p := older()
	p.Messages[5].Parts[0] = picture
	if b, err := sent(t, studio, "gemini-3.8-flash", completion.Chat, p); err != nil || !strings.Contains(string(b), `"mimeType": "image/png"`) {
		t.Errorf("a newer model takes pictures of tools: %v", err)
	}
}

func TestThinkingIsToldAsEachFamilyKnowsIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		model, effort string
		budget        *int64
		want          string
	}{
		{"gemini-2.5-flash", "none", nil, `{"thinkingBudget":0}`},
		{"gemini-2.5-pro", "none", nil, `{"thinkingBudget":128}`},
		{"gemini-2.5-flash-lite", "minimal", nil, `{"thinkingBudget":1024}`},
		{"gemini-2.5-flash-lite", "", new(int64(9)), `{"thinkingBudget":512}`},
		{"gemini-2.5-flash", "medium", nil, `{"thinkingBudget":8192}`},
		{"gemini-2.5-pro", "max", nil, `{"thinkingBudget":32768}`},
		{"gemini-2.5-flash", "xhigh", nil, `{"thinkingBudget":24576}`},
		{"gemini-2.5-flash", "low", new(int64(5000)), `{"thinkingBudget":5000}`},
		{"gemini-2.5-pro", "", new(int64(-1)), `{"thinkingBudget":-1}`},
		{"gemini-2.5-pro", "", new(int64(1 << 20)), `{"thinkingBudget":32768}`},
		{"gemini-3-pro-preview", "medium", nil, `{"thinkingLevel":"HIGH"}`},
		{"gemini-3-pro-preview", "minimal", nil, `{"thinkingLevel":"LOW"}`},
		{"gemini-3.1-pro-preview", "none", nil, `{"thinkingLevel":"LOW"}`},
		{"gemini-3.1-flash-lite", "none", nil, `{"thinkingLevel":"MINIMAL"}`},
		{"gemini-3.5-flash", "minimal", nil, `{"thinkingLevel":"MINIMAL"}`},
		{"gemini-3.8-flash", "minimal", nil, `{"thinkingLevel":"LOW"}`},
		{"gemini-4-argon", "max", nil, `{"thinkingLevel":"HIGH"}`},
		{"gemini-4-argon", "", new(int64(2000)), `{"thinkingLevel":"MEDIUM"}`},
		{"gemini-4-argon", "", new(int64(0)), `{"thinkingLevel":"LOW"}`},
		{"gemini-4-argon", "high", new(int64(0)), `{"thinkingLevel":"HIGH"}`},
		{"gemini-4-argon", "", new(int64(-1)), ``},
		{"gemini-4-argon", "", nil, ``},
		{"gemini-2.0-flash", "none", nil, ``},
	} {
		p := hello()
		p.ReasoningEffort, p.ReasoningBudget = c.effort, c.budget
		b, err := sent(t, studio, c.model, completion.Chat, p)
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		var got struct {
			Config struct {
				Thinking map[string]any `json:"thinkingConfig"`
			} `json:"generationConfig"`
		}
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		thinking := ""
		if got.Config.Thinking != nil {
			out, _ := json.Marshal(got.Config.Thinking)
			thinking = string(out)
		}
		if thinking != c.want {
			t.Errorf("%s, effort %q: %s, want %s", c.model, c.effort, thinking, c.want)
		}
	}
}

func TestShapesOfPicturesAreRatios(t *testing.T) {
	t.Parallel()
	for size, want := range map[string]string{
		"1024x1024": `"aspectRatio": "1:1"`, "1536x1024": `"aspectRatio": "3:2"`, "1920x1080": `"imageSize": "2K"`, "4096x4096": `"imageSize": "4K"`,
		"auto": `"responseModalities"`, "1792x1024": "", "x": "", "0x0": "", "99999x99999": "",
	} {
		p := &completion.Prompt{Image: &completion.ImageInput{Text: "a cat", Size: size}}
		b, err := sent(t, studio, "gemini-3.1-flash-image", completion.Images, p)
		if f, _ := fault.Of(err); want == "" {
			if err == nil || f.Facts()["param"] != "size" {
				t.Errorf("%s: %v", size, err)
			}
		} else if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %s, %v", size, b, err)
		}
	}
	for param, in := range map[string]completion.ImageInput{
		"n": {Text: "a", Count: 2}, "quality": {Text: "a", Quality: "high"}, "style": {Text: "a", Style: "vivid"},
		"background": {Text: "a", Background: "transparent"}, "output_format": {Text: "a", Format: "webp"}, "prompt": {},
		"size": {Text: "a", Size: "1024x1024", AspectRatio: "16:9"},
	} {
		_, err := sent(t, studio, "gemini-3.1-flash-image", completion.Images, &completion.Prompt{Image: &in})
		if f, _ := fault.Of(err); !errors.Is(err, completion.ErrUnsupported) || f.Facts()["param"] != param {
			t.Errorf("%s: %v", param, err)
		}
	}
}

package messages

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// The wire form of a messages request.
type (
	wireRequest struct {
		Model         string            `json:"model"`
		MaxTokens     int64             `json:"max_tokens"`
		System        []wireBlock       `json:"system,omitempty"`
		Messages      []wireMessage     `json:"messages"`
		Stream        bool              `json:"stream,omitempty"`
		Temperature   *float64          `json:"temperature,omitempty"`
		TopP          *float64          `json:"top_p,omitempty"`
		StopSequences []string          `json:"stop_sequences,omitempty"`
		Tools         []wireTool        `json:"tools,omitempty"`
		ToolChoice    *wireChoice       `json:"tool_choice,omitempty"`
		Thinking      *wireThinking     `json:"thinking,omitempty"`
		OutputConfig  *wireOutput       `json:"output_config,omitempty"`
		Metadata      map[string]string `json:"metadata,omitempty"`
	}
	wireMessage struct {
		Role    string      `json:"role"`
		Content []wireBlock `json:"content"`
	}
	wireBlock struct {
		Type      string          `json:"type"`
		Text      string          `json:"text,omitempty"`
		Source    *wireSource     `json:"source,omitempty"`
		ID        string          `json:"id,omitempty"`
		Name      string          `json:"name,omitempty"`
		Input     json.RawMessage `json:"input,omitempty"`
		ToolUseID string          `json:"tool_use_id,omitempty"`
		Content   []wireBlock     `json:"content,omitempty"`
	}
	wireSource struct {
		Type      string `json:"type"`
		MediaType string `json:"media_type,omitempty"`
		Data      string `json:"data,omitempty"`
		URL       string `json:"url,omitempty"`
	}
	wireTool struct {
		Name        string          `json:"name"`
		Description string          `json:"description,omitempty"`
		InputSchema json.RawMessage `json:"input_schema"`
		Strict      *bool           `json:"strict,omitempty"`
	}
	wireChoice struct {
		Type            string `json:"type"`
		Name            string `json:"name,omitempty"`
		DisableParallel bool   `json:"disable_parallel_tool_use,omitempty"`
	}
	wireThinking struct {
		Type   string `json:"type"`
		Budget int64  `json:"budget_tokens,omitempty"`
	}
	wireOutput struct {
		Effort string      `json:"effort,omitempty"`
		Format *wireFormat `json:"format,omitempty"`
	}
	wireFormat struct {
		Type   string          `json:"type"`
		Schema json.RawMessage `json:"schema"`
	}
)

func unsupported(param, why string) *fault.Error {
	return completion.ErrUnsupported.Saying("%s cannot be sent to Anthropic: %s", param, why).With("param", param).
		Hinting("leave it out, or choose another model")
}

// encodeBody converts a prompt. It returns whether the answer is streamed to us.
func encodeBody(p *completion.Prompt, name string, stream bool) (body []byte, streamed bool, err error) {
	e := &encoder{prompt: p, model: modelOf(name)}
	e.w.Model = name
	for _, step := range []func() error{e.refuse, e.limits, e.messages, e.tools, e.format, e.think} {
		if err := step(); err != nil {
			return nil, false, err
		}
	}
	if p.User != "" {
		e.w.Metadata = map[string]string{"user_id": p.User}
	}
	e.w.Stream = stream || e.w.MaxTokens > longAnswer
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(e.w); err != nil {
		return nil, false, unsupported("messages", "it cannot be encoded").Because(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), e.w.Stream, nil
}

type encoder struct {
	prompt *completion.Prompt
	model  model
	w      wireRequest
	// ids are the tool calls' ids as they came, with what they are sent as.
	ids map[string]string
	// called are the names of tools in the messages.
	called []string
}

// refuse names what the API has no counterpart for.
func (e *encoder) refuse() error {
	if e.prompt.Seed != nil {
		return unsupported("seed", "the API has no counterpart")
	}
	return nil
}

// limits sets the numbers.
func (e *encoder) limits() error {
	p := e.prompt
	e.w.MaxTokens = e.model.maxOutput
	if p.MaxOutputTokens != nil && (*p.MaxOutputTokens < e.w.MaxTokens || e.model.prefix == "") {
		e.w.MaxTokens = *p.MaxOutputTokens // a higher bound than the model's is the model's
	}
	if e.model.sampling {
		// OpenAI's temperatures go up to 2, these up to 1; and both together are refused.
		switch {
		case p.Temperature != nil:
			t := min(*p.Temperature, 1)
			e.w.Temperature = &t
		case p.TopP != nil:
			e.w.TopP = p.TopP
		}
	}
	for _, s := range p.Stop {
		if strings.TrimSpace(s) != "" { // such ones are refused
			e.w.StopSequences = append(e.w.StopSequences, s)
		}
	}
	return nil
}

// messages folds the system's messages into one field, and the others into turns of alternating roles.
func (e *encoder) messages() error {
	e.ids = map[string]string{}
	for i, m := range e.prompt.Messages {
		at := fmt.Sprintf("messages[%d]", i)
		blocks, err := e.blocks(at, m)
		if err != nil {
			return err
		}
		switch {
		case m.Role == completion.System:
			e.w.System = append(e.w.System, blocks...)
		case len(blocks) > 0:
			e.turn(m.Role, blocks)
		}
	}
	if len(e.w.Messages) == 0 {
		return unsupported("messages", "it holds nothing but instructions or empty texts")
	}
	if e.w.Messages[0].Role != "user" {
		// A conversation has to begin with the user; some clients begin with a greeting.
		e.w.Messages = slices.Insert(e.w.Messages, 0, wireMessage{Role: "user", Content: []wireBlock{{Type: "text", Text: "Begin."}}})
	}
	if e.w.Messages[len(e.w.Messages)-1].Role == "assistant" && !e.model.prefill {
		return unsupported(fmt.Sprintf("messages[%d]", len(e.prompt.Messages)-1), "this model does not continue a last message of the assistant")
	}
	return nil
}

// turn adds blocks to the conversation. The results of tools belong to the user's next turn, in one
// message and before all else, which is the order they come in.
func (e *encoder) turn(role completion.Role, blocks []wireBlock) {
	name := "user"
	if role == completion.Assistant {
		name = "assistant"
	}
	if last := len(e.w.Messages) - 1; last >= 0 && e.w.Messages[last].Role == name {
		e.w.Messages[last].Content = append(e.w.Messages[last].Content, blocks...)
		return
	}
	e.w.Messages = append(e.w.Messages, wireMessage{Role: name, Content: blocks})
}

func (e *encoder) blocks(at string, m completion.Message) ([]wireBlock, error) {
	blocks, err := e.parts(at, m)
	if err != nil {
		return nil, err
	}
	if m.Role == completion.ToolRole {
		return []wireBlock{{Type: "tool_result", ToolUseID: e.toolID(m.ToolCallID), Content: blocks}}, nil
	}
	for i, c := range m.ToolCalls {
		input := json.RawMessage(strings.TrimSpace(c.Arguments))
		if len(input) == 0 {
			input = json.RawMessage("{}")
		}
		if jsonscan.KindOf(input) != jsonscan.ObjectKind || !json.Valid(input) {
			return nil, unsupported(fmt.Sprintf("%s.tool_calls[%d].function.arguments", at, i), "it is not a JSON object")
		}
		blocks = append(blocks, wireBlock{Type: "tool_use", ID: e.toolID(c.ID), Name: c.Name, Input: input})
		if !slices.Contains(e.called, c.Name) {
			e.called = append(e.called, c.Name)
		}
	}
	return blocks, nil
}

// mediaTypes are the pictures that the API takes.
var mediaTypes = []string{"image/jpeg", "image/png", "image/gif", "image/webp"}

// parts converts content. Texts without anything to read are refused by the API, and left out.
func (e *encoder) parts(at string, m completion.Message) ([]wireBlock, error) {
	var blocks []wireBlock
	for i, p := range m.Parts {
		at := fmt.Sprintf("%s.content[%d]", at, i)
		switch {
		case !p.IsImage():
			if strings.TrimSpace(p.Text) != "" {
				blocks = append(blocks, wireBlock{Type: "text", Text: p.Text})
			}
		case m.Role != completion.User && m.Role != completion.ToolRole:
			return nil, unsupported(at, "only messages of the user and of tools can hold an image")
		case p.ImageData == nil:
			blocks = append(blocks, wireBlock{Type: "image", Source: &wireSource{Type: "url", URL: p.ImageURL}})
		case !slices.Contains(mediaTypes, p.MediaType):
			return nil, unsupported(at, "it takes JPEG, PNG, GIF and WebP only")
		default:
			blocks = append(blocks, wireBlock{Type: "image", Source: &wireSource{
				Type: "base64", MediaType: p.MediaType, Data: base64.StdEncoding.EncodeToString(p.ImageData),
			}})
		}
	}
	return blocks, nil
}

// toolID is a tool call's id in the characters that the API takes, the same wherever it occurs.
func (e *encoder) toolID(id string) string {
	if sent, ok := e.ids[id]; ok {
		return sent
	}
	clean := strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || (r >= '0' && r <= '9') || (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') {
			return r
		}
		return '_'
	}, id)
	if clean != id || clean == "" { // another one might become the same
		clean = fmt.Sprintf("%s_%d", clean, len(e.ids))
	}
	e.ids[id] = clean
	return clean
}

// hint adds an instruction for what a field cannot say.
func (e *encoder) hint(text string) {
	e.w.System = append(e.w.System, wireBlock{Type: "text", Text: text})
}

func (e *encoder) tools() error {
	p := e.prompt
	for i, t := range p.Tools {
		schema := json.RawMessage(strings.TrimSpace(t.Parameters))
		if len(schema) == 0 {
			schema = json.RawMessage(`{"type":"object","properties":{}}`)
		}
		if jsonscan.KindOf(schema) != jsonscan.ObjectKind || !json.Valid(schema) {
			return unsupported(fmt.Sprintf("tools[%d].parameters", i), "it is not a JSON object")
		}
		e.w.Tools = append(e.w.Tools, wireTool{Name: t.Name, Description: t.Description, InputSchema: schema, Strict: t.Strict})
	}
	if len(e.w.Tools) == 0 {
		if len(e.called) == 0 {
			return nil
		}
		// A conversation that holds tool calls needs the tools, also when none may be called any more.
		for _, name := range e.called {
			e.w.Tools = append(e.w.Tools, wireTool{Name: name, InputSchema: json.RawMessage(`{"type":"object"}`)})
		}
		e.w.ToolChoice = &wireChoice{Type: "none"}
		return nil
	}
	e.choose(p.ToolChoice)
	if p.ParallelToolCalls != nil && !*p.ParallelToolCalls {
		if e.w.ToolChoice == nil {
			e.w.ToolChoice = &wireChoice{Type: "auto"}
		}
		e.w.ToolChoice.DisableParallel = e.w.ToolChoice.Type != "none"
	}
	return nil
}

// choose sets which tool is called. Models that cannot be forced are told.
func (e *encoder) choose(c completion.ToolChoice) {
	switch c.Mode {
	case "auto", "none":
		e.w.ToolChoice = &wireChoice{Type: c.Mode}
	case "required":
		e.w.ToolChoice = &wireChoice{Type: "any"}
		if !e.model.forced {
			e.w.ToolChoice.Type = "auto"
			e.hint("Answer by calling one of the tools.")
		}
	case "named":
		e.w.ToolChoice = &wireChoice{Type: "tool", Name: c.Name}
		if !e.model.forced {
			*e.w.ToolChoice = wireChoice{Type: "auto"}
			e.hint("Answer by calling the tool " + c.Name + ".")
		}
	}
}

// forcesTool reports whether a tool must be called.
func (e *encoder) forcesTool() bool {
	return e.w.ToolChoice != nil && (e.w.ToolChoice.Type == "any" || e.w.ToolChoice.Type == "tool")
}

func (e *encoder) format() error {
	f := e.prompt.ResponseFormat
	switch f.Kind {
	case "json_object":
		e.hint("Answer with one JSON object and nothing else.")
	case "json_schema":
		if !e.model.schemas {
			return unsupported("response_format", "this model does not answer by a schema")
		}
		if !json.Valid([]byte(f.Schema)) {
			return unsupported("response_format.json_schema.schema", "it is not JSON")
		}
		e.output().Format = &wireFormat{Type: "json_schema", Schema: json.RawMessage(f.Schema)}
	}
	return nil
}

func (e *encoder) output() *wireOutput {
	if e.w.OutputConfig == nil {
		e.w.OutputConfig = &wireOutput{}
	}
	return e.w.OutputConfig
}

// think says how much to think, in the way that the model is told.
func (e *encoder) think() error {
	effort := e.prompt.ReasoningEffort
	switch effort {
	case "":
		return nil
	case "none":
		e.doNotThink()
		return nil
	case "minimal":
		effort = "low"
	}
	switch e.model.thinking {
	case never:
		return unsupported("reasoning_effort", "this model does not reason")
	case budgeted:
		e.thinkWithin(effort)
	case adaptive:
		if !e.forcesTool() { // refused together
			e.w.Thinking = &wireThinking{Type: "adaptive"}
		}
		e.output().Effort = effort
		if e.model.sampling {
			e.w.Temperature, e.w.TopP = nil, nil
			if effort == "xhigh" { // came with the models that take no sampling parameters
				e.output().Effort = "high"
			}
		}
	case byDefault, betweenTools, always:
		e.output().Effort = effort
	}
	return nil
}

func (e *encoder) doNotThink() {
	switch e.model.thinking {
	case adaptive, byDefault:
		e.w.Thinking = &wireThinking{Type: "disabled"}
	case betweenTools:
		e.w.Thinking = &wireThinking{Type: "between_tools"}
	case always:
		e.output().Effort = "low" // it cannot be switched off
	case budgeted, never:
	}
}

// budgets are how many tokens an effort is, for models that are given a number.
var budgets = map[string]int64{"low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_768, "max": 32_768}

// minBudget is the smallest that the API takes.
const minBudget = 1024

// thinkWithin gives a budget of at most three quarters of the answer. Such models refuse to think
// while a tool is forced, with other sampling, or inside of a tool loop whose thinking is not sent
// back, which no dialect but their own can; then they answer without.
func (e *encoder) thinkWithin(effort string) {
	budget := min(budgets[effort], e.w.MaxTokens*3/4)
	if budget < minBudget || e.forcesTool() || e.inToolLoop() {
		return
	}
	e.w.Thinking = &wireThinking{Type: "enabled", Budget: budget}
	e.w.Temperature, e.w.TopP = nil, nil
}

// inToolLoop reports whether the conversation waits for an answer to results of tools.
func (e *encoder) inToolLoop() bool {
	last := e.w.Messages[len(e.w.Messages)-1]
	return last.Content[0].Type == "tool_result"
}

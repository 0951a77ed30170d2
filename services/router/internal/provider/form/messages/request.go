package messages

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// The wire form of a messages request.
type (
	wireRequest struct {
		Model         string            `json:"model"`
		MaxTokens     int64             `json:"max_tokens,omitempty"`
		System        []wireBlock       `json:"system,omitempty"`
		Messages      []wireMessage     `json:"messages"`
		Stream        bool              `json:"stream,omitempty"`
		Temperature   *float64          `json:"temperature,omitempty"`
		TopP          *float64          `json:"top_p,omitempty"`
		TopK          *int64            `json:"top_k,omitempty"`
		StopSequences []string          `json:"stop_sequences,omitempty"`
		Tools         []wireTool        `json:"tools,omitempty"`
		ToolChoice    *wireChoice       `json:"tool_choice,omitempty"`
		Thinking      *wireThinking     `json:"thinking,omitempty"`
		OutputConfig  *wireOutput       `json:"output_config,omitempty"`
		ServiceTier   string            `json:"service_tier,omitempty"`
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
		IsError   bool            `json:"is_error,omitempty"`
		Title     string          `json:"title,omitempty"`
		Thinking  *string         `json:"thinking,omitempty"`
		Signature string          `json:"signature,omitempty"`
		Data      string          `json:"data,omitempty"`
		Cache     *wireCache      `json:"cache_control,omitempty"`
	}
	wireCache struct {
		Type string `json:"type"`
		TTL  string `json:"ttl,omitempty"`
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
		Cache       *wireCache      `json:"cache_control,omitempty"`
	}
	wireChoice struct {
		Type            string `json:"type"`
		Name            string `json:"name,omitempty"`
		DisableParallel bool   `json:"disable_parallel_tool_use,omitempty"`
	}
	wireThinking struct {
		Type    string `json:"type"`
		Budget  int64  `json:"budget_tokens,omitempty"`
		Display string `json:"display,omitempty"`
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

// who is what callers know the API as.
const who = "Anthropic"

func unsupported(param, why string) *fault.Error { return provider.Uncarried(who, param, why) }

// encodeBody converts a prompt. It returns whether the answer is streamed to us.
func encodeBody(p *completion.Prompt, name string, stream bool, o *completion.Overrides) (body []byte, streamed bool, err error) {
	e, err := encode(p, name)
	if err == nil {
		err = e.heeded(o)
	}
	if err != nil {
		return nil, false, err
	}
	e.w.Stream = stream || e.w.MaxTokens > longAnswer
	body, err = e.json()
	return body, e.w.Stream, err
}

// encodeCount converts a prompt whose tokens are to be counted: what says how to answer stays out, since
// it is refused there.
func encodeCount(p *completion.Prompt, name string) ([]byte, error) {
	e, err := encode(p, name)
	if err != nil {
		return nil, err
	}
	e.w = wireRequest{
		Model: e.w.Model, System: e.w.System, Messages: e.w.Messages, Tools: e.w.Tools, ToolChoice: e.w.ToolChoice,
		Thinking: e.w.Thinking, OutputConfig: e.w.OutputConfig,
	}
	return e.json()
}

func encode(p *completion.Prompt, name string) (*encoder, error) {
	e := &encoder{prompt: p, model: modelOf(name)}
	e.w.Model = name
	for _, step := range []func() error{e.refuse, e.limits, e.messages, e.tools, e.format, e.think} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if p.User != "" {
		e.w.Metadata = map[string]string{"user_id": p.User}
	}
	return e, nil
}

func (e *encoder) json() ([]byte, error) {
	body, err := encodeJSON(e.w)
	if err != nil {
		return nil, unsupported("messages", "it cannot be encoded").Because(err)
	}
	return body, nil
}

func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
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

// carried are the features that the API has a counterpart for.
var carried = []completion.Feature{
	completion.FeatureTemperature, completion.FeatureTopP, completion.FeatureTopK, completion.FeatureStop,
	completion.FeatureServiceTier, completion.FeatureReasoningEffort, completion.FeatureReasoningBudget,
	completion.FeatureTools, completion.FeatureToolChoice, completion.FeatureParallelToolCalls,
	completion.FeatureJSONObject, completion.FeatureJSONSchema, completion.FeatureImages,
	completion.FeatureToolImages, completion.FeatureDocuments,
}

// Lacks names what a model cannot be asked for; models with fixed sampling are not told of any.
func Lacks(p *completion.Prompt, model string) completion.Feature {
	if modelOf(model).sampling {
		return provider.Missing(p, carried...)
	}
	return provider.Missing(p, provider.Without(carried, provider.Sampling)...)
}

// refuse names what the API has no counterpart for.
func (e *encoder) refuse() error {
	err := provider.Carry(e.prompt, who, carried...)
	if err != nil {
		return err
	}
	switch e.w.ServiceTier = e.prompt.ServiceTier; e.w.ServiceTier {
	case "", "auto", "standard_only":
		return nil
	}
	return unsupported("service_tier", "it is auto or standard_only there")
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
		e.w.TopK = p.TopK
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
		result := wireBlock{Type: "tool_result", ToolUseID: e.toolID(m.ToolCallID), Content: blocks, IsError: m.ToolFailed}
		if n := len(m.Parts); n > 0 { // a mark at the end is the result's own
			result.Cache = cache(m.Parts[n-1].CacheTTL)
			if len(blocks) > 0 && result.Cache != nil {
				blocks[len(blocks)-1].Cache = nil
			}
		}
		return []wireBlock{result}, nil
	}
	for i, c := range m.ToolCalls {
		input := json.RawMessage(strings.TrimSpace(c.Arguments))
		if len(input) == 0 {
			input = json.RawMessage("{}")
		}
		if jsonscan.KindOf(input) != jsonscan.ObjectKind || !json.Valid(input) {
			return nil, unsupported(fmt.Sprintf("%s.tool_calls[%d].function.arguments", at, i), "it is not a JSON object")
		}
		blocks = append(blocks, wireBlock{Type: "tool_use", ID: e.toolID(c.ID), Name: c.Name, Input: input, Cache: cache(c.CacheTTL)})
		if !slices.Contains(e.called, c.Name) {
			e.called = append(e.called, c.Name)
		}
	}
	return blocks, nil
}

// mediaTypes are the pictures that the API takes.
var mediaTypes = []string{"image/jpeg", "image/png", "image/gif", "image/webp"}

// cache is a mark of what should be cached. Five minutes are the default.
func cache(ttl string) *wireCache {
	switch ttl {
	case "":
		return nil
	case "5m":
		return &wireCache{Type: "ephemeral"}
	}
	return &wireCache{Type: "ephemeral", TTL: ttl}
}

// parts converts content. Texts without anything to read are refused by the API, and left out; a mark on
// one goes to what stands before it.
func (e *encoder) parts(at string, m completion.Message) ([]wireBlock, error) {
	var blocks []wireBlock
	for i, p := range m.Parts {
		block, err := e.part(fmt.Sprintf("%s.content[%d]", at, i), m.Role, p)
		if err != nil {
			return nil, err
		}
		mark := cache(p.CacheTTL)
		switch {
		case block.Type != "":
			block.Cache = mark
			blocks = append(blocks, block)
		case mark != nil && len(blocks) > 0:
			blocks[len(blocks)-1].Cache = mark
		}
	}
	return blocks, nil
}

// part converts one piece, or returns a block without a type for one that is left out.
func (e *encoder) part(at string, role completion.Role, p completion.Part) (wireBlock, error) {
	if p.Reasoning != nil {
		if role != completion.Assistant {
			return wireBlock{}, unsupported(at, "only messages of the assistant hold reasoning")
		}
		return e.reasoning(p.Reasoning), nil
	}
	if !p.IsImage() && p.Document == nil {
		if strings.TrimSpace(p.Text) == "" {
			return wireBlock{}, nil
		}
		return wireBlock{Type: "text", Text: p.Text}, nil
	}
	if role != completion.User && role != completion.ToolRole {
		return wireBlock{}, unsupported(at, "only messages of the user and of tools can hold an image or a document")
	}
	if p.Document != nil {
		return document(at, p.Document)
	}
	switch {
	case p.ImageData == nil:
		return wireBlock{Type: "image", Source: &wireSource{Type: "url", URL: p.ImageURL}}, nil
	case !slices.Contains(mediaTypes, p.MediaType):
		return wireBlock{}, unsupported(at, "it takes JPEG, PNG, GIF and WebP only")
	}
	return wireBlock{Type: "image", Source: &wireSource{
		Type: "base64", MediaType: p.MediaType, Data: base64.StdEncoding.EncodeToString(p.ImageData),
	}}, nil
}

// reasoning sends back what the API signed or encrypted itself. Of anybody else's thinking it can take
// nothing, and a model that does not think takes none.
func (e *encoder) reasoning(r *completion.Reasoning) wireBlock {
	switch {
	case r.Format != completion.AnthropicState || e.model.thinking == never:
	case r.Encrypted != "":
		return wireBlock{Type: "redacted_thinking", Data: r.Encrypted}
	case r.Signature != "":
		return wireBlock{Type: "thinking", Thinking: &r.Text, Signature: r.Signature}
	}
	return wireBlock{}
}

// document converts a file.
func document(at string, d *completion.Document) (wireBlock, error) {
	block := wireBlock{Type: "document", Title: d.Name}
	kind, _, _ := strings.Cut(d.MediaType, ";")
	switch {
	case d.Data == nil && d.URL != "":
		block.Source = &wireSource{Type: "url", URL: d.URL}
	case kind == "application/pdf":
		block.Source = &wireSource{Type: "base64", MediaType: kind, Data: base64.StdEncoding.EncodeToString(d.Data)}
	case strings.HasPrefix(kind, "text/") && utf8.Valid(d.Data):
		block.Source = &wireSource{Type: "text", MediaType: "text/plain", Data: string(d.Data)}
	default:
		return wireBlock{}, unsupported(at, "it takes PDF and text only")
	}
	return block, nil
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
		e.w.Tools = append(e.w.Tools, wireTool{Name: t.Name, Description: t.Description, InputSchema: schema, Strict: t.Strict, Cache: cache(t.CacheTTL)})
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
	budget := e.prompt.ReasoningBudget
	if effort == "" && budget != nil {
		effort = provider.EffortOf(*budget)
	}
	switch effort {
	case "":
		e.show()
		return nil
	case "none":
		e.doNotThink()
		return nil
	case "minimal":
		effort = "low"
	}
	switch e.model.thinking {
	case never:
		if budget != nil {
			return unsupported("reasoning_budget", "this model does not reason")
		}
		return unsupported("reasoning_effort", "this model does not reason")
	case budgeted:
		tokens := budgets[effort]
		if budget != nil {
			tokens = *budget
		}
		e.thinkWithin(tokens, budget != nil)
	case adaptive:
		if !e.forcesTool() { // refused together
			e.w.Thinking = &wireThinking{Type: "adaptive"}
		}
		e.output().Effort = effort
		if e.model.sampling {
			e.w.Temperature, e.w.TopP, e.w.TopK = nil, nil, nil
			if effort == "xhigh" { // came with the models that take no sampling parameters
				e.output().Effort = "high"
			}
		}
	case byDefault, betweenTools, always:
		e.output().Effort = effort
	}
	e.show()
	return nil
}

// show asks for a summary of the thinking, which the newest models leave out unless asked.
func (e *encoder) show() {
	if !e.prompt.ShowReasoning || e.model.sampling || e.forcesTool() {
		return
	}
	switch e.model.thinking {
	case byDefault, betweenTools, always:
		e.w.Thinking = &wireThinking{Type: "adaptive"}
	case budgeted, adaptive, never:
	}
	if e.w.Thinking != nil {
		e.w.Thinking.Display = "summarized"
	}
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

// thinkWithin gives a budget: of at most three quarters of the answer, or what the caller gave. Such
// models refuse to think while a tool is forced, with other sampling, or inside of a tool loop whose
// thinking is not sent back; then they answer without.
func (e *encoder) thinkWithin(budget int64, given bool) {
	if given {
		budget = min(max(budget, minBudget), e.w.MaxTokens-1)
	} else {
		budget = min(budget, e.w.MaxTokens*3/4)
	}
	if budget < minBudget || e.forcesTool() || e.inOpenToolLoop() {
		return
	}
	e.w.Thinking = &wireThinking{Type: "enabled", Budget: budget}
	e.w.Temperature, e.w.TopP, e.w.TopK = nil, nil, nil
}

// inOpenToolLoop reports whether the conversation waits for an answer to results of tools, and the
// thinking that led to their calls is not in it.
func (e *encoder) inOpenToolLoop() bool {
	n := len(e.w.Messages)
	if e.w.Messages[n-1].Content[0].Type != "tool_result" || n < 2 {
		return false
	}
	first := e.w.Messages[n-2].Content[0].Type
	return first != "thinking" && first != "redacted_thinking"
}

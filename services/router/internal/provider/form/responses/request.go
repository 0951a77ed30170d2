package responses

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// body is what goes out.
func (p *Form) body(call completion.Call) ([]byte, error) {
	if call.Raw {
		raw := call.Request.Raw
		if call.StripState {
			raw = stateless(raw)
		}
		if call.Overrides != nil {
			raw = overridden(raw, call.Overrides)
		}
		return editBody(raw, call.Model)
	}
	prompt, err := call.Prompt()
	if err != nil {
		return nil, err
	}
	return p.encode(prompt, call)
}

// editBody makes the caller's body the provider's. These are all edits:
//
//   - "model" becomes the provider's own name of the model, and is added if it is missing;
//   - our own routing fields are taken out;
//   - "store" becomes false where it is null, and is added so if it is missing: nothing is stored at a
//     provider unasked, and the provider's default is to store. Callers who ask for it are refused before;
//   - reasoning of other vendors, which their answers brought into the conversation and this API would
//     refuse, is taken out of "input";
//   - what a policy's line overrides, see overridden, and what is left out of the state of earlier reasoning
//     that another credential made, see stateless.
//
// Every other byte stays as it came.
func editBody(raw []byte, model string) ([]byte, error) {
	told := false
	mixed := bytes.Contains(raw, []byte(`"`+dialect.WrappedPrefix))
	return provider.Rewrite(raw, model, func(m *jsonscan.Members) []jsonscan.Edit {
		value := jsonscan.Edit{Start: m.ValueAt, End: m.ValueAt + len(m.Value)}
		switch string(m.Name) {
		case "store":
			told = true
			if jsonscan.Given(m.Value) {
				return nil
			}
			value.With = "false"
			return []jsonscan.Edit{value}
		case "input":
			if !mixed {
				return nil
			}
			if kept, some := own(m.Value); some {
				value.With = kept
				return []jsonscan.Edit{value}
			}
		}
		return nil
	}, func() string {
		if told {
			return ""
		}
		return `"store":false,`
	})
}

// own is the input without the reasoning of others, and whether there was some.
func own(input []byte) (kept string, some bool) {
	if jsonscan.KindOf(input) != jsonscan.ArrayKind {
		return "", false
	}
	out := []byte{'['}
	items := jsonscan.Array(input)
	for items.Next() {
		if isForeign(items.Value) {
			some = true
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, items.Value...)
	}
	return string(append(out, ']')), some
}

func isForeign(item []byte) bool {
	if of, _ := jsonscan.Text(jsonscan.Get(item, "type")); of != "reasoning" {
		return false
	}
	state, _ := jsonscan.Text(jsonscan.Get(item, "encrypted_content"))
	return dialect.Wrapped(state)
}

// carried are the features of a prompt that this form has.
var carried = []completion.Feature{
	completion.FeatureTemperature, completion.FeatureTopP, completion.FeatureLogprobs, completion.FeatureVerbosity,
	completion.FeatureServiceTier, completion.FeatureReasoningEffort, completion.FeatureReasoningBudget,
	completion.FeatureTools, completion.FeatureToolChoice, completion.FeatureParallelToolCalls,
	completion.FeatureJSONObject, completion.FeatureJSONSchema, completion.FeatureImages, completion.FeatureToolImages,
	completion.FeatureDocuments,
}

// Carries reports whether every part of a prompt has its place in this form.
func (p *Form) Carries(prompt *completion.Prompt) bool {
	return provider.Carry(prompt, p.vendor.Name, p.features()...) == nil
}

func (p *Form) features() []completion.Feature {
	if len(p.vendor.Lacks) == 0 {
		return carried
	}
	return slices.DeleteFunc(slices.Clone(carried), func(f completion.Feature) bool { return slices.Contains(p.vendor.Lacks, f) })
}

// The wire form of a request, as far as the neutral prompt fills it.
type (
	wireRequest struct {
		Model             string         `json:"model"`
		Input             []any          `json:"input"`
		Tools             []wireTool     `json:"tools,omitempty"`
		ToolChoice        any            `json:"tool_choice,omitempty"`
		ParallelToolCalls *bool          `json:"parallel_tool_calls,omitempty"`
		MaxOutputTokens   *int64         `json:"max_output_tokens,omitempty"`
		Temperature       *float64       `json:"temperature,omitempty"`
		TopP              *float64       `json:"top_p,omitempty"`
		TopLogprobs       int            `json:"top_logprobs,omitempty"`
		Reasoning         *wireReasoning `json:"reasoning,omitempty"`
		Text              *wireText      `json:"text,omitempty"`
		ServiceTier       string         `json:"service_tier,omitempty"`
		User              string         `json:"user,omitempty"`
		PromptCacheKey    string         `json:"prompt_cache_key,omitempty"`
		Include           []string       `json:"include,omitempty"`
		Store             *bool          `json:"store,omitempty"`
		Stream            bool           `json:"stream,omitempty"`
	}
	wireReasoning struct {
		Effort  string `json:"effort,omitempty"`
		Summary string `json:"summary,omitempty"`
	}
	wireText struct {
		Format    *wireFormat `json:"format,omitempty"`
		Verbosity string      `json:"verbosity,omitempty"`
	}
	wireFormat struct {
		Type   string          `json:"type"`
		Name   string          `json:"name,omitempty"`
		Strict *bool           `json:"strict,omitempty"`
		Schema json.RawMessage `json:"schema,omitempty"`
	}
	wireTool struct {
		Type        string          `json:"type"`
		Name        string          `json:"name"`
		Description string          `json:"description,omitempty"`
		Parameters  json.RawMessage `json:"parameters"`
		Strict      bool            `json:"strict"`
	}
	wireMessage struct {
		Type    string     `json:"type"`
		Role    string     `json:"role"`
		Content []wirePart `json:"content"`
	}
	wirePart struct {
		Type     string  `json:"type"`
		Text     *string `json:"text,omitempty"`
		ImageURL string  `json:"image_url,omitempty"`
		Detail   string  `json:"detail,omitempty"`
		FileURL  string  `json:"file_url,omitempty"`
		FileData string  `json:"file_data,omitempty"`
		Filename string  `json:"filename,omitempty"`
	}
	wireCall struct {
		Type      string `json:"type"`
		CallID    string `json:"call_id"`
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	}
	wireOutput struct {
		Type   string `json:"type"`
		CallID string `json:"call_id"`
		Output any    `json:"output"`
	}
	wireThought struct {
		Type      string     `json:"type"`
		ID        string     `json:"id,omitempty"`
		Summary   []wirePart `json:"summary"`
		Encrypted string     `json:"encrypted_content"`
	}
)

// encryptedReasoning is what is asked for so that reasoning can go on in the next turn.
const encryptedReasoning = "reasoning.encrypted_content"

// encode encodes the neutral prompt.
func (p *Form) encode(prompt *completion.Prompt, call completion.Call) ([]byte, error) {
	w, err := p.request(prompt, call.Model)
	if err != nil {
		return nil, err
	}
	w.MaxOutputTokens, w.Temperature, w.TopP = prompt.MaxOutputTokens, prompt.Temperature, prompt.TopP
	w.ServiceTier, w.User, w.PromptCacheKey = prompt.ServiceTier, prompt.User, prompt.CacheKey
	w.Stream, w.Store = call.Request.Stream, new(bool)
	if prompt.Logprobs {
		w.Include, w.TopLogprobs = append(w.Include, "message.output_text.logprobs"), prompt.TopLogprobs
	}
	if p.vendor.Reasons(call.Model) {
		w.Include = append(w.Include, encryptedReasoning)
		w.Temperature, w.TopP = unlessOne(w.Temperature), unlessOne(w.TopP)
	}
	return p.bytes(w)
}

// unlessOne leaves out what is the default: models that reason refuse to be told even that.
func unlessOne(n *float64) *float64 {
	if n != nil && *n == 1 {
		return nil
	}
	return n
}

// encodeCount encodes what of the prompt counts.
func (p *Form) encodeCount(prompt *completion.Prompt, call completion.Call) ([]byte, error) {
	w, err := p.request(prompt, call.Model)
	if err != nil {
		return nil, err
	}
	return p.bytes(w)
}

// request is what the model reads of a prompt.
func (p *Form) request(prompt *completion.Prompt, model string) (*wireRequest, error) {
	if err := provider.Carry(prompt, p.vendor.Name, p.features()...); err != nil {
		return nil, err
	}
	w := &wireRequest{Model: model, ParallelToolCalls: prompt.ParallelToolCalls, Reasoning: encodeReasoning(prompt)}
	for i := range prompt.Messages {
		items, err := p.message(fmt.Sprintf("messages[%d]", i), &prompt.Messages[i])
		if err != nil {
			return nil, err
		}
		w.Input = append(w.Input, items...)
	}
	for i, tool := range prompt.Tools {
		encoded, err := p.tool(fmt.Sprintf("tools[%d].parameters", i), tool)
		if err != nil {
			return nil, err
		}
		w.Tools = append(w.Tools, encoded)
	}
	switch c := prompt.ToolChoice; c.Mode {
	case "":
	case "named":
		w.ToolChoice = map[string]string{"type": "function", "name": c.Name}
	default:
		w.ToolChoice = c.Mode
	}
	var err error
	w.Text, err = p.text(prompt)
	return w, err
}

func (p *Form) bytes(w *wireRequest) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(w); err != nil {
		return nil, p.uncarried("messages", "it cannot be encoded").Because(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func (p *Form) uncarried(param, why string) *fault.Error {
	return provider.Uncarried(p.vendor.Name, param, why)
}

func encodeReasoning(prompt *completion.Prompt) *wireReasoning {
	w := wireReasoning{Effort: prompt.ReasoningEffort}
	if w.Effort == "" && prompt.ReasoningBudget != nil {
		w.Effort = provider.EffortOf(*prompt.ReasoningBudget)
	}
	if prompt.ShowReasoning && w.Effort != "none" {
		w.Summary = "auto"
	}
	if w == (wireReasoning{}) {
		return nil
	}
	return &w
}

// anything is the schema of a tool that has none.
var anything = json.RawMessage(`{"type":"object","properties":{}}`)

// tool encodes a tool. Not saying whether it is strict means that it is, in this form only.
func (p *Form) tool(param string, t completion.Tool) (wireTool, error) {
	w := wireTool{Type: "function", Name: t.Name, Description: t.Description, Parameters: anything, Strict: t.Strict != nil && *t.Strict}
	if t.Parameters != "" {
		w.Parameters = json.RawMessage(t.Parameters)
	}
	if !json.Valid(w.Parameters) {
		return wireTool{}, p.uncarried(param, "it is not JSON")
	}
	return w, nil
}

func (p *Form) text(prompt *completion.Prompt) (*wireText, error) {
	w := wireText{Verbosity: prompt.Verbosity}
	switch f := prompt.ResponseFormat; f.Kind {
	case "", "text":
	case "json_schema":
		if !json.Valid([]byte(f.Schema)) {
			return nil, p.uncarried("response_format.json_schema.schema", "it is not JSON")
		}
		strict := f.Strict != nil && *f.Strict
		w.Format = &wireFormat{Type: f.Kind, Name: f.Name, Strict: &strict, Schema: json.RawMessage(f.Schema)}
		if w.Format.Name == "" {
			w.Format.Name = "response"
		}
	default:
		w.Format = &wireFormat{Type: f.Kind}
	}
	if w == (wireText{}) {
		return nil, nil //nolint:nilnil // nothing to say is a text, too
	}
	return &w, nil
}

// roles are what the roles are called; that of tools is none here.
var roles = map[completion.Role]string{completion.System: "developer", completion.User: "user", completion.Assistant: "assistant"}

// message encodes a turn as items.
func (p *Form) message(at string, m *completion.Message) ([]any, error) {
	if m.Role == completion.ToolRole {
		output, err := p.output(at, m)
		return []any{wireOutput{Type: "function_call_output", CallID: m.ToolCallID, Output: output}}, err
	}
	var items []any
	var content []wirePart
	flush := func() {
		if len(content) > 0 {
			items = append(items, wireMessage{Type: "message", Role: roles[m.Role], Content: content})
			content = nil
		}
	}
	last := len(m.Parts)
	for len(m.ToolCalls) == 0 && last > 0 && m.Parts[last-1].Reasoning != nil {
		last-- // reasoning that nothing comes after is refused
	}
	for i := range m.Parts[:last] {
		part := &m.Parts[i]
		if part.Reasoning != nil {
			if thought, ok := encodeThought(part.Reasoning); ok {
				flush()
				items = append(items, thought)
			}
			continue
		}
		encoded, err := p.part(fmt.Sprintf("%s.content[%d]", at, i), part, m.Role)
		if err != nil {
			return nil, err
		}
		content = append(content, encoded)
	}
	flush()
	for _, c := range m.ToolCalls {
		call := wireCall{Type: "function_call", CallID: c.ID, Name: c.Name, Arguments: c.Arguments}
		if call.Arguments == "" { // some vendors write none so
			call.Arguments = "{}"
		}
		items = append(items, call)
	}
	return items, nil
}

// encodeThought gives reasoning of this form back; all other state is left out.
func encodeThought(r *completion.Reasoning) (wireThought, bool) {
	if r.Format != completion.OpenAIState || r.Encrypted == "" {
		return wireThought{}, false
	}
	w := wireThought{Type: "reasoning", ID: r.ID, Summary: []wirePart{}, Encrypted: r.Encrypted}
	if r.Summary && r.Text != "" {
		w.Summary = []wirePart{{Type: "summary_text", Text: &r.Text}}
	}
	return w, true
}

// output encodes what a tool answered: a text, or parts where it is more.
func (p *Form) output(at string, m *completion.Message) (any, error) {
	if len(m.Parts) == 0 {
		return "", nil
	}
	if len(m.Parts) == 1 && !m.Parts[0].IsImage() && m.Parts[0].Document == nil {
		return m.Parts[0].Text, nil
	}
	parts := make([]wirePart, 0, len(m.Parts))
	for i := range m.Parts {
		part, err := p.part(fmt.Sprintf("%s.content[%d]", at, i), &m.Parts[i], m.Role)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// part encodes a piece of content.
func (p *Form) part(at string, part *completion.Part, role completion.Role) (wirePart, error) {
	switch {
	case part.IsImage() || part.Document != nil:
		if role == completion.Assistant {
			return wirePart{}, p.uncarried(at, "an assistant's message can hold text only")
		}
	case role == completion.Assistant:
		return wirePart{Type: "output_text", Text: &part.Text}, nil
	default:
		return wirePart{Type: "input_text", Text: &part.Text}, nil
	}
	if d := part.Document; d != nil {
		w := wirePart{Type: "input_file", FileURL: d.URL, Filename: d.Name}
		switch {
		case d.URL != "":
			w.Filename = "" // is for data only
		case d.Data != nil:
			w.FileData = dataURL(d.MediaType, d.Data)
			if w.Filename == "" {
				w.Filename = filename(d.MediaType)
			}
		}
		return w, nil
	}
	w := wirePart{Type: "input_image", ImageURL: part.ImageURL, Detail: part.Detail}
	if part.ImageData != nil {
		w.ImageURL = dataURL(part.MediaType, part.ImageData)
	}
	return w, nil
}

// filename is for a file without a name: its end says what it is.
func filename(mediaType string) string {
	switch mediaType {
	case "application/pdf":
		return "document.pdf"
	case "text/plain":
		return "document.txt"
	}
	return "document"
}

func dataURL(mediaType string, data []byte) string {
	return "data:" + mediaType + ";base64," + base64.StdEncoding.EncodeToString(data)
}

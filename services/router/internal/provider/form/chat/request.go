package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

// body is what goes out, and how many choices it asks for.
type body struct {
	bytes   []byte
	choices int
}

func (p *Form) requestBody(ctx context.Context, call completion.Call) (body, error) {
	if call.Overrides != nil {
		if err := p.vendor.mayOverride(call.Overrides, p.vendor.of(call.Model)); err != nil {
			return body{}, err
		}
	}
	if call.Raw {
		return p.editBody(ctx, call)
	}
	prompt, err := call.Prompt()
	if err != nil {
		return body{}, err
	}
	encoded, err := p.encodeBody(ctx, prompt, call)
	return body{bytes: encoded, choices: 1}, err
}

// The wire form of a chat completions request, as far as the neutral prompt fills it.
type (
	wireRequest struct {
		Model               string          `json:"model"`
		Messages            []wireMessage   `json:"messages"`
		Tools               []wireTool      `json:"tools,omitempty"`
		ToolChoice          any             `json:"tool_choice,omitempty"`
		ParallelToolCalls   *bool           `json:"parallel_tool_calls,omitempty"`
		MaxCompletionTokens *int64          `json:"max_completion_tokens,omitempty"`
		MaxTokens           *int64          `json:"max_tokens,omitempty"`
		Temperature         *float64        `json:"temperature,omitempty"`
		TopP                *float64        `json:"top_p,omitempty"`
		TopK                *int64          `json:"top_k,omitempty"`
		FrequencyPenalty    *float64        `json:"frequency_penalty,omitempty"`
		PresencePenalty     *float64        `json:"presence_penalty,omitempty"`
		Stop                []string        `json:"stop,omitempty"`
		Logprobs            bool            `json:"logprobs,omitempty"`
		TopLogprobs         int             `json:"top_logprobs,omitempty"`
		ReasoningEffort     string          `json:"reasoning_effort,omitempty"`
		Verbosity           string          `json:"verbosity,omitempty"`
		ServiceTier         string          `json:"service_tier,omitempty"`
		ResponseFormat      *wireFormat     `json:"response_format,omitempty"`
		Seed                *int64          `json:"seed,omitempty"`
		RandomSeed          *int64          `json:"random_seed,omitempty"`
		User                string          `json:"user,omitempty"`
		CacheKey            string          `json:"prompt_cache_key,omitempty"`
		Stream              bool            `json:"stream,omitempty"`
		StreamOptions       map[string]bool `json:"stream_options,omitempty"`
	}
	wireTool struct {
		Type     string         `json:"type"`
		Function wireDefinition `json:"function"`
	}
	wireDefinition struct {
		Name        string          `json:"name"`
		Description string          `json:"description,omitempty"`
		Parameters  json.RawMessage `json:"parameters,omitempty"`
		Strict      *bool           `json:"strict,omitempty"`
	}
	wireFormat struct {
		Type       string      `json:"type"`
		JSONSchema *wireSchema `json:"json_schema,omitempty"`
	}
	wireSchema struct {
		Name   string          `json:"name"`
		Strict *bool           `json:"strict,omitempty"`
		Schema json.RawMessage `json:"schema"`
	}
)

// encodeBody encodes the neutral prompt.
func (p *Form) encodeBody(ctx context.Context, prompt *completion.Prompt, call completion.Call) ([]byte, error) {
	v, model := &p.vendor, p.vendor.of(call.Model)
	if model.FixedSampling {
		prompt = withoutSampling(prompt)
	}
	if err := provider.Carry(prompt, v.name(), v.carried(model)...); err != nil {
		return nil, err
	}
	w := wireRequest{
		Model: call.Model, ParallelToolCalls: prompt.ParallelToolCalls, Temperature: prompt.Temperature, TopP: prompt.TopP,
		TopK: prompt.TopK, FrequencyPenalty: prompt.FrequencyPenalty, PresencePenalty: prompt.PresencePenalty, Stop: prompt.Stop,
		Logprobs: prompt.Logprobs, TopLogprobs: prompt.TopLogprobs, Verbosity: prompt.Verbosity, ServiceTier: prompt.ServiceTier,
		Stream: call.Request.Stream,
	}
	if !model.NoEffort {
		w.ReasoningEffort = effort(prompt, v.efforts(model))
	}
	if v.takes("user", call.BaseURL) {
		w.User = prompt.User
	}
	if v.takes("prompt_cache_key", call.BaseURL) {
		w.CacheKey = prompt.CacheKey
	}
	if w.Stream && !v.NoStreamOptions {
		w.StreamOptions = map[string]bool{"include_usage": true}
	}
	if len(prompt.Tools) == 0 {
		w.ParallelToolCalls = nil // refused without tools
	}
	var err error
	if w.Messages, err = p.encodeMessages(ctx, prompt, model); err != nil {
		return nil, err
	}
	if w.Tools, err = v.encodeTools(prompt.Tools); err != nil {
		return nil, err
	}
	switch c := prompt.ToolChoice; c.Mode {
	case "":
	case "named":
		w.ToolChoice = map[string]any{"type": "function", "function": map[string]any{"name": c.Name}}
	default:
		w.ToolChoice = c.Mode
	}
	if w.ResponseFormat, err = v.encodeFormat(prompt.ResponseFormat); err != nil {
		return nil, err
	}
	w.name(v, prompt, call.BaseURL)
	var extra []Member
	if v.Extra != nil {
		extra = v.Extra(call.Model, prompt)
	}
	return v.encode(w, extra)
}

// takes reports whether a hint reaches the vendor.
func (v *Vendor) takes(hint, baseURL string) bool {
	if v.Name == "" {
		return hint == "user" || ownModels(baseURL) // which compatible servers know for certain
	}
	rule, given := v.Fields[hint]
	return !given || rule != Dropped
}

// withoutSampling leaves out what the model refuses to be told.
func withoutSampling(p *completion.Prompt) *completion.Prompt {
	without := *p
	without.Temperature, without.TopP, without.FrequencyPenalty, without.PresencePenalty = nil, nil, nil, nil
	return &without
}

// name puts in what vendors have different names for.
func (w *wireRequest) name(v *Vendor, p *completion.Prompt, baseURL string) {
	if v.maxTokens(baseURL) == "max_completion_tokens" {
		w.MaxCompletionTokens = p.MaxOutputTokens
	} else {
		w.MaxTokens = p.MaxOutputTokens
	}
	if v.Seed == "random_seed" {
		w.RandomSeed = p.Seed
	} else {
		w.Seed = p.Seed
	}
}

// encode writes the body, with the members at its end.
func (v *Vendor) encode(w wireRequest, members []Member) ([]byte, error) {
	b, err := encodeJSON(w)
	for _, m := range members {
		var value []byte
		if err == nil {
			value, err = encodeJSON(m.Value)
		}
		if err == nil {
			b = append(jsonscan.AppendText(append(b[:len(b)-1], ','), m.Name), ':')
			b = append(append(b, value...), '}')
		}
	}
	if err != nil {
		return nil, v.unsupported("messages", "it cannot be encoded").Because(err)
	}
	return b, nil
}

func encodeJSON(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func (v *Vendor) unsupported(param, why string) *fault.Error {
	return provider.Uncarried(v.name(), param, why)
}

// ownModels reports whether an address is OpenAI's.
func ownModels(baseURL string) bool {
	u, err := url.Parse(baseURL)
	return err == nil && (u.Hostname() == "api.openai.com" || strings.HasSuffix(u.Hostname(), ".api.openai.com"))
}

func (v *Vendor) encodeTools(tools []completion.Tool) ([]wireTool, error) {
	var out []wireTool
	for i, tool := range tools {
		d := wireDefinition{Name: tool.Name, Description: tool.Description, Strict: tool.Strict}
		if tool.Parameters != "" {
			if !json.Valid([]byte(tool.Parameters)) {
				return nil, v.unsupported(fmt.Sprintf("tools[%d].parameters", i), "it is not JSON")
			}
			d.Parameters = json.RawMessage(tool.Parameters)
			if v.CleanSchemas {
				d.Parameters = jsonscan.Apply(d.Parameters, withoutSchema(d.Parameters, 0))
			}
		}
		out = append(out, wireTool{Type: "function", Function: d})
	}
	return out, nil
}

func (v *Vendor) encodeFormat(f completion.ResponseFormat) (*wireFormat, error) {
	switch f.Kind {
	case "":
		return nil, nil //nolint:nilnil // no format is a format
	case "json_schema":
		if !json.Valid([]byte(f.Schema)) {
			return nil, v.unsupported("response_format.json_schema.schema", "it is not JSON")
		}
		name := f.Name
		if name == "" {
			name = "response"
		}
		return &wireFormat{Type: f.Kind, JSONSchema: &wireSchema{Name: name, Strict: f.Strict, Schema: json.RawMessage(f.Schema)}}, nil
	}
	return &wireFormat{Type: f.Kind}, nil
}

package chat

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
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

func requestBody(call completion.Call) (body, error) {
	if call.Raw {
		return editBody(call.Request.Raw, call.Model, call.Request.Stream)
	}
	prompt, err := call.Request.Decode()
	if err != nil {
		return body{}, err
	}
	encoded, err := encodeBody(prompt, call)
	return body{bytes: encoded, choices: 1}, err
}

// editBody makes the caller's body the provider's. These are all edits:
//
//   - "model" becomes the provider's own name of the model, and is added if it is missing;
//   - our own routing field is taken out;
//   - in a stream, "stream_options.include_usage" becomes true, or is added.
//
// Every other byte stays as it came, max_tokens too.
func editBody(raw []byte, model string, stream bool) (body, error) {
	out := body{choices: 1}
	ask := stream
	edited, err := provider.Rewrite(raw, model, func(m *jsonscan.Members) []jsonscan.Edit {
		switch string(m.Name) {
		case "stream_options":
			if stream {
				ask = false
				return includeUsage(m.Value, m.ValueAt)
			}
		case "n":
			if n, ok := jsonscan.Int(m.Value); ok && n > 1 && n <= 1024 {
				out.choices = int(n)
			}
		}
		return nil
	}, func() string {
		if ask {
			return `"stream_options":{"include_usage":true},`
		}
		return ""
	})
	out.bytes = edited
	return out, err
}

// includeUsage asks for the usage in given options, which begin at an offset.
func includeUsage(options []byte, at int) []jsonscan.Edit {
	if jsonscan.KindOf(options) != jsonscan.ObjectKind {
		return []jsonscan.Edit{{Start: at, End: at + len(options), With: `{"include_usage":true}`}}
	}
	m := jsonscan.Object(options)
	others, found := false, []jsonscan.Edit(nil)
	for m.Next() {
		others = true
		if string(m.Name) != "include_usage" {
			continue
		}
		found = append(found, jsonscan.Edit{Start: at + m.ValueAt, End: at + m.ValueAt + len(m.Value), With: "true"})
	}
	if found != nil {
		return found
	}
	with := `"include_usage":true`
	if others {
		with += ","
	}
	return []jsonscan.Edit{{Start: at + 1, End: at + 1, With: with}}
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
		Stop                []string        `json:"stop,omitempty"`
		ReasoningEffort     string          `json:"reasoning_effort,omitempty"`
		ResponseFormat      *wireFormat     `json:"response_format,omitempty"`
		Seed                *int64          `json:"seed,omitempty"`
		User                string          `json:"user,omitempty"`
		Stream              bool            `json:"stream,omitempty"`
		StreamOptions       map[string]bool `json:"stream_options,omitempty"`
	}
	wireMessage struct {
		Role       string     `json:"role"`
		Content    any        `json:"content"`
		ToolCalls  []wireCall `json:"tool_calls,omitempty"`
		ToolCallID string     `json:"tool_call_id,omitempty"`
	}
	wirePart struct {
		Type     string     `json:"type"`
		Text     *string    `json:"text,omitempty"`
		ImageURL *wireImage `json:"image_url,omitempty"`
	}
	wireImage struct {
		URL    string `json:"url"`
		Detail string `json:"detail,omitempty"`
	}
	wireCall struct {
		ID       string       `json:"id"`
		Type     string       `json:"type"`
		Function wireFunction `json:"function"`
	}
	wireFunction struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
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
func encodeBody(p *completion.Prompt, call completion.Call) ([]byte, error) {
	w := wireRequest{
		Model: call.Model, ParallelToolCalls: p.ParallelToolCalls, Temperature: p.Temperature, TopP: p.TopP, Stop: p.Stop,
		ReasoningEffort: p.ReasoningEffort, Seed: p.Seed, User: p.User, Stream: call.Request.Stream,
	}
	// OpenAI's newer models refuse the old name; compatible servers know it for certain.
	if ownModels(call.BaseURL) {
		w.MaxCompletionTokens = p.MaxOutputTokens
	} else {
		w.MaxTokens = p.MaxOutputTokens
	}
	if w.Stream {
		w.StreamOptions = map[string]bool{"include_usage": true}
	}
	for i, m := range p.Messages {
		message, err := encodeMessage(m)
		if err != nil {
			return nil, unsupported(fmt.Sprintf("messages[%d]", i), err.Error())
		}
		w.Messages = append(w.Messages, message)
	}
	for i, tool := range p.Tools {
		d := wireDefinition{Name: tool.Name, Description: tool.Description, Strict: tool.Strict}
		if tool.Parameters != "" {
			if !json.Valid([]byte(tool.Parameters)) {
				return nil, unsupported(fmt.Sprintf("tools[%d].parameters", i), "it is not JSON")
			}
			d.Parameters = json.RawMessage(tool.Parameters)
		}
		w.Tools = append(w.Tools, wireTool{Type: "function", Function: d})
	}
	switch c := p.ToolChoice; c.Mode {
	case "":
	case "named":
		w.ToolChoice = map[string]any{"type": "function", "function": map[string]any{"name": c.Name}}
	default:
		w.ToolChoice = c.Mode
	}
	var err error
	if w.ResponseFormat, err = encodeFormat(p.ResponseFormat); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(w); err != nil {
		return nil, unsupported("messages", "it cannot be encoded").Because(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func unsupported(param, why string) *fault.Error {
	return completion.ErrUnsupported.Saying("%s cannot be sent to OpenAI: %s", param, why).With("param", param)
}

// ownModels reports whether an address is OpenAI's.
func ownModels(baseURL string) bool {
	u, err := url.Parse(baseURL)
	return err == nil && (u.Hostname() == "api.openai.com" || strings.HasSuffix(u.Hostname(), ".api.openai.com"))
}

var errImage = errors.New("only a user's message can hold an image")

func encodeMessage(m completion.Message) (wireMessage, error) {
	w := wireMessage{Role: string(m.Role), ToolCallID: m.ToolCallID}
	for _, c := range m.ToolCalls {
		w.ToolCalls = append(w.ToolCalls, wireCall{ID: c.ID, Type: "function", Function: wireFunction{c.Name, c.Arguments}})
	}
	var parts []wirePart
	for _, p := range m.Parts {
		if !p.IsImage() {
			parts = append(parts, wirePart{Type: "text", Text: &p.Text})
			continue
		}
		if m.Role != completion.User {
			return wireMessage{}, errImage
		}
		image := wireImage{URL: p.ImageURL, Detail: p.Detail}
		if p.ImageData != nil {
			image.URL = "data:" + p.MediaType + ";base64," + base64.StdEncoding.EncodeToString(p.ImageData)
		}
		parts = append(parts, wirePart{Type: "image_url", ImageURL: &image})
	}
	switch {
	case len(parts) == 1 && parts[0].Text != nil:
		w.Content = *parts[0].Text
	case len(parts) > 0:
		w.Content = parts
	case len(m.ToolCalls) == 0:
		w.Content = ""
	}
	return w, nil
}

func encodeFormat(f completion.ResponseFormat) (*wireFormat, error) {
	switch f.Kind {
	case "":
		return nil, nil //nolint:nilnil // no format is a format
	case "json_schema":
		if !json.Valid([]byte(f.Schema)) {
			return nil, unsupported("response_format.json_schema.schema", "it is not JSON")
		}
		name := f.Name
		if name == "" {
			name = "response"
		}
		return &wireFormat{Type: f.Kind, JSONSchema: &wireSchema{Name: name, Strict: f.Strict, Schema: json.RawMessage(f.Schema)}}, nil
	}
	return &wireFormat{Type: f.Kind}, nil
}

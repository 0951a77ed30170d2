package openai

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// decodePrompt reads a whole body into the neutral form. Fields that change nothing about the answer
// are passed over, and so are those that only repeat a default; all others must be carried.
func decodePrompt(body []byte) (*completion.Prompt, error) {
	p := &completion.Prompt{}
	d := promptDecoder{p: p}
	m := jsonscan.Object(body)
	for m.Next() {
		if !jsonscan.Given(m.Value) {
			continue
		}
		if err := d.field(string(m.Name), m.Value); err != nil {
			return nil, err
		}
	}
	if m.Err() != nil {
		return nil, dialect.ErrMalformed.Because(m.Err())
	}
	if d.maxCompletion != nil {
		p.MaxOutputTokens = d.maxCompletion
	}
	if p.User == "" {
		p.User = d.safety
	}
	return p, nil
}

type promptDecoder struct {
	p             *completion.Prompt
	maxCompletion *int64
	safety        string
}

func (d *promptDecoder) field(name string, v []byte) (err error) {
	p := d.p
	switch name {
	case "messages":
		p.Messages, err = decodeMessages(v)
	case "tools":
		p.Tools, err = decodeTools(v)
	case "tool_choice":
		p.ToolChoice, err = decodeToolChoice(v)
	case "parallel_tool_calls":
		p.ParallelToolCalls, err = dialect.Boolean(name, v)
	case "max_tokens":
		p.MaxOutputTokens, err = dialect.Whole(name, v, 1)
	case "max_completion_tokens":
		d.maxCompletion, err = dialect.Whole(name, v, 1)
	case "temperature":
		p.Temperature, err = dialect.Decimal(name, v, 0, 2)
	case "top_p":
		p.TopP, err = dialect.Decimal(name, v, 0, 1)
	case "stop":
		p.Stop, err = decodeStop(v)
	case "reasoning_effort":
		p.ReasoningEffort, err = dialect.OneOf(name, v, "none", "minimal", "low", "medium", "high", "xhigh", "max")
	case "response_format":
		p.ResponseFormat, err = decodeFormat(v)
	case "seed":
		n, ok := jsonscan.Int(v)
		if !ok {
			return dialect.Invalid(name, "must be a whole number")
		}
		p.Seed = &n
	case "user":
		p.User, err = dialect.User(name, v)
	case "safety_identifier":
		d.safety, err = dialect.User(name, v)
	default:
		err = passedOver(name, v)
	}
	return err
}

// passedOver accepts the fields that need not be carried, as far as they need not.
func passedOver(name string, v []byte) error {
	fine := false
	switch name {
	case "model", "stream", "stream_options", "metadata", dialect.RoutingField, "prompt_cache_key", "prompt_cache_retention":
		fine = true
	case "n":
		n, ok := jsonscan.Int(v)
		fine = ok && n == 1
	case "store", "logprobs":
		yes, ok := jsonscan.True(v)
		fine = ok && !yes
	case "top_logprobs", "frequency_penalty", "presence_penalty":
		f, ok := jsonscan.Float(v)
		fine = ok && f == 0
	case "logit_bias":
		m := jsonscan.Object(v)
		fine = !m.Next() && m.Err() == nil
	case "service_tier":
		tier, _ := jsonscan.Text(v)
		fine = tier == "auto" || tier == "default"
	case "verbosity":
		verbosity, _ := jsonscan.Text(v)
		fine = verbosity == "medium"
	case "modalities":
		kinds := jsonscan.Array(v)
		fine = kinds.Next() && string(kinds.Value) == `"text"` && !kinds.Next() && kinds.Err() == nil
	}
	if fine {
		return nil
	}
	return dialect.Unknown(dialect.Clip(name))
}

func decodeMessages(v []byte) ([]completion.Message, error) {
	if jsonscan.KindOf(v) != jsonscan.ArrayKind {
		return nil, dialect.Invalid("messages", "must be an array")
	}
	var out []completion.Message
	messages := jsonscan.Array(v)
	for messages.Next() {
		at := fmt.Sprintf("messages[%d]", len(out))
		if jsonscan.KindOf(messages.Value) != jsonscan.ObjectKind {
			return nil, dialect.Invalid(at, "must be an object")
		}
		m, err := decodeMessage(at, messages.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

func decodeMessage(at string, v []byte) (completion.Message, error) {
	var out completion.Message
	role, ok := jsonscan.Text(jsonscan.Get(v, "role"))
	if !ok {
		return out, dialect.Invalid(at+".role", "is required")
	}
	switch role {
	case "developer", "system":
		out.Role = completion.System
	case "user", "assistant", "tool":
		out.Role = completion.Role(role)
	case "function":
		return out, dialect.Uncarried(at+".role", "functions are the older form of tools")
	default:
		return out, dialect.Invalid(at+".role", "must be one of developer, system, user, assistant, tool")
	}
	m := jsonscan.Object(v)
	for m.Next() {
		if !jsonscan.Given(m.Value) {
			continue
		}
		if err := messageField(&out, at, string(m.Name), m.Value); err != nil {
			return out, err
		}
	}
	if out.Role == completion.ToolRole && out.ToolCallID == "" {
		return out, dialect.Invalid(at+".tool_call_id", "is required")
	}
	return out, nil
}

func messageField(out *completion.Message, at, name string, v []byte) error {
	param := at + "." + dialect.Clip(name)
	switch name {
	case "role":
	case "content":
		parts, err := decodeContent(param, v, out.Role == completion.User)
		if err != nil {
			return err
		}
		out.Parts = append(out.Parts, parts...)
	case "tool_calls":
		if out.Role != completion.Assistant {
			return dialect.Invalid(param, "is for messages of the assistant")
		}
		calls, err := decodeToolCalls(param, v)
		if err != nil {
			return err
		}
		out.ToolCalls = calls
	case "tool_call_id":
		id, ok := jsonscan.Text(v)
		if !ok {
			return dialect.Invalid(param, "must be a string")
		}
		out.ToolCallID = id
	case "refusal": // what the assistant said, in another field
		said, err := dialect.Text(param, v, len(v))
		if err != nil {
			return err
		}
		if said != "" {
			out.Parts = append(out.Parts, completion.Part{Text: said})
		}
	case "reasoning_content", "reasoning", "annotations": // an answer sent back; no provider wants it
	case "name":
		if out.Role != completion.ToolRole { // there tool_call_id says it
			return dialect.Unknown(param)
		}
	default:
		return dialect.Unknown(param)
	}
	return nil
}

func decodeContent(param string, v []byte, pictures bool) ([]completion.Part, error) {
	switch jsonscan.KindOf(v) {
	case jsonscan.String:
		s, _ := jsonscan.Text(v)
		return []completion.Part{{Text: s}}, nil
	case jsonscan.ArrayKind:
	case jsonscan.Missing, jsonscan.Null, jsonscan.Bool, jsonscan.Number, jsonscan.ObjectKind:
		return nil, dialect.Invalid(param, "must be a string or an array of parts")
	}
	var out []completion.Part
	parts := jsonscan.Array(v)
	for parts.Next() {
		part, err := decodePart(fmt.Sprintf("%s[%d]", param, len(out)), parts.Value, pictures)
		if err != nil {
			return nil, err
		}
		out = append(out, part)
	}
	return out, nil
}

func decodePart(at string, v []byte, pictures bool) (completion.Part, error) {
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return completion.Part{}, dialect.Invalid(at, "must be an object")
	}
	kind, _ := jsonscan.Text(jsonscan.Get(v, "type"))
	field := kind
	switch kind {
	case "text", "refusal":
	case "image_url":
		if !pictures {
			return completion.Part{}, dialect.Invalid(at+".type", "can only be image_url in a user's message")
		}
	case "":
		return completion.Part{}, dialect.Invalid(at+".type", "is required")
	default:
		return completion.Part{}, dialect.Uncarried(at+".type", "parts of type "+dialect.Clip(kind)+" have no counterpart")
	}
	m := jsonscan.Object(v)
	for m.Next() {
		if name := string(m.Name); name != "type" && name != field && jsonscan.Given(m.Value) {
			return completion.Part{}, dialect.Unknown(at + "." + dialect.Clip(name))
		}
	}
	value := jsonscan.Get(v, field)
	if kind == "image_url" {
		return decodeImage(at+".image_url", value)
	}
	s, ok := jsonscan.Text(value)
	if !ok {
		return completion.Part{}, dialect.Invalid(at+"."+field, "must be a string")
	}
	return completion.Part{Text: s}, nil
}

func decodeImage(at string, v []byte) (completion.Part, error) {
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return completion.Part{}, dialect.Invalid(at, "must be an object")
	}
	url, ok := jsonscan.Text(jsonscan.Get(v, "url"))
	if !ok || url == "" {
		return completion.Part{}, dialect.Invalid(at+".url", "must be a string")
	}
	detail, err := dialect.Text(at+".detail", jsonscan.Get(v, "detail"), 16)
	if err != nil {
		return completion.Part{}, err
	}
	part := completion.Part{Detail: detail}
	rest, isData := strings.CutPrefix(url, "data:")
	if !isData {
		if !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") {
			return completion.Part{}, dialect.Invalid(at+".url", "must be an http, https or data URL")
		}
		part.ImageURL = url
		return part, nil
	}
	media, data, found := strings.Cut(rest, ",")
	media, isBase64 := strings.CutSuffix(media, ";base64")
	if !found || !isBase64 {
		return completion.Part{}, dialect.Invalid(at+".url", "must be data in base64")
	}
	if part.ImageData, err = base64.StdEncoding.DecodeString(data); err != nil {
		return completion.Part{}, dialect.Invalid(at+".url", "is not valid base64")
	}
	part.MediaType, _, _ = strings.Cut(media, ";")
	return part, nil
}

func decodeToolCalls(at string, v []byte) ([]completion.ToolCall, error) {
	if jsonscan.KindOf(v) != jsonscan.ArrayKind {
		return nil, dialect.Invalid(at, "must be an array")
	}
	var out []completion.ToolCall
	calls := jsonscan.Array(v)
	for calls.Next() {
		param := fmt.Sprintf("%s[%d]", at, len(out))
		if kind, _ := jsonscan.Text(jsonscan.Get(calls.Value, "type")); kind != "function" && kind != "" {
			return nil, dialect.Uncarried(param+".type", "only functions have a counterpart")
		}
		id, ok1 := jsonscan.Text(jsonscan.Get(calls.Value, "id"))
		name, ok2 := jsonscan.Text(jsonscan.Get(calls.Value, "function", "name"))
		arguments, ok3 := jsonscan.Text(jsonscan.Get(calls.Value, "function", "arguments"))
		if !ok1 || !ok2 || !ok3 {
			return nil, dialect.Invalid(param, "needs id, function.name and function.arguments, all strings")
		}
		out = append(out, completion.ToolCall{ID: id, Name: name, Arguments: arguments})
	}
	return out, nil
}

func decodeTools(v []byte) ([]completion.Tool, error) {
	if jsonscan.KindOf(v) != jsonscan.ArrayKind {
		return nil, dialect.Invalid("tools", "must be an array")
	}
	var out []completion.Tool
	tools := jsonscan.Array(v)
	for tools.Next() {
		at := fmt.Sprintf("tools[%d]", len(out))
		if kind, _ := jsonscan.Text(jsonscan.Get(tools.Value, "type")); kind != "function" {
			return nil, dialect.Uncarried(at+".type", "only functions have a counterpart")
		}
		m := jsonscan.Object(jsonscan.Get(tools.Value, "function"))
		var tool completion.Tool
		for m.Next() {
			if !jsonscan.Given(m.Value) {
				continue
			}
			var err error
			switch name := at + ".function." + dialect.Clip(string(m.Name)); string(m.Name) {
			case "name":
				tool.Name, err = dialect.Text(name, m.Value, 128)
			case "description":
				tool.Description, err = dialect.Text(name, m.Value, len(m.Value))
			case "parameters":
				if jsonscan.KindOf(m.Value) != jsonscan.ObjectKind {
					err = dialect.Invalid(name, "must be an object")
				}
				tool.Parameters = string(m.Value)
			case "strict":
				tool.Strict, err = dialect.Boolean(name, m.Value)
			default:
				err = dialect.Unknown(name)
			}
			if err != nil {
				return nil, err
			}
		}
		if m.Err() != nil || tool.Name == "" {
			return nil, dialect.Invalid(at+".function.name", "is required")
		}
		out = append(out, tool)
	}
	return out, nil
}

func decodeToolChoice(v []byte) (completion.ToolChoice, error) {
	if mode, ok := jsonscan.Text(v); ok {
		if !slices.Contains([]string{"none", "auto", "required"}, mode) {
			return completion.ToolChoice{}, dialect.Invalid("tool_choice", "must be none, auto, required or a function")
		}
		return completion.ToolChoice{Mode: mode}, nil
	}
	if kind, _ := jsonscan.Text(jsonscan.Get(v, "type")); kind != "function" {
		return completion.ToolChoice{}, dialect.Uncarried("tool_choice.type", "only functions have a counterpart")
	}
	name, ok := jsonscan.Text(jsonscan.Get(v, "function", "name"))
	if !ok || name == "" {
		return completion.ToolChoice{}, dialect.Invalid("tool_choice.function.name", "is required")
	}
	return completion.ToolChoice{Mode: "named", Name: name}, nil
}

func decodeStop(v []byte) ([]string, error) {
	if s, ok := jsonscan.Text(v); ok {
		return []string{s}, nil
	}
	var out []string
	stops := jsonscan.Array(v)
	for stops.Next() {
		s, ok := jsonscan.Text(stops.Value)
		if !ok || len(out) == 4 {
			return nil, dialect.Invalid("stop", "must be a string or up to 4 strings")
		}
		out = append(out, s)
	}
	if stops.Err() != nil {
		return nil, dialect.Invalid("stop", "must be a string or up to 4 strings")
	}
	return out, nil
}

func decodeFormat(v []byte) (completion.ResponseFormat, error) {
	kind, err := dialect.OneOf("response_format.type", jsonscan.Get(v, "type"), "text", "json_object", "json_schema")
	out := completion.ResponseFormat{Kind: kind}
	if err != nil || kind != "json_schema" {
		return out, err
	}
	m := jsonscan.Object(jsonscan.Get(v, "json_schema"))
	for m.Next() {
		if !jsonscan.Given(m.Value) {
			continue
		}
		switch name := "response_format.json_schema." + dialect.Clip(string(m.Name)); string(m.Name) {
		case "name":
			out.Name, err = dialect.Text(name, m.Value, 128)
		case "schema":
			if jsonscan.KindOf(m.Value) != jsonscan.ObjectKind {
				err = dialect.Invalid(name, "must be an object")
			}
			out.Schema = string(m.Value)
		case "strict":
			out.Strict, err = dialect.Boolean(name, m.Value)
		case "description": // told to no model; the name and the schema say it
		default:
			err = dialect.Unknown(name)
		}
		if err != nil {
			return out, err
		}
	}
	if m.Err() != nil || out.Schema == "" {
		return out, dialect.Invalid("response_format.json_schema.schema", "is required")
	}
	return out, nil
}

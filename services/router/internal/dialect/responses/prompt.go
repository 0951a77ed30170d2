package responses

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
	if err := dialect.Fields(body, d.field); err != nil {
		return nil, err
	}
	if d.instructions != "" {
		system := completion.Message{Role: completion.System, Parts: []completion.Part{{Text: d.instructions}}}
		p.Messages = slices.Insert(p.Messages, 0, system)
	}
	if len(p.Messages) == 0 {
		return nil, dialect.Invalid("input", "is required")
	}
	if p.User == "" {
		p.User = d.safety
	}
	if !p.Logprobs {
		p.TopLogprobs = 0
	}
	return p, nil
}

type promptDecoder struct {
	p                    *completion.Prompt
	instructions, safety string
}

func (d *promptDecoder) field(name string, v []byte) (err error) {
	p := d.p
	switch name {
	case "input":
		p.Messages, err = decodeInput(v)
	case "instructions":
		d.instructions, err = dialect.Text(name, v, len(v))
	case "tools":
		p.Tools, err = decodeTools(v)
	case "tool_choice":
		p.ToolChoice, err = decodeToolChoice(v)
	case "parallel_tool_calls":
		p.ParallelToolCalls, err = dialect.Boolean(name, v)
	case "max_output_tokens":
		p.MaxOutputTokens, err = dialect.Whole(name, v, 1)
	case "temperature":
		p.Temperature, err = dialect.Decimal(name, v, 0, 2)
	case "top_p":
		p.TopP, err = dialect.Decimal(name, v, 0, 1)
	case "top_logprobs":
		n, ok := jsonscan.Int(v)
		if !ok || n < 0 || n > 20 {
			return dialect.Invalid(name, "must be a whole number from 0 to 20")
		}
		p.TopLogprobs = int(n)
		p.Logprobs = p.Logprobs || n > 0
	case "reasoning":
		err = d.reasoning(v)
	case "text":
		err = d.text(v)
	case "include":
		err = d.include(v)
	case "user":
		p.User, err = dialect.User(name, v)
	case "safety_identifier":
		d.safety, err = dialect.User(name, v)
	case "prompt_cache_key":
		p.CacheKey, err = dialect.Text(name, v, dialect.MaxCacheKey)
	case "service_tier":
		p.ServiceTier, err = dialect.OneOf(name, v, "auto", "default", "flex", "scale", "priority", "fast", "ultrafast")
		if p.ServiceTier == "auto" || p.ServiceTier == "default" {
			p.ServiceTier = ""
		}
	default:
		err = passedOver(name, v)
	}
	return err
}

// passedOver accepts the fields that need not be carried, as far as they need not.
func passedOver(name string, v []byte) error {
	fine := false
	switch name {
	case "model", "stream", "stream_options", "metadata", "store", "background",
		"prompt_cache_retention", "prompt_cache_options", "max_tool_calls": // the last one bounds hosted tools
		fine = true
	case "truncation":
		how, _ := jsonscan.Text(v)
		fine = how == "disabled"
	}
	if fine {
		return nil
	}
	return dialect.Unknown(dialect.Clip(name))
}

func (d *promptDecoder) reasoning(v []byte) error {
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return dialect.Invalid("reasoning", "must be an object")
	}
	m := jsonscan.Object(v)
	for m.Next() {
		if !jsonscan.Given(m.Value) {
			continue
		}
		var err error
		switch name := "reasoning." + dialect.Clip(string(m.Name)); string(m.Name) {
		case "effort":
			d.p.ReasoningEffort, err = dialect.OneOf(name, m.Value, "none", "minimal", "low", "medium", "high", "xhigh", "max")
		case "summary", "generate_summary":
			_, err = dialect.OneOf(name, m.Value, "auto", "concise", "detailed")
			d.p.ShowReasoning = true
		default:
			err = dialect.Unknown(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *promptDecoder) text(v []byte) error {
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return dialect.Invalid("text", "must be an object")
	}
	m := jsonscan.Object(v)
	for m.Next() {
		if !jsonscan.Given(m.Value) {
			continue
		}
		var err error
		switch name := "text." + dialect.Clip(string(m.Name)); string(m.Name) {
		case "format":
			d.p.ResponseFormat, err = decodeFormat(m.Value)
		case "verbosity":
			d.p.Verbosity, err = dialect.OneOf(name, m.Value, "low", "medium", "high")
			if d.p.Verbosity == "medium" {
				d.p.Verbosity = ""
			}
		default:
			err = dialect.Unknown(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func decodeFormat(v []byte) (completion.ResponseFormat, error) {
	var out completion.ResponseFormat
	var err error
	m := jsonscan.Object(v)
	for m.Next() {
		if !jsonscan.Given(m.Value) {
			continue
		}
		switch name := "text.format." + dialect.Clip(string(m.Name)); string(m.Name) {
		case "type":
			out.Kind, err = dialect.OneOf(name, m.Value, "text", "json_object", "json_schema")
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
	switch {
	case out.Kind == "":
		return out, dialect.Invalid("text.format.type", "is required")
	case out.Kind == "json_schema" && out.Schema == "":
		return out, dialect.Invalid("text.format.schema", "is required")
	case out.Kind == "text":
		return completion.ResponseFormat{}, nil
	}
	return out, nil
}

// include reads what else the answer shall hold. Encrypted reasoning is in it unasked, and pictures of the
// input and results of hosted tools, which there are none of, add nothing.
func (d *promptDecoder) include(v []byte) error {
	if jsonscan.KindOf(v) != jsonscan.ArrayKind {
		return dialect.Invalid("include", "must be an array")
	}
	list := jsonscan.Array(v)
	for list.Next() {
		switch what, _ := jsonscan.Text(list.Value); what {
		case "message.output_text.logprobs":
			d.p.Logprobs = true
		case "reasoning.encrypted_content", "message.input_image.image_url", "web_search_call.action.sources",
			"code_interpreter_call.outputs", "computer_call_output.output.image_url", "file_search_call.results":
		default:
			return dialect.Uncarried("include", dialect.Clip(what)+" has no counterpart")
		}
	}
	return nil
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
			return nil, dialect.Uncarried(at+".type", "tools of type "+dialect.Clip(kind)+" run at OpenAI or are its own; only functions have a counterpart")
		}
		tool, err := decodeTool(at, tools.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, tool)
	}
	return out, nil
}

// decodeTool reads a function. One that does not say whether it is strict is, in this dialect; but what was
// not asked for is not asked of others, which check schemas in ways of their own.
func decodeTool(at string, v []byte) (completion.Tool, error) {
	var tool completion.Tool
	m := jsonscan.Object(v)
	for m.Next() {
		if !jsonscan.Given(m.Value) {
			continue
		}
		var err error
		switch name := at + "." + dialect.Clip(string(m.Name)); string(m.Name) {
		case "type":
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
			return tool, err
		}
	}
	if tool.Name == "" {
		return tool, dialect.Invalid(at+".name", "is required")
	}
	return tool, nil
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
	name, ok := jsonscan.Text(jsonscan.Get(v, "name"))
	if !ok || name == "" {
		return completion.ToolChoice{}, dialect.Invalid("tool_choice.name", "is required")
	}
	return completion.ToolChoice{Mode: "named", Name: name}, nil
}

// picture reads the address of a picture, or its bytes.
func picture(param, url string) (completion.Part, error) {
	rest, isData := strings.CutPrefix(url, "data:")
	if !isData {
		if !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") {
			return completion.Part{}, dialect.Invalid(param, "must be an http, https or data URL")
		}
		return completion.Part{ImageURL: url}, nil
	}
	media, data, err := inline(param, rest)
	return completion.Part{ImageData: data, MediaType: media}, err
}

// inline reads what follows "data:".
func inline(param, rest string) (media string, data []byte, err error) {
	media, encoded, found := strings.Cut(rest, ",")
	media, isBase64 := strings.CutSuffix(media, ";base64")
	if !found || !isBase64 {
		return "", nil, dialect.Invalid(param, "must be data in base64")
	}
	if data, err = base64.StdEncoding.DecodeString(encoded); err != nil {
		return "", nil, dialect.Invalid(param, "is not valid base64")
	}
	media, _, _ = strings.Cut(media, ";")
	return media, data, nil
}

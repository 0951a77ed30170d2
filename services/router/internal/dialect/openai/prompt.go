package openai

import (
	"fmt"
	"slices"

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
	if d.maxCompletion != nil {
		p.MaxOutputTokens = d.maxCompletion
	}
	if p.User == "" {
		p.User = d.safety
	}
	if p.TopLogprobs > 0 {
		p.Logprobs = true
	}
	markLast(p.Messages, d.cache)
	return p, nil
}

type promptDecoder struct {
	p             *completion.Prompt
	maxCompletion *int64
	safety        string
	cache         string // a mark on the whole
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
	case "top_k":
		p.TopK, err = dialect.Whole(name, v, 0)
	case "frequency_penalty":
		p.FrequencyPenalty, err = penalty(name, v)
	case "presence_penalty":
		p.PresencePenalty, err = penalty(name, v)
	case "logprobs":
		p.Logprobs, err = dialect.Truth(name, v)
	case "top_logprobs":
		p.TopLogprobs, err = topLogprobs(name, v)
	case "verbosity":
		if p.Verbosity, err = dialect.OneOf(name, v, "low", "medium", "high"); p.Verbosity == "medium" {
			p.Verbosity = "" // everybody's default
		}
	case "service_tier":
		if p.ServiceTier, err = dialect.Text(name, v, 64); p.ServiceTier == "auto" || p.ServiceTier == "default" {
			p.ServiceTier = ""
		}
	case "prompt_cache_key":
		p.CacheKey, err = dialect.Text(name, v, dialect.MaxCacheKey)
	case "cache_control":
		d.cache, err = cacheTTL(name, v)
	case "reasoning_effort":
		p.ReasoningEffort, err = effort(name, v)
	case "reasoning":
		err = d.reasoning(v)
	case "include_reasoning":
		p.ShowReasoning, err = dialect.Truth(name, v)
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
	case "model", "stream", "stream_options", "metadata", "prompt_cache_retention", "prompt_cache_options":
		fine = true
	case "n":
		n, ok := jsonscan.Int(v)
		fine = ok && n == 1
	case "store":
		yes, ok := jsonscan.True(v)
		fine = ok && !yes
	case "logit_bias":
		m := jsonscan.Object(v)
		fine = !m.Next() && m.Err() == nil
	case "modalities":
		kinds := jsonscan.Array(v)
		fine = kinds.Next() && string(kinds.Value) == `"text"` && !kinds.Next() && kinds.Err() == nil
	}
	if fine {
		return nil
	}
	return dialect.Unknown(dialect.Clip(name))
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
		ttl, err := cacheTTL(at+".cache_control", jsonscan.Get(tools.Value, "cache_control"))
		if err != nil {
			return nil, err
		}
		m := jsonscan.Object(jsonscan.Get(tools.Value, "function"))
		tool := completion.Tool{CacheTTL: ttl}
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

// penalty reads a penalty. None is everybody's default.
func penalty(param string, v []byte) (*float64, error) {
	f, err := dialect.Decimal(param, v, -2, 2)
	if err != nil || *f == 0 {
		return nil, err
	}
	return f, nil
}

func topLogprobs(param string, v []byte) (int, error) {
	n, ok := jsonscan.Int(v)
	if !ok || n < 0 || n > 20 {
		return 0, dialect.Invalid(param, "must be a whole number from 0 to 20")
	}
	return int(n), nil
}

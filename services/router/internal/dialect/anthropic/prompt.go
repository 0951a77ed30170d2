package anthropic

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// decodePrompt reads a whole body into the neutral form. Fields that change nothing about the answer are
// passed over, and so are those that only repeat a default; all others must be carried.
func decodePrompt(body []byte) (*completion.Prompt, error) {
	d := decoder{p: &completion.Prompt{}}
	if err := dialect.Fields(body, d.field); err != nil {
		return nil, err
	}
	d.p.Messages = append(d.system, d.p.Messages...)
	d.think()
	markLast(d.p.Messages, d.cache)
	return d.p, nil
}

type decoder struct {
	p      *completion.Prompt
	system []completion.Message
	// thinking and display are of thinking, effort of output_config; cache is a mark on the whole.
	thinking, display, effort, cache string
}

func (d *decoder) field(name string, v []byte) (err error) {
	p := d.p
	switch name {
	case "messages":
		p.Messages, err = decodeMessages(v)
	case "system":
		var parts []completion.Part
		if parts, err = texts(name, v); len(parts) > 0 {
			d.system = []completion.Message{{Role: completion.System, Parts: parts}}
		}
	case "max_tokens":
		p.MaxOutputTokens, err = dialect.Whole(name, v, 1)
	case "temperature":
		p.Temperature, err = dialect.Decimal(name, v, 0, 1)
	case "top_p":
		p.TopP, err = dialect.Decimal(name, v, 0, 1)
	case "top_k":
		p.TopK, err = dialect.Whole(name, v, 0)
	case "stop_sequences":
		p.Stop, err = words(name, v)
	case "metadata":
		err = d.metadata(v)
	case "tools":
		p.Tools, err = decodeTools(v)
	case "tool_choice":
		err = d.choice(v)
	case "thinking":
		err = d.readThinking(v)
	case "output_config":
		err = d.output(v)
	case "output_format": // the older name of output_config.format
		p.ResponseFormat, err = format(name, v)
	case "service_tier":
		if p.ServiceTier, err = dialect.OneOf(name, v, "auto", "standard_only"); p.ServiceTier == "auto" {
			p.ServiceTier = ""
		}
	case "cache_control":
		d.cache, err = cacheTTL(name, v)
	default:
		err = passedOver(name, v)
	}
	return err
}

// passedOver accepts the fields that need not be carried, as far as they need not.
func passedOver(name string, v []byte) error {
	fine := false
	switch name {
	case "model", "stream":
		fine = true
	case "speed":
		s, _ := jsonscan.Text(v)
		fine = s == "standard"
	case "mcp_servers", "betas":
		list := jsonscan.Array(v)
		fine = !list.Next() && list.Err() == nil
	}
	if fine {
		return nil
	}
	return dialect.Unknown(dialect.Clip(name))
}

func (d *decoder) metadata(v []byte) (err error) {
	if d.p.User, err = user(v); err != nil {
		return err
	}
	m := jsonscan.Object(v)
	for m.Next() {
		if name := string(m.Name); name != "user_id" && jsonscan.Given(m.Value) {
			return dialect.Unknown("metadata." + dialect.Clip(name))
		}
	}
	return nil
}

// readThinking reads how the model shall think. See think.
func (d *decoder) readThinking(v []byte) (err error) {
	m := jsonscan.Object(v)
	for m.Next() {
		if !jsonscan.Given(m.Value) {
			continue
		}
		switch name := "thinking." + dialect.Clip(string(m.Name)); string(m.Name) {
		case "type":
			d.thinking, err = dialect.OneOf(name, m.Value, "enabled", "adaptive", "disabled", "between_tools")
		case "budget_tokens":
			d.p.ReasoningBudget, err = dialect.Whole(name, m.Value, 1)
		case "display":
			d.display, err = dialect.OneOf(name, m.Value, "summarized", "omitted")
		default:
			err = dialect.Unknown(name)
		}
		if err != nil {
			return err
		}
	}
	if m.Err() != nil || d.thinking == "" {
		return dialect.Invalid("thinking.type", "is required")
	}
	return nil
}

// think puts together what was said about thinking. A model that is to think as it sees fit does so with
// the effort that is the API's own default.
func (d *decoder) think() {
	p := d.p
	p.ReasoningEffort = d.effort
	switch d.thinking {
	case "disabled", "between_tools":
		p.ReasoningEffort, p.ReasoningBudget = "none", nil
	case "adaptive":
		if d.effort == "" {
			p.ReasoningEffort = "high"
		}
		p.ReasoningBudget = nil
		fallthrough
	case "enabled":
		p.ShowReasoning = d.display != "omitted"
	}
}

func (d *decoder) output(v []byte) (err error) {
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return dialect.Invalid("output_config", "must be an object")
	}
	m := jsonscan.Object(v)
	for m.Next() {
		if !jsonscan.Given(m.Value) {
			continue
		}
		switch name := "output_config." + dialect.Clip(string(m.Name)); string(m.Name) {
		case "effort":
			d.effort, err = dialect.OneOf(name, m.Value, "low", "medium", "high", "xhigh", "max")
		case "format":
			d.p.ResponseFormat, err = format(name, m.Value)
		default:
			err = dialect.Unknown(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func format(param string, v []byte) (completion.ResponseFormat, error) {
	if _, err := dialect.OneOf(param+".type", jsonscan.Get(v, "type"), "json_schema"); err != nil {
		return completion.ResponseFormat{}, err
	}
	schema := jsonscan.Get(v, "schema")
	if jsonscan.KindOf(schema) != jsonscan.ObjectKind {
		return completion.ResponseFormat{}, dialect.Invalid(param+".schema", "must be an object")
	}
	if err := onlyMembers(param, v, "type", "schema"); err != nil {
		return completion.ResponseFormat{}, err
	}
	// The form has no name and is always kept to; others need both said.
	strict := true
	return completion.ResponseFormat{Kind: "json_schema", Name: "answer", Schema: string(schema), Strict: &strict}, nil
}

func (d *decoder) choice(v []byte) error {
	kind, err := dialect.OneOf("tool_choice.type", jsonscan.Get(v, "type"), "auto", "any", "tool", "none")
	if err != nil {
		return err
	}
	if err := onlyMembers("tool_choice", v, "type", "name", "disable_parallel_tool_use"); err != nil {
		return err
	}
	choice := &d.p.ToolChoice
	switch kind {
	case "any":
		choice.Mode = "required"
	case "tool":
		choice.Mode = "named"
		if choice.Name, err = dialect.Text("tool_choice.name", jsonscan.Get(v, "name"), 128); err == nil && choice.Name == "" {
			err = dialect.Invalid("tool_choice.name", "is required")
		}
	default:
		choice.Mode = kind
	}
	if err != nil {
		return err
	}
	alone, err := dialect.Truth("tool_choice.disable_parallel_tool_use", jsonscan.Get(v, "disable_parallel_tool_use"))
	if alone {
		parallel := false
		d.p.ParallelToolCalls = &parallel
	}
	return err
}

func decodeTools(v []byte) ([]completion.Tool, error) {
	if jsonscan.KindOf(v) != jsonscan.ArrayKind {
		return nil, dialect.Invalid("tools", "must be an array")
	}
	var out []completion.Tool
	tools := jsonscan.Array(v)
	for tools.Next() {
		at := fmt.Sprintf("tools[%d]", len(out))
		if jsonscan.KindOf(tools.Value) != jsonscan.ObjectKind {
			return nil, dialect.Invalid(at, "must be an object")
		}
		tool, err := decodeTool(at, tools.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, tool)
	}
	return out, nil
}

func decodeTool(at string, v []byte) (tool completion.Tool, err error) {
	if kind, _ := jsonscan.Text(jsonscan.Get(v, "type")); kind != "" && kind != "custom" {
		return tool, dialect.Uncarried(at+".type", "tools that Anthropic runs or defines itself, such as "+dialect.Clip(kind)+", have no counterpart")
	}
	m := jsonscan.Object(v)
	for m.Next() {
		if !jsonscan.Given(m.Value) {
			continue
		}
		switch name := at + "." + dialect.Clip(string(m.Name)); string(m.Name) {
		case "type", "eager_input_streaming":
		case "name":
			tool.Name, err = dialect.Text(name, m.Value, 128)
		case "description":
			tool.Description, err = dialect.Text(name, m.Value, len(m.Value))
		case "input_schema":
			if jsonscan.KindOf(m.Value) != jsonscan.ObjectKind {
				err = dialect.Invalid(name, "must be an object")
			}
			tool.Parameters = string(m.Value)
		case "strict":
			tool.Strict, err = dialect.Boolean(name, m.Value)
		case "cache_control":
			tool.CacheTTL, err = cacheTTL(name, m.Value)
		case "defer_loading":
			if yes, ok := jsonscan.True(m.Value); yes || !ok {
				err = dialect.Unknown(name)
			}
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

// cacheTTL reads a mark of what should be cached.
func cacheTTL(param string, v []byte) (string, error) {
	if !jsonscan.Given(v) {
		return "", nil
	}
	if _, err := dialect.OneOf(param+".type", jsonscan.Get(v, "type"), "ephemeral"); err != nil {
		return "", err
	}
	if ttl := jsonscan.Get(v, "ttl"); jsonscan.Given(ttl) {
		return dialect.OneOf(param+".ttl", ttl, "5m", "1h")
	}
	return "5m", nil
}

// markLast puts a mark on the whole where the provider would put it: at its end.
func markLast(messages []completion.Message, ttl string) {
	if ttl == "" || len(messages) == 0 {
		return
	}
	last := &messages[len(messages)-1]
	switch n := len(last.Parts); {
	case len(last.ToolCalls) > 0:
		if call := &last.ToolCalls[len(last.ToolCalls)-1]; call.CacheTTL == "" {
			call.CacheTTL = ttl
		}
	case n > 0 && last.Parts[n-1].CacheTTL == "" && last.Parts[n-1].Reasoning == nil:
		last.Parts[n-1].CacheTTL = ttl
	}
}

// onlyMembers refuses what an object has besides.
func onlyMembers(param string, v []byte, known ...string) error {
	m := jsonscan.Object(v)
next:
	for m.Next() {
		if !jsonscan.Given(m.Value) {
			continue
		}
		for _, name := range known {
			if string(m.Name) == name {
				continue next
			}
		}
		return dialect.Unknown(param + "." + dialect.Clip(string(m.Name)))
	}
	return nil
}

func words(param string, v []byte) ([]string, error) {
	var out []string
	list := jsonscan.Array(v)
	for list.Next() {
		s, ok := jsonscan.Text(list.Value)
		if !ok {
			return nil, dialect.Invalid(param, "must be an array of strings")
		}
		out = append(out, s)
	}
	if list.Err() != nil {
		return nil, dialect.Invalid(param, "must be an array of strings")
	}
	return out, nil
}

// source reads where a picture or a document is: data in base64, a text, or an address.
func source(at string, v []byte) (data []byte, media, url string, err error) {
	kind, _ := jsonscan.Text(jsonscan.Get(v, "type"))
	if media, err = dialect.Text(at+".media_type", jsonscan.Get(v, "media_type"), 128); err != nil {
		return nil, "", "", err
	}
	switch kind {
	case "url":
		url, err = dialect.Text(at+".url", jsonscan.Get(v, "url"), len(v))
		if err == nil && !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") {
			err = dialect.Invalid(at+".url", "must be an http or https URL")
		}
		return nil, "", url, err
	case "base64", "text":
		said, ok := jsonscan.Text(jsonscan.Get(v, "data"))
		if !ok {
			return nil, "", "", dialect.Invalid(at+".data", "must be a string")
		}
		data = []byte(said)
		if kind == "base64" {
			if data, err = base64.StdEncoding.DecodeString(said); err != nil {
				return nil, "", "", dialect.Invalid(at+".data", "is not valid base64")
			}
		}
		if media == "" {
			err = dialect.Invalid(at+".media_type", "is required")
		}
		return data, media, "", err
	case "":
		return nil, "", "", dialect.Invalid(at+".type", "is required")
	}
	return nil, "", "", dialect.Uncarried(at+".type", "sources of type "+dialect.Clip(kind)+" have no counterpart")
}

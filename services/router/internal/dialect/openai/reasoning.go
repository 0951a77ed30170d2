package openai

import (
	"fmt"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// formats are whose a state is, in the words of reasoning_details.
var formats = map[completion.StateFormat]string{
	completion.AnthropicState: "anthropic-claude-v1",
	completion.OpenAIState:    "openai-responses-v1",
	completion.GoogleState:    "google-gemini-v1",
	completion.BedrockState:   "bedrock-converse-v1",
}

// formatName is how a state is called; unknown is what it is called where there is none.
func formatName(f completion.StateFormat) string {
	if name, ok := formats[f]; ok {
		return name
	}
	return "unknown"
}

func formatOf(name string) completion.StateFormat {
	for format, called := range formats {
		if called == name {
			return format
		}
	}
	return completion.StateFormat(name)
}

func effort(param string, v []byte) (string, error) {
	return dialect.OneOf(param, v, "none", "minimal", "low", "medium", "high", "xhigh", "max")
}

// reasoning reads the object that many routers know: an effort or a budget, and whether to leave the text
// out of the answer. Who writes it wants to see the text else.
func (d *promptDecoder) reasoning(v []byte) (err error) {
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return dialect.Invalid("reasoning", "must be an object")
	}
	p := d.p
	var on, off, hidden bool
	m := jsonscan.Object(v)
	for m.Next() {
		if !jsonscan.Given(m.Value) {
			continue
		}
		switch name := "reasoning." + dialect.Clip(string(m.Name)); string(m.Name) {
		case "effort":
			p.ReasoningEffort, err = effort(name, m.Value)
		case "max_tokens":
			p.ReasoningBudget, err = dialect.Whole(name, m.Value, 0)
		case "exclude":
			hidden, err = dialect.Truth(name, m.Value)
		case "enabled":
			on, err = dialect.Truth(name, m.Value)
			off = !on
		case "summary":
			_, err = dialect.OneOf(name, m.Value, "auto", "concise", "detailed")
		default:
			err = dialect.Unknown(name)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case off:
		p.ReasoningEffort, p.ReasoningBudget = "none", nil
	case on && p.ReasoningEffort == "" && p.ReasoningBudget == nil:
		p.ReasoningEffort = "medium"
	}
	p.ShowReasoning = !hidden && p.ReasoningEffort != "none"
	return nil
}

// hidden reports whether a body asks for answers without the text of reasoning.
func hidden(body []byte) bool {
	if exclude, _ := jsonscan.True(jsonscan.Get(body, "reasoning", "exclude")); exclude {
		return true
	}
	include, ok := jsonscan.True(jsonscan.Get(body, "include_reasoning"))
	return ok && !include
}

// decodeDetails reads blocks of reasoning that come back. Entries of one index are one block: a stream gives
// them piece by piece, and a summary and what is encrypted come as two.
func decodeDetails(at string, v []byte) ([]completion.Part, error) {
	if jsonscan.KindOf(v) != jsonscan.ArrayKind {
		return nil, dialect.Invalid(at, "must be an array")
	}
	var out []completion.Part
	last := int64(-1)
	entries := jsonscan.Array(v)
	for i := 0; entries.Next(); i++ {
		param := fmt.Sprintf("%s[%d]", at, i)
		if jsonscan.KindOf(entries.Value) != jsonscan.ObjectKind {
			return nil, dialect.Invalid(param, "must be an object")
		}
		index, ok := jsonscan.Int(jsonscan.Get(entries.Value, "index"))
		if !ok || index != last || len(out) == 0 {
			out = append(out, completion.Part{Reasoning: &completion.Reasoning{}})
		}
		if last = index; !ok {
			last = -1
		}
		if err := addDetail(out[len(out)-1].Reasoning, param, entries.Value); err != nil {
			return nil, err
		}
	}
	for _, p := range out {
		if r := p.Reasoning; r.Signature == "" && r.Encrypted == "" {
			r.Format = ""
		}
	}
	return out, nil
}

// addDetail adds an entry to its block.
func addDetail(r *completion.Reasoning, at string, v []byte) error {
	kind, err := dialect.OneOf(at+".type", jsonscan.Get(v, "type"), "reasoning.text", "reasoning.summary", "reasoning.encrypted")
	if err != nil {
		return err
	}
	read := func(name string, into *string) {
		if err == nil {
			var s string
			if s, err = dialect.Text(at+"."+name, jsonscan.Get(v, name), len(v)); s != "" {
				*into += s
			}
		}
	}
	var format, id string
	read("format", &format)
	read("id", &id)
	read("signature", &r.Signature)
	switch kind {
	case "reasoning.text":
		read("text", &r.Text)
	case "reasoning.summary":
		r.Summary = true
		read("summary", &r.Text)
	case "reasoning.encrypted":
		read("data", &r.Encrypted)
	}
	if format != "" && format != "unknown" {
		r.Format = formatOf(format)
	}
	if id != "" {
		r.ID = id
	}
	if r.Format == completion.OpenAIState && r.Text != "" { // there, what is readable is a summary
		r.Summary = true
	}
	return err
}

// reasoned are the message's blocks of reasoning, which stand before all else.
func (d *messageDecoder) reasoned() []completion.Part {
	switch {
	case d.m.Role != completion.Assistant:
		return nil
	case len(d.thoughts) > 0:
		return d.thoughts
	case d.thought != "":
		return []completion.Part{{Reasoning: &completion.Reasoning{Text: d.thought}}}
	}
	return nil
}

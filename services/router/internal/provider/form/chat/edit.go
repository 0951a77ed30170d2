package chat

import (
	"context"
	"slices"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
	"github.com/claviger/claviger/services/router/internal/provider"
)

var errMalformed = fault.New(fault.Invalid, "MALFORMED_JSON", "the body is not a JSON object")

// editBody makes the caller's body the provider's. These are all edits:
//
//   - "model" becomes the provider's own name of the model, and is added if it is missing;
//   - our own routing fields are taken out;
//   - in a stream, "stream_options.include_usage" becomes true, or is added; where the vendor takes no
//     stream_options, they are taken out;
//   - what the vendor's Fields, Only and the model's FixedSampling say of members;
//   - in messages what InMessages and Roles say, ids of tool calls by ToolID, pictures by address become
//     data where the vendor fetches none, and thinking is added to tool calls that are refused without;
//   - "$schema" is taken out of the parameters of tools where it confuses models.
//   - what a policy's line overrides, see overridden, and what is left out of the state of earlier reasoning
//     that another credential made, see stateless.
//
// Every other byte stays as it came, max_tokens too.
func (p *Form) editBody(ctx context.Context, call completion.Call) (body, error) {
	out := body{choices: 1}
	e := &edit{
		form: p, vendor: &p.vendor, model: p.vendor.of(call.Model), name: call.Model, call: call, out: &out,
		ask: call.Request.Stream && !p.vendor.NoStreamOptions,
	}
	raw := call.Request.Raw
	if call.StripState {
		raw = stateless(raw)
	}
	if call.Overrides != nil {
		raw = p.overridden(raw, call)
	}
	edited, err := e.body(ctx, raw)
	out.bytes = edited
	return out, err
}

// edit is the work on one body.
type edit struct {
	form   *Form
	vendor *Vendor
	model  Model
	name   string
	call   completion.Call
	out    *body
	ask    bool // for usage
}

// body edits the whole of it.
func (e *edit) body(ctx context.Context, raw []byte) ([]byte, error) {
	cut := jsonscan.Cutter{Edits: make([]jsonscan.Edit, 1, 5)}
	hasModel := false
	m := jsonscan.Object(raw)
	for m.Next() {
		name := string(m.Name)
		value := jsonscan.Edit{Start: m.ValueAt, End: m.ValueAt + len(m.Value)}
		switch {
		case name == "model":
			hasModel = true
			value.With = quote(e.name)
			cut.Keep(value)
		case dialect.Ours(m.Name), name == "stream_options" && e.vendor.NoStreamOptions, e.model.FixedSampling && slices.Contains(sampling, name):
			cut.Remove(raw, 0, &m)
		case name == "stream_options" && e.call.Request.Stream:
			e.ask = false
			cut.Keep(includeUsage(m.Value, m.ValueAt)...)
		case name == "messages" && e.looksIntoMessages():
			edits, err := e.messages(ctx, m.Value, m.ValueAt)
			if err != nil {
				return nil, err
			}
			cut.Keep(edits...)
		case name == "tools" && e.vendor.CleanSchemas:
			cut.Keep(schemas(m.Value, m.ValueAt)...)
		default:
			if err := e.member(&cut, raw, &m); err != nil {
				return nil, err
			}
		}
	}
	if m.Err() != nil {
		return nil, errMalformed.Because(m.Err())
	}
	cut.Close()
	cut.Edits[0] = e.first(raw, hasModel, cut.Kept)
	return jsonscan.Apply(raw, cut.Edits), nil
}

// sampling are the members that models with fixed sampling refuse.
var sampling = []string{"temperature", "top_p", "presence_penalty", "frequency_penalty"}

// first are the members that are put before all others.
func (e *edit) first(raw []byte, hasModel bool, kept int) jsonscan.Edit {
	at := slices.Index(raw, '{') + 1
	insert := ""
	if !hasModel {
		insert = `"model":` + quote(e.name) + `,`
	}
	if e.ask {
		insert += `"stream_options":{"include_usage":true},`
	}
	if kept == 0 && insert != "" {
		insert = insert[:len(insert)-1]
	}
	return jsonscan.Edit{Start: at, End: at, With: insert}
}

// member edits a member as the vendor's table says.
func (e *edit) member(cut *jsonscan.Cutter, raw []byte, m *jsonscan.Members) error {
	name := string(m.Name)
	if name == "n" {
		if n, ok := jsonscan.Int(m.Value); ok && n > 1 && n <= 1024 {
			e.out.choices = int(n)
		}
	}
	rule, given := e.vendor.Fields[name]
	if !given {
		if e.vendor.Only == nil || slices.Contains(e.vendor.Only, name) {
			cut.Keep()
			return nil
		}
		rule = Refused
	}
	switch {
	case rule.refused && !neutral(name, m.Value):
		return refused(e.vendor.name(), name)
	case rule.tidied && !neutral(name, m.Value):
		cut.Keep()
	case rule.to == "" || jsonscan.Get(raw, rule.to) != nil:
		cut.Remove(raw, 0, m)
	default:
		cut.Keep(jsonscan.Edit{Start: m.NameAt, End: m.NameAt + nameLen(raw[m.NameAt:]), With: quote(rule.to)})
	}
	return nil
}

func refused(vendor, param string) error {
	return provider.Uncarried(vendor, param, "it has no counterpart there")
}

// nameLen is the length of a member's name with its quotes.
func nameLen(b []byte) int { return jsonscan.TextEnd(b) }

// neutral reports whether a value says nothing: clients write such defaults.
func neutral(name string, v []byte) bool {
	switch jsonscan.KindOf(v) {
	case jsonscan.Null:
		return true
	case jsonscan.Bool:
		yes, _ := jsonscan.True(v)
		return !yes
	case jsonscan.Number:
		f, ok := jsonscan.Float(v)
		return ok && (f == 0 || name == "n" && f == 1)
	case jsonscan.String:
		return len(v) == 2
	case jsonscan.ArrayKind, jsonscan.ObjectKind:
		return jsonscan.Trailing(v, 1) == len(v)-1
	case jsonscan.Missing:
	}
	return false
}

// looksIntoMessages reports whether anything in messages may have to change.
func (e *edit) looksIntoMessages() bool {
	v := e.vendor
	return v.InMessages != nil || v.Roles != nil || v.ToolID != nil || v.InlineImages || e.model.NeedsReasoning
}

// messages edits the messages, whose text begins at an offset of the body.
func (e *edit) messages(ctx context.Context, data []byte, at int) ([]jsonscan.Edit, error) {
	var all []jsonscan.Edit
	list := jsonscan.Array(data)
	for list.Next() {
		if jsonscan.KindOf(list.Value) != jsonscan.ObjectKind {
			continue
		}
		edits, err := e.message(ctx, list.Value, at+offset(data, list.Value))
		if err != nil {
			return nil, err
		}
		all = append(all, edits...)
	}
	return all, nil
}

// offset is where a part of data, which was cut out of it, begins in it: both end where the whole does.
func offset(data, part []byte) int { return cap(data) - cap(part) }

// message edits one message.
func (e *edit) message(ctx context.Context, data []byte, at int) ([]jsonscan.Edit, error) {
	var cut jsonscan.Cutter
	calls, thought := false, false
	m := jsonscan.Object(data)
	for m.Next() {
		name := string(m.Name)
		start := at + m.ValueAt
		rule, given := e.vendor.InMessages[name]
		switch {
		case given && rule.refused && !neutral(name, m.Value) && !named(name, data):
			return nil, refused(e.vendor.name(), "messages."+name)
		case given && rule.to == "":
			cut.Remove(data, at, &m)
		case name == "role":
			cut.Keep(e.role(m.Value, start)...)
		case name == "tool_call_id":
			cut.Keep(e.toolID(m.Value, start)...)
		case name == "tool_calls":
			calls = jsonscan.KindOf(m.Value) == jsonscan.ArrayKind && !neutral(name, m.Value)
			cut.Keep(e.toolCalls(m.Value, start)...)
		case name == "content" && e.vendor.InlineImages:
			edits, err := e.pictures(ctx, m.Value, start)
			if err != nil {
				return nil, err
			}
			cut.Keep(edits...)
		default:
			thought = thought || name == "reasoning_content" && jsonscan.TextLen(m.Value) > 0
			cut.Keep()
		}
	}
	cut.Close()
	if calls && !thought && e.model.NeedsReasoning && cut.Kept > 0 {
		first := at + slices.Index(data, '{') + 1
		// A second member of this name would be read in place of the first, so an empty one goes.
		edits := slices.Insert(cut.Edits, 0, jsonscan.Edit{Start: first, End: first, With: `"reasoning_content":` + quote(noThinking) + `,`})
		return withoutEmptyThinking(edits, data, at), nil
	}
	return cut.Edits, nil
}

// noThinking stands for the thinking of a turn that another model, or a client that forgot it, made.
const noThinking = "(not kept)"

// withoutEmptyThinking takes the value of an empty reasoning_content over, if there is one.
func withoutEmptyThinking(edits []jsonscan.Edit, data []byte, at int) []jsonscan.Edit {
	m := jsonscan.Object(data)
	for m.Next() {
		if string(m.Name) != "reasoning_content" {
			continue
		}
		value := jsonscan.Edit{Start: at + m.ValueAt, End: at + m.ValueAt + len(m.Value), With: quote(noThinking)}
		edits = append(edits[1:], value)
		slices.SortFunc(edits, func(a, b jsonscan.Edit) int { return a.Start - b.Start })
		return edits
	}
	return edits
}

// named reports whether a message's name says nothing: the name of the tool whose result it is.
func named(name string, message []byte) bool {
	return name == "name" && textAt(message, "role") == string(completion.ToolRole)
}

// schemas takes "$schema" out of the parameters of tools.
func schemas(v []byte, at int) []jsonscan.Edit {
	if jsonscan.KindOf(v) != jsonscan.ArrayKind {
		return nil
	}
	var edits []jsonscan.Edit
	tools := jsonscan.Array(v)
	for tools.Next() {
		if parameters := jsonscan.Get(tools.Value, "function", "parameters"); jsonscan.KindOf(parameters) == jsonscan.ObjectKind {
			edits = append(edits, withoutSchema(parameters, at+offset(v, parameters))...)
		}
	}
	return edits
}

// withoutSchema takes "$schema" out of a schema that begins at an offset.
func withoutSchema(schema []byte, at int) []jsonscan.Edit {
	if jsonscan.KindOf(schema) != jsonscan.ObjectKind {
		return nil
	}
	var cut jsonscan.Cutter
	m := jsonscan.Object(schema)
	for m.Next() {
		if string(m.Name) == "$schema" {
			cut.Remove(schema, at, &m)
		} else {
			cut.Keep()
		}
	}
	cut.Close()
	return cut.Edits
}

func (e *edit) role(v []byte, at int) []jsonscan.Edit {
	role, ok := jsonscan.Text(v)
	if to := e.vendor.Roles[role]; ok && to != "" {
		return []jsonscan.Edit{{Start: at, End: at + len(v), With: quote(to)}}
	}
	return nil
}

func (e *edit) toolID(v []byte, at int) []jsonscan.Edit {
	id, ok := jsonscan.Text(v)
	if e.vendor.ToolID == nil || !ok {
		return nil
	}
	if to := e.vendor.ToolID(id); to != id {
		return []jsonscan.Edit{{Start: at, End: at + len(v), With: quote(to)}}
	}
	return nil
}

func (e *edit) toolCalls(v []byte, at int) []jsonscan.Edit {
	if e.vendor.ToolID == nil || jsonscan.KindOf(v) != jsonscan.ArrayKind {
		return nil
	}
	var edits []jsonscan.Edit
	calls := jsonscan.Array(v)
	for calls.Next() {
		if jsonscan.KindOf(calls.Value) != jsonscan.ObjectKind {
			continue
		}
		m := jsonscan.Object(calls.Value)
		for m.Next() {
			if string(m.Name) == "id" {
				edits = append(edits, e.toolID(m.Value, at+offset(v, calls.Value)+m.ValueAt)...)
			}
		}
	}
	return edits
}

// pictures puts pictures that are given by address into the body.
func (e *edit) pictures(ctx context.Context, v []byte, at int) ([]jsonscan.Edit, error) {
	if jsonscan.KindOf(v) != jsonscan.ArrayKind {
		return nil, nil
	}
	var edits []jsonscan.Edit
	parts := jsonscan.Array(v)
	for parts.Next() {
		address := jsonscan.Get(parts.Value, "image_url", "url")
		text, ok := jsonscan.Text(address)
		if !ok || !remote(text) {
			continue
		}
		data, err := e.form.fetched(ctx, text)
		if err != nil {
			return nil, err
		}
		start := at + offset(v, address)
		edits = append(edits, jsonscan.Edit{Start: start, End: start + len(address), With: quote(data)})
	}
	return edits, nil
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

func quote(s string) string { return string(jsonscan.AppendText(nil, s)) }

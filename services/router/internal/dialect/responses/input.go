package responses

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

// decodeInput reads a text or items. Items that are the model's, one after the other, are one turn.
func decodeInput(v []byte) ([]completion.Message, error) {
	if text, ok := jsonscan.Text(v); ok {
		return []completion.Message{{Role: completion.User, Parts: []completion.Part{{Text: text}}}}, nil
	}
	d := inputDecoder{}
	items := jsonscan.Array(v)
	for at := 0; items.Next(); at++ {
		param := fmt.Sprintf("input[%d]", at)
		if jsonscan.KindOf(items.Value) != jsonscan.ObjectKind {
			return nil, dialect.Invalid(param, "must be an object")
		}
		if err := d.item(param, items.Value); err != nil {
			return nil, err
		}
	}
	if items.Err() != nil {
		return nil, dialect.Invalid("input", "must be a string or an array of items")
	}
	return d.messages, nil
}

type inputDecoder struct {
	messages []completion.Message
	// signature is state of the next function call, which came as an item of its own.
	signature string
	format    completion.StateFormat
}

// turn is the model's turn that goes on, or a new one.
func (d *inputDecoder) turn() *completion.Message {
	if n := len(d.messages); n == 0 || d.messages[n-1].Role != completion.Assistant {
		d.messages = append(d.messages, completion.Message{Role: completion.Assistant})
	}
	return &d.messages[len(d.messages)-1]
}

func (d *inputDecoder) item(at string, v []byte) error {
	kind, err := dialect.Text(at+".type", jsonscan.Get(v, "type"), 64)
	if err != nil {
		return err
	}
	switch kind {
	case "", "message":
		return d.message(at, v)
	case "function_call":
		return d.call(at, v)
	case "function_call_output":
		return d.output(at, v)
	case "reasoning":
		return d.reasoning(at, v)
	case "item_reference":
		return stateless(at, "it names something stored, and a later request may go to another provider or credential", "send the item itself")
	}
	return dialect.Uncarried(at+".type", "items of type "+dialect.Clip(kind)+" have no counterpart")
}

// only makes sure that an item has no members but these.
func only(at string, v []byte, names ...string) error {
	m := jsonscan.Object(v)
members:
	for m.Next() {
		if !jsonscan.Given(m.Value) {
			continue
		}
		for _, name := range names {
			if string(m.Name) == name {
				continue members
			}
		}
		return dialect.Unknown(at + "." + dialect.Clip(string(m.Name)))
	}
	return nil
}

func (d *inputDecoder) message(at string, v []byte) error {
	if err := only(at, v, "type", "role", "content", "id", "status", "phase"); err != nil {
		return err
	}
	role, _ := jsonscan.Text(jsonscan.Get(v, "role"))
	content := jsonscan.Get(v, "content")
	switch role {
	case "assistant":
		parts, err := said(at+".content", content)
		if err == nil {
			turn := d.turn()
			turn.Parts = append(turn.Parts, parts...)
		}
		return err
	case "user", "system", "developer":
	case "":
		return dialect.Invalid(at+".role", "is required")
	default:
		return dialect.Invalid(at+".role", "must be one of user, assistant, system, developer")
	}
	to := completion.System
	if role == "user" {
		to = completion.User
	}
	parts, err := given(at+".content", content)
	if err == nil {
		d.messages = append(d.messages, completion.Message{Role: to, Parts: parts})
	}
	return err
}

// said reads what the model said before.
func said(at string, v []byte) ([]completion.Part, error) {
	if text, ok := jsonscan.Text(v); ok {
		return []completion.Part{{Text: text}}, nil
	}
	var out []completion.Part
	parts := jsonscan.Array(v)
	for parts.Next() {
		param := fmt.Sprintf("%s[%d]", at, len(out))
		kind, _ := jsonscan.Text(jsonscan.Get(parts.Value, "type"))
		field := "text"
		switch kind {
		case "refusal":
			field = "refusal"
		case "output_text", "input_text":
		default:
			return nil, dialect.Uncarried(param+".type", "parts of type "+dialect.Clip(kind)+" have no counterpart")
		}
		text, ok := jsonscan.Text(jsonscan.Get(parts.Value, field))
		if !ok {
			return nil, dialect.Invalid(param+"."+field, "must be a string")
		}
		out = append(out, completion.Part{Text: text}) // without annotations and probabilities, which no provider wants back
	}
	if parts.Err() != nil {
		return nil, dialect.Invalid(at, "must be a string or an array of parts")
	}
	return out, nil
}

// given reads what the model is given: a text, or parts of it.
func given(at string, v []byte) ([]completion.Part, error) {
	if text, ok := jsonscan.Text(v); ok {
		return []completion.Part{{Text: text}}, nil
	}
	var out []completion.Part
	parts := jsonscan.Array(v)
	for parts.Next() {
		part, err := decodePart(fmt.Sprintf("%s[%d]", at, len(out)), parts.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, part)
	}
	if parts.Err() != nil {
		return nil, dialect.Invalid(at, "must be a string or an array of parts")
	}
	return out, nil
}

func decodePart(at string, v []byte) (part completion.Part, err error) {
	kind, _ := jsonscan.Text(jsonscan.Get(v, "type"))
	if id := jsonscan.Get(v, "file_id"); jsonscan.Given(id) {
		return part, stateless(at+".file_id", "files are kept at a provider, and a later request may go to another one", "give the file's address or its bytes")
	}
	switch kind {
	case "input_text":
		text, ok := jsonscan.Text(jsonscan.Get(v, "text"))
		if !ok {
			return part, dialect.Invalid(at+".text", "must be a string")
		}
		part, err = completion.Part{Text: text}, only(at, v, "type", "text", breakpoint)
	case "input_image":
		url, ok := jsonscan.Text(jsonscan.Get(v, "image_url"))
		if !ok {
			return part, dialect.Invalid(at+".image_url", "must be a string")
		}
		if part, err = picture(at+".image_url", url); err == nil {
			part.Detail, err = dialect.Text(at+".detail", jsonscan.Get(v, "detail"), 16)
		}
		if err == nil {
			err = only(at, v, "type", "image_url", "detail", breakpoint)
		}
	case "input_file":
		part.Document, err = document(at, v)
	case "input_audio":
		part.Audio, err = audio(at, v)
	default:
		err = dialect.Uncarried(at+".type", "parts of type "+dialect.Clip(kind)+" have no counterpart")
	}
	if err == nil && jsonscan.Given(jsonscan.Get(v, breakpoint)) {
		part.CacheTTL = "5m"
	}
	return part, err
}

// breakpoint marks the end of what is cached.
const breakpoint = "prompt_cache_breakpoint"

func document(at string, v []byte) (*completion.Document, error) {
	d := &completion.Document{}
	m := jsonscan.Object(v)
	for m.Next() {
		if !jsonscan.Given(m.Value) {
			continue
		}
		var err error
		switch name := at + "." + dialect.Clip(string(m.Name)); string(m.Name) {
		case "type", "detail", breakpoint:
		case "filename":
			d.Name, err = dialect.Text(name, m.Value, 1024)
		case "file_url":
			d.URL, err = dialect.Text(name, m.Value, len(m.Value))
			if err == nil && !strings.HasPrefix(d.URL, "https://") && !strings.HasPrefix(d.URL, "http://") {
				err = dialect.Invalid(name, "must be an http or https URL")
			}
		case "file_data":
			err = data(name, m.Value, d)
		default:
			err = dialect.Unknown(name)
		}
		if err != nil {
			return nil, err
		}
	}
	if d.URL == "" && d.Data == nil {
		return nil, dialect.Invalid(at, "needs file_url or file_data")
	}
	return d, nil
}

// data reads the bytes of a file: a data URL, or only what is in one. The latter is a PDF unless its name
// says otherwise.
func data(param string, v []byte, d *completion.Document) error {
	text, ok := jsonscan.Text(v)
	if !ok {
		return dialect.Invalid(param, "must be a string")
	}
	var err error
	if rest, isURL := strings.CutPrefix(text, "data:"); isURL {
		d.MediaType, d.Data, err = inline(param, rest)
		return err
	}
	if d.Data, err = base64.StdEncoding.DecodeString(text); err != nil {
		return dialect.Invalid(param, "is not valid base64")
	}
	d.MediaType = "application/pdf"
	return nil
}

func audio(at string, v []byte) (*completion.Audio, error) {
	encoded, _ := jsonscan.Text(jsonscan.Get(v, "input_audio", "data"))
	format, _ := jsonscan.Text(jsonscan.Get(v, "input_audio", "format"))
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(b) == 0 || format == "" {
		return nil, dialect.Invalid(at+".input_audio", "needs data in base64 and a format")
	}
	return &completion.Audio{Data: b, Format: format}, only(at, v, "type", "input_audio")
}

func (d *inputDecoder) call(at string, v []byte) error {
	if err := only(at, v, "type", "id", "status", "call_id", "name", "arguments"); err != nil {
		return err
	}
	id, ok1 := jsonscan.Text(jsonscan.Get(v, "call_id"))
	name, ok2 := jsonscan.Text(jsonscan.Get(v, "name"))
	arguments, ok3 := jsonscan.Text(jsonscan.Get(v, "arguments"))
	if !ok1 || !ok2 || !ok3 {
		return dialect.Invalid(at, "needs call_id, name and arguments, all strings")
	}
	turn := d.turn()
	turn.ToolCalls = append(turn.ToolCalls, completion.ToolCall{ID: id, Name: name, Arguments: arguments, Signature: d.signature, Format: d.format})
	d.signature, d.format = "", ""
	return nil
}

func (d *inputDecoder) output(at string, v []byte) error {
	if err := only(at, v, "type", "id", "status", "call_id", "output"); err != nil {
		return err
	}
	id, ok := jsonscan.Text(jsonscan.Get(v, "call_id"))
	if !ok || id == "" {
		return dialect.Invalid(at+".call_id", "is required")
	}
	parts, err := given(at+".output", jsonscan.Get(v, "output"))
	if err != nil {
		return err
	}
	d.messages = append(d.messages, completion.Message{Role: completion.ToolRole, ToolCallID: id, Parts: parts})
	return nil
}

// reasoning reads what a model thought before, with the state that lets its provider go on from it.
func (d *inputDecoder) reasoning(at string, v []byte) error {
	if err := only(at, v, "type", "id", "status", "summary", "content", "encrypted_content"); err != nil {
		return err
	}
	carried, err := dialect.Text(at+".encrypted_content", jsonscan.Get(v, "encrypted_content"), len(v))
	if err != nil {
		return err
	}
	r := &completion.Reasoning{}
	for _, name := range [...]string{"summary", "content"} {
		var texts []string
		list := jsonscan.Array(jsonscan.Get(v, name))
		for list.Next() {
			if text, ok := jsonscan.Text(jsonscan.Get(list.Value, "text")); ok && text != "" {
				texts = append(texts, text)
			}
		}
		if r.Text == "" && len(texts) > 0 {
			r.Text, r.Summary = strings.Join(texts, "\n\n"), name == "summary"
		}
	}
	if carried != "" && d.state(r, carried, v) {
		return nil
	}
	if *r == (completion.Reasoning{}) {
		return nil
	}
	turn := d.turn()
	turn.Parts = append(turn.Parts, completion.Part{Reasoning: r})
	return nil
}

// state reads whose state it is. It is true if the state is one of the next call, and no reasoning.
func (d *inputDecoder) state(r *completion.Reasoning, carried string, item []byte) bool {
	format, state := dialect.Unwrap(completion.OpenAIState, carried)
	if of, isCall := strings.CutSuffix(string(format), callSuffix); isCall {
		d.signature, d.format = state, completion.StateFormat(of)
		return true
	}
	of, isEncrypted := strings.CutSuffix(string(format), encryptedSuffix)
	r.Format = completion.StateFormat(of)
	switch {
	case r.Format == completion.OpenAIState:
		r.Encrypted = state
		r.ID, _ = jsonscan.Text(jsonscan.Get(item, "id"))
	case isEncrypted:
		r.Encrypted, r.Summary = state, false
	default:
		r.Signature, r.Summary = state, false // a signature is of the text itself
	}
	return false
}

// These tell apart what a state of another vendor's is of, where this dialect has one place for it: of a
// function call, of thinking that only the vendor can read, or, without either, of its text.
const (
	callSuffix      = "-call"
	encryptedSuffix = "-encrypted"
)

package openai

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

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
	var d messageDecoder
	out := &d.m
	role, ok := jsonscan.Text(jsonscan.Get(v, "role"))
	if !ok {
		return d.m, dialect.Invalid(at+".role", "is required")
	}
	switch role {
	case "developer", "system":
		out.Role = completion.System
	case "user", "assistant", "tool":
		out.Role = completion.Role(role)
	case "function":
		return d.m, dialect.Uncarried(at+".role", "functions are the older form of tools")
	default:
		return d.m, dialect.Invalid(at+".role", "must be one of developer, system, user, assistant, tool")
	}
	m := jsonscan.Object(v)
	for m.Next() {
		if !jsonscan.Given(m.Value) {
			continue
		}
		if err := d.field(at, string(m.Name), m.Value); err != nil {
			return d.m, err
		}
	}
	if out.Role == completion.ToolRole && out.ToolCallID == "" {
		return d.m, dialect.Invalid(at+".tool_call_id", "is required")
	}
	d.m.Parts = append(d.reasoned(), d.m.Parts...)
	return d.m, nil
}

// messageDecoder is a message being read.
type messageDecoder struct {
	m completion.Message
	// thoughts are its blocks of reasoning; thought is its reasoning where only the text came.
	thoughts []completion.Part
	thought  string
}

func (d *messageDecoder) field(at, name string, v []byte) error {
	out := &d.m
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
	case "annotations": // an answer sent back; no provider wants it
	case "reasoning_content", "reasoning":
		said, err := dialect.Text(param, v, len(v))
		if err != nil {
			return err
		}
		d.thought = said
	case "reasoning_details":
		thoughts, err := decodeDetails(param, v)
		if err != nil {
			return err
		}
		d.thoughts = thoughts
	case "name":
		if out.Role == completion.ToolRole { // there tool_call_id says it
			return nil
		}
		said, err := dialect.Text(param, v, 64)
		if err != nil {
			return err
		}
		out.Name = said
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

// partFields are the kinds of parts, with the field that holds each.
var partFields = map[string]string{
	"text": "text", "refusal": "refusal", "image_url": "image_url", "file": "file", "input_audio": "input_audio",
}

func decodePart(at string, v []byte, user bool) (part completion.Part, err error) {
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return part, dialect.Invalid(at, "must be an object")
	}
	kind, _ := jsonscan.Text(jsonscan.Get(v, "type"))
	field, known := partFields[kind]
	switch {
	case kind == "":
		return part, dialect.Invalid(at+".type", "is required")
	case !known:
		return part, dialect.Uncarried(at+".type", "parts of type "+dialect.Clip(kind)+" have no counterpart")
	case !user && kind != "text" && kind != "refusal":
		return part, dialect.Invalid(at+".type", "can only be "+kind+" in a user's message")
	}
	value := jsonscan.Get(v, field)
	switch kind {
	case "image_url":
		part, err = decodeImage(at+".image_url", value)
	case "file":
		part.Document, err = decodeFile(at+".file", value)
	case "input_audio":
		part.Audio, err = decodeAudio(at+".input_audio", value)
	default:
		var ok bool
		if part.Text, ok = jsonscan.Text(value); !ok {
			err = dialect.Invalid(at+"."+field, "must be a string")
		}
	}
	if err != nil {
		return part, err
	}
	return part, mark(&part, at, field, v)
}

// mark reads what a part has besides its content: where a provider should cache up to, in the words of
// Anthropic's and OpenAI's.
func mark(part *completion.Part, at, field string, v []byte) (err error) {
	m := jsonscan.Object(v)
	for m.Next() {
		if !jsonscan.Given(m.Value) {
			continue
		}
		switch name := string(m.Name); name {
		case "type", field:
		case "cache_control":
			part.CacheTTL, err = cacheTTL(at+".cache_control", m.Value)
		case "prompt_cache_breakpoint":
			if yes, isBool := jsonscan.True(m.Value); (yes || !isBool) && part.CacheTTL == "" {
				part.CacheTTL = "5m"
			}
		default:
			err = dialect.Unknown(at + "." + dialect.Clip(name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cacheTTL reads a mark of Anthropic's, as callers of many providers write it.
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

// markLast puts a mark on the whole at its end.
func markLast(messages []completion.Message, ttl string) {
	if ttl == "" || len(messages) == 0 {
		return
	}
	parts := messages[len(messages)-1].Parts
	if n := len(parts); n > 0 && parts[n-1].CacheTTL == "" && parts[n-1].Reasoning == nil {
		parts[n-1].CacheTTL = ttl
	}
}

// dataURL reads bytes that stand in a URL.
func dataURL(at, url string) (data []byte, media string, err error) {
	media, encoded, found := strings.Cut(strings.TrimPrefix(url, "data:"), ",")
	media, isBase64 := strings.CutSuffix(media, ";base64")
	if !found || !isBase64 {
		return nil, "", dialect.Invalid(at, "must be data in base64")
	}
	if data, err = base64.StdEncoding.DecodeString(encoded); err != nil {
		return nil, "", dialect.Invalid(at, "is not valid base64")
	}
	media, _, _ = strings.Cut(media, ";")
	return data, media, nil
}

// decodeFile reads a document: by its bytes or, as some routers have it, by its address.
func decodeFile(at string, v []byte) (*completion.Document, error) {
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return nil, dialect.Invalid(at, "must be an object")
	}
	if jsonscan.Given(jsonscan.Get(v, "file_id")) {
		return nil, dialect.Uncarried(at+".file_id", "stored files are known to one provider only")
	}
	said, ok := jsonscan.Text(jsonscan.Get(v, "file_data"))
	if !ok || said == "" {
		return nil, dialect.Invalid(at+".file_data", "must be a string")
	}
	d := &completion.Document{}
	var err error
	if d.Name, err = dialect.Text(at+".filename", jsonscan.Get(v, "filename"), 500); err != nil {
		return nil, err
	}
	switch {
	case strings.HasPrefix(said, "https://"), strings.HasPrefix(said, "http://"):
		d.URL = said
	case strings.HasPrefix(said, "data:"):
		d.Data, d.MediaType, err = dataURL(at+".file_data", said)
	default: // plain base64, which is a PDF unless the name says otherwise
		if d.Data, err = base64.StdEncoding.DecodeString(said); err != nil {
			return nil, dialect.Invalid(at+".file_data", "is not valid base64")
		}
		d.MediaType = "application/pdf"
		if strings.HasSuffix(d.Name, ".txt") || strings.HasSuffix(d.Name, ".md") {
			d.MediaType = "text/plain"
		}
	}
	return d, err
}

func decodeAudio(at string, v []byte) (*completion.Audio, error) {
	said, ok := jsonscan.Text(jsonscan.Get(v, "data"))
	if !ok || said == "" {
		return nil, dialect.Invalid(at+".data", "must be a string")
	}
	format, err := dialect.Text(at+".format", jsonscan.Get(v, "format"), 16)
	if err != nil {
		return nil, err
	}
	if format == "" {
		return nil, dialect.Invalid(at+".format", "is required")
	}
	data, err := base64.StdEncoding.DecodeString(said)
	if err != nil {
		return nil, dialect.Invalid(at+".data", "is not valid base64")
	}
	return &completion.Audio{Data: data, Format: format}, nil
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
	if !strings.HasPrefix(url, "data:") {
		if !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") {
			return completion.Part{}, dialect.Invalid(at+".url", "must be an http, https or data URL")
		}
		part.ImageURL = url
		return part, nil
	}
	part.ImageData, part.MediaType, err = dataURL(at+".url", url)
	return part, err
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
		call := completion.ToolCall{ID: id, Name: name, Arguments: arguments}
		if call.Signature, _ = jsonscan.Text(jsonscan.Get(calls.Value, "extra_content", "google", "thought_signature")); call.Signature != "" {
			call.Format = completion.GoogleState
		}
		out = append(out, call)
	}
	return out, nil
}

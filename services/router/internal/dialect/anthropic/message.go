package anthropic

import (
	"fmt"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/jsonscan"
)

func decodeMessages(v []byte) ([]completion.Message, error) {
	var out []completion.Message
	messages := jsonscan.Array(v)
	for i := 0; messages.Next(); i++ {
		at := fmt.Sprintf("messages[%d]", i)
		if jsonscan.KindOf(messages.Value) != jsonscan.ObjectKind {
			return nil, dialect.Invalid(at, "must be an object")
		}
		turn, err := decodeTurn(at, messages.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, turn...)
	}
	if messages.Err() != nil {
		return nil, dialect.Invalid("messages", "must be an array")
	}
	return out, nil
}

// decodeTurn reads one message. The results of tools that a user's message holds become messages of their own.
func decodeTurn(at string, v []byte) ([]completion.Message, error) {
	role, err := dialect.OneOf(at+".role", jsonscan.Get(v, "role"), "user", "assistant", "system")
	if err != nil {
		return nil, err
	}
	if err := onlyMembers(at, v, "role", "content"); err != nil {
		return nil, err
	}
	t := turn{at: at + ".content", now: completion.Message{Role: completion.Role(role)}}
	content := jsonscan.Get(v, "content")
	switch jsonscan.KindOf(content) {
	case jsonscan.String:
		s, _ := jsonscan.Text(content)
		t.now.Parts = []completion.Part{{Text: s}}
	case jsonscan.ArrayKind:
		blocks := jsonscan.Array(content)
		for i := 0; blocks.Next(); i++ {
			if err := t.block(fmt.Sprintf("%s[%d]", t.at, i), blocks.Value); err != nil {
				return nil, err
			}
		}
	default:
		return nil, dialect.Invalid(t.at, "must be a string or an array of blocks")
	}
	t.flush()
	return t.out, nil
}

// turn is a message being read.
type turn struct {
	at  string
	now completion.Message
	out []completion.Message
	// signature belongs to the next tool call.
	signature string
	format    completion.StateFormat
}

// flush ends the message, of which a new one of the same role may follow.
func (t *turn) flush() {
	if len(t.now.Parts) > 0 || len(t.now.ToolCalls) > 0 {
		t.out = append(t.out, t.now)
	}
	t.now = completion.Message{Role: t.now.Role}
}

func (t *turn) block(at string, v []byte) error {
	if jsonscan.KindOf(v) != jsonscan.ObjectKind {
		return dialect.Invalid(at, "must be an object")
	}
	kind, _ := jsonscan.Text(jsonscan.Get(v, "type"))
	role := t.now.Role
	misplaced := dialect.Invalid(at+".type", "cannot be "+dialect.Clip(kind)+" in a message of role "+string(role))
	switch kind {
	case "tool_use":
		if role != completion.Assistant {
			return misplaced
		}
		return t.call(at, v)
	case "thinking", "redacted_thinking":
		if role != completion.Assistant {
			return misplaced
		}
		return t.thought(at, kind, v)
	case "tool_result":
		if role != completion.User {
			return misplaced
		}
		return t.result(at, v)
	case "image", "document":
		if role != completion.User {
			return misplaced
		}
	}
	part, err := decodePart(at, kind, v)
	if err != nil {
		return err
	}
	t.now.Parts = append(t.now.Parts, part)
	return nil
}

// decodePart reads a block that holds content and nothing else.
func decodePart(at, kind string, v []byte) (part completion.Part, err error) {
	known := []string{"type", "cache_control"}
	switch kind {
	case "text":
		var ok bool
		if part.Text, ok = jsonscan.Text(jsonscan.Get(v, "text")); !ok {
			return part, dialect.Invalid(at+".text", "must be a string")
		}
		known = append(known, "text", "citations") // sources of an answer that comes back
	case "image":
		known = append(known, "source")
		var url string
		part.ImageData, part.MediaType, url, err = source(at+".source", jsonscan.Get(v, "source"))
		part.ImageURL = url
	case "document":
		known = append(known, "source", "title", "citations")
		part.Document, err = decodeDocument(at, v)
	case "":
		return part, dialect.Invalid(at+".type", "is required")
	default:
		return part, dialect.Uncarried(at+".type", "blocks of type "+dialect.Clip(kind)+" have no counterpart")
	}
	if err == nil {
		err = onlyMembers(at, v, known...)
	}
	if err == nil {
		part.CacheTTL, err = cacheTTL(at+".cache_control", jsonscan.Get(v, "cache_control"))
	}
	return part, err
}

func decodeDocument(at string, v []byte) (*completion.Document, error) {
	if wanted, _ := jsonscan.True(jsonscan.Get(v, "citations", "enabled")); wanted {
		return nil, dialect.Unknown(at + ".citations")
	}
	d := &completion.Document{}
	var err error
	if d.Name, err = dialect.Text(at+".title", jsonscan.Get(v, "title"), 500); err != nil {
		return nil, err
	}
	d.Data, d.MediaType, d.URL, err = source(at+".source", jsonscan.Get(v, "source"))
	return d, err
}

// texts reads a string, or an array of blocks that are texts.
func texts(at string, v []byte) ([]completion.Part, error) {
	if s, ok := jsonscan.Text(v); ok {
		if s == "" {
			return nil, nil
		}
		return []completion.Part{{Text: s}}, nil
	}
	return contents(at, v, func(kind string) bool { return kind == "text" })
}

// contents reads an array of blocks of the kinds that may stand in a place.
func contents(at string, v []byte, may func(kind string) bool) ([]completion.Part, error) {
	if jsonscan.KindOf(v) != jsonscan.ArrayKind {
		return nil, dialect.Invalid(at, "must be a string or an array of blocks")
	}
	var out []completion.Part
	blocks := jsonscan.Array(v)
	for blocks.Next() {
		at := fmt.Sprintf("%s[%d]", at, len(out))
		if jsonscan.KindOf(blocks.Value) != jsonscan.ObjectKind {
			return nil, dialect.Invalid(at, "must be an object")
		}
		kind, _ := jsonscan.Text(jsonscan.Get(blocks.Value, "type"))
		if kind != "" && !may(kind) {
			return nil, dialect.Uncarried(at+".type", "blocks of type "+dialect.Clip(kind)+" have no counterpart here")
		}
		part, err := decodePart(at, kind, blocks.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, part)
	}
	return out, nil
}

// result reads the result of a tool. A mark on it stands on its last part.
func (t *turn) result(at string, v []byte) error {
	if err := onlyMembers(at, v, "type", "tool_use_id", "content", "is_error", "cache_control"); err != nil {
		return err
	}
	t.flush()
	m := completion.Message{Role: completion.ToolRole}
	var err error
	if m.ToolCallID, err = dialect.Text(at+".tool_use_id", jsonscan.Get(v, "tool_use_id"), len(v)); err == nil && m.ToolCallID == "" {
		err = dialect.Invalid(at+".tool_use_id", "is required")
	}
	if err != nil {
		return err
	}
	if m.ToolFailed, err = dialect.Truth(at+".is_error", jsonscan.Get(v, "is_error")); err != nil {
		return err
	}
	if content := jsonscan.Get(v, "content"); jsonscan.KindOf(content) == jsonscan.String {
		m.Parts, err = texts(at+".content", content)
	} else if jsonscan.Given(content) {
		m.Parts, err = contents(at+".content", content, func(kind string) bool {
			return kind == "text" || kind == "image" || kind == "document"
		})
	}
	if err != nil {
		return err
	}
	ttl, err := cacheTTL(at+".cache_control", jsonscan.Get(v, "cache_control"))
	if ttl != "" {
		if len(m.Parts) == 0 {
			m.Parts = []completion.Part{{}}
		}
		m.Parts[len(m.Parts)-1].CacheTTL = ttl
	}
	t.out = append(t.out, m)
	return err
}

func (t *turn) call(at string, v []byte) error {
	if err := onlyMembers(at, v, "type", "id", "name", "input", "cache_control", "caller"); err != nil {
		return err
	}
	if by := jsonscan.Get(v, "caller"); jsonscan.Given(by) {
		if kind, _ := jsonscan.Text(jsonscan.Get(by, "type")); kind != "direct" {
			return dialect.Unknown(at + ".caller")
		}
	}
	id, ok1 := jsonscan.Text(jsonscan.Get(v, "id"))
	name, ok2 := jsonscan.Text(jsonscan.Get(v, "name"))
	input := jsonscan.Get(v, "input")
	if !ok1 || !ok2 || jsonscan.KindOf(input) != jsonscan.ObjectKind {
		return dialect.Invalid(at, "needs id and name, both strings, and input, an object")
	}
	ttl, err := cacheTTL(at+".cache_control", jsonscan.Get(v, "cache_control"))
	t.now.ToolCalls = append(t.now.ToolCalls, completion.ToolCall{
		ID: id, Name: name, Arguments: string(input), CacheTTL: ttl, Signature: t.signature, Format: t.format,
	})
	t.signature, t.format = "", ""
	return err
}

// thought reads reasoning. See dialect.Wrap for whose it can be.
func (t *turn) thought(at, kind string, v []byte) error {
	if kind == "redacted_thinking" {
		data, ok := jsonscan.Text(jsonscan.Get(v, "data"))
		if !ok || data == "" {
			return dialect.Invalid(at+".data", "must be a string")
		}
		format, state := dialect.Unwrap(completion.AnthropicState, data)
		t.now.Parts = append(t.now.Parts, completion.Part{Reasoning: &completion.Reasoning{Encrypted: state, Format: format}})
		return onlyMembers(at, v, "type", "data")
	}
	text, ok1 := jsonscan.Text(jsonscan.Get(v, "thinking"))
	signature, ok2 := jsonscan.Text(jsonscan.Get(v, "signature"))
	if !ok1 || !ok2 {
		return dialect.Invalid(at, "needs thinking and signature, both strings")
	}
	format, state := dialect.Unwrap(completion.AnthropicState, signature)
	r := &completion.Reasoning{Text: text, Signature: state, Format: format}
	switch {
	case format == dialect.CallState:
		t.signature, t.format = state, completion.GoogleState
		return onlyMembers(at, v, "type", "thinking", "signature")
	case state == "":
		r.Format = ""
	case format == completion.OpenAIState: // there, what is readable is a summary of what is not
		r.Summary, r.Signature, r.Encrypted = text != "", "", state
	}
	t.now.Parts = append(t.now.Parts, completion.Part{Reasoning: r})
	return onlyMembers(at, v, "type", "thinking", "signature")
}

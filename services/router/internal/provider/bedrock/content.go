package bedrock

import (
	"encoding/base64"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
)

const (
	roleUser      = "user"
	roleAssistant = "assistant"
)

// conversation parts the instructions from the turns, whose roles alternate.
func (e *encoder) conversation() error {
	for i := range e.prompt.Messages {
		m := &e.prompt.Messages[i]
		at := fmt.Sprintf("messages[%d]", i)
		blocks, err := e.parts(at, m)
		if err != nil {
			return err
		}
		switch m.Role {
		case completion.System:
			for _, b := range blocks {
				e.w.System = append(e.w.System, wireSystem{Text: b.Text, Cache: b.Cache})
			}
			continue
		case completion.ToolRole:
			blocks = e.result(m, blocks)
		case completion.User, completion.Assistant:
			if blocks, err = e.calls(at, m, blocks); err != nil {
				return err
			}
		}
		e.turn(m.Role, blocks)
	}
	return nil
}

// turn adds blocks to the conversation. The results of tools belong to the user's turn.
func (e *encoder) turn(role completion.Role, blocks []wireBlock) {
	name := roleUser
	if role == completion.Assistant {
		name = roleAssistant
	}
	if len(blocks) == 0 {
		return
	}
	if last := len(e.w.Messages) - 1; last >= 0 && e.w.Messages[last].Role == name {
		e.w.Messages[last].Content = append(e.w.Messages[last].Content, blocks...)
		return
	}
	e.w.Messages = append(e.w.Messages, wireMessage{Role: name, Content: blocks})
}

// result is what a tool said, in one block; marks for the cache stand after it.
func (e *encoder) result(m *completion.Message, blocks []wireBlock) []wireBlock {
	r := &wireResult{ID: e.model.callID(m.ToolCallID)}
	out := []wireBlock{{Result: r}}
	for _, b := range blocks {
		if b.Cache != nil {
			out = append(out, b)
		} else {
			r.Content = append(r.Content, b)
		}
	}
	if len(r.Content) == 0 { // refused if empty
		r.Content = []wireBlock{{Text: "(empty)"}}
	}
	switch e.model.maker {
	case claude, nova, nova2: // others do not know the field
		if m.ToolFailed {
			r.Status = "error"
		}
	default:
	}
	return out
}

// calls adds the tool calls of a message.
func (e *encoder) calls(at string, m *completion.Message, blocks []wireBlock) ([]wireBlock, error) {
	for i, c := range m.ToolCalls {
		input, ok := object(c.Arguments, "{}")
		if !ok {
			return nil, uncarried(fmt.Sprintf("%s.tool_calls[%d].function.arguments", at, i), "it is not a JSON object")
		}
		blocks = append(blocks, wireBlock{ToolUse: &wireToolUse{ID: e.model.callID(c.ID), Name: e.names.tool(c.Name), Input: input}})
		if mark := e.mark(c.CacheTTL); mark != nil {
			blocks = append(blocks, wireBlock{Cache: mark})
		}
		if !slices.Contains(e.called, c.Name) {
			e.called = append(e.called, c.Name)
		}
	}
	return blocks, nil
}

// parts converts content. Texts without anything to read are refused by the API, and left out.
func (e *encoder) parts(at string, m *completion.Message) ([]wireBlock, error) {
	var blocks []wireBlock
	attached, text := false, false
	for i := range m.Parts {
		p := &m.Parts[i]
		b, err := e.part(fmt.Sprintf("%s.content[%d]", at, i), m.Role, p)
		if err != nil {
			return nil, err
		}
		if b == nil {
			continue
		}
		attached, text = attached || b.Document != nil, text || b.Text != ""
		blocks = append(blocks, *b)
		if mark := e.mark(p.CacheTTL); mark != nil {
			blocks = append(blocks, wireBlock{Cache: mark})
		}
	}
	if attached && !text && m.Role == completion.User { // a document without words is refused
		blocks = append(blocks, wireBlock{Text: "The document is attached."})
	}
	return blocks, nil
}

// part converts one piece of content; nil is nothing to send.
func (e *encoder) part(at string, role completion.Role, p *completion.Part) (*wireBlock, error) {
	plainText := p.Text != "" || !p.IsImage() && p.Document == nil && p.Audio == nil && p.Reasoning == nil
	switch {
	case plainText:
		if strings.TrimSpace(p.Text) == "" {
			return nil, nil //nolint:nilnil // nothing to send is no failure
		}
		return &wireBlock{Text: p.Text}, nil
	case p.Reasoning != nil:
		return e.reasoning(role, p.Reasoning), nil
	case role != completion.User && role != completion.ToolRole:
		return nil, uncarried(at, "only messages of the user and of tools can hold a file")
	case p.IsImage():
		return image(at, p)
	case p.Document != nil:
		return e.document(at, p.Document)
	case role == completion.ToolRole:
		return nil, uncarried(at, "the result of a tool cannot hold sound")
	default:
		return sound(at, p.Audio)
	}
}

// reasoning is thinking that goes back to whom it came from; that of others is left out.
func (e *encoder) reasoning(role completion.Role, r *completion.Reasoning) *wireBlock {
	if role != completion.Assistant || r.Format != e.model.state() {
		return nil
	}
	switch {
	case r.Signature != "":
		return &wireBlock{Reasoning: &wireReasoning{Text: &wireReasoningText{Text: r.Text, Signature: r.Signature}}}
	case r.Encrypted != "":
		if _, err := base64.StdEncoding.DecodeString(r.Encrypted); err != nil {
			return nil
		}
		return &wireBlock{Reasoning: &wireReasoning{Redacted: r.Encrypted}}
	}
	return nil
}

// state says whose the state of a model's reasoning is.
func (m model) state() completion.StateFormat {
	if m.maker == claude {
		return completion.AnthropicState
	}
	return completion.BedrockState
}

// images are the pictures that the API takes, by media type.
var images = map[string]string{"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}

func image(at string, p *completion.Part) (*wireBlock, error) {
	if p.ImageData == nil {
		return nil, uncarried(at, "it takes pictures as bytes only, not by their address").
			Hinting("send the picture itself, as a data URL or in base64")
	}
	format, ok := images[p.MediaType]
	if !ok {
		return nil, uncarried(at, "it takes JPEG, PNG, GIF and WebP only")
	}
	return &wireBlock{Image: &wireFile{Format: format, Source: wireSource{Bytes: p.ImageData}}}, nil
}

// documents are the files that the API takes, by media type; their values are what names end in, too.
var documents = map[string]string{
	"application/pdf": "pdf", "text/plain": "txt", "text/markdown": "md", "text/html": "html", "text/csv": "csv",
	"application/msword": "doc", "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
	"application/vnd.ms-excel": "xls", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}

func (e *encoder) document(at string, d *completion.Document) (*wireBlock, error) {
	if d.Data == nil {
		return nil, uncarried(at, "it takes documents as bytes only, not by their address").
			Hinting("send the document itself, in base64")
	}
	extension := strings.ToLower(strings.TrimPrefix(path.Ext(d.Name), "."))
	format, ok := documents[d.MediaType]
	for _, known := range documents {
		if !ok && known == extension {
			format, ok = known, true
		}
	}
	if !ok {
		return nil, uncarried(at, "it takes PDF, text, Markdown, HTML, CSV, Word and Excel only")
	}
	return &wireBlock{Document: &wireFile{Format: format, Name: e.documentName(d.Name), Source: wireSource{Bytes: d.Data}}}, nil
}

// documentName is a document's name in the characters that AWS takes, and another one for each.
func (e *encoder) documentName(name string) string {
	name = strings.TrimSuffix(name, path.Ext(name))
	name = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if plainRune(r) && r != '_' || strings.ContainsRune("()[]", r) {
			return r
		}
		return ' '
	}, name)), " ")
	if name == "" {
		name = "document"
	}
	name = name[:min(len(name), 180)]
	unique := name
	for n := 2; e.documents[unique]; n++ {
		unique = fmt.Sprintf("%s %d", name, n)
	}
	e.documents[unique] = true
	return unique
}

// sounds are the forms of sound that the API takes.
var sounds = []string{"mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg", "mpga", "pcm", "webm"}

func sound(at string, a *completion.Audio) (*wireBlock, error) {
	if !slices.Contains(sounds, a.Format) {
		return nil, uncarried(at, "it does not take this form of sound")
	}
	return &wireBlock{Audio: &wireFile{Format: a.Format, Source: wireSource{Bytes: a.Data}}}, nil
}

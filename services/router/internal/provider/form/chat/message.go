package chat

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/claviger/claviger/services/router/internal/completion"
)

// The wire form of messages.
type (
	wireMessage struct {
		Role             string     `json:"role"`
		Name             string     `json:"name,omitempty"`
		Content          any        `json:"content"`
		ReasoningContent string     `json:"reasoning_content,omitempty"`
		Reasoning        string     `json:"reasoning,omitempty"`
		ToolCalls        []wireCall `json:"tool_calls,omitempty"`
		ToolCallID       string     `json:"tool_call_id,omitempty"`
	}
	wirePart struct {
		Type        string     `json:"type"`
		Text        *string    `json:"text,omitempty"`
		ImageURL    *wireImage `json:"image_url,omitempty"`
		File        *wireFile  `json:"file,omitempty"`
		Audio       *wireAudio `json:"input_audio,omitempty"`
		DocumentURL string     `json:"document_url,omitempty"`
		Document    string     `json:"document_name,omitempty"`
		Thinking    []wirePart `json:"thinking,omitempty"`
	}
	wireImage struct {
		URL    string `json:"url"`
		Detail string `json:"detail,omitempty"`
	}
	wireFile struct {
		Name string `json:"filename,omitempty"`
		Data string `json:"file_data"`
	}
	wireAudio struct {
		Data   string `json:"data"`
		Format string `json:"format"`
	}
	wireCall struct {
		ID       string       `json:"id"`
		Type     string       `json:"type"`
		Function wireFunction `json:"function"`
	}
	wireFunction struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	}
)

func (p *Form) encodeMessages(ctx context.Context, prompt *completion.Prompt, model Model) ([]wireMessage, error) {
	out := make([]wireMessage, 0, len(prompt.Messages))
	for i := range prompt.Messages {
		w, err := p.encodeMessage(ctx, &prompt.Messages[i], model, fmt.Sprintf("messages[%d]", i))
		if err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, nil
}

func (p *Form) encodeMessage(ctx context.Context, m *completion.Message, model Model, at string) (wireMessage, error) {
	v := &p.vendor
	w := wireMessage{Role: string(m.Role), Name: m.Name, ToolCallID: v.toolID(m.ToolCallID)}
	for _, c := range m.ToolCalls {
		w.ToolCalls = append(w.ToolCalls, wireCall{ID: v.toolID(c.ID), Type: "function", Function: wireFunction{c.Name, c.Arguments}})
	}
	var parts []wirePart
	var thoughts []string
	for i := range m.Parts {
		part := &m.Parts[i]
		if part.Reasoning != nil {
			// Another vendor's thinking is no model's own, and goes only where there must be some.
			if part.Reasoning.Text != "" && (part.Reasoning.Format == "" || model.NeedsReasoning) {
				thoughts = append(thoughts, part.Reasoning.Text)
			}
			continue
		}
		encoded, err := p.encodePart(ctx, part, m.Role, at)
		if err != nil {
			return wireMessage{}, err
		}
		parts = append(parts, encoded)
	}
	parts = w.think(model.History, strings.Join(thoughts, "\n\n"), parts)
	if model.NeedsReasoning && len(w.ToolCalls) > 0 && w.ReasoningContent == "" {
		w.ReasoningContent = noThinking
	}
	switch {
	case len(parts) == 1 && parts[0].Text != nil:
		w.Content = *parts[0].Text
	case len(parts) > 0:
		w.Content = parts
	case len(m.ToolCalls) == 0:
		w.Content = ""
	}
	return w, nil
}

// think puts the thinking where the vendor wants it back.
func (w *wireMessage) think(history History, text string, parts []wirePart) []wirePart {
	if text == "" || w.Role != string(completion.Assistant) {
		return parts
	}
	switch history {
	case AsReasoningContent:
		w.ReasoningContent = text
	case AsReasoning:
		w.Reasoning = text
	case AsParts:
		thinking := wirePart{Type: "thinking", Thinking: []wirePart{{Type: "text", Text: &text}}}
		return append([]wirePart{thinking}, parts...)
	case Forgotten:
	}
	return parts
}

func (v *Vendor) toolID(id string) string {
	if v.ToolID == nil || id == "" {
		return id
	}
	return v.ToolID(id)
}

func (p *Form) encodePart(ctx context.Context, part *completion.Part, role completion.Role, at string) (wirePart, error) {
	switch {
	case part.IsImage():
		if role != completion.User {
			return wirePart{}, p.vendor.unsupported(at, "only a user's message can hold an image")
		}
		image := wireImage{URL: part.ImageURL, Detail: part.Detail}
		switch {
		case part.ImageData != nil:
			image.URL = dataURL(part.MediaType, part.ImageData)
		case p.vendor.InlineImages && remote(image.URL):
			var err error
			if image.URL, err = p.fetched(ctx, image.URL); err != nil {
				return wirePart{}, err
			}
		}
		return wirePart{Type: "image_url", ImageURL: &image}, nil
	case part.Document != nil:
		return p.vendor.encodeDocument(part.Document, at)
	case part.Audio != nil:
		return wirePart{Type: "input_audio", Audio: &wireAudio{base64.StdEncoding.EncodeToString(part.Audio.Data), part.Audio.Format}}, nil
	}
	return wirePart{Type: "text", Text: &part.Text}, nil
}

func (v *Vendor) encodeDocument(d *completion.Document, at string) (wirePart, error) {
	address := d.URL
	if d.Data != nil {
		address = dataURL(d.MediaType, d.Data)
	}
	switch {
	case v.DocumentURLs:
		return wirePart{Type: "document_url", DocumentURL: address, Document: d.Name}, nil
	case d.Data == nil:
		return wirePart{}, v.unsupported(at, "it takes documents by their bytes only")
	}
	return wirePart{Type: "file", File: &wireFile{Name: d.Name, Data: address}}, nil
}

func dataURL(mediaType string, data []byte) string {
	return "data:" + mediaType + ";base64," + base64.StdEncoding.EncodeToString(data)
}

// remote reports whether an address is that of another server.
func remote(address string) bool {
	return strings.HasPrefix(address, "https://") || strings.HasPrefix(address, "http://")
}

// fetched is a picture as a data URL.
func (p *Form) fetched(ctx context.Context, address string) (string, error) {
	data, mediaType, err := p.client.Picture(ctx, address)
	if err != nil {
		return "", err
	}
	return dataURL(mediaType, data), nil
}

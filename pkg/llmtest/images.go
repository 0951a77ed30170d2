package llmtest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// images is OpenAI's form of drawn pictures, as the GPT image models have it: always bytes, never
// addresses.
type images struct {
	openAIFamily
	body struct {
		Prompt         string `json:"prompt"`
		Count          *int   `json:"n"`
		Size           string `json:"size"`
		Quality        string `json:"quality"`
		Background     string `json:"background"`
		OutputFormat   string `json:"output_format"`
		ResponseFormat string `json:"response_format"`
		Style          string `json:"style"`
		PartialImages  int    `json:"partial_images"`
	}
}

// The tokens that one picture is declared to take, by its quality.
var pictureTokens = map[string]int{"low": 272, "medium": 1056, "high": 4160}

// Drawn is the picture that the scripted provider draws: a PNG's first bytes and what was asked for.
func Drawn(prompt string, n int) []byte {
	return fmt.Appendf([]byte("\x89PNG\r\n\x1a\n"), "%s #%d", prompt, n)
}

func (m *images) check(c *call, raw []byte) (last string, _ *wire) {
	if c.model == "" {
		return "", refused("you must provide a model parameter", "", "")
	}
	if err := json.Unmarshal(raw, &m.body); err != nil {
		return "", refused("We could not parse the JSON body of your request.", "", "")
	}
	for _, d := range []struct{ name, value string }{{"response_format", m.body.ResponseFormat}, {"style", m.body.Style}} {
		if d.value != "" {
			return "", refused("Unknown parameter: '"+d.name+"'.", d.name, "unknown_parameter")
		}
	}
	switch {
	case m.body.Prompt == "":
		return "", refused("Missing required parameter: 'prompt'.", "prompt", "missing_required_parameter")
	case m.body.Count != nil && (*m.body.Count < 1 || *m.body.Count > 10):
		return "", refused("Invalid 'n': expected an integer between 1 and 10.", "n", "integer_above_max_value")
	case m.body.PartialImages < 0 || m.body.PartialImages > 3:
		return "", refused("Invalid 'partial_images': expected an integer between 0 and 3.", "partial_images", "integer_above_max_value")
	}
	if format := m.body.OutputFormat; format != "" && format != "png" && format != "jpeg" && format != "webp" {
		return "", refused("Invalid value: '"+format+"'. Supported values are: 'png', 'webp', and 'jpeg'.", "output_format", "invalid_value")
	}
	return m.body.Prompt, nil
}

func (m *images) count() int {
	if m.body.Count == nil {
		return 1
	}
	return *m.body.Count
}

// declare: what is drawn counts by quality, and the model may think in words before.
func (m *images) declare(c *call) {
	drawn := m.count() * pictureTokens[m.said(m.body.Quality, "high")]
	c.usage = Usage{Input: c.usage.Input, ImageOut: drawn, Output: drawn + c.script.Reasoning}
	c.answer = answer{}
}

// said is what the answer tells of a setting that was left to the model.
func (m *images) said(asked, chosen string) string {
	if asked == "" || asked == "auto" {
		return chosen
	}
	return asked
}

func (m *images) settings() map[string]any {
	return map[string]any{
		"background": m.said(m.body.Background, "opaque"), "output_format": m.said(m.body.OutputFormat, "png"),
		"quality": m.said(m.body.Quality, "high"), "size": m.said(m.body.Size, "1024x1024"),
	}
}

func (m *images) usage(c *call) map[string]any {
	u := c.usage
	return map[string]any{
		"input_tokens": u.Input, "output_tokens": u.Output, "total_tokens": u.Input + u.Output,
		"input_tokens_details":  map[string]any{"text_tokens": u.Input - u.ImageIn, "image_tokens": u.ImageIn},
		"output_tokens_details": map[string]any{"text_tokens": u.Output - u.ImageOut, "image_tokens": u.ImageOut},
	}
}

func (m *images) picture(n int) string {
	return base64.StdEncoding.EncodeToString(Drawn(m.body.Prompt, n))
}

func (m *images) whole(c *call) []byte {
	data := make([]any, m.count())
	for i := range data {
		data[i] = map[string]any{"b64_json": m.picture(i)}
	}
	whole := m.settings()
	whole["created"], whole["data"] = c.begun.Unix(), data
	if !c.script.NoUsage {
		whole["usage"] = m.usage(c)
	}
	return indented(whole)
}

// stream sends the picture as it becomes clearer, then as it is.
func (m *images) stream(c *call, out *sink) {
	c.streamHeaders()
	for i := range m.body.PartialImages {
		if c.script.InStream && i == c.script.At || !out.pause(c.script.Delay) {
			break
		}
		partial := m.settings()
		partial["type"], partial["created_at"], partial["partial_image_index"] = "image_generation.partial_image", c.begun.Unix(), i
		partial["b64_json"] = m.picture(i)[:8]
		if !m.event(c, out, partial, false) {
			return
		}
	}
	if c.script.InStream {
		w := c.failure()
		m.event(c, out, map[string]any{"type": "error", "error": map[string]any{
			"type": w.kind, "code": orNil(w.code), "message": w.message, "param": orNil(w.param),
		}}, false)
		out.flush()
		return
	}
	if c.script.NoFinish || c.script.NoDone {
		out.flush()
		return
	}
	last := m.settings()
	last["type"], last["created_at"], last["b64_json"] = "image_generation.completed", c.begun.Unix(), m.picture(0)
	if !c.script.NoUsage {
		last["usage"] = m.usage(c)
	}
	if m.event(c, out, last, true) && out.flush() {
		c.entry.Complete = true
	}
}

func (m *images) event(c *call, out *sink, v map[string]any, last bool) bool {
	name, _ := v["type"].(string)
	end := c.lineEnd()
	data := bytes.TrimSpace(encode(v))
	event := strings.Join([]string{"event: " + name, "data: " + string(data), "", ""}, end)
	return out.put([]byte(event), 0, last && v["usage"] != nil)
}

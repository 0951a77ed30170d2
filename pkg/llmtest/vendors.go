package llmtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// vendor is an OpenAI-like vendor's chat completions. Its base address is /<slug>/v1, or /<slug> where the
// vendor has no version in it; "openai" may stand before or after that, as it does for some.
type vendor struct {
	slug   string
	models []string
	its    quirks
}

// quirks are what a vendor does otherwise than OpenAI.
type quirks struct {
	// only are the fields that it knows; refuses are fields that it refuses. messages are those of messages.
	only, refuses, messages []string
	// check refuses what only this vendor refuses, in a body of these members and messages.
	check func(body map[string]json.RawMessage, messages []map[string]json.RawMessage) *wire
	// usage changes the usage object, last says that nothing will be added to it.
	usage func(c *call, u map[string]any, last bool)
	// answer changes an answer, or each piece of one.
	answer func(c *call, a map[string]any)
	// failures are in place of OpenAI's, failed their envelope; nil is OpenAI's.
	failures map[Failure]wire
	failed   func(w wire) any
	// headers are those of every answer; "%ID%" is the call's name.
	headers map[string]string
	// answers are those to a GET besides the list of models, by path.
	answers map[string]any

	// reasoning is the field of thinking: "reasoning_content" if empty; "parts" and "tags" are in the content.
	reasoning string
	// counts is where a stream counts besides a chunk of its own: "finish", "choice", "x_groq", "always".
	counts string
	// unasked says that no chunk of its own counts, asked or not.
	unasked bool
	// repeats says that each piece repeats the whole message, and that the last one is told by its object.
	repeats bool
	// atOnce says that a tool call comes in one piece, unplaced that it has no index, object that its
	// arguments are one where the answer is not streamed.
	atOnce, unplaced, object bool
	// toolID is the form of a tool call's id; "%d" is its number.
	toolID string
	// errorEvent says that an error in a stream has an event name.
	errorEvent bool
	// pings are comments before all else.
	pings bool
}

var _ native = (*vendor)(nil)

// serveVendor serves what a vendor's path begins with its slug.
func serveVendor(p *Provider, w http.ResponseWriter, r *http.Request) bool {
	slug, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	v := vendors[slug]
	if v == nil {
		return false
	}
	path = "/" + path
	for _, prefix := range []string{"/openai", "/v1", "/openai"} { // Groq's clients and DeepInfra's addresses
		path = strings.TrimPrefix(path, prefix)
	}
	answer, known := v.its.answers[path]
	switch {
	case path == "/chat/completions":
		p.generateNative(w, r, v, slug)
	case path == "/models" && !known:
		v.get(p, w, r, v.list())
	case known:
		v.get(p, w, r, answer)
	default:
		return false
	}
	return true
}

// get answers a question that takes no tokens. A script in the key can make it fail.
func (v *vendor) get(p *Provider, w http.ResponseWriter, r *http.Request, answer any) {
	c := p.newNative(w, r, v, v.slug)
	if problem := c.admit(http.MethodGet); problem != nil {
		c.refuse(*problem)
		return
	}
	if _, text, ok := splitScript(c.key); ok && !c.playList(text) {
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

func (v *vendor) list() any {
	data := []any{}
	for _, id := range v.models {
		data = append(data, map[string]any{"id": id, "object": "model", "created": 1790000000, "owned_by": v.slug})
	}
	return map[string]any{"object": "list", "data": data}
}

func (v *vendor) provider() string { return v.slug }

func (v *vendor) key(r *http.Request) string {
	key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return key
}

func (v *vendor) headers(c *call) {
	h := c.w.Header()
	h.Set("X-Request-Id", c.entry.RequestID)
	for name, value := range v.its.headers {
		h.Set(name, strings.ReplaceAll(value, "%ID%", c.entry.RequestID))
	}
}

func (v *vendor) admit(*call) *wire { return nil }

func (v *vendor) read(c *call, raw []byte) *wire { return openAIFamily{}.read(c, raw) }

func (v *vendor) check(c *call, raw []byte) (last string, _ *wire) {
	var body map[string]json.RawMessage
	if err := json.Unmarshal(raw, &body); err != nil {
		return "", refused(err.Error(), "", "")
	}
	for _, name := range slices.Sorted(maps.Keys(body)) {
		if v.its.only != nil && !slices.Contains(v.its.only, name) || slices.Contains(v.its.refuses, name) {
			return "", v.unknown(name)
		}
	}
	var messages []map[string]json.RawMessage
	if err := json.Unmarshal(body["messages"], &messages); err == nil && v.its.messages != nil {
		for i, m := range messages {
			for _, name := range slices.Sorted(maps.Keys(m)) {
				if !slices.Contains(v.its.messages, name) {
					return "", v.unknown(fmt.Sprintf("messages.%d.%s", i, name))
				}
			}
		}
	}
	if v.its.check != nil {
		if problem := v.its.check(body, messages); problem != nil {
			return "", problem
		}
	}
	return c.checkOpenAI()
}

// unknown is what a vendor says of a field that it does not know.
func (v *vendor) unknown(name string) *wire {
	if w, ok := v.its.failures[errUnknownField]; ok {
		w.message = strings.ReplaceAll(w.message, "%FIELD%", name)
		w.param = name
		return &w
	}
	return refused(fmt.Sprintf("property '%s' is unsupported", name), name, "")
}

// errUnknownField is no failure of a script: what a vendor says of a field that it does not know.
const errUnknownField Failure = "unknown field"

func (v *vendor) failure(f Failure) wire {
	if w, ok := v.its.failures[f]; ok {
		return w
	}
	return failures[f][openAI]
}

func (v *vendor) envelope(c *call, w wire) []byte {
	if v.its.failed == nil {
		return w.body(openAI, c.entry.RequestID)
	}
	return encode(v.its.failed(w))
}

// usage is the usage object of an answer, or of a piece of it.
func (v *vendor) usage(c *call, output int, last bool) map[string]any {
	u := c.usage
	given := map[string]any{
		"prompt_tokens": u.Input, "completion_tokens": output, "total_tokens": u.Input + output,
		"prompt_tokens_details":     map[string]any{"cached_tokens": u.Cached},
		"completion_tokens_details": map[string]any{"reasoning_tokens": u.Reasoning},
	}
	if v.its.usage != nil {
		v.its.usage(c, given, last)
	}
	return given
}

// whole is the answer of a call that is not streamed.
func (v *vendor) whole(c *call) []byte {
	message := v.message(c, strings.Join(c.answer.words, ""))
	if c.answer.refusal {
		message["refusal"], message["content"] = message["content"], nil
	}
	if c.answer.tools > 0 {
		var calls []any
		for i := range c.answer.tools {
			call := v.toolCall(c, i, c.arguments())
			if v.its.object && c.script.Objects {
				call["function"] = map[string]any{"name": c.script.Tool, "arguments": json.RawMessage(c.arguments())}
			}
			calls = append(calls, call)
		}
		message["tool_calls"] = calls
	}
	var choices []any
	for i := range c.choices() {
		choices = append(choices, map[string]any{"index": i, "message": message, "finish_reason": orNil(c.finishReason())})
	}
	answer := map[string]any{
		"id": c.id("chatcmpl-"), "object": "chat.completion", "created": c.begun.Unix(), "model": c.model, "choices": choices,
	}
	if !c.script.NoUsage {
		answer["usage"] = v.usage(c, c.usage.Output, true)
	}
	if v.its.answer != nil {
		v.its.answer(c, answer)
	}
	return encode(answer)
}

// message is an answer's message with its thinking.
func (v *vendor) message(c *call, text string) map[string]any {
	message := map[string]any{"role": "assistant", "content": text}
	if !c.script.Think {
		return message
	}
	thought := strings.Join(words("", c.script.Reasoning), "")
	switch v.its.reasoning {
	case "parts":
		message["content"] = []any{thinkingPart(thought), map[string]any{"type": "text", "text": text}}
	case "tags":
		message["content"] = "<think>" + thought + "</think>\n\n" + text
	case "":
		message["reasoning_content"] = thought
	default:
		message[v.its.reasoning] = thought
	}
	return message
}

func thinkingPart(text string) map[string]any {
	return map[string]any{"type": "thinking", "thinking": []any{map[string]any{"type": "text", "text": text}}, "closed": true}
}

func (v *vendor) toolCall(c *call, i int, arguments string) map[string]any {
	id := c.id("call_") + fmt.Sprint(i)
	if v.its.toolID != "" {
		id = fmt.Sprintf(v.its.toolID, (c.number*8+int64(i))%100_000)
	}
	call := map[string]any{
		"id": id, "type": "function", "function": map[string]any{"name": c.script.Tool, "arguments": arguments},
	}
	if !v.its.unplaced {
		call["index"] = i
	}
	return call
}

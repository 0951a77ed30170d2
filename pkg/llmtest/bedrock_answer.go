package llmtest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// BedrockSignature is the signature of all reasoning.
const BedrockSignature = "c2lnbmF0dXJl"

// claude reports whether the answer is Anthropic's.
func (b *bedrock) claude() bool {
	return (b.op == opInvoke || b.op == opInvokeStream) && b.texts == nil && !b.draws
}

// declare: Converse does not tell what was thought, and vectors are no output tokens.
func (b *bedrock) declare(c *call) {
	switch {
	case b.draws:
		c.script.NoUsage = true
		c.answer = answer{refusal: c.script.Refusal}
	case b.texts != nil:
		c.usage = Usage{Input: c.usage.Input}
		c.answer = answer{}
	case !b.claude():
		c.usage.Reasoning = 0
	}
}

// stopReasonOf is the end in Converse's words.
func stopReasonOf(c *call) string {
	switch reason := c.finishReason(); reason {
	case "stop":
		return "end_turn"
	case "length":
		return "max_tokens"
	case "tool_calls":
		return "tool_use"
	case "content_filter":
		return "guardrail_intervened"
	default:
		return reason
	}
}

func converseUsage(u Usage) object {
	details := []any{}
	for _, d := range []struct {
		tokens int
		ttl    string
	}{{u.CacheWrite1h, "1h"}, {u.CacheWrite, "5m"}} {
		if d.tokens > 0 {
			details = append(details, object{"inputTokens": d.tokens, "ttl": d.ttl})
		}
	}
	out := object{
		"inputTokens": u.Input - u.Cached - u.CacheWrite - u.CacheWrite1h, "outputTokens": u.Output, "totalTokens": u.Input + u.Output,
		"cacheReadInputTokens": u.Cached, "cacheWriteInputTokens": u.CacheWrite + u.CacheWrite1h,
	}
	if len(details) > 0 {
		out["cacheDetails"] = details
	}
	return out
}

func (b *bedrock) whole(c *call) []byte {
	switch {
	case b.draws && c.answer.refusal:
		return mustJSON(object{"seeds": []int{1}, "finish_reasons": []string{"Filter reason: prompt"}, "images": []string{""}})
	case b.draws:
		return mustJSON(object{"seeds": []int{1}, "finish_reasons": []any{nil}, "images": []string{picture}})
	case b.texts != nil:
		return b.vectors(c)
	case b.claude():
		c.model = claudeModel(b.model)
		return c.wholeAnthropic()
	}
	content := []any{}
	if c.script.Reasoning > 0 {
		content = append(content, object{"reasoningContent": object{"reasoningText": object{"text": c.thinking(), "signature": c.state(BedrockSignature)}}})
	}
	if len(c.answer.words) > 0 {
		content = append(content, object{"text": strings.Join(c.answer.words, "")})
	}
	for i := range c.answer.tools {
		content = append(content, object{"toolUse": object{
			"toolUseId": b.toolID(c, i), "name": c.script.Tool, "input": json.RawMessage(c.arguments()),
		}})
	}
	whole := object{
		"output": object{"message": object{"role": "assistant", "content": content}}, "stopReason": stopReasonOf(c),
		"usage": converseUsage(c.usage), "metrics": object{"latencyMs": 12},
	}
	if c.script.NoUsage {
		delete(whole, "usage")
	}
	return mustJSON(whole)
}

func (b *bedrock) toolID(c *call, i int) string { return c.id("tooluse_") + strconv.Itoa(i) }

func (b *bedrock) mediaType() string { return "application/vnd.amazon.eventstream" }

// framed is one of Anthropic's events in a chunk.
func (b *bedrock) framed(dst []byte, data string) []byte {
	payload := object{"bytes": []byte(data), "p": padding(len(data))}
	return awsFrame(dst, [][2]string{{":event-type", "chunk"}, {":content-type", "application/json"}, {":message-type", "event"}}, mustJSON(payload))
}

// reported is an exception in the stream, whose name begins with a small letter. What has no name is
// reported by the framing itself.
func (b *bedrock) reported(dst []byte, w wire) []byte {
	if w.kind == "" {
		return awsFrame(dst, [][2]string{{":error-code", "InternalError"}, {":error-message", w.message}, {":message-type", "error"}}, nil)
	}
	return append(dst, AWSException(strings.ToLower(w.kind[:1])+w.kind[1:], mustJSON(object{"message": w.message}))...)
}

// padding is what hides the length of an event from who listens.
func padding(n int) string { return "abcdefghijklmnopqrstuvwxyz"[:n%27] }

// converseStream writes a stream of Converse.
type converseStream struct {
	b       *bedrock
	c       *call
	out     *sink
	block   int
	content int
}

func (b *bedrock) stream(c *call, out *sink) {
	c.streamHeaders()
	if b.claude() {
		c.model = claudeModel(b.model)
		c.streamAnthropic(out)
		return
	}
	s := &converseStream{b: b, c: c, out: out}
	if s.run() && out.flush() {
		c.entry.Complete = !c.script.NoFinish
	}
}

func (s *converseStream) run() bool {
	c := s.c
	if c.script.InStream && c.script.At == 0 {
		return s.failed()
	}
	if !s.event("messageStart", object{"role": "assistant"}, 0, false) || !s.think() || !s.words() || !s.tools() {
		return false
	}
	if c.script.InStream {
		return s.failed()
	}
	if c.script.NoFinish {
		return true
	}
	if !s.event("messageStop", object{"stopReason": stopReasonOf(c)}, 0, false) {
		return false
	}
	if c.script.NoDone {
		return true
	}
	metrics := object{"metrics": object{"latencyMs": 12}}
	if c.script.NoUsage {
		return s.event("metadata", metrics, 0, false)
	}
	if !s.event("metadata", object{"usage": converseUsage(c.usage), "metrics": metrics["metrics"]}, 0, true) {
		return false
	}
	return !c.script.Pings || s.event("metadata", metrics, 0, false)
}

func (s *converseStream) think() bool {
	if s.c.script.Reasoning == 0 {
		return true
	}
	if s.c.script.Think {
		for _, word := range words("", s.c.script.Reasoning) {
			if !s.delta(object{"reasoningContent": object{"text": word}}, 0) {
				return false
			}
		}
	}
	return s.event("contentBlockDelta", s.at(object{"delta": object{"reasoningContent": object{"signature": s.c.state(BedrockSignature)}}}), 0, false) && s.close()
}

func (s *converseStream) words() bool {
	for n, word := range s.c.answer.words {
		if n == 0 && s.c.script.Huge > 0 {
			word = strings.Repeat("x", s.c.script.Huge)
		}
		if !s.delta(object{"text": word}, 1) {
			return false
		}
	}
	return len(s.c.answer.words) == 0 || s.close()
}

func (s *converseStream) tools() bool {
	c := s.c
	for i := range c.answer.tools {
		start := object{"start": object{"toolUse": object{"toolUseId": s.b.toolID(c, i), "name": c.script.Tool}}}
		if !s.event("contentBlockStart", s.at(start), 0, false) {
			return false
		}
		pieces := cutEvery(c.arguments(), 8)
		for k, piece := range pieces {
			tokens := 0
			if k == len(pieces)-1 {
				tokens = toolTokens
			}
			if !s.delta(object{"toolUse": object{"input": piece}}, tokens) {
				return false
			}
		}
		if !s.close() {
			return false
		}
	}
	return true
}

// at adds the number of the block.
func (s *converseStream) at(event object) object {
	event["contentBlockIndex"] = s.block
	return event
}

func (s *converseStream) close() bool {
	ok := s.event("contentBlockStop", s.at(object{}), 0, false)
	s.block++
	return ok
}

// delta sends a content event, with the waits and cuts of the script.
func (s *converseStream) delta(delta object, tokens int) bool {
	script := &s.c.script
	if script.InStream && s.content == script.At {
		return s.failed()
	}
	if script.Pings && !s.event("contentBlockDelta", s.at(object{"delta": object{"text": ""}}), 0, false) {
		return false
	}
	if !s.out.pause(script.Delay) || !s.event("contentBlockDelta", s.at(object{"delta": delta}), tokens, false) {
		return false
	}
	s.content++
	if script.CutChunks > 0 && s.content >= script.CutChunks {
		s.out.flush()
		s.out.cut = true
		return false
	}
	return true
}

// failed sends an exception; the connection ends after it.
func (s *converseStream) failed() bool {
	s.out.buf = s.b.reported(s.out.buf[:0], s.c.failure())
	if s.out.put(s.out.buf, 0, false) {
		s.out.flush()
	}
	s.out.gone = true
	return false
}

func (s *converseStream) event(name string, payload object, tokens int, usage bool) bool {
	payload["p"] = padding(7*s.content + s.block)
	s.out.buf = append(s.out.buf[:0], AWSEvent(name, mustJSON(payload))...)
	return s.out.put(s.out.buf, tokens, usage)
}

// checkEmbeddings checks a call for vectors.
func (b *bedrock) checkEmbeddings(raw []byte) string {
	var in struct {
		Text       *string  `json:"inputText"`
		Dimensions *int     `json:"dimensions"`
		Normalize  *bool    `json:"normalize"`
		Kinds      []string `json:"embeddingTypes"`

		Texts   []string `json:"texts"`
		Purpose string   `json:"input_type"`
		Cut     string   `json:"truncate"`
		Types   []string `json:"embedding_types"`
		Size    *int     `json:"output_dimension"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return "Malformed input request: " + err.Error() + ", please reformat your input and try again."
	}
	b.size = defaultDimensions
	bare := bareModel(b.model)
	switch {
	case strings.HasPrefix(bare, "amazon.titan-embed-text") && in.Text != nil && *in.Text != "" && in.Texts == nil:
		b.texts = []string{*in.Text}
		if in.Dimensions != nil {
			if b.size = *in.Dimensions; !slices.Contains([]int{256, 512, 1024}, b.size) {
				return "Malformed input request: #/dimensions: " + strconv.Itoa(b.size) + " is not a valid enum value, please reformat your input and try again."
			}
		}
	case strings.HasPrefix(bare, "cohere.embed") && len(in.Texts) > 0 && in.Text == nil:
		b.texts = in.Texts
		if len(in.Texts) > 96 {
			return "Malformed input request: #/texts: expected maximum item count: 96, found: " + strconv.Itoa(len(in.Texts)) + ", please reformat your input and try again."
		}
		if !slices.Contains([]string{"search_document", "search_query", "classification", "clustering"}, in.Purpose) {
			return "Malformed input request: #: required key [input_type] not found, please reformat your input and try again."
		}
		if in.Size != nil {
			b.size = *in.Size
		}
	default:
		return "Malformed input request: #: subject must not be valid against schema, please reformat your input and try again."
	}
	return ""
}

// checkPicture checks a call for a picture.
func (b *bedrock) checkPicture(raw []byte) (last string, _ *wire) {
	var in struct {
		Prompt string   `json:"prompt"`
		Mode   string   `json:"mode"`
		Ratio  string   `json:"aspect_ratio"`
		Format string   `json:"output_format"`
		Seed   *uint32  `json:"seed"`
		Avoid  string   `json:"negative_prompt"`
		Image  *string  `json:"image"`
		Change *float64 `json:"strength"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	ratios := []string{"", "16:9", "1:1", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21"}
	switch err := d.Decode(&in); {
	case err != nil:
		return "", invalid("Malformed input request: " + err.Error() + ", please reformat your input and try again.")
	case in.Prompt == "" || !slices.Contains(ratios, in.Ratio) || !slices.Contains([]string{"", "png", "jpeg", "webp"}, in.Format):
		return "", invalid("Malformed input request: #: subject must not be valid against schema, please reformat your input and try again.")
	}
	b.draws = true
	return in.Prompt, nil
}

// vectors is the answer to a call for vectors. Only a header tells what Cohere's take.
func (b *bedrock) vectors(c *call) []byte {
	if !c.script.NoUsage {
		c.w.Header().Set("X-Amzn-Bedrock-Input-Token-Count", fmt.Sprint(c.usage.Input))
	}
	if strings.HasPrefix(bareModel(b.model), "amazon.") {
		whole := object{"embedding": Vector(b.texts[0], b.size), "embeddingsByType": object{"float": Vector(b.texts[0], b.size)}}
		if !c.script.NoUsage {
			whole["inputTextTokenCount"] = c.usage.Input
		}
		return mustJSON(whole)
	}
	list := make([]any, len(b.texts))
	for i, text := range b.texts {
		list[i] = Vector(text, b.size)
	}
	whole := object{"id": c.id(""), "texts": b.texts, "response_type": "embeddings_by_type", "embeddings": object{"float": list}}
	if strings.Contains(b.model, "-v3") {
		whole["embeddings"] = list
	}
	return mustJSON(whole)
}

// decodeBytes reads base64, which is how bytes are written in JSON.
func decodeBytes(text string) ([]byte, error) { return base64.StdEncoding.DecodeString(text) }

package llmtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// responses is OpenAI's responses form. Reasoning tokens come as a reasoning item; its text shows as a
// summary if the script thinks, and its encrypted form if the call includes it.
type responses struct {
	openAIFamily
	asked struct {
		Input              json.RawMessage `json:"input"`
		Instructions       any             `json:"instructions"`
		Include            []string        `json:"include"`
		Store              *bool           `json:"store"`
		PreviousResponseID string          `json:"previous_response_id"`
		MaxOutputTokens    *int            `json:"max_output_tokens"`
		ParallelToolCalls  *bool           `json:"parallel_tool_calls"`
		Temperature        *float64        `json:"temperature"`
		TopP               *float64        `json:"top_p"`
		ToolChoice         any             `json:"tool_choice"`
		Tools              []any           `json:"tools"`
		Metadata           map[string]any  `json:"metadata"`
		Truncation         string          `json:"truncation"`
		User               any             `json:"user"`
		Text               struct {
			Format    any    `json:"format"`
			Verbosity string `json:"verbosity"`
		} `json:"text"`
		Reasoning struct {
			Effort  *string `json:"effort"`
			Summary *string `json:"summary"`
		} `json:"reasoning"`
	}
	events events
}

// item is an input item, as far as it is looked at.
type item struct {
	ID        *string         `json:"id"`
	Type      string          `json:"type"`
	Role      string          `json:"role"`
	Content   json.RawMessage `json:"content"`
	CallID    string          `json:"call_id"`
	Summary   json.RawMessage `json:"summary"`
	Encrypted *string         `json:"encrypted_content"`
}

// encryptedPrefix begins all encrypted reasoning that this provider gives; no other is accepted.
const encryptedPrefix = "gAAAAABllmtest-"

func (f *responses) check(c *call, raw []byte) (last string, _ *wire) {
	if c.model == "" {
		return "", refused("Missing required parameter: 'model'.", "model", "missing_required_parameter")
	}
	var known map[string]json.RawMessage
	if json.Unmarshal(raw, &known) != nil || json.Unmarshal(raw, &f.asked) != nil {
		return "", refused("We could not parse the JSON body of your request.", "", "")
	}
	for _, name := range []string{"messages", "n", "stop", "seed", "max_tokens", "max_completion_tokens", "response_format", "reasoning_effort", "frequency_penalty", "presence_penalty"} {
		if known[name] != nil {
			return "", refused("Unsupported parameter: '"+name+"'.", name, "unsupported_parameter")
		}
	}
	if f.asked.PreviousResponseID != "" {
		return "", refused("Previous response with id '"+f.asked.PreviousResponseID+"' not found.", "previous_response_id", "previous_response_not_found")
	}
	if least := f.asked.MaxOutputTokens; least != nil && *least < 16 {
		return "", refused("Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got "+strconv.Itoa(*least)+" instead.", "max_output_tokens", "integer_below_min_value")
	}
	if f.asked.Temperature != nil && reasons(c.model) && (f.asked.Reasoning.Effort == nil || *f.asked.Reasoning.Effort != "none") {
		return "", refused("Unsupported parameter: 'temperature' is not supported with this model.", "temperature", "unsupported_parameter")
	}
	var text string
	if json.Unmarshal(f.asked.Input, &text) == nil && len(f.asked.Input) > 0 {
		return text, nil
	}
	var items []item
	if json.Unmarshal(f.asked.Input, &items) != nil || len(items) == 0 {
		return "", refused("Missing required parameter: 'input'.", "input", "missing_required_parameter")
	}
	return f.items(items)
}

// items checks the turns of a conversation.
func (f *responses) items(items []item) (last string, _ *wire) {
	called := map[string]bool{}
	for i, it := range items {
		at := fmt.Sprintf("input[%d]", i)
		switch it.Type {
		case "", "message":
			if !slices.Contains([]string{"user", "assistant", "system", "developer"}, it.Role) {
				return "", refused("Invalid value: '"+it.Role+"'. Supported values are: 'assistant', 'system', 'developer', and 'user'.", at, "invalid_value")
			}
			if problem := parts(at, it); problem != nil {
				return "", problem
			}
			if it.Role == "user" {
				last = firstText(it.Content)
			}
		case "function_call":
			if it.ID != nil && !strings.HasPrefix(*it.ID, "fc") {
				return "", refused("Invalid '"+at+".id': '"+*it.ID+"'. Expected an ID that begins with 'fc'.", at+".id", "invalid_value")
			}
			called[it.CallID] = true
		case "function_call_output":
			if !called[it.CallID] {
				return "", refused("No tool call found for function call output with call_id "+it.CallID+".", "input", "")
			}
		case "reasoning":
			if problem := f.thought(at, it, i == len(items)-1); problem != nil {
				return "", problem
			}
		default:
			return "", refused("Invalid value: '"+it.Type+"'.", at, "invalid_value")
		}
	}
	return last, nil
}

// parts checks that content is of the kinds that its role may have.
func parts(at string, it item) *wire {
	allowed := []string{"input_text", "input_image", "input_file"}
	if it.Role == "assistant" {
		allowed = []string{"output_text", "refusal"}
	}
	var content []struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(it.Content, new(string)) == nil {
		return nil
	}
	if json.Unmarshal(it.Content, &content) != nil {
		return refused("Invalid type for '"+at+".content'.", at+".content", "invalid_type")
	}
	for k, part := range content {
		if !slices.Contains(allowed, part.Type) {
			param := fmt.Sprintf("%s.content[%d]", at, k)
			return refused("Invalid value: '"+part.Type+"'. Supported values are: '"+strings.Join(allowed, "', '")+"'.", param, "invalid_value")
		}
	}
	return nil
}

// thought checks a reasoning item that comes back.
func (f *responses) thought(at string, it item, atEnd bool) *wire {
	id := "rs_"
	if it.ID != nil {
		id = *it.ID
	}
	switch {
	case it.Summary == nil:
		return refused("Missing required parameter: '"+at+".summary'.", at+".summary", "missing_required_parameter")
	case it.Encrypted == nil || *it.Encrypted == "":
		return &wire{status: 404, kind: "invalid_request_error", param: "input", message: "Item with id '" + id + "' not found. Items are not persisted when `store` is set to false. Try again with `store` set to true, or remove this item from your input."}
	case !strings.HasPrefix(*it.Encrypted, encryptedPrefix):
		return refused("The encrypted content for item "+id+" could not be verified. Reason: Encrypted content could not be decrypted or parsed.", "", "invalid_encrypted_content")
	case atEnd:
		return refused("Item '"+id+"' of type 'reasoning' was provided without its required following item.", "input", "")
	}
	return nil
}

// declare: there is one answer, whatever "n" says.
func (f *responses) declare(c *call) { c.body.N = 0 }

// encrypts reports whether the caller gets its reasoning in the encrypted form.
func (f *responses) encrypts() bool {
	return slices.Contains(f.asked.Include, "reasoning.encrypted_content")
}

func (f *responses) usage(c *call) any {
	if c.script.NoUsage {
		return nil
	}
	u := c.usage
	return map[string]any{
		"input_tokens": u.Input, "output_tokens": u.Output, "total_tokens": u.Input + u.Output,
		"input_tokens_details": map[string]any{
			"cached_tokens": u.Cached, "cache_write_tokens": u.CacheWrite + u.CacheWrite1h,
			"cache_write_tokens_details": map[string]any{"ttl_30m_tokens": u.CacheWrite, "ttl_12h_tokens": u.CacheWrite1h},
		},
		"output_tokens_details": map[string]any{"reasoning_tokens": u.Reasoning},
	}
}

// response is the object around an answer, which repeats what was asked for.
func (f *responses) response(c *call, status string, output []any) map[string]any {
	orDefault := func(v, otherwise any) any {
		if v == nil {
			return otherwise
		}
		return v
	}
	a := &f.asked
	out := map[string]any{
		"id": c.id("resp_"), "object": "response", "created_at": c.begun.Unix(), "status": status, "background": false,
		"error": nil, "incomplete_details": nil, "instructions": a.Instructions, "max_output_tokens": a.MaxOutputTokens,
		"max_tool_calls": nil, "model": c.answerModel(), "output": output, "parallel_tool_calls": a.ParallelToolCalls == nil || *a.ParallelToolCalls,
		"previous_response_id": nil, "prompt_cache_key": nil, "safety_identifier": nil, "service_tier": "default",
		"reasoning": map[string]any{"effort": a.Reasoning.Effort, "summary": a.Reasoning.Summary},
		"store":     a.Store == nil || *a.Store, "temperature": 1.0, "top_logprobs": 0, "top_p": 1.0,
		"text": map[string]any{
			"format": orDefault(a.Text.Format, map[string]any{"type": "text"}), "verbosity": orDefault(orNil(a.Text.Verbosity), "medium"),
		},
		"tool_choice": orDefault(a.ToolChoice, "auto"), "tools": append([]any{}, a.Tools...),
		"truncation": orDefault(orNil(a.Truncation), "disabled"), "usage": nil, "user": a.User, "metadata": a.Metadata,
	}
	if a.Temperature != nil {
		out["temperature"] = *a.Temperature
	}
	if a.TopP != nil {
		out["top_p"] = *a.TopP
	}
	if a.Metadata == nil {
		out["metadata"] = map[string]any{}
	}
	return out
}

// finished is the response at its end.
func (f *responses) finished(c *call, output []any) map[string]any {
	out := f.response(c, f.status(c), output)
	if out["status"] == "incomplete" {
		reason := c.answer.finish
		if reason == "length" {
			reason = "max_output_tokens"
		}
		out["incomplete_details"] = map[string]any{"reason": reason}
	} else {
		out["completed_at"] = c.begun.Unix() + 1
	}
	out["usage"] = f.usage(c)
	return out
}

func (f *responses) status(c *call) string {
	if c.answer.finish == "stop" || c.answer.finish == "tool_calls" {
		return "completed"
	}
	return "incomplete"
}

// The items of the output, by their state.
func (f *responses) reasoningItem(c *call, done bool) map[string]any {
	out := map[string]any{"id": c.id("rs_"), "type": "reasoning", "summary": []any{}}
	if done && c.script.Think {
		out["summary"] = []any{map[string]any{"type": "summary_text", "text": strings.Join(words("", c.script.Reasoning), "")}}
	}
	if f.encrypts() {
		out["encrypted_content"] = c.state(encryptedPrefix + c.id("") + "==")
		if !done { // what comes first is another one, and not the one to keep
			out["encrypted_content"] = encryptedPrefix + "early"
		}
	}
	return out
}

func (f *responses) messageItem(c *call, done bool) map[string]any {
	out := map[string]any{"id": c.id("msg_"), "type": "message", "status": "in_progress", "role": "assistant", "content": []any{}}
	if done {
		out["status"], out["content"] = "completed", []any{f.part(c, strings.Join(c.answer.words, ""))}
	}
	if done && f.status(c) == "incomplete" {
		out["status"] = "incomplete"
	}
	return out
}

func (f *responses) part(c *call, text string) map[string]any {
	if c.answer.refusal {
		return map[string]any{"type": "refusal", "refusal": text}
	}
	return map[string]any{"type": "output_text", "text": text, "annotations": []any{}, "logprobs": []any{}}
}

func (f *responses) callItem(c *call, n int, done bool) map[string]any {
	out := map[string]any{
		"id": fmt.Sprintf("%s%d", c.id("fc_"), n), "type": "function_call", "status": "in_progress",
		"name": c.script.Tool, "call_id": c.toolID(n), "arguments": "",
	}
	if done {
		out["status"], out["arguments"] = "completed", c.arguments()
	}
	return out
}

// output are all items of the answer.
func (f *responses) output(c *call) []any {
	out := []any{}
	if c.script.Reasoning > 0 {
		out = append(out, f.reasoningItem(c, true))
	}
	if len(c.answer.words) > 0 || c.answer.tools == 0 {
		out = append(out, f.messageItem(c, true))
	}
	for i := range c.answer.tools {
		out = append(out, f.callItem(c, i, true))
	}
	return out
}

func (f *responses) whole(c *call) []byte { return indented(f.finished(c, f.output(c))) }

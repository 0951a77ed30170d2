package router

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/telemetry"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/proto/gen/claviger/router/v1/routerv1connect"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/rpc"
)

// caller asks in one dialect and hears its answers.
type caller struct {
	name    string
	dialect completion.Dialect
	call    func(t *testing.T, s *stand, stream bool, text string, ask asked) heard
}

func callers() []caller {
	overHTTP := func(d completion.Dialect, path string, body func(model, text string, stream bool, ask asked) string, whole func(b []byte, got *heard), event func(name string, data []byte, got *heard)) caller {
		return caller{string(d), d, func(t *testing.T, s *stand, stream bool, text string, ask asked) heard {
			return callHTTP(t, s.http.URL+path, body(s.model, text, stream, ask), stream, whole, event)
		}}
	}
	return []caller{
		overHTTP(completion.OpenAIChat, "/v1/chat/completions", chatBody, chatWhole, chatEvent),
		overHTTP(completion.OpenAIResponses, "/v1/responses", responsesBody, responsesWhole, responsesEvent),
		overHTTP(completion.AnthropicMessages, "/v1/messages", messagesBody, messagesWhole, messagesEvent),
		{string(completion.Typed), completion.Typed, callTyped},
	}
}

func members(parts ...string) string { return "{" + strings.Join(parts, ",") + "}" }

func quoted(s string) string {
	b, _ := json.Marshal(s) //nolint:errchkjson // a string
	return string(b)
}

const (
	lookSchema   = `{"type":"object","properties":{"q":{"type":"string"}},"required":["q"],"additionalProperties":false}`
	answerSchema = `{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}`
)

// callHTTP makes one call and reads its answer, whole or event by event.
func callHTTP(t *testing.T, url, body string, stream bool, whole func([]byte, *heard), event func(string, []byte, *heard)) heard {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer key")
	req.Header.Set("Anthropic-Version", "2023-06-01")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return heard{failure: "cut: " + err.Error()}
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	all, err := io.ReadAll(res.Body)
	got := heard{status: res.StatusCode, body: string(all)}
	if err != nil {
		got.failure = "cut: " + err.Error()
	}
	switch {
	case res.StatusCode != http.StatusOK, !stream && err == nil:
		whole(all, &got)
	case stream:
		if kind := res.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
			t.Errorf("a stream comes as %s", kind)
		}
		readEvents(all, func(name string, data []byte) { event(name, data, &got) })
	}
	return got
}

// readEvents reads server-sent events as the standard says.
func readEvents(all []byte, each func(name string, data []byte)) {
	var name string
	var data []byte
	lines := bufio.NewScanner(bytes.NewReader(all))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		switch line := lines.Bytes(); {
		case len(line) == 0:
			if data != nil {
				each(name, data)
			}
			name, data = "", nil
		case bytes.HasPrefix(line, []byte("event:")):
			name = strings.TrimSpace(string(line[6:]))
		case bytes.HasPrefix(line, []byte("data:")):
			data = append(data, bytes.TrimSpace(line[5:])...)
		}
	}
}

// read decodes what must be JSON.
func read[T any](b []byte, got *heard) T {
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		got.failure = fmt.Sprintf("not JSON: %v: %s", err, b)
	}
	return v
}

// --- OpenAI's chat completions

func chatBody(model, text string, stream bool, ask asked) string {
	parts := []string{`"model":` + quoted(model), `"max_completion_tokens":2000`, `"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":` + quoted(text) + `}]`}
	if stream {
		parts = append(parts, `"stream":true`, `"stream_options":{"include_usage":true}`)
	}
	if ask.tool {
		parts = append(parts, `"tools":[{"type":"function","function":{"name":"look","description":"Looks.","parameters":`+lookSchema+`}}]`)
	}
	if ask.think {
		parts = append(parts, `"reasoning_effort":"low"`)
	}
	if ask.schema {
		parts = append(parts, `"response_format":{"type":"json_schema","json_schema":{"name":"answer","schema":`+answerSchema+`}}`)
	}
	return members(parts...)
}

// chatMessage is a message or delta, also as vendors write it whose bytes pass: thinking under another
// name or in a list of parts, and tool calls without an index.
type chatMessage struct {
	Content   json.RawMessage
	Reasoning string `json:"reasoning_content"`
	Thinking  string `json:"reasoning"`
	ToolCalls []struct {
		Index    *int
		ID       string
		Function struct {
			Name      string
			Arguments json.RawMessage
		}
	} `json:"tool_calls"`
}

func (m chatMessage) into(got *heard) {
	got.reasoning += m.Reasoning + m.Thinking
	if len(m.Content) > 0 && m.Content[0] == '[' {
		for _, part := range read[[]struct {
			Text     string
			Thinking []struct{ Text string }
		}](m.Content, got) {
			got.text += part.Text
			for _, thought := range part.Thinking {
				got.reasoning += thought.Text
			}
		}
	} else {
		got.text += unquoted(m.Content)
	}
	for _, call := range m.ToolCalls {
		i := len(got.calls) - 1
		switch {
		case call.Index != nil:
			i = *call.Index
		case call.ID != "":
			i++
		}
		for len(got.calls) <= i {
			got.calls = append(got.calls, toolCall{})
		}
		got.calls[i].Name += call.Function.Name
		got.calls[i].Arguments += unquoted(call.Function.Arguments)
	}
}

// unquoted is a JSON string's text, nothing for null, and the JSON of anything else.
func unquoted(v json.RawMessage) string {
	var s *string
	if err := json.Unmarshal(v, &s); err != nil {
		return string(v)
	}
	if s == nil {
		return ""
	}
	return *s
}

type chatAnswer struct {
	Choices []struct {
		Message, Delta chatMessage
		FinishReason   string `json:"finish_reason"`
	}
	Usage *struct {
		PromptTokens     int64 `json:"prompt_tokens"`
		CompletionTokens int64 `json:"completion_tokens"`
		Cached           int64 `json:"cached_tokens"`
		Details          struct {
			Cached int64 `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
		OutputDetails struct {
			Reasoning int64 `json:"reasoning_tokens"`
		} `json:"completion_tokens_details"`
	}
	Error *struct{ Type, Message string }
}

func (a chatAnswer) into(got *heard, stream bool) {
	for _, c := range a.Choices {
		if stream {
			c.Delta.into(got)
		} else {
			c.Message.into(got)
		}
		if c.FinishReason != "" {
			got.finish = c.FinishReason
		}
	}
	if u := a.Usage; u != nil {
		got.tokens = &counts{u.PromptTokens, max(u.Details.Cached, u.Cached), u.CompletionTokens, u.OutputDetails.Reasoning}
	}
	if a.Error != nil {
		got.failure = a.Error.Type
	}
}

func chatWhole(b []byte, got *heard) {
	a := read[chatAnswer](b, got)
	a.into(got, false)
	got.ended = a.Error == nil && got.finish != ""
}

func chatEvent(_ string, data []byte, got *heard) {
	if string(data) == "[DONE]" {
		got.ended = true
		return
	}
	a := read[chatAnswer](data, got)
	a.into(got, true)
	got.ended = got.ended || got.finish != "" && a.Error == nil // some never send [DONE]
}

// --- OpenAI's responses

func responsesBody(model, text string, stream bool, ask asked) string {
	parts := []string{`"model":` + quoted(model), `"max_output_tokens":2000`, `"instructions":"Be brief."`, `"input":` + quoted(text)}
	if stream {
		parts = append(parts, `"stream":true`)
	}
	if ask.tool {
		parts = append(parts, `"tools":[{"type":"function","name":"look","description":"Looks.","strict":false,"parameters":`+lookSchema+`}]`)
	}
	if ask.think {
		parts = append(parts, `"reasoning":{"effort":"low","summary":"auto"}`)
	}
	if ask.schema {
		parts = append(parts, `"text":{"format":{"type":"json_schema","name":"answer","schema":`+answerSchema+`}}`)
	}
	return members(parts...)
}

type responsesAnswer struct {
	Status string
	Output []struct {
		Type, Name, Arguments string
		Content, Summary      []struct{ Type, Text string }
	}
	Incomplete *struct{ Reason string } `json:"incomplete_details"`
	Usage      *struct {
		Input   int64 `json:"input_tokens"`
		Output  int64 `json:"output_tokens"`
		Details struct {
			Cached int64 `json:"cached_tokens"`
		} `json:"input_tokens_details"`
		OutputDetails struct {
			Reasoning int64 `json:"reasoning_tokens"`
		} `json:"output_tokens_details"`
	}
	Error *struct{ Type, Code, Message string }
}

func (a responsesAnswer) into(got *heard) {
	text, thought := "", ""
	var calls []toolCall
	for _, item := range a.Output {
		switch item.Type {
		case "message":
			for _, part := range item.Content {
				text += part.Text
			}
		case "reasoning":
			for _, part := range append(item.Summary, item.Content...) {
				thought += part.Text
			}
		case "function_call":
			calls = append(calls, toolCall{item.Name, item.Arguments})
		}
	}
	if got.text != "" && got.text != text {
		got.failure = fmt.Sprintf("the pieces say %q, the whole %q", got.text, text)
	}
	got.text, got.reasoning, got.calls = text, thought, calls
	switch {
	case a.Status == "incomplete" && a.Incomplete != nil && a.Incomplete.Reason == "content_filter":
		got.finish = "content_filter"
	case a.Status == "incomplete":
		got.finish = "length"
	case len(calls) > 0:
		got.finish = "tool_calls"
	case a.Status == "completed":
		got.finish = "stop"
	}
	if u := a.Usage; u != nil {
		got.tokens = &counts{u.Input, u.Details.Cached, u.Output, u.OutputDetails.Reasoning}
	}
	if a.Error != nil {
		got.failure = a.Error.Type + a.Error.Code
	}
}

func responsesWhole(b []byte, got *heard) {
	a := read[responsesAnswer](b, got)
	a.into(got)
	got.ended = a.Status == "completed" || a.Status == "incomplete"
}

func responsesEvent(_ string, data []byte, got *heard) {
	e := read[struct {
		Type, Delta, Code, Message string
		Response                   responsesAnswer
	}](data, got)
	switch e.Type {
	case "response.output_text.delta":
		got.text += e.Delta
	case "response.completed", "response.incomplete":
		e.Response.into(got)
		got.ended = true
	case "response.failed":
		got.failure = "failed"
		if e.Response.Error != nil {
			got.failure = e.Response.Error.Code
		}
	case "error":
		got.failure = "error: " + e.Code
	}
}

// --- Anthropic's messages

func messagesBody(model, text string, stream bool, ask asked) string {
	parts := []string{`"model":` + quoted(model), `"max_tokens":2000`, `"system":"Be brief."`, `"messages":[{"role":"user","content":` + quoted(text) + `}]`}
	if stream {
		parts = append(parts, `"stream":true`)
	}
	if ask.tool {
		parts = append(parts, `"tools":[{"name":"look","description":"Looks.","input_schema":`+lookSchema+`}]`)
	}
	if ask.think {
		parts = append(parts, `"thinking":{"type":"enabled","budget_tokens":1024}`)
	}
	if ask.schema {
		parts = append(parts, `"output_config":{"format":{"type":"json_schema","schema":`+answerSchema+`}}`)
	}
	return members(parts...)
}

type messagesUsage struct {
	Input    *int64 `json:"input_tokens"`
	Cached   *int64 `json:"cache_read_input_tokens"`
	Created  *int64 `json:"cache_creation_input_tokens"`
	Output   *int64 `json:"output_tokens"`
	Thinking struct {
		Tokens *int64 `json:"thinking_tokens"`
	} `json:"output_tokens_details"`
}

// into takes over what a usage names; what it does not name stays.
func (u *messagesUsage) into(got *heard, parts *[4]int64) {
	for i, n := range []*int64{u.Input, u.Cached, u.Created, u.Output} {
		if n != nil {
			parts[i] = *n
		}
	}
	reasoning := int64(0)
	if got.tokens != nil {
		reasoning = got.tokens.reasoning
	}
	if u.Thinking.Tokens != nil {
		reasoning = *u.Thinking.Tokens
	}
	got.tokens = &counts{parts[0] + parts[1] + parts[2], parts[1], parts[3], reasoning}
}

var messagesFinish = map[string]string{
	"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls", "refusal": "content_filter",
}

func messagesWhole(b []byte, got *heard) {
	a := read[struct {
		Type    string
		Content []struct {
			Type, Text, Thinking, Name string
			Input                      json.RawMessage
		}
		StopReason string `json:"stop_reason"`
		Usage      *messagesUsage
		Error      *struct{ Type string }
	}](b, got)
	for _, block := range a.Content {
		got.text += block.Text
		got.reasoning += block.Thinking
		if block.Type == "tool_use" {
			got.calls = append(got.calls, toolCall{block.Name, string(block.Input)})
		}
	}
	got.finish = messagesFinish[a.StopReason]
	if a.Usage != nil {
		a.Usage.into(got, new([4]int64))
	}
	if a.Error != nil {
		got.failure = a.Error.Type
	}
	got.ended = a.Type == "message" && a.StopReason != ""
}

func messagesEvent(name string, data []byte, got *heard) {
	e := read[struct {
		Type    string
		Message struct{ Usage *messagesUsage }
		Block   struct{ Type, Name string } `json:"content_block"`
		Delta   struct {
			Text, Thinking string
			JSON           string `json:"partial_json"`
			StopReason     string `json:"stop_reason"`
		}
		Usage *messagesUsage
		Error *struct{ Type string }
	}](data, got)
	if e.Type != name {
		got.failure = fmt.Sprintf("the event %s is called %s", e.Type, name)
	}
	parts := &[4]int64{}
	if got.tokens != nil {
		parts = &[4]int64{got.tokens.input - got.tokens.cached, got.tokens.cached, 0, got.tokens.output}
	}
	switch e.Type {
	case "message_start":
		if e.Message.Usage != nil {
			e.Message.Usage.into(got, parts)
		}
	case "content_block_start":
		if e.Block.Type == "tool_use" {
			got.calls = append(got.calls, toolCall{Name: e.Block.Name})
		}
	case "content_block_delta":
		got.text += e.Delta.Text
		got.reasoning += e.Delta.Thinking
		if e.Delta.JSON != "" {
			got.calls[len(got.calls)-1].Arguments += e.Delta.JSON
		}
	case "message_delta":
		got.finish = messagesFinish[e.Delta.StopReason]
		if e.Usage != nil {
			e.Usage.into(got, parts)
		}
	case "message_stop":
		got.ended = true
	case "error":
		if e.Error != nil {
			got.failure = e.Error.Type
		}
	}
}

// --- our own contract

// typedServer serves the contract over Connect.
func typedServer(t *testing.T, service *completion.Service, told *telemetry.Telemetry) *httptest.Server {
	t.Helper()
	server := connect.NewServer(intercept.Chain(intercept.Options{
		Log: slog.New(slog.DiscardHandler), Telemetry: told,
		Authenticate: func(context.Context, *connect.CallInfo) (authn.Principal, error) {
			return authn.Principal{Kind: authn.APIKey, OrgID: "org_1", APIKeyID: "key_1"}, nil
		},
	})...)
	routerv1connect.RegisterCompletionServiceHandler(server, &rpc.CompletionServer{
		Completions: service, Caller: func(context.Context) completion.Caller {
			return completion.Caller{OrgID: "org_1", APIKeyID: "key_1", Provenance: completion.ProvenanceFull}
		},
	})
	mux := http.NewServeMux()
	connecthttp.Mount(mux, server, connecthttp.WithCompressMinBytes(1<<10)) // tens of thousands of small answers
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func typedInput(model, text string, ask asked) *routerv1.CompletionInput {
	say := func(role routerv1.MessageRole, text string) *routerv1.Message {
		return &routerv1.Message{Role: role, Parts: []*routerv1.Part{{Content: &routerv1.Part_Text{Text: text}}}}
	}
	in := &routerv1.CompletionInput{Model: model, MaxOutputTokens: new(int64(2000)), Messages: []*routerv1.Message{
		say(routerv1.MessageRole_MESSAGE_ROLE_SYSTEM, "Be brief."), say(routerv1.MessageRole_MESSAGE_ROLE_USER, text),
	}}
	if ask.tool {
		in.Tools = []*routerv1.Tool{{Name: "look", Description: "Looks.", ParametersJson: lookSchema}}
	}
	if ask.think {
		in.ReasoningEffort = new("low")
	}
	if ask.schema {
		in.ResponseFormat = &routerv1.ResponseFormat{Kind: routerv1.ResponseFormat_KIND_JSON_SCHEMA, Name: "answer", SchemaJson: answerSchema}
	}
	return in
}

var typedFinish = map[routerv1.FinishReason]string{
	routerv1.FinishReason_FINISH_REASON_STOP: "stop", routerv1.FinishReason_FINISH_REASON_LENGTH: "length",
	routerv1.FinishReason_FINISH_REASON_TOOL_CALLS: "tool_calls", routerv1.FinishReason_FINISH_REASON_CONTENT_FILTER: "content_filter",
}

// refused takes over an error status; what HTTP says with 429 is RESOURCE_EXHAUSTED here.
func (got *heard) refused(err error) {
	got.failure, got.body = connect.CodeOf(err).String(), err.Error()
	if connect.CodeOf(err) == connect.CodeResourceExhausted {
		got.status = http.StatusTooManyRequests
	}
}

func (got *heard) finished(reason routerv1.FinishReason, u *routerv1.Usage) {
	got.finish, got.ended = typedFinish[reason], true
	if t := u.GetTokens(); t != nil {
		got.tokens = &counts{t.GetInputTotal(), t.GetCacheRead(), t.GetOutputTotal(), t.GetReasoning()}
	}
}

func callTyped(t *testing.T, s *stand, stream bool, text string, ask asked) heard {
	t.Helper()
	client := routerv1connect.NewCompletionServiceClient(connect.NewClient(connecthttp.NewTransport(s.rpc.Client(), s.rpc.URL)))
	got := heard{status: http.StatusOK}
	if !stream {
		res, err := client.Complete(t.Context(), &routerv1.CompleteRequest{Input: typedInput(s.model, text, ask)})
		if err != nil {
			got.refused(err)
			return got
		}
		for _, part := range res.GetMessage().GetParts() {
			got.text += part.GetText()
		}
		got.reasoning = res.GetMessage().GetReasoning()
		for _, c := range res.GetMessage().GetToolCalls() {
			got.calls = append(got.calls, toolCall{c.GetName(), c.GetArguments()})
		}
		got.finished(res.GetFinishReason(), res.GetUsage())
		return got
	}
	answer, err := client.StreamCompletion(t.Context(), &routerv1.StreamCompletionRequest{Input: typedInput(s.model, text, ask)})
	if err != nil {
		got.refused(err)
		return got
	}
	for {
		message, err := answer.Receive()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			got.refused(err)
			if got.text != "" { // it had begun
				got.status = http.StatusOK
			}
			return got
		}
		got.take(message)
	}
}

// take adds an event of a streamed answer.
func (got *heard) take(message *routerv1.StreamCompletionResponse) {
	switch e := message.GetEvent().(type) {
	case *routerv1.StreamCompletionResponse_Text:
		got.text += e.Text
	case *routerv1.StreamCompletionResponse_Reasoning:
		got.reasoning += e.Reasoning
	case *routerv1.StreamCompletionResponse_ToolCall:
		i := int(e.ToolCall.GetIndex())
		for len(got.calls) <= i {
			got.calls = append(got.calls, toolCall{})
		}
		got.calls[i].Name += e.ToolCall.GetName()
		got.calls[i].Arguments += e.ToolCall.GetArguments()
	case *routerv1.StreamCompletionResponse_Finished:
		got.finished(e.Finished.GetFinishReason(), e.Finished.GetUsage())
	}
}

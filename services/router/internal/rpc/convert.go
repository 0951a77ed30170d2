package rpc

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/claviger/claviger/pkg/fault"
	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// errInput is the error of an input whose parts do not fit each other.
var errInput = fault.New(fault.Invalid, "INPUT_INVALID", "the input does not fit together")

func fromProto(ctx context.Context, in *routerv1.CompletionInput, stream bool) (*completion.Request, error) {
	prompt, err := promptOf(in)
	if err != nil {
		return nil, err
	}
	return &completion.Request{
		ID: requestIDOf(ctx), Dialect: completion.Typed, Model: in.GetModel(), Stream: stream,
		Decode: func() (*completion.Prompt, error) { return prompt, nil },
		Tags:   in.GetTags(), Session: in.GetSession(), User: in.GetUser(), InputBytes: proto.Size(in),
	}, nil
}

func promptOf(in *routerv1.CompletionInput) (*completion.Prompt, error) {
	p := &completion.Prompt{
		ParallelToolCalls: in.ParallelToolCalls, MaxOutputTokens: in.MaxOutputTokens, Temperature: in.Temperature, TopP: in.TopP,
		Stop: in.GetStop(), ReasoningEffort: in.GetReasoningEffort(), Seed: in.Seed, User: in.GetUser(),
	}
	for i, m := range in.GetMessages() {
		message, err := messageOf(m)
		if err != nil {
			return nil, errInput.Saying("messages[%d]: %s", i, err).With("param", fmt.Sprintf("messages[%d]", i))
		}
		p.Messages = append(p.Messages, message)
	}
	for _, t := range in.GetTools() {
		p.Tools = append(p.Tools, completion.Tool{Name: t.GetName(), Description: t.GetDescription(), Parameters: t.GetParametersJson(), Strict: t.Strict})
	}
	if c := in.GetToolChoice(); c != nil {
		mode, ok := toolModes[c.GetMode()]
		if !ok || (mode == "named") != (c.GetName() != "") {
			return nil, errInput.Saying("tool_choice: a name goes with MODE_NAMED and with nothing else").With("param", "tool_choice")
		}
		p.ToolChoice = completion.ToolChoice{Mode: mode, Name: c.GetName()}
	}
	if f := in.GetResponseFormat(); f != nil {
		kind := formatKinds[f.GetKind()]
		if (kind == "json_schema") != (f.GetSchemaJson() != "") {
			return nil, errInput.Saying("response_format: schema_json goes with KIND_JSON_SCHEMA and with nothing else").With("param", "response_format")
		}
		p.ResponseFormat = completion.ResponseFormat{Kind: kind, Name: f.GetName(), Schema: f.GetSchemaJson(), Strict: f.Strict}
	}
	return p, nil
}

var toolModes = map[routerv1.ToolChoice_Mode]string{
	routerv1.ToolChoice_MODE_UNSPECIFIED: "", routerv1.ToolChoice_MODE_AUTO: "auto", routerv1.ToolChoice_MODE_NONE: "none",
	routerv1.ToolChoice_MODE_REQUIRED: "required", routerv1.ToolChoice_MODE_NAMED: "named",
}

var formatKinds = map[routerv1.ResponseFormat_Kind]string{
	routerv1.ResponseFormat_KIND_UNSPECIFIED: "", routerv1.ResponseFormat_KIND_TEXT: "text",
	routerv1.ResponseFormat_KIND_JSON_OBJECT: "json_object", routerv1.ResponseFormat_KIND_JSON_SCHEMA: "json_schema",
}

var roles = map[routerv1.MessageRole]completion.Role{
	routerv1.MessageRole_MESSAGE_ROLE_SYSTEM: completion.System, routerv1.MessageRole_MESSAGE_ROLE_USER: completion.User,
	routerv1.MessageRole_MESSAGE_ROLE_ASSISTANT: completion.Assistant, routerv1.MessageRole_MESSAGE_ROLE_TOOL: completion.ToolRole,
}

func messageOf(m *routerv1.Message) (completion.Message, error) {
	out := completion.Message{Role: roles[m.GetRole()], ToolCallID: m.GetToolCallId()}
	if (out.Role == completion.ToolRole) != (out.ToolCallID != "") {
		return out, fmt.Errorf("tool_call_id goes with MESSAGE_ROLE_TOOL and with nothing else")
	}
	if len(m.GetToolCalls()) > 0 && out.Role != completion.Assistant {
		return out, fmt.Errorf("tool_calls go with MESSAGE_ROLE_ASSISTANT and with nothing else")
	}
	if len(m.GetParts()) == 0 && len(m.GetToolCalls()) == 0 {
		return out, fmt.Errorf("a message needs parts or tool_calls")
	}
	for i, p := range m.GetParts() {
		image := p.GetImage()
		if image == nil {
			out.Parts = append(out.Parts, completion.Part{Text: p.GetText()})
			continue
		}
		if (image.GetUrl() == "") == (len(image.GetData()) == 0) || (len(image.GetData()) > 0 && image.GetMediaType() == "") {
			return out, fmt.Errorf("parts[%d]: an image needs either a url, or data with a media_type", i)
		}
		out.Parts = append(out.Parts, completion.Part{ImageURL: image.GetUrl(), ImageData: image.GetData(), MediaType: image.GetMediaType()})
	}
	for _, c := range m.GetToolCalls() {
		out.ToolCalls = append(out.ToolCalls, completion.ToolCall{ID: c.GetId(), Name: c.GetName(), Arguments: c.GetArguments()})
	}
	return out, nil
}

func finishOf(f completion.FinishReason) routerv1.FinishReason {
	switch f {
	case completion.Stop:
		return routerv1.FinishReason_FINISH_REASON_STOP
	case completion.Length:
		return routerv1.FinishReason_FINISH_REASON_LENGTH
	case completion.ToolCalls:
		return routerv1.FinishReason_FINISH_REASON_TOOL_CALLS
	case completion.ContentFilter:
		return routerv1.FinishReason_FINISH_REASON_CONTENT_FILTER
	}
	return routerv1.FinishReason_FINISH_REASON_UNSPECIFIED
}

func usageOf(f completion.Final) *routerv1.Usage {
	out := &routerv1.Usage{Source: eventsv1.UsageSource(f.Source)}
	if t := f.Tokens; t != nil {
		out.Tokens = tokensOf(t)
	}
	return out
}

func tokensOf(t *usage.Tokens) *eventsv1.TokenCounts {
	return &eventsv1.TokenCounts{
		InputTotal: t.InputTotal, InputUncached: t.InputUncached, CacheRead: t.CacheRead,
		CacheWrite_5M: t.CacheWrite5m, CacheWrite_30M: t.CacheWrite30m, CacheWrite_1H: t.CacheWrite1h, CacheWrite_12H: t.CacheWrite12h,
		OutputTotal: t.OutputTotal, Reasoning: t.Reasoning, AudioIn: t.AudioIn, AudioOut: t.AudioOut, ImageIn: t.ImageIn, ImageOut: t.ImageOut,
	}
}

func provenanceOf(s completion.Served, level completion.Provenance) *routerv1.Provenance {
	t := s.Target
	switch level {
	case completion.ProvenanceNone:
		return nil
	case completion.ProvenanceBasic:
		return &routerv1.Provenance{Model: t.Model, CredentialClass: eventsv1.CredentialClass(t.Class)}
	case completion.ProvenanceFull:
	}
	out := &routerv1.Provenance{
		Provider: t.Provider, Model: t.Model, CredentialClass: eventsv1.CredentialClass(t.Class),
		Policy: t.PolicyName, PolicyVersion: t.PolicyVersion,
	}
	if t.Class == usage.Own {
		out.CredentialId = t.Credential.ID
	}
	for _, a := range s.Attempts {
		out.Attempts = append(out.Attempts, &routerv1.AttemptProvenance{AttemptId: a.AttemptID, Provider: a.Provider, Model: a.Model, ErrorClass: a.ErrorClass})
	}
	return out
}

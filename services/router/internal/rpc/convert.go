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
	routing, err := routingOf(in.GetRouting())
	if err != nil {
		return nil, err
	}
	return &completion.Request{
		ID: requestIDOf(ctx), Dialect: completion.Typed, Model: in.GetModel(), Stream: stream,
		Routing: routing, MaxOutput: in.GetMaxOutputTokens(), State: statesOf(prompt),
		Decode: func() (*completion.Prompt, error) { return prompt, nil },
		Tags:   in.GetTags(), Session: in.GetSession(), User: in.GetUser(), CacheKey: in.GetCacheKey(), InputBytes: proto.Size(in),
	}, nil
}

func promptOf(in *routerv1.CompletionInput) (*completion.Prompt, error) {
	p := &completion.Prompt{
		ParallelToolCalls: in.ParallelToolCalls, MaxOutputTokens: in.MaxOutputTokens, Temperature: in.Temperature, TopP: in.TopP,
		Stop: in.GetStop(), ReasoningEffort: in.GetReasoningEffort(), Seed: in.Seed, User: in.GetUser(),
		TopK: in.TopK, FrequencyPenalty: in.FrequencyPenalty, PresencePenalty: in.PresencePenalty,
		Logprobs: in.GetLogprobs() || in.GetTopLogprobs() > 0, TopLogprobs: int(in.GetTopLogprobs()), Verbosity: in.GetVerbosity(),
		ReasoningBudget: in.ReasoningBudget, ShowReasoning: in.GetShowReasoning(), ServiceTier: in.GetServiceTier(), CacheKey: in.GetCacheKey(),
	}
	for i, m := range in.GetMessages() {
		message, err := messageOf(m)
		if err != nil {
			return nil, errInput.Saying("messages[%d]: %s", i, err).With("param", fmt.Sprintf("messages[%d]", i))
		}
		p.Messages = append(p.Messages, message)
	}
	for _, t := range in.GetTools() {
		p.Tools = append(p.Tools, completion.Tool{Name: t.GetName(), Description: t.GetDescription(), Parameters: t.GetParametersJson(), Strict: t.Strict, CacheTTL: t.GetCacheTtl()})
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
	out := completion.Message{Role: roles[m.GetRole()], Name: m.GetName(), ToolCallID: m.GetToolCallId(), ToolFailed: m.GetToolFailed()}
	if (out.Role == completion.ToolRole) != (out.ToolCallID != "") {
		return out, fmt.Errorf("tool_call_id goes with MESSAGE_ROLE_TOOL and with nothing else")
	}
	if len(m.GetToolCalls()) > 0 && out.Role != completion.Assistant {
		return out, fmt.Errorf("tool_calls go with MESSAGE_ROLE_ASSISTANT and with nothing else")
	}
	if len(m.GetReasoningBlocks()) > 0 && out.Role != completion.Assistant {
		return out, fmt.Errorf("reasoning_blocks go with MESSAGE_ROLE_ASSISTANT and with nothing else")
	}
	if out.ToolFailed && out.Role != completion.ToolRole {
		return out, fmt.Errorf("tool_failed goes with MESSAGE_ROLE_TOOL and with nothing else")
	}
	if len(m.GetParts()) == 0 && len(m.GetToolCalls()) == 0 {
		return out, fmt.Errorf("a message needs parts or tool_calls")
	}
	for _, b := range m.GetReasoningBlocks() {
		out.Parts = append(out.Parts, completion.Part{Reasoning: &completion.Reasoning{
			Text: b.GetText(), Summary: b.GetSummary(), Signature: b.GetSignature(), Encrypted: b.GetEncrypted(),
			ID: b.GetId(), Format: completion.StateFormat(b.GetFormat()),
		}})
	}
	for i, p := range m.GetParts() {
		part, err := partOf(p)
		if err != nil {
			return out, fmt.Errorf("parts[%d]: %w", i, err)
		}
		part.CacheTTL = p.GetCacheTtl()
		out.Parts = append(out.Parts, part)
	}
	for _, c := range m.GetToolCalls() {
		out.ToolCalls = append(out.ToolCalls, completion.ToolCall{
			ID: c.GetId(), Name: c.GetName(), Arguments: c.GetArguments(), CacheTTL: c.GetCacheTtl(),
			Signature: c.GetSignature(), Format: completion.StateFormat(c.GetSignatureFormat()),
		})
	}
	return out, nil
}

func partOf(p *routerv1.Part) (completion.Part, error) {
	switch c := p.GetContent().(type) {
	case *routerv1.Part_Image:
		image := c.Image
		if !eitherOr(image.GetUrl(), image.GetData(), image.GetMediaType()) {
			return completion.Part{}, fmt.Errorf("an image needs either a url, or data with a media_type")
		}
		return completion.Part{ImageURL: image.GetUrl(), ImageData: image.GetData(), MediaType: image.GetMediaType(), Detail: image.GetDetail()}, nil
	case *routerv1.Part_Document:
		d := c.Document
		if !eitherOr(d.GetUrl(), d.GetData(), d.GetMediaType()) {
			return completion.Part{}, fmt.Errorf("a document needs either a url, or data with a media_type")
		}
		return completion.Part{Document: &completion.Document{Name: d.GetName(), URL: d.GetUrl(), Data: d.GetData(), MediaType: d.GetMediaType()}}, nil
	case *routerv1.Part_Audio:
		return completion.Part{Audio: &completion.Audio{Data: c.Audio.GetData(), Format: c.Audio.GetFormat()}}, nil
	}
	return completion.Part{Text: p.GetText()}, nil
}

// eitherOr reports whether something is given either by its address, or by its bytes and their type.
func eitherOr(url string, data []byte, media string) bool {
	if url != "" {
		return len(data) == 0
	}
	return len(data) > 0 && media != ""
}

func embeddingOf(ctx context.Context, in *routerv1.EmbedRequest) (*completion.Request, error) {
	routing, err := routingOf(in.GetRouting())
	if err != nil {
		return nil, err
	}
	return &completion.Request{
		ID: requestIDOf(ctx), Dialect: completion.Typed, Operation: completion.Embeddings, Model: in.GetModel(),
		Decode: func() (*completion.Prompt, error) {
			return &completion.Prompt{User: in.GetUser(), Embedding: &completion.EmbeddingInput{
				Texts: in.GetTexts(), Dimensions: in.Dimensions, Purpose: in.GetPurpose(),
			}}, nil
		},
		Tags: in.GetTags(), Session: in.GetSession(), User: in.GetUser(), InputBytes: proto.Size(in), Routing: routing,
	}, nil
}

func blockOf(r *completion.Reasoning) *routerv1.ReasoningBlock {
	return &routerv1.ReasoningBlock{
		Text: r.Text, Summary: r.Summary, Signature: r.Signature, Encrypted: r.Encrypted, Id: r.ID, Format: string(r.Format),
	}
}

func citationOf(c *completion.Citation) *routerv1.Citation {
	return &routerv1.Citation{Url: c.URL, Title: c.Title, Start: int32(c.Start), End: int32(c.End)}
}

func logprobsOf(all []completion.Logprob) []*routerv1.TokenLogprob {
	out := make([]*routerv1.TokenLogprob, len(all))
	for i := range all {
		out[i] = &routerv1.TokenLogprob{Token: all[i].Token, Logprob: all[i].Logprob}
		if len(all[i].Top) > 0 {
			out[i].Top = logprobsOf(all[i].Top)
		}
	}
	return out
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

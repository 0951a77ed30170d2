package rpc_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/intercept"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/pkg/serve"
	"github.com/claviger/claviger/pkg/telemetry"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/proto/gen/claviger/router/v1/routerv1connect"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/rpc"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// world is a use case whose provider answers what it is told to, and keeps what it was asked.
type world struct {
	completion.Provider
	completion.Evidence
	chunks  []completion.Chunk
	planned completion.Request
	asked   *completion.Prompt
	op      completion.Operation
}

func (w *world) Plan(_ completion.Caller, req *completion.Request) (completion.Plan, error) {
	w.planned = *req
	return completion.Plan{Targets: []completion.Target{{Provider: "p", Model: "p/m", Name: "m", Credential: &completion.Credential{}}}}, nil
}

func (w *world) Secret(context.Context, *completion.Credential) (secret.Text, error) {
	return secret.Text{}, nil
}
func (w *world) Begin(*usage.Event) (*usage.Ticket, error)          { return &usage.Ticket{}, nil }
func (w *world) Checkpoint(string, usage.Tokens, usage.Source)      {}
func (w *world) Done(*usage.Ticket, *usage.Event) error             { return nil }
func (w *world) Speaks(completion.Dialect, *completion.Target) bool { return false }

func (w *world) Start(_ context.Context, call completion.Call) (completion.Answer, error) {
	var err error
	w.op = call.Request.Asks()
	w.asked, err = call.Request.Decode()
	return &answer{chunks: w.chunks}, err
}

type answer struct{ chunks []completion.Chunk }

func (a *answer) Next() (completion.Chunk, error) {
	if len(a.chunks) == 0 {
		return completion.Chunk{}, io.EOF
	}
	c := a.chunks[0]
	a.chunks = a.chunks[1:]
	return c, nil
}
func (a *answer) Close() error                { return nil }
func (a *answer) Head() completion.AnswerHead { return completion.AnswerHead{Status: http.StatusOK} }

func (w *world) client(t *testing.T) routerv1connect.CompletionServiceClient {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	quiet, err := telemetry.Start(t.Context(), telemetry.Options{Service: "router"})
	if err != nil {
		t.Fatal(err)
	}
	server := connect.NewServer(intercept.Chain(intercept.Options{
		Log: log, Authenticate: intercept.Fixed(authn.Principal{Kind: authn.APIKey, OrgID: "org_1", APIKeyID: "key_1"}), Telemetry: quiet,
	})...)
	routerv1connect.RegisterCompletionServiceHandler(server, &rpc.CompletionServer{
		Completions: completion.New(completion.Options{
			Planner: w, Keyring: w, Recorder: w, Evidence: w, Providers: map[string]completion.Provider{"p": w}, Log: log, Now: time.Now,
		}),
		Caller: func(context.Context) completion.Caller {
			return completion.Caller{Provenance: completion.ProvenanceBasic}
		},
	})
	edge := httptest.NewServer(serve.Mux(1<<20, nil, server))
	t.Cleanup(edge.Close)
	return routerv1connect.NewCompletionServiceClient(connect.NewClient(connecthttp.NewTransport(edge.Client(), edge.URL)))
}

func text(s string) *routerv1.Part {
	return &routerv1.Part{Content: &routerv1.Part_Text{Text: s}}
}

// full is an input that uses every field.
func full() *routerv1.CompletionInput {
	return &routerv1.CompletionInput{
		Model: "p/m",
		Messages: []*routerv1.Message{
			{Role: routerv1.MessageRole_MESSAGE_ROLE_SYSTEM, Parts: []*routerv1.Part{{Content: &routerv1.Part_Text{Text: "Be brief."}, CacheTtl: new("1h")}}},
			{Role: routerv1.MessageRole_MESSAGE_ROLE_USER, Name: "ann", Parts: []*routerv1.Part{
				{Content: &routerv1.Part_Image{Image: &routerv1.Image{Url: "https://example.com/a.png", Detail: "low"}}},
				{Content: &routerv1.Part_Document{Document: &routerv1.Document{Name: "a.pdf", Data: []byte("%PDF"), MediaType: "application/pdf"}}},
				{Content: &routerv1.Part_Document{Document: &routerv1.Document{Url: "https://example.com/b.pdf"}}},
				{Content: &routerv1.Part_Audio{Audio: &routerv1.Audio{Data: []byte("RIFF"), Format: "wav"}}},
			}},
			{
				Role: routerv1.MessageRole_MESSAGE_ROLE_ASSISTANT, Parts: []*routerv1.Part{text("I look.")},
				ReasoningBlocks: []*routerv1.ReasoningBlock{{Text: "hm", Signature: "sig", Format: "anthropic"}, {Text: "sum", Summary: true, Encrypted: "enc", Id: "rs_1", Format: "openai"}},
				ToolCalls:       []*routerv1.ToolCall{{Id: "c", Name: "f", Arguments: "{}", Signature: "gs", SignatureFormat: "google", CacheTtl: new("5m")}},
			},
			{Role: routerv1.MessageRole_MESSAGE_ROLE_TOOL, ToolCallId: "c", ToolFailed: true, Parts: []*routerv1.Part{text("it broke")}},
		},
		Tools:      []*routerv1.Tool{{Name: "f", Description: "Does.", ParametersJson: "{}", Strict: new(true), CacheTtl: new("5m")}},
		ToolChoice: &routerv1.ToolChoice{Mode: routerv1.ToolChoice_MODE_NAMED, Name: "f"}, ParallelToolCalls: new(false),
		MaxOutputTokens: new(int64(5)), Temperature: new(0.5), TopP: new(0.6), TopK: new(int64(7)), FrequencyPenalty: new(-0.5), PresencePenalty: new(0.7),
		Stop: []string{"END"}, ReasoningEffort: new("low"), ReasoningBudget: new(int64(2000)), ShowReasoning: true,
		TopLogprobs: 2, Verbosity: new("high"), ServiceTier: "flex", CacheKey: "k", Seed: new(int64(3)), User: "u",
		ResponseFormat: &routerv1.ResponseFormat{Kind: routerv1.ResponseFormat_KIND_JSON_SCHEMA, Name: "r", SchemaJson: "{}", Strict: new(true)},
	}
}

func TestTypedPromptsCarryEverything(t *testing.T) {
	t.Parallel()
	w := &world{chunks: []completion.Chunk{{Content: true, Delta: completion.Delta{Text: "ok"}}}}
	if _, err := w.client(t).Complete(t.Context(), &routerv1.CompleteRequest{Input: full()}); err != nil {
		t.Fatal(err)
	}
	want := &completion.Prompt{
		Messages: []completion.Message{
			{Role: completion.System, Parts: []completion.Part{{Text: "Be brief.", CacheTTL: "1h"}}},
			{Role: completion.User, Name: "ann", Parts: []completion.Part{
				{ImageURL: "https://example.com/a.png", Detail: "low"},
				{Document: &completion.Document{Name: "a.pdf", Data: []byte("%PDF"), MediaType: "application/pdf"}},
				{Document: &completion.Document{URL: "https://example.com/b.pdf"}},
				{Audio: &completion.Audio{Data: []byte("RIFF"), Format: "wav"}},
			}},
			{
				Role: completion.Assistant,
				Parts: []completion.Part{
					{Reasoning: &completion.Reasoning{Text: "hm", Signature: "sig", Format: completion.AnthropicState}},
					{Reasoning: &completion.Reasoning{Text: "sum", Summary: true, Encrypted: "enc", ID: "rs_1", Format: completion.OpenAIState}},
					{Text: "I look."},
				},
				ToolCalls: []completion.ToolCall{{ID: "c", Name: "f", Arguments: "{}", Signature: "gs", Format: completion.GoogleState, CacheTTL: "5m"}},
			},
			{Role: completion.ToolRole, ToolCallID: "c", ToolFailed: true, Parts: []completion.Part{{Text: "it broke"}}},
		},
		Tools:      []completion.Tool{{Name: "f", Description: "Does.", Parameters: "{}", Strict: new(true), CacheTTL: "5m"}},
		ToolChoice: completion.ToolChoice{Mode: "named", Name: "f"}, ParallelToolCalls: new(false),
		MaxOutputTokens: new(int64(5)), Temperature: new(0.5), TopP: new(0.6), TopK: new(int64(7)), FrequencyPenalty: new(-0.5), PresencePenalty: new(0.7),
		Stop: []string{"END"}, ReasoningEffort: "low", ReasoningBudget: new(int64(2000)), ShowReasoning: true,
		Logprobs: true, TopLogprobs: 2, Verbosity: "high", ServiceTier: "flex", CacheKey: "k", Seed: new(int64(3)), User: "u",
		ResponseFormat: completion.ResponseFormat{Kind: "json_schema", Name: "r", Schema: "{}", Strict: new(true)},
	}
	if diff := cmp.Diff(want, w.asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// pieces are an answer with all that one can hold.
func pieces() []completion.Chunk {
	delta := func(d completion.Delta) completion.Chunk { return completion.Chunk{Content: true, Delta: d} }
	return []completion.Chunk{
		delta(completion.Delta{Reasoning: "h"}), delta(completion.Delta{Reasoning: "m"}),
		delta(completion.Delta{State: &completion.Reasoning{Signature: "sig", Format: completion.AnthropicState}}),
		delta(completion.Delta{State: &completion.Reasoning{Encrypted: "enc", Format: completion.AnthropicState}}),
		delta(completion.Delta{
			Text: "ok", Logprobs: []completion.Logprob{{Token: "ok", Logprob: -1, Top: []completion.Logprob{{Token: "no", Logprob: -2}}}},
			Citations: []completion.Citation{{URL: "https://example.com", Title: "T", Start: 0, End: 2}},
		}),
		delta(completion.Delta{ToolCalls: []completion.ToolCallDelta{{ID: "c", Name: "f", Signature: "gs", Format: completion.GoogleState}}}),
		delta(completion.Delta{ToolCalls: []completion.ToolCallDelta{{Arguments: "{}"}}}),
		{Finish: completion.ToolCalls},
	}
}

func message() *routerv1.Message {
	return &routerv1.Message{
		Role: routerv1.MessageRole_MESSAGE_ROLE_ASSISTANT, Reasoning: "hm", Parts: []*routerv1.Part{text("ok")},
		ReasoningBlocks: []*routerv1.ReasoningBlock{{Text: "hm", Signature: "sig", Format: "anthropic"}, {Encrypted: "enc", Format: "anthropic"}},
		ToolCalls:       []*routerv1.ToolCall{{Id: "c", Name: "f", Arguments: "{}", Signature: "gs", SignatureFormat: "google"}},
		Citations:       []*routerv1.Citation{{Url: "https://example.com", Title: "T", End: 2}},
		Logprobs:        &routerv1.Logprobs{Tokens: []*routerv1.TokenLogprob{{Token: "ok", Logprob: -1, Top: []*routerv1.TokenLogprob{{Token: "no", Logprob: -2}}}}},
	}
}

func TestTypedAnswersCarryEverything(t *testing.T) {
	t.Parallel()
	w := &world{chunks: pieces()}
	client := w.client(t)
	got, err := client.Complete(t.Context(), &routerv1.CompleteRequest{Input: full()})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(message(), got.GetMessage(), protocmp.Transform()); diff != "" || got.GetFinishReason() != routerv1.FinishReason_FINISH_REASON_TOOL_CALLS {
		t.Errorf("%v (-want +got):\n%s", got.GetFinishReason(), diff)
	}
	w.chunks = []completion.Chunk{{Content: true, Delta: completion.Delta{Text: "ok", Reasoning: "hm", Thoughts: []completion.Reasoning{
		{Text: "hm", Signature: "sig", Format: completion.AnthropicState}, {Encrypted: "enc", Format: completion.AnthropicState},
	}}}}
	if got, err = client.Complete(t.Context(), &routerv1.CompleteRequest{Input: full()}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(message().GetReasoningBlocks(), got.GetMessage().GetReasoningBlocks(), protocmp.Transform()); diff != "" {
		t.Errorf("an answer in one piece (-want +got):\n%s", diff)
	}
}

func TestTypedStreamsCarryEverything(t *testing.T) {
	t.Parallel()
	w := &world{chunks: pieces()}
	stream, err := w.client(t).StreamCompletion(t.Context(), &routerv1.StreamCompletionRequest{Input: full()})
	if err != nil {
		t.Fatal(err)
	}
	got := &routerv1.Message{Role: routerv1.MessageRole_MESSAGE_ROLE_ASSISTANT}
	open, finished := "", 0
	for {
		event, err := stream.Receive()
		if err != nil {
			break
		}
		switch e := event.GetEvent().(type) {
		case *routerv1.StreamCompletionResponse_Reasoning:
			got.Reasoning += e.Reasoning
			open += e.Reasoning
		case *routerv1.StreamCompletionResponse_ReasoningState:
			if e.ReasoningState.GetText() != "" {
				t.Errorf("a state repeats its text: %v", e.ReasoningState)
			}
			e.ReasoningState.Text, open = open, ""
			got.ReasoningBlocks = append(got.ReasoningBlocks, e.ReasoningState)
		case *routerv1.StreamCompletionResponse_Text:
			got.Parts = append(got.Parts, text(e.Text))
		case *routerv1.StreamCompletionResponse_Logprobs:
			got.Logprobs = e.Logprobs
		case *routerv1.StreamCompletionResponse_Citation:
			got.Citations = append(got.Citations, e.Citation)
		case *routerv1.StreamCompletionResponse_ToolCall:
			if e.ToolCall.GetId() != "" {
				got.ToolCalls = append(got.ToolCalls, &routerv1.ToolCall{Id: e.ToolCall.GetId(), Name: e.ToolCall.GetName(), Signature: e.ToolCall.GetSignature(), SignatureFormat: e.ToolCall.GetSignatureFormat()})
			}
			got.ToolCalls[0].Arguments += e.ToolCall.GetArguments()
		case *routerv1.StreamCompletionResponse_Finished:
			finished++
		}
	}
	if diff := cmp.Diff(message(), got, protocmp.Transform()); diff != "" || finished != 1 {
		t.Errorf("%d finished (-want +got):\n%s", finished, diff)
	}
}

func TestTextsAreEmbedded(t *testing.T) {
	t.Parallel()
	w := &world{chunks: []completion.Chunk{{
		Content: true, Result: &completion.Result{Vectors: [][]float32{{1, 2}, {3}}}, Usage: &completion.Usage{Final: true, Tokens: usage.Tokens{InputTotal: 9, InputUncached: 9}},
	}}}
	got, err := w.client(t).Embed(t.Context(), &routerv1.EmbedRequest{Model: "p/m", Texts: []string{"a", "b"}, Dimensions: new(int64(2)), Purpose: new("query"), User: "u"})
	if err != nil {
		t.Fatal(err)
	}
	want := []*routerv1.Embedding{{Values: []float32{1, 2}}, {Values: []float32{3}}}
	if diff := cmp.Diff(want, got.GetEmbeddings(), protocmp.Transform()); diff != "" || got.GetUsage().GetTokens().GetInputTotal() != 9 || got.GetModel() != "p/m" {
		t.Errorf("%v (-want +got):\n%s", got, diff)
	}
	prompt := &completion.Prompt{User: "u", Embedding: &completion.EmbeddingInput{Texts: []string{"a", "b"}, Dimensions: new(int64(2)), Purpose: "query"}}
	if diff := cmp.Diff(prompt, w.asked); diff != "" || w.op != completion.Embeddings {
		t.Errorf("%s (-want +got):\n%s", w.op, diff)
	}
}

func TestTokensAreCounted(t *testing.T) {
	t.Parallel()
	w := &world{chunks: []completion.Chunk{{Content: true, Result: &completion.Result{Count: 42}, Usage: &completion.Usage{Final: true}}}}
	got, err := w.client(t).CountTokens(t.Context(), &routerv1.CountTokensRequest{Input: full()})
	if err != nil || got.GetTokens() != 42 || w.op != completion.CountTokens || len(w.asked.Messages) != 4 {
		t.Errorf("%v, %v, asked for %s", got, err, w.op)
	}
}

func TestInputsThatDoNotFitAreNamed(t *testing.T) {
	t.Parallel()
	client := (&world{}).client(t)
	for want, change := range map[string]func(*routerv1.CompletionInput){
		"reasoning_blocks go with": func(in *routerv1.CompletionInput) {
			in.Messages[1].ReasoningBlocks = []*routerv1.ReasoningBlock{{Text: "x"}}
		},
		"tool_failed goes with": func(in *routerv1.CompletionInput) { in.Messages[1].ToolFailed = true },
		"parts[1]: a document needs": func(in *routerv1.CompletionInput) {
			in.Messages[1].Parts[1].GetDocument().MediaType = ""
		},
		"parts[0]: an image needs": func(in *routerv1.CompletionInput) { in.Messages[1].Parts[0].GetImage().Data = []byte("x") },
	} {
		in := full()
		change(in)
		_, err := client.Complete(t.Context(), &routerv1.CompleteRequest{Input: in})
		if connect.CodeOf(err) != connect.CodeInvalidArgument || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

package bedrock_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/document"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/auth/bearer"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/claviger/claviger/pkg/llmtest"
)

const (
	keyID  = "AKIACANARY0123456789"
	claude = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
	nova   = "us.amazon.nova-lite-v1:0"
)

// signed is a client that signs with a key.
func signed(s *llmtest.Server, keyID, secret, token string) *bedrockruntime.Client {
	return bedrockruntime.New(bedrockruntime.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(s.BedrockURL()), RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret, SessionToken: token}, nil
		}),
	})
}

// client is the usual one.
func client(s *llmtest.Server) *bedrockruntime.Client {
	return signed(s, keyID, llmtest.AWSSecret(keyID), "")
}

func said(s llmtest.Script) []types.Message {
	return []types.Message{{Role: types.ConversationRoleUser, Content: []types.ContentBlock{
		&types.ContentBlockMemberText{Value: s.String() + " please"},
	}}}
}

// answer is an answer of either kind, put together.
type answer struct {
	Text, Reasoning, Signature string
	Tools                      []string // name and arguments
	Stop                       types.StopReason
	Usage                      *types.TokenUsage
}

func converse(t *testing.T, c *bedrockruntime.Client, in *bedrockruntime.ConverseInput) (answer, error) {
	t.Helper()
	out, err := c.Converse(t.Context(), in)
	if err != nil {
		return answer{}, err
	}
	got := answer{Stop: out.StopReason, Usage: out.Usage}
	message, ok := out.Output.(*types.ConverseOutputMemberMessage)
	if !ok {
		t.Fatalf("output %T", out.Output)
	}
	for _, block := range message.Value.Content {
		switch b := block.(type) {
		case *types.ContentBlockMemberText:
			got.Text += b.Value
		case *types.ContentBlockMemberToolUse:
			var input json.RawMessage
			if input, err = b.Value.Input.MarshalSmithyDocument(); err != nil {
				t.Fatal(err)
			}
			got.Tools = append(got.Tools, *b.Value.Name+" "+string(input))
		case *types.ContentBlockMemberReasoningContent:
			r, ok := b.Value.(*types.ReasoningContentBlockMemberReasoningText)
			if !ok {
				t.Fatalf("reasoning %T", b.Value)
			}
			got.Reasoning, got.Signature = *r.Value.Text, *r.Value.Signature
		default:
			t.Errorf("block %T", b)
		}
	}
	return got, nil
}

func stream(t *testing.T, c *bedrockruntime.Client, in *bedrockruntime.ConverseStreamInput) (answer, error) {
	t.Helper()
	out, err := c.ConverseStream(t.Context(), in)
	if err != nil {
		return answer{}, err
	}
	events := out.GetStream()
	defer events.Close() //nolint:errcheck // a read side
	var got answer
	for event := range events.Events() {
		switch e := event.(type) {
		case *types.ConverseStreamOutputMemberContentBlockStart:
			start, ok := e.Value.Start.(*types.ContentBlockStartMemberToolUse)
			if !ok {
				t.Fatalf("start %T", e.Value.Start)
			}
			got.Tools = append(got.Tools, *start.Value.Name+" ")
		case *types.ConverseStreamOutputMemberContentBlockDelta:
			switch d := e.Value.Delta.(type) {
			case *types.ContentBlockDeltaMemberText:
				got.Text += d.Value
			case *types.ContentBlockDeltaMemberToolUse:
				got.Tools[len(got.Tools)-1] += *d.Value.Input
			case *types.ContentBlockDeltaMemberReasoningContent:
				switch r := d.Value.(type) {
				case *types.ReasoningContentBlockDeltaMemberText:
					got.Reasoning += r.Value
				case *types.ReasoningContentBlockDeltaMemberSignature:
					got.Signature += r.Value
				}
			}
		case *types.ConverseStreamOutputMemberMessageStop:
			got.Stop = e.Value.StopReason
		case *types.ConverseStreamOutputMemberMetadata:
			if e.Value.Usage != nil {
				got.Usage = e.Value.Usage
			}
		case *types.ConverseStreamOutputMemberMessageStart, *types.ConverseStreamOutputMemberContentBlockStop:
		default:
			t.Errorf("event %T", e)
		}
	}
	return got, events.Err()
}

func TestAnswersAreRead(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	schema := document.NewLazyDocument(map[string]any{"type": "object"})
	tools := &types.ToolConfiguration{Tools: []types.Tool{&types.ToolMemberToolSpec{Value: types.ToolSpecification{
		Name: aws.String("look_up"), InputSchema: &types.ToolInputSchemaMemberJson{Value: schema},
	}}}}
	for name, test := range map[string]struct {
		script llmtest.Script
		want   answer
	}{
		"text": {
			llmtest.Script{Text: "One, \"two\". ünï", Input: 50, Output: 9, Split: 3},
			answer{Text: "One, \"two\". ünï", Stop: types.StopReasonEndTurn, Usage: usage(50, 9, 0, 0)},
		},
		"cached, with metrics after usage": {
			llmtest.Script{Text: "hm", Input: 500, Cached: 100, CacheWrite: 30, CacheWrite1h: 7, Output: 3, Pings: true},
			answer{Text: "hm", Stop: types.StopReasonEndTurn, Usage: usage(363, 3, 100, 37)},
		},
		"tools and reasoning": {
			llmtest.Script{Text: "let me look", Tool: "look_up", Args: `{"q":"a \"b\"","n":[1,2]}`, Calls: 2, Reasoning: 2, Think: true, Input: 5, Output: 40},
			answer{
				Text: "let me look", Reasoning: "The keeper ", Signature: llmtest.BedrockSignature, Stop: types.StopReasonToolUse, Usage: usage(5, 40, 0, 0),
				Tools: []string{`look_up {"n":[1,2],"q":"a \"b\""}`, `look_up {"n":[1,2],"q":"a \"b\""}`},
			},
		},
		"length": {
			llmtest.Script{Tokens: 3, Finish: "length", Input: 5},
			answer{Text: "The keeper of ", Stop: types.StopReasonMaxTokens, Usage: usage(5, 3, 0, 0)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole, err := converse(t, client(s), &bedrockruntime.ConverseInput{ModelId: aws.String(nova), Messages: said(test.script), ToolConfig: tools})
			if err != nil {
				t.Fatal(err)
			}
			streamed, err := stream(t, client(s), &bedrockruntime.ConverseStreamInput{ModelId: aws.String(claude), Messages: said(test.script), ToolConfig: tools})
			if err != nil {
				t.Fatal(err)
			}
			for kind, got := range map[string]answer{"whole": whole, "streamed": streamed} {
				for i, call := range got.Tools { // members in one order
					name, input, _ := strings.Cut(call, " ")
					var v any
					if err := json.Unmarshal([]byte(input), &v); err != nil {
						t.Errorf("%s: %s: %v", kind, call, err)
					}
					sorted, _ := json.Marshal(v) // what was JSON encodes again
					got.Tools[i] = name + " " + string(sorted)
				}
				if got.Usage == nil {
					t.Fatalf("%s: no usage", kind)
				}
				plain := *got.Usage
				plain.CacheDetails = nil
				got.Usage = &plain
				if diff := cmp.Diff(test.want, got, cmpopts.IgnoreUnexported(types.TokenUsage{})); diff != "" {
					t.Errorf("%s (-want +got):\n%s", kind, diff)
				}
			}
		})
	}
}

func usage(input, output, read, write int32) *types.TokenUsage {
	return &types.TokenUsage{
		InputTokens: &input, OutputTokens: &output, TotalTokens: aws.Int32(input + output + read + write),
		CacheReadInputTokens: &read, CacheWriteInputTokens: &write,
	}
}

func TestWritesToTheCacheAreToldByLifetime(t *testing.T) {
	t.Parallel()
	got, err := stream(t, client(llmtest.New(t)), &bedrockruntime.ConverseStreamInput{
		ModelId: aws.String(claude), Messages: said(llmtest.Script{Input: 500, CacheWrite: 30, CacheWrite1h: 7}),
	})
	if err != nil || len(got.Usage.CacheDetails) != 2 || *got.Usage.CacheDetails[0].InputTokens != 7 || got.Usage.CacheDetails[0].Ttl != types.CacheTTLOneHour || *got.Usage.CacheDetails[1].InputTokens != 30 {
		t.Errorf("%+v, %v", got.Usage, err)
	}
}

func TestConversationsWithToolsGoOn(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	input := document.NewLazyDocument(map[string]any{"q": "x"})
	turns := func() []types.Message {
		return []types.Message{
			{Role: types.ConversationRoleUser, Content: []types.ContentBlock{&types.ContentBlockMemberText{Value: "hi"}}},
			{Role: types.ConversationRoleAssistant, Content: []types.ContentBlock{&types.ContentBlockMemberToolUse{Value: types.ToolUseBlock{
				ToolUseId: aws.String("tooluse_1"), Name: aws.String("look_up"), Input: input,
			}}}},
			{Role: types.ConversationRoleUser, Content: []types.ContentBlock{&types.ContentBlockMemberToolResult{Value: types.ToolResultBlock{
				ToolUseId: aws.String("tooluse_1"), Content: []types.ToolResultContentBlock{&types.ToolResultContentBlockMemberText{Value: "found"}},
			}}}},
		}
	}
	tools := &types.ToolConfiguration{Tools: []types.Tool{&types.ToolMemberToolSpec{Value: types.ToolSpecification{
		Name: aws.String("look_up"), InputSchema: &types.ToolInputSchemaMemberJson{Value: document.NewLazyDocument(map[string]any{"type": "object"})},
	}}}}
	if _, err := converse(t, client(s), &bedrockruntime.ConverseInput{ModelId: aws.String(nova), Messages: turns(), ToolConfig: tools}); err != nil {
		t.Error(err)
	}
	_, err := converse(t, client(s), &bedrockruntime.ConverseInput{ModelId: aws.String(nova), Messages: turns()})
	var invalid *types.ValidationException
	if !errors.As(err, &invalid) || !strings.Contains(*invalid.Message, "toolConfig") {
		t.Errorf("without its tools: %v", err)
	}
}

// TestErrorsAreTyped: before the answer and inside of a stream.
func TestErrorsAreTyped(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	for failure, want := range map[llmtest.Failure]string{
		llmtest.ErrRateLimit: "ThrottlingException", llmtest.ErrOverloaded: "ServiceUnavailableException", llmtest.ErrServer: "InternalServerException",
		llmtest.ErrBadRequest: "ValidationException", llmtest.ErrModel: "ResourceNotFoundException", llmtest.ErrTimeout: "ModelTimeoutException",
		llmtest.ErrScopes: "AccessDeniedException", llmtest.ErrAuth: "UnrecognizedClientException", llmtest.ErrQuota: "ServiceQuotaExceededException",
	} {
		var e smithy.APIError
		_, err := converse(t, client(s), &bedrockruntime.ConverseInput{ModelId: aws.String(nova), Messages: said(llmtest.Script{Error: failure})})
		if !errors.As(err, &e) || e.ErrorCode() != want || e.ErrorMessage() == "" {
			t.Errorf("%s: %v, want %s", failure, err, want)
		}
	}
	for failure, want := range map[llmtest.Failure]string{
		llmtest.ErrRateLimit: "ThrottlingException", llmtest.ErrOverloaded: "ServiceUnavailableException", llmtest.ErrServer: "InternalServerException",
		llmtest.ErrBadRequest: "ValidationException",
	} {
		var e smithy.APIError
		got, err := stream(t, client(s), &bedrockruntime.ConverseStreamInput{
			ModelId: aws.String(nova), Messages: said(llmtest.Script{Tokens: 9, Error: failure, InStream: true, At: 2}),
		})
		if !errors.As(err, &e) || e.ErrorCode() != want || e.ErrorMessage() == "" || got.Text != "The keeper " || got.Stop != "" {
			t.Errorf("%s in the stream: %+v, %v, want %s", failure, got, err, want)
		}
	}
	// Of a stream that was cut the SDK makes no error: it has no stop reason.
	got, _ := stream(t, client(s), &bedrockruntime.ConverseStreamInput{ModelId: aws.String(nova), Messages: said(llmtest.Script{Tokens: 50, CutBytes: 900})})
	if got.Stop != "" || got.Text == "" {
		t.Errorf("a stream that was cut: %+v", got)
	}
}

// TestBareNamesOfNewModelsAreRefused: they are called by inference profiles.
func TestBareNamesOfNewModelsAreRefused(t *testing.T) {
	t.Parallel()
	_, err := converse(t, client(llmtest.New(t)), &bedrockruntime.ConverseInput{ModelId: aws.String("anthropic.claude-sonnet-5"), Messages: said(llmtest.Script{})})
	var invalid *types.ValidationException
	if !errors.As(err, &invalid) || !strings.Contains(*invalid.Message, "inference profile") {
		t.Errorf("%v", err)
	}
}

func TestKeysAreChecked(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	in := &bedrockruntime.ConverseInput{ModelId: aws.String("arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0"), Messages: said(llmtest.Script{})}
	for name, test := range map[string]struct {
		client *bedrockruntime.Client
		want   string
	}{
		"good":              {client(s), ""},
		"temporary":         {signed(s, "ASIACANARY0123456789", llmtest.AWSSecret("ASIACANARY0123456789"), "TOKEN"), ""},
		"without its token": {signed(s, "ASIACANARY0123456789", llmtest.AWSSecret("ASIACANARY0123456789"), ""), "UnrecognizedClientException"},
		"wrong secret":      {signed(s, keyID, "wrong", ""), "InvalidSignatureException"},
		"unknown":           {signed(s, "AKIAinvalid", llmtest.AWSSecret("AKIAinvalid"), ""), "UnrecognizedClientException"},
		"bearer":            {bearing(s, "ABSKcanary"), ""},
		"wrong bearer":      {bearing(s, "ABSKinvalid"), "AccessDeniedException"},
	} {
		_, err := converse(t, test.client, in)
		var e smithy.APIError
		if test.want == "" && err != nil || test.want != "" && (!errors.As(err, &e) || e.ErrorCode() != test.want) {
			if name != "wrong bearer" || err == nil { // it has no name
				t.Errorf("%s: %v, want %q", name, err, test.want)
			}
		}
	}
	if got := s.Ledger()[0]; got.Provider != "bedrock" || got.Model != *in.ModelId || got.KeyHash == "" {
		t.Errorf("%+v", got)
	}
}

// bearing is a client with a Bedrock API key.
func bearing(s *llmtest.Server, key string) *bedrockruntime.Client {
	return bedrockruntime.New(bedrockruntime.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("https" + strings.TrimPrefix(s.BedrockURL(), "http")), RetryMaxAttempts: 1,
		HTTPClient: plain{}, AuthSchemePreference: []string{"httpBearerAuth"},
		BearerAuthTokenProvider: bearer.StaticTokenProvider{Token: bearer.Token{Value: key}},
	})
}

// plain takes away the TLS without which the SDK sends no bearer.
type plain struct{}

func (plain) Do(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme = "http"
	return http.DefaultTransport.RoundTrip(r)
}

// TestClaudeIsInvoked: a message, and its events each in a frame.
func TestClaudeIsInvoked(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	body := func(script llmtest.Script) []byte {
		b, err := json.Marshal(map[string]any{
			"anthropic_version": "bedrock-2023-05-31", "max_tokens": 1000, "messages": []any{map[string]any{"role": "user", "content": script.String()}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	whole, err := client(s).InvokeModel(t.Context(), &bedrockruntime.InvokeModelInput{ModelId: aws.String(claude), Body: body(llmtest.Script{Tokens: 3})})
	if err != nil || !bytes.Contains(whole.Body, []byte(`"text":"The keeper of "`)) || *whole.ContentType != "application/json" {
		t.Errorf("%s, %v", whole.Body, err)
	}
	out, err := client(s).InvokeModelWithResponseStream(t.Context(), &bedrockruntime.InvokeModelWithResponseStreamInput{ModelId: aws.String(claude), Body: body(llmtest.Script{Tokens: 3})})
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for event := range out.GetStream().Events() {
		chunk, ok := event.(*types.ResponseStreamMemberChunk)
		if !ok {
			t.Fatalf("event %T", event)
		}
		var e struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(chunk.Value.Bytes, &e); err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, e.Type)
	}
	if err := out.GetStream().Err(); err != nil || kinds[0] != "message_start" || kinds[len(kinds)-1] != "message_stop" {
		t.Errorf("%v, %v", kinds, err)
	}
	out, err = client(s).InvokeModelWithResponseStream(t.Context(), &bedrockruntime.InvokeModelWithResponseStreamInput{
		ModelId: aws.String(claude), Body: body(llmtest.Script{Tokens: 3, Error: llmtest.ErrRateLimit, InStream: true, At: 1}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for range out.GetStream().Events() {
	}
	var slow *types.ThrottlingException
	if err := out.GetStream().Err(); !errors.As(err, &slow) {
		t.Errorf("%v", err)
	}
}

func TestVectorsAndCountsAreTold(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	for model, body := range map[string]string{
		"amazon.titan-embed-text-v2:0": `{"inputText":"hi"}`, "cohere.embed-english-v3": `{"texts":["hi","ho"],"input_type":"search_query"}`,
		"us.cohere.embed-v4:0": `{"texts":["hi"],"input_type":"search_document","embedding_types":["float"],"output_dimension":256}`,
	} {
		out, err := client(s).InvokeModel(t.Context(), &bedrockruntime.InvokeModelInput{ModelId: aws.String(model), Body: []byte(body)})
		if err != nil || !bytes.Contains(out.Body, []byte(`"embedding`)) {
			t.Errorf("%s: %v", model, err)
		}
	}
	bare := strings.TrimPrefix(claude, "us.")
	counted, err := client(s).CountTokens(t.Context(), &bedrockruntime.CountTokensInput{
		ModelId: &bare, Input: &types.CountTokensInputMemberConverse{Value: types.ConverseTokensRequest{Messages: said(llmtest.Script{Input: 77})}},
	})
	if err != nil || *counted.InputTokens != 77 {
		t.Errorf("%v, %v", counted, err)
	}
}

// TestCancelingReachesTheServer: whoever goes away is noticed.
func TestCancelingReachesTheServer(t *testing.T) {
	t.Parallel()
	s := llmtest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	out, err := client(s).ConverseStream(ctx, &bedrockruntime.ConverseStreamInput{ModelId: aws.String(nova), Messages: said(llmtest.Script{Tokens: 1000, Delay: 20 * time.Millisecond})})
	if err != nil {
		t.Fatal(err)
	}
	<-out.GetStream().Events()
	cancel()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if e := s.Ledger()[0]; e.Done {
			if !e.ClientGone {
				t.Errorf("%+v", e)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the call goes on")
		}
		<-time.After(time.Millisecond) // polls with a deadline
	}
}

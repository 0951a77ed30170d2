package e2e_test

import (
	"context"
	"errors"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"

	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
)

// TestGoSDKsThatLeaveEndTheCall in the middle of a stream, whether it passes or is converted: the SDK says
// that it was canceled, and the usage up to there is kept as such.
func TestGoSDKsThatLeaveEndTheCall(t *testing.T) {
	t.Parallel()
	w := startEdge(t)
	const prompt = "script:tokens=3000,delay=10ms hello"
	gpt := openai.NewClient(openaioption.WithBaseURL(w.BaseURL+"/v1"), openaioption.WithAPIKey(w.keys["acme"]), openaioption.WithMaxRetries(0))
	claude := anthropic.NewClient(anthropicoption.WithBaseURL(w.BaseURL), anthropicoption.WithAPIKey(w.keys["acme"]), anthropicoption.WithMaxRetries(0))
	for way, model := range map[string]string{"gpt": "openai/gpt-4o-mini", "claude": "policy/claude"} {
		for name, open := range map[string]func(ctx context.Context, session string) (next func() bool, err func() error){
			"chat": func(ctx context.Context, session string) (func() bool, func() error) {
				s := gpt.Chat.Completions.NewStreaming(ctx, openai.ChatCompletionNewParams{
					Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(prompt)},
				}, openaioption.WithHeader("X-Claviger-Session", session))
				return s.Next, s.Err
			},
			"responses": func(ctx context.Context, session string) (func() bool, func() error) {
				s := gpt.Responses.NewStreaming(ctx, responses.ResponseNewParams{
					Model: model, Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(prompt)},
				}, openaioption.WithHeader("X-Claviger-Session", session))
				return s.Next, s.Err
			},
			"messages": func(ctx context.Context, session string) (func() bool, func() error) {
				s := claude.Messages.NewStreaming(ctx, askMessage(model, prompt), anthropicoption.WithHeader("X-Claviger-Session", session))
				return s.Next, s.Err
			},
		} {
			ctx, cancel := context.WithCancel(t.Context())
			session, events := "leaves-"+name+"-"+way, 0
			next, failed := open(ctx, session)
			for next() {
				if events++; events == 6 {
					cancel()
				}
			}
			if err := failed(); !errors.Is(err, context.Canceled) || events < 6 || events > 1000 {
				t.Errorf("%s by %s: %d events, %v", name, model, events, err)
			}
			cancel()
			w.awaitOutcome(t, session, eventsv1.Outcome_OUTCOME_CANCELED)
		}
	}
}

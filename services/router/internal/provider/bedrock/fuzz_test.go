package bedrock_test

import (
	"errors"
	"testing"

	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/bedrock"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
)

// FuzzAnswers: bodies of all operations are from outside.
func FuzzAnswers(f *testing.F) {
	f.Add(`{"output":{"message":{"content":[{"text":"x"},{"toolUse":{"toolUseId":"a","name":"b","input":{}}},{"reasoningContent":{"redactedContent":"cmVk"}}]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":2}}`, 200)
	f.Add(`{"embedding":[0.5],"inputTextTokenCount":3}`, 200)
	f.Add(`{"inputTokens":7}`, 200)
	f.Add(`{"modelSummaries":[{"modelId":"x"}]}`, 200)
	f.Add(`{"__type":"com.amazonaws.bedrock#ThrottlingException","message":"slow"}`, 429)
	f.Fuzz(func(t *testing.T, body string, status int) {
		if status < 200 || status > 599 {
			return
		}
		vector := asked("amazon.titan-embed-text-v2:0", false, &completion.Prompt{Embedding: &completion.EmbeddingInput{Texts: []string{"x"}}})
		vector.Request.Operation = completion.Embeddings
		count := asked(claude, false, said("hi"))
		count.Request.Operation = completion.CountTokens
		for _, call := range []completion.Call{asked(nova, false, nil), asked(claude, true, nil), passing(false, `{}`), vector, count} {
			_, err := collect(t, bedrock.New(&replay{kind: "application/json", status: status, stream: body}), call)
			var failed *completion.ProviderError
			if err != nil && (!errors.As(err, &failed) || failed.Message == "" || len(failed.Message) > 4<<10) {
				t.Fatalf("%v", err)
			}
		}
		if got := bedrock.New(&replay{kind: "application/json", status: status, stream: body}).Test(t.Context(), completion.Place{Secret: secret.New(signed(providertest.Key))}); got.Reason == "" {
			t.Fatalf("%+v", got)
		}
	})
}

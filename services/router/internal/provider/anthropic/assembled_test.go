package anthropic_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/anthropic"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
)

// slow waits a second before each read.
type slow struct{ replay }

func (s *slow) RoundTrip(r *http.Request) (*http.Response, error) {
	s.next = func() int { time.Sleep(time.Second); return len(hello) } //nolint:forbidigo // the time of a synctest bubble
	return s.replay.RoundTrip(r)
}

// TestAssembledAnswersGiveSignsOfLife: whoever watches for a provider's silence sees that a long answer
// still comes, and its pieces are counted once.
func TestAssembledAnswersGiveSignsOfLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stream := messageStart + textStart
		for range 60 {
			stream += hello
		}
		stream += messageDelta + messageStop
		answer, err := anthropic.New(&slow{replay{stream: stream}}).Start(t.Context(), providertest.Converted("http://provider.invalid", "claude-opus-4-7", false, llmtest.Script{}))
		if err != nil {
			t.Fatal(err)
		}
		signs, pieces := 0, 0
		for {
			before := time.Now()
			chunk, err := answer.Next()
			if err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(before); waited > 10*time.Second {
				t.Errorf("%v without a sign of life", waited)
			}
			pieces += chunk.Pieces
			if chunk.Content {
				if len(chunk.Delta.Text) != 60*len(`Hel"lo`) || chunk.Finish != completion.ToolCalls || chunk.Usage == nil || !chunk.Usage.Final {
					t.Errorf("%+v", chunk)
				}
				break
			}
			signs++
		}
		if signs < 5 || pieces != 60 {
			t.Errorf("%d signs of life, %d pieces", signs, pieces)
		}
	})
}

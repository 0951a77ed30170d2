package httpapi_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/health"
	"github.com/claviger/claviger/services/router/internal/provider/anthropic"
	"github.com/claviger/claviger/services/router/internal/provider/openai"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// pupil learns of answers only once their callers have them whole.
type pupil struct {
	*health.Health
	read, learned chan struct{}
}

func (p *pupil) Answered(t *completion.Target, trial completion.Trial, took time.Duration, left completion.Headroom) {
	<-p.read
	p.Health.Answered(t, trial, took, left)
	p.learned <- struct{}{}
}

// TestCallersDoNotWaitForWhatComesBehindTheirAnswer: a whole answer is sent when its event is written, before the
// router learns from it.
func TestCallersDoNotWaitForWhatComesBehindTheirAnswer(t *testing.T) {
	t.Parallel()
	upstream := llmtest.New(t)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	r := &rig{}
	learning := &pupil{health.New(health.Options{Now: time.Now}), make(chan struct{}), make(chan struct{}, 1)}
	server := httptest.NewServer(r.handlerOf(t, completion.New(completion.Options{
		Planner: r, Keyring: r, Recorder: r, Evidence: r, Health: learning,
		Providers: map[string]completion.Provider{"anthropic": anthropic.New(transport), "openai": openai.New(transport)},
		BaseURLs:  map[string]string{"anthropic": upstream.AnthropicURL(), "openai": upstream.OpenAIURL()},
		Log:       slog.New(slog.DiscardHandler), Now: time.Now,
	})))
	t.Cleanup(server.Close)
	calls := 0
	for _, d := range dialects {
		for _, model := range models { // as it is, and converted
			res := begin(t.Context(), t, server, http.MethodPost, d.path, body(d.body, model, "false", llmtest.Script{Text: "two words"}), nil)
			if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK || len(b) == 0 {
				t.Fatalf("%s of %s: %d, %q, %v", d.path, model, res.StatusCode, b, err)
			}
			_ = res.Body.Close()
			calls++
			events := r.done()
			if len(events) != calls || events[calls-1].Outcome != usage.OK || events[calls-1].Source != usage.ProviderFinal {
				t.Errorf("%s of %s: whoever has the answer finds %d events, want %d, the last of a good answer", d.path, model, len(events), calls)
			}
			learning.read <- struct{}{}
			<-learning.learned
		}
	}
}

// TestAPieceOfAStreamDoesNotWaitForTheNext, which comes an hour later.
func TestAPieceOfAStreamDoesNotWaitForTheNext(t *testing.T) {
	t.Parallel()
	r := &rig{}
	server := httptest.NewServer(r.handler(t, map[string]completion.Provider{
		"slow": slow{plays: map[string][]step{"x": {{0, said("words"), nil}, {time.Hour, said("more"), nil}}}},
	}, nil))
	t.Cleanup(server.Close)
	for _, d := range dialects {
		ctx, leave := context.WithCancel(t.Context())
		res := begin(ctx, t, server, http.MethodPost, d.path, body(d.body, "slow/x", "true", llmtest.Script{}), nil)
		var got []byte
		for piece := make([]byte, 4096); !bytes.Contains(got, []byte("words")); {
			n, err := res.Body.Read(piece)
			if got = append(got, piece[:n]...); err != nil {
				t.Fatalf("%s: %v after %q", d.path, err, got)
			}
		}
		leave()
		_ = res.Body.Close()
	}
}

package router

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/claviger/claviger/pkg/llmtest"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/proto/gen/claviger/router/v1/routerv1connect"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// leaver makes a call that it leaves when its context ends. It closes begun once an answer has come so far
// that a caller sees something of it, and returns when the call is over.
type leaver func(ctx context.Context, t *testing.T, s *stand, stream bool, text string, begun chan<- struct{})

func leavers() map[completion.Dialect]leaver {
	overHTTP := func(path string, body func(model, text string, stream bool, ask asked) string) leaver {
		return func(ctx context.Context, t *testing.T, s *stand, stream bool, text string, begun chan<- struct{}) {
			t.Helper()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.http.URL+path, strings.NewReader(body(s.model, text, stream, asked{})))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Authorization", "Bearer key")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return // it left before an answer
			}
			defer func() { _ = res.Body.Close() }() // left
			if _, err := io.ReadFull(res.Body, make([]byte, 16)); err == nil {
				close(begun)
				_, _ = io.Copy(io.Discard, res.Body) // until it leaves
			}
		}
	}
	typed := func(ctx context.Context, t *testing.T, s *stand, stream bool, text string, begun chan<- struct{}) {
		t.Helper()
		client := routerv1connect.NewCompletionServiceClient(connect.NewClient(connecthttp.NewTransport(s.rpc.Client(), s.rpc.URL)))
		if !stream {
			_, _ = client.Complete(ctx, &routerv1.CompleteRequest{Input: typedInput(s.model, text, asked{})}) // left
			return
		}
		answer, err := client.StreamCompletion(ctx, &routerv1.StreamCompletionRequest{Input: typedInput(s.model, text, asked{})})
		for n := 0; err == nil; n++ {
			if _, err = answer.Receive(); err == nil && n == 1 {
				close(begun)
			}
		}
	}
	return map[completion.Dialect]leaver{
		completion.OpenAIChat: overHTTP("/v1/chat/completions", chatBody), completion.OpenAIResponses: overHTTP("/v1/responses", responsesBody),
		completion.AnthropicMessages: overHTTP("/v1/messages", messagesBody), completion.Typed: typed,
	}
}

// until waits for something, with a deadline.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come", what)
		}
		<-time.After(time.Millisecond) // polls with a deadline
	}
}

// TestWhoLeavesEndsTheProvidersCallWithin100Milliseconds, in every dialect and at every provider, in the
// middle of a stream and before a whole answer, and leaves an event within a second. The best of a few calls
// counts: a busy machine is slow by itself, and a router that waits is slow each time.
func TestWhoLeavesEndsTheProvidersCallWithin100Milliseconds(t *testing.T) {
	t.Parallel()
	const bound, eventBound, tries = 100 * time.Millisecond, time.Second, 5
	for slug, v := range vendors() {
		t.Run(slug, func(t *testing.T) {
			t.Parallel()
			server := llmtest.New(t)
			at := newStand(t, slug, v, server)
			for dialect, leave := range leavers() {
				for _, stream := range []bool{true, false} {
					var took, told []time.Duration
					for len(took) < tries && (len(took) == 0 || slices.Min(took) > bound || slices.Min(told) > eventBound) {
						ended, event := left(t, at, server, leave, stream)
						took, told = append(took, ended), append(told, event)
					}
					if best := slices.Min(took); best > bound {
						t.Errorf("%s, stream %v: the provider's call ended %v after its caller had left", dialect, stream, best)
					}
					if best := slices.Min(told); best > eventBound {
						t.Errorf("%s, stream %v: the event came %v after its caller had left", dialect, stream, best)
					}
				}
			}
		})
	}
}

// left makes a call and leaves it, and returns how much later the provider's call ended and its event came.
func left(t *testing.T, at *stand, server *llmtest.Server, leave leaver, stream bool) (ended, event time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	script := map[bool]string{true: "script:tokens=100000,delay=2ms hello", false: "script:hang hello"}[stream]
	n, begun, over := len(server.Ledger()), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		leave(ctx, t, at, stream, script, begun)
	}()
	until(t, "the call", func() bool { return len(server.Ledger()) > n })
	if stream {
		select {
		case <-begun:
		case <-over:
			t.Fatal("the call ended by itself")
		}
	}
	now := time.Now()
	cancel()
	<-over
	until(t, "the end at the provider", func() bool { return server.Ledger()[n].Done })
	until(t, "the event", func() bool { at.log.mu.Lock(); defer at.log.mu.Unlock(); return len(at.log.events) > 0 })
	event = time.Since(now)
	entry := server.Ledger()[n]
	if e := at.event(t); e.Outcome != usage.Canceled || !entry.ClientGone || entry.Complete {
		t.Errorf("outcome %v, the provider saw %+v", e.Outcome, entry)
	}
	return entry.Ended.Sub(now), event
}

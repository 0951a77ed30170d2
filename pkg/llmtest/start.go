package llmtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// TB is the part of testing.TB that New needs.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Server is a Provider on an address of this machine.
type Server struct {
	*Provider
	// URL is "http://127.0.0.1:port".
	URL string
}

// OpenAIURL is the base address of the OpenAI form, as clients are given it.
func (s *Server) OpenAIURL() string { return s.URL + "/openai/v1" }

// AnthropicURL is the base address of the Anthropic form, as clients are given it.
func (s *Server) AnthropicURL() string { return s.URL + "/anthropic" }

// New starts a provider for a test and stops it at the test's end.
func New(t TB, options ...Option) *Server {
	t.Helper()
	p, err := NewProvider(options...)
	if err != nil {
		t.Fatalf("llmtest: %v", err)
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("llmtest: listen: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var served error
	wg.Go(func() { served = Serve(ctx, l, p) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if served != nil {
			t.Errorf("llmtest: %v", served)
		}
	})
	return &Server{Provider: p, URL: "http://" + l.Addr().String()}
}

// Serve answers on l until ctx ends, then ends calls that hang, waits a moment for others and
// closes. HTTP/1.1 and HTTP/2 without TLS are both spoken.
func Serve(ctx context.Context, l net.Listener, p *Provider) error {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: p, Protocols: &protocols, ReadHeaderTimeout: 30 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		p.once.Do(func() { close(p.closing) })
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		if stop := server.Shutdown(grace); stop != nil {
			_ = server.Close() // whoever still reads is cut off
		}
		cancel()
		err = <-failed
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	if closed := p.Close(); err == nil && closed != nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("serve scripted provider: %w", err)
	}
	return nil
}

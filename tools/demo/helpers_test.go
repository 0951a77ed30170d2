package demo_test

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
)

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	return ctx, stop
}

// announced is an output that says when the demo stays up.
type announced struct {
	mu    sync.Mutex
	text  bytes.Buffer
	ready chan string
}

func (a *announced) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.text.Write(p)
	if strings.Contains(string(p), "Ctrl-C") {
		a.ready <- a.text.String()
	}
	return len(p), nil
}

func (a *announced) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.text.String()
}

// block returns what stands under a headline, without the empty lines around it.
func block(t *testing.T, text, title string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, "\n  "+title)
	_, rest, ok := strings.Cut(rest, "\n\n")
	if !found || !ok {
		t.Fatalf("no %q in\n%s", title, text)
	}
	command, _, _ := strings.Cut(rest, "\n\n")
	return strings.TrimSpace(command)
}

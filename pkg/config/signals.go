package config

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

type hurryKey struct{}

// hurry is the second signal.
type hurry struct {
	heeded atomic.Bool
	now    chan struct{}
}

// Signals returns a context that ends with the first signal to stop. The second one ends the process at once,
// unless somebody heeds Hurry; then the third one does. stop gives the signals back.
func Signals(parent context.Context) (ctx context.Context, stop func()) {
	h := &hurry{now: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.WithValue(parent, hurryKey{}, h))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		defer signal.Stop(signals)
		select {
		case <-signals:
		case <-ctx.Done():
			return
		}
		cancel()
		if h.heeded.Load() {
			<-signals
			close(h.now)
		}
	}()
	return ctx, cancel
}

// Hurry is closed by the second signal: whoever asks for it promises to end soon then, and in order. It is nil
// where nobody listens to signals.
func Hurry(ctx context.Context) <-chan struct{} {
	h, ok := ctx.Value(hurryKey{}).(*hurry)
	if !ok {
		return nil
	}
	h.heeded.Store(true)
	return h.now
}

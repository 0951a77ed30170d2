package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
)

// tb lets this command use what tests use: a Postgres of its own, a broker, keys. What fails ends the
// function that withTB runs.
type tb struct {
	testing.TB // never called: it is there because the interface cannot be implemented otherwise

	ctx     context.Context //nolint:containedctx // what testing.TB has is a method without one
	cleanup []func()
	failed  []error
}

// stop ends the function that withTB runs.
type stop struct{ err error }

// withTB runs f and then what it has put up for cleaning, in reverse order.
func withTB(ctx context.Context, f func(*tb) error) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	t := &tb{ctx: ctx}
	defer func() {
		if p := recover(); p != nil {
			s, ours := p.(stop)
			if !ours {
				panic(p)
			}
			err = s.err
		}
		cancel() // as in tests, before what is cleaned up
		for _, end := range slices.Backward(t.cleanup) {
			end()
		}
		err = errors.Join(append([]error{err}, t.failed...)...)
	}()
	return f(t)
}

// Helper does nothing.
func (*tb) Helper() {}

// Context returns the context, which ends before the cleaning.
func (t *tb) Context() context.Context { return t.ctx }

// Cleanup adds something to do at the end.
func (t *tb) Cleanup(f func()) { t.cleanup = append(t.cleanup, f) }

// Errorf notes a failure.
func (t *tb) Errorf(format string, args ...any) {
	t.failed = append(t.failed, fmt.Errorf(format, args...))
}

// Fatalf ends the function.
func (t *tb) Fatalf(format string, args ...any) { panic(stop{fmt.Errorf(format, args...)}) }

// Fatal ends the function.
func (t *tb) Fatal(args ...any) { panic(stop{errors.New(fmt.Sprint(args...))}) }

// Logf says nothing.
func (*tb) Logf(string, ...any) {}

// Name is that of the command.
func (*tb) Name() string { return "bench" }

// TempDir returns a folder that is removed at the end.
func (t *tb) TempDir() string {
	dir, err := os.MkdirTemp("", "claviger-bench-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

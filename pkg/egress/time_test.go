package egress_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claviger/claviger/pkg/egress"
)

// reach makes one call, and returns how long it took to fail.
func reach(t *testing.T, g *egress.Guard) (time.Duration, error) {
	t.Helper()
	began := time.Now()
	client := g.Client(egress.TransportOptions{})
	defer client.CloseIdleConnections()
	status, err := get(t, client, "https://provider.example/v1/models")
	if err == nil {
		t.Errorf("status %d from nobody", status)
	}
	return time.Since(began), err
}

func wantTimeout(t *testing.T, what string, took, want time.Duration, err error) {
	t.Helper()
	if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() || took != want {
		t.Errorf("%s: %v after %s, want a timeout after %s", what, err, took, want)
	}
}

// TestANameThatNobodyResolvesIsGivenUp: five seconds are for the connection, its name included.
func TestANameThatNobodyResolvesIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		silent := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		took, err := reach(t, guard(t, egress.Options{Resolver: silent}))
		wantTimeout(t, "a resolver that is silent", took, 5*time.Second, err)
	})
}

// TestAnAddressThatDoesNotSpeakTLSIsGivenUp: whether it says nothing, or a handshake in bytes that never ends.
// Its connection is closed.
func TestAnAddressThatDoesNotSpeakTLSIsGivenUp(t *testing.T) {
	t.Parallel()
	for what, speak := range map[string]func(net.Conn){
		"silence": func(net.Conn) {},
		"a byte each second": func(c net.Conn) {
			for _, err := c.Write([]byte{22, 3, 3, 0x3f, 0xff}); err == nil; _, err = c.Write([]byte{2}) {
				<-time.After(time.Second)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := guard(t, egress.Options{})
				closed := make(chan error, 1)
				var speaking sync.WaitGroup
				g.Connecting(func(context.Context, string, string) (net.Conn, error) {
					<-time.After(4 * time.Second) // a slow network takes nothing of the time for TLS
					ours, theirs := net.Pipe()
					go func() {
						_, err := io.Copy(io.Discard, theirs)
						closed <- err
					}()
					speaking.Go(func() { speak(theirs) })
					return ours, nil
				})
				took, err := reach(t, g)
				wantTimeout(t, what, took, 9*time.Second, err)
				if err := <-closed; err != nil {
					t.Errorf("the connection was not closed: %v", err)
				}
				speaking.Wait()
			})
		})
	}
}

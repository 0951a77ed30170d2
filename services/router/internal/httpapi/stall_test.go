package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// pipes is a listener in memory. Nothing is buffered in between: what a caller does not read, nobody has written.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// endless is a provider that never stops, and counts what is taken from it.
type endless struct {
	completion.Provider
	raw   bool
	taken atomic.Int64
	ended chan time.Time
}

func (e *endless) Speaks(completion.Dialect, *completion.Target) bool { return e.raw }

func (e *endless) Start(ctx context.Context, _ completion.Call) (completion.Answer, error) {
	return &unending{endless: e, ctx: ctx}, nil
}

type unending struct {
	*endless
	ctx context.Context
}

func (u *unending) Next() (completion.Chunk, error) {
	if err := u.ctx.Err(); err != nil {
		return completion.Chunk{}, err
	}
	u.taken.Add(1)
	data := strings.Repeat("x", 1000)
	return completion.Chunk{
		Raw: fmt.Appendf(nil, "data: {\"choices\":[{\"delta\":{\"content\":%q}}]}\n\n", data), Content: true, Pieces: 1, PieceBytes: len(data),
		Delta: completion.Delta{Text: data},
	}, nil
}
func (u *unending) Close() error              { u.ended <- time.Now(); return nil }
func (*unending) Head() completion.AnswerHead { return completion.AnswerHead{Status: http.StatusOK} }

// TestACallerWhoStopsReadingStopsTheProvider: nothing is read ahead for them, the call ends after thirty seconds, and
// it leaves its event.
func TestACallerWhoStopsReadingStopsTheProvider(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		for _, raw := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				provider := &endless{raw: raw, ended: make(chan time.Time, 1)}
				r := &rig{targets: []completion.Target{target("endless", "x")}}
				server := &http.Server{
					Handler: r.handler(t, map[string]completion.Provider{"endless": provider}, nil), ReadHeaderTimeout: time.Minute,
					ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
				}
				l := newPipes()
				served := make(chan error, 1)
				go func() { served <- server.Serve(l) }()
				conn := l.dial()
				text := body(d.body, "endless/x", "true", llmtest.Script{})
				if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: router\r\nX-Api-Key: clv-1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", d.path, len(text), text); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(conn, make([]byte, 100_000)); err != nil {
					t.Fatal(err)
				}
				stopped := time.Now()
				synctest.Wait()
				before := provider.taken.Load()
				if ahead := before - 100; ahead > 20 {
					t.Errorf("%s, raw %v: %d pieces of 1 KB are read ahead", d.path, raw, ahead)
				}
				if waited := (<-provider.ended).Sub(stopped); waited != 30*time.Second {
					t.Errorf("%s, raw %v: the provider's call ends after %v", d.path, raw, waited)
				}
				if after := provider.taken.Load(); after != before {
					t.Errorf("%s, raw %v: %d pieces were taken while nobody read", d.path, raw, after-before)
				}
				_ = conn.Close()   // the server has closed it
				_ = server.Close() // ends what is left
				if err := <-served; !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
				synctest.Wait()
				if e := r.done(); len(e) != 1 || e[0].Outcome != usage.Canceled || e[0].Tokens == nil || e[0].Tokens.OutputTotal == 0 {
					t.Errorf("%s, raw %v: events %+v", d.path, raw, e)
				}
			})
		}
	}
}

package httpapi_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
)

// flood is a provider that sends the same piece many times.
type flood struct {
	completion.Provider
	pieces int
	piece  completion.Chunk
}

func (f *flood) Speaks(completion.Dialect, *completion.Target) bool { return len(f.piece.Raw) > 0 }

func (f *flood) Start(context.Context, completion.Call) (completion.Answer, error) {
	return &flooded{flood: f}, nil
}

type flooded struct {
	*flood
	sent int
}

func (f *flooded) Next() (completion.Chunk, error) {
	if f.sent++; f.sent > f.pieces {
		return completion.Chunk{}, io.EOF
	}
	return f.piece, nil
}
func (f *flooded) Close() error                { return nil }
func (f *flooded) Head() completion.AnswerHead { return completion.AnswerHead{Status: http.StatusOK} }

// nobody takes an answer and keeps nothing.
type nobody struct{ header http.Header }

func (n nobody) Header() http.Header         { return n.header }
func (n nobody) Write(b []byte) (int, error) { return len(b), nil }
func (n nobody) WriteHeader(int)             {}
func (n nobody) Flush()                      {}

// TestAPieceOfAStreamAllocatesNothing on its way through the edge, be it passed on or converted.
func TestAPieceOfAStreamAllocatesNothing(t *testing.T) {
	for name, piece := range map[string]completion.Chunk{
		"passed":    {Raw: []byte("data: {\"choices\":[]}\n\n"), Content: true, Pieces: 1},
		"converted": {Content: true, Pieces: 1, Delta: completion.Delta{Text: " hello"}},
	} {
		for _, d := range dialects {
			f := &flood{piece: piece}
			r := &rig{targets: []completion.Target{target("flood", "x")}}
			handler := r.handler(t, map[string]completion.Provider{"flood": f}, nil)
			request := body(d.body, "flood/x", "true", llmtest.Script{})
			allocated := func(pieces int) float64 {
				f.pieces = pieces
				return testing.AllocsPerRun(20, func() {
					req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, d.path, strings.NewReader(request))
					req.Header.Set("X-Api-Key", "clv-1")
					handler.ServeHTTP(nobody{http.Header{}}, req)
				})
			}
			if few, many := allocated(100), allocated(1100); many-few > 40 {
				t.Errorf("%s, %s: 1000 pieces more take %v allocations more", d.path, name, many-few)
			}
		}
	}
}

package completion_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// TestWhatIsBilledBesidesTokensIsRecorded has providers that count units and say what they cost: the last
// count holds, and what nobody bills is left out.
func TestWhatIsBilledBesidesTokensIsRecorded(t *testing.T) {
	t.Parallel()
	early, cost, nothing := int64(1), int64(5_020_000), int64(0)
	counted := func(units []usage.Unit, nano *int64) completion.Chunk {
		return completion.Chunk{Usage: &completion.Usage{Final: true, Units: units, CostNanoUSD: nano}}
	}
	request1 := []usage.Unit{{Name: "request", Milli: 1000}}
	unbilled := failure(completion.ServerError)
	unbilled.Unbilled = true
	for name, c := range map[string]struct {
		script script
		units  []usage.Unit
		cost   *int64
	}{
		"last one holds":           {script{chunks: []completion.Chunk{text("a"), counted(request1, &early), counted(request1, &cost)}}, request1, &cost},
		"free is a value":          {script{chunks: []completion.Chunk{text("a"), counted(nil, &nothing)}}, nil, &nothing},
		"nothing said":             {script{chunks: []completion.Chunk{text("a")}}, nil, nil},
		"cut after it":             {script{chunks: []completion.Chunk{text("a"), counted(request1, &cost)}, end: failure(completion.Network)}, request1, &cost},
		"nothing billed, whatever": {script{chunks: []completion.Chunk{counted(request1, &cost)}, end: unbilled}, nil, nil},
	} {
		r := newRig(map[string]script{"a": c.script}, "a")
		_ = r.Complete(t.Context(), completion.Caller{}, request(), &sink{}) // the events are what matters here
		e := r.recorder.events[0]
		if diff := cmp.Diff(c.units, e.Units); diff != "" {
			t.Errorf("%s: units (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(c.cost, e.CostNanoUSD); diff != "" {
			t.Errorf("%s: cost (-want +got):\n%s", name, diff)
		}
	}
}

func TestAnEventSaysWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	for asked, want := range map[completion.Operation]string{"": "chat", completion.Chat: "chat", completion.Embeddings: "embeddings", completion.Images: "images", completion.CountTokens: "count_tokens"} {
		r := newRig(map[string]script{"a": {chunks: []completion.Chunk{text("a")}}}, "a")
		req := request()
		req.Operation = asked
		_ = r.Complete(t.Context(), completion.Caller{}, req, &sink{}) // the events are what matters here
		if e := r.recorder.events[0]; e.Operation != want {
			t.Errorf("an attempt at %q is recorded as %q, want %q", asked, e.Operation, want)
		}
	}
}

package bedrock_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/bedrock"
)

// half answers the text "paid", and once that was read breaks every other call off.
type half struct{ read chan struct{} }

type told struct {
	io.Reader
	closed func()
}

func (t told) Close() error { t.closed(); return nil }

func (h half) RoundTrip(r *http.Request) (*http.Response, error) {
	raw, _ := io.ReadAll(r.Body)
	if !strings.Contains(string(raw), "paid") {
		<-h.read
		return nil, io.ErrUnexpectedEOF
	}
	body := told{strings.NewReader(`{"embedding":[0.5],"inputTextTokenCount":3}`), sync.OnceFunc(func() { close(h.read) })}
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: body, ContentLength: -1}, nil
}

func vectorsOf(texts ...string) completion.Call {
	call := asked("amazon.titan-embed-text-v2:0", false, &completion.Prompt{Embedding: &completion.EmbeddingInput{Texts: texts}})
	call.Request.Operation = completion.Embeddings
	return call
}

func TestVectorsThatFailInPartMayHaveBeenPaid(t *testing.T) {
	t.Parallel()
	_, err := collect(t, bedrock.New(half{make(chan struct{})}), vectorsOf("paid", "other"))
	if failed := failure(t, err); !failed.Sent || failed.Unbilled {
		t.Errorf("%+v", failed)
	}
}

func TestCountsOfVectorsThatCannotBeAreNotUsed(t *testing.T) {
	t.Parallel()
	for _, count := range []string{"-1", "9223372036854775807", "1099511627777"} {
		r := &replay{kind: "application/json", stream: `{"embedding":[0.5],"inputTextTokenCount":` + count + `}`}
		if got, err := collect(t, bedrock.New(r), vectorsOf("x")); err != nil || got.Usage != nil {
			t.Errorf("%s: %+v, %v", count, got.Usage, err)
		}
	}
}

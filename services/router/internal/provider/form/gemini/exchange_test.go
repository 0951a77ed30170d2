package gemini_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
)

// TestExchangesAreReadAsTheyWere reads answers in the form in which AI Studio and Vertex AI give them. What
// is made of each stands beside it.
func TestExchangesAreReadAsTheyWere(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/exchanges/*")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%v, %v", paths, err)
	}
	read := 0
	for _, path := range paths {
		if strings.HasSuffix(path, ".golden") {
			continue
		}
		read++
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		stream := strings.HasSuffix(path, ".sse")
		var before string
		for size := 1; size < 2*len(body); size *= 3 {
			got := reading(t, string(body), stream, size)
			if before != "" && got != before {
				t.Fatalf("%s: reads of %d bytes change it:\n%s\nbefore:\n%s", path, size, got, before)
			}
			before = got
		}
		golden(t, strings.TrimPrefix(path, "testdata/")+".golden", []byte(before))
	}
	if read < 7 {
		t.Errorf("%d exchanges", read)
	}
}

// reading is what is made of an answer, as JSON.
func reading(t *testing.T, body string, stream bool, size int) string {
	t.Helper()
	answer, err := start(t, &replay{answer: body, next: func() int { return size }}, studio, model, completion.Chat, stream, hello())
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close() //nolint:errcheck // a test
	r := &recorder{Answer: answer}
	got, err := providertest.Collect(r)
	shown := map[string]any{"deltas": r.deltas, "finish": got.Finish, "usage": got.Usage, "model": got.Head.Model, "id": got.Head.RequestID}
	if failure, ok := errors.AsType[*completion.ProviderError](err); ok {
		shown["failed"] = map[string]any{"class": failure.Class, "message": failure.Message}
	}
	b, err := json.Marshal(shown)
	if err != nil {
		t.Fatal(err)
	}
	var all any
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	if b, err = json.MarshalIndent(filled(all), "", "  "); err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

// filled leaves out what is empty.
func filled(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if v[name] = filled(member); v[name] == nil {
				delete(v, name)
			}
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		for i, element := range v {
			v[i] = filled(element)
		}
	case string:
		if v == "" {
			return nil
		}
	case float64:
		if v == 0 {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	}
	return v
}

package router

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// told is what every dialect has to tell of a recorded exchange, and what the accounts hold.
type told struct {
	Text      string        `json:"text,omitempty"`
	Reasoning string        `json:"reasoning,omitempty"`
	Calls     []toolCall    `json:"calls,omitempty"`
	Finish    string        `json:"finish,omitempty"`
	Ended     bool          `json:"ended"`
	Outcome   string        `json:"outcome"`
	Class     string        `json:"class,omitempty"`
	Source    usage.Source  `json:"usage_source"`
	Tokens    *usage.Tokens `json:"tokens,omitempty"`
}

// playing answers a call of a model with a recorded exchange: a status line, headers, an empty line and the
// body as it came. All other calls (for an access token) go on.
type playing struct {
	http.RoundTripper
	exchange []byte
}

func (p playing) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/token") {
		return p.RoundTripper.RoundTrip(r)
	}
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body) // what is asked does not matter here
	}
	return http.ReadResponse(bufio.NewReader(bytes.NewReader(p.exchange)), r)
}

// TestRecordedExchangesAreToldAlikeInEveryDialect plays exchanges in the form in which the providers' own
// documentation shows them. Whatever the dialect, the caller hears the same and the same is counted.
// CLAVIGER_UPDATE_GOLDEN=1 writes what is compared.
func TestRecordedExchangesAreToldAlikeInEveryDialect(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/*/*.http")
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d exchanges, %v", len(paths), err)
	}
	for _, path := range paths {
		slug := filepath.Base(filepath.Dir(path))
		name := strings.TrimSuffix(filepath.Base(path), ".http")
		t.Run(slug+"/"+name, func(t *testing.T) {
			t.Parallel()
			exchange, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var first []byte
			for _, dialect := range callers() {
				if otherForm[slug] == dialect.dialect {
					continue
				}
				got := play(t, slug, exchange, dialect, strings.HasPrefix(name, "stream"))
				if first == nil {
					first = got
					compareGolden(t, strings.TrimSuffix(path, ".http")+".json", got)
				}
				if diff := cmp.Diff(string(first), string(got)); diff != "" {
					t.Errorf("%s tells it otherwise than %s (-first +this):\n%s", dialect.name, callers()[0].name, diff)
				}
			}
		})
	}
}

// otherForm are the dialects for which a provider has a form of its own, besides the one recorded here. Those
// exchanges are in the tests of that form.
var otherForm = map[string]completion.Dialect{"openai": completion.OpenAIResponses, "azure": completion.OpenAIResponses}

func play(t *testing.T, slug string, exchange []byte, dialect caller, stream bool) []byte {
	t.Helper()
	v := vendors()[slug]
	if slug == "bedrock" {
		v = families()["bedrock (Nova)"] // Claude's messages would pass by another call
	}
	server := llmtest.New(t)
	at := newStandOver(t, slug, v, server, playing{http.DefaultTransport, exchange})
	got := dialect.call(t, at, stream, "hello", asked{tool: true})
	e := at.event(t)
	out := told{
		Text: got.text, Reasoning: got.reasoning, Finish: got.finish, Ended: got.ended, Outcome: e.Outcome.String(), Class: e.ErrorClass,
		Source: e.Source, Calls: got.calls,
	}
	if e.Source == usage.ProviderFinal { // an estimate depends on the size of the question
		out.Tokens = e.Tokens
	}
	if out.Ended == (got.failure != "") {
		t.Errorf("%s: ended %v with the failure %q\n%s", dialect.name, got.ended, got.failure, got.body)
	}
	if !out.Ended {
		out.Finish = ""
	}
	b, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

func compareGolden(t *testing.T, path string, got []byte) {
	t.Helper()
	if os.Getenv("CLAVIGER_UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

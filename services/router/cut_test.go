package router

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// twoTargets are two credentials of one provider for the same model, each tried once.
type twoTargets struct{ targets [2]completion.Target }

func (p *twoTargets) Plan(completion.Caller, *completion.Request) (completion.Plan, error) {
	return completion.Plan{Targets: slices.Clone(p.targets[:]), ConfigVersion: 1}, nil
}

func twice(slug string, v vendor) *twoTargets {
	var p twoTargets
	for i, id := range []string{"cred_1", "cred_2"} {
		p.targets[i] = completion.Target{
			Provider: slug, Model: slug + "/" + v.model, Name: v.model, Class: usage.Own, Line: i, Rule: &completion.Rule{Retries: 0},
			Credential: &completion.Credential{ID: id, OrgID: "org_1", Provider: slug, Label: id, Revision: 1, Settings: v.settings},
		}
	}
	return &p
}

// cutting answers the first call with the beginning of an exchange, and all others with another exchange.
type cutting struct {
	http.RoundTripper

	mu     sync.Mutex
	first  []byte
	then   error // what comes after it: io.EOF is a connection that is closed in order
	second []byte
	calls  int
}

func (c *cutting) arm(first []byte, then error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.first, c.then, c.calls = first, then, 0
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

func (c *cutting) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/token") {
		return c.RoundTripper.RoundTrip(r)
	}
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body) // what is asked does not matter here
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if c.calls > 1 {
		return http.ReadResponse(bufio.NewReader(bytes.NewReader(c.second)), r)
	}
	return http.ReadResponse(bufio.NewReader(io.MultiReader(bytes.NewReader(c.first), broken{c.then})), r)
}

// another is an exchange in the form of a recorded one, with another answer: no letter of it is in theirs.
var another = strings.NewReplacer(
	`"Hel"`, `"Zel"`, `"Hello"`, `"Zello"`, "look", "zook", `"2+2 "`, `"9+9 "`, `"hm"`, `"zz"`,
)

// exchange is a stream that is cut, and another answer in its form.
type exchange struct {
	slug         string
	vendor       vendor
	first, other []byte
	// only is the one dialect that is answered in this form; empty is all.
	only completion.Dialect
}

// exchanges are the streams that are cut: of every form that providers speak.
func exchanges(t *testing.T) map[string]exchange {
	t.Helper()
	read := func(path string) []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	replaced := func(b []byte) []byte { return []byte(another.Replace(string(b))) }
	out := map[string]exchange{}
	for path, slug := range map[string]string{
		"testdata/openai/stream_tools.http": "openai", "testdata/openai/stream.http": "openai",
		"testdata/anthropic/stream_thinking.http": "anthropic", "testdata/anthropic/stream_tools.http": "anthropic",
		"testdata/google-ai-studio/stream.http": "google-ai-studio", "testdata/azure/stream_filters.http": "azure",
	} {
		b := read(path)
		out[slug+"/"+strings.TrimSuffix(filepath.Base(path), ".http")] = exchange{slug: slug, vendor: vendors()[slug], first: b, other: replaced(b)}
	}
	responses := []byte(responsesStream)
	out["openai/responses"] = exchange{
		slug: "openai", vendor: vendors()["openai"], first: responses, other: replaced(responses), only: completion.OpenAIResponses,
	}
	converse := read("testdata/bedrock/stream_tools.http")
	out["bedrock/converse"] = exchange{
		slug: "bedrock", vendor: families()["bedrock (Nova)"], first: converse, other: reframed(t, converse, replaced),
	}
	claude := read("testdata/anthropic/stream_tools.http")
	out["bedrock/claude"] = exchange{
		slug: "bedrock", vendor: vendors()["bedrock"], first: framed(claude), other: framed(replaced(claude)), only: completion.AnthropicMessages,
	}
	return out
}

// responsesStream is a stream of OpenAI's responses.
const responsesStream = `HTTP/1.1 200 OK
Content-Type: text/event-stream
x-request-id: req_9

event: response.created
data: {"type":"response.created","response":{"id":"resp_1","object":"response","status":"in_progress","model":"gpt-4.1-2025-04-14","output":[]}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","item_id":"msg_1","output_index":0,"content_index":0,"delta":"Hel"}

event: response.output_text.delta
data: {"type":"response.output_text.delta","item_id":"msg_1","output_index":0,"content_index":0,"delta":"lo"}

event: response.completed
data: {"type":"response.completed","response":{"id":"resp_1","object":"response","status":"completed","model":"gpt-4.1-2025-04-14","output":[{"type":"message","id":"msg_1","content":[{"type":"output_text","text":"Hello"}]}],"usage":{"input_tokens":9,"output_tokens":2,"total_tokens":11}}}

`

const framesFollow = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n\r\n"

// framed is an exchange of Anthropic's as Bedrock sends it: each event in a frame of its own.
func framed(exchange []byte) []byte {
	_, events, _ := bytes.Cut(exchange, []byte("\n\n"))
	out := []byte(framesFollow)
	readEvents(events, func(_ string, data []byte) {
		out = append(out, llmtest.AWSEvent("chunk", []byte(`{"bytes":"`+base64.StdEncoding.EncodeToString(data)+`"}`))...)
	})
	return out
}

// reframed is an exchange in frames whose payloads were changed.
func reframed(t *testing.T, exchange []byte, change func([]byte) []byte) []byte {
	t.Helper()
	_, frames, _ := bytes.Cut(exchange, []byte("\r\n\r\n"))
	out := []byte(framesFollow)
	decoder := eventstream.NewDecoder()
	for from := bytes.NewReader(frames); from.Len() > 0; {
		frame, err := decoder.Decode(from, nil)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, llmtest.AWSEvent(frame.Headers.Get(":event-type").String(), change(frame.Payload))...)
	}
	return out
}

// TestNoCutOfAStreamMixesRepeatsOrHidesAnything cuts a provider's stream at every byte, by a connection that
// breaks and by one that ends as if all were well. Whatever the dialect, the caller has either a beginning
// of this answer with an error behind it, or all of it, or all of the second target's and nothing of this
// one's; and each call left one usage event.
func TestNoCutOfAStreamMixesRepeatsOrHidesAnything(t *testing.T) {
	t.Parallel()
	for name, x := range exchanges(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, dialect := range callers() {
				switch {
				case x.only != "" && x.only != dialect.dialect, x.only == "" && otherForm[x.slug] == dialect.dialect:
					continue
				}
				cutEverywhere(t, x, dialect)
			}
		})
	}
}

func cutEverywhere(t *testing.T, x exchange, dialect caller) {
	t.Helper()
	provider := &cutting{RoundTripper: http.DefaultTransport, second: x.other}
	planned := twice(x.slug, x.vendor)
	at := newStandBy(t, x.slug, x.vendor, llmtest.New(t), providers(provider), planned, planned.targets[0].Credential)
	call := func(first []byte, then error) (heard, []usage.Event, int) {
		provider.arm(first, then)
		got := dialect.call(t, at, true, "hello", asked{tool: true})
		at.log.mu.Lock()
		defer at.log.mu.Unlock()
		events := at.log.events
		at.log.events = nil
		return got, events, provider.calls
	}
	whole, _, _ := call(x.first, io.EOF)
	second, _, calls := call(nil, io.ErrUnexpectedEOF)
	if !good(whole) || !good(second) || calls != 2 || beginning(second, whole) {
		t.Fatalf("%s: the uncut answers are %+v and %+v after %d calls", dialect.name, whole, second, calls)
	}
	begun, moved := 0, 0
	for _, then := range []error{io.ErrUnexpectedEOF, io.EOF} {
		for n := range x.first {
			got, events, calls := call(x.first[:n], then)
			if len(events) != calls {
				t.Fatalf("%s, %d bytes, then %v: %d calls left %d events", dialect.name, n, then, calls, len(events))
			}
			switch {
			case calls == 2:
				moved++
				if !same(got, second) || events[0].Outcome == usage.OK || events[1].Outcome != usage.OK {
					t.Fatalf("%s, %d bytes, then %v: with a second target %+v, want %+v; events %v, %v\n%s", dialect.name, n, then, got, second, events[0].Outcome, events[1].Outcome, got.body)
				}
			case good(got):
				if !same(got, whole) || events[0].Outcome != usage.OK {
					t.Fatalf("%s, %d bytes, then %v: %+v looks complete, and the whole is %+v; outcome %v\n%s", dialect.name, n, then, got, whole, events[0].Outcome, got.body)
				}
			default:
				begun++
				if got.failure == "" || !beginning(got, whole) || events[0].Outcome != usage.Broken {
					t.Fatalf("%s, %d bytes, then %v: %+v is no beginning of %+v with an error behind it; outcome %v\n%s", dialect.name, n, then, got, whole, events[0].Outcome, got.body)
				}
			}
		}
	}
	if begun == 0 || moved == 0 {
		t.Errorf("%s: %d cuts were after the first content and %d before it, want both", dialect.name, begun, moved)
	}
}

// good reports whether an answer looks complete.
func good(h heard) bool { return h.status == http.StatusOK && h.ended && h.failure == "" }

func same(a, b heard) bool {
	return good(a) && a.text == b.text && a.reasoning == b.reasoning && a.finish == b.finish && slices.Equal(a.calls, b.calls)
}

// beginning reports whether all that part has is how whole begins.
func beginning(part, whole heard) bool {
	if !strings.HasPrefix(whole.text, part.text) || !strings.HasPrefix(whole.reasoning, part.reasoning) || len(part.calls) > len(whole.calls) {
		return false
	}
	for i, c := range part.calls {
		w := whole.calls[i]
		last := i == len(part.calls)-1
		if !strings.HasPrefix(w.Name, c.Name) || !strings.HasPrefix(w.Arguments, c.Arguments) || !last && c != w {
			return false
		}
	}
	return true
}

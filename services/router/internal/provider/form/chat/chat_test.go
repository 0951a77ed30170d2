package chat_test

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider"
	"github.com/claviger/claviger/services/router/internal/provider/form/chat"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
)

// page answers with a body, in reads of random sizes, and keeps what it was sent.
type page struct {
	kind, body string
	seed       uint64
	sent       []byte
}

func (p *page) RoundTrip(req *http.Request) (*http.Response, error) {
	p.sent, _ = io.ReadAll(req.Body)
	random := rand.New(rand.NewPCG(p.seed, 1))
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {p.kind}}, ContentLength: -1, Request: req,
		Body: io.NopCloser(sips{strings.NewReader(p.body), random}),
	}, nil
}

type sips struct {
	io.Reader
	random *rand.Rand
}

func (s sips) Read(b []byte) (int, error) { return s.Reader.Read(b[:min(len(b), 1+s.random.IntN(40))]) }

// deltas are all deltas of an answer.
func deltas(t *testing.T, v chat.Vendor, p *page) []completion.Delta {
	t.Helper()
	stream := p.kind == "text/event-stream"
	answer, err := chat.For(provider.NewClient(p), v).Start(t.Context(), providertest.Converted("https://x.example", "m", stream, llmtest.Script{}), provider.Route{
		URL: "https://x.example/chat", Auth: provider.Bearer(secret.New("k")),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close() //nolint:errcheck // a test
	var out []completion.Delta
	for {
		chunk, err := answer.Next()
		if err != nil {
			if err != io.EOF { //nolint:errorlint // as it is returned
				t.Fatal(err)
			}
			return out
		}
		if !chunk.Delta.Empty() {
			out = append(out, chunk.Delta)
		}
	}
}

func TestProbabilitiesAndSourcesAreRead(t *testing.T) {
	t.Parallel()
	got := deltas(t, chat.Vendor{}, &page{kind: "application/json", body: `{"choices":[{"index":0,"message":{"role":"assistant","content":"Größe: see it.","annotations":[
		{"type":"url_citation","url_citation":{"url":"https://one.example/","title":"One","start_index":7,"end_index":10}},
		{"type":"url_citation","url_citation":{"url":"https://two.example/","title":"Two","start_index":7,"end_index":99}},
		{"type":"file_citation"}]},
		"logprobs":{"content":[{"token":"Gr","logprob":-0.5,"bytes":[71,114],"top_logprobs":[{"token":"Gr","logprob":-0.5},{"token":"G","logprob":-1.25}]}],"refusal":null},"finish_reason":"stop"}]}`})
	want := []completion.Delta{{
		Text:      "Größe: see it.",
		Logprobs:  []completion.Logprob{{Token: "Gr", Logprob: -0.5, Top: []completion.Logprob{{Token: "Gr", Logprob: -0.5}, {Token: "G", Logprob: -1.25}}}},
		Citations: []completion.Citation{{URL: "https://one.example/", Title: "One", Start: 9, End: 12}, {URL: "https://two.example/", Title: "Two"}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	stream := deltas(t, chat.Vendor{}, &page{kind: "text/event-stream", body: `data: {"choices":[{"index":0,"delta":{"content":"Gr"},"logprobs":{"content":[{"token":"Gr","logprob":-0.5,"top_logprobs":[]}]},"finish_reason":"stop"}]}` + "\n\n"})
	if diff := cmp.Diff([]completion.Delta{{Text: "Gr", Logprobs: []completion.Logprob{{Token: "Gr", Logprob: -0.5}}}}, stream); diff != "" {
		t.Errorf("stream (-want +got):\n%s", diff)
	}
}

func TestBlocksOfReasoningAreRead(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		message string
		want    completion.Delta
	}{
		"text and signature": {
			`{"content":"a","reasoning_details":[{"type":"reasoning.text","text":"hm","signature":"sig","format":"anthropic-claude-v1","id":"r1"}]}`,
			completion.Delta{Text: "a", Reasoning: "hm", State: &completion.Reasoning{Signature: "sig", ID: "r1", Format: completion.AnthropicState}},
		},
		"the text stands in two places": {
			`{"content":"a","reasoning":"hm","reasoning_details":[{"type":"reasoning.summary","summary":"hm"},{"type":"reasoning.encrypted","data":"enc","format":"openai-responses-v1"}]}`,
			completion.Delta{Text: "a", Reasoning: "hm", State: &completion.Reasoning{Encrypted: "enc", Format: completion.OpenAIState}},
		},
		"nobody's state": {
			`{"content":"a","reasoning_details":[{"type":"reasoning.encrypted","data":"enc","format":"unknown"}]}`, completion.Delta{Text: "a"},
		},
		"a tool call's": {
			`{"content":null,"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"},"extra_content":{"google":{"thought_signature":"sig"}}}]}`,
			completion.Delta{ToolCalls: []completion.ToolCallDelta{{ID: "c", Name: "f", Arguments: "{}", Signature: "sig", Format: completion.GoogleState}}},
		},
	} {
		got := deltas(t, chat.Vendor{}, &page{kind: "application/json", body: `{"choices":[{"message":` + test.message + `,"finish_reason":"stop"}]}`})
		if diff := cmp.Diff([]completion.Delta{test.want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestThinkingIsPartedFromTheText, however both are cut.
func TestThinkingIsPartedFromTheText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		"<think>a < b</think>\n\nYes": {"a < b", "Yes"},
		" \n<think></think>Yes":       {"", "Yes"},
		"<think>never ends":           {"never ends", ""},
		"<think>almost </thin":        {"almost </thin", ""},
		"No thinking <think>x":        {"", "No thinking <think>x"},
		"<thin":                       {"", "<thin"},
		"<b>bold</b>":                 {"", "<b>bold</b>"},
		"<think>a</think>\n</think>b": {"a", "</think>b"},
	} {
		for seed := range uint64(30) {
			random := rand.New(rand.NewPCG(seed, 5))
			var b strings.Builder
			for rest := text; rest != ""; {
				n := min(len(rest), 1+random.IntN(6))
				quoted, _ := json.Marshal(rest[:n])
				b.WriteString(`data: {"choices":[{"index":0,"delta":{"content":` + string(quoted) + `}}]}` + "\n\n")
				rest = rest[n:]
			}
			b.WriteString(`data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n")
			var got [2]string
			for _, d := range deltas(t, chat.Vendor{ThinkTags: true}, &page{kind: "text/event-stream", body: b.String(), seed: seed}) {
				got[0] += d.Reasoning
				got[1] += d.Text
			}
			if got != want {
				t.Fatalf("%q, seed %d: %q, want %q", text, seed, got, want)
			}
		}
		quoted, _ := json.Marshal(text)
		var got [2]string
		for _, d := range deltas(t, chat.Vendor{ThinkTags: true}, &page{kind: "application/json", body: `{"choices":[{"message":{"content":` + string(quoted) + `},"finish_reason":"stop"}]}`}) {
			got = [2]string{d.Reasoning, d.Text}
		}
		if got != want {
			t.Errorf("%q, whole: %q, want %q", text, got, want)
		}
	}
}

// TestOpenAIsOwnFormCarriesWhatItHas and refuses the rest by name.
func TestOpenAIsOwnFormCarriesWhatItHas(t *testing.T) {
	t.Parallel()
	prompt := func() *completion.Prompt {
		return &completion.Prompt{
			Messages: []completion.Message{{Role: completion.User, Name: "ann", Parts: []completion.Part{
				{Text: "a"},
				{Document: &completion.Document{Name: "a.pdf", MediaType: "application/pdf", Data: []byte("%PDF")}},
				{Audio: &completion.Audio{Data: []byte("RIFF"), Format: "wav"}},
			}}},
			FrequencyPenalty: new(0.1), PresencePenalty: new(0.2), Logprobs: true, TopLogprobs: 3, Verbosity: "low", ServiceTier: "flex",
			ReasoningBudget: new(int64(10_000)), User: "u", CacheKey: "k",
		}
	}
	send := func(p *completion.Prompt, base string) ([]byte, error) {
		server := &page{kind: "application/json"}
		c := providertest.Converted(base, "m", false, llmtest.Script{})
		c.Request.Decode = func() (*completion.Prompt, error) { return p, nil }
		answer, err := chat.New(provider.NewClient(server)).Start(t.Context(), c, provider.Route{URL: base})
		if err == nil {
			_ = answer.Close()
		}
		return server.sent, err
	}
	got, err := send(prompt(), "https://api.openai.com/v1")
	const want = `{"model":"m","messages":[{"role":"user","name":"ann","content":[{"type":"text","text":"a"},{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,JVBERg=="}},{"type":"input_audio","input_audio":{"data":"UklGRg==","format":"wav"}}]}],"frequency_penalty":0.1,"presence_penalty":0.2,"logprobs":true,"top_logprobs":3,"reasoning_effort":"medium","verbosity":"low","service_tier":"flex","user":"u","prompt_cache_key":"k"}`
	if err != nil || string(got) != want {
		t.Errorf("%v (-want +got):\n%s", err, cmp.Diff(want, string(got)))
	}
	if got, err := send(prompt(), "http://localhost:8000/v1"); err != nil || bytes.Contains(got, []byte("prompt_cache_key")) {
		t.Errorf("a compatible server is sent %s, %v", got, err)
	}
	for param, change := range map[string]func(*completion.Prompt){
		"top_k": func(p *completion.Prompt) { p.TopK = new(int64(4)) },
		"messages[0]": func(p *completion.Prompt) {
			p.Messages[0].Parts[1].Document = &completion.Document{URL: "https://x.example/a.pdf"}
		},
		"images in tool results": func(p *completion.Prompt) {
			p.Messages[0] = completion.Message{Role: completion.ToolRole, Parts: []completion.Part{{ImageURL: "https://x.example/a.png"}}}
		},
	} {
		p := prompt()
		change(p)
		sent, err := send(p, "https://api.openai.com/v1")
		f, _ := fault.Of(err)
		if f == nil || f.Facts()["param"] != param || sent != nil {
			t.Errorf("%s: %v, sent %s", param, err, sent)
		}
	}
}

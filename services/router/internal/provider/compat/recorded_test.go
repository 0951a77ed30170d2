package compat_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/compat"
	"github.com/claviger/claviger/services/router/internal/provider/providertest"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// A folder of test data has, for one vendor:
//
//	models.txt      models, one a line: request_<model>.json is what a prompt that uses everything becomes
//	passing.json    bodies that pass, and what becomes of them
//	keytest.json    what is answered to the questions of a key test, and the verdict
//	<name>.http     an answer as it came over the wire, to a stream if the name begins so; <name>.json is
//	                what the adapter makes of it
//
// CLAVIGER_UPDATE_GOLDEN=1 writes what is compared, to be reviewed like code.

// needed are the exchanges that every folder has.
var needed = []string{
	"answer.http", "answer_tools.http", "stream.http", "stream_tools.http", "error_auth.http", "error_quota.http", "error_rate.http", "error_server.http",
}

// outcome is what an adapter makes of an answer.
type outcome struct {
	Text      string                     `json:"text,omitempty"`
	Reasoning string                     `json:"reasoning,omitempty"`
	Calls     []completion.ToolCallDelta `json:"calls,omitempty"`
	Citations []completion.Citation      `json:"citations,omitempty"`
	Finish    completion.FinishReason    `json:"finish,omitempty"`
	Model     string                     `json:"model,omitempty"`
	RequestID string                     `json:"request_id,omitempty"`
	Tokens    *usage.Tokens              `json:"tokens,omitempty"`
	CostNano  *int64                     `json:"cost_nano_usd,omitempty"`
	Headroom  *completion.Headroom       `json:"headroom,omitempty"`
	Error     *refusal                   `json:"error,omitempty"`
}

type refusal struct {
	Class      completion.Class `json:"class"`
	Status     int              `json:"status"`
	Message    string           `json:"message"`
	Code       string           `json:"code,omitempty"`
	Param      string           `json:"param,omitempty"`
	RetryAfter string           `json:"retry_after,omitempty"`
	Unbilled   bool             `json:"unbilled"`
}

func recorded(t *testing.T, v compat.Vendor, folder string) {
	t.Helper()
	for _, name := range needed {
		if _, err := os.Stat(filepath.Join(folder, name)); err != nil && (v.Facts.Slug != "perplexity" || !strings.Contains(name, "tools")) {
			t.Errorf("%v", err)
		}
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.http"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".http"), func(t *testing.T) {
			t.Parallel()
			exchange(t, v, path)
		})
	}
	t.Run("requests", func(t *testing.T) { t.Parallel(); requests(t, v, folder) })
	t.Run("passing", func(t *testing.T) { t.Parallel(); passing(t, v, folder) })
	t.Run("keytest", func(t *testing.T) { t.Parallel(); keys(t, v, folder) })
}

func TestEveryVendorIsUnderstoodAsRecorded(t *testing.T) {
	t.Parallel()
	for _, v := range compat.Vendors() {
		t.Run(v.Facts.Slug, func(t *testing.T) {
			t.Parallel()
			recorded(t, v, filepath.Join("testdata", v.Facts.Slug))
		})
	}
}

// tape answers with a recorded answer, in reads of the sizes that next says, and keeps what it was sent.
type tape struct {
	wire []byte
	next func() int
	body []byte
	path string
}

func (p *tape) RoundTrip(req *http.Request) (*http.Response, error) {
	p.path = req.URL.Path
	if req.Body != nil {
		p.body, _ = io.ReadAll(req.Body)
	}
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(p.wire)), req)
	if err != nil {
		return nil, err
	}
	if p.next != nil {
		res.Body = io.NopCloser(&sips{res.Body, p.next})
	}
	return res, nil
}

type sips struct {
	from io.Reader
	next func() int
}

func (s *sips) Read(b []byte) (int, error) { return s.from.Read(b[:min(len(b), s.next())]) }

// load reads a recorded answer: a status line, headers, an empty line and the body, as it is.
func load(t *testing.T, path string) (wire, body []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, body, ok := bytes.Cut(b, []byte("\n\n"))
	if !ok {
		t.Fatalf("%s has no body", path)
	}
	if bytes.Contains(head, []byte("X-Crlf: true")) { // lines of the body that end so on the wire
		body = bytes.ReplaceAll(body, []byte("\n"), []byte("\r\n"))
	}
	wire = append(bytes.ReplaceAll(head, []byte("\n"), []byte("\r\n")), "\r\n\r\n"...)
	return append(wire, body...), body
}

func call(v compat.Vendor, stream, raw bool) completion.Call {
	return completion.Call{
		AttemptID: "att_1", Model: "a-model", BaseURL: v.Facts.BaseURL, Secret: secret.New(providertest.Key), Raw: raw,
		Request: &completion.Request{
			ID: "req_1", Dialect: completion.OpenAIChat, Stream: stream, Raw: []byte(`{"model":"x","messages":[]}`), IncludeUsage: true,
			Decode: func() (*completion.Prompt, error) {
				return &completion.Prompt{Messages: []completion.Message{{Role: completion.User, Parts: []completion.Part{{Text: "hi"}}}}}, nil
			},
		},
	}
}

// played is what comes of a call.
func played(t *testing.T, v compat.Vendor, rt http.RoundTripper, c completion.Call) (o outcome, raw string) {
	t.Helper()
	answer, err := compat.New(rt, v).Start(t.Context(), c)
	var got providertest.Answer
	var citations []completion.Citation
	if err == nil {
		got, err = providertest.Collect(&citing{answer, &citations})
		_ = answer.Close()
	}
	o = outcome{
		Text: got.Delta.Text, Reasoning: got.Delta.Reasoning, Calls: got.Delta.ToolCalls, Citations: citations,
		Finish: got.Finish, Model: got.Head.Model, RequestID: got.Head.RequestID,
	}
	if got.Head.Limits != nil {
		if left := got.Head.Limits.Headroom(time.Now()); left != (completion.Headroom{}) {
			o.Headroom = &left
		}
	}
	if got.Usage != nil {
		o.Tokens, o.CostNano = &got.Usage.Tokens, got.Usage.CostNanoUSD
	}
	if failed, ok := errors.AsType[*completion.ProviderError](err); ok {
		o.Error = &refusal{failed.Class, failed.Status, failed.Message, failed.Code, failed.Param, failed.RetryAfter.String(), failed.Unbilled}
		o.RequestID = failed.RequestID
	} else if err != nil {
		t.Fatal(err)
	}
	return o, got.Raw
}

// citing keeps the sources besides.
type citing struct {
	completion.Answer
	found *[]completion.Citation
}

func (c *citing) Next() (completion.Chunk, error) {
	chunk, err := c.Answer.Next()
	*c.found = append(*c.found, chunk.Delta.Citations...)
	return chunk, err
}

// exchange plays one recorded answer: converted, the same however it is cut, and passed.
func exchange(t *testing.T, v compat.Vendor, path string) {
	t.Helper()
	wire, body := load(t, path)
	stream := strings.HasPrefix(filepath.Base(path), "stream")
	got, _ := played(t, v, &tape{wire: wire}, call(v, stream, false))
	golden(t, strings.TrimSuffix(path, ".http")+".json", got)
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 7))
		cut, _ := played(t, v, &tape{wire: wire, next: func() int { return 1 + random.IntN(1+int(seed)*8) }}, call(v, stream, false))
		if diff := cmp.Diff(got, cut); diff != "" {
			t.Fatalf("reads of seed %d change the answer (-whole +cut):\n%s", seed, diff)
		}
	}
	passed, raw := played(t, v, &tape{wire: wire}, call(v, stream, true))
	if got.Error == nil && strings.TrimRight(raw, "\r\n") != strings.TrimRight(string(body), "\r\n") {
		t.Errorf("what passes is not what came (-want +got):\n%s", cmp.Diff(string(body), raw))
	}
	got.Text, got.Reasoning, got.Calls, got.Citations = "", "", nil, nil
	if diff := cmp.Diff(got, passed); diff != "" {
		t.Errorf("passing and converting differ (-converted +passed):\n%s", diff)
	}
}

// golden compares a value's JSON with a file.
func golden(t *testing.T, path string, v any) {
	t.Helper()
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("CLAVIGER_UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// full is a prompt that uses everything that the neutral form has.
func full() *completion.Prompt {
	return &completion.Prompt{
		Messages: []completion.Message{
			{Role: completion.System, Parts: []completion.Part{{Text: "Be brief & <clear>."}}},
			{Role: completion.User, Name: "ann", Parts: []completion.Part{
				{Text: "What is this?"},
				{ImageData: []byte("GIF89a"), MediaType: "image/gif"},
				{Document: &completion.Document{Name: "a.pdf", MediaType: "application/pdf", Data: []byte("%PDF")}},
				{Audio: &completion.Audio{Data: []byte("RIFF"), Format: "wav"}},
			}},
			{Role: completion.Assistant, Parts: []completion.Part{
				{Reasoning: &completion.Reasoning{Text: "Foreign thoughts.", Signature: "s", Format: completion.AnthropicState}},
				{Reasoning: &completion.Reasoning{Text: "I should look."}},
				{Text: "I look."},
			}, ToolCalls: []completion.ToolCall{{ID: "toolu_01A", Name: "look", Arguments: `{"x":1}`}}},
			{Role: completion.ToolRole, ToolCallID: "toolu_01A", Parts: []completion.Part{{Text: "a cat"}}},
			{Role: completion.Assistant, ToolCalls: []completion.ToolCall{{ID: "aB3dE5gH7", Name: "look", Arguments: `{}`}}},
			{Role: completion.ToolRole, ToolCallID: "aB3dE5gH7", Parts: []completion.Part{{Text: "asleep"}}},
			{Role: completion.User, Parts: []completion.Part{{Text: "And?"}}},
		},
		Tools: []completion.Tool{
			{Name: "look", Description: "Looks.", Parameters: `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{}}`},
		},
		ToolChoice: completion.ToolChoice{Mode: "required"}, ParallelToolCalls: new(false),
		MaxOutputTokens: new(int64(100)), Temperature: new(0.5), TopP: new(0.9), TopK: new(int64(40)), FrequencyPenalty: new(0.1),
		PresencePenalty: new(0.2), Stop: []string{"END"}, Logprobs: true, TopLogprobs: 2, ReasoningEffort: "max", Verbosity: "low",
		ServiceTier: "priority", Seed: new(int64(7)), User: "u1", CacheKey: "k1",
		ResponseFormat: completion.ResponseFormat{Kind: "json_schema", Name: "cat", Schema: `{"type":"object"}`, Strict: new(true)},
	}
}

// without are the ways to leave a feature out of a prompt.
var without = map[string]func(*completion.Prompt){
	"top_k":                       func(p *completion.Prompt) { p.TopK = nil },
	"frequency_penalty":           func(p *completion.Prompt) { p.FrequencyPenalty = nil },
	"presence_penalty":            func(p *completion.Prompt) { p.PresencePenalty = nil },
	"stop":                        func(p *completion.Prompt) { p.Stop = nil },
	"seed":                        func(p *completion.Prompt) { p.Seed = nil },
	"logprobs":                    func(p *completion.Prompt) { p.Logprobs, p.TopLogprobs = false, 0 },
	"verbosity":                   func(p *completion.Prompt) { p.Verbosity = "" },
	"service_tier":                func(p *completion.Prompt) { p.ServiceTier = "" },
	"reasoning_effort":            func(p *completion.Prompt) { p.ReasoningEffort = "" },
	"tools":                       func(p *completion.Prompt) { p.Tools = nil },
	"tool_choice":                 func(p *completion.Prompt) { p.ToolChoice = completion.ToolChoice{} },
	"parallel_tool_calls":         func(p *completion.Prompt) { p.ParallelToolCalls = nil },
	"response_format.json_schema": func(p *completion.Prompt) { p.ResponseFormat = completion.ResponseFormat{} },
	"messages.name":               func(p *completion.Prompt) { p.Messages[1].Name = "" },
	"documents": func(p *completion.Prompt) {
		p.Messages[1].Parts = slices.DeleteFunc(p.Messages[1].Parts, func(part completion.Part) bool { return part.Document != nil })
	},
	"audio": func(p *completion.Prompt) {
		p.Messages[1].Parts = slices.DeleteFunc(p.Messages[1].Parts, func(part completion.Part) bool { return part.Audio != nil })
	},
}

// requests shows for each model what it is sent, and what is refused by name before.
func requests(t *testing.T, v compat.Vendor, folder string) {
	t.Helper()
	names, err := os.ReadFile(filepath.Join(folder, "models.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for model := range strings.FieldsSeq(string(names)) {
		prompt, refused, sent := full(), []string{}, &tape{wire: []byte("HTTP/1.1 500 X\r\n\r\n")}
		for range without {
			c := call(v, true, false)
			c.Model = model
			c.Request.Decode = func() (*completion.Prompt, error) { return prompt, nil }
			_, err := compat.New(sent, v).Start(t.Context(), c)
			f, isFault := fault.Of(err)
			if !isFault {
				break
			}
			param := f.Facts()["param"]
			leave, ok := without[param]
			if !ok || !strings.Contains(f.Message(), v.Facts.Name) {
				t.Fatalf("%s: %v", model, err)
			}
			leave(prompt)
			refused = append(refused, param)
		}
		golden(t, filepath.Join(folder, "request_"+strings.ReplaceAll(model, "/", "_")+".json"), struct {
			Refused []string        `json:"refused"`
			Path    string          `json:"path"`
			Sent    json.RawMessage `json:"sent"`
		}{refused, sent.path, sent.body})
	}
}

// passing shows what becomes of bodies that pass.
func passing(t *testing.T, v compat.Vendor, folder string) {
	t.Helper()
	var cases []struct {
		Name    string          `json:"name"`
		Model   string          `json:"model"`
		Stream  bool            `json:"stream"`
		Body    json.RawMessage `json:"body"`
		Becomes json.RawMessage `json:"becomes"`
		Refused string          `json:"refused"`
	}
	b, err := os.ReadFile(filepath.Join(folder, "passing.json"))
	if err == nil {
		err = json.Unmarshal(b, &cases)
	}
	if err != nil || len(cases) == 0 {
		t.Fatal(len(cases), err)
	}
	for _, test := range cases {
		sent := &tape{wire: []byte("HTTP/1.1 500 X\r\n\r\n")}
		c := call(v, test.Stream, true)
		c.Model, c.Request.Raw = test.Model, test.Body
		_, err := compat.New(sent, v).Start(t.Context(), c)
		if test.Refused != "" {
			f, _ := fault.Of(err)
			if !errors.Is(err, completion.ErrUnsupported) || f.Facts()["param"] != test.Refused || sent.body != nil {
				t.Errorf("%s: %v, want %s to be refused", test.Name, err, test.Refused)
			}
			continue
		}
		if diff := cmp.Diff(string(test.Becomes), string(sent.body)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.Name, diff)
		}
		if !json.Valid(sent.body) {
			t.Errorf("%s: %s is not JSON", test.Name, sent.body)
		}
	}
}

// keys shows what a key test asks, and how it judges.
func keys(t *testing.T, v compat.Vendor, folder string) {
	t.Helper()
	var cases []struct {
		Name    string `json:"name"`
		Answers map[string]struct {
			Status int             `json:"status"`
			Body   json.RawMessage `json:"body"`
		} `json:"answers"`
		Base   string   `json:"base"`
		State  string   `json:"state"`
		Reason string   `json:"reason"`
		Models []string `json:"models"`
	}
	b, err := os.ReadFile(filepath.Join(folder, "keytest.json"))
	if err == nil {
		err = json.Unmarshal(b, &cases)
	}
	if err != nil || len(cases) < 2 {
		t.Fatal(len(cases), err)
	}
	for _, test := range cases {
		var asked []string
		rt := answers(func(req *http.Request) (int, []byte) {
			asked = append(asked, req.URL.String())
			if req.Method != http.MethodGet || req.Header.Get("Authorization") != "Bearer "+providertest.Key {
				t.Errorf("%s: %s with %q", test.Name, req.Method, req.Header.Get("Authorization"))
			}
			a, ok := test.Answers[req.URL.String()]
			if !ok {
				return 404, []byte(`{}`)
			}
			return a.Status, a.Body
		})
		if test.Base == "" {
			test.Base = v.Facts.BaseURL
		}
		got := compat.New(rt, v).Test(t.Context(), completion.Place{BaseURL: test.Base, Secret: secret.New(providertest.Key)})
		if got.State != test.State || !strings.Contains(got.Reason, test.Reason) || !slices.Equal(got.Models, test.Models) {
			t.Errorf("%s: %+v after %v", test.Name, got, asked)
		}
		if len(asked) == 0 || len(asked) > 3 {
			t.Errorf("%s: asked %v", test.Name, asked)
		}
	}
}

type answers func(*http.Request) (status int, body []byte)

func (a answers) RoundTrip(req *http.Request) (*http.Response, error) {
	status, body := a(req)
	return &http.Response{
		StatusCode: status, Status: fmt.Sprint(status), Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}, nil
}

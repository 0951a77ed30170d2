package anthropic_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/pkg/secret"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/anthropic"
	provider "github.com/claviger/claviger/services/router/internal/provider/anthropic"
)

const messages = `"max_tokens":10,"messages":[{"role":"user","content":"hi"}]`

func TestDecodeReadsWhatTheRouterNeeds(t *testing.T) {
	t.Parallel()
	body := []byte(`{"model":"anthropic/claude-x","stream":true,"metadata":{"user_id":"u1"},"claviger":{"tags":{"team":"a"},"session":"s1"},` + messages + `}`)
	got, err := anthropic.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Raw, body) || got.Model != "anthropic/claude-x" || !got.Stream || got.User != "u1" || got.Session != "s1" ||
		got.Tags["team"] != "a" || got.Dialect != completion.AnthropicMessages || got.Asks() != completion.Chat || got.InputBytes == 0 {
		t.Errorf("%+v", got)
	}
	long, err := anthropic.Decode([]byte(`{"metadata":{"user_id":"` + strings.Repeat("é", 200) + `"},` + messages + `}`))
	if err != nil || long.User != strings.Repeat("é", 128) {
		t.Errorf("a long user became %q, %v", long.User, err)
	}
	count, err := anthropic.DecodeCount([]byte(`{"model":"m","messages":[{"role":"user","content":"hi"}]}`))
	if err != nil || count.Dialect != completion.AnthropicCount || count.Asks() != completion.CountTokens {
		t.Errorf("%+v, %v", count, err)
	}
}

func TestPicturesCountAsWhatTheyCost(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("A", 1<<20)
	got, err := anthropic.Decode([]byte(`{"max_tokens":1,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + big + `"}}]}]}`))
	if err != nil || got.InputBytes > 5000 || got.InputBytes < 4000 {
		t.Errorf("%d bytes, %v", got.InputBytes, err)
	}
}

func TestWrongFieldsAreNamed(t *testing.T) {
	t.Parallel()
	for fields, param := range map[string]string{
		`"max_tokens":10`:                            "messages",
		`"max_tokens":10,"messages":[]`:              "messages",
		`"messages":[{"role":"user","content":"a"}]`: "max_tokens",
		`"model":7,` + messages:                      "model",
		`"model":"a","model":"b",` + messages:        "model",
		`"stream":"yes",` + messages:                 "stream",
		`"metadata":[],` + messages:                  "metadata",
		`"metadata":{"user_id":1},` + messages:       "metadata.user_id",
		`"claviger":{"x":1},` + messages:             "claviger.x",
	} {
		_, err := anthropic.Decode([]byte(`{` + fields + `}`))
		if f, _ := fault.Of(err); !errors.Is(err, dialect.ErrField) || f.Facts()["param"] != param {
			t.Errorf("%s: %v, want %s named", fields, err, param)
		}
	}
	if _, err := anthropic.DecodeCount([]byte(`{"stream":true,` + messages + `}`)); !errors.Is(err, dialect.ErrField) {
		t.Errorf("a streamed count: %v", err)
	}
	if _, err := anthropic.Decode([]byte(`[`)); !errors.Is(err, dialect.ErrMalformed) {
		t.Errorf("malformed: %v", err)
	}
}

// golden compares with a file below testdata, which CLAVIGER_UPDATE_GOLDEN=1 rewrites.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name
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

func full(t testing.TB) []byte {
	t.Helper()
	body, err := os.ReadFile("testdata/request_full.json")
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestPromptsAreDecoded(t *testing.T) {
	t.Parallel()
	p := prompt(t, full(t))
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var kept []string // what is filled
	for line := range strings.Lines(string(b)) {
		switch value := strings.TrimRight(line, ",\n"); {
		case strings.HasSuffix(value, `: ""`), strings.HasSuffix(value, ": null"), strings.HasSuffix(value, ": false"), strings.HasSuffix(value, ": 0"):
		default:
			kept = append(kept, line)
		}
	}
	golden(t, "prompt_full.txt", []byte(strings.Join(kept, "")))
}

func prompt(t *testing.T, body []byte) *completion.Prompt {
	t.Helper()
	req, err := anthropic.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	p, err := req.Decode()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sent keeps what goes to the provider.
type sent struct{ body []byte }

func (s *sent) RoundTrip(r *http.Request) (*http.Response, error) {
	s.body, _ = io.ReadAll(r.Body)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}, nil
}

// through sends a body by the neutral form to a provider that speaks the same dialect.
func through(t *testing.T, body []byte, model string) map[string]any {
	t.Helper()
	req, err := anthropic.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	s := &sent{}
	answer, err := provider.New(s).Start(t.Context(), completion.Call{
		Model: model, BaseURL: "http://provider.invalid", Secret: secret.New("sk-1"), Request: &req,
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Close()
	return tree(t, s.body)
}

func tree(t *testing.T, b []byte) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return out
}

// TestNothingIsLostOnTheWayThroughTheNeutralForm: what one model's provider understands, another way to the
// same model understands just so.
func TestNothingIsLostOnTheWayThroughTheNeutralForm(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ model, body string }{
		"everything": {"claude-opus-4-7", string(full(t))},
		"a budget": {"claude-haiku-4-5", `{"model":"claude-haiku-4-5","max_tokens":5000,"stream":true,
			"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"thinking":{"type":"enabled","budget_tokens":2048}}`},
		"sampling": {"claude-haiku-4-5", `{"model":"claude-haiku-4-5","max_tokens":5000,"temperature":0.5,"top_k":20,
			"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],
			"tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"tool","name":"f"}}`},
		"off": {"claude-opus-5", `{"model":"claude-opus-5","max_tokens":5000,"thinking":{"type":"disabled"},
			"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]}`},
	} {
		want := tree(t, []byte(test.body))
		want["model"] = test.model
		if diff := cmp.Diff(want, through(t, []byte(test.body), test.model)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestShorterFormsMeanTheSame(t *testing.T) {
	t.Parallel()
	p := prompt(t, []byte(`{"system":"Be brief.","cache_control":{"type":"ephemeral"},"max_tokens":10,"messages":[
		{"role":"user","content":"hi"},{"role":"assistant","content":"hello"},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"done"},{"type":"tool_result","tool_use_id":"b"},{"type":"text","text":"so?"}]}],
		"service_tier":"auto","thinking":{"type":"adaptive","display":"omitted"},"output_format":{"type":"json_schema","schema":{}},"speed":"standard"}`))
	want := []completion.Message{
		{Role: completion.System, Parts: []completion.Part{{Text: "Be brief."}}},
		{Role: completion.User, Parts: []completion.Part{{Text: "hi"}}},
		{Role: completion.Assistant, Parts: []completion.Part{{Text: "hello"}}},
		{Role: completion.ToolRole, ToolCallID: "a", Parts: []completion.Part{{Text: "done"}}},
		{Role: completion.ToolRole, ToolCallID: "b"},
		{Role: completion.User, Parts: []completion.Part{{Text: "so?", CacheTTL: "5m"}}},
	}
	if diff := cmp.Diff(want, p.Messages); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if p.ReasoningEffort != "high" || p.ShowReasoning || p.ServiceTier != "" || p.ResponseFormat.Schema != "{}" {
		t.Errorf("%+v", p)
	}
}

func TestStatesOfOthersComeBack(t *testing.T) {
	t.Parallel()
	p := prompt(t, []byte(`{"max_tokens":10,"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[
		{"type":"thinking","thinking":"sum","signature":"clv1.openai.enc"},
		{"type":"redacted_thinking","data":"clv1.openai.only"},
		{"type":"thinking","thinking":"plain","signature":"clv1.none."},
		{"type":"thinking","thinking":"","signature":"clv1.google-call.sig"},
		{"type":"tool_use","id":"a","name":"f","input":{}},
		{"type":"tool_use","id":"b","name":"f","input":{}}]}]}`))
	want := completion.Message{
		Role: completion.Assistant,
		Parts: []completion.Part{
			{Reasoning: &completion.Reasoning{Text: "sum", Summary: true, Encrypted: "enc", Format: completion.OpenAIState}},
			{Reasoning: &completion.Reasoning{Encrypted: "only", Format: completion.OpenAIState}},
			{Reasoning: &completion.Reasoning{Text: "plain"}},
		},
		ToolCalls: []completion.ToolCall{
			{ID: "a", Name: "f", Arguments: "{}", Signature: "sig", Format: completion.GoogleState},
			{ID: "b", Name: "f", Arguments: "{}"},
		},
	}
	if diff := cmp.Diff(want, p.Messages[1]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatCannotBeCarriedIsNamed(t *testing.T) {
	t.Parallel()
	block := func(b string) string {
		return `"max_tokens":1,"messages":[{"role":"user","content":[` + b + `]}]`
	}
	said := func(b string) string {
		return `"max_tokens":1,"messages":[{"role":"assistant","content":[` + b + `]}]`
	}
	unsupported, invalid := completion.ErrUnsupported, dialect.ErrField
	for _, test := range []struct {
		fields, param string
		want          error
	}{
		{`"mcp_servers":[{}],` + messages, "mcp_servers", unsupported},
		{`"container":"c",` + messages, "container", unsupported},
		{`"context_management":{},` + messages, "context_management", unsupported},
		{`"speed":"fast",` + messages, "speed", unsupported},
		{`"inference_geo":"us",` + messages, "inference_geo", unsupported},
		{`"":1,` + messages, `""`, unsupported},
		{`"metadata":{"a":"b"},` + messages, "metadata.a", unsupported},
		{`"tools":[{"type":"web_search_20250305","name":"web_search"}],` + messages, "tools[0].type", unsupported},
		{`"tools":[{"name":"a","input_schema":{},"input_examples":[]}],` + messages, "tools[0].input_examples", unsupported},
		{`"tools":[{"name":"a","input_schema":{},"defer_loading":true}],` + messages, "tools[0].defer_loading", unsupported},
		{`"tools":[{"input_schema":{}}],` + messages, "tools[0].name", invalid},
		{`"tool_choice":{"type":"tool"},` + messages, "tool_choice.name", invalid},
		{`"tool_choice":{"type":"new"},` + messages, "tool_choice.type", invalid},
		{`"thinking":{"type":"enabled","x":1},` + messages, "thinking.x", unsupported},
		{`"thinking":{},` + messages, "thinking.type", invalid},
		{`"output_config":{"task_budget":1},` + messages, "output_config.task_budget", unsupported},
		{`"output_config":{"format":{"type":"json_schema","schema":{},"x":1}},` + messages, "output_config.format.x", unsupported},
		{`"temperature":1.5,` + messages, "temperature", invalid},
		{`"stop_sequences":"a",` + messages, "stop_sequences", invalid},
		{`"service_tier":"x",` + messages, "service_tier", invalid},
		{`"cache_control":{"type":"ephemeral","ttl":"2h"},` + messages, "cache_control.ttl", invalid},
		{block(`{"type":"search_result"}`), "messages[0].content[0].type", unsupported},
		{block(`{"type":"container_upload"}`), "messages[0].content[0].type", unsupported},
		{block(`{"type":"document","source":{"type":"file","file_id":"f"}}`), "messages[0].content[0].source.type", unsupported},
		{block(`{"type":"document","source":{"type":"content","content":"x"}}`), "messages[0].content[0].source.type", unsupported},
		{block(`{"type":"document","citations":{"enabled":true},"source":{"type":"url","url":"https://x"}}`), "messages[0].content[0].citations", unsupported},
		{block(`{"type":"document","context":"c","source":{"type":"url","url":"https://x"}}`), "messages[0].content[0].context", unsupported},
		{block(`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"?"}}`), "messages[0].content[0].source.data", invalid},
		{block(`{"type":"image","source":{"type":"url","url":"file:///x"}}`), "messages[0].content[0].source.url", invalid},
		{block(`{"type":"text","text":"x","new":1}`), "messages[0].content[0].new", unsupported},
		{block(`{"type":"tool_use","id":"a","name":"b","input":{}}`), "messages[0].content[0].type", invalid},
		{block(`{"type":"tool_result","tool_use_id":"a","content":[{"type":"tool_reference"}]}`), "messages[0].content[0].content[0].type", unsupported},
		{block(`{"type":"tool_result"}`), "messages[0].content[0].tool_use_id", invalid},
		{said(`{"type":"server_tool_use","id":"a","name":"web_search","input":{}}`), "messages[0].content[0].type", unsupported},
		{said(`{"type":"tool_use","id":"a","name":"b","input":"x"}`), "messages[0].content[0]", invalid},
		{said(`{"type":"tool_use","id":"a","name":"b","input":{},"caller":{"type":"code_execution"}}`), "messages[0].content[0].caller", unsupported},
		{said(`{"type":"thinking","thinking":"x"}`), "messages[0].content[0]", invalid},
		{`"max_tokens":1,"messages":[{"role":"user","content":7}]`, "messages[0].content", invalid},
		{`"max_tokens":1,"messages":[{"role":"tool","content":"x"}]`, "messages[0].role", invalid},
	} {
		req, err := anthropic.Decode([]byte(`{` + test.fields + `}`))
		if err != nil {
			t.Errorf("%s: refused before a conversion: %v", test.fields, err)
			continue
		}
		_, err = req.Decode()
		if f, _ := fault.Of(err); !errors.Is(err, test.want) || f.Facts()["param"] != test.param {
			t.Errorf("%s: %v, want %s named", test.fields, err, test.param)
		}
	}
}

func TestDecodingAllocatesLittle(t *testing.T) {
	body := []byte(`{"model":"anthropic/claude-x","max_tokens":10,"stream":true,"messages":[{"role":"user","content":"` + strings.Repeat("word ", 1000) + `"}]}`)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := anthropic.Decode(body); err != nil {
			t.Fatal(err)
		}
	}); n > 4 {
		t.Errorf("%v allocations per request, want 4 at most", n)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(full(f))
	f.Add([]byte(`{"model":"a","stream":true,` + messages + `}`))
	f.Add([]byte(`{"system":"s","messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"clv1.google-call.x"}]}],"max_tokens":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		req, err := anthropic.Decode(body)
		if !bytes.Equal(before, body) {
			t.Fatal("the body was changed")
		}
		if err != nil {
			if _, ok := fault.Of(err); !ok {
				t.Fatalf("error %v is no fault", err)
			}
			return
		}
		if !json.Valid(body) {
			t.Fatalf("%q is not JSON", body)
		}
		if _, err := req.Decode(); err != nil {
			if f, ok := fault.Of(err); !ok || f.Facts()["param"] == "" {
				t.Fatalf("prompt of %q: %v names no field", body, err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("words=%d", n), func(b *testing.B) {
			body := []byte(`{"model":"anthropic/claude-x","max_tokens":10,"messages":[{"role":"user","content":"` + strings.Repeat("word ", n) + `"}]}`)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := anthropic.Decode(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

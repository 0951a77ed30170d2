package openai_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/fault"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/dialect"
	"github.com/claviger/claviger/services/router/internal/dialect/openai"
)

const messages = `"messages":[{"role":"user","content":"hi"}]`

func TestDecodeReadsWhatTheRouterNeeds(t *testing.T) {
	t.Parallel()
	body := []byte(` { "stream" : true, "model":"openai\/gpt-x", "stream_options":{"include_usage":true,"x":1},` +
		`"metadata":{"team":"search","env":"prod"},"user":"u-1", "claviger":{"tags":{"env":"test"},"session":"s-1"},` +
		`"prompt_cache_key":"k-\u0031","unknown":[1,{"model":"not this"}], ` + messages + ` } `)
	got, err := openai.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	if &got.Raw[0] != &body[0] || len(got.Raw) != len(body) {
		t.Error("Raw is not the caller's body")
	}
	got.Raw, got.Decode = nil, nil
	want := completion.Request{
		Dialect: completion.OpenAIChat, Model: "openai/gpt-x", Stream: true, IncludeUsage: true, Session: "s-1", User: "u-1", CacheKey: "k-1",
		Tags: map[string]string{"team": "search", "env": "test"}, InputBytes: 32,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Decode (-want +got):\n%s", diff)
	}
	got, err = openai.Decode([]byte(`{"safety_identifier":"s","prompt_cache_key":7,"stream":null,"model":null,"metadata":null,"stream_options":null,"claviger":null,` + messages + `}`))
	if err != nil || got.CacheKey != "" || got.Model != "" || got.Stream || got.IncludeUsage || got.Tags != nil || got.User != "s" {
		t.Errorf("nulls: %+v, %v", got, err)
	}
}

func TestPicturesCountAsWhatTheyCost(t *testing.T) {
	t.Parallel()
	picture := `"data:image/png;base64,` + strings.Repeat("A", 1<<20) + `"`
	got, err := openai.Decode([]byte(`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":` + picture + `}}]}],"tools":[{}]}`))
	if err != nil || got.InputBytes > 5000 || got.InputBytes < 4096 {
		t.Errorf("InputBytes = %d, %v", got.InputBytes, err)
	}
}

func TestMalformedBodiesNameThePlace(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"":                                 "unexpected end at byte 0 (line 1, column 1)",
		"[]":                               "not an object at byte 0 (line 1, column 1)",
		"{\n\"model\":\"a\",\n }":          "a member needs a name in double quotes at byte 16 (line 3, column 2)",
		`{"model":"a"`:                     "unexpected end at byte 12 (line 1, column 13)",
		`{"model":"a",` + messages + `} x`: "something follows the object at byte 58 (line 1, column 59)",
		`{"x":"` + "\x01" + `"}`:           "control character in a string at byte 6 (line 1, column 7)",
	} {
		_, err := openai.Decode([]byte(body))
		if !errors.Is(err, dialect.ErrMalformed) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", body, err, want)
		}
	}
	if _, err := openai.Decode([]byte("{\"model\":\"\xff\"," + messages + "}")); !errors.Is(err, dialect.ErrMalformed) {
		t.Errorf("not UTF-8: %v", err)
	}
	deep := `{"x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `,` + messages + `}`
	if _, err := openai.Decode([]byte(deep)); !errors.Is(err, dialect.ErrMalformed) || !strings.Contains(err.Error(), "nested deeper than 64 levels") {
		t.Errorf("deep: %v", err)
	}
}

func TestWrongFieldsAreNamed(t *testing.T) {
	t.Parallel()
	tags := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"k%d":"v"`, i)
		}
		return `{` + b.String()[1:] + `}`
	}
	for fields, param := range map[string]string{
		`"model":"a"`:                              "messages",
		`"messages":{}`:                            "messages",
		`"messages":[]`:                            "messages",
		`"messages":null`:                          "messages",
		`"model":1,` + messages:                    "model",
		`"model":"a","model":"b",` + messages:      "model",
		`"model":"a","mod\u0065l":"b",` + messages: "model",
		`"model":"` + strings.Repeat("a", 300) + `",` + messages:                    "model",
		messages + `,` + messages:                                                   "messages",
		`"stream":"yes",` + messages:                                                "stream",
		`"stream":true,"stream":false,` + messages:                                  "stream",
		`"stream_options":[],` + messages:                                           "stream_options",
		`"stream_options":{"include_usage":1},` + messages:                          "stream_options.include_usage",
		`"stream_options":{"include_usage":true,"include_usage":false},` + messages: "stream_options.include_usage",
		`"user":7,` + messages:                                                      "user",
		`"user":"` + strings.Repeat("a", 257) + `",` + messages:                     "user",
		`"metadata":"x",` + messages:                                                "metadata",
		`"metadata":{"a":1},` + messages:                                            "metadata.a",
		`"metadata":{"":"1"},` + messages:                                           "metadata",
		`"metadata":{"` + strings.Repeat("a", 65) + `":"1"},` + messages:            "metadata",
		`"metadata":{"a":"` + strings.Repeat("b", 257) + `"},` + messages:           "metadata.a",
		`"metadata":` + tags(17) + `,` + messages:                                   "metadata",
		`"metadata":` + tags(16) + `,"claviger":{"tags":{"z":"1"}},` + messages:     "claviger.tags",
		`"claviger":1,` + messages:                                                  "claviger",
		`"claviger":{"model":"x"},` + messages:                                      "claviger.model",
	} {
		_, err := openai.Decode([]byte(`{` + fields + `}`))
		f, ok := fault.Of(err)
		if !ok || f.Kind() != fault.Invalid || f.Facts()["param"] != param || !strings.Contains(f.Message(), param) {
			t.Errorf("{%.100s}: %v, want it to name %s", fields, err, param)
		}
	}
	if _, err := openai.Decode([]byte(`{"metadata":` + tags(16) + `,` + messages + `}`)); err != nil {
		t.Errorf("16 tags: %v", err)
	}
}

func TestDecodingAllocatesLittle(t *testing.T) {
	body := []byte(`{"model":"openai/gpt-x","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"` + strings.Repeat("word ", 500) + `"}]}`)
	n := testing.AllocsPerRun(100, func() {
		if _, err := openai.Decode(body); err != nil {
			t.Fatal(err)
		}
	})
	if n > 3 {
		t.Errorf("%v allocations per request, want 3 at most", n)
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

func TestPromptsAreDecoded(t *testing.T) {
	t.Parallel()
	body, err := os.ReadFile("testdata/request_full.json")
	if err != nil {
		t.Fatal(err)
	}
	req, err := openai.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	p, err := req.Decode()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "prompt_full.json", filled(t, p))
}

// filled is v as JSON, without what is empty in it.
func filled(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		t.Fatal(err)
	}
	if b, err = json.MarshalIndent(prune(tree), "", "  "); err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			switch m := prune(member).(type) {
			case nil:
				delete(v, name)
			case string:
				if m == "" {
					delete(v, name)
				}
			}
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		for i := range v {
			if pruned := prune(v[i]); pruned != nil {
				v[i] = pruned
			}
		}
	}
	return v
}

func TestWhatCannotBeCarriedIsNamed(t *testing.T) {
	t.Parallel()
	user := func(part string) string { return `"messages":[{"role":"user","content":[` + part + `]}]` }
	for fields, param := range map[string]string{
		`"n":2,` + messages:                                    "n",
		`"logit_bias":{"1":2},` + messages:                     "logit_bias",
		`"modalities":["text","audio"],` + messages:            "modalities",
		`"audio":{"voice":"x"},` + messages:                    "audio",
		`"functions":[],` + messages:                           "functions",
		`"function_call":"auto",` + messages:                   "function_call",
		`"store":true,` + messages:                             "store",
		`"prediction":{},` + messages:                          "prediction",
		`"web_search_options":{},` + messages:                  "web_search_options",
		`"brand_new":1,` + messages:                            "brand_new",
		`"tools":[{"type":"custom"}],` + messages:              "tools[0].type",
		`"tool_choice":{"type":"allowed_tools"},` + messages:   "tool_choice.type",
		`"messages":[{"role":"function","content":"x"}]`:       "messages[0].role",
		`"messages":[{"role":"assistant","audio":{"id":"x"}}]`: "messages[0].audio",
		`"messages":[{"role":"assistant","function_call":{}}]`: "messages[0].function_call",
		user(`{"type":"video_url","video_url":{}}`):            "messages[0].content[0].type",
		user(`{"type":"file","file":{"file_id":"f"}}`):         "messages[0].content[0].file.file_id",
		`"reasoning":{"new":1},` + messages:                    "reasoning.new",
		user(`{"type":"text","text":"x","new":{}}`):            "messages[0].content[0].new",
	} {
		check(t, fields, param, "NOT_CONVERTIBLE")
	}
	for fields, param := range map[string]string{
		`"frequency_penalty":3,` + messages:                                                               "frequency_penalty",
		`"top_logprobs":21,` + messages:                                                                   "top_logprobs",
		`"verbosity":"mute",` + messages:                                                                  "verbosity",
		`"reasoning":"high",` + messages:                                                                  "reasoning",
		`"reasoning":{"effort":"huge"},` + messages:                                                       "reasoning.effort",
		`"cache_control":{"type":"x"},` + messages:                                                        "cache_control.type",
		user(`{"type":"text","text":"x","cache_control":{}}`):                                             "messages[0].content[0].cache_control.type",
		user(`{"type":"input_audio","input_audio":{}}`):                                                   "messages[0].content[0].input_audio.data",
		user(`{"type":"input_audio","input_audio":{"data":"?","format":"wav"}}`):                          "messages[0].content[0].input_audio.data",
		user(`{"type":"file","file":{}}`):                                                                 "messages[0].content[0].file.file_data",
		user(`{"type":"file","file":{"file_data":"?"}}`):                                                  "messages[0].content[0].file.file_data",
		`"messages":[{"role":"assistant","content":"x","reasoning_details":[{"type":"new"}]}]`:            "messages[0].reasoning_details[0].type",
		`"messages":[{"role":"assistant","content":"x","reasoning_details":{}}]`:                          "messages[0].reasoning_details",
		`"temperature":3,` + messages:                                                                     "temperature",
		`"temperature":"1",` + messages:                                                                   "temperature",
		`"top_p":-1,` + messages:                                                                          "top_p",
		`"max_tokens":0,` + messages:                                                                      "max_tokens",
		`"max_completion_tokens":1.5,` + messages:                                                         "max_completion_tokens",
		`"stop":["a","b","c","d","e"],` + messages:                                                        "stop",
		`"stop":7,` + messages:                                                                            "stop",
		`"seed":1.5,` + messages:                                                                          "seed",
		`"reasoning_effort":"huge",` + messages:                                                           "reasoning_effort",
		`"response_format":{"type":"xml"},` + messages:                                                    "response_format.type",
		`"response_format":{"type":"json_schema","json_schema":{"name":"x"}},` + messages:                 "response_format.json_schema.schema",
		`"tool_choice":"always",` + messages:                                                              "tool_choice",
		`"tools":[{"type":"function","function":{}}],` + messages:                                         "tools[0].function.name",
		`"tools":[{"type":"function"}],` + messages:                                                       "tools[0].function.name",
		`"parallel_tool_calls":1,` + messages:                                                             "parallel_tool_calls",
		`"messages":["x"]`:                                                                                "messages[0]",
		`"messages":[{"content":"x"}]`:                                                                    "messages[0].role",
		`"messages":[{"role":"boss","content":"x"}]`:                                                      "messages[0].role",
		`"messages":[{"role":"user","content":7}]`:                                                        "messages[0].content",
		`"messages":[{"role":"tool","content":"x"}]`:                                                      "messages[0].tool_call_id",
		`"messages":[{"role":"user","tool_calls":[]}]`:                                                    "messages[0].tool_calls",
		`"messages":[{"role":"assistant","tool_calls":[{"id":"x","function":{"name":"f"}}]}]`:             "messages[0].tool_calls[0]",
		user(`{"text":"x"}`):                                                                              "messages[0].content[0].type",
		user(`{"type":"text"}`):                                                                           "messages[0].content[0].text",
		user(`{"type":"image_url","image_url":{"url":"ftp://x"}}`):                                        "messages[0].content[0].image_url.url",
		user(`{"type":"image_url","image_url":{"url":"data:image/png;base64,?"}}`):                        "messages[0].content[0].image_url.url",
		user(`{"type":"image_url","image_url":{"url":"data:text/plain,x"}}`):                              "messages[0].content[0].image_url.url",
		`"messages":[{"role":"system","content":[{"type":"image_url","image_url":{"url":"https://x"}}]}]`: "messages[0].content[0].type",
	} {
		check(t, fields, param, "INVALID_FIELD")
	}
}

// check decodes a whole prompt that must be refused.
func check(t *testing.T, fields, param, reason string) {
	t.Helper()
	req, err := openai.Decode([]byte(`{` + fields + `}`))
	if err == nil {
		_, err = req.Decode()
	}
	f, ok := fault.Of(err)
	if !ok || f.Kind() != fault.Invalid || f.Reason() != reason || f.Facts()["param"] != param {
		t.Errorf("{%s}: %v %v, want %s naming %s", fields, err, f, reason, param)
	}
}

// TestReasoningIsAskedForInManyWords: OpenAI's field, and the object that callers of many providers write.
func TestReasoningIsAskedForInManyWords(t *testing.T) {
	t.Parallel()
	for fields, want := range map[string]completion.Prompt{
		`"reasoning_effort":"low"`:                              {ReasoningEffort: "low"},
		`"reasoning":{"effort":"high"}`:                         {ReasoningEffort: "high", ShowReasoning: true},
		`"reasoning":{"effort":"high","exclude":true}`:          {ReasoningEffort: "high"},
		`"reasoning":{"max_tokens":2000}`:                       {ReasoningBudget: new(int64(2000)), ShowReasoning: true},
		`"reasoning":{"max_tokens":2000,"enabled":true}`:        {ReasoningBudget: new(int64(2000)), ShowReasoning: true},
		`"reasoning":{"enabled":true}`:                          {ReasoningEffort: "medium", ShowReasoning: true},
		`"reasoning":{"enabled":false,"max_tokens":2000}`:       {ReasoningEffort: "none"},
		`"reasoning":{"effort":"none"}`:                         {ReasoningEffort: "none"},
		`"reasoning":{"effort":"low","summary":"auto"}`:         {ReasoningEffort: "low", ShowReasoning: true},
		`"include_reasoning":true`:                              {ShowReasoning: true},
		`"cache_control":{"type":"ephemeral"},"top_logprobs":1`: {Logprobs: true, TopLogprobs: 1},
	} {
		req, err := openai.Decode([]byte(`{` + fields + `,` + messages + `}`))
		if err != nil {
			t.Fatal(err)
		}
		got, err := req.Decode()
		if err != nil {
			t.Errorf("%s: %v", fields, err)
			continue
		}
		if strings.Contains(fields, "cache_control") && got.Messages[0].Parts[0].CacheTTL != "5m" {
			t.Errorf("%s: %+v", fields, got.Messages)
		}
		got.Messages = nil
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", fields, diff)
		}
	}
}

func TestFieldsWithoutEffectDoNotStopAConversion(t *testing.T) {
	t.Parallel()
	req, err := openai.Decode([]byte(`{"n":1,"logprobs":false,"top_logprobs":0,"frequency_penalty":0,"presence_penalty":0.0,"logit_bias":{},"store":false,` +
		`"modalities":["text"],"service_tier":"auto","verbosity":"medium","audio":null,"brand_new":null,"metadata":{"a":"b"},"prompt_cache_key":"x",` + messages + `}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := req.Decode(); err != nil {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	full, err := os.ReadFile("testdata/request_full.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add([]byte(`{"model":"a","stream":true,` + messages + `}`))
	f.Add([]byte(`{"claviger":{"tags":{"a":"b"}},"metadata":{"c":"d"},` + messages + `}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		req, err := openai.Decode(body)
		if !bytes.Equal(before, body) {
			t.Fatal("the body was changed")
		}
		if err != nil {
			if _, ok := fault.Of(err); !ok {
				t.Fatalf("error %v is no fault", err)
			}
			return
		}
		var std struct {
			Messages []json.RawMessage `json:"messages"`
		}
		if !json.Valid(body) {
			t.Fatalf("%q is not JSON", body)
		}
		if err := json.Unmarshal(body, &std); err == nil && len(std.Messages) == 0 {
			t.Fatalf("%q has no messages", body)
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
			body := []byte(`{"model":"openai/gpt-x","stream":true,"messages":[{"role":"user","content":"` + strings.Repeat("word ", n) + `"}]}`)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := openai.Decode(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package router

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/pkg/pricing"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/usage"
)

// countedForm is a wire form with a count of usage: 40 tokens of input, 10 of them cached, and 12 of output.
type countedForm struct {
	slug   string
	vendor vendor
	// callers are who is answered. passes says that the first one's bytes pass, frames that streams are binary.
	callers        []completion.Dialect
	passes, frames bool
	// whole and stream are answers in it: FIRST and LAST stand where a count may be, before the content and
	// after it. member is what a count is called there.
	whole, stream, member string
	// good is a count, early one from before the content.
	good, early string
	// needed are the members of a count without which it says nothing; derived are those that the others tell,
	// too, so that they may be wrong, and told those that the others tell if they are not there.
	needed, derived, told []string
	// odd are counts that contradict themselves, with the input that they tell; 0 is that they are not used.
	odd map[string]int64
}

func countedForms() map[string]countedForm {
	all := vendors()
	return map[string]countedForm{
		"chat": {
			slug: "openai", vendor: all["openai"], callers: []completion.Dialect{completion.OpenAIChat, completion.Typed}, passes: true, member: "usage",
			whole: `{"id":"c","object":"chat.completion","model":"gpt-x","choices":[{"index":0,"message":{"role":"assistant","content":"Hello you"},"finish_reason":"stop"}]LAST}`,
			stream: `data: {"id":"c","model":"gpt-x","choices":[]FIRST}` + "\n\n" +
				`data: {"id":"c","model":"gpt-x","choices":[{"index":0,"delta":{"role":"assistant","content":"Hello "},"finish_reason":null}]}` + "\n\n" +
				`data: {"id":"c","model":"gpt-x","choices":[{"index":0,"delta":{"content":"you"},"finish_reason":null}]}` + "\n\n" +
				`data: {"id":"c","model":"gpt-x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n" +
				`data: {"id":"c","model":"gpt-x","choices":[]LAST}` + "\n\ndata: [DONE]\n\n",
			good:   `{"prompt_tokens":40,"completion_tokens":12,"total_tokens":52,"prompt_tokens_details":{"cached_tokens":10,"audio_tokens":1},"completion_tokens_details":{"reasoning_tokens":5,"audio_tokens":1}}`,
			early:  `{"prompt_tokens":40,"completion_tokens":1,"total_tokens":41,"prompt_tokens_details":{"cached_tokens":10}}`,
			needed: []string{"prompt_tokens", "completion_tokens"}, derived: []string{"total_tokens"}, told: []string{"completion_tokens"},
			odd: map[string]int64{
				`{"prompt_tokens":40,"completion_tokens":12,"total_tokens":999}`:                                                              40,
				`{"prompt_tokens":40,"completion_tokens":12,"total_tokens":1}`:                                                                40,
				`{"prompt_tokens":40,"total_tokens":52}`:                                                                                      40,
				`{"prompt_tokens":40,"completion_tokens":12,"prompt_tokens_details":{"cached_tokens":41}}`:                                    40,
				`{"prompt_tokens":40,"completion_tokens":12,"prompt_tokens_details":{"cached_tokens":1099511627776}}`:                         40,
				`{"prompt_tokens":40,"completion_tokens":12,"prompt_tokens_details":{"cached_tokens":39,"cache_write_tokens":1099511627776}}`: 40,
				`{"prompt_tokens":40,"completion_tokens":12,"completion_tokens_details":{"reasoning_tokens":1099511627776}}`:                  40,
				`{"prompt_tokens":40,"completion_tokens":12,"prompt_tokens_details":{"audio_tokens":41}}`:                                     0,
				`{"prompt_tokens":40,"completion_tokens":12,"completion_tokens_details":{"audio_tokens":13}}`:                                 0,
				`{"prompt_tokens":40,"completion_tokens":12,"prompt_tokens_details":"none","completion_tokens_details":[7]}`:                  40,
				`{"input_tokens":40,"output_tokens":12}`:                                                                                      0,
			},
		},
		"responses": {
			slug: "openai", vendor: all["openai"], callers: []completion.Dialect{completion.OpenAIResponses}, passes: true, member: "usage",
			whole: `{"id":"resp_1","object":"response","status":"completed","model":"gpt-x","output":[{"type":"message","id":"m","role":"assistant","content":[{"type":"output_text","text":"Hello you"}]}]LAST}`,
			stream: `data: {"type":"response.created","response":{"id":"resp_1","status":"in_progress","model":"gpt-x","output":[]FIRST}}` + "\n\n" +
				`data: {"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":"Hello "}` + "\n\n" +
				`data: {"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":"you"}` + "\n\n" +
				`data: {"type":"response.completed","response":{"id":"resp_1","status":"completed","model":"gpt-x","output":[{"type":"message","id":"m","content":[{"type":"output_text","text":"Hello you"}]}]LAST}}` + "\n\n",
			good:   `{"input_tokens":40,"output_tokens":12,"total_tokens":52,"input_tokens_details":{"cached_tokens":10,"audio_tokens":1},"output_tokens_details":{"reasoning_tokens":5}}`,
			early:  `{"input_tokens":40,"output_tokens":1,"total_tokens":41}`,
			needed: []string{"input_tokens", "output_tokens"}, derived: []string{"total_tokens"},
			odd: map[string]int64{
				`{"input_tokens":40,"output_tokens":12,"total_tokens":999}`:                                                          40,
				`{"input_tokens":40,"output_tokens":12,"input_tokens_details":{"cached_tokens":1099511627776}}`:                      40,
				`{"input_tokens":40,"output_tokens":12,"input_tokens_details":{"cached_tokens":9,"cache_write_tokens":400}}`:         40,
				`{"input_tokens":40,"output_tokens":12,"input_tokens_details":{"cache_write_tokens_details":{"ttl_12h_tokens":90}}}`: 40,
				`{"input_tokens":40,"output_tokens":12,"output_tokens_details":{"reasoning_tokens":13}}`:                             40,
				`{"input_tokens":40,"output_tokens":12,"input_tokens_details":{"image_tokens":41}}`:                                  0,
				`{"prompt_tokens":40,"completion_tokens":12}`:                                                                        0,
			},
		},
		"messages": {
			slug: "anthropic", vendor: all["anthropic"], callers: []completion.Dialect{completion.AnthropicMessages, completion.Typed}, passes: true, member: "usage",
			whole: `{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[{"type":"text","text":"Hello you"}],"stop_reason":"end_turn","stop_sequence":nullLAST}`,
			stream: "event: message_start\n" + `data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"stop_reason":nullFIRST}}` + "\n\n" +
				"event: content_block_start\n" + `data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}` + "\n\n" +
				"event: content_block_delta\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello "}}` + "\n\n" +
				"event: content_block_delta\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"you"}}` + "\n\n" +
				"event: content_block_stop\n" + `data: {"type":"content_block_stop","index":0}` + "\n\n" +
				"event: message_delta\n" + `data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null}LAST}` + "\n\n" +
				"event: message_stop\n" + `data: {"type":"message_stop"}` + "\n\n",
			good:   `{"input_tokens":30,"cache_read_input_tokens":10,"cache_creation_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":12,"output_tokens_details":{"thinking_tokens":5}}`,
			early:  `{"input_tokens":30,"cache_read_input_tokens":10,"output_tokens":1}`,
			needed: []string{"input_tokens", "output_tokens"}, derived: []string{"cache_creation_input_tokens"},
			odd: map[string]int64{
				`{"input_tokens":40,"output_tokens":12,"output_tokens_details":{"thinking_tokens":1000}}`:       40,
				`{"input_tokens":30,"cache_creation_input_tokens":10,"cache_creation":null,"output_tokens":12}`: 40,
				`{"input_tokens":1099511627776,"cache_read_input_tokens":1099511627776,"output_tokens":12}`:     0,
				`{"prompt_tokens":40,"completion_tokens":12}`:                                                   0,
			},
		},
		"gemini": {
			slug: "google-ai-studio", vendor: all["google-ai-studio"], callers: []completion.Dialect{completion.OpenAIChat, completion.Typed}, member: "usageMetadata",
			whole: `{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"Hello you"}]},"finishReason":"STOP"}],"modelVersion":"gemini-x"LAST}`,
			stream: `data: {"candidates":[{"index":0,"content":{"role":"model","parts":[]}}],"modelVersion":"gemini-x"FIRST}` + "\n\n" +
				`data: {"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"Hello "}]}}]}` + "\n\n" +
				`data: {"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"you"}]},"finishReason":"STOP"}]LAST}` + "\n\n",
			good:   `{"promptTokenCount":40,"cachedContentTokenCount":10,"candidatesTokenCount":7,"thoughtsTokenCount":5,"totalTokenCount":52}`,
			early:  `{"promptTokenCount":40,"cachedContentTokenCount":10,"totalTokenCount":40}`,
			needed: []string{"promptTokenCount", "candidatesTokenCount"}, derived: []string{"totalTokenCount"}, told: []string{"candidatesTokenCount"},
			odd: map[string]int64{
				`{"promptTokenCount":40,"candidatesTokenCount":7,"thoughtsTokenCount":5,"totalTokenCount":999}`: 40,
				`{"promptTokenCount":40,"candidatesTokenCount":12,"cachedContentTokenCount":41}`:                40,
				`{"promptTokenCount":40,"totalTokenCount":52}`:                                                  40,
				`{"promptTokenCount":40}`:                     0,
				`{"promptTokenCount":40,"totalTokenCount":5}`: 0,
				`{"promptTokenCount":40,"candidatesTokenCount":12,"promptTokensDetails":[{"modality":"AUDIO","tokenCount":41}]}`: 0,
				`{"promptTokenCount":1099511627776,"toolUsePromptTokenCount":1099511627776,"candidatesTokenCount":12}`:           0,
				`{"prompt_tokens":40,"completion_tokens":12}`:                                                                    0,
			},
		},
		"converse": {
			slug: "bedrock", vendor: families()["bedrock (Nova)"], callers: []completion.Dialect{completion.OpenAIChat, completion.Typed}, member: "usage", frames: true,
			whole: `{"output":{"message":{"role":"assistant","content":[{"text":"Hello you"}]}},"stopReason":"end_turn"LAST}`,
			stream: `messageStart {"role":"assistant"}` + "\n" + `metadata {"metrics":{}FIRST}` + "\n" +
				`contentBlockDelta {"contentBlockIndex":0,"delta":{"text":"Hello "}}` + "\n" +
				`contentBlockDelta {"contentBlockIndex":0,"delta":{"text":"you"}}` + "\n" +
				`messageStop {"stopReason":"end_turn"}` + "\n" + `metadata {"metrics":{}LAST}`,
			good:   `{"inputTokens":30,"cacheReadInputTokens":10,"cacheWriteInputTokens":0,"outputTokens":12,"totalTokens":52}`,
			early:  `{"inputTokens":30,"cacheReadInputTokens":10,"outputTokens":1}`,
			needed: []string{"inputTokens", "outputTokens"}, derived: []string{"totalTokens"},
			odd: map[string]int64{
				`{"inputTokens":40,"outputTokens":12,"totalTokens":1}`:                                  40,
				`{"inputTokens":30,"outputTokens":12,"cacheWriteInputTokens":10,"cacheDetails":"none"}`: 40,
				`{"inputTokens":40,"outputTokens":12,"cacheDetails":[{"inputTokens":-5,"ttl":"1h"}]}`:   0,
				`{"inputTokens":1099511627776,"cacheReadInputTokens":1099511627776,"outputTokens":12}`:  0,
				`{"input_tokens":40,"output_tokens":12}`:                                                0,
			},
		},
	}
}

// exchange is an answer with counts before its content and after it; empty is none.
func (f *countedForm) exchange(stream bool, first, last string) (exchange []byte, body string) {
	member := func(count string) string {
		if count == "" {
			return ""
		}
		return `,` + quoted(f.member) + `:` + count
	}
	body = f.whole
	if stream {
		body = f.stream
	}
	body = strings.NewReplacer("FIRST", member(first), "LAST", member(last)).Replace(body)
	if stream && f.frames {
		exchange = []byte(framesFollow)
		for line := range strings.SplitSeq(body, "\n") {
			name, payload, _ := strings.Cut(line, " ")
			exchange = append(exchange, llmtest.AWSEvent(name, []byte(payload))...)
		}
		return exchange, body
	}
	kind := "application/json"
	if stream {
		kind = "text/event-stream"
	}
	return exchangeOf(kind, body), body
}

func exchangeOf(kind, body string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", kind, len(body), body)
}

// wrongNumbers are what stands where a number of tokens should.
var wrongNumbers = []string{
	"-1", "-9223372036854775809", "0.5", "1e300", "99999999999999999999", "9223372036854775807", "1099511627777", `"12"`, `"many"`, "true", "{}", "[3]",
}

// wrongCounts are what stands where a count should, and says nothing of what was taken.
var wrongCounts = []string{
	"null", "{}", "[]", "7", `"40"`, "true", `[{"prompt_tokens":40}]`, `{"tokens":{"input":40,"output":12}}`, `{"total_tokens":52}`,
}

// spoiled are the ways in which one member of a count, by its path, is something else or, for "", not there.
func spoiled(good, instead string) map[string]string {
	out := map[string]string{}
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(good), &members) != nil {
		return out
	}
	put := func(name, value string) string {
		changed := maps.Clone(members)
		changed[name] = json.RawMessage(value)
		if value == "" {
			delete(changed, name)
		}
		b, _ := json.Marshal(changed) //nolint:errchkjson // of JSON
		return string(b)
	}
	for name, member := range members {
		if member[0] != '{' {
			out[name] = put(name, instead)
			continue
		}
		for path, inner := range spoiled(string(member), instead) {
			out[name+"."+path] = put(name, inner)
		}
	}
	return out
}

// switching answers with what was set last.
type switching struct {
	mu       sync.Mutex
	exchange []byte
}

func (s *switching) set(exchange []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exchange = exchange
}

func (s *switching) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return playing{http.DefaultTransport, s.exchange}.RoundTrip(r)
}

// TestAWrongCountIsNeitherBelievedNorTakenForNothing: whatever a provider says of what an answer took, the
// answer passes as it is, and its one event counts what can be: by the provider's word where that can be
// true, by a marked estimate else, and never zero in place of what nobody said.
func TestAWrongCountIsNeitherBelievedNorTakenForNothing(t *testing.T) {
	t.Parallel()
	for name, f := range countedForms() {
		for mode, stream := range map[string]bool{"whole": false, "stream": true} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				s := &miscounted{T: t, countedForm: f, streams: stream, provider: &switching{}}
				s.at = newStandOver(t, f.slug, f.vendor, llmtest.New(t), s.provider)
				s.all()
			})
		}
	}
}

// miscounted is a router in front of a provider that counts wrong.
type miscounted struct {
	*testing.T
	countedForm
	streams  bool
	provider *switching
	at       *stand
}

func final(e usage.Event) bool { return e.Source == usage.ProviderFinal }

// ours reports whether a count is marked as not all the provider's, and is not nothing.
func ours(e usage.Event) bool { return !final(e) && e.Tokens.OutputTotal > 0 }

func (s *miscounted) all() {
	whole := func(e usage.Event) bool { return final(e) && e.Tokens.InputTotal == 40 && e.Tokens.OutputTotal == 12 }
	s.count("", s.good, func(e usage.Event) bool { return whole(e) && e.Tokens.CacheRead == 10 })
	for _, value := range append(slices.Clone(wrongNumbers), "null", "") {
		missing := value == "" || value == "null"
		for path, count := range spoiled(s.good, value) {
			holds := ours
			switch {
			case slices.Contains(s.derived, path), missing && slices.Contains(s.told, path):
				holds = whole
			case missing && !slices.Contains(s.needed, path): // a part that is not told is none
				holds = final
			}
			s.count("", count, holds)
		}
	}
	for _, count := range append(slices.Clone(wrongCounts), "") {
		s.count("", count, ours)
		if s.streams {
			s.count(s.early, count, ours)
			s.count(count, s.good, whole)
		}
	}
	for count, input := range s.odd {
		s.count("", count, func(e usage.Event) bool {
			if input == 0 {
				return ours(e)
			}
			return final(e) && e.Tokens.InputTotal == input && e.Tokens.OutputTotal == 12
		})
	}
	if s.streams {
		s.count(s.good, s.early, func(e usage.Event) bool {
			return e.Tokens.InputTotal == 40 && e.Tokens.OutputTotal > 0 && e.Tokens.OutputTotal <= 12
		})
		s.count(s.early, s.good, whole)
		s.count(s.early, "", ours)
	}
}

// count answers each caller with counts before and after the content, and looks at the event that it leaves.
func (s *miscounted) count(first, last string, holds func(usage.Event) bool) {
	s.Helper()
	exchange, body := s.exchange(s.streams, first, last)
	s.provider.set(exchange)
	all := callers()
	for i, dialect := range s.callers {
		caller := all[slices.IndexFunc(all, func(c caller) bool { return c.dialect == dialect })]
		got := caller.call(s.T, s.at, s.streams, "hello", asked{})
		e := s.at.event(s.T)
		what := fmt.Sprintf("%s, counts %q and %q", caller.name, first, last)
		if s.passes && i == 0 {
			if got.body != body {
				s.Errorf("%s: the bytes did not pass as they are:\n%s\nwant\n%s", what, got.body, body)
			}
		} else if !good(got) || got.text != "Hello you" || got.finish != "stop" {
			s.Errorf("%s: the caller got %+v", what, got)
		}
		if e.Outcome != usage.OK || e.Tokens == nil {
			s.Errorf("%s: the event says %v, %+v by %v", what, e.Outcome, e.Tokens, e.Source)
			continue
		}
		tokens := (*pricing.Counts)(e.Tokens)
		if pricing.Validate(*tokens) != nil || !tokens.Consistent() || tokens.InputTotal == 0 || !holds(e) {
			s.Errorf("%s: the event counts %+v by %v", what, *tokens, e.Source)
		}
		if told := got.tokens; (!s.passes || i > 0) && told != nil && (told.input != tokens.InputTotal || told.output != tokens.OutputTotal) {
			s.Errorf("%s: the caller was told %+v, and the event counts %+v", what, *told, *tokens)
		}
	}
}

// TestAWrongCountOfVectorsOrPicturesIsUnknown: of vectors the input is estimated then, and there is no output;
// what a picture takes is not guessed, and unknown is not zero. The answer passes all the same.
func TestAWrongCountOfVectorsOrPicturesIsUnknown(t *testing.T) {
	t.Parallel()
	model := func(slug, name string) vendor {
		v := vendors()[slug]
		v.model = name
		return v
	}
	for name, c := range map[string]struct {
		slug         string
		vendor       vendor
		path, ask    string
		answer, good string
		passes       bool
	}{
		"embeddings": {
			"openai", model("openai", "text-embedding-3-small"), "/v1/embeddings", `"input":"one"`,
			`{"object":"list","model":"e","data":[{"object":"embedding","index":0,"embedding":[0.5,1]}],"usage":COUNT}`, `{"prompt_tokens":40}`, true,
		},
		"images": {
			"openai", model("openai", "gpt-image-2"), "/v1/images/generations", `"prompt":"a kite"`, `{"created":1,"data":[{"b64_json":"aGk="}],"usage":COUNT}`,
			`{"input_tokens":40,"output_tokens":12}`, true,
		},
		"titan": {
			"bedrock", model("bedrock", "amazon.titan-embed-text-v2:0"), "/v1/embeddings", `"input":"one"`, `{"embedding":[0.5,1],"inputTextTokenCount":COUNT}`, `40`, false,
		},
		"predictions": { // a sum of which one part is wrong is wrong
			"vertex", model("vertex", "text-embedding-005"), "/v1/embeddings", `"input":["one","."]`,
			`{"predictions":[{"embeddings":{"values":[0.5],"statistics":{"token_count":COUNT}}},{"embeddings":{"values":[1],"statistics":{"token_count":20}}}]}`, `20`, false,
		},
		"gemini": {
			"google-ai-studio", model("google-ai-studio", "gemini-embedding-001"), "/v1/embeddings", `"input":"one"`,
			`{"embeddings":[{"values":[0.5,1]}],"usageMetadata":COUNT}`, `{"promptTokenCount":40}`, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			provider := &switching{}
			at := newStandOver(t, c.slug, c.vendor, llmtest.New(t), provider)
			count := func(count string) usage.Event {
				t.Helper()
				body := strings.Replace(c.answer, "COUNT", count, 1)
				provider.set(exchangeOf("application/json", body))
				got := callHTTP(t, at.http.URL+c.path, `{"model":`+quoted(at.model)+`,`+c.ask+`}`, false, func([]byte, *heard) {}, nil)
				if got.status != http.StatusOK || c.passes && got.body != body || !strings.Contains(got.body, `"data"`) {
					t.Errorf("%s: status %d, %s, want %s", count, got.status, got.body, body)
				}
				return at.event(t)
			}
			if e := count(c.good); e.Source != usage.ProviderFinal || e.Tokens == nil || e.Tokens.InputTotal != 40 {
				t.Errorf("%s: the event counts %+v by %v", c.good, e.Tokens, e.Source)
			}
			wrong := append([]string{"null"}, wrongNumbers...)
			if c.good[0] == '{' {
				wrong = slices.DeleteFunc(slices.Clone(wrongCounts), func(count string) bool { return strings.Contains(count, "total_tokens") })
			}
			for _, value := range append(slices.Clone(wrongNumbers), "null", "") {
				wrong = slices.AppendSeq(wrong, maps.Values(spoiled(c.good, value)))
			}
			for _, value := range wrong {
				e := count(value)
				known := e.Tokens == nil
				if e.Operation == string(completion.Embeddings) {
					known = e.Tokens != nil && *e.Tokens == (usage.Tokens{InputTotal: 1, InputUncached: 1}) // of three or four bytes
				}
				if e.Outcome != usage.OK || e.Source != usage.Estimated || !known {
					t.Errorf("%s: the event says %v, %+v by %v", value, e.Outcome, e.Tokens, e.Source)
				}
			}
		})
	}
}

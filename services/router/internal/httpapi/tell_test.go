package httpapi_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger/claviger/pkg/llmtest"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/provider/anthropic"
	"github.com/claviger/claviger/services/router/internal/provider/openai"
)

// recorded is a provider's stream, as it came or byte by byte.
type recorded struct {
	stream string
	slowly bool
}

func (r recorded) RoundTrip(req *http.Request) (*http.Response, error) {
	var body io.Reader = strings.NewReader(r.stream)
	if r.slowly {
		body = iotest.OneByteReader(body)
	}
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: io.NopCloser(body), ContentLength: -1, Request: req,
	}, nil
}

// told matches what was put into a stream.
var (
	toldMember = regexp.MustCompile(`,?"claviger":(\{.*?\}(?:\]\})?)`)
	attemptID  = regexp.MustCompile(`att_[0-9a-z]+`)
	requestID  = regexp.MustCompile(`req_[0-9a-z]+`)
	costs      = regexp.MustCompile(`"config_version":0,(?:"cost_nano_usd":[0-9]+,)?(?:"price_version":"price_[0-9a-z]+",)?"attempts"`)
)

// The pieces of recorded streams.
const (
	chatFirst = `data: {"id":"","object":"","created":0,"model":"","choices":[],"prompt_filter_results":[]}` + "\n\n"
	chatWord  = `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"gpt-4.1-2025","choices":[{"index":0,"delta":{"content":"}\n"}}]}` + "\n\n"
	chatStop  = `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"gpt-4.1-2025","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	chatDone  = "data: [DONE]\n\n"
	claudes   = "event: message_start\n" + `data: {"type":"message_start","message":{"id":"m","model":"claude","usage":{"input_tokens":3,"output_tokens":1}}}` + "\n\n" +
		"event: content_block_start\n" + `data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"message_stop"}}` + "\n\n" +
		"event: content_block_stop\n" + `data: {"type":"content_block_stop","index":0}` + "\n\n" +
		"event: message_delta\n" + `data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}` + "\n\n"
	opening = "event: response.created\n" + `data: {"type":"response.created","sequence_number":0,"response":{"id":"r","model":"gpt-6","output":[]}}` + "\n\n" +
		"event: response.output_text.delta\n" + `data: {"type":"response.output_text.delta","sequence_number":1,"delta":"response.completed"}` + "\n\n"
)

const (
	basic = `{"request_id":"REQ","model":"MODEL","credential_class":"own"}`
	full  = `{"request_id":"REQ","model":"MODEL","credential_class":"own","provider":"PROVIDER","credential_id":"cred_1","credential_revision":2,"policy":"main","policy_version":3,"line":1,"config_version":0,COST,` +
		`"attempts":[{"attempt_id":"ATT","provider":"PROVIDER","model":"MODEL","credential_class":"own","credential_id":"cred_1"}]}`
)

// TestStreamsTellWhatServesIfAsked: in their last event, as far as the API key may see it. All other bytes
// stay as they came, however they came.
func TestStreamsTellWhatServesIfAsked(t *testing.T) {
	t.Parallel()
	const usageChunk = `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"gpt-4.1-2025","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}`
	const chatAsk = `{"model":"openai/gpt-4.1","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}`
	for name, test := range map[string]struct {
		path, ask   string
		model       string
		before, now string // what comes before the last event, and it without and with TOLD
		then        string
	}{
		"chat with usage": {
			"/v1/chat/completions", chatAsk, models[0],
			chatFirst + chatWord + chatStop, usageChunk + "}\n\n" + chatDone, usageChunk + `,"claviger":TOLD}` + "\n\n" + chatDone,
		},
		"chat without usage": {
			"/v1/chat/completions", strings.Replace(chatAsk, `"stream_options":{"include_usage":true},`, "", 1), models[0],
			chatFirst + chatWord + chatStop, chatDone,
			`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"gpt-4.1-2025","choices":[],"claviger":TOLD}` + "\n\n" + chatDone,
		},
		"chat, counted in between": {
			"/v1/chat/completions", chatAsk, models[0],
			chatFirst + usageChunk + "}\n\n" + chatWord + chatStop, chatDone,
			`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"gpt-4.1-2025","choices":[],"claviger":TOLD}` + "\n\n" + chatDone,
		},
		"chat that does not say that it is done": {
			"/v1/chat/completions", chatAsk, models[0],
			chatFirst + chatWord + chatStop, usageChunk + "}\n\n", usageChunk + `,"claviger":TOLD}` + "\n\n",
		},
		"messages": {
			"/v1/messages", `{"model":"anthropic/claude-haiku-4-5","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`, models[1],
			claudes, "event: message_stop\ndata: {\"type\":\"message_stop\" }\n\n", "event: message_stop\ndata: {\"type\":\"message_stop\" ,\"claviger\":TOLD}\n\n",
		},
		"responses": {
			"/v1/responses", `{"model":"openai/gpt-4.1","stream":true,"store":false,"input":"hi"}`, models[0],
			opening, "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\",\"output\":[]}}\n\n",
			"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\",\"output\":[]},\"claviger\":TOLD}\n\n",
		},
	} {
		provider, model, _ := strings.Cut(test.model, "/")
		for _, slowly := range []bool{false, true} {
			r := &rig{targets: []completion.Target{target(provider, model)}}
			r.targets[0].Credential.Revision, r.targets[0].Credential.ID, r.targets[0].PolicyName, r.targets[0].PolicyVersion = 2, "cred_1", "main", 3
			transport := recorded{test.before + test.now, slowly}
			server := httptest.NewServer(r.handler(t, map[string]completion.Provider{"anthropic": anthropic.New(transport), "openai": openai.New(transport)}, nil))
			for key, told := range map[string]string{"clv-1": basic, "clv-full": full, "clv-none": "", "": ""} {
				header := map[string]string{"Authorization": "Bearer " + key, "X-Claviger-Include": "provenance"}
				if key == "" { // who does not ask
					header = map[string]string{"Authorization": "Bearer clv-full"}
				}
				got := ask(t, server, http.MethodPost, test.path, test.ask, header)
				want := test.before + test.now
				if told != "" {
					told = strings.NewReplacer("MODEL", test.model, "PROVIDER", provider, "REQ", got.header.Get("X-Request-Id")).Replace(told)
					want = test.before + strings.Replace(test.then, "TOLD", told, 1)
				}
				if diff := cmp.Diff(want, costs.ReplaceAllString(attemptID.ReplaceAllString(got.body, "ATT"), `"config_version":0,COST,"attempts"`)); diff != "" || got.status != http.StatusOK {
					t.Errorf("%s, slowly %v, key %q: %d (-want +got):\n%s", name, slowly, key, got.status, diff)
				}
			}
			server.Close()
		}
	}
}

// TestConvertedStreamsTellWhatServesIfAsked, and change in nothing else.
func TestConvertedStreamsTellWhatServesIfAsked(t *testing.T) {
	t.Parallel()
	_, server, _ := world(t)
	for _, test := range []struct{ path, body, model string }{
		{dialects[0].path, dialects[0].body, models[1]},
		{dialects[1].path, dialects[1].body, models[0]},
		{"/v1/responses", `{"model":"MODEL","stream":STREAM,"store":false,"input":"SCRIPT hi"}`, models[1]},
	} {
		request := body(test.body, test.model, "true", llmtest.Script{Text: "two words", Input: 70, Output: 9})
		plain := ask(t, server, http.MethodPost, test.path, request, nil)
		got := ask(t, server, http.MethodPost, test.path, request, map[string]string{"X-Claviger-Include": " provenance"})
		members := toldMember.FindAllStringSubmatch(got.body, -1)
		var told struct {
			Request string `json:"request_id"`
			Model   string
		}
		if len(members) != 1 || json.Unmarshal([]byte(members[0][1]), &told) != nil || told.Model != test.model || told.Request != got.header.Get("X-Request-Id") {
			t.Fatalf("%s: %v in %s", test.path, members, got.body)
		}
		same := func(a answered) string {
			id := strings.TrimPrefix(a.header.Get("X-Request-Id"), "req_")
			times := regexp.MustCompile(`"created(_at)?":[0-9]+`)
			return times.ReplaceAllString(strings.ReplaceAll(requestID.ReplaceAllString(a.body, "ID"), id, "ID"), "CREATED")
		}
		if diff := cmp.Diff(same(plain), toldMember.ReplaceAllString(same(got), "")); diff != "" {
			t.Errorf("%s (-plain +told):\n%s", test.path, diff)
		}
	}
}

// TestAnEarlyHeartbeatDoesNotHideWhatServes, although it spent the headers: not even which targets failed.
func TestAnEarlyHeartbeatDoesNotHideWhatServes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{targets: []completion.Target{target("slow", "fails"), target("slow", "serves")}}
		busy := &completion.ProviderError{Class: completion.Overloaded, Status: 503, Message: "busy", Sent: true, Unbilled: true}
		handler := r.handler(t, map[string]completion.Provider{"slow": slow{plays: map[string][]step{
			"fails": {{12 * time.Second, completion.Chunk{}, busy}}, "serves": {{0, said("a"), nil}},
		}}}, nil)
		w := httptest.NewRecorder()
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, dialects[1].path, strings.NewReader(body(dialects[1].body, "slow/x", "true", llmtest.Script{})))
		req.Header.Set("X-Api-Key", "clv-full")
		req.Header.Set("X-Claviger-Include", "provenance")
		handler.ServeHTTP(w, req)
		last := w.Body.String()[strings.LastIndex(w.Body.String(), "data: ")+len("data: "):]
		var told struct {
			Type     string
			Claviger struct {
				Model    string
				Attempts []struct {
					Model      string
					ErrorClass string `json:"error_class"`
				}
			}
		}
		if err := json.Unmarshal([]byte(last), &told); err != nil || w.Header().Get("X-Claviger-Model") != "" {
			t.Fatalf("%v: %v\n%s", err, w.Header(), last)
		}
		if a := told.Claviger.Attempts; told.Type != "message_stop" || told.Claviger.Model != "slow/serves" || len(a) != 2 ||
			a[0].Model != "slow/fails" || a[0].ErrorClass != "overloaded" || a[1].ErrorClass != "" {
			t.Errorf("%s", last)
		}
	})
}

// TestBrokenStreamsTellNothingButTheError, and what else is asked for is refused by name.
func TestBrokenStreamsTellNothingButTheError(t *testing.T) {
	t.Parallel()
	_, server, _ := world(t)
	for _, d := range dialects {
		for _, model := range models {
			script := llmtest.Script{Tokens: 9, Error: llmtest.ErrOverloaded, InStream: true, At: 3}
			got := ask(t, server, http.MethodPost, d.path, body(d.body, model, "true", script), map[string]string{"X-Claviger-Include": "provenance"}).body
			if strings.Count(got, d.broken) != 1 || strings.Contains(got, "claviger\"") || strings.Contains(got, d.end) {
				t.Errorf("%s by %s: %s", d.path, model, got)
			}
		}
		got := ask(t, server, http.MethodPost, d.path, body(d.body, models[0], "true", llmtest.Script{}), map[string]string{"X-Claviger-Include": "provenance,cost"})
		if got.status != http.StatusBadRequest || !strings.Contains(got.body, "x-claviger-include") {
			t.Errorf("%s: %d %s", d.path, got.status, got.body)
		}
	}
}

// FuzzTelling: what a caller is told is all that differs, whatever the provider sends and however it comes.
func FuzzTelling(f *testing.F) {
	for _, stream := range []string{
		chatFirst + chatWord + chatStop + chatDone, claudes + "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
		chatWord + `data: {"choices":[],"usage":{}}` + "\n\n: a comment\n\n" + chatDone, chatWord + `data: {"choices":[],"usage":{}}` + "\n\ndata: {\"error\":{}}\n\n",
		opening + "data: {\"type\":\"response.completed\",\ndata: \"response\":{}}\r\n\r\n", "data: {\"type\":\"message_stop\"\n\n", "data: [DONE]",
	} {
		for i := range 3 {
			f.Add(stream, uint8(i))
		}
	}
	asks := []struct{ path, body, provider string }{
		{"/v1/chat/completions", `{"model":"x","stream":true,"stream_options":{"include_usage":true},"messages":[]}`, "openai"},
		{"/v1/messages", `{"model":"x","stream":true,"max_tokens":9,"messages":[]}`, "anthropic"},
		{"/v1/responses", `{"model":"x","stream":true,"store":false,"input":"hi"}`, "openai"},
	}
	f.Fuzz(func(t *testing.T, stream string, way uint8) {
		if strings.Contains(stream, "claviger") || strings.Contains(stream, "req_") {
			t.Skip("looks like what is told")
		}
		a := asks[int(way)%len(asks)]
		answer := func(slowly bool, include string) string {
			transport := recorded{stream, slowly}
			r := &rig{targets: []completion.Target{target(a.provider, "x")}}
			handler := r.handler(t, map[string]completion.Provider{"anthropic": anthropic.New(transport), "openai": openai.New(transport)}, nil)
			w := httptest.NewRecorder()
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, a.path, strings.NewReader(a.body))
			req.Header.Set("X-Api-Key", "clv-1")
			if include != "" {
				req.Header.Set("X-Claviger-Include", include)
			}
			handler.ServeHTTP(w, req)
			return strings.ReplaceAll(w.Body.String(), w.Header().Get("X-Request-Id"), "REQ")
		}
		plain, told := answer(false, ""), answer(false, "provenance")
		member := `"claviger":` + strings.NewReplacer("MODEL", a.provider+"/x").Replace(basic)
		without := strings.Replace(told, ","+member, "", 1)
		if at := strings.Index(told, `"choices":[],`+member+"}\n\n"); at >= 0 {
			begin := strings.LastIndex(told[:at], "data: ")
			without = told[:begin] + told[at+len(`"choices":[],`+member+"}\n\n"):]
		}
		if without != plain || strings.Count(told, member) > 1 {
			t.Errorf("plain %q\ntold  %q", plain, told)
		}
		// Where the last line end is "\r\n", half of it ends the stream as well.
		if again := answer(true, "provenance"); strings.TrimRight(again, "\r\n") != strings.TrimRight(told, "\r\n") {
			t.Errorf("in pieces %q\nat once  %q", again, told)
		}
	})
}
